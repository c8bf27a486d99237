//! One value of a JSON answer: the singular queries of RFC 9535, `$.status.items[0]['error rate']`.

use std::{fmt, str::FromStr};

/// Longest path, bytes.
const LENGTH_MAX: usize = 1_024;

/// A path that names at most one value: members by name, elements by index, negative ones from the end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JsonPath {
    text: String,
    steps: Vec<Step>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Member(String),
    Element(i64),
}

/// Why a text is no path.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("column {column} of the path `{text}`: {why}; write it as $.member[0]['other member']")]
pub struct JsonPathError {
    /// The path, shortened.
    pub text: String,
    /// Where, in characters from 1.
    pub column: usize,
    /// Why.
    pub why: &'static str,
}

impl JsonPath {
    /// The value it names, if it is there.
    pub fn find<'v>(&self, value: &'v serde_json::Value) -> Option<&'v serde_json::Value> {
        self.steps.iter().try_fold(value, |value, step| match step {
            Step::Member(name) => value.as_object()?.get(name),
            Step::Element(index) => {
                let elements = value.as_array()?;
                let at = if *index < 0 {
                    elements.len().checked_sub(usize::try_from(index.unsigned_abs()).ok()?)?
                } else {
                    usize::try_from(*index).ok()?
                };
                elements.get(at)
            }
        })
    }
}

impl fmt::Display for JsonPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for JsonPath {
    type Err = JsonPathError;

    /// Also takes `{$.a.b}`, as other tools write it.
    fn from_str(text: &str) -> Result<Self, JsonPathError> {
        let trimmed = text.trim();
        let plain = trimmed.strip_prefix('{').and_then(|t| t.strip_suffix('}')).unwrap_or(trimmed);
        let mut rest = plain;
        let mut steps = Vec::new();
        let error = |rest: &str, why| JsonPathError {
            text: text.chars().take(100).collect(),
            column: plain.chars().count().saturating_sub(rest.chars().count()) + 1,
            why,
        };
        if text.len() > LENGTH_MAX {
            return Err(error(rest, "the path is longer than 1,024 bytes"));
        }
        rest = rest.strip_prefix('$').ok_or_else(|| error(rest, "a path begins with $"))?;
        while !rest.is_empty() {
            let (step, behind) = step(rest).map_err(|why| error(rest, why))?;
            steps.push(step);
            rest = behind;
        }
        Ok(Self { text: plain.to_owned(), steps })
    }
}

fn step(rest: &str) -> Result<(Step, &str), &'static str> {
    if rest.starts_with("..") {
        return Err("`..` finds several values, and one is meant");
    }
    if let Some(name) = rest.strip_prefix('.') {
        let end = name.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '-')).unwrap_or(name.len());
        let (name, behind) = name.split_at_checked(end).unwrap_or((name, ""));
        if name.is_empty() {
            return Err("a member's name is expected");
        }
        return Ok((Step::Member(name.to_owned()), behind));
    }
    let inner = rest.strip_prefix('[').ok_or("`.` or `[` is expected")?;
    if let Some(quote) = inner.chars().next().filter(|c| matches!(c, '\'' | '"')) {
        let (name, behind) = quoted(inner, quote).ok_or("the quote is never closed")?;
        let behind = behind.strip_prefix(']').ok_or("`]` is expected")?;
        return Ok((Step::Member(name), behind));
    }
    let (index, behind) = inner.split_once(']').ok_or("`]` is expected")?;
    let index = index.trim().parse().map_err(|_| "an index or a quoted name is expected")?;
    Ok((Step::Element(index), behind))
}

fn quoted(text: &str, quote: char) -> Option<(String, &str)> {
    let mut name = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => name.push(characters.next()?.1),
            c if c == quote => return text.get(at + 1..).map(|rest| (name, rest)),
            plain => name.push(plain),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_finds_its_one_value_or_nothing() {
        let value = serde_json::json!({"a": {"b-c": [1, {"d e": "x"}]}, "ü": null});
        for (path, found) in [
            ("$", Some(value.clone())),
            ("{$}", Some(value.clone())),
            ("$.a.b-c[0]", Some(1.into())),
            ("$.a['b-c'][-1][\"d e\"]", Some("x".into())),
            ("{$.ü}", Some(serde_json::Value::Null)),
            ("$.a.b-c[2]", None),
            ("$.a.b-c[-3]", None),
            ("$.a[0]", None),
            ("$.gone.b", None),
        ] {
            let parsed: JsonPath = path.parse().unwrap();
            assert_eq!(parsed.find(&value).cloned(), found, "{path}");
        }
        for (bad, column) in [
            ("", 1),
            ("a.b", 1),
            ("$..a", 2),
            ("$.a.", 4),
            ("$[*]", 2),
            ("$.a['b", 4),
            ("$[0", 2),
            ("$.a b", 4),
        ] {
            assert_eq!(bad.parse::<JsonPath>().unwrap_err().column, column, "{bad}");
        }
    }
}
