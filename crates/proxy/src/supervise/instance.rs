//! One instance: what is wanted of it, what is known of it.

use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;

use tokio::sync::watch;

use crate::protocol::{InstanceState, InstanceStatus, Run};

use super::life::Life;
use super::proc_table::{self, Usage, boot_ms};
use super::record::{Record, SavedLife};
use super::station::{Station, unix_ms};
use super::{ReadyEndpoint, log, port};

/// What is wanted of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Order {
    /// It runs. The number tells one order from the next: one that could not start tries again on a new order.
    Run(u64),
    /// It is gone.
    Stop,
}

/// One instance.
#[derive(Debug)]
pub(super) struct Instance {
    /// The service.
    pub(super) service: String,
    release: String,
    number: u32,
    /// What is wanted of it.
    pub(super) order: watch::Sender<Order>,
    /// What to run.
    pub(super) run: RefCell<Rc<Run>>,
    /// Whether its task runs.
    pub(super) active: Cell<bool>,
    face: RefCell<Face>,
}

/// What changes of an instance.
#[derive(Debug)]
struct Face {
    record: Record,
    state: InstanceState,
    since_unix_ms: i64,
    pid: Option<u32>,
    /// Highest reading of this life: a child that ends without being waited for takes its time along.
    cpu_ms: u64,
}

impl Instance {
    /// An instance as it was recorded.
    pub(super) fn new(service: &str, release: &str, number: u32, run: Rc<Run>, record: Record) -> Self {
        let face =
            Face { record, state: InstanceState::Stopped, since_unix_ms: unix_ms(), pid: None, cpu_ms: 0 };
        Self {
            service: service.to_owned(),
            release: release.to_owned(),
            number,
            order: watch::Sender::new(Order::Stop),
            run: RefCell::new(run),
            active: Cell::new(false),
            face: RefCell::new(face),
        }
    }

    /// `{service}/{release}/{number}`.
    pub(super) fn id(&self) -> String {
        format!("{}/{}/{}", self.service, self.release, self.number)
    }

    /// What must be on disk of it.
    pub(super) fn record(&self) -> Record {
        self.face.borrow().record.clone()
    }

    /// Its port, once chosen.
    pub(super) fn port(&self) -> Option<u16> {
        self.face.borrow().record.port
    }

    /// Where it is in its life.
    pub(super) fn state(&self) -> InstanceState {
        self.face.borrow().state
    }

    /// Where it takes traffic, when it does.
    pub(super) fn endpoint(&self) -> Option<ReadyEndpoint> {
        let face = self.face.borrow();
        matches!(face.state, InstanceState::Ready).then_some(())?;
        Some(ReadyEndpoint {
            id: self.id(),
            address: port::address(face.record.port?),
            ready_since_unix_ms: face.record.ready_since_unix_ms.unwrap_or(face.since_unix_ms),
        })
    }

    /// It as it is.
    pub(super) fn status(&self, station: &Station) -> InstanceStatus {
        let run = Rc::clone(&self.run.borrow());
        let usage = self.usage(station);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        let machine_milli = u32::try_from(cores.saturating_mul(1_000)).unwrap_or(u32::MAX);
        let face = self.face.borrow();
        InstanceStatus {
            id: self.id(),
            pid: face.pid,
            address: face.record.port.map(|port| port::address(port).to_string()),
            state: face.state,
            since_unix_ms: face.since_unix_ms,
            restarts: face.record.ends.count(boot_ms(), &run.restart),
            ends_total: Some(face.record.ends_total),
            last_end: face.record.last_end.clone(),
            last_output: face.record.last_output.clone(),
            cpu_ms: usage.cpu_ms,
            rss_bytes: usage.rss_bytes,
            cpu_limit_milli: run.resources.cpu_milli.unwrap_or(machine_milli),
            memory_limit_bytes: run.resources.memory_bytes.unwrap_or_else(proc_table::machine_memory_bytes),
            log: self.log(station).display().to_string(),
        }
    }

    fn usage(&self, station: &Station) -> Usage {
        let mut face = self.face.borrow_mut();
        let Some(pid) = face.pid else { return Usage::default() };
        let usage = proc_table::usage(&station.table().tree(pid));
        face.cpu_ms = face.cpu_ms.max(usage.cpu_ms);
        Usage { cpu_ms: face.cpu_ms, ..usage }
    }

    /// Path of its current log.
    pub(super) fn log(&self, station: &Station) -> PathBuf {
        log::path(&station.dir, &self.service, &self.release, self.number)
    }

    /// Changes what must be on disk.
    pub(super) fn change(&self, change: impl FnOnce(&mut Record)) {
        change(&mut self.face.borrow_mut().record);
    }

    /// Puts it in a state; answers whether it was in another one.
    pub(super) fn enter(&self, state: InstanceState) -> bool {
        let mut face = self.face.borrow_mut();
        if face.state == state {
            return false;
        }
        face.state = state;
        face.since_unix_ms = unix_ms();
        true
    }

    /// Something runs.
    pub(super) fn note_life(&self, life: &Life) {
        let mut face = self.face.borrow_mut();
        face.pid = life.pid();
        face.cpu_ms = 0;
        face.record.life = match life {
            Life::Process(leader) => leader.saved(),
            Life::Container(held) => SavedLife::Container { id: held.id().to_owned() },
        };
    }

    /// Nothing runs any more, and this is why.
    pub(super) fn note_end(&self, station: &Station, why: String) {
        tracing::info!(instance = self.id(), why, "instance ended");
        let path = self.log(station);
        let mut face = self.face.borrow_mut();
        face.pid = None;
        face.cpu_ms = 0;
        face.record.life = SavedLife::None;
        face.record.was_ready = false;
        face.record.ready_since_unix_ms = None;
        face.record.last_end = Some(why);
        face.record.last_output = log::tail(&path, face.record.log_from);
    }
}
