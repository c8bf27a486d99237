//! The Role that a service account needs for this to work: one namespace, no secrets, no wildcard.

use serde_json::{Value, json};

use crate::{kinds::Kind, spec::Traffic};

/// What is asked of every cluster: resource and verbs.
const ALWAYS: [(Kind, &[&str]); 4] = [
    (Kind::Deployment, &["get", "list", "watch", "create", "patch", "delete"]),
    (Kind::ReplicaSet, &["get", "list"]),
    (Kind::Pod, &["list", "watch"]),
    // The users' Service, and the preview, which is made where there is none.
    (Kind::Service, &["get", "list", "watch", "create", "patch"]),
];

/// The Role `tidegate` for one namespace, as it is applied: all that checking, rolling out, turning back and tidying up ask
/// for, for services whose traffic is moved so. Nothing in it reaches beyond the namespace, and no secret can be read.
pub fn role(namespace: &str, traffic: &Traffic) -> Value {
    let rules: Vec<Value> =
        ALWAYS.into_iter().chain(rules(traffic)).map(|(kind, verbs)| rule(kind, verbs)).collect();
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "tidegate", "namespace": namespace},
        "rules": rules,
    })
}

fn rules(traffic: &Traffic) -> Vec<(Kind, &'static [&'static str])> {
    match traffic {
        Traffic::Service => Vec::new(),
        Traffic::HttpRoute { .. } => vec![(Kind::HttpRoute, &["get", "list", "watch", "patch"])],
        Traffic::VirtualService { .. } => vec![(Kind::VirtualService, &["get", "list", "watch", "patch"])],
        Traffic::Ingress { .. } => {
            vec![(Kind::Ingress, &["get", "list", "watch", "create", "patch", "delete"])]
        }
    }
}

fn rule(kind: Kind, verbs: &[&str]) -> Value {
    let resource = kind.resource();
    json!({"apiGroups": [resource.group], "resources": [resource.plural], "verbs": verbs})
}
