//! Effects of a guarded rollout. Kubernetes itself moves the pods; what is done here is to look, to note what was good, and
//! to put the good template back.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tidegate_adapters::metrics::{InstanceAddress, Instances};
use tidegate_core::{
    deployment::{Effect, Outcome},
    gate::{Reading, ReleaseReading},
    plan::Plan,
    view::SUPERSEDED,
};
use tidegate_engine::Order;

use super::{
    looks::Seen,
    spec::GuardSpec,
    template::{GOOD, GOOD_PATH, GUARD, is_complete, not_ours_to_guard, number, runs, wanted},
};
use crate::{
    cluster::Cluster,
    fence::{Fence, annotation},
    start::{self, Progress},
    target::{EffectError, KubernetesTarget, patiently},
    view::{DeploymentView, Pod, Pods, Workload},
};

/// Pods that a quota or an admission refuses for so long, while nothing else moves, will not come. Within it the old pods that
/// are in the way may still go.
const REFUSED_MAX: Duration = Duration::from_secs(15);

/// One order's view of a guarded rollout.
pub(super) struct Guard<'a> {
    pub(super) plan: &'a Plan,
    /// The revision that is judged, or that a person goes back to.
    pub(super) new: GuardSpec,
    /// The revision to return to.
    pub(super) good: Option<GuardSpec>,
    pub(super) cluster: Arc<Cluster>,
    /// Its Deployment and the pods, as far as they are known.
    pub(super) view: Arc<DeploymentView>,
    owner: &'a str,
    epoch: u64,
}

/// See [`tidegate_engine::World::perform`].
pub(crate) async fn effect(target: &KubernetesTarget, order: &Order) -> Result<Outcome, EffectError> {
    let guard = Guard::of(target, order).await?;
    match order.effect {
        Effect::Check => guard.check().await,
        Effect::Build => guard.build().await,
        Effect::Scale { generation, .. } => guard.come_up(generation).await,
        Effect::Shift { .. } | Effect::Measure { .. } => guard.reading(target).await.map(Outcome::Read),
        Effect::Promote { generation } => guard.promote(generation).await,
        Effect::Restore { generation } => patiently(&order.plan.service, || guard.restore(generation)).await,
        // Pods come and go by Kubernetes' own hand.
        Effect::Retire { .. } | Effect::Wake { .. } => Ok(Outcome::Done),
    }
}

impl<'a> Guard<'a> {
    async fn of(target: &'a KubernetesTarget, order: &'a Order) -> Result<Self, EffectError> {
        let plan = &*order.plan;
        let read = |release| GuardSpec::of(release).map_err(crate::spec::SpecError::from);
        let new = read(&plan.release)?;
        let good = plan.stable.as_ref().map(read).transpose()?;
        // What was good under this name before it was deleted and made anew is nothing to return to.
        let good = good.filter(|good| good.uid == new.uid && good.deployment == new.deployment);
        let cluster = target.cluster(&new.address()).await?;
        let view = target.rolling(&plan.deployment, &cluster, (&new.namespace, &new.deployment));
        Ok(Self { plan, new, good, cluster, view, owner: &target.owner, epoch: order.epoch })
    }

    pub(super) fn fence(&self, generation: u64) -> Fence<'_> {
        Fence { service: GUARD, ..Fence::new(self.owner, self.epoch, self.plan, generation) }
    }

    /// `Deployment prod/shop`.
    pub(super) fn what(&self) -> String {
        format!("Deployment {}/{}", self.new.namespace, self.new.deployment)
    }

    /// The Deployment is there, ours to guard, and what was asked for is still what is there.
    async fn check(&self) -> Result<Outcome, EffectError> {
        let lane = self.cluster.forward();
        // A role that does not allow to look at pods shows now, not in the middle.
        let Seen { object, .. } =
            if self.plan.way_back { self.ask(lane).await? } else { self.ask_still(lane).await? };
        let what = self.what();
        self.fence(self.plan.generation(0)).admits(&object, &what)?;
        if let Some(why) = not_ours_to_guard(&object) {
            return Err(EffectError::Wrong(format!("{what} cannot be guarded: {why}")));
        }
        if self.plan.way_back && Workload::of(&object).paused {
            return Err(EffectError::Wrong(format!(
                "{what} is paused by its owner, and what is put into it would wait: `kubectl -n {} rollout resume \
                 deployment/{}` first",
                self.new.namespace, self.new.deployment
            )));
        }
        Ok(Outcome::Done)
    }

    /// Says on the Deployment who guards it; a person's way back puts the template there.
    async fn build(&self) -> Result<Outcome, EffectError> {
        let fence = self.fence(self.plan.generation(0));
        if self.plan.way_back {
            return self.go_back(fence).await;
        }
        let lane = self.cluster.forward();
        self.look_still(lane).await?;
        self.edit(lane, self.view.object(), |object| {
            fence.admits(object, &self.what())?;
            Ok(if fence.is_on(object) { Vec::new() } else { fence.patch(object, []) })
        })
        .await?;
        Ok(Outcome::Done)
    }

    /// Waits until every pod is of this revision and ready, or surely will not be.
    async fn come_up(&self, generation: u64) -> Result<Outcome, EffectError> {
        let (lane, fence) = (self.cluster.forward(), self.fence(generation));
        let (mut start, mut news) = (Start::new(self.new.progress_ms), self.view.follow());
        loop {
            let seen = self.look_still(lane).await?;
            let (object, pods) = (&*seen.object, seen.pods(&self.new.set()));
            fence.admits(object, &self.what())?;
            // Without pods there is nothing to judge; only a person's way back needs none.
            if is_complete(object) && (wanted(object) > 0 || self.plan.way_back) {
                return Ok(Outcome::Done);
            }
            start::not_broken(&pods, &self.new.namespace)?;
            start.look(object, (&self.new.namespace, &pods), &self.new.called())?;
            self.rest(&mut news).await;
        }
    }

    /// Pods of both revisions, and what the plan's metrics say.
    async fn reading(&self, target: &KubernetesTarget) -> Result<Reading, EffectError> {
        let lane = self.cluster.forward();
        let look = if self.plan.way_back { self.look(lane).await? } else { self.look_still(lane).await? };
        let object = &*look.object;
        if wanted(object) == 0 && !self.plan.way_back {
            return Err(EffectError::Unread(format!(
                "{} was scaled to no pods: there is nothing to judge",
                self.what()
            )));
        }
        let at = target.clock.now();
        let pods = look.pods(&self.new.set());
        let (new, addresses) = seen(&pods, u32::try_from(wanted(object)).unwrap_or(u32::MAX));
        let (stable, stable_addresses) = match &self.good {
            Some(good) => {
                let pods = look.pods(&good.set());
                let there = u32::try_from(pods.len()).unwrap_or(u32::MAX);
                let (stable, addresses) = seen(&pods, there);
                (Some(stable), addresses)
            }
            None => (self.plan.stable.as_ref().map(|_| ReleaseReading::default()), Vec::new()),
        };
        let instances = Instances {
            new: addresses,
            stable: stable_addresses,
            pods: [self.new.pods(), self.good.as_ref().map_or_else(String::new, GuardSpec::pods)],
        };
        Ok(Reading {
            at,
            boot: "kubernetes".to_owned(),
            new,
            stable,
            mirror: None,
            astray: None,
            metrics: target.metrics.read(self.plan, &instances, at),
        })
    }

    /// Notes that this revision is good.
    async fn promote(&self, generation: u64) -> Result<Outcome, EffectError> {
        let (lane, fence) = (self.cluster.forward(), self.fence(generation));
        self.edit(lane, self.view.object(), |object| {
            fence.admits(object, &self.what())?;
            if !runs(object, &self.new) {
                return Err(EffectError::Wrong(format!(
                    "{} {SUPERSEDED} before {} could be called good",
                    self.what(),
                    self.new.called()
                )));
            }
            Ok(good_is(object, &self.new, fence))
        })
        .await?;
        Ok(Outcome::Done)
    }
}

/// The changes that note a revision as the good one; none when it is noted by this order's word already.
pub(super) fn good_is(object: &Value, spec: &GuardSpec, fence: Fence<'_>) -> Vec<Value> {
    if annotation(object, GOOD) == Some(&spec.hash) && fence.is_on(object) {
        return Vec::new();
    }
    guarded_patch(object, fence, [json!({"op": "add", "path": GOOD_PATH, "value": spec.hash})])
}

/// A JSON Patch (RFC 6902) of the Deployment as long as it has the pod template and the fence that were read. Whatever else
/// somebody writes meanwhile stays, and keeps nobody waiting.
pub(super) fn guarded_patch(
    object: &Value,
    fence: Fence<'_>,
    operations: impl IntoIterator<Item = Value>,
) -> Vec<Value> {
    let Some(before) = annotation(object, &fence.key()) else { return fence.patch(object, operations) };
    let path = |key: &str| format!("/metadata/annotations/{}", key.replace('~', "~0").replace('/', "~1"));
    let test = |path: &str, value: Option<&Value>| json!({"op": "test", "path": path, "value": value});
    let same = [
        test("/metadata/uid", object.pointer("/metadata/uid")),
        test("/spec/template", object.pointer("/spec/template")),
        test(&path(&fence.key()), Some(&json!(before))),
    ];
    let stamp = fence
        .annotations()
        .into_iter()
        .map(|(key, value)| json!({"op": "add", "path": path(&key), "value": value}));
    same.into_iter().chain(stamp).chain(operations).collect()
}

fn seen(pods: &Pods, wanted: u32) -> (ReleaseReading, Vec<InstanceAddress>) {
    let instances = pods.iter().map(|(name, pod)| pod.instance(name)).collect();
    let address = |(name, pod): (&String, &Arc<Pod>)| {
        Some(InstanceAddress { id: name.clone(), address: pod.address.clone()? })
    };
    let addresses = pods.iter().filter(|(_, pod)| pod.ready).filter_map(address).collect();
    (ReleaseReading { wanted, instances, ..ReleaseReading::default() }, addresses)
}

/// A rollout by Kubernetes' own hand, as long as it goes on.
pub(super) struct Start {
    progress: Progress,
    /// Since when pods are refused, and what was there then.
    refused: Option<(Instant, u32, u64)>,
}

impl Start {
    pub(super) fn new(progress_ms: u64) -> Self {
        Self { progress: Progress::new(progress_ms), refused: None }
    }

    /// Fails when it surely does not go on.
    pub(super) fn look(
        &mut self,
        object: &Value,
        (namespace, pods): (&str, &Pods),
        name: &str,
    ) -> Result<(), EffectError> {
        let now = Workload::of(object);
        if now.paused || now.wanted == 0 {
            // Its owner holds it: no time passes.
            self.progress.hold();
            return Ok(());
        }
        let ready = u32::try_from(pods.values().filter(|pod| pod.ready).count()).unwrap_or(u32::MAX);
        let there = number(object, "/status/replicas");
        self.refused = match (&now.failure, self.refused) {
            (None, _) => None,
            (Some(why), Some((since, was_ready, were_there)))
                if (was_ready, were_there) == (ready, there) =>
            {
                if since.elapsed() >= REFUSED_MAX {
                    return Err(start::refused(name, why));
                }
                Some((since, ready, there))
            }
            (Some(_), _) => Some((Instant::now(), ready, there)),
        };
        self.progress.look((ready, now.wanted), name, (namespace, pods)).map_err(|late| match &now.failure {
            Some(why) => start::refused(name, why),
            None => late,
        })
    }
}
