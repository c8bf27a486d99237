//! How many pods which release gets: pure rules, without a clock and without a cluster.
//!
//! Without a router a share of traffic is a share of the pods, so the counts are rounded; [`target`] rounds as Argo
//! Rollouts does (`approximateWeightedCanaryStableReplicaCounts`), and [`achieved`] says what share comes out of it.
//! [`step`] moves towards the target within surge and unavailability (`CalculateReplicaCountsForBasicCanary`). With a
//! router the pods only have to carry what the router sends: [`routed_new`], [`routed_stable`]. [`way_back`] says what
//! stable can carry now.

use tidegate_core::model::Share;

use crate::Bound;

/// Pods asked for, per release.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Of the new release.
    pub new: u32,
    /// Of the stable release.
    pub stable: u32,
}

/// Pods above and below the wanted number that are allowed on the way, resolved for that number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Room {
    /// Above.
    pub surge: u32,
    /// Below.
    pub unavailable: u32,
}

/// A share as a weight of a whole: `weight` of `whole`, `whole` at least 1. A weight above the whole is the whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// The new release's part.
    pub weight: u32,
    /// Everything; Argo's `maxTrafficWeight`, 100 unless said otherwise.
    pub whole: u32,
}

impl Weight {
    /// So many percent.
    pub const fn percent(percent: u8) -> Self {
        Self::of(percent as u32, 100)
    }

    /// `weight` of `whole`, kept within it.
    pub const fn of(weight: u32, whole: u32) -> Self {
        let whole = if whole == 0 { 1 } else { whole };
        Self { weight: if weight > whole { whole } else { weight }, whole }
    }

    const fn rest(self) -> Self {
        Self { weight: self.whole - self.weight, whole: self.whole }
    }

    const fn is_end(self) -> bool {
        self.weight == 0 || self.weight == self.whole
    }
}

impl From<Share> for Weight {
    fn from(share: Share) -> Self {
        Self::of(u32::from(share.basis_points()), 10_000)
    }
}

/// What to do where Argo's rule finds no counts at all: without surge, at 2 pods and 75 %, 5 and 90 %, 10 and 95 %, 25 and
/// 98 %, 50 and 99 %.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rounding {
    /// As Argo: the new release gets no pod.
    Argo,
    /// The stable release keeps one pod, the new one gets the others. The same as Argo everywhere else.
    AtLeastOne,
}

/// The pods of both releases that come nearest to a share of `pods`, with one extra pod where `surge` allows one and it
/// helps. A share between none and all leaves neither side without a pod once there are two, surge included, but for
/// [`Rounding::Argo`]'s five cases. A tie gives the new release more.
///
/// The order of the candidates and the treatment of ties are Argo Rollouts' `utils/replicaset/canary.go`; products are kept
/// in 64 bits and fractions exact, where Argo's overflow above 2³¹.
pub fn target(pods: u32, share: Weight, surge: u32, rounding: Rounding) -> Counts {
    let whole = u64::from(share.whole);
    let product = u64::from(pods) * u64::from(share.weight);
    let (up, down) = (product.div_ceil(whole), product / whole);
    let none_allowed = share.is_end() || (pods == 1 && surge == 0);
    let pods = u64::from(pods);
    let down_fits = |total: u64| !is_tie(total, share) && (down > 0 || none_allowed);
    let candidates = [
        (up < pods || none_allowed).then_some((up, pods)),
        down_fits(pods).then_some((down, pods)),
        (surge > 0).then_some((up, pods + 1)),
        (surge > 0 && down_fits(pods + 1)).then_some((down, pods + 1)),
    ];
    let nearest = candidates
        .into_iter()
        .flatten()
        .reduce(|best, next| if is_nearer(next, best, share) { next } else { best });
    let (new, total) = match (pods, nearest, rounding) {
        (0, _, _) => (0, 0),
        (_, Some(found), _) => found,
        (_, None, Rounding::Argo) => (0, pods),
        (_, None, Rounding::AtLeastOne) => (down, pods),
    };
    Counts { new: narrow(new), stable: narrow(total - new) }
}

/// Whether `total` pods cannot be divided better than half a pod off.
fn is_tie(total: u64, share: Weight) -> bool {
    let whole = u128::from(share.whole);
    2 * (u128::from(total) * u128::from(share.weight) % whole) == whole
}

/// Whether `one` is strictly nearer to the share than `other`; each is the new release's pods and all pods.
fn is_nearer(one: (u64, u64), other: (u64, u64), share: Weight) -> bool {
    let off = |(new, total): (u64, u64)| {
        let has = u128::from(new) * u128::from(share.whole);
        has.abs_diff(u128::from(total) * u128::from(share.weight))
    };
    off(one) * u128::from(other.1) < off(other) * u128::from(one.1)
}

/// The bounds for `pods` pods: surge rounded up, unavailability down and at most all pods; one pod may be missing where both
/// would be 0, because nothing could move otherwise (Argo's and Kubernetes' `resolveFenceposts`).
pub fn room(surge: Bound, unavailable: Bound, pods: u32) -> Room {
    let percent = |percent: u32| u64::from(percent) * u64::from(pods);
    let surge = match surge {
        Bound::Count(count) => count,
        Bound::Percent(part) => narrow(percent(part).div_ceil(100)),
    };
    let unavailable = match unavailable {
        Bound::Count(count) => count,
        Bound::Percent(part) => narrow(percent(part) / 100),
    };
    let unavailable = if surge == 0 && unavailable == 0 { 1 } else { unavailable };
    Room { surge, unavailable: unavailable.min(pods) }
}

/// The pods there are now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Present {
    /// Asked for of the new release.
    pub new: u32,
    /// Available of the new release.
    pub new_available: u32,
    /// Asked for of the stable release; 0 when there is none.
    pub stable: u32,
    /// Available of the stable release.
    pub stable_available: u32,
    /// Asked for of all older releases together.
    pub older: u32,
}

/// The counts to ask for next on the way to `target`, for `pods` wanted pods. Where no stable release is left, or it is the
/// new one, the caller's target is `pods` and 0.
///
/// Nothing is raised beyond `pods` + surge, stable is raised first, nothing is lowered while older releases have pods, and
/// what is lowered leaves `pods` − unavailable available pods, or as many as there were. Repeated as pods become available,
/// it ends at the target (section 2.4 of Argo's rule, movement).
pub fn step(present: Present, target: Counts, pods: u32, room: Room) -> Counts {
    let top = u64::from(pods) + u64::from(room.surge);
    let asked = Counts { new: present.new, stable: present.stable };
    let all = u64::from(asked.new) + u64::from(asked.stable) + u64::from(present.older);
    let raised = raise(asked, target, top.saturating_sub(all));
    if present.older > 0 {
        return raised;
    }
    let floor = pods.saturating_sub(room.unavailable);
    let (asked, available) = (present.new, present.new_available);
    let new = Side { asked, next: raised.new, target: target.new, available };
    let (asked, available) = (present.stable, present.stable_available);
    let stable = Side { asked, next: raised.stable, target: target.stable, available };
    if target.new >= present.new {
        let (stable, new) = lower(stable, new, floor, top);
        Counts { new, stable }
    } else {
        let (new, stable) = lower(new, stable, floor, top);
        Counts { new, stable }
    }
}

/// Raises stable first, then the new release, by at most `budget` pods together.
fn raise(asked: Counts, target: Counts, budget: u64) -> Counts {
    let budget = narrow(budget);
    let stable = target.stable.saturating_sub(asked.stable).min(budget);
    let new = target.new.saturating_sub(asked.new).min(budget - stable);
    Counts { new: asked.new + new, stable: asked.stable + stable }
}

/// One release in one step.
#[derive(Clone, Copy)]
struct Side {
    /// Pods asked for before the step.
    asked: u32,
    /// Pods asked for once raised.
    next: u32,
    /// Pods at the end.
    target: u32,
    /// Pods available now.
    available: u32,
}

/// Lowers the drained side as far as the floor allows, then brings both within the top; the drained side's count first.
fn lower(drained: Side, other: Side, floor: u32, top: u64) -> (u32, u32) {
    let pool = u64::from(drained.asked) + u64::from(other.asked.min(other.available));
    let allowance = narrow(pool.saturating_sub(u64::from(floor)));
    if allowance == 0 {
        return (drained.next, other.next);
    }
    let mut down = drained.next;
    if down > drained.target {
        down = drained.target.max(down.saturating_sub(allowance));
    }
    let mut kept = other.next;
    kept = kept.saturating_sub(over(down, kept, top));
    let have = drained.available.min(down) + other.available.min(kept);
    kept += other.available.saturating_sub(kept).min(floor.saturating_sub(have));
    down = down.saturating_sub(over(down, kept, top));
    (down, kept)
}

fn over(one: u32, other: u32, top: u64) -> u32 {
    narrow((u64::from(one) + u64::from(other)).saturating_sub(top))
}

/// The share of traffic that the new release gets when every pod gets the same: none without pods, never all while stable has
/// a pod, never none while the new release has one.
pub fn achieved(counts: Counts) -> Share {
    let total = counts.new.saturating_add(counts.stable);
    match (counts.new, counts.stable) {
        (0, _) => Share::NONE,
        (_, 0) => Share::ALL,
        (new, _) => Share::ratio(new, total).min(Share::from_basis_points(9_999).unwrap_or(Share::ALL)),
    }
}

/// Pods of the new release when a router sends it a share of what `pods` pods carry: rounded up, and at least `least` unless
/// it is none (Argo's `minPodsPerReplicaSet`), which counts up to `pods`.
pub fn routed_new(pods: u32, share: Weight, least: u32) -> u32 {
    let carried = (u64::from(pods) * u64::from(share.weight)).div_ceil(u64::from(share.whole));
    if carried == 0 { 0 } else { narrow(carried).max(least.min(pods)) }
}

/// Pods of the stable release when it is scaled with its traffic: enough for what is wanted and for what still arrives,
/// `written` being the new release's share as the router has it (Argo's `dynamicStableScale`).
pub fn routed_stable(pods: u32, wanted: Weight, written: Weight, least: u32) -> u32 {
    routed_new(pods, wanted.rest(), least).max(routed_new(pods, written.rest(), least))
}

/// The share that stays with the new release on the way back, now: what `ready` of stable's `wanted` pods cannot carry.
///
/// None once all wanted pods are ready, or `enough_percent` of them (rounded up, at least one). Below that stable takes what
/// its ready pods can carry in proportion, and never less than it has: the answer is at most `now`. Without a single ready
/// pod nothing moves. Argo moves nothing at all while one pod is missing (its issue 4839).
pub fn way_back(wanted: u32, ready: u32, now: Share, enough_percent: u8) -> Share {
    if ready == 0 {
        return now;
    }
    let enough = (u64::from(wanted) * u64::from(enough_percent)).div_ceil(100);
    if ready >= wanted || u64::from(ready) >= enough {
        return Share::NONE;
    }
    let carried = u64::from(ready) * 10_000 / u64::from(wanted);
    let carried = u16::try_from(carried).ok().and_then(|points| Share::from_basis_points(points).ok());
    carried.unwrap_or(Share::ALL).rest().min(now)
}

/// Pods are 32 bits in Kubernetes; what is above stays at the top.
fn narrow(count: u64) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
