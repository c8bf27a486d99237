//! The objects of both releases: each is read first, and left alone when it is so already.

use std::sync::Arc;

use serde_json::{Value, json};

use super::{
    EffectError, Rollout,
    root::{self, Serves},
};
use crate::{
    cluster::Lane,
    fault::ClusterError,
    fence::{Fence, annotation},
    kinds::Kind,
    manifest::{self, CONTENT},
    spec::Known,
    view::Workload,
};

impl Rollout<'_> {
    /// Makes the users' Service reach these pods.
    pub(super) async fn serve(
        &self,
        lane: &Lane,
        serves: Serves<'_>,
        fence: Fence<'_>,
    ) -> Result<Arc<Value>, EffectError> {
        let name = &self.new.spec.service;
        let what = format!("Service {}/{name}", self.namespace());
        let edited = self.edit(lane, Kind::Service, name, |root| {
            fence.admits(root, &what)?;
            Ok(root::changes(root, serves, fence))
        });
        match edited.await {
            // Whoever refuses this write refuses an older order's, too, which our mark would keep out.
            Err(EffectError::Cluster(why)) if why.is_permanent() => {
                match self.asked(lane, Kind::Service, name).await {
                    Ok(root) if root::is_so(&root, serves) => Ok(Arc::new(root)),
                    _ => Err(why.into()),
                }
            }
            answer => answer,
        }
    }

    /// The release's Deployment with so many pods, or with as many as it has.
    pub(super) async fn ensure(
        &self,
        lane: &Lane,
        known: &Known<'_>,
        replicas: Option<u32>,
        fence: Fence<'_>,
    ) -> Result<(), EffectError> {
        let adopted = known.spec.adopted.is_some();
        if adopted && replicas.is_none() {
            return Ok(());
        }
        let (kind, name) = known.workload();
        if !adopted && self.object(lane, Kind::Deployment, name).await?.is_none() {
            self.furnish(lane, known, fence).await?;
            let wanted = manifest::deployment(known, replicas.unwrap_or(0), fence, None);
            match self.apply(lane, Kind::Deployment, &wanted).await {
                // Somebody was faster; what is there now is looked at.
                Err(ClusterError::Changed { .. } | ClusterError::Conflict { .. }) => {}
                answer => return Ok(answer?),
            }
        }
        // Not applied: an autoscaler, or a person in need, may own the number of pods by now, and would be asked first.
        self.edit(lane, kind, name, |object| {
            Self::is_of(object, known, fence)?;
            let Some(replicas) = replicas.filter(|replicas| *replicas != Workload::of(object).wanted) else {
                return Ok(Vec::new());
            };
            Ok(scaled(object, replicas, fence))
        })
        .await?;
        Ok(())
    }

    /// What makes its pods is this release's, and this order may write it.
    pub(super) fn is_of(object: &Value, known: &Known<'_>, fence: Fence<'_>) -> Result<(), EffectError> {
        let what = known.title();
        fence.admits(object, &what)?;
        if known.spec.adopted.is_none() && annotation(object, CONTENT) != Some(&manifest::content(known)) {
            return Err(EffectError::Wrong(format!(
                "{what} is there already and was made from something else: a release is never changed; deploy under a new tag"
            )));
        }
        Ok(())
    }

    /// The preview Service, where there is one of ours, reaches what stays: what was turned back has no pods any more.
    pub(super) async fn preview_rests(
        &self,
        lane: &Lane,
        stays: &Known<'_>,
        fence: Fence<'_>,
    ) -> Result<(), EffectError> {
        let there = self.object(lane, Kind::Service, &self.preview_name).await?;
        match there.filter(|object| annotation(object, &fence.owner_key()) == Some(self.owner)) {
            Some(_) => self.preview(lane, stays, fence).await,
            None => Ok(()),
        }
    }

    /// Makes the preview Service reach these pods; makes it first where there is none.
    pub(super) async fn preview(
        &self,
        lane: &Lane,
        known: &Known<'_>,
        fence: Fence<'_>,
    ) -> Result<(), EffectError> {
        let name = &self.preview_name;
        let Some(object) = self.object(lane, Kind::Service, name).await? else {
            let root = self.root(lane).await?;
            return Ok(self.apply(lane, Kind::Service, &manifest::preview(known, &root, fence)).await?);
        };
        let what = format!("Service {}/{name}", self.namespace());
        fence.admits(&object, &what)?;
        if self.new.spec.preview.is_empty() && annotation(&object, &fence.owner_key()).is_none() {
            return Err(EffectError::Wrong(format!(
                "{what} is there already and is not ours: remove it, or name it as `preview` so that it is used"
            )));
        }
        self.edit(lane, Kind::Service, name, |object| {
            fence.admits(object, &what)?;
            if root::selector(object) == known.selector() {
                return Ok(Vec::new());
            }
            Ok(root::select(object, &known.selector(), Some(fence)))
        })
        .await?;
        Ok(())
    }
}

/// The changes that give a Deployment so many pods.
pub(super) fn scaled(object: &Value, replicas: u32, fence: Fence<'_>) -> Vec<Value> {
    fence.patch(object, [replicas_of(replicas)])
}

/// The operation that gives a Deployment so many pods.
pub(super) fn replicas_of(replicas: u32) -> Value {
    json!({"op": "add", "path": "/spec/replicas", "value": replicas})
}
