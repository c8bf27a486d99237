//! The controller: in a cluster, Rollouts are what `tidegate.yaml` and `deploy` are elsewhere.
//!
//! One process runs the engine and looks after the Rollouts; a Lease says which. The journal is on the process's own disk;
//! what is in the cluster is enough to go on without it.

mod desk;
mod guards;
mod health;
pub(crate) mod manifests;
mod reconcile;
pub(crate) mod resource;
mod rollout;
mod status;
mod verbs;
pub(crate) mod yaml;

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use serde_json::Value;
use tidegate_kubernetes::{
    ClusterError,
    control::{Control, Leader, LeaseName, Scope},
    guard::Guarded,
};

use crate::{
    client::Client,
    fault::{Blame, Fault, chain},
    guard,
    place::Place,
    server::{Claimed, terminated},
};

use desk::{Counts, Desk};
use health::Health;
use reconcile::Reconciler;

/// Wait before the API server is asked again at the start.
const AGAIN: Duration = Duration::from_secs(2);

/// How the controller runs.
pub(crate) struct ControllerOptions {
    pub(crate) place: Place,
    pub(crate) scope: Scope,
    /// Where the Lease is.
    pub(crate) lease_namespace: String,
    /// The installation's name: also the Lease's.
    pub(crate) name: String,
    /// Time without a renewal after which another controller may take over.
    pub(crate) lease: Duration,
    pub(crate) kubeconfig: Option<PathBuf>,
    /// For probes and Prometheus; `None` listens nowhere.
    pub(crate) listen: Option<SocketAddr>,
}

/// Runs until it is stopped, or does not lead any more.
pub(crate) async fn run(options: ControllerOptions) -> Result<(), Fault> {
    let control = Control::connect(options.kubeconfig.as_deref(), None).await.map_err(fault)?;
    let listener = match options.listen {
        Some(address) => Some(health::listen(address).await?),
        None => None,
    };
    let candidate = control.candidate(LeaseName {
        namespace: options.lease_namespace.clone(),
        name: options.name.clone(),
        identity: identity(),
        duration: options.lease,
    });
    let health = Arc::new(Health { held: candidate.held(), ..Health::default() });
    let probes = async {
        match listener {
            Some(listener) => health::serve(Arc::clone(&health), listener).await,
            None => std::future::pending().await,
        }
    };
    let leads = async {
        let acquired = async {
            until_known(&control, &options.scope).await?;
            health.connected.store(true, Ordering::Relaxed);
            candidate.acquire().await.map_err(fault)
        };
        let leader = tokio::select! {
            leader = acquired => leader?,
            () = terminated() => return Ok(()),
        };
        lead(&control, options, leader, &health).await
    };
    tokio::select! {
        ended = leads => ended,
        ended = probes => ended,
    }
}

/// Waits until Rollouts can be listed. What only a person can mend is an error at once.
async fn until_known(control: &Control, scope: &Scope) -> Result<(), Fault> {
    loop {
        match control.rollouts(scope).await {
            Ok(_) => return Ok(()),
            Err(why) if why.is_permanent() => return Err(fault(why)),
            Err(why) => tracing::warn!(why = chain(&why), "Rollouts cannot be listed yet"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Does everything that a leader does, until it is none any more.
async fn lead(
    control: &Control,
    options: ControllerOptions,
    mut leader: Leader,
    health: &Arc<Health>,
) -> Result<(), Fault> {
    let ControllerOptions { place, scope, lease_namespace, name, kubeconfig, .. } = options;
    let owner = format!("{lease_namespace}/{name}");
    // A Lease that was removed has forgotten the epoch; what was written under it has not.
    let listed = control.rollouts(&scope).await.map_err(fault)?;
    let own = |rollout: &&Value| rollout.pointer("/status/owner").and_then(Value::as_str) == Some(&owner);
    let seen =
        listed.iter().filter(own).filter_map(|rollout| rollout.pointer("/status/epoch")?.as_u64()).max();
    let least = leader.epoch().max(seen.map_or(0, |epoch| epoch.saturating_add(1)));
    let root = place.root().to_owned();
    let client = Client::new(place.clone());
    let claimed = Claimed::of(place, least)?;
    let epoch = claimed.epoch();
    leader.raise(epoch).await.map_err(fault)?;
    let identity = leader.identity().to_owned();
    let work = async {
        let server = claimed.start(&owner, Some(health.held.clone())).await?;
        let desk = Arc::new(Desk {
            control: control.clone().while_held(health.held.clone()),
            engine: server.engine(),
            targets: server.targets(),
            kubeconfig,
            root,
            owner,
            identity,
            epoch,
            counts: Counts::default(),
        });
        let guarded = Guarded::new(desk.kubeconfig.clone(), None, Some(lease_namespace.clone()), "").await;
        let guarded = guarded.map_err(guard::fault)?;
        let reconciler = Reconciler::new(Arc::clone(&desk)).await.map_err(Fault::world)?;
        // Set once: a process leads once.
        drop(health.desk.set((desk, reconciler.count())));
        tokio::select! {
            ended = server.serve(None) => ended,
            ended = guards::run(control, &scope, guarded, client) => ended,
            ended = reconciler.run(scope.clone()) => ended,
        }
    };
    // To take over thousands of deployments takes longer than the Lease lasts.
    let ended = tokio::select! {
        lost = leader.keep() => {
            return Err(Fault::trouble(format!("this controller does not lead any more: {lost}")));
        }
        ended = work => ended,
    };
    leader.release().await;
    ended
}

/// Who this process is among all that want the Lease: never the same twice.
fn identity() -> String {
    use std::hash::{BuildHasher as _, RandomState};
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let id = std::process::id();
    format!("{}_{:016x}", host.trim(), RandomState::new().hash_one(id))
}

/// An error of the cluster, in the words of a controller.
#[expect(clippy::needless_pass_by_value, reason = "used as a function in map_err")]
fn fault(error: ClusterError) -> Fault {
    if let ClusterError::UnknownKind { cluster, .. } = &error {
        return Fault::refuse(format!(
            "{cluster} does not know Rollouts: install their CustomResourceDefinition with `tidegate controller manifests --crd | \
             kubectl apply -f -`"
        ));
    }
    if let ClusterError::Configuration(why) = &error {
        return Fault::refuse(format!(
            "no cluster is known: {why}; set KUBECONFIG, or name the file with --kubeconfig"
        ));
    }
    let blame = if error.is_permanent() { Blame::Caller } else { Blame::World };
    Fault { blame, message: chain(&error) }
}
