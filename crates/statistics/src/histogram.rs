//! Latency histograms of one batch, and what may be read from them without interpolating.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::absolute::Bracket;
use crate::fault::{Fault, check};
use crate::pair::Arm;

/// Two edges closer than this, relative to their size, are the same edge written twice.
const SAME: f64 = 1e-9;
/// Coarsest and finest native histogram of Prometheus.
const SCHEMAS: core::ops::RangeInclusive<i8> = -4..=8;

/// Which edges a histogram has besides those of its listed buckets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// None: every bucket is listed, empty ones too (classic `le` buckets).
    Listed,
    /// The edges `2^(i / 2^schema)` for every whole `i`; empty buckets are left out (native exponential buckets).
    Exponential {
        /// −4 to 8; each step doubles the number of edges.
        schema: i8,
    },
    /// Some fixed edges that both releases share because the same code counts for both; empty buckets are left out.
    Shared {
        /// Every bucket is at most one part in `parts` of its lower edge wide; 1 or more.
        parts: u16,
    },
}

/// Requests of one release over one interval by latency. The unit of the edges is the caller's, the same everywhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Histogram {
    layout: Layout,
    buckets: Vec<(f64, u64)>,
    total: u64,
}

impl Histogram {
    /// `buckets`: upper edge (inclusive) and count of each bucket by itself, edges rising, more than 0; the last may be
    /// infinite. Requests beyond the last finite edge belong to the infinite one.
    pub fn new(layout: Layout, buckets: Vec<(f64, u64)>) -> Result<Self, Fault> {
        if let Layout::Exponential { schema } = layout {
            check("the schema", f64::from(schema), "-4 to 8", SCHEMAS.contains(&schema))?;
        }
        let mut below = 0.0;
        for (edge, _) in &buckets {
            check("a bucket's edge", *edge, "more than 0", *edge > 0.0)?;
            if *edge <= below {
                return Err(Fault::NotRising { what: "the edges of the buckets" });
            }
            below = *edge;
        }
        let total = buckets.iter().fold(0, |sum: u64, (_, count)| sum.saturating_add(*count));
        Ok(Self { layout, buckets, total })
    }

    /// From cumulative counts, as classic `le` buckets are scraped: `(edge, requests up to it)`, the last being infinite.
    pub fn from_cumulative(layout: Layout, cumulative: &[(f64, u64)]) -> Result<Self, Fault> {
        let mut below = 0;
        let mut buckets = Vec::with_capacity(cumulative.len());
        for (edge, count) in cumulative {
            let own = count.checked_sub(below).ok_or(Fault::NotRising { what: "the cumulative counts" })?;
            buckets.push((*edge, own));
            below = *count;
        }
        Self::new(layout, buckets)
    }

    /// All requests.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// The finite upper edges of the listed buckets, rising.
    pub fn edges(&self) -> impl Iterator<Item = f64> {
        self.buckets.iter().map(|(edge, _)| *edge).filter(|edge| edge.is_finite())
    }

    /// Requests slower than `edge` among all; `None` when it is not an edge of this histogram.
    pub fn slower_than(&self, edge: f64) -> Option<Arm> {
        self.has_edge(edge).then(|| self.beyond(edge))
    }

    /// The first edge at or above `limit`; `None` when no finite one is.
    pub fn edge_from(&self, limit: f64) -> Option<f64> {
        match self.layout {
            Layout::Exponential { schema } => around(limit, schema).map(|(_, above)| above),
            // Which ones there are is not known here: requests are told apart at the next edge below.
            Layout::Shared { .. } => Some(limit),
            Layout::Listed => self.edges().find(|edge| at_most(limit, *edge)),
        }
    }

    /// The counts on both sides of `limit`; `None` when no finite edge is at or above it, or none at or below it.
    ///
    /// With [`Layout::Exponential`] and [`Layout::Shared`] the edges around the limit follow from the layout, so both
    /// always exist.
    pub fn bracket(&self, limit: f64) -> Option<Bracket> {
        let (below, above) = match self.layout {
            Layout::Exponential { schema } => around(limit, schema)?,
            Layout::Shared { parts } => (limit, limit * (1.0 + 1.0 / f64::from(parts.max(1)))),
            Layout::Listed => {
                let below = self.edges().filter(|edge| at_most(*edge, limit)).last()?;
                (below, self.edges().find(|edge| at_most(limit, *edge))?)
            }
        };
        let (below, above) = (self.beyond(below), self.beyond(above));
        Some(Bracket { above, below, exact: above == below })
    }

    /// Upper edge of the bucket that holds the `quantile` (0 to 1); `None` when empty. Infinite in the last bucket.
    pub fn quantile_edge(&self, quantile: f64) -> Option<f64> {
        let wanted = quantile.clamp(0.0, 1.0) * self.total as f64;
        let mut sum = 0_u64;
        let reached = |(edge, count): &(f64, u64)| {
            sum = sum.saturating_add(*count);
            (*count > 0 && sum as f64 >= wanted).then_some(*edge)
        };
        self.buckets.iter().find_map(reached)
    }

    /// Both histograms together; `None` when their layouts differ. Edges of either are kept, which is right for
    /// [`Layout::Listed`] only when both list the same ones.
    #[must_use]
    pub fn plus(&self, other: &Self) -> Option<Self> {
        if self.layout != other.layout {
            return None;
        }
        let mut buckets: Vec<(f64, u64)> = self.buckets.iter().chain(&other.buckets).copied().collect();
        buckets.sort_by(|a, b| a.0.total_cmp(&b.0));
        buckets.dedup_by(|later, kept| {
            let one = same(later.0, kept.0);
            if one {
                kept.1 = kept.1.saturating_add(later.1);
            }
            one
        });
        Some(Self { layout: self.layout, buckets, total: self.total.saturating_add(other.total) })
    }

    pub(crate) fn layout(&self) -> Layout {
        self.layout
    }

    fn has_edge(&self, edge: f64) -> bool {
        match self.layout {
            Layout::Listed => self.edges().any(|mine| same(mine, edge)),
            Layout::Exponential { schema } => {
                around(edge, schema).is_some_and(|(below, above)| same(below, above))
            }
            Layout::Shared { .. } => true,
        }
    }

    fn beyond(&self, edge: f64) -> Arm {
        let up_to = self.buckets.iter().filter(|(mine, _)| at_most(*mine, edge));
        let fast = up_to.fold(0, |sum: u64, (_, count)| sum.saturating_add(*count));
        Arm::new(self.total, self.total.saturating_sub(fast)).unwrap_or(Arm::EMPTY)
    }
}

/// The edge `2^(index / 2^schema)` of a native histogram.
pub fn native_edge(schema: i8, index: i32) -> f64 {
    libm::exp2(libm::ldexp(f64::from(index), -i32::from(schema)))
}

/// The native edges next to `edge`, twice the same when it is one itself; `None` beyond what a native histogram can hold.
fn around(edge: f64, schema: i8) -> Option<(f64, f64)> {
    if !(edge > 0.0 && edge.is_finite()) {
        return None;
    }
    let index = libm::ldexp(libm::log2(edge), i32::from(schema));
    let at = |index: f64| libm::exp2(libm::ldexp(index, -i32::from(schema)));
    let nearest = at(libm::round(index));
    if same(nearest, edge) {
        Some((nearest, nearest))
    } else {
        Some((at(libm::floor(index)), at(libm::ceil(index))))
    }
}

fn same(a: f64, b: f64) -> bool {
    // The smaller one decides, or everything would equal the infinite edge.
    a.total_cmp(&b).is_eq() || (a - b).abs() <= SAME * a.abs().min(b.abs())
}

fn at_most(a: f64, b: f64) -> bool {
    a <= b || same(a, b)
}
