//! One cluster: connections for forward work and, apart from them, for the way back.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use k8s_openapi::jiff;
use kube::{
    Api, Client, Config,
    api::{DeleteParams, DynamicObject, GetParams, ListParams, Patch, PatchParams, PostParams, Request},
    client::Body,
    config::{KubeConfigOptions, Kubeconfig, KubeconfigError},
};
use serde_json::{Value, json};
use tidegate_core::model::Timestamp;
use tokio::sync::Semaphore;

use crate::{
    connection,
    control::{Held, no_longer},
    fault::{Asked, ClusterError},
    kinds::Kind,
    rights::{self, Need, Rights},
    view::NamespaceView,
};

/// The name under which we own fields.
pub(crate) const MANAGER: &str = "tidegate";

/// Requests of forward work that are on their way at once; the way back has no such bound of its own, each deployment
/// makes its few requests one after the other.
const FORWARD_MAX: usize = 24;

/// Longest answer to one request.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// On the way back a request without an answer for so long is sent again by a new connection, while the first goes on: the
/// network between may have forgotten the old one, and nobody says so.
const AGAIN: Duration = Duration::from_secs(2);

/// The same after one that was sent again has failed, while an earlier one is still on its way.
const AGAIN_SOON: Duration = Duration::from_millis(300);

/// Times that one request is sent at most.
const AGAIN_MAX: usize = 20;

/// Where a cluster is.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address {
    /// The file; `None` is `KUBECONFIG`, the user's, or the service account of the pod that this runs in.
    pub(crate) kubeconfig: Option<PathBuf>,
    /// The context in it; `None` is the current one.
    pub(crate) context: Option<String>,
}

/// A cluster.
pub(crate) struct Cluster {
    forward: Lane,
    back: Lane,
    views: Mutex<BTreeMap<String, Arc<NamespaceView>>>,
    /// What the account may do, by namespace.
    rights: Mutex<BTreeMap<String, Rights>>,
}

impl Cluster {
    /// Reads the configuration and makes the clients; nothing is asked yet.
    /// With `held`, nothing is asked any more once that has ended.
    pub(crate) async fn connect(address: &Address, held: Option<&Held>) -> Result<Self, ClusterError> {
        let config = configuration(address).await?;
        let name = config.cluster_url.to_string();
        let lane = |places| {
            let client = Arc::new(Mutex::new(connection::client(&config)?));
            let (config, held) = (config.clone().into(), held.cloned());
            Ok(Lane { client, config, cluster: name.as_str().into(), places, held })
        };
        let forward = Some(Arc::new(Semaphore::new(FORWARD_MAX)));
        Ok(Self {
            forward: lane(forward)?,
            back: lane(None)?,
            views: Mutex::default(),
            rights: Mutex::default(),
        })
    }

    /// For work that may wait.
    pub(crate) const fn forward(&self) -> &Lane {
        &self.forward
    }

    /// For what returns traffic to the stable release.
    pub(crate) const fn back(&self) -> &Lane {
        &self.back
    }

    /// The namespace as it is now; begins to watch it when nobody did yet.
    pub(crate) fn view(&self, namespace: &str) -> Arc<NamespaceView> {
        let mut views = self.views.lock().unwrap_or_else(PoisonError::into_inner);
        let view = views
            .entry(namespace.to_owned())
            .or_insert_with(|| NamespaceView::watch(self.forward.client(), namespace));
        Arc::clone(view)
    }

    /// What of these the account may not do in a namespace. Nothing where that cannot be told: it shows when it is asked for.
    pub(crate) async fn lacks(&self, namespace: &str, needs: &[Need]) -> Vec<Need> {
        let known = || self.rights.lock().unwrap_or_else(PoisonError::into_inner);
        if known().get(namespace).is_some_and(|rights| rights.allow(needs)) {
            return Vec::new();
        }
        let lacks = rights::lacks(&self.forward, namespace, needs).await;
        // What is missing is asked for anew: whoever has just bound a Role deploys at once.
        let allowed =
            needs.iter().filter(|need| !lacks.unknown.contains(need) && !lacks.refused.contains(need));
        known().entry(namespace.to_owned()).or_default().note(allowed);
        lacks.refused
    }
}

pub(crate) async fn configuration(address: &Address) -> Result<Config, ClusterError> {
    let Address { kubeconfig, context } = address;
    let unknown = |why: &dyn std::error::Error| ClusterError::Configuration(tidegate_adapters::chain(why));
    let file = match kubeconfig {
        Some(path) => Some(read(path)?),
        None => match Kubeconfig::read() {
            Ok(file) => Some(file),
            // A pod has a service account instead.
            Err(_) if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() => None,
            Err(why) => return Err(unread(why, None)),
        },
    };
    let config = match file {
        Some(file) => {
            let known: Vec<String> = file.contexts.iter().map(|context| context.name.clone()).collect();
            if let Some(context) = context
                && !known.contains(context)
            {
                return Err(ClusterError::Context { context: context.clone(), known });
            }
            let options = KubeConfigOptions { context: context.clone(), ..KubeConfigOptions::default() };
            Config::from_custom_kubeconfig(file, &options).await.map_err(|why| unknown(&why))?
        }
        None => Config::incluster().map_err(|why| unknown(&why))?,
    };
    Ok(config)
}

/// The kubeconfig at this path. Several files, joined as in `KUBECONFIG`, are merged: what an earlier one says stands.
pub(crate) fn read(path: &Path) -> Result<Kubeconfig, ClusterError> {
    let files: Vec<PathBuf> = if path.is_file() {
        vec![path.to_owned()]
    } else {
        std::env::split_paths(path).filter(|file| !file.as_os_str().is_empty()).collect()
    };
    let mut merged = Kubeconfig::default();
    for file in files {
        let read = Kubeconfig::read_from(&file).and_then(|next| merged.merge(next));
        merged = read.map_err(|why| unread(why, Some(&file)))?;
    }
    Ok(merged)
}

/// Why a kubeconfig is of no use, with its path as people write it.
fn unread(why: KubeconfigError, path: Option<&Path>) -> ClusterError {
    ClusterError::Configuration(match (why, path) {
        (KubeconfigError::ReadConfig(why, path), _) => format!("{} cannot be read: {why}", path.display()),
        (why, Some(path)) => format!("{}: {}", path.display(), tidegate_adapters::chain(&why)),
        (why, None) => tidegate_adapters::chain(&why),
    })
}

/// Requests with a bound on how many are on their way, or without one.
#[derive(Clone)]
pub(crate) struct Lane {
    /// The present one; another takes its place when it does not answer, and with it its connections.
    client: Arc<Mutex<Client>>,
    config: Arc<Config>,
    cluster: Arc<str>,
    places: Option<Arc<Semaphore>>,
    held: Option<Held>,
}

impl Lane {
    /// The object; `None` when there is none.
    pub(crate) async fn get(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Value>, ClusterError> {
        let get = |client| async { api(client, kind, namespace).get_opt(name).await };
        let found = self.ask("get", kind, namespace, name, get).await?;
        found.map(|object| self.value("get", kind, namespace, &object)).transpose()
    }

    /// The objects with these labels (`a=b,c=d`).
    pub(crate) async fn list(
        &self,
        kind: Kind,
        namespace: &str,
        labels: &str,
    ) -> Result<Vec<Value>, ClusterError> {
        let query = ListParams::default().labels(labels);
        let list = |client| async { api(client, kind, namespace).list(&query).await };
        let list = self.ask("list", kind, namespace, labels, list).await?;
        list.items.iter().map(|object| self.value("list", kind, namespace, object)).collect()
    }

    /// Applies what we own of an object, never by force. With `trial` nothing is kept.
    pub(crate) async fn apply(&self, kind: Kind, object: &Value, trial: bool) -> Result<Value, ClusterError> {
        let text = |path| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        let parameters = PatchParams { dry_run: trial, ..PatchParams::apply(MANAGER) };
        let body = Patch::Apply(object);
        let apply = |client| async { api(client, kind, &namespace).patch(&name, &parameters, &body).await };
        let applied = self.ask("patch", kind, &namespace, &name, apply).await?;
        self.value("patch", kind, &namespace, &applied)
    }

    /// Changes an object that is somebody else's by a JSON Patch (RFC 6902), which begins with a test of its version.
    pub(crate) async fn change(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        changes: &[Value],
    ) -> Result<Value, ClusterError> {
        let patch: json_patch::Patch = serde_json::from_value(Value::Array(changes.to_vec()))
            .map_err(|why| ClusterError::trouble_in(self.asked("patch", kind, namespace, name), &why))?;
        let parameters = PatchParams { field_manager: Some(MANAGER.to_owned()), ..PatchParams::default() };
        let body = Patch::<()>::Json(patch);
        let change = |client| async { api(client, kind, namespace).patch(name, &parameters, &body).await };
        let changed = self.ask("patch", kind, namespace, name, change).await?;
        self.value("patch", kind, namespace, &changed)
    }

    /// Makes an object that is not there yet; one that is has [`ClusterError::Changed`] for an answer.
    pub(crate) async fn create(&self, kind: Kind, object: &Value) -> Result<(), ClusterError> {
        let text = |path| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (namespace, name) = (text("/metadata/namespace"), text("/metadata/name"));
        let body: DynamicObject = serde_json::from_value(object.clone())
            .map_err(|why| ClusterError::trouble_in(self.asked("create", kind, &namespace, &name), &why))?;
        let parameters = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let create = |client| async { api(client, kind, &namespace).create(&parameters, &body).await };
        self.ask("create", kind, &namespace, &name, create).await.map(drop)
    }

    /// What is answered to a question that is asked as an object and kept nowhere.
    pub(crate) async fn review(
        &self,
        kind: Kind,
        namespace: &str,
        spec: &Value,
    ) -> Result<Value, ClusterError> {
        let object =
            json!({"apiVersion": kind.api_version(), "kind": kind.name(), "metadata": {}, "spec": spec});
        let body: DynamicObject = serde_json::from_value(object)
            .map_err(|why| ClusterError::trouble_in(self.asked("create", kind, namespace, ""), &why))?;
        let parameters = PostParams::default();
        let review = |client| async { api(client, kind, namespace).create(&parameters, &body).await };
        let answer = self.ask("create", kind, namespace, "", review).await?;
        self.value("create", kind, namespace, &answer)
    }

    /// Deletes an object and, in the background, what belongs to it; one that is not there is no mistake.
    pub(crate) async fn delete(&self, kind: Kind, namespace: &str, name: &str) -> Result<(), ClusterError> {
        let parameters = DeleteParams::background();
        let delete = |client| async {
            match api(client, kind, namespace).delete(name, &parameters).await {
                Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
                other => other.map(drop),
            }
        };
        self.ask("delete", kind, namespace, name, delete).await
    }

    /// What time it is where objects get their dates: as the API server heads an answer, with its fraction of a second cut off.
    /// `None` when it does not say so.
    pub(crate) async fn time(&self) -> Option<Timestamp> {
        // Whatever is answered to this has a date, a refusal too.
        let version = Request::new("").get("version", &GetParams::default()).ok()?;
        let client = self.client();
        let answer = client.send(version.map(Body::from));
        let answer = tokio::time::timeout(ANSWER_MAX, answer).await.ok()?.ok()?;
        let date = answer.headers().get("date")?.to_str().ok()?;
        let date = jiff::fmt::rfc2822::parse(date).ok()?;
        Some(Timestamp(date.timestamp().as_millisecond()))
    }

    pub(crate) fn client(&self) -> Client {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A client with connections of its own, which is the one from now on. A plugin for credentials may take its time.
    async fn renewed(&self) -> Option<Client> {
        let config = Arc::clone(&self.config);
        let client = tokio::task::spawn_blocking(move || connection::client(&config)).await.ok()?.ok()?;
        *self.client.lock().unwrap_or_else(PoisonError::into_inner) = client.clone();
        Some(client)
    }

    fn asked<'a>(&'a self, verb: &'static str, kind: Kind, namespace: &'a str, name: &'a str) -> Asked<'a> {
        Asked { cluster: &self.cluster, verb, kind, namespace, name }
    }

    fn value(
        &self,
        verb: &'static str,
        kind: Kind,
        namespace: &str,
        object: &DynamicObject,
    ) -> Result<Value, ClusterError> {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        serde_json::to_value(object)
            .map_err(|why| ClusterError::trouble_in(self.asked(verb, kind, namespace, name), &why))
    }

    async fn ask<T, F>(
        &self,
        verb: &'static str,
        kind: Kind,
        namespace: &str,
        name: &str,
        answer: impl Fn(Client) -> F,
    ) -> Result<T, ClusterError>
    where
        F: Future<Output = Result<T, kube::Error>>,
    {
        let asked = self.asked(verb, kind, namespace, name);
        // The semaphore is never closed.
        let _place = match &self.places {
            Some(places) => places.acquire().await.ok(),
            None => None,
        };
        let again = self.places.is_none();
        // What is waiting to be sent, or to be sent again, is not sent any more.
        let answer = tokio::select! {
            biased;
            () = no_longer(self.held.as_ref()) => return Err(ClusterError::not_leading(asked)),
            answer = tokio::time::timeout(ANSWER_MAX, self.answered(again, answer)) => answer,
        };
        if let Ok(answer) = answer {
            return answer.map_err(|why| ClusterError::of(why, asked));
        }
        self.renewed().await;
        Err(ClusterError::late(asked, ANSWER_MAX))
    }

    /// The first answer, when the request may be sent again while there is none.
    async fn answered<T, F>(&self, again: bool, answer: impl Fn(Client) -> F) -> Result<T, kube::Error>
    where
        F: Future<Output = Result<T, kube::Error>>,
    {
        let first = answer(self.client());
        if !again {
            return first.await;
        }
        let mut sent = FuturesUnordered::from_iter([first]);
        let (mut times, mut wait) = (1, AGAIN);
        loop {
            tokio::select! {
                Some(answer) = sent.next() => match answer {
                    // Another one may still get through.
                    Err(why) if !matches!(why, kube::Error::Api(_)) && !sent.is_empty() => wait = AGAIN_SOON,
                    answer => return answer,
                },
                () = tokio::time::sleep(wait), if times < AGAIN_MAX => {
                    times += 1;
                    wait = AGAIN;
                    sent.extend(self.renewed().await.map(&answer));
                }
            }
        }
    }
}

fn api(client: Client, kind: Kind, namespace: &str) -> Api<DynamicObject> {
    if kind.is_of_the_cluster() {
        return Api::all_with(client, &kind.resource());
    }
    Api::namespaced_with(client, namespace, &kind.resource())
}
