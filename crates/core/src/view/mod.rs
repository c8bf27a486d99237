//! What a person, a file or another program is told about a deployment: folds of its events, and of nothing else.
//!
//! A view never decides. Each takes the whole history of one deployment, oldest event first; a history that does not
//! begin with a plan has no view (`None`, or an empty list). Text from outside (reasons, names) is passed on as it is:
//! whoever shows it on a terminal cleans it.

mod artifact;
mod confidence;
mod date;
mod guarded;
mod period;
mod scene;
mod sentence;
mod span;
mod summary;
#[cfg(test)]
mod tests;
mod timeline;
mod unanswered;
mod users;
#[cfg(test)]
pub(crate) mod walker;
mod why;

pub use artifact::{BlastRadius, DeploymentArtifact, Evidence, Looked, StageBound, artifact, evidence};
pub use confidence::{confidence, prediction};
pub use date::rfc3339;
pub use guarded::{SUPERSEDED, is_superseded};
pub use period::{BeforeAndAfter, Period};
pub use span::rough;
pub use summary::{Place, Summary, Waits, summary};
pub use timeline::{AuditRow, Line, StateLog, Transition, audit, state_log, timeline, transitions};
pub use users::{Users, users};
pub use why::why;
