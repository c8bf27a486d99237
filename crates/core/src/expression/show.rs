//! A tree to its canonical text.

use core::fmt::{Display, Formatter, Result, Write};

use super::tree::{CHOICE, COMPARISON, Kind, Node, Operator, TIGHT, UNARY};

impl Display for Node {
    fn fmt(&self, f: &mut Formatter<'_>) -> Result {
        match &self.kind {
            Kind::Number(value, unit) => {
                number(*value, f)?;
                f.write_str(unit.suffix())
            }
            Kind::Bool(value) => value.fmt(f),
            Kind::Text(text) => quoted(text, f),
            Kind::List(elements) => {
                f.write_char('[')?;
                sequence(elements, f)?;
                f.write_char(']')
            }
            Kind::Name(name) => f.write_str(name),
            Kind::Item => f.write_char('#'),
            Kind::Not(inner) => {
                f.write_char('!')?;
                inside(inner, UNARY, f)
            }
            Kind::Minus(inner) => {
                f.write_char('-')?;
                inside(inner, UNARY, f)
            }
            Kind::Binary(operator, left, right) => binary(*operator, left, right, f),
            Kind::Index(list, index) => {
                inside(list, TIGHT, f)?;
                write!(f, "[{index}]")
            }
            Kind::Member(record, name) => {
                inside(record, TIGHT, f)?;
                write!(f, ".{name}")
            }
            Kind::Call(function, arguments) => {
                write!(f, "{}(", function.word())?;
                sequence(arguments, f)?;
                f.write_char(')')
            }
            Kind::Over(over, list, each) => write!(f, "{}({list}, {each})", over.word()),
            Kind::Choice(condition, yes, no) => {
                inside(condition, CHOICE + 1, f)?;
                write!(f, " ? {yes} : {no}")
            }
        }
    }
}

fn level(node: &Node) -> u8 {
    match &node.kind {
        Kind::Binary(operator, ..) => operator.level(),
        Kind::Not(_) | Kind::Minus(_) => UNARY,
        Kind::Choice(..) => CHOICE,
        Kind::Number(..)
        | Kind::Bool(_)
        | Kind::Text(_)
        | Kind::List(_)
        | Kind::Name(_)
        | Kind::Item
        | Kind::Index(..)
        | Kind::Member(..)
        | Kind::Call(..)
        | Kind::Over(..) => TIGHT,
    }
}

/// A node where something that binds at least as tightly as `least` is expected.
fn inside(node: &Node, least: u8, f: &mut Formatter<'_>) -> Result {
    if level(node) < least { write!(f, "({node})") } else { node.fmt(f) }
}

fn binary(operator: Operator, left: &Node, right: &Node, f: &mut Formatter<'_>) -> Result {
    let own = operator.level();
    // Comparisons do not chain; all others lean to the left.
    inside(left, if own == COMPARISON { own + 1 } else { own }, f)?;
    write!(f, " {} ", operator.sign())?;
    inside(right, own + 1, f)
}

fn sequence(nodes: &[Node], f: &mut Formatter<'_>) -> Result {
    for (at, node) in nodes.iter().enumerate() {
        if at > 0 {
            f.write_str(", ")?;
        }
        node.fmt(f)?;
    }
    Ok(())
}

/// The shortest digits that read back as the same number; with an exponent where there would be many zeroes.
fn number(value: f64, f: &mut Formatter<'_>) -> Result {
    if value != 0.0 && !(1e-7..1e16).contains(&value) { write!(f, "{value:e}") } else { write!(f, "{value}") }
}

fn quoted(text: &str, f: &mut Formatter<'_>) -> Result {
    f.write_char('"')?;
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(f, "\\{c}")?,
            '\n' => f.write_str("\\n")?,
            '\t' => f.write_str("\\t")?,
            _ => f.write_char(c)?,
        }
    }
    f.write_char('"')
}
