//! The confidence score: how much speaks for a release, from six weighted factors, each with its own evidence.
//!
//! The weights, the bands and the names are the project's first specification, to the letter. What is added, and why:
//!
//! * Sums are integers. In floating point the specification's own example is 0.7999999999999999 and misses its band.
//! * A factor that is not known is absent: left out of the sum, never counted as 0 or 1, and listed.
//! * A failed gate or a refused safety report is a veto: no sum of other factors can pay for it.
//! * There are two scores. The pre-flight one is worked out before any traffic and decides how to start; the final one
//!   has the canary's factor and decides whether to promote.
//! * A posterior probability stands beside the score, and predictions are kept and compared with what came true. Until
//!   enough failures are confirmed it calls itself uncalibrated.
//!
//! ```text
//! inputs -> Factor (value or absent, evidence, reason, veto) -> Factors -> Preflight, Final -> Report
//!                                                                     \-> Posterior, Prediction -> calibrate
//! ```
//!
//! Real numbers occur only inside one computation; each result is rounded once, to basis points (factors), tenths
//! (scores) or millionths (probabilities, logarithms), and only the rounded number is used further and stored.

mod beta;
mod blast;
mod calibration;
mod canary;
mod complexity;
mod coverage;
mod factor;
mod history;
mod label;
mod number;
mod posterior;
mod prediction;
mod refit;
mod report;
mod safety;
mod score;
#[cfg(test)]
mod tests;

pub use blast::{AtOnce, Exposure, blast_radius, classic_blast_radius};
pub use calibration::{Calibration, CostTable, ReliabilityBin, Standing, calibrate};
pub use canary::{BadGateEvidence, GateEvidence, GateSight, canary_health};
pub use complexity::{ChangeSize, Delicate, DelicateKind, change_complexity, spread};
pub use coverage::patch_coverage;
pub use factor::{Absence, Amount, Fact, Factor, FactorKind, FactorValue, Factors, Unit, Veto, VetoKind};
pub use history::{Outcome, SuccessPrior, historical_success};
pub use label::{Ending, How, LABEL_AFTER, Label, LabelByHand, Trouble, TroubleKind, Unlabelled, label};
pub use number::{Millionths, NotANumber, Points};
pub use posterior::{Posterior, PriorModel, posterior};
pub use prediction::{FactorValues, Prediction};
pub use refit::{FAILURES_MIN, NoFit, refit};
pub use report::{FactorDetail, REPORT_VERSION, Report, ReportSubject, SeedFactors};
pub use safety::{Check, CheckOutcome, Contradiction, Recommendation, SafetyReport, safety_score};
pub use score::{
    BadScore, Decision, Final, Lift, Preflight, Score, Start, Weighed, final_score, lifts, preflight, weigh,
};
