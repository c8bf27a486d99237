//! Models of how other tools decide, from their code and documents (section 3.1 of the reference).

use crate::{
    chance::Dice,
    service::{Counts, SHARES, Service, Split},
};

/// How a rollout ended.
#[derive(Clone, Copy)]
pub(super) struct Outcome {
    /// Seconds until it was turned back.
    pub(super) after_s: Option<f64>,
    /// Failed requests of the new release until then, or until its schedule ended.
    pub(super) failed: u64,
}

type Model = fn(&mut Dice, Service) -> Outcome;

/// The models and their names.
pub(super) const MODELS: [(&str, Model); 6] = [
    ("1.1x rule 3x60s", plain_rule),
    ("Flagger 99%", |dice, service| flagger(dice, service, |seen| share(seen.new) <= 0.01)),
    ("Flagger 1.1x", |dice, service| flagger(dice, service, within)),
    ("Argo 95%", |dice, service| argo(dice, service, |seen| share(seen.new) <= 0.05)),
    ("Argo 1.1x", |dice, service| argo(dice, service, within)),
    ("Kayenta-like", kayenta),
];

/// Checks that Flagger lets fail before it turns back; the common setting of its documents.
const FLAGGER_THRESHOLD: u32 = 5;
/// Failed measurements that Argo Rollouts bears; one more ends the rollout.
const ARGO_LIMIT: u32 = 3;
/// Standard normal quantile of a two-sided 98 % confidence interval.
const Z98: f64 = 2.326_347_874;
/// Kayenta calls a metric high when the interval's lower end is above this part of the estimated shift.
const KAYENTA_TOLERANCE: f64 = 0.25;

fn minute(dice: &mut Dice, service: Service, stage: usize) -> Counts {
    let share = f64::from(SHARES.get(stage).copied().unwrap_or(50)) / 100.0;
    service.counts(dice, share, 60.0, Split::Random, 1.0)
}

fn share((requests, failures): (u64, u64)) -> f64 {
    if requests > 0 { failures as f64 / requests as f64 } else { 0.0 }
}

/// Below 1.1 times the stable release, or without failures.
fn within(seen: &Counts) -> bool {
    seen.new.1 == 0 || share(seen.new) < 1.1 * share(seen.stable)
}

/// The plain rule: 60 s in each stage, then that minute is compared once.
fn plain_rule(dice: &mut Dice, service: Service) -> Outcome {
    let mut failed = 0;
    for stage in 0..SHARES.len() {
        let seen = minute(dice, service, stage);
        failed += seen.new.1;
        if !within(&seen) {
            return Outcome { after_s: Some(60.0 * (stage + 1) as f64), failed };
        }
    }
    Outcome { after_s: None, failed }
}

/// One check each minute: passed goes on to the next weight, failed stays; turned back at the fifth failure of all.
fn flagger(dice: &mut Dice, service: Service, passes: fn(&Counts) -> bool) -> Outcome {
    let (mut stage, mut failures, mut minutes, mut failed) = (0, 0, 0.0, 0);
    while stage < SHARES.len() {
        let seen = minute(dice, service, stage);
        minutes += 1.0;
        failed += seen.new.1;
        if passes(&seen) {
            stage += 1;
        } else {
            failures += 1;
        }
        if failures >= FLAGGER_THRESHOLD {
            return Outcome { after_s: Some(60.0 * minutes), failed };
        }
    }
    Outcome { after_s: None, failed }
}

/// Three steps of ten minutes with a check in the background every minute, which ends the rollout at its fourth failure.
fn argo(dice: &mut Dice, service: Service, passes: fn(&Counts) -> bool) -> Outcome {
    let (mut failures, mut failed) = (0, 0);
    for minutes in 0..30_u32 {
        let seen = minute(dice, service, minutes as usize / 10);
        failed += seen.new.1;
        failures += u32::from(!passes(&seen));
        if failures > ARGO_LIMIT {
            return Outcome { after_s: Some(60.0 * f64::from(minutes + 1)), failed };
        }
    }
    Outcome { after_s: None, failed }
}

/// Points of one minute, judged after 10, 20 and 30 of them: Mann and Whitney's test with the Hodges-Lehmann shift.
fn kayenta(dice: &mut Dice, service: Service) -> Outcome {
    let (mut new, mut stable, mut failed) = (Vec::new(), Vec::new(), 0);
    for stage in 0..SHARES.len() {
        for _ in 0..10 {
            let seen = minute(dice, service, stage);
            failed += seen.new.1;
            new.push(share(seen.new));
            stable.push(share(seen.stable));
        }
        if is_high(&new, &stable) {
            return Outcome { after_s: Some(600.0 * (stage + 1) as f64), failed };
        }
    }
    Outcome { after_s: None, failed }
}

/// Whether the 98 % interval of the shift lies above a quarter of its estimate, and the mean is not lower. The interval is
/// taken from the ordered differences at the normal approximation of the test, as R does from 50 points on.
fn is_high(new: &[f64], stable: &[f64]) -> bool {
    let mut shifts: Vec<f64> =
        new.iter().flat_map(|new| stable.iter().map(move |stable| new - stable)).collect();
    shifts.sort_by(f64::total_cmp);
    let (m, n) = (new.len() as f64, stable.len() as f64);
    let reach = m * n / 2.0 - Z98 * (m * n * (m + n + 1.0) / 12.0).sqrt();
    let lowest = usize::try_from(crate::chance::whole(reach.floor())).unwrap_or(0);
    let middle = shifts.len() / 2;
    let at = |place: usize| shifts.get(place).copied().unwrap_or(0.0);
    let estimate = f64::midpoint(at(middle), at(middle.saturating_sub(1)));
    let mean_rises = new.iter().sum::<f64>() / m >= stable.iter().sum::<f64>() / n;
    at(lowest) > KAYENTA_TOLERANCE * estimate.abs() && mean_rises
}
