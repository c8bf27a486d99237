//! Metrics of other sources, and custom gates on them, as configured.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
use tidegate_adapters::metrics::{AuthenticationSpec, EndpointSpec, MetricSpec, Question, SecretSpec};
use tidegate_core::gate::{OnFailure, OnInconclusive, OnNoEvidence};

/// A metric: one source with what it is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Metric {
    /// Time between two questions.
    pub(crate) every_ms: u64,
    /// An older answer is no evidence.
    pub(crate) fresh_ms: u64,
    #[serde(flatten)]
    source: Source,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Source {
    Prometheus(Prometheus),
    Scrape(Scrape),
    Web(Web),
    Command(Command),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Prometheus {
    #[serde(flatten)]
    endpoint: Endpoint,
    accept_warnings: bool,
    lookback_ms: u64,
    query: Option<String>,
    #[serde(flatten)]
    counters: Counters,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Scrape {
    path: String,
    value: Option<String>,
    #[serde(flatten)]
    counters: Counters,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Web {
    #[serde(flatten)]
    endpoint: Endpoint,
    body: Option<String>,
    path: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Command {
    argv: Vec<String>,
    env: BTreeMap<String, String>,
    inherit: Vec<String>,
    directory: String,
    timeout_ms: u64,
    path: String,
}

/// Where a web source is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Endpoint {
    address: String,
    auth: Option<Auth>,
    headers: BTreeMap<String, String>,
    ca: Option<String>,
    client: Option<super::Tls>,
    timeout_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Auth {
    Basic { user: String, password: Secret },
    Bearer(Secret),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Secret {
    Variable(String),
    File(String),
}

/// Counters; without the first, a value is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Counters {
    requests: Option<String>,
    failures: Option<String>,
    latency: Option<String>,
    latency_unit: Option<String>,
    instance_labels: Option<Vec<String>>,
}

impl Metric {
    /// Whether it has counters; else it has a value.
    pub(crate) const fn counts(&self) -> bool {
        match &self.source {
            Source::Prometheus(Prometheus { counters, .. }) | Source::Scrape(Scrape { counters, .. }) => {
                counters.requests.is_some()
            }
            Source::Web(_) | Source::Command(_) => false,
        }
    }

    /// The source's name.
    pub(crate) const fn source(&self) -> &'static str {
        match self.source {
            Source::Prometheus(_) => "prometheus",
            Source::Scrape(_) => "scrape",
            Source::Web(_) => "web",
            Source::Command(_) => "command",
        }
    }

    /// What it is asked, as the adapters take it; paths start from `root`.
    pub(crate) fn spec(&self, root: &Path) -> MetricSpec {
        match &self.source {
            Source::Prometheus(asked) => MetricSpec::Prometheus {
                endpoint: asked.endpoint.spec(root),
                accept_warnings: asked.accept_warnings,
                lookback_ms: asked.lookback_ms,
                ask: asked.counters.question(asked.query.as_deref()),
            },
            Source::Scrape(asked) => MetricSpec::Scrape {
                path: asked.path.clone(),
                ask: asked.counters.question(asked.value.as_deref()),
            },
            Source::Web(asked) => MetricSpec::Web {
                endpoint: asked.endpoint.spec(root),
                post: asked.body.clone(),
                path: asked.path.clone(),
            },
            Source::Command(asked) => asked.spec(root),
        }
    }
}

impl Command {
    fn spec(&self, root: &Path) -> MetricSpec {
        let program = self.argv.first().map(PathBuf::from).unwrap_or_default();
        // A name alone is searched for in `PATH`; what has a folder starts from the project.
        let alone = program.components().count() == 1 && !program.starts_with(".");
        MetricSpec::Command {
            program: if alone { program } else { root.join(program) },
            arguments: self.argv.iter().skip(1).cloned().collect(),
            environment: self.env.clone(),
            inherit: self.inherit.clone(),
            directory: Some(root.join(&self.directory)),
            path: self.path.clone(),
            within_ms: self.timeout_ms,
        }
    }
}

impl Endpoint {
    fn spec(&self, root: &Path) -> EndpointSpec {
        EndpointSpec {
            url: self.address.clone(),
            authentication: match &self.auth {
                None => AuthenticationSpec::None,
                Some(Auth::Basic { user, password }) => {
                    AuthenticationSpec::Basic { user: user.clone(), password: password.spec(root) }
                }
                Some(Auth::Bearer(token)) => AuthenticationSpec::Bearer(token.spec(root)),
            },
            headers: self.headers.clone().into_iter().collect(),
            ca_file: self.ca.as_ref().map(|file| root.join(file)),
            client_certificate: self
                .client
                .as_ref()
                .map(|client| (root.join(&client.certificate), root.join(&client.key))),
            within_ms: self.timeout_ms,
        }
    }
}

impl Secret {
    fn spec(&self, root: &Path) -> SecretSpec {
        match self {
            Self::Variable(name) => SecretSpec::Environment(name.clone()),
            Self::File(path) => SecretSpec::File(root.join(path)),
        }
    }
}

impl Counters {
    fn question(&self, value: Option<&str>) -> Question {
        match (&self.requests, &self.failures) {
            (Some(requests), Some(failures)) => Question::Counters {
                requests: requests.clone(),
                failures: failures.clone(),
                latency: self.latency.clone(),
                latency_unit: self.latency_unit.clone().unwrap_or_else(|| "s".to_owned()),
                instance_labels: self.instance_labels.clone().unwrap_or_default(),
            },
            // One of both is there: the table of fields sees to it.
            _ => Question::Value { query: value.unwrap_or_default().to_owned() },
        }
    }
}

/// Conditions for a metric's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CustomGate {
    /// The metric.
    pub(crate) metric: String,
    /// Smallest ratio to the stable release of what the metric counts, thousandths: a goal instead of conditions.
    pub(crate) goal_milli: Option<u32>,
    /// True for a good value.
    pub(crate) success: Option<String>,
    /// True for a bad value.
    pub(crate) failure: Option<String>,
    /// What the value counts.
    pub(crate) unit: String,
    /// Bad values within a step that do not fail it yet.
    pub(crate) failures_max: u32,
    /// A run of measurements instead.
    pub(crate) analysis: Option<Analysis>,
    /// Steps at which it is asked, from 1; none for all of them and the watch.
    #[serde(default)]
    pub(crate) steps: Vec<usize>,
    /// When it fails.
    pub(crate) on_failure: OnFailure,
    /// While there is too little to judge by.
    pub(crate) on_no_evidence: OnNoEvidence,
    /// A hold that lasts longer turns back.
    pub(crate) hold_max_ms: u64,
    /// When the values decide nothing.
    pub(crate) on_inconclusive: OnInconclusive,
}

/// A run of measurements, as Argo Rollouts has it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Analysis {
    /// Measurements after which it ends; none for a run without an end.
    pub(crate) count: Option<u32>,
    /// From one measurement to the next.
    pub(crate) interval_ms: u64,
    /// Before the first one.
    pub(crate) initial_delay_ms: u64,
    /// Measurements that may fail; none for any number.
    pub(crate) failure_limit: Option<u32>,
    /// Measurements that may decide nothing.
    pub(crate) inconclusive_limit: u32,
    /// Measurements in a row that may not be taken.
    pub(crate) consecutive_error_limit: u32,
    /// Good measurements in a row that end it; 0 for none.
    pub(crate) consecutive_success_limit: u32,
    /// One run over all its steps.
    pub(crate) background: bool,
}
