//! One plain Deployment as its guard sees it: what there is, when something changed, and its revisions as releases.

use std::{path::PathBuf, sync::Arc};

use futures_util::{StreamExt, stream::BoxStream};
use kube::{
    Api,
    runtime::{WatchStreamExt, watcher},
};
use serde_json::Value;
use tidegate_core::model::{Artifact, Release};

use super::{
    ran::{Ran, ran},
    sight::{Revision, Sight},
    spec::GuardSpec,
    template::{HASH, selector, template, uid},
};
use crate::{
    cluster::{Address, Cluster, configuration},
    fault::ClusterError,
    kinds::Kind,
    pin::pinned,
    role,
    target::query,
};

/// A plain Deployment on a cluster. Cheap to clone.
#[derive(Clone)]
pub struct Guarded {
    address: Address,
    cluster: Arc<Cluster>,
    namespace: String,
    name: String,
}

/// Why a Deployment cannot be looked at, or a revision of it not be gone back to.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The cluster says no, or nothing.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// There is none of that name.
    #[error(
        "there is no Deployment {namespace}/{name}: correct the name, or name its namespace with --namespace"
    )]
    NoDeployment {
        /// Where.
        namespace: String,
        /// Its name.
        name: String,
    },
    /// Others are responsible for it.
    #[error("Deployment {namespace}/{name} cannot be guarded: {why}")]
    NotGuarded {
        /// Where.
        namespace: String,
        /// Its name.
        name: String,
        /// Who is.
        why: String,
    },
    /// The description of a revision cannot be written.
    #[error("the description of a revision cannot be written")]
    Encode(#[from] serde_json::Error),
}

impl GuardError {
    /// Whether asking again cannot help until a person has done something.
    pub const fn is_permanent(&self) -> bool {
        match self {
            Self::Cluster(error) => error.is_permanent(),
            Self::NoDeployment { .. } | Self::NotGuarded { .. } | Self::Encode(_) => true,
        }
    }
}

impl Guarded {
    /// The Deployment `name` where these say. Nothing is asked of the cluster yet. What is not named is what `kubectl` would
    /// use now, and stays so: another context that somebody switches to meanwhile is another cluster.
    pub async fn new(
        kubeconfig: Option<PathBuf>,
        context: Option<String>,
        namespace: Option<String>,
        name: &str,
    ) -> Result<Self, GuardError> {
        let address = pinned(kubeconfig, context);
        let namespace = match namespace {
            Some(named) => named,
            None => configuration(&address).await?.default_namespace,
        };
        let cluster = Arc::new(Cluster::connect(&address, None).await?);
        Ok(Self { address, cluster, namespace, name: name.to_owned() })
    }

    /// Another Deployment of the same cluster, by the same connections.
    #[must_use]
    pub fn beside(&self, namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.to_owned(), name: name.to_owned(), ..self.clone() }
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// `deployment/shop in namespace prod`, for a person.
    pub fn called(&self) -> String {
        format!("deployment/{} in namespace {}", self.name, self.namespace)
    }

    /// The Deployment as it is now.
    pub async fn look(&self) -> Result<Sight, GuardError> {
        let object = self.object().await?;
        self.with_revisions(object).await
    }

    /// The same, when it is another version than the `last` one; nothing when nothing has changed.
    async fn look_again(&self, last: &Sight) -> Result<Option<Sight>, GuardError> {
        let object = self.object().await?;
        let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        if last.present.is_some() && version == Some(&last.version) {
            return Ok(None);
        }
        self.with_revisions(object).await.map(Some)
    }

    async fn object(&self) -> Result<Value, GuardError> {
        let (namespace, name) = (self.namespace.clone(), self.name.clone());
        let found = self.cluster.forward().get(Kind::Deployment, &namespace, &name).await?;
        found.ok_or(GuardError::NoDeployment { namespace, name })
    }

    async fn with_revisions(&self, object: Value) -> Result<Sight, GuardError> {
        let lane = self.cluster.forward();
        let sets = lane.list(Kind::ReplicaSet, &self.namespace, &query(&selector(&object))).await?;
        let mut sight = Sight::of(&object, &sets);
        // The very text that is there: what the ReplicaSet has is the same, unless the server's defaults have changed since.
        if let Some(hash) = sight.present.clone()
            && let Some(present) = sight.revisions.iter_mut().find(|revision| revision.hash == hash)
        {
            present.template = template(&object);
        }
        Ok(sight)
    }

    /// The same, refused where others are responsible for it.
    pub async fn look_to_guard(&self) -> Result<Sight, GuardError> {
        self.to_guard(self.look().await?)
    }

    /// The same, refused also where the account may not do all that guarding will ask for: undoing a bad rollout is no time to
    /// find that out.
    pub async fn first_look_to_guard(&self) -> Result<Sight, GuardError> {
        let seen = self.look_to_guard().await;
        // Who does not answer is not asked more.
        if matches!(seen, Ok(_) | Err(GuardError::Cluster(ClusterError::Forbidden { .. }))) {
            let lacks = self.cluster.lacks(&self.namespace, &role::guard_needs()).await;
            if let Some(why) = ClusterError::lacking(&self.namespace, &lacks) {
                return Err(why.into());
            }
        }
        seen
    }

    /// The same, when it is another version than the `last` one; nothing when nothing has changed.
    pub async fn look_again_to_guard(&self, last: &Sight) -> Result<Option<Sight>, GuardError> {
        self.look_again(last).await?.map(|sight| self.to_guard(sight)).transpose()
    }

    fn to_guard(&self, sight: Sight) -> Result<Sight, GuardError> {
        match &sight.not_guarded {
            None => Ok(sight),
            Some(why) => {
                let (namespace, name, why) = (self.namespace.clone(), self.name.clone(), why.clone());
                Err(GuardError::NotGuarded { namespace, name, why })
            }
        }
    }

    /// How long the revision that runs has run well before anybody judged it; nothing where that cannot surely be said, because
    /// of something in its pods, because it is not what was seen any more, or because the API server does not tell the time.
    pub async fn ran(&self, seen: &Sight) -> Result<Option<Ran>, GuardError> {
        let Some(hash) = &seen.present else { return Ok(None) };
        let lane = self.cluster.forward();
        // Before the pods: what happens in between makes it shorter.
        let Some(now) = lane.time().await else { return Ok(None) };
        let Some(object) = lane.get(Kind::Deployment, &self.namespace, &self.name).await? else {
            return Ok(None);
        };
        let same = seen.present().is_some_and(|present| present.template == template(&object));
        if !same || uid(&object) != seen.uid {
            return Ok(None);
        }
        let mut labels = selector(&object);
        labels.insert(HASH.to_owned(), hash.as_str().into());
        let pods = lane.list(Kind::Pod, &self.namespace, &query(&labels)).await?;
        Ok(ran(&object, &pods, &format!("{}-{hash}", self.name), now))
    }

    /// News of the Deployment from now on. Must be asked for inside a tokio runtime.
    pub fn changes(&self) -> Changes {
        let client = self.cluster.forward().client();
        let api = Api::<kube::api::DynamicObject>::namespaced_with(
            client,
            &self.namespace,
            &Kind::Deployment.resource(),
        );
        let only = watcher::Config::default().fields(&format!("metadata.name={}", self.name));
        Changes(watcher(api, only).default_backoff().map(drop).boxed())
    }

    /// A revision as a release: `{hash}-{revision}`. `progress_ms` is the longest time without a further ready pod.
    pub fn release(
        &self,
        sight: &Sight,
        revision: &Revision,
        progress_ms: u64,
        replaces: Option<String>,
    ) -> Result<Release, GuardError> {
        let spec = GuardSpec {
            kubeconfig: self.address.kubeconfig.clone(),
            context: self.address.context.clone(),
            namespace: self.namespace.clone(),
            deployment: self.name.clone(),
            uid: sight.uid.clone(),
            revision: revision.number,
            hash: revision.hash.clone(),
            template: revision.template.clone(),
            change_cause: revision.change_cause.clone(),
            progress_ms,
            replaces,
        };
        Ok(Release {
            tag: format!("{}-{}", revision.hash, revision.number),
            commit: None,
            artifact: Artifact::Image { reference: revision.images.first().cloned().unwrap_or_default() },
            spec: spec.target_spec()?,
        })
    }
}

/// News that something about a Deployment may have changed.
pub struct Changes(BoxStream<'static, ()>);

impl Changes {
    /// Waits for the next. It can be silent without a word, so somebody who waits looks now and then all the same.
    pub async fn next(&mut self) {
        if self.0.next().await.is_none() {
            // The watch begins anew by itself and has no end; if it ever had one, silence is what is left.
            std::future::pending::<()>().await;
        }
    }
}
