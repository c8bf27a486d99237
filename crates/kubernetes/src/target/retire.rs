//! The end: a release that nothing points to any more loses its pods, and old ones are removed.

use serde_json::Value;
use tokio::time::Instant;

use super::{
    EffectError, LOOK, Rollout, SPREAD,
    objects::scaled,
    root::{self, Serves},
};
use crate::{
    belongings::objects::{self, BELONGINGS},
    cluster::Lane,
    fence::{Fence, annotation},
    kinds::Kind,
    manifest::name,
    spec::{Known, RELEASE},
    view::Workload,
};

impl Rollout<'_> {
    /// Takes a release out of the routes, then its pods, and with them whatever else of the service has pods beside the one
    /// that stays. What a route or the users' Service still points to keeps its pods, whatever was asked.
    pub(super) async fn retire(&self, new: bool, generation: u64) -> Result<(), EffectError> {
        let (lane, fence) = (self.cluster.forward(), self.fence(generation).at_the_end(self.plan));
        let (stays, leaves) = match (new, &self.stable) {
            (true, stable) => (stable.as_ref(), Some(&self.new)),
            (false, stable) => (Some(&self.new), stable.as_ref()),
        };
        if let Some(stays) = stays {
            let stays = self.followed(lane, stays).await?;
            self.leave_subsets(lane, &stays, new, fence).await?;
            self.serve(lane, Serves::Only(&stays), fence).await?;
            if new {
                self.route_at_rest(lane, fence).await?;
                self.preview_rests(lane, &stays, fence).await?;
            }
            self.pods_are_left(leaves).await?;
            if !new && self.stable.is_some() {
                // To the users' Service again, of which everybody knows by now that its pods are others.
                self.route_at_rest(lane, fence).await?;
            }
        }
        let rested = Instant::now();
        if let Some(leaves) = leaves {
            self.is_free(lane, leaves, stays).await?;
            self.unscale(lane, leaves, fence).await?;
            self.empty(lane, leaves, fence).await?;
        }
        self.remove_subsets(lane, rested, fence).await?;
        if let Some(stays) = stays {
            self.relieve(lane, stays).await?;
        }
        self.settle(lane, stays, fence).await?;
        if let Some(stays) = stays.filter(|stays| stays.spec.adopted.is_some()) {
            // Alone again: as the users wrote it, so that whoever rolls it out next finds it so.
            tracing::debug!(of = stays.title(), "the users' Service has its own selector again");
            let root = self.serve(lane, Serves::All, fence).await?;
            self.disown(lane, Kind::Service, &root).await;
        }
        for known in self.stable.iter().chain([&self.new]) {
            self.let_go(lane, known, None, fence).await?;
        }
        let kept = self.prune(lane, stays, fence).await?;
        tracing::debug!(service = self.plan.service, kept, "old releases kept without pods");
        Ok(())
    }

    /// Whoever sent requests to the pods of this release has learned that they go elsewhere.
    async fn pods_are_left(&self, leaves: Option<&Known<'_>>) -> Result<(), EffectError> {
        // Subsets have waited for their own reasons.
        if let (Some(leaves), None) = (leaves, self.rule())
            && self.workload(leaves)?.present > 0
        {
            tokio::time::sleep(SPREAD).await;
        }
        Ok(())
    }

    /// Nothing that users come in by points to the release.
    async fn is_free(
        &self,
        lane: &Lane,
        leaves: &Known<'_>,
        stays: Option<&Known<'_>>,
    ) -> Result<(), EffectError> {
        // Asked, not remembered: what is wrong here costs users.
        let root = self.asked(lane, Kind::Service, &self.new.spec.service).await?;
        if stays.is_some() && root::reaches(&root, leaves) {
            return Err(EffectError::Wrong(format!(
                "Service {}/{} still reaches {}: it keeps its pods",
                self.namespace(),
                self.new.spec.service,
                leaves.name
            )));
        }
        Ok(())
    }

    /// No pods, and none left over.
    async fn empty(&self, lane: &Lane, known: &Known<'_>, fence: Fence<'_>) -> Result<(), EffectError> {
        let (kind, name) = known.workload();
        if self.object(lane, kind, name).await?.is_none() {
            return Ok(());
        }
        if known.spec.adopted.is_some() {
            self.let_go(lane, known, Some(0), fence).await?;
        } else {
            self.ensure(lane, known, Some(0), fence).await?;
        }
        let mut news = self.follow(known);
        loop {
            let now = self.workload(known)?;
            if now.wanted == 0 && now.present == 0 {
                return Ok(());
            }
            news.next(LOOK).await;
        }
    }

    /// Removes our Deployments and Services of the service but for the newest, and answers how many are kept.
    async fn prune(
        &self,
        lane: &Lane,
        stays: Option<&Known<'_>>,
        fence: Fence<'_>,
    ) -> Result<usize, EffectError> {
        let mut old = self.cluster.view(self.namespace()).releases(&self.plan.service)?;
        let known = [stays, Some(&self.new), self.stable.as_ref()];
        let is_known = |object: &Value| known.iter().flatten().any(|known| name(object) == known.name);
        old.retain(|object| !is_known(object) && fence.admits(object, "").is_ok());
        let made = |object: &Value| {
            object
                .pointer("/metadata/creationTimestamp")
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        old.sort_by_key(|object| std::cmp::Reverse(made(object)));
        let keep = usize::try_from(self.new.spec.keep_releases.saturating_sub(2)).unwrap_or(usize::MAX);
        let kept: Vec<String> = old
            .iter()
            .take(keep)
            .filter_map(|object| annotation(object, BELONGINGS).map(str::to_owned))
            .chain(known.iter().flatten().map(|known| objects::listed(known)))
            .collect();
        for (number, object) in old.iter().enumerate() {
            let name = name(object);
            if Workload::of(object).wanted > 0 {
                // A deployment that was given up left it behind.
                self.shrink(lane, object, fence).await?;
            }
            if number >= keep {
                self.dispossess(lane, object, &kept, fence).await?;
                lane.delete(Kind::Deployment, self.namespace(), name).await?;
            }
        }
        Ok(old.len().min(keep))
    }

    async fn shrink(&self, lane: &Lane, object: &Value, fence: Fence<'_>) -> Result<(), EffectError> {
        let release =
            object.pointer("/metadata/labels").and_then(|labels| labels.get(RELEASE)).and_then(Value::as_str);
        tracing::info!(service = self.plan.service, release, "a release that was left behind loses its pods");
        self.edit(lane, Kind::Deployment, name(object), |object| Ok(scaled(object, 0, fence))).await?;
        Ok(())
    }
}
