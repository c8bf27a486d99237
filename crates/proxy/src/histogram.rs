//! A log-linear latency histogram with fixed bounds: written by one thread, read by any, merged by addition.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Steps per doubling: the relative error of a bucket's edge is at most 1/32.
const STEPS: u64 = 32;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Values below this have a bucket each.
const LINEAR: u64 = STEPS * 2;
/// Largest value told apart, microseconds (about 71 minutes); larger ones count as this.
const VALUE_MAX: u64 = (1 << 32) - 1;
const BUCKETS: usize = 64 + 26 * 32;

/// Counts of microseconds by bucket.
pub(crate) struct Histogram {
    counts: Box<[AtomicU64]>,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: (0..BUCKETS).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Adds one value. Only the thread that owns the histogram may call it.
    pub(crate) fn record(&self, us: u64) {
        if let Some(count) = self.counts.get(index(us)) {
            count.store(count.load(Relaxed).wrapping_add(1), Relaxed);
        }
    }

    /// Adds this histogram's counts to `sums`, which grows to the number of buckets.
    pub(crate) fn add_to(&self, sums: &mut Vec<u64>) {
        sums.resize(BUCKETS, 0);
        for (sum, count) in sums.iter_mut().zip(&self.counts) {
            *sum += count.load(Relaxed);
        }
    }
}

/// The non-empty buckets of merged counts as `(upper edge in microseconds, count)`.
pub(crate) fn pairs(sums: &[u64]) -> Vec<(u64, u64)> {
    let mut pairs: Vec<(u64, u64)> = Vec::new();
    for (index, count) in sums.iter().enumerate() {
        if *count > 0 {
            pairs.push((upper_edge(index), *count));
        }
    }
    pairs
}

fn index(us: u64) -> usize {
    let us = us.min(VALUE_MAX);
    let at = if us < LINEAR {
        us
    } else {
        let octave = u64::from(us.ilog2() - STEP_BITS - 1);
        LINEAR + octave * STEPS + ((us >> (octave + 1)) - STEPS)
    };
    usize::try_from(at).unwrap_or(BUCKETS - 1)
}

/// The largest value of a bucket.
fn upper_edge(index: usize) -> u64 {
    let index = u64::try_from(index).unwrap_or(0);
    if index < LINEAR {
        return index;
    }
    let octave = (index - LINEAR) / STEPS;
    let step = (index - LINEAR) % STEPS + STEPS;
    ((step + 1) << (octave + 1)) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_value_lies_in_a_bucket_whose_upper_edge_is_at_most_a_thirty_second_above_it() {
        let mut value = 0;
        while value <= VALUE_MAX {
            let edge = upper_edge(index(value));
            assert!(edge >= value && edge - value <= value / 32, "{value} -> {edge}");
            value += 1 + value / 50;
        }
        assert_eq!(upper_edge(index(u64::MAX)), VALUE_MAX);
        assert_eq!(index(VALUE_MAX), BUCKETS - 1);
    }

    #[test]
    fn edges_rise() {
        assert!((1..BUCKETS).all(|at| upper_edge(at) > upper_edge(at - 1)));
    }

    #[test]
    fn merged_histograms_add_up() {
        let (first, second) = (Histogram::new(), Histogram::new());
        first.record(10);
        second.record(10);
        second.record(5_000);
        let mut sums = Vec::new();
        first.add_to(&mut sums);
        second.add_to(&mut sums);
        assert_eq!(pairs(&sums), vec![(10, 2), (upper_edge(index(5_000)), 1)]);
    }
}
