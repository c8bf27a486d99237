//! YAML as it is written.

use std::fmt::Write as _;

use tidegate_yaml::tree::{Content, Node};

/// A value to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// Exactly these characters: a number, a duration, a word.
    Plain(String),
    /// A text, quoted where it has to be.
    Text(String),
    Map(Vec<(String, Value)>),
    List(Vec<Value>),
}

/// Shorthand for a [`Value::Plain`].
pub(crate) fn plain(value: impl std::fmt::Display) -> Value {
    Value::Plain(format!("{value}"))
}

/// Shorthand for a [`Value::Text`].
pub(crate) fn text(value: impl Into<String>) -> Value {
    Value::Text(value.into())
}

/// Shorthand for a [`Value::Map`] with these keys.
pub(crate) fn map<const N: usize>(entries: [(&str, Value); N]) -> Value {
    Value::Map(entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

impl Value {
    /// A value as it was read: what stood without quotes means the same again.
    pub(crate) fn of(node: &Node) -> Self {
        match &node.content {
            Content::Scalar(scalar) if scalar.plain && stays(&scalar.text) => {
                Self::Plain(scalar.text.clone())
            }
            Content::Scalar(scalar) => Self::Text(scalar.text.clone()),
            Content::List(items) => Self::List(items.iter().map(Self::of).collect()),
            Content::Map(entries) => {
                Self::Map(entries.iter().map(|(key, value)| (key.text.clone(), Self::of(value))).collect())
            }
        }
    }

    /// One key more, behind the others; nothing happens to what is no map.
    pub(crate) fn put(&mut self, key: &str, value: Self) {
        if let Self::Map(entries) = self {
            entries.push((key.to_owned(), value));
        }
    }
}

/// The value as a document.
pub(crate) fn document(value: &Value) -> String {
    let mut out = String::new();
    block(&mut out, value, 0, false);
    out
}

/// Writes a value on lines of its own; `begun` when the first line has its indentation already.
fn block(out: &mut String, value: &Value, indent: usize, begun: bool) {
    let mut first = begun;
    let mut lead = |out: &mut String| {
        if !std::mem::take(&mut first) {
            out.push_str(&" ".repeat(indent));
        }
    };
    match value {
        Value::Map(entries) if !entries.is_empty() => {
            for (key, value) in entries {
                lead(out);
                let _ = write!(out, "{}:", scalar(key));
                below(out, value, indent + 2);
            }
        }
        Value::List(items) if !items.is_empty() => {
            for item in items {
                lead(out);
                out.push_str("- ");
                block(out, item, indent + 2, true);
            }
        }
        Value::Map(_) | Value::List(_) | Value::Plain(_) | Value::Text(_) => {
            lead(out);
            out.push_str(&inline(value));
            out.push('\n');
        }
    }
}

/// Writes what stands behind `key:`.
fn below(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Map(entries) if !entries.is_empty() => {
            out.push('\n');
            block(out, value, indent, false);
        }
        Value::Text(text) if is_paragraph(text) => {
            out.push_str(" |-\n");
            for line in text.lines() {
                let _ = writeln!(out, "{}{line}", " ".repeat(if line.is_empty() { 0 } else { indent }));
            }
        }
        Value::List(items) if items.iter().any(|item| !matches!(item, Value::Plain(_))) => {
            out.push('\n');
            block(out, value, indent, false);
        }
        Value::Map(_) | Value::List(_) | Value::Plain(_) | Value::Text(_) => {
            let _ = writeln!(out, " {}", inline(value));
        }
    }
}

fn inline(value: &Value) -> String {
    match value {
        Value::Plain(text) => text.clone(),
        Value::Text(text) => scalar(text),
        Value::Map(_) => "{}".to_owned(),
        Value::List(items) => format!("[{}]", items.iter().map(inline).collect::<Vec<_>>().join(", ")),
    }
}

/// Whether a text of several lines may be written as lines.
fn is_paragraph(text: &str) -> bool {
    text.contains('\n')
        && !text.ends_with('\n')
        && !text.starts_with([' ', '\n'])
        && text.chars().all(|c| c == '\n' || (' '..='~').contains(&c))
}

/// A text that reads as the same text.
fn scalar(text: &str) -> String {
    if stays(text) && !other_type(text) { text.to_owned() } else { quoted(text) }
}

/// Whether a text may stand without quotes.
fn stays(text: &str) -> bool {
    let starts = text.starts_with(|c: char| c.is_ascii_alphanumeric() || "_./$".contains(c));
    let negative = text.strip_prefix('-').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let inside = |c: char| c.is_ascii_alphanumeric() || "_./$@+=-:% ()<>".contains(c);
    (starts || negative)
        && text.chars().all(inside)
        && !text.contains(": ")
        && !text.ends_with(':')
        && !text.ends_with(' ')
}

/// Whether a reader would take it for a number, a truth or nothing.
fn other_type(text: &str) -> bool {
    let word = text.to_ascii_lowercase();
    matches!(
        word.as_str(),
        "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n" | ".nan" | ".inf"
    ) || text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c))
}

fn quoted(text: &str) -> String {
    // Queries are full of double quotes.
    if text.contains('"') && !text.contains('\'') && text.chars().all(|c| (' '..='~').contains(&c)) {
        return format!("'{text}'");
    }
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if c.is_control() || matches!(c, '\u{85}' | '\u{2028}' | '\u{2029}' | '\u{feff}') => {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_yaml::{finding::Findings, tree};

    use super::*;

    fn reads_as(node: &Node, text: &str) -> bool {
        matches!(&node.content, Content::Scalar(scalar) if scalar.text == text)
    }

    proptest! {
        #[test]
        fn what_is_written_reads_as_the_same_text(key in ".{1,12}", value in ".{0,40}") {
            let written = document(&Value::Map(vec![(key.clone(), text(value.clone()))]));
            let mut findings = Findings::new("f");
            let read = tree::grow(&written, &mut findings).unwrap();
            let Content::Map(entries) = &read.content else { panic!("{written}") };
            prop_assert_eq!(&entries[0].0.text, &key);
            prop_assert!(reads_as(&entries[0].1, &value), "{}", written);
        }
    }
}
