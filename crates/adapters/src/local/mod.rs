//! The local target: processes or containers on this machine, behind Tidegate's own proxy.

mod image;
mod node;
mod spec;
mod store;
mod world;

pub use image::{ImageError, resolve as resolve_image};
pub use node::{Node, NodeError};
pub use spec::{LocalSpec, Program, Routing, RuleSpec, RuleTarget, Source};
pub use store::{BuildError, Manifest, ReleaseStore};
pub use world::{LocalWorld, Publisher};
