//! One false-rollback budget for all gates of a rollout.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::exact;
use crate::fault::{Fault, probability};
use crate::logspace::ln_sum;

/// What a gate looks at; decides its part of the budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// Failed share against the stable release.
    ErrorRatio,
    /// Whole latency distribution against the stable release.
    Latency,
    /// 95th percentile against a limit.
    P95,
    /// 99th percentile against a limit.
    P99,
    /// Processor use.
    Cpu,
    /// Memory use.
    Memory,
    /// Requests against the share of the traffic.
    RequestRate,
    /// Failures while warming up.
    WarmUp,
    /// A metric of the user's own.
    Custom,
}

impl Measure {
    /// Part of the budget before normalising: .40 .20 .08 .08 and .06 for every other.
    pub const fn weight(self) -> f64 {
        match self {
            Self::ErrorRatio => 0.40,
            Self::Latency => 0.20,
            Self::P95 | Self::P99 => 0.08,
            Self::Cpu | Self::Memory | Self::RequestRate | Self::WarmUp | Self::Custom => 0.06,
        }
    }
}

/// Probability of turning back a healthy release, for the whole rollout, shared by its gates.
///
/// Merging is the weighted mean of the gates' evidence: valid however the gates depend on each other, never worse than
/// giving each gate a fixed part, and the only admissible way (Vovk & Wang 2021; Wang, arXiv 2409.19888). The list of gates
/// must be fixed before the rollout; a gate that has no data stays in the list with evidence of zero nats.
///
/// ```
/// use tidegate_statistics::{Budget, Measure};
/// let budget = Budget::of_measures(0.01, &[Measure::ErrorRatio, Measure::Latency])?;
/// let merged = budget.merge(&[6.0, -1.0]);
/// assert_eq!((merged.largest, merged.exceeded), (Some(0), true));
/// # Ok::<(), tidegate_statistics::Fault>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    #[serde(with = "exact::one")]
    alpha: f64,
    #[serde(with = "exact::many")]
    weights: Vec<f64>,
}

/// All gates' evidence together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Merged {
    /// Nats; 0 without gates.
    pub ln_evidence: f64,
    /// Position of the gate that contributes most; `None` without gates.
    pub largest: Option<usize>,
    /// Its part of the whole, 0 to 1.
    pub largest_part: f64,
    /// Whether the evidence has reached `1/α`: turn back.
    pub exceeded: bool,
}

impl Budget {
    /// Most healthy releases turned back, `α`, when nothing else is said: 1 in 100.
    pub const ALPHA: f64 = 0.01;

    /// `alpha`: more than 0, less than 1. `weights`: one for each gate, more than 0; they are normalised.
    pub fn new(alpha: f64, weights: &[f64]) -> Result<Self, Fault> {
        let total: f64 = weights.iter().sum();
        for weight in weights {
            crate::fault::positive("a gate's weight", *weight)?;
        }
        let weights = weights.iter().map(|weight| weight / total).collect();
        Ok(Self { alpha: probability("the false-rollback budget", alpha)?, weights })
    }

    /// With the usual weights of the measures.
    pub fn of_measures(alpha: f64, measures: &[Measure]) -> Result<Self, Fault> {
        let weights: Vec<f64> = measures.iter().map(|measure| measure.weight()).collect();
        Self::new(alpha, &weights)
    }

    /// The budget `α`.
    pub fn alpha(&self) -> f64 {
        self.alpha
    }

    /// Nats at which to turn back, `ln(1/α)`.
    pub fn ln_threshold(&self) -> f64 {
        -libm::log(self.alpha)
    }

    /// Nats that gate number `gate` needs when no other gate has any evidence; `None` when there is no such gate.
    pub fn ln_threshold_alone(&self, gate: usize) -> Option<f64> {
        self.weights.get(gate).map(|weight| self.ln_threshold() - libm::log(*weight))
    }

    /// `ln_evidence`: nats of each gate, in the order of the weights; gates missing at the end count as zero nats, gates
    /// beyond the list are ignored, not-a-number counts as zero nats.
    pub fn merge(&self, ln_evidence: &[f64]) -> Merged {
        let of_gate =
            |gate: usize| ln_evidence.get(gate).copied().filter(|nats| !nats.is_nan()).unwrap_or(0.0);
        let parts = self.weights.iter().enumerate().map(|(gate, weight)| libm::log(*weight) + of_gate(gate));
        let Some((largest, most)) = parts.clone().enumerate().max_by(|a, b| a.1.total_cmp(&b.1)) else {
            return Merged { ln_evidence: 0.0, largest: None, largest_part: 0.0, exceeded: false };
        };
        let sum = ln_sum(parts);
        Merged {
            ln_evidence: sum,
            largest: Some(largest),
            largest_part: if sum.is_finite() { libm::exp(most - sum) } else { 1.0 },
            exceeded: sum >= self.ln_threshold(),
        }
    }
}

/// "A healthy release looks this bad in fewer than one of … rollouts": what evidence in nats means in words. 1 or more;
/// give it the largest evidence so far.
pub fn one_in(ln_evidence: f64) -> f64 {
    libm::exp(ln_evidence.max(0.0))
}
