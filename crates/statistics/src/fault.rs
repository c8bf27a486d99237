//! What a constructor refuses, and why.

use core::fmt;

/// Input that no test can be built on or fed with. Nothing in this crate panics on a number from outside.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Fault {
    /// More failures than requests in one arm.
    FailuresExceedRequests {
        /// The failures counted.
        failures: u64,
        /// The requests counted.
        requests: u64,
    },
    /// A number outside its range, or not a number at all.
    OutOfRange {
        /// What the number says.
        what: &'static str,
        /// The number.
        value: f64,
        /// The range, in words.
        range: &'static str,
    },
    /// Fewer observations than an estimate needs.
    TooFew {
        /// What is missing.
        what: &'static str,
        /// How many there are.
        have: u64,
        /// How many are needed.
        need: u64,
    },
    /// A list that must rise does not.
    NotRising {
        /// The list.
        what: &'static str,
    },
    /// A stored state does not fit its own settings.
    Damaged {
        /// The part that does not fit.
        what: &'static str,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FailuresExceedRequests { failures, requests } => {
                write!(f, "{failures} failures among {requests} requests: count both over the same interval")
            }
            Self::OutOfRange { what, value, range } => write!(f, "{what} is {value}, expected {range}"),
            Self::TooFew { what, have, need } => write!(f, "{have} {what}, at least {need} are needed"),
            Self::NotRising { what } => write!(f, "{what} must rise"),
            Self::Damaged { what } => write!(f, "the stored {what} does not fit its settings"),
        }
    }
}

impl core::error::Error for Fault {}

/// `value` when `good`, else the fault that names it. Not-a-number fails every comparison, so write `good` positively.
pub(crate) fn check(what: &'static str, value: f64, range: &'static str, good: bool) -> Result<f64, Fault> {
    if good { Ok(value) } else { Err(Fault::OutOfRange { what, value, range }) }
}

/// A probability strictly between 0 and 1.
pub(crate) fn probability(what: &'static str, value: f64) -> Result<f64, Fault> {
    check(what, value, "more than 0 and less than 1", value > 0.0 && value < 1.0)
}

/// A finite number above 0.
pub(crate) fn positive(what: &'static str, value: f64) -> Result<f64, Fault> {
    check(what, value, "a finite number above 0", value > 0.0 && value.is_finite())
}
