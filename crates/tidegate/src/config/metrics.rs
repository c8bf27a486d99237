//! Metrics of other sources, and custom gates on them, as configured.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidegate_core::gate::{OnFailure, OnInconclusive, OnNoEvidence};

/// A metric: exactly one source with what it is asked, in the normal form of the file (durations end in `_ms`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Metric {
    /// Time between two questions.
    pub(crate) every_ms: u64,
    /// An older answer is no evidence.
    pub(crate) fresh_ms: u64,
    #[serde(flatten)]
    source: Map<String, Value>,
}

/// Keys whose value is a path, wherever they stand in a source.
const PATHS: [&str; 5] = ["ca", "certificate", "key", "file", "directory"];

impl Metric {
    /// The source's name, and what it is asked as JSON: paths start from `root`, `not_finite` is whether a condition wants to
    /// see NaN and infinity.
    pub(crate) fn query(&self, root: &Path, not_finite: bool) -> (String, String) {
        let Some((source, asked)) = self.source.iter().next() else { return Default::default() };
        let mut asked = asked.clone();
        anchor(&mut asked, root);
        if let Some(asked) = asked.as_object_mut() {
            asked.insert("not_finite".to_owned(), Value::Bool(not_finite));
        }
        (source.clone(), asked.to_string())
    }
}

/// Makes paths absolute. Recursion is as deep as the table of fields.
fn anchor(value: &mut Value, root: &Path) {
    for (key, inner) in value.as_object_mut().into_iter().flatten() {
        // Headers and variables are named by the writer: what stands there is never a path.
        if matches!(key.as_str(), "headers" | "env") {
            continue;
        }
        match inner.as_str() {
            Some(path) if PATHS.contains(&key.as_str()) => {
                *inner = Value::String(root.join(path).to_string_lossy().into_owned());
            }
            _ => anchor(inner, root),
        }
    }
}

/// Conditions for a metric's value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CustomGate {
    /// The metric.
    pub(crate) metric: String,
    /// True for a good value.
    pub(crate) success: Option<String>,
    /// True for a bad value.
    pub(crate) failure: Option<String>,
    /// What the value counts.
    pub(crate) unit: String,
    /// Bad values within a step that do not fail it yet.
    pub(crate) failures_max: u32,
    /// When it fails.
    pub(crate) on_failure: OnFailure,
    /// While there is too little to judge by.
    pub(crate) on_no_evidence: OnNoEvidence,
    /// A hold that lasts longer turns back.
    pub(crate) hold_max_ms: u64,
    /// When the values decide nothing.
    pub(crate) on_inconclusive: OnInconclusive,
}
