//! Is the new release slower, anywhere in the distribution?

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::dispersion::Dispersion;
use crate::exact;
use crate::fault::{Fault, check};
use crate::grid::Spec;
use crate::histogram::{Histogram, Layout, native_edge};
use crate::mixture::Mixture;
use crate::onset::{Onset, OnsetPrior};
use crate::pair::Pair;

/// Share of the stable release's requests beyond an edge for the edge to be used.
const EXCEEDANCE: core::ops::RangeInclusive<f64> = 0.002..=0.6;
/// Most edges watched: more say nothing new, and the state stays below 8 KiB.
pub const EDGES_MAX: usize = 14;

/// How much slower is tolerated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Margin {
    /// Up to this many times as many requests beyond every edge, more than 0 and less than 430. Any histogram.
    Count(f64),
    /// This many buckets of a native histogram slower at every quantile: one step at schema 3 is 9 %. Exact, but only
    /// between native histograms.
    Steps(u8),
}

impl Default for Margin {
    fn default() -> Self {
        Self::Count(1.25)
    }
}

/// Evidence that the new release is slower than the stable one.
///
/// "Slower than an edge" is one more way to fail: at each edge runs the ratio test of formulas (1) to (3), and the mean of
/// their evidence counts. *Healthy* means: at every edge, in every batch, at most the tolerated number of times as many
/// slow requests. Sharp in the tail: 2 % of requests being late shows after some hundred requests.
///
/// ```
/// use tidegate_statistics::{Dispersion, Histogram, LatencyTest, Layout, Margin, OnsetPrior};
/// let hour = Histogram::new(Layout::Listed, vec![(0.1, 9_000), (0.5, 900), (1.0, 90), (f64::INFINITY, 10)])?;
/// let mut test = LatencyTest::choose(&hour, None, Margin::default(), Dispersion::NONE, OnsetPrior::AT_START)?;
/// let slow = Histogram::new(Layout::Listed, vec![(0.1, 50), (0.5, 30), (1.0, 15), (f64::INFINITY, 5)])?;
/// assert_eq!(test.observe(&slow, &hour), 2);
/// assert!(test.ln_evidence() > 4.6);
/// # Ok::<(), tidegate_statistics::Fault>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Stored")]
pub struct LatencyTest {
    #[serde(with = "exact::many")]
    new_edges: Vec<f64>,
    #[serde(with = "exact::many")]
    stable_edges: Vec<f64>,
    processes: Mixture,
    dispersion: Dispersion,
    onset: Onset,
    #[serde(with = "exact::one")]
    ln_max: f64,
}

#[derive(Deserialize)]
struct Stored {
    #[serde(with = "exact::many")]
    new_edges: Vec<f64>,
    #[serde(with = "exact::many")]
    stable_edges: Vec<f64>,
    processes: Mixture,
    dispersion: Dispersion,
    onset: Onset,
    #[serde(with = "exact::one")]
    ln_max: f64,
}

impl TryFrom<Stored> for LatencyTest {
    type Error = Fault;

    fn try_from(stored: Stored) -> Result<Self, Fault> {
        let Stored { new_edges, stable_edges, processes, dispersion, onset, ln_max } = stored;
        if new_edges.len() != processes.rows() || stable_edges.len() != processes.rows() {
            return Err(Fault::Damaged { what: "edges" });
        }
        Ok(Self { new_edges, stable_edges, processes, dispersion, onset, ln_max })
    }
}

impl LatencyTest {
    /// Chooses the edges from what the stable release did before the rollout: those beyond which 0.2 % to 60 % of its
    /// requests lie, at most 14, and of those only what the new release counts too, when a histogram of it is at hand.
    ///
    /// Fails when no edge is left, and on a margin in steps for histograms that are not native.
    pub fn choose(
        stable: &Histogram,
        new: Option<&Histogram>,
        margin: Margin,
        dispersion: Dispersion,
        onset: OnsetPrior,
    ) -> Result<Self, Fault> {
        let (tolerated, factor) = match margin {
            Margin::Count(tolerated) => (tolerated, 1.0),
            Margin::Steps(steps) => (1.0, slower_by(stable.layout(), steps)?),
        };
        let usable = |edge: &f64| {
            let share = stable.slower_than(*edge).and_then(crate::Arm::rate);
            let known = new.is_none_or(|new| new.slower_than(edge * factor).is_some());
            known && share.is_some_and(|share| EXCEEDANCE.contains(&share))
        };
        let stable_edges = thinned(stable.edges().filter(usable).collect());
        if stable_edges.is_empty() {
            let what = "common bucket edges with 0.2 % to 60 % of the stable requests beyond them";
            return Err(Fault::TooFew { what, have: 0, need: 1 });
        }
        Ok(Self {
            new_edges: stable_edges.iter().map(|edge| edge * factor).collect(),
            processes: Mixture::new(Spec::RatioAbove(tolerated), stable_edges.len())?,
            stable_edges,
            dispersion,
            onset: Onset::new(onset)?,
            ln_max: 0.0,
        })
    }

    /// The next batch is the first with more traffic on the new release.
    pub fn raise_traffic(&mut self) {
        self.onset.raise();
    }

    /// Takes one batch and says at how many of its edges both releases could be compared. An edge that one of them lacks
    /// neither speaks for nor against; when none is common the answer is 0 and nothing has been learned.
    pub fn observe(&mut self, new: &Histogram, stable: &Histogram) -> usize {
        if new.total() == 0 && stable.total() == 0 {
            return 0;
        }
        let compared: Vec<Option<Pair>> = (self.new_edges.iter().zip(&self.stable_edges))
            .map(|(ours, theirs)| Some(Pair::new(new.slower_than(*ours)?, stable.slower_than(*theirs)?)))
            .collect();
        let (mass, null, dispersion) = (self.onset.next_mass(), self.processes.null(), self.dispersion);
        self.processes.step_rows(mass, |row, candidate| {
            let pair = compared.get(row).copied().flatten();
            pair.map_or(0.0, |pair| dispersion.temper(candidate.of_pair(pair, null)))
        });
        self.ln_max = self.ln_max.max(self.ln_evidence());
        compared.iter().flatten().count()
    }

    /// Evidence in nats that the new release is slower, now; 0 before the first batch.
    pub fn ln_evidence(&self) -> f64 {
        self.processes.ln_evidence(self.onset.ln_left())
    }

    /// Largest evidence so far, in nats.
    pub fn ln_evidence_max(&self) -> f64 {
        self.ln_max
    }

    /// The watched edges of the stable release with the evidence at each in nats, rising by edge.
    pub fn by_edge(&self) -> impl Iterator<Item = (f64, f64)> {
        let left = self.onset.ln_left();
        self.stable_edges.iter().enumerate().map(move |(row, edge)| (*edge, self.processes.ln_row(row, left)))
    }

    /// The edge at which the evidence is largest.
    pub fn worst_edge(&self) -> Option<f64> {
        self.by_edge().max_by(|a, b| a.1.total_cmp(&b.1)).map(|(edge, _)| edge)
    }
}

/// How much slower `steps` buckets of a native histogram are.
fn slower_by(layout: Layout, steps: u8) -> Result<f64, Fault> {
    match layout {
        Layout::Exponential { schema } => Ok(native_edge(schema, i32::from(steps))),
        Layout::Listed | Layout::Shared { .. } => {
            check("the margin in steps", f64::from(steps), "used with native histograms only", false)
        }
    }
}

/// At most [`EDGES_MAX`] of the edges, evenly, first and last included.
fn thinned(edges: Vec<f64>) -> Vec<f64> {
    if edges.len() <= EDGES_MAX {
        return edges;
    }
    let last = edges.len() - 1;
    (0..EDGES_MAX)
        .filter_map(|at| edges.get((at * last + EDGES_MAX / 2) / (EDGES_MAX - 1)))
        .copied()
        .collect()
}
