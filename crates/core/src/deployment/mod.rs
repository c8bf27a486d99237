//! One run of a plan: a state machine with a journal.
//!
//! [`decide()`] is the only maker of events, [`evolve()`] folds them and never fails, [`owed()`] says what the state still owes
//! the world. All three are pure. The whole state × input table is printed by [`table::render`].

mod again;
mod decide;
mod event;
mod evolve;
mod input;
mod missing;
mod owed;
mod review;
mod state;
pub mod table;

pub use decide::{Refusal, decide, look, look_first};
pub use event::{ApprovalReason, Cause, Event, Recorded};
pub use evolve::{evolve, fold};
pub use input::{Input, Outcome, Verb};
pub use owed::{Effect, Key, Owed, Reach, What, owed};
pub use review::{Review, review};
pub use state::{Phase, Resume, State, StateName, Step, Try};
