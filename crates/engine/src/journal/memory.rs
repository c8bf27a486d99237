//! A journal in memory: deterministic, for tests and rehearsals. It forgets everything with its last handle.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::chain::{self, Walk};
use super::entry::{
    Append, Appended, Chain, Digest, Epoch, Filter, Kept, NewSample, Recorded, Sample, Standing,
};
use super::error::{AppendError, ReadError};
use super::rules::{self, Admission, Ledger};
use super::{BoxFuture, History, Journal};

/// A journal in memory. Clones are handles to the same store, with the same epoch.
///
/// Every future is ready when first polled, and takes effect then. Nothing here fails by itself: faults are the simulator's.
#[derive(Clone, Debug)]
pub struct MemoryJournal {
    epoch: Epoch,
    store: Arc<Mutex<Store>>,
}

#[derive(Clone, Debug, Default)]
struct Store {
    epoch: u64,
    /// All events; the one at position `p` has index `p - 1`. Shared, so that a fork costs a pointer per event.
    events: Vec<Arc<Recorded>>,
    deployments: BTreeMap<String, Record>,
    requests: BTreeMap<String, (Digest, String)>,
    meta: BTreeMap<String, String>,
}

#[derive(Clone, Debug)]
struct Record {
    kept: Kept,
    events: Vec<Arc<Recorded>>,
    samples: VecDeque<Sample>,
}

impl MemoryJournal {
    /// An empty journal, owned by epoch 1.
    pub fn new() -> Self {
        Self::of(Store::default())
    }

    /// Takes the store over, as a restarted process would: a handle with the next epoch. Older handles are fenced from now on.
    #[must_use = "older handles are fenced, only the returned one can write"]
    pub fn reopen(&self) -> Self {
        let epoch = {
            let mut store = self.locked();
            store.epoch += 1;
            Epoch(store.epoch)
        };
        Self { epoch, store: Arc::clone(&self.store) }
    }

    /// A copy of what is kept now, taken over by the next epoch. The original goes on by itself.
    #[must_use = "the copy is the result"]
    pub fn fork(&self) -> Self {
        let store = self.locked().clone();
        Self::of(store)
    }

    fn of(mut store: Store) -> Self {
        store.epoch += 1;
        Self { epoch: Epoch(store.epoch), store: Arc::new(Mutex::new(store)) }
    }

    fn locked(&self) -> MutexGuard<'_, Store> {
        // The store is changed only after everything was checked, so a panic elsewhere cannot leave it half-written.
        self.store.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn when_polled<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Store) -> T + Send + 'static,
    ) -> BoxFuture<T> {
        let journal = self.clone();
        Box::pin(async move { work(&mut journal.locked()) })
    }
}

impl Default for MemoryJournal {
    fn default() -> Self {
        Self::new()
    }
}

impl History for MemoryJournal {
    fn read(
        &self,
        deployment: &str,
        after_seq: u64,
        limit: usize,
    ) -> BoxFuture<Result<Vec<Recorded>, ReadError>> {
        let deployment = deployment.to_owned();
        self.when_polled(move |store| {
            let events = store.deployments.get(&deployment).map_or(&[][..], |record| &record.events);
            let from = usize::try_from(after_seq).unwrap_or(usize::MAX).min(events.len());
            Ok(page(events.get(from..).unwrap_or_default(), limit))
        })
    }

    fn feed(&self, after: u64, limit: usize) -> BoxFuture<Result<Vec<Recorded>, ReadError>> {
        self.when_polled(move |store| {
            let from = usize::try_from(after).unwrap_or(usize::MAX).min(store.events.len());
            Ok(page(store.events.get(from..).unwrap_or_default(), limit))
        })
    }

    fn position(&self) -> BoxFuture<Result<u64, ReadError>> {
        self.when_polled(|store| Ok(store.events.len() as u64))
    }

    fn deployment(&self, deployment: &str) -> BoxFuture<Result<Option<Kept>, ReadError>> {
        let deployment = deployment.to_owned();
        self.when_polled(move |store| {
            Ok(store.deployments.get(&deployment).map(|record| record.kept.clone()))
        })
    }

    fn deployments(&self, filter: Filter) -> BoxFuture<Result<Vec<Kept>, ReadError>> {
        self.when_polled(move |store| {
            let limit = filter.limit.unwrap_or(rules::READ_MAX).min(rules::READ_MAX);
            let mut found: Vec<Kept> =
                store.kept_all().filter(|kept| matches(&filter, kept)).cloned().collect();
            found.sort_by_key(|kept| std::cmp::Reverse(kept.first_position));
            found.truncate(limit);
            Ok(found)
        })
    }

    fn active(&self) -> BoxFuture<Result<Vec<Kept>, ReadError>> {
        self.when_polled(|store| {
            let mut found: Vec<Kept> =
                store.kept_all().filter(|kept| kept.row.standing.is_active()).cloned().collect();
            found.sort_by_key(|kept| kept.first_position);
            Ok(found)
        })
    }

    fn next_turn(&self, service: &str, environment: &str) -> BoxFuture<Result<u64, ReadError>> {
        let (service, environment) = (service.to_owned(), environment.to_owned());
        self.when_polled(move |store| {
            let turns = store.of_service(&service, &environment).map(|kept| kept.row.turn);
            Ok(turns.max().unwrap_or(0) + 1)
        })
    }

    fn request(&self, key: &str) -> BoxFuture<Result<Option<String>, ReadError>> {
        let key = key.to_owned();
        self.when_polled(move |store| Ok(store.requests.get(&key).map(|(_, deployment)| deployment.clone())))
    }

    fn samples(&self, deployment: &str) -> BoxFuture<Result<Vec<Sample>, ReadError>> {
        let deployment = deployment.to_owned();
        self.when_polled(move |store| {
            let record = store.deployments.get(&deployment);
            Ok(record.map_or_else(Vec::new, |record| record.samples.iter().cloned().collect()))
        })
    }

    fn meta(&self, key: &str) -> BoxFuture<Result<Option<String>, ReadError>> {
        let key = key.to_owned();
        self.when_polled(move |store| Ok(store.meta.get(&key).cloned()))
    }

    fn verify(&self, deployment: &str) -> BoxFuture<Result<Chain, ReadError>> {
        let deployment = deployment.to_owned();
        self.when_polled(move |store| Ok(store.verify(&deployment)))
    }

    fn verify_all(&self) -> BoxFuture<Result<Vec<Chain>, ReadError>> {
        self.when_polled(|store| {
            let chains = store.deployments.keys().map(|deployment| store.verify(deployment));
            Ok(chains.filter(|chain| matches!(chain, Chain::Broken { .. })).collect())
        })
    }
}

impl Journal for MemoryJournal {
    fn epoch(&self) -> Epoch {
        self.epoch
    }

    fn append(&self, append: Append) -> BoxFuture<Result<Appended, AppendError>> {
        self.when_polled(move |store| {
            rules::check_append(&append)?;
            let current = Epoch(store.epoch);
            let Ok(admission) = rules::admit(store, &append, current);
            match admission? {
                Admission::Write(before) => Ok(store.write(append, before)),
                Admission::Repeat(answer) => Ok(answer),
            }
        })
    }

    fn put_samples(&self, deployment: &str, samples: Vec<NewSample>) -> BoxFuture<Result<(), AppendError>> {
        let (epoch, deployment) = (self.epoch, deployment.to_owned());
        self.when_polled(move |store| {
            rules::check_samples(&samples)?;
            store.fence(epoch)?;
            let Some(record) = store.deployments.get_mut(&deployment) else {
                return Err(AppendError::Unknown { deployment });
            };
            record.keep_samples(samples);
            Ok(())
        })
    }

    fn put_meta(&self, key: &str, value: &str) -> BoxFuture<Result<(), AppendError>> {
        let (epoch, key, value) = (self.epoch, key.to_owned(), value.to_owned());
        self.when_polled(move |store| {
            rules::check_meta(&key, &value)?;
            store.fence(epoch)?;
            store.meta.insert(key, value);
            Ok(())
        })
    }
}

impl Store {
    fn kept_all(&self) -> impl Iterator<Item = &Kept> {
        self.deployments.values().map(|record| &record.kept)
    }

    fn of_service(&self, service: &str, environment: &str) -> impl Iterator<Item = &Kept> {
        self.kept_all().filter(move |kept| kept.row.service == service && kept.row.environment == environment)
    }

    fn fence(&self, epoch: Epoch) -> Result<(), AppendError> {
        let current = Epoch(self.epoch);
        if epoch == current { Ok(()) } else { Err(AppendError::Fenced { epoch, current }) }
    }

    fn write(&mut self, append: Append, before: Option<Kept>) -> Appended {
        let Append { deployment, epoch, events, row, request, .. } = append;
        let first_position = before.as_ref().map_or(self.events.len() as u64 + 1, |kept| kept.first_position);
        let mut walk =
            before.map_or_else(|| Walk::start(&deployment), |kept| Walk { seq: kept.seq, hash: kept.head });
        let mut recorded = Vec::with_capacity(events.len());
        for event in events {
            let event = Recorded {
                position: (self.events.len() + recorded.len()) as u64 + 1,
                deployment: deployment.clone(),
                seq: walk.seq + 1,
                at_unix_ms: event.at_unix_ms,
                epoch,
                kind: event.kind,
                payload: event.payload,
                hash: walk.hash,
            };
            let hash = chain::event_hash(&walk.hash, &event);
            walk = Walk { seq: event.seq, hash };
            recorded.push(Arc::new(Recorded { hash, ..event }));
        }
        self.events.extend(recorded.iter().cloned());
        let position = self.events.len() as u64;
        let kept = Kept {
            deployment: deployment.clone(),
            row,
            seq: walk.seq,
            first_position,
            position,
            head: walk.hash,
        };
        if let Some(request) = request.filter(|_| first_position > position - recorded.len() as u64) {
            self.requests.insert(request.key, (request.digest, deployment.clone()));
        }
        let answer = Appended { deployment, seq: walk.seq, position, head: walk.hash, repeated: false };
        self.keep(kept, recorded);
        answer
    }

    fn keep(&mut self, kept: Kept, recorded: Vec<Arc<Recorded>>) {
        if let Some(record) = self.deployments.get_mut(&kept.deployment) {
            record.kept = kept;
            record.events.extend(recorded);
        } else {
            let deployment = kept.deployment.clone();
            self.deployments.insert(deployment, Record { kept, events: recorded, samples: VecDeque::new() });
        }
    }

    fn verify(&self, deployment: &str) -> Chain {
        let Some(record) = self.deployments.get(deployment) else {
            return chain::verdict(deployment, Ok(Walk::start(deployment)));
        };
        let mut walk = Walk::start(deployment);
        let walked = record.events.iter().try_for_each(|event| walk.step(event));
        chain::verdict(deployment, walked.and_then(|()| walk.end(&record.kept)).map(|()| walk))
    }
}

impl Record {
    fn keep_samples(&mut self, samples: Vec<NewSample>) {
        for sample in samples {
            let number = self.samples.back().map_or(0, |last| last.number) + 1;
            self.samples.push_back(Sample { number, sample });
        }
        while self.samples.len() as u64 > rules::SAMPLES_PER_DEPLOYMENT_MAX {
            self.samples.pop_front();
        }
    }
}

impl Ledger for Store {
    type Error = Infallible;

    fn kept(&mut self, deployment: &str) -> Result<Option<Kept>, Infallible> {
        Ok(self.deployments.get(deployment).map(|record| record.kept.clone()))
    }

    fn request(&mut self, key: &str) -> Result<Option<(Digest, String)>, Infallible> {
        Ok(self.requests.get(key).cloned())
    }

    fn running(&mut self, service: &str, environment: &str) -> Result<Option<String>, Infallible> {
        let mut running =
            self.of_service(service, environment).filter(|kept| kept.row.standing == Standing::Running);
        Ok(running.next().map(|kept| kept.deployment.clone()))
    }

    fn turn_taken(&mut self, service: &str, environment: &str, turn: u64) -> Result<bool, Infallible> {
        Ok(self.of_service(service, environment).any(|kept| kept.row.turn == turn))
    }

    fn active(&mut self) -> Result<u64, Infallible> {
        Ok(self.kept_all().filter(|kept| kept.row.standing.is_active()).count() as u64)
    }
}

fn matches(filter: &Filter, kept: &Kept) -> bool {
    let Filter { standing, service, environment, before, limit: _ } = filter;
    (standing.is_empty() || standing.contains(&kept.row.standing))
        && service.as_ref().is_none_or(|service| &kept.row.service == service)
        && environment.as_ref().is_none_or(|environment| &kept.row.environment == environment)
        && before.is_none_or(|before| kept.first_position < before)
}

/// At most `limit` entries, fewer when their payloads are large, but never none while there are some.
fn page(events: &[Arc<Recorded>], limit: usize) -> Vec<Recorded> {
    let mut bytes = 0;
    let mut page = Vec::new();
    for event in events.iter().take(limit.min(rules::READ_MAX)) {
        if bytes >= rules::READ_BYTES_MAX {
            break;
        }
        bytes += event.payload.len();
        page.push(Recorded::clone(event));
    }
    page
}
