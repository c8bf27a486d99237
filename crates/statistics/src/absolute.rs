//! Is a share of requests above or below a fixed limit? Quantile limits, ceilings, and the guard during warm-up.

use serde::{Deserialize, Serialize};

use crate::dispersion::Dispersion;
use crate::exact;
use crate::fault::Fault;
use crate::grid::Spec;
use crate::mixture::Mixture;
use crate::onset::{Onset, OnsetPrior};
use crate::pair::Arm;

/// Failed share that a warming-up instance may have.
pub const WARM_UP_LIMIT: f64 = 0.1;

/// Evidence, both ways, about one arm's share against a limit `q0` (section 2.3 of the reference).
///
/// `P95 < 500 ms` is the question whether fewer than 5 % of requests are slower than 500 ms. The failing side bets on
/// shares above the limit and is exact for any share at most `q0`; the passing side bets on shares below it and is exact
/// for any share at least `q0`.
///
/// ```
/// use tidegate_statistics::{AbsoluteTest, Arm, Dispersion, OnsetPrior};
/// let mut p95 = AbsoluteTest::new(0.05, Dispersion::NONE, OnsetPrior::AT_START)?;
/// p95.observe(Arm::new(60, 30)?);
/// assert!(p95.ln_fail() > 4.6 && p95.ln_pass() < 0.0);
/// # Ok::<(), tidegate_statistics::Fault>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AbsoluteTest {
    above: Mixture,
    below: Mixture,
    dispersion: Dispersion,
    onset: Onset,
    started: bool,
    #[serde(with = "exact::one")]
    ln_fail_max: f64,
}

/// Hits counted at the edges on both sides of a limit that is not itself an edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bracket {
    /// Slower than the next edge above the limit: surely slower than the limit. Used to fail.
    pub above: Arm,
    /// Slower than the next edge below the limit: includes all that are slower than the limit. Used to pass.
    pub below: Arm,
    /// Whether both sides count the same, so that nothing is lost.
    pub exact: bool,
}

impl AbsoluteTest {
    /// `limit`: the share `q0`, more than 0 and less than 1.
    pub fn new(limit: f64, dispersion: Dispersion, onset: OnsetPrior) -> Result<Self, Fault> {
        Ok(Self {
            above: Mixture::new(Spec::ShareAbove(limit), 1)?,
            below: Mixture::new(Spec::ShareBelow(limit), 1)?,
            dispersion,
            onset: Onset::new(onset)?,
            started: false,
            ln_fail_max: 0.0,
        })
    }

    /// The guard of an instance that is warming up: fails beyond 10 % failures.
    pub fn warm_up(dispersion: Dispersion) -> Result<Self, Fault> {
        Self::new(WARM_UP_LIMIT, dispersion, OnsetPrior::AT_START)
    }

    /// The next batch is the first with more traffic.
    pub fn raise_traffic(&mut self) {
        self.onset.raise();
    }

    /// Takes one batch that was counted at the limit itself.
    pub fn observe(&mut self, arm: Arm) {
        self.observe_bracket(Bracket { above: arm, below: arm, exact: true });
    }

    /// Takes one batch that was counted at the edges around the limit; nothing is interpolated.
    pub fn observe_bracket(&mut self, bracket: Bracket) {
        let (mass, dispersion) = (self.onset.next_mass(), self.dispersion);
        let first = if self.started { 0.0 } else { 1.0 };
        self.above.step(mass, |candidate| dispersion.temper(candidate.of_arm(bracket.above)));
        self.below.step(first, |candidate| dispersion.temper(candidate.of_arm(bracket.below)));
        self.started = true;
        self.ln_fail_max = self.ln_fail_max.max(self.ln_fail());
    }

    /// Evidence in nats that the share is above the limit, now.
    pub fn ln_fail(&self) -> f64 {
        self.above.ln_evidence(self.onset.ln_left())
    }

    /// Largest evidence so far that the share is above the limit, in nats.
    pub fn ln_fail_max(&self) -> f64 {
        self.ln_fail_max
    }

    /// Evidence in nats that the share is below the limit, now.
    pub fn ln_pass(&self) -> f64 {
        if self.started { self.below.ln_evidence(f64::NEG_INFINITY) } else { 0.0 }
    }

    /// The limit.
    pub fn limit(&self) -> f64 {
        self.above.null()
    }
}
