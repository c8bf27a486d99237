//! An analysis of a metric in measurements that are counted, as Argo Rollouts has it.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::model::Millis;

/// Measurements are taken one after another, and what is counted of them ends the run: too many that failed, that decided
/// nothing or that could not be taken, or enough of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Analysis {
    /// True for a good measurement; without it, one that is not bad is good.
    pub success: Option<String>,
    /// True for a bad one; without it, one that is not good is bad. One that is neither is inconclusive.
    pub failure: Option<String>,
    /// What the value counts, for comparison with literals that carry a unit.
    pub unit: String,
    /// Measurements after which it ends; without it, it goes on for as long as it is asked.
    pub count: Option<u32>,
    /// From the end of one measurement to the next.
    pub interval: Millis,
    /// From the beginning to the first measurement.
    pub initial_delay: Millis,
    /// More failed measurements fail it; without it, any number may.
    pub failure_limit: Option<u32>,
    /// More inconclusive measurements leave it undecided.
    pub inconclusive_limit: u32,
    /// More measurements in a row that could not be taken fail it.
    pub consecutive_error_limit: u32,
    /// So many good measurements in a row end it well; 0 for none.
    pub consecutive_success_limit: u32,
    /// One run over all its steps, which go on beside it; otherwise each step has a run of its own and waits for its end.
    pub background: bool,
}

impl Analysis {
    /// A measurement that could not be taken is tried again after this.
    pub const RETRY: Millis = Millis::secs(10);
}
