//! Units of literals and metrics.

use alloc::{
    borrow::ToOwned,
    format,
    string::{String, ToString},
};
use core::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// What a number is counted in. Its word is how configuration names it and what follows a literal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Unit {
    /// A plain number, or a count; no suffix.
    #[default]
    Number,
    /// A share between 0 and 1; no suffix.
    Ratio,
    /// A share in hundredths: `5%`.
    Percent,
    /// Nanoseconds: `ns`.
    Nanoseconds,
    /// Microseconds: `us`.
    Microseconds,
    /// Milliseconds: `ms`.
    Milliseconds,
    /// Seconds: `s`.
    Seconds,
    /// Minutes: `min`.
    Minutes,
    /// Hours: `h`.
    Hours,
    /// Days: `d`.
    Days,
    /// Bytes: `B`.
    Bytes,
    /// Thousand bytes: `kB`.
    Kilobytes,
    /// Million bytes: `MB`.
    Megabytes,
    /// Thousand million bytes: `GB`.
    Gigabytes,
    /// 2^10 bytes: `KiB`.
    Kibibytes,
    /// 2^20 bytes: `MiB`.
    Mebibytes,
    /// 2^30 bytes: `GiB`.
    Gibibytes,
    /// 2^40 bytes: `TiB`.
    Tebibytes,
    /// Events per second: `rps`.
    PerSecond,
    /// Bytes per second: `Bps`.
    BytesPerSecond,
}

/// The suffixes, for messages.
pub(super) const SUFFIXES: &str =
    "%, ns, us, ms, s, min, h, d, B, kB, MB, GB, KiB, MiB, GiB, TiB, rps and Bps";

const TIME: Dimension = Dimension::Physical { time: 1, bytes: 0 };
const BYTES: Dimension = Dimension::Physical { time: 0, bytes: 1 };

/// Unit, word, dimension, and the scale to the base unit as a multiplier and a divisor: dividing by 100 rounds once, and
/// so `7%` is exactly the number `0.07`.
const TABLE: [(Unit, &str, Dimension, f64, f64); 20] = [
    (Unit::Number, "number", Dimension::Plain, 1.0, 1.0),
    (Unit::Ratio, "ratio", Dimension::Ratio, 1.0, 1.0),
    (Unit::Percent, "%", Dimension::Percent, 1.0, 100.0),
    (Unit::Nanoseconds, "ns", TIME, 1.0, 1e9),
    (Unit::Microseconds, "us", TIME, 1.0, 1e6),
    (Unit::Milliseconds, "ms", TIME, 1.0, 1e3),
    (Unit::Seconds, "s", TIME, 1.0, 1.0),
    (Unit::Minutes, "min", TIME, 60.0, 1.0),
    (Unit::Hours, "h", TIME, 3_600.0, 1.0),
    (Unit::Days, "d", TIME, 86_400.0, 1.0),
    (Unit::Bytes, "B", BYTES, 1.0, 1.0),
    (Unit::Kilobytes, "kB", BYTES, 1e3, 1.0),
    (Unit::Megabytes, "MB", BYTES, 1e6, 1.0),
    (Unit::Gigabytes, "GB", BYTES, 1e9, 1.0),
    (Unit::Kibibytes, "KiB", BYTES, 1_024.0, 1.0),
    (Unit::Mebibytes, "MiB", BYTES, 1_048_576.0, 1.0),
    (Unit::Gibibytes, "GiB", BYTES, 1_073_741_824.0, 1.0),
    (Unit::Tebibytes, "TiB", BYTES, 1_099_511_627_776.0, 1.0),
    (Unit::PerSecond, "rps", Dimension::Physical { time: -1, bytes: 0 }, 1.0, 1.0),
    (Unit::BytesPerSecond, "Bps", Dimension::Physical { time: -1, bytes: 1 }, 1.0, 1.0),
];

impl Unit {
    fn row(self) -> (&'static str, Dimension, f64, f64) {
        let row = TABLE.iter().find(|(unit, ..)| *unit == self);
        row.map_or(("number", Dimension::Plain, 1.0, 1.0), |&(_, word, dimension, times, per)| {
            (word, dimension, times, per)
        })
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        self.row().0
    }

    /// What it measures.
    pub fn dimension(self) -> Dimension {
        self.row().1
    }

    /// A number in this unit, in the base unit of its dimension: seconds, bytes, per second, or as a share.
    pub fn to_base(self, value: f64) -> f64 {
        let (_, _, times, per) = self.row();
        value * times / per
    }

    /// The unit of a literal with this suffix. `number` and `ratio` are words, not suffixes.
    pub(super) fn of_suffix(suffix: &str) -> Option<Self> {
        TABLE.iter().skip(2).find(|(_, word, ..)| *word == suffix).map(|(unit, ..)| *unit)
    }

    /// What follows a literal in this unit.
    pub(super) fn suffix(self) -> &'static str {
        if matches!(self, Self::Number | Self::Ratio) { "" } else { self.word() }
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A unit that does not exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown unit `{0}`; units are number, ratio, {SUFFIXES}")]
pub struct UnknownUnit(pub String);

impl FromStr for Unit {
    type Err = UnknownUnit;

    fn from_str(word: &str) -> Result<Self, UnknownUnit> {
        let row = TABLE.iter().find(|(_, known, ..)| *known == word);
        row.map(|(unit, ..)| *unit).ok_or_else(|| UnknownUnit(word.chars().take(40).collect()))
    }
}

impl TryFrom<String> for Unit {
    type Error = UnknownUnit;

    fn try_from(word: String) -> Result<Self, UnknownUnit> {
        word.parse()
    }
}

impl From<Unit> for String {
    fn from(unit: Unit) -> Self {
        unit.to_string()
    }
}

/// What a number measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// A plain number, or a count.
    Plain,
    /// A share that is written between 0 and 1.
    Ratio,
    /// A share that is written in hundredths. A bare number beside it would be off by a factor of 100, so there is none.
    Percent,
    /// Powers of time and size.
    Physical {
        /// Power of time.
        time: i8,
        /// Power of size.
        bytes: i8,
    },
}

impl Dimension {
    /// Largest power of a unit that is let through.
    const POWER_MAX: i8 = 3;

    /// The dimension of a sum, a difference or either side of a comparison.
    pub(super) fn with(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Plain, Self::Ratio) | (Self::Ratio, Self::Plain) => Some(Self::Ratio),
            (Self::Percent, Self::Ratio) | (Self::Ratio, Self::Percent) => Some(Self::Percent),
            (a, b) if a == b => Some(a),
            _ => None,
        }
    }

    /// The dimension of a product.
    pub(super) fn times(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Physical { time: t, bytes: b }, Self::Physical { time: u, bytes: c }) => {
                Self::powers(t + u, b + c)
            }
            (Self::Physical { .. }, _) => Some(self),
            (_, Self::Physical { .. }) => Some(other),
            // `stable * 110%` is still what stable is, and `stable * 1.1` too.
            (Self::Plain, other) => Some(other),
            (kept, _) => Some(kept),
        }
    }

    /// The dimension of a quotient.
    pub(super) fn per(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Physical { time: t, bytes: b }, Self::Physical { time: u, bytes: c }) => {
                Self::powers(t - u, b - c)
            }
            (_, Self::Physical { time: u, bytes: c }) => Self::powers(-u, -c),
            (Self::Physical { .. }, _) => Some(self),
            (a, b) if a == b => Some(Self::Ratio),
            (kept, _) => Some(kept),
        }
    }

    fn powers(time: i8, bytes: i8) -> Option<Self> {
        if time.abs() > Self::POWER_MAX || bytes.abs() > Self::POWER_MAX {
            return None;
        }
        Some(if (time, bytes) == (0, 0) { Self::Ratio } else { Self::Physical { time, bytes } })
    }

    /// How a literal of this dimension is written.
    pub(super) fn advice(self) -> &'static str {
        match self {
            Self::Plain => "declare the metric's unit, or write a number without a unit",
            Self::Ratio => "write a share as 0.05 or 5%",
            Self::Percent => "write a percentage as 5%",
            Self::Physical { time: 1, bytes: 0 } => "write a time with its unit, as 500ms or 2s",
            Self::Physical { time: 0, bytes: 1 } => "write a size with its unit, as 80MiB",
            Self::Physical { time: -1, bytes: 0 } => {
                "write a rate with its unit, as 50rps; for a share of failures divide by the rate of requests"
            }
            Self::Physical { .. } => "write the number with its unit",
        }
    }
}

impl fmt::Display for Dimension {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match *self {
            Self::Plain => "a plain number".to_owned(),
            Self::Ratio => "a share".to_owned(),
            Self::Percent => "a percentage".to_owned(),
            Self::Physical { time: 1, bytes: 0 } => "a time".to_owned(),
            Self::Physical { time: 0, bytes: 1 } => "a size in bytes".to_owned(),
            Self::Physical { time: -1, bytes: 0 } => "a rate per second".to_owned(),
            Self::Physical { time: -1, bytes: 1 } => "bytes per second".to_owned(),
            Self::Physical { time, bytes } => format!("seconds^{time}·bytes^{bytes}"),
        };
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unit_is_in_the_table_under_its_own_word() {
        for (unit, word, ..) in TABLE {
            assert_eq!(word.parse(), Ok(unit));
            assert_eq!(unit.word(), word);
            assert!(unit.suffix().is_empty() || SUFFIXES.contains(unit.suffix()));
        }
        assert!("fortnight".parse::<Unit>().is_err());
    }

    #[test]
    fn hundredths_and_thousandths_are_the_nearest_number() {
        assert_eq!(Unit::Percent.to_base(7.0).to_bits(), 0.07_f64.to_bits());
        assert_eq!(Unit::Milliseconds.to_base(1.1).to_bits(), 0.0011_f64.to_bits());
    }
}
