//! When a regression may begin: the prior mass of formulas (2) and (3).

use serde::{Deserialize, Serialize};

use crate::exact;
use crate::fault::{Fault, check};

/// Mass on the first batch.
const FIRST: f64 = 0.5;
/// Mass on the first batch after each raise of traffic, as long as all raises together leave something to spread.
const RAISE: f64 = 0.1;
/// Most mass that all raises together may take.
const RAISES: f64 = 0.3;

/// How the mass of one is spread over the batches in which a regression may begin.
///
/// With all mass on the first batch the test is quickest against a release that is bad from the start, and slow against
/// one that turns bad later, because everything good seen before speaks for it. Spreading the mass costs a tenth of the
/// time at the start and makes late regressions 3 to 5 times quicker to find.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct OnsetPrior {
    #[serde(with = "exact::one")]
    first: f64,
    #[serde(with = "exact::one")]
    raise: f64,
    #[serde(with = "exact::one")]
    spread: f64,
    raises: u32,
}

impl OnsetPrior {
    /// All mass on the first batch.
    pub const AT_START: Self = Self { first: 1.0, raise: 0.0, spread: 0.0, raises: 0 };

    /// 0.5 on the first batch, 0.1 on the first batch after each of `raises` raises of traffic (less when there are more
    /// than three), the rest in equal parts on `horizon` batches, the planned length of the whole rollout. Batches beyond
    /// the horizon and raises beyond the plan get nothing, so the mass never exceeds one.
    pub fn spread(horizon: u64, raises: u32) -> Self {
        let raise = if raises == 0 { 0.0 } else { RAISE.min(RAISES / f64::from(raises)) };
        let rest = 1.0 - FIRST - raise * f64::from(raises);
        Self { first: FIRST, raise, spread: rest / horizon.max(1) as f64, raises }
    }

    fn checked(self) -> Result<Self, Fault> {
        let parts = [("first", self.first), ("raise", self.raise), ("spread", self.spread)];
        for (what, part) in parts {
            check(what, part, "between 0 and 1", (0.0..=1.0).contains(&part))?;
        }
        Ok(self)
    }
}

impl Default for OnsetPrior {
    /// Half an hour of one-second batches with two raises: the standard plan of three stages of ten minutes.
    fn default() -> Self {
        Self::spread(1800, 2)
    }
}

/// How much of the prior has been given out.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Onset {
    prior: OnsetPrior,
    #[serde(with = "exact::one")]
    left: f64,
    started: bool,
    raised: bool,
    raises_left: u32,
}

impl Onset {
    pub(crate) fn new(prior: OnsetPrior) -> Result<Self, Fault> {
        let prior = prior.checked()?;
        Ok(Self { prior, left: 1.0, started: false, raised: false, raises_left: prior.raises })
    }

    /// The next batch is the first at a larger share of the traffic.
    pub(crate) fn raise(&mut self) {
        self.raised = self.started;
    }

    /// Gives out the mass of the next batch. It depends on the plan and on earlier batches only, never on the counts of
    /// the batch itself; the proof needs that.
    pub(crate) fn next_mass(&mut self) -> f64 {
        let mut mass = self.prior.spread;
        if !self.started {
            mass += self.prior.first;
        } else if self.raised && self.raises_left > 0 {
            mass += self.prior.raise;
            self.raises_left -= 1;
        }
        self.started = true;
        self.raised = false;
        let mass = mass.min(self.left);
        self.left -= mass;
        mass
    }

    /// Logarithm of the mass not given out yet.
    pub(crate) fn ln_left(&self) -> f64 {
        if self.left > 0.0 { libm::log(self.left) } else { f64::NEG_INFINITY }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mass_given_out_never_exceeds_one() {
        for (horizon, raises) in [(0, 0), (1, 0), (7, 2), (1800, 2), (1800, 40), (u64::MAX, u32::MAX)] {
            let mut onset = Onset::new(OnsetPrior::spread(horizon, raises)).unwrap();
            let mut total = 0.0;
            for batch in 0..4000 {
                if batch % 3 == 0 {
                    onset.raise();
                }
                total += onset.next_mass();
            }
            assert!(total <= 1.0 + 1e-12, "{horizon} {raises}: {total}");
        }
    }

    #[test]
    fn the_shipped_prior_puts_half_first_and_a_tenth_on_each_planned_raise() {
        let mut onset = Onset::new(OnsetPrior::spread(100, 2)).unwrap();
        let step = 0.3 / 100.0;
        onset.raise();
        assert!((onset.next_mass() - 0.5 - step).abs() < 1e-15);
        assert!((onset.next_mass() - step).abs() < 1e-15);
        for expected in [0.1 + step, 0.1 + step, step] {
            onset.raise();
            assert!((onset.next_mass() - expected).abs() < 1e-15);
        }
    }
}
