//! The guard of a plain Deployment: sees each rollout that something else started, and has it judged and, where it is bad,
//! undone by an ordinary deployment of the engine. What happened before is in the journal, so a guard that was killed goes on.
//!
//! The loop needs a cluster, a [`Desk`] to hand requests to, and somebody to tell. It runs in the foreground of
//! `tidegate guard`, and once for every Deployment that a controller guards.

mod before;
mod desk;
mod past;
mod request;
mod step;
mod watch;

pub(crate) use desk::Desk;
pub(crate) use past::{Past, Stand};
pub(crate) use request::{Terms, undo};
pub(crate) use step::of_another;
pub(crate) use watch::{Kind, News, watch};

use tidegate_kubernetes::{ClusterError, guard::GuardError};

use crate::fault::Fault;

/// Whose move it is after an error of the cluster.
pub(crate) fn fault(error: GuardError) -> Fault {
    match error {
        GuardError::NoDeployment { .. }
        | GuardError::NotGuarded { .. }
        | GuardError::Cluster(ClusterError::Configuration(_) | ClusterError::Context { .. }) => {
            Fault::caller(error)
        }
        GuardError::Cluster(_) | GuardError::Encode(_) => Fault::world(error),
    }
}
