//! The first moments of a release: caches are cold, so only a plain outage counts.

use alloc::{format, string::String};

use tidegate_statistics::{AbsoluteTest, Dispersion, OnsetPrior, Pair, RatioSettings, RatioTest};

use super::{settings::Settings, words};
use crate::model::Millis;

/// Times as many failures as on the stable release that cold caches may bring.
const COLD: f64 = 2.0;

/// Whether the release still warms up, and the guard that looks meanwhile.
#[derive(Clone, Debug, Default)]
pub(super) struct WarmUp {
    over: bool,
    instances: u32,
    exposed: Millis,
    seen: u64,
    failed: u64,
    guard: Option<AbsoluteTest>,
    /// Trouble that hits both releases is no reason to turn one back, in a warm-up either.
    beside: Option<RatioTest>,
}

impl WarmUp {
    /// A warm-up that is about to begin.
    pub(super) fn new(settings: &Settings, dispersion: Dispersion) -> Self {
        let limit = f64::from(settings.warmup_failures_ppm) / 1e6;
        Self {
            over: settings.warmup == Millis::ZERO,
            guard: AbsoluteTest::new(limit, dispersion, OnsetPrior::AT_START).ok(),
            beside: RatioTest::new(RatioSettings { dispersion, ..RatioSettings::plain(COLD) }).ok(),
            ..Self::default()
        }
    }

    /// So many instances are wanted: when they are more than before, the new ones are cold, and it begins again.
    pub(super) fn greet(&mut self, settings: &Settings, instances: u32) {
        if instances > self.instances && self.instances > 0 {
            (self.over, self.exposed, self.seen) = (settings.warmup == Millis::ZERO, Millis::ZERO, 0);
            self.failed = 0;
        }
        self.instances = self.instances.max(instances);
    }

    /// Whether it goes on.
    pub(super) const fn is_on(&self) -> bool {
        !self.over
    }

    /// Takes an interval of both releases' requests; of nobody else's where stable has none.
    pub(super) fn take(&mut self, settings: &Settings, length: Millis, pair: Pair) {
        let arm = pair.new;
        if self.over {
            return;
        }
        if let Some(guard) = &mut self.guard {
            guard.observe(arm);
        }
        if let Some(beside) = self.beside.as_mut().filter(|_| pair.stable.requests() > 0) {
            beside.observe(pair);
        }
        self.exposed = Millis(self.exposed.0.saturating_add(length.0));
        self.seen = self.seen.saturating_add(arm.requests());
        self.failed = self.failed.saturating_add(arm.failures());
        self.over = self.exposed >= settings.warmup || self.seen >= settings.warmup_requests;
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

    /// The guard's evidence, nats: that more fail than may, and more than on the stable release.
    pub(super) fn ln_against(&self) -> f64 {
        let guard = self.guard.as_ref().map_or(0.0, AbsoluteTest::ln_fail);
        match self.beside.as_ref().filter(|beside| beside.batches() > 0) {
            Some(beside) => guard.min(beside.ln_evidence()),
            None => guard,
        }
    }
}
