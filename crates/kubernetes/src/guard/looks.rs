//! What is looked at: the Deployment and its pods as the watches have them, and as the API server answers where they cannot
//! say, and now and then all the same.

use std::{sync::Arc, time::Duration};

use serde_json::Value;
use tidegate_core::view::SUPERSEDED;
use tokio::sync::watch::Receiver;

use super::{
    effects::Guard,
    template::{runs, selector, uid},
};
use crate::{
    cluster::Lane,
    edit::Edited,
    kinds::Kind,
    target::{EffectError, query},
    view::{OwnedPod, Pods},
};

/// Longest time between two looks at what is kept of the Deployment and its pods. News ends it.
pub(super) const LOOK: Duration = Duration::from_secs(1);

/// News comes in bursts: so long is waited for the rest of one.
const BURST: Duration = Duration::from_millis(50);

/// The same while every look has to be asked for.
const ASKED_BURST: Duration = Duration::from_millis(400);

/// The Deployment and the pods that it selects, at one moment.
pub(super) struct Seen {
    pub(super) object: Arc<Value>,
    pods: Vec<OwnedPod>,
}

impl Seen {
    /// The pods of the `ReplicaSet` of this name, but for those that it does not count: what a node has ended (an eviction,
    /// a shutdown) stays in the list for days, while another one is in its place.
    pub(super) fn pods(&self, set: &str) -> Pods {
        let own = self.pods.iter().filter(|pod| !pod.over && pod.set.as_deref() == Some(set));
        own.map(|pod| (pod.name.clone(), Arc::clone(&pod.pod))).collect()
    }

    /// Pods of other `ReplicaSets` that may take traffic.
    pub(super) fn others(&self, set: &str) -> usize {
        let of_others = |pod: &&OwnedPod| !pod.over && pod.set.as_deref().is_some_and(|of| of != set);
        self.pods.iter().filter(of_others).filter(|pod| pod.pod.ready).count()
    }
}

impl Guard<'_> {
    /// The Deployment that this is about, as the API server has it now.
    pub(super) async fn object(&self, lane: &Lane) -> Result<Value, EffectError> {
        let what = self.what();
        match lane.get(Kind::Deployment, &self.new.namespace, &self.new.deployment).await? {
            None => Err(EffectError::Wrong(format!("{what} is not there any more"))),
            Some(object) if uid(&object) != self.new.uid => Err(EffectError::Wrong(format!(
                "{what} was deleted and made anew: it is not the one that was looked at"
            ))),
            Some(object) => Ok(object),
        }
    }

    /// The same, when it is still made from the revision that this is about.
    async fn still(&self, lane: &Lane) -> Result<Value, EffectError> {
        let object = self.object(lane).await?;
        if runs(&object, &self.new) { Ok(object) } else { Err(self.superseded()) }
    }

    fn superseded(&self) -> EffectError {
        EffectError::Wrong(format!(
            "{} {SUPERSEDED} and does not run {} any more: that is superseded, and the newer rollout is judged for itself",
            self.what(),
            self.new.called()
        ))
    }

    /// The Deployment and its pods as the API server has them now.
    pub(super) async fn ask(&self, lane: &Lane) -> Result<Seen, EffectError> {
        let object = self.object(lane).await?;
        let selector = selector(&object);
        self.view.with_pods(&selector);
        let pods = lane.list(Kind::Pod, &self.new.namespace, &query(&selector)).await?;
        if self.view.asked(&object, &pods) {
            tracing::debug!(deployment = self.plan.deployment, "its watches are behind, and begin anew");
            self.view.anew(self.cluster.forward().client());
        }
        Ok(Seen { object: Arc::new(object), pods: pods.iter().map(OwnedPod::of).collect() })
    }

    /// The Deployment and its pods as they are known.
    pub(super) async fn look(&self, lane: &Lane) -> Result<Seen, EffectError> {
        match self.view.now() {
            Some((object, pods)) if uid(&object) == self.new.uid => Ok(Seen { object, pods }),
            Some(_) | None => self.ask(lane).await,
        }
    }

    /// The same, when the Deployment is still made from the revision that this is about.
    pub(super) async fn look_still(&self, lane: &Lane) -> Result<Seen, EffectError> {
        let seen = self.look(lane).await?;
        if runs(&seen.object, &self.new) {
            return Ok(seen);
        }
        // What ends a deployment is asked for.
        Ok(Seen { object: Arc::new(self.still(lane).await?), ..seen })
    }

    /// The same as the API server has them now.
    pub(super) async fn ask_still(&self, lane: &Lane) -> Result<Seen, EffectError> {
        let seen = self.ask(lane).await?;
        if runs(&seen.object, &self.new) { Ok(seen) } else { Err(self.superseded()) }
    }

    /// Waits until there is something to look at again, at most [`LOOK`].
    pub(super) async fn rest(&self, news: &mut Receiver<()>) {
        drop(tokio::time::timeout(LOOK, news.changed()).await);
        tokio::time::sleep(if self.view.now().is_some() { BURST } else { ASKED_BURST }).await;
    }

    /// Changes the Deployment as it is `known`, or as it is.
    pub(super) async fn edit(
        &self,
        lane: &Lane,
        known: Option<Arc<Value>>,
        changes: impl Fn(&Value) -> Result<Vec<Value>, EffectError>,
    ) -> Result<Arc<Value>, EffectError> {
        let (namespace, name) = (&*self.new.namespace, &*self.new.deployment);
        let edited = Edited { lane, kind: Kind::Deployment, namespace, name };
        edited.edit(known, |written| self.view.wrote(written), changes).await
    }
}
