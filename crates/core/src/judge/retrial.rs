//! What gates would have decided over batches that were kept: for a backtest, before they are enabled.

use alloc::{string::String, vec::Vec};

use serde::Serialize;

use super::{batch::Batch, panel::Judge, settings::Settings};
use crate::{
    gate::{Arm, Gate, Judgement, Look, Mode, OnFailure, Rule, Verdict, Window, judge},
    model::{Millis, Share, Timestamp},
    plan::Plan,
};

/// Gates with everything that they need to be asked again.
#[derive(Clone, Debug)]
pub struct Bench {
    /// What the sequential gates share.
    pub settings: Settings,
    /// The gates, each name once.
    pub gates: Vec<Gate>,
    /// Shares of the stages, in order.
    pub shares: Vec<Share>,
    /// Instances of the first stage.
    pub instances: u32,
    /// Batches that a rollout was planned for; nothing: as many as there are.
    pub horizon: Option<u64>,
}

/// What the gates decided.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Retrial {
    /// The first failure that turns back.
    pub failed: Option<FailedAt>,
    /// Requests of the new release until then, or in all.
    pub requests: u64,
    /// Of those, failed.
    pub failures: u64,
    /// Batches that were looked at.
    pub batches: u64,
    /// Time that they took.
    pub length: Millis,
}

/// A failure that turns back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FailedAt {
    /// The gate.
    pub gate: String,
    /// What it said.
    pub reason: String,
    /// Time from the first batch's beginning.
    pub after: Millis,
    /// When.
    pub at: Timestamp,
    /// The stage, from 0; `None` is the watch.
    pub stage: Option<usize>,
}

impl Bench {
    /// The gates of a plan.
    pub fn of(plan: &Plan) -> Self {
        let mut gates: Vec<Gate> = Vec::new();
        for gate in plan.stages.iter().flat_map(|stage| &stage.gates).chain(&plan.watch_gates) {
            if gates.iter().all(|seen| seen.name != gate.name) {
                gates.push(gate.clone());
            }
        }
        let length = plan.stages.iter().fold(plan.watch.0, |sum, stage| sum.saturating_add(stage.bake.0));
        Self {
            settings: plan.judge.clone(),
            horizon: Some(length / plan.limits.look_every.0.max(1)),
            gates,
            shares: plan.stages.iter().map(|stage| stage.share).collect(),
            instances: plan.stages.first().map_or(1, |stage| stage.instances),
        }
    }

    /// The same questions, asked by evidence: what is shown where a plan's own gates ask plainly.
    #[must_use]
    pub fn sequential(mut self) -> Self {
        for gate in &mut self.gates {
            gate.mode = Mode::Sequential;
        }
        self
    }

    /// Whether any gate is asked by evidence.
    pub fn is_sequential(&self) -> bool {
        self.gates.iter().any(|gate| gate.mode == Mode::Sequential)
    }

    /// A judge that has seen nothing. For the gates of a plan it is the very one that its deployment has.
    pub fn judge(&self, batches: usize) -> Judge {
        Judge::with(
            &self.settings,
            &self.gates,
            &self.shares,
            self.instances,
            self.horizon.unwrap_or(batches as u64),
        )
    }

    /// What the gates decide over these batches, oldest first. Those that ask batches are asked after each, those in threshold
    /// mode at the end of every stage; liveness of instances is not in the batches and is not asked.
    pub fn retry(&self, batches: &[Batch]) -> Retrial {
        let mut judge = self.judge(batches.len());
        let (mut seen, mut stage, mut kept) = (Retrial::default(), Staged::default(), None);
        for (place, batch) in batches.iter().enumerate() {
            judge.take(batch);
            stage.add(batch, kept.as_ref());
            seen.add(batch);
            let ends = batches.get(place + 1).is_none_or(|next| next.stage != batch.stage);
            seen.failed = self.fails(&judge, &stage.window, batch, ends, seen.length);
            if seen.failed.is_some() {
                break;
            }
            if ends {
                kept = core::mem::take(&mut stage).kept(kept);
            }
        }
        seen
    }

    fn fails(
        &self,
        judged: &Judge,
        window: &Window,
        batch: &Batch,
        ends: bool,
        after: Millis,
    ) -> Option<FailedAt> {
        let turns_back = self.gates.iter().filter(|gate| gate.on_failure == OnFailure::RollBack);
        let mut asked = turns_back.filter_map(|gate| {
            if gate.asks_batches() {
                return Some(judged.ask(gate, window, batch.stage, Look::Early));
            }
            (ends && asks_window(gate)).then(|| judge(gate, window, Look::Final))
        });
        let failed: Judgement = asked.find(|judgement| judgement.verdict == Verdict::Fail)?;
        let Judgement { gate, reason, .. } = failed;
        Some(FailedAt { gate, reason, after, at: batch.at, stage: batch.stage })
    }
}

/// Whether the answer follows from counts alone.
const fn asks_window(gate: &Gate) -> bool {
    gate.metric.is_none()
        && matches!(
            gate.rule,
            Rule::ErrorRate { .. }
                | Rule::Latency { .. }
                | Rule::Cpu { .. }
                | Rule::Memory { .. }
                | Rule::RequestRate { .. }
        )
}

impl Retrial {
    fn add(&mut self, batch: &Batch) {
        self.requests = self.requests.saturating_add(batch.new.requests);
        self.failures = self.failures.saturating_add(batch.new.failures);
        self.length = Millis(self.length.0.saturating_add(batch.new.length.0));
        self.batches += 1;
    }
}

/// The window of one stage, grown batch by batch.
#[derive(Default)]
struct Staged {
    window: Window,
    cpu_ppm: (u64, u64),
}

impl Staged {
    fn add(&mut self, batch: &Batch, kept: Option<&Arm>) {
        self.window.new.add(&batch.new);
        if batch.new.share.is_all() {
            self.window.baseline = kept.cloned();
        } else if let Some(stable) = &batch.stable {
            self.window.baseline.get_or_insert_default().add(stable);
        }
        if let Some(ppm) = batch.cpu_ppm {
            self.cpu_ppm = (self.cpu_ppm.0.saturating_add(ppm), self.cpu_ppm.1 + 1);
            self.window.cpu_ppm = self.cpu_ppm.0.checked_div(self.cpu_ppm.1);
        }
        self.window.memory_ppm = batch.memory_ppm.or(self.window.memory_ppm);
    }

    /// The longest of the stable release's windows so far.
    fn kept(self, before: Option<Arm>) -> Option<Arm> {
        let own = self.window.baseline.filter(|_| !self.window.new.share.is_all());
        match (before, own) {
            (Some(before), Some(own)) if own.requests < before.requests => Some(before),
            (before, own) => own.or(before),
        }
    }
}

impl Arm {
    /// This arm's interval and what came after it, under the later share.
    pub(crate) fn add(&mut self, later: &Self) {
        self.length = Millis(self.length.0.saturating_add(later.length.0));
        self.share = later.share;
        self.requests = self.requests.saturating_add(later.requests);
        self.failures = self.failures.saturating_add(later.failures);
        for &(edge, count) in &later.latency_us {
            match self.latency_us.binary_search_by_key(&edge, |(edge, _)| *edge) {
                Ok(at) => {
                    if let Some((_, all)) = self.latency_us.get_mut(at) {
                        *all = all.saturating_add(count);
                    }
                }
                Err(at) => self.latency_us.insert(at, (edge, count)),
            }
        }
    }
}
