//! How often a plain threshold rule fails a release, worked out exactly.

use alloc::vec::Vec;

use crate::fault::{Fault, check, probability};
use crate::logspace::normal_cdf;
use crate::power::{Exposure, Traffic};

/// Most counts that one exact sum goes through; beyond it the normal approximation is used, which is then exact to 1e-3.
const COUNTS_MAX: u64 = 200_000;
/// Two counts closer than this, relative to their size, are equal: 1.1 is not a number of the machine.
const SAME: f64 = 1e-12;

/// When the ratio rule passes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Below the limit, or without any failure of the new release.
    BelowOrNone,
    /// Below the limit, strictly: nought is not below nought.
    Below,
    /// At most the limit: nought against nought passes.
    AtMost,
}

/// The plain rule "failed share of the new release below `tolerated` times the stable one's", looked at once at the end of
/// each stage.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RatioRule {
    /// Tolerated ratio, more than 0.
    pub tolerated: f64,
    /// When it passes.
    pub comparison: Comparison,
}

impl RatioRule {
    /// Probability that the rule fails a release that fails `ratio` times as often as the stable one, in at least one of
    /// the stages. With a ratio of 1 this is its probability of a false alarm.
    pub fn failing(self, traffic: Traffic, ratio: f64, schedule: &[Exposure]) -> f64 {
        let passing = schedule.iter().map(|exposure| 1.0 - self.failing_stage(traffic, ratio, *exposure));
        1.0 - passing.product::<f64>()
    }

    /// The same for one stage.
    pub fn failing_stage(self, traffic: Traffic, ratio: f64, exposure: Exposure) -> f64 {
        let all = traffic.requests_per_s() * exposure.seconds();
        let (new, stable) = (whole(all * exposure.share()), whole(all * (1.0 - exposure.share())));
        let share = (traffic.failed_share() * ratio).clamp(0.0, 1.0);
        let (Some(ours), Some(theirs)) =
            (Counts::new(new, share), Counts::new(stable, traffic.failed_share()))
        else {
            return self.approximately(new as f64, stable as f64, share, traffic.failed_share());
        };
        let scale = if stable > 0 { self.tolerated * new as f64 / stable as f64 } else { 0.0 };
        theirs
            .each()
            .map(|(failed, chance)| chance * ours.at_least(self.first_failing(failed as f64 * scale)))
            .sum()
    }

    /// Smallest count of failures that fails against this limit.
    fn first_failing(self, limit: f64) -> u64 {
        let near = libm::round(limit);
        let at = (near - limit).abs() <= SAME * near.abs();
        let from = if at { near } else { libm::ceil(limit) };
        match self.comparison {
            Comparison::Below => whole(from),
            Comparison::BelowOrNone => whole(from).max(1),
            Comparison::AtMost => whole(if at { near + 1.0 } else { from }),
        }
    }

    /// `Φ(−(ρ0 − ρ) μ / √(μ ρ + ρ0² μ n_c/n_b))` with μ the failures expected at the stable share.
    fn approximately(self, new: f64, stable: f64, share: f64, stable_share: f64) -> f64 {
        let limit = self.tolerated * stable_share;
        let variance = share * (1.0 - share) / new
            + self.tolerated * self.tolerated * stable_share * (1.0 - stable_share) / stable;
        normal_cdf((share - limit) / libm::sqrt(variance))
    }
}

/// Probability that the rule "fewer than `limit` of `requests` are slow" fails a release of which a share of `slow` is:
/// at least `limit · requests` are.
pub fn share_rule_failing(requests: u64, slow: f64, limit: f64) -> Result<f64, Fault> {
    check("the share of slow requests", slow, "between 0 and 1", (0.0..=1.0).contains(&slow))?;
    probability("the limit", limit)?;
    let n = requests as f64;
    let near = libm::round(limit * n);
    let from = if (near - limit * n).abs() <= SAME * near { near } else { libm::ceil(limit * n) };
    let deviation = libm::sqrt(n * slow * (1.0 - slow));
    Ok(Counts::new(requests, slow).map_or_else(
        || normal_cdf((n * slow - from + 0.5) / deviation),
        |counts| counts.at_least(whole(from)),
    ))
}

/// The probable part of a binomial distribution, 12 standard deviations to both sides.
struct Counts {
    first: u64,
    /// Probability of each count from `first` on.
    chances: Vec<f64>,
    /// Probability of each count from `first` on, or more.
    tails: Vec<f64>,
}

impl Counts {
    /// `None` when there are too many counts to go through.
    fn new(trials: u64, share: f64) -> Option<Self> {
        let (n, odds) = (trials as f64, share / (1.0 - share));
        let middle = whole(libm::floor((n + 1.0) * share)).min(trials);
        let reach = whole(12.0 * libm::sqrt(n * share * (1.0 - share)) + 40.0);
        if reach.saturating_mul(2) > COUNTS_MAX {
            return None;
        }
        if share >= 1.0 {
            return Some(Self { first: trials, chances: alloc::vec![1.0], tails: alloc::vec![1.0] });
        }
        let (first, last) = (middle.saturating_sub(reach), middle.saturating_add(reach).min(trials));
        // From the middle outwards, each count from its neighbour, so that no factorial is needed.
        let step = |count: u64| (n - count as f64) / (count as f64 + 1.0) * odds;
        let down = (first..middle).rev().scan(1.0, |chance, count| {
            *chance /= step(count);
            Some(*chance)
        });
        let mut chances: Vec<f64> = down.collect();
        chances.reverse();
        chances.push(1.0);
        chances.extend((middle..last).scan(1.0, |chance, count| {
            *chance *= step(count);
            Some(*chance)
        }));
        let total: f64 = chances.iter().sum();
        for chance in &mut chances {
            *chance /= total;
        }
        let mut tails: Vec<f64> = chances
            .iter()
            .rev()
            .scan(0.0, |sum, chance| {
                *sum += chance;
                Some(*sum)
            })
            .collect();
        tails.reverse();
        Some(Self { first, chances, tails })
    }

    fn each(&self) -> impl Iterator<Item = (u64, f64)> {
        (self.first..).zip(self.chances.iter().copied())
    }

    /// Probability of `count` or more.
    fn at_least(&self, count: u64) -> f64 {
        let Some(at) = count.checked_sub(self.first) else { return 1.0 };
        usize::try_from(at).ok().and_then(|at| self.tails.get(at)).copied().unwrap_or(0.0)
    }
}

/// The nearest count; below 0 and not-a-number become 0, too large ones `u64::MAX`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, as it should")]
fn whole(value: f64) -> u64 {
    libm::round(value) as u64
}
