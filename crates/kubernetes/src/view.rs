//! A namespace as it is now: its Deployments, and the pods of our releases, kept by two watches and trimmed to what is asked.
//! A thousand rollouts look at it twice a second without a request.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use kube::{
    Api, Client, ResourceExt,
    api::DynamicObject,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde_json::Value;
use tidegate_core::gate::Instance;

use crate::{
    belongings::objects::AUTOSCALED,
    fault::{ClusterError, refused_verb},
    fence::annotation,
    kinds::Kind,
    spec::{RELEASE, SERVICE},
};

/// Everything is listed anew this often: news that a watch lost is found then.
const LIST_AGAIN: Duration = Duration::from_mins(10);

/// A watch that has had trouble for so long says nothing any more.
const TROUBLE_MAX: Duration = Duration::from_secs(15);

/// Reasons for which a container waits and that waiting does not mend.
const BROKEN: [&str; 6] = [
    "CrashLoopBackOff",
    "ImagePullBackOff",
    "InvalidImageName",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
];

/// What is kept of a Deployment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Workload {
    /// Pods asked for.
    pub(crate) wanted: u32,
    /// Pods there are.
    pub(crate) present: u32,
    /// Pods that may take traffic.
    pub(crate) ready: u32,
    /// Why no further pods can be made: a quota, an admission.
    pub(crate) failure: Option<String>,
    /// A new pod template waits.
    pub(crate) paused: bool,
    /// An autoscaler of ours follows that of the release before.
    pub(crate) autoscaled: bool,
}

impl Workload {
    /// Reads a Deployment.
    pub(crate) fn of(object: &Value) -> Self {
        let number = |path: &str| {
            let number = object.pointer(path).and_then(Value::as_u64).unwrap_or_default();
            u32::try_from(number).unwrap_or(u32::MAX)
        };
        let conditions = object.pointer("/status/conditions").and_then(Value::as_array);
        let failure = conditions.into_iter().flatten().find(|condition| {
            text(condition, "type") == "ReplicaFailure" && text(condition, "status") == "True"
        });
        Self {
            wanted: number("/spec/replicas"),
            present: number("/status/replicas"),
            ready: number("/status/readyReplicas"),
            failure: failure.map(|condition| text(condition, "message").to_owned()),
            paused: object.pointer("/spec/paused").and_then(Value::as_bool).unwrap_or_default(),
            autoscaled: annotation(object, AUTOSCALED).is_some(),
        }
    }
}

/// What is kept of a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pod {
    /// Ready, and not being deleted.
    pub(crate) ready: bool,
    /// Why it will not come up, when that is known.
    pub(crate) broken: Option<String>,
    /// Times its containers ended.
    pub(crate) restarts: u32,
    /// Its address, once it has one.
    pub(crate) address: Option<String>,
}

impl Pod {
    /// Reads a pod.
    pub(crate) fn of(object: &Value) -> Self {
        let list = |path: &str| object.pointer(path).and_then(Value::as_array).into_iter().flatten();
        let ready = list("/status/conditions")
            .any(|condition| text(condition, "type") == "Ready" && text(condition, "status") == "True");
        let containers = || list("/status/initContainerStatuses").chain(list("/status/containerStatuses"));
        let restarts: u64 = containers().filter_map(|one| one.get("restartCount")?.as_u64()).sum();
        let waiting = |one: &Value| {
            let waiting = one.pointer("/state/waiting")?;
            let reason = text(waiting, "reason");
            let known = BROKEN.contains(&reason);
            known.then(|| {
                sentence(&format!("container {}: {reason}", text(one, "name")), text(waiting, "message"))
            })
        };
        let failed = object.pointer("/status/phase").and_then(Value::as_str) == Some("Failed");
        let status = object.get("status").unwrap_or(&Value::Null);
        let ended = || failed.then(|| sentence(text(status, "reason"), text(status, "message")));
        let port = list("/spec/containers")
            .flat_map(|one| one.get("ports").and_then(Value::as_array).into_iter().flatten())
            .find_map(|port| port.get("containerPort").and_then(Value::as_u64));
        let ip = object.pointer("/status/podIP").and_then(Value::as_str);
        Self {
            ready: ready && object.pointer("/metadata/deletionTimestamp").is_none(),
            broken: containers().find_map(waiting).or_else(ended),
            restarts: u32::try_from(restarts).unwrap_or(u32::MAX),
            address: ip.zip(port).map(|(ip, port)| format!("{ip}:{port}")),
        }
    }

    /// As gates see it.
    pub(crate) fn instance(&self, name: &str) -> Instance {
        Instance {
            id: name.to_owned(),
            ready: self.ready,
            broken: self.broken.is_some(),
            ends: self.restarts,
            last_end: self.broken.clone(),
            cpu_ms: 0,
            cpu_limit_milli: 0,
            rss_bytes: 0,
            memory_limit_bytes: 0,
        }
    }
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn sentence(what: &str, why: &str) -> String {
    if why.is_empty() { what.to_owned() } else { format!("{what} ({why})") }
}

/// The pods of a release by name.
pub(crate) type Pods = BTreeMap<String, Pod>;

/// What is known, and since when it is not any more.
#[derive(Default)]
struct Known {
    deployments: Watched<Workload>,
    /// By service and release.
    pods: Watched<(String, String, Pod)>,
    releases: BTreeMap<(String, String), Pods>,
}

/// One watch.
struct Watched<T> {
    kept: BTreeMap<String, T>,
    /// What a listing has brought so far.
    coming: BTreeMap<String, T>,
    listed: bool,
    trouble: Option<Trouble>,
}

/// Why there is no news, and since when.
struct Trouble {
    since: Instant,
    why: String,
    /// The verb that a role does not allow.
    refused: Option<String>,
}

/// Why nothing can be said about a namespace.
#[derive(Debug)]
pub(crate) enum Blind {
    /// It may pass by itself.
    Yet(String),
    /// It does not.
    Forbidden(ClusterError),
}

impl<T> Default for Watched<T> {
    fn default() -> Self {
        Self { kept: BTreeMap::new(), coming: BTreeMap::new(), listed: false, trouble: None }
    }
}

/// A namespace.
pub(crate) struct NamespaceView {
    namespace: String,
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

impl NamespaceView {
    /// Begins to watch. Must be called inside a tokio runtime.
    pub(crate) fn watch(client: Client, namespace: &str) -> Arc<Self> {
        let view = Arc::new(Self {
            namespace: namespace.to_owned(),
            known: Mutex::default(),
            tasks: Mutex::default(),
        });
        let deployments = Api::namespaced_with(client.clone(), namespace, &Kind::Deployment.resource());
        let pods = Api::namespaced_with(client, namespace, &Kind::Pod.resource());
        let ours = watcher::Config::default().labels(RELEASE);
        let tasks = [
            tokio::spawn(follow(
                Arc::downgrade(&view),
                deployments,
                watcher::Config::default(),
                Known::deployment,
            )),
            tokio::spawn(follow(Arc::downgrade(&view), pods, ours, Known::pod)),
        ];
        view.tasks
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend(tasks.iter().map(tokio::task::JoinHandle::abort_handle));
        view
    }

    /// Waits until everything was listed once, but not for ever: what is still missing then is an error of the next look.
    pub(crate) async fn listed(&self) {
        const PATIENCE: u32 = 200;
        for _ in 0..PATIENCE {
            let known = {
                let known = self.known();
                (known.deployments.listed && known.pods.listed)
                    || known.deployments.is_refused()
                    || known.pods.is_refused()
            };
            if known {
                return;
            }
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// The Deployment; `None` when there is none. An error says since when nothing is known.
    pub(crate) fn deployment(&self, name: &str) -> Result<Option<Workload>, Blind> {
        let known = self.known();
        known.deployments.fresh(Kind::Deployment, &self.namespace)?;
        Ok(known.deployments.kept.get(name).cloned())
    }

    /// The pods of a release of ours.
    pub(crate) fn pods(&self, service: &str, release: &str) -> Result<Pods, Blind> {
        let known = self.known();
        known.pods.fresh(Kind::Pod, &self.namespace)?;
        Ok(known.releases.get(&(service.to_owned(), release.to_owned())).cloned().unwrap_or_default())
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Watched<T> {
    fn fresh(&self, kind: Kind, namespace: &str) -> Result<(), Blind> {
        let what = kind.rule();
        match &self.trouble {
            Some(Trouble { refused: Some(verb), .. }) => Err(Blind::Forbidden(ClusterError::Forbidden {
                verb: verb.clone(),
                rule: what,
                namespace: namespace.to_owned(),
            })),
            Some(Trouble { since, why, .. }) if since.elapsed() >= TROUBLE_MAX => Err(Blind::Yet(format!(
                "nothing is known of {what} for {} s: {why}",
                since.elapsed().as_secs()
            ))),
            Some(Trouble { why, .. }) if !self.listed => {
                Err(Blind::Yet(format!("{what} cannot be listed: {why}")))
            }
            _ if !self.listed => Err(Blind::Yet(format!("{what} are being listed"))),
            _ => Ok(()),
        }
    }

    fn is_refused(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| trouble.refused.is_some())
    }
}

/// One piece of news.
enum News {
    Listing,
    Listed,
    Is { name: String, object: Value, listing: bool },
    Gone(String),
    Trouble { why: String, refused: Option<String> },
}

type Take = fn(&mut Known, News);

/// Follows one kind of object until nobody looks any more.
async fn follow(
    view: std::sync::Weak<NamespaceView>,
    api: Api<DynamicObject>,
    config: watcher::Config,
    take: Take,
) {
    loop {
        let again = tokio::time::sleep(LIST_AGAIN);
        let mut again = pin!(again);
        let mut stream = pin!(watcher(api.clone(), config.clone()).default_backoff());
        loop {
            let news = tokio::select! {
                () = &mut again => break,
                next = stream.next() => match next {
                    Some(next) => news(next),
                    None => break,
                },
            };
            let Some(view) = view.upgrade() else { return };
            take(&mut view.known(), news);
        }
    }
}

fn news(next: Result<Event<DynamicObject>, watcher::Error>) -> News {
    let is = |object: DynamicObject, listing| News::Is {
        name: object.name_any(),
        object: serde_json::to_value(object).unwrap_or_default(),
        listing,
    };
    match next {
        Ok(Event::Init) => News::Listing,
        Ok(Event::InitApply(object)) => is(object, true),
        Ok(Event::InitDone) => News::Listed,
        Ok(Event::Apply(object)) => is(object, false),
        Ok(Event::Delete(object)) => News::Gone(object.name_any()),
        Err(why) => News::Trouble { refused: refused(&why), why: tidegate_adapters::chain(&why) },
    }
}

/// The verb that a role does not allow, when that is the trouble.
fn refused(why: &watcher::Error) -> Option<String> {
    let status = match why {
        watcher::Error::InitialListFailed(kube::Error::Api(status))
        | watcher::Error::WatchStartFailed(kube::Error::Api(status))
        | watcher::Error::WatchFailed(kube::Error::Api(status))
        | watcher::Error::WatchError(status) => status,
        watcher::Error::InitialListFailed(_)
        | watcher::Error::WatchStartFailed(_)
        | watcher::Error::WatchFailed(_)
        | watcher::Error::NoResourceVersion => return None,
    };
    (status.code == 403).then(|| refused_verb(&status.message)).flatten().map(str::to_owned)
}

impl Known {
    fn deployment(&mut self, news: News) {
        self.deployments.take(news, Workload::of);
    }

    fn pod(&mut self, news: News) {
        let label = |object: &Value, key: &str| {
            let labels = object.get("metadata").and_then(|metadata| metadata.get("labels"));
            labels.and_then(|labels| labels.get(key)).and_then(Value::as_str).unwrap_or_default().to_owned()
        };
        let read = |object: &Value| (label(object, SERVICE), label(object, RELEASE), Pod::of(object));
        match self.pods.take(news, read) {
            Changed::Nothing => {}
            Changed::All => {
                self.releases.clear();
                for (name, (service, release, pod)) in &self.pods.kept {
                    let of = self.releases.entry((service.clone(), release.clone())).or_default();
                    of.insert(name.clone(), pod.clone());
                }
            }
            Changed::One { name, before } => {
                if let Some((service, release, _)) = before {
                    let of = (service, release);
                    if let Some(pods) = self.releases.get_mut(&of) {
                        pods.remove(&name);
                        if pods.is_empty() {
                            self.releases.remove(&of);
                        }
                    }
                }
                if let Some((service, release, pod)) = self.pods.kept.get(&name) {
                    let of = self.releases.entry((service.clone(), release.clone())).or_default();
                    of.insert(name, pod.clone());
                }
            }
        }
    }
}

/// What a piece of news changed.
enum Changed<T> {
    Nothing,
    All,
    One { name: String, before: Option<T> },
}

impl<T> Watched<T> {
    fn take(&mut self, news: News, read: impl Fn(&Value) -> T) -> Changed<T> {
        match news {
            News::Trouble { why, refused } => {
                let since = self.trouble.take().map_or_else(Instant::now, |before| before.since);
                self.trouble = Some(Trouble { since, why, refused });
                Changed::Nothing
            }
            News::Listing => {
                self.coming.clear();
                Changed::Nothing
            }
            News::Is { name, object, listing: true } => {
                self.coming.insert(name, read(&object));
                Changed::Nothing
            }
            News::Listed => {
                self.kept = std::mem::take(&mut self.coming);
                self.listed = true;
                self.trouble = None;
                Changed::All
            }
            News::Is { name, object, listing: false } => {
                self.trouble = None;
                let before = self.kept.insert(name.clone(), read(&object));
                Changed::One { name, before }
            }
            News::Gone(name) => {
                self.trouble = None;
                let before = self.kept.remove(&name);
                Changed::One { name, before }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

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

    #[test]
    fn a_pod_that_cannot_come_up_says_why_and_one_that_is_being_deleted_is_not_ready() {
        let waiting = json!({
            "metadata": {},
            "spec": {"containers": [{"name": "web", "ports": [{"containerPort": 80}]}]},
            "status": {"podIP": "10.0.0.7", "containerStatuses": [
                {"name": "web", "restartCount": 3,
                 "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}}},
            ]},
        });
        let pod = Pod::of(&waiting);
        assert_eq!(pod.broken.as_deref(), Some("container web: CrashLoopBackOff (back-off 40s)"));
        assert_eq!((pod.restarts, pod.address.as_deref(), pod.ready), (3, Some("10.0.0.7:80"), false));
        let leaving = json!({
            "metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"},
            "status": {"conditions": [{"type": "Ready", "status": "True"}]},
        });
        assert!(!Pod::of(&leaving).ready);
    }
}
