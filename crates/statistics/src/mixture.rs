//! The running bet: one weight per candidate, grown by every batch.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::exact;
use crate::fault::Fault;
use crate::grid::{Candidate, Grid, Spec};
use crate::logspace::{ln_add, ln_sum};

/// Largest magnitude of a stored weight in nats: far beyond any decision, small enough that no sum overflows.
const NATS_MAX: f64 = 1e300;

/// Rows of candidate weights `S_j` over one grid, kept as logarithms; the evidence is the mean over the rows. One row is
/// one process; several rows are the processes of one metric's edges, which may depend on each other in any way: the mean
/// stays valid (Vovk & Wang 2021).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub(crate) struct Mixture {
    grid: Grid,
    #[serde(with = "exact::many")]
    ln_weights: Vec<f64>,
}

#[derive(Deserialize)]
struct Stored {
    grid: Grid,
    #[serde(with = "exact::many")]
    ln_weights: Vec<f64>,
}

impl TryFrom<Stored> for Mixture {
    type Error = Fault;

    fn try_from(stored: Stored) -> Result<Self, Fault> {
        let Stored { grid, ln_weights } = stored;
        if ln_weights.is_empty() || !ln_weights.len().is_multiple_of(grid.candidates().len()) {
            return Err(Fault::Damaged { what: "evidence" });
        }
        Ok(Self { grid, ln_weights })
    }
}

impl Mixture {
    /// `rows` processes that start at zero; at least one.
    pub(crate) fn new(spec: Spec, rows: usize) -> Result<Self, Fault> {
        let grid = Grid::new(spec)?;
        let length = grid.candidates().len().saturating_mul(rows.max(1));
        Ok(Self { grid, ln_weights: alloc::vec![f64::NEG_INFINITY; length] })
    }

    pub(crate) fn null(&self) -> f64 {
        self.grid.null()
    }

    pub(crate) fn rows(&self) -> usize {
        self.ln_weights.len() / self.grid.candidates().len().max(1)
    }

    /// Formula (2) for a single row: adds `mass` to every weight, then multiplies it by the batch's factor.
    pub(crate) fn step(&mut self, mass: f64, ln_factor: impl Fn(&Candidate) -> f64) {
        self.step_rows(mass, |_, candidate| ln_factor(candidate));
    }

    /// Formula (2) for every row.
    pub(crate) fn step_rows(&mut self, mass: f64, ln_factor: impl Fn(usize, &Candidate) -> f64) {
        let ln_mass = if mass > 0.0 { libm::log(mass) } else { f64::NEG_INFINITY };
        let Self { grid, ln_weights } = self;
        for (row, weights) in ln_weights.chunks_exact_mut(grid.candidates().len().max(1)).enumerate() {
            for (weight, candidate) in weights.iter_mut().zip(grid.candidates()) {
                let grown = ln_add(*weight, ln_mass) + ln_factor(row, candidate);
                *weight = if grown == f64::NEG_INFINITY { grown } else { grown.clamp(-NATS_MAX, NATS_MAX) };
            }
        }
    }

    /// Formula (3), averaged over the rows: `ln_left` is the logarithm of the mass not given out yet.
    pub(crate) fn ln_evidence(&self, ln_left: f64) -> f64 {
        let candidates = self.grid.candidates();
        let terms = self
            .ln_weights
            .iter()
            .zip(candidates.iter().cycle())
            .map(|(weight, candidate)| weight + candidate.ln_weight);
        ln_add(ln_sum(terms) - libm::log(self.rows().max(1) as f64), ln_left)
    }

    /// Formula (3) for one row; zero nats for a row that does not exist.
    pub(crate) fn ln_row(&self, row: usize, ln_left: f64) -> f64 {
        let candidates = self.grid.candidates();
        let Some(weights) = self.ln_weights.chunks_exact(candidates.len().max(1)).nth(row) else {
            return 0.0;
        };
        let terms = weights.iter().zip(candidates).map(|(weight, candidate)| weight + candidate.ln_weight);
        ln_add(ln_sum(terms), ln_left)
    }
}
