//! Which ratios are still plausible: a confidence sequence, and the odds of the release being bad.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::dispersion::Dispersion;
use crate::exact;
use crate::fault::{Fault, check, probability};
use crate::logspace::ln_sum;
use crate::pair::Pair;

const RATIOS: u32 = 120;
const RATIO_MIN: f64 = 0.05;
const RATIO_MAX: f64 = 1000.0;
/// Ratios around a given one: so many on either side of it, spaced as `A sinh(B j/60)`. The first steps are 0.2 %, and at any
/// distance a step is about a tenth of that distance, up to 23 times more and less.
const BESIDE: i32 = 60;
const BESIDE_A: f64 = 0.021;
const BESIDE_B: f64 = 5.7;
/// Ratios that count as bad, and those that count as good, in the Bayes factor; between them neither.
const BAD_FROM: f64 = 1.5;
const GOOD_FROM: f64 = 0.5;
const GOOD_TO: f64 = 1.1;

/// The plausible ratios of the failed shares, at all times simultaneously.
///
/// It keeps the log-likelihood `ℓ(ρ)` of 120 ratios from 0.05 to 1000, evenly spaced in their logarithm (each 8.7 % above
/// the one before), and keeps as plausible every ratio that is not beaten by the mean of them by more than a factor `1/α`,
/// those between two of them too. The true ratio, as long as it is constant, leaves this set at any time with probability
/// at most `α` (Ville's inequality for the mean of the likelihoods).
///
/// ```
/// use tidegate_statistics::{Dispersion, Pair, RatioInterval};
/// let mut interval = RatioInterval::new(Dispersion::NONE);
/// interval.observe(Pair::of_counts(3_000, 57_000, 30, 570)?);
/// let plausible = interval.bounds(0.05)?;
/// assert!(plausible.lower < 1.0 && plausible.upper.is_some_and(|upper| upper < 2.0));
/// # Ok::<(), tidegate_statistics::Fault>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct RatioInterval {
    #[serde(with = "exact::many")]
    ln_likelihoods: Vec<f64>,
    dispersion: Dispersion,
    #[serde(with = "exact::option")]
    around: Option<f64>,
    /// Each with its logarithm.
    #[serde(skip)]
    ratios: Vec<(f64, f64)>,
}

#[derive(Deserialize)]
struct Stored {
    #[serde(with = "exact::many")]
    ln_likelihoods: Vec<f64>,
    dispersion: Dispersion,
    #[serde(with = "exact::option")]
    around: Option<f64>,
}

impl TryFrom<Stored> for RatioInterval {
    type Error = Fault;

    fn try_from(stored: Stored) -> Result<Self, Fault> {
        let Stored { ln_likelihoods, dispersion, around } = stored;
        let empty = match around {
            None => Self::new(dispersion),
            Some(ratio) => Self::around(ratio, dispersion)?,
        };
        if ln_likelihoods.len() != empty.ratios.len() {
            return Err(Fault::Damaged { what: "likelihoods" });
        }
        Ok(Self { ln_likelihoods, ..empty })
    }
}

/// The ends of a set of plausible ratios: no plausible one lies outside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Smallest plausible ratio; 0 when even the smallest one looked at is plausible.
    pub lower: f64,
    /// Largest plausible ratio; `None` when even the largest one looked at is plausible.
    pub upper: Option<f64>,
}

impl RatioInterval {
    /// Every ratio is plausible.
    pub fn new(dispersion: Dispersion) -> Self {
        Self::of(spaced().collect(), None, dispersion)
    }

    /// The same with 121 ratios around this one, more than 0 and at most 1000, dense beside it and from 23 times less to 23
    /// times more: for the question whether the true ratio is above or below, which steps of 8.7 % leave open for ever where
    /// the two are closer than that.
    pub fn around(ratio: f64, dispersion: Dispersion) -> Result<Self, Fault> {
        check("the ratio", ratio, "more than 0 and at most 1000", ratio > 0.0 && ratio <= RATIO_MAX)?;
        Ok(Self::of(beside(ratio).collect(), Some(ratio), dispersion))
    }

    fn of(ln_ratios: Vec<f64>, around: Option<f64>, dispersion: Dispersion) -> Self {
        let ratios: Vec<_> = ln_ratios.into_iter().map(|ln| (libm::exp(ln), ln)).collect();
        Self { ln_likelihoods: alloc::vec![0.0; ratios.len()], dispersion, around, ratios }
    }

    /// Takes one batch; strata are taken one after the other. A batch with an empty arm changes nothing.
    pub fn observe(&mut self, pair: Pair) {
        let ((new, new_failed), (stable, stable_failed)) = (pair.new.parts(), pair.stable.parts());
        let failed = new_failed + stable_failed;
        if new == 0.0 || stable == 0.0 || failed == 0.0 {
            return;
        }
        let share = new / (new + stable);
        for (sum, (ratio, ln_ratio)) in self.ln_likelihoods.iter_mut().zip(&self.ratios) {
            // ℓ(ρ) less what is the same for every ρ: ln((ρ n_c + n_b)/(n_c + n_b)) keeps the sums small.
            *sum +=
                self.dispersion.temper(new_failed * ln_ratio - failed * libm::log1p((ratio - 1.0) * share));
        }
    }

    /// The ends of the set of plausible ratios with coverage `1 − alpha`. Between two of the ratios the end is where the
    /// likelihood may cross the level at the furthest, so that it errs outward, by less than one step.
    pub fn bounds(&self, alpha: f64) -> Result<Bounds, Fault> {
        let level = self.level(alpha)?;
        Ok(Bounds {
            lower: end(self.likelihoods(), level).unwrap_or(0.0),
            upper: end(self.likelihoods().rev(), level),
        })
    }

    /// Ratios that stand for the plausible ones with coverage `1 − alpha`, rising: the ends, where they are not open, and
    /// those of the grid in between.
    pub fn plausible(&self, alpha: f64) -> Result<impl Iterator<Item = f64>, Fault> {
        let level = self.level(alpha)?;
        let Bounds { lower, upper } = self.bounds(alpha)?;
        let inner = self.likelihoods().filter(move |(_, ln)| *ln > level).map(|(ratio, _)| ratio);
        Ok((lower > 0.0).then_some(lower).into_iter().chain(inner).chain(upper))
    }

    /// Log-likelihood up to which a ratio is not plausible.
    fn level(&self, alpha: f64) -> Result<f64, Fault> {
        Ok(self.ln_mean(|_| true) + libm::log(probability("the error probability", alpha)?))
    }

    /// Logarithm of the Bayes factor: mean likelihood of the ratios from 1.5 up over that of the ratios from 0.5 to 1.1.
    pub fn ln_bayes_factor(&self) -> f64 {
        self.ln_mean(|ratio| ratio >= BAD_FROM) - self.ln_mean(|ratio| (GOOD_FROM..=GOOD_TO).contains(&ratio))
    }

    /// Probability that the release is bad when it was `prior` before the data. Looking often does not bias it; a wrong
    /// prior does.
    pub fn bad_probability(&self, prior: f64) -> Result<f64, Fault> {
        let prior = probability("the prior probability", prior)?;
        let ln_odds = libm::log(prior) - libm::log1p(-prior) + self.ln_bayes_factor();
        Ok(1.0 / (1.0 + libm::exp(-ln_odds)))
    }

    /// The ratios of the grid, rising, with their log-likelihoods, up to a constant that is the same for all.
    pub fn likelihoods(&self) -> impl DoubleEndedIterator<Item = (f64, f64)> + Clone {
        self.ratios.iter().map(|(ratio, _)| *ratio).zip(self.ln_likelihoods.iter().copied())
    }

    fn ln_mean(&self, wanted: impl Fn(f64) -> bool + Copy) -> f64 {
        let chosen = self.likelihoods().filter(move |(ratio, _)| wanted(*ratio)).map(|(_, ln)| ln);
        let count = chosen.clone().count();
        ln_sum(chosen) - libm::log(count as f64)
    }
}

/// Where plausible ratios end: `points` come from the outermost inward, each with its log-likelihood. Nothing where the
/// outermost is plausible itself.
///
/// The log-likelihood is concave in the logarithm of the ratio, so that a line through two neighbours lies above it
/// everywhere outside of them: where such a line crosses the level, nothing further out is plausible.
fn end(points: impl Iterator<Item = (f64, f64)>, level: f64) -> Option<f64> {
    let mut points = points.map(|(ratio, ln)| (libm::log(ratio), ln));
    let (mut before, mut outer): (Option<(f64, f64)>, _) = (None, points.next()?);
    if outer.1 > level {
        return None;
    }
    let inner = loop {
        // One ratio at least is above the mean, and so above the level.
        let next = points.next()?;
        if next.1 > level {
            break next;
        }
        (before, outer) = (Some(outer), next);
    };
    // By the line through the two within and by that through the two without: as far from the inner ratio as the nearer.
    let crossing = |one: (f64, f64), other: (f64, f64)| {
        (other.1 > one.1).then(|| one.0 + (level - one.1) * (other.0 - one.0) / (other.1 - one.1))
    };
    let within = points.next().and_then(|further| crossing(inner, further));
    let without = before.and_then(|further| crossing(further, outer));
    let reach = |at: f64| (at - inner.0).abs();
    let widest = outer.0 - inner.0;
    let nearest = within.into_iter().chain(without).map(reach).fold(reach(outer.0), f64::min);
    Some(libm::exp(inner.0 + nearest.copysign(widest)))
}

fn spaced() -> impl Iterator<Item = f64> {
    let (low, high) = (libm::log(RATIO_MIN), libm::log(RATIO_MAX));
    (0..RATIOS).map(move |j| low + f64::from(j) / f64::from(RATIOS - 1) * (high - low))
}

fn beside(ratio: f64) -> impl Iterator<Item = f64> {
    let middle = libm::log(ratio);
    let step = |j: i32| BESIDE_A * libm::sinh(BESIDE_B * f64::from(j) / f64::from(BESIDE));
    (-BESIDE..=BESIDE).map(move |j| middle + step(j))
}
