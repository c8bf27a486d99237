//! How users' requests are carried, as configured.

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
pub(crate) use tidegate_adapters::local::{RuleSpec as Rule, RuleTarget as Side};
pub(crate) use tidegate_proxy::protocol::{ActiveHealth, Health, Match as Condition, PassiveHealth, Sticky};

/// How users' requests are carried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Routing {
    /// What keeps one user on one release; `None` draws anew for each request.
    pub(crate) sticky: Option<Sticky>,
    /// Rules looked at before the shares; none without a condition.
    #[serde(deserialize_with = "rules")]
    pub(crate) rules: Vec<Rule>,
    /// Which instances get traffic.
    #[serde(deserialize_with = "health")]
    pub(crate) health: Health,
    /// Bounds on time and number.
    pub(crate) limits: Limits,
    /// What users get while the service is in maintenance.
    pub(crate) maintenance: Maintenance,
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
struct RawRule {
    when: Vec<RawCondition>,
    to: Side,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCondition {
    header: Option<String>,
    cookie: Option<String>,
    path: Option<String>,
    value: Option<String>,
}

fn rules<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Rule>, D::Error> {
    let condition = |raw: RawCondition| match (raw.header, raw.cookie, raw.path) {
        (Some(name), None, None) => Ok(Condition::Header { name, value: raw.value }),
        (None, Some(name), None) => Ok(Condition::Cookie { name, value: raw.value }),
        (None, None, Some(path)) => Ok(Condition::PathPrefix(path)),
        (Some(_) | None, _, _) => Err(D::Error::custom("exactly one of `header`, `cookie` and `path`")),
    };
    let rule = |RawRule { when, to }| {
        Ok(Rule { when: when.into_iter().map(condition).collect::<Result<_, D::Error>>()?, to })
    };
    Vec::<RawRule>::deserialize(deserializer)?.into_iter().map(rule).collect()
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
    passive: RawPassiveHealth,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPassiveHealth {
    failures: u32,
    eject_ms: u64,
}

fn health<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Health, D::Error> {
    let raw = RawHealth::deserialize(deserializer)?;
    let active = match (raw.http, raw.interval_ms, raw.timeout_ms, raw.rise, raw.fall) {
        (Some(path), Some(interval_ms), Some(timeout_ms), Some(rise), Some(fall)) => {
            Some(ActiveHealth { path, interval_ms, timeout_ms, rise, fall })
        }
        (None, ..) => None,
        (Some(_), ..) => return Err(D::Error::custom("a default beside `http` is missing")),
    };
    let RawPassiveHealth { failures: consecutive_failures, eject_ms } = raw.passive;
    let passive = PassiveHealth { consecutive_failures, eject_ms };
    Ok(Health { active, passive, min_healthy_ms: 0, slow_start_ms: raw.slow_start_ms })
}
