//! Floating-point numbers that survive any text format bit by bit.
//!
//! Decimal text is read back exactly by some parsers and almost exactly by others, and has no infinities. A state that
//! is stored and replayed must be the same to the last bit, so it is written as the hexadecimal pattern of its bits.
//! Plain numbers are accepted when reading, for files written by hand.

use alloc::vec::Vec;
use core::fmt;

use serde::de::{Error, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

const DIGITS: usize = 16;
/// Largest list accepted; the largest one written has a few hundred numbers.
const NUMBERS_MAX: usize = 4096;

struct Bits<'a>(&'a [f64]);

impl fmt::Display for Bits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|value| write!(f, "{:016x}", value.to_bits()))
    }
}

fn parse(text: &str) -> Option<Vec<f64>> {
    let bytes = text.as_bytes();
    if !bytes.len().is_multiple_of(DIGITS) || bytes.len() > DIGITS * NUMBERS_MAX {
        return None;
    }
    let number = |digits: &[u8]| {
        let bits = u64::from_str_radix(core::str::from_utf8(digits).ok()?, 16).ok()?;
        Some(f64::from_bits(bits)).filter(|value| !value.is_nan())
    };
    bytes.chunks_exact(DIGITS).map(number).collect()
}

struct Exact(f64);

impl Serialize for Exact {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Bits(&[self.0]))
    }
}

impl<'de> Deserialize<'de> for Exact {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One;
        impl Visitor<'_> for One {
            type Value = Exact;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number, or 16 hexadecimal digits")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Exact, E> {
                match parse(text).as_deref() {
                    Some([value]) => Ok(Exact(*value)),
                    _ => Err(E::invalid_value(Unexpected::Str(text), &self)),
                }
            }

            fn visit_f64<E: Error>(self, value: f64) -> Result<Exact, E> {
                Ok(Exact(value))
            }

            fn visit_u64<E: Error>(self, value: u64) -> Result<Exact, E> {
                Ok(Exact(value as f64))
            }

            fn visit_i64<E: Error>(self, value: i64) -> Result<Exact, E> {
                Ok(Exact(value as f64))
            }
        }
        deserializer.deserialize_any(One)
    }
}

/// For one number: `#[serde(with = "crate::exact::one")]`.
pub(crate) mod one {
    use super::{Deserialize, Deserializer, Exact, Serialize, Serializer};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
    pub(crate) fn serialize<S: Serializer>(value: &f64, serializer: S) -> Result<S::Ok, S::Error> {
        Exact(*value).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
        Exact::deserialize(deserializer).map(|exact| exact.0)
    }
}

/// For an optional number: `#[serde(with = "crate::exact::option")]`.
pub(crate) mod option {
    use super::{Deserialize, Deserializer, Exact, Serialize, Serializer};

    #[expect(clippy::ref_option, reason = "the signature that serde asks for")]
    pub(crate) fn serialize<S: Serializer>(value: &Option<f64>, serializer: S) -> Result<S::Ok, S::Error> {
        value.map(Exact).serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
        Ok(Option::<Exact>::deserialize(deserializer)?.map(|exact| exact.0))
    }
}

/// For a list, as one string: `#[serde(with = "crate::exact::many")]`.
pub(crate) mod many {
    use super::{Bits, Deserializer, Error, Serializer, Unexpected, Vec, Visitor, fmt, parse};

    pub(crate) fn serialize<S: Serializer>(values: &[f64], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&Bits(values))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<f64>, D::Error> {
        struct Many;
        impl Visitor<'_> for Many {
            type Value = Vec<f64>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("16 hexadecimal digits for each number")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Vec<f64>, E> {
                parse(text).ok_or_else(|| E::invalid_value(Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Many)
    }
}
