//! Durations counted in log-linear buckets, as `HdrHistogram` does.
use std::time::Duration;

/// Buckets per doubling: a quantile is at most 1/32 (about 3 %) above the true value.
const STEPS: u64 = 32;
const STEP_BITS: u32 = STEPS.trailing_zeros();
/// Longest duration told apart, microseconds (about 268 s); longer ones count as this.
const MICROS_MAX: u64 = (1 << 28) - 1;
const BUCKETS: usize = 768;

/// A fixed-size count of durations, microseconds resolution below 64 µs and 3 % above.
#[derive(Debug, Clone)]
pub(crate) struct Histogram {
    buckets: Box<[u64]>,
    count: u64,
    longest: Duration,
}

impl Histogram {
    /// Counts nothing yet.
    pub(crate) fn new() -> Self {
        Self { buckets: vec![0; BUCKETS].into_boxed_slice(), count: 0, longest: Duration::ZERO }
    }

    /// Counts one duration.
    pub(crate) fn record(&mut self, duration: Duration) {
        let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX).min(MICROS_MAX);
        if let Some(bucket) = self.buckets.get_mut(bucket_of(micros)) {
            *bucket += 1;
        }
        self.count += 1;
        self.longest = self.longest.max(duration);
    }

    #[cfg(test)]
    /// Number of durations counted.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// The longest duration counted, exact; `None` when nothing was counted.
    pub(crate) fn longest(&self) -> Option<Duration> {
        (self.count > 0).then_some(self.longest)
    }

    /// The duration that `share` (0 to 1, clamped) of all counted ones do not exceed: the upper end of its bucket,
    /// never above [`Self::longest`]. `None` when nothing was counted.
    pub(crate) fn quantile(&self, share: f64) -> Option<Duration> {
        let longest = self.longest()?;
        // Counts stay far below 2^52, where this product is exact enough.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to 1..=count")]
        let rank = (share.clamp(0.0, 1.0) * self.count as f64).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        Some(bucket.map_or(longest, |bucket| Duration::from_micros(upper_end(bucket)).min(longest)))
    }
}

fn bucket_of(micros: u64) -> usize {
    let doublings = micros.checked_ilog2().unwrap_or(0).saturating_sub(STEP_BITS);
    let bucket = u64::from(doublings) * STEPS + (micros >> doublings);
    usize::try_from(bucket).unwrap_or(usize::MAX)
}

fn upper_end(bucket: usize) -> u64 {
    let bucket = bucket as u64;
    let doublings = (bucket / STEPS).saturating_sub(1);
    ((bucket - doublings * STEPS + 1) << doublings) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_duration_lies_in_its_bucket_and_at_most_one_thirty_second_below_its_end() {
        let mut micros = 0;
        while micros <= MICROS_MAX {
            let end = upper_end(bucket_of(micros));
            assert!(bucket_of(micros) < BUCKETS);
            assert!(micros <= end && end - micros <= micros / STEPS, "{micros} in a bucket up to {end}");
            micros += 1 + micros / 1000;
        }
    }

    #[test]
    fn quantiles_follow_the_sorted_durations() {
        let mut histogram = Histogram::new();
        assert_eq!(histogram.quantile(0.5), None);
        for ms in 1..=1000 {
            histogram.record(Duration::from_millis(ms));
        }
        for (share, exact_ms) in [(0.0, 1), (0.5, 500), (0.99, 990), (1.0, 1000)] {
            let (found, exact) = (histogram.quantile(share).unwrap(), Duration::from_millis(exact_ms));
            assert!(found >= exact && found <= exact + exact / 32, "{share}: {found:?}");
        }
        histogram.record(Duration::from_hours(1));
        assert_eq!(histogram.longest(), Some(Duration::from_hours(1)));
    }
}
