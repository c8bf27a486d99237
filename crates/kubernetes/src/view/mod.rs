//! A namespace as it is now, kept by watches and trimmed to what is asked: its Deployments and the pods of our releases, and
//! its Services and routes from when somebody first asks for one. A thousand rollouts look at it without a request, and wait
//! in it for what concerns them.

mod deployment;
mod kept;
mod watched;
mod workload;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use kube::{Api, Client, runtime::watcher};
use serde_json::{Map, Value, json};
use tokio::sync::watch;

use self::{
    kept::{Kept, Text},
    watched::{Changed, News, Watched, follow},
};
use crate::{
    kinds::Kind,
    manifest::{ROLLOUTS_HASH, label},
    spec::{RELEASE, SERVICE},
};

pub(crate) use self::{
    deployment::{DeploymentView, OwnedPod},
    watched::Blind,
    workload::{Pod, Workload},
};

/// The pods of a release by name.
pub(crate) type Pods = BTreeMap<String, Arc<Pod>>;

/// Kinds that make pods, and are kept without their templates.
const MAKES_PODS: [Kind; 3] = [Kind::ArgoRollout, Kind::Deployment, Kind::ReplicaSet];

/// Service and release.
type Of = (String, String);

/// What is known.
#[derive(Default)]
struct Known {
    /// Deployments and Rollouts' `ReplicaSets` without their pod templates, Services, routes: whole kinds, once they are
    /// watched.
    objects: BTreeMap<Kind, Watched<Kept>>,
    pods: Watched<(Of, Arc<Pod>)>,
    releases: BTreeMap<Of, Pods>,
    /// Who waits for news of what makes pods, by its name, or of a release's pods.
    waiting: BTreeMap<Topic, watch::Sender<()>>,
}

/// What somebody waits for news of.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Topic {
    Workload(Kind, String),
    Pods(Of),
}

/// A namespace.
pub(crate) struct NamespaceView {
    namespace: String,
    client: Client,
    known: Mutex<Known>,
    tasks: Mutex<Vec<tokio::task::AbortHandle>>,
}

impl Drop for NamespaceView {
    fn drop(&mut self) {
        for task in self.tasks.get_mut().unwrap_or_else(PoisonError::into_inner) {
            task.abort();
        }
    }
}

/// What is kept of one object.
pub(crate) enum Remembered {
    /// This.
    Object(Arc<Value>),
    /// There is none.
    Nothing,
    /// Nobody can say without asking.
    Unsure,
}

/// Which versions of some objects were known at one moment.
#[derive(PartialEq)]
pub(crate) struct Versions(Vec<Option<Text>>);

/// News of what makes pods and of their releases' pods, from when this was made.
pub(crate) struct Following {
    topics: Vec<watch::Receiver<()>>,
}

impl Following {
    /// Waits for the next news, but not longer than this: a watch may be silent without a word.
    pub(crate) async fn next(&mut self, at_most: Duration) {
        let news = self.topics.iter_mut().map(|topic| Box::pin(topic.changed()));
        drop(tokio::time::timeout(at_most, futures_util::future::select_all(news)).await);
    }
}

impl NamespaceView {
    /// Begins to watch. Must be called inside a tokio runtime.
    pub(crate) fn watch(client: Client, namespace: &str) -> Arc<Self> {
        let view = Arc::new(Self {
            namespace: namespace.to_owned(),
            client,
            known: Mutex::default(),
            tasks: Mutex::default(),
        });
        view.watch_kind(Kind::Deployment);
        let ours = watcher::Config::default().labels(RELEASE);
        view.spawn(Kind::Pod, ours, Known::pod);
        view
    }

    fn watch_kind(self: &Arc<Self>, kind: Kind) {
        self.known().objects.entry(kind).or_default();
        // There may be thousands of others, and nobody asks for those.
        let all = watcher::Config::default();
        let config = if kind == Kind::ReplicaSet { all.labels(ROLLOUTS_HASH) } else { all };
        self.spawn(kind, config, move |known, news| known.object(kind, news));
    }

    fn spawn(
        self: &Arc<Self>,
        kind: Kind,
        config: watcher::Config,
        take: impl Fn(&mut Known, News) + Send + 'static,
    ) {
        let api = Api::namespaced_with(self.client.clone(), &self.namespace, &kind.resource());
        let take = move |view: &Self, news: News| take(&mut view.known(), news);
        let task = tokio::spawn(follow(Arc::downgrade(self), api, config, take));
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task.abort_handle());
    }

    /// Waits until everything was listed once, but not for ever: what is still missing then is an error of the next look.
    pub(crate) async fn listed(&self) {
        const PATIENCE: u32 = 200;
        for _ in 0..PATIENCE {
            let known = {
                let known = self.known();
                let objects = known.objects.values().all(|watched| watched.listed || watched.is_refused());
                objects && (known.pods.listed || known.pods.is_refused())
            };
            if known {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// The Deployment or a Rollout's `ReplicaSet`; `None` when there is none. An error says since when nothing is known.
    pub(crate) fn workload(self: &Arc<Self>, (kind, name): (Kind, &str)) -> Result<Option<Workload>, Blind> {
        self.also(kind);
        let known = self.known();
        let Some(all) = known.objects.get(&kind) else { return Ok(None) };
        all.fresh(kind, &self.namespace)?;
        Ok(all.kept.get(name).map(Kept::workload))
    }

    /// Watches this kind, too, from now on.
    pub(crate) fn also(self: &Arc<Self>, kind: Kind) {
        let is_new = !self.known().objects.contains_key(&kind);
        if is_new {
            self.watch_kind(kind);
        }
    }

    /// Our Deployments of this service.
    pub(crate) fn releases(&self, service: &str) -> Result<Vec<Arc<Value>>, Blind> {
        self.deployments(|kept| kept.is_release_of(service))
    }

    /// The Deployments, ours or not, with pods that this selector finds.
    pub(crate) fn reached(&self, selector: &Map<String, Value>) -> Result<Vec<Arc<Value>>, Blind> {
        self.deployments(|kept| kept.is_reached_by(selector))
    }

    fn deployments(&self, is: impl Fn(&Kept) -> bool) -> Result<Vec<Arc<Value>>, Blind> {
        let texts: Vec<Text> = {
            let known = self.known();
            let Some(deployments) = known.objects.get(&Kind::Deployment) else { return Ok(Vec::new()) };
            deployments.fresh(Kind::Deployment, &self.namespace)?;
            deployments.kept.values().filter(|kept| is(kept)).map(Kept::text).collect()
        };
        Ok(texts.iter().map(Text::object).collect())
    }

    /// The pods of a release of ours.
    pub(crate) fn pods(&self, service: &str, release: &str) -> Result<Pods, Blind> {
        let known = self.known();
        known.pods.fresh(Kind::Pod, &self.namespace)?;
        Ok(known.releases.get(&(service.to_owned(), release.to_owned())).cloned().unwrap_or_default())
    }

    /// An object as it was last seen. A Deployment is without its pod template. What is written from it has to be bound to its
    /// version.
    pub(crate) fn object(self: &Arc<Self>, kind: Kind, name: &str) -> Remembered {
        let text = {
            let known = self.known();
            match known.objects.get(&kind) {
                Some(watched) if watched.is_sure() => watched.kept.get(name).map(Kept::text),
                Some(_) => return Remembered::Unsure,
                None => {
                    drop(known);
                    if kind.is_watched() {
                        self.watch_kind(kind);
                    }
                    return Remembered::Unsure;
                }
            }
        };
        text.map_or(Remembered::Nothing, |text| Remembered::Object(text.object()))
    }

    /// Which versions of these objects are known; `None` where the API server would have to be asked for one of them. Costs no
    /// reading of any.
    pub(crate) fn versions<'n>(
        &self,
        objects: impl IntoIterator<Item = (Kind, &'n str)>,
    ) -> Option<Versions> {
        let known = self.known();
        let version = |(kind, name): (Kind, &str)| {
            let watched = known.objects.get(&kind).filter(|watched| watched.is_sure())?;
            Some(watched.kept.get(name).map(Kept::text))
        };
        objects.into_iter().map(version).collect::<Option<_>>().map(Versions)
    }

    /// What the API server answered to a write: the watch says it too, later.
    pub(crate) fn wrote(&self, kind: Kind, object: &Value) {
        let mut known = self.known();
        if known.objects.get(&kind).is_some_and(Watched::is_sure) {
            let name = crate::manifest::name(object).to_owned();
            let mut object = object.clone();
            if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
                metadata.remove("managedFields");
            }
            known.object(kind, News::Is { name, object, listing: false });
        }
    }

    /// News of what makes a release's pods, and of these, from now on.
    pub(crate) fn follow(&self, (kind, name): (Kind, &str), service: &str, release: &str) -> Following {
        let of = (service.to_owned(), release.to_owned());
        let mut known = self.known();
        let topics = [Topic::Workload(kind, name.to_owned()), Topic::Pods(of)];
        let topics = topics.map(|topic| known.waiting.entry(topic).or_default().subscribe());
        Following { topics: topics.into() }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn object(&mut self, kind: Kind, news: News) {
        let watched = self.objects.entry(kind).or_default();
        let changed = watched.take(
            news,
            |mut object| {
                named(kind, &mut object);
                if MAKES_PODS.contains(&kind) {
                    without_template(&mut object);
                }
                Kept::of(kind, &object)
            },
            Kept::is_older,
        );
        if !MAKES_PODS.contains(&kind) {
            return;
        }
        match changed {
            Changed::Nothing => {}
            Changed::All => self.tell_all(),
            Changed::One { name, .. } => self.tell(&Topic::Workload(kind, name)),
        }
    }

    fn pod(&mut self, news: News) {
        let read = |object: Value| {
            let text = |key| label(&object, key).unwrap_or_default().to_owned();
            let of = (text(SERVICE), text(RELEASE));
            (of, Arc::new(Pod::of(&object)))
        };
        match self.pods.take(news, read, |_, _| false) {
            Changed::Nothing => {}
            Changed::All => {
                self.releases.clear();
                for (name, (of, pod)) in &self.pods.kept {
                    self.releases.entry(of.clone()).or_default().insert(name.clone(), Arc::clone(pod));
                }
                self.tell_all();
            }
            Changed::One { name, before } => {
                if let Some((of, _)) = before {
                    if let Some(pods) = self.releases.get_mut(&of) {
                        pods.remove(&name);
                        if pods.is_empty() {
                            self.releases.remove(&of);
                        }
                    }
                    self.tell(&Topic::Pods(of));
                }
                if let Some((of, pod)) = self.pods.kept.get(&name).cloned() {
                    self.releases.entry(of.clone()).or_default().insert(name, pod);
                    self.tell(&Topic::Pods(of));
                }
            }
        }
    }

    fn tell(&mut self, topic: &Topic) {
        let Some(sender) = self.waiting.get(topic) else { return };
        if sender.send(()).is_err() {
            // Nobody waits any more.
            self.waiting.remove(topic);
        }
    }

    fn tell_all(&mut self) {
        self.waiting.retain(|_, sender| sender.send(()).is_ok());
    }
}

/// Says what it is: an object in a list does not.
fn named(kind: Kind, object: &mut Value) {
    if let Some(object) = object.as_object_mut() {
        object.insert("apiVersion".to_owned(), json!(kind.api_version()));
        object.insert("kind".to_owned(), json!(kind.name()));
    }
}

/// Leaves of a pod template its labels.
fn without_template(object: &mut Value) {
    let labels = object.pointer("/spec/template/metadata/labels").cloned().unwrap_or_default();
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut) {
        spec.insert("template".to_owned(), json!({"metadata": {"labels": labels}}));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, release: &str, ready: bool) -> News {
        let status = if ready { "True" } else { "False" };
        let object = json!({
            "metadata": {"name": name, "labels": {SERVICE: "shop", RELEASE: release}},
            "status": {"conditions": [{"type": "Ready", "status": status}]},
        });
        News::Is { name: name.to_owned(), object, listing: false }
    }

    #[test]
    fn pods_are_found_by_their_release_and_a_listing_replaces_what_was_there() {
        let mut known = Known::default();
        assert!(known.pods.fresh(Kind::Pod, "shop").is_err(), "nothing was listed yet");
        known.pod(News::Listed);
        known.pod(pod("a", "1", false));
        known.pod(pod("b", "2", true));
        known.pod(pod("a", "1", true));
        let of = |known: &Known, release: &str| {
            known.releases.get(&("shop".to_owned(), release.to_owned())).map_or(0, BTreeMap::len)
        };
        assert_eq!((of(&known, "1"), of(&known, "2")), (1, 1));
        known.pod(News::Gone("b".to_owned()));
        assert_eq!((of(&known, "1"), of(&known, "2"), known.releases.len()), (1, 0, 1));
        known.pod(News::Listing);
        known.pod(News::Listed);
        assert_eq!(known.releases.len(), 0, "a listing without them");
    }

    fn deployment(version: &str, replicas: u32) -> News {
        let object = json!({
            "metadata": {"name": "shop", "uid": "1", "resourceVersion": version},
            "spec": {"replicas": replicas, "template": {"metadata": {"labels": {"app": "shop"}}, "spec": {}}},
        });
        News::Is { name: "shop".to_owned(), object, listing: false }
    }

    #[test]
    fn news_that_is_older_than_our_own_write_does_not_undo_it_and_who_waits_hears_of_the_rest() {
        let mut known = Known::default();
        known.object(Kind::Deployment, News::Listed);
        let topic = Topic::Workload(Kind::Deployment, "shop".to_owned());
        let mut waits = known.waiting.entry(topic.clone()).or_default().subscribe();
        known.object(Kind::Deployment, deployment("9", 2));
        known.object(Kind::Deployment, deployment("10", 3));
        assert!(waits.has_changed().expect("open"), "two changes");
        waits.mark_unchanged();
        known.object(Kind::Deployment, deployment("9", 2));
        assert!(!waits.has_changed().expect("open"), "nothing new");
        let kept = &known.objects[&Kind::Deployment].kept["shop"];
        assert_eq!(kept.workload().wanted, 3);
        assert_eq!(
            kept.text().object()["spec"]["template"],
            json!({"metadata": {"labels": {"app": "shop"}}}),
            "no more of it"
        );
        drop(waits);
        known.object(Kind::Deployment, deployment("11", 1));
        assert!(!known.waiting.contains_key(&topic), "nobody waits any more");
    }
}
