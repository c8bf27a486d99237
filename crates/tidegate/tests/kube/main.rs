//! The controller on a real control plane: the real program, as the service account that its own manifests make.
#![expect(
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a panic is how a test reports"
)]

mod bad_input;
mod crash;
mod flow;
mod install;
mod leader;
mod scene;
mod trouble;
