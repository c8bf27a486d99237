//! Steers Kubernetes: brings about what a deployment owes a cluster, and reports what it sees there.
//!
//! A release is a Deployment of its own, never edited once it is there but for its number of replicas. What moves is
//! traffic: the selector of the users' Service, or the weights of a route. Turning back needs the API server and nothing
//! else: it has connections of its own, and waits for no forward work.
//!
//! | where | what |
//! |---|---|
//! | `spec` | what a release says about itself |
//! | `kinds`, `connection`, `cluster`, `fault` | the API server: objects, connections, what it refuses |
//! | `fence`, `edit` | who may write an object, and how it is done where others write it too |
//! | `role`, `rights` | what it may do there, and whether the account may |
//! | `pin` | which cluster a release is for, by name |
//! | `manifest` | the objects that a release is made of |
//! | `belongings` | what belongs to it beside those: budgets, policies, configuration, autoscalers |
//! | `replicas`, `demand` | how many pods which release gets |
//! | `traffic` | routes, without IO |
//! | `start` | whether a start of pods goes on |
//! | `guard` | rollouts of plain Deployments, which something else started |
//! | `view` | the namespace as it is now, kept by watches |
//! | `target` | effects |
//! | `control` | what a controller needs: Rollouts, their status, events, the Lease |

pub mod belongings;
mod cluster;
mod connection;
pub mod control;
pub mod demand;
mod edit;
mod fault;
mod fence;
pub mod guard;
mod kinds;
mod manifest;
mod pin;
pub mod replicas;
mod rights;
mod role;
mod spec;
mod start;
mod target;
pub mod traffic;
mod view;

pub use fault::ClusterError;
pub use pin::{PinError, moved, pin, servers};
pub use role::{Belonging, guard_role, role};
pub use spec::{
    Adopted, Bound, Cell, Former, Here, KIND, KubernetesSpec, SpecError, Template, TemplateError, Traffic,
    pinned,
};
pub use target::{KubernetesTarget, Obstacle, ReadManifests, Untold};

use tidegate_core::model::Share;

/// How many pods each release gets for a share where nothing but their numbers makes it, and which share that really is.
pub fn achieved(pods: u32, share: Share, surge: Bound, unavailable: Bound) -> (replicas::Counts, Share) {
    let room = replicas::room(surge, unavailable, pods);
    let counts =
        replicas::target(pods, replicas::Weight::from(share), room.surge, replicas::Rounding::AtLeastOne);
    (counts, replicas::achieved(counts))
}
