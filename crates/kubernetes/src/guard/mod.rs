//! Rollouts of plain Deployments, which something else started: they are judged, and undone when they are bad.
//!
//! A revision is a release whose pods Kubernetes puts in the place of the old ones by itself. What is ours is a word in the
//! Deployment's annotations (who guards it, which revision was good) and, when a revision is bad, the good revision's pod
//! template in the place of the bad one's. A template that is neither of the two is somebody's wish, and is never overwritten.

mod effects;
mod guarded;
mod looks;
mod ran;
mod sight;
mod spec;
mod template;
mod undo;

pub use guarded::{Changes, GuardError, Guarded};
pub use ran::Ran;
pub use sight::{Revision, Sight};
pub use spec::{GuardSpec, KIND};

pub(crate) use effects::effect;
