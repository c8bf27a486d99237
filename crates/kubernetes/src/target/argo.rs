//! A Rollout of Argo Rollouts as the stable release: its controller lets go of it, and is given it back.
//!
//! Whenever that controller looks at a Rollout, it points the Services that it names to its pods, sets the weights of its
//! routes, and gives its `ReplicaSets` their pods. It looks only at Rollouts with the label of its own instance, or, where it
//! has none, only at those without that label. So a Rollout is held by that label with our name for a value: nothing of it
//! changes then but by us, whether a controller runs or not, and its pods are the `ReplicaSet`'s. Taken away again, the
//! controller goes on where it was.
//!
//! A Rollout that was left behind stays held, without pods: its controller would point users to them. So does one that was
//! rolled back to later, with its pods: the journal has it as the good release, which nobody else may change.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{
    EffectError, Rollout, adopt,
    objects::replicas_of,
    steady::{HELD, HELD_PATH},
};
use crate::{
    cluster::Lane,
    fault::ClusterError,
    fence::{Fence, annotation, at_version},
    kinds::Kind,
    manifest::{self, OURS, ROLLOUTS_HASH},
    spec::{Adopted, Known, Traffic},
    view::Workload,
};

/// The label by which the controllers of Argo Rollouts share Rollouts among them.
const INSTANCE: &str = "argo-rollouts.argoproj.io/controller-instance-id";

/// Whose Service it is, as Argo Rollouts notes it.
const MANAGED: &str = "argo-rollouts.argoproj.io/managed-by-rollouts";

/// Says that a Rollout was rolled back to, and stays held.
const KEPT: &str = "tidegate.dev/kept";

/// [`KEPT`] as a JSON pointer.
const KEPT_PATH: &str = "/metadata/annotations/tidegate.dev~1kept";

impl Rollout<'_> {
    /// Takes the Rollout from its controller, when it is still what was adopted.
    pub(super) async fn hold_rollout(
        &self,
        lane: &Lane,
        stable: &Known<'_>,
        adopted: &Adopted,
        fence: Fence<'_>,
    ) -> Result<(), EffectError> {
        let what = format!("Rollout {}/{}", self.namespace(), adopted.name);
        self.edit(lane, Kind::ArgoRollout, &adopted.name, |object| {
            fence.admits(object, &what)?;
            if is_held(object) {
                return Ok(Vec::new());
            }
            // It is this very version that is held.
            same_and_at_rest(object, adopted, &what)?;
            Ok(fence.patch(object, held(object)))
        })
        .await?;
        if let Traffic::Ingress { name } = &self.new.spec.traffic {
            self.without_their_canary(lane, &adopted.name, name).await?;
        }
        let same = self.is_as_adopted(lane, stable).await;
        if same.is_err() {
            self.let_go_of_rollout(lane, stable, adopted, None, fence).await?;
        }
        same
    }

    /// Gives the Rollout so many pods, and back to its controller when it has any, unless it was rolled back to: then the journal
    /// has it as the good release, and it stays what it is.
    pub(super) async fn let_go_of_rollout(
        &self,
        lane: &Lane,
        stable: &Known<'_>,
        adopted: &Adopted,
        replicas: Option<u32>,
        fence: Fence<'_>,
    ) -> Result<(), EffectError> {
        if replicas.is_some() {
            self.ensure(lane, stable, replicas, fence).await?;
        }
        let what = format!("Rollout {}/{}", self.namespace(), adopted.name);
        if self.object(lane, Kind::ArgoRollout, &adopted.name).await?.is_none() {
            return Ok(());
        }
        let pods = self.workload_now(lane, stable).await?.unwrap_or_default().wanted;
        let promoted = stable.name == self.new.name;
        let written = self
            .edit(lane, Kind::ArgoRollout, &adopted.name, |object| {
                fence.admits(object, &what)?;
                if !is_held(object) {
                    return Ok(Vec::new());
                }
                let differs = adopt::wants(object) != u64::from(pods);
                let mut changes: Vec<Value> = differs.then(|| replicas_of(pods)).into_iter().collect();
                if pods > 0 && annotation(object, KEPT).is_none() {
                    if promoted {
                        changes.push(json!({"op": "add", "path": KEPT_PATH, "value": "true"}));
                    } else {
                        changes.extend(released(object));
                    }
                }
                Ok(if changes.is_empty() { changes } else { fence.patch(object, changes) })
            })
            .await?;
        if !is_held(&written) {
            self.disown(lane, Kind::ArgoRollout, &written).await;
        }
        Ok(())
    }

    /// Where somebody gave the Rollout back to its controller since this deployment held it: it is taken again. Answers
    /// whether that was so. Costs nothing otherwise.
    pub(super) async fn stay_held(&self, lane: &Lane, adopted: &Adopted) -> Result<bool, EffectError> {
        let object = self.object(lane, Kind::ArgoRollout, &adopted.name).await?;
        let fence = self.fence(0);
        if !object.is_some_and(|object| is_taken(&object) && fence.is_of_plan(&object, self.plan)) {
            return Ok(false);
        }
        tracing::warn!(
            rollout = adopted.name,
            "its controller has the Rollout again in the middle of a deployment: it is taken back, or both would move traffic"
        );
        self.edit(lane, Kind::ArgoRollout, &adopted.name, |object| {
            let taken = is_taken(object);
            Ok(if taken {
                [at_version(object)].into_iter().chain(held(object)).collect()
            } else {
                Vec::new()
            })
        })
        .await?;
        Ok(true)
    }

    /// An autoscaler writes the number of pods into the Rollout, whose controller does not hear of it: its `ReplicaSet` gets
    /// as many, and as many as all the traffic needs.
    pub(super) async fn follow_rollout(
        &self,
        lane: &Lane,
        stable: &Known<'_>,
        needed: u32,
    ) -> Result<(), EffectError> {
        let Some(adopted) = &stable.spec.adopted else { return Ok(()) };
        let object = self.object(lane, Kind::ArgoRollout, &adopted.name).await?;
        let asked = object.as_deref().map_or(0, adopt::wants);
        let pods = u32::try_from(asked).unwrap_or(u32::MAX).max(needed);
        let now = self.workload(stable)?;
        if now.wanted >= pods {
            return Ok(());
        }
        let (kind, name) = stable.workload();
        // Nobody's order is outdated by it.
        let more = |object: &Value| -> Result<Vec<Value>, EffectError> {
            let fewer = Workload::of(object).wanted < pods;
            Ok(if fewer { vec![at_version(object), replicas_of(pods)] } else { Vec::new() })
        };
        self.edit(lane, kind, name, more).await?;
        Ok(())
    }

    /// The users' Service is not one that Argo Rollouts points elsewhere while ours serves.
    pub(super) fn is_nobody_elses(&self, root: &Value) -> Result<(), EffectError> {
        let known = self.stable.iter().chain([&self.new]).any(Known::is_rollout);
        let moved = super::root::selector(root).contains_key(ROLLOUTS_HASH);
        let Some(rollout) = annotation(root, MANAGED).filter(|_| moved && !known) else { return Ok(()) };
        Err(EffectError::Wrong(format!(
            "Service {}/{} is pointed to the pods of Rollout `{rollout}` by Argo Rollouts: write `adopt_rollout: {rollout}`, so \
             that they become the stable release; where that Rollout is gone, take `{ROLLOUTS_HASH}` out of the selector",
            self.namespace(),
            manifest::name(root)
        )))
    }

    /// One Ingress cannot have two that take a part of it. Theirs gives its part to nobody while the Rollout rests, and is made
    /// again by its controller.
    async fn without_their_canary(&self, lane: &Lane, rollout: &str, users: &str) -> Result<(), EffectError> {
        let theirs = format!("{rollout}-{users}-canary");
        let found = self.object(lane, Kind::Ingress, &theirs).await?;
        match found.filter(|object| adopt::owner(object, "Rollout") == Some(rollout)) {
            Some(_) => Ok(lane.delete(Kind::Ingress, self.namespace(), &theirs).await?),
            None => Ok(()),
        }
    }

    /// An adopted Rollout is held, or rests with the pods that were adopted: what its controller has in hand is not touched.
    pub(super) async fn rollout_fits(&self, lane: &Lane, known: &Known<'_>) -> Result<(), EffectError> {
        let Some(adopted) = known.spec.adopted.as_ref().filter(|_| known.is_rollout()) else { return Ok(()) };
        let object = lane.get(Kind::ArgoRollout, self.namespace(), &adopted.name).await?;
        // Without it, its pods are gone as well, which is said of them.
        let Some(object) = object.filter(|object| !is_held(object)) else { return Ok(()) };
        same_and_at_rest(&object, adopted, &format!("Rollout {}/{}", self.namespace(), adopted.name))
    }

    /// The `ReplicaSet` of an adopted Rollout cannot be made again.
    pub(super) async fn set_is_there(&self, lane: &Lane, known: &Known<'_>) -> Result<(), EffectError> {
        let (kind, name) = known.workload();
        let found: Result<Option<Arc<Value>>, ClusterError> = self.object(lane, kind, name).await;
        match found? {
            Some(_) => Ok(()),
            None => Err(EffectError::Wrong(format!(
                "{}, which has the pods of a release that was adopted, is gone: it cannot be rolled out again",
                known.title()
            ))),
        }
    }
}

pub(super) fn rolled_out(what: &str) -> EffectError {
    EffectError::Wrong(format!(
        "{what} was rolled out by somebody else since it was adopted: deploy again; when it was rolled back to since, put that \
         revision back first (`kubectl rollout undo`, `kubectl argo rollouts undo`)"
    ))
}

fn same_and_at_rest(object: &Value, adopted: &Adopted, what: &str) -> Result<(), EffectError> {
    adopt::rests(object, what)?;
    if adopt::stable_hash(object) == adopted.hash { Ok(()) } else { Err(rolled_out(what)) }
}

/// Whether its controller lets go of it, because of us.
fn is_held(object: &Value) -> bool {
    manifest::label(object, INSTANCE) == Some(OURS) && annotation(object, HELD).is_some()
}

/// Whether somebody took it back from us.
fn is_taken(object: &Value) -> bool {
    manifest::label(object, INSTANCE) != Some(OURS) && annotation(object, HELD).is_some()
}

/// The operations that take a Rollout from its controller; it has annotations.
fn held(object: &Value) -> [Value; 2] {
    let before = manifest::label(object, INSTANCE).filter(|before| *before != OURS).unwrap_or_default();
    let before = annotation(object, HELD).unwrap_or(before);
    let mut labels = labels(object);
    labels.insert(INSTANCE.to_owned(), json!(OURS));
    [
        json!({"op": "add", "path": "/metadata/labels", "value": labels}),
        json!({"op": "add", "path": HELD_PATH, "value": before}),
    ]
}

/// The operations that give it back.
fn released(object: &Value) -> [Value; 2] {
    let mut labels = labels(object);
    match annotation(object, HELD).filter(|before| !before.is_empty()) {
        Some(before) => drop(labels.insert(INSTANCE.to_owned(), json!(before))),
        None => drop(labels.remove(INSTANCE)),
    }
    [
        json!({"op": "add", "path": "/metadata/labels", "value": labels}),
        json!({"op": "remove", "path": HELD_PATH}),
    ]
}

fn labels(object: &Value) -> Map<String, Value> {
    object.pointer("/metadata/labels").and_then(Value::as_object).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(labels: &Value, annotations: &Value) -> Value {
        json!({"metadata": {"labels": labels, "annotations": annotations}})
    }

    #[test]
    fn who_had_a_rollout_before_has_it_again_whatever_was_written_meanwhile() {
        let cases = [(json!({"team": "web"}), ""), (json!({INSTANCE: "blue", "team": "web"}), "blue")];
        for (before, instance) in cases {
            let [labels, note] = held(&with(&before, &json!({})));
            assert_eq!((&labels["value"][INSTANCE], &note["value"]), (&json!(OURS), &json!(instance)));
            let now = with(&labels["value"], &json!({HELD: note["value"]}));
            assert!(is_held(&now));
            assert_eq!(released(&now)[0]["value"], before);
            // Somebody gave it back by hand: what was noted holds.
            let [_, note] = held(&with(&before, &json!({HELD: instance})));
            assert_eq!(note["value"], json!(instance));
        }
        assert!(!is_taken(&with(&json!({}), &json!({}))), "one that was never held is nobody's to take");
        assert!(
            !is_held(&with(&json!({INSTANCE: OURS}), &json!({}))),
            "somebody's own instance of that name"
        );
    }
}
