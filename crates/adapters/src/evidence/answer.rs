//! What a source answered: facts with their times.

use std::collections::BTreeMap;

use tidegate_core::{expression, model::Timestamp};

use super::fault::{FaultKind, words};

/// Labels of a series, in order.
pub type Labels = BTreeMap<String, String>;

/// Largest number that is taken for a measurement, in any unit.
const MEASUREMENT_MAX: f64 = 1e24;
/// Largest count that an `f64` holds exactly.
const COUNT_MAX: f64 = 9_007_199_254_740_992.0;

/// A value and its time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// The value, in the metric's unit.
    pub value: f64,
    /// When it was measured; for a query that computes, when it was computed.
    pub at: Timestamp,
}

/// One sample of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct Labelled {
    /// Its labels.
    pub labels: Labels,
    /// The sample.
    pub sample: Sample,
}

/// Samples of one series, times rising, never empty.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// Its labels.
    pub labels: Labels,
    /// The samples.
    pub samples: Vec<Sample>,
}

/// What was answered, in the shape it had.
#[derive(Clone, Debug, PartialEq)]
pub enum Data {
    /// One number.
    Scalar(Sample),
    /// One number for each series; never empty.
    Vector(Vec<Labelled>),
    /// Several samples for each series; never empty.
    Matrix(Vec<Series>),
    /// A JSON value, and when it was read.
    Json(serde_json::Value, Timestamp),
}

/// A usable answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The data.
    pub data: Data,
    /// What the source said beside it. Not empty only where partial answers are accepted.
    pub warnings: Vec<String>,
}

impl Answer {
    /// An answer without warnings.
    pub fn plain(data: Data) -> Self {
        Self { data, warnings: Vec::new() }
    }

    /// As the value of `result` in a condition: a list with one number for each series, for a matrix one for each sample.
    pub fn value(&self) -> expression::Value {
        match &self.data {
            Data::Scalar(sample) => expression::Value::numbers([sample.value]),
            Data::Vector(series) => expression::Value::numbers(series.iter().map(|s| s.sample.value)),
            Data::Matrix(series) => {
                expression::Value::numbers(series.iter().flat_map(|s| &s.samples).map(|s| s.value))
            }
            Data::Json(value, _) => json(value),
        }
    }

    /// The time of its newest sample.
    pub fn newest(&self) -> Option<Timestamp> {
        match &self.data {
            Data::Scalar(sample) => Some(sample.at),
            Data::Vector(series) => series.iter().map(|s| s.sample.at).max(),
            Data::Matrix(series) => series.iter().flat_map(|s| &s.samples).map(|s| s.at).max(),
            Data::Json(_, at) => Some(*at),
        }
    }

    /// The single number that is meant, or which fault it is that there is none.
    pub fn single(&self) -> Result<Sample, FaultKind> {
        match &self.data {
            Data::Scalar(sample) => Ok(*sample),
            Data::Vector(series) => match series.as_slice() {
                [one] => Ok(one.sample),
                many => Err(several(many.iter().map(|s| &s.labels))),
            },
            Data::Matrix(series) => match series.as_slice() {
                [one] => one.samples.last().copied().ok_or(FaultKind::NoData),
                many => Err(several(many.iter().map(|s| &s.labels))),
            },
            Data::Json(value, at) => match value {
                serde_json::Value::Number(number) => {
                    let value = number.as_f64().ok_or_else(|| FaultKind::Huge("the answer".to_owned()))?;
                    Ok(Sample { value: measurement(value, "the answer", NotFinite::Refuse)?, at: *at })
                }
                serde_json::Value::String(text) => {
                    Err(FaultKind::NotNumeric { what: "the answer".to_owned(), text: words(text) })
                }
                serde_json::Value::Null => Err(FaultKind::NoData),
                serde_json::Value::Bool(_) | serde_json::Value::Array(_) | serde_json::Value::Object(_) => {
                    Err(FaultKind::WrongShape(format!("{} where one number is meant", kind_of(value))))
                }
            },
        }
    }
}

/// What becomes of NaN and infinity.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NotFinite {
    /// They are faults.
    #[default]
    Refuse,
    /// They are handed on: the condition asks for them itself ([`expression::Expression::asks_for_not_finite`]).
    Keep,
}

/// Seconds since the epoch, as all formats write them.
#[expect(clippy::cast_possible_truncation, reason = "checked to lie between the years 1970 and 9999")]
pub(super) fn epoch(seconds: f64) -> Result<Timestamp, FaultKind> {
    if (0.0..253_402_300_800.0).contains(&seconds) {
        Ok(Timestamp((seconds * 1_000.0).round() as i64))
    } else {
        Err(FaultKind::BadTime(words(&seconds.to_string())))
    }
}

/// A number that may be a measurement.
pub(super) fn measurement(value: f64, what: &str, not_finite: NotFinite) -> Result<f64, FaultKind> {
    match not_finite {
        NotFinite::Keep if !value.is_finite() => Ok(value),
        NotFinite::Keep | NotFinite::Refuse => {
            finite(value, what)?;
            if value.abs() > MEASUREMENT_MAX { Err(FaultKind::Huge(what.to_owned())) } else { Ok(value) }
        }
    }
}

/// A number that may be a counter's.
pub(super) fn counter(value: f64, what: &str) -> Result<f64, FaultKind> {
    finite(value, what)?;
    if value < 0.0 {
        return Err(FaultKind::Negative(what.to_owned()));
    }
    if value > COUNT_MAX { Err(FaultKind::Huge(what.to_owned())) } else { Ok(value) }
}

/// A whole count.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be whole and within 2^53"
)]
pub(super) fn whole(value: f64, what: &str) -> Result<u64, FaultKind> {
    let value = counter(value, what)?;
    if value.fract() > 0.0 { Err(FaultKind::NotWhole(what.to_owned())) } else { Ok(value as u64) }
}

fn finite(value: f64, what: &str) -> Result<(), FaultKind> {
    if value.is_nan() {
        Err(FaultKind::NotANumber(what.to_owned()))
    } else if value.is_infinite() {
        Err(FaultKind::Infinite(what.to_owned()))
    } else {
        Ok(())
    }
}

/// The fault of several series, with the labels that differ.
pub(super) fn several<'a>(all: impl IntoIterator<Item = &'a Labels>) -> FaultKind {
    let all: Vec<&Labels> = all.into_iter().collect();
    let count = all.len();
    let mut names: Vec<&str> = all.iter().flat_map(|labels| labels.keys()).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    let first = all.first();
    names.retain(|name| all.iter().any(|labels| labels.get(*name) != first.and_then(|f| f.get(*name))));
    let labels = if names.is_empty() { "nothing".to_owned() } else { words(&names.join(", ")) };
    FaultKind::ManySeries { count, labels }
}

/// A value that a path found: a number among them must be a measurement.
pub(super) fn json_value(value: &serde_json::Value) -> Result<serde_json::Value, FaultKind> {
    match value {
        serde_json::Value::Null => Err(FaultKind::NoData),
        serde_json::Value::Number(number) => {
            measurement(number.as_f64().unwrap_or(f64::NAN), "the answer", NotFinite::Refuse)?;
            Ok(value.clone())
        }
        serde_json::Value::Bool(_)
        | serde_json::Value::String(_)
        | serde_json::Value::Array(_)
        | serde_json::Value::Object(_) => Ok(value.clone()),
    }
}

/// A series in words: `up{job="a"}`.
pub(super) fn named(labels: &Labels) -> String {
    let name = labels.get("__name__").map_or("", String::as_str);
    let others: Vec<String> =
        labels.iter().filter(|(k, _)| *k != "__name__").map(|(k, v)| format!("{k}={v:?}")).collect();
    match (name, others.is_empty()) {
        ("", true) => "the result".to_owned(),
        (name, true) => words(name),
        (name, false) => words(&format!("{name}{{{}}}", others.join(","))),
    }
}

pub(super) fn kind_of(value: &serde_json::Value) -> &'static str {
    match value {
        serde_json::Value::Null => "null",
        serde_json::Value::Bool(_) => "true or false",
        serde_json::Value::Number(_) => "a number",
        serde_json::Value::String(_) => "a text",
        serde_json::Value::Array(_) => "a list",
        serde_json::Value::Object(_) => "an object",
    }
}

fn json(value: &serde_json::Value) -> expression::Value {
    match value {
        serde_json::Value::Null => expression::Value::Nil,
        serde_json::Value::Bool(value) => expression::Value::Bool(*value),
        // A number that no f64 holds reads as NaN, which no condition accepts.
        serde_json::Value::Number(number) => expression::Value::Number(number.as_f64().unwrap_or(f64::NAN)),
        serde_json::Value::String(text) => expression::Value::Text(text.clone()),
        serde_json::Value::Array(elements) => expression::Value::List(elements.iter().map(json).collect()),
        serde_json::Value::Object(members) => {
            expression::Value::Record(members.iter().map(|(k, v)| (k.clone(), json(v))).collect())
        }
    }
}
