//! The nodes.

use serde_json::{Value, json};

/// The annotation that gives a node to kwok, and its value.
pub(crate) const FAKE: (&str, &str) = ("kwok.x-k8s.io/node", "fake");

/// A node, large enough that nothing here fills it.
pub(crate) fn node(number: usize) -> Value {
    let name = format!("node-{number}");
    let resources = json!({"cpu": "1k", "memory": "4Ti", "ephemeral-storage": "100Ti", "pods": "100k"});
    json!({
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {
            "name": name,
            "annotations": {FAKE.0: FAKE.1},
            "labels": {
                "kubernetes.io/hostname": name,
                "kubernetes.io/os": "linux",
                "kubernetes.io/arch": "amd64",
                "topology.kubernetes.io/zone": format!("zone-{}", number % 3),
            },
        },
        "status": {"capacity": resources, "allocatable": resources},
    })
}

/// Whether a node takes pods: ready, and without a taint.
pub(crate) fn is_open(node: &Value) -> bool {
    let conditions = node.pointer("/status/conditions").and_then(Value::as_array);
    let ready = conditions.into_iter().flatten().any(|condition| {
        condition.get("type").and_then(Value::as_str) == Some("Ready")
            && condition.get("status").and_then(Value::as_str) == Some("True")
    });
    ready && node.pointer("/spec/taints").and_then(Value::as_array).is_none_or(Vec::is_empty)
}
