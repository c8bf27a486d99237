//! The target on a real control plane. One program, so that one control plane serves all of it.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is how a test reports"
)]

mod argo;
mod astray;
mod autoscale;
mod bad_input;
mod belongings;
mod cells;
mod faults;
mod guard;
mod guard_before;
mod guard_requests;
mod permission;
mod requests;
mod rights;
mod rollout;
mod routes;
mod scene;
mod since;
mod subsets;
mod theirs;
mod tunnel;
