//! Conditions over what a query answered: a small typed language with units and three answers.
//!
//! ```text
//! result[0] < 5%                           a share, or a percentage
//! all(result, # < 500ms)                   every series
//! new < stable * 1.1 && new < 1s           names of our own
//! len(result) > 0 && result[0] >= 0.95     as other tools have it
//! ```
//!
//! An [`Expression`] is parsed once ([`Expression::parse`]), checked against the names and units it may use
//! ([`Expression::check`]) and evaluated as often as wanted ([`Expression::evaluate`]). It never answers by guessing:
//! what is empty, not a number, infinite or out of range makes the answer [`Truth::CannotTell`], with the reason.
//! `&&` and `||` follow Kleene's logic: `false && cannot tell` is false.
//!
//! Work and size are bounded: [`LENGTH_MAX`] bytes of text, [`DEPTH_MAX`] levels, [`STEPS_MAX`] steps.

mod check;
mod conditions;
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "a value that is not wanted is named by its kind, whichever it is"
)]
mod evaluate;
mod lex;
mod names;
mod parse;
mod show;
#[cfg(test)]
mod tests;
mod tree;
mod unit;
mod value;

use alloc::{
    borrow::ToOwned,
    string::{String, ToString},
};
use core::fmt;

use serde::{Deserialize, Serialize};

pub use conditions::{Conditions, Finding};
pub use names::{Declared, Scope};
pub use unit::{Dimension, Unit, UnknownUnit};
pub use value::{Evaluation, Missing, STEPS_MAX, Truth, Value, Values};

/// Longest text that is parsed, bytes.
pub const LENGTH_MAX: usize = 2_048;

/// Deepest nesting of an expression.
pub const DEPTH_MAX: usize = 64;

/// A condition, parsed. Two are equal when they mean the same tree, whatever blanks and brackets they were written with.
///
/// Its text ([`fmt::Display`]) is canonical: it parses to the same tree. That text is also how it is serialized.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Expression {
    root: tree::Node,
}

impl Expression {
    /// Reads a condition. Names and units are not looked at yet: [`Self::check`] does.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        parse::parse(text).map(|root| Self { root })
    }

    /// Whether it can be answered with these names: every name is declared, units go together, and the whole is true
    /// or false.
    pub fn check(&self, scope: &Scope) -> Result<(), ExpressionError> {
        check::check(&self.root, scope)
    }

    /// Whether it asks for NaN or infinity itself, with `isNaN` or `isInf`: then it wants to see them, where a source would
    /// otherwise refuse them.
    pub fn asks_for_not_finite(&self) -> bool {
        self.root.asks_for_not_finite()
    }

    /// The answer for these values. A value whose name is declared with a unit is taken to be in that unit. Never
    /// panics, whatever the values are and whether or not it was checked.
    pub fn evaluate(&self, scope: &Scope, values: &Values) -> Evaluation {
        evaluate::evaluate(&self.root, scope, values)
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

impl From<Expression> for String {
    fn from(expression: Expression) -> Self {
        expression.to_string()
    }
}

impl TryFrom<String> for Expression {
    type Error = ExpressionError;

    fn try_from(text: String) -> Result<Self, ExpressionError> {
        Self::parse(&text)
    }
}

/// Why a text is no condition, and where.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("column {column}, at `{text}`: {problem}")]
pub struct ExpressionError {
    /// The column, counted in characters from 1.
    pub column: usize,
    /// What stands there, shortened to 40 characters.
    pub text: String,
    /// What is wrong with it.
    pub problem: Problem,
}

impl ExpressionError {
    fn new(column: usize, text: &str, problem: Problem) -> Self {
        let text = if text.is_empty() { "the end" } else { text };
        let mut shown: String = text.chars().take(40).collect();
        if shown.len() < text.len() {
            shown.push('…');
        }
        Self { column, text: shown, problem }
    }
}

/// What is wrong with a text that should be a condition.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Problem {
    /// The text is longer than [`LENGTH_MAX`].
    #[error("the expression is longer than {LENGTH_MAX} bytes; split it into several gates")]
    TooLong,
    /// The tree is deeper than [`DEPTH_MAX`].
    #[error("the expression is nested deeper than {DEPTH_MAX} levels; split it into several gates")]
    TooDeep,
    /// Something else was expected.
    #[error("expected {expected}")]
    Expected {
        /// What, in words.
        expected: &'static str,
    },
    /// A part of other tools' languages that is not in this one.
    #[error("this is not part of the language; {instead}")]
    NotInLanguage {
        /// What to write.
        instead: &'static str,
    },
    /// A text without its closing quote.
    #[error("the quote is never closed")]
    OpenQuote,
    /// A number that no `f64` holds.
    #[error("the number is too large")]
    NumberTooLarge,
    /// A literal with an unknown unit.
    #[error("unknown unit; units are {}", unit::SUFFIXES)]
    UnknownUnit,
    /// A call of something that does not exist.
    #[error("unknown function; functions are {}", tree::FUNCTIONS)]
    UnknownFunction,
    /// A call with the wrong number of arguments.
    #[error("{function} takes {expected}")]
    Arguments {
        /// The function.
        function: &'static str,
        /// What it takes.
        expected: &'static str,
    },
    /// `#` outside of a function that goes over a list.
    #[error(
        "`#` is the element of a list and only stands inside all(…), any(…), none(…), one(…), count(…), filter(…) and map(…)"
    )]
    ItemOutside,
    /// A name that is not declared.
    #[error("unknown name; known here: {known}")]
    UnknownName {
        /// The names that are.
        known: String,
    },
    /// Two sides that can not be compared, added or subtracted.
    #[error("{left} and {right} do not go together; {advice}")]
    Unlike {
        /// The left side in words.
        left: String,
        /// The right side in words.
        right: String,
        /// What to do.
        advice: &'static str,
    },
    /// A value of the wrong kind.
    #[error("expected {expected}, but this is {found}")]
    Wanted {
        /// What was expected.
        expected: &'static str,
        /// What it is.
        found: String,
    },
    /// Units multiplied too often.
    #[error("the unit of this has no meaning")]
    Meaningless,
}

fn quoted_list<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut text = String::new();
    for name in names {
        if !text.is_empty() {
            text.push_str(", ");
        }
        text.push_str(name);
    }
    if text.is_empty() { "none".to_owned() } else { text }
}
