//! Whether the releases still have what the stage gave them: somebody else may have changed the route, the Service or the stable
//! release since. Looked at in what the watches have; nothing is put back by force, for a field of others is not fought over.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
};

use serde_json::Value;
use tidegate_core::{model::Share, plan::Stage};

use super::{EffectError, Rollout, forward::labels, root};
use crate::{
    cluster::Lane,
    kinds::Kind,
    replicas::{self, Counts, Rounding, Weight},
    spec::{Known, Traffic},
    view::Versions,
};

/// What a person can do about it.
const MEND: &str = "put it back as it was (whoever applies it has to leave it alone meanwhile), or turn back with `tidegate abort`";

/// The furthest that a router's rounding may be from what was given, basis points.
pub(super) const ROUNDED: u16 = 50;

/// Everything that says whether a place has what a stage gave it.
#[derive(PartialEq)]
struct Sight {
    share: Share,
    mirror: Share,
    /// Whether the stable release has pods that are ready, and whether it is to have any.
    stable: Option<(bool, bool)>,
    objects: Versions,
}

/// What was last seen of each cell while nothing was different in it: objects are read again only once one of them has changed.
#[derive(Default)]
pub(super) struct AsGiven(Mutex<BTreeMap<String, Sight>>);

impl AsGiven {
    fn is(&self, cell: &str, sight: &Sight) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(cell) == Some(sight)
    }

    fn keep(&self, cell: &str, sight: Sight) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(cell.to_owned(), sight);
    }
}

/// What is different in each place, as one sentence.
pub(super) async fn astray(
    rollouts: &[Rollout<'_>],
    given: Option<usize>,
    as_given: &AsGiven,
) -> Option<String> {
    let mut found = Vec::new();
    for rollout in rollouts {
        let Some(stage) = rollout.stage_here(given) else { continue };
        let sight = rollout.sight(stage);
        if sight.as_ref().is_some_and(|sight| as_given.is(&rollout.cell, sight)) {
            continue;
        }
        let Some(why) = Box::pin(rollout.astray(stage, sight, as_given)).await else { continue };
        found.push(if rollout.cell.is_empty() { why } else { format!("cell {}: {why}", rollout.cell) });
    }
    (!found.is_empty()).then(|| found.join("; "))
}

impl Rollout<'_> {
    /// The stage that this place has: waves before the one under way have their last, those after it none yet.
    fn stage_here(&self, given: Option<usize>) -> Option<&Stage> {
        let now = self.plan.stage(given?)?;
        if now.wave == self.wave {
            return Some(now);
        }
        self.plan.stages.iter().rev().find(|stage| stage.wave == self.wave && self.wave < now.wave)
    }

    /// The fewest pods of the new release that the stage is judged by, whatever its Deployment was scaled to since.
    pub(super) fn least(&self, given: Option<usize>) -> u32 {
        let Some(stage) = self.stage_here(given) else { return 0 };
        if stage.share == Share::NONE && stage.mirror == Share::NONE {
            return 0;
        }
        let pods = if self.is_autoscaled() {
            1
        } else if self.stable.is_some() && self.shares_pods(stage.share) {
            self.counts(stage.share).new
        } else {
            stage.instances
        };
        pods.max(1)
    }

    /// The numbers of pods that make this share.
    pub(super) fn counts(&self, share: Share) -> Counts {
        let (all, spec) = (self.new.spec.replicas, &self.new.spec);
        let room = replicas::room(spec.surge, spec.unavailable, all);
        replicas::target(all, Weight::from(share), room.surge, Rounding::AtLeastOne)
    }

    /// What is known of this place; `None` where the API server would have to be asked.
    fn sight(&self, stage: &Stage) -> Option<Sight> {
        let view = self.cluster.view(self.namespace());
        let stable = self.stable.as_ref().map(|stable| view.workload(stable.workload())).transpose().ok()?;
        let routes = self.routes();
        let services = [&self.new.spec.service, &self.preview_name];
        let objects = routes.iter().map(|(kind, name)| (*kind, name.as_str()));
        Some(Sight {
            share: stage.share,
            mirror: stage.mirror,
            stable: stable.map(|now| now.map_or((false, false), |now| (now.ready > 0, now.wanted > 0))),
            objects: view.versions(objects.chain(services.map(|name| (Kind::Service, name.as_str()))))?,
        })
    }

    /// What is different, and what to do. Where nothing is, what was seen before this look is kept.
    async fn astray(&self, stage: &Stage, sight: Option<Sight>, as_given: &AsGiven) -> Option<String> {
        let lane = self.cluster.forward();
        let Some(found) = self.differs(lane, stage, self.stable.as_ref()).await else {
            if let Some(sight) = sight {
                as_given.keep(&self.cell, sight);
            }
            return None;
        };
        // Users follow what an owner rolled out; asked only where something differs.
        let Some(stable) = self.stable.as_ref().filter(|stable| stable.spec.adopted.is_some()) else {
            return Some(found);
        };
        match self.followed(lane, stable).await {
            Ok(followed) if followed.mark() != stable.mark() => {
                self.differs(lane, stage, Some(&followed)).await
            }
            Ok(_) | Err(_) => Some(found),
        }
    }

    async fn differs(&self, lane: &Lane, stage: &Stage, stable: Option<&Known<'_>>) -> Option<String> {
        let unread = |why: EffectError| {
            Some(format!("what the stage has cannot be read: {}", tidegate_adapters::chain(&why)))
        };
        if let Some(stable) = stable {
            match self.stable_is_gone(stable, stage.share) {
                Ok(None) => {}
                Ok(found) => return found,
                Err(why) => return unread(why),
            }
            match self.route_differs(lane, stage.share).await {
                Ok(None) => {}
                Ok(found) => return found,
                Err(why) => return unread(why),
            }
        }
        self.service_differs(lane, stage, stable).await.unwrap_or_else(unread)
    }

    /// Nobody is there for the users that stay with the stable release.
    fn stable_is_gone(&self, stable: &Known<'_>, share: Share) -> Result<Option<String>, EffectError> {
        let none_meant = self.shares_pods(share) && self.counts(share).stable == 0;
        if share.is_all() || none_meant {
            return Ok(None);
        }
        let now = self.cluster.view(self.namespace()).workload(stable.workload())?;
        let why = match now {
            Some(now) if now.ready > 0 => return Ok(None),
            Some(now) if now.wanted > 0 => "has no ready pod",
            Some(_) => "was scaled to no pods",
            None => "is gone",
        };
        Ok(Some(format!(
            "{} {why}: the {} of the users that stay with release {} reach nobody; {MEND}",
            stable.title(),
            share.rest(),
            stable.release.tag
        )))
    }

    /// The route gives another share.
    async fn route_differs(&self, lane: &Lane, share: Share) -> Result<Option<String>, EffectError> {
        let Some((kind, name)) = self.route_title() else { return Ok(None) };
        let what = format!("{} {}/{name}", kind.name(), self.namespace());
        if self.object(lane, kind, name).await?.is_none() {
            return Ok(Some(format!("{what} is gone, and nobody comes in by it; {MEND}")));
        }
        let seen = self.route_known(lane).await?;
        let differs = seen.basis_points().abs_diff(share.basis_points()) > ROUNDED;
        Ok(differs.then(|| {
            format!("{what} gives the new release {seen} and not {share}: somebody else changed it; {MEND}")
        }))
    }

    /// A Service does not reach whom it should.
    async fn service_differs(
        &self,
        lane: &Lane,
        stage: &Stage,
        stable: Option<&Known<'_>>,
    ) -> Result<Option<String>, EffectError> {
        let share = stage.share;
        let root = self.root(lane).await?;
        let (reaches_new, reaches_stable) =
            (root::reaches(&root, &self.new), stable.is_some_and(|stable| root::reaches(&root, stable)));
        let by_route = stable.is_some() && self.new.spec.traffic != Traffic::Service;
        let (for_new, for_stable) = match stable {
            None => (true, false),
            Some(_) if by_route => (self.rule().is_some() && share > Share::NONE, true),
            Some(_) => (share > Share::NONE, !share.is_all()),
        };
        let has_pods = |known: &Known<'_>| self.workload(known).map_or(0, |now| now.wanted) > 0;
        let (new_too, stable_too) = (
            reaches_new && !for_new && self.rule().is_none(),
            reaches_stable && !for_stable && stable.is_some_and(has_pods),
        );
        let why = if for_new && !reaches_new {
            "none of the new release's pods"
        } else if for_stable && !reaches_stable {
            "none of the stable release's pods"
        } else if new_too {
            "the new release's pods beside the stable release's"
        } else if stable_too {
            "the stable release's pods beside the new release's"
        } else if by_route && self.rule().is_none() && share.max(stage.mirror) > Share::NONE {
            return self.preview_differs(lane).await;
        } else {
            return Ok(None);
        };
        Ok(Some(self.selects(&root, why)))
    }

    /// The Service that the new release's share goes to does not reach it.
    async fn preview_differs(&self, lane: &Lane) -> Result<Option<String>, EffectError> {
        let found: Option<Arc<Value>> = self.object(lane, Kind::Service, &self.preview_name).await?;
        Ok(match found {
            Some(object) if root::reaches(&object, &self.new) => None,
            Some(object) => Some(self.selects(&object, "none of the new release's pods")),
            None => Some(format!(
                "Service {}/{} is gone, and the new release's share reaches nobody; {MEND}",
                self.namespace(),
                self.preview_name
            )),
        })
    }

    fn selects(&self, service: &Value, whom: &str) -> String {
        format!(
            "Service {}/{} selects {}, which finds {whom}: somebody else changed it; {MEND}",
            self.namespace(),
            crate::manifest::name(service),
            labels(&root::selector(service))
        )
    }
}
