//! What the sequential gates of a deployment share.

use alloc::string::String;

use serde::{Deserialize, Serialize};
use tidegate_statistics::{Dispersion, InstanceSpread};

use crate::model::{Criticality, Millis};

/// Settings of the sequential gates. Integers, so that a plan's digest is the same everywhere.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Whether the gates only say what they would have done: the plan has a note of it.
    #[serde(skip_serializing_if = "core::ops::Not::not")]
    pub observe: bool,
    /// Probability that a healthy release is turned back, over the whole deployment and all gates, parts per million.
    pub false_rollback_ppm: u32,
    /// Probability that a release at the `bad` ratio passes a gate, parts per million.
    pub miss_ppm: u32,
    /// Ratio to the baseline that must be ruled out before a stage passes, basis points.
    pub bad_bp: u32,
    /// After an exposure that brought new instances, requests are not counted for this long, or until `warmup_requests`
    /// were seen: caches are cold.
    pub warmup: Millis,
    /// See `warmup`.
    pub warmup_requests: u64,
    /// Share of failed requests, parts per million, that turns back even while warming up.
    pub warmup_failures_ppm: u32,
    /// The longest that a stage may last without an answer.
    pub max_dwell: Millis,
    /// The service's objective: share of requests that must succeed, parts per million.
    pub objective_ppm: u32,
    /// Part of 30 days' error budget that may be put at risk by going on with an undecided gate, parts per million.
    pub risk_ppm: u32,
    /// Dispersion of error counts learned from the stable release, thousandths; 1,000 is independent requests.
    pub dispersion_milli: u32,
    /// Spread of error rates between instances learned from the stable release, thousandths of a natural logarithm.
    pub spread_milli: u32,
    /// Noise of the CPU gauge learned from the stable release.
    pub cpu: GaugeNoise,
    /// Noise of the memory gauge.
    pub memory: GaugeNoise,
}

/// How much a gauge moves by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GaugeNoise {
    /// Standard deviation between batches, parts per million.
    pub deviation_ppm: u32,
    /// Correlation of one batch with the next, thousandths, below 1,000.
    pub correlation_milli: u32,
}

impl Default for GaugeNoise {
    /// Before anything was learned: 6 points, strongly correlated.
    fn default() -> Self {
        Self { deviation_ppm: 60_000, correlation_milli: 900 }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            observe: false,
            false_rollback_ppm: 10_000,
            miss_ppm: 50_000,
            bad_bp: 20_000,
            warmup: Millis::secs(30),
            warmup_requests: 10_000,
            warmup_failures_ppm: 100_000,
            max_dwell: Millis::minutes(10),
            objective_ppm: 999_000,
            risk_ppm: 1_000,
            dispersion_milli: 1_000,
            spread_milli: 0,
            cpu: GaugeNoise::default(),
            memory: GaugeNoise::default(),
        }
    }
}

impl Settings {
    /// The defaults for a service of this criticality: what is critical is ruled out at 1.5 ×, with half the misses.
    pub fn for_criticality(criticality: Criticality) -> Self {
        let usual = Self::default();
        match criticality {
            Criticality::Critical => Self { miss_ppm: 10_000, bad_bp: 15_000, ..usual },
            Criticality::High | Criticality::Medium => usual,
            Criticality::Low => Self { bad_bp: 30_000, ..usual },
        }
    }
}

/// Largest ratio that is ever tolerated: one sick instance among many good ones must not leave a service without a gate on
/// errors.
const TOLERATED_MAX: f64 = 100.0;

/// Largest ratio that can be ruled out.
const BAD_MAX: f64 = 1_000.0;

/// What the integers mean to the statistics.
impl Settings {
    /// The false-rollback budget, above 0 and below 1.
    pub(super) fn alpha(&self) -> f64 {
        part(self.false_rollback_ppm)
    }

    /// The probability to pass a bad release, above 0 and below 1.
    pub(super) fn beta(&self) -> f64 {
        part(self.miss_ppm)
    }

    /// Evidence against a release at which a gate by itself turns back, nats.
    pub(super) fn nats_to_fail(&self) -> f64 {
        -libm::log(self.alpha())
    }

    /// Evidence that it is not bad at which a release passes, nats.
    pub(super) fn nats_to_pass(&self) -> f64 {
        -libm::log(self.beta())
    }

    /// Learned dispersion, at least 1.
    pub(super) fn dispersion(&self) -> Dispersion {
        Dispersion::new(f64::from(self.dispersion_milli.max(1_000)) / 1_000.0).unwrap_or(Dispersion::NONE)
    }

    /// The ratio that is tolerated of so many instances: what the gate says, with room for their learned spread.
    pub(super) fn tolerated(&self, ratio_max_bp: u32, instances: u32) -> f64 {
        let spread =
            InstanceSpread::new(f64::from(self.spread_milli) / 1_000.0).unwrap_or(InstanceSpread::NONE);
        spread.widened(f64::from(ratio_max_bp) / 10_000.0, instances).min(TOLERATED_MAX)
    }

    /// The ratio that has to be ruled out where `tolerated` is tolerated: clearly more than that.
    pub(super) fn bad(&self, tolerated: f64) -> f64 {
        (f64::from(self.bad_bp) / 10_000.0).max(tolerated * 1.2).min(BAD_MAX)
    }
}

fn part(ppm: u32) -> f64 {
    f64::from(ppm.clamp(1, 999_999)) / 1e6
}

/// A metric of another source: what to ask, in the adapters' own words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metric {
    /// Its name; gates refer to it.
    pub name: String,
    /// Which source understands the query: `prometheus`, `scrape`, `web`, `command`.
    pub source: String,
    /// The query, as JSON text that the core carries and never reads. Holds names of secrets, never secrets.
    pub query: String,
    /// Time between two questions.
    pub every: Millis,
    /// A sample older than this is stale.
    pub fresh: Millis,
}
