//! Routes: one object each, whose weights are changed and read back.

use serde_json::Value;
use tidegate_core::model::Share;

use super::{EffectError, Rollout, given::ROUNDED};
use crate::{
    cluster::Lane,
    fence::Fence,
    kinds::Kind,
    spec::Traffic,
    traffic::{Ends, RouteError, Seen, Wanted, destination_rule, http_route, ingress, virtual_service},
};

/// What an Ingress for the new release is called: the users' own, and this.
const CANARY: &str = "-tidegate";

/// How one kind of route is changed and read.
struct Router {
    kind: Kind,
    changes: fn(&Value, &Wanted<'_>) -> Result<Vec<Value>, RouteError>,
    at_rest: fn(&Value, &Ends<'_>) -> Result<Vec<Value>, RouteError>,
    read: fn(&Value, &Ends<'_>) -> Result<Seen, RouteError>,
}

const HTTP_ROUTE: Router = Router {
    kind: Kind::HttpRoute,
    changes: http_route::changes,
    at_rest: http_route::at_rest,
    read: http_route::read,
};

const VIRTUAL_SERVICE: Router = Router {
    kind: Kind::VirtualService,
    changes: |object, wanted| virtual_service::changes(object, wanted, virtual_service::Form::Hosts),
    at_rest: |object, ends| virtual_service::at_rest(object, ends, virtual_service::Form::Hosts),
    read: |object, ends| virtual_service::read(object, ends, virtual_service::Form::Hosts),
};

const SUBSETS: Router = Router {
    kind: Kind::VirtualService,
    changes: |object, wanted| virtual_service::changes(object, wanted, virtual_service::Form::Subsets),
    at_rest: |object, ends| virtual_service::at_rest(object, ends, virtual_service::Form::Subsets),
    read: |object, ends| virtual_service::read(object, ends, virtual_service::Form::Subsets),
};

/// Where a service's route is, and how it is spoken to.
enum Route<'a> {
    /// The numbers of pods make the share.
    None,
    /// One object with weights.
    Weights(&'a str, &'static Router),
    /// A second Ingress beside the users'.
    Beside(&'a str),
}

impl Rollout<'_> {
    fn to(&self) -> Route<'_> {
        match &self.new.spec.traffic {
            Traffic::Service => Route::None,
            Traffic::HttpRoute { name } => Route::Weights(name, &HTTP_ROUTE),
            Traffic::VirtualService { name, destination_rule } => {
                Route::Weights(name, if destination_rule.is_some() { &SUBSETS } else { &VIRTUAL_SERVICE })
            }
            Traffic::Ingress { name } => Route::Beside(name),
        }
    }

    /// The kind and the name of the object that users come in by; `None` where the numbers of pods make the share.
    pub(super) fn route_title(&self) -> Option<(Kind, &str)> {
        match self.to() {
            Route::None => None,
            Route::Weights(name, router) => Some((router.kind, name)),
            Route::Beside(name) => Some((Kind::Ingress, name)),
        }
    }

    /// Every object that says which share the new release gets by a route.
    pub(super) fn routes(&self) -> Vec<(Kind, String)> {
        match self.to() {
            Route::None => Vec::new(),
            Route::Weights(name, router) => vec![(router.kind, name.to_owned())],
            Route::Beside(name) => {
                [name.to_owned(), format!("{name}{CANARY}")].map(|name| (Kind::Ingress, name)).to_vec()
            }
        }
    }

    fn ends(&self) -> Ends<'_> {
        let root = &self.new.spec.service;
        let (stable, new) = match self.rule() {
            Some(_) => (destination_rule::STABLE, destination_rule::NEW),
            None => (root.as_str(), self.preview_name.as_str()),
        };
        Ends { root, stable, new: Some(new), port: self.new.spec.port }
    }

    /// The route is there, and it is ours to change.
    pub(super) async fn route_fits(&self, lane: &Lane) -> Result<(), EffectError> {
        let fence = self.fence(self.plan.generation(0));
        let Some((kind, name)) = self.route_title() else { return Ok(()) };
        let what = format!("{} {}/{name}", kind.name(), self.namespace());
        let Some(object) = lane.get(kind, self.namespace(), name).await? else {
            return Err(EffectError::Wrong(format!(
                "there is no {what}: make it first, or correct `traffic`"
            )));
        };
        fence.admits(&object, &what)?;
        let wanted = self.wanted(Share::NONE, Share::NONE);
        match self.to() {
            Route::Weights(_, router) => (router.changes)(&object, &wanted).map(drop)?,
            Route::None | Route::Beside(_) => {
                ingress::canary(&object, &wanted, &format!("{name}{CANARY}")).map(drop)?;
            }
        }
        self.subsets_fit(lane, fence).await
    }

    fn wanted(&self, share: Share, mirror: Share) -> Wanted<'_> {
        Wanted { ends: self.ends(), share, mirror, testers: &self.new.spec.testers }
    }

    /// Gives the new release this share and its testers, and reads back that it has it.
    pub(super) async fn route(
        &self,
        lane: &Lane,
        share: Share,
        mirror: Share,
        fence: Fence<'_>,
    ) -> Result<(), EffectError> {
        self.route_so(lane, self.wanted(share, mirror), fence).await
    }

    /// Leaves the new release no more than this share: testers and copies leave it, too.
    pub(super) async fn route_back(
        &self,
        lane: &Lane,
        share: Share,
        fence: Fence<'_>,
    ) -> Result<(), EffectError> {
        match self.route_only(lane, share, fence).await {
            // Nobody comes in by a route that somebody deleted, and whoever makes it again does it as its owner.
            Err(EffectError::Gone(what)) => {
                tracing::warn!(service = self.plan.service, what, "it is gone, and nobody comes in by it");
                Ok(())
            }
            // Nobody has to be called where there is nothing of ours to take out; who refuses this refuses older orders, too.
            Err(EffectError::Cluster(why)) if why.is_permanent() => match self.route_rests_now(lane).await {
                Ok(true) => Ok(()),
                _ => Err(why.into()),
            },
            answer => answer,
        }
    }

    /// The same where the route has to be there.
    pub(super) async fn route_only(
        &self,
        lane: &Lane,
        share: Share,
        fence: Fence<'_>,
    ) -> Result<(), EffectError> {
        let wanted = Wanted { ends: self.ends(), share, mirror: Share::NONE, testers: &[] };
        self.route_so(lane, wanted, fence).await
    }

    async fn route_so(&self, lane: &Lane, wanted: Wanted<'_>, fence: Fence<'_>) -> Result<(), EffectError> {
        let share = wanted.share;
        match self.to() {
            Route::None => Ok(()),
            Route::Weights(name, router) => {
                let what = format!("{} {}/{name}", router.kind.name(), self.namespace());
                let written = self
                    .edit(lane, router.kind, name, |object| {
                        fence.admits(object, &what)?;
                        let changes = (router.changes)(object, &wanted)?;
                        Ok(stamped(object, changes, fence))
                    })
                    .await?;
                let seen = (router.read)(&written, &wanted.ends)?;
                // Routers that take whole percents round.
                if seen.share.basis_points().abs_diff(share.basis_points()) > ROUNDED {
                    return Err(EffectError::Unread(format!(
                        "{what} was given {share} and says {}",
                        seen.share
                    )));
                }
                Ok(())
            }
            Route::Beside(name) => self.beside(lane, name, &wanted, fence).await,
        }
    }

    async fn beside(
        &self,
        lane: &Lane,
        name: &str,
        wanted: &Wanted<'_>,
        fence: Fence<'_>,
    ) -> Result<(), EffectError> {
        let own = format!("{name}{CANARY}");
        let there = self.object(lane, Kind::Ingress, &own).await?;
        if let Some(object) = &there {
            fence.admits(object, &format!("Ingress {}/{own}", self.namespace()))?;
        }
        let Some(users) = self.object(lane, Kind::Ingress, name).await? else {
            // Without the users' Ingress nothing reaches anybody; what is ours goes.
            return Ok(lane.delete(Kind::Ingress, self.namespace(), &own).await?);
        };
        match ingress::canary(&users, wanted, &own)? {
            None if there.is_none() => Ok(()),
            None => Ok(lane.delete(Kind::Ingress, self.namespace(), &own).await?),
            Some(mut object) => {
                if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                    let annotations = metadata
                        .entry("annotations")
                        .or_insert_with(|| Value::Object(serde_json::Map::new()));
                    if let Some(annotations) = annotations.as_object_mut() {
                        annotations.extend(fence.annotations());
                    }
                }
                self.apply(lane, Kind::Ingress, &object).await?;
                Ok(())
            }
        }
    }

    /// The route as its owner wrote it.
    pub(super) async fn route_at_rest(&self, lane: &Lane, fence: Fence<'_>) -> Result<(), EffectError> {
        match self.to() {
            Route::None => Ok(()),
            Route::Weights(name, router) => {
                let what = format!("{} {}/{name}", router.kind.name(), self.namespace());
                let ends = self.ends();
                let written = self
                    .edit(lane, router.kind, name, |object| {
                        fence.admits(object, &what)?;
                        Ok(stamped(object, (router.at_rest)(object, &ends)?, fence))
                    })
                    .await;
                // What somebody deleted needs no putting back.
                if let Err(EffectError::Gone(_)) = &written {
                    return Ok(());
                }
                let written = written?;
                let seen = (router.read)(&written, &ends)?.share;
                if seen != Share::NONE {
                    return Err(EffectError::Unread(format!("{what} was put back and still says {seen}")));
                }
                self.disown(lane, router.kind, &written).await;
                Ok(())
            }
            Route::Beside(name) => {
                Ok(lane.delete(Kind::Ingress, self.namespace(), &format!("{name}{CANARY}")).await?)
            }
        }
    }

    /// Whether the API server has the route as its owner wrote it.
    async fn route_rests_now(&self, lane: &Lane) -> Result<bool, EffectError> {
        let Route::Weights(name, router) = self.to() else { return Ok(false) };
        let object = self.asked(lane, router.kind, name).await?;
        Ok((router.at_rest)(&object, &self.ends())?.is_empty())
    }

    /// Whether the route is as its owner wrote it, or is not there.
    pub(super) async fn route_rests(&self, lane: &Lane) -> Result<bool, EffectError> {
        let Route::Weights(name, router) = self.to() else { return Ok(true) };
        let Some(object) = self.object(lane, router.kind, name).await? else { return Ok(true) };
        Ok((router.at_rest)(&object, &self.ends())?.is_empty())
    }

    /// The share that the route gives the new release, as far as is known.
    pub(super) async fn route_known(&self, lane: &Lane) -> Result<Share, EffectError> {
        let ends = self.ends();
        Ok(match self.to() {
            Route::None => Share::NONE,
            Route::Weights(name, router) => match self.object(lane, router.kind, name).await? {
                Some(object) => (router.read)(&object, &ends)?.share,
                None => Share::NONE,
            },
            Route::Beside(name) => {
                let own = self.object(lane, Kind::Ingress, &format!("{name}{CANARY}")).await?;
                ingress::read(own.as_deref(), &ends)?.share
            }
        })
    }
}

/// The changes with the fence beside them; the fence alone when an older order could still come.
fn stamped(object: &Value, mut changes: Vec<Value>, fence: Fence<'_>) -> Vec<Value> {
    if !changes.is_empty() {
        changes.push(fence.stamp(object));
        changes
    } else if fence.is_on(object) {
        changes
    } else {
        fence.patch(object, [])
    }
}
