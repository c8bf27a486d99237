//! Is the mean of a gauge above a limit? Processor, memory, and processor per request. Calibrated, not exact.

use serde::{Deserialize, Serialize};

use crate::exact;
use crate::fault::{Fault, check, positive, probability};
use crate::logspace::half_square_plus_ln_cdf;

/// Highest correlation believed; beyond it every sample says next to nothing.
const LAG_MAX: f64 = 0.99;
/// Fewest samples of the stable release that noise can be learned from.
pub const SAMPLES_MIN: usize = 30;

/// Steps in which the ends of the plausible means are looked for: beyond any evidence, and to a millionth.
const DOUBLINGS_MAX: u32 = 12;
const HALVINGS: u32 = 20;

/// How a gauge of the stable release fluctuates: standard deviation, and correlation of neighbouring samples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Noise {
    #[serde(with = "exact::one")]
    deviation: f64,
    #[serde(with = "exact::one")]
    lag: f64,
}

impl Noise {
    /// `deviation`: more than 0, in the gauge's unit. `lag`: correlation of neighbouring samples, −1 to 1; kept between 0
    /// and 0.99, because a negative one would make the test bolder.
    pub fn new(deviation: f64, lag: f64) -> Result<Self, Fault> {
        check("the correlation", lag, "between -1 and 1", (-1.0..=1.0).contains(&lag))?;
        Ok(Self { deviation: positive("the standard deviation", deviation)?, lag: lag.clamp(0.0, LAG_MAX) })
    }

    /// Learned from samples of the stable instances, one slice each, all at the interval at which the test will be fed.
    /// Every instance has its own mean. The correlation is corrected for short series (Kendall 1954).
    ///
    /// Fails with fewer than 30 samples, on a value that is not finite, and when nothing fluctuates.
    pub fn estimate<S: AsRef<[f64]>>(instances: &[S]) -> Result<Self, Fault> {
        let (mut squares, mut products, mut freedom, mut count) = (0.0, 0.0, 0.0, 0_usize);
        for samples in instances.iter().map(AsRef::as_ref).filter(|samples| samples.len() > 1) {
            let n = samples.len() as f64;
            let mean = samples.iter().sum::<f64>() / n;
            check("a sample of the gauge", mean, "finite", mean.is_finite())?;
            squares += samples.iter().map(|u| (u - mean) * (u - mean)).sum::<f64>();
            let neighbours = samples.iter().zip(samples.iter().skip(1));
            products += neighbours.map(|(u, next)| (u - mean) * (next - mean)).sum::<f64>();
            freedom += n - 1.0;
            count += samples.len();
        }
        if count < SAMPLES_MIN {
            return Err(Fault::TooFew {
                what: "samples of the gauge",
                have: count as u64,
                need: SAMPLES_MIN as u64,
            });
        }
        let plain = if squares > 0.0 { products / squares } else { 0.0 };
        let each = count as f64 / instances.len().max(1) as f64;
        Self::new(libm::sqrt(squares / freedom), (plain + (1.0 + 3.0 * plain) / each).clamp(-1.0, 1.0))
    }

    /// Standard deviation of one sample, in the gauge's unit.
    pub fn deviation(self) -> f64 {
        self.deviation
    }

    /// Correlation of neighbouring samples, 0 to 0.99.
    pub fn lag(self) -> f64 {
        self.lag
    }

    /// Variance that one sample adds to a long sum: `σ² (1 + φ₁)/(1 − φ₁)`.
    fn variance(self) -> f64 {
        self.deviation * self.deviation * (1.0 + self.lag) / (1.0 - self.lag)
    }
}

/// Evidence, both ways, that the mean of a gauge is above or below a limit (section 2.4): a one-sided normal mixture
/// (Robbins 1970; Howard et al. 2021) whose variance is inflated for correlation.
///
/// Calibrated, not exact: it relies on the noise learned from the stable release.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MeanTest {
    #[serde(with = "exact::one")]
    limit: f64,
    noise: Noise,
    #[serde(with = "exact::one")]
    tuning: f64,
    #[serde(with = "exact::one")]
    sum: f64,
    samples: u64,
}

impl MeanTest {
    /// `limit`: in the gauge's unit. `alpha`: probability for which to be quick, more than 0 and less than 0.4.
    /// `quickest_after`: number of samples after which it is to be quickest, about five minutes' worth.
    pub fn new(limit: f64, noise: Noise, alpha: f64, quickest_after: u32) -> Result<Self, Fault> {
        check("the limit", limit, "finite", limit.is_finite())?;
        probability("the error probability", alpha)?;
        check("the error probability", alpha, "less than 0.4", alpha < 0.4)?;
        let nats = -2.0 * libm::log(2.0 * alpha);
        let variance = f64::from(quickest_after.max(1)) * noise.variance();
        Ok(Self { limit, noise, tuning: variance / (nats + libm::log1p(nats)), sum: 0.0, samples: 0 })
    }

    /// Takes one sample; fails, and changes nothing, on one that is not finite.
    pub fn observe(&mut self, sample: f64) -> Result<(), Fault> {
        let beyond = check("a sample of the gauge", sample, "finite", sample.is_finite())? - self.limit;
        let sum = self.sum + beyond;
        self.sum = check("a sample of the gauge", sum, "within the range of its sum", sum.is_finite())?;
        self.samples = self.samples.saturating_add(1);
        Ok(())
    }

    /// Evidence in nats that the mean is above the limit, now.
    pub fn ln_above(&self) -> f64 {
        self.ln_one_sided(self.sum)
    }

    /// Evidence in nats that the mean is below the limit, now.
    pub fn ln_below(&self) -> f64 {
        self.ln_one_sided(-self.sum)
    }

    /// Mean of the samples; `None` before the first.
    pub fn mean(&self) -> Option<f64> {
        (self.samples > 0).then(|| self.limit + self.sum / self.samples as f64)
    }

    /// The means that are plausible, at all times at once, with coverage `1 − alpha` as far as the noise is what was learned:
    /// those against which there is evidence of less than `ln(2/alpha)` on either side. `None` before the first sample.
    pub fn plausible(&self, alpha: f64) -> Result<Option<(f64, f64)>, Fault> {
        let nats = -libm::log(probability("the error probability", alpha)? / 2.0);
        let Some(mean) = self.mean() else { return Ok(None) };
        // Evidence rises with the sum: twice the reach until it is enough, then halves of what is between.
        let spread = libm::sqrt(self.samples as f64 * self.noise.variance() + self.tuning);
        let (mut less, mut enough) = (0.0, spread);
        for _ in 0..DOUBLINGS_MAX {
            if self.ln_one_sided(enough) >= nats {
                break;
            }
            (less, enough) = (enough, 2.0 * enough);
        }
        for _ in 0..HALVINGS {
            let middle = f64::midpoint(less, enough);
            if self.ln_one_sided(middle) >= nats { enough = middle } else { less = middle }
        }
        let reach = enough / self.samples as f64;
        Ok(Some((mean - reach, mean + reach)))
    }

    /// Samples taken.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// The limit.
    pub fn limit(&self) -> f64 {
        self.limit
    }

    /// `½ ln(4r/(V+r)) + S²/(2(V+r)) + ln Φ(S/√(V+r))`.
    fn ln_one_sided(&self, sum: f64) -> f64 {
        let spread = self.samples as f64 * self.noise.variance() + self.tuning;
        0.5 * libm::log(4.0 * self.tuning / spread) + half_square_plus_ln_cdf(sum / libm::sqrt(spread))
    }
}

/// Logarithm of the ratio of what one request costs on both releases (processor seconds, bytes), the sample for a
/// [`MeanTest`] whose limit is the logarithm of the tolerated ratio. Insensitive to share and load. `None` without requests
/// or without a positive cost on either side.
pub fn ln_cost_ratio(new: Cost, stable: Cost) -> Option<f64> {
    let of = |cost: Cost| {
        (cost.requests > 0 && cost.spent > 0.0).then(|| libm::log(cost.spent / cost.requests as f64))
    };
    Some(of(new)? - of(stable)?).filter(|ln| ln.is_finite())
}

/// What one release spent in one interval, and on how many requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Spent, in any unit.
    pub spent: f64,
    /// Requests served.
    pub requests: u64,
}
