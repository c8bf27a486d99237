//! The first moments of a release: caches are cold, so only a plain outage counts.

use alloc::{format, string::String};

use tidegate_statistics::{AbsoluteTest, Arm, OnsetPrior, Pair, RatioSettings, RatioTest};

use super::{
    error::{AFTER, Z, bad_after},
    mix::mixed,
    settings::Settings,
    words,
};
use crate::{gate::wilson_upper, model::Millis};

/// Times as many failures as on the stable release that cold caches may bring.
const COLD: f64 = 2.0;

/// Whether the release still warms up, and the guard that looks meanwhile.
#[derive(Clone, Debug, Default)]
pub(super) struct WarmUp {
    over: bool,
    /// The present batch only holds the time until they were ready.
    starting: bool,
    instances: u32,
    exposed: Millis,
    seen: u64,
    failed: u64,
    guard: Option<AbsoluteTest>,
    /// Trouble that hits both releases is no reason to turn one back, in a warm-up either.
    beside: Option<RatioTest>,
    /// The stable release while it had traffic.
    before: Option<Arm>,
    /// With all traffic there is nobody beside the release: the guard of that time.
    alone: Option<AbsoluteTest>,
    /// Whether some of it had the stable release beside it.
    shared: bool,
}

impl WarmUp {
    /// A warm-up that is about to begin.
    pub(super) fn new(settings: &Settings) -> Self {
        let (limit, dispersion) = (limit(settings), settings.dispersion());
        Self {
            over: settings.warmup == Millis::ZERO,
            guard: AbsoluteTest::new(limit, dispersion, OnsetPrior::AT_START).ok(),
            beside: RatioTest::new(RatioSettings { dispersion, ..RatioSettings::plain(COLD) }).ok(),
            ..Self::default()
        }
    }

    /// So many instances are wanted: when they are more than before, the new ones are cold, and it begins again. Where the
    /// share is `raised` only afterwards, the batch ends when they are ready, and holds the time that their start took.
    pub(super) fn greet(&mut self, settings: &Settings, instances: u32, raised: bool) {
        if instances > self.instances && self.instances > 0 {
            (self.over, self.exposed, self.seen) = (settings.warmup == Millis::ZERO, Millis::ZERO, 0);
            (self.failed, self.starting) = (0, !raised);
        }
        self.instances = self.instances.max(instances);
    }

    /// Whether it goes on.
    pub(super) const fn is_on(&self) -> bool {
        !self.over
    }

    /// What the stable release did over an interval, whoever was cold then.
    pub(super) fn remember(&mut self, stable: Arm) {
        if stable.requests() > 0 {
            self.before = Some(self.before.unwrap_or(Arm::EMPTY).plus(stable));
        }
    }

    /// Takes an interval of both releases' requests; of nobody else's where the release has `all` traffic.
    pub(super) fn take(&mut self, settings: &Settings, length: Millis, pair: Pair, all: bool) {
        let arm = pair.new;
        if self.over {
            return;
        }
        if all && pair.stable.requests() == 0 {
            self.take_alone(settings, arm);
        } else {
            self.take_beside(pair);
        }
        if core::mem::take(&mut self.starting) {
            return;
        }
        self.exposed = Millis(self.exposed.0.saturating_add(length.0));
        self.seen = self.seen.saturating_add(arm.requests());
        self.failed = self.failed.saturating_add(arm.failures());
        self.over = self.exposed >= settings.warmup || self.seen >= settings.warmup_requests;
    }

    fn take_beside(&mut self, pair: Pair) {
        // What came first decides how the evidence is shared: that may not depend on what is seen.
        self.shared |= self.alone.is_none();
        if let Some(guard) = &mut self.guard {
            guard.observe(pair.new);
        }
        if let Some(beside) = self.beside.as_mut().filter(|_| pair.stable.requests() > 0) {
            beside.observe(pair);
        }
    }

    /// What many requests of the stable release failed of before is no outage of this one.
    fn take_alone(&mut self, settings: &Settings, arm: Arm) {
        if self.alone.is_none() {
            let worst = |before: Arm| wilson_upper(before.failures(), before.requests(), Z);
            let bad = self.before.map_or(0.0, |before| bad_after(worst(before), COLD));
            let limit = limit(settings).max(bad);
            self.alone = AbsoluteTest::new(limit, settings.dispersion(), OnsetPrior::AT_START).ok();
        }
        if let Some(alone) = &mut self.alone {
            alone.observe(arm);
        }
    }

    /// What it waits for, and what the guard has seen.
    pub(super) fn said(&self, settings: &Settings) -> String {
        format!(
            "warming up: requests count after {} or the first {}, until then only an outage turns back; {} of {} failed so far",
            settings.warmup,
            words::grouped(settings.warmup_requests),
            words::grouped(self.failed),
            words::grouped(self.seen),
        )
    }

    /// Why the guard turns back.
    pub(super) fn fault(&self, settings: &Settings, ln_against: f64) -> String {
        let alone = self.alone.as_ref().filter(|alone| alone.ln_fail() > self.ln_beside());
        format!(
            "more than {} of the requests failed while the release was warming up; {}",
            words::percent(Some(alone.map_or_else(|| limit(settings), AbsoluteTest::limit))),
            words::rarity(ln_against, settings.false_rollback_ppm)
        )
    }

    /// The guard's evidence, nats: that more fail than may, and more than on the stable release in the same moments, or
    /// before where it has no traffic any more.
    pub(super) fn ln_against(&self) -> f64 {
        let alone = self.alone.as_ref().map_or(0.0, AbsoluteTest::ln_fail);
        // Nothing was shared with a time that came before everything was shifted: all of the evidence is this one's.
        if self.alone.is_some() && !self.shared { alone } else { mixed(self.ln_beside(), alone, AFTER) }
    }

    fn ln_beside(&self) -> f64 {
        let guard = self.guard.as_ref().map_or(0.0, AbsoluteTest::ln_fail);
        match self.beside.as_ref().filter(|beside| beside.batches() > 0) {
            Some(beside) => guard.min(beside.ln_evidence()),
            None => guard,
        }
    }
}

/// The share of failures that is more than cold caches.
fn limit(settings: &Settings) -> f64 {
    f64::from(settings.warmup_failures_ppm) / 1e6
}
