//! One batch of data: what both releases did over the same interval.

use serde::{Deserialize, Serialize};

use crate::fault::Fault;

/// Requests of one release over one interval, and how many of them failed (or were slower than an edge, or anything else
/// that a request either is or is not).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Counted")]
pub struct Arm {
    requests: u64,
    failures: u64,
}

impl Arm {
    /// Nothing seen.
    pub const EMPTY: Self = Self { requests: 0, failures: 0 };

    /// Fails when there are more failures than requests.
    pub const fn new(requests: u64, failures: u64) -> Result<Self, Fault> {
        if failures > requests {
            return Err(Fault::FailuresExceedRequests { failures, requests });
        }
        Ok(Self { requests, failures })
    }

    /// All requests, failed ones included.
    pub const fn requests(self) -> u64 {
        self.requests
    }

    /// Requests that failed; at most [`requests`](Self::requests).
    pub const fn failures(self) -> u64 {
        self.failures
    }

    /// Failed share in `0.0..=1.0`; `None` without requests, because nothing is known then.
    pub fn rate(self) -> Option<f64> {
        (self.requests > 0).then(|| self.failures as f64 / self.requests as f64)
    }

    /// Both arms' counts together; saturates at `u64::MAX` requests.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self {
            requests: self.requests.saturating_add(other.requests),
            failures: self.failures.saturating_add(other.failures),
        }
    }

    /// `(requests, failures)` as floating-point numbers; counts beyond 2^53 are rounded.
    pub(crate) fn parts(self) -> (f64, f64) {
        (self.requests as f64, self.failures as f64)
    }
}

#[derive(Deserialize)]
struct Counted {
    requests: u64,
    failures: u64,
}

impl TryFrom<Counted> for Arm {
    type Error = Fault;

    fn try_from(counted: Counted) -> Result<Self, Fault> {
        Self::new(counted.requests, counted.failures)
    }
}

/// Both releases over the same interval. Counts of different intervals in one pair void every guarantee of this crate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pair {
    /// The release being rolled out.
    pub new: Arm,
    /// The stable release.
    pub stable: Arm,
}

impl Pair {
    /// Both releases over the same interval.
    pub const fn new(new: Arm, stable: Arm) -> Self {
        Self { new, stable }
    }

    /// From four counts: requests of both, then failures of both; fails when one has more failures than requests.
    ///
    /// ```
    /// use tidegate_statistics::Pair;
    /// let pair = Pair::of_counts(60, 1140, 3, 1)?;
    /// assert_eq!(pair.new.rate(), Some(0.05));
    /// # Ok::<(), tidegate_statistics::Fault>(())
    /// ```
    pub const fn of_counts(
        new_requests: u64,
        stable_requests: u64,
        new_failures: u64,
        stable_failures: u64,
    ) -> Result<Self, Fault> {
        match (Arm::new(new_requests, new_failures), Arm::new(stable_requests, stable_failures)) {
            (Ok(new), Ok(stable)) => Ok(Self { new, stable }),
            (Err(fault), _) | (_, Err(fault)) => Err(fault),
        }
    }

    /// Both batches together; saturates.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        Self { new: self.new.plus(other.new), stable: self.stable.plus(other.stable) }
    }

    /// Observed ratio of the failed shares; `None` when an arm is empty or the stable release has no failure.
    pub fn ratio(self) -> Option<f64> {
        match (self.new.rate(), self.stable.rate()) {
            (Some(new), Some(stable)) if stable > 0.0 => Some(new / stable),
            _ => None,
        }
    }
}
