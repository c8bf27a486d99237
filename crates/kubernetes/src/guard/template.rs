//! Pod templates and marks of a Deployment, read without IO.

use serde_json::{Map, Value};

use super::spec::GuardSpec;
use crate::{fence::annotation, manifest::label, spec::RELEASE};

/// Holds the hash of the revision that was good last.
pub(crate) const GOOD: &str = "tidegate.dev/good-revision";
/// [`GOOD`] as a JSON pointer.
pub(super) const GOOD_PATH: &str = "/metadata/annotations/tidegate.dev~1good-revision";

/// Why a revision was rolled out, in its owner's words.
pub(super) const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";
/// [`CHANGE_CAUSE`] as a JSON pointer.
pub(super) const CHANGE_CAUSE_PATH: &str = "/metadata/annotations/kubernetes.io~1change-cause";

/// The number of a revision, on the Deployment and on its `ReplicaSet`s.
pub(super) const REVISION: &str = "deployment.kubernetes.io/revision";

/// The label that tells the pods of one template from those of another.
pub(super) const HASH: &str = "pod-template-hash";

/// What the fence's annotations begin with: one Tidegate guards a Deployment, whatever its service is called.
pub(super) const GUARD: &str = "guard";

/// Names the Tidegate that guards a Deployment: the fence's annotation for [`GUARD`].
pub(super) const OWNER: &str = "guard.tidegate.dev/owner";

/// The pod template of a Deployment, or of a `ReplicaSet` without what Kubernetes added to tell it apart.
pub(super) fn template(object: &Value) -> Value {
    let mut template = object.pointer("/spec/template").cloned().unwrap_or_default();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(HASH);
    }
    template
}

/// Whether the Deployment is made from this revision's template now.
pub(super) fn runs(object: &Value, spec: &GuardSpec) -> bool {
    uid(object) == spec.uid && template(object) == spec.template
}

/// The labels that the Deployment selects its pods by.
pub(super) fn selector(object: &Value) -> Map<String, Value> {
    object.pointer("/spec/selector/matchLabels").and_then(Value::as_object).cloned().unwrap_or_default()
}

/// What tells an object from one of the same name that was made before or after.
pub(super) fn uid(object: &Value) -> &str {
    object.pointer("/metadata/uid").and_then(Value::as_str).unwrap_or_default()
}

/// A number of the object; 0 where it is not there.
pub(super) fn number(object: &Value, path: &str) -> u64 {
    object.pointer(path).and_then(Value::as_u64).unwrap_or_default()
}

/// Pods that the Deployment wants.
pub(super) fn wanted(object: &Value) -> u64 {
    // The server fills it in; the documented default is one.
    object.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1)
}

/// Whether the Deployment's controller has seen the newest wish.
pub(super) fn is_observed(object: &Value) -> bool {
    number(object, "/status/observedGeneration") >= number(object, "/metadata/generation")
}

/// Whether all pods are of the newest template and can take traffic, as `kubectl rollout status` sees it.
pub(super) fn is_complete(object: &Value) -> bool {
    let updated = number(object, "/status/updatedReplicas");
    is_observed(object)
        && updated >= wanted(object)
        && number(object, "/status/replicas") <= updated
        && number(object, "/status/availableReplicas") >= updated
}

/// Why a Deployment is not one to guard: releases of ours are rolled out by other means.
pub(super) fn not_ours_to_guard(object: &Value) -> Option<String> {
    if let Some(release) = label(object, RELEASE) {
        return Some(format!(
            "it is release {release} of a service that Tidegate rolls out itself: use `tidegate deploy` and \
             `tidegate rollback` for it"
        ));
    }
    if annotation(object, "tidegate.dev/held").is_some() {
        return Some(
            "it is the stable release of a rollout that Tidegate is in the middle of: wait until that has ended"
                .to_owned(),
        );
    }
    let annotations = object.pointer("/metadata/annotations").and_then(Value::as_object);
    let owned = annotations
        .into_iter()
        .flatten()
        .find_map(|(key, _)| key.strip_suffix(".tidegate.dev/owner").filter(|service| *service != GUARD))?;
    Some(format!(
        "Tidegate rolls service `{owned}` out by releases, and this Deployment is one of them: use `tidegate deploy`; or \
         remove the annotation `{owned}.tidegate.dev/owner` when that is over"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn deployment(status: &Value) -> Value {
        json!({"metadata": {"generation": 3}, "spec": {"replicas": 2}, "status": status})
    }

    #[test]
    fn a_rollout_is_complete_when_every_pod_is_of_the_newest_template_and_available() {
        let done =
            json!({"observedGeneration": 3, "updatedReplicas": 2, "replicas": 2, "availableReplicas": 2});
        assert!(is_complete(&deployment(&done)));
        for (field, value) in
            [("observedGeneration", 2), ("updatedReplicas", 1), ("replicas", 3), ("availableReplicas", 1)]
        {
            let mut status = done.clone();
            status[field] = json!(value);
            assert!(!is_complete(&deployment(&status)), "{field} {value}");
        }
    }

    #[test]
    fn what_tidegate_rolls_out_by_releases_is_not_guarded_and_what_it_guards_is() {
        let with = |metadata: Value| not_ours_to_guard(&json!({"metadata": metadata}));
        assert_eq!(with(json!({})), None);
        assert_eq!(with(json!({"annotations": {"guard.tidegate.dev/owner": "here"}})), None);
        let said = |metadata: Value| with(metadata).unwrap_or_default();
        assert!(said(json!({"labels": {RELEASE: "abc-1"}})).contains("release abc-1"));
        assert!(said(json!({"annotations": {"tidegate.dev/held": "true"}})).contains("stable release"));
        assert!(said(json!({"annotations": {"shop.tidegate.dev/owner": "x"}})).contains("`shop`"));
    }
}
