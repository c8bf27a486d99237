//! The alternatives that a test bets on: a short list of candidate values with weights.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::exact;
use crate::fault::{Fault, check, probability};
use crate::pair::{Arm, Pair};

/// Candidates of the ratio test. 12, 24 and 40 were tried: 24 is within 7 % of the best at twofold regressions.
const RATIO_CANDIDATES: u32 = 24;
/// Largest ratio bet on; failures a thousand times as frequent.
const RATIO_MAX: f64 = 1000.0;
/// The first candidate lies this factor above the tolerated value.
const FIRST_STEP: f64 = 1.15;
/// Largest share bet on by the floor's grid.
const SHARE_MAX: f64 = 0.9;
/// Quantile grids are given for a limit of 5 % and scaled from there.
const SHARE_REFERENCE: f64 = 0.05;
const SHARES_ABOVE: [f64; 6] = [0.06, 0.08, 0.12, 0.2, 0.35, 0.6];
const SHARES_BELOW: [f64; 5] = [0.001, 0.01, 0.02, 0.03, 0.04];
const MIRROR: [(f64, f64); 4] = [(0.5, 0.1), (0.8, 0.2), (1.0, 0.5), (1.1, 0.2)];
const ODDS: [f64; 8] = [0.25, 0.5, 0.7, 0.85, 1.2, 1.4, 2.0, 4.0];

/// What a grid is made from; stored instead of the grid, which is worked out again when read.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Spec {
    /// Ratios above a tolerated one.
    RatioAbove(#[serde(with = "exact::one")] f64),
    /// Ratios below a bad one.
    RatioBelow(#[serde(with = "exact::one")] f64),
    /// Shares above a floor, up to 90 %.
    ShareFromFloor(#[serde(with = "exact::one")] f64),
    /// Shares above a limit, near and far.
    ShareAbove(#[serde(with = "exact::one")] f64),
    /// Shares below a limit.
    ShareBelow(#[serde(with = "exact::one")] f64),
    /// Odds of a request going to the new release, both sides of the intended ones.
    Odds,
}

/// One candidate: its value, and what its likelihood needs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Candidate {
    pub(crate) ln_weight: f64,
    /// Nats for each hit: the logarithm of candidate over null.
    hit: f64,
    /// Ratios and odds: candidate minus null. Shares: nats for each miss.
    other: f64,
}

/// Candidates with weights that sum to one, and the null they are compared with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Spec", into = "Spec")]
pub(crate) struct Grid {
    spec: Spec,
    null: f64,
    candidates: Vec<Candidate>,
}

impl Grid {
    pub(crate) fn new(spec: Spec) -> Result<Self, Fault> {
        let (null, values) = values(spec)?;
        let total: f64 = values.iter().map(|(_, weight)| weight).sum();
        let candidate = |&(value, weight): &(f64, f64)| {
            let other = match spec {
                Spec::RatioAbove(_) | Spec::RatioBelow(_) | Spec::Odds => value - null,
                Spec::ShareFromFloor(_) | Spec::ShareAbove(_) | Spec::ShareBelow(_) => {
                    libm::log1p(-value) - libm::log1p(-null)
                }
            };
            Candidate { ln_weight: libm::log(weight / total), hit: libm::log(value / null), other }
        };
        Ok(Self { spec, null, candidates: values.iter().map(candidate).collect() })
    }

    pub(crate) fn candidates(&self) -> &[Candidate] {
        &self.candidates
    }

    pub(crate) fn null(&self) -> f64 {
        self.null
    }
}

impl Candidate {
    /// Formula (1): nats of one batch of two arms for this candidate against `null`. Zero when an arm is empty.
    pub(crate) fn of_pair(&self, pair: Pair, null: f64) -> f64 {
        let ((new, new_failed), (stable, stable_failed)) = (pair.new.parts(), pair.stable.parts());
        if new == 0.0 || stable == 0.0 {
            return 0.0;
        }
        // ln((ρ n_c + n_b) / (ρ0 n_c + n_b)), exact also where the ratio is next to one.
        let pooled = libm::log1p(self.other * new / (null * new + stable));
        new_failed * self.hit - (new_failed + stable_failed) * pooled
    }

    /// Nats of one batch of one arm for this candidate's share (Bernoulli).
    pub(crate) fn of_arm(&self, arm: Arm) -> f64 {
        let (requests, failed) = arm.parts();
        failed * self.hit + (requests - failed) * self.other
    }

    /// Nats for this candidate's odds when `hits` of `all` requests went to an arm that should get `share` of them.
    pub(crate) fn of_split(&self, all: f64, hits: f64, share: f64) -> f64 {
        hits * self.hit - all * libm::log1p(self.other * share)
    }
}

impl TryFrom<Spec> for Grid {
    type Error = Fault;

    fn try_from(spec: Spec) -> Result<Self, Fault> {
        Self::new(spec)
    }
}

impl From<Grid> for Spec {
    fn from(grid: Grid) -> Self {
        grid.spec
    }
}

/// The null value, and the candidates with their unnormalised weights.
fn values(spec: Spec) -> Result<(f64, Vec<(f64, f64)>), Fault> {
    let even = |values: Vec<f64>| values.into_iter().map(|value| (value, 1.0)).collect::<Vec<_>>();
    match spec {
        Spec::RatioAbove(null) => {
            let good = null > 0.0 && null < RATIO_MAX / (2.0 * FIRST_STEP);
            check("the tolerated ratio", null, "more than 0 and less than 430", good)?;
            Ok((null, spaced(null * FIRST_STEP, RATIO_MAX)))
        }
        Spec::RatioBelow(null) => {
            let good = null > 0.5 && null <= RATIO_MAX;
            check("the bad ratio", null, "more than 0.5 and at most 1000", good)?;
            Ok((null, MIRROR.into_iter().filter(|(value, _)| *value < null).collect()))
        }
        Spec::ShareFromFloor(null) => {
            check("the floor", null, "more than 0 and at most 0.5", null > 0.0 && null <= 0.5)?;
            Ok((null, spaced(null * FIRST_STEP, SHARE_MAX)))
        }
        Spec::ShareAbove(null) => {
            probability("the limit", null)?;
            Ok((null, even(SHARES_ABOVE.iter().map(|share| scaled_up(*share, null)).collect())))
        }
        Spec::ShareBelow(null) => {
            probability("the limit", null)?;
            Ok((null, even(SHARES_BELOW.iter().map(|share| share * null / SHARE_REFERENCE).collect())))
        }
        Spec::Odds => Ok((1.0, even(ODDS.to_vec()))),
    }
}

/// Candidates evenly spaced in their logarithm, with weights that fall as `1/√j`: steeper ones cost a failed request more
/// at large regressions, flatter ones are slower at small regressions.
fn spaced(first: f64, last: f64) -> Vec<(f64, f64)> {
    let (low, high) = (libm::log(first), libm::log(last));
    let candidate = |j: u32| {
        let at = f64::from(j) / f64::from(RATIO_CANDIDATES - 1);
        (libm::exp(low + at * (high - low)), 1.0 / libm::sqrt(f64::from(j + 1)))
    };
    (0..RATIO_CANDIDATES).map(candidate).collect()
}

/// A candidate for the limit of 5 %, moved to `limit`: in proportion below that limit, in proportion of the odds above it,
/// where plain proportion would leave the range of a share.
fn scaled_up(share: f64, limit: f64) -> f64 {
    if limit <= SHARE_REFERENCE {
        return share * limit / SHARE_REFERENCE;
    }
    let odds = |share: f64| share / (1.0 - share);
    let moved = odds(limit) * odds(share) / odds(SHARE_REFERENCE);
    moved / (1.0 + moved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_grid_matches_the_golden_values() {
        let values = values(Spec::RatioAbove(1.1)).unwrap().1;
        let grid = Grid::new(Spec::RatioAbove(1.1)).unwrap();
        let weight = |j: usize| libm::exp(grid.candidates()[j].ln_weight);
        for (mine, golden) in [
            (values[0].0, 1.265),
            (values[11].0, 30.764_313_668),
            (values[23].0, 1000.0),
            (weight(0), 0.118_493_068_789),
            (weight(11), 0.034_206_002_581_2),
            (weight(23), 0.024_187_296_382_5),
        ] {
            assert!((mine / golden - 1.0).abs() < 1e-9, "{mine} {golden}");
        }
    }

    #[test]
    fn a_grid_for_any_limit_stays_among_the_shares_and_on_its_side() {
        for limit in [1e-9, 1e-4, 0.01, 0.05, 0.1, 0.5, 0.9, 0.999] {
            for (share, _) in values(Spec::ShareAbove(limit)).unwrap().1 {
                assert!(share > limit && share < 1.0, "{limit} {share}");
            }
            for (share, _) in values(Spec::ShareBelow(limit)).unwrap().1 {
                assert!(share > 0.0 && share < limit, "{limit} {share}");
            }
        }
        for wrong in [0.0, -1.0, 1.0, f64::NAN, f64::INFINITY] {
            assert!(Grid::new(Spec::ShareAbove(wrong)).is_err(), "{wrong}");
        }
        for wrong in [0.0, -1.0, 500.0, f64::NAN, f64::INFINITY] {
            assert!(Grid::new(Spec::RatioAbove(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn swapping_the_arms_and_inverting_the_ratios_changes_no_factor() {
        let null = 1.1;
        for (value, _) in values(Spec::RatioAbove(null)).unwrap().1 {
            let of = |value: f64, null: f64| Candidate {
                ln_weight: 0.0,
                hit: libm::log(value / null),
                other: value - null,
            };
            for counts in [(5, 95, 1, 0), (50, 950, 3, 9), (900, 100, 0, 4), (1, 1, 1, 1), (7, 0, 3, 0)] {
                let pair = Pair::of_counts(counts.0, counts.1, counts.2, counts.3).unwrap();
                let swapped = Pair::new(pair.stable, pair.new);
                let one = of(value, null).of_pair(pair, null);
                let other = of(1.0 / value, 1.0 / null).of_pair(swapped, 1.0 / null);
                assert!(
                    (one - other).abs() <= 1e-9 * one.abs().max(1.0),
                    "{value} {counts:?}: {one} {other}"
                );
            }
        }
    }
}
