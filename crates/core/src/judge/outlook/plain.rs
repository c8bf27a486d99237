//! How often gates that ask plainly turn back a release that is as good as the stable one.

use alloc::vec::Vec;

use tidegate_statistics::Traffic;

use super::{Against, Load, PlainGate, against, share};
use crate::{
    gate::{Arm, Gate, Mode, Rule, chance},
    judge::words,
    model::Millis,
    plan::{Plan, Stage},
};

/// The gates of the stages that ask plainly, each once.
pub(super) fn plain(plan: &Plan, load: &Load, traffic: Traffic) -> Vec<PlainGate> {
    let mut asked: Vec<&Gate> = Vec::new();
    for gate in plan.stages.iter().flat_map(|stage| &stage.gates).filter(|gate| gate.mode == Mode::Threshold)
    {
        if asks_traffic(gate) && !asked.contains(&gate) {
            asked.push(gate);
        }
    }
    asked.into_iter().map(|gate| plain_gate(plan, gate, load, traffic)).collect()
}

const fn asks_traffic(gate: &Gate) -> bool {
    gate.metric.is_none()
        && matches!(gate.rule, Rule::ErrorRate { .. } | Rule::Latency { .. } | Rule::RequestRate { .. })
}

fn plain_gate(plan: &Plan, gate: &Gate, load: &Load, traffic: Traffic) -> PlainGate {
    let mut passes = Some(1.0);
    let mut misses = matches!(gate.rule, Rule::ErrorRate { .. }).then_some(1.0);
    let mut silent_stages = 0;
    let mut kept = 0.0;
    for stage in &plan.stages {
        let window = Asked::of(stage, traffic.requests_per_s(), kept);
        kept = f64::max(kept, window.before);
        if !stage.gates.contains(gate) || against(stage) == Against::Nothing {
            continue;
        }
        if window.is_silent(gate) {
            silent_stages += 1;
            continue;
        }
        let failing = window.failing(gate, load, traffic, 1.0);
        passes = passes.zip(failing).map(|(passes, failing)| passes * (1.0 - failing));
        let caught = window.failing(gate, load, traffic, 2.0);
        misses = misses.zip(caught).map(|(misses, caught)| misses * (1.0 - caught));
    }
    PlainGate {
        gate: gate.name.clone(),
        false_alarm: passes.map(|passes| 1.0 - passes),
        catches_double: misses.map(|misses| 1.0 - misses),
        silent_stages,
    }
}

/// Requests that a plain gate looks at, at the end of a stage.
struct Asked {
    new: f64,
    /// The baseline's: of the same window, or of the longest one before.
    stable: f64,
    /// What the stable release answers in this stage: the baseline of a later one in which it has no traffic.
    before: f64,
}

impl Asked {
    fn of(stage: &Stage, requests_per_s: f64, kept: f64) -> Self {
        let (all, share) = (stage.bake.0 as f64 / 1_000.0 * requests_per_s, share(stage.share));
        let before = all * (1.0 - share);
        Self { new: all * share, stable: if stage.share.is_all() { kept } else { before }, before }
    }

    fn is_silent(&self, gate: &Gate) -> bool {
        let need = gate.min_requests as f64;
        let compared = !matches!(gate.rule, Rule::Latency { .. });
        self.new < need.max(1.0) || (compared && self.stable < need.max(1.0))
    }

    /// Probability that the gate fails a release whose failures are `ratio` times the stable one's.
    fn failing(&self, gate: &Gate, load: &Load, traffic: Traffic, ratio: f64) -> Option<f64> {
        let both = (self.new, self.stable);
        match gate.rule {
            // One window with the same counts: the baseline may come from a longer one before.
            Rule::ErrorRate { ratio_max_bp, floor } => {
                chance::errors(both, traffic.failed_share(), ratio, ratio_max_bp, floor)
            }
            Rule::Latency { quantile_bp, limit } => {
                let slow = slow_share(&load.latency_us, limit)?;
                chance::quantile(words::whole(self.new), slow, quantile_bp)
            }
            Rule::RequestRate { min, .. } => chance::rate(both, min),
            Rule::LatencyShift { .. }
            | Rule::Cpu { .. }
            | Rule::Memory { .. }
            | Rule::Instances
            | Rule::Goal { .. }
            | Rule::Shadow { .. }
            | Rule::Metric(_)
            | Rule::Analysis(_) => None,
        }
    }
}

/// Share of requests slower than a limit; nothing when no latency is known.
fn slow_share(latency_us: &[(u64, u64)], limit: Millis) -> Option<f64> {
    let arm = Arm { latency_us: latency_us.to_vec(), ..Arm::default() };
    let (slow, timed) = (arm.slower_than(limit.0.saturating_mul(1_000)), arm.timed());
    (timed > 0).then(|| slow as f64 / timed as f64)
}
