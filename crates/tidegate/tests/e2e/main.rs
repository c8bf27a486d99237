//! The real program, end to end: its own engine, proxy, instances and users, and what it says about them.
//!
//! Every test has a project of its own in a temporary directory and leaves no process behind, whatever happens.

#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is how a test reports"
)]

mod bad_first;
mod bad_input;
mod clock;
mod confidence;
mod deploy;
mod disk;
mod journal;
mod judgement;
mod kill;
mod metrics;
mod on_a_cluster;
mod proxy;
mod queue;
mod restart;
mod rollback;
mod stuck;
#[path = "../support/mod.rs"]
mod support;
mod surface;
mod verbs;
mod waves_on_a_cluster;
mod words;
