//! What can be seen at this traffic, in what time, at what price: formula (5) and Wald's bound.

use crate::budget::Budget;
use crate::fault::{Fault, check, positive, probability};

/// How much longer the shipped test takes than the bound, on average (measured 1.6 to 1.9, up to 2.6 where everything
/// happens within two batches).
pub const SHIPPED_SLOWDOWN: f64 = 1.6;
/// Largest ratio that a planner looks for.
const RATIO_MAX: f64 = 1000.0;
/// Halvings of an interval of ratios; the answer is then exact to 1e-12.
const HALVINGS: u32 = 60;

/// The traffic of a whole service.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Traffic {
    requests_per_s: f64,
    failed_share: f64,
}

impl Traffic {
    /// `requests_per_s`: both releases together, more than 0. `failed_share`: of the stable release, more than 0 and less
    /// than 1.
    pub fn new(requests_per_s: f64, failed_share: f64) -> Result<Self, Fault> {
        Ok(Self {
            requests_per_s: positive("the request rate", requests_per_s)?,
            failed_share: probability("the failed share", failed_share)?,
        })
    }

    /// Requests per second of both releases together.
    pub fn requests_per_s(self) -> f64 {
        self.requests_per_s
    }

    /// Failed share of the stable release.
    pub fn failed_share(self) -> f64 {
        self.failed_share
    }

    /// Failed requests of the new release per second at `share` of the traffic and `ratio` times the failures.
    pub fn failed_per_s(self, share: f64, ratio: f64) -> f64 {
        self.requests_per_s * share * (self.failed_share * ratio).min(1.0)
    }

    /// Formula (5): nats per second, on average, by which a release that fails `truth` times as often as the stable one can
    /// be told from one that fails `null` times as often, at `share` of the traffic. 0 when they are the same.
    ///
    /// It equals the smallest Kullback–Leibler divergence to any healthy explanation, so no test learns faster.
    pub fn information_per_s(self, share: f64, truth: f64, null: f64) -> f64 {
        let truth = truth.min(1.0 / self.failed_share);
        let pooled = |ratio: f64| share * ratio + 1.0 - share;
        let own = if truth > 0.0 { share * truth * libm::log(truth / null) } else { 0.0 };
        let both = pooled(truth) * libm::log(pooled(truth) / pooled(null));
        (self.requests_per_s * self.failed_share * (own - both)).max(0.0)
    }
}

impl Traffic {
    /// What formula (5) becomes when failures are not rare: nats per second that no test can exceed, the smallest
    /// divergence of Bernoulli requests from any pair of shares `(null · q, q)`. The bounds of the reference's tables 3.3
    /// and 3.5 use it; formula (5) is what the shipped test gathers, up to a tenth less.
    pub fn information_limit_per_s(self, share: f64, truth: f64, null: f64) -> f64 {
        let (new, stable) = ((self.failed_share * truth).min(1.0), self.failed_share);
        let of = |q: f64| share * divergence(new, null * q) + (1.0 - share) * divergence(stable, q);
        let ends = (stable.min(new / null), stable.max(new / null).min(1.0 / null).min(1.0));
        let (mut low, mut high) = ends;
        for _ in 0..2 * HALVINGS {
            let third = (high - low) / 3.0;
            if of(low + third) < of(high - third) { high -= third } else { low += third }
        }
        self.requests_per_s * of(f64::midpoint(low, high)).max(0.0)
    }
}

/// Kullback–Leibler divergence of one request that fails with probability `truth` from one with `null`, in nats.
fn divergence(truth: f64, null: f64) -> f64 {
    let part = |truth: f64, null: f64| if truth > 0.0 { truth * libm::log(truth / null) } else { 0.0 };
    part(truth, null) + part(1.0 - truth, 1.0 - null)
}

/// One stage: a share of the traffic for some time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Exposure {
    share: f64,
    seconds: f64,
}

impl Exposure {
    /// `share`: more than 0, at most 1. `seconds`: more than 0.
    pub fn new(share: f64, seconds: f64) -> Result<Self, Fault> {
        check("the share", share, "more than 0 and at most 1", share > 0.0 && share <= 1.0)?;
        Ok(Self { share, seconds: positive("the length of a stage in seconds", seconds)? })
    }

    /// Share of the traffic.
    pub fn share(self) -> f64 {
        self.share
    }

    /// Length in seconds.
    pub fn seconds(self) -> f64 {
        self.seconds
    }
}

/// Says before a rollout what its error gate will be able to see.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Planner {
    /// Tolerated ratio `ρ0`.
    pub tolerated: f64,
    /// Probability of turning back a healthy release.
    pub alpha: f64,
    /// Probability of missing, or of passing, a bad release.
    pub beta: f64,
    /// Time over the bound's time; 1 for the bound itself.
    pub slowdown: f64,
}

impl Planner {
    /// The bound that no test can beat: tolerated 1.1, 1 % false alarms, 5 % misses.
    pub const BOUND: Self = Self { tolerated: 1.1, alpha: Budget::ALPHA, beta: 0.05, slowdown: 1.0 };
}

impl Default for Planner {
    /// The shipped test, which takes 1.6 times as long as the bound.
    fn default() -> Self {
        Self { slowdown: SHIPPED_SLOWDOWN, ..Self::BOUND }
    }
}

/// When a regression will be found, on average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Detection {
    /// Seconds from the beginning of the rollout.
    pub seconds: f64,
    /// Requests that the new release fails until then.
    pub failed_requests: f64,
    /// Position of the stage in which it happens, from 0.
    pub stage: usize,
}

impl Planner {
    /// Average nats that a decision takes (Wald 1947).
    pub fn nats(&self) -> f64 {
        wald_nats(self.alpha, self.beta)
    }

    /// When a release that fails `ratio` times as often is found on this schedule; `None` when not before its end.
    pub fn detection(&self, traffic: Traffic, ratio: f64, schedule: &[Exposure]) -> Option<Detection> {
        let (mut missing, mut seconds, mut failed_requests) = (self.nats() * self.slowdown, 0.0, 0.0);
        for (stage, exposure) in schedule.iter().enumerate() {
            let rate = self.information_per_s(traffic, exposure.share, ratio);
            let within = (missing / rate).min(exposure.seconds);
            seconds += within;
            failed_requests += within * traffic.failed_per_s(exposure.share, ratio);
            if missing <= rate * exposure.seconds {
                return Some(Detection { seconds, failed_requests, stage });
            }
            missing -= rate * exposure.seconds;
        }
        None
    }

    /// Smallest ratio that is found before the end of the schedule, on average; `None` when not even a thousandfold one
    /// (or one where everything fails) is.
    pub fn smallest_ratio(&self, traffic: Traffic, schedule: &[Exposure]) -> Option<f64> {
        let (mut low, mut high) = (self.tolerated, RATIO_MAX.min(1.0 / traffic.failed_share));
        if low >= high || self.detection(traffic, high, schedule).is_none() {
            return None;
        }
        for _ in 0..HALVINGS {
            let middle = libm::sqrt(low * high);
            if self.detection(traffic, middle, schedule).is_some() { high = middle } else { low = middle }
        }
        Some(high)
    }

    /// Seconds at `share` of the traffic until a release that is as good as the stable one is proven not to be `bad` times
    /// as bad, on average; infinite when it never is. The measured medians are 2 to 11 % shorter.
    pub fn seconds_to_rule_out(&self, traffic: Traffic, share: f64, bad: f64) -> f64 {
        wald_nats(self.beta, self.beta) / traffic.information_per_s(share, 1.0, bad)
    }

    /// Formula (5) against the tolerated ratio; 0 at and below it.
    pub(crate) fn information_per_s(&self, traffic: Traffic, share: f64, ratio: f64) -> f64 {
        if ratio > self.tolerated { traffic.information_per_s(share, ratio, self.tolerated) } else { 0.0 }
    }
}

/// Requests that any test needs, on average, to tell a share of `truth` from one of `limit` (section 2.3); infinite when they
/// are the same.
///
/// ```
/// // At 10 % slow requests, "P95 < 500 ms" cannot be refuted with fewer than about 202 requests.
/// let needed = tidegate_statistics::requests_to_decide(0.10, 0.05, 0.01, 0.05)?;
/// assert!((needed - 202.0).abs() < 0.5);
/// # Ok::<(), tidegate_statistics::Fault>(())
/// ```
pub fn requests_to_decide(truth: f64, limit: f64, alpha: f64, beta: f64) -> Result<f64, Fault> {
    let (truth, limit) = (probability("the share", truth)?, probability("the limit", limit)?);
    Ok(wald_nats(alpha, beta) / divergence(truth, limit))
}

/// `(1−β) ln((1−β)/α) + β ln(β/(1−α))`: average nats that any test needs whose false alarms are at most `alpha` and whose
/// misses are at most `beta` (Wald 1945). `ln(1/α)` for a `beta` of 0.
pub fn wald_nats(alpha: f64, beta: f64) -> f64 {
    let missed = if beta > 0.0 { beta * libm::log(beta / (1.0 - alpha)) } else { 0.0 };
    (1.0 - beta) * libm::log((1.0 - beta) / alpha) + missed
}
