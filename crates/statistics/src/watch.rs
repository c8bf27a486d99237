//! The open-ended form of the ratio test, for the watch after promotion that has no planned end.

use serde::{Deserialize, Serialize};

use crate::dispersion::Dispersion;
use crate::exact;
use crate::fault::Fault;
use crate::grid::Spec;
use crate::mixture::Mixture;
use crate::pair::Pair;

/// An e-detector of Shiryaev–Roberts type over the grid of the ratio test: `M_t = (M_{t−1} + 1) · LR_t` for every
/// candidate, then their weighted mean (Shin, Ramdas, Rinaldo, *E-detectors*).
///
/// Alarming when the value reaches `A` gives a mean time between false alarms of at least `A` batches, whenever a
/// regression begins. It does **not** bound the probability of a false alarm: watch long enough and one comes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RatioWatch {
    ratio: Mixture,
    dispersion: Dispersion,
    #[serde(with = "exact::one")]
    ln_max: f64,
}

impl RatioWatch {
    /// `tolerated`: the ratio `ρ0` beyond which an alarm is wanted, more than 0 and less than 430.
    pub fn new(tolerated: f64, dispersion: Dispersion) -> Result<Self, Fault> {
        let ratio = Mixture::new(Spec::RatioAbove(tolerated), 1)?;
        Ok(Self { ratio, dispersion, ln_max: f64::NEG_INFINITY })
    }

    /// Takes one batch. A batch without any request is ignored.
    pub fn observe(&mut self, pair: Pair) {
        if pair.new.requests() == 0 && pair.stable.requests() == 0 {
            return;
        }
        let (null, dispersion) = (self.ratio.null(), self.dispersion);
        self.ratio.step(1.0, |candidate| dispersion.temper(candidate.of_pair(pair, null)));
        self.ln_max = self.ln_max.max(self.ln_detector());
    }

    /// Logarithm of the detector; negative infinity before the first batch.
    pub fn ln_detector(&self) -> f64 {
        self.ratio.ln_evidence(f64::NEG_INFINITY)
    }

    /// Largest logarithm so far.
    pub fn ln_detector_max(&self) -> f64 {
        self.ln_max
    }

    /// Whether to alarm when one false alarm in `run_length` batches is acceptable on average.
    pub fn alarms_at(&self, run_length: f64) -> bool {
        run_length >= 1.0 && self.ln_detector() >= libm::log(run_length)
    }
}
