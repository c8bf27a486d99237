//! The judge: every sequential gate of a deployment, and the one false-rollback budget that they share.

use alloc::{borrow::ToOwned, boxed::Box, format, string::String, vec::Vec};

use tidegate_statistics::{Arm as Counts, Bounds, Budget, Layout, Measure, OnsetPrior, Pair};

use super::{
    batch::{Batch, DataState, Said},
    error::{Errors, dispersion},
    gauge::Gauge,
    goal::Goal,
    latency::{Quantile, Shift},
    metric::Conditioned,
    rate::Rate,
    risk::AtRisk,
    settings::Settings,
    shadow::Compared,
    warmup::WarmUp,
    words,
};
use crate::{
    gate::{Arm, Finding, Gate, Judgement, Look, Mode, OnFailure, Rule, Unit, Value, Verdict, Window},
    model::{Millis, Share, Timestamp},
    plan::Plan,
};

/// The fold of a deployment's batches: what every sequential gate knows.
#[derive(Clone, Debug, Default)]
pub struct Judge {
    settings: Settings,
    /// Share and longest length of every stage: what going on would expose.
    ahead: Vec<Share>,
    seats: Vec<Seat>,
    budget: Option<Budget>,
    warmup: WarmUp,
    taken: u64,
    at: Option<Timestamp>,
    share: Share,
    stage: Option<usize>,
    /// What was counted since the stage began.
    counted: Counted,
}

/// Traffic since the stage began.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    new: u64,
    stable: u64,
    length: Millis,
}

/// One gate with its process.
#[derive(Clone, Debug)]
struct Seat {
    gate: Gate,
    trial: Trial,
    /// Why nothing was counted last, and since when.
    silent: Option<Silent>,
    /// What failed it, once something has.
    failed: Option<String>,
    /// Requests that its own metric counted since the stage began, of both releases where it compares them.
    counted: u64,
}

#[derive(Clone, Debug)]
struct Silent {
    since: Timestamp,
    reason: String,
}

/// The process behind a gate.
#[derive(Clone, Debug)]
enum Trial {
    Errors(Box<Errors>),
    Shift(Box<Shift>),
    Quantile(Quantile),
    Cpu(Gauge),
    Memory(Gauge),
    Rate(Rate),
    Shadow(Box<Compared>),
    Goal(Box<Goal>),
    Conditions(Conditioned),
}

/// The proxy's buckets: at most a sixteenth of their upper edge wide, the same for every release.
const NARROW: Layout = Layout::Shared { parts: 15 };

/// One interval as a gate sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval<'a> {
    pub(super) new: &'a Arm,
    pub(super) stable: Option<&'a Arm>,
    pub(super) layout: Layout,
    pub(super) share: Share,
    /// The first interval with more traffic.
    pub(super) raised: bool,
    /// Caches are cold: only the guard counts.
    pub(super) warming: bool,
}

/// What a gate's process answers at a look.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) standing: Standing,
    pub(super) reason: String,
    pub(super) value: Option<f64>,
    pub(super) limit: Option<f64>,
    pub(super) baseline: Option<f64>,
    pub(super) bounds: Option<Bounds>,
    pub(super) ln_for: f64,
    pub(super) ln_bayes: Option<f64>,
}

/// Where a gate that has not failed stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Passed,
    /// Evidence came and decides nothing yet.
    Undecided,
    /// No evidence came.
    Absent,
}

impl Answer {
    pub(super) fn plain(standing: Standing, reason: String) -> Self {
        Self {
            standing,
            reason,
            value: None,
            limit: None,
            baseline: None,
            bounds: None,
            ln_for: 0.0,
            ln_bayes: None,
        }
    }
}

impl Interval<'_> {
    /// Both arms with `hits` of their requests counted.
    pub(super) fn pair(&self, hits: impl Fn(&Arm) -> u64) -> Pair {
        let counts =
            |arm: &Arm| Counts::new(arm.requests, hits(arm).min(arm.requests)).unwrap_or(Counts::EMPTY);
        Pair::new(counts(self.new), self.stable.map_or(Counts::EMPTY, counts))
    }
}

impl Judge {
    /// The judge of a plan before the first batch.
    pub fn of(plan: &Plan) -> Self {
        let gates = plan.stages.iter().flat_map(|stage| &stage.gates).chain(&plan.watch_gates);
        let length = plan.stages.iter().fold(plan.watch.0, |sum, stage| sum.saturating_add(stage.bake.0));
        let instances = plan.stages.first().map_or(1, |stage| stage.instances);
        let horizon = length / plan.limits.look_every.0.max(1);
        let shares: Vec<Share> = plan.stages.iter().map(|stage| stage.share).collect();
        Self::with(&plan.judge, gates, &shares, instances, horizon)
    }

    /// The judge of these gates over stages of these shares. `horizon` is the planned number of batches.
    pub fn with<'a>(
        settings: &Settings,
        gates: impl IntoIterator<Item = &'a Gate>,
        shares: &[Share],
        instances: u32,
        horizon: u64,
    ) -> Self {
        let raises = u32::try_from(shares.len().saturating_sub(1)).unwrap_or(u32::MAX);
        let onset = OnsetPrior::spread(horizon, raises);
        let mut seats: Vec<Seat> = Vec::new();
        for gate in gates {
            if seats.iter().any(|seat| seat.gate.name == gate.name) {
                continue;
            }
            if let Some(trial) = Trial::of(gate, settings, instances, onset) {
                seats.push(Seat { gate: gate.clone(), trial, silent: None, failed: None, counted: 0 });
            }
        }
        let alpha = f64::from(settings.false_rollback_ppm.clamp(1, 999_999)) / 1e6;
        let measures: Vec<Measure> =
            seats.iter().filter_map(Seat::measure).chain([Measure::WarmUp]).collect();
        Self {
            settings: settings.clone(),
            ahead: shares.to_vec(),
            budget: Budget::of_measures(alpha, &measures).ok(),
            warmup: WarmUp::new(settings, dispersion(settings)),
            seats,
            ..Self::default()
        }
    }

    /// Takes one batch. One that was taken before is left out, so that a batch may come twice.
    pub fn take(&mut self, batch: &Batch) {
        if batch.number <= self.taken {
            return;
        }
        self.taken = batch.number;
        let raised = batch.new.share > self.share && self.share > Share::NONE;
        if batch.stage != self.stage {
            self.counted = Counted::default();
            for seat in &mut self.seats {
                seat.counted = 0;
            }
        }
        (self.share, self.stage, self.at) = (batch.new.share, batch.stage, Some(batch.at));
        self.counted.add(batch);
        self.warmup.greet(&self.settings, batch.wanted);
        let warming = self.warmup.is_on();
        for seat in &mut self.seats {
            seat.take(batch, raised, warming);
        }
        if batch.new.share > Share::NONE && usable(batch.state) {
            let interval = Interval {
                new: &batch.new,
                stable: batch.stable.as_ref(),
                layout: NARROW,
                share: batch.new.share,
                raised,
                warming,
            };
            self.warmup.take(&self.settings, batch.new.length, interval.pair(|arm| arm.failures));
        }
        self.convict();
    }

    /// Fails what has to fail now: by the shared budget, by itself where it only alerts, or by a rule that needs no
    /// statistics.
    fn convict(&mut self) {
        let alone = error_threshold(&self.settings);
        for seat in &mut self.seats {
            if seat.failed.is_some() {
                continue;
            }
            let against = seat.trial.ln_against();
            if seat.trial.fails() || (seat.gate.on_failure != OnFailure::RollBack && against >= alone) {
                seat.failed = Some(seat.trial.fault(&self.settings, against));
            }
        }
        let Some(budget) = &self.budget else { return };
        let sharing: Vec<usize> = (0..self.seats.len())
            .filter(|at| self.seats.get(*at).is_some_and(|s| s.measure().is_some()))
            .collect();
        let of = |at: &usize| self.seats.get(*at).map_or(0.0, |seat| seat.trial.ln_against());
        let evidence: Vec<f64> = sharing.iter().map(of).chain([self.warmup.ln_against()]).collect();
        let merged = budget.merge(&evidence);
        let Some(largest) = merged.largest.filter(|_| merged.exceeded) else { return };
        let (settings, guard) = (self.settings.clone(), largest >= sharing.len());
        // The guard speaks through the first gate, which is the one on errors.
        let at = if guard { sharing.first() } else { sharing.get(largest) };
        let Some(seat) = at.and_then(|at| self.seats.get_mut(*at)) else { return };
        if seat.failed.is_none() {
            let mine = evidence.get(largest).copied().unwrap_or(0.0);
            seat.failed = Some(if guard {
                format!(
                    "more than {} of the requests failed while the release was warming up; {}",
                    words::percent(Some(f64::from(settings.warmup_failures_ppm) / 1e6)),
                    words::rarity(mine, settings.false_rollback_ppm)
                )
            } else {
                seat.trial.fault(&settings, mine)
            });
        }
    }

    /// What a sequential gate says now. `window` is the stage's, for what is shown beside the verdict.
    pub fn ask(&self, gate: &Gate, window: &Window, stage: Option<usize>, look: Look) -> Judgement {
        let Some(seat) = self.seats.iter().find(|seat| seat.gate.name == gate.name) else {
            return judgement(gate, window, Verdict::NoEvidence, "no batch has come yet".into());
        };
        let against = seat.trial.ln_against();
        if let Some(why) = &seat.failed {
            let judged = judgement(gate, window, Verdict::Fail, why.clone());
            let answer = seat.answer(self, stage, look);
            return self.with_numbers(judged, seat, &answer, against, false);
        }
        if let Some(silent) = &seat.silent {
            let for_long = self.at.map_or(Millis::ZERO, |at| at.since(silent.since));
            let reason = format!("{} (for {for_long}); this is not a pass", silent.reason);
            return judgement(gate, window, Verdict::NoEvidence, reason);
        }
        if let Some(reason) = seat.counts_nothing() {
            return judgement(gate, window, Verdict::NoEvidence, reason);
        }
        if self.counted.new == 0 && seat.needs_traffic() && self.share > Share::NONE {
            let reason = "the new release had no traffic in this stage; this is not a pass".to_owned();
            return judgement(gate, window, Verdict::NoEvidence, reason);
        }
        let answer = if self.warmup.is_on() && seat.warms_up() {
            Answer::plain(Standing::Undecided, self.warmup.said(&self.settings))
        } else {
            seat.answer(self, stage, look)
        };
        let undecided = answer.standing == Standing::Undecided;
        let verdict = if answer.standing == Standing::Passed { Verdict::Pass } else { Verdict::NoEvidence };
        let judged = judgement(gate, window, verdict, answer.reason.clone());
        self.with_numbers(judged, seat, &answer, against, undecided)
    }

    fn with_numbers(
        &self,
        judged: Judgement,
        seat: &Seat,
        answer: &Answer,
        against: f64,
        undecided: bool,
    ) -> Judgement {
        let ppm = |share: Option<f64>| {
            share.map(|share| Value { number: words::whole(share * 1e6), unit: Unit::Ppm })
        };
        let milli = |ratio: f64| u64::try_from(words::milli(ratio)).unwrap_or(0);
        let finding = Finding {
            ratio_low_milli: answer.bounds.map(|bounds| milli(bounds.lower)),
            ratio_high_milli: answer.bounds.and_then(|bounds| bounds.upper).map(milli),
            against_mnat: words::milli(against),
            for_mnat: words::milli(answer.ln_for),
            ln_bayes_mnat: answer.ln_bayes.map(words::milli),
            budget_ppm: words::whole(libm::exp(against - self.threshold_of(seat)).min(1.0) * 1e6),
            undecided,
        };
        Judgement {
            value: ppm(answer.value),
            limit: ppm(answer.limit),
            baseline: ppm(answer.baseline),
            finding: Some(finding),
            ..judged
        }
    }

    /// Evidence in nats at which this gate alone turns back.
    fn threshold_of(&self, seat: &Seat) -> f64 {
        let sharing = self.seats.iter().filter(|one| one.measure().is_some());
        let place = sharing.clone().position(|one| one.gate.name == seat.gate.name);
        let alone = error_threshold(&self.settings);
        place.and_then(|place| self.budget.as_ref()?.ln_threshold_alone(place)).unwrap_or(alone)
    }

    /// What going on from `stage` would put at risk.
    fn at_risk(&self, stage: Option<usize>) -> Option<AtRisk> {
        let next = stage.and_then(|stage| self.ahead.get(stage + 1)).copied();
        let length = self.counted.length.0 as f64 / 1_000.0;
        if length <= 0.0 {
            return None;
        }
        let rate = self.counted.new.saturating_add(self.counted.stable) as f64 / length;
        Some(AtRisk::new(&self.settings, rate, next))
    }
}

/// A judgement without numbers yet.
fn judgement(gate: &Gate, window: &Window, verdict: Verdict, reason: String) -> Judgement {
    Judgement {
        gate: gate.name.clone(),
        verdict,
        reason,
        value: None,
        limit: None,
        baseline: None,
        requests: window.new.requests,
        baseline_requests: window.baseline.as_ref().map_or(0, |arm| arm.requests),
        window: window.new.length,
        finding: None,
    }
}

fn error_threshold(settings: &Settings) -> f64 {
    super::error::ln_inverse(settings.false_rollback_ppm)
}

const fn usable(state: DataState) -> bool {
    matches!(state, DataState::Live | DataState::NoTraffic | DataState::Reset)
}

impl Counted {
    fn add(&mut self, batch: &Batch) {
        self.new = self.new.saturating_add(batch.new.requests);
        self.stable = self.stable.saturating_add(batch.stable.as_ref().map_or(0, |arm| arm.requests));
        self.length = Millis(self.length.0.saturating_add(batch.new.length.0));
    }
}

impl Seat {
    /// Its part of the shared budget, when its failure turns back and it is answered with evidence.
    fn measure(&self) -> Option<Measure> {
        if self.gate.on_failure != OnFailure::RollBack {
            return None;
        }
        match (&self.trial, &self.gate.rule) {
            (Trial::Errors(_), _) => Some(Measure::ErrorRatio),
            (Trial::Shift(_), _) => Some(Measure::Latency),
            (Trial::Quantile(_), Rule::Latency { quantile_bp, .. }) if *quantile_bp >= 9_900 => {
                Some(Measure::P99)
            }
            (Trial::Quantile(_), _) => Some(Measure::P95),
            (Trial::Cpu(_), _) => Some(Measure::Cpu),
            (Trial::Memory(_), _) => Some(Measure::Memory),
            (Trial::Shadow(_), _) => Some(Measure::Custom),
            (Trial::Rate(_) | Trial::Goal(_) | Trial::Conditions(_), _) => None,
        }
    }

    /// Its own metric answers, and has counted no request.
    fn counts_nothing(&self) -> Option<String> {
        let metric = self.gate.metric.as_ref().filter(|_| self.counted == 0)?;
        let counts = self.needs_traffic() || matches!(self.trial, Trial::Rate(_) | Trial::Goal(_));
        counts.then(|| format!("metric `{metric}` counted no request in this stage; this is not a pass"))
    }

    const fn needs_traffic(&self) -> bool {
        matches!(self.trial, Trial::Errors(_) | Trial::Shift(_) | Trial::Quantile(_))
    }

    /// Whether nothing counts for it while caches are cold.
    const fn warms_up(&self) -> bool {
        self.needs_traffic() || matches!(self.trial, Trial::Cpu(_) | Trial::Memory(_))
    }

    fn take(&mut self, batch: &Batch, raised: bool, warming: bool) {
        let interval = match self.interval(batch, raised, warming) {
            Ok(interval) => interval,
            Err(reason) => {
                let since = self.silent.as_ref().map_or(batch.at, |silent| silent.since);
                self.silent = Some(Silent { since, reason });
                return;
            }
        };
        // Between two samples of a slow source there is nothing new, and nothing wrong.
        let Some(interval) = interval else { return };
        self.silent = None;
        let theirs =
            interval.stable.filter(|_| matches!(self.trial, Trial::Rate(_))).map_or(0, |arm| arm.requests);
        self.counted = self.counted.saturating_add(interval.new.requests).saturating_add(theirs);
        match &mut self.trial {
            Trial::Errors(errors) => errors.take(&interval),
            Trial::Shift(shift) => shift.take(&interval),
            Trial::Quantile(quantile) => quantile.take(&interval),
            Trial::Rate(rate) => rate.take(&interval),
            Trial::Cpu(gauge) if !warming => gauge.take(batch.cpu_ppm, batch.new.length),
            Trial::Memory(gauge) if !warming => gauge.take(batch.memory_ppm, batch.new.length),
            Trial::Cpu(_) | Trial::Memory(_) => {}
            Trial::Shadow(compared) => compared.take(batch.mirror.as_ref()),
            Trial::Goal(goal) => goal.take(&interval),
            Trial::Conditions(conditions) => conditions.take(batch),
        }
    }

    /// The gate's own view of the batch; nothing when its source has nothing new; an error when it is blind.
    fn interval<'a>(
        &self,
        batch: &'a Batch,
        raised: bool,
        warming: bool,
    ) -> Result<Option<Interval<'a>>, String> {
        let own =
            |new, stable, layout| Interval { new, stable, layout, share: batch.new.share, raised, warming };
        let Some(name) = &self.gate.metric else {
            return Ok(usable(batch.state).then(|| own(&batch.new, batch.stable.as_ref(), NARROW)));
        };
        let said = batch.metrics.iter().find(|one| one.metric == *name).map(|one| &one.said);
        match said {
            Some(Said::Counts { new, stable }) => {
                if stable.is_none()
                    && matches!(
                        self.trial,
                        Trial::Errors(_) | Trial::Shift(_) | Trial::Rate(_) | Trial::Goal(_)
                    )
                    && !batch.new.share.is_all()
                {
                    return Err(format!("metric `{name}` counts the new release only"));
                }
                Ok(Some(own(new, stable.as_ref(), Layout::Listed)))
            }
            Some(Said::Values { .. }) if matches!(self.trial, Trial::Conditions(_)) => {
                Ok(Some(own(&batch.new, batch.stable.as_ref(), NARROW)))
            }
            Some(Said::Values { .. }) => Err(format!("metric `{name}` has a value, and counters are asked")),
            Some(Said::Nothing { state: DataState::Live, .. }) => Ok(None),
            Some(Said::Nothing { reason, .. }) => Err(reason.clone()),
            None => Err(format!("metric `{name}` was not read")),
        }
    }

    fn answer(&self, judge: &Judge, stage: Option<usize>, look: Look) -> Answer {
        match &self.trial {
            Trial::Errors(errors) => {
                let at_risk = if look == Look::Final { judge.at_risk(stage) } else { None };
                errors.answer(&judge.settings, at_risk)
            }
            Trial::Shift(shift) => shift.answer(self.gate.min_requests),
            Trial::Quantile(quantile) => quantile.answer(&judge.settings),
            Trial::Cpu(gauge) | Trial::Memory(gauge) => gauge.answer(),
            Trial::Rate(rate) => rate.answer(judge.share.is_all()),
            Trial::Shadow(compared) => compared.answer(self.gate.min_requests),
            Trial::Goal(goal) => goal.answer(),
            Trial::Conditions(conditions) => conditions.answer(stage),
        }
    }
}

impl Trial {
    /// The process of a gate; nothing for a gate that is asked over a window, or whose settings make none.
    fn of(gate: &Gate, settings: &Settings, instances: u32, onset: OnsetPrior) -> Option<Self> {
        if let Rule::Metric(conditions) = &gate.rule {
            return Some(Self::Conditions(Conditioned::new(
                gate.metric.clone().unwrap_or_default(),
                conditions,
            )));
        }
        if let Rule::Shadow { status_max, body_max, slower_max } = &gate.rule {
            let shares = [*status_max, *body_max, *slower_max];
            return Some(Self::Shadow(Box::new(Compared::new(settings, shares, onset)?)));
        }
        if let Rule::Goal { ratio_min_bp } = &gate.rule {
            return Some(Self::Goal(Box::new(Goal::new(settings, *ratio_min_bp))));
        }
        if gate.mode == Mode::Threshold {
            return None;
        }
        Some(match &gate.rule {
            Rule::ErrorRate { ratio_max_bp, floor } => {
                Self::Errors(Box::new(Errors::new(settings, *ratio_max_bp, *floor, instances, onset)?))
            }
            Rule::LatencyShift { ratio_max_bp } => {
                Self::Shift(Box::new(Shift::new(settings, *ratio_max_bp, onset)))
            }
            Rule::Latency { quantile_bp, limit } => {
                Self::Quantile(Quantile::new(settings, *quantile_bp, *limit, onset)?)
            }
            Rule::Cpu { limit } => Self::Cpu(Gauge::new("CPU", settings.cpu, *limit, settings, false)?),
            Rule::Memory { limit } => {
                Self::Memory(Gauge::new("memory", settings.memory, *limit, settings, true)?)
            }
            Rule::RequestRate { min } => Self::Rate(Rate::new(*min)?),
            Rule::Instances | Rule::Goal { .. } | Rule::Shadow { .. } | Rule::Metric(_) => return None,
        })
    }

    /// Evidence against the release now, nats.
    fn ln_against(&self) -> f64 {
        match self {
            Self::Errors(errors) => errors.ln_against(),
            Self::Shift(shift) => shift.ln_against(),
            Self::Quantile(quantile) => quantile.ln_against(),
            Self::Cpu(gauge) | Self::Memory(gauge) => gauge.ln_against(),
            Self::Shadow(compared) => compared.ln_against(),
            Self::Rate(_) | Self::Goal(_) | Self::Conditions(_) => 0.0,
        }
    }

    /// Whether a rule that needs no statistics is broken.
    fn fails(&self) -> bool {
        match self {
            Self::Cpu(gauge) | Self::Memory(gauge) => gauge.brims(),
            Self::Rate(rate) => rate.fails(),
            Self::Goal(goal) => goal.fails(),
            Self::Conditions(conditions) => conditions.fails(),
            Self::Errors(_) | Self::Shift(_) | Self::Quantile(_) | Self::Shadow(_) => false,
        }
    }

    fn fault(&self, settings: &Settings, against: f64) -> String {
        match self {
            Self::Errors(errors) => errors.fault(settings, against),
            Self::Shift(shift) => shift.fault(settings, against),
            Self::Quantile(quantile) => quantile.fault(settings, against),
            Self::Cpu(gauge) | Self::Memory(gauge) => gauge.fault(settings, against),
            Self::Rate(rate) => rate.fault(),
            Self::Shadow(compared) => compared.fault(settings, against),
            Self::Goal(goal) => goal.fault(),
            Self::Conditions(conditions) => conditions.fault(),
        }
    }
}
