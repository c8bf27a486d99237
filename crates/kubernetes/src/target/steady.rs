//! The Deployment that was there before is its owner's (a Rollout of Argo Rollouts: see `argo`). He may roll it out while we roll out: its pods are then replaced by
//! others, which a selector by `pod-template-hash` does not find.
//!
//! So it is paused while it is the stable release: what somebody applies to it waits until the deployment has ended. Where
//! somebody resumes it all the same, users follow its pods: what its owner wants is better than nobody.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
};

use serde_json::{Value, json};

use super::{
    EffectError, LOOK, Rollout,
    adopt::{owner, query, revision, stands},
    argo::rolled_out,
    objects::replicas_of,
    root,
};
use crate::{
    cluster::Lane,
    fence::{Fence, annotation},
    kinds::Kind,
    manifest::label,
    spec::{Adopted, Known},
    view::{Pod, Workload},
};

/// Says that it was us who paused, or who took a Rollout from its controller; then also which instance that was, mostly none.
pub(super) const HELD: &str = "tidegate.dev/held";

/// [`HELD`] as a JSON pointer.
pub(super) const HELD_PATH: &str = "/metadata/annotations/tidegate.dev~1held";

/// Looks that wait for the Deployment's controller to have seen that it is let go: until then nobody can tell whether it is
/// being rolled out. It may be dead, so not for ever.
const OBSERVED_LOOKS: u32 = 10;

impl<'a> Rollout<'a> {
    /// Pauses the stable release's Deployment when it was there before, and looks that it is still what was adopted.
    pub(super) async fn hold(
        &self,
        lane: &Lane,
        stable: &Known<'_>,
        fence: Fence<'_>,
    ) -> Result<(), EffectError> {
        let Some(adopted) = &stable.spec.adopted else { return Ok(()) };
        if stable.is_rollout() {
            return self.hold_rollout(lane, stable, adopted, fence).await;
        }
        let same = AtomicBool::new(false);
        self.edit(lane, Kind::Deployment, &adopted.name, |object| {
            Self::is_of(object, stable, fence)?;
            // It is this very version that is paused.
            same.store(is_unmoved(object, adopted), Ordering::Relaxed);
            if Workload::of(object).paused {
                return Ok(Vec::new());
            }
            let held = json!({"op": "add", "path": HELD_PATH, "value": "true"});
            let paused = json!({"op": "add", "path": "/spec/paused", "value": true});
            Ok(fence.patch(object, [held, paused]))
        })
        .await?;
        if same.load(Ordering::Relaxed) {
            return Ok(());
        }
        let same = self.is_as_adopted(lane, stable).await;
        if same.is_err() {
            self.let_go(lane, stable, None, fence).await?;
        }
        same
    }

    /// Lets the owner's changes through again, and gives the Deployment so many pods.
    pub(super) async fn let_go(
        &self,
        lane: &Lane,
        stable: &Known<'_>,
        replicas: Option<u32>,
        fence: Fence<'_>,
    ) -> Result<(), EffectError> {
        let Some(adopted) = &stable.spec.adopted else { return Ok(()) };
        if stable.is_rollout() {
            return self.let_go_of_rollout(lane, stable, adopted, replicas, fence).await;
        }
        if self.object(lane, Kind::Deployment, &adopted.name).await?.is_none() {
            return Ok(());
        }
        let mut news = self.follow(stable);
        let written = self
            .edit(lane, Kind::Deployment, &adopted.name, |object| {
                Self::is_of(object, stable, fence)?;
                let now = Workload::of(object);
                let held = annotation(object, HELD).is_some();
                let changes: Vec<Value> = [
                    held.then(|| json!({"op": "remove", "path": HELD_PATH})),
                    (held && now.paused).then(|| json!({"op": "remove", "path": "/spec/paused"})),
                    replicas.filter(|wanted| *wanted != now.wanted).map(replicas_of),
                ]
                .into_iter()
                .flatten()
                .collect();
                Ok(if changes.is_empty() { changes } else { fence.patch(object, changes) })
            })
            .await?;
        if Workload::of(&written).wanted > 0 {
            self.disown(lane, Kind::Deployment, &written).await;
        }
        for _ in 0..OBSERVED_LOOKS {
            let now = self.object(lane, Kind::Deployment, &adopted.name).await?;
            if now.is_none_or(|now| {
                now.pointer("/metadata/generation") == now.pointer("/status/observedGeneration")
            }) {
                break;
            }
            news.next(LOOK).await;
        }
        Ok(())
    }

    /// The pods that were adopted are there. Without any, nothing can be turned back to.
    pub(super) async fn is_as_adopted(&self, lane: &Lane, stable: &Known<'_>) -> Result<(), EffectError> {
        let followed = self.followed(lane, stable).await?;
        if followed.mark() == stable.mark() {
            return Ok(());
        }
        Err(rolled_out(&stable.title()))
    }

    /// Where a Deployment that was adopted is to come back, it still asks for the pods that were: users are sent to those alone.
    pub(super) async fn still_has(&self, lane: &Lane, object: &Value) -> Result<(), EffectError> {
        let Some(adopted) = self.new.spec.adopted.as_ref().filter(|_| !self.new.is_rollout()) else {
            return Ok(());
        };
        if stands(lane, self.namespace(), object, adopted).await? {
            return Ok(());
        }
        let what = self.new.title();
        if revision(object).is_none() {
            return Err(EffectError::Unread(format!(
                "{what} was changed, and its controller has not seen it yet"
            )));
        }
        let before = adopted.revision.as_ref().map(|revision| format!(" --to-revision={revision}"));
        Err(EffectError::Wrong(format!(
            "{what} was rolled out by its owner since release {} was its pods: put that revision back first (`kubectl rollout undo \
             deployment/{}{}`), or deploy what is to run",
            self.new.release.tag,
            adopted.name,
            before.unwrap_or_default()
        )))
    }

    /// The release, with the mark of the pods that its Deployment has now: another one once its owner rolled it out.
    pub(super) async fn followed(&self, lane: &Lane, known: &Known<'a>) -> Result<Known<'a>, EffectError> {
        let Some(adopted) = &known.spec.adopted else { return Ok(known.clone()) };
        if !known.is_rollout() {
            let object = self.object(lane, Kind::Deployment, &adopted.name).await?;
            if object.is_some_and(|object| is_unmoved(&object, adopted)) {
                return Ok(known.clone());
            }
        }
        let set = lane.get(Kind::ReplicaSet, self.namespace(), &adopted.set()).await?;
        let kept = set.as_ref().map(Workload::of).unwrap_or_default();
        if kept.ready > 0 && kept.ready >= known.spec.replicas {
            return Ok(known.clone());
        }
        let pods = lane.list(Kind::Pod, self.namespace(), &query(&adopted.selector)).await?;
        let mut ready: BTreeMap<&str, u32> = BTreeMap::new();
        let (key, _) = known.mark();
        for pod in pods.iter().filter(|pod| Pod::of(pod).ready) {
            let hash = label(pod, key).unwrap_or_default();
            if owner(pod, "ReplicaSet") == Some(&format!("{}-{hash}", adopted.name)) {
                *ready.entry(hash).or_default() += 1;
            }
        }
        let kept = ready.get(adopted.hash.as_str()).copied().unwrap_or_default();
        let most = ready.into_iter().max_by_key(|(_, ready)| *ready).filter(|(_, ready)| *ready > kept);
        Ok(most.map_or_else(|| known.clone(), |(hash, _)| known.with_hash(hash)))
    }

    /// Where somebody resumed the Deployment: users' Services follow its pods. Costs nothing otherwise.
    pub(super) async fn look_after(&self) -> Result<(), EffectError> {
        let Some(stable) = self.stable.as_ref().filter(|stable| stable.spec.adopted.is_some()) else {
            return Ok(());
        };
        let lane = self.cluster.forward();
        if let Some(adopted) = stable.spec.adopted.as_ref().filter(|_| stable.is_rollout()) {
            if !self.stay_held(lane, adopted).await? {
                return Ok(());
            }
        } else {
            let now = self.workload(stable)?;
            if now.paused || now.wanted == 0 {
                return Ok(());
            }
        }
        let followed = self.followed(lane, stable).await?;
        let (key, hash) = followed.mark();
        let owner_key = self.fence(0).owner_key();
        self.edit(lane, Kind::Service, &self.new.spec.service, |object| {
            let mut selector = root::selector(object);
            let is_ours = annotation(object, &owner_key) == Some(self.owner);
            let other = selector.get(key).is_some_and(|seen| seen.as_str() != Some(hash));
            if !is_ours || !other {
                return Ok(Vec::new());
            }
            tracing::warn!(hash, "the stable release was rolled out by somebody else: users follow it");
            selector.insert(key.to_owned(), json!(hash));
            Ok(root::select(object, &selector, None))
        })
        .await?;
        self.subset_follows(lane, &followed).await
    }
}

/// Whether nobody has rolled the Deployment out since it was adopted, surely.
fn is_unmoved(object: &Value, adopted: &Adopted) -> bool {
    adopted.revision.is_some() && revision(object) == adopted.revision.as_deref()
}
