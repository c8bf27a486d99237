//! How pods and nodes behave: the configuration of kwok, which plays every kubelet.
//!
//! kwok looks at an object after each of its changes, takes the stage whose selector fits, waits its delay, and renders its
//! template into the status. The selectors here exclude each other.

use serde_json::{Value, json};

/// The label that scripts a pod. Without it, a pod is ready at once.
///
/// | value | the pod |
/// |---|---|
/// | `unready` | runs, and is never ready |
/// | `slow` | is ready 5 s after it was scheduled; the annotation `sim-delay` says another time (`500ms`) |
/// | `crash` | crashes: `CrashLoopBackOff`, with a restart more every 2 s |
/// | `pull` | cannot pull its image: `ImagePullBackOff` |
/// | `fail` | of a Job: ends in phase `Failed` |
///
/// A Job's pod with another value, or none, succeeds after it was ready for a moment. [`Access::set_ready`] changes a pod
/// that is up.
///
/// [`Access::set_ready`]: crate::Access::set_ready
pub const SIM_LABEL: &str = "sim";

/// What a node reports.
const NODE_STATUS: &str = include_str!("status/node.yaml.tmpl");
/// What a pod reports once its kubelet has taken it.
const POD_STATUS: &str = include_str!("status/pod.yaml.tmpl");
/// What the pod of a Job reports at its end.
const POD_END_STATUS: &str = include_str!("status/pod-end.yaml.tmpl");

/// Between two crashes of one pod. Far shorter than a kubelet's, so that a test sees the count rise.
const CRASH_AGAIN_MS: u64 = 2_000;
/// How long a slow pod takes unless it says another time.
const SLOW_MS: u64 = 5_000;

/// kwok's whole configuration, one JSON document (which is YAML too) for each stage.
pub(crate) fn configuration() -> String {
    let stages = [node(), up(), up_slowly(), crash_again(), end(), deletion()];
    stages.map(|stage| stage.to_string()).join("\n---\n")
}

fn node() -> Value {
    let not_ready = is(".status.conditions.[] | select( .type == \"Ready\" ) | .status", "NotIn", &["True"]);
    stage("node-up", "Node", &[not_ready], &json!({"statusTemplate": NODE_STATUS}))
}

fn up() -> Value {
    let conditions = [alive(), pending(), not_pulling(), sim("NotIn", &["slow"])];
    stage("pod-up", "Pod", &conditions, &json!({"statusTemplate": POD_STATUS}))
}

fn up_slowly() -> Value {
    let conditions = [alive(), pending(), sim("In", &["slow"])];
    let said = json!({"expressionFrom": ".metadata.annotations[\"sim-delay\"]"});
    let delay = json!({"durationMilliseconds": SLOW_MS, "durationFrom": said});
    delayed(stage("pod-up-slowly", "Pod", &conditions, &json!({"statusTemplate": POD_STATUS})), delay)
}

fn crash_again() -> Value {
    let conditions = [alive(), phase("Running"), sim("In", &["crash"])];
    let delay = json!({"durationMilliseconds": CRASH_AGAIN_MS});
    delayed(stage("pod-crash-again", "Pod", &conditions, &json!({"statusTemplate": POD_STATUS})), delay)
}

fn end() -> Value {
    let of_a_job = is(".metadata.ownerReferences.[].kind", "In", &["Job"]);
    let conditions = [alive(), phase("Running"), of_a_job, sim("NotIn", &["unready", "crash"])];
    stage("pod-end", "Pod", &conditions, &json!({"statusTemplate": POD_END_STATUS}))
}

fn deletion() -> Value {
    let deleted = json!({"key": ".metadata.deletionTimestamp", "operator": "Exists"});
    stage("pod-deletion", "Pod", &[deleted], &json!({"finalizers": {"empty": true}, "delete": true}))
}

fn stage(name: &str, kind: &str, conditions: &[Value], next: &Value) -> Value {
    json!({
        "apiVersion": "kwok.x-k8s.io/v1alpha1",
        "kind": "Stage",
        "metadata": {"name": name},
        "spec": {
            "resourceRef": {"apiGroup": "v1", "kind": kind},
            "selector": {"matchExpressions": conditions},
            "next": next,
        },
    })
}

fn delayed(mut stage: Value, delay: Value) -> Value {
    if let Some(spec) = stage.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("delay".to_owned(), delay);
    }
    stage
}

fn alive() -> Value {
    json!({"key": ".metadata.deletionTimestamp", "operator": "DoesNotExist"})
}

fn pending() -> Value {
    phase("Pending")
}

fn phase(name: &str) -> Value {
    is(".status.phase", "In", &[name])
}

/// A pod that cannot pull stays pending, and must not be taken again.
fn not_pulling() -> Value {
    is(".status.containerStatuses.[].state.waiting.reason", "NotIn", &["ImagePullBackOff"])
}

fn sim(operator: &str, values: &[&str]) -> Value {
    is(&format!(".metadata.labels[\"{SIM_LABEL}\"]"), operator, values)
}

fn is(key: &str, operator: &str, values: &[&str]) -> Value {
    json!({"key": key, "operator": operator, "values": values})
}
