//! What `confidence_{id}.json` holds.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use serde::{Deserialize, Serialize};

use super::{
    factor::{Absence, Fact, Factor, FactorKind, FactorValue, Factors, Veto},
    number::Points,
    posterior::Posterior,
    prediction::FactorValues,
    score::{Decision, Final, Lift, Preflight, Score, Start, Weighed, lifts},
};
use crate::model::Timestamp;

/// The format's version: raised when a field changes its meaning or goes away, not when one is added.
pub const REPORT_VERSION: u32 = 1;

/// Whose score it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReportSubject {
    /// The deployment.
    pub deployment_id: String,
    /// The service.
    pub service_name: String,
    /// The release's tag.
    pub image_tag: String,
    /// When it was worked out, milliseconds since the Unix epoch.
    pub at: Timestamp,
}

/// The six values as the specification's own report names and writes them: fractions, null where absent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SeedFactors {
    /// Safety checks.
    pub safety_score: Option<f64>,
    /// Canary health.
    pub canary_health: Option<f64>,
    /// Blast radius.
    pub blast_radius: Option<f64>,
    /// History.
    pub historical_success: Option<f64>,
    /// Change complexity.
    pub change_complexity: Option<f64>,
    /// Test coverage.
    pub test_coverage: Option<f64>,
}

/// One factor in full.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FactorDetail {
    /// Which.
    pub factor: FactorKind,
    /// Its value, basis points; null when absent.
    pub value_basis_points: Option<Points>,
    /// Why it is absent; null when it is not.
    pub absent: Option<Absence>,
    /// Its weight in the sum of all six, basis points.
    pub weight_basis_points: u16,
    /// Its weight in the sum that was made, basis points, to the nearest; null when absent.
    pub weight_in_sum_basis_points: Option<Points>,
    /// What it was worked out from.
    pub evidence: Vec<Fact>,
    /// What it says.
    pub reason: String,
}

/// The whole report. The first four fields are the specification's, the rest is what stands behind them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The final score, or the pre-flight one before the canary; null when no factor is known.
    pub overall_score: Option<Score>,
    /// `auto_promote`, `manual_review` or `rollback`; before the canary `automatic`, `guarded` or `blocked`.
    pub decision: String,
    /// The six values.
    pub factors: SeedFactors,
    /// Everything said in sentences.
    pub reasoning: Vec<String>,
    /// The format's version.
    pub version: u32,
    /// Whose score it is.
    #[serde(flatten)]
    pub subject: ReportSubject,
    /// Every factor with its evidence.
    pub details: Vec<FactorDetail>,
    /// Factors that are left out of the sum.
    pub absent: Vec<FactorKind>,
    /// What capped the decision.
    pub vetoes: Vec<Veto>,
    /// Factors that could lift the score to 80 by themselves; empty when it is there, or when a refusal stands.
    pub lifts: Vec<Lift>,
    /// The score before traffic.
    pub preflight: Preflight,
    /// The score under traffic; null before the canary.
    #[serde(rename = "final")]
    pub last: Option<Final>,
    /// The probability beside the score.
    pub posterior: Option<Posterior>,
}

impl Report {
    /// The report of one release. `last` is the final score once there is one; without it canary health is absent.
    pub fn new(
        subject: ReportSubject,
        factors: &Factors,
        preflight: Preflight,
        last: Option<Final>,
        posterior: Option<Posterior>,
    ) -> Self {
        let (weighed, vetoes) = last
            .as_ref()
            .map_or((&preflight.weighed, &preflight.vetoes), |last| (&last.weighed, &last.vetoes));
        let (decision, said) = last.as_ref().map_or_else(
            || (started(preflight.decision), preflight.decision.to_string()),
            |last| (decided(last.decision), last.decision.to_string()),
        );
        let factors = if last.is_some() { factors.clone() } else { factors.clone().before_canary() };
        Self {
            overall_score: weighed.score,
            decision: decision.to_string(),
            factors: seed_factors(&FactorValues::of(&factors)),
            reasoning: reasoning(&factors, weighed, &said, vetoes),
            version: REPORT_VERSION,
            subject,
            details: factors.iter().map(|factor| detail(factor, weighed.known_weight)).collect(),
            absent: weighed.absent.clone(),
            vetoes: vetoes.clone(),
            lifts: lifts(&factors)
                .into_iter()
                .filter(|lift| last.is_some() || lift.factor != FactorKind::Canary)
                .collect(),
            preflight,
            last,
            posterior,
        }
    }
}

const fn decided(decision: Decision) -> &'static str {
    match decision {
        Decision::AutoPromote => "auto_promote",
        Decision::ManualReview => "manual_review",
        Decision::Rollback => "rollback",
    }
}

const fn started(start: Start) -> &'static str {
    match start {
        Start::Automatic => "automatic",
        Start::Guarded => "guarded",
        Start::Blocked => "blocked",
    }
}

fn seed_factors(values: &FactorValues) -> SeedFactors {
    let fraction = |points: Option<Points>| points.map(Points::fraction);
    SeedFactors {
        safety_score: fraction(values.safety_score),
        canary_health: fraction(values.canary_health),
        blast_radius: fraction(values.blast_radius),
        historical_success: fraction(values.historical_success),
        change_complexity: fraction(values.change_complexity),
        test_coverage: fraction(values.test_coverage),
    }
}

fn detail(factor: &Factor, known_weight: u16) -> FactorDetail {
    let weight = factor.kind.weight();
    let (value, absent) = match factor.value {
        FactorValue::Known(points) => (Some(points), None),
        FactorValue::Absent(why) => (None, Some(why)),
    };
    FactorDetail {
        factor: factor.kind,
        value_basis_points: value,
        absent,
        weight_basis_points: weight,
        weight_in_sum_basis_points: value
            .and_then(|_| Points::ratio(u64::from(weight), u64::from(known_weight))),
        evidence: factor.evidence.clone(),
        reason: factor.reason.clone(),
    }
}

/// The decision first, then what forbids more, then every factor.
fn reasoning(factors: &Factors, weighed: &Weighed, said: &str, vetoes: &[Veto]) -> Vec<String> {
    let known = Points::new(weighed.known_weight);
    let mut lines = alloc::vec![match weighed.score {
        Some(score) => format!("{said}: {score} of 100, from factors that carry {known} of the weight"),
        None => format!("{said}: no factor is known"),
    }];
    lines.extend(vetoes.iter().map(|veto| format!("veto: {}", veto.reason)));
    lines.extend(factors.iter().map(|factor| {
        let words = factor.kind.words();
        match factor.points() {
            Some(points) => format!("{words} {points}: {}", factor.reason),
            None => format!("{words} left out: {}", factor.reason),
        }
    }));
    lines
}
