//! Custom resource definitions, from files of YAML as their projects publish them.

use std::time::Duration;

use serde_json::{Value, json};

use crate::wait::until;
use crate::{Access, BedError, programs};

const COLLECTION: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Longest wait until the API server serves a new kind.
const SERVED_WITHIN: Duration = Duration::from_secs(30);

/// Istio's kinds that route traffic, with every field kept and none checked.
pub(crate) const ISTIO: [&str; 3] = [
    include_str!("../../../tests/control-plane/crds/virtualservices.yaml"),
    include_str!("../../../tests/control-plane/crds/destinationrules.yaml"),
    include_str!("../../../tests/control-plane/crds/gateways.yaml"),
];

/// The kinds of Argo Rollouts, with every field kept and none checked.
pub(crate) fn argo_rollouts() -> Vec<String> {
    [
        ("Rollout", "rollouts", "Namespaced"),
        ("Experiment", "experiments", "Namespaced"),
        ("AnalysisRun", "analysisruns", "Namespaced"),
        ("AnalysisTemplate", "analysistemplates", "Namespaced"),
        ("ClusterAnalysisTemplate", "clusteranalysistemplates", "Cluster"),
    ]
    .map(|(kind, plural, scope)| argo(kind, plural, scope).to_string())
    .into()
}

fn argo(kind: &str, plural: &str, scope: &str) -> Value {
    let open = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true});
    // Writes to the others go to the whole object, as in the definitions that Argo Rollouts publishes.
    let parts = match kind {
        "Rollout" => json!({
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.HPAReplicas",
                "labelSelectorPath": ".status.selector",
            },
        }),
        _ => json!({}),
    };
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{plural}.argoproj.io")},
        "spec": {
            "group": "argoproj.io",
            "scope": scope,
            "names": {
                "kind": kind, "listKind": format!("{kind}List"), "plural": plural, "singular": kind.to_lowercase(),
            },
            "versions": [{
                "name": "v1alpha1",
                "served": true,
                "storage": true,
                "schema": {"openAPIV3Schema": {"type": "object", "properties": {"spec": open, "status": open}}},
                "subresources": parts,
            }],
        },
    })
}

/// The standard channel of Gateway API, as the set-up left it.
pub(crate) fn gateway_api() -> Result<Vec<String>, BedError> {
    let folder = programs::built().join("crds/gateway-api");
    let entries = std::fs::read_dir(&folder)
        .map_err(|_| BedError::Missing { program: "Gateway API", path: folder.clone() })?;
    let mut paths = entries
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<Result<Vec<_>, _>>()
        .map_err(BedError::file(&folder))?;
    paths.sort();
    paths.iter().map(|path| std::fs::read_to_string(path).map_err(BedError::file(path))).collect()
}

/// Creates them, unless they are there, and waits until all are served.
pub(crate) fn install(admin: &Access, definitions: &[&str]) -> Result<(), BedError> {
    let mut names = Vec::new();
    for definition in definitions {
        names.push(create(admin, definition)?);
    }
    for name in names {
        until(&format!("the definition {name} to be served"), SERVED_WITHIN, || {
            let definition = admin.get(&format!("{COLLECTION}/{name}"))?;
            Ok(is_served(&definition).then_some(()))
        })?;
    }
    Ok(())
}

/// The name of the definition, which is in its answer either way.
fn create(admin: &Access, definition: &str) -> Result<String, BedError> {
    let answer = admin.ask("POST", COLLECTION, "application/yaml", definition.to_owned())?;
    let named = |pointer: &str| answer.body.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    let name = match answer.status {
        201 => named("/metadata/name"),
        409 => named("/details/name"),
        _ => None,
    };
    name.ok_or_else(|| BedError::Refused {
        request: format!("POST {COLLECTION}"),
        status: answer.status,
        message: named("/message").unwrap_or_else(|| answer.body.to_string()),
    })
}

fn is_served(definition: &Value) -> bool {
    let conditions = definition.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| {
        condition.get("type").and_then(Value::as_str) == Some("Established")
            && condition.get("status").and_then(Value::as_str) == Some("True")
    })
}
