//! How far an empirical distribution may be from the true one, for plots only.

use crate::fault::{Fault, check, probability};

/// Half-width of a band around the empirical distribution function of `count` requests that holds at every count from
/// `from` on, simultaneously, with probability `1 − alpha` (Howard & Ramdas 2022):
/// `0.85 · √((ln(1 + ln(t/m)) + 0.8 ln(1612/α)) / t)`. At most 1; 1 below `from`.
///
/// Only a picture: such bands are slow on tail regressions, so decisions use [`LatencyTest`](crate::LatencyTest).
///
/// ```
/// let half = tidegate_statistics::band_half_width(1_000, 100, 0.05)?;
/// assert!((half - 0.0828).abs() < 5e-5);
/// # Ok::<(), tidegate_statistics::Fault>(())
/// ```
pub fn band_half_width(count: u64, from: u64, alpha: f64) -> Result<f64, Fault> {
    probability("the error probability", alpha)?;
    check("the first count", from as f64, "1 or more", from > 0)?;
    if count < from {
        return Ok(1.0);
    }
    let t = count as f64;
    let nats = libm::log1p(libm::log(t / from as f64)) + 0.8 * libm::log(1612.0 / alpha);
    Ok((0.85 * libm::sqrt(nats / t)).min(1.0))
}
