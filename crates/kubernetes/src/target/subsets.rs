//! Istio's subsets: where a `DestinationRule` is named, both releases are reached by the users' Service as host, and told apart
//! by subsets of it. A subset's endpoints are those of the host's Service that have its labels, so the Service has to select
//! the pods of both releases while both have traffic.
//!
//! The order keeps every request on a subset that exists and has pods, and off the new release until it is asked for:
//!
//! 1. before the new release has pods, the subsets are written, and the route sends everything to the stable one's;
//! 2. before the first share, the Service selects both releases, whose route names subsets by now;
//! 3. the way back is the route's matter alone;
//! 4. at the end the route has left a release before the Service does, the Service before the route names no subset, and the
//!    route before our subsets go.
//!
//! Proxies learn of each object by itself and some time later, in any order: between two steps is a time for that.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use serde_json::{Map, Value};
use tidegate_core::model::Share;
use tokio::time::Instant;

use super::{
    EffectError, Rollout, SPREAD,
    root::{self, Serves},
};
use crate::{
    cluster::Lane,
    fence::{Fence, annotation},
    kinds::Kind,
    spec::{Known, Traffic},
    traffic::destination_rule::{self, NEW, STABLE, Subset},
};

/// Our two subsets with these labels, or not there.
const fn both<'a>(
    stable: Option<&'a Map<String, Value>>,
    new: Option<&'a Map<String, Value>>,
) -> [Subset<'a>; 2] {
    [Subset { name: STABLE, labels: stable }, Subset { name: NEW, labels: new }]
}

impl Rollout<'_> {
    /// The `DestinationRule` whose subsets tell the releases apart, where one is named.
    pub(super) fn rule(&self) -> Option<&str> {
        match &self.new.spec.traffic {
            Traffic::VirtualService { destination_rule, .. } => destination_rule.as_deref(),
            Traffic::Service | Traffic::HttpRoute { .. } | Traffic::Ingress { .. } => None,
        }
    }

    fn rule_title(&self, rule: &str) -> String {
        format!("{} {}/{rule}", Kind::DestinationRule.name(), self.namespace())
    }

    /// The rule is there, it is for the users' Service, and nobody else has subsets of our names.
    pub(super) async fn subsets_fit(&self, lane: &Lane, fence: Fence<'_>) -> Result<(), EffectError> {
        let Some(rule) = self.rule() else { return Ok(()) };
        let what = self.rule_title(rule);
        let Some(object) = lane.get(Kind::DestinationRule, self.namespace(), rule).await? else {
            return Err(EffectError::Wrong(format!(
                "there is no {what}: make it first, with `host: {}`, or correct `traffic.destination_rule`",
                self.new.spec.service
            )));
        };
        let new = self.new.selector();
        self.subset_changes(&object, &what, &both(Some(&new), Some(&new)), fence).map(drop)
    }

    /// The changes after which our subsets are these.
    fn subset_changes(
        &self,
        object: &Value,
        what: &str,
        ours: &[Subset<'_>],
        fence: Fence<'_>,
    ) -> Result<Vec<Value>, EffectError> {
        fence.admits(object, what)?;
        let taken = ours.iter().find(|one| destination_rule::labels(object, one.name).is_some());
        if let Some(taken) = taken.filter(|_| annotation(object, &fence.owner_key()).is_none()) {
            return Err(EffectError::Wrong(format!(
                "{what} has a subset `{}` that is not ours, and ours are called so: give it another name",
                taken.name
            )));
        }
        let mut changes = destination_rule::changes(object, &self.new.spec.service, ours)?;
        if !changes.is_empty() {
            changes.push(fence.stamp(object));
        }
        Ok(changes)
    }

    /// Makes our subsets these; answers what was written, if anything had to be.
    async fn write_subsets(
        &self,
        lane: &Lane,
        rule: &str,
        ours: &[Subset<'_>],
        fence: Fence<'_>,
    ) -> Result<Option<Arc<Value>>, EffectError> {
        let (what, changed) = (self.rule_title(rule), AtomicBool::new(false));
        let written = self
            .edit(lane, Kind::DestinationRule, rule, |object| {
                let changes = self.subset_changes(object, &what, ours, fence)?;
                changed.store(!changes.is_empty(), Ordering::Relaxed);
                Ok(changes)
            })
            .await?;
        Ok(changed.load(Ordering::Relaxed).then_some(written))
    }

    /// The subsets are there, and the route names the stable release's: the Service may then select both.
    pub(super) async fn define_subsets(
        &self,
        lane: &Lane,
        stable: &Known<'_>,
        fence: Fence<'_>,
    ) -> Result<(), EffectError> {
        let Some(rule) = self.rule() else { return Ok(()) };
        let (stable, new) = (stable.selector(), self.new.selector());
        // A deployment that was given up may have left its subset, and a share for it, which is not for these pods.
        let there = self.object(lane, Kind::DestinationRule, rule).await?;
        let left =
            there.and_then(|object| destination_rule::labels(&object, NEW)).unwrap_or_else(|| new.clone());
        let written = self.write_subsets(lane, rule, &both(Some(&stable), Some(&left)), fence).await?;
        if written.is_some() || self.route_rests(lane).await? {
            tokio::time::sleep(SPREAD).await;
        }
        self.route_only(lane, Share::NONE, fence).await?;
        if left != new {
            tokio::time::sleep(SPREAD).await;
            self.write_subsets(lane, rule, &both(Some(&stable), Some(&new)), fence).await?;
        }
        Ok(())
    }

    /// The new release's subset has pods: the Service selects those of both releases. Costs a look once it does.
    pub(super) async fn fill_subsets(
        &self,
        lane: &Lane,
        stable: &Known<'_>,
        fence: Fence<'_>,
    ) -> Result<(), EffectError> {
        let Some(rule) = self.rule() else { return Ok(()) };
        let (stable, new) = (self.followed(lane, stable).await?.selector(), self.new.selector());
        // Whoever applied the rule meanwhile may have taken them out. Asked, not remembered: a share of a subset that is not there
        // costs users.
        let now = self.asked(lane, Kind::DestinationRule, rule).await?;
        self.cluster.view(self.namespace()).wrote(Kind::DestinationRule, &now);
        let written = self.write_subsets(lane, rule, &both(Some(&stable), Some(&new)), fence).await?;
        let reached = root::reaches(&*self.root(lane).await?, &self.new);
        if reached && written.is_none() && self.route_known(lane).await? > Share::NONE {
            return Ok(());
        }
        if !reached {
            if written.is_some() {
                tokio::time::sleep(SPREAD).await;
            }
            // Whoever put the route back would have users reach both.
            self.route_only(lane, Share::NONE, fence).await?;
            self.serve(lane, Serves::All, fence).await?;
        }
        tokio::time::sleep(SPREAD).await;
        Ok(())
    }

    /// Leaves the new release no more than this share, with one write where the subsets are as they were left.
    pub(super) async fn route_back_by_subsets(
        &self,
        lane: &Lane,
        rule: &str,
        stable: &Known<'_>,
        share: Share,
        fence: Fence<'_>,
    ) -> Result<(), EffectError> {
        if self.route_rests(lane).await.unwrap_or(false) {
            // It names no subset, and need not: the Service says whom it reaches.
            self.serve(lane, Serves::Only(stable), fence).await?;
            return self.route_at_rest(lane, fence).await;
        }
        let (of_stable, new) = (stable.selector(), self.new.selector());
        let ours = both(Some(&of_stable), Some(&new));
        let written = match self.write_subsets(lane, rule, &ours, fence).await {
            Err(EffectError::Gone(_)) => return self.by_the_service_alone(lane, stable, fence).await,
            written => written,
        };
        // One trouble does not keep the other from being tried.
        let routed = self.route_back(lane, share, fence).await;
        written?;
        routed?;
        // A watch may be late: users must not be left with subsets that somebody has just deleted. Asked once they are back, and
        // what cannot be asked keeps nobody from that.
        let asked = lane.get(Kind::DestinationRule, self.namespace(), rule);
        match tokio::time::timeout(SPREAD, asked).await {
            Ok(Ok(None)) => self.by_the_service_alone(lane, stable, fence).await,
            Ok(Ok(Some(now))) => {
                self.cluster.view(self.namespace()).wrote(Kind::DestinationRule, &now);
                self.write_subsets(lane, rule, &ours, fence).await.map(drop)
            }
            Ok(Err(_)) | Err(_) => Ok(()),
        }
    }

    /// The rule is gone: the route names no subset of it, and the Service says whom users reach.
    async fn by_the_service_alone(
        &self,
        lane: &Lane,
        stable: &Known<'_>,
        fence: Fence<'_>,
    ) -> Result<(), EffectError> {
        tracing::warn!(
            service = self.plan.service,
            "the rule of its subsets is gone: users come in by the Service alone"
        );
        self.serve(lane, Serves::Only(stable), fence).await?;
        self.route_at_rest(lane, fence).await
    }

    /// Where the stable release was rolled out by somebody else, its subset has those pods.
    pub(super) async fn subset_follows(&self, lane: &Lane, followed: &Known<'_>) -> Result<(), EffectError> {
        let Some(rule) = self.rule() else { return Ok(()) };
        let (owner_key, wanted) = (self.fence(0).owner_key(), followed.selector());
        let followed = self.edit(lane, Kind::DestinationRule, rule, |object| {
            let is_ours = annotation(object, &owner_key) == Some(self.owner);
            if !is_ours || destination_rule::labels(object, STABLE).is_none() {
                return Ok(Vec::new());
            }
            let ours = [Subset { name: STABLE, labels: Some(&wanted) }];
            Ok(destination_rule::changes(object, &self.new.spec.service, &ours)?)
        });
        match followed.await {
            Ok(_) | Err(EffectError::Gone(_)) => Ok(()),
            Err(why) => Err(why),
        }
    }

    /// The Service selects only the release that stays, once no request is sent to the other's subset.
    pub(super) async fn leave_subsets(
        &self,
        lane: &Lane,
        stays: &Known<'_>,
        new: bool,
        fence: Fence<'_>,
    ) -> Result<(), EffectError> {
        let (Some(_), Some(stable)) = (self.rule(), &self.stable) else { return Ok(()) };
        if self.route_rests(lane).await? {
            return Ok(());
        }
        let root = self.root(lane).await?;
        if root::reaches(&root, &self.new) && root::reaches(&root, stable) {
            self.route_back(lane, if new { Share::NONE } else { Share::ALL }, fence).await?;
            tokio::time::sleep(SPREAD).await;
            self.serve(lane, Serves::Only(stays), fence).await?;
        }
        tokio::time::sleep(SPREAD).await;
        Ok(())
    }

    /// Takes our subsets out of the rule; `rested` is when the route was put back at the latest.
    pub(super) async fn remove_subsets(
        &self,
        lane: &Lane,
        rested: Instant,
        fence: Fence<'_>,
    ) -> Result<(), EffectError> {
        let (Some(rule), Some(_)) = (self.rule(), &self.stable) else { return Ok(()) };
        let Some(object) = self.object(lane, Kind::DestinationRule, rule).await? else { return Ok(()) };
        if [STABLE, NEW].iter().all(|name| destination_rule::labels(&object, name).is_none()) {
            return Ok(());
        }
        tokio::time::sleep_until(rested + SPREAD).await;
        match self.write_subsets(lane, rule, &both(None, None), fence).await {
            Ok(Some(written)) => self.disown(lane, Kind::DestinationRule, &written).await,
            Ok(None) | Err(EffectError::Gone(_)) => {}
            Err(why) => return Err(why),
        }
        Ok(())
    }
}
