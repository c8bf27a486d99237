//! What a plan's metric asks, as it is stored in the plan: names of secrets, never secrets.

use std::{collections::BTreeMap, path::PathBuf, time::Duration};

use serde::{Deserialize, Serialize};

use crate::evidence::{Authentication, ClientCertificate, Endpoint, Secret, SecretSource};

/// In a query, the release's tag.
pub const RELEASE: &str = "{{release}}";
/// In a query, a regular expression for the names of all instances that the release ever had, where the target knows one.
pub const PODS: &str = "{{pods}}";
/// In a query, the service's name.
pub const SERVICE: &str = "{{service}}";

/// One metric's question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum MetricSpec {
    /// A Prometheus server, or what answers like one.
    Prometheus {
        /// Where, and how to authenticate.
        endpoint: EndpointSpec,
        /// Whether an answer with warnings, which may be partial, is taken.
        #[serde(default)]
        accept_warnings: bool,
        /// How far back a sample is looked for, milliseconds; at least three scrape intervals.
        lookback_ms: u64,
        /// What to ask.
        ask: Question,
    },
    /// The instances' own `/metrics`.
    Scrape {
        /// The path at every instance.
        path: String,
        /// What to look for there: series selectors.
        ask: Question,
    },
    /// A web endpoint that answers JSON.
    Web {
        /// Where; the address is a full one and may contain [`RELEASE`].
        endpoint: EndpointSpec,
        /// A JSON body to post; GET without one.
        #[serde(default)]
        post: Option<String>,
        /// Where in the answer the number lies (JSON path).
        path: String,
    },
    /// A command that prints JSON or a number.
    Command {
        /// The program.
        program: PathBuf,
        /// Its arguments; they may contain [`RELEASE`].
        #[serde(default)]
        arguments: Vec<String>,
        /// Its environment.
        #[serde(default)]
        environment: BTreeMap<String, String>,
        /// Variables of the engine that it is given too.
        #[serde(default)]
        inherit: Vec<String>,
        /// Where it runs.
        #[serde(default)]
        directory: Option<PathBuf>,
        /// Where in its output the number lies (JSON path).
        path: String,
        /// Longest run, milliseconds.
        within_ms: u64,
    },
}

/// What is asked of a source of series.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Question {
    /// Raw counters of both releases; each query names its release by [`RELEASE`].
    Counters {
        /// All requests.
        requests: String,
        /// Of those, failed.
        failures: String,
        /// A latency histogram.
        #[serde(default)]
        latency: Option<String>,
        /// What the histogram counts in.
        #[serde(default = "seconds")]
        latency_unit: String,
        /// Labels that together name an instance.
        #[serde(default = "instance")]
        instance_labels: Vec<String>,
    },
    /// One number or several. With [`RELEASE`] in it, it is asked for both releases.
    Value {
        /// The query; a selector for a scrape.
        query: String,
    },
}

impl MetricSpec {
    /// What it asks, for messages: a query, a path, a program.
    pub(super) fn question(&self) -> &str {
        match self {
            Self::Prometheus { ask, .. } | Self::Scrape { ask, .. } => ask.query(),
            Self::Web { path, .. } => path,
            Self::Command { program, .. } => program.to_str().unwrap_or_default(),
        }
    }
}

impl Question {
    /// The query, or that of all requests.
    pub(super) fn query(&self) -> &str {
        match self {
            Self::Counters { requests, .. } => requests,
            Self::Value { query } => query,
        }
    }
}

fn seconds() -> String {
    "s".to_owned()
}

fn instance() -> Vec<String> {
    vec!["instance".to_owned()]
}

/// An HTTP endpoint as it is stored.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndpointSpec {
    /// The address.
    pub url: String,
    /// Who asks.
    #[serde(default)]
    pub authentication: AuthenticationSpec,
    /// More headers.
    #[serde(default)]
    pub headers: Vec<(String, String)>,
    /// Certificates to trust instead of the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// A certificate of our own, and its key.
    #[serde(default)]
    pub client_certificate: Option<(PathBuf, PathBuf)>,
    /// Longest request, milliseconds.
    pub within_ms: u64,
}

/// How to authenticate; secrets by where they are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum AuthenticationSpec {
    /// Not at all.
    #[default]
    None,
    /// A user and a password.
    Basic {
        /// The user.
        user: String,
        /// The password.
        password: SecretSpec,
    },
    /// A bearer token.
    Bearer(SecretSpec),
}

/// Where a secret is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SecretSpec {
    /// An environment variable of the engine.
    Environment(String),
    /// A file.
    File(PathBuf),
}

impl SecretSpec {
    fn source(&self) -> SecretSource {
        match self {
            Self::Environment(name) => SecretSource::Environment(name.clone()),
            Self::File(path) => SecretSource::File(path.clone()),
        }
    }
}

impl EndpointSpec {
    /// The endpoint for this release.
    pub(super) fn endpoint(&self, fill: impl Fn(&str) -> String) -> Endpoint {
        let within = Duration::from_millis(self.within_ms.max(1));
        let plain = Endpoint::new(fill(&self.url));
        Endpoint {
            authentication: match &self.authentication {
                AuthenticationSpec::None => Authentication::None,
                AuthenticationSpec::Basic { user, password } => {
                    Authentication::Basic { user: user.clone(), password: password.source() }
                }
                AuthenticationSpec::Bearer(token) => Authentication::Bearer(token.source()),
            },
            headers: self
                .headers
                .iter()
                .map(|(name, value)| (name.clone(), Secret::new(value.as_str())))
                .collect(),
            ca_file: self.ca_file.clone(),
            client_certificate: self
                .client_certificate
                .clone()
                .map(|(certificate, key)| ClientCertificate { certificate, key }),
            connect_within: plain.connect_within.min(within),
            within,
            ..plain
        }
    }
}
