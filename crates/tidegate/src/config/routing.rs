//! How users' requests are carried, as configured.

use serde::{Deserialize, Serialize};

/// How users' requests are carried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Routing {
    /// What keeps one user on one release; `None` draws anew for each request.
    pub(crate) sticky: Option<Sticky>,
    /// Rules looked at before the shares.
    pub(crate) rules: Vec<Rule>,
    /// Which instances get traffic.
    pub(crate) health: Health,
    /// Bounds on time and number.
    pub(crate) limits: Limits,
    /// What users get while the service is in maintenance.
    pub(crate) maintenance: Maintenance,
}

/// What tells users apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Sticky {
    /// A cookie of this name.
    Cookie(String),
    /// A request header of this name.
    Header(String),
    /// The client's IP address.
    ClientAddress,
}

/// Sends requests that match to one release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Rule {
    /// All of these hold; never empty.
    pub(crate) when: Vec<Condition>,
    /// Which release.
    pub(crate) to: Side,
}

/// A release by its part in a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Side {
    /// The one that is being rolled out.
    New,
    /// The last good one.
    Stable,
}

/// One condition on a request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawCondition")]
pub(crate) enum Condition {
    /// A header is there, with exactly this value if one is given.
    Header {
        /// Name, in any case.
        name: String,
        /// Value.
        value: Option<String>,
    },
    /// A cookie is there, with exactly this value if one is given.
    Cookie {
        /// Name.
        name: String,
        /// Value.
        value: Option<String>,
    },
    /// The path is this, or lies below it.
    Path(String),
}

/// Which instances get traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "RawHealth")]
pub(crate) struct Health {
    /// Regular probes.
    pub(crate) active: Option<ActiveHealth>,
    /// What users' own requests tell.
    pub(crate) passive: PassiveHealth,
    /// A new instance's part rises over this time; 0 is at once.
    pub(crate) slow_start_ms: u64,
}

/// Regular probes by GET.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ActiveHealth {
    /// Path.
    pub(crate) path: String,
    /// Time between two probes.
    pub(crate) interval_ms: u64,
    /// A probe that takes longer has failed.
    pub(crate) timeout_ms: u64,
    /// Successes in a row that make an instance healthy.
    pub(crate) rise: u32,
    /// Failures in a row that make it unhealthy.
    pub(crate) fall: u32,
}

/// Ejection on failures of users' own requests.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PassiveHealth {
    /// Failures in a row; 0 never ejects.
    pub(crate) failures: u32,
    /// How long an instance stays out.
    pub(crate) eject_ms: u64,
}

/// Bounds on time and number.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    /// Connecting to an instance.
    pub(crate) connect_ms: u64,
    /// From the end of a request to the head of its answer.
    pub(crate) response_ms: u64,
    /// Longest silence inside a body.
    pub(crate) idle_ms: u64,
    /// Reading a request's head.
    pub(crate) header_read_ms: u64,
    /// Requests under way at once.
    pub(crate) in_flight: u32,
    /// Time that requests get to finish.
    pub(crate) drain_ms: u64,
    /// The same for upgraded connections.
    pub(crate) drain_websocket_ms: u64,
}

/// The answer while the service is in maintenance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Maintenance {
    /// Status, 400 to 599.
    pub(crate) status: u16,
    /// Body.
    pub(crate) body: String,
    /// `Retry-After`; a multiple of a second is what clients get, rounded up.
    pub(crate) retry_after_ms: u64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCondition {
    header: Option<String>,
    cookie: Option<String>,
    path: Option<String>,
    value: Option<String>,
}

impl TryFrom<RawCondition> for Condition {
    type Error = &'static str;

    fn try_from(raw: RawCondition) -> Result<Self, Self::Error> {
        match (raw.header, raw.cookie, raw.path) {
            (Some(name), None, None) => Ok(Self::Header { name, value: raw.value }),
            (None, Some(name), None) => Ok(Self::Cookie { name, value: raw.value }),
            (None, None, Some(path)) => Ok(Self::Path(path)),
            (Some(_) | None, _, _) => Err("exactly one of `header`, `cookie` and `path`"),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawHealth {
    http: Option<String>,
    interval_ms: Option<u64>,
    timeout_ms: Option<u64>,
    rise: Option<u32>,
    fall: Option<u32>,
    slow_start_ms: u64,
    passive: PassiveHealth,
}

impl TryFrom<RawHealth> for Health {
    type Error = &'static str;

    fn try_from(raw: RawHealth) -> Result<Self, Self::Error> {
        let active = match (raw.http, raw.interval_ms, raw.timeout_ms, raw.rise, raw.fall) {
            (Some(path), Some(interval_ms), Some(timeout_ms), Some(rise), Some(fall)) => {
                Some(ActiveHealth { path, interval_ms, timeout_ms, rise, fall })
            }
            (None, ..) => None,
            (Some(_), ..) => return Err("a default beside `http` is missing"),
        };
        Ok(Self { active, passive: raw.passive, slow_start_ms: raw.slow_start_ms })
    }
}
