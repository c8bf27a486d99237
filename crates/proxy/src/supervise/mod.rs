//! Keeps the wanted instances of every release running, beside the data plane.
//!
//! The supervisor lives on its own thread with its own runtime. What it starts does not depend on it: every instance
//! has its own process group, reads nothing, and appends its output straight to a file, so `kill -9` of this process or
//! its replacement leaves the instances serving. The next supervisor of the same directory finds them again by process
//! id and start time, or by the marks in their environment (labels, for containers), and goes on.
//!
//! What is wanted is on disk before it is answered, and the intent to start an instance is on disk before it starts.

mod back_off;
mod container;
mod instance;
mod keeper;
mod keeping;
mod launch;
mod life;
mod log;
mod port;
mod probe;
mod proc_table;
mod process;
mod record;
mod station;
mod validate;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot, watch};

use crate::protocol::{Refused, Run, RunStatus};

use keeper::Request;

/// Requests that may wait for the supervisor's thread; beyond it callers wait.
const REQUESTS_MAX: usize = 64;

/// The ready instances of each `(service, release)`; a pair without ready instances is absent.
pub type Endpoints = BTreeMap<(String, String), Vec<ReadyEndpoint>>;

/// One instance that may take traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReadyEndpoint {
    /// `{service}/{release}/{number}`.
    pub id: String,
    /// Where it listens; always loopback.
    pub address: SocketAddr,
    /// Since when it has been ready without a break, milliseconds since the Unix epoch.
    pub ready_since_unix_ms: i64,
}

/// What the data plane has on its way to one instance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InFlight {
    /// Requests not answered yet.
    pub requests: u64,
    /// Upgraded connections (WebSocket) open.
    pub upgraded: u64,
}

/// What the supervisor asks the data plane while it drains an instance. Called from the supervisor's thread; must not block.
pub trait Traffic: Send + Sync {
    /// What is on its way to this instance now.
    fn in_flight(&self, service: &str, address: SocketAddr) -> InFlight;

    /// Longest wait for requests and for upgraded connections, milliseconds.
    fn drain_limits(&self, service: &str) -> (u64, u64);
}

/// Why a supervisor could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// Another process supervises this directory.
    #[error("another process supervises {}: stop it, or use another data directory", .0.display())]
    InUse(PathBuf),
    /// A file or folder could not be used.
    #[error("cannot {what} {}", path.display())]
    Io {
        /// What was attempted.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The state file is not what this version writes.
    #[error("cannot read the supervisor's state in {}: {reason}; restore the file, or move it away and apply the runs again", path.display())]
    State {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

/// A handle on the supervisor's thread. Clones share it; when the last one is dropped the thread ends as after
/// [`hand_over`](Self::hand_over).
#[derive(Clone)]
pub struct Supervisor {
    requests: mpsc::Sender<Request>,
    endpoints: watch::Receiver<Arc<Endpoints>>,
}

impl Supervisor {
    /// Opens the supervisor of `dir` (created when absent, mode 0700), finds its running instances again and starts
    /// those that are missing. Blocks until every instance that was ready has been probed once, at most 2 seconds, so
    /// that [`endpoints`](Self::endpoints) is complete when a new proxy takes over from an old one.
    #[expect(clippy::needless_pass_by_value, reason = "a caller has no use for the path any more")]
    pub fn open(dir: PathBuf, traffic: Arc<dyn Traffic>) -> Result<Self, SupervisorError> {
        let (requests, inbox) = mpsc::channel(REQUESTS_MAX);
        let endpoints = keeper::start(&dir, traffic, inbox)?;
        Ok(Self { requests, endpoints })
    }

    /// Puts a run in force. It is on disk when this answers; the instances follow.
    ///
    /// Refused: `stale_epoch`, `stale_generation` (also the same generation with other content), `bad_request` (the
    /// run is malformed, or names another command for a release that has live instances), `io`, `internal`.
    pub async fn apply(&self, service: &str, release: &str, run: Run) -> Result<RunStatus, Refused> {
        let (service, release) = (service.to_owned(), release.to_owned());
        self.ask(|reply| Request::Apply { service, release, run: Box::new(run), reply }).await?
    }

    /// The instances of one service, or of all, as they are. Empty after [`hand_over`](Self::hand_over).
    pub async fn status(&self, service: Option<&str>) -> Vec<RunStatus> {
        let service = service.map(str::to_owned);
        self.ask(|reply| Request::Status { service, reply }).await.unwrap_or_default()
    }

    /// Drains, stops and forgets a release's instances; answers once that intention is on disk. Removing what is not
    /// there is no error. Refused: `stale_epoch`, `io`, `internal`.
    pub async fn remove(&self, service: &str, release: &str, epoch: u64) -> Result<(), Refused> {
        let (service, release) = (service.to_owned(), release.to_owned());
        self.ask(|reply| Request::Remove { service, release, epoch, reply }).await?
    }

    /// The ready instances, now and whenever they change. Keeps its last value after [`hand_over`](Self::hand_over).
    pub fn endpoints(&self) -> watch::Receiver<Arc<Endpoints>> {
        self.endpoints.clone()
    }

    /// Stops supervising and frees the directory for the next process; the instances keep running. Later requests are
    /// refused with `internal`.
    pub async fn hand_over(&self) {
        // An error means that the thread has already ended, which is what was asked for.
        let _ended = self.ask(|reply| Request::HandOver { reply }).await;
    }

    /// Stops supervising. With `stop_instances` every instance is drained and stopped first; what is wanted stays on
    /// disk, so the next [`open`](Self::open) starts them again.
    pub async fn shutdown(&self, stop_instances: bool) {
        if stop_instances {
            let _ended = self.ask(|reply| Request::StopAll { reply }).await;
        }
        self.hand_over().await;
    }

    async fn ask<T>(&self, request: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Refused> {
        let (reply, answer) = oneshot::channel();
        self.requests.send(request(reply)).await.map_err(|_| handed_over())?;
        answer.await.map_err(|_| handed_over())
    }
}

fn handed_over() -> Refused {
    refused("internal", "this process no longer supervises instances: ask the process that took over")
}

/// A refusal with one of the protocol's codes.
fn refused(code: &str, message: impl Into<String>) -> Refused {
    Refused { code: code.to_owned(), message: message.into() }
}
