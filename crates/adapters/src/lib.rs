//! TOUCHES: the only room that dials out or runs programs on a deployment's behalf. An adapter returns facts and numbers,
//! never a verdict.

pub mod clock;
pub mod local;
pub mod unix_http;
