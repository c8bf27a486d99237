//! What the control plane and the proxy say to each other: JSON over HTTP/1.1 on a Unix socket (mode 0600).
//!
//! | method and path | body → answer |
//! |---|---|
//! | `PUT /v1/services/{service}` | [`ServiceTable`] → [`Applied`]; 409 [`Refused`] when `(epoch, generation)` is older |
//! | `GET /v1/services`, `GET /v1/services/{service}` | → `[`[`ServiceStatus`]`]`, [`ServiceStatus`] |
//! | `DELETE /v1/services/{service}?epoch=N` | stops listening for the service |
//! | `POST /v1/lease` | [`LeaseRenewal`] → 204; renews the canary lease of every service named |
//! | `GET /v1/counters?service=S` | → [`CountersReport`] |
//! | `GET /v1/metrics` | → Prometheus text |
//! | `PUT /v1/runs/{service}/{release}` | [`Run`] → [`RunStatus`]: the wanted instances of one release |
//! | `GET /v1/runs?service=S` | → `[`[`RunStatus`]`]` |
//! | `DELETE /v1/runs/{service}/{release}?epoch=N` | drains, stops and forgets a release's instances |
//! | `GET /v1/status` | → [`ProxyStatus`] |
//! | `POST /v1/upgrade` | [`Upgrade`] → [`ProxyStatus`] of the new process, once it serves |
//! | `POST /v1/shutdown?instances=stop\|keep` | drains, then ends the process |
//!
//! Every answer that is not 2xx carries [`Refused`]. All requests are desired states: repeating one changes nothing.
//! Every number that decides traffic is in basis points (`10_000` is all); every time is in milliseconds.

mod evidence;
mod run;
mod table;

pub use evidence::{CountersReport, Failures, MirrorCounters, ReleaseCounters, ServiceCounters};
pub use run::{
    Command, Container, EnvValue, InstanceState, InstanceStatus, LogPolicy, ProbeKind, Readiness, Resources,
    RestartPolicy, Run, RunKind, RunStatus, StopPolicy,
};
pub use table::{
    ActiveHealth, Applied, Backend, Health, JsonIgnore, Lease, Limits, ListenAddress, Match, Mirror, Mode,
    PassiveHealth, ReleaseRoute, Rule, ServiceStatus, ServiceTable, Sticky, TlsFiles,
};

use serde::{Deserialize, Serialize};

/// Version of this protocol; the proxy answers with it in [`ProxyStatus`].
pub const PROTOCOL_VERSION: u32 = 1;

/// Why a request was refused, for a person to read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Machine-readable reason: `stale_epoch`, `stale_generation`, `bad_request`, `not_found`, `address_in_use`, `io`, `internal`.
    pub code: String,
    /// One sentence: what was attempted, why it was refused and what to do.
    pub message: String,
}

/// Renews the canary lease: "the control plane of this epoch is alive".
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeaseRenewal {
    /// The caller's epoch; a renewal of an older epoch than a service's table is ignored for that service.
    pub epoch: u64,
    /// Services to renew. A service with no lease is left alone.
    pub services: Vec<String>,
}

/// Replaces the proxy's program without losing a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upgrade {
    /// Absolute path of the new program; it is run with the same arguments and takes over the listening sockets.
    pub program: String,
}

/// What the proxy process is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxyStatus {
    /// [`PROTOCOL_VERSION`] of the process.
    pub protocol: u32,
    /// Version of the program.
    pub version: String,
    /// Process id.
    pub pid: u32,
    /// Random name of this process's life: counters restart from zero when it changes.
    pub boot: String,
    /// Data-plane threads.
    pub workers: u32,
    /// Milliseconds since start.
    pub uptime_ms: u64,
    /// Where Prometheus may scrape (`http://ADDRESS/metrics`), when that listener is on.
    pub metrics_address: Option<String>,
}
