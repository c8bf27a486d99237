//! Which series: `name{label="value",other!="value",third=~"regex",fourth!~"regex"}`.

use std::{fmt, str::FromStr};

use regex_automata::meta::Regex;

use super::super::answer::Labels;

/// Longest selector.
const LENGTH_MAX: usize = 1_024;
/// Memory that one compiled regular expression may take.
const REGEX_BYTES_MAX: usize = 256 * 1024;

/// A metric's name and conditions on its labels; a label that is absent is an empty text. As in Prometheus, a regular
/// expression must match the whole value.
#[derive(Clone, Debug)]
pub struct Selector {
    text: String,
    name: String,
    matchers: Vec<(String, Matcher)>,
}

#[derive(Clone, Debug)]
enum Matcher {
    Is(String),
    IsNot(String),
    Matches(Regex),
    MatchesNot(Regex),
}

/// Why a text is no selector.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no selector ({why}); write it as name{{label=\"value\",other=~\"regex\"}}")]
pub struct SelectorError {
    /// The text, shortened.
    pub text: String,
    /// Why.
    pub why: String,
}

impl PartialEq for Selector {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Selector {
    /// The metric's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether these labels fit; the name is not looked at.
    pub fn fits(&self, labels: &Labels) -> bool {
        self.matchers.iter().all(|(name, matcher)| {
            let value = labels.get(name).map_or("", String::as_str);
            match matcher {
                Matcher::Is(wanted) => value == wanted,
                Matcher::IsNot(unwanted) => value != unwanted,
                Matcher::Matches(regex) => regex.is_match(value),
                Matcher::MatchesNot(regex) => !regex.is_match(value),
            }
        })
    }
}

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        let error = |why: &str| SelectorError { text: text.chars().take(100).collect(), why: why.to_owned() };
        if text.len() > LENGTH_MAX {
            return Err(error("it is longer than 1,024 bytes"));
        }
        let text = text.trim();
        let end = text.find(|c: char| !super::text::is_name(c)).unwrap_or(text.len());
        let (name, rest) = text.split_at_checked(end).unwrap_or((text, ""));
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            return Err(error("it must begin with the metric's name"));
        }
        let matchers = match rest.trim() {
            "" => Vec::new(),
            rest => {
                let inner = rest.strip_prefix('{').and_then(|r| r.strip_suffix('}'));
                matchers(inner.ok_or_else(|| error("labels stand in one pair of braces"))?)
                    .map_err(|w| error(&w))?
            }
        };
        Ok(Self { text: text.to_owned(), name: name.to_owned(), matchers })
    }
}

fn matchers(mut rest: &str) -> Result<Vec<(String, Matcher)>, String> {
    let mut all = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            return Ok(all);
        }
        let end = rest.find(|c: char| !super::text::is_name(c)).unwrap_or(rest.len());
        let (name, behind) = rest.split_at_checked(end).unwrap_or((rest, ""));
        let behind = behind.trim_start();
        let sign = ["=~", "!~", "!=", "="].into_iter().find(|sign| behind.starts_with(sign));
        let (true, Some(sign)) = (!name.is_empty(), sign) else {
            return Err("a label is compared with =, !=, =~ or !~".to_owned());
        };
        let quoted = behind.get(sign.len()..).unwrap_or("").trim_start();
        let (value, behind) = super::text::quoted(quoted).ok_or("a value stands in double quotes")?;
        let matcher = match sign {
            "=" => Matcher::Is(value),
            "!=" => Matcher::IsNot(value),
            "=~" => Matcher::Matches(regex(&value)?),
            _ => Matcher::MatchesNot(regex(&value)?),
        };
        all.push((name.to_owned(), matcher));
        rest = behind.trim_start();
        match rest.strip_prefix(',') {
            Some(next) => rest = next,
            None if rest.is_empty() => return Ok(all),
            None => return Err("labels are separated by commas".to_owned()),
        }
    }
}

fn regex(pattern: &str) -> Result<Regex, String> {
    Regex::builder()
        .configure(Regex::config().nfa_size_limit(Some(REGEX_BYTES_MAX)))
        .build(&format!("^(?s:{pattern})$"))
        .map_err(|why| format!("the regular expression `{pattern}`: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_finds_by_equality_inequality_and_whole_regular_expressions() {
        let labels = Labels::from([("code".into(), "503".into()), ("path".into(), "a\"b\\".into())]);
        for (text, fits) in [
            ("m", true),
            ("m{}", true),
            (r#"m{code="503"}"#, true),
            (r#"m{ code = "503" , path="a\"b\\", }"#, true),
            (r#"m{code!="503"}"#, false),
            (r#"m{code=~"5.."}"#, true),
            (r#"m{code=~"5"}"#, false),
            (r#"m{code=~"2..|5.."}"#, true),
            (r#"m{code!~"5.."}"#, false),
            (r#"m{gone=""}"#, true),
            (r#"m{gone!=""}"#, false),
        ] {
            let selector: Selector = text.parse().unwrap();
            assert_eq!((selector.name(), selector.fits(&labels)), ("m", fits), "{text}");
        }
        for bad in [
            "",
            "{a=\"b\"}",
            "9m",
            "m{a}",
            "m{a=b}",
            "m{a=\"b}",
            "m{a=\"b\" c=\"d\"}",
            "m{a=~\"(\"}",
            "sum(m)",
            "m{a=~\"(x{1000}){1000}\"}",
        ] {
            assert!(bad.parse::<Selector>().is_err(), "{bad}");
        }
    }
}
