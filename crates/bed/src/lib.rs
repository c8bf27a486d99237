//! A real Kubernetes control plane for tests: etcd, API server, controller manager, scheduler, and kwok in the nodes' place.
//!
//! Certificates and RBAC are on, everything listens on loopback and on free ports, and nothing outlives the process that
//! started it. Pods are scheduled for real; a label says how each of them then behaves ([`SIM_LABEL`]). No containers run,
//! so nothing answers behind a Service, unless a test does: [`in_a_network_of_its_own`] the pods' addresses are its own, and
//! [`ControlPlane::install_gateway`] brings Istio and Envoy, who send it the users' requests.
//!
//! Blocking, without a runtime of its own to be seen: usable from a plain test and from inside an async one, where a short
//! wait is no harm.
//!
//! ```no_run
//! let plane = tidegate_bed::ControlPlane::shared()?;
//! plane.install_gateway_api()?;
//! let namespace = plane.namespace("canary")?;
//! println!("KUBECONFIG={} kubectl -n {namespace} get pods", plane.kubeconfig().display());
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod access;
mod api;
mod authority;
mod components;
mod control_plane;
mod crds;
mod error;
mod folder;
mod gateway;
mod kubeconfig;
mod middleman;
mod network;
mod nodes;
mod process;
mod programs;
mod stages;
mod wait;

pub use access::Access;
pub use api::Answer;
pub use components::Component;
pub use control_plane::{ControlPlane, Options};
pub use error::BedError;
pub use gateway::{GATEWAY, Gateway};
pub use middleman::{Asked, Counts, Middleman, Rule, Spoil, Verb};
pub use network::in_a_network_of_its_own;
pub use stages::SIM_LABEL;
pub use wait::until;
