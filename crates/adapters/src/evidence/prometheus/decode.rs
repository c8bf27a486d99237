//! The query API's JSON.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, de::DeserializeOwned};
use tidegate_core::model::Timestamp;

use super::super::{
    answer::{
        Answer, Data, Labelled, Labels, NotFinite, Sample, Series, epoch, measurement, named, several, whole,
    },
    counters::SERIES_MAX,
    fault::{FaultKind, not_json, words},
    histogram::Histogram,
};

/// Most samples of one answer.
const SAMPLES_MAX: usize = 200_000;

#[derive(Deserialize)]
struct Envelope<T> {
    status: String,
    #[serde(default = "none")]
    data: Option<T>,
    #[serde(default)]
    warnings: Option<Vec<String>>,
}

fn none<T>() -> Option<T> {
    None
}

#[derive(Deserialize)]
struct Failed {
    status: String,
    #[serde(default, rename = "errorType")]
    kind: String,
    #[serde(default)]
    error: String,
}

#[derive(Deserialize)]
struct Shape {
    #[serde(rename = "resultType")]
    kind: String,
}

#[derive(Deserialize)]
struct Results<T> {
    result: T,
}

/// Seconds and a number as text.
type Pair = (f64, String);

#[derive(Deserialize)]
struct Instant {
    metric: Labels,
    #[serde(default)]
    value: Option<Pair>,
    #[serde(default)]
    histogram: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct Ranged {
    metric: Labels,
    #[serde(default)]
    values: Vec<Pair>,
    #[serde(default)]
    histograms: Vec<(f64, Native)>,
}

#[derive(Deserialize)]
struct Native {
    count: String,
    #[serde(default)]
    buckets: Vec<(u8, String, String, String)>,
}

/// The error that an answer reports, when it does.
pub(super) fn reported(body: &[u8]) -> Option<FaultKind> {
    let failed: Failed = serde_json::from_slice(body).ok()?;
    (failed.status == "error")
        .then(|| FaultKind::Reported { kind: words(&failed.kind), said: words(&failed.error) })
}

/// An answer of any shape.
pub(super) fn answer(body: &[u8], not_finite: NotFinite) -> Result<Answer, FaultKind> {
    let shape: Envelope<Shape> = read(body)?;
    let warnings = shape.warnings.unwrap_or_default();
    let data = match shape.data.map(|d| d.kind).unwrap_or_default().as_str() {
        "scalar" => Data::Scalar(sample(&result(body)?, "the scalar", not_finite)?),
        "vector" => Data::Vector(vector(result(body)?, not_finite)?),
        "matrix" => Data::Matrix(matrix(result(body)?, not_finite)?),
        "string" => {
            let (_, text): Pair = result(body)?;
            return Err(FaultKind::NotNumeric { what: "the result".to_owned(), text: words(&text) });
        }
        "" => return Err(FaultKind::WrongShape("there is no data in it".to_owned())),
        other => return Err(FaultKind::WrongShape(format!("a result of type `{}`", words(other)))),
    };
    Ok(Answer { data, warnings })
}

/// Histograms and what was said beside them.
pub(super) struct Histograms {
    pub(super) histograms: Vec<Histogram>,
    pub(super) warnings: Vec<String>,
}

/// A matrix of native histograms, or of classic buckets.
pub(super) fn histograms(body: &[u8]) -> Result<Histograms, FaultKind> {
    let shape: Envelope<Shape> = read(body)?;
    let kind = shape.data.map(|d| d.kind).unwrap_or_default();
    if kind != "matrix" {
        return Err(FaultKind::WrongShape(format!(
            "a result of type `{}` instead of a matrix",
            words(&kind)
        )));
    }
    let series: Vec<Ranged> = result(body)?;
    bounded(series.len(), SERIES_MAX)?;
    bounded(series.iter().map(|s| s.values.len() + s.histograms.len()).sum(), SAMPLES_MAX)?;
    let mut histograms = Vec::new();
    // Buckets of one histogram at one moment: edge and cumulative count.
    let mut classic: BTreeMap<(Timestamp, Labels), Vec<(f64, f64)>> = BTreeMap::new();
    for series in series {
        for (at, native) in &series.histograms {
            histograms.push(of_native(&series.metric, epoch(*at)?, native)?);
        }
        let mut labels = series.metric;
        let edge = labels.remove("le");
        for pair in &series.values {
            let edge = edge.as_deref().and_then(|le| le.parse().ok());
            let why =
                || FaultKind::WrongShape(format!("{} is no histogram's bucket: label le", named(&labels)));
            let bucket = sample(pair, &named(&labels), NotFinite::Refuse)?;
            classic
                .entry((bucket.at, labels.clone()))
                .or_default()
                .push((edge.ok_or_else(why)?, bucket.value));
        }
    }
    for ((at, labels), buckets) in classic {
        histograms.push(Histogram::classic(labels, at, None, buckets)?);
    }
    histograms.sort_by_key(|h| h.at);
    Ok(Histograms { histograms, warnings: shape.warnings.unwrap_or_default() })
}

fn of_native(labels: &Labels, at: Timestamp, native: &Native) -> Result<Histogram, FaultKind> {
    let name = named(labels);
    let mut buckets = Vec::with_capacity(native.buckets.len());
    let mut schemas = BTreeSet::new();
    for (_, lower, upper, count) in &native.buckets {
        let (lower, upper) = (numeric(lower, &name)?, numeric(upper, &name)?);
        buckets.push((upper, whole(numeric(count, &name)?, &name)?));
        if lower > 0.0 {
            schemas.insert(schema_between(lower, upper));
        }
    }
    let count = whole(numeric(&native.count, &name)?, &name)?;
    // All buckets of one histogram have the same; a histogram of requests that took no time shows none.
    let schema = if schemas.len() == 1 { schemas.pop_first().flatten() } else { None };
    Histogram::native(labels.clone(), at, None, buckets, count, schema)
}

/// The schema whose neighbouring edges these are: the server does not say it.
#[expect(clippy::cast_possible_truncation, reason = "checked to lie between -4 and 8")]
fn schema_between(lower: f64, upper: f64) -> Option<i8> {
    let schema = -(upper / lower).log2().log2();
    let whole = schema.round();
    ((-4.0..=8.0).contains(&whole) && (schema - whole).abs() < 0.01).then_some(whole as i8)
}

fn vector(series: Vec<Instant>, not_finite: NotFinite) -> Result<Vec<Labelled>, FaultKind> {
    bounded(series.len(), SERIES_MAX)?;
    let mut read = Vec::with_capacity(series.len());
    for Instant { metric, value, histogram } in series {
        let what = named(&metric);
        let Some(pair) = value else {
            let why =
                if histogram.is_some() { "is a histogram; use histogram_quantile()" } else { "has no value" };
            return Err(FaultKind::WrongShape(format!("{what} {why}")));
        };
        read.push(Labelled { sample: sample(&pair, &what, not_finite)?, labels: metric });
    }
    if read.is_empty() {
        return Err(FaultKind::NoData);
    }
    distinct(read.iter().map(|s| &s.labels))?;
    Ok(read)
}

fn matrix(all: Vec<Ranged>, not_finite: NotFinite) -> Result<Vec<Series>, FaultKind> {
    bounded(all.len(), SERIES_MAX)?;
    bounded(all.iter().map(|s| s.values.len()).sum(), SAMPLES_MAX)?;
    let mut read = Vec::with_capacity(all.len());
    for Ranged { metric, values, histograms } in all {
        let what = named(&metric);
        if !histograms.is_empty() {
            return Err(FaultKind::WrongShape(format!("{what} is a histogram; use histogram_quantile()")));
        }
        let samples: Result<Vec<Sample>, FaultKind> =
            values.iter().map(|pair| sample(pair, &what, not_finite)).collect();
        let samples = samples?;
        if samples.is_empty() {
            return Err(FaultKind::WrongShape(format!("{what} has no samples")));
        }
        if !samples.is_sorted_by(|a, b| a.at < b.at) {
            return Err(FaultKind::WrongShape(format!("the times of {what} do not rise")));
        }
        read.push(Series { labels: metric, samples });
    }
    if read.is_empty() {
        return Err(FaultKind::NoData);
    }
    distinct(read.iter().map(|s| &s.labels))?;
    Ok(read)
}

/// The same labels twice can not be right, and which of both counts nobody knows.
fn distinct<'a>(all: impl Iterator<Item = &'a Labels> + Clone) -> Result<(), FaultKind> {
    let mut sorted: Vec<&Labels> = all.collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|pair| pair.first() == pair.last()) {
        Some(pair) => Err(several(pair.iter().copied())),
        None => Ok(()),
    }
}

fn sample((at, text): &Pair, what: &str, not_finite: NotFinite) -> Result<Sample, FaultKind> {
    let value = measurement(numeric(text, what)?, what, not_finite)?;
    Ok(Sample { value, at: epoch(*at)? })
}

fn numeric(text: &str, what: &str) -> Result<f64, FaultKind> {
    text.parse().map_err(|_| FaultKind::NotNumeric { what: what.to_owned(), text: words(text) })
}

fn bounded(count: usize, most: usize) -> Result<(), FaultKind> {
    if count > most { Err(FaultKind::TooMany(most)) } else { Ok(()) }
}

/// The result, once its type is known: each type is read strictly, and a field given twice is refused.
fn result<T: DeserializeOwned>(body: &[u8]) -> Result<T, FaultKind> {
    let envelope: Envelope<Results<T>> = read(body)?;
    envelope.data.map(|d| d.result).ok_or_else(|| FaultKind::WrongShape("there is no data in it".to_owned()))
}

fn read<T: DeserializeOwned>(body: &[u8]) -> Result<Envelope<T>, FaultKind> {
    let envelope: Envelope<T> = serde_json::from_slice(body).map_err(|why| not_json(&why, body))?;
    match envelope.status.as_str() {
        "success" => Ok(envelope),
        other => Err(FaultKind::WrongShape(format!("its status is `{}`", words(other)))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_with_any_byte_cut_or_changed_is_read_or_refused() {
        let vector = r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"a":"b"},"value":[1.5,"2"]}]}}"#;
        let matrix = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"le":"+Inf"},"values":[[1.5,"2"]],"histograms":[[2,{"count":"3","sum":"1","buckets":[[0,"1","2","3"]]}]]}]}}"#;
        assert!(answer(vector.as_bytes(), NotFinite::Refuse).is_ok());
        assert_eq!(histograms(matrix.as_bytes()).map(|read| read.histograms.len()), Ok(2));
        for whole in [vector, matrix].map(str::as_bytes) {
            for at in 0..whole.len() {
                let _cut = (answer(&whole[..at], NotFinite::Keep), histograms(&whole[..at]).is_ok());
                for byte in [b'"', b'{', b'[', b'9', b'-', 0xff, b' '] {
                    let mut changed = whole.to_vec();
                    changed[at] = byte;
                    let _changed = (answer(&changed, NotFinite::Keep), histograms(&changed).is_ok());
                }
            }
        }
    }
}
