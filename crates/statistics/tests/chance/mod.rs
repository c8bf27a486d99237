//! Seeded traffic for the simulations.

use fastrand::Rng;
use tidegate_statistics::{Arm, Pair};

/// Failures among `requests` that fail with probability `share` each: an exact binomial draw that jumps from failure to
/// failure.
pub(crate) fn failures(rng: &mut Rng, requests: u64, share: f64) -> u64 {
    if share <= 0.0 || share >= 1.0 {
        return if share > 0.0 { requests } else { 0 };
    }
    let (mut at, mut count, per_request) = (0.0, 0, (-share).ln_1p());
    loop {
        at += ((1.0 - rng.f64()).ln() / per_request).floor() + 1.0;
        if at > requests as f64 {
            return count;
        }
        count += 1;
    }
}

/// One batch of `requests`, of which the new release gets its exact `share`, rounded.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a small count")]
pub(crate) fn batch(rng: &mut Rng, requests: u32, share: f64, new: f64, stable: f64) -> Pair {
    let ours = (f64::from(requests) * share).round() as u64;
    let theirs = u64::from(requests) - ours;
    let (ours_failed, theirs_failed) = (failures(rng, ours, new), failures(rng, theirs, stable));
    Pair::of_counts(ours, theirs, ours_failed, theirs_failed).unwrap_or_default()
}

/// One arm whose failures come in bursts of a geometric size with this `mean`.
pub(crate) fn bursts(rng: &mut Rng, requests: u64, share: f64, mean: f64) -> Arm {
    let begun = failures(rng, requests, share / mean);
    let failed: u64 = (0..begun).map(|_| 1 + geometric(rng, 1.0 / mean)).sum();
    Arm::new(requests, failed.min(requests)).unwrap_or_default()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
fn geometric(rng: &mut Rng, stop: f64) -> u64 {
    ((1.0 - rng.f64()).ln() / (-stop).ln_1p()).floor() as u64
}
