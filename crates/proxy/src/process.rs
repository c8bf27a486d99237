//! The proxy's process: claims its data directory, serves, ends.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;
use tokio::runtime::{Builder, LocalOptions};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, Notify, watch};

use crate::control::{
    Control, Ending, Inherited, Record, RecordError, Registry, follow_instances, read_records, serve_metrics,
    watch_leases,
};
use crate::handover::{self, Legacy, Predecessor};
use crate::supervise::{Supervisor, SupervisorError};
use crate::worker::{Order, Worker};

/// Longest path of a Unix socket, bytes.
const SOCKET_PATH_MAX: usize = 107;
/// Time for the last answers on the admin socket to leave before the process ends.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// How to run a proxy.
#[derive(Clone, Debug)]
pub struct Options {
    /// Directory for the admin socket (`admin.sock`), the stored tables and the instances' state. Created with mode 0700.
    pub data: PathBuf,
    /// Data-plane threads; `None` is one per core.
    pub workers: Option<usize>,
    /// Where Prometheus may scrape `/metrics`; only loopback addresses are accepted.
    pub metrics: Option<SocketAddr>,
}

/// Why a proxy did not start, or ended other than by request.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The data directory cannot be used.
    #[error("cannot use the data directory {}: make it writable for this user, or name another one", path.display())]
    Data {
        /// The directory or a file in it.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another proxy runs on the same data directory.
    #[error("another proxy (pid {pid}) runs on {}: stop it, or name another data directory", path.display())]
    InUse {
        /// The data directory.
        path: PathBuf,
        /// The other process, as far as it is known.
        pid: String,
    },
    /// A Unix socket's path may have 107 bytes.
    #[error("the admin socket's path {} has {length} bytes, at most 107 are possible: name a data directory with a shorter path", path.display())]
    SocketPath {
        /// The path.
        path: PathBuf,
        /// Its length.
        length: usize,
    },
    /// The metrics address cannot be bound.
    #[error("cannot serve metrics on {address}: choose another loopback address")]
    Metrics {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: io::Error,
    },
    /// A stored table cannot be used.
    #[error(transparent)]
    Table(#[from] RecordError),
    /// The supervisor did not start.
    #[error(transparent)]
    Supervisor(#[from] SupervisorError),
    /// A thread or runtime could not be made.
    #[error("cannot start the proxy's threads")]
    Threads(#[source] io::Error),
    /// The old process did not hand over.
    #[error("cannot take over from the old process: it goes on")]
    Handover(#[source] io::Error),
}

/// What a starting process holds.
struct Claim {
    legacy: Legacy,
    records: Vec<Record>,
    doors: Vec<Inherited>,
    old: Option<Predecessor>,
}

/// Runs a proxy until it is told to end (admin socket, SIGTERM, SIGINT) or another process took over. Supervised instances
/// keep running unless the admin socket said otherwise.
pub fn run(options: Options) -> Result<(), RunError> {
    raise_descriptor_limit();
    let claim = match std::env::var_os(handover::VARIABLE) {
        Some(path) => take_over(&options, Path::new(&path))?,
        None => claim(&options)?,
    };
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    runtime.map_err(RunError::Threads)?.block_on(serve(options, claim))
}

/// Each user's connection needs two descriptors; the soft limit is often 1,024.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Without it the process only carries less.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
}

fn claim(options: &Options) -> Result<Claim, RunError> {
    let data = &options.data;
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |source| RunError::Data { path, source }
    };
    let admin_path = admin_path(data)?;
    DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(unusable(data))?;
    fs::set_permissions(data, Permissions::from_mode(0o700)).map_err(unusable(data))?;
    let lock = lock(data)?;
    let records = read_records(data)?;
    match fs::remove_file(&admin_path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(unusable(&admin_path)(error)),
        Ok(()) | Err(_) => {}
    }
    let admin = UnixListener::bind(&admin_path).map_err(unusable(&admin_path))?;
    fs::set_permissions(&admin_path, Permissions::from_mode(0o600)).map_err(unusable(&admin_path))?;
    let metrics = options.metrics.map(bind_metrics).transpose()?;
    let legacy = Legacy { lock, admin, metrics, admin_closed: watch::Sender::new(false) };
    Ok(Claim { legacy, records, doors: Vec::new(), old: None })
}

fn admin_path(data: &Path) -> Result<PathBuf, RunError> {
    let path = data.join("admin.sock");
    // The longest of the sockets made there.
    let length = data.join("handover.sock").as_os_str().as_bytes().len();
    if length > SOCKET_PATH_MAX {
        return Err(RunError::SocketPath { path, length });
    }
    Ok(path)
}

fn bind_metrics(address: SocketAddr) -> Result<TcpListener, RunError> {
    let failed = |source| RunError::Metrics { address, source };
    if !address.ip().is_loopback() {
        return Err(failed(io::Error::new(io::ErrorKind::InvalidInput, "it is not a loopback address")));
    }
    TcpListener::bind(address).map_err(failed)
}

/// Locks the data directory for this process's life, and leaves its id in the lock for whoever comes second.
fn lock(data: &Path) -> Result<File, RunError> {
    let path = data.join("lock");
    let unusable = |source| RunError::Data { path: path.clone(), source };
    let opened =
        OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(&path);
    let mut file = opened.map_err(unusable)?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            // What it holds is for people only.
            let _ = file.take(20).read_to_string(&mut pid);
            let pid = if pid.trim().is_empty() { "unknown".to_owned() } else { pid.trim().to_owned() };
            return Err(RunError::InUse { path: data.to_owned(), pid });
        }
        Err(error) => return Err(unusable(error.into())),
    }
    sign(&mut file).map_err(unusable)?;
    Ok(file)
}

fn sign(lock: &mut File) -> io::Result<()> {
    lock.set_len(0)?;
    lock.rewind()?;
    writeln!(lock, "{}", std::process::id())
}

fn take_over(options: &Options, path: &Path) -> Result<Claim, RunError> {
    let estate = handover::inherit(path).map_err(RunError::Handover)?;
    let (mut lock, mut old) = (estate.lock, estate.old);
    let records = read_records(&options.data).inspect_err(|error| old.failed(error))?;
    old.ready().map_err(RunError::Handover)?;
    sign(&mut lock).map_err(RunError::Handover)?;
    let admin_closed = watch::Sender::new(false);
    let legacy = Legacy { lock, admin: estate.admin, metrics: estate.metrics, admin_closed };
    Ok(Claim { legacy, records, doors: estate.doors, old: Some(old) })
}

async fn serve(options: Options, claim: Claim) -> Result<(), RunError> {
    let Claim { legacy, records, doors, mut old } = claim;
    let control = match start(options, legacy, records, doors).await {
        Ok(control) => control,
        Err(error) => {
            if let Some(old) = &mut old {
                old.failed(&error);
            }
            return Err(error);
        }
    };
    if let Some(mut old) = old {
        old.serving(control.status()).map_err(RunError::Handover)?;
    }
    let ending = ending(&control).await?;
    finish(control, ending).await;
    Ok(())
}

async fn start(
    options: Options,
    legacy: Legacy,
    records: Vec<Record>,
    doors: Vec<Inherited>,
) -> Result<Rc<Control>, RunError> {
    let count =
        options.workers.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from));
    let workers =
        (0..count.max(1)).map(Worker::start).collect::<Result<_, _>>().map_err(RunError::Threads)?;
    let registry = Arc::new(Registry::default());
    let supervisor = Supervisor::open(handover::instances(&options.data), Arc::clone(&registry) as _)?;
    let metrics =
        legacy.metrics.as_ref().map(TcpListener::try_clone).transpose().map_err(RunError::Threads)?;
    let metrics_address = metrics.as_ref().and_then(|metrics| metrics.local_addr().ok());
    let control = Rc::new(Control {
        data: options.data,
        boot: format!("{:016x}", fastrand::u64(..)),
        started: Instant::now(),
        metrics_address: metrics_address.map(|address| address.to_string()),
        workers,
        registry,
        supervisor: std::cell::RefCell::new(supervisor),
        state: Mutex::default(),
        leases_changed: Notify::new(),
        ending: watch::Sender::new(Ending::NotYet),
        legacy,
    });
    control.state.lock().await.restore(&control, records, doors).await;
    handover::open_admin(&control).map_err(RunError::Threads)?;
    if let Some(metrics) = metrics {
        metrics.set_nonblocking(true).map_err(RunError::Threads)?;
        let metrics = tokio::net::TcpListener::from_std(metrics).map_err(RunError::Threads)?;
        tokio::task::spawn_local(serve_metrics(Rc::clone(&control), metrics));
    }
    tokio::task::spawn_local(follow_instances(Rc::clone(&control)));
    tokio::task::spawn_local(watch_leases(Rc::clone(&control)));
    tracing::info!(data = %control.data.display(), workers = control.workers.len(), "the proxy serves");
    Ok(control)
}

/// Waits for a reason to end.
async fn ending(control: &Control) -> Result<Ending, RunError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(RunError::Threads)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(RunError::Threads)?;
    let mut told = control.ending.subscribe();
    let by_signal = Ending::Shutdown { stop_instances: false };
    tokio::select! {
        _ = terminate.recv() => Ok(by_signal),
        _ = interrupt.recv() => Ok(by_signal),
        told = told.wait_for(|ending| *ending != Ending::NotYet) => {
            Ok(told.map_or(by_signal, |ending| ending.clone()))
        }
    }
}

async fn finish(control: Rc<Control>, ending: Ending) {
    control.legacy.admin_closed.send_replace(true);
    let handed_over = ending == Ending::HandedOver;
    let (mut http, mut upgraded) = (Duration::ZERO, Duration::ZERO);
    for kept in control.state.lock().await.services.values_mut() {
        kept.let_go_of_doors();
        let limits = &kept.service.routes.load().limits;
        http = http.max(Duration::from_millis(limits.drain_ms));
        upgraded = upgraded.max(Duration::from_millis(limits.drain_upgraded_ms));
    }
    let drained = async {
        let mut heard = Vec::new();
        for worker in &control.workers {
            heard.push(worker.order(Order::Drain { http, upgraded, empty: !handed_over }).await);
        }
        for heard in heard {
            // A worker that is gone carries nothing.
            let _ = heard.await;
        }
        let stop_instances = ending == Ending::Shutdown { stop_instances: true };
        control.supervisor().shutdown(stop_instances).await;
    };
    let mut interrupted = signal(SignalKind::terminate()).ok();
    let again = async {
        match &mut interrupted {
            Some(signal) => signal.recv().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = drained => {}
        _ = again => tracing::warn!("told to end a second time: open connections are cut"),
    }
    tokio::time::sleep(LAST_WORDS).await;
    if !handed_over {
        // A socket left behind is removed by the next start.
        let _ = fs::remove_file(control.data.join("admin.sock"));
    }
    tracing::info!("the proxy ends");
}
