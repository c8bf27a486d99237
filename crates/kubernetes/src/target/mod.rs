//! Effects on a cluster: every one looks at the objects first and leaves alone what is so already.

mod adopt;
mod argo;
mod back;
mod belongings;
mod capacity;
mod disown;
mod foresee;
mod forward;
mod given;
mod objects;
mod reading;
mod retire;
mod rights;
mod root;
mod route;
mod steady;
mod subsets;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

pub use adopt::Untold;
pub(crate) use adopt::{owner, query};
pub(crate) use back::patiently;
pub use foresee::Obstacle;
use given::AsGiven;

use crate::{
    cluster::{Address, Cluster, Lane},
    control::Held,
    edit::Edited,
    fault::ClusterError,
    fence::{Fence, FenceError},
    guard,
    kinds::Kind,
    pin::moved,
    spec::{Known, KubernetesSpec, Place, SpecError},
    traffic::RouteError,
    view::{Blind, DeploymentView, Following, Remembered},
};
use futures_util::FutureExt;
use serde_json::Value;
use tidegate_adapters::{clock::Clock, metrics::Metrics};
use tidegate_core::{
    deployment::{Effect, Outcome},
    gate::Reading,
    model::Release,
    plan::Plan,
};
use tidegate_engine::{Order, journal::BoxFuture};

/// Longest time between two looks at what is kept of the namespace, while pods come or go. News ends it.
const LOOK: Duration = Duration::from_secs(1);

/// How long whoever sends users' requests gets to learn of one object before something rests on it: gateways, the proxies of a mesh
/// and of each node are told of a Service, its pods and a route one by one, in any order. Istio's own advice is "a few seconds".
///
/// Nothing on the API server says which of them have learned of what: Istio's word on it in an object's status is off unless asked
/// for, and to ask `istiod` itself would need its address and a right of its own. So it is a time. A mesh that takes longer (pushes
/// are gathered while many objects change) answers some requests of a first share with 503, which the gates count.
///
/// What can be seen is whether anything rests on a step yet: as long as nothing does, the pause comes again, so a try that was
/// broken off in the middle of one leaves nothing out. The way back never waits.
const SPREAD: Duration = Duration::from_secs(2);

/// Time between two looks at the demand while a share is watched.
const DEMAND_LOOK: Duration = Duration::from_secs(10);

/// Kubernetes as a target. Cheap to clone.
#[derive(Clone)]
pub struct KubernetesTarget {
    clusters: Arc<Mutex<BTreeMap<Address, Arc<Cluster>>>>,
    pub(crate) owner: Arc<str>,
    pub(crate) clock: Arc<Clock>,
    pub(crate) metrics: Metrics,
    manifests: ReadManifests,
    /// By deployment.
    placed: Arc<Mutex<BTreeMap<String, Arc<Placed>>>>,
    /// Deployments that others roll out, by deployment.
    rolling: Arc<Mutex<BTreeMap<String, Arc<DeploymentView>>>>,
    /// When the demand of a deployment was last looked at between two steps.
    looked: Arc<Mutex<BTreeMap<(String, String), Instant>>>,
    held: Option<Held>,
}

/// Reads the objects of a manifest, which may be several; an error says what is wrong without showing the file's text.
pub type ReadManifests = fn(&Path) -> Result<Vec<Value>, String>;

/// Where both releases of a plan are.
struct Placed {
    plan: Arc<Plan>,
    new: Vec<Place>,
    stable: Vec<Place>,
    as_given: AsGiven,
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
    #[error("{0} is not there any more")]
    Gone(String),
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
    pub(crate) const fn is_permanent(&self) -> bool {
        match self {
            Self::Cluster(error) => error.is_permanent(),
            Self::Spec(_)
            | Self::Fence(_)
            | Self::Route(_)
            | Self::Unready(_)
            | Self::Wrong(_)
            | Self::Gone(_) => true,
            Self::Unknown(_) | Self::Unread(_) => false,
        }
    }

    fn outcome(&self) -> Outcome {
        Outcome::Failed { reason: tidegate_adapters::chain(self), permanent: self.is_permanent() }
    }
}

impl KubernetesTarget {
    /// The target of one Tidegate. `owner` names its data directory among all that may write to a cluster.
    pub fn new(owner: &str, clock: Arc<Clock>) -> Self {
        Self {
            clusters: Arc::default(),
            owner: owner.into(),
            clock,
            metrics: Metrics::default(),
            manifests: |path| Err(format!("{}: nobody reads manifests here", path.display())),
            placed: Arc::default(),
            rolling: Arc::default(),
            looked: Arc::default(),
            held: None,
        }
    }

    /// The same, with who reads the manifests of `ConfigMaps` and Secrets when they are written to a cluster.
    #[must_use]
    pub fn with_manifests(self, manifests: ReadManifests) -> Self {
        Self { manifests, ..self }
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
        self.placed.lock().unwrap_or_else(PoisonError::into_inner).remove(deployment);
        self.rolling.lock().unwrap_or_else(PoisonError::into_inner).remove(deployment);
        self.looked.lock().unwrap_or_else(PoisonError::into_inner).retain(|(of, _), _| of != deployment);
    }

    /// In every place that the order concerns at once: trouble in one keeps no other from turning back.
    async fn effect(&self, order: &Order) -> Result<Outcome, EffectError> {
        if order.plan.release.spec.kind == guard::KIND {
            return guard::effect(self, order).boxed().await;
        }
        let placed = self.placed(&order.plan)?;
        let Placed { new: places, stable, as_given, .. } = &*placed;
        let concerned = places.iter().filter(|place| order.reach.covers(place.wave));
        let done = concerned.map(|place| async {
            let done = async {
                self.rollout((&order.plan, order.epoch), place, stable).await?.perform(&order.effect).await
            };
            (place.cell.as_str(), done.await)
        });
        together(futures_util::future::join_all(done).await)?;
        if !matches!(order.effect, Effect::Shift { .. } | Effect::Measure { .. }) {
            return Ok(Outcome::Done);
        }
        let mut rollouts = Vec::with_capacity(places.len());
        for place in places {
            rollouts.push(self.rollout((&order.plan, order.epoch), place, stable).await?);
        }
        if matches!(order.effect, Effect::Measure { .. }) {
            for rollout in rollouts.iter().filter(|rollout| self.is_time(rollout)) {
                rollout.keep_up().boxed().await;
            }
        }
        let given = order.given.filter(|_| matches!(order.effect, Effect::Measure { .. }));
        let astray = given::astray(&rollouts, given, as_given).await;
        let reading = self.reading(&order.plan, &rollouts, given)?;
        Ok(Outcome::Read(Reading { astray, ..reading }))
    }

    /// Where both releases are. Read once for each plan: they say it as text, and are asked twice a second.
    fn placed(&self, plan: &Arc<Plan>) -> Result<Arc<Placed>, EffectError> {
        let known = || self.placed.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(placed) = known().get(&plan.deployment).filter(|placed| Arc::ptr_eq(&placed.plan, plan)) {
            return Ok(Arc::clone(placed));
        }
        let stable = plan.stable.as_ref().map(KubernetesSpec::of).transpose()?;
        // Another deployment may have become good in another cluster while this one waited for its turn.
        if let Some(why) = plan.stable.as_ref().and_then(|good| moved(&plan.service, good, &plan.release)) {
            return Err(EffectError::Wrong(why));
        }
        let placed = Arc::new(Placed {
            plan: Arc::clone(plan),
            new: KubernetesSpec::of(&plan.release)?.places(),
            stable: stable.map(|spec| spec.places()).unwrap_or_default(),
            as_given: AsGiven::default(),
        });
        known().insert(plan.deployment.clone(), Arc::clone(&placed));
        Ok(placed)
    }

    async fn rollout<'a>(
        &'a self,
        (plan, epoch): (&'a Plan, u64),
        place: &Place,
        stable: &[Place],
    ) -> Result<Rollout<'a>, EffectError> {
        let known = |release: &'a Release, place: &Place| {
            let spec = place.spec.clone();
            spec.map(|spec| Known::new(&plan.service, release, spec)).transpose()
        };
        let Some(new) = known(&plan.release, place)? else {
            // What runs in some of the cells only cannot be brought to the others: its objects are not ours.
            return Err(EffectError::Wrong(format!(
                "release {} was never in cell {}",
                plan.release.tag, place.cell
            )));
        };
        let there = stable.iter().find(|stable| stable.cell == place.cell);
        let stable =
            plan.stable.as_ref().zip(there).map(|(release, place)| known(release, place)).transpose()?;
        let cluster = self.cluster(&new.spec.address()).await?;
        let (owner, manifests, preview_name) = (&*self.owner, self.manifests, new.preview());
        let (cell, wave) = (place.cell.clone(), place.wave);
        Ok(Rollout {
            plan,
            new,
            stable: stable.flatten(),
            preview_name,
            cell,
            wave,
            cluster,
            owner,
            manifests,
            epoch,
        })
    }

    /// Whether the demand is to be looked at: now and then, because autoscalers change their mind every 15 s.
    fn is_time(&self, rollout: &Rollout<'_>) -> bool {
        if !rollout.is_autoscaled() {
            return false;
        }
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let place = (rollout.plan.deployment.clone(), rollout.cell.clone());
        let last = looked.get(&place);
        let due = last.is_none_or(|last| last.elapsed() >= DEMAND_LOOK);
        if due {
            looked.insert(place, Instant::now());
        }
        due
    }

    /// What a guarded rollout goes on in, watched from now on until it is forgotten.
    pub(crate) fn rolling(
        &self,
        deployment: &str,
        cluster: &Cluster,
        of: (&str, &str),
    ) -> Arc<DeploymentView> {
        let mut rolling = self.rolling.lock().unwrap_or_else(PoisonError::into_inner);
        let (namespace, name) = of;
        let view = rolling
            .entry(deployment.to_owned())
            .or_insert_with(|| DeploymentView::watch(cluster.forward().client(), namespace, name));
        Arc::clone(view)
    }

    pub(crate) async fn cluster(&self, address: &Address) -> Result<Arc<Cluster>, ClusterError> {
        let clusters = || self.clusters.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(cluster) = clusters().get(address) {
            return Ok(Arc::clone(cluster));
        }
        // Not under the lock: another cluster's way back is not to wait for this one's credentials.
        let cluster = Arc::new(Cluster::connect(address, self.held.as_ref()).boxed().await?);
        Ok(Arc::clone(clusters().entry(address.clone()).or_insert(cluster)))
    }
}

/// What several places answered together: what went wrong in each is said, and only what cannot be helped anywhere is final.
fn together(answers: Vec<(&str, Result<(), EffectError>)>) -> Result<(), EffectError> {
    let mut failed: Vec<_> =
        answers.into_iter().filter_map(|(cell, answer)| Some((cell, answer.err()?))).collect();
    if failed.len() < 2 && failed.first().is_none_or(|(cell, _)| cell.is_empty()) {
        return failed.pop().map_or(Ok(()), |(_, why)| Err(why));
    }
    let permanent = failed.iter().all(|(_, why)| why.is_permanent());
    let say = |(cell, why): &(&str, EffectError)| format!("cell {cell}: {}", tidegate_adapters::chain(why));
    let said = failed.iter().map(say).collect::<Vec<_>>().join("; ");
    Err(if permanent { EffectError::Wrong(said) } else { EffectError::Unread(said) })
}

/// One order's view of its deployment in one place.
struct Rollout<'a> {
    plan: &'a Plan,
    new: Known<'a>,
    stable: Option<Known<'a>>,
    preview_name: String,
    /// The cell; empty where there is only one place.
    cell: String,
    wave: u16,
    cluster: Arc<Cluster>,
    owner: &'a str,
    epoch: u64,
    manifests: ReadManifests,
}

impl Rollout<'_> {
    async fn perform(&self, effect: &Effect) -> Result<(), EffectError> {
        if self.is_about_a_rollout() {
            self.cluster.view(self.namespace()).also(Kind::ReplicaSet);
        }
        // The way back waits for no watch.
        if !matches!(effect, Effect::Build | Effect::Restore { .. }) {
            self.cluster.view(self.namespace()).listed().await;
        }
        // Each in a box of its own: the look that is taken twice a second needs no room for the longest of them.
        let done = match *effect {
            Effect::Check => self.check().boxed(),
            Effect::Build => self.build().boxed(),
            Effect::Scale { instances, generation, share } => {
                self.scale(instances, generation, share).boxed()
            }
            Effect::Shift { share, mirror, generation } => self.shift(share, mirror, generation).boxed(),
            Effect::Measure { .. } => self.look_after().boxed(),
            Effect::Promote { generation } => self.promote(generation).boxed(),
            Effect::Restore { generation } => self.restore(generation).boxed(),
            Effect::Retire { new, generation } => self.retire(new, generation).boxed(),
            Effect::Wake { .. } => return Ok(()),
        };
        done.await
    }

    /// Whether a Rollout of Argo Rollouts has either release's pods.
    fn is_about_a_rollout(&self) -> bool {
        self.stable.iter().chain([&self.new]).any(Known::is_rollout)
    }

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
        view.follow(known.workload(), known.service, &known.release.tag)
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
        let known = match view.object(kind, name) {
            Remembered::Object(object) => Some(object),
            Remembered::Nothing | Remembered::Unsure => None,
        };
        let edited = Edited { lane, kind, namespace: self.namespace(), name };
        edited.edit(known, |written| view.wrote(kind, written), changes).await
    }

    /// An object that has to be there, as the API server has it now.
    async fn asked(&self, lane: &Lane, kind: Kind, name: &str) -> Result<Value, EffectError> {
        Edited { lane, kind, namespace: self.namespace(), name }.asked().await
    }
}
