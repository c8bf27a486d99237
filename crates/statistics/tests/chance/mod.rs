//! Seeded traffic for the simulations.

use fastrand::Rng;
use tidegate_statistics::{Arm, Pair};

/// Failures among `requests` that fail with probability `share` each: an exact binomial draw that jumps from failure to
/// failure.
pub fn failures(rng: &mut Rng, requests: u64, share: f64) -> u64 {
    if share >= 1.0 {
        return requests;
    }
    let (mut at, mut count, per_request) = (0.0, 0, (-share).ln_1p());
    while share > 0.0 {
        at += ((1.0 - rng.f64()).ln() / per_request).floor() + 1.0;
        if at > requests as f64 {
            break;
        }
        count += 1;
    }
    count
}

/// One batch of `requests`, of which each goes to the new release with probability `share`.
pub fn batch(rng: &mut Rng, requests: u64, share: f64, new: f64, stable: f64) -> Pair {
    let ours = failures(rng, requests, share);
    let theirs = requests - ours;
    let (ours_failed, theirs_failed) = (failures(rng, ours, new), failures(rng, theirs, stable));
    Pair::of_counts(ours, theirs, ours_failed, theirs_failed).unwrap_or_default()
}

/// `size` failures at once, one time in `mean` a burst ends: a geometric burst.
#[allow(dead_code, reason = "used by one of the two test files that share this one")]
pub fn bursts(rng: &mut Rng, requests: u64, share: f64, mean: f64) -> Arm {
    let begun = failures(rng, requests, share / mean);
    let failed: u64 = (0..begun).map(|_| 1 + geometric(rng, 1.0 / mean)).sum();
    Arm::new(requests, failed.min(requests)).unwrap_or_default()
}

#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small count")]
fn geometric(rng: &mut Rng, stop: f64) -> u64 {
    ((1.0 - rng.f64()).ln() / (-stop).ln_1p()).floor() as u64
}
