//! The local target: processes or containers on this machine, behind Tidegate's own proxy.

mod node;
mod spec;
mod store;
mod world;

pub use node::{Node, NodeError};
pub use spec::{LocalSpec, Program, Routing, RuleSpec, RuleTarget, Source, SpecError};
pub use store::{BuildError, Manifest, ReleaseStore};
pub use world::{LocalWorld, Publisher};
