//! JUDGES: the fold of the batches, as the state is the fold of the events.
//!
//! An engine differences two readings into a [`Batch`], hands it to the [`Judge`], and then asks `decide`, which asks the
//! judge about every sequential gate. The same batches give the same answers, bit by bit, on every machine: that is what
//! `tidegate replay` shows. The statistics themselves are in `tidegate-statistics`, which knows nothing of gates.

mod analysis;
mod batch;
pub mod chart;
mod error;
mod gauge;
mod goal;
mod latency;
mod learn;
mod metric;
mod mix;
pub mod outlook;
mod panel;
mod rate;
mod reach;
mod retrial;
mod risk;
mod seat;
mod settings;
mod shadow;
mod strata;
#[cfg(test)]
mod tests;
mod warmup;
mod words;

pub use batch::{Batch, DataState, Exposure, MetricBatch, Said};
pub use learn::{Learned, learn};
pub use metric::scope;
pub use panel::Judge;
pub use retrial::{Bench, FailedAt, Retrial};
pub use settings::{GaugeNoise, Metric, Settings};
pub use strata::{STRATA_MAX, Stratum};

use crate::deployment::State;

/// What is in force now, as far as the journal knows. What comes while the next stage is waited for, or shifted to, belongs
/// to the one before.
pub fn exposure(state: &State) -> Exposure {
    Exposure { share: state.share, stage: state.stage_in_force() }
}
