//! The parsed tree.

use alloc::{boxed::Box, string::String, vec::Vec};

use super::{DEPTH_MAX, Unit};

/// One node of the tree.
#[derive(Clone, Debug)]
pub(super) struct Node {
    /// Column of its first character, from 1.
    pub(super) column: usize,
    depth: usize,
    pub(super) kind: Kind,
}

/// Where it stood is no part of what it says.
impl PartialEq for Node {
    fn eq(&self, other: &Self) -> bool {
        self.kind == other.kind
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Kind {
    /// Never negative, never a ratio: a bare literal is [`Unit::Number`].
    Number(f64, Unit),
    Bool(bool),
    Text(String),
    List(Vec<Node>),
    Name(String),
    Item,
    Not(Box<Node>),
    Minus(Box<Node>),
    Binary(Operator, Box<Node>, Box<Node>),
    Index(Box<Node>, Box<Node>),
    Member(Box<Node>, String),
    Call(Function, Vec<Node>),
    Over(Over, Box<Node>, Box<Node>),
    Choice(Box<Node>, Box<Node>, Box<Node>),
}

impl Node {
    /// `None` when it would be too deep.
    pub(super) fn new(column: usize, kind: Kind) -> Option<Self> {
        let depth = 1 + match &kind {
            Kind::Number(..) | Kind::Bool(_) | Kind::Text(_) | Kind::Name(_) | Kind::Item => 0,
            Kind::Not(a) | Kind::Minus(a) | Kind::Member(a, _) => a.depth,
            Kind::Binary(_, a, b) | Kind::Index(a, b) | Kind::Over(_, a, b) => a.depth.max(b.depth),
            Kind::Choice(a, b, c) => a.depth.max(b.depth).max(c.depth),
            Kind::List(nodes) | Kind::Call(_, nodes) => nodes.iter().map(|n| n.depth).max().unwrap_or(0),
        };
        (depth <= DEPTH_MAX).then_some(Self { column, depth, kind })
    }

    pub(super) fn asks_for_not_finite(&self) -> bool {
        let asks = |node: &Self| node.asks_for_not_finite();
        match &self.kind {
            Kind::Call(Function::IsNaN | Function::IsInf, _) => true,
            Kind::Number(..) | Kind::Bool(_) | Kind::Text(_) | Kind::Name(_) | Kind::Item => false,
            Kind::Not(a) | Kind::Minus(a) | Kind::Member(a, _) => asks(a),
            Kind::Binary(_, a, b) | Kind::Index(a, b) | Kind::Over(_, a, b) => asks(a) || asks(b),
            Kind::Choice(a, b, c) => asks(a) || asks(b) || asks(c),
            Kind::List(nodes) | Kind::Call(_, nodes) => nodes.iter().any(Self::asks_for_not_finite),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operator {
    Or,
    And,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Plus,
    Minus,
    Times,
    Per,
    /// `a ?? b`: b where a is missing.
    Else,
}

impl Operator {
    pub(super) const ALL: [Self; 14] = [
        Self::Or,
        Self::And,
        Self::Equal,
        Self::Unequal,
        Self::Less,
        Self::LessOrEqual,
        Self::Greater,
        Self::GreaterOrEqual,
        Self::In,
        Self::Plus,
        Self::Minus,
        Self::Times,
        Self::Per,
        Self::Else,
    ];

    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Or => "||",
            Self::And => "&&",
            Self::Equal => "==",
            Self::Unequal => "!=",
            Self::Less => "<",
            Self::LessOrEqual => "<=",
            Self::Greater => ">",
            Self::GreaterOrEqual => ">=",
            Self::In => "in",
            Self::Plus => "+",
            Self::Minus => "-",
            Self::Times => "*",
            Self::Per => "/",
            Self::Else => "??",
        }
    }

    /// How tightly it binds.
    pub(super) fn level(self) -> u8 {
        match self {
            Self::Or => 2,
            Self::And => 3,
            Self::Equal
            | Self::Unequal
            | Self::Less
            | Self::LessOrEqual
            | Self::Greater
            | Self::GreaterOrEqual
            | Self::In => COMPARISON,
            Self::Plus | Self::Minus => 5,
            Self::Times | Self::Per => 6,
            Self::Else => 8,
        }
    }
}

/// The level of comparisons: they do not chain.
pub(super) const COMPARISON: u8 = 4;
/// The level of `a ? b : c`.
pub(super) const CHOICE: u8 = 1;
/// The level of `!` and `-`.
pub(super) const UNARY: u8 = 7;
/// The level of indexing, members and everything that needs no brackets.
pub(super) const TIGHT: u8 = 9;

/// All functions, for messages.
pub(super) const FUNCTIONS: &str = "len, default, isNaN, isInf, isNil, asFloat, asInt, abs, min, max, sum, all, any, none, one, count, filter and map";

/// A function of values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Function {
    Len,
    Default,
    IsNaN,
    IsInf,
    IsNil,
    AsFloat,
    AsInt,
    Abs,
    Min,
    Max,
    Sum,
}

impl Function {
    pub(super) const ALL: [Self; 11] = [
        Self::Len,
        Self::Default,
        Self::IsNaN,
        Self::IsInf,
        Self::IsNil,
        Self::AsFloat,
        Self::AsInt,
        Self::Abs,
        Self::Min,
        Self::Max,
        Self::Sum,
    ];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Len => "len",
            Self::Default => "default",
            Self::IsNaN => "isNaN",
            Self::IsInf => "isInf",
            Self::IsNil => "isNil",
            Self::AsFloat => "asFloat",
            Self::AsInt => "asInt",
            Self::Abs => "abs",
            Self::Min => "min",
            Self::Max => "max",
            Self::Sum => "sum",
        }
    }

    /// What it takes, in words, when this many arguments are not it.
    pub(super) fn refuses(self, arguments: usize) -> Option<&'static str> {
        match self {
            Self::Default => (arguments != 2).then_some("two arguments: a value and what stands in for it"),
            Self::Min | Self::Max => (arguments == 0).then_some("a list, or several numbers"),
            Self::Len
            | Self::IsNaN
            | Self::IsInf
            | Self::IsNil
            | Self::AsFloat
            | Self::AsInt
            | Self::Abs
            | Self::Sum => (arguments != 1).then_some("one argument"),
        }
    }
}

/// A function that goes over a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Over {
    All,
    Any,
    None,
    One,
    Count,
    Filter,
    Map,
}

impl Over {
    pub(super) const ALL: [Self; 7] =
        [Self::All, Self::Any, Self::None, Self::One, Self::Count, Self::Filter, Self::Map];

    pub(super) fn word(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Any => "any",
            Self::None => "none",
            Self::One => "one",
            Self::Count => "count",
            Self::Filter => "filter",
            Self::Map => "map",
        }
    }
}
