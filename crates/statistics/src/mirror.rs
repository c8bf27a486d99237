//! Is the new release proven not to be bad? The test behind promotion.

use serde::{Deserialize, Serialize};

use crate::dispersion::Dispersion;
use crate::exact;
use crate::fault::Fault;
use crate::grid::Spec;
use crate::mixture::Mixture;
use crate::pair::Pair;

/// Ratio that counts as bad for most services.
pub const BAD_RATIO: f64 = 2.0;
/// Ratio that counts as bad for a critical service.
pub const BAD_RATIO_CRITICAL: f64 = 1.5;
/// Ratio that counts as bad where little depends on the service.
pub const BAD_RATIO_LOW: f64 = 3.0;

/// Evidence that the new release does **not** fail `bad` times as often as the stable one: the ratio test seen in the
/// mirror. The null is "at least `bad` times as often, in every batch"; it is bet against with the ratios 0.5, 0.8, 1.0 and
/// 1.1 (weights .1 .2 .5 .2; those that are not below `bad` are left out).
///
/// For a release that is bad all the time, the probability that the evidence ever reaches `ln(1/β)` is at most `β`.
///
/// ```
/// use tidegate_statistics::{Dispersion, MirrorTest, Pair};
/// let mut test = MirrorTest::new(2.0, Dispersion::NONE)?;
/// test.observe(Pair::of_counts(3_000, 57_000, 30, 570)?);
/// assert!(test.passes(0.05));
/// # Ok::<(), tidegate_statistics::Fault>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MirrorTest {
    ratio: Mixture,
    dispersion: Dispersion,
    #[serde(with = "exact::one")]
    ln_max: f64,
    started: bool,
}

impl MirrorTest {
    /// `bad`: more than 0.5, at most 1000.
    pub fn new(bad: f64, dispersion: Dispersion) -> Result<Self, Fault> {
        let ratio = Mixture::new(Spec::RatioBelow(bad), 1)?;
        Ok(Self { ratio, dispersion, ln_max: 0.0, started: false })
    }

    /// Takes one batch.
    pub fn observe(&mut self, pair: Pair) {
        self.observe_strata(&[pair]);
    }

    /// Takes one batch split into strata; the null then is "bad in every stratum".
    pub fn observe_strata(&mut self, strata: &[Pair]) {
        let mass = if self.started { 0.0 } else { 1.0 };
        let (null, dispersion) = (self.ratio.null(), self.dispersion);
        self.ratio.step(mass, |candidate| {
            dispersion.temper(strata.iter().map(|stratum| candidate.of_pair(*stratum, null)).sum())
        });
        self.started = true;
        self.ln_max = self.ln_max.max(self.ln_evidence());
    }

    /// Evidence in nats that the release is not bad, now; 0 before the first batch.
    pub fn ln_evidence(&self) -> f64 {
        if self.started { self.ratio.ln_evidence(f64::NEG_INFINITY) } else { 0.0 }
    }

    /// Largest evidence so far, in nats.
    pub fn ln_evidence_max(&self) -> f64 {
        self.ln_max
    }

    /// Whether the evidence suffices **now** to promote with at most `miss` probability of passing a bad release. Not the
    /// largest so far: a release that looked good and then turned bad must not pass on its past.
    pub fn passes(&self, miss: f64) -> bool {
        miss > 0.0 && miss < 1.0 && self.ln_evidence() >= -libm::log(miss)
    }

    /// The ratio that counts as bad.
    pub fn bad(&self) -> f64 {
        self.ratio.null()
    }
}
