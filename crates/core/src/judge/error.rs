//! The error-ratio gate: failed requests of the new release against the stable one's in the same intervals, and against
//! what the stable release did before where it has no traffic any more.

use alloc::{format, string::String};

use tidegate_statistics::{
    AbsoluteTest, Arm, Bounds, Dispersion, MirrorTest, OnsetPrior, Pair, RatioInterval, RatioSettings,
    RatioTest,
};

use super::{
    mix::mixed,
    risk::{self, AtRisk},
    seat::{Answer, Interval, Standing},
    settings::Settings,
    strata::{STRATA_MAX, Stratum},
    words,
};
use crate::{
    gate::{Gate, Rule, wilson_upper},
    model::Share,
};

/// Of the evidence, the part that belongs to the time after everything was shifted: it is then compared with the period
/// before, which is no comparison in the same moment.
pub(super) const AFTER: f64 = 0.1;

/// A failed share below which the period before is not trusted to be told apart from noise.
const BEFORE_MIN: f64 = 0.001;

/// One-sided 97.5 % quantile of the normal distribution: what the period before may have been at most.
pub(super) const Z: f64 = 1.96;

/// The error-ratio gate's processes.
#[derive(Clone, Debug)]
pub(super) struct Errors {
    ratio: RatioTest,
    mirror: MirrorTest,
    interval: RatioInterval,
    dispersion: Dispersion,
    bad: f64,
    before: Pair,
    /// Kinds of requests that are told apart.
    strata: usize,
    after: Option<AbsoluteTest>,
    after_seen: Arm,
}

impl Errors {
    /// Nothing when a setting is outside its range.
    pub(super) fn new(
        settings: &Settings,
        ratio_max_bp: u32,
        floor: Share,
        instances: u32,
        onset: OnsetPrior,
    ) -> Option<Self> {
        let dispersion = settings.dispersion();
        let tolerated = settings.tolerated(ratio_max_bp, instances);
        let bad = settings.bad(tolerated);
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
            strata: 0,
            after: None,
            after_seen: Arm::EMPTY,
        })
    }

    pub(super) fn take(&mut self, seen: &Interval<'_>) {
        let pair = seen.pair(|arm| arm.failures);
        if !seen.share.is_all() {
            self.before = self.before.plus(pair);
        }
        if seen.raised {
            self.ratio.raise_traffic();
        }
        if seen.warming {
            return;
        }
        if seen.share.is_all() {
            self.take_after(pair.new);
        } else {
            self.take_beside(pair, seen.strata);
        }
    }

    /// What both releases did in the same moments, each kind of request by itself.
    fn take_beside(&mut self, pair: Pair, strata: &[Stratum]) {
        let pairs = Stratum::split(strata, pair);
        self.ratio.observe_strata(&pairs);
        self.mirror.observe_strata(&pairs);
        for pair in pairs {
            self.interval.observe(pair);
        }
        self.strata = self.strata.max(strata.len().min(STRATA_MAX));
    }

    /// `; compared within each of 3 strata`, where there are some.
    fn within(&self) -> String {
        if self.strata == 0 {
            return String::new();
        }
        format!("; compared within each of {} strata", self.strata)
    }

    /// Nothing of the stable release to compare with in the same moment: what it plausibly did at worst before says how much
    /// is bad.
    fn take_after(&mut self, new: Arm) {
        self.after_seen = self.after_seen.plus(new);
        let (before, bad, dispersion) = (self.before.stable, self.bad, self.dispersion);
        if before.requests() == 0 {
            return;
        }
        let test = match &mut self.after {
            Some(test) => test,
            empty => {
                let worst = wilson_upper(before.failures(), before.requests(), Z);
                let limit = bad_after(worst, bad);
                let Ok(test) = AbsoluteTest::new(limit, dispersion, OnsetPrior::AT_START) else { return };
                empty.insert(test)
            }
        };
        test.observe(new);
    }

    pub(super) fn ln_against(&self) -> f64 {
        let after = self.after.as_ref().map_or(0.0, AbsoluteTest::ln_fail);
        mixed(self.ratio.ln_evidence(), after, AFTER)
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
            reason: format!("{seen}{}; {known}{more}", self.within()),
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
        // Everything is exposed already: to wait here protects nobody, so the time before decides as far as it can. What
        // spoke for the release until then does not pass it any more.
        if let Some(after) = self.after.as_ref().filter(|_| self.after_seen.requests() > 0) {
            let calm = after.ln_fail() < settings.nats_to_fail() / 2.0;
            let standing = if calm { Standing::Passed } else { Standing::Undecided };
            let past = format!(
                "; stable has no traffic any more, its past stands in ({} of {} failed): up to {} is no worse",
                words::grouped(self.before.stable.failures()),
                words::grouped(self.before.stable.requests()),
                words::percent(Some(after.limit())),
            );
            return (standing, past);
        }
        let ruled_out = self.ln_for() >= settings.nats_to_pass()
            || bounds.and_then(|bounds| bounds.upper).is_some_and(|upper| upper < self.bad);
        if ruled_out {
            return (Standing::Passed, format!("; a {} x regression is ruled out", words::times(self.bad)));
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
                "; with all traffic {} of {} failed, against stable's past",
                words::grouped(self.after_seen.failures()),
                words::grouped(self.after_seen.requests())
            )
        } else {
            String::new()
        };
        format!(
            "{}{}{after}{at_least}; {}",
            words::counted(self.total(), "failed"),
            self.within(),
            words::rarity(ln_against, settings.false_rollback_ppm)
        )
    }
}

/// The share of failures from which a release is bad after everything was shifted, when the stable one failed `worst` of its
/// requests before: `bad` times as many, and never more than half of what is left, or nothing would be bad where much fails
/// anyway.
pub(super) fn bad_after(worst: f64, bad: f64) -> f64 {
    let worst = worst.max(BEFORE_MIN);
    (worst * bad).min(f64::midpoint(worst, 1.0))
}

/// The ratio to the stable release's failures that the first of these gates on errors tolerates, basis points.
pub(super) fn ratio_max_bp<'a>(gates: impl IntoIterator<Item = &'a Gate>) -> Option<u32> {
    gates.into_iter().find_map(|gate| {
        if let Rule::ErrorRate { ratio_max_bp, .. } = gate.rule { Some(ratio_max_bp) } else { None }
    })
}
