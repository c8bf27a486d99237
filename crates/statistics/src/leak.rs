//! Does something grow without end? Theil–Sen slopes, for memory.

use alloc::vec::Vec;

use crate::fault::{Fault, check};

/// Most points used; more are thinned evenly, because the work grows with their square.
const POINTS_MAX: usize = 200;
/// Fewest points that give a slope.
pub const POINTS_MIN: usize = 8;

/// Median of the slopes of all pairs of points `(age, value)`; a fifth of them may be outliers (Theil 1950, Sen 1968).
/// Units: value over age.
///
/// Fails with fewer than 8 points of different age, and on numbers that are not finite.
pub fn slope(points: &[(f64, f64)]) -> Result<f64, Fault> {
    let step = points.len().div_ceil(POINTS_MAX).max(1);
    let used: Vec<(f64, f64)> = points.iter().copied().step_by(step).collect();
    for (age, value) in &used {
        check("the age of a point", *age, "finite", age.is_finite())?;
        check("the value of a point", *value, "finite", value.is_finite())?;
    }
    let pairs = used.iter().enumerate().flat_map(|(at, a)| used.iter().skip(at + 1).map(move |b| (a, b)));
    let mut slopes: Vec<f64> = pairs
        .filter(|(a, b)| (b.0 - a.0).abs() > 0.0)
        .map(|(a, b)| (b.1 - a.1) / (b.0 - a.0))
        .filter(|s| s.is_finite())
        .collect();
    if used.len() < POINTS_MIN || slopes.is_empty() {
        return Err(Fault::TooFew {
            what: "points of different age",
            have: used.len().min(slopes.len()) as u64,
            need: POINTS_MIN as u64,
        });
    }
    slopes.sort_by(f64::total_cmp);
    let middle = slopes.len() / 2;
    let upper = slopes.get(middle).copied().unwrap_or(0.0);
    let lower = slopes.get(middle.saturating_sub(1)).copied().unwrap_or(upper);
    Ok(if slopes.len().is_multiple_of(2) { f64::midpoint(lower, upper) } else { upper })
}

/// How long until `value` has grown to `limit`, when it grows as the new release grows beyond what the stable one did at
/// the same age. Same unit as the ages; 0 when already there; `None` when it does not grow beyond the stable release.
pub fn time_to_limit(new_slope: f64, stable_slope: f64, value: f64, limit: f64) -> Option<f64> {
    if value >= limit {
        return Some(0.0);
    }
    let beyond = new_slope - stable_slope;
    (beyond > 0.0 && new_slope > 0.0).then(|| (limit - value) / new_slope).filter(|time| time.is_finite())
}
