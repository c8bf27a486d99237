//! Weights: how a rule's backends become the two releases', and one again.
//!
//! A rule that users wrote has the root as one of its backends, mostly as the only one. Its part is divided between the two
//! releases; backends beside it keep their part. Where the root's weight cannot be divided into whole numbers, all weights of
//! the rule are multiplied by the smallest number that makes it exact: weights are relative in Gateway API
//! (`BackendRef.weight`) and in Istio (`HTTPRouteDestination.weight`).

use serde_json::{Value, json};
use tidegate_core::model::Share;

use super::Ends;

/// The largest weight of Gateway API (`BackendRef.weight`); Istio's are 32 bits.
const WEIGHT_MAX: u64 = 1_000_000;

/// The furthest that weights may be from the wanted share, basis points.
pub(crate) const OFF_MAX: u16 = 50;

/// Which of our Services a backend is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Root,
    Stable,
    New,
}

impl Ends<'_> {
    /// Which of ours a name is.
    pub(crate) fn end(&self, name: &str) -> Option<End> {
        match name {
            _ if self.new == Some(name) => Some(End::New),
            _ if self.root == name => Some(End::Root),
            _ if self.stable == name => Some(End::Stable),
            _ => None,
        }
    }
}

/// How a router writes weights.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Weights {
    /// What a backend without a weight counts for when it is the only one.
    pub(crate) alone: u64,
    /// What a backend without a weight counts for beside others.
    pub(crate) beside: u64,
    /// Whether the only backend has a weight when users say none.
    pub(crate) canonical: Option<u64>,
    /// Whether whole percents are written as parts of 100 rather than of 10,000.
    pub(crate) percent: bool,
}

impl Weights {
    fn of(self, weight: Option<u64>, backends: usize) -> u64 {
        weight.unwrap_or(if backends == 1 { self.alone } else { self.beside })
    }
}

/// The backends of one rule of ours.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    /// The list with one entry in place of ours, [`Group::at`]; its weights are those of `rest`.
    pub(crate) backends: Vec<Value>,
    /// Where ours is.
    pub(crate) at: usize,
    /// The weights to return to, one per backend; `None` has none.
    pub(crate) rest: Vec<Option<u64>>,
    /// What the list says now: the new release's weight, and the weight of all of ours.
    pub(crate) now: (u64, u64),
}

/// Why a list of backends is not one of ours, or not a readable one.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NotOurs {
    /// None of its backends is ours, or only the root with a weight of 0.
    Foreign,
    /// One of ours is there twice.
    Twice,
    /// A weight is not a whole number.
    BadWeight(usize),
}

impl Group {
    /// Reads a list of backends; `end` says which of ours an entry is, `remembered` what the list was at rest.
    pub(crate) fn read(
        list: &[Value],
        ends: &Ends<'_>,
        weights: Weights,
        remembered: Option<&[Option<u64>]>,
        end: impl Fn(&Value) -> Option<End>,
    ) -> Result<Self, NotOurs> {
        let sides: Vec<Option<End>> = list.iter().map(end).collect();
        let Some(at) = sides.iter().position(Option::is_some) else { return Err(NotOurs::Foreign) };
        let place = |end: End| sides.iter().position(|side| *side == Some(end));
        if sides
            .iter()
            .flatten()
            .enumerate()
            .any(|(one, end)| sides.iter().flatten().skip(one + 1).any(|other| other == end))
        {
            return Err(NotOurs::Twice);
        }
        let written =
            list.iter().enumerate().map(|(at, one)| weight(one, at)).collect::<Result<Vec<_>, _>>()?;
        let counted = |end: End| {
            let weight = place(end).and_then(|at| written.get(at));
            weight.map_or(0, |weight| weights.of(*weight, list.len()))
        };
        let new = counted(End::New);
        let total = new + counted(End::Root) + counted(End::Stable);
        let at_rest = place(End::New).is_none() && (place(End::Stable).is_none() || ends.root == ends.stable);
        if at_rest && total == 0 {
            return Err(NotOurs::Foreign);
        }
        let first = place(End::Root).or(place(End::Stable)).or(place(End::New)).and_then(|at| list.get(at));
        let mut backends = Vec::with_capacity(list.len());
        let mut present = Vec::with_capacity(list.len());
        for (place, ((entry, side), weight)) in list.iter().zip(&sides).zip(&written).enumerate() {
            if side.is_none() {
                backends.push(entry.clone());
                present.push(*weight);
            } else if place == at {
                backends.extend(first.cloned());
                present.push(if at_rest { *weight } else { Some(total) });
            }
        }
        let rest = if at_rest { present } else { returned(present, weights, remembered) };
        Ok(Self { backends, at, rest, now: (new, total) })
    }

    /// The share that the list says, `None` when it sends nothing to either.
    pub(crate) fn share(&self) -> Option<Share> {
        let (new, total) = self.now;
        (total > 0).then(|| fraction(new, total))
    }

    /// The list at rest; `root` makes an entry point to the root.
    pub(crate) fn at_rest(&self, root: impl Fn(&mut Value)) -> Vec<Value> {
        let mut list = self.backends.clone();
        for (entry, weight) in list.iter_mut().zip(&self.rest) {
            set_weight(entry, *weight);
        }
        if let Some(entry) = list.get_mut(self.at) {
            root(entry);
        }
        list
    }

    /// The list that gives the new release `share`, or the nearest share that fits; `stable` and `new` make an entry point to
    /// them.
    pub(crate) fn divided(
        &self,
        share: Share,
        weights: Weights,
        stable: impl Fn(&mut Value),
        new: impl Fn(&mut Value),
    ) -> Result<Vec<Value>, Share> {
        let (times, whole) = self.scale(share, weights);
        let part = part(whole, share);
        let got = fraction(part, whole);
        let is_end = |share: Share| share == Share::NONE || share.is_all();
        let is_off =
            got.basis_points().abs_diff(share.basis_points()) > OFF_MAX || is_end(got) != is_end(share);
        if whole > 0 && is_off {
            return Err(got);
        }
        let mut list = Vec::with_capacity(self.backends.len() + 1);
        for (place, (entry, rest)) in self.backends.iter().zip(&self.rest).enumerate() {
            let mut entry = entry.clone();
            if place == self.at {
                let mut other = entry.clone();
                stable(&mut entry);
                set_weight(&mut entry, Some(whole - part));
                new(&mut other);
                set_weight(&mut other, Some(part));
                list.extend([entry, other]);
            } else {
                let times_more = weights.of(*rest, self.backends.len()) * times;
                set_weight(
                    &mut entry,
                    if times == 1 { *rest } else { rest.map_or(absent(times_more), |_| Some(times_more)) },
                );
                list.push(entry);
            }
        }
        Ok(list)
    }

    /// What to multiply the others' weights by, and the weight of ours together.
    fn scale(&self, share: Share, weights: Weights) -> (u64, u64) {
        let points = u64::from(share.basis_points());
        if self.backends.len() == 1 {
            let percent = weights.percent && points.is_multiple_of(100);
            return (1, if percent { 100 } else { 10_000 });
        }
        let count = self.backends.len();
        let ours = weights.of(self.rest.get(self.at).copied().flatten(), count);
        let largest = self.rest.iter().map(|weight| weights.of(*weight, count)).max().unwrap_or(1).max(1);
        let exact = 10_000 / divisor(10_000, ours * points);
        let times = exact.min(WEIGHT_MAX / largest).max(1);
        (times, ours * times)
    }
}

/// An absent weight that counts for nothing stays absent.
fn absent(weight: u64) -> Option<u64> {
    (weight > 0).then_some(weight)
}

/// The weights to return to: those remembered if the others' weights are still a multiple of theirs; or those that keep the
/// proportions.
fn returned(
    present: Vec<Option<u64>>,
    weights: Weights,
    remembered: Option<&[Option<u64>]>,
) -> Vec<Option<u64>> {
    let count = present.len();
    if let Some(remembered) = remembered.filter(|remembered| remembered.len() == count)
        && (count == 1 || is_multiple(&present, remembered, weights))
    {
        return remembered.to_vec();
    }
    if count == 1 { vec![weights.canonical] } else { present }
}

/// Whether all weights are the remembered ones times one number.
fn is_multiple(present: &[Option<u64>], remembered: &[Option<u64>], weights: Weights) -> bool {
    let count = present.len();
    let pairs = || {
        present.iter().zip(remembered).map(|(now, then)| (weights.of(*now, count), weights.of(*then, count)))
    };
    let Some((now, then)) = pairs().find(|(_, then)| *then > 0) else {
        return pairs().all(|(now, _)| now == 0);
    };
    now >= then
        && pairs().all(|(other, before)| {
            u128::from(other) * u128::from(then) == u128::from(before) * u128::from(now)
        })
}

/// A backend's weight, if it has one.
fn weight(backend: &Value, at: usize) -> Result<Option<u64>, NotOurs> {
    match backend.get("weight") {
        None | Some(Value::Null) => Ok(None),
        Some(weight) => {
            let weight = weight.as_u64().and_then(|weight| u32::try_from(weight).ok());
            weight.map(|weight| Some(weight.into())).ok_or(NotOurs::BadWeight(at))
        }
    }
}

pub(crate) fn set_weight(backend: &mut Value, weight: Option<u64>) {
    let Some(backend) = backend.as_object_mut() else { return };
    match weight {
        Some(weight) => drop(backend.insert("weight".to_owned(), json!(weight))),
        None => drop(backend.remove("weight")),
    }
}

/// The whole number nearest to `share` of `whole`: nothing only for no share, everything only for all.
fn part(whole: u64, share: Share) -> u64 {
    let points = u64::from(share.basis_points());
    if points == 0 || points == 10_000 || whole < 2 {
        return if points >= 5_000 { whole } else { 0 };
    }
    ((whole * points + 5_000) / 10_000).clamp(1, whole - 1)
}

/// `part` of `whole`, 1 at least, to the nearest basis point; none and all only when it is so.
pub(crate) fn fraction(part: u64, whole: u64) -> Share {
    if part == 0 || whole == 0 {
        return Share::NONE;
    }
    if part >= whole {
        return Share::ALL;
    }
    let nearest = (u128::from(part) * 20_000 + u128::from(whole)) / (2 * u128::from(whole));
    let points = u16::try_from(nearest.clamp(1, 9_999)).unwrap_or(9_999);
    Share::from_basis_points(points).unwrap_or(Share::ALL)
}

/// The greatest common divisor; of 0 it is the other.
fn divisor(one: u64, other: u64) -> u64 {
    let (mut one, mut other) = (one, other);
    while other > 0 {
        (one, other) = (other, one % other);
    }
    one
}
