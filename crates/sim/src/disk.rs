//! The journal on an imagined disk: what was synced survives, what was only written may not.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use futures_util::FutureExt as _;
use tidegate_engine::journal::{
    Append, AppendError, Appended, BoxFuture, Chain, Epoch, Filter, History, Journal, Kept, MemoryJournal,
    NewSample, ReadError, Recorded, Sample,
};

use crate::{fate::AppendFate, process::Process};

/// Time from writing to the end of syncing, milliseconds.
const SYNC_MS: i64 = 5;

/// What lies on the disk.
pub(crate) struct Disk {
    /// Everything that was synced, in the hands of the newest owner.
    synced: MemoryJournal,
    /// Written and not synced, in order: what a crash may take.
    written: Vec<Frame>,
    next: u64,
    /// Deployments whose events come back unreadable.
    pub(crate) unreadable: BTreeSet<String>,
}

/// One append on its way to the disk.
struct Frame {
    number: u64,
    append: Append,
    /// Whether all of it was written; half a frame does not match its checksum.
    whole: bool,
}

impl Disk {
    pub(crate) fn new(synced: MemoryJournal) -> Self {
        Self { synced, written: Vec::new(), next: 0, unreadable: BTreeSet::new() }
    }

    /// The newest handle to what was synced.
    pub(crate) fn journal(&self) -> MemoryJournal {
        self.synced.clone()
    }

    fn write(&mut self, append: Append, whole: bool) -> u64 {
        self.next += 1;
        self.written.push(Frame { number: self.next, append, whole });
        self.next
    }

    /// The machine comes back: of the frames that were not synced, the first `survivors` happen to be there; the one after
    /// them is torn, and it and everything behind it is rolled back. Answers with the frames that were kept.
    fn recover(&mut self, survivors: usize) -> Vec<Append> {
        let frames = std::mem::take(&mut self.written);
        frames.into_iter().take(survivors).take_while(|frame| frame.whole).map(|frame| frame.append).collect()
    }
}

/// A process's connection to the disk.
pub(crate) struct SimJournal {
    process: Arc<Process>,
    journal: MemoryJournal,
    /// Set for good once syncing failed.
    broken: Arc<AtomicBool>,
}

impl SimJournal {
    /// Opens the disk: rolls back what was not synced (but for the first `survivors` frames) and takes the journal over
    /// with the next epoch.
    pub(crate) fn open(process: &Arc<Process>, survivors: usize) -> Self {
        let kept = process.universe().disk.recover(survivors);
        let old = process.universe().disk.journal();
        for append in kept {
            // A frame that the journal's rules refuse was never written by an owner in its right mind.
            drop(apply(process, &old, append));
        }
        let journal = old.reopen();
        process.universe().disk.synced = journal.clone();
        Self { process: Arc::clone(process), journal, broken: Arc::default() }
    }
}

/// Syncs one append: from here on it is history.
fn apply(process: &Process, journal: &MemoryJournal, append: Append) -> Result<Appended, AppendError> {
    let (deployment, after, row) = (append.deployment.clone(), append.expected_seq, append.row.clone());
    let answered =
        journal.append(append).now_or_never().unwrap_or(Err(AppendError::Overloaded { what: "time" }));
    match &answered {
        Ok(appended) if !appended.repeated => {
            let events = journal.read(&deployment, after, usize::MAX).now_or_never();
            let events = events.and_then(Result::ok).unwrap_or_default();
            process.universe().appended(&events, &row);
        }
        Ok(_) => {}
        Err(error) => process.universe().refused(&deployment, error, journal.epoch()),
    }
    answered
}

impl Journal for SimJournal {
    fn epoch(&self) -> Epoch {
        self.journal.epoch()
    }

    fn append(&self, append: Append) -> BoxFuture<Result<Appended, AppendError>> {
        let (process, journal) = (Arc::clone(&self.process), self.journal.clone());
        let broken = Arc::clone(&self.broken);
        let failed = || Err(AppendError::Broken { why: "syncing failed".to_owned() });
        async move {
            if process.is_dead() {
                return std::future::pending().await;
            }
            if broken.load(Ordering::Relaxed) {
                return failed();
            }
            if process.universe().epoch() != journal.epoch() {
                // An old owner woke up: the journal itself must refuse it.
                return journal.append(append).await;
            }
            let fate = process.universe().append_fate();
            match fate {
                AppendFate::Fine => {}
                AppendFate::Full => return Err(AppendError::Full),
                AppendFate::Lost => return die(&process).await,
                AppendFate::Torn | AppendFate::Unsynced => {
                    process.universe().disk.write(append, fate == AppendFate::Unsynced);
                    return die(&process).await;
                }
                AppendFate::Unanswered => {
                    drop(apply(&process, &journal, append));
                    return die(&process).await;
                }
                AppendFate::BrokenLost | AppendFate::BrokenKept => {
                    if fate == AppendFate::BrokenKept {
                        drop(apply(&process, &journal, append));
                    }
                    broken.store(true, Ordering::Relaxed);
                    return failed();
                }
            }
            let number = process.universe().disk.write(append, true);
            let synced = process.universe().now() + SYNC_MS;
            process.sleep(synced).await;
            let frame = process.universe().disk.take(number);
            match frame {
                Some(append) => apply(&process, &journal, append),
                // Another owner opened the journal meanwhile and rolled this one back.
                None => {
                    Err(AppendError::Fenced { epoch: journal.epoch(), current: process.universe().epoch() })
                }
            }
        }
        .boxed()
    }

    fn put_samples(&self, deployment: &str, samples: Vec<NewSample>) -> BoxFuture<Result<(), AppendError>> {
        self.journal.put_samples(deployment, samples)
    }

    fn put_meta(&self, key: &str, value: &str) -> BoxFuture<Result<(), AppendError>> {
        self.journal.put_meta(key, value)
    }
}

impl Disk {
    /// Takes a frame out of the queue to sync it; `None` when it was rolled back.
    fn take(&mut self, number: u64) -> Option<Append> {
        let place = self.written.iter().position(|frame| frame.number == number)?;
        Some(self.written.remove(place).append)
    }
}

/// The process ends here; nobody will see an answer.
async fn die<T>(process: &Process) -> T {
    process.kill();
    std::future::pending().await
}

impl History for SimJournal {
    fn read(
        &self,
        deployment: &str,
        after_seq: u64,
        limit: usize,
    ) -> BoxFuture<Result<Vec<Recorded>, ReadError>> {
        let spoiled = self.process.universe().spoils(deployment);
        let read = self.journal.read(deployment, after_seq, limit);
        async move {
            let mut events = read.await?;
            if let (true, Some(last)) = (spoiled, events.last_mut()) {
                "{\"v\":4294967295}".clone_into(&mut last.payload);
            }
            Ok(events)
        }
        .boxed()
    }

    fn feed(&self, after: u64, limit: usize) -> BoxFuture<Result<Vec<Recorded>, ReadError>> {
        self.journal.feed(after, limit)
    }

    fn position(&self) -> BoxFuture<Result<u64, ReadError>> {
        self.journal.position()
    }

    fn deployment(&self, deployment: &str) -> BoxFuture<Result<Option<Kept>, ReadError>> {
        self.journal.deployment(deployment)
    }

    fn deployments(&self, filter: Filter) -> BoxFuture<Result<Vec<Kept>, ReadError>> {
        self.journal.deployments(filter)
    }

    fn active(&self) -> BoxFuture<Result<Vec<Kept>, ReadError>> {
        self.journal.active()
    }

    fn next_turn(&self, service: &str, environment: &str) -> BoxFuture<Result<u64, ReadError>> {
        self.journal.next_turn(service, environment)
    }

    fn request(&self, key: &str) -> BoxFuture<Result<Option<String>, ReadError>> {
        self.journal.request(key)
    }

    fn samples(&self, deployment: &str) -> BoxFuture<Result<Vec<Sample>, ReadError>> {
        self.journal.samples(deployment)
    }

    fn meta(&self, key: &str) -> BoxFuture<Result<Option<String>, ReadError>> {
        self.journal.meta(key)
    }

    fn verify(&self, deployment: &str) -> BoxFuture<Result<Chain, ReadError>> {
        self.journal.verify(deployment)
    }

    fn verify_all(&self) -> BoxFuture<Result<Vec<Chain>, ReadError>> {
        self.journal.verify_all()
    }
}
