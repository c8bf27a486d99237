//! The fixed-point numbers of this room, and the only two ways from a real number into them.

use core::fmt;

use serde::{Deserialize, Deserializer, Serialize};

/// A factor's value in basis points: `0` is nothing that speaks for the release, `10_000` is everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct Points(u16);

impl Points {
    /// The least.
    pub const NONE: Self = Self(0);
    /// Neither for nor against.
    pub const HALF: Self = Self(5_000);
    /// The most.
    pub const FULL: Self = Self(10_000);

    /// So many basis points; more than 10,000 is 10,000.
    pub const fn new(basis_points: u16) -> Self {
        if basis_points > 10_000 { Self::FULL } else { Self(basis_points) }
    }

    /// `part` of `whole`, to the nearest basis point, halves up; at most everything. `None` when `whole` is 0.
    pub fn ratio(part: u64, whole: u64) -> Option<Self> {
        if whole == 0 {
            return None;
        }
        let (part, whole) = (u128::from(part.min(whole)), u128::from(whole));
        u16::try_from((part * 20_000 + whole) / (whole * 2)).ok().map(Self::new)
    }

    /// The nearest basis point to a fraction, halves away from zero, after clipping to 0 to 1; `None` for a NaN. The
    /// only way from a real number to a factor.
    pub fn round(fraction: f64) -> Option<Self> {
        if fraction.is_nan() {
            return None;
        }
        let points = libm::round(fraction.clamp(0.0, 1.0) * 10_000.0);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number between 0 and 10000"
        )]
        let points = points as u16;
        Some(Self::new(points))
    }

    /// Basis points, 0 to 10,000.
    pub const fn basis_points(self) -> u16 {
        self.0
    }

    /// As a fraction, 0 to 1.
    pub fn fraction(self) -> f64 {
        f64::from(self.0) / 10_000.0
    }

    /// What is missing to everything.
    #[must_use]
    pub const fn rest(self) -> Self {
        Self(10_000 - self.0)
    }
}

impl<'de> Deserialize<'de> for Points {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let points = u16::deserialize(deserializer)?;
        if points > 10_000 {
            return Err(serde::de::Error::custom("a factor is at most 10000 basis points"));
        }
        Ok(Self(points))
    }
}

impl fmt::Display for Points {
    /// `85 %`, `12.5 %`, `0.01 %`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 100, self.0 % 100);
        match rest {
            0 => write!(f, "{whole} %"),
            _ if rest.is_multiple_of(10) => write!(f, "{whole}.{} %", rest / 10),
            _ => write!(f, "{whole}.{rest:02} %"),
        }
    }
}

/// A real number in millionths: a probability, or a natural logarithm. Between plus and minus 10 million (as a number,
/// not in millionths); what lies beyond is kept at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Millionths(pub i64);

/// Something that should have been a number and is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the value is not a number (NaN); the evidence behind it cannot be used")]
pub struct NotANumber;

/// Ten million, as a number: far beyond every logarithm of evidence.
const LARGEST: f64 = 1e7;

impl Millionths {
    /// One.
    pub const ONE: Self = Self(1_000_000);

    /// The nearest millionth, halves away from zero; infinities become the ends of the range.
    pub fn round(value: f64) -> Result<Self, NotANumber> {
        if value.is_nan() {
            return Err(NotANumber);
        }
        let scaled = libm::round(value.clamp(-LARGEST, LARGEST) * 1e6);
        #[expect(clippy::cast_possible_truncation, reason = "a whole number within 1e13 of 0")]
        let scaled = scaled as i64;
        Ok(Self(scaled))
    }

    /// As a real number.
    pub fn real(self) -> f64 {
        self.0 as f64 / 1e6
    }
}
