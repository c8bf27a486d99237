//! What a release on Kubernetes may do and use, who may reach it and what changes its number of pods, as configured.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// What pods may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PodSecurity {
    /// The profile of the Pod Security Standards.
    pub(crate) profile: Profile,
    /// Rules and fields that need not keep it.
    pub(crate) allow: Vec<String>,
}

/// A profile of the Pod Security Standards.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Profile {
    /// The strictest.
    Restricted,
    /// The one in the middle.
    Baseline,
    /// None.
    Privileged,
}

/// Where requests and limits come from when a container has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Sizes {
    /// The service's criticality.
    ByCriticality,
    /// Nowhere.
    Manifest,
}

/// Who may reach the pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct NetworkPolicy {
    /// Namespaces beside the release's own.
    pub(crate) from: Vec<String>,
    /// Ranges of addresses beside pods.
    pub(crate) addresses: Vec<String>,
    /// Ports of the pods beside the Service's.
    pub(crate) ports: Vec<u16>,
}

/// What changes the number of pods.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Autoscale {
    /// Who says how.
    pub(crate) mode: AutoscaleMode,
    /// Fewest pods; there with mode `own`.
    pub(crate) min: Option<u32>,
    /// Most pods; there with mode `own`.
    pub(crate) max: Option<u32>,
    /// CPU of what is requested, basis points.
    pub(crate) cpu_bp: Option<u16>,
    /// Memory of what is requested, basis points.
    pub(crate) memory_bp: Option<u16>,
    /// Metrics of the pods, average per pod.
    pub(crate) pods: BTreeMap<String, String>,
    /// Metrics of elsewhere, average per pod.
    pub(crate) external: BTreeMap<String, String>,
}

/// Who says how the number of pods changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum AutoscaleMode {
    /// The configuration.
    Own,
    /// The autoscaler that the stable release has.
    Follow,
    /// Nobody.
    Off,
}

/// Bounds on what a strategy may do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Caps {
    /// Largest rise of the share in one step, basis points; `None` is that of the criticality.
    pub(crate) share_step_bp: Option<u16>,
}
