//! One Deployment that somebody else rolls out, whole, and the pods that it selects, kept by watches of their own for as long
//! as a rollout of it is looked at.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use kube::{Api, Client, runtime::watcher};
use serde_json::{Map, Value};
use tokio::{sync::watch, task::AbortHandle};

use super::{
    Pod,
    watched::{News, Watched, follow},
};
use crate::{
    kinds::Kind,
    manifest::name,
    target::{owner, query},
};

/// However good the watches look, the API server is asked this often: one may be silent without a word.
const ASK_AGAIN: Duration = Duration::from_secs(15);

/// The Deployment.
pub(crate) struct DeploymentView {
    namespace: String,
    name: String,
    known: Mutex<Known>,
    news: watch::Sender<()>,
    tasks: Mutex<Vec<AbortHandle>>,
}

/// What is known.
#[derive(Default)]
struct Known {
    client: Option<Client>,
    object: Watched<(Arc<Value>, Version)>,
    pods: Watched<(OwnedPod, Version)>,
    /// The labels that its pods are watched by, once they are.
    selector: Option<String>,
    /// An earlier version of the Deployment than what was written last is old news.
    wrote: Version,
    /// When both were asked for last.
    asked: Option<Instant>,
}

/// Versions are numbers that rise, where they are numbers.
type Version = Option<u128>;

/// A pod, and what it belongs to.
#[derive(Clone, Debug)]
pub(crate) struct OwnedPod {
    /// Its name.
    pub(crate) name: String,
    /// The name of the `ReplicaSet` that it belongs to; `None` for a pod of nobody, or of something else.
    pub(crate) set: Option<String>,
    /// It has ended, and its `ReplicaSet` has made another one in its place.
    pub(crate) over: bool,
    /// It.
    pub(crate) pod: Arc<Pod>,
}

impl OwnedPod {
    /// Reads a pod.
    pub(crate) fn of(object: &Value) -> Self {
        let phase = object.pointer("/status/phase").and_then(Value::as_str);
        Self {
            name: name(object).to_owned(),
            over: matches!(phase, Some("Failed" | "Succeeded")),
            set: owner(object, "ReplicaSet").map(str::to_owned),
            pod: Arc::new(Pod::of(object)),
        }
    }
}

impl Drop for DeploymentView {
    fn drop(&mut self) {
        for task in self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

impl DeploymentView {
    /// Begins to watch. Must be called inside a tokio runtime.
    pub(crate) fn watch(client: Client, namespace: &str, name: &str) -> Arc<Self> {
        let view = Arc::new(Self {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            known: Mutex::new(Known::default()),
            news: watch::Sender::new(()),
            tasks: Mutex::default(),
        });
        view.anew(client);
        view
    }

    /// Forgets everything but what was written, and begins to watch again.
    pub(crate) fn anew(self: &Arc<Self>, client: Client) {
        self.tasks().drain(..).for_each(|task| task.abort());
        let selector = {
            let mut known = self.known();
            let (selector, wrote) = (known.selector.take(), known.wrote);
            *known = Known { client: Some(client), wrote, ..Known::default() };
            selector
        };
        let only = watcher::Config::default().fields(&format!("metadata.name={}", self.name));
        self.spawn(Kind::Deployment, only, Known::object);
        if let Some(labels) = selector {
            self.watch_pods(&labels);
        }
    }

    /// Watches the pods with these labels, too, from now on. A Deployment's selector never changes.
    pub(crate) fn with_pods(self: &Arc<Self>, selector: &Map<String, Value>) {
        self.watch_pods(&query(selector));
    }

    fn watch_pods(self: &Arc<Self>, labels: &str) {
        let is_new = self.known().selector.replace(labels.to_owned()).is_none();
        // Nothing would select everything.
        if is_new && !labels.is_empty() {
            self.spawn(Kind::Pod, watcher::Config::default().labels(labels), Known::pod);
        }
    }

    fn spawn(
        self: &Arc<Self>,
        kind: Kind,
        config: watcher::Config,
        take: impl Fn(&mut Known, News) + Send + 'static,
    ) {
        let Some(client) = self.known().client.clone() else { return };
        let api = Api::namespaced_with(client, &self.namespace, &kind.resource());
        let take = move |view: &Self, news: News| {
            take(&mut view.known(), news);
            view.news.send_replace(());
        };
        let task = tokio::spawn(follow(Arc::downgrade(self), api, config, take));
        self.tasks().push(task.abort_handle());
    }

    /// The Deployment and its pods, when the watches have no doubt and the API server need not be asked again.
    pub(crate) fn now(&self) -> Option<(Arc<Value>, Vec<OwnedPod>)> {
        let known = self.known();
        let object = known.newest().filter(|_| known.asked.is_some_and(|at| at.elapsed() < ASK_AGAIN))?;
        let pods =
            known.pods.is_sure().then(|| known.pods.kept.values().map(|(pod, _)| pod.clone()).collect())?;
        Some((object, pods))
    }

    /// The Deployment, when its watch has no doubt. What is written from it has to be bound to what was read.
    pub(crate) fn object(&self) -> Option<Arc<Value>> {
        self.known().newest()
    }

    /// Takes what the API server answered; answers whether the watches have not brought it yet, and so may never.
    pub(crate) fn asked(&self, object: &Value, pods: &[Value]) -> bool {
        let mut known = self.known();
        known.asked = Some(Instant::now());
        let deployment =
            known.object.is_sure() && known.object.kept.values().all(|(_, kept)| *kept < version(object));
        let is_newer =
            |pod: &Value| known.pods.kept.get(name(pod)).is_none_or(|(_, kept)| *kept < version(pod));
        deployment || (known.pods.is_sure() && pods.iter().any(is_newer))
    }

    /// What the API server answered to a write: the watch says it too, later.
    pub(crate) fn wrote(&self, object: &Value) {
        let mut known = self.known();
        known.wrote = version(object);
        if known.object.is_sure() {
            let (name, object) = (name(object).to_owned(), object.clone());
            known.object(News::Is { name, object, listing: false });
        }
    }

    /// News of it and of its pods from now on.
    pub(crate) fn follow(&self) -> watch::Receiver<()> {
        self.news.subscribe()
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<AbortHandle>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn newest(&self) -> Option<Arc<Value>> {
        let (object, version) = self.object.kept.values().next()?;
        (self.object.is_sure() && *version >= self.wrote).then(|| Arc::clone(object))
    }

    fn object(&mut self, news: News) {
        let read = |object: Value| {
            let version = version(&object);
            (Arc::new(object), version)
        };
        self.object.take(news, read, |(one, now), (other, kept)| is_same(one, other) && now < kept);
    }

    fn pod(&mut self, news: News) {
        self.pods.take(
            news,
            |object| (OwnedPod::of(&object), version(&object)),
            |(_, now), (_, kept)| now < kept,
        );
    }
}

fn is_same(one: &Value, other: &Value) -> bool {
    one.pointer("/metadata/uid") == other.pointer("/metadata/uid")
}

fn version(object: &Value) -> Version {
    object.pointer("/metadata/resourceVersion")?.as_str()?.parse().ok()
}
