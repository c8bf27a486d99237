//! The supervisor's thread: opens the state, takes requests, gives orders to the instances.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{LocalSet, spawn_local};

use crate::protocol::{InstanceState, Refused, Run, RunStatus};

use super::instance::{Instance, Order};
use super::keeping::Keeping;
use super::record::{Record, Saved, SavedLife, StateFile};
use super::station::{Entry, Key, Station};
use super::validate::validate;
use super::{Endpoints, SupervisorError, Traffic, log, process, refused};

/// How long opening waits for the first probes of instances that were ready.
const FIRST_PROBES_WAIT: Duration = Duration::from_secs(2);
/// Releases with a run, over all services.
const RUNS_MAX: usize = 1_024;
/// Services whose epoch is remembered.
const SERVICES_MAX: usize = 4_096;

/// What a handle asks of the thread.
pub(super) enum Request {
    /// Put a run in force.
    Apply {
        service: String,
        release: String,
        run: Box<Run>,
        reply: oneshot::Sender<Result<RunStatus, Refused>>,
    },
    /// Tell the runs.
    Status { service: Option<String>, reply: oneshot::Sender<Vec<RunStatus>> },
    /// Drain, stop, forget.
    Remove { service: String, release: String, epoch: u64, reply: oneshot::Sender<Result<(), Refused>> },
    /// Leave the instances to the next process.
    HandOver { reply: oneshot::Sender<()> },
    /// Drain and stop every instance; answered when all are gone.
    StopAll { reply: oneshot::Sender<()> },
}

/// Starts the thread and waits until it serves.
pub(super) fn start(
    dir: &Path,
    traffic: Arc<dyn Traffic>,
    inbox: mpsc::Receiver<Request>,
) -> Result<watch::Receiver<Arc<Endpoints>>, SupervisorError> {
    let (endpoints, seen) = watch::channel(Arc::default());
    let (opened, answer) = sync_channel(1);
    let failed = |what, source| SupervisorError::Io { what, path: dir.to_owned(), source };
    let folder = dir.to_owned();
    // The runtime is made and dropped on the thread: callers may be inside another one.
    let thread = move || match prepare(folder, traffic, endpoints) {
        Ok((runtime, keeper, saved)) => serve(runtime, keeper, saved, inbox, &opened),
        // An error of a reply means that the asker no longer waits for it, here and below.
        Err(error) => drop(opened.send(Err(error))),
    };
    std::thread::Builder::new()
        .name("supervisor".to_owned())
        .spawn(thread)
        .map_err(|e| failed("start a thread for", e))?;
    let ended = || failed("supervise", std::io::Error::other("the supervisor's thread ended"));
    answer.recv().map_err(|_| ended())??;
    Ok(seen)
}

fn prepare(
    dir: PathBuf,
    traffic: Arc<dyn Traffic>,
    endpoints: watch::Sender<Arc<Endpoints>>,
) -> Result<(Runtime, Keeper, Saved), SupervisorError> {
    let (file, saved) = StateFile::open(&dir)?;
    let runtime = Builder::new_current_thread().enable_io().enable_time().build();
    let failed = |source| SupervisorError::Io { what: "start a runtime for", path: dir.clone(), source };
    let runtime = runtime.map_err(failed)?;
    Ok((runtime, Keeper::new(Station::new(dir, traffic, file, saved.clone(), endpoints)), saved))
}

fn serve(
    runtime: Runtime,
    mut keeper: Keeper,
    saved: Saved,
    mut inbox: mpsc::Receiver<Request>,
    opened: &SyncSender<Result<(), SupervisorError>>,
) {
    let local = LocalSet::new();
    let last = local.block_on(&runtime, async {
        keeper.restore(saved);
        // When the time is up the instances that answered are served, the others follow.
        let _late = tokio::time::timeout(FIRST_PROBES_WAIT, keeper.station.first_probes()).await;
        drop(opened.send(Ok(())));
        keeper.take_requests(&mut inbox).await
    });
    // In this order: the tasks, then the station with the directory's lock, then the word that it is free.
    drop((local, runtime, keeper, inbox));
    if let Some(reply) = last {
        let _gone = reply.send(());
    }
}

/// Holds the orders of all instances.
struct Keeper {
    station: Rc<Station>,
    turn: Cell<u64>,
    /// Those who wait until every instance is gone; none is started any more while there are some.
    stopping: Vec<oneshot::Sender<()>>,
}

impl Keeper {
    fn new(station: Station) -> Self {
        Self { station: Rc::new(station), turn: Cell::new(0), stopping: Vec::new() }
    }

    /// Goes on where the last supervisor of the directory ended.
    fn restore(&self, saved: Saved) {
        for run in saved.runs {
            let wanted = Rc::new(run.run);
            let instance = |(number, record)| {
                let wanted = Rc::clone(&wanted);
                (number, Rc::new(Instance::new(&run.service, &run.release, number, wanted, record)))
            };
            let instances = run.instances.into_iter().map(instance).collect();
            let entry = Entry { run: Rc::clone(&wanted), removing: run.removing, instances };
            self.station.entries.borrow_mut().insert((run.service.clone(), run.release.clone()), entry);
        }
        self.kill_strays();
        let keys: Vec<Key> = self.station.entries.borrow().keys().cloned().collect();
        for key in &keys {
            self.give_orders(key);
        }
        self.forget_removed();
    }

    /// Kills processes of this directory whose release nobody knows any more.
    fn kill_strays(&self) {
        let entries = self.station.entries.borrow();
        let known: Vec<String> =
            entries.values().flat_map(|entry| entry.instances.values()).map(|i| i.id()).collect();
        let strays = process::of_data(self.station.nonce()).into_iter().filter(|(_, id)| !known.contains(id));
        for (process, _) in strays {
            process::kill(process);
        }
    }

    async fn take_requests(&mut self, inbox: &mut mpsc::Receiver<Request>) -> Option<oneshot::Sender<()>> {
        loop {
            tokio::select! {
                request = inbox.recv() => match request? {
                    Request::Apply { service, release, run, reply } => {
                        drop(reply.send(self.apply(&(service, release), *run)));
                    }
                    Request::Status { service, reply } => drop(reply.send(self.station.status(service.as_deref()))),
                    Request::Remove { service, release, epoch, reply } => {
                        drop(reply.send(self.remove(&(service, release), epoch)));
                    }
                    Request::HandOver { reply } => return Some(reply),
                    Request::StopAll { reply } => self.stop_all(reply),
                },
                () = self.station.settled.notified() => {
                    self.forget_removed();
                    self.tell_stopped();
                }
            }
        }
    }

    fn apply(&self, key: &Key, run: Run) -> Result<RunStatus, Refused> {
        validate(&key.0, &key.1, &run)?;
        if !self.stopping.is_empty() {
            return Err(refused("internal", "the supervisor is stopping: apply the run to the next one"));
        }
        self.fence(&key.0, run.epoch)?;
        if self.is_repeat(key, &run)? {
            return self.status_of(key);
        }
        self.check_immutable(key, &run)?;
        self.put(key, run)?;
        self.give_orders(key);
        self.status_of(key)
    }

    fn remove(&self, key: &Key, epoch: u64) -> Result<(), Refused> {
        self.fence(&key.0, epoch)?;
        {
            let mut entries = self.station.entries.borrow_mut();
            let Some(entry) = entries.get_mut(key) else { return Ok(()) };
            entry.removing = true;
        }
        let before = self.station.epochs.borrow_mut().insert(key.0.clone(), epoch);
        if let Err(error) = self.station.save() {
            self.set_epoch(&key.0, before);
            if let Some(entry) = self.station.entries.borrow_mut().get_mut(key) {
                entry.removing = false;
            }
            return Err(not_written(&error));
        }
        self.give_orders(key);
        self.forget_removed();
        Ok(())
    }

    /// Refuses an owner that another one has replaced.
    fn fence(&self, service: &str, epoch: u64) -> Result<(), Refused> {
        let epochs = self.station.epochs.borrow();
        match epochs.get(service) {
            Some(known) if epoch < *known => Err(refused(
                "stale_epoch",
                format!(
                    "epoch {epoch} of {service} is over, {known} is in force: another control plane owns it"
                ),
            )),
            None if epochs.len() >= SERVICES_MAX => Err(refused(
                "bad_request",
                format!("more than {SERVICES_MAX} services: use another data directory"),
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// Whether this run is in force already. Refuses one that is older.
    fn is_repeat(&self, key: &Key, run: &Run) -> Result<bool, Refused> {
        let entries = self.station.entries.borrow();
        let Some(entry) = entries.get(key) else {
            let full = entries.len() >= RUNS_MAX;
            let problem =
                || refused("bad_request", format!("more than {RUNS_MAX} releases: remove old ones first"));
            return if full { Err(problem()) } else { Ok(false) };
        };
        let (known, asked) = ((entry.run.epoch, entry.run.generation), (run.epoch, run.generation));
        if asked < known || (asked == known && !entry.removing && *run != *entry.run) {
            let (service, release) = key;
            return Err(refused(
                "stale_generation",
                format!(
                    "generation {} of {service}/{release} is not newer than {} in force: ask for its status first",
                    run.generation, known.1
                ),
            ));
        }
        Ok(asked == known && !entry.removing)
    }

    /// A release never changes what it runs while something of it runs.
    fn check_immutable(&self, key: &Key, run: &Run) -> Result<(), Refused> {
        let entries = self.station.entries.borrow();
        let Some(entry) = entries.get(key).filter(|entry| entry.run.kind != run.kind) else { return Ok(()) };
        let idle = |state| matches!(state, InstanceState::Stopped | InstanceState::Failed);
        if entry.instances.values().all(|instance| idle(instance.state())) {
            return Ok(());
        }
        let (service, release) = key;
        Err(refused(
            "bad_request",
            format!(
                "release {release} of {service} has running instances of another command: releases never change, make a new one"
            ),
        ))
    }

    /// Puts the run in force, on disk first.
    fn put(&self, key: &Key, run: Run) -> Result<(), Refused> {
        let epoch = run.epoch;
        let run = Rc::new(run);
        let before = {
            let mut entries = self.station.entries.borrow_mut();
            let fresh = || Entry { run: Rc::clone(&run), removing: false, instances: BTreeMap::new() };
            let known = entries.get(key).map(|entry| (Rc::clone(&entry.run), entry.removing));
            let entry = entries.entry(key.clone()).or_insert_with(fresh);
            entry.run = Rc::clone(&run);
            entry.removing = false;
            known
        };
        let epoch_before = self.station.epochs.borrow_mut().insert(key.0.clone(), epoch);
        self.station.save().map_err(|error| {
            self.set_epoch(&key.0, epoch_before);
            let mut entries = self.station.entries.borrow_mut();
            match (before, entries.get_mut(key)) {
                (Some((run, removing)), Some(entry)) => (entry.run, entry.removing) = (run, removing),
                (None, _) => drop(entries.remove(key)),
                (Some(_), None) => {}
            }
            not_written(&error)
        })
    }

    fn set_epoch(&self, service: &str, epoch: Option<u64>) {
        let mut epochs = self.station.epochs.borrow_mut();
        match epoch {
            Some(epoch) => drop(epochs.insert(service.to_owned(), epoch)),
            None => drop(epochs.remove(service)),
        }
    }

    /// Tells every instance of a release whether it is wanted, and starts the tasks of those that need one.
    fn give_orders(&self, key: &Key) {
        let turn = self.turn.get() + 1;
        self.turn.set(turn);
        let mut entries = self.station.entries.borrow_mut();
        let Some(entry) = entries.get_mut(key) else { return };
        let wanted = if entry.removing { 0 } else { entry.run.instances };
        for number in 1..=wanted {
            let run = Rc::clone(&entry.run);
            let fresh = || Rc::new(Instance::new(&key.0, &key.1, number, run, Record::default()));
            entry.instances.entry(number).or_insert_with(fresh);
        }
        for (number, instance) in &entry.instances {
            instance.run.replace(Rc::clone(&entry.run));
            let order = if *number <= wanted { Order::Run(turn) } else { Order::Stop };
            instance.order.send_replace(order);
            let record = instance.record();
            let needs_task = order != Order::Stop || record.life != SavedLife::None;
            if needs_task && !instance.active.replace(true) {
                let awaited = record.ready_since_unix_ms.map(|_| self.station.await_first_probe());
                spawn_local(Keeping::new(Rc::clone(&self.station), Rc::clone(instance), awaited).keep());
            }
        }
    }

    /// Forgets removed releases whose instances are gone.
    fn forget_removed(&self) {
        let gone = |entry: &Entry| entry.removing && entry.instances.values().all(|i| !i.active.get());
        let mut services: Vec<String> = Vec::new();
        self.station.entries.borrow_mut().retain(|(service, _), entry| {
            let gone = gone(entry);
            if gone && !services.contains(service) {
                services.push(service.clone());
            }
            !gone
        });
        if services.is_empty() {
            return;
        }
        if let Err(error) = self.station.save() {
            // Nothing is lost: the next supervisor finds the release marked for removal and forgets it again.
            tracing::error!(%error, "could not write the supervisor's state");
        }
        for service in services {
            self.prune_logs(service);
        }
    }

    fn prune_logs(&self, service: String) {
        let entries = self.station.entries.borrow();
        let kept: Vec<String> =
            entries.keys().filter(|(name, _)| *name == service).map(|(_, release)| release.clone()).collect();
        let dir = self.station.dir.clone();
        tokio::task::spawn_blocking(move || {
            if let Err(error) = log::prune(&dir, &service, &kept) {
                tracing::debug!(service, %error, "could not delete old logs");
            }
        });
    }

    fn stop_all(&mut self, reply: oneshot::Sender<()>) {
        for entry in self.station.entries.borrow().values() {
            for instance in entry.instances.values() {
                instance.order.send_replace(Order::Stop);
            }
        }
        self.stopping.push(reply);
        self.tell_stopped();
    }

    fn tell_stopped(&mut self) {
        let entries = self.station.entries.borrow();
        if entries.values().flat_map(|entry| entry.instances.values()).any(|i| i.active.get()) {
            return;
        }
        for reply in self.stopping.drain(..) {
            // An error means that the asker no longer waits.
            let _gone = reply.send(());
        }
    }

    fn status_of(&self, key: &Key) -> Result<RunStatus, Refused> {
        let entries = self.station.entries.borrow();
        let entry =
            entries.get(key).ok_or_else(|| refused("internal", "the run vanished while it was applied"))?;
        Ok(self.station.status_of(key, entry))
    }
}

fn not_written(error: &std::io::Error) -> Refused {
    refused(
        "io",
        format!(
            "could not write the supervisor's state: {error}: nothing was changed, free space or correct permissions"
        ),
    )
}
