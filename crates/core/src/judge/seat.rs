//! One gate with its process: what it takes of a batch, and what it answers.

use alloc::{boxed::Box, format, string::String};

use tidegate_statistics::{Arm as Counts, Bounds, Layout, Measure, OnsetPrior, Pair};

use super::{
    analysis::Analysed,
    batch::{Batch, DataState, Said},
    error::Errors,
    gauge::Gauge,
    goal::Goal,
    latency::{Quantile, Shift},
    metric::Conditioned,
    rate::Rate,
    reach::Reach,
    risk::AtRisk,
    settings::Settings,
    shadow::Compared,
    strata::Stratum,
};
use crate::{
    gate::{Arm, Gate, Look, OnFailure, Rule},
    model::{Share, Timestamp},
};

/// One gate with its process.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) gate: Gate,
    pub(super) trial: Trial,
    /// Why nothing was counted last, and since when.
    pub(super) silent: Option<Silent>,
    /// What failed it, once something has.
    pub(super) failed: Option<String>,
    /// What it asks about that was counted since the stage began.
    counted: Counted,
}

/// Requests, or latencies where those are asked about.
#[derive(Clone, Copy, Debug, Default)]
struct Counted {
    new: u64,
    /// Of the stable release, where the new one is compared with it in the same interval and it had requests.
    stable: Option<u64>,
}

/// A gate that is blind.
#[derive(Clone, Debug)]
pub(super) struct Silent {
    pub(super) since: Timestamp,
    pub(super) reason: String,
}

/// The process behind a gate.
#[derive(Clone, Debug)]
pub(super) enum Trial {
    Errors(Box<Errors>),
    Shift(Box<Shift>),
    Quantile(Quantile),
    Cpu(Gauge),
    Memory(Gauge),
    Rate(Box<Rate>),
    Shadow(Box<Compared>),
    Goal(Box<Goal>),
    Conditions(Conditioned),
    Analysis(Box<Analysed>),
}

/// The proxy's buckets: at most a sixteenth of their upper edge wide, the same for every release.
pub(super) const NARROW: Layout = Layout::Shared { parts: 15 };

/// One interval as a gate sees it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interval<'a> {
    pub(super) new: &'a Arm,
    pub(super) stable: Option<&'a Arm>,
    pub(super) layout: Layout,
    pub(super) share: Share,
    /// The same requests by route, zone or method, where they are told apart.
    pub(super) strata: &'a [Stratum],
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
    /// What may be until the end is as it must not be then.
    Failed,
    /// Evidence came and decides nothing yet.
    Undecided,
    /// It is complete, and decides nothing.
    Ended,
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

impl Seat {
    /// The gate's place before the first batch; nothing for a gate that is asked over a window.
    pub(super) fn of(gate: &Gate, settings: &Settings, instances: u32, onset: OnsetPrior) -> Option<Self> {
        let trial = Trial::of(gate, settings, instances, onset)?;
        Some(Self { gate: gate.clone(), trial, silent: None, failed: None, counted: Counted::default() })
    }

    /// Another stage begins.
    pub(super) const fn begin_stage(&mut self) {
        self.counted = Counted { new: 0, stable: None };
    }

    /// Whether it is asked at this share: copies are compared until the first user is answered, everything else from then.
    /// Where there are `copies`, they are in the release's own metrics, too.
    pub(super) fn is_asked(&self, share: Share, copies: bool) -> bool {
        // What names its steps is asked at them, a preview without users among them.
        let named = !self.gate.steps.is_empty();
        let without_users = self.compares_copies() || (copies && self.judges_copies());
        let with_users = !self.compares_copies();
        named || if share.basis_points() == 0 { without_users } else { with_users }
    }

    /// Whether it compares the answers to copies with those that users got.
    pub(super) const fn compares_copies(&self) -> bool {
        matches!(self.trial, Trial::Shadow(_))
    }

    /// Whether what it asks about counts copies like any other request.
    pub(super) const fn judges_copies(&self) -> bool {
        self.gate.metric.is_some() && self.needs_traffic()
    }

    /// Its part of the shared budget, when its failure turns back and it is answered with evidence.
    pub(super) fn measure(&self) -> Option<Measure> {
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
            (Trial::Rate(_) | Trial::Goal(_) | Trial::Conditions(_) | Trial::Analysis(_), _) => None,
        }
    }

    /// It is answered, and nothing of what it asks about was counted.
    pub(super) fn counts_nothing(&self) -> Option<String> {
        let Counted { new, stable } = self.counted;
        if self.asks_latencies() {
            let whose = match (new, stable) {
                (0, _) => "",
                (_, Some(0)) => " of the stable release",
                (_, _) => return None,
            };
            let who = self.gate.metric.as_ref().map_or_else(
                || format!("no latency{whose} was counted"),
                |metric| format!("metric `{metric}` counted no latency{whose}"),
            );
            return Some(format!("{who} in this stage; this is not a pass"));
        }
        let metric = self.gate.metric.as_ref()?;
        let counts = self.needs_traffic() || matches!(self.trial, Trial::Rate(_) | Trial::Goal(_));
        let none = if matches!(self.trial, Trial::Rate(_)) { new + stable.unwrap_or(0) } else { new } == 0;
        (counts && none)
            .then(|| format!("metric `{metric}` counted no request in this stage; this is not a pass"))
    }

    const fn asks_latencies(&self) -> bool {
        matches!(self.trial, Trial::Shift(_) | Trial::Quantile(_))
    }

    pub(super) const fn needs_traffic(&self) -> bool {
        matches!(self.trial, Trial::Errors(_) | Trial::Shift(_) | Trial::Quantile(_))
    }

    /// Whether nothing counts for it while caches are cold.
    pub(super) const fn warms_up(&self) -> bool {
        self.needs_traffic() || matches!(self.trial, Trial::Cpu(_) | Trial::Memory(_))
    }

    /// Takes a batch of a time in which it is asked, or learns what to compare with.
    pub(super) fn take(&mut self, batch: &Batch, raised: bool, warming: bool, copies: bool) {
        let learns = matches!(self.trial, Trial::Errors(_) | Trial::Shift(_));
        let asked = self.is_asked(batch.new.share, copies) && self.gate.is_asked_at(batch.stage);
        if !learns && !asked {
            return;
        }
        // It counts what could not be measured, too.
        if let Trial::Analysis(analysed) = &mut self.trial {
            analysed.take(batch);
            return;
        }
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
        self.count(&interval);
        match &mut self.trial {
            Trial::Errors(errors) => errors.take(&interval),
            Trial::Shift(shift) => shift.take(&interval),
            Trial::Quantile(quantile) => quantile.take(&interval),
            Trial::Rate(rate) => rate.take(&interval),
            Trial::Cpu(gauge) if !warming => gauge.take(batch.cpu_ppm, batch.new.length),
            Trial::Memory(gauge) if !warming => gauge.take(batch.memory_ppm, batch.new.length),
            Trial::Cpu(_) | Trial::Memory(_) | Trial::Analysis(_) => {}
            Trial::Shadow(compared) => compared.take(batch.mirror.as_ref()),
            Trial::Goal(goal) => goal.take(&interval),
            Trial::Conditions(conditions) => conditions.take(batch),
        }
    }

    fn count(&mut self, seen: &Interval<'_>) {
        let latencies = self.asks_latencies();
        let of = |arm: &Arm| if latencies { arm.timed() } else { arm.requests };
        let compares = matches!(self.trial, Trial::Rate(_) | Trial::Shift(_)) && !seen.share.is_all();
        let Counted { new, stable } = &mut self.counted;
        *new = new.saturating_add(of(seen.new));
        // Where nobody asked the stable release, nothing of it is missing.
        if let Some(theirs) = seen.stable.filter(|arm| compares && arm.requests > 0) {
            *stable = Some(stable.unwrap_or(0).saturating_add(of(theirs)));
        }
    }

    /// The gate's own view of the batch; nothing when its source has nothing new; an error when it is blind.
    fn interval<'a>(
        &self,
        batch: &'a Batch,
        raised: bool,
        warming: bool,
    ) -> Result<Option<Interval<'a>>, String> {
        let share = batch.new.share;
        let own = |new, stable, layout| Interval { new, stable, layout, share, strata: &[], raised, warming };
        let Some(name) = &self.gate.metric else {
            return Ok(usable(batch.state).then(|| own(&batch.new, batch.stable.as_ref(), NARROW)));
        };
        let said = batch.metrics.iter().find(|one| one.metric == *name).map(|one| &one.said);
        match said {
            Some(Said::Counts { new, stable, strata }) => {
                if stable.is_none()
                    && matches!(
                        self.trial,
                        Trial::Errors(_) | Trial::Shift(_) | Trial::Rate(_) | Trial::Goal(_)
                    )
                    && !batch.new.share.is_all()
                {
                    return Err(format!("metric `{name}` counts the new release only"));
                }
                Ok(Some(Interval { strata, ..own(new, stable.as_ref(), Layout::Listed) }))
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

    /// Whether there is evidence against the release that says how rare what was seen is for a healthy one.
    pub(super) const fn weighs(&self) -> bool {
        match self.trial {
            Trial::Errors(_)
            | Trial::Shift(_)
            | Trial::Quantile(_)
            | Trial::Cpu(_)
            | Trial::Memory(_)
            | Trial::Shadow(_) => true,
            // The first says it in its own words; the others have none.
            Trial::Rate(_) | Trial::Goal(_) | Trial::Conditions(_) | Trial::Analysis(_) => false,
        }
    }

    /// What its process says now. `at_risk` is what going on would expose, where it may decide.
    pub(super) fn answer(
        &self,
        settings: &Settings,
        share: Share,
        stage: Option<usize>,
        look: Look,
        at_risk: Option<AtRisk>,
    ) -> Answer {
        match &self.trial {
            Trial::Errors(errors) => errors.answer(settings, at_risk),
            Trial::Shift(shift) => shift.answer(settings, self.gate.min_requests),
            Trial::Quantile(quantile) => quantile.answer(settings),
            Trial::Cpu(gauge) | Trial::Memory(gauge) => gauge.answer(),
            Trial::Rate(rate) => rate.answer(share.is_all()),
            Trial::Shadow(compared) => compared.answer(self.gate.min_requests),
            Trial::Goal(goal) => goal.answer(),
            Trial::Conditions(conditions) => conditions.answer(stage, look),
            Trial::Analysis(analysed) => analysed.answer(stage),
        }
    }
}

impl Trial {
    /// The process of a gate; nothing for a gate that is asked over a window, or whose settings make none.
    fn of(gate: &Gate, settings: &Settings, instances: u32, onset: OnsetPrior) -> Option<Self> {
        if !gate.asks_batches() {
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
            Rule::RequestRate { min, marked } => {
                let dispersion = settings.dispersion();
                let reach = Reach::new(*min, dispersion, *marked, gate.metric.is_some())?;
                Self::Rate(Box::new(Rate::new(*min, dispersion, reach)?))
            }
            Rule::Goal { ratio_min_bp } => Self::Goal(Box::new(Goal::new(settings, *ratio_min_bp)?)),
            Rule::Shadow { status_max, body_max, slower_max } => {
                let shares = [*status_max, *body_max, *slower_max];
                Self::Shadow(Box::new(Compared::new(settings, shares, onset)?))
            }
            Rule::Metric(conditions) => Self::Conditions(Conditioned::new(gate, conditions)),
            Rule::Analysis(rule) => Self::Analysis(Box::new(Analysed::new(gate, rule))),
            Rule::Instances => return None,
        })
    }

    /// Evidence against the release now, nats.
    pub(super) fn ln_against(&self) -> f64 {
        match self {
            Self::Errors(errors) => errors.ln_against(),
            Self::Shift(shift) => shift.ln_against(),
            Self::Quantile(quantile) => quantile.ln_against(),
            Self::Cpu(gauge) | Self::Memory(gauge) => gauge.ln_against(),
            Self::Shadow(compared) => compared.ln_against(),
            Self::Rate(_) | Self::Goal(_) | Self::Conditions(_) | Self::Analysis(_) => 0.0,
        }
    }

    /// Whether a rule that needs no statistics is broken.
    pub(super) fn fails(&self) -> bool {
        match self {
            Self::Cpu(gauge) | Self::Memory(gauge) => gauge.brims(),
            Self::Rate(rate) => rate.fails(),
            Self::Goal(goal) => goal.fails(),
            Self::Conditions(conditions) => conditions.fails(),
            Self::Analysis(analysed) => analysed.fails(),
            Self::Errors(_) | Self::Shift(_) | Self::Quantile(_) | Self::Shadow(_) => false,
        }
    }

    pub(super) fn fault(&self, settings: &Settings, against: f64) -> String {
        match self {
            Self::Errors(errors) => errors.fault(settings, against),
            Self::Shift(shift) => shift.fault(settings, against),
            Self::Quantile(quantile) => quantile.fault(settings, against),
            Self::Cpu(gauge) | Self::Memory(gauge) => gauge.fault(settings, against),
            Self::Rate(rate) => rate.fault(),
            Self::Shadow(compared) => compared.fault(settings, against),
            Self::Goal(goal) => goal.fault(),
            Self::Conditions(conditions) => conditions.fault(),
            Self::Analysis(analysed) => analysed.fault(),
        }
    }
}

/// Whether the counts of an interval may be used.
pub(super) const fn usable(state: DataState) -> bool {
    matches!(state, DataState::Live | DataState::NoTraffic | DataState::Reset)
}
