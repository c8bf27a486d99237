//! How many pods carry all traffic now, and how many each release needs of them, when an autoscaler changes their number:
//! pure rules, without a clock and without a cluster.
//!
//! One number, the [`demand`], is what a release would need to carry everything. A release needs its share of it
//! ([`need`]); the stable release needs all of it for as long as traffic may return to it. An autoscaler is only ever told a
//! floor: it adds what load asks for, and takes nothing away that a rollout counts on.
//!
//! What an autoscaler wants of a release with a share of the traffic says what all traffic would need: that over the share.
//! Of two releases the smaller answer counts, because each bounds the load from above; a new release with a burning
//! processor and 5 % of the traffic does not make the stable one grow twentyfold. An autoscaler that has reached its floor and
//! shows no metrics says nothing: the floor is our own word.

mod autoscaler;

use tidegate_core::model::Share;

pub(crate) use autoscaler::asked;

/// Bounds on the pods of one release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Fewest pods of a release that has any.
    pub min: u32,
    /// Most pods of a release.
    pub max: u32,
}

impl Limits {
    const fn within(self, pods: u32) -> u32 {
        let pods = if pods > self.max { self.max } else { pods };
        if pods < self.min { self.min } else { pods }
    }
}

/// One release as its autoscaler sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Side {
    /// The share of the traffic that it carries now.
    pub share: Share,
    /// Pods that its load asks for; `None` when its autoscaler shows no more than our own floor.
    pub asked: Option<u32>,
}

/// Pods that would carry all traffic now. `base` is what is configured, `kept` what was found before: inside one rollout the
/// demand only rises, because the metrics of a release that has just got its traffic are still those of before.
pub fn demand(base: u32, kept: u32, sides: &[Side], limits: Limits) -> u32 {
    let carrying = sides.iter().filter(|side| side.share > Share::NONE);
    let whole = carrying.filter_map(|side| Some(over(side.asked?, side.share))).min();
    limits.within(whole.unwrap_or_default().max(kept).max(base))
}

/// Pods that a release needs for this share: none for none, otherwise its part of the demand rounded up, within the limits.
pub fn need(demand: u32, share: Share, limits: Limits) -> u32 {
    if share == Share::NONE {
        return 0;
    }
    let part = (u64::from(demand) * u64::from(share.basis_points())).div_ceil(10_000);
    limits.within(u32::try_from(part).unwrap_or(u32::MAX))
}

/// What all traffic needs when `share` of it needs so many pods.
fn over(pods: u32, share: Share) -> u32 {
    let whole = (u64::from(pods) * 10_000).div_ceil(u64::from(share.basis_points().max(1)));
    u32::try_from(whole).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
