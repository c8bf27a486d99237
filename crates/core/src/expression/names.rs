//! The names an expression may use.

use alloc::{borrow::ToOwned, collections::BTreeMap, string::String};

use super::Unit;

/// What stands behind a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Declared {
    /// One number.
    Number(Unit),
    /// A list of numbers, one for each series. A list of exactly one is also taken as that number.
    Numbers(Unit),
    /// A text.
    Text,
    /// True or false.
    Bool,
    /// Whatever a JSON answer holds: looked at when it is evaluated.
    Json,
}

/// The names that may be used, and what they are. At most a few dozen are meant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    names: BTreeMap<String, Declared>,
}

impl Scope {
    /// Only `result`: what a query for numbers in this unit answers.
    pub fn result(unit: Unit) -> Self {
        Self::default().with("result", Declared::Numbers(unit))
    }

    /// One name more; a name that is there is declared anew.
    #[must_use]
    pub fn with(mut self, name: &str, declared: Declared) -> Self {
        self.names.insert(name.to_owned(), declared);
        self
    }

    /// What stands behind a name.
    pub fn get(&self, name: &str) -> Option<Declared> {
        self.names.get(name).copied()
    }

    /// All names, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.keys().map(String::as_str)
    }
}
