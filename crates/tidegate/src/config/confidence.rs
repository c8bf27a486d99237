//! What is known of a release before it gets traffic.

use serde::{Deserialize, Serialize};

/// Where the confidence score gets its facts from, and whether it decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Confidence {
    /// Whether the score decides.
    pub(crate) enforce: bool,
    /// The safety gates' report, relative to the configuration.
    pub(crate) safety_report: Option<String>,
    /// The coverage report, likewise.
    pub(crate) coverage: Option<String>,
    /// The commit it was made from.
    pub(crate) coverage_commit: Option<String>,
    /// Services that depend on this one.
    pub(crate) dependents: Option<u32>,
    /// The share of good releases that is assumed without history.
    pub(crate) history_prior_bp: Option<u16>,
}
