//! Reading instances' own `/metrics`, as often as once a second.

mod protobuf;
mod selector;
mod text;

use std::collections::BTreeMap;

use tidegate_core::model::{Millis, Timestamp};

pub use selector::{Selector, SelectorError};

use super::{
    answer::{Answer, Data, Labelled, Labels, NotFinite, Sample, measurement, named},
    counters::{Snapshot, Tally},
    fault::{Fault, FaultKind, fresh},
    histogram::Histogram,
    http::{Ask, Client, Endpoint},
};

/// Most samples of one exposition.
const POINTS_MAX: usize = 50_000;

/// The formats in order of preference: only protobuf has native histograms, only it and OpenMetrics say when counting began.
const ACCEPT: &str = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.9,\
     application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5";

/// One sample of an exposition.
#[derive(Clone, Debug, PartialEq)]
pub struct Point {
    /// The sample's name, suffix included: `http_requests_total`.
    pub name: String,
    /// Its labels, without the name.
    pub labels: Labels,
    /// Its value; perhaps NaN or infinite.
    pub value: f64,
    /// Its own time, where the exposition has one.
    pub at: Option<Timestamp>,
    /// When counting began, where the exposition says so.
    pub created: Option<Timestamp>,
}

/// Everything an instance exposed at one moment.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Exposition {
    points: Vec<Point>,
    /// Name, histogram, and whether it brought its own time.
    native: Vec<(String, Histogram, bool)>,
}

/// Edge and cumulative count.
type Bucket = (f64, f64);

/// How one release's counters are found on its instances.
#[derive(Clone, Debug, PartialEq)]
pub struct ArmSelectors {
    /// All requests.
    pub requests: Selector,
    /// Those of them that failed. Matching nothing is no fault: a service without failures has no such series.
    pub failures: Selector,
    /// Latency: a histogram's name, classic or native, without `_bucket`.
    pub latency: Option<Selector>,
}

impl Exposition {
    /// Reads an exposition in the format that its content type names; without one, the older text format.
    pub fn parse(content_type: &str, body: &[u8]) -> Result<Self, FaultKind> {
        let kind = content_type.split(';').next().unwrap_or("").trim();
        match kind {
            "application/vnd.google.protobuf" => protobuf::parse(body),
            "application/openmetrics-text" => text::parse(body, text::Format::OpenMetrics),
            "" | "text/plain" => text::parse(body, text::Format::Prometheus),
            "text/html" => Err(FaultKind::Html),
            other => Err(FaultKind::WrongShape(format!("content of type {}", super::fault::words(other)))),
        }
    }

    /// All samples.
    pub fn points(&self) -> &[Point] {
        &self.points
    }

    /// The samples that a selector finds.
    pub fn find<'a>(&'a self, selector: &'a Selector) -> impl Iterator<Item = &'a Point> {
        self.points.iter().filter(|p| p.name == selector.name() && selector.fits(&p.labels))
    }

    /// The histograms that a selector finds by their plain name: native ones, or else classic ones. Samples without a time
    /// of their own are of `at`.
    pub fn histograms(&self, selector: &Selector, at: Timestamp) -> Result<Vec<Histogram>, FaultKind> {
        let native =
            self.native.iter().filter(|(name, h, _)| name == selector.name() && selector.fits(&h.labels));
        let native: Vec<Histogram> = native
            .map(|(_, histogram, dated)| Histogram {
                at: if *dated { histogram.at } else { at },
                ..histogram.clone()
            })
            .collect();
        if !native.is_empty() {
            return Ok(native);
        }
        let name = format!("{}_bucket", selector.name());
        let mut classic: BTreeMap<Labels, (Vec<Bucket>, &Point)> = BTreeMap::new();
        for point in self.points.iter().filter(|p| p.name == name && selector.fits(&p.labels)) {
            let mut labels = point.labels.clone();
            labels.insert("__name__".to_owned(), selector.name().to_owned());
            let edge = labels.remove("le").and_then(|le| le.parse().ok());
            let why = || FaultKind::WrongShape(format!("a bucket of {} without a label le", named(&labels)));
            let edge = edge.ok_or_else(why)?;
            classic.entry(labels).or_insert((Vec::new(), point)).0.push((edge, point.value));
        }
        let mut histograms = Vec::with_capacity(classic.len());
        for (labels, (buckets, point)) in classic {
            histograms.push(Histogram::classic(labels, point.at.unwrap_or(at), point.created, buckets)?);
        }
        Ok(histograms)
    }

    /// What a selector finds, as an answer.
    pub fn answer(
        &self,
        selector: &Selector,
        at: Timestamp,
        not_finite: NotFinite,
    ) -> Result<Answer, FaultKind> {
        let mut series = Vec::new();
        for point in self.find(selector) {
            let mut labels = point.labels.clone();
            labels.insert("__name__".to_owned(), point.name.clone());
            let value = measurement(point.value, &named(&labels), not_finite)?;
            series.push(Labelled { labels, sample: Sample { value, at: point.at.unwrap_or(at) } });
        }
        if series.is_empty() { Err(FaultKind::NoData) } else { Ok(Answer::plain(Data::Vector(series))) }
    }
}

/// One instance's `/metrics`.
#[derive(Debug)]
pub struct Scraper {
    client: Client,
}

impl Scraper {
    /// The full address, path included. Connects to nobody yet.
    pub fn new(endpoint: Endpoint) -> Result<Self, Fault> {
        Ok(Self { client: Client::new("the instance", endpoint)? })
    }

    /// How messages name it.
    pub fn name(&self) -> &str {
        self.client.name()
    }

    /// Reads everything it exposes. `query` is what it is read for, for messages.
    pub async fn scrape(&self, query: &str) -> Result<Exposition, Fault> {
        let ask = Ask { method: hyper::Method::GET, path: String::new(), accept: ACCEPT, body: None };
        let got = self.client.send(query, ask).await?;
        let fault = |kind| self.client.fault(query, kind);
        if let Some(kind) = got.refused() {
            return Err(fault(kind));
        }
        if got.is_html() {
            return Err(fault(FaultKind::Html));
        }
        Exposition::parse(&got.content_type, &got.body).map_err(fault)
    }

    /// The samples that a selector finds; samples without a time of their own are of `at`, the moment of reading.
    pub async fn read(
        &self,
        selector: &Selector,
        at: Timestamp,
        age_max: Millis,
        not_finite: NotFinite,
    ) -> Result<Answer, Fault> {
        let query = selector.to_string();
        let exposition = self.scrape(&query).await?;
        let fault = |kind| self.client.fault(&query, kind);
        let answer = exposition.answer(selector, at, not_finite).map_err(fault)?;
        let newest = answer.newest().ok_or(FaultKind::NoData).map_err(fault)?;
        fresh(newest, at, age_max).map_err(fault)?;
        Ok(answer)
    }

    /// Reads the counters of this instance, named `instance`, and adds to the tally what is new in them.
    pub async fn observe(
        &self,
        selectors: &ArmSelectors,
        instance: &str,
        tally: &mut Tally,
        at: Timestamp,
        age_max: Millis,
    ) -> Result<(), Fault> {
        let query = selectors.requests.to_string();
        let exposition = self.scrape(&query).await?;
        let observed = snapshot(&exposition, selectors, at).and_then(|(measured, shown)| {
            fresh(measured, at, age_max)?;
            tally.observe(instance, measured, &shown)
        });
        observed.map_err(|kind| self.client.fault(&query, kind))
    }
}

/// The counters of an exposition and their time.
fn snapshot(
    exposition: &Exposition,
    selectors: &ArmSelectors,
    at: Timestamp,
) -> Result<(Timestamp, Snapshot), FaultKind> {
    let counters = |selector: &Selector| -> Vec<(Labels, f64, Option<Timestamp>)> {
        let with_name = |point: &Point| {
            let mut labels = point.labels.clone();
            labels.insert("__name__".to_owned(), point.name.clone());
            (labels, point.value, point.created)
        };
        exposition.find(selector).map(with_name).collect()
    };
    let measured =
        exposition.find(&selectors.requests).map(|p| p.at.unwrap_or(at)).max().ok_or(FaultKind::NoData)?;
    let latency = match &selectors.latency {
        Some(selector) => {
            let found = exposition.histograms(selector, at)?;
            if found.is_empty() {
                return Err(FaultKind::WrongShape(format!(
                    "there is no histogram {selector} beside the requests"
                )));
            }
            found
        }
        None => Vec::new(),
    };
    let shown = Snapshot {
        requests: counters(&selectors.requests),
        failures: counters(&selectors.failures),
        latency,
    };
    Ok((measured, shown))
}
