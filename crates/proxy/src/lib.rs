//! CARRIES: the L7 data plane and the process supervisor beside it.
//!
//! One process, three kinds of threads. Workers carry users' requests, each with its own runtime, listeners, connections
//! and counters. The control thread keeps the tables, leases and health, and answers the admin socket. The supervisor keeps
//! instances running. A table reaches the workers as one atomic swap; numbers come back as atomics.

pub mod protocol;
pub mod supervise;

mod clock;
mod control;
mod endpoint;
mod handover;
mod hash;
mod histogram;
mod process;
mod routing;
mod service;
mod stats;
mod worker;

pub use control::RecordError;
pub use process::{Options, RunError, run};
