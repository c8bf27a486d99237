//! Kubernetes objects for the tests, and what is read of them.

use serde_json::{Value, json};
use tidegate_bed::{BedError, ControlPlane, SIM_LABEL};

fn template(name: &str, sim: Option<&str>) -> Value {
    let mut template = json!({
        "metadata": {"labels": {"app": name}},
        "spec": {"containers": [{"name": "app", "image": "registry.test/app@sha256:0000"}]},
    });
    if let Some(sim) = sim {
        template["metadata"]["labels"][SIM_LABEL] = sim.into();
    }
    template
}

pub(crate) fn deployment(name: &str, replicas: u32, sim: Option<&str>) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": template(name, sim),
        },
    })
}

pub(crate) fn job(name: &str, sim: Option<&str>) -> Value {
    let mut template = template(name, sim);
    template["spec"]["restartPolicy"] = "Never".into();
    json!({
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {"backoffLimit": 0, "template": template},
    })
}

pub(crate) fn account(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})
}

/// A Role that reads Deployments, and its binding: the collection and the object of each.
pub(crate) fn role_for(subjects: &Value) -> [(&'static str, Value); 2] {
    let role = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "reader"},
        "rules": [{"apiGroups": ["apps"], "resources": ["deployments"], "verbs": ["get", "list"]}],
    });
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding",
        "metadata": {"name": "reader"},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "reader"},
        "subjects": subjects,
    });
    [("roles", role), ("rolebindings", binding)]
}

pub(crate) fn http_route(name: &str, weight: i32) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": name},
        "spec": {
            "parentRefs": [{"name": "gateway"}],
            "rules": [{"backendRefs": [{"name": "web-stable", "port": 80, "weight": weight}]}],
        },
    })
}

pub(crate) fn virtual_service(name: &str) -> Value {
    json!({
        "apiVersion": format!("networking.istio.io/{name}"),
        "kind": "VirtualService",
        "metadata": {"name": name},
        "spec": {"hosts": ["web"], "http": [{"route": [{"destination": {"host": "web"}, "weight": 100}]}]},
    })
}

pub(crate) fn deploy(
    plane: &ControlPlane,
    namespace: &str,
    name: &str,
    replicas: u32,
    sim: Option<&str>,
) -> Result<(), BedError> {
    let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments");
    plane.admin().create(&path, &deployment(name, replicas, sim)).map(drop)
}

pub(crate) fn ready_replicas(plane: &ControlPlane, namespace: &str, name: &str) -> Result<u64, BedError> {
    let deployment =
        plane.admin().get(&format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}"))?;
    // Left out when there are none.
    Ok(deployment["status"]["readyReplicas"].as_u64().unwrap_or_default())
}

pub(crate) fn pods(plane: &ControlPlane, namespace: &str) -> Result<Vec<Value>, BedError> {
    let list = plane.admin().get(&format!("/api/v1/namespaces/{namespace}/pods"))?;
    Ok(list["items"].as_array().cloned().unwrap_or_default())
}
