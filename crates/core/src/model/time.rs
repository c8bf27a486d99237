//! Times and durations as plain numbers, because the core has no clock.

use core::fmt;

use serde::{Deserialize, Serialize};

/// A length of time in milliseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millis(pub u64);

impl Millis {
    /// No time at all.
    pub const ZERO: Self = Self(0);

    /// So many seconds.
    pub const fn secs(secs: u64) -> Self {
        Self(secs.saturating_mul(1_000))
    }

    /// So many minutes.
    pub const fn minutes(minutes: u64) -> Self {
        Self::secs(minutes.saturating_mul(60))
    }

    /// So many hours.
    pub const fn hours(hours: u64) -> Self {
        Self::minutes(hours.saturating_mul(60))
    }

    /// This many times as long; stays at the largest value instead of wrapping.
    #[must_use]
    pub const fn times(self, factor: u64) -> Self {
        Self(self.0.saturating_mul(factor))
    }
}

impl fmt::Display for Millis {
    /// `250 ms`, `1.5 s`, `60 s`, `5 min`, `2 h`: the largest unit that loses nothing a person would miss.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = self.0;
        match ms {
            0 => write!(f, "0 s"),
            1..1_000 => write!(f, "{ms} ms"),
            _ if ms >= 7_200_000 && ms.is_multiple_of(3_600_000) => write!(f, "{} h", ms / 3_600_000),
            _ if ms >= 120_000 && ms.is_multiple_of(60_000) => write!(f, "{} min", ms / 60_000),
            _ if ms.is_multiple_of(1_000) => write!(f, "{} s", ms / 1_000),
            _ if ms < 60_000 => write!(f, "{}.{} s", ms / 1_000, ms % 1_000 / 100),
            _ => write!(f, "{} s", ms / 1_000),
        }
    }
}

/// A moment, in milliseconds since the Unix epoch, as the engine's clock gave it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(pub i64);

impl Timestamp {
    /// The moment this much later; the end of time instead of wrapping.
    #[must_use]
    pub fn after(self, span: Millis) -> Self {
        Self(self.0.saturating_add(i64::try_from(span.0).unwrap_or(i64::MAX)))
    }

    /// Time from `earlier` to here; zero when `earlier` is later.
    pub fn since(self, earlier: Self) -> Millis {
        Millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn a_length_of_time_is_shown_in_its_largest_lossless_unit() {
        for (ms, text) in [
            (0, "0 s"),
            (250, "250 ms"),
            (1_500, "1.5 s"),
            (60_000, "60 s"),
            (300_000, "5 min"),
            (7_200_000, "2 h"),
            (90_000, "90 s"),
        ] {
            assert_eq!(Millis(ms).to_string(), text);
        }
    }

    #[test]
    fn times_at_the_ends_saturate() {
        assert_eq!(Timestamp(i64::MAX).after(Millis(u64::MAX)), Timestamp(i64::MAX));
        assert_eq!(Timestamp(5).since(Timestamp(9)), Millis::ZERO);
    }
}
