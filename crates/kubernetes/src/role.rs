//! The Role that a service account needs for this to work: one namespace, no secrets, no wildcard.

use serde_json::{Value, json};

use crate::{kinds::Kind, spec::Traffic};

/// What is asked of every cluster: resource and verbs.
const ALWAYS: [(Kind, &[&str]); 3] = [
    (Kind::Deployment, &["get", "list", "watch", "create", "patch", "delete"]),
    (Kind::ReplicaSet, &["get"]),
    (Kind::Pod, &["list", "watch"]),
];

/// What guarding a plain Deployment asks for.
const GUARD: [(Kind, &[&str]); 3] = [
    (Kind::Deployment, &["get", "list", "watch", "patch"]),
    (Kind::ReplicaSet, &["list"]),
    (Kind::Pod, &["list"]),
];

/// The Role `tidegate-guard` for one namespace, as it is applied: all that guarding the Deployments there, their history and
/// their way back ask for. Nothing is created or deleted, and no secret can be read.
pub fn guard_role(namespace: &str) -> Value {
    named("tidegate-guard", namespace, &GUARD.map(|(kind, verbs)| rule(kind, verbs)))
}

/// The Role `tidegate` for one namespace, as it is applied: all that checking, rolling out, turning back and tidying up ask
/// for, for services whose traffic is moved so. Nothing in it reaches beyond the namespace, and no secret can be read.
pub fn role(namespace: &str, traffic: &Traffic) -> Value {
    let rules: Vec<Value> =
        ALWAYS.into_iter().chain(rules(traffic)).map(|(kind, verbs)| rule(kind, verbs)).collect();
    named("tidegate", namespace, &rules)
}

fn named(name: &str, namespace: &str, rules: &[Value]) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": name, "namespace": namespace},
        "rules": rules,
    })
}

fn rules(traffic: &Traffic) -> Vec<(Kind, &'static [&'static str])> {
    // A route points to Services of ours, one per release.
    let services: (Kind, &[&str]) = (Kind::Service, &["get", "create", "patch", "delete"]);
    match traffic {
        Traffic::Service => vec![(Kind::Service, &["get", "patch"])],
        Traffic::HttpRoute { .. } => vec![services, (Kind::HttpRoute, &["get", "patch"])],
        Traffic::VirtualService { .. } => vec![services, (Kind::VirtualService, &["get", "patch"])],
        Traffic::Ingress { .. } => vec![services, (Kind::Ingress, &["get", "create", "patch", "delete"])],
    }
}

fn rule(kind: Kind, verbs: &[&str]) -> Value {
    let resource = kind.resource();
    json!({"apiGroups": [resource.group], "resources": [resource.plural], "verbs": verbs})
}
