//! The gates as configured, and what they share; `None` is off.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use tidegate_core::gate::{Mode, OnFailure, OnInconclusive, OnNoEvidence};

use super::metrics::CustomGate;

/// The gates of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gates {
    /// Failed requests against the stable release's.
    pub(crate) error_rate: Option<ErrorRateGate>,
    /// 95th percentile of the time to answer.
    pub(crate) latency_p95: Option<LatencyGate>,
    /// 99th percentile of the time to answer.
    pub(crate) latency_p99: Option<LatencyGate>,
    /// Slow requests against the stable release's, at every duration; never in `threshold` mode.
    pub(crate) latency_shift: Option<LatencyShiftGate>,
    /// CPU in use.
    pub(crate) cpu: Option<LevelGate>,
    /// Memory in use.
    pub(crate) memory: Option<LevelGate>,
    /// Requests that arrive against those expected.
    pub(crate) request_rate: Option<RequestRateGate>,
    /// Gates of one's own, by name.
    pub(crate) custom: BTreeMap<String, CustomGate>,
}

/// What every standard gate has beside its rule. Keys that a gate does not take have the default here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Policy {
    /// How it is asked.
    pub(crate) mode: Mode,
    /// Whose counters are asked; the proxy's when none is named.
    #[serde(default)]
    pub(crate) metric: Option<String>,
    /// Fewer requests in the window are no evidence; a gate that counts none has none.
    #[serde(default)]
    pub(crate) min_requests: u64,
    /// When it fails.
    pub(crate) on_failure: OnFailure,
    /// While there is too little to judge by.
    pub(crate) on_no_evidence: OnNoEvidence,
    /// A hold that lasts longer turns back.
    pub(crate) hold_max_ms: u64,
    /// When the evidence decides nothing in the longest time that a stage may last.
    pub(crate) on_inconclusive: OnInconclusive,
}

/// Failed requests against the stable release's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ErrorRateGate {
    /// Largest ratio to the stable release's rate, thousandths: 1,100 is 1.1.
    pub(crate) ratio_max_milli: u32,
    /// A rate up to this passes, basis points.
    pub(crate) floor_bp: u16,
    #[serde(flatten)]
    pub(crate) policy: Policy,
}

/// A percentile of the time to answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LatencyGate {
    /// Largest value.
    pub(crate) limit_ms: u64,
    #[serde(flatten)]
    pub(crate) policy: Policy,
}

/// Slow requests against the stable release's, whatever counts as slow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LatencyShiftGate {
    /// Largest ratio to the stable release's share of slow requests, thousandths.
    pub(crate) ratio_max_milli: u32,
    #[serde(flatten)]
    pub(crate) policy: Policy,
}

/// CPU or memory in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LevelGate {
    /// Largest use in basis points of what `resources` calls all.
    pub(crate) limit_bp: u16,
    #[serde(flatten)]
    pub(crate) policy: Policy,
}

/// Requests that arrive against those that the share should bring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RequestRateGate {
    /// Smallest part of the expected rate, basis points.
    pub(crate) min_bp: u16,
    #[serde(flatten)]
    pub(crate) policy: Policy,
}
