//! Prometheus, and whatever answers its query API: instant and range queries, raw samples, histograms.

mod decode;

use std::collections::BTreeMap;

use bytes::Bytes;
use tidegate_core::model::{Millis, Timestamp};

use super::{
    answer::{Answer, Data, Labels, NotFinite, Sample, Series, counter, epoch, named},
    counters::{Snapshot, Tally},
    fault::{Fault, FaultKind, fresh, words},
    histogram::Histogram,
    http::{Ask, Client, Endpoint, Got},
};

/// What becomes of answers with warnings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Warnings {
    /// They are faults: a warning says that a part of the data is missing.
    #[default]
    Refuse,
    /// The answer is taken, with its warnings beside it.
    Accept,
}

/// A Prometheus server, or one that answers like it.
#[derive(Debug)]
pub struct Prometheus {
    client: Client,
    warnings: Warnings,
}

/// How one release's raw counters are found: selectors such as `http_requests_total{version="v2"}`, never expressions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArmQueries {
    /// All requests.
    pub requests: String,
    /// Those of them that failed. Matching nothing is no fault: a service without failures has no such series.
    pub failures: String,
    /// Latency: `…_bucket{…}` for a classic histogram, its plain name for a native one.
    pub latency: Option<String>,
    /// The labels that together name an instance, such as `instance` or `namespace` and `pod`.
    pub instance_labels: Vec<String>,
}

impl Prometheus {
    /// The server at this address, without `/api/v1`. Connects to nobody yet.
    pub fn new(endpoint: Endpoint, warnings: Warnings) -> Result<Self, Fault> {
        Ok(Self { client: Client::new("Prometheus", endpoint)?, warnings })
    }

    /// How messages name it.
    pub fn name(&self) -> &str {
        self.client.name()
    }

    /// Asks a query at this moment. A vector's samples are dated with that moment, whatever the age of what they were
    /// computed from: use [`Self::raw`] or [`Self::dated`] where that matters.
    pub async fn instant(&self, query: &str, at: Timestamp, not_finite: NotFinite) -> Result<Answer, Fault> {
        let answer = self.ask(query, INSTANT, &asked(query, at), not_finite).await?;
        self.dates(query, &answer, at, COMPUTED_AGE_MAX).map(|()| answer)
    }

    /// Asks a query whose answer is one number. No series and several are faults.
    pub async fn one(&self, query: &str, at: Timestamp) -> Result<Sample, Fault> {
        let answer = self.instant(query, at, NotFinite::Refuse).await?;
        answer.single().map_err(|kind| self.client.fault(query, kind))
    }

    /// As [`Self::instant`], for a query over series that `selector` finds: when even the newest of their samples is older than
    /// `age_max`, the answer is stale.
    pub async fn dated(
        &self,
        query: &str,
        selector: &str,
        at: Timestamp,
        age_max: Millis,
        not_finite: NotFinite,
    ) -> Result<Answer, Fault> {
        let newest = self.one(&format!("max(timestamp({selector}))"), at).await?;
        let measured = epoch(newest.value).map_err(|kind| self.client.fault(selector, kind))?;
        fresh(measured, at, age_max).map_err(|kind| self.client.fault(selector, kind))?;
        self.instant(query, at, not_finite).await
    }

    /// Asks a query for each step of a span, ends included; the newest sample may be one step older than the end.
    pub async fn range(
        &self,
        query: &str,
        from: Timestamp,
        to: Timestamp,
        step: Millis,
        not_finite: NotFinite,
    ) -> Result<Answer, Fault> {
        let step_seconds = format!("{}", step.0.max(1) as f64 / 1_000.0);
        let form = [
            ("query", query.to_owned()),
            ("start", seconds(from)),
            ("end", seconds(to)),
            ("step", step_seconds),
        ];
        let answer = self.ask(query, "/api/v1/query_range", &form, not_finite).await?;
        if !matches!(answer.data, Data::Matrix(_)) {
            let kind = FaultKind::WrongShape("a range query is answered with a matrix".to_owned());
            return Err(self.client.fault(query, kind));
        }
        self.dates(query, &answer, to, step.times(2).max(COMPUTED_AGE_MAX)).map(|()| answer)
    }

    /// The raw samples of the last `lookback` before `at`, each with the time at which it was scraped. The newest must not be
    /// older than `age_max`.
    pub async fn raw(
        &self,
        selector: &str,
        at: Timestamp,
        lookback: Millis,
        age_max: Millis,
    ) -> Result<Vec<Series>, Fault> {
        let query = over(selector, lookback);
        let answer = self.ask(&query, INSTANT, &asked(&query, at), NotFinite::Refuse).await?;
        self.dates(&query, &answer, at, age_max)?;
        match answer.data {
            Data::Matrix(series) => Ok(series),
            Data::Scalar(_) | Data::Vector(_) | Data::Json(..) => {
                let kind =
                    FaultKind::WrongShape("a selector over a span is answered with a matrix".to_owned());
                Err(self.client.fault(&query, kind))
            }
        }
    }

    /// The raw samples of counters: as [`Self::raw`], and none may be negative or too large to be exact.
    pub async fn raw_counters(
        &self,
        selector: &str,
        at: Timestamp,
        lookback: Millis,
        age_max: Millis,
    ) -> Result<Vec<Series>, Fault> {
        let all = self.raw(selector, at, lookback, age_max).await?;
        for series in &all {
            for sample in &series.samples {
                counter(sample.value, &named(&series.labels))
                    .map_err(|kind| self.client.fault(&over(selector, lookback), kind))?;
            }
        }
        Ok(all)
    }

    /// All states of the histograms within the last `lookback` before `at`, in order of time, classic (`…_bucket`) or native.
    pub async fn histograms(
        &self,
        selector: &str,
        at: Timestamp,
        lookback: Millis,
        age_max: Millis,
    ) -> Result<Vec<Histogram>, Fault> {
        let query = over(selector, lookback);
        let got = self.post(&query, INSTANT, &asked(&query, at)).await?;
        let fault = |kind| self.client.fault(&query, kind);
        let read = decode::histograms(&got.body).map_err(fault)?;
        self.partial(&query, &read.warnings)?;
        let newest = read.histograms.iter().map(|h| h.at).max().ok_or(FaultKind::NoData).map_err(fault)?;
        fresh(newest, at, age_max).map_err(fault)?;
        Ok(read.histograms)
    }

    /// Reads one release's counters of the last `lookback` and adds to the tally what is new in them. Ask at least twice
    /// within every lookback, so that no sample is missed.
    pub async fn observe(
        &self,
        queries: &ArmQueries,
        tally: &mut Tally,
        at: Timestamp,
        lookback: Millis,
        age_max: Millis,
    ) -> Result<(), Fault> {
        let requests = self.raw_counters(&queries.requests, at, lookback, age_max).await?;
        let failures = match self.raw_counters(&queries.failures, at, lookback, age_max.max(lookback)).await {
            Err(Fault { kind: FaultKind::NoData, .. }) => Vec::new(),
            other => other?,
        };
        let latency = match &queries.latency {
            Some(selector) => self.histograms(selector, at, lookback, age_max).await?,
            None => Vec::new(),
        };
        let moments = moments(&queries.instance_labels, requests, failures, latency);
        for ((at, instance), shown) in moments {
            tally
                .observe(&instance, at, &shown)
                .map_err(|kind| self.client.fault(&queries.requests, kind))?;
        }
        Ok(())
    }

    async fn ask(
        &self,
        query: &str,
        path: &str,
        form: &[(&str, String)],
        not_finite: NotFinite,
    ) -> Result<Answer, Fault> {
        let got = self.post(query, path, form).await?;
        let answer = decode::answer(&got.body, not_finite).map_err(|kind| self.client.fault(query, kind))?;
        self.partial(query, &answer.warnings)?;
        Ok(answer)
    }

    async fn post(&self, query: &str, path: &str, form: &[(&str, String)]) -> Result<Got, Fault> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let ask = Ask {
            method: hyper::Method::POST,
            path: path.to_owned(),
            accept: "application/json",
            body: Some(("application/x-www-form-urlencoded", Bytes::from(body))),
        };
        let got = self.client.send(query, ask).await?;
        // Errors of the query itself come as JSON with a status of 400, 422 or 503.
        let kind = match (decode::reported(&got.body), got.refused()) {
            (Some(reported), _) => reported,
            (None, Some(refused)) => refused,
            (None, None) if got.is_html() => FaultKind::Html,
            (None, None) => return Ok(got),
        };
        Err(self.client.fault(query, kind))
    }

    fn partial(&self, query: &str, warnings: &[String]) -> Result<(), Fault> {
        match (self.warnings, warnings) {
            (Warnings::Accept, _) | (_, []) => Ok(()),
            (Warnings::Refuse, [first, ..]) => {
                Err(self.client.fault(query, FaultKind::Partial(words(first))))
            }
        }
    }

    fn dates(&self, query: &str, answer: &Answer, at: Timestamp, age_max: Millis) -> Result<(), Fault> {
        let dated = answer.newest().ok_or(FaultKind::NoData).and_then(|newest| fresh(newest, at, age_max));
        dated.map_err(|kind| self.client.fault(query, kind))
    }
}

/// Where a query at one moment is asked.
const INSTANT: &str = "/api/v1/query";

/// How far the date of a computed answer may lie before the moment it was asked for. Prometheus dates it with that moment;
/// stores that collect samples from elsewhere move it back, by 30 s where they are careful.
const COMPUTED_AGE_MAX: Millis = Millis(30_000);

/// What each instance showed at each moment, in order of time, up to its newest requests: what was asked later may know of a scrape
/// that the requests did not have yet. That scrape is whole the next time, and taken then; by halves it would count no requests, and
/// theirs for the one after.
fn moments(
    instance_labels: &[String],
    requests: Vec<Series>,
    failures: Vec<Series>,
    latency: Vec<Histogram>,
) -> BTreeMap<(Timestamp, String), Snapshot> {
    let instance = |labels: &Labels| {
        let values: Vec<&str> =
            instance_labels.iter().map(|name| labels.get(name).map_or("", String::as_str)).collect();
        values.join("/")
    };
    let mut moments: BTreeMap<(Timestamp, String), Snapshot> = BTreeMap::new();
    for series in requests {
        let name = instance(&series.labels);
        for sample in series.samples {
            let shown = moments.entry((sample.at, name.clone())).or_default();
            shown.requests.push((series.labels.clone(), sample.value, None));
        }
    }
    // In order of time, so the last of each stays.
    let newest: BTreeMap<String, Timestamp> = moments.keys().map(|(at, name)| (name.clone(), *at)).collect();
    // Who has failures and no requests, by another label perhaps, is taken up to the newest requests of all.
    let of_all = newest.values().max().copied();
    let is_whole = |name: &str, at: Timestamp| Some(at) <= newest.get(name).copied().or(of_all);
    for series in failures {
        let name = instance(&series.labels);
        for sample in series.samples.into_iter().filter(|sample| is_whole(&name, sample.at)) {
            let shown = moments.entry((sample.at, name.clone())).or_default();
            shown.failures.push((series.labels.clone(), sample.value, None));
        }
    }
    for histogram in latency {
        let name = instance(&histogram.labels);
        if is_whole(&name, histogram.at) {
            moments.entry((histogram.at, name)).or_default().latency.push(histogram);
        }
    }
    moments
}

/// The form of a query at one moment.
fn asked(query: &str, at: Timestamp) -> [(&'static str, String); 2] {
    [("query", query.to_owned()), ("time", seconds(at))]
}

fn over(selector: &str, lookback: Millis) -> String {
    format!("{selector}[{}ms]", lookback.0.max(1))
}

fn seconds(at: Timestamp) -> String {
    format!("{}.{:03}", at.0.div_euclid(1_000), at.0.rem_euclid(1_000))
}

#[cfg(test)]
mod tests {
    use tidegate_core::expression::Unit;

    use super::{super::counters::Birth, *};

    /// A counter as it was scraped once a second since the beginning.
    fn counter(name: &str, instance: &str, values: &[f64]) -> Series {
        let labels = [("__name__", name), ("instance", instance)];
        let labels = labels.map(|(key, value)| (key.to_owned(), value.to_owned())).into_iter().collect();
        let samples = values
            .iter()
            .zip(1..)
            .map(|(value, second)| Sample { at: Timestamp(second * 1_000), value: *value });
        Series { labels, samples: samples.collect() }
    }

    #[test]
    fn a_scrape_between_two_queries_is_taken_when_it_is_whole() {
        let mut tally = Tally::new(Birth::Here, Timestamp(0), Unit::Seconds);
        let all = [100.0, 200.0, 300.0, 400.0];
        let mut counted = Vec::new();
        for seen in 1..=3 {
            // The failures are asked for a moment later, and have one scrape more.
            let requests = vec![counter("requests", "a", &all[..seen])];
            let failures = vec![counter("failures", "a", &[1.0, 2.0, 3.0, 4.0][..=seen])];
            for ((at, instance), shown) in moments(&["instance".to_owned()], requests, failures, Vec::new()) {
                tally.observe(&instance, at, &shown).unwrap();
            }
            let counters = tally.counters();
            counted.push((counters.requests, counters.failures));
        }
        assert_eq!(counted, [(100, 1), (200, 2), (300, 3)]);
    }

    #[test]
    fn failures_that_somebody_else_counts_are_not_lost() {
        let requests = vec![counter("requests", "a", &[100.0, 200.0])];
        let failures = vec![counter("failures", "balancer", &[10.0, 20.0, 30.0])];
        let moments = moments(&["instance".to_owned()], requests, failures, Vec::new());
        let failed = moments.iter().filter(|(_, shown)| !shown.failures.is_empty()).map(|((at, _), _)| at.0);
        assert_eq!(failed.collect::<Vec<_>>(), [1_000, 2_000]);
    }
}
