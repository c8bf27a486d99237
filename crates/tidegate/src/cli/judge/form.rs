//! The form of a line of batches: what may stand in it, and how a mistake in it is said.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor, value::MapAccessDeserializer},
};
use tidegate_core::judge::DataState;

use crate::config;

/// A batch as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Line {
    pub(super) at: Option<Moment>,
    #[serde(default = "one")]
    pub(super) seconds: f64,
    #[serde(default)]
    pub(super) stage: usize,
    pub(super) share: Option<f64>,
    pub(super) state: Option<DataState>,
    pub(super) new: Object<Counted>,
    pub(super) stable: Option<Object<Counted>>,
    pub(super) cpu: Option<f64>,
    pub(super) memory: Option<f64>,
    pub(super) stable_cpu: Option<f64>,
    #[serde(default)]
    pub(super) ends: u32,
    #[serde(default)]
    pub(super) strata: BTreeMap<String, Object<Told>>,
    #[serde(default)]
    pub(super) metrics: BTreeMap<String, Object<Measured>>,
}

const fn one() -> f64 {
    1.0
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "`at` is a number of milliseconds, or a text such as `2026-01-31T10:00:00Z`")]
pub(super) enum Moment {
    Millis(i64),
    Text(String),
}

/// What was counted of one release.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Counted {
    pub(super) requests: u64,
    #[serde(default)]
    pub(super) failures: u64,
    #[serde(default)]
    pub(super) latency_ms: Vec<(f64, u64)>,
}

/// What was counted of both releases of the requests that have one property in common.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Told {
    pub(super) new: Object<Tally>,
    pub(super) stable: Option<Object<Tally>>,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tally {
    pub(super) requests: u64,
    #[serde(default)]
    pub(super) failures: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Measured {
    pub(super) new: Option<Side>,
    pub(super) stable: Option<Side>,
    #[serde(default)]
    pub(super) strata: BTreeMap<String, Object<Told>>,
    pub(super) fault: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "a side of a metric is a number, a list of numbers, or counts with `requests`")]
pub(super) enum Side {
    Counted(Object<Counted>),
    One(f64),
    Many(Vec<f64>),
}

/// A value that is written as a JSON object. serde alone would take a list of its fields for one, too: `[3, 1]` is two
/// values of a metric, and never three requests with one failure.
#[derive(Debug)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Fields(PhantomData)).map(Self)
    }
}

struct Fields<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object, `{…}`")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map))
    }
}

/// The line, or what is wrong with its form.
pub(super) fn read(text: &[u8]) -> Result<Line, String> {
    serde_json::from_slice(text).map(|Object(line)| line).map_err(|error| said(&error))
}

/// What is said of types, in the words of the reference.
const WORDS: [(&str, &str); 9] = [
    ("invalid type: sequence", "invalid type: a list"),
    ("invalid type: map", "invalid type: an object"),
    ("expected u64", "expected a whole number from 0 on"),
    ("expected usize", "expected a whole number from 0 on"),
    ("expected u32", "expected a whole number from 0 on"),
    ("expected f64", "expected a number"),
    ("expected a sequence", "expected a list"),
    ("expected a tuple of size 2", "expected an edge and a count"),
    ("expected a map", "expected an object, `{…}`"),
];

/// What serde says, without its line, which is always the first.
fn said(error: &serde_json::Error) -> String {
    let whole = error.to_string();
    let text = whole.rsplit_once(" at line ").map_or(whole.as_str(), |(text, _)| text);
    let text = WORDS.iter().fold(text.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours));
    let text = nearest(&text).unwrap_or(text);
    let kind = if error.is_syntax() { "this is no JSON: " } else { "" };
    let cut = if error.is_eof() { " (was it cut off?)" } else { "" };
    format!("{kind}{}, at column {}{cut}", shown(&text), error.column())
}

/// ``unknown field `requets`, expected one of …`` with the field that was meant, when one is near.
fn nearest(text: &str) -> Option<String> {
    let (unknown, known) = text.strip_prefix("unknown field `")?.split_once('`')?;
    let near = config::nearest(unknown, known.split('`').skip(1).step_by(2))?;
    Some(format!("unknown field `{unknown}`: did you mean `{near}`?"))
}

/// Short, and without anything that could move a terminal's cursor.
pub(super) fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 200;
    text.chars().take(CHARS_MAX).map(|c| if c.is_control() { ' ' } else { c }).collect()
}
