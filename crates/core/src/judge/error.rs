//! The error-ratio gate: failed requests of the new release against the stable one's in the same intervals, and against
//! what the stable release did before where it has no traffic any more.

use alloc::{format, string::String};

use tidegate_statistics::{
    AbsoluteTest, Arm, Bounds, Dispersion, InstanceSpread, MirrorTest, OnsetPrior, Pair, RatioInterval,
    RatioSettings, RatioTest,
};

use super::{
    panel::{Answer, Interval, Standing},
    risk::{self, AtRisk},
    settings::Settings,
    words,
};

/// Of the evidence, the part that belongs to the time after everything was shifted: it is then compared with the period
/// before, which is no comparison in the same moment.
const AFTER: f64 = 0.1;

/// A failed share below which the period before is not trusted to be told apart from noise.
const BEFORE_MIN: f64 = 0.001;

/// One-sided 97.5 % quantile of the normal distribution: what the period before may have been at most.
const Z: f64 = 1.96;

/// The error-ratio gate's processes.
#[derive(Clone, Debug)]
pub(super) struct Errors {
    ratio: RatioTest,
    mirror: MirrorTest,
    interval: RatioInterval,
    dispersion: Dispersion,
    bad: f64,
    before: Pair,
    after: Option<AbsoluteTest>,
    after_seen: Arm,
}

impl Errors {
    /// Nothing when a setting is outside its range.
    pub(super) fn new(
        settings: &Settings,
        ratio_max_bp: u32,
        floor: crate::model::Share,
        instances: u32,
        onset: OnsetPrior,
    ) -> Option<Self> {
        let dispersion = dispersion(settings);
        let spread =
            InstanceSpread::new(f64::from(settings.spread_milli) / 1_000.0).unwrap_or(InstanceSpread::NONE);
        let tolerated = spread.widened(f64::from(ratio_max_bp) / 10_000.0, instances);
        let bad = (f64::from(settings.bad_bp) / 10_000.0).max(tolerated * 1.2);
        let floor = f64::from(floor.basis_points()) / 10_000.0;
        let ratio = RatioSettings {
            tolerated,
            floor: Some(if floor > 0.0 { floor.min(0.5) } else { 1e-4 }),
            dispersion,
            onset,
        };
        Some(Self {
            ratio: RatioTest::new(ratio).ok()?,
            mirror: MirrorTest::new(bad, dispersion).ok()?,
            interval: RatioInterval::new(dispersion),
            dispersion,
            bad,
            before: Pair::default(),
            after: None,
            after_seen: Arm::EMPTY,
        })
    }

    pub(super) fn take(&mut self, seen: &Interval<'_>) {
        let pair = seen.pair(|arm| arm.failures);
        if !seen.share.is_all() {
            self.before = self.before.plus(pair);
        }
        if seen.warming {
            return;
        }
        if seen.raised {
            self.ratio.raise_traffic();
        }
        if seen.share.is_all() {
            self.take_after(pair.new);
        } else {
            self.ratio.observe(pair);
            self.mirror.observe(pair);
            self.interval.observe(pair);
        }
    }

    /// Nothing of the stable release to compare with in the same moment: its worst plausible share of before, times what
    /// counts as bad, is the limit.
    fn take_after(&mut self, new: Arm) {
        self.after_seen = self.after_seen.plus(new);
        let (before, bad, dispersion) = (self.before.stable, self.bad, self.dispersion);
        if before.requests() == 0 {
            return;
        }
        let test = match &mut self.after {
            Some(test) => test,
            empty => {
                let worst =
                    crate::gate::wilson_upper(before.failures(), before.requests(), Z).max(BEFORE_MIN);
                let Ok(test) = AbsoluteTest::new((worst * bad).min(0.5), dispersion, OnsetPrior::AT_START)
                else {
                    return;
                };
                empty.insert(test)
            }
        };
        test.observe(new);
    }

    pub(super) fn ln_against(&self) -> f64 {
        let after = self.after.as_ref().map_or(0.0, AbsoluteTest::ln_fail);
        let (during, after) = (self.ratio.ln_evidence() + libm::log(1.0 - AFTER), after + libm::log(AFTER));
        let (more, less) = if during > after { (during, after) } else { (after, during) };
        more + libm::log1p(libm::exp(less - more))
    }

    pub(super) fn bounds(&self) -> Option<Bounds> {
        self.interval.bounds(0.05).ok()
    }

    pub(super) fn total(&self) -> Pair {
        self.ratio.total()
    }

    /// Evidence that it is not bad, nats.
    pub(super) fn ln_for(&self) -> f64 {
        self.mirror.ln_evidence().max(self.after.as_ref().map_or(f64::NEG_INFINITY, AbsoluteTest::ln_pass))
    }

    pub(super) fn answer(&self, settings: &Settings, at_risk: Option<AtRisk>) -> Answer {
        let total = self.total();
        let bounds = self.bounds();
        let seen = if self.after_seen.requests() > 0 {
            format!(
                "{}; since then {} of {}",
                words::counted(total, "failed"),
                words::grouped(self.after_seen.failures()),
                words::grouped(self.after_seen.requests()),
            )
        } else {
            words::counted(total, "failed")
        };
        let known = bounds.map_or_else(String::new, words::plausible);
        let (standing, more) = self.standing(settings, bounds, at_risk);
        Answer {
            standing,
            reason: format!("{seen}; {known}{more}"),
            value: total.plus(Pair::new(self.after_seen, Arm::EMPTY)).new.rate(),
            limit: total.stable.rate().map(|rate| rate * self.ratio.tolerated()),
            baseline: total.stable.rate(),
            bounds,
            ln_for: self.ln_for(),
            ln_bayes: (total.new.requests() > 0).then(|| self.interval.ln_bayes_factor()),
        }
    }

    fn standing(
        &self,
        settings: &Settings,
        bounds: Option<Bounds>,
        at_risk: Option<AtRisk>,
    ) -> (Standing, String) {
        let ruled_out = self.ln_for() >= ln_inverse(settings.miss_ppm)
            || bounds.and_then(|bounds| bounds.upper).is_some_and(|upper| upper < self.bad);
        if ruled_out {
            return (Standing::Passed, format!("; a {} x regression is ruled out", words::times(self.bad)));
        }
        // Everything is exposed already: to wait here protects nobody, so the time before decides as far as it can.
        if let Some(after) = self.after.as_ref().filter(|_| self.after_seen.requests() > 0) {
            let calm = after.ln_fail() < ln_inverse(settings.false_rollback_ppm) / 2.0;
            let standing = if calm { Standing::Passed } else { Standing::Undecided };
            return (
                standing,
                format!("; up to {} is no worse than before", words::percent(Some(after.limit()))),
            );
        }
        let Some(at_risk) = at_risk else { return (Standing::Undecided, String::new()) };
        let harm = risk::worst(&self.interval, self.total(), at_risk);
        if harm.requests <= at_risk.allowed {
            let words = format!(
                "; {} x is not ruled out, but going on risks about {} failed requests at most, {} are allowed",
                words::times(self.bad),
                words::grouped(words::whole(harm.requests)),
                words::grouped(words::whole(at_risk.allowed)),
            );
            return (Standing::Passed, words);
        }
        (Standing::Undecided, format!("; ruling out {} x needs more traffic", words::times(self.bad)))
    }

    /// Why it turned back.
    pub(super) fn fault(&self, settings: &Settings, ln_against: f64) -> String {
        let at_least = self.bounds().filter(|bounds| bounds.lower > 1.0).map_or_else(String::new, |bounds| {
            format!("; the new release fails at least {} x as often (95 %)", words::times(bounds.lower))
        });
        let after = if self.after.as_ref().is_some_and(|after| after.ln_fail() > self.ratio.ln_evidence()) {
            format!(
                "; with all traffic {} of {} failed",
                words::grouped(self.after_seen.failures()),
                words::grouped(self.after_seen.requests())
            )
        } else {
            String::new()
        };
        format!(
            "{}{after}{at_least}; {}",
            words::counted(self.total(), "failed"),
            words::rarity(ln_against, settings.false_rollback_ppm)
        )
    }
}

/// The dispersion of the settings, at least 1.
pub(super) fn dispersion(settings: &Settings) -> Dispersion {
    Dispersion::new(f64::from(settings.dispersion_milli.max(1_000)) / 1_000.0).unwrap_or(Dispersion::NONE)
}

/// `ln(1/p)` of parts per million.
pub(super) fn ln_inverse(ppm: u32) -> f64 {
    -libm::log(f64::from(ppm.clamp(1, 999_999)) / 1e6)
}
