//! A Rollout of Argo Rollouts that becomes the first stable release: its stable `ReplicaSet`, as it is.

use serde_json::{Map, Value};

use super::{EffectError, Found, owner, query};
use crate::{
    belongings::Belongings,
    cluster::Lane,
    fault::ClusterError,
    kinds::Kind,
    manifest::ROLLOUTS_HASH,
    spec::{Adopted, Former, KubernetesSpec},
    view::Workload,
};

/// What stands in the way of taking a Rollout over.
struct Unfit {
    why: String,
    todo: &'static str,
}

const UNTIL_IT_RESTS: &str = "wait until it is Healthy, or abort and undo it (`kubectl argo rollouts undo`)";
const ONLY_ARGO: &str = "let it move the weights of two Services (`stableService`, `canaryService`) first";

/// The Rollout that the service names, as a release; nothing when it has no pods. An error says why it cannot be taken over.
pub(super) async fn serving(
    lane: &Lane,
    like: &KubernetesSpec,
    base: &Map<String, Value>,
) -> Result<Option<Found>, EffectError> {
    let Some(name) = &like.adopt_rollout else { return Ok(None) };
    let what = format!("Rollout {}/{name}", like.namespace);
    let found = match lane.get(Kind::ArgoRollout, &like.namespace, name).await {
        Err(ClusterError::UnknownKind { cluster, rule }) => {
            return Err(EffectError::Wrong(format!(
                "{cluster} does not know {rule}, so there is no {what}: take `adopt_rollout` out, or correct `context`"
            )));
        }
        answer => answer?,
    };
    let Some(object) = found else {
        return Err(EffectError::Wrong(format!(
            "there is no {what}, which `adopt_rollout` names: correct the name or the namespace, or take it out when that \
             Rollout is gone for good"
        )));
    };
    let hash = stable_hash(&object).to_owned();
    let adopted =
        Adopted { name: name.clone(), kind: Former::Rollout, hash, revision: None, selector: Map::new() };
    let set = lane.get(Kind::ReplicaSet, &like.namespace, &adopted.set()).await?;
    let is_its = |set: &Value| owner(set, "Rollout") == Some(name);
    let pods = set.as_ref().filter(|set| is_its(set)).map(Workload::of).unwrap_or_default();
    // One that was taken over before, and one that nobody has asked for pods.
    if pods.wanted == 0 && pods.present == 0 && wants(&object) == 0 {
        return Ok(None);
    }
    rests(&object, &what)?;
    let Some(set) = set.filter(is_its) else {
        return Err(EffectError::Wrong(format!(
            "{what} has no ReplicaSet {} for its stable pods: {UNTIL_IT_RESTS}",
            adopted.set()
        )));
    };
    let taken = taken(like, adopted, &set);
    alone(lane, &taken, &what).await?;
    reached(&taken, base, &what)?;
    Ok(Some(taken))
}

/// The Rollout stands still, with all users on pods of one revision, and nobody but ours is needed to move traffic.
pub(in crate::target) fn rests(object: &Value, what: &str) -> Result<(), EffectError> {
    match unfit(object) {
        None => Ok(()),
        Some(Unfit { why, todo }) => {
            Err(EffectError::Wrong(format!("{what} cannot be taken over: it {why}; {todo}")))
        }
    }
}

/// The revision that serves, by its label's value.
pub(in crate::target) fn stable_hash(object: &Value) -> &str {
    object.pointer("/status/stableRS").and_then(Value::as_str).unwrap_or_default()
}

fn unfit(object: &Value) -> Option<Unfit> {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
    let is = |path: &str| object.pointer(path).is_some_and(|value| !value.is_null());
    let unfit = |why: &str, todo| Some(Unfit { why: why.to_owned(), todo });
    if is("/metadata/deletionTimestamp") {
        return unfit("is being deleted", "take `adopt_rollout` out");
    }
    if is("/spec/strategy/canary/trafficRouting/istio/destinationRule") {
        return unfit("tells releases apart by the subsets of a DestinationRule", ONLY_ARGO);
    }
    if is("/spec/strategy/canary/pingPong") {
        return unfit("changes the two Services about (`pingPong`)", ONLY_ARGO);
    }
    if !is_observed(object) {
        return unfit(
            "was changed, and its controller has not acted on that yet",
            "wait until it is Healthy; where Argo Rollouts runs no more, put its spec back as it was",
        );
    }
    let (phase, message) = (text("/status/phase"), text("/status/message"));
    let aborted = object.pointer("/status/abort").and_then(Value::as_bool) == Some(true);
    if aborted || ["Degraded", "Error"].contains(&phase) {
        let state = if aborted { "was aborted" } else { "is degraded" };
        return Some(Unfit { why: format!("{state} ({message})"), todo: UNTIL_IT_RESTS });
    }
    let (stable, present) = (stable_hash(object), text("/status/currentPodHash"));
    if stable.is_empty() || stable != present {
        let step = object.pointer("/status/currentStepIndex").and_then(Value::as_u64);
        let step = step.map(|step| format!(" at step {step}")).unwrap_or_default();
        let why = format!(
            "is in the middle of an update{step} ({phase}: stable is `{stable}`, new is `{present}`)"
        );
        return Some(Unfit { why, todo: UNTIL_IT_RESTS });
    }
    None
}

/// Whether its controller has seen its latest spec. It counts as text.
fn is_observed(object: &Value) -> bool {
    let number = |path: &str| {
        let value = object.pointer(path)?;
        value.as_u64().or_else(|| value.as_str()?.parse().ok())
    };
    number("/metadata/generation")
        .is_some_and(|generation| number("/status/observedGeneration") == Some(generation))
}

/// Pods that the Rollout asks for; one where it does not say.
pub(in crate::target) fn wants(object: &Value) -> u64 {
    object.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1)
}

/// The `ReplicaSet` as a release. Its pods stay what they are.
fn taken(like: &KubernetesSpec, adopted: Adopted, set: &Value) -> Found {
    let mut template = set.pointer("/spec/template").cloned().unwrap_or_default();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove(ROLLOUTS_HASH);
    }
    let selector = set.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
    let mut selector = selector.cloned().unwrap_or_default();
    selector.remove(ROLLOUTS_HASH);
    let tag = format!("{}-0", adopted.hash);
    let spec = KubernetesSpec {
        replicas: Workload::of(set).wanted.max(1),
        template: template.into(),
        adopted: Some(Adopted { selector, ..adopted }),
        adopt_rollout: None,
        belongings: Belongings::default(),
        ..like.clone()
    };
    Found { tag, spec }
}

/// No pods of other revisions are left: they would stay for as long as nobody looks after the Rollout.
async fn alone(lane: &Lane, taken: &Found, what: &str) -> Result<(), EffectError> {
    let Some(adopted) = &taken.spec.adopted else { return Ok(()) };
    let sets = lane.list(Kind::ReplicaSet, &taken.spec.namespace, &query(&adopted.selector)).await?;
    let other = sets.iter().find(|set| {
        owner(set, "Rollout") == Some(&adopted.name)
            && crate::manifest::name(set) != adopted.set()
            && Workload::of(set).present > 0
    });
    match other {
        None => Ok(()),
        Some(other) => Err(EffectError::Wrong(format!(
            "{what} cannot be taken over: it still has pods of another revision (ReplicaSet {}); wait until they are scaled \
             down (`scaleDownDelaySeconds`)",
            crate::manifest::name(other)
        ))),
    }
}

/// Users come in by its pods.
fn reached(taken: &Found, base: &Map<String, Value>, what: &str) -> Result<(), EffectError> {
    let template = taken.spec.template.value();
    let labels = template.pointer("/metadata/labels");
    let has = |(key, value): (&String, &Value)| labels.and_then(|labels| labels.get(key)) == Some(value);
    if base.iter().all(has) {
        return Ok(());
    }
    Err(EffectError::Wrong(format!(
        "Service {}/{} selects {}, which the pods of {what} are not: correct `service` or `adopt_rollout`",
        taken.spec.namespace,
        taken.spec.service,
        query(base)
    )))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn healthy() -> Value {
        json!({
            "metadata": {"name": "shop", "generation": 3},
            "spec": {"strategy": {"canary": {}}},
            "status": {"observedGeneration": "3", "stableRS": "a", "currentPodHash": "a", "phase": "Healthy"},
        })
    }

    #[test]
    fn only_a_rollout_at_rest_is_taken_over_and_every_refusal_says_what_to_do() {
        assert!(rests(&healthy(), "Rollout web/shop").is_ok());
        let cases = [
            ("/metadata/deletionTimestamp", json!("2026-01-01T00:00:00Z"), "being deleted"),
            ("/metadata/generation", json!(4), "has not acted on that yet; wait"),
            ("/status/observedGeneration", Value::Null, "has not acted on that yet; wait"),
            ("/status/abort", json!(true), "was aborted (); wait until it is Healthy"),
            ("/status/phase", json!("Degraded"), "is degraded (); wait"),
            (
                "/status/currentPodHash",
                json!("b"),
                "middle of an update (Healthy: stable is `a`, new is `b`); wait",
            ),
            ("/status/stableRS", json!(""), "middle of an update"),
            ("/spec/strategy/canary/pingPong", json!({"pingService": "a"}), "two Services"),
            (
                "/spec/strategy/canary/trafficRouting",
                json!({"istio": {"destinationRule": {"name": "shop"}}}),
                "subsets of a DestinationRule; let it move",
            ),
        ];
        for (path, value, said) in cases {
            let mut object = healthy();
            let (parent, key) = path.rsplit_once('/').expect("a path");
            let fields = object.pointer_mut(parent).and_then(Value::as_object_mut).expect("keys");
            fields.insert(key.to_owned(), value);
            let why = rests(&object, "Rollout web/shop").expect_err(path).to_string();
            assert!(why.contains(said) && why.contains("Rollout web/shop"), "{path}: {why}");
        }
    }
}
