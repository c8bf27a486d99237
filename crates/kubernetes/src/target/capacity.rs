//! Enough pods while an autoscaler changes their number: floors for the autoscalers of both releases, by one demand.

use serde_json::{Value, json};
use tidegate_core::model::Share;

use super::{EffectError, Rollout, root};
use crate::{
    belongings::{
        Autoscale, Autoscaling,
        objects::{self, AUTOSCALED_PATH},
    },
    cluster::Lane,
    demand::{self, Limits, Side, asked},
    fence::{Fence, annotation, at_version},
    kinds::Kind,
    manifest::{MANAGED_BY, OURS, name},
    spec::{Known, Traffic},
};

/// Why a share by numbers of pods and an autoscaler exclude each other, and what to do.
const EITHER: &str =
    "the numbers of pods make the shares of this strategy: name a route under `traffic`, or use `blue_green`";

/// Both releases' autoscalers.
struct Scalers {
    /// What the new release's is to be.
    own: Option<Autoscale>,
    new: Option<Value>,
    stable: Option<Value>,
}

/// How many pods each release needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Capacity {
    /// The new one, for what it has and is to get.
    pub(super) new: u32,
    /// The stable one, for everything.
    pub(super) stable: u32,
}

impl Rollout<'_> {
    /// Whether an autoscaler changes the number of either release's pods. From what is known, without a request.
    pub(super) fn is_autoscaled(&self) -> bool {
        self.has_scaler(&self.new) || self.stable.as_ref().is_some_and(|stable| self.has_scaler(stable))
    }

    /// Whether the release's Deployment has an autoscaler of ours.
    fn has_scaler(&self, known: &Known<'_>) -> bool {
        match known.spec.belongings.autoscaling {
            Autoscaling::Own(_) => true,
            Autoscaling::Follow | Autoscaling::Off => self.workload(known).is_ok_and(|now| now.autoscaled),
        }
    }

    /// The API server would take the new release's autoscaler, and it does not change what the strategy counts on.
    pub(super) async fn autoscaling_fits(&self, lane: &Lane, fence: Fence<'_>) -> Result<(), EffectError> {
        let shares_pods =
            self.stable.is_some() && self.plan.stages.iter().any(|stage| self.shares_pods(stage.share));
        if !shares_pods && !matches!(self.new.spec.belongings.autoscaling, Autoscaling::Own(_)) {
            // What is followed was taken once already.
            return Ok(());
        }
        let stable = self.stable_scaler(lane).await?;
        let Some(own) = self.own(stable.as_ref()) else { return Ok(()) };
        if shares_pods {
            let who = stable.as_ref().map_or("`autoscale`", name);
            return Err(EffectError::Wrong(format!("{who} changes the number of pods, and {EITHER}")));
        }
        let kind = Kind::HorizontalPodAutoscaler;
        if lane.get(kind, self.namespace(), &self.new.name).await?.is_none() {
            lane.apply(kind, &objects::autoscaler(&self.new, &own, own.min, fence), true).await?;
        }
        Ok(())
    }

    /// Whether the new release gets an autoscaler; true where that cannot be told.
    pub(super) async fn gets_scaler(&self, lane: &Lane) -> bool {
        let Ok(stable) = self.stable_scaler(lane).await else { return true };
        stable.is_some() || self.own(None).is_some()
    }

    /// The new release has its autoscaler, which does nothing while it has no pods.
    /// Answers whether its Deployment is to be marked, because nothing else says so.
    pub(super) async fn autoscale(&self, lane: &Lane, fence: Fence<'_>) -> Result<bool, EffectError> {
        let stable = self.stable_scaler(lane).await?;
        let Some(own) = self.own(stable.as_ref()) else { return Ok(false) };
        let kind = Kind::HorizontalPodAutoscaler;
        if lane.get(kind, self.namespace(), &self.new.name).await?.is_none() {
            let wanted = objects::autoscaler(&self.new, &own, own.min, fence);
            self.ensure_ours(lane, kind, &wanted, fence).await?;
        }
        Ok(self.new.spec.belongings.autoscaling == Autoscaling::Follow)
    }

    /// Says on the new release's Deployment that it has an autoscaler.
    pub(super) async fn mark_autoscaled(&self, lane: &Lane, fence: Fence<'_>) -> Result<(), EffectError> {
        self.edit(lane, Kind::Deployment, &self.new.name, |object| {
            Self::is_of(object, &self.new, fence)?;
            if annotation(object, objects::AUTOSCALED).is_some() {
                return Ok(Vec::new());
            }
            let mark = json!({"op": "add", "path": AUTOSCALED_PATH, "value": "true"});
            // After the annotations of the fence, which are written as a whole.
            Ok(fence.patch(object, [mark]))
        })
        .await?;
        Ok(())
    }

    /// Tells the autoscalers how far they may go down while the new release has its share and is to get `next`; nothing
    /// where no autoscaler is.
    pub(super) async fn capacity(&self, lane: &Lane, next: Share) -> Result<Option<Capacity>, EffectError> {
        if !self.is_autoscaled() {
            return Ok(None);
        }
        let stable = self.stable_scaler(lane).await?;
        let new = lane.get(Kind::HorizontalPodAutoscaler, self.namespace(), &self.new.name).await?;
        let own = self.own(stable.as_ref()).or_else(|| new.as_ref().map(Autoscale::of));
        let scalers = Scalers { own, new, stable };
        let given = self.given(lane).await?;
        let Some((needs, limits)) = self.needs(&scalers, given, next) else { return Ok(None) };
        if let Some(known) = self.stable.as_ref().filter(|stable| stable.spec.adopted.is_none())
            && scalers.stable.is_some()
        {
            self.floor(lane, known, needs.stable.clamp(limits.min, limits.max)).await?;
        }
        if let Some(stable) = self.stable.as_ref().filter(|stable| stable.is_rollout())
            && scalers.stable.is_some()
        {
            self.follow_rollout(lane, stable, needs.stable).await?;
        }
        if scalers.new.is_some() {
            self.floor(lane, &self.new, needs.new.clamp(limits.min, limits.max)).await?;
        }
        Ok(Some(needs))
    }

    fn needs(&self, scalers: &Scalers, given: Share, next: Share) -> Option<(Capacity, Limits)> {
        let of_stable = scalers.stable.as_ref().map(Autoscale::of);
        let limits = scalers.own.as_ref().or(of_stable.as_ref())?.limits();
        let side = |share, scaler: &Option<Value>| Side { share, asked: scaler.as_ref().and_then(asked) };
        let sides = [side(given.rest(), &scalers.stable), side(given, &scalers.new)];
        let told = |scaler: &Option<Value>| scaler.as_ref()?.pointer("/spec/minReplicas")?.as_u64();
        // Somebody else's floor says nothing about what we found; our own on the new release is a part of it.
        let floor = told(&scalers.stable).max(told(&scalers.new)).unwrap_or_default();
        let floor = u32::try_from(floor).unwrap_or_default();
        let before = self.stable.as_ref().map_or(0, |stable| stable.spec.replicas);
        let whole = demand::demand(self.new.spec.replicas, floor.max(before), &sides, limits);
        let new = demand::need(whole, next.max(given), limits);
        Some((Capacity { new, stable: demand::need(whole, Share::ALL, limits) }, limits))
    }

    /// While a share is watched: floors follow the demand, so that everything may return at any moment. Trouble is only said.
    pub(super) async fn keep_up(&self) {
        let lane = self.cluster.forward();
        if let Err(why) = self.capacity(lane, Share::NONE).await {
            tracing::warn!(service = self.plan.service, %why, "the autoscalers cannot be told the demand");
        }
    }

    /// The release's pods are as many as its own autoscaler says, and no more.
    pub(super) async fn relieve(&self, lane: &Lane, known: &Known<'_>) -> Result<(), EffectError> {
        if known.spec.adopted.is_some() || !self.has_scaler(known) {
            return Ok(());
        }
        let found = lane.get(Kind::HorizontalPodAutoscaler, self.namespace(), &known.name).await?;
        match found {
            Some(scaler) => self.floor(lane, known, Autoscale::of(&scaler).min).await,
            None => Ok(()),
        }
    }

    /// A release without pods has no autoscaler.
    pub(super) async fn unscale(
        &self,
        lane: &Lane,
        known: &Known<'_>,
        fence: Fence<'_>,
    ) -> Result<(), EffectError> {
        if known.spec.adopted.is_some() || !self.has_scaler(known) {
            return Ok(());
        }
        self.remove_ours(lane, Kind::HorizontalPodAutoscaler, &known.name, fence).await
    }

    /// Pods that the stable release needs for everything to return: what it was told, or more where its or the new release's
    /// autoscaler asked for more. Asks nobody.
    pub(super) fn wanted_back(&self, stable: &Known<'_>) -> u32 {
        if !self.is_autoscaled() {
            return stable.spec.replicas;
        }
        let wanted = |known: &Known<'_>| self.workload(known).map_or(0, |now| now.wanted);
        stable.spec.replicas.max(wanted(stable)).max(wanted(&self.new))
    }

    /// What the new release's autoscaler is to be.
    fn own(&self, stable: Option<&Value>) -> Option<Autoscale> {
        match &self.new.spec.belongings.autoscaling {
            Autoscaling::Own(own) => Some(own.clone()),
            Autoscaling::Follow => stable.map(Autoscale::of),
            Autoscaling::Off => None,
        }
    }

    /// What changes the number of the stable release's pods: ours, or that of whoever made its Deployment.
    async fn stable_scaler(&self, lane: &Lane) -> Result<Option<Value>, EffectError> {
        let Some(stable) = &self.stable else { return Ok(None) };
        let kind = Kind::HorizontalPodAutoscaler;
        if stable.spec.adopted.is_none() {
            // A build does not wait for the watches.
            let unseen = self.workload(stable).is_err();
            let asked = unseen && self.workload_now(lane, stable).await?.is_some_and(|now| now.autoscaled);
            if !asked && !self.has_scaler(stable) {
                return Ok(None);
            }
            return Ok(lane.get(kind, self.namespace(), &stable.name).await?);
        }
        if self.new.spec.belongings.autoscaling == Autoscaling::Off {
            return Ok(None);
        }
        let theirs = lane.list(kind, self.namespace(), &format!("{MANAGED_BY}!={OURS}")).await?;
        let scales = |scaler: &Value| {
            let of =
                |key: &str| scaler.pointer(&format!("/spec/scaleTargetRef/{key}")).and_then(Value::as_str);
            let theirs = stable.spec.adopted.as_ref().map_or("", |adopted| &adopted.name);
            let kind = if stable.is_rollout() { Kind::ArgoRollout } else { Kind::Deployment };
            of("kind") == Some(kind.name()) && of("name") == Some(theirs)
        };
        Ok(theirs.into_iter().find(scales))
    }

    /// The share of the traffic that the new release has now.
    async fn given(&self, lane: &Lane) -> Result<Share, EffectError> {
        let Some(stable) = &self.stable else { return Ok(Share::ALL) };
        if self.new.spec.traffic != Traffic::Service {
            return self.route_known(lane).await;
        }
        let root = self.root(lane).await?;
        let only_new = root::reaches(&root, &self.new) && !root::reaches(&root, stable);
        Ok(if only_new { Share::ALL } else { Share::NONE })
    }

    /// Tells an autoscaler of ours how far it may go down. Nobody's order is outdated by it.
    async fn floor(&self, lane: &Lane, known: &Known<'_>, pods: u32) -> Result<(), EffectError> {
        let owner = self.fence(0).owner_key();
        let kind = Kind::HorizontalPodAutoscaler;
        if lane.get(kind, self.namespace(), &known.name).await?.is_none() {
            return Ok(());
        }
        self.edit(lane, kind, &known.name, |object| {
            let is_ours = annotation(object, &owner) == Some(self.owner);
            let same = object.pointer("/spec/minReplicas").and_then(Value::as_u64) == Some(u64::from(pods));
            if !is_ours || same {
                return Ok(Vec::new());
            }
            Ok(vec![at_version(object), json!({"op": "add", "path": "/spec/minReplicas", "value": pods})])
        })
        .await?;
        Ok(())
    }
}
