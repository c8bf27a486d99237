//! Bad evidence: answers that must end as a fault, each named, each asked for over a real connection or from a real program.

mod expositions;
mod json;
mod transport;

use std::{collections::BTreeMap, time::Duration};

use futures_util::{StreamExt, stream};
use tidegate_adapters::evidence::{
    Answer, Command, Data, Endpoint, Fault, Method, NotFinite, Prometheus, Sample, Scraper, Warnings, Web,
};
use tidegate_adapters::metrics::{EndpointSpec, InstanceAddress, Instances, MetricSpec, Question, ask_once};
use tidegate_core::{
    deployment::table,
    gate::MetricAnswer,
    judge::Metric,
    model::{Millis, Timestamp},
};

use crate::hostile::{Wire, reply, serve};

/// The moment at which everything is asked.
pub(crate) const NOW: Timestamp = Timestamp(1_700_000_000_000);
/// Longest body that is read.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// The selector that is asked for.
pub(crate) const SELECTOR: &str = "http_requests_total{version=\"v2\"}";
const AGE_MAX: Millis = Millis(30_000);

/// The words for the faults that fit.
type Codes = &'static [&'static str];

/// One bad answer and what became of it.
pub(crate) struct Bad {
    /// How it was asked and what was wrong: `instant: NaN`.
    pub(crate) name: String,
    /// The words for the fault that fit.
    pub(crate) codes: Codes,
    /// What the message must name as the question.
    pub(crate) query: String,
    /// What the source said.
    pub(crate) answered: Result<Answer, Fault>,
}

/// What the metrics of a plan make of a bad answer.
pub(crate) struct Told {
    /// As in [`Bad::name`].
    pub(crate) name: String,
    /// What the message must name as the question.
    pub(crate) query: String,
    /// What a deployment is told.
    pub(crate) answer: MetricAnswer,
}

/// The name of the metric that is asked.
pub(crate) const METRIC: &str = "of-the-test";

/// Ways to ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ask {
    Instant,
    Range,
    Raw,
    Histograms,
    Scrape,
    Web,
}

impl Ask {
    const ALL: [Self; 6] = [Self::Instant, Self::Range, Self::Raw, Self::Histograms, Self::Scrape, Self::Web];

    fn query(self) -> String {
        match self {
            Self::Instant | Self::Range | Self::Scrape => SELECTOR.to_owned(),
            Self::Raw | Self::Histograms => format!("{SELECTOR}[60000ms]"),
            Self::Web => "$.value".to_owned(),
        }
    }

    async fn of(self, url: String, within: Duration) -> Result<Answer, Fault> {
        let endpoint = Endpoint { within, body_bytes_max: BODY_BYTES_MAX, ..Endpoint::new(url) };
        let lookback = Millis(60_000);
        let prometheus = |endpoint| Prometheus::new(endpoint, Warnings::Refuse);
        let scalar = |sample: Sample| Answer::plain(Data::Scalar(sample));
        match self {
            Self::Instant => prometheus(endpoint)?.one(SELECTOR, NOW).await.map(scalar),
            Self::Range => {
                let from = Timestamp(NOW.0 - 60_000);
                let step = Millis(15_000);
                prometheus(endpoint)?.range(SELECTOR, from, NOW, step, NotFinite::Refuse).await
            }
            Self::Raw => {
                let series = prometheus(endpoint)?.raw_counters(SELECTOR, NOW, lookback, AGE_MAX).await?;
                Ok(Answer::plain(Data::Matrix(series)))
            }
            Self::Histograms => {
                let read = prometheus(endpoint)?.histograms(SELECTOR, NOW, lookback, AGE_MAX).await?;
                let value = read.iter().map(|h| h.count() as f64).sum();
                Ok(scalar(Sample { value, at: NOW }))
            }
            Self::Scrape => {
                let selector = SELECTOR.parse().unwrap();
                Scraper::new(endpoint)?.read(&selector, NOW, AGE_MAX, NotFinite::Refuse).await
            }
            Self::Web => {
                Web::new(endpoint, Method::Get, "$.value".parse().unwrap())?.one(NOW).await.map(scalar)
            }
        }
    }
}

impl Ask {
    /// The same question as a plan's metric has it, where one can; asked at most this long.
    fn spec(self, url: &str, within_ms: u64) -> Option<MetricSpec> {
        let endpoint = EndpointSpec { url: url.to_owned(), within_ms, ..EndpointSpec::default() };
        let value = Question::Value { query: SELECTOR.to_owned() };
        let counters = |latency: Option<&str>| Question::Counters {
            requests: SELECTOR.to_owned(),
            failures: SELECTOR.to_owned(),
            latency: latency.map(str::to_owned),
            latency_unit: "s".to_owned(),
            instance_labels: vec!["instance".to_owned()],
        };
        let ask = match self {
            Self::Instant => value,
            Self::Raw => counters(None),
            Self::Histograms => counters(Some(SELECTOR)),
            Self::Range => return None,
            Self::Scrape => return Some(MetricSpec::Scrape { path: "/metrics".to_owned(), ask: value }),
            Self::Web => return Some(MetricSpec::Web { endpoint, post: None, path: "$.value".to_owned() }),
        };
        Some(MetricSpec::Prometheus { endpoint, accept_warnings: false, lookback_ms: 60_000, ask })
    }
}

struct Case {
    name: String,
    ask: Ask,
    wire: Wire,
    codes: Codes,
}

/// Asks for all of them and gives back what was answered.
pub(crate) async fn answers() -> Vec<Bad> {
    let asked = stream::iter(cases()).map(asked).buffer_unordered(16).collect::<Vec<Bad>>().await;
    let ran = stream::iter(commands()).map(ran).buffer_unordered(4).collect::<Vec<Bad>>().await;
    asked.into_iter().chain(ran).collect()
}

/// Asks for all of them as a deployment does.
pub(crate) async fn told() -> Vec<Told> {
    let asked = stream::iter(cases()).map(told_of).buffer_unordered(16).collect::<Vec<Told>>().await;
    let ran = stream::iter(commands()).map(told_by).buffer_unordered(4).collect::<Vec<Told>>().await;
    asked.into_iter().chain(ran).collect()
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for ask in Ask::ALL {
        for (name, wire, codes) in transport::shapes() {
            cases.push(Case { name: format!("{ask:?}, transport: {name}"), ask, wire, codes });
        }
    }
    let json = |status: &str, body: &str| {
        Wire::Send(reply(status, &[("Content-Type", "application/json")], body.as_bytes()))
    };
    for (ask, bodies) in [
        (Ask::Instant, json::instants()),
        (Ask::Range, json::ranges()),
        (Ask::Raw, json::raws()),
        (Ask::Histograms, json::buckets()),
        (Ask::Web, json::webs()),
    ] {
        for (name, body, codes) in bodies {
            let status = if name.starts_with("status ") { "422 Unprocessable Entity" } else { "200 OK" };
            cases.push(Case { name: format!("{ask:?}: {name}"), ask, wire: json(status, &body), codes });
        }
    }
    for (content_type, name, body, codes) in expositions::all() {
        let wire = Wire::Send(reply("200 OK", &[("Content-Type", content_type)], &body));
        let kind = content_type.split([';', '/']).nth(1).unwrap_or("");
        cases.push(Case { name: format!("Scrape, {kind}: {name}"), ask: Ask::Scrape, wire, codes });
    }
    cases
}

async fn told_of(case: Case) -> Told {
    let within = case.within();
    let within_ms = u64::try_from(within.as_millis()).unwrap();
    let Case { name, ask, wire, codes } = case;
    let url = serve(wire.clone()).await;
    let query = if ask == Ask::Web { "$.value" } else { SELECTOR }.to_owned();
    let answer = if let Some(spec) = ask.spec(&url, within_ms) {
        let address = url.trim_start_matches("http://").to_owned();
        let instance = InstanceAddress { id: "one".to_owned(), address };
        let instances =
            Instances { new: vec![instance.clone()], stable: vec![instance], ..Instances::default() };
        deployed(&spec, &instances).await
    } else {
        // No metric of a plan asks for a range: its fault is told as the others are.
        let bad = asked(Case { name: name.clone(), ask, wire, codes }).await;
        let fault = bad.answered.expect_err("a bad answer");
        MetricAnswer::Fault { reason: format!("metric `{METRIC}`: {fault}") }
    };
    Told { name, query, answer }
}

async fn told_by((name, script, codes): (&'static str, &'static str, Codes)) -> Told {
    let endless = codes == ["timed_out"];
    let spec = MetricSpec::Command {
        program: if script.is_empty() { "/nowhere/no-such-program" } else { "/bin/sh" }.into(),
        arguments: vec!["-c".to_owned(), script.to_owned()],
        environment: BTreeMap::new(),
        inherit: Vec::new(),
        directory: None,
        path: "$".to_owned(),
        within_ms: if endless { 300 } else { 10_000 },
    };
    let answer = deployed(&spec, &Instances::default()).await;
    Told { name: format!("Command: {name}"), query: format!("-c {script}"), answer }
}

async fn deployed(spec: &MetricSpec, instances: &Instances) -> MetricAnswer {
    let metric = Metric {
        name: METRIC.to_owned(),
        source: "a source".to_owned(),
        query: serde_json::to_string(spec).unwrap(),
        every: Millis(1_000),
        fresh: AGE_MAX,
    };
    ask_once(&table::sample_plan(), &metric, instances, NOW).await
}

impl Case {
    /// Only what never ends is given little time, so that a busy machine changes no other answer.
    fn within(&self) -> Duration {
        let endless = matches!(self.wire, Wire::SendAndHang(_) | Wire::Drip(_));
        Duration::from_millis(if endless { 150 } else { 10_000 })
    }
}

async fn asked(case: Case) -> Bad {
    let within = case.within();
    let url = serve(case.wire).await;
    let answered = case.ask.of(url, within).await;
    Bad { name: case.name, codes: case.codes, query: case.ask.query(), answered }
}

async fn ran((name, script, codes): (&'static str, &'static str, Codes)) -> Bad {
    let endless = codes == ["timed_out"];
    let program = if script.is_empty() { "/nowhere/no-such-program" } else { "/bin/sh" };
    let command = Command {
        program: program.into(),
        arguments: vec!["-c".to_owned(), script.to_owned()],
        environment: BTreeMap::new(),
        inherit: Vec::new(),
        directory: None,
        within: Duration::from_millis(if endless { 300 } else { 10_000 }),
        path: "$".parse().unwrap(),
    };
    let answered = command.one(NOW).await.map(|sample| Answer::plain(Data::Scalar(sample)));
    Bad { name: format!("Command: {name}"), codes, query: format!("-c {script}"), answered }
}

/// Programs, as the shell would run them, and what becomes of them.
fn commands() -> Vec<(&'static str, &'static str, Codes)> {
    vec![
        ("not there", "", &["not_started"]),
        ("ends with 1", "echo 0.01; echo 'no such metric' >&2; exit 1", &["ended"]),
        ("ends by a signal", "echo 0.01; kill -9 $$", &["ended"]),
        ("prints nothing", "true", &["no_data"]),
        ("prints blanks", "printf '\\n \\n'", &["no_data"]),
        ("prints a word", "echo healthy", &["not_numeric"]),
        ("prints NaN", "echo NaN", &["not_a_number"]),
        ("prints inf", "echo -- -inf | sed 's/-- //'", &["infinite"]),
        ("prints null", "echo null", &["no_data"]),
        ("prints true", "echo true", &["wrong_shape"]),
        ("prints a text", "echo '\"0.01\"'", &["not_numeric"]),
        ("prints two numbers", "echo 0.01 0.02", &["not_numeric", "not_json"]),
        ("prints half an object", "echo '{\"value\":'", &["truncated", "not_json"]),
        ("prints a page", "echo '<html>0.01</html>'", &["not_json"]),
        ("prints without end", "yes 0.01", &["timed_out"]),
        ("prints too much", "head -c 2000000 /dev/zero | tr '\\0' 1", &["too_large"]),
        ("sleeps", "sleep 600; echo 0.01", &["timed_out"]),
        ("leaves a child that keeps its output", "sleep 600 & exit 0", &["timed_out"]),
        ("reads its input", "read answer && echo 0.01", &["ended"]),
    ]
}
