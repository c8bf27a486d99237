//! The control thread: keeps the tables, the leases and the health of endpoints, and answers the admin socket. It never
//! carries a user's request.

mod admin;
mod doors;
mod kept;
mod lease;
mod probe;
mod prometheus;
mod record;
mod registry;
mod tables;

use std::cell::RefCell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::{Mutex, Notify, watch};

use crate::protocol::{PROTOCOL_VERSION, ProxyStatus, Refused};
use crate::supervise::Supervisor;
use crate::worker::Worker;

pub(crate) use admin::{serve_admin, serve_metrics};
pub(crate) use doors::Inherited;
pub(crate) use lease::watch_leases;
pub use record::RecordError;
pub(crate) use record::{Record, read_records};
pub(crate) use registry::Registry;
pub(crate) use tables::State;

/// How the process is to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    /// It serves.
    NotYet,
    /// Drain and end; the flag tells whether instances are stopped too.
    Shutdown { stop_instances: bool },
    /// Another process serves already: drain and end.
    HandedOver,
}

/// Everything the control thread owns.
pub(crate) struct Control {
    pub(crate) data: PathBuf,
    pub(crate) boot: String,
    pub(crate) started: Instant,
    pub(crate) metrics_address: Option<String>,
    pub(crate) workers: Vec<Worker>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) supervisor: RefCell<Supervisor>,
    pub(crate) state: Mutex<State>,
    /// Told when a lease begins, is renewed or ends.
    pub(crate) leases_changed: Notify,
    pub(crate) ending: watch::Sender<Ending>,
    /// Sockets and lock for the next process.
    pub(crate) legacy: crate::handover::Legacy,
}

impl Control {
    /// What this process is.
    pub(crate) fn status(&self) -> ProxyStatus {
        ProxyStatus {
            protocol: PROTOCOL_VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            boot: self.boot.clone(),
            workers: u32::try_from(self.workers.len()).unwrap_or(u32::MAX),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            metrics_address: self.metrics_address.clone(),
        }
    }

    /// Refuses changes once another process serves: they would be lost.
    pub(crate) fn in_charge(&self) -> Result<(), Refused> {
        if *self.ending.borrow() == Ending::HandedOver {
            return Err(refused("internal", "another process took over: connect to the admin socket again"));
        }
        Ok(())
    }

    /// The supervisor in charge.
    pub(crate) fn supervisor(&self) -> Supervisor {
        self.supervisor.borrow().clone()
    }
}

/// Follows the supervisor's ready instances until the process ends.
pub(crate) async fn follow_instances(control: Rc<Control>) {
    let mut instances = control.supervisor().endpoints();
    loop {
        if instances.changed().await.is_err() {
            // The supervisor was handed over; a new one may take its place if the hand-over fails.
            tokio::time::sleep(crate::worker::TICK).await;
            instances = control.supervisor().endpoints();
        }
        control.state.lock().await.refresh_supervised(&control).await;
    }
}

/// A refusal with one of the protocol's codes.
pub(crate) fn refused(code: &str, message: impl Into<String>) -> Refused {
    Refused { code: code.to_owned(), message: message.into() }
}
