//! KEEPS PROMISES: the journal holds what happened, the driver does what is owed.

pub mod confidence;
pub mod engine;
pub mod evidence;
mod fleet;
pub mod journal;
pub mod learning;
pub mod record;
pub mod replay;
pub mod run;
mod stable;
pub mod world;

pub use engine::{Engine, QueuePolicy, Submission, SubmitError, TellError};
pub use world::{Order, Successor, World};
