//! The six standard gates as configured; `None` is off.

use serde::{Deserialize, Serialize};

/// The six standard gates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Gates {
    /// Failed requests against the stable release's.
    pub(crate) error_rate: Option<ErrorRateGate>,
    /// 95th percentile of the time to answer.
    pub(crate) latency_p95: Option<LatencyGate>,
    /// 99th percentile of the time to answer.
    pub(crate) latency_p99: Option<LatencyGate>,
    /// CPU in use.
    pub(crate) cpu: Option<LevelGate>,
    /// Memory in use.
    pub(crate) memory: Option<LevelGate>,
    /// Requests that arrive against those expected.
    pub(crate) request_rate: Option<RequestRateGate>,
}

/// What a gate does when it fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnFailure {
    /// All traffic returns to the last good release.
    RollBack,
    /// The share stays where it is and a person is asked.
    Hold,
    /// It is said, and the deployment goes on.
    Alert,
}

/// What happens while a gate has too little to judge by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum OnNoEvidence {
    /// The share stays until there is evidence or the hold is over.
    Hold,
    /// The deployment goes on without an answer.
    Continue,
    /// All traffic returns to the last good release.
    RollBack,
}

/// Failed requests against the stable release's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorRateGate {
    /// Largest ratio to the stable release's rate, thousandths: 1,100 is 1.1.
    pub(crate) ratio_max_milli: u32,
    /// A rate up to this passes, basis points.
    pub(crate) floor_bp: u16,
    /// Fewer requests in the window are no evidence.
    pub(crate) min_requests: u64,
    /// When it fails.
    pub(crate) on_failure: OnFailure,
    /// While there is too little to judge by.
    pub(crate) on_no_evidence: OnNoEvidence,
    /// A hold that lasts longer turns back.
    pub(crate) hold_max_ms: u64,
}

/// A percentile of the time to answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LatencyGate {
    /// Largest value.
    pub(crate) limit_ms: u64,
    /// Fewer requests in the window are no evidence.
    pub(crate) min_requests: u64,
    /// When it fails.
    pub(crate) on_failure: OnFailure,
    /// While there is too little to judge by.
    pub(crate) on_no_evidence: OnNoEvidence,
    /// A hold that lasts longer turns back.
    pub(crate) hold_max_ms: u64,
}

/// CPU or memory in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LevelGate {
    /// Largest use in basis points of what `resources` calls all.
    pub(crate) limit_bp: u16,
    /// When it fails.
    pub(crate) on_failure: OnFailure,
    /// While there is too little to judge by.
    pub(crate) on_no_evidence: OnNoEvidence,
    /// A hold that lasts longer turns back.
    pub(crate) hold_max_ms: u64,
}

/// Requests that arrive against those that the share should bring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RequestRateGate {
    /// Smallest part of the expected rate, basis points.
    pub(crate) min_bp: u16,
    /// Fewer requests in the window are no evidence.
    pub(crate) min_requests: u64,
    /// When it fails.
    pub(crate) on_failure: OnFailure,
    /// While there is too little to judge by.
    pub(crate) on_no_evidence: OnNoEvidence,
    /// A hold that lasts longer turns back.
    pub(crate) hold_max_ms: u64,
}
