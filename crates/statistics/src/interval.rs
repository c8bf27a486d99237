//! Which ratios are still plausible: a confidence sequence, and the odds of the release being bad.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::dispersion::Dispersion;
use crate::exact;
use crate::fault::{Fault, probability};
use crate::logspace::ln_sum;
use crate::pair::Pair;

const RATIOS: u32 = 120;
const RATIO_MIN: f64 = 0.05;
const RATIO_MAX: f64 = 1000.0;
/// Ratios that count as bad, and those that count as good, in the Bayes factor; between them neither.
const BAD_FROM: f64 = 1.5;
const GOOD_FROM: f64 = 0.5;
const GOOD_TO: f64 = 1.1;

/// The plausible ratios of the failed shares, at all times simultaneously.
///
/// It keeps the log-likelihood `ℓ(ρ)` of 120 ratios from 0.05 to 1000, evenly spaced in their logarithm (each 8.7 % above
/// the one before), and keeps as plausible those that are not beaten by the mean of all by more than a factor `1/α`. The
/// true ratio, as long as it is constant, leaves this set at any time with probability at most `α`.
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
    #[serde(skip)]
    ratios: Vec<f64>,
}

#[derive(Deserialize)]
struct Stored {
    #[serde(with = "exact::many")]
    ln_likelihoods: Vec<f64>,
    dispersion: Dispersion,
}

impl TryFrom<Stored> for RatioInterval {
    type Error = Fault;

    fn try_from(stored: Stored) -> Result<Self, Fault> {
        let Stored { ln_likelihoods, dispersion } = stored;
        let ratios = ratios();
        if ln_likelihoods.len() != ratios.len() {
            return Err(Fault::Damaged { what: "likelihoods" });
        }
        Ok(Self { ln_likelihoods, dispersion, ratios })
    }
}

/// The ends of a set of plausible ratios.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Smallest plausible ratio; 0 when even the smallest one looked at (0.05) is plausible.
    pub lower: f64,
    /// Largest plausible ratio; `None` when even a thousandfold one is plausible.
    pub upper: Option<f64>,
}

impl RatioInterval {
    /// Every ratio is plausible.
    pub fn new(dispersion: Dispersion) -> Self {
        let ratios = ratios();
        Self { ln_likelihoods: alloc::vec![0.0; ratios.len()], dispersion, ratios }
    }

    /// Takes one batch; strata are taken one after the other. A batch with an empty arm changes nothing.
    pub fn observe(&mut self, pair: Pair) {
        let ((new, new_failed), (stable, stable_failed)) = (pair.new.parts(), pair.stable.parts());
        let failed = new_failed + stable_failed;
        if new == 0.0 || stable == 0.0 || failed == 0.0 {
            return;
        }
        let share = new / (new + stable);
        for (sum, (ratio, ln_ratio)) in
            self.ln_likelihoods.iter_mut().zip(self.ratios.iter().zip(ln_ratios()))
        {
            // ℓ(ρ) less what is the same for every ρ: ln((ρ n_c + n_b)/(n_c + n_b)) keeps the sums small.
            *sum +=
                self.dispersion.temper(new_failed * ln_ratio - failed * libm::log1p((ratio - 1.0) * share));
        }
    }

    /// The ends of the set of plausible ratios with coverage `1 − alpha`.
    pub fn bounds(&self, alpha: f64) -> Result<Bounds, Fault> {
        let mut plausible = self.plausible(alpha)?;
        let lower = plausible.next().unwrap_or(RATIO_MIN);
        let upper = plausible.last().unwrap_or(lower);
        Ok(Bounds {
            lower: if self.ratios.first().is_some_and(|first| lower <= *first) { 0.0 } else { lower },
            upper: if self.ratios.last().is_some_and(|last| upper >= *last) { None } else { Some(upper) },
        })
    }

    /// The plausible ratios of the grid with coverage `1 − alpha`, rising.
    pub fn plausible(&self, alpha: f64) -> Result<impl Iterator<Item = f64>, Fault> {
        let level = self.ln_mean(|_| true) + libm::log(probability("the error probability", alpha)?);
        Ok(self.likelihoods().filter(move |(_, ln)| *ln > level).map(|(ratio, _)| ratio))
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

    /// The 120 ratios with their log-likelihoods, up to a constant that is the same for all.
    pub fn likelihoods(&self) -> impl Iterator<Item = (f64, f64)> + Clone {
        self.ratios.iter().copied().zip(self.ln_likelihoods.iter().copied())
    }

    fn ln_mean(&self, wanted: impl Fn(f64) -> bool + Copy) -> f64 {
        let chosen = self.likelihoods().filter(move |(ratio, _)| wanted(*ratio)).map(|(_, ln)| ln);
        let count = chosen.clone().count();
        ln_sum(chosen) - libm::log(count as f64)
    }
}

fn ln_ratios() -> impl Iterator<Item = f64> {
    let (low, high) = (libm::log(RATIO_MIN), libm::log(RATIO_MAX));
    (0..RATIOS).map(move |j| low + f64::from(j) / f64::from(RATIOS - 1) * (high - low))
}

fn ratios() -> Vec<f64> {
    ln_ratios().map(libm::exp).collect()
}
