//! Rollouts as they come and go, with everything listed anew now and then.

use std::{collections::BTreeSet, pin::pin, time::Duration};

use futures_util::StreamExt;
use kube::{
    Api,
    api::DynamicObject,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde_json::Value;
use tokio::sync::mpsc;

use super::{Control, Scope};
use crate::{fault::ClusterError, kinds::Kind};

/// Everything is listed anew this often: news that a watch lost is found then.
const LIST_AGAIN: Duration = Duration::from_mins(5);

/// Pieces of news that wait to be looked at; with more, the watch waits.
const NEWS_MAX: usize = 256;

/// A piece of news about the objects that are watched.
#[derive(Debug)]
pub enum News {
    /// One is so now.
    Is(Value),
    /// One is not there any more.
    Gone {
        /// Where it was.
        namespace: String,
        /// What it was called.
        name: String,
    },
    /// Everything of a part of the scope was listed: what is not named here is gone.
    Listed {
        /// The namespace; `None` is every one.
        namespace: Option<String>,
        /// Namespace and name of each.
        all: BTreeSet<(String, String)>,
    },
    /// There may be news that cannot be heard.
    Trouble(ClusterError),
}

impl Control {
    /// Watches the Rollouts of the scope until nobody listens any more. Must be called inside a tokio runtime.
    pub fn watch(&self, scope: &Scope) -> mpsc::Receiver<News> {
        self.watch_kind(Kind::Rollout, scope)
    }

    /// Watches the Deployments of the scope in the same way.
    pub fn watch_deployments(&self, scope: &Scope) -> mpsc::Receiver<News> {
        self.watch_kind(Kind::Deployment, scope)
    }

    fn watch_kind(&self, kind: Kind, scope: &Scope) -> mpsc::Receiver<News> {
        let (sender, receiver) = mpsc::channel(NEWS_MAX);
        for namespace in scope.parts() {
            let api = self.api(kind, namespace);
            let part = Part { control: self.clone(), kind, namespace: namespace.map(str::to_owned) };
            tokio::spawn(part.follow(api, sender.clone()));
        }
        receiver
    }
}

/// One watch.
struct Part {
    control: Control,
    kind: Kind,
    namespace: Option<String>,
}

impl Part {
    async fn follow(self, api: Api<DynamicObject>, to: mpsc::Sender<News>) {
        let mut all = BTreeSet::new();
        loop {
            let mut again = pin!(tokio::time::sleep(LIST_AGAIN));
            let mut stream = pin!(watcher(api.clone(), watcher::Config::default()).default_backoff());
            loop {
                let next = tokio::select! {
                    () = &mut again => break,
                    () = to.closed() => return,
                    next = stream.next() => next,
                };
                let news = match next {
                    None => break,
                    Some(Ok(Event::Init)) => {
                        all.clear();
                        continue;
                    }
                    Some(Ok(Event::InitApply(object))) => {
                        all.insert(names(&object));
                        News::Is(value(object))
                    }
                    Some(Ok(Event::InitDone)) => {
                        News::Listed { namespace: self.namespace.clone(), all: std::mem::take(&mut all) }
                    }
                    Some(Ok(Event::Apply(object))) => News::Is(value(object)),
                    Some(Ok(Event::Delete(object))) => {
                        let (namespace, name) = names(&object);
                        News::Gone { namespace, name }
                    }
                    Some(Err(why)) => News::Trouble(self.trouble(why)),
                };
                if to.send(news).await.is_err() {
                    return;
                }
            }
        }
    }

    fn trouble(&self, why: watcher::Error) -> ClusterError {
        let namespace = self.namespace.as_deref().unwrap_or("every one");
        let asked = self.control.asked("watch", self.kind, namespace, "");
        match why {
            watcher::Error::InitialListFailed(error)
            | watcher::Error::WatchStartFailed(error)
            | watcher::Error::WatchFailed(error) => ClusterError::of(error, asked),
            watcher::Error::WatchError(status) => ClusterError::of(kube::Error::Api(status), asked),
            watcher::Error::NoResourceVersion => ClusterError::trouble_in(asked, &why),
        }
    }
}

/// The object without what says who wrote which field: nobody here asks for it, and it is the larger half.
pub(super) fn value(mut object: DynamicObject) -> Value {
    object.metadata.managed_fields = None;
    serde_json::to_value(object).unwrap_or_default()
}

fn names(object: &DynamicObject) -> (String, String) {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    (text(&object.metadata.namespace), text(&object.metadata.name))
}
