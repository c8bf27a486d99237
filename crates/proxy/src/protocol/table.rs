//! The routing table of one service.

use serde::{Deserialize, Serialize};

/// Everything the data plane needs to carry one service's traffic. Replaced as a whole, never patched.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServiceTable {
    /// The service's name.
    pub service: String,
    /// Fencing: the owner's epoch. A table with a lower epoch than the one in force is refused.
    pub epoch: u64,
    /// Order within an epoch: a table whose `(epoch, generation)` is lower than the one in force is refused; the same
    /// pair again answers "applied" without change.
    pub generation: u64,
    /// Addresses to listen on for users.
    pub listen: Vec<ListenAddress>,
    /// Releases that may receive traffic; weights sum to `10_000`, or to 0 when there is nothing to route to.
    pub releases: Vec<ReleaseRoute>,
    /// The release that all traffic returns to when the lease ends. Must be one of `releases`.
    pub stable: Option<String>,
    /// How one user is kept on one release; `None` draws anew for each request.
    #[serde(default)]
    pub sticky: Option<Sticky>,
    /// Rules looked at before the weights; the first that matches wins (A/B tests, testers).
    #[serde(default)]
    pub rules: Vec<Rule>,
    /// Requests copied to a release that answers nobody.
    #[serde(default)]
    pub mirror: Option<Mirror>,
    /// How endpoints are found healthy or not.
    #[serde(default)]
    pub health: Health,
    /// Serve, hold or turn away.
    #[serde(default)]
    pub mode: Mode,
    /// Bounds on time and size.
    #[serde(default)]
    pub limits: Limits,
    /// When set, the share of every release but `stable` returns to `stable` once the control plane was silent for this
    /// many milliseconds.
    #[serde(default)]
    pub lease_ms: Option<u64>,
}

/// One address for users.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenAddress {
    /// `IP:port`.
    pub address: String,
    /// Certificate and key when the address speaks TLS.
    #[serde(default)]
    pub tls: Option<TlsFiles>,
}

/// Paths of a certificate chain and its key, PEM. Read again when the table is applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// Certificate chain, leaf first.
    pub certificate: String,
    /// Private key (PKCS#8, PKCS#1 or SEC1).
    pub key: String,
}

/// One release's place in the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseRoute {
    /// The release's tag.
    pub release: String,
    /// Share of the split in basis points.
    pub weight: u16,
    /// Where its instances are.
    pub backend: Backend,
}

/// Where a release's instances are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Backend {
    /// The ready instances that this proxy's supervisor runs for the service and release.
    Supervised,
    /// Fixed `IP:port` addresses.
    Fixed(Vec<String>),
}

/// What keeps one user on one release while the share only rises. The key is hashed into 10,000 buckets by a stable
/// hash; the newest release takes the lowest buckets, so a user only ever moves towards it while its share rises.
/// A request without the key is drawn at random (and, for a cookie, given the cookie).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Sticky {
    /// A cookie of this name; set by the proxy when absent.
    Cookie(String),
    /// A request header of this name.
    Header(String),
    /// The client's IP address.
    ClientAddress,
}

/// Sends the requests that match to one release, whatever the weights.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// All of these must hold.
    pub when: Vec<Match>,
    /// Where to.
    pub release: String,
}

/// One condition on a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Match {
    /// A header has exactly this value.
    Header {
        /// Name, in any case.
        name: String,
        /// Value; `None` asks only for presence.
        value: Option<String>,
    },
    /// A cookie has exactly this value.
    Cookie {
        /// Name.
        name: String,
        /// Value; `None` asks only for presence.
        value: Option<String>,
    },
    /// The path is this, or lies below it.
    PathPrefix(String),
}

/// Copies a share of requests to a shadow release; its answers are dropped and compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// The shadow release; listed in `releases`, usually with weight 0.
    pub release: String,
    /// Share of requests in basis points.
    pub share: u16,
    /// Methods that may be copied; the default is `GET`, `HEAD`, `OPTIONS`.
    #[serde(default = "Mirror::default_methods")]
    pub methods: Vec<String>,
    /// Largest request and response body that is copied and compared, bytes; larger ones are skipped and counted.
    #[serde(default = "Mirror::default_body_max")]
    pub body_max: u64,
    /// Copies in flight over all threads; beyond it they are dropped and counted.
    #[serde(default = "Mirror::default_in_flight_max")]
    pub in_flight_max: u32,
    /// A copy that takes longer than this is given up, milliseconds.
    #[serde(default = "Mirror::default_timeout_ms")]
    pub timeout_ms: u64,
    /// Compare bodies as JSON, leaving out these parts; `None` compares digests.
    #[serde(default)]
    pub json: Option<JsonIgnore>,
}

impl Mirror {
    fn default_methods() -> Vec<String> {
        ["GET", "HEAD", "OPTIONS"].map(String::from).to_vec()
    }

    const fn default_body_max() -> u64 {
        64 * 1024
    }

    const fn default_in_flight_max() -> u32 {
        256
    }

    const fn default_timeout_ms() -> u64 {
        5_000
    }
}

/// Parts of a JSON body that may differ.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonIgnore {
    /// JSON pointers (RFC 6901); `*` as a segment stands for any key or index.
    pub pointers: Vec<String>,
}

/// How endpoints are found healthy or not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Regular probes; `None` trusts readiness and passive health.
    #[serde(default)]
    pub active: Option<ActiveHealth>,
    /// What users' own requests tell.
    #[serde(default)]
    pub passive: PassiveHealth,
    /// An endpoint must have been healthy this long before it takes its full share, milliseconds.
    #[serde(default)]
    pub min_healthy_ms: u64,
    /// A new endpoint's share rises linearly from a tenth to full over this time, milliseconds; 0 is at once.
    #[serde(default)]
    pub slow_start_ms: u64,
}

/// Probes by HTTP GET.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ActiveHealth {
    /// Path; any 2xx or 3xx answer is healthy.
    pub path: String,
    /// Time between probes, milliseconds.
    pub interval_ms: u64,
    /// A probe that takes longer fails, milliseconds.
    pub timeout_ms: u64,
    /// Successes in a row that make an endpoint healthy.
    pub rise: u32,
    /// Failures in a row that make it unhealthy.
    pub fall: u32,
}

/// Ejection on failures of users' own requests (connect errors, resets, time-outs; not 5xx answers, which are evidence
/// for the gates).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PassiveHealth {
    /// Failures in a row that eject an endpoint; 0 turns ejection off.
    pub consecutive_failures: u32,
    /// How long it stays out, milliseconds. The last endpoint of a release is never ejected.
    pub eject_ms: u64,
}

impl Default for PassiveHealth {
    fn default() -> Self {
        Self { consecutive_failures: 5, eject_ms: 2_000 }
    }
}

/// What happens to users' requests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Mode {
    /// Normal service.
    #[default]
    Serve,
    /// Requests wait until the mode changes; beyond the bounds they get 503.
    Hold {
        /// Longest wait of one request, milliseconds.
        wait_max_ms: u64,
        /// Requests that may wait at once.
        requests_max: u32,
    },
    /// Every request gets this page; clients that match a rule still pass (testers).
    Maintenance {
        /// Status, 503 as a rule.
        status: u16,
        /// Body, HTML or text.
        body: String,
        /// `Retry-After`, seconds.
        retry_after_s: Option<u32>,
    },
}

/// Bounds on time and size of one service's traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Connecting to an instance, milliseconds.
    pub connect_ms: u64,
    /// From the end of the request to the head of the answer, milliseconds.
    pub response_ms: u64,
    /// Longest silence inside a body, either direction, milliseconds; also bounds a client that never reads.
    pub idle_ms: u64,
    /// Reading a request's head, milliseconds.
    pub header_read_ms: u64,
    /// Users' requests in flight; beyond it the answer is 503 with `Retry-After`.
    pub in_flight_max: u32,
    /// Draining a release or a connection before it is cut, milliseconds.
    pub drain_ms: u64,
    /// Same for upgraded connections (WebSocket), milliseconds.
    pub drain_upgraded_ms: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect_ms: 1_000,
            response_ms: 30_000,
            idle_ms: 60_000,
            header_read_ms: 10_000,
            in_flight_max: 10_000,
            drain_ms: 10_000,
            drain_upgraded_ms: 30_000,
        }
    }
}

/// The answer to an applied table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Applied {
    /// Epoch in force.
    pub epoch: u64,
    /// Generation in force.
    pub generation: u64,
    /// Whether this request changed anything (`false` for a repeat).
    pub changed: bool,
}

/// The canary lease of one service as the proxy sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lease {
    /// The table asks for none.
    None,
    /// Held; ends after this many milliseconds without renewal.
    Held {
        /// Milliseconds left.
        left_ms: u64,
    },
    /// It ended: all traffic is back on `stable` until a newer generation comes.
    Ended {
        /// When, milliseconds since the Unix epoch.
        at_unix_ms: i64,
    },
}

/// One service as the proxy carries it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// The table in force, as it was sent.
    pub table: ServiceTable,
    /// The lease; when ended, the weights in `table` are not those in force.
    pub lease: Lease,
    /// Weights in force, in the table's order.
    pub weights: Vec<u16>,
    /// Addresses really bound (port 0 resolved).
    pub listening: Vec<String>,
    /// Healthy endpoints per release, in the table's order.
    pub healthy: Vec<u32>,
}
