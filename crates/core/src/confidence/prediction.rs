//! What was predicted, with exactly what was known at that time.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use super::{
    factor::{FactorKind, Factors},
    number::{Millionths, Points},
    score::{Decision, Score},
};
use crate::model::Timestamp;

/// The six values, in basis points; `None` where a factor was absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactorValues {
    /// Safety checks.
    pub safety_score: Option<Points>,
    /// Canary health.
    pub canary_health: Option<Points>,
    /// Blast radius.
    pub blast_radius: Option<Points>,
    /// History.
    pub historical_success: Option<Points>,
    /// Change complexity.
    pub change_complexity: Option<Points>,
    /// Test coverage.
    pub test_coverage: Option<Points>,
}

impl FactorValues {
    /// The values of one release's factors.
    pub fn of(factors: &Factors) -> Self {
        Self {
            safety_score: factors.points(FactorKind::Safety),
            canary_health: factors.points(FactorKind::Canary),
            blast_radius: factors.points(FactorKind::BlastRadius),
            historical_success: factors.points(FactorKind::History),
            change_complexity: factors.points(FactorKind::Complexity),
            test_coverage: factors.points(FactorKind::Coverage),
        }
    }

    /// One of them.
    pub const fn get(&self, kind: FactorKind) -> Option<Points> {
        match kind {
            FactorKind::Safety => self.safety_score,
            FactorKind::Canary => self.canary_health,
            FactorKind::BlastRadius => self.blast_radius,
            FactorKind::History => self.historical_success,
            FactorKind::Complexity => self.change_complexity,
            FactorKind::Coverage => self.test_coverage,
        }
    }
}

/// One stored prediction. It is written when the decision is made and never changed: only so can it be judged.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prediction {
    /// The deployment.
    pub deployment: String,
    /// The service.
    pub service: String,
    /// When it was made.
    pub at: Timestamp,
    /// What was known.
    pub values: FactorValues,
    /// The pre-flight score.
    pub preflight: Option<Score>,
    /// The final score; `None` when the prediction was made before the canary.
    pub final_score: Option<Score>,
    /// What the final score said.
    pub decision: Option<Decision>,
    /// The predicted probability that the release is bad, in millionths: the posterior's.
    pub bad: Millionths,
    /// Whether the model behind it was fitted to this service's own releases.
    pub calibrated: bool,
}
