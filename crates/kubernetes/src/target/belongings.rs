//! What belongs to a release is there before its pods are, and goes with its Deployment.

use serde_json::{Value, json};

use super::{EffectError, Rollout, root};
use crate::{
    belongings::{
        ConfigRef, Configuration,
        objects::{self, BELONGINGS},
        selector::selects,
    },
    cluster::Lane,
    fault::ClusterError,
    fence::{Fence, annotation},
    kinds::Kind,
    manifest::{MANAGED_BY, OURS},
    spec::Known,
};

/// Times that a configuration which somebody makes at the same moment is looked at.
const MADE_MAX: u32 = 3;

impl Rollout<'_> {
    /// What the new release needs is ours or nobody's, its configuration can be read, and the API server would take the rest.
    pub(super) async fn belongings_fit(
        &self,
        lane: &Lane,
        root: &Value,
        fence: Fence<'_>,
    ) -> Result<(), EffectError> {
        let new = &self.new;
        for config in &new.spec.belongings.configs {
            if !self.is_there(lane, new, config, fence).await? {
                self.content(config)?;
            }
        }
        if let Some(network) = &new.spec.belongings.network {
            let policy = objects::policy(new, network, root, fence);
            if self.is_ours(lane, Kind::NetworkPolicy, &new.name, fence).await?.is_none() {
                lane.apply(Kind::NetworkPolicy, &policy, true).await?;
            }
        }
        if wants_budget(new) {
            self.is_ours(lane, Kind::PodDisruptionBudget, &objects::of_service(new.service), fence).await?;
        }
        Ok(())
    }

    /// Configuration and policy of a release, before its Deployment is made.
    pub(super) async fn furnish(
        &self,
        lane: &Lane,
        known: &Known<'_>,
        fence: Fence<'_>,
    ) -> Result<(), EffectError> {
        for config in &known.spec.belongings.configs {
            self.configure(lane, known, config, fence).await?;
        }
        if let Some(network) = &known.spec.belongings.network {
            let root = self.root(lane).await?;
            let policy = objects::policy(known, network, &root, fence);
            self.ensure_ours(lane, Kind::NetworkPolicy, &policy, fence).await?;
        }
        Ok(())
    }

    /// One pod of the service stays when nodes are emptied. Where a budget of somebody else finds its pods, ours goes: two of
    /// them and nobody can evict anything.
    pub(super) async fn protect(&self, lane: &Lane, fence: Fence<'_>) -> Result<(), EffectError> {
        if !wants_budget(&self.new) {
            return Ok(());
        }
        let kind = Kind::PodDisruptionBudget;
        let theirs = lane.list(kind, self.namespace(), &format!("{MANAGED_BY}!={OURS}")).await?;
        let labels: Vec<_> = self.stable.iter().chain([&self.new]).map(Known::labels).collect();
        let finds = |budget: &&Value| {
            let selector = budget.pointer("/spec/selector");
            labels.iter().any(|labels| selects(selector, labels))
        };
        if let Some(theirs) = theirs.iter().find(finds) {
            let name = crate::manifest::name(theirs);
            tracing::info!(
                service = self.plan.service,
                budget = name,
                "somebody else's budget keeps the pods"
            );
            return self.remove_ours(lane, kind, &objects::of_service(self.new.service), fence).await;
        }
        let root = self.root(lane).await?;
        self.ensure_ours(lane, kind, &objects::budget(&self.new, &root::base(&root), fence), fence).await
    }

    /// What one release brought and the one that stays does not want goes.
    pub(super) async fn settle(
        &self,
        lane: &Lane,
        stays: Option<&Known<'_>>,
        fence: Fence<'_>,
    ) -> Result<(), EffectError> {
        let had = self.stable.iter().chain([&self.new]).any(wants_budget);
        if had && !stays.is_some_and(wants_budget) {
            let name = objects::of_service(self.new.service);
            self.remove_ours(lane, Kind::PodDisruptionBudget, &name, fence).await?;
        }
        Ok(())
    }

    /// What belongs to an old Deployment, before that is removed, but for what one of the others refers to. Nothing else
    /// says what there is: Secrets are never listed.
    pub(super) async fn dispossess(
        &self,
        lane: &Lane,
        old: &Value,
        kept: &[String],
        fence: Fence<'_>,
    ) -> Result<(), EffectError> {
        let listed = annotation(old, BELONGINGS).unwrap_or_default();
        let is_kept =
            |part: (Kind, &str)| kept.iter().any(|kept| objects::parts(kept).any(|other| other == part));
        for (kind, name) in objects::parts(listed).filter(|part| !is_kept(*part)) {
            match self.remove_ours(lane, kind, name, fence).await {
                Err(EffectError::Cluster(why @ ClusterError::Forbidden { .. })) => {
                    tracing::warn!(service = self.plan.service, %why, "something of an old release is left behind");
                }
                answer => answer?,
            }
        }
        Ok(())
    }

    /// The object, when there is one and it is ours.
    async fn is_ours(
        &self,
        lane: &Lane,
        kind: Kind,
        name: &str,
        fence: Fence<'_>,
    ) -> Result<Option<Value>, EffectError> {
        let Some(object) = lane.get(kind, self.namespace(), name).await? else { return Ok(None) };
        self.owned(&object, kind, name, fence)?;
        Ok(Some(object))
    }

    fn owned(&self, object: &Value, kind: Kind, name: &str, fence: Fence<'_>) -> Result<(), EffectError> {
        let what = format!("{} {}/{name}", kind.name(), self.namespace());
        fence.admits(object, &what)?;
        if annotation(object, &fence.owner_key()).is_none() {
            return Err(EffectError::Wrong(format!(
                "{what} is there already and is not this service's: remove it, or give it another name"
            )));
        }
        Ok(())
    }

    /// Makes an object of ours, or gives one that is there what it should say.
    pub(super) async fn ensure_ours(
        &self,
        lane: &Lane,
        kind: Kind,
        wanted: &Value,
        fence: Fence<'_>,
    ) -> Result<(), EffectError> {
        let name = crate::manifest::name(wanted);
        if lane.get(kind, self.namespace(), name).await?.is_none() {
            match lane.apply(kind, wanted, false).await {
                // Somebody was faster; what is there now is looked at.
                Err(ClusterError::Changed { .. } | ClusterError::Conflict { .. }) => {}
                answer => return Ok(answer.map(drop)?),
            }
        }
        let spec = wanted.get("spec").cloned().unwrap_or_default();
        self.edit(lane, kind, name, |object| {
            self.owned(object, kind, name, fence)?;
            if fence.is_on(object) && object.get("spec").is_some_and(|has| objects::says(has, &spec)) {
                return Ok(Vec::new());
            }
            Ok(fence.patch(object, [json!({"op": "add", "path": "/spec", "value": spec})]))
        })
        .await?;
        Ok(())
    }

    /// Removes an object when it is ours; one that is not there, or somebody else's, is none of our business.
    pub(super) async fn remove_ours(
        &self,
        lane: &Lane,
        kind: Kind,
        name: &str,
        fence: Fence<'_>,
    ) -> Result<(), EffectError> {
        let Some(object) = lane.get(kind, self.namespace(), name).await? else { return Ok(()) };
        let is_ours = annotation(&object, &fence.owner_key()).is_some() && fence.admits(&object, "").is_ok();
        if is_ours {
            lane.delete(kind, self.namespace(), name).await?;
        }
        Ok(())
    }

    async fn configure(
        &self,
        lane: &Lane,
        known: &Known<'_>,
        config: &ConfigRef,
        fence: Fence<'_>,
    ) -> Result<(), EffectError> {
        for _ in 0..MADE_MAX {
            if self.is_there(lane, known, config, fence).await? {
                return Ok(());
            }
            let content = self.content(config)?;
            let object = objects::config(known, config, &content, fence);
            match lane.create(config.kind.kind(), &object).await {
                Err(ClusterError::Changed { .. }) => {}
                // The API server may quote what it does not take.
                Err(ClusterError::Refused { what, why }) => {
                    let why = content.hushed(&why);
                    return Err(ClusterError::Refused { what, why }.into());
                }
                answer => return Ok(answer?),
            }
        }
        Err(EffectError::Unread(format!("{} comes and goes", config.object())))
    }

    /// Whether the configuration is in the cluster. Under its name, nothing else may be.
    async fn is_there(
        &self,
        lane: &Lane,
        known: &Known<'_>,
        config: &ConfigRef,
        fence: Fence<'_>,
    ) -> Result<bool, EffectError> {
        let (kind, name) = (config.kind.kind(), config.object());
        let Some(object) = self.is_ours(lane, kind, &name, fence).await? else { return Ok(false) };
        let is_fixed = object.get("immutable").and_then(Value::as_bool) == Some(true);
        let content = Configuration::of(&object, &known.spec.namespace);
        if is_fixed && content.is_ok_and(|content| content.sha256() == config.sha256) {
            return Ok(true);
        }
        Err(EffectError::Wrong(format!(
            "{} {}/{name} is there already with another content than its name says: remove it, and deploy again",
            kind.name(),
            self.namespace()
        )))
    }

    /// What the configuration's file holds, which has to be what it held when the release was made.
    fn content(&self, config: &ConfigRef) -> Result<Configuration, EffectError> {
        let objects = (self.manifests)(&config.file).map_err(EffectError::Wrong)?;
        let read = |object: &Value| Configuration::of(object, self.namespace()).ok();
        let found = objects.iter().filter_map(read).find(|content| content.is(config));
        found.filter(|content| content.sha256() == config.sha256).ok_or_else(|| {
            EffectError::Wrong(format!(
                "{} has no {} `{}` any more with the content that the release was made with: deploy again, or bring the file \
                 back",
                config.file.display(),
                config.kind.kind().name(),
                config.name
            ))
        })
    }
}

/// Whether a release wants that one of its service's pods stays.
fn wants_budget(known: &Known<'_>) -> bool {
    known.spec.belongings.wants_budget(known.spec.replicas)
}
