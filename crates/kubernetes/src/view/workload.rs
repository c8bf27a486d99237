//! What is kept of a Deployment and of a pod.

use serde_json::Value;
use tidegate_core::gate::Instance;

use crate::{belongings::objects::AUTOSCALED, fence::annotation};

/// Reasons for which a container waits and that waiting does not mend.
const BROKEN: [&str; 6] = [
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// What is kept of a Deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Workload {
    /// Pods asked for.
    pub(crate) wanted: u32,
    /// Pods there are.
    pub(crate) present: u32,
    /// Pods that may take traffic.
    pub(crate) ready: u32,
    /// Why no further pods can be made: a quota, an admission.
    pub(crate) failure: Option<String>,
    /// A new pod template waits.
    pub(crate) paused: bool,
    /// An autoscaler of ours follows that of the release before.
    pub(crate) autoscaled: bool,
}

impl Workload {
    /// Reads a Deployment.
    pub(crate) fn of(object: &Value) -> Self {
        let number = |path: &str| {
            let number = object.pointer(path).and_then(Value::as_u64).unwrap_or_default();
            u32::try_from(number).unwrap_or(u32::MAX)
        };
        let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
        let failure = conditions.into_iter().flatten().find(|condition| {
            text(condition, "type") == "ReplicaFailure" && text(condition, "status") == "True"
        });
        Self {
            wanted: number("/spec/replicas"),
            present: number("/status/replicas"),
            ready: number("/status/readyReplicas"),
            failure: failure.map(|condition| text(condition, "message").to_owned()),
            paused: object.pointer("/spec/paused").and_then(Value::as_bool).unwrap_or_default(),
            autoscaled: annotation(object, AUTOSCALED).is_some(),
        }
    }
}

/// What is kept of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    /// Ready, and not being deleted.
    pub(crate) ready: bool,
    /// Why it will not come up, when that is known.
    pub(crate) broken: Option<String>,
    /// What it waits for, while it is not ready and nothing says that it will not be.
    pub(crate) waits: Option<String>,
    /// Times its containers ended.
    pub(crate) restarts: u32,
    /// Its address, once it has one.
    pub(crate) address: Option<String>,
}

impl Pod {
    /// Reads a pod.
    pub(crate) fn of(object: &Value) -> Self {
        let list = |path: &str| object.pointer(path).and_then(Value::as_array).into_iter().flatten();
        let ready = list("/status/conditions")
            .any(|condition| text(condition, "type") == "Ready" && text(condition, "status") == "True");
        let containers = || list("/status/initContainerStatuses").chain(list("/status/containerStatuses"));
        let restarts: u64 = containers().filter_map(|one| one.get("restartCount")?.as_u64()).sum();
        let waiting = |one: &Value| {
            let waiting = one.pointer("/state/waiting")?;
            let reason = text(waiting, "reason");
            let known = BROKEN.contains(&reason);
            known.then(|| {
                sentence(&format!("container {}: {reason}", text(one, "name")), text(waiting, "message"))
            })
        };
        let failed = object.pointer("/status/phase").and_then(Value::as_str) == Some("Failed");
        let status = object.get("status").unwrap_or(&Value::Null);
        let ended = || failed.then(|| sentence(text(status, "reason"), text(status, "message")));
        let port = list("/spec/containers")
            .flat_map(|one| one.get("ports").and_then(Value::as_array).into_iter().flatten())
            .find_map(|port| port.get("containerPort").and_then(Value::as_u64));
        let ip = object.pointer("/status/podIP").and_then(Value::as_str);
        let broken = containers().find_map(waiting).or_else(ended);
        let waits = (!ready && broken.is_none()).then(|| waits(object)).flatten();
        Self {
            ready: ready && object.pointer("/metadata/deletionTimestamp").is_none(),
            broken,
            waits,
            restarts: u32::try_from(restarts).unwrap_or(u32::MAX),
            address: ip.zip(port).map(|(ip, port)| format!("{ip}:{port}")),
        }
    }

    /// As gates see it.
    pub(crate) fn instance(&self, name: &str) -> Instance {
        Instance {
            id: name.to_owned(),
            ready: self.ready,
            broken: self.broken.is_some(),
            ends: self.restarts,
            ends_total: Some(self.restarts),
            last_end: self.broken.clone(),
            cpu_ms: 0,
            cpu_limit_milli: 0,
            rss_bytes: 0,
            memory_limit_bytes: 0,
        }
    }
}

/// Why a pod is not ready yet: no node takes it, a container waits, or one does not answer its probe.
fn waits(object: &Value) -> Option<String> {
    let list = |path: &str| object.pointer(path).and_then(Value::as_array).into_iter().flatten();
    let condition = |kind: &str| {
        let mut found = list("/status/conditions").filter(|one| text(one, "type") == kind);
        found.find(|one| text(one, "status") != "True")
    };
    if let Some(unscheduled) = condition("PodScheduled") {
        return Some(sentence("it is on no node yet", text(unscheduled, "message")));
    }
    let container = |one: &Value| {
        let named = format!("container {}", text(one, "name"));
        if let Some(waiting) = one.pointer("/state/waiting") {
            return Some(sentence(
                &format!("{named}: {}", text(waiting, "reason")),
                text(waiting, "message"),
            ));
        }
        let unready =
            one.pointer("/state/running").is_some() && one.get("ready") == Some(&Value::Bool(false));
        unready.then(|| format!("{named} runs and is not ready: its readiness probe does not succeed"))
    };
    let containers = list("/status/initContainerStatuses").chain(list("/status/containerStatuses"));
    let not_ready = || {
        let ready = condition("Ready")?;
        Some(sentence(text(ready, "reason"), text(ready, "message"))).filter(|why| !why.is_empty())
    };
    containers.filter(|one| one.pointer("/state/terminated").is_none()).find_map(container).or_else(not_ready)
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn sentence(what: &str, why: &str) -> String {
    if why.is_empty() { what.to_owned() } else { format!("{what} ({why})") }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_that_is_not_ready_yet_says_what_it_waits_for() {
        let waits = |status: serde_json::Value| Pod::of(&json!({"metadata": {}, "status": status})).waits;
        let scheduled =
            json!([{"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"}]);
        let why = waits(json!({"conditions": scheduled}));
        assert_eq!(why.as_deref(), Some("it is on no node yet (0/1 nodes are available)"));
        let container = |state, ready: bool| json!([{"name": "web", "ready": ready, "state": state}]);
        let creating = container(json!({"waiting": {"reason": "ContainerCreating"}}), false);
        let why = waits(json!({"containerStatuses": creating}));
        assert_eq!(why.as_deref(), Some("container web: ContainerCreating"));
        let why = waits(json!({"containerStatuses": container(json!({"running": {}}), false)}));
        assert!(why.is_some_and(|why| why.starts_with("container web runs and is not ready")));
        let ready = json!([{"type": "Ready", "status": "True"}]);
        assert_eq!(waits(json!({"conditions": ready, "containerStatuses": creating})), None);
    }

    #[test]
    fn a_pod_that_cannot_come_up_says_why_and_one_that_is_being_deleted_is_not_ready() {
        let waiting = json!({
            "metadata": {},
            "spec": {"containers": [{"name": "web", "ports": [{"containerPort": 80}]}]},
            "status": {"podIP": "10.0.0.7", "containerStatuses": [
                {"name": "web", "restartCount": 3,
                 "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}}},
            ]},
        });
        let pod = Pod::of(&waiting);
        assert_eq!(pod.broken.as_deref(), Some("container web: CrashLoopBackOff (back-off 40s)"));
        assert_eq!((pod.restarts, pod.address.as_deref(), pod.ready), (3, Some("10.0.0.7:80"), false));
        assert_eq!(pod.instance("pod").ends_total, Some(3), "what a bake is held against");
        let leaving = json!({
            "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        });
        assert!(!Pod::of(&leaving).ready);
    }
}
