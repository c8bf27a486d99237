//! The controller's side of a cluster: Rollouts as they come and go, their status, events about them, and who leads.
//!
//! Nothing here decides. What a Rollout means is the binary's to know.

mod held;
mod lease;
mod watch;

use std::{path::Path, sync::Arc, time::Duration};

use kube::{
    Api, Client,
    api::{DynamicObject, ListParams, Patch, PatchParams, PostParams},
};
use serde_json::{Value, json};

pub use held::Held;
pub(crate) use held::no_longer;
pub use lease::{Candidate, Leader, LeaseName, Lost};
pub use watch::News;

use crate::{
    cluster::{Address, MANAGER, configuration},
    connection,
    fault::{Asked, ClusterError},
    kinds::Kind,
};

/// Longest answer to one request.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Rollouts that one answer brings at most.
const PAGE_MAX: u32 = 500;

/// The longest `note` of an event that the API server takes, bytes.
const NOTE_BYTES_MAX: usize = 1_024;

/// Which namespaces are watched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Every one.
    All,
    /// These.
    Namespaces(Vec<String>),
}

/// A cluster as a controller uses it. Cheap to clone.
#[derive(Clone)]
pub struct Control {
    client: Client,
    cluster: Arc<str>,
    held: Option<Held>,
}

/// Something that happened to a Rollout, for `kubectl describe` and `kubectl events`.
#[derive(Clone, Debug)]
pub struct Happened {
    /// Tells it from all others of the namespace: the same name twice is the same event, once.
    pub name: String,
    /// The Rollout.
    pub rollout: Value,
    /// Whether somebody should look.
    pub warning: bool,
    /// One word.
    pub reason: String,
    /// A sentence.
    pub note: String,
    /// When, RFC 3339 with microseconds.
    pub at: String,
    /// Who reports it.
    pub instance: String,
}

impl Control {
    /// Reads the configuration: `kubeconfig`, else the usual ones, else the service account of the pod that this runs in.
    pub async fn connect(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Self, ClusterError> {
        let address =
            Address { kubeconfig: kubeconfig.map(Path::to_owned), context: context.map(str::to_owned) };
        let config = configuration(&address).await?;
        let cluster = config.cluster_url.to_string().into();
        Ok(Self { client: connection::client(&config)?, cluster, held: None })
    }

    /// Asks nothing any more once the right to act has ended: what a leader has to say is nobody's news by then.
    #[must_use]
    pub fn while_held(mut self, held: Held) -> Self {
        self.held = Some(held);
        self
    }

    /// Somebody who wants to lead.
    pub fn candidate(&self, name: LeaseName) -> Candidate {
        Candidate::new(self.client.clone(), &self.cluster, name)
    }

    /// Every Rollout of the scope.
    pub async fn rollouts(&self, scope: &Scope) -> Result<Vec<Value>, ClusterError> {
        let mut all = Vec::new();
        for namespace in scope.parts() {
            let api = self.api(Kind::Rollout, namespace);
            let mut parameters = ListParams::default().limit(PAGE_MAX);
            loop {
                let list = api.list(&parameters);
                let list =
                    self.ask("list", Kind::Rollout, namespace.unwrap_or("every one"), "", list).await?;
                all.extend(list.items.into_iter().map(watch::value));
                let Some(next) = list.metadata.continue_.filter(|next| !next.is_empty()) else { break };
                parameters = parameters.continue_token(&next);
            }
        }
        Ok(all)
    }

    /// One Deployment; `None` when there is none.
    pub async fn deployment(&self, namespace: &str, name: &str) -> Result<Option<Value>, ClusterError> {
        let api = self.api(Kind::Deployment, Some(namespace));
        let found = self.ask("get", Kind::Deployment, namespace, name, api.get_opt(name)).await?;
        Ok(found.map(watch::value))
    }

    /// Puts the status of a Rollout in place by server-side apply: our fields and no others, never by force, never the spec, and
    /// only if the Rollout is still the `version` that was read: what is on its way when another controller has taken over says
    /// nothing any more. Answers with the Rollout as it is then.
    pub async fn put_status(
        &self,
        namespace: &str,
        name: &str,
        status: &Value,
        version: &str,
    ) -> Result<Value, ClusterError> {
        let object = json!({
            "apiVersion": Kind::Rollout.api_version(),
            "kind": Kind::Rollout.name(),
            "metadata": {"name": name, "namespace": namespace, "resourceVersion": version},
            "status": status,
        });
        let (parameters, patch) = (PatchParams::apply(MANAGER), Patch::Apply(&object));
        let api = self.api(Kind::Rollout, Some(namespace));
        let put = api.patch_status(name, &parameters, &patch);
        self.ask("patch", Kind::Rollout, namespace, name, put).await.map(watch::value)
    }

    /// Writes an event down, once.
    pub async fn tell(&self, happened: &Happened) -> Result<(), ClusterError> {
        let text = |path: &str| happened.rollout.pointer(path).and_then(Value::as_str).unwrap_or_default();
        let namespace = text("/metadata/namespace");
        let event = json!({
            "apiVersion": Kind::Event.api_version(),
            "kind": Kind::Event.name(),
            "metadata": {"name": happened.name, "namespace": namespace},
            "eventTime": happened.at,
            "type": if happened.warning { "Warning" } else { "Normal" },
            "reason": happened.reason,
            "action": "Rollout",
            "note": cut(&happened.note, NOTE_BYTES_MAX),
            "reportingController": "tidegate.dev/controller",
            "reportingInstance": cut(&happened.instance, 128),
            "regarding": {
                "apiVersion": Kind::Rollout.api_version(),
                "kind": Kind::Rollout.name(),
                "namespace": namespace,
                "name": text("/metadata/name"),
                "uid": text("/metadata/uid"),
            },
        });
        let event: DynamicObject = serde_json::from_value(event).map_err(|why| {
            ClusterError::trouble_in(self.asked("create", Kind::Event, namespace, &happened.name), &why)
        })?;
        let parameters = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let api = self.api(Kind::Event, Some(namespace));
        let created = api.create(&parameters, &event);
        match self.ask("create", Kind::Event, namespace, &happened.name, created).await {
            // It is there already.
            Ok(_) | Err(ClusterError::Changed { .. }) => Ok(()),
            Err(why) => Err(why),
        }
    }

    fn api(&self, kind: Kind, namespace: Option<&str>) -> Api<DynamicObject> {
        match namespace {
            Some(namespace) => Api::namespaced_with(self.client.clone(), namespace, &kind.resource()),
            None => Api::all_with(self.client.clone(), &kind.resource()),
        }
    }

    fn asked<'a>(&'a self, verb: &'static str, kind: Kind, namespace: &'a str, name: &'a str) -> Asked<'a> {
        Asked { cluster: &self.cluster, verb, kind, namespace, name }
    }

    async fn ask<T>(
        &self,
        verb: &'static str,
        kind: Kind,
        namespace: &str,
        name: &str,
        answer: impl Future<Output = Result<T, kube::Error>>,
    ) -> Result<T, ClusterError> {
        let asked = self.asked(verb, kind, namespace, name);
        let answer = tokio::select! {
            biased;
            () = no_longer(self.held.as_ref()) => return Err(ClusterError::not_leading(asked)),
            answer = tokio::time::timeout(ANSWER_MAX, answer) => answer,
        };
        match answer {
            Ok(answer) => answer.map_err(|why| ClusterError::of(why, asked)),
            Err(_) => Err(ClusterError::late(asked, ANSWER_MAX)),
        }
    }
}

impl Scope {
    /// Each part that is asked for by itself; `None` is everything at once.
    fn parts(&self) -> Vec<Option<&str>> {
        match self {
            Self::All => vec![None],
            Self::Namespaces(names) => names.iter().map(|name| Some(name.as_str())).collect(),
        }
    }
}

/// The beginning of a text, so many bytes at most.
fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.get(..end).unwrap_or_default()
}
