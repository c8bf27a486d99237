//! A Deployment and its revisions, as they are at one moment.

use serde::Serialize;
use serde_json::Value;

use super::template::{
    CHANGE_CAUSE, GOOD, HASH, OWNER, REVISION, is_complete, is_observed, number, template, uid, wanted,
};
use crate::{fence::annotation, target::owner, view::Workload};

/// A pod template that the Deployment had, or has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Revision {
    /// Its number, as `kubectl rollout history` shows it.
    pub number: u64,
    /// The value of the label `pod-template-hash` of its pods.
    pub hash: String,
    /// The images of its containers.
    pub images: Vec<String>,
    /// When its `ReplicaSet` was made, RFC 3339.
    pub made: String,
    /// Pods there are.
    pub pods: u32,
    /// Pods that may take traffic.
    pub ready: u32,
    /// Why it was rolled out, in its owner's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub change_cause: Option<String>,
    /// The pod template, without the label that holds the hash.
    #[serde(skip)]
    pub template: Value,
}

/// A Deployment at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Sight {
    /// Tells it from one of the same name that was made before or after.
    pub uid: String,
    /// Where it is.
    pub namespace: String,
    /// Its name.
    pub deployment: String,
    /// What is still there of its revisions, newest first.
    pub revisions: Vec<Revision>,
    /// The hash of the revision that is rolled out, or being so; nothing while its controller has not seen the newest one.
    pub present: Option<String>,
    /// The hash of the revision that was good last; nothing when none was recorded.
    pub good: Option<String>,
    /// Pods that are wanted.
    pub wanted: u32,
    /// Pods that may take traffic, of whichever revision.
    pub ready: u32,
    /// Whether all pods are of the present revision, and available.
    pub complete: bool,
    /// Whether its owner holds the rollout.
    pub paused: bool,
    /// Time after which Kubernetes itself calls a rollout without progress late, milliseconds.
    pub progress_ms: u64,
    /// Which Tidegate guards it, once one did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// The version of the Deployment.
    #[serde(skip)]
    pub version: String,
    /// Why it is none to guard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_guarded: Option<String>,
}

impl Sight {
    /// Reads the Deployment and the `ReplicaSet`s of its namespace that may be its.
    pub(super) fn of(object: &Value, sets: &[Value]) -> Self {
        let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let name = text("/metadata/name");
        let mut revisions: Vec<Revision> = sets
            .iter()
            .filter(|set| owner(set, "Deployment") == Some(&name))
            .filter_map(Revision::of)
            .collect();
        revisions.sort_by_key(|revision| std::cmp::Reverse(revision.number));
        let (now, seen) = (template(object), annotation(object, REVISION));
        // The number is given before the newest wish counts as seen: an old template that is applied again has its new one.
        let present = revisions.iter().find(|revision| {
            revision.template == now && seen.is_some_and(|seen| seen == revision.number.to_string())
        });
        let workload = Workload::of(object);
        Self {
            uid: uid(object).to_owned(),
            namespace: text("/metadata/namespace"),
            deployment: name.clone(),
            present: present.filter(|_| is_observed(object)).map(|revision| revision.hash.clone()),
            good: annotation(object, GOOD).map(str::to_owned),
            wanted: u32::try_from(wanted(object)).unwrap_or(u32::MAX),
            ready: workload.ready,
            complete: is_complete(object),
            paused: workload.paused,
            progress_ms: number(object, "/spec/progressDeadlineSeconds").clamp(1, 86_400) * 1_000,
            owner: annotation(object, OWNER).map(str::to_owned),
            version: text("/metadata/resourceVersion"),
            not_guarded: super::template::not_ours_to_guard(object),
            revisions,
        }
    }

    /// The environment that its deployments are kept under: the namespace and the first characters of its uid, `prod.3f2a`. So
    /// one of the same name on another cluster, or made anew, has a history of its own, whatever the cluster is called.
    pub fn environment(&self) -> String {
        let uid: String = self.uid.chars().take(4).collect();
        format!("{}.{uid}", self.namespace)
    }

    /// The revision with this hash, when it is still there.
    pub fn revision(&self, hash: &str) -> Option<&Revision> {
        self.revisions.iter().find(|revision| revision.hash == hash)
    }

    /// The revision that is rolled out, or being so.
    pub fn present(&self) -> Option<&Revision> {
        self.revision(self.present.as_deref()?)
    }

    /// The revision that was good last, when it is recorded and still there.
    pub fn good(&self) -> Option<&Revision> {
        self.revision(self.good.as_deref()?)
    }
}

impl Revision {
    /// Reads a `ReplicaSet`; nothing where it is not one of a Deployment's controller.
    fn of(set: &Value) -> Option<Self> {
        let hash = set.pointer("/metadata/labels")?.get(HASH)?.as_str()?.to_owned();
        let images = set.pointer("/spec/template/spec/containers").and_then(Value::as_array);
        let image = |container: &Value| container.get("image").and_then(Value::as_str).map(str::to_owned);
        let made = set.pointer("/metadata/creationTimestamp").and_then(Value::as_str);
        let workload = Workload::of(set);
        Some(Self {
            number: annotation(set, REVISION)?.parse().ok()?,
            hash,
            images: images.into_iter().flatten().filter_map(image).collect(),
            made: made.unwrap_or_default().to_owned(),
            pods: workload.present,
            ready: workload.ready,
            change_cause: annotation(set, CHANGE_CAUSE).map(str::to_owned),
            template: template(set),
        })
    }

    /// `revision 4 (6c9f7d5b8)`, for a person.
    pub fn called(&self) -> String {
        format!("revision {} ({})", self.number, self.hash)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn pod(image: &str, hash: Option<&str>) -> Value {
        let mut labels = json!({"app": "shop"});
        if let Some(hash) = hash {
            labels[HASH] = json!(hash);
        }
        json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web", "image": image}]}})
    }

    fn set(hash: &str, number: u64, image: &str, owner: &str) -> Value {
        json!({
            "metadata": {
                "labels": {"app": "shop", HASH: hash}, "annotations": {REVISION: number.to_string()},
                "ownerReferences": [{"kind": "Deployment", "name": owner}],
            },
            "spec": {"template": pod(image, Some(hash))},
        })
    }

    fn deployment(number: u64, image: &str, observed: u64) -> Value {
        json!({
            "metadata": {
                "name": "shop", "namespace": "prod", "uid": "u", "generation": 5,
                "annotations": {REVISION: number.to_string(), GOOD: "aaa"},
            },
            "spec": {"replicas": 2, "template": pod(image, None)},
            "status": {"observedGeneration": observed},
        })
    }

    #[test]
    fn the_present_revision_is_known_once_its_controller_has_seen_it_under_its_new_number() {
        let sets =
            [set("aaa", 1, "shop:1", "shop"), set("bbb", 2, "shop:2", "shop"), set("ccc", 9, "x", "other")];
        let present = |object: &Value, sets: &[Value]| Sight::of(object, sets).present;
        assert_eq!(present(&deployment(2, "shop:2", 5), &sets).as_deref(), Some("bbb"));
        assert_eq!(present(&deployment(2, "shop:2", 4), &sets), None, "not seen yet");
        assert_eq!(present(&deployment(2, "shop:3", 5), &sets), None, "no ReplicaSet yet");
        assert_eq!(
            present(&deployment(2, "shop:1", 5), &sets),
            None,
            "the old one, before it has its new number"
        );
        let again = [set("aaa", 3, "shop:1", "shop"), set("bbb", 2, "shop:2", "shop")];
        assert_eq!(present(&deployment(3, "shop:1", 5), &again).as_deref(), Some("aaa"));
        let sight = Sight::of(&deployment(2, "shop:2", 5), &sets);
        let numbers: Vec<u64> = sight.revisions.iter().map(|revision| revision.number).collect();
        assert_eq!(
            (numbers, sight.good().map(|good| good.number)),
            (vec![2, 1], Some(1)),
            "newest first, and only its own"
        );
    }
}
