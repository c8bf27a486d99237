//! One watch: what it has brought, and since when it brings nothing any more.

use std::{
    collections::BTreeMap,
    pin::pin,
    sync::Weak,
    time::{Duration, Instant},
};

use futures_util::StreamExt;
use kube::{
    Api, ResourceExt,
    api::DynamicObject,
    runtime::{
        WatchStreamExt,
        watcher::{self, Event, watcher},
    },
};
use serde_json::Value;

use crate::{
    fault::{ClusterError, refused_verb},
    kinds::Kind,
};

/// Everything is listed anew this often: news that a watch lost is found then.
const LIST_AGAIN: Duration = Duration::from_mins(10);

/// A watch that has had trouble for so long says nothing any more.
const TROUBLE_MAX: Duration = Duration::from_secs(15);

/// One watch.
pub(super) struct Watched<T> {
    pub(super) kept: BTreeMap<String, T>,
    /// What a listing has brought so far.
    coming: BTreeMap<String, T>,
    pub(super) listed: bool,
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

/// One piece of news.
pub(super) enum News {
    Listing,
    Listed,
    Is { name: String, object: Value, listing: bool },
    Gone(String),
    Trouble { why: String, refused: Option<String> },
}

/// What a piece of news changed.
pub(super) enum Changed<T> {
    Nothing,
    All,
    One { name: String, before: Option<T> },
}

impl<T> Watched<T> {
    pub(super) fn fresh(&self, kind: Kind, namespace: &str) -> Result<(), Blind> {
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

    pub(super) fn is_refused(&self) -> bool {
        self.trouble.as_ref().is_some_and(|trouble| trouble.refused.is_some())
    }

    /// Whether everything is there and no trouble is known.
    pub(super) const fn is_sure(&self) -> bool {
        self.listed && self.trouble.is_none()
    }

    /// Takes what a watch has brought, or what we wrote; what is older than what is kept changes nothing.
    pub(super) fn take(
        &mut self,
        news: News,
        read: impl Fn(Value) -> T,
        is_older: impl Fn(&T, &T) -> bool,
    ) -> Changed<T> {
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
                self.coming.insert(name, read(object));
                Changed::Nothing
            }
            News::Listed => {
                self.kept = std::mem::take(&mut self.coming);
                self.listed = true;
                self.trouble = None;
                Changed::All
            }
            News::Is { name, object, listing: false } => {
                let now = read(object);
                if self.kept.get(&name).is_some_and(|kept| is_older(&now, kept)) {
                    return Changed::Nothing;
                }
                self.trouble = None;
                let before = self.kept.insert(name.clone(), now);
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

/// Follows one kind of object until nobody looks any more.
pub(super) async fn follow<V>(
    view: Weak<V>,
    api: Api<DynamicObject>,
    config: watcher::Config,
    take: impl Fn(&V, News),
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
            take(&view, news);
        }
    }
}

fn news(next: Result<Event<DynamicObject>, watcher::Error>) -> News {
    let is = |object: DynamicObject, listing| {
        let name = object.name_any();
        News::Is { name, object: value(object), listing }
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

/// The object without who set which of its fields, which is most of it and nothing that is asked here.
fn value(mut object: DynamicObject) -> Value {
    object.metadata.managed_fields = None;
    let metadata = serde_json::to_value(&object.metadata).unwrap_or_default();
    let Value::Object(mut all) = object.data else { return Value::Null };
    all.insert("metadata".to_owned(), metadata);
    Value::Object(all)
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
