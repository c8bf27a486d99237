//! How long a revision has run well before anybody judged it: what its Deployment and its pods say, without IO.

use k8s_openapi::jiff;
use serde_json::Value;
use tidegate_core::model::{Millis, Timestamp};

use super::template::{is_observed, number, wanted};
use crate::target::owner;

/// A container that ended before has to have run for so long since: Kubernetes itself forgets a crash loop after this time,
/// and lets one that still crashes wait for half of it between two tries.
const SINCE_RESTART: Millis = Millis::minutes(10);

/// Moments in an object's status and in an answer's date have whole seconds, cut off.
const CUT_OFF: Millis = Millis::secs(1);

/// A revision that has all its pods, each of them ready for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ran {
    /// Its pods: as many as are wanted, and no pod is of another revision.
    pub pods: u32,
    /// Since when nothing about them has changed, as the cluster noted it.
    pub since: Timestamp,
    /// How long that is at least, by the API server's clock.
    pub lasted: Millis,
}

/// What the pods of the `ReplicaSet` named `set` have shown up to `now`, the API server's time; nothing where that is not
/// surely good: a pod is missing, not ready, or has restarted lately, or something does not say since when.
///
/// A moment counts as late as anything says it was: kubelets, the Deployment's controller and the API server each have a clock.
pub(super) fn ran(object: &Value, pods: &[Value], set: &str, now: Timestamp) -> Option<Ran> {
    let wanted = wanted(object);
    let all = |field: &str| number(object, &format!("/status/{field}")) == wanted;
    let whole = ["replicas", "updatedReplicas", "readyReplicas", "availableReplicas"].into_iter().all(all);
    if wanted == 0 || !is_observed(object) || !whole {
        return None;
    }
    let own: Vec<&Value> =
        pods.iter().filter(|pod| owner(pod, "ReplicaSet") == Some(set) && is_active(pod)).collect();
    if own.len() as u64 != wanted {
        return None;
    }
    let mut since =
        ["lastUpdateTime", "lastTransitionTime"].into_iter().filter_map(|of| newest(object, of)).max();
    for pod in own {
        since = since.max(Some(ready_since(pod, now)?));
    }
    let since = since?;
    let lasted = now.since(since).0.checked_sub(CUT_OFF.0).filter(|_| since <= now)?;
    Some(Ran { pods: u32::try_from(wanted).unwrap_or(u32::MAX), since, lasted: Millis(lasted) })
}

/// Whether its `ReplicaSet` counts it.
fn is_active(pod: &Value) -> bool {
    let phase = text(pod, "/status/phase");
    pod.pointer("/metadata/deletionTimestamp").is_none() && phase != "Failed" && phase != "Succeeded"
}

/// The newest of these moments of a Deployment's conditions.
fn newest(object: &Value, of: &str) -> Option<Timestamp> {
    list(object, "/status/conditions").filter_map(|condition| moment(condition, &format!("/{of}"))).max()
}

/// Since when a pod is ready without any of its containers having begun anew; nothing where it is not, or one did lately.
fn ready_since(pod: &Value, now: Timestamp) -> Option<Timestamp> {
    let ready = list(pod, "/status/conditions")
        .find(|condition| text(condition, "/type") == "Ready" && text(condition, "/status") == "True")?;
    let mut since = moment(ready, "/lastTransitionTime")?.max(moment(pod, "/metadata/creationTimestamp")?);
    for container in list(pod, "/status/initContainerStatuses").chain(list(pod, "/status/containerStatuses"))
    {
        let last =
            ["/state/running/startedAt", "/state/terminated/finishedAt", "/lastState/terminated/finishedAt"]
                .into_iter()
                .filter_map(|path| moment(container, path))
                .max();
        if number(container, "/restartCount") > 0 && now.since(last?.after(CUT_OFF)) < SINCE_RESTART {
            return None;
        }
        since = since.max(last.unwrap_or(since));
    }
    Some(since)
}

fn list<'v>(object: &'v Value, path: &str) -> impl Iterator<Item = &'v Value> {
    object.pointer(path).and_then(Value::as_array).into_iter().flatten()
}

fn text<'v>(object: &'v Value, path: &str) -> &'v str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}

fn moment(object: &Value, path: &str) -> Option<Timestamp> {
    let moment: jiff::Timestamp = text(object, path).parse().ok()?;
    Some(Timestamp(moment.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// A moment so many seconds before ten o'clock.
    fn before(secs: i64) -> String {
        (ten() - jiff::SignedDuration::from_secs(secs)).to_string()
    }

    fn ten() -> jiff::Timestamp {
        "2026-01-02T10:00:00Z".parse().expect("a moment")
    }

    fn pod(secs: i64) -> Value {
        json!({
            "metadata": {
                "creationTimestamp": before(secs + 5),
                "ownerReferences": [{"kind": "ReplicaSet", "name": "shop-aaa"}],
            },
            "status": {
                "phase": "Running",
                "conditions": [{"type": "Ready", "status": "True", "lastTransitionTime": before(secs)}],
                "containerStatuses": [{"restartCount": 0, "state": {"running": {"startedAt": before(secs + 2)}}}],
            },
        })
    }

    fn deployment() -> Value {
        json!({
            "metadata": {"generation": 3},
            "spec": {"replicas": 2},
            "status": {
                "observedGeneration": 3, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2, "availableReplicas": 2,
                "conditions": [
                    {"type": "Available", "lastTransitionTime": before(90_000), "lastUpdateTime": before(90_000)},
                    {"type": "Progressing", "lastTransitionTime": before(90_000), "lastUpdateTime": before(7_200)},
                ],
            },
        })
    }

    fn secs(object: &Value, pods: &[Value]) -> Option<u64> {
        let ran = ran(object, pods, "shop-aaa", Timestamp(ten().as_millisecond()))?;
        assert_eq!(ran.pods, 2);
        Some(ran.lasted.0 / 1_000)
    }

    #[test]
    fn the_youngest_pod_and_the_end_of_the_rollout_say_how_long_a_revision_has_run_well() {
        assert_eq!(secs(&deployment(), &[pod(3_600), pod(600)]), Some(599), "the youngest, a second less");
        assert_eq!(secs(&deployment(), &[pod(9_000), pod(8_000)]), Some(7_199), "the rollout ended later");
        let mut young = pod(3_600);
        young["metadata"]["creationTimestamp"] = json!(before(20));
        assert_eq!(secs(&deployment(), &[young, pod(3_600)]), Some(19), "its kubelet's clock is behind");
        assert_eq!(secs(&deployment(), &[pod(-5), pod(3_600)]), None, "its kubelet's clock is ahead");
        let mut gone = pod(10);
        gone["metadata"]["deletionTimestamp"] = json!(before(1));
        let mut evicted = pod(10);
        evicted["status"]["phase"] = json!("Failed");
        let mut other = pod(10);
        other["metadata"]["ownerReferences"][0]["name"] = json!("cart-bbb");
        let pods = [pod(600), gone, evicted, other, pod(700)];
        assert_eq!(secs(&deployment(), &pods), Some(599), "what its ReplicaSet does not count");
    }

    #[test]
    fn pods_that_are_missing_unready_silent_or_restarted_lately_say_nothing() {
        assert_eq!(secs(&deployment(), &[pod(600)]), None, "one is missing");
        for (path, value) in [
            ("/status/observedGeneration", json!(2)),
            ("/status/replicas", json!(3)),
            ("/status/updatedReplicas", json!(1)),
            ("/status/availableReplicas", json!(1)),
        ] {
            let mut object = deployment();
            *object.pointer_mut(path).expect("there") = value;
            assert_eq!(secs(&object, &[pod(600), pod(700)]), None, "{path}");
        }
        for (path, value) in [
            ("/status/conditions/0/status", json!("False")),
            ("/status/conditions/0/lastTransitionTime", json!(null)),
            ("/status/conditions/0/lastTransitionTime", json!("yesterday")),
            ("/metadata/creationTimestamp", json!(null)),
        ] {
            let mut bad = pod(600);
            *bad.pointer_mut(path).expect("there") = value;
            assert_eq!(secs(&deployment(), &[bad, pod(700)]), None, "{path}");
        }
        let crashed = |ended: i64| {
            let mut pod = pod(3_600);
            pod["status"]["containerStatuses"][0] = json!({
                "restartCount": 1,
                "state": {"running": {"startedAt": before(ended - 1)}},
                "lastState": {"terminated": {"finishedAt": before(ended)}},
            });
            pod
        };
        assert_eq!(secs(&deployment(), &[crashed(300), pod(3_600)]), None, "five minutes ago");
        assert_eq!(secs(&deployment(), &[crashed(900), pod(3_600)]), Some(898), "long ago: since then");
        let mut silent = crashed(900);
        silent["status"]["containerStatuses"][0] = json!({"restartCount": 1});
        assert_eq!(secs(&deployment(), &[silent, pod(3_600)]), None, "nobody knows when");
    }
}
