//! Which Rollout is looked at when: after news of it, after an event of its deployments, and now and then without either.

use std::{
    collections::BTreeMap,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;
use tidegate_engine::journal::{History, ReadError};
use tidegate_kubernetes::control::{News, Scope};
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{
    desk::{Desk, Memory},
    rollout::Rollout,
};
use crate::fault::{Fault, chain};

/// Rollouts that are looked at at once.
const LOOKS_MAX: usize = 8;

/// Events of the journal that are read at once.
const FEED_MAX: usize = 500;

/// Time between two looks at one Rollout at least: a burst of events is one status.
const APART: Duration = Duration::from_millis(150);

/// First and longest wait after a look that failed.
const AGAIN_MIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(30);

/// While somebody looks, only news makes another look due; what comes after it, the look says.
const UNTIL_NEWS: Duration = Duration::from_hours(24);

/// A namespace and a name.
type Name = (String, String);

/// Every Rollout that is known.
pub(super) struct Reconciler {
    desk: Arc<Desk>,
    known: BTreeMap<Name, Entry>,
    looks: JoinSet<Looked>,
    /// The journal's position up to which events were seen.
    seen: u64,
    count: watch::Sender<usize>,
}

/// One Rollout.
struct Entry {
    object: Arc<Value>,
    memory: Memory,
    /// Somebody looks at it now.
    busy: bool,
    /// When it is looked at next.
    due: Instant,
    failures: u32,
}

/// What came of a look.
struct Looked {
    name: Name,
    memory: Memory,
    answer: Result<Option<Value>, String>,
}

impl Reconciler {
    pub(super) async fn new(desk: Arc<Desk>) -> Result<Self, ReadError> {
        let seen = desk.engine.journal().position().await?;
        let count = watch::Sender::new(0);
        Ok(Self { desk, known: BTreeMap::new(), looks: JoinSet::new(), seen, count })
    }

    /// Follows how many Rollouts are known.
    pub(super) fn count(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    /// Looks after the Rollouts of the scope, for ever.
    pub(super) async fn run(mut self, scope: Scope) -> Result<(), Fault> {
        let mut news: mpsc::Receiver<News> = self.desk.control.watch(&scope);
        let mut position = self.desk.engine.position();
        loop {
            self.begin();
            let next = self.next_due();
            tokio::select! {
                heard = news.recv() => match heard {
                    Some(heard) => self.hear(heard),
                    None => return Err(Fault::trouble("Rollouts are not watched any more")),
                },
                moved = position.changed() => {
                    if moved.is_err() {
                        return Err(Fault::trouble("the engine has ended"));
                    }
                    self.follow().await?;
                }
                Some(looked) = self.looks.join_next(), if !self.looks.is_empty() => self.take(looked),
                () = tokio::time::sleep(next) => {}
            }
        }
    }

    /// Starts every look that is due, as far as there is room.
    fn begin(&mut self) {
        let now = Instant::now();
        for (name, entry) in &mut self.known {
            if self.looks.len() >= LOOKS_MAX {
                return;
            }
            if entry.busy || entry.due > now {
                continue;
            }
            entry.busy = true;
            entry.due = now + UNTIL_NEWS;
            let (desk, object) = (Arc::clone(&self.desk), Arc::clone(&entry.object));
            let (name, mut memory) = (name.clone(), entry.memory.clone());
            self.looks.spawn(async move {
                let answer = desk.look(&object, &mut memory).await;
                Looked { name, memory, answer }
            });
        }
    }

    fn next_due(&self) -> Duration {
        let due = self.known.values().filter(|entry| !entry.busy).map(|entry| entry.due).min();
        due.map_or(AGAIN_MAX, |due| due.saturating_duration_since(Instant::now()))
            .max(if self.looks.len() >= LOOKS_MAX { APART } else { Duration::ZERO })
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Is(object) => self.keep(object),
            News::Gone { namespace, name } => {
                // What serves goes on to serve, and what is under way goes on to its end.
                self.known.remove(&(namespace, name));
            }
            News::Listed { namespace, all } => self.known.retain(|name, _| {
                namespace.as_ref().is_some_and(|part| *part != name.0) || all.contains(name)
            }),
            News::Trouble(why) => {
                self.desk.counts.troubles.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(why = chain(&why), "the watch of Rollouts has trouble");
            }
        }
        self.count.send_replace(self.known.len());
    }

    /// Keeps the newer one of what is known and what is heard.
    fn keep(&mut self, object: Value) {
        let rollout = Rollout(&object);
        let name = (rollout.namespace().to_owned(), rollout.name().to_owned());
        let now = Instant::now();
        let Some(entry) = self.known.get_mut(&name) else {
            let entry = Entry {
                object: Arc::new(object),
                memory: Memory::default(),
                busy: false,
                due: now,
                failures: 0,
            };
            self.known.insert(name, entry);
            return;
        };
        let before = Rollout(&entry.object);
        if before.uid() != rollout.uid() {
            entry.memory = Memory::default();
        } else if rollout.version() == before.version() || rollout.is_older_than(before) {
            return;
        }
        // What we wrote ourselves is not news.
        let same = before.generation() == rollout.generation()
            && before.status() == rollout.status()
            && before.0.pointer("/metadata/annotations") == rollout.0.pointer("/metadata/annotations");
        entry.object = Arc::new(object);
        if !same {
            entry.due = now;
        }
    }

    /// Makes the Rollouts due whose deployments have new events.
    async fn follow(&mut self) -> Result<(), Fault> {
        loop {
            let journal = self.desk.engine.journal();
            let page = journal.feed(self.seen, FEED_MAX).await.map_err(Fault::world)?;
            let Some(last) = page.last() else { return Ok(()) };
            self.seen = last.position;
            for event in &page {
                let due = Instant::now();
                if let Some(entry) = named(&event.deployment).and_then(|name| self.known.get_mut(&name)) {
                    entry.due = entry.due.min(due);
                }
            }
        }
    }

    fn take(&mut self, looked: Result<Looked, tokio::task::JoinError>) {
        let Looked { name, memory, answer } = match looked {
            Ok(looked) => looked,
            Err(why) => {
                tracing::error!(%why, "a look at a Rollout broke down");
                // Which one it was, nobody says.
                for entry in self.known.values_mut() {
                    entry.busy = false;
                    entry.due = entry.due.min(Instant::now() + AGAIN_MAX);
                }
                return;
            }
        };
        let Some(entry) = self.known.get_mut(&name) else { return };
        entry.busy = false;
        let now = Instant::now();
        match answer {
            Ok(object) => {
                entry.failures = 0;
                entry.due = entry.due.max(now + APART).min(now + memory.again());
                entry.memory = memory;
                if let Some(object) = object
                    && !Rollout(&object).is_older_than(Rollout(&entry.object))
                {
                    entry.object = Arc::new(object);
                }
            }
            Err(why) => {
                self.desk.counts.troubles.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(namespace = name.0, rollout = name.1, why, "looked at in vain");
                entry.memory = memory;
                entry.failures = entry.failures.saturating_add(1);
                let wait = (AGAIN_MIN * 2_u32.saturating_pow(entry.failures.min(8) - 1)).min(AGAIN_MAX);
                // What came meanwhile, such as the change over which nothing was written, does not wait.
                entry.due = entry.due.max(now + APART).min(now + wait);
            }
        }
    }
}

/// Namespace and name of the Rollout that a deployment is of: `shop@production-7`, and `shop-7` in a namespace `production`.
fn named(deployment: &str) -> Option<Name> {
    let (service, _) = deployment.rsplit_once('-')?;
    let (name, namespace) = service.split_once('@').unwrap_or((service, "production"));
    Some((namespace.to_owned(), name.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_names_its_rollout() {
        let name = |text: &str| named(text).unwrap();
        assert_eq!(name("shop@team-a-12"), ("team-a".to_owned(), "shop".to_owned()));
        assert_eq!(name("my-shop-7"), ("production".to_owned(), "my-shop".to_owned()));
        assert_eq!(named("shop"), None);
    }
}
