//! CARRIES: the L7 data plane and the process supervisor beside it.

pub mod protocol;
pub mod supervise;
