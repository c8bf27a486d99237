//! A Rollout as it lies in the cluster.

use serde_json::Value;

/// One object, read.
#[derive(Clone, Copy)]
pub(super) struct Rollout<'a>(pub(super) &'a Value);

/// What kubectl keeps of the object as it was last applied.
const APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

impl<'a> Rollout<'a> {
    fn text(self, path: &str) -> &'a str {
        self.0.pointer(path).and_then(Value::as_str).unwrap_or_default()
    }

    pub(super) fn namespace(self) -> &'a str {
        self.text("/metadata/namespace")
    }

    pub(super) fn name(self) -> &'a str {
        self.text("/metadata/name")
    }

    pub(super) fn uid(self) -> &'a str {
        self.text("/metadata/uid")
    }

    pub(super) fn version(self) -> &'a str {
        self.text("/metadata/resourceVersion")
    }

    /// Whether this was read before `other` was; where that cannot be told, it was not.
    pub(super) fn is_older_than(self, other: Self) -> bool {
        let number = |rollout: Self| rollout.version().parse::<u64>().ok();
        self.uid() == other.uid() && number(self).zip(number(other)).is_some_and(|(own, other)| own < other)
    }

    pub(super) fn generation(self) -> i64 {
        self.0.pointer("/metadata/generation").and_then(Value::as_i64).unwrap_or_default()
    }

    pub(super) fn is_leaving(self) -> bool {
        self.0.pointer("/metadata/deletionTimestamp").is_some()
    }

    pub(super) fn annotation(self, key: &str) -> Option<&'a str> {
        let all = self.0.pointer("/metadata/annotations").and_then(Value::as_object)?;
        all.get(key).and_then(Value::as_str).filter(|value| !value.trim().is_empty())
    }

    pub(super) fn spec(self) -> &'a Value {
        self.0.get("spec").unwrap_or(&Value::Null)
    }

    /// As somebody wrote it with kubectl, before the API server dropped what it does not know.
    pub(super) fn written(self) -> Option<Value> {
        serde_json::from_str(self.annotation(APPLIED)?).ok()
    }

    pub(super) fn status(self) -> &'a Value {
        self.0.get("status").unwrap_or(&Value::Null)
    }

    /// A text of the status.
    pub(super) fn said(self, key: &str) -> Option<&'a str> {
        self.status().get(key).and_then(Value::as_str)
    }
}
