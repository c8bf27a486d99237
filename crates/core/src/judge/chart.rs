//! What the plots show: series that follow from the batches of a deployment, and from nothing else.
//!
//! Drawing is not done here. The same batches give the same series on every machine.

mod policy;
#[cfg(test)]
mod tests;

use alloc::{string::String, vec::Vec};

use serde::Serialize;
use tidegate_statistics::band_half_width;

pub use policy::{Check, Policy, Timeline};

use super::{
    batch::{Batch, DataState},
    error::ratio_max_bp,
    panel::Judge,
    retrial::{Bench, FailedAt},
};
use crate::{
    gate::{Arm, Finding, Gate, Look, Mode, Rule, Window},
    model::{Millis, Timestamp},
    plan::Plan,
};

/// Points of a series at most: more than any picture shows.
const POINTS_MAX: usize = 600;

/// Coverage of the band around the distribution of latencies.
const BAND_ALPHA: f64 = 0.05;

/// The ratio that is drawn where no gate on errors is asked, basis points.
const RATIO_MAX_BP: u32 = 11_000;

/// Requests from which that band holds.
const BAND_FROM: u64 = 100;

/// The data of all plots of one deployment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Chart {
    /// When the first batch began.
    pub from: Timestamp,
    /// Length of all batches together, breaks included.
    pub length: Millis,
    /// Whether the plan's own gates ask plainly, and the same ones are shown as evidence would have seen them.
    pub supposed: bool,
    /// Where each stage begins.
    pub stages: Vec<Mark>,
    /// The evidence against the release, gate by gate.
    pub meter: Vec<Trace>,
    /// A healthy release may look as bad as the line in one of so many rollouts.
    pub allowed: f64,
    /// The plausible ratio of failures over time.
    pub funnel: Vec<Plausible>,
    /// Ratio that is tolerated.
    pub tolerated: f64,
    /// Ratio that is bad.
    pub bad: f64,
    /// Failed requests of the new release, and how many it would have as good as the stable one.
    pub errors: Vec<Errors>,
    /// Both releases' latencies while both had traffic.
    pub latency: Option<Overlay>,
    /// What other ways of deciding would have done.
    pub policies: Vec<Timeline>,
    /// When the gates failed the release, if they did.
    pub failed: Option<FailedAt>,
}

/// A moment with a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// Time from the beginning.
    pub after: Millis,
    /// The stage's name, or `watch`.
    pub name: String,
}

/// One gate's line.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Trace {
    /// The gate.
    pub gate: String,
    /// Time, and in how many rollouts a healthy release would look this bad once: 1 or more, scaled so that the gate alone
    /// turns back at [`Chart::allowed`].
    pub points: Vec<(Millis, f64)>,
}

/// What is plausible at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Plausible {
    /// Time from the beginning.
    pub after: Millis,
    /// Smallest plausible ratio.
    pub low: f64,
    /// Largest; nothing when there is no end yet.
    pub high: Option<f64>,
}

/// Failures at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Errors {
    /// Time from the beginning.
    pub after: Millis,
    /// Failed requests of the new release so far.
    pub seen: u64,
    /// Those of a release that fails as the stable one did in the same moments.
    pub expected: f64,
}

/// Two distributions of latency.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Overlay {
    /// Timed requests of the new release.
    pub new: u64,
    /// Of the stable one.
    pub stable: u64,
    /// Half the width of the band around the new release's line; it holds at all times at once with 95 %.
    pub band: f64,
    /// Points of both lines.
    pub points: Vec<Faster>,
}

/// Shares of requests up to an edge.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Faster {
    /// Upper edge, microseconds.
    pub edge_us: u64,
    /// Share of the new release's requests that took no longer.
    pub new: f64,
    /// Share of the stable release's.
    pub stable: f64,
}

impl Chart {
    /// The data of a deployment's plots; nothing without a batch.
    pub fn of(plan: &Plan, batches: &[Batch]) -> Option<Self> {
        let own = Bench::of(plan);
        let supposed = !own.is_sequential();
        let bench = if supposed { own.clone().sequential() } else { own.clone() };
        let (first, last) = (batches.first()?, batches.last()?);
        let from = begin(first);
        let failed = own.retry(batches).failed;
        let mut drawn = Drawn::new(&bench, batches.len(), from);
        for batch in batches {
            drawn.take(batch);
        }
        let settings = &bench.settings;
        let tolerated =
            settings.tolerated(ratio_max_bp(&bench.gates).unwrap_or(RATIO_MAX_BP), bench.instances);
        Some(Self {
            from,
            length: last.at.since(from),
            supposed,
            stages: stages(plan, batches, from),
            allowed: 1e6 / f64::from(settings.false_rollback_ppm.max(1)),
            tolerated,
            bad: settings.bad(tolerated),
            latency: overlay(batches),
            policies: policy::timelines(batches, from, failed.as_ref()),
            meter: drawn.meter,
            funnel: drawn.funnel,
            errors: drawn.errors,
            failed,
        })
    }
}

/// When a batch began.
fn begin(batch: &Batch) -> Timestamp {
    let length = i64::try_from(batch.new.length.0).unwrap_or(i64::MAX);
    Timestamp(batch.at.0.saturating_sub(length))
}

fn stages(plan: &Plan, batches: &[Batch], from: Timestamp) -> Vec<Mark> {
    let mut marks: Vec<Mark> = Vec::new();
    let mut stage = None;
    for batch in batches {
        if stage == Some(batch.stage) {
            continue;
        }
        stage = Some(batch.stage);
        let named = batch.stage.and_then(|number| plan.stage(number));
        let name = named.map_or_else(|| "watch".into(), |stage| stage.name.clone());
        marks.push(Mark { after: begin(batch).since(from), name });
    }
    marks
}

/// The series as they grow.
struct Drawn<'a> {
    bench: &'a Bench,
    judge: Judge,
    from: Timestamp,
    /// Every so many batches make one point.
    every: usize,
    left: usize,
    taken: usize,
    allowed: f64,
    stable: (u64, u64),
    seen: u64,
    expected: f64,
    meter: Vec<Trace>,
    funnel: Vec<Plausible>,
    errors: Vec<Errors>,
}

impl<'a> Drawn<'a> {
    fn new(bench: &'a Bench, batches: usize, from: Timestamp) -> Self {
        Self {
            bench,
            judge: bench.judge(batches),
            from,
            every: batches.div_ceil(POINTS_MAX).max(1),
            left: batches,
            taken: 0,
            allowed: 1e6 / f64::from(bench.settings.false_rollback_ppm.max(1)),
            stable: (0, 0),
            seen: 0,
            expected: 0.0,
            meter: Vec::new(),
            funnel: Vec::new(),
            errors: Vec::new(),
        }
    }

    fn take(&mut self, batch: &Batch) {
        self.judge.take(batch);
        self.count(batch);
        self.taken += 1;
        self.left = self.left.saturating_sub(1);
        if !self.taken.is_multiple_of(self.every) && self.left > 0 {
            return;
        }
        let after = batch.at.since(self.from);
        self.errors.push(Errors { after, seen: self.seen, expected: self.expected });
        let window = Window {
            new: batch.new.clone(),
            baseline: batch.stable.clone(),
            cpu_ppm: batch.cpu_ppm,
            memory_ppm: batch.memory_ppm,
            ..Window::default()
        };
        for gate in self.bench.gates.iter().filter(|gate| gate.mode == Mode::Sequential) {
            let judgement = self.judge.ask(gate, &window, batch.stage, Look::Early);
            if let Some(finding) = judgement.finding {
                self.point(gate, after, &finding);
            }
        }
    }

    /// Failures, and what the stable release would have had of the same requests.
    fn count(&mut self, batch: &Batch) {
        self.seen = self.seen.saturating_add(batch.new.failures);
        let (mut requests, mut failures) = self.stable;
        if let Some(stable) = batch.stable.as_ref().filter(|stable| stable.requests > 0) {
            self.stable =
                (requests.saturating_add(stable.requests), failures.saturating_add(stable.failures));
            (requests, failures) = (stable.requests, stable.failures);
        }
        self.expected += batch.new.requests as f64 * failures as f64 / requests.max(1) as f64;
    }

    fn point(&mut self, gate: &Gate, after: Millis, finding: &Finding) {
        let odds = (finding.budget_ppm as f64 / 1e6 * self.allowed).max(1.0);
        if let Some(trace) = self.meter.iter_mut().find(|trace| trace.gate == gate.name) {
            trace.points.push((after, odds));
        } else {
            self.meter.push(Trace { gate: gate.name.clone(), points: Vec::from([(after, odds)]) });
        }
        let ratio = |milli: u64| milli as f64 / 1_000.0;
        if matches!(gate.rule, Rule::ErrorRate { .. })
            && (finding.ratio_low_milli.is_some() || finding.ratio_high_milli.is_some())
        {
            let low = finding.ratio_low_milli.map_or(0.0, ratio);
            self.funnel.push(Plausible { after, low, high: finding.ratio_high_milli.map(ratio) });
        }
    }
}

/// Both releases' latencies over the batches in which both had traffic.
fn overlay(batches: &[Batch]) -> Option<Overlay> {
    let (mut new, mut stable) = (Arm::default(), Arm::default());
    let both = |batch: &&Batch| batch.state == DataState::Live && !batch.new.share.is_all();
    for batch in batches.iter().filter(both) {
        if let Some(theirs) = &batch.stable {
            new.add(&batch.new);
            stable.add(theirs);
        }
    }
    let (ours, theirs) = (new.timed(), stable.timed());
    if ours == 0 || theirs == 0 {
        return None;
    }
    let mut edges: Vec<u64> =
        new.latency_us.iter().chain(&stable.latency_us).map(|(edge, _)| *edge).collect();
    edges.sort_unstable();
    edges.dedup();
    let (mut below_new, mut below_stable) = (Running::of(&new), Running::of(&stable));
    let points = edges
        .into_iter()
        .map(|edge_us| Faster {
            edge_us,
            new: below_new.up_to(edge_us) as f64 / ours as f64,
            stable: below_stable.up_to(edge_us) as f64 / theirs as f64,
        })
        .collect();
    let band = band_half_width(ours, BAND_FROM, BAND_ALPHA).unwrap_or(1.0);
    Some(Overlay { new: ours, stable: theirs, band, points })
}

/// Counts up to rising edges.
struct Running<'a> {
    left: &'a [(u64, u64)],
    sum: u64,
}

impl<'a> Running<'a> {
    fn of(arm: &'a Arm) -> Self {
        Self { left: &arm.latency_us, sum: 0 }
    }

    fn up_to(&mut self, edge: u64) -> u64 {
        while let Some(((_, count), rest)) = self.left.split_first().filter(|((upper, _), _)| *upper <= edge)
        {
            self.sum = self.sum.saturating_add(*count);
            self.left = rest;
        }
        self.sum
    }
}
