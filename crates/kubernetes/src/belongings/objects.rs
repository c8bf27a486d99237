//! What belongs to releases and services as objects of the API server.

use serde_json::{Map, Value, json};

use super::{Autoscale, Autoscaling, ConfigRef, Configuration, Network};
use crate::{
    fence::Fence,
    kinds::Kind,
    manifest,
    spec::{Known, SERVICE},
};

/// Everything that goes with a release's Deployment, for the day when that is removed: nobody lists Secrets.
pub(crate) const BELONGINGS: &str = "tidegate.dev/belongings";

/// Says that a release's Deployment has an autoscaler of ours, whatever its description says.
pub(crate) const AUTOSCALED: &str = "tidegate.dev/autoscaled";

/// [`AUTOSCALED`] as a JSON pointer.
pub(crate) const AUTOSCALED_PATH: &str = "/metadata/annotations/tidegate.dev~1autoscaled";

/// Keeps an autoscaler's own fewest pods, while we have told it a higher floor.
pub(crate) const LEAST: &str = "tidegate.dev/least";

/// The name of what a service has once.
pub(crate) fn of_service(service: &str) -> String {
    format!("{service}-tidegate")
}

/// What goes with the release, as [`BELONGINGS`] has it: `Kind/name`, separated by commas.
pub(crate) fn listed(known: &Known<'_>) -> String {
    let own = &known.spec.belongings;
    let network = own.network.iter().map(|_| (Kind::NetworkPolicy, known.name.clone()));
    let scaled = own.autoscaling != Autoscaling::Off;
    let scaled = scaled.then(|| (Kind::HorizontalPodAutoscaler, known.name.clone()));
    let configs = own.configs.iter().map(|config| (config.kind.kind(), config.object()));
    let all = network.chain(scaled).chain(configs);
    all.map(|(kind, name)| format!("{}/{name}", kind.name())).collect::<Vec<_>>().join(",")
}

/// The opposite of [`listed`], of what is known.
pub(crate) fn parts(listed: &str) -> impl Iterator<Item = (Kind, &str)> {
    const KNOWN: [Kind; 4] =
        [Kind::NetworkPolicy, Kind::HorizontalPodAutoscaler, Kind::ConfigMap, Kind::Secret];
    listed.split(',').filter_map(|part| {
        let (kind, name) = part.split_once('/')?;
        Some((KNOWN.into_iter().find(|known| known.name() == kind)?, name))
    })
}

/// At least one of the pods that users come in to stays when nodes are emptied: `selector` is the users' Service's own, so
/// that it covers both releases, and a Deployment that was there before.
pub(crate) fn budget(known: &Known<'_>, selector: &Map<String, Value>, fence: Fence<'_>) -> Value {
    object(
        Kind::PodDisruptionBudget,
        &of_service(known.service),
        known,
        fence,
        &json!({"minAvailable": 1, "selector": {"matchLabels": selector}}),
    )
}

/// Nobody reaches the release's pods but by the ports of the users' Service, from its namespace and the named ones.
pub(crate) fn policy(known: &Known<'_>, network: &Network, root: &Value, fence: Fence<'_>) -> Value {
    let ports = root.pointer("/spec/ports").and_then(Value::as_array).into_iter().flatten().map(|port| {
        let protocol = port.get("protocol").cloned().unwrap_or_else(|| json!("TCP"));
        let own = port.get("targetPort").or_else(|| port.get("port")).cloned().unwrap_or_default();
        json!({"protocol": protocol, "port": own})
    });
    let more = network.ports.iter().map(|port| json!({"protocol": "TCP", "port": port}));
    let ports: Vec<Value> = ports.chain(more).collect();
    let namespace =
        |name: &String| json!({"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}});
    let addresses = network.addresses.iter().map(|range| json!({"ipBlock": {"cidr": range}}));
    let own = std::iter::once(json!({"podSelector": {}}));
    let from: Vec<Value> = own.chain(network.from.iter().map(namespace)).chain(addresses).collect();
    let spec = json!({
        "podSelector": {"matchLabels": known.selector()},
        "policyTypes": ["Ingress"],
        "ingress": [{"from": from, "ports": ports}],
    });
    object(Kind::NetworkPolicy, &known.name, known, fence, &spec)
}

/// What changes the number of the release's pods, and never below `floor`.
pub(crate) fn autoscaler(known: &Known<'_>, scale: &Autoscale, floor: u32, fence: Fence<'_>) -> Value {
    let mut spec = json!({
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": known.workload().1},
        "minReplicas": floor.clamp(1, scale.max.max(1)),
        "maxReplicas": scale.max.max(1),
        "metrics": scale.metrics,
    });
    if let (Some(behavior), Some(spec)) = (&scale.behavior, spec.as_object_mut()) {
        spec.insert("behavior".to_owned(), behavior.clone());
    }
    let mut whole = object(Kind::HorizontalPodAutoscaler, &known.name, known, fence, &spec);
    if let Some(annotations) = whole.pointer_mut("/metadata/annotations").and_then(Value::as_object_mut) {
        annotations.insert(LEAST.to_owned(), json!(scale.min.to_string()));
    }
    whole
}

/// Configuration under the name of its content.
pub(crate) fn config(
    known: &Known<'_>,
    asked: &ConfigRef,
    content: &Configuration,
    fence: Fence<'_>,
) -> Value {
    let mut whole = object(asked.kind.kind(), &asked.object(), known, fence, &Value::Null);
    if let Some(whole) = whole.as_object_mut() {
        whole.remove("spec");
        whole.extend(content.content());
    }
    whole
}

fn object(kind: Kind, name: &str, known: &Known<'_>, fence: Fence<'_>, spec: &Value) -> Value {
    json!({
        "apiVersion": kind.api_version(),
        "kind": kind.name(),
        "metadata": {
            "name": name,
            "namespace": known.spec.namespace,
            "labels": {(manifest::MANAGED_BY): manifest::OURS, (SERVICE): known.service},
            "annotations": fence.annotations(),
        },
        "spec": spec,
    })
}

/// Whether an object says all that is wanted; what the API server adds is not looked at.
pub(crate) fn says(object: &Value, wanted: &Value) -> bool {
    match (object, wanted) {
        (Value::Object(object), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| object.get(key).is_some_and(|has| says(has, value)))
        }
        (Value::Array(object), Value::Array(wanted)) => {
            object.len() == wanted.len() && object.iter().zip(wanted).all(|(has, value)| says(has, value))
        }
        _ => object == wanted,
    }
}
