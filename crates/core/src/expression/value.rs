//! Values, and why something can not be told.

use alloc::{collections::BTreeMap, string::String, vec::Vec};

/// Most steps one evaluation takes: lists within lists are the only way to need many.
pub const STEPS_MAX: u32 = 200_000;

/// What a name stands for in one evaluation.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// A number; it may be NaN or infinite, which no comparison accepts.
    Number(f64),
    /// True or false.
    Bool(bool),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// A JSON object.
    Record(BTreeMap<String, Value>),
    /// JSON's null.
    Nil,
}

impl Value {
    /// Numbers, in order.
    pub fn numbers(numbers: impl IntoIterator<Item = f64>) -> Self {
        Self::List(numbers.into_iter().map(Self::Number).collect())
    }

    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Number(_) => "a number",
            Self::Bool(_) => "true or false",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Record(_) => "an object",
            Self::Nil => "null",
        }
    }
}

/// The values of the names; a declared name without a value is missing.
pub type Values = BTreeMap<String, Value>;

/// Why something can not be told.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Missing {
    /// A name without a value.
    #[error("there is no value for `{0}`")]
    Absent(String),
    /// A list without elements: the query matched nothing.
    #[error("the list is empty: the query matched nothing")]
    Empty,
    /// JSON's null.
    #[error("the value is null")]
    Nil,
    /// An index behind the end.
    #[error("there is no element {index}: the list has {length}")]
    OutOfRange {
        /// The index.
        index: u64,
        /// How many there are.
        length: usize,
    },
    /// A member that an object does not have.
    #[error("the object has no member `{0}`")]
    NoMember(String),
    /// Several elements where one value is meant.
    #[error("the list has {0} elements where one value is meant; say result[0], or all(result, …)")]
    Several(usize),
    /// Not a number.
    #[error("a value is NaN, not a number")]
    NotANumber,
    /// Infinite.
    #[error("a value is infinite")]
    Infinite,
    /// A division by zero.
    #[error("division by zero")]
    DivisionByZero,
    /// Another kind than the expression needs.
    #[error("a value is {found}, where {expected} is needed")]
    WrongKind {
        /// What is needed.
        expected: &'static str,
        /// What is there.
        found: &'static str,
    },
    /// More than [`STEPS_MAX`] steps.
    #[error("the expression takes more than {STEPS_MAX} steps on this answer; ask for fewer series")]
    TooMuchWork,
}

impl Missing {
    /// Whether there is simply nothing, which `default` and `??` may stand in for.
    pub(super) fn is_nothing(&self) -> bool {
        match self {
            Self::Absent(_) | Self::Empty | Self::Nil | Self::OutOfRange { .. } | Self::NoMember(_) => true,
            Self::Several(_)
            | Self::NotANumber
            | Self::Infinite
            | Self::DivisionByZero
            | Self::WrongKind { .. }
            | Self::TooMuchWork => false,
        }
    }
}

/// One of three answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Truth {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// The values do not say.
    CannotTell(Missing),
}

/// The answer, and what it rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Evaluation {
    /// The answer.
    pub truth: Truth,
    /// The first thing that was missing and that the expression itself answered for, with `default`, `??`, `len`, `isNil`,
    /// `isNaN` or `isInf`. An answer that rests on it says something about the expression, not about the world.
    pub assumed: Option<Missing>,
}
