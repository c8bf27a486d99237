//! Does the new release get, and serve, its share of the requests?

use serde::{Deserialize, Serialize};

use crate::dispersion::Dispersion;
use crate::exact;
use crate::fault::{Fault, check, probability};
use crate::grid::Spec;
use crate::mixture::Mixture;

/// Requests of the new release that a window must be expected to hold before it is judged.
pub const EXPECTED_MIN: f64 = 50.0;
/// Windows in a row below the limit before the rule fails.
pub const WINDOWS: u8 = 2;

/// Standard normal quantile of a two-sided 95 % interval.
const Z: f64 = 1.959_963_984_540_054;

/// What the request-rate rule knows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum RateReading {
    /// No window is complete yet.
    Unknown,
    /// The last complete window is at or above the limit.
    Enough {
        /// Requests over those expected.
        part: f64,
    },
    /// One window is below the limit; the next decides.
    Doubtful {
        /// Requests over those expected.
        part: f64,
    },
    /// Two windows in a row are below the limit.
    TooFew {
        /// Requests over those expected.
        part: f64,
    },
}

/// The rule "at least half the requests that the share promises": `(n_c / n_b) / (s / (1 − s))` below the limit in two
/// windows in a row, where a window is as many batches as it takes to expect 50 requests.
///
/// Raw rates compared with the stable release's would fail every healthy release below a third of the traffic.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateRule {
    #[serde(with = "exact::one")]
    limit: f64,
    #[serde(with = "exact::one")]
    expected: f64,
    #[serde(with = "exact::one")]
    seen: f64,
    /// Of the stable release.
    #[serde(with = "exact::one")]
    stable: f64,
    #[serde(with = "exact::option")]
    part: Option<f64>,
    #[serde(with = "exact::option")]
    least: Option<f64>,
    #[serde(with = "exact::option")]
    most: Option<f64>,
    low: u8,
}

impl RateRule {
    /// `limit`: part of the expected requests, more than 0 and at most 1; usually 0.5.
    pub fn new(limit: f64) -> Result<Self, Fault> {
        check("the limit", limit, "more than 0 and at most 1", limit > 0.0 && limit <= 1.0)?;
        let (expected, seen, stable) = (0.0, 0.0, 0.0);
        Ok(Self { limit, expected, seen, stable, part: None, least: None, most: None, low: 0 })
    }

    /// Takes the requests of one batch while the new release had `share` of the traffic (more than 0, less than 1).
    pub fn observe(&mut self, new: u64, stable: u64, share: f64) -> Result<(), Fault> {
        probability("the share", share)?;
        self.expected += stable as f64 * share / (1.0 - share);
        self.seen += new as f64;
        self.stable += stable as f64;
        if self.expected < EXPECTED_MIN {
            return Ok(());
        }
        let part = self.seen / self.expected;
        self.part = Some(part);
        self.low = if part < self.limit { self.low.saturating_add(1) } else { 0 };
        let (least, most) = wilson(self.seen, self.seen + self.stable);
        let of_odds = |share: f64| share / (1.0 - share) * self.stable / self.expected;
        (self.least, self.most) = (Some(of_odds(least)), Some(of_odds(most)));
        (self.expected, self.seen, self.stable) = (0.0, 0.0, 0.0);
        Ok(())
    }

    /// The parts that are plausible by the last complete window alone, 95 %; `None` before the first. Holds for one window
    /// that is looked at once, and for requests that come one by one.
    pub fn plausible(&self) -> Option<(f64, f64)> {
        Some((self.least?, self.most?))
    }

    /// What is known now.
    pub fn reading(&self) -> RateReading {
        match (self.part, self.low) {
            (None, _) => RateReading::Unknown,
            (Some(part), 0) => RateReading::Enough { part },
            (Some(part), low) if low < WINDOWS => RateReading::Doubtful { part },
            (Some(part), _) => RateReading::TooFew { part },
        }
    }
}

/// Wilson's score interval for `hits` of `trials` (E. B. Wilson, JASA 22, 1927), 95 %.
fn wilson(hits: f64, trials: f64) -> (f64, f64) {
    let (p, z2) = (hits / trials, Z * Z);
    let middle = p + z2 / (2.0 * trials);
    let spread = Z * libm::sqrt(p * (1.0 - p) / trials + z2 / (4.0 * trials * trials));
    let scale = 1.0 + z2 / trials;
    (((middle - spread) / scale).max(0.0), (middle + spread) / scale)
}

/// Evidence that the traffic is not split as intended: a diagnostic that finds mis-wired routing, not a gate.
///
/// Each request goes to the new release with probability `s` under the null. Bets on a quarter to four times the intended
/// odds, both sides, and stays valid while `s` changes (after Lindon & Malek 2022, who bet with a Dirichlet prior on one
/// constant split). Sticky sessions move requests in bursts: temper it by their length.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SplitTest {
    odds: Mixture,
    dispersion: Dispersion,
    started: bool,
}

impl SplitTest {
    /// Without evidence.
    pub fn new(dispersion: Dispersion) -> Result<Self, Fault> {
        Ok(Self { odds: Mixture::new(Spec::Odds, 1)?, dispersion, started: false })
    }

    /// Takes the requests of one batch while the new release should have had `share` of them (more than 0, less than 1).
    pub fn observe(&mut self, new: u64, stable: u64, share: f64) -> Result<(), Fault> {
        probability("the share", share)?;
        let (hits, all) = (new as f64, new as f64 + stable as f64);
        let mass = if self.started { 0.0 } else { 1.0 };
        let dispersion = self.dispersion;
        self.odds.step(mass, |candidate| dispersion.temper(candidate.of_split(all, hits, share)));
        self.started = true;
        Ok(())
    }

    /// Evidence in nats that the split is wrong, now.
    pub fn ln_evidence(&self) -> f64 {
        if self.started { self.odds.ln_evidence(f64::NEG_INFINITY) } else { 0.0 }
    }
}
