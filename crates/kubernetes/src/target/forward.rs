//! The way forward: what a rollout asks of a cluster before and while it moves traffic.

use serde_json::Value;
use tidegate_core::model::{Share, Strategy};

use super::{
    EffectError, LOOK, Rollout, SPREAD,
    capacity::Capacity,
    root::{self, Serves},
};
use crate::{
    cluster::Lane,
    fault::ClusterError,
    fence::Fence,
    kinds::Kind,
    manifest,
    replicas::{self, Counts, Present},
    spec::{Known, Traffic},
    start::{self, Progress},
    view::{Pods, Workload},
};

impl Rollout<'_> {
    /// The namespace, the Service and the route are there and ours to change, the account may do what will be asked for, the
    /// stable release serves, and the API server would take the new one. A stable release without pods gets them again, before
    /// anything else happens.
    pub(super) async fn check(&self) -> Result<(), EffectError> {
        let lane = self.cluster.forward();
        let root = self.root_asked(lane).await;
        self.rights_fit(lane, &root).await?;
        let serves = self.objects_fit(lane, root?).await?;
        match &self.stable {
            Some(stable) if !serves => {
                self.grow(lane, stable, stable.spec.replicas, self.plan.generation(0)).await
            }
            _ => Ok(()),
        }
    }

    /// The users' Service. Asked, not remembered: whoever has just mended something deploys at once.
    pub(super) async fn root_asked(&self, lane: &Lane) -> Result<Option<Value>, ClusterError> {
        lane.get(Kind::Service, self.namespace(), &self.new.spec.service).await
    }

    /// All that is in the cluster fits. Nothing is changed. Answers whether the stable release, where there is one, serves.
    pub(super) async fn objects_fit(&self, lane: &Lane, root: Option<Value>) -> Result<bool, EffectError> {
        let fence = self.fence(self.plan.generation(0));
        let Some(root) = root else {
            self.namespace_is_there(lane).await?;
            return Err(self.no_root());
        };
        self.service_fits(&root, fence)?;
        for known in self.stable.iter().chain([&self.new]) {
            self.rollout_fits(lane, known).await?;
        }
        let mut serves = true;
        if let Some(stable) = &self.stable {
            serves = self.stable_serves(lane, stable).await?;
            self.route_fits(lane).await?;
        }
        let (kind, name) = self.new.workload();
        match self.object(lane, kind, name).await? {
            None if self.new.is_rollout() => self.set_is_there(lane, &self.new).await?,
            Some(object) => {
                Self::is_of(&object, &self.new, fence)?;
                self.still_has(lane, &object).await?;
            }
            None => drop(
                lane.apply(Kind::Deployment, &manifest::deployment(&self.new, 0, fence, None), true).await?,
            ),
        }
        self.belongings_fit(lane, &root, fence).await?;
        self.autoscaling_fits(lane, fence).await?;
        // A role that does not allow to watch shows now, not in the middle.
        self.workload(&self.new)?;
        self.cluster.view(self.namespace()).pods(self.new.service, &self.new.release.tag)?;
        Ok(serves)
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
        self.is_nobody_elses(root)?;
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

    /// Whether the stable release has pods, which are those that it is known by.
    async fn stable_serves(&self, lane: &Lane, stable: &Known<'_>) -> Result<bool, EffectError> {
        let (kind, name) = stable.workload();
        let Some(object) = self.object(lane, kind, name).await? else {
            if stable.spec.adopted.is_some() {
                return Err(EffectError::Wrong(format!(
                    "{}, which runs the stable release, is gone: there is nothing to turn back to",
                    stable.title()
                )));
            }
            return Ok(false);
        };
        if Workload::of(&object).ready < stable.spec.replicas.min(1) {
            return Ok(false);
        }
        self.is_as_adopted(lane, stable).await.map(|()| true)
    }

    /// The Deployment is there, the preview Service reaches its pods, and users' requests reach the stable release only.
    pub(super) async fn build(&self) -> Result<(), EffectError> {
        let lane = self.cluster.forward();
        let fence = self.fence(self.plan.generation(0));
        if let Some(stable) = &self.stable {
            self.hold(lane, stable, fence).await?;
            if self.new.is_rollout() {
                self.hold(lane, &self.new, fence).await?;
            }
            self.define_subsets(lane, stable, fence).await?;
            self.serve(lane, Serves::Only(stable), fence).await?;
        }
        if self.has_preview() {
            // A deployment that was given up may have left the route as it was.
            if self.stable.is_some() && self.route_known(lane).await? != Share::NONE {
                self.route_back(lane, Share::NONE, fence).await?;
            }
            self.preview(lane, &self.new, fence).await?;
        }
        let marked = self.autoscale(lane, fence).await?;
        self.create(lane, fence).await?;
        if marked {
            self.mark_autoscaled(lane, fence).await?;
        }
        self.protect(lane, fence).await?;
        Ok(())
    }

    /// The new release's Deployment, with the first stage's pods where they take no traffic by being there.
    async fn create(&self, lane: &Lane, fence: Fence<'_>) -> Result<(), EffectError> {
        let first = self.plan.stage(0).filter(|stage| self.wave == 0 && !self.shares_pods(stage.share));
        let instances = first.map_or(0, |stage| stage.instances);
        let (kind, name) = self.new.workload();
        if self.object(lane, kind, name).await?.is_some() {
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
    ) -> Result<(), EffectError> {
        let lane = self.cluster.forward();
        match &self.stable {
            Some(stable) if self.shares_pods(share) => {
                self.proportion(lane, stable, share, generation).await?;
            }
            _ => {
                let needs = self.capacity(lane, share).await?;
                let wanted = self.at_least(&self.new, instances.max(needs.map_or(0, |needs| needs.new)));
                self.grow(lane, &self.new, wanted, generation).await?;
                if let Some(stable) = &self.stable {
                    self.keep_warm(lane, stable, share, needs, generation).await?;
                }
            }
        }
        Ok(())
    }

    /// The stable release has all its pods, so that turning back needs to wait for nothing: for the last step, and before it
    /// where an autoscaler of ours was told that more are needed, which it would only do in its own time.
    async fn keep_warm(
        &self,
        lane: &Lane,
        stable: &Known<'_>,
        share: Share,
        needs: Option<Capacity>,
        generation: u64,
    ) -> Result<(), EffectError> {
        let last = share.is_all() && self.keeps_warm();
        let told = needs.filter(|_| stable.spec.adopted.is_none());
        if last || told.is_some() {
            let all = stable.spec.replicas.max(needs.map_or(0, |needs| needs.stable));
            self.ensure(lane, stable, Some(self.at_least(stable, all)), self.fence(generation)).await?;
        }
        Ok(())
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

    /// So many pods, and never fewer than an autoscaler has asked for.
    fn at_least(&self, known: &Known<'_>, pods: u32) -> u32 {
        let now = self.workload(known).unwrap_or_default();
        if self.is_autoscaled() { pods.max(now.wanted) } else { pods }
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
            if now.wanted >= instances && now.ready >= instances {
                return Ok(());
            }
            self.not_broken(known, &now)?;
            if let Err(late) =
                progress.look((now.ready, instances), &known.name, (self.namespace(), &self.pods(known)))
            {
                // A watch can be silent without a word; the object cannot.
                let now = self.workload_now(lane, known).await?.unwrap_or_default();
                return if now.wanted >= instances && now.ready >= instances { Ok(()) } else { Err(late) };
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
        let target = self.counts(share);
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
            progress.look(
                (new.ready, target.new),
                &self.new.name,
                (self.namespace(), &self.pods(&self.new)),
            )?;
            let at_most = LOOK.min(progress.left());
            tokio::select! {
                () = news.next(at_most) => {}
                () = other.next(at_most) => {}
            }
        }
    }

    /// What makes a release's pods, as it is known.
    pub(super) fn workload(&self, known: &Known<'_>) -> Result<Workload, EffectError> {
        let view = self.cluster.view(self.namespace());
        Ok(view.workload(known.workload())?.unwrap_or_default())
    }

    /// The same, asked directly; `None` when there is none.
    pub(super) async fn workload_now(
        &self,
        lane: &Lane,
        known: &Known<'_>,
    ) -> Result<Option<Workload>, EffectError> {
        let (kind, name) = known.workload();
        let found = lane.get(kind, self.namespace(), name).await?;
        Ok(found.as_ref().map(Workload::of))
    }

    fn not_broken(&self, known: &Known<'_>, now: &Workload) -> Result<(), EffectError> {
        if let Some(why) = &now.failure {
            return Err(start::refused(&known.name, why));
        }
        start::not_broken(&self.pods(known), self.namespace())
    }

    /// The release's pods as far as they are known.
    fn pods(&self, known: &Known<'_>) -> Pods {
        let view = self.cluster.view(self.namespace());
        view.pods(known.service, &known.release.tag).unwrap_or_default()
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
        if let Some(needs) = self.capacity(lane, share).await?
            && self.workload(&self.new)?.ready < needs.new
        {
            // Load has risen since they were counted.
            self.grow(lane, &self.new, self.at_least(&self.new, needs.new), fence.generation).await?;
        }
        if self.new.spec.traffic != Traffic::Service {
            if share > Share::NONE {
                // Somebody may have removed it since.
                self.preview(lane, &self.new, fence).await?;
            }
            if share > Share::NONE || mirror > Share::NONE || !self.new.spec.testers.is_empty() {
                self.fill_subsets(lane, stable, fence).await?;
                self.preview_spreads(lane).await?;
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

    /// Before the first request that a route sends to the preview Service, who sends it has learned of that and of the pods behind.
    async fn preview_spreads(&self, lane: &Lane) -> Result<(), EffectError> {
        let unnamed = self.route_known(lane).await? == Share::NONE && self.route_rests(lane).await?;
        if unnamed && self.rule().is_none() {
            tokio::time::sleep(SPREAD).await;
        }
        Ok(())
    }

    /// All of it belongs to the new release. Behind a route the users' Service stays with the stable release until the watch is
    /// over: turning back is then the route's matter alone.
    pub(super) async fn promote(&self, generation: u64) -> Result<(), EffectError> {
        self.shift_by(Share::ALL, Share::NONE, self.fence(generation).at_the_end(self.plan)).await
    }
}

/// `app=shop, tier=web`.
pub(super) fn labels(labels: &serde_json::Map<String, Value>) -> String {
    let text: Vec<String> =
        labels.iter().map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default())).collect();
    if text.is_empty() { "no labels".to_owned() } else { text.join(", ") }
}
