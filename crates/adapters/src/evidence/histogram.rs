//! Latency histograms as they were read, classic or native, in one form.

use std::collections::BTreeMap;

use tidegate_core::{expression::Unit, model::Timestamp};

use super::{
    answer::{Labels, named, whole},
    fault::FaultKind,
};

/// Finest schema of native histograms that is kept: each edge is 9 % above the one before. Finer ones are made coarser, so
/// that a reading stays small.
pub(super) const SCHEMA_MAX: i8 = 3;
/// Part of a step by which an edge may be off its place after it was rounded to whole microseconds.
const ROUNDED: f64 = 0.2;
/// Most buckets of one histogram.
pub(super) const BUCKETS_MAX: usize = 1_024;

/// One histogram at one moment: cumulative over time, counts of its buckets **not** cumulative over the edges.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    /// Its labels, without `le`.
    pub labels: Labels,
    /// When it was measured.
    pub at: Timestamp,
    /// When counting began, where the source says so.
    pub created: Option<Timestamp>,
    /// Upper edges, rising, in the metric's unit, and counts; the last edge may be infinite. Native histograms leave empty
    /// buckets out.
    pub buckets: Vec<(f64, u64)>,
    /// Schema of a native histogram, where it is known: its edges are `2^(i / 2^schema)` for every whole `i`.
    pub schema: Option<i8>,
}

/// Which edges a release's histograms have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Scheme {
    /// No histogram was seen yet.
    #[default]
    Unknown,
    /// Those that are listed, empty buckets too.
    Listed,
    /// Those of a native schema, listed or not.
    Native(i8),
}

impl Scheme {
    /// That of both together.
    pub(super) fn with(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unknown, one) | (one, Self::Unknown) => one,
            (Self::Native(one), Self::Native(other)) => Self::Native(one.min(other)),
            (Self::Listed, _) | (_, Self::Listed) => Self::Listed,
        }
    }
}

impl Histogram {
    /// Observations in all buckets.
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// Buckets with their edges in microseconds; an infinite or huge one is `u64::MAX`. Edges below a microsecond count
    /// as one.
    pub(super) fn microseconds(&self, unit: Unit) -> BTreeMap<u64, u64> {
        let mut buckets = BTreeMap::new();
        for &(edge, count) in &self.buckets {
            let entry: &mut u64 = buckets.entry(whole_microseconds(unit.to_base(edge))).or_default();
            *entry = entry.saturating_add(count);
        }
        buckets
    }

    pub(super) fn scheme(&self) -> Scheme {
        self.schema.map_or(Scheme::Listed, |schema| Scheme::Native(schema.min(SCHEMA_MAX)))
    }

    /// From classic buckets: edge and count of everything up to it. The last edge must be infinite, and no count may be
    /// lower than the one before.
    pub(super) fn classic(
        labels: Labels,
        at: Timestamp,
        created: Option<Timestamp>,
        mut cumulative: Vec<(f64, f64)>,
    ) -> Result<Self, FaultKind> {
        let name = named(&labels);
        let wrong = |why: &str| FaultKind::WrongShape(format!("the histogram {name} {why}"));
        if cumulative.len() > BUCKETS_MAX {
            return Err(FaultKind::TooMany(BUCKETS_MAX));
        }
        if cumulative.iter().any(|(edge, _)| edge.is_nan()) {
            return Err(wrong("has a bucket whose edge is no number"));
        }
        cumulative.sort_by(|a, b| a.0.total_cmp(&b.0));
        if cumulative.last().is_none_or(|(edge, _)| edge.is_finite()) {
            return Err(wrong("has no bucket le=\"+Inf\""));
        }
        let mut buckets = Vec::with_capacity(cumulative.len());
        let (mut below, mut last_edge) = (0, f64::NEG_INFINITY);
        for (edge, value) in cumulative {
            let up_to = whole(value, &name)?;
            if edge <= last_edge {
                return Err(wrong("has the same bucket twice"));
            }
            let count = up_to.checked_sub(below).ok_or_else(|| wrong("counts less up to a higher edge"))?;
            buckets.push((edge, count));
            (below, last_edge) = (up_to, edge);
        }
        Ok(Self { labels, at, created, buckets, schema: None })
    }

    /// From native buckets that are not cumulative, in any order, each edge once.
    pub(super) fn native(
        labels: Labels,
        at: Timestamp,
        created: Option<Timestamp>,
        mut buckets: Vec<(f64, u64)>,
        count: u64,
        schema: Option<i8>,
    ) -> Result<Self, FaultKind> {
        if buckets.len() > BUCKETS_MAX {
            return Err(FaultKind::TooMany(BUCKETS_MAX));
        }
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        let histogram = Self { labels, at, created, buckets, schema };
        if histogram.buckets.iter().any(|(edge, _)| edge.is_nan()) || histogram.count() != count {
            let name = named(&histogram.labels);
            let why = format!("the buckets of {name} do not add up to its count {count}");
            return Err(FaultKind::WrongShape(why));
        }
        Ok(histogram)
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the range")]
fn whole_microseconds(seconds: f64) -> u64 {
    let microseconds = (seconds * 1e6).round();
    // 2^63 microseconds are 292,000 years: whoever has such a bucket means infinity.
    if microseconds >= 9.2e18 { u64::MAX } else { microseconds.max(1.0) as u64 }
}

/// The same counts in the buckets of a native schema, which must not be finer than their own.
#[expect(clippy::cast_possible_truncation, reason = "a whole number between the logarithms of an f64")]
pub(super) fn coarser(buckets: &BTreeMap<u64, u64>, unit: Unit, schema: i8) -> BTreeMap<u64, u64> {
    let mut coarse = BTreeMap::new();
    for (&edge, &count) in buckets {
        let to = if edge == u64::MAX {
            edge
        } else {
            let steps = (edge as f64 / 1e6 / unit.to_base(1.0)).log2() * f64::from(schema).exp2();
            native_edge((steps - ROUNDED).ceil() as i64, unit, schema)
        };
        let total: &mut u64 = coarse.entry(to).or_default();
        *total = total.saturating_add(count);
    }
    coarse
}

/// The powers of two of a native histogram's unit between 100 µs and two minutes: edges of every schema from 0 on, which make
/// a limit among empty buckets one between two edges.
pub(super) fn doublings(unit: Unit) -> impl Iterator<Item = u64> {
    (-24..=28).map(move |power| native_edge(power, unit, 0)).filter(|edge| (100..=128_000_000).contains(edge))
}

fn native_edge(index: i64, unit: Unit, schema: i8) -> u64 {
    whole_microseconds(unit.to_base((index as f64 * (-f64::from(schema)).exp2()).exp2()))
}

/// What was added between two states of one histogram, both as [`Histogram::microseconds`]; `None` when counting began anew in
/// between. A native histogram may have become coarser: then each old bucket lies inside a new one.
pub(super) fn rise(before: &BTreeMap<u64, u64>, after: &BTreeMap<u64, u64>) -> Option<BTreeMap<u64, u64>> {
    let mut rise = after.clone();
    for (&edge, &count) in before.iter().filter(|(_, count)| **count > 0) {
        let (_, covering) = rise.range_mut(edge..).next()?;
        *covering = covering.checked_sub(count)?;
    }
    Some(rise)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classic(cumulative: &[(f64, f64)]) -> Result<Histogram, FaultKind> {
        Histogram::classic(Labels::new(), Timestamp(1), None, cumulative.to_vec())
    }

    #[test]
    fn classic_buckets_become_counts_and_bad_ones_are_refused() {
        let good = classic(&[(0.5, 7.0), (0.1, 5.0), (f64::INFINITY, 9.0)]).unwrap();
        assert_eq!(good.buckets, [(0.1, 5), (0.5, 2), (f64::INFINITY, 2)]);
        assert_eq!(good.microseconds(Unit::Seconds), [(100_000, 5), (500_000, 2), (u64::MAX, 2)].into());
        assert_eq!(good.microseconds(Unit::Milliseconds), [(100, 5), (500, 2), (u64::MAX, 2)].into());
        for (bad, code) in [
            (vec![(0.1, 5.0), (0.5, 4.0), (f64::INFINITY, 9.0)], "wrong_shape"),
            (vec![(0.1, 5.0), (0.5, 6.0)], "wrong_shape"),
            (vec![(0.1, 5.0), (0.1, 6.0), (f64::INFINITY, 9.0)], "wrong_shape"),
            (vec![(f64::NAN, 5.0), (f64::INFINITY, 9.0)], "wrong_shape"),
            (vec![(f64::INFINITY, f64::NAN)], "not_a_number"),
            (vec![(f64::INFINITY, -1.0)], "negative"),
            (vec![(f64::INFINITY, 1.5)], "not_whole"),
            (vec![(f64::INFINITY, 1e300)], "huge"),
            (vec![], "wrong_shape"),
        ] {
            assert_eq!(classic(&bad).unwrap_err().code(), code, "{bad:?}");
        }
    }

    #[test]
    fn a_histogram_that_became_coarser_is_no_reset() {
        let fine = BTreeMap::from([(10, 5), (20, 6), (30, 1)]);
        let coarse = BTreeMap::from([(20, 13), (40, 2)]);
        assert_eq!(rise(&fine, &coarse), Some(BTreeMap::from([(20, 2), (40, 1)])));
        assert_eq!(rise(&coarse, &BTreeMap::from([(20, 3), (40, 2)])), None, "counts fell");
        assert_eq!(rise(&coarse, &BTreeMap::new()), None);
        assert_eq!(rise(&BTreeMap::new(), &fine), Some(fine.clone()));
    }
}
