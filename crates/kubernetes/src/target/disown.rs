//! Fields that say again what their owner wrote are his: who applies the object beside us (Argo CD, Flux) leaves alone what is
//! ours, and would leave his own changes alone for good.

use serde_json::{Value, json};

use super::Rollout;
use crate::{
    cluster::{Lane, MANAGER},
    fault::ClusterError,
    fence::at_version,
    kinds::Kind,
    manifest::name,
};

/// Times that it is tried where somebody writes the object at the same moment.
const TRIES: usize = 3;

impl Rollout<'_> {
    /// Takes our name off the fields of an object that was written just now. Trouble is only said: nothing of ours needs it.
    pub(super) async fn disown(&self, lane: &Lane, kind: Kind, written: &Value) {
        let mut object = Some(written.clone());
        for _ in 0..TRIES {
            let Some(now) = object.take() else { return };
            let changes = without_our_name(&now);
            if changes.is_empty() {
                return;
            }
            match lane.change(kind, self.namespace(), name(&now), &changes).await {
                Ok(changed) => return self.cluster.view(self.namespace()).wrote(kind, &changed),
                Err(ClusterError::Changed { .. } | ClusterError::Refused { .. }) => {}
                Err(why) => {
                    tracing::warn!(service = self.plan.service, %why, "fields stay ours that are as their owner wrote them");
                    return;
                }
            }
            object = lane.get(kind, self.namespace(), name(written)).await.ok().flatten();
        }
    }
}

/// The patch that removes our entries from who manages which fields, the last one first: places move.
fn without_our_name(object: &Value) -> Vec<Value> {
    let managers = object.pointer("/metadata/managedFields").and_then(Value::as_array);
    let managers = managers.map(Vec::as_slice).unwrap_or_default();
    let is_ours = |entry: &Value| entry.get("manager").and_then(Value::as_str) == Some(MANAGER);
    let ours = managers.iter().enumerate().rev().filter(|(_, entry)| is_ours(entry));
    let mut changes: Vec<Value> = ours
        .map(|(at, _)| json!({"op": "remove", "path": format!("/metadata/managedFields/{at}")}))
        .collect();
    if !changes.is_empty() {
        changes.insert(0, at_version(object));
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_our_own_entries_go_and_only_of_the_version_that_was_read() {
        let entry = |manager: &str| json!({"manager": manager, "operation": "Update"});
        let object = |all: &[&str]| {
            let all: Vec<Value> = all.iter().map(|one| entry(one)).collect();
            json!({"metadata": {"resourceVersion": "7", "managedFields": all}})
        };
        assert!(without_our_name(&json!({})).is_empty());
        assert!(without_our_name(&object(&["argocd-controller"])).is_empty());
        let changes = without_our_name(&object(&["tidegate", "argocd-controller", "tidegate"]));
        let paths: Vec<_> = changes.iter().map(|change| change["path"].clone()).collect();
        assert_eq!(
            paths,
            ["/metadata/resourceVersion", "/metadata/managedFields/2", "/metadata/managedFields/0"]
        );
    }
}
