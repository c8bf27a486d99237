//! Does the new release fail more often than the stable one, beyond what is tolerated? Formulas (1) to (4).

use serde::{Deserialize, Serialize};

use crate::dispersion::Dispersion;
use crate::exact;
use crate::fault::Fault;
use crate::grid::Spec;
use crate::mixture::Mixture;
use crate::onset::{Onset, OnsetPrior};
use crate::pair::{Arm, Pair};

/// What a [`RatioTest`] tolerates and expects.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RatioSettings {
    /// Tolerated ratio of the failed shares, `ρ0`: more than 0, less than 430. Default 1.1. Widen it with
    /// [`InstanceSpread::widened`](crate::InstanceSpread::widened) before it is used.
    pub tolerated: f64,
    /// Failed share of the new release that is nobody's outage, whatever the stable release does: more than 0, at most
    /// 0.5, or `None`. Default 0.01 %.
    pub floor: Option<f64>,
    /// How much more the counts vary than independent requests would; from the stable release's own past.
    pub dispersion: Dispersion,
    /// When a regression may begin.
    pub onset: OnsetPrior,
}

impl RatioSettings {
    /// Tolerates `tolerated` times the stable release's failures from the start, without a floor: the plain mixture that
    /// the golden vectors use.
    pub const fn plain(tolerated: f64) -> Self {
        Self { tolerated, floor: None, dispersion: Dispersion::NONE, onset: OnsetPrior::AT_START }
    }
}

impl Default for RatioSettings {
    fn default() -> Self {
        Self { tolerated: 1.1, floor: Some(1e-4), dispersion: Dispersion::NONE, onset: OnsetPrior::default() }
    }
}

/// Evidence that the new release fails more than `tolerated` times as often as the stable one.
///
/// *Healthy* means: in every batch the new release's failed share is at most `ρ0` times the stable one's, or in every
/// batch at most the floor; the stable share may be anything and may change at any time, and so may the split of traffic.
/// For a healthy release the probability that [`ln_evidence`](Self::ln_evidence) **ever** reaches `ln(1/α)` is at most
/// `α`, however often one looks (Ville's inequality). Requests must be independent given their arm's failed share, or the
/// dispersion must bound the size of bursts.
///
/// ```
/// use tidegate_statistics::{Pair, RatioSettings, RatioTest};
/// let mut test = RatioTest::new(RatioSettings::plain(1.1))?;
/// test.observe(Pair::of_counts(60, 1140, 3, 1)?);
/// // Three of 60 against one of 1140: a healthy release would look this bad in fewer than one of 224 rollouts.
/// assert!(test.ln_evidence() > 5.4);
/// # Ok::<(), tidegate_statistics::Fault>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RatioTest {
    ratio: Mixture,
    floor: Option<Mixture>,
    dispersion: Dispersion,
    onset: Onset,
    #[serde(with = "exact::one")]
    ln_max: f64,
    total: Pair,
    batches: u64,
}

impl RatioTest {
    /// Without evidence. Fails on a setting outside its range.
    pub fn new(settings: RatioSettings) -> Result<Self, Fault> {
        let floor = settings.floor.map(|floor| Mixture::new(Spec::ShareFromFloor(floor), 1)).transpose()?;
        Ok(Self {
            ratio: Mixture::new(Spec::RatioAbove(settings.tolerated), 1)?,
            floor,
            dispersion: settings.dispersion,
            onset: Onset::new(settings.onset)?,
            ln_max: 0.0,
            total: Pair::default(),
            batches: 0,
        })
    }

    /// The next batch is the first with more traffic on the new release.
    pub fn raise_traffic(&mut self) {
        self.onset.raise();
    }

    /// Takes one batch. A batch without any request is ignored.
    pub fn observe(&mut self, pair: Pair) {
        self.take(&[pair], f64::INFINITY);
    }

    /// Takes one batch that says at most `most` nats against the release, whatever it holds: where what is counted comes in
    /// bursts that are over within a batch, none of them decides by itself. Evidence that is only ever made smaller keeps the
    /// guarantee.
    pub fn observe_at_most(&mut self, pair: Pair, most: f64) {
        self.take(&[pair], most);
    }

    /// Takes one batch that is split by route, zone or method, in which the mix may differ between the releases. *Healthy*
    /// then means: no worse in every stratum.
    pub fn observe_strata(&mut self, strata: &[Pair]) {
        self.take(strata, f64::INFINITY);
    }

    fn take(&mut self, strata: &[Pair], most: f64) {
        let batch = strata.iter().fold(Pair::default(), |sum, stratum| sum.plus(*stratum));
        if batch.new.requests() == 0 && batch.stable.requests() == 0 {
            return;
        }
        let mass = self.onset.next_mass();
        let (null, dispersion) = (self.ratio.null(), self.dispersion);
        self.ratio.step(mass, |candidate| {
            let sum = strata.iter().map(|stratum| candidate.of_pair(*stratum, null)).sum();
            dispersion.temper(sum).min(most)
        });
        if let Some(floor) = &mut self.floor {
            floor.step(mass, |candidate| dispersion.temper(candidate.of_arm(batch.new)).min(most));
        }
        self.total = self.total.plus(batch);
        self.batches = self.batches.saturating_add(1);
        self.ln_max = self.ln_max.max(self.ln_evidence());
    }

    /// Evidence in nats against health, now: the smaller of [`ln_ratio`](Self::ln_ratio) and
    /// [`ln_floor`](Self::ln_floor). 0 before the first batch.
    pub fn ln_evidence(&self) -> f64 {
        let ratio = self.ln_ratio();
        self.ln_floor().map_or(ratio, |floor| ratio.min(floor))
    }

    /// Evidence in nats that the ratio is above the tolerated one.
    pub fn ln_ratio(&self) -> f64 {
        self.ratio.ln_evidence(self.onset.ln_left())
    }

    /// Evidence in nats that the new release's failed share is above the floor; `None` without a floor.
    pub fn ln_floor(&self) -> Option<f64> {
        Some(self.floor.as_ref()?.ln_evidence(self.onset.ln_left()))
    }

    /// Largest evidence at any batch so far, in nats; the guarantee holds for this number.
    pub fn ln_evidence_max(&self) -> f64 {
        self.ln_max
    }

    /// All counts so far.
    pub fn total(&self) -> Pair {
        self.total
    }

    /// Batches taken.
    pub fn batches(&self) -> u64 {
        self.batches
    }

    /// The tolerated ratio `ρ0`.
    pub fn tolerated(&self) -> f64 {
        self.ratio.null()
    }

    /// The floor, when there is one.
    pub fn floor(&self) -> Option<f64> {
        self.floor.as_ref().map(Mixture::null)
    }
}

/// Evidence against one arm's failed share being at most a bound; the floor's process by itself.
///
/// Its grid reaches from 1.15 times the bound to 90 %, so that an outage is seen after two or three failures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FloorTest {
    share: Mixture,
    dispersion: Dispersion,
    onset: Onset,
}

impl FloorTest {
    /// Without evidence. `floor`: more than 0, at most 0.5.
    pub fn new(floor: f64, dispersion: Dispersion, onset: OnsetPrior) -> Result<Self, Fault> {
        Ok(Self {
            share: Mixture::new(Spec::ShareFromFloor(floor), 1)?,
            dispersion,
            onset: Onset::new(onset)?,
        })
    }

    /// The next batch is the first with more traffic.
    pub fn raise_traffic(&mut self) {
        self.onset.raise();
    }

    /// Takes one batch.
    pub fn observe(&mut self, arm: Arm) {
        let (mass, dispersion) = (self.onset.next_mass(), self.dispersion);
        self.share.step(mass, |candidate| dispersion.temper(candidate.of_arm(arm)));
    }

    /// Evidence in nats that the share is above the floor.
    pub fn ln_evidence(&self) -> f64 {
        self.share.ln_evidence(self.onset.ln_left())
    }
}
