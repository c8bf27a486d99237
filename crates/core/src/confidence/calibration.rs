//! Whether the predictions came true.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use super::{
    beta,
    label::Label,
    number::{Millionths, Points},
    posterior::fixed,
    prediction::Prediction,
    refit::FAILURES_MIN,
    score::Score,
};

/// Bins of the reliability diagram, of equal width.
const BINS: u16 = 10;
/// Ends of the interval that a bin's true share lies in nine times of ten.
const INTERVAL: (f64, f64) = (0.05, 0.95);

/// How predictions compare with what came true. Everything in millionths unless said otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calibration {
    /// Predictions looked at.
    pub predictions: u64,
    /// Of those, without a label: they count nowhere below.
    pub unlabelled: u64,
    /// Labelled good.
    pub good: u64,
    /// Labelled bad.
    pub bad: u64,
    /// Brier score, the mean of `(predicted − came true)²`: 0 is perfect; nothing without labels.
    pub brier: Option<Millionths>,
    /// `1 − Brier / Brier of always saying the base rate`: above 0 is better than that; nothing when all labels agree.
    pub skill: Option<Millionths>,
    /// Probability that a bad release was given the higher probability than a good one, ties half; nothing when all
    /// labels agree.
    pub auc: Option<Millionths>,
    /// The reliability diagram, ten bins.
    pub reliability: Vec<ReliabilityBin>,
    /// What promoting at 80 would have cost.
    pub costs: CostTable,
    /// What it all amounts to.
    pub standing: Standing,
}

/// One bin of the reliability diagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// Its lower end, inclusive.
    pub from: Points,
    /// Its upper end, exclusive but for the last.
    pub to: Points,
    /// Predictions in it.
    pub count: u64,
    /// Of those, bad.
    pub bad: u64,
    /// Mean predicted probability; nothing in an empty bin.
    pub predicted: Option<Points>,
    /// The true share lies between these nine times of ten (Beta interval with Jeffreys' prior).
    pub interval: (Points, Points),
}

/// What promoting at 80 and holding below would have cost, over labelled predictions with a final score.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CostTable {
    /// Good, and 80 or more.
    pub good_promoted: u64,
    /// Good, but below 80: people were asked, or time was lost, for nothing.
    pub good_held: u64,
    /// Bad, but 80 or more.
    pub bad_promoted: u64,
    /// Bad, and below 80.
    pub bad_held: u64,
}

/// What the comparison amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Standing {
    /// Too few failures are confirmed to say anything.
    Uncalibrated {
        /// Confirmed failures.
        failures: u64,
        /// How many are needed.
        needed: u64,
    },
    /// At least as good as always saying the base rate.
    Calibrated,
    /// Worse than always saying the base rate: raise an alarm, refit.
    WorseThanBaseRate,
}

/// Compares predictions with their labels.
pub fn calibrate(records: &[(Prediction, Label)]) -> Calibration {
    let known: Vec<(&Prediction, bool)> =
        records.iter().filter_map(|(prediction, label)| Some((prediction, label.bad()?))).collect();
    let bad = known.iter().filter(|(_, bad)| *bad).count() as u64;
    let total = known.len() as u64;
    let brier = mean(known.iter().map(|(prediction, bad)| squared(prediction, *bad)));
    let rate = if total == 0 { 0.0 } else { bad as f64 / total as f64 };
    let base = rate * (1.0 - rate);
    let skill = brier.filter(|_| base > 0.0).map(|brier| fixed(1.0 - brier / base));
    Calibration {
        predictions: records.len() as u64,
        unlabelled: records.len() as u64 - total,
        good: total - bad,
        bad,
        brier: brier.map(fixed),
        skill,
        auc: auc(&known),
        reliability: (0..BINS).map(|number| bin(number, &known)).collect(),
        costs: costs(&known),
        standing: standing(bad, skill),
    }
}

fn standing(failures: u64, skill: Option<Millionths>) -> Standing {
    if failures < FAILURES_MIN {
        return Standing::Uncalibrated { failures, needed: FAILURES_MIN };
    }
    match skill {
        Some(Millionths(skill)) if skill < 0 => Standing::WorseThanBaseRate,
        Some(_) | None => Standing::Calibrated,
    }
}

fn squared(prediction: &Prediction, bad: bool) -> f64 {
    let miss = prediction.bad.real() - if bad { 1.0 } else { 0.0 };
    miss * miss
}

fn mean(values: impl Iterator<Item = f64>) -> Option<f64> {
    let (sum, count) = values.fold((0.0, 0_u64), |(sum, count), value| (sum + value, count + 1));
    (count > 0).then(|| sum / count as f64)
}

/// The Mann–Whitney statistic: for every bad release, the good ones that were given less, ties half.
fn auc(known: &[(&Prediction, bool)]) -> Option<Millionths> {
    let mut good: Vec<i64> = known.iter().filter(|(_, bad)| !bad).map(|(told, _)| told.bad.0).collect();
    good.sort_unstable();
    let bad = || known.iter().filter(|(_, bad)| *bad);
    let pairs = bad().count() * good.len();
    if pairs == 0 {
        return None;
    }
    let halves: usize = bad()
        .map(|(told, _)| {
            let less = good.partition_point(|value| *value < told.bad.0);
            let not_more = good.partition_point(|value| *value <= told.bad.0);
            less + not_more
        })
        .sum();
    Some(fixed(halves as f64 / (2 * pairs) as f64))
}

fn bin(number: u16, known: &[(&Prediction, bool)]) -> ReliabilityBin {
    let width = 10_000 / BINS;
    let inside = |told: &Prediction| {
        let place = (told.bad.0.max(0) * i64::from(BINS) / Millionths::ONE.0).min(i64::from(BINS) - 1);
        place == i64::from(number)
    };
    let members = || known.iter().filter(|(told, _)| inside(told));
    let (count, bad) = (members().count() as u64, members().filter(|(_, bad)| *bad).count() as u64);
    let end = |probability| {
        let point = beta::quantile(bad as f64 + 0.5, (count - bad) as f64 + 0.5, probability);
        point.and_then(Points::round)
    };
    ReliabilityBin {
        from: Points::new(number * width),
        to: Points::new((number + 1) * width),
        count,
        bad,
        predicted: mean(members().map(|(told, _)| told.bad.real())).and_then(Points::round),
        interval: (end(INTERVAL.0).unwrap_or(Points::NONE), end(INTERVAL.1).unwrap_or(Points::FULL)),
    }
}

fn costs(known: &[(&Prediction, bool)]) -> CostTable {
    let mut table = CostTable::default();
    for (told, bad) in known {
        let Some(score) = told.final_score else { continue };
        match (bad, score >= Score::PROMOTE) {
            (false, true) => table.good_promoted += 1,
            (false, false) => table.good_held += 1,
            (true, true) => table.bad_promoted += 1,
            (true, false) => table.bad_held += 1,
        }
    }
    table
}
