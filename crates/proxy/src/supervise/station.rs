//! What the keeper and its instances share, all on one thread.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use tokio::sync::{Notify, watch};

use crate::protocol::{Run, RunStatus};

use super::instance::Instance;
use super::proc_table::Table;
use super::record::{Saved, SavedRun, StateFile};
use super::{Endpoints, Traffic, port};

/// How old a reading of the process table may be.
const TABLE_AGE_MAX: Duration = Duration::from_millis(500);

/// A service and a release.
pub(super) type Key = (String, String);

/// One release's wanted state and its instances.
#[derive(Debug)]
pub(super) struct Entry {
    /// What is wanted.
    pub(super) run: Rc<Run>,
    /// It is forgotten once its instances are gone.
    pub(super) removing: bool,
    /// Its instances, by number.
    pub(super) instances: BTreeMap<u32, Rc<Instance>>,
}

/// The shared state.
pub(super) struct Station {
    /// The data directory.
    pub(super) dir: PathBuf,
    /// The data plane.
    pub(super) traffic: Arc<dyn Traffic>,
    /// The runs.
    pub(super) entries: RefCell<BTreeMap<Key, Entry>>,
    /// Highest epoch seen per service.
    pub(super) epochs: RefCell<BTreeMap<String, u64>>,
    /// Told whenever an instance is gone for good.
    pub(super) settled: Notify,
    file: StateFile,
    /// Everything of the saved state that never changes.
    name: Saved,
    endpoints: watch::Sender<Arc<Endpoints>>,
    table: RefCell<Option<(Instant, Rc<Table>)>>,
    awaited: Cell<usize>,
    answered: Notify,
}

/// An instance whose first probe the opening of the supervisor waits for; dropped when that probe has ended.
pub(super) struct Awaited(Rc<Station>);

impl Drop for Awaited {
    fn drop(&mut self) {
        self.0.awaited.set(self.0.awaited.get().saturating_sub(1));
        self.0.answered.notify_one();
    }
}

impl Station {
    /// A station without entries.
    pub(super) fn new(
        dir: PathBuf,
        traffic: Arc<dyn Traffic>,
        file: StateFile,
        saved: Saved,
        endpoints: watch::Sender<Arc<Endpoints>>,
    ) -> Self {
        let epochs = RefCell::new(saved.epochs.clone());
        let name = Saved { runs: Vec::new(), epochs: BTreeMap::new(), ..saved };
        Self {
            dir,
            traffic,
            entries: RefCell::default(),
            epochs,
            settled: Notify::new(),
            file,
            name,
            endpoints,
            table: RefCell::default(),
            awaited: Cell::new(0),
            answered: Notify::new(),
        }
    }

    /// The data directory's random name.
    pub(super) fn nonce(&self) -> &str {
        &self.name.nonce
    }

    /// Writes everything to disk.
    pub(super) fn save(&self) -> io::Result<()> {
        let entries = self.entries.borrow();
        let runs = entries.iter().map(|((service, release), entry)| SavedRun {
            service: service.clone(),
            release: release.clone(),
            run: Run::clone(&entry.run),
            removing: entry.removing,
            instances: entry.instances.iter().map(|(n, instance)| (*n, instance.record())).collect(),
        });
        let runs = runs.collect();
        self.file.save(&Saved { runs, epochs: self.epochs.borrow().clone(), ..self.name.clone() })
    }

    /// Tells the data plane which instances are ready.
    pub(super) fn publish(&self) {
        let mut endpoints = Endpoints::new();
        for (key, entry) in self.entries.borrow().iter() {
            let ready: Vec<_> = entry.instances.values().filter_map(|instance| instance.endpoint()).collect();
            if !ready.is_empty() {
                endpoints.insert(key.clone(), ready);
            }
        }
        self.endpoints.send_if_modified(|current| {
            let changed = **current != endpoints;
            if changed {
                *current = Arc::new(endpoints);
            }
            changed
        });
    }

    /// A free port that no other instance owns, running or not.
    pub(super) fn choose_port(&self) -> io::Result<u16> {
        let entries = self.entries.borrow();
        let owned: BTreeSet<u16> =
            entries.values().flat_map(|entry| entry.instances.values()).filter_map(|i| i.port()).collect();
        port::choose(&owned)
    }

    /// The process table, at most half a second old; empty when it cannot be read.
    pub(super) fn table(&self) -> Rc<Table> {
        let mut kept = self.table.borrow_mut();
        if let Some((read_at, table)) = kept.as_ref()
            && read_at.elapsed() < TABLE_AGE_MAX
        {
            return Rc::clone(table);
        }
        let table = Rc::new(Table::read().unwrap_or_default());
        *kept = Some((Instant::now(), Rc::clone(&table)));
        table
    }

    /// The runs of one service, or of all, as they are.
    pub(super) fn status(&self, service: Option<&str>) -> Vec<RunStatus> {
        let entries = self.entries.borrow();
        let asked = entries.iter().filter(|((name, _), _)| service.is_none_or(|service| service == name));
        asked.map(|(key, entry)| self.status_of(key, entry)).collect()
    }

    /// One run as it is.
    pub(super) fn status_of(&self, (service, release): &Key, entry: &Entry) -> RunStatus {
        RunStatus {
            service: service.clone(),
            release: release.clone(),
            epoch: entry.run.epoch,
            generation: entry.run.generation,
            wanted: if entry.removing { 0 } else { entry.run.instances },
            instances: entry.instances.values().map(|instance| instance.status(self)).collect(),
        }
    }

    /// Makes the opening wait for one more first probe.
    pub(super) fn await_first_probe(self: &Rc<Self>) -> Awaited {
        self.awaited.set(self.awaited.get() + 1);
        Awaited(Rc::clone(self))
    }

    /// Waits until every awaited first probe has ended.
    pub(super) async fn first_probes(&self) {
        while self.awaited.get() > 0 {
            self.answered.notified().await;
        }
    }
}

/// Milliseconds since the Unix epoch.
pub(super) fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
