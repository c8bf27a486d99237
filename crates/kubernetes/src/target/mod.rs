//! Effects on a cluster: every one looks at the objects first and leaves alone what is so already.

mod adopt;
mod back;
mod forward;
mod objects;
mod reading;
mod retire;
mod root;
mod route;
mod steady;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use crate::{
    cluster::{Address, Cluster, Lane},
    control::Held,
    fault::ClusterError,
    fence::{Fence, FenceError},
    kinds::Kind,
    spec::{Known, SpecError},
    traffic::RouteError,
    view::{Blind, Following, Remembered},
};
use futures_util::FutureExt;
use serde_json::Value;
use tidegate_adapters::{clock::Clock, metrics::Metrics};
use tidegate_core::{
    deployment::{Effect, Outcome},
    plan::Plan,
};
use tidegate_engine::{Order, journal::BoxFuture};

/// Longest time between two looks at what is kept of the namespace, while pods come or go. News ends it.
const LOOK: Duration = Duration::from_secs(1);

/// Times an object is read and written again when somebody else changed it in between.
const CHANGED_MAX: usize = 20;

/// Kubernetes as a target. Cheap to clone.
#[derive(Clone)]
pub struct KubernetesTarget {
    clusters: Arc<Mutex<BTreeMap<Address, Arc<Cluster>>>>,
    owner: Arc<str>,
    clock: Arc<Clock>,
    metrics: Metrics,
    held: Option<Held>,
}

/// Why an effect did not happen.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EffectError {
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Fence(#[from] FenceError),
    #[error(transparent)]
    Route(#[from] RouteError),
    #[error("{0}")]
    Unready(String),
    #[error("{0}")]
    Wrong(String),
    #[error("the namespace cannot be watched: {0}")]
    Unknown(String),
    #[error("{0}")]
    Unread(String),
}

impl From<Blind> for EffectError {
    fn from(blind: Blind) -> Self {
        match blind {
            Blind::Yet(why) => Self::Unknown(why),
            Blind::Forbidden(error) => Self::Cluster(error),
        }
    }
}

impl EffectError {
    fn outcome(&self) -> Outcome {
        let permanent = match self {
            Self::Cluster(error) => error.is_permanent(),
            Self::Spec(_) | Self::Fence(_) | Self::Route(_) | Self::Unready(_) | Self::Wrong(_) => true,
            Self::Unknown(_) | Self::Unread(_) => false,
        };
        Outcome::Failed { reason: tidegate_adapters::chain(self), permanent }
    }
}

impl KubernetesTarget {
    /// The target of one Tidegate. `owner` names its data directory among all that may write to a cluster.
    pub fn new(owner: &str, clock: Arc<Clock>) -> Self {
        Self { clusters: Arc::default(), owner: owner.into(), clock, metrics: Metrics::default(), held: None }
    }

    /// The same, which asks a cluster nothing any more once this right has ended.
    #[must_use]
    pub fn while_held(mut self, held: Held) -> Self {
        self.held = Some(held);
        self
    }

    /// See [`tidegate_engine::World::perform`].
    pub fn perform(&self, order: Order) -> BoxFuture<Outcome> {
        let target = self.clone();
        async move {
            match target.effect(&order).await {
                Ok(outcome) => outcome,
                Err(error) => error.outcome(),
            }
        }
        .boxed()
    }

    /// Forgets a deployment that has ended.
    pub fn forget(&self, deployment: &str) {
        self.metrics.forget(deployment);
    }

    async fn effect(&self, order: &Order) -> Result<Outcome, EffectError> {
        let rollout = self.rollout(&order.plan, order.epoch).await?;
        // The way back waits for no watch.
        if !matches!(order.effect, Effect::Build | Effect::Restore { .. }) {
            rollout.cluster.view(rollout.namespace()).listed().await;
        }
        match order.effect {
            Effect::Check => rollout.check().await,
            Effect::Build => rollout.build().await,
            Effect::Scale { instances, generation, share } => {
                rollout.scale(instances, generation, share).await
            }
            Effect::Shift { share, mirror, generation } => {
                rollout.shift(share, mirror, generation).await?;
                self.reading(&rollout).map(Outcome::Read)
            }
            Effect::Measure { .. } => {
                rollout.look_after().await?;
                self.reading(&rollout).map(Outcome::Read)
            }
            Effect::Promote { generation } => rollout.promote(generation).await,
            Effect::Restore { generation } => rollout.restore(generation).await,
            Effect::Retire { new, generation } => rollout.retire(new, generation).await,
            Effect::Wake { .. } => Ok(Outcome::Done),
        }
    }

    async fn rollout<'a>(&'a self, plan: &'a Plan, epoch: u64) -> Result<Rollout<'a>, EffectError> {
        let new = Known::of(&plan.service, &plan.release)?;
        let stable = plan.stable.as_ref().map(|stable| Known::of(&plan.service, stable)).transpose()?;
        let cluster = self.cluster(&new.spec.address()).await?;
        let preview_name = new.preview();
        Ok(Rollout { plan, new, stable, preview_name, cluster, owner: &self.owner, epoch })
    }

    async fn cluster(&self, address: &Address) -> Result<Arc<Cluster>, ClusterError> {
        let clusters = || self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = clusters().get(address) {
            return Ok(Arc::clone(cluster));
        }
        // Not under the lock: another cluster's way back is not to wait for this one's credentials.
        let cluster = Arc::new(Cluster::connect(address, self.held.as_ref()).await?);
        Ok(Arc::clone(clusters().entry(address.clone()).or_insert(cluster)))
    }
}

/// One order's view of its deployment.
struct Rollout<'a> {
    plan: &'a Plan,
    new: Known<'a>,
    stable: Option<Known<'a>>,
    preview_name: String,
    cluster: Arc<Cluster>,
    owner: &'a str,
    epoch: u64,
}

impl Rollout<'_> {
    fn namespace(&self) -> &str {
        &self.new.spec.namespace
    }

    fn fence(&self, generation: u64) -> Fence<'_> {
        Fence::new(self.owner, self.epoch, self.plan, generation)
    }

    /// An object as the watches have it, or as the API server answers where they have nothing to say. A Deployment may be
    /// without its pod template.
    async fn object(&self, lane: &Lane, kind: Kind, name: &str) -> Result<Option<Arc<Value>>, ClusterError> {
        match self.cluster.view(self.namespace()).object(kind, name) {
            Remembered::Object(object) => Ok(Some(object)),
            Remembered::Nothing => Ok(None),
            Remembered::Unsure => Ok(lane.get(kind, self.namespace(), name).await?.map(Arc::new)),
        }
    }

    /// Applies an object of ours.
    async fn apply(&self, lane: &Lane, kind: Kind, object: &Value) -> Result<(), ClusterError> {
        let applied = lane.apply(kind, object, false).await?;
        self.cluster.view(self.namespace()).wrote(kind, &applied);
        Ok(())
    }

    /// News of a release's Deployment and pods from now on.
    fn follow(&self, known: &Known<'_>) -> Following {
        let view = self.cluster.view(self.namespace());
        view.follow(known.deployment(), known.service, &known.release.tag)
    }

    /// The users' Service.
    async fn root(&self, lane: &Lane) -> Result<Arc<Value>, EffectError> {
        let name = &self.new.spec.service;
        let found = self.object(lane, Kind::Service, name).await?;
        found.ok_or_else(|| self.no_root())
    }

    fn no_root(&self) -> EffectError {
        EffectError::Wrong(format!(
            "there is no Service `{}` in namespace {}: it is what users come in by; make it first, or correct `service`",
            self.new.spec.service,
            self.namespace()
        ))
    }

    /// Changes an object as it is known, and does it again with what the API server has when somebody changed it in between,
    /// or when it could not be done with what is known. No changes are none.
    async fn edit(
        &self,
        lane: &Lane,
        kind: Kind,
        name: &str,
        changes: impl Fn(&Value) -> Result<Vec<Value>, EffectError>,
    ) -> Result<Arc<Value>, EffectError> {
        let view = self.cluster.view(self.namespace());
        let mut known = match view.object(kind, name) {
            Remembered::Object(object) => Some(object),
            Remembered::Nothing | Remembered::Unsure => None,
        };
        let mut last = None;
        for _ in 0..CHANGED_MAX {
            let (object, asked) = match known.take() {
                Some(known) => (known, false),
                None => (Arc::new(self.asked(lane, kind, name).await?), true),
            };
            let changes = match changes(&object) {
                Err(_) if !asked => continue,
                changes => changes?,
            };
            if changes.is_empty() {
                return Ok(object);
            }
            match lane.change(kind, self.namespace(), name, &changes).await {
                Ok(changed) => {
                    view.wrote(kind, &changed);
                    return Ok(Arc::new(changed));
                }
                // The test of a version that is the present one no more is answered so; of the present one it is a refusal.
                Err(why @ (ClusterError::Changed { .. } | ClusterError::Refused { .. })) => {
                    let version = object.pointer("/metadata/resourceVersion").cloned();
                    let refused = matches!(why, ClusterError::Refused { .. });
                    if last.replace((version.clone(), refused)) == Some((version, true)) {
                        return Err(why.into());
                    }
                }
                Err(other) => return Err(other.into()),
            }
        }
        let what = format!("{} {}/{name}", kind.name(), self.namespace());
        Err(ClusterError::Changed { what }.into())
    }

    /// An object that has to be there, as the API server has it now.
    async fn asked(&self, lane: &Lane, kind: Kind, name: &str) -> Result<Value, EffectError> {
        let found = lane.get(kind, self.namespace(), name).await?;
        found.ok_or_else(|| {
            let (kind, namespace) = (kind.name(), self.namespace());
            EffectError::Wrong(format!("{kind} {namespace}/{name} is not there any more"))
        })
    }
}
