//! The worst that going on can plausibly do: what makes little traffic workable without pretending to know.

use crate::fault::{Fault, check, positive, probability};
use crate::interval::RatioInterval;
use crate::pair::Arm;
use crate::power::{Exposure, Planner, Traffic};

/// Seconds until a person looks, after the last stage.
pub const PERSON_S: f64 = 1800.0;
/// Part of a month's error budget that one step may put at risk when nothing else is said.
pub const BUDGET_PART: f64 = 0.001;
const MONTH_S: f64 = 30.0 * 86_400.0;

/// Failed requests beyond the stable release's own that the next stage may plausibly cost (section 2.7): the largest, over
/// all plausible ratios, of the excess share times the requests until it would be found, at most until the end of the
/// stage.
///
/// `interval` and `alpha` say what is plausible, `stable` is all that the stable release did so far, `next.seconds()` is
/// the longest that the stage may last ([`PERSON_S`] for the last one), the planner's `alpha` decides when the test acts.
///
/// `None` when the stable release served nothing: then nothing is known. When it had no failures, half a failure is
/// assumed, because nought times anything would allow everything.
pub fn worst_damage(
    interval: &RatioInterval,
    alpha: f64,
    stable: Arm,
    requests_per_s: f64,
    next: Exposure,
    planner: &Planner,
) -> Result<Option<f64>, Fault> {
    let (requests, failed) = (stable.requests() as f64, stable.failures() as f64);
    if requests == 0.0 {
        return Ok(None);
    }
    let share = if failed > 0.0 { failed / requests } else { 0.5 / (requests + 1.0) };
    let traffic = Traffic::new(requests_per_s, share.min(1.0 - f64::EPSILON))?;
    let nats = -libm::log(probability("the false-rollback budget", planner.alpha)?);
    let damage = |ratio: f64| {
        let found = nats / planner.information_per_s(traffic, next.share(), ratio);
        let excess = traffic.failed_per_s(next.share(), ratio) - traffic.failed_per_s(next.share(), 1.0);
        excess * found.min(next.seconds())
    };
    Ok(Some(interval.plausible(alpha)?.map(damage).fold(0.0, f64::max)))
}

/// Requests that may fail in 30 days at this rate: `requests_per_s` times the part that the objective leaves. `objective`:
/// the share that must succeed, such as 0.999.
pub fn monthly_error_budget(requests_per_s: f64, objective: f64) -> Result<f64, Fault> {
    check("the objective", objective, "between 0 and 1", (0.0..=1.0).contains(&objective))?;
    Ok(positive("the request rate", requests_per_s)? * MONTH_S * (1.0 - objective))
}
