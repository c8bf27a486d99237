//! A configuration as the rest of the binary uses it: every value typed, every default filled in. Durations are
//! milliseconds, shares basis points (10,000 is everything), sizes bytes.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};
pub(crate) use tidegate_core::model::Criticality;
pub(crate) use tidegate_proxy::protocol::TlsFiles as Tls;

use super::{
    confidence::Confidence,
    finding::{Code, Complaint, Finding, Findings, Place, Places},
    gates::Gates,
    judgement::Judgement,
    metrics::Metric,
    routing::Routing,
    run::Run,
    strategy::{Shadow, Strategy},
};

/// A whole `tidegate.yaml` without a mistake that can be seen in the file itself.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    /// The file, as it was named.
    pub(crate) path: PathBuf,
    /// Its text, for excerpts; line ends are `\n`.
    pub(crate) source: String,
    /// The services by name.
    pub(crate) services: BTreeMap<String, Service>,
    pub(super) places: Places,
}

impl Config {
    /// The directory that paths in the file start from.
    pub(crate) fn directory(&self) -> &Path {
        match self.path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            Some(_) | None => Path::new("."),
        }
    }

    /// Where the value at `path` (`services.shop.listen`, `services.shop.run.command`, `services.shop`) was written, or
    /// what is nearest around it.
    pub(crate) fn place(&self, path: &str) -> Place {
        self.places.nearest(path)
    }

    /// A finding about the value at `path` that only shows when the world is looked at: a port that is taken, a command
    /// that is not there.
    pub(crate) fn finding(&self, path: &str, message: &str, help: Option<&str>) -> Finding {
        let complaint =
            Complaint { code: Code::Conflict, message: message.to_owned(), help: help.map(str::to_owned) };
        let mut findings = Findings::new(&self.path.display().to_string());
        findings.add(self.place(path), path, complaint.clone());
        findings.sorted().pop().unwrap_or_else(|| Finding {
            file: self.path.display().to_string(),
            place: Place::default(),
            path: path.to_owned(),
            message: complaint.message,
            help: complaint.help,
            code: complaint.code,
        })
    }
}

/// One service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Service {
    /// How much harm a failure of it does.
    pub(crate) criticality: Criticality,
    /// The environment that is deployed to.
    pub(crate) environment: String,
    /// Where users come in; empty on Kubernetes alone, no port is 0, no address is another's.
    #[serde(default)]
    pub(crate) listen: Vec<SocketAddr>,
    /// Certificate and key for all addresses; `None` is plain HTTP.
    pub(crate) tls: Option<Tls>,
    /// What runs.
    pub(crate) run: Run,
    /// How a new release takes over.
    pub(crate) strategy: Strategy,
    /// A phase before users see the new release.
    pub(crate) shadow: Option<Shadow>,
    /// What has to hold at every step.
    pub(crate) gates: Gates,
    /// How the gates judge.
    pub(crate) judgement: Judgement,
    /// What is known of a release beforehand.
    pub(crate) confidence: Confidence,
    /// What other sources say, by name.
    pub(crate) metrics: BTreeMap<String, Metric>,
    /// How users' requests are carried.
    pub(crate) routing: Routing,
    /// Time after the promotion in which the last good release stays warm.
    pub(crate) watch_ms: u64,
    /// Silence of the control plane after which the proxy returns all traffic to the last good release; `None` is never.
    pub(crate) lease_ms: Option<u64>,
    /// What a second deployment does while one is under way.
    pub(crate) queue: Queue,
    /// A pause or approval that lasts longer than this turns back.
    pub(crate) pause_max_ms: u64,
    /// Releases kept to go back to, 2 to 100.
    pub(crate) keep_releases: u32,
}

/// What a second deployment of a service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Queue {
    /// Starts when the first has ended.
    Wait,
    /// Turns the first one back and starts then.
    Supersede,
    /// Is refused.
    Reject,
}
