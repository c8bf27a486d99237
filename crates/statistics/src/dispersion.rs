//! How much more the counts vary than independent requests would.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::exact;
use crate::fault::{Fault, check};
use crate::pair::Arm;

/// Fewest instances that a dispersion can be learned from.
pub const INSTANCES_MIN: usize = 3;
/// Fewest batches that a dispersion can be learned from.
pub const BATCHES_MIN: usize = 20;
/// Batches in one block: bursts may last longer than one batch.
const BLOCKS: [usize; 3] = [1, 4, 16];
/// Fewest whole blocks for a block length to count; fewer say nothing but noise.
const WHOLE_BLOCKS_MIN: usize = 4;
/// Part of a fresh estimate in the remembered one.
const MEMORY: f64 = 0.1;

/// Variance of the counts over that of independent requests: 1 or more. Every test divides its nats by it ("tempering").
///
/// With bursts (retries, one user, one broken batch job) untempered tests turn healthy releases back in a quarter to half
/// of all rollouts. Tempering by φ is exact when no burst is longer than φ and calibrated when φ is the burst's mean
/// square over its mean. φ must come from the stable release's past, never from the release under test.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
#[serde(try_from = "Raw")]
pub struct Dispersion(#[serde(with = "exact::one")] f64);

#[derive(Deserialize)]
struct Raw(#[serde(with = "exact::one")] f64);

impl TryFrom<Raw> for Dispersion {
    type Error = Fault;

    fn try_from(raw: Raw) -> Result<Self, Fault> {
        Self::new(raw.0)
    }
}

impl Default for Dispersion {
    fn default() -> Self {
        Self::NONE
    }
}

impl Dispersion {
    /// Independent requests.
    pub const NONE: Self = Self(1.0);

    /// Below 1 becomes 1; fails on what is not finite.
    pub fn new(phi: f64) -> Result<Self, Fault> {
        check("the dispersion", phi, "a finite number", phi.is_finite()).map(|phi| Self(phi.max(1.0)))
    }

    /// The factor φ, 1 or more.
    pub const fn phi(self) -> f64 {
        self.0
    }

    /// Learned from batches of the stable release before the rollout: every batch holds the same instances in the same
    /// order (section 2.6). The largest estimate over blocks of 1, 4 and 16 batches counts.
    ///
    /// What a block's instances have in common, and what an instance has in common over all blocks, is taken out first:
    /// neither is a burst. The second belongs to [`InstanceSpread`].
    pub fn estimate<B: AsRef<[Arm]>>(batches: &[B]) -> Result<Self, Fault> {
        let instances = checked(batches)?;
        let of_length = |length: usize| {
            let blocks: Vec<Vec<Arm>> =
                batches.chunks_exact(length).map(|block| sum(block, instances)).collect();
            (blocks.len() >= WHOLE_BLOCKS_MIN).then(|| of_blocks(&blocks, instances))
        };
        Self::new(BLOCKS.into_iter().filter_map(of_length).fold(1.0, f64::max))
    }

    /// What to remember after a fresh estimate: nine parts old, one part fresh.
    #[must_use]
    pub fn merged(self, fresh: Self) -> Self {
        Self(self.0 + MEMORY * (fresh.0 - self.0))
    }

    /// The nats that count.
    pub(crate) fn temper(self, nats: f64) -> f64 {
        nats / self.0
    }
}

/// Lasting differences between instances of the same release: standard deviation τ of the logarithm of their failed share.
///
/// More data never averages them out, so they widen the tolerated ratio instead.
#[derive(Clone, Copy, Debug, Default, PartialEq, PartialOrd, Serialize, Deserialize)]
pub struct InstanceSpread(#[serde(with = "exact::one")] f64);

impl InstanceSpread {
    /// All instances alike.
    pub const NONE: Self = Self(0.0);

    /// Fails below 0 and on what is not finite.
    pub fn new(tau: f64) -> Result<Self, Fault> {
        check("the spread", tau, "a finite number, 0 or more", tau >= 0.0 && tau.is_finite()).map(Self)
    }

    /// The standard deviation τ.
    pub const fn tau(self) -> f64 {
        self.0
    }

    /// Learned from the same batches as the dispersion, by moments: what the instances' totals vary beyond `dispersion`.
    pub fn estimate<B: AsRef<[Arm]>>(batches: &[B], dispersion: Dispersion) -> Result<Self, Fault> {
        let instances = checked(batches)?;
        let totals = sum(batches, instances);
        let rate = pooled(&totals);
        let (mut beyond, mut squares, mut expected_all) = (0.0, 0.0, 0.0);
        for (requests, failed) in totals.iter().map(|arm| arm.parts()) {
            let expected = requests * rate;
            beyond += (failed - expected) * (failed - expected);
            squares += expected * expected;
            expected_all += expected;
        }
        let unbiased = instances as f64 / (instances as f64 - 1.0);
        let variance = (beyond * unbiased - dispersion.phi() * expected_all) / squares;
        Self::new(if variance > 0.0 { libm::sqrt(variance) } else { 0.0 })
    }

    /// What to remember after a fresh estimate: nine parts old, one part fresh.
    #[must_use]
    pub fn merged(self, fresh: Self) -> Self {
        Self(self.0 + MEMORY * (fresh.0 - self.0))
    }

    /// The tolerated ratio with room for the spread of the means of `instances` instances: 99 of 100 healthy sets stay
    /// inside, `max(ρ0, e^(2.33 τ / √m))`. With 95 of 100, a budget of one healthy release in 100 could not be kept. No
    /// instance counts as one.
    pub fn widened(self, tolerated: f64, instances: u32) -> f64 {
        tolerated.max(libm::exp(2.33 * self.0 / libm::sqrt(f64::from(instances.max(1)))))
    }
}

/// The number of instances, when there is enough to learn from.
fn checked<B: AsRef<[Arm]>>(batches: &[B]) -> Result<usize, Fault> {
    let instances = batches.iter().map(|batch| batch.as_ref().len()).min().unwrap_or(0);
    for (what, have, need) in [
        ("stable instances", instances, INSTANCES_MIN),
        ("batches before the rollout", batches.len(), BATCHES_MIN),
    ] {
        if have < need {
            return Err(Fault::TooFew { what, have: have as u64, need: need as u64 });
        }
    }
    Ok(instances)
}

fn sum<B: AsRef<[Arm]>>(block: &[B], instances: usize) -> Vec<Arm> {
    let mut total = alloc::vec![Arm::EMPTY; instances];
    for batch in block {
        for (sum, arm) in total.iter_mut().zip(batch.as_ref()) {
            *sum = sum.plus(*arm);
        }
    }
    total
}

fn pooled(arms: &[Arm]) -> f64 {
    arms.iter().fold(Arm::EMPTY, |sum, arm| sum.plus(*arm)).rate().unwrap_or(0.0)
}

/// Squared residuals over their expectation, of blocks × instances with both margins taken out; 1 when nothing failed.
fn of_blocks(blocks: &[Vec<Arm>], instances: usize) -> f64 {
    let rates: Vec<f64> = blocks.iter().map(|block| pooled(block)).collect();
    let mut factors = alloc::vec![(0.0, 0.0); instances];
    for (block, rate) in blocks.iter().zip(&rates) {
        for ((seen, expected), (requests, failed)) in
            factors.iter_mut().zip(block.iter().map(|arm| arm.parts()))
        {
            *seen += failed;
            *expected += requests * rate;
        }
    }
    let (mut residual, mut expected_all) = (0.0, 0.0);
    for (block, rate) in blocks.iter().zip(&rates) {
        for ((seen, total), (requests, failed)) in factors.iter().zip(block.iter().map(|arm| arm.parts())) {
            let expected = if *total > 0.0 { requests * rate * seen / total } else { 0.0 };
            residual += (failed - expected) * (failed - expected);
            expected_all += expected;
        }
    }
    let (b, m) = (blocks.len() as f64, instances as f64);
    if expected_all > 0.0 { residual / expected_all * (b * m) / ((b - 1.0) * (m - 1.0)) } else { 1.0 }
}
