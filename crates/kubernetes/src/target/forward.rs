//! The way forward: what a rollout asks of a cluster before and while it moves traffic.

use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_core::{
    deployment::Outcome,
    model::{Share, Strategy},
};

use super::{
    EffectError, LOOK, Rollout,
    root::{self, Serves},
};
use crate::{
    cluster::Lane,
    fault::ClusterError,
    fence::Fence,
    kinds::Kind,
    manifest,
    replicas::{self, Counts, Present, Rounding, Weight},
    spec::{Known, Traffic},
    view::Workload,
};

impl Rollout<'_> {
    /// The namespace, the Service and the route are there and ours to change, the stable release serves, and the API server
    /// would take the new one.
    pub(super) async fn check(&self) -> Result<Outcome, EffectError> {
        let lane = self.cluster.forward();
        let fence = self.fence(self.plan.generation(0));
        // Asked, not remembered: whoever has just mended something deploys at once.
        let Some(root) = lane.get(Kind::Service, self.namespace(), &self.new.spec.service).await? else {
            self.namespace_is_there(lane).await?;
            return Err(self.no_root());
        };
        self.service_fits(&root, fence)?;
        if let Some(stable) = &self.stable {
            self.stable_serves(lane, stable).await?;
            self.route_fits(lane).await?;
        }
        let name = self.new.deployment();
        match self.object(lane, Kind::Deployment, name).await? {
            Some(object) => self.is_of(&object, &self.new, fence)?,
            None => drop(
                lane.apply(Kind::Deployment, &manifest::deployment(&self.new, 0, fence, None), true).await?,
            ),
        }
        // A role that does not allow to watch shows now, not in the middle.
        self.workload(&self.new)?;
        self.cluster.view(self.namespace()).pods(self.new.service, &self.new.release.tag)?;
        Ok(Outcome::Done)
    }

    async fn namespace_is_there(&self, lane: &Lane) -> Result<(), EffectError> {
        let name = self.namespace();
        match lane.get(Kind::Namespace, name, name).await {
            // A Role need not allow to look; what is missing shows at the next request.
            Err(ClusterError::Forbidden { .. }) => Ok(()),
            Err(why) => Err(why.into()),
            Ok(None) => Err(EffectError::Wrong(format!(
                "there is no namespace `{name}`: make it first, or correct `namespace`"
            ))),
            Ok(Some(object)) if object.pointer("/metadata/deletionTimestamp").is_some() => {
                Err(EffectError::Wrong(format!("namespace `{name}` is being deleted")))
            }
            Ok(Some(_)) => Ok(()),
        }
    }

    fn service_fits(&self, root: &Value, fence: Fence<'_>) -> Result<(), EffectError> {
        let what = format!("Service {}/{}", self.namespace(), self.new.spec.service);
        fence.admits(root, &what)?;
        let base = root::base(root);
        if base.is_empty() {
            return Err(EffectError::Wrong(format!("{what} has no selector, so nothing can be moved by it")));
        }
        if self.preview_name == self.new.spec.service {
            return Err(EffectError::Wrong(format!(
                "{what} is what users come in by and cannot be the preview too: name another Service as `preview`"
            )));
        }
        if !root::finds(&base, &self.new) {
            return Err(EffectError::Wrong(format!(
                "{what} selects {}, and the pods of the release have {}: correct one of the two",
                labels(&base),
                labels(&self.new.labels())
            )));
        }
        Ok(())
    }

    /// A stable release without pods gets them again, before anything else happens.
    async fn stable_serves(&self, lane: &Lane, stable: &Known<'_>) -> Result<(), EffectError> {
        let name = stable.deployment();
        let Some(object) = self.object(lane, Kind::Deployment, name).await? else {
            if stable.spec.adopted.is_some() {
                return Err(EffectError::Wrong(format!(
                    "Deployment {}/{name}, which runs the stable release, is gone: there is nothing to turn back to",
                    self.namespace()
                )));
            }
            return self.grow(lane, stable, stable.spec.replicas, self.plan.generation(0)).await;
        };
        if Workload::of(&object).ready < stable.spec.replicas.min(1) {
            return self.grow(lane, stable, stable.spec.replicas, self.plan.generation(0)).await;
        }
        self.is_as_adopted(lane, stable).await
    }

    /// The Deployment is there, the preview Service reaches its pods, and users' requests reach the stable release only.
    pub(super) async fn build(&self) -> Result<Outcome, EffectError> {
        let lane = self.cluster.forward();
        let fence = self.fence(self.plan.generation(0));
        if let Some(stable) = &self.stable {
            self.hold(lane, stable, fence).await?;
            self.serve(lane, Serves::Only(stable), fence).await?;
        }
        if self.has_preview() {
            // A deployment that was given up may have left the route as it was.
            if self.stable.is_some() && self.route_known(lane).await? != Share::NONE {
                self.route(lane, Share::NONE, Share::NONE, fence).await?;
            }
            self.preview(lane, &self.new, fence).await?;
        }
        self.create(lane, fence).await?;
        Ok(Outcome::Done)
    }

    /// The new release's Deployment, with the first stage's pods where they take no traffic by being there.
    async fn create(&self, lane: &Lane, fence: Fence<'_>) -> Result<(), EffectError> {
        let first = self.plan.stage(0).filter(|stage| !self.shares_pods(stage.share));
        let instances = first.map_or(0, |stage| stage.instances);
        if self.object(lane, Kind::Deployment, self.new.deployment()).await?.is_some() {
            return self.ensure(lane, &self.new, None, fence).await;
        }
        self.ensure(lane, &self.new, Some(instances), fence).await
    }

    /// Whether the release under way has a Service of its own.
    pub(super) fn has_preview(&self) -> bool {
        self.new.spec.traffic != Traffic::Service || self.plan.strategy == Strategy::BlueGreen
    }

    /// Asks for pods of the new release and waits until they are ready, or surely will not be.
    pub(super) async fn scale(
        &self,
        instances: u32,
        generation: u64,
        share: Share,
    ) -> Result<Outcome, EffectError> {
        let lane = self.cluster.forward();
        match &self.stable {
            Some(stable) if self.shares_pods(share) => {
                self.proportion(lane, stable, share, generation).await?;
            }
            _ => {
                self.grow(lane, &self.new, instances, generation).await?;
                if let Some(stable) = self.stable.as_ref().filter(|_| share.is_all() && self.keeps_warm()) {
                    // All of them again, so that turning back needs to wait for nothing.
                    self.ensure(lane, stable, Some(stable.spec.replicas), self.fence(generation)).await?;
                }
            }
        }
        Ok(Outcome::Done)
    }

    /// Whether the share is made by the numbers of pods alone.
    pub(super) fn shares_pods(&self, share: Share) -> bool {
        let between = share > Share::NONE && (!share.is_all() || !self.keeps_warm());
        self.new.spec.traffic == Traffic::Service && between
    }

    /// A rolling update puts the new pods in the place of the old ones; every other strategy keeps the old ones.
    fn keeps_warm(&self) -> bool {
        self.plan.strategy != Strategy::Rolling
    }

    /// Asks for so many pods and waits for them.
    async fn grow(
        &self,
        lane: &Lane,
        known: &Known<'_>,
        instances: u32,
        generation: u64,
    ) -> Result<(), EffectError> {
        self.ensure(lane, known, Some(instances), self.fence(generation)).await?;
        let mut progress = Progress::new(known.spec.progress_ms);
        let mut news = self.follow(known);
        loop {
            let now = self.workload(known)?;
            if now.wanted == instances && now.ready >= instances {
                return Ok(());
            }
            self.not_broken(known, &now)?;
            if let Err(late) = progress.look(now.ready, instances, &known.name) {
                // A watch can be silent without a word; the object cannot.
                let now = self.workload_now(lane, known).await?.unwrap_or_default();
                return if now.wanted == instances && now.ready >= instances { Ok(()) } else { Err(late) };
            }
            news.next(LOOK.min(progress.left())).await;
        }
    }

    /// Moves both releases' numbers of pods to those that make the share, never below and never above what is allowed.
    async fn proportion(
        &self,
        lane: &Lane,
        stable: &Known<'_>,
        share: Share,
        generation: u64,
    ) -> Result<(), EffectError> {
        let (all, spec) = (self.new.spec.replicas, &self.new.spec);
        let room = replicas::room(spec.surge, spec.unavailable, all);
        let target = replicas::target(all, Weight::from(share), room.surge, Rounding::AtLeastOne);
        self.serve(lane, Serves::All, self.fence(generation)).await?;
        let mut progress = Progress::new(spec.progress_ms);
        let (mut news, mut other) = (self.follow(&self.new), self.follow(stable));
        loop {
            let (new, old) = (self.workload(&self.new)?, self.workload(stable)?);
            let arrived = (new.wanted, old.wanted) == (target.new, target.stable)
                && new.ready >= target.new
                && old.ready >= target.stable
                && old.present == target.stable;
            if arrived {
                return Ok(());
            }
            self.not_broken(&self.new, &new)?;
            let present = Present {
                new: new.wanted,
                new_available: new.ready.min(new.wanted),
                stable: old.wanted,
                stable_available: old.ready.min(old.wanted),
                older: 0,
            };
            let next: Counts = replicas::step(present, target, all, room);
            if next.new != new.wanted {
                self.ensure(lane, &self.new, Some(next.new), self.fence(generation)).await?;
            }
            if next.stable != old.wanted {
                self.ensure(lane, stable, Some(next.stable), self.fence(generation)).await?;
            }
            progress.look(new.ready, target.new, &self.new.name)?;
            let at_most = LOOK.min(progress.left());
            tokio::select! {
                () = news.next(at_most) => {}
                () = other.next(at_most) => {}
            }
        }
    }

    /// The Deployment as it is known.
    pub(super) fn workload(&self, known: &Known<'_>) -> Result<Workload, EffectError> {
        let view = self.cluster.view(self.namespace());
        Ok(view.deployment(known.deployment())?.unwrap_or_default())
    }

    /// The Deployment, asked directly; `None` when there is none.
    pub(super) async fn workload_now(
        &self,
        lane: &Lane,
        known: &Known<'_>,
    ) -> Result<Option<Workload>, EffectError> {
        let found = lane.get(Kind::Deployment, self.namespace(), known.deployment()).await?;
        Ok(found.as_ref().map(Workload::of))
    }

    fn not_broken(&self, known: &Known<'_>, now: &Workload) -> Result<(), EffectError> {
        if let Some(why) = &now.failure {
            return Err(EffectError::Unready(format!(
                "no further pods of {} can be made: {why}",
                known.name
            )));
        }
        let Ok(pods) = self.cluster.view(self.namespace()).pods(known.service, &known.release.tag) else {
            return Ok(());
        };
        match pods.iter().find_map(|(name, pod)| Some((name, pod.broken.as_ref()?, pod.restarts))) {
            Some((name, why, restarts)) => {
                let times = if restarts > 0 { format!(", {restarts} restarts") } else { String::new() };
                Err(EffectError::Unready(format!(
                    "pod {name} does not come up: {why}{times}; see `kubectl -n {} logs {name}`",
                    self.namespace()
                )))
            }
            None => Ok(()),
        }
    }

    /// Gives the new release this share.
    pub(super) async fn shift(
        &self,
        share: Share,
        mirror: Share,
        generation: u64,
    ) -> Result<(), EffectError> {
        self.shift_by(share, mirror, self.fence(generation)).await
    }

    async fn shift_by(&self, share: Share, mirror: Share, fence: Fence<'_>) -> Result<(), EffectError> {
        let lane = self.cluster.forward();
        let Some(stable) = &self.stable else {
            self.serve(lane, Serves::Only(&self.new), fence).await?;
            return Ok(());
        };
        if share > Share::NONE
            && self.workload(&self.new)?.ready == 0
            && self.workload_now(lane, &self.new).await?.unwrap_or_default().ready == 0
        {
            return Err(EffectError::Unready(format!(
                "no pod of {} is ready any more: it gets no traffic",
                self.new.name
            )));
        }
        self.look_after().await?;
        if self.new.spec.traffic != Traffic::Service {
            if share > Share::NONE {
                // Somebody may have removed it since.
                self.preview(lane, &self.new, fence).await?;
            }
            return self.route(lane, share, mirror, fence).await;
        }
        let serves = if share == Share::NONE {
            Serves::Only(stable)
        } else if share.is_all() {
            Serves::Only(&self.new)
        } else {
            Serves::All
        };
        self.serve(lane, serves, fence).await?;
        Ok(())
    }

    /// All of it belongs to the new release. Behind a route the users' Service stays with the stable release until the watch is
    /// over: turning back is then the route's matter alone.
    pub(super) async fn promote(&self, generation: u64) -> Result<Outcome, EffectError> {
        self.shift_by(Share::ALL, Share::NONE, self.fence(generation).at_the_end(self.plan)).await?;
        Ok(Outcome::Done)
    }
}

/// `app=shop, tier=web`.
fn labels(labels: &serde_json::Map<String, Value>) -> String {
    let text: Vec<String> =
        labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    if text.is_empty() { "no labels".to_owned() } else { text.join(", ") }
}

/// Progress that a crash loop cannot reset: only more ready pods than ever before count.
struct Progress {
    most: u32,
    since: Instant,
    within: Duration,
}

impl Progress {
    fn new(within_ms: u64) -> Self {
        Self { most: 0, since: Instant::now(), within: Duration::from_millis(within_ms) }
    }

    /// Time until it is too long.
    fn left(&self) -> Duration {
        self.within.saturating_sub(self.since.elapsed())
    }

    fn look(&mut self, ready: u32, wanted: u32, name: &str) -> Result<(), EffectError> {
        if ready > self.most {
            self.most = ready;
            self.since = Instant::now();
        }
        if self.since.elapsed() < self.within {
            return Ok(());
        }
        let (most, seconds) = (self.most, self.within.as_secs());
        Err(EffectError::Unready(format!(
            "{name}: {most} of {wanted} pods became ready, and no further one in {seconds} s"
        )))
    }
}
