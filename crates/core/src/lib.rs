//! DECIDES: the model, the plan compiler, the deployment's state machine, the gates and the views.
//!
//! This room cannot tell the time, touches nothing and draws no lots: the time, the news and the ids come in as
//! arguments. One loop, one door, one direction:
//!
//! ```text
//! request -> plan -> decide -> EVENT -> evolve -> state -> owed -> EFFECT -> world
//!                      ^                                                      |
//!                      +------ input: outcome, samples, tick, operator <------+
//! ```
#![no_std]

extern crate alloc;

pub mod confidence;
pub mod deployment;
pub mod expression;
pub mod gate;
pub mod judge;
pub mod model;
pub mod plan;
pub mod view;
