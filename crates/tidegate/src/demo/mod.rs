//! The demonstration: a sample service, a load generator and the story that uses them.

pub(crate) mod load;
pub(crate) mod sample;
mod stage;
mod story;

pub(crate) use story::{DemoArgs, run};
