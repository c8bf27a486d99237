//! The objects that a release is made of.

use serde_json::{Map, Value, json};

use crate::{
    belongings::objects,
    fence::Fence,
    kinds::Kind,
    spec::{Known, RELEASE, SERVICE},
};

/// What a release's Deployment was made from: another description under the same name is another release.
pub(crate) const CONTENT: &str = "tidegate.dev/content";

/// The label that everything of ours has, and its value.
pub(crate) const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// See [`MANAGED_BY`].
pub(crate) const OURS: &str = "tidegate";

/// The label by which Argo Rollouts tells the pods of one revision from all others; it puts it into the selectors of Services.
pub(crate) const ROLLOUTS_HASH: &str = "rollouts-pod-template-hash";

/// The release's Deployment with so many pods. `version` is the `resourceVersion` that it is to have been read with.
pub(crate) fn deployment(known: &Known<'_>, replicas: u32, fence: Fence<'_>, version: Option<&str>) -> Value {
    let Known { spec, name, .. } = known;
    let selector = known.selector();
    let template = labelled(&spec.template.value(), &labels_of(known));
    let mut annotations = fence.annotations();
    annotations.insert(CONTENT.to_owned(), json!(content(known)));
    let belongings = objects::listed(known);
    if !belongings.is_empty() {
        annotations.insert(objects::BELONGINGS.to_owned(), json!(belongings));
    }
    json!({
        "apiVersion": Kind::Deployment.api_version(),
        "kind": Kind::Deployment.name(),
        "metadata": metadata_of(known, name, &annotations, version),
        "spec": {
            "replicas": replicas,
            // The template never changes, so there is nothing to go back to inside one release.
            "revisionHistoryLimit": 0,
            "progressDeadlineSeconds": spec.progress_ms.div_ceil(1_000).max(1),
            "selector": {"matchLabels": selector},
            "template": template,
        },
    })
}

/// The Service that reaches this release and nobody else. Ports are those of the users'.
pub(crate) fn preview(known: &Known<'_>, root: &Value, fence: Fence<'_>) -> Value {
    let ports: Vec<Value> = root
        .pointer("/spec/ports")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|port| {
            let mut port = port.clone();
            if let Some(port) = port.as_object_mut() {
                port.remove("nodePort");
            }
            port
        })
        .collect();
    json!({
        "apiVersion": Kind::Service.api_version(),
        "kind": Kind::Service.name(),
        "metadata": {
            "name": known.preview(),
            "namespace": known.spec.namespace,
            "labels": {MANAGED_BY: OURS, SERVICE: known.service},
            "annotations": fence.annotations(),
        },
        "spec": {"selector": known.selector(), "ports": ports},
    })
}

/// The labels of everything of a release. Its pods have them too, so that they are found by them.
fn labels_of(known: &Known<'_>) -> Map<String, Value> {
    let label = |key: &str, value: &str| (key.to_owned(), json!(value));
    Map::from_iter([
        label(MANAGED_BY, OURS),
        label(SERVICE, known.service),
        label(RELEASE, &known.release.tag),
    ])
}

fn metadata_of(
    known: &Known<'_>,
    name: &str,
    annotations: &Map<String, Value>,
    version: Option<&str>,
) -> Value {
    let mut metadata = json!({
        "name": name,
        "namespace": known.spec.namespace,
        "labels": labels_of(known),
        "annotations": annotations,
    });
    if let (Some(version), Some(metadata)) = (version, metadata.as_object_mut()) {
        metadata.insert("resourceVersion".to_owned(), json!(version));
    }
    metadata
}

/// Names the content of a release: the artifact's digest, and a digest of the template.
pub(crate) fn content(known: &Known<'_>) -> String {
    if let Some(known) = &known.spec.content {
        return known.clone();
    }
    format!(
        "{}-{:016x}",
        known.release.artifact.hex().chars().take(12).collect::<String>(),
        fnv(known.spec.template.text())
    )
}

/// The value of a label.
pub(crate) fn label<'v>(object: &'v Value, key: &str) -> Option<&'v str> {
    let labels = object.get("metadata").and_then(|metadata| metadata.get("labels"));
    labels.and_then(|labels| labels.get(key)).and_then(Value::as_str)
}

/// The name of an object.
pub(crate) fn name(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

/// FNV-1a, 64 bits, over the JSON text, whose keys are sorted: the same on every machine. It only tells versions of our own
/// objects apart, so it need not be hard to invert.
fn fnv(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// The value of a key that holds an object, for a copy.
fn part(of: &Map<String, Value>, key: &str) -> Map<String, Value> {
    of.get(key).and_then(Value::as_object).cloned().unwrap_or_default()
}

/// The template with these labels beside its own.
fn labelled(template: &Value, labels: &Map<String, Value>) -> Value {
    let mut template = template.as_object().cloned().unwrap_or_default();
    let mut metadata = part(&template, "metadata");
    let mut all = part(&metadata, "labels");
    all.extend(labels.clone());
    metadata.insert("labels".to_owned(), Value::Object(all));
    template.insert("metadata".to_owned(), Value::Object(metadata));
    Value::Object(template)
}
