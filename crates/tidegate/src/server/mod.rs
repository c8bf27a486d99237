//! The control plane's process: owns the journal, drives deployments, listens on a Unix socket (mode 0600).
//!
//! | method and path | body → answer |
//! |---|---|
//! | `POST /v1/deployments` | [`Submit`] → [`Submitted`] |
//! | `POST /v1/deployments/{id}/verbs` | [`Tell`] → [`Told`] |
//! | `POST /v1/deployments/{id}/label` | [`Labelled`] → 200 |
//! | `GET /v1/deployments/{id}/live` | → [`Glimpse`] |
//! | `GET /v1/status` | → [`ServerStatus`] |
//! | `POST /v1/shutdown` | → 204; what is running goes on at the next start |

mod api;
mod mortal;
mod prune;
mod targets;
mod wire;

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tidegate_adapters::{
    clock::Clock,
    local::{LocalWorld, Node, ReleaseStore},
};
use tidegate_core::{deployment::Recorded, plan};
use tidegate_engine::{
    Engine, World,
    journal::{Epoch, SqliteJournal},
    run::RunError,
};
use tidegate_kubernetes::{KubernetesTarget, Untold, control::Held};
use tokio::{net::UnixListener, sync::Semaphore};

pub(crate) use wire::{Action, Glimpse, Labelled, ServerStatus, Submit, Submitted, Tell, Told};

use mortal::{Fate, Mortal};
pub(crate) use targets::Targets;

use crate::{artifacts, fault::Fault, place::Place};

/// Connections served at once; more wait in the socket's own queue.
const CONNECTIONS_MAX: usize = 64;

/// Time between two looks at whether the proxy still runs, and whether there is anything left to do.
const WATCH_EVERY: Duration = Duration::from_secs(1);

/// The engine as the binary uses it.
pub(crate) type TargetEngine = Engine<SqliteJournal, Mortal<Targets>>;

/// How the server runs.
#[derive(Clone, Debug)]
pub(crate) struct ServerOptions {
    pub(crate) place: Place,
    /// Ends by itself after so long without a deployment; `None` never does.
    pub(crate) idle_exit: Option<Duration>,
}

/// What every connection shares.
struct Shared {
    engine: TargetEngine,
    targets: Targets,
    place: Place,
    owner: String,
    epoch: u64,
    started: Instant,
    fate: Arc<Fate>,
    stop: tokio::sync::Notify,
}

/// Opens the journal, takes over what has not ended, and serves until it is stopped.
pub(crate) async fn run(options: ServerOptions) -> Result<(), Fault> {
    let ServerOptions { place, idle_exit } = options;
    let claimed = Claimed::of(place, 0)?;
    let owner = claimed.place.owner()?;
    claimed.start(&owner, None).await?.serve(idle_exit).await
}

/// A data directory that belongs to this process, and in which nothing runs yet.
pub(crate) struct Claimed {
    place: Place,
    journal: SqliteJournal,
    epoch: u64,
    fate: Arc<Fate>,
}

/// An engine that runs, with its socket.
pub(crate) struct Server {
    shared: Arc<Shared>,
    node: Node,
    listener: UnixListener,
}

impl Claimed {
    /// Opens the journal, under an epoch that is not below `epoch_min`.
    pub(crate) fn of(place: Place, epoch_min: u64) -> Result<Self, Fault> {
        let fate = Arc::new(Fate::from_environment()?);
        place.make()?;
        let opened = SqliteJournal::open_from(&place.journal(), Epoch(epoch_min));
        let (journal, epoch) = opened.map_err(Fault::world)?;
        Ok(Self { place, journal, epoch: epoch.0, fate })
    }

    /// The epoch that everything is done under from now on.
    pub(crate) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Takes over what has not ended. `owner` is who looks after objects elsewhere; with `held`, no cluster is asked
    /// anything once that has ended.
    pub(crate) async fn start(self, owner: &str, held: Option<Held>) -> Result<Server, Fault> {
        let Self { place, journal, epoch, fate } = self;
        let program = std::env::current_exe().map_err(Fault::world)?;
        let node = Node::new(place.root(), program);
        let listener = listen(&place)?;
        let (store, clock) = (ReleaseStore::new(place.root()), Arc::new(Clock::new(place.root())));
        let local = LocalWorld::new(node.clone(), store, Arc::clone(&clock), publisher(place.artifacts()));
        let kubernetes = KubernetesTarget::new(owner, clock).with_manifests(crate::config::read_objects);
        let kubernetes = match held {
            Some(held) => kubernetes.while_held(held),
            None => kubernetes,
        };
        let targets = Targets::new(local, kubernetes);
        let world = Mortal::new(targets.clone(), Arc::clone(&fate));
        let engine = Engine::start(Arc::new(journal), Arc::new(world)).await.map_err(Fault::world)?;
        let shared = Arc::new(Shared {
            engine,
            targets,
            place,
            owner: owner.to_owned(),
            epoch,
            started: Instant::now(),
            fate,
            stop: tokio::sync::Notify::new(),
        });
        tracing::info!(epoch, active = shared.engine.active().len(), "the engine runs");
        Ok(Server { shared, node, listener })
    }
}

impl Server {
    /// The engine.
    pub(crate) fn engine(&self) -> TargetEngine {
        self.shared.engine.clone()
    }

    /// The targets.
    pub(crate) fn targets(&self) -> Targets {
        self.shared.targets.clone()
    }

    /// Answers on the socket until it is stopped, or is not needed any more.
    pub(crate) async fn serve(self, idle_exit: Option<Duration>) -> Result<(), Fault> {
        let Self { shared, node, listener } = self;
        let mut halted = shared.engine.halted();
        let ended = tokio::select! {
            ended = serve(&shared, listener) => ended,
            () = watch(&shared, &node, idle_exit) => Ok(()),
            () = shared.stop.notified() => Ok(()),
            () = terminated() => Ok(()),
            _ = halted.wait_for(Option::is_some) => {
                let why = shared.engine.halted().borrow().clone().unwrap_or_default();
                Err(Fault::trouble(format!("the journal takes no events any more: {why}")))
            }
        };
        // Nobody may find a socket that nobody answers.
        drop(fs::remove_file(shared.place.socket()));
        ended
    }
}

/// What serves already becomes the stable release of a service that nothing was deployed for yet. Where it was returned to
/// since, it is what its owner has there now: the engine's to judge, and here only to be known.
pub(crate) async fn adopt(
    engine: &TargetEngine,
    targets: &Targets,
    request: &mut plan::Request,
) -> Result<(), Unadopted> {
    if !Targets::can_find(&request.release) {
        return Ok(());
    }
    let (service, environment) = (&request.service, &request.environment);
    match engine.last_good(service, environment).await.map_err(Unadopted::Journal)? {
        None => {
            let found = targets.found(service, &request.release).await;
            request.stable = found.map_err(Unadopted::Unclear)?;
        }
        Some(good) => {
            if let Some(why) = tidegate_kubernetes::moved(service, &good, &request.release) {
                return Err(Unadopted::Unclear(Untold { why, permanent: true }));
            }
            if let Some(asked) = targets.successor(service, &good) {
                request.stable = asked.await.ok().flatten().map(|since| since.release).or(Some(good));
            }
        }
    }
    Ok(())
}

/// Why it cannot be told what serves.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unadopted {
    #[error(transparent)]
    Journal(RunError),
    #[error(transparent)]
    Unclear(Untold),
}

/// The socket, for this user alone: made in the journal's directory, which nobody else can enter, and moved to its place
/// when its mode is right. The journal's lock is held, so a socket that is there belongs to a dead process.
fn listen(place: &Place) -> Result<UnixListener, Fault> {
    let path = place.socket();
    let hidden = place.journal().join("sock");
    let trouble = |error| Fault::trouble(format!("cannot listen on {}: {error}", path.display()));
    drop(fs::remove_file(&hidden));
    let listener = UnixListener::bind(&hidden).map_err(trouble)?;
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o600)).map_err(trouble)?;
    fs::rename(&hidden, &path).map_err(trouble)?;
    Ok(listener)
}

async fn serve(shared: &Arc<Shared>, listener: UnixListener) -> Result<(), Fault> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.map_err(Fault::internal)?;
        let (stream, _) = listener.accept().await.map_err(Fault::world)?;
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            let service = service_fn(|request: hyper::Request<Incoming>| api::answer(&shared, request));
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(5))
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(why) = served {
                tracing::debug!(%why, "a connection ended early");
            }
            drop(place);
        });
    }
}

/// Keeps the proxy running, and ends the server when it is not needed any more.
async fn watch(shared: &Shared, node: &Node, idle_exit: Option<Duration>) {
    let store = ReleaseStore::new(shared.place.root());
    let mut busy_at = Instant::now();
    let mut tidy = true;
    loop {
        tokio::time::sleep(WATCH_EVERY).await;
        let idle = shared.engine.active().is_empty();
        if !idle {
            busy_at = Instant::now();
            tidy = false;
        } else if !tidy {
            tidy = true;
            match prune::prune(&**shared.engine.journal(), &store).await {
                Ok(0) => {}
                Ok(count) => tracing::info!(count, "old releases left the store"),
                Err(why) => tracing::warn!(%why, "old releases could not be removed"),
            }
        }
        // A proxy that never ran has nothing to carry.
        if node.data().is_dir()
            && let Err(why) = node.ensure().await
        {
            tracing::warn!(%why, "the proxy does not run");
        }
        if idle_exit.is_some_and(|after| busy_at.elapsed() >= after) {
            tracing::info!("nothing left to do");
            return;
        }
    }
}

/// Resolves when this process is asked to end.
pub(crate) async fn terminated() {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

/// Writes a deployment's artifacts when it has ended.
fn publisher(directory: PathBuf) -> tidegate_adapters::local::Publisher {
    Arc::new(move |history: &[Recorded]| {
        if let Err(why) = artifacts::write(&directory, history) {
            tracing::error!(%why, "the artifacts could not be written; `tidegate artifacts` writes them again");
        }
    })
}
