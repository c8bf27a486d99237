//! Fitting the prior to releases whose outcome is known, once there are enough.

use alloc::vec::Vec;

use super::{
    label::Label,
    posterior::{PriorModel, centred, fixed, logistic},
    prediction::Prediction,
};

/// Confirmed failures without which nothing is fitted.
pub const FAILURES_MIN: u64 = 30;

/// How far a fitted slope strays from the specification's weight before it costs: standard deviation 2 of log-odds.
const SLOPE_PENALTY: f64 = 1.0 / (2.0 * 2.0);
/// The same for the intercept: standard deviation 1.
const INTERCEPT_PENALTY: f64 = 1.0;
/// Rounds over all six numbers; some hundreds are usual.
const ROUNDS_MAX: u32 = 5_000;
/// A round that moves nothing by more than this is the last: a tenth of what is stored.
const SETTLED: f64 = 1e-7;
/// Records looked at; more are cut to the newest by the caller. Bounds the time of a fit to seconds.
const RECORDS_MAX: usize = 5_000;

/// Why nothing was fitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoFit {
    /// Too few confirmed failures.
    #[error("{failures} failures are confirmed; a fit needs {needed}, so the score stays uncalibrated")]
    TooFewFailures {
        /// Confirmed failures.
        failures: u64,
        /// How many are needed.
        needed: u64,
    },
    /// Too many records.
    #[error("{records} labelled releases are too many to fit; give the newest {limit}")]
    TooManyRecords {
        /// Labelled releases given.
        records: usize,
        /// How many are allowed.
        limit: usize,
    },
    /// The numbers do not settle.
    #[error("the fit did not settle in {rounds} rounds; the earlier model stays in force")]
    Unsettled {
        /// Rounds made.
        rounds: u32,
    },
}

/// One release: its five values around the neutral one, and 1 when it was bad.
struct Row {
    values: [f64; 5],
    bad: f64,
}

/// Logistic regression of "bad" on the five factors before traffic, drawn towards `start` (the specification's weights, or
/// the model in force) by a ridge; slopes stay at or below 0, so that the probability of a bad release never rises with a
/// factor. Needs 30 confirmed failures. Give the releases of the last quarters: older ones mislead (`McIntosh` & Kamei
/// 2018).
pub fn refit(records: &[(Prediction, Label)], start: &PriorModel) -> Result<PriorModel, NoFit> {
    let rows: Vec<Row> = records
        .iter()
        .filter_map(|(told, label)| {
            let bad = if label.bad()? { 1.0 } else { 0.0 };
            Some(Row { values: centred(&told.values), bad })
        })
        .collect();
    let failures = rows.iter().filter(|row| row.bad > 0.5).count() as u64;
    if failures < FAILURES_MIN {
        return Err(NoFit::TooFewFailures { failures, needed: FAILURES_MIN });
    }
    if rows.len() > RECORDS_MAX {
        return Err(NoFit::TooManyRecords { records: rows.len(), limit: RECORDS_MAX });
    }
    descend(&rows, start)
}

/// Coordinate descent on a convex function. Each step minimises an upper bound of it (a logistic's curvature is at most a
/// quarter), so that no step can overshoot, and cutting a slope at 0 keeps the step optimal.
fn descend(rows: &[Row], start: &PriorModel) -> Result<PriorModel, NoFit> {
    let (from, towards) = (start.intercept.real(), start.slopes.map(super::Millionths::real));
    let (mut intercept, mut slopes) = (from, towards);
    let mut odds: Vec<f64> = rows.iter().map(|row| intercept + dot(&slopes, &row.values)).collect();
    for _ in 0..ROUNDS_MAX {
        let slope = gradient(rows, &odds, |_| 1.0) + INTERCEPT_PENALTY * (intercept - from);
        let step = -slope / (rows.len() as f64 / 4.0 + INTERCEPT_PENALTY);
        intercept += step;
        for odds in &mut odds {
            *odds += step;
        }
        let mut moved = step.abs();
        for (place, (slope, towards)) in slopes.iter_mut().zip(towards).enumerate() {
            let value = |row: &Row| row.values.get(place).copied().unwrap_or(0.0);
            let curvature: f64 = rows.iter().map(|row| value(row) * value(row) / 4.0).sum();
            let rise = gradient(rows, &odds, value) + SLOPE_PENALTY * (*slope - towards);
            let next = (*slope - rise / (curvature + SLOPE_PENALTY)).min(0.0);
            let step = next - *slope;
            *slope = next;
            for (row, odds) in rows.iter().zip(&mut odds) {
                *odds += step * value(row);
            }
            moved = moved.max(step.abs());
        }
        if moved < SETTLED {
            return Ok(PriorModel {
                intercept: fixed(intercept),
                slopes: slopes.map(fixed),
                calibrated: true,
            });
        }
    }
    Err(NoFit::Unsettled { rounds: ROUNDS_MAX })
}

fn gradient(rows: &[Row], odds: &[f64], value: impl Fn(&Row) -> f64) -> f64 {
    rows.iter().zip(odds).map(|(row, odds)| (logistic(*odds) - row.bad) * value(row)).sum()
}

fn dot(left: &[f64; 5], right: &[f64; 5]) -> f64 {
    left.iter().zip(right).map(|(left, right)| left * right).sum()
}
