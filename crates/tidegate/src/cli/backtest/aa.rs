//! A/A: the stable release against itself, in two ways.
//!
//! *Whole intervals*: of every few intervals one is taken for the new release's, by lot, and the others for the stable
//! one's. Errors that come together stay together; but what changes from one moment to the next, such as latencies on a
//! busy machine, would look like a difference between releases, so only gates on errors are asked that way.
//!
//! *Requests by lot*: every request of every interval is given to one of the two. Both are then compared in the same
//! moments, as in a rollout, and every gate on counts can be asked; but errors that come together are torn apart.
//!
//! All trials are made of the same past, so they are no independent rollouts: the share that is turned back is what this
//! past would have made of the gates, with the luck of the lots.

use serde::Serialize;
use tidegate_core::{
    gate::Arm,
    judge::{Batch, Bench, DataState, Retrial},
    model::{Millis, Share},
};

/// Most intervals of which one is the new release's.
const GROUP_MAX: usize = 20;

/// Fewest batches of an imagined rollout.
const BATCHES_MIN: usize = 20;

/// How the past is split into two releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Split {
    /// By whole intervals.
    Intervals,
    /// By single requests.
    Requests,
}

/// Counts above this are drawn from the normal distribution.
const DRAWN_MAX: u64 = 64;

/// The outcome of many imagined rollouts.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Trials {
    /// Which gates were asked, and with what knowledge.
    pub(crate) asked: String,
    /// Imagined rollouts.
    pub(crate) rollouts: u32,
    /// Of those, turned back: every one is a false alarm.
    pub(crate) false_alarms: u32,
    /// How many may be, parts per million.
    pub(crate) budget_ppm: u32,
    /// Mean length of one.
    pub(crate) length: Millis,
    /// The gate that failed most often.
    pub(crate) worst: Option<String>,
}

/// Many imagined rollouts over the pasts of several deployments; nothing when none is long enough.
pub(super) fn trials(
    split: Split,
    asked: &str,
    bench: &Bench,
    pasts: &[Vec<Batch>],
    trials: u32,
    seed: u64,
) -> Option<Trials> {
    let usable: Vec<Vec<&Batch>> =
        pasts.iter().map(|past| usable(past)).filter(|past| past.len() >= 2 * BATCHES_MIN).collect();
    let mut dice = fastrand::Rng::with_seed(seed);
    let mut retried = Vec::new();
    for trial in 0..trials {
        let past = usable.get(usize::try_from(trial).ok()?.checked_rem(usable.len())?)?;
        let group = group(bench, past.len());
        let batches = match split {
            Split::Intervals => by_intervals(past, group, &mut dice),
            Split::Requests => by_requests(past, group, &mut dice),
        };
        retried.push(bench.retry(&batches));
    }
    (!retried.is_empty()).then(|| told(asked, bench, &retried))
}

/// The outcome of imagined rollouts that were asked.
pub(super) fn told(asked: &str, bench: &Bench, retried: &[Retrial]) -> Trials {
    let failed: Vec<&str> =
        retried.iter().filter_map(|one| one.failed.as_ref().map(|failed| failed.gate.as_str())).collect();
    let length = retried.iter().map(|one| one.length.0).sum::<u64>() / (retried.len() as u64).max(1);
    let count = |gate: &str| failed.iter().filter(|failed| **failed == gate).count();
    Trials {
        asked: asked.to_owned(),
        rollouts: u32::try_from(retried.len()).unwrap_or(u32::MAX),
        false_alarms: u32::try_from(failed.len()).unwrap_or(u32::MAX),
        budget_ppm: bench.settings.false_rollback_ppm,
        length: Millis(length),
        worst: failed.iter().max_by_key(|gate| count(gate)).map(|gate| (*gate).to_owned()),
    }
}

fn usable(past: &[Batch]) -> Vec<&Batch> {
    past.iter()
        .filter(|batch| {
            batch.state == DataState::Live && batch.stable.as_ref().is_some_and(|stable| stable.requests > 0)
        })
        .collect()
}

/// As many intervals as the first stage's share says, while enough groups remain.
fn group(bench: &Bench, batches: usize) -> usize {
    let first = bench.shares.iter().find(|share| **share > Share::NONE && !share.is_all());
    let wanted = first.map_or(GROUP_MAX, |share| usize::from(10_000 / share.basis_points().max(1)));
    wanted.clamp(2, GROUP_MAX).min((batches / BATCHES_MIN).max(2))
}

/// One imagined rollout, of which one of `group` intervals is the new release's.
fn by_intervals(past: &[&Batch], group: usize, dice: &mut fastrand::Rng) -> Vec<Batch> {
    let of = |number: usize, intervals: &[&Batch], chosen: usize| {
        let share = Share::ratio(1, u32::try_from(group).unwrap_or(u32::MAX));
        let (mut new, mut stable) = (Arm::default(), Arm::default());
        for (place, interval) in intervals.iter().enumerate() {
            let Some(arm) = &interval.stable else { continue };
            let sum = if place == chosen { &mut new } else { &mut stable };
            *sum = plus(sum, arm);
        }
        let length = Millis(intervals.iter().map(|interval| interval.new.length.0).sum());
        let last = intervals.last()?;
        Some(Batch {
            number: number as u64 + 1,
            at: last.at,
            stage: Some(0),
            new: Arm { length, share, ..new },
            stable: Some(Arm { length, share: share.rest(), ..stable }),
            cpu_ppm: intervals.get(chosen).and_then(|interval| interval.stable_cpu_ppm),
            wanted: 1,
            ..Batch::default()
        })
    };
    past.chunks_exact(group)
        .enumerate()
        .filter_map(|(number, intervals)| of(number, intervals, dice.usize(0..group)))
        .collect()
}

/// One imagined rollout, of which one of `group` requests is the new release's.
fn by_requests(past: &[&Batch], group: usize, dice: &mut fastrand::Rng) -> Vec<Batch> {
    let share = Share::ratio(1, u32::try_from(group).unwrap_or(u32::MAX));
    let mut batches = Vec::with_capacity(past.len());
    for (number, interval) in past.iter().enumerate() {
        let Some(all) = &interval.stable else { continue };
        let chance = 1.0 / group as f64;
        let failures = drawn(all.failures, chance, dice);
        let requests = failures + drawn(all.requests.saturating_sub(all.failures), chance, dice);
        let (mut new, mut rest) = (Vec::new(), Vec::new());
        for &(edge, count) in &all.latency_us {
            let own = drawn(count, chance, dice);
            new.push((edge, own));
            rest.push((edge, count - own));
        }
        new.retain(|(_, count)| *count > 0);
        rest.retain(|(_, count)| *count > 0);
        let length = interval.new.length;
        batches.push(Batch {
            number: number as u64 + 1,
            stage: Some(0),
            new: Arm { length, share, requests, failures, latency_us: new },
            stable: Some(Arm {
                length,
                share: share.rest(),
                requests: all.requests - requests,
                failures: all.failures - failures,
                latency_us: rest,
            }),
            at: interval.at,
            cpu_ppm: interval.stable_cpu_ppm,
            wanted: 1,
            ..Batch::default()
        });
    }
    batches
}

/// How many of `count` fall to one side.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the count")]
fn drawn(count: u64, chance: f64, dice: &mut fastrand::Rng) -> u64 {
    if count <= DRAWN_MAX {
        return (0..count).filter(|_| dice.f64() < chance).count() as u64;
    }
    // The sum of twelve even numbers is as good as normal here.
    let normal = (0..12).map(|_| dice.f64()).sum::<f64>() - 6.0;
    let mean = count as f64 * chance;
    (mean + normal * (mean * (1.0 - chance)).sqrt()).round().clamp(0.0, count as f64) as u64
}

/// Both arms' counts.
fn plus(sum: &Arm, arm: &Arm) -> Arm {
    let mut latency_us = std::collections::BTreeMap::new();
    for (edge, count) in sum.latency_us.iter().chain(&arm.latency_us) {
        let all: &mut u64 = latency_us.entry(*edge).or_default();
        *all = all.saturating_add(*count);
    }
    Arm {
        length: arm.length,
        share: arm.share,
        requests: sum.requests.saturating_add(arm.requests),
        failures: sum.failures.saturating_add(arm.failures),
        latency_us: latency_us.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::{
        gate::standard_gates,
        judge::{Settings, learn},
        model::Timestamp,
    };

    use super::*;
    use crate::cli::backtest::of_itself;

    /// Half an hour of the stable release, a batch a second, 1 % failing in bursts of this size.
    fn past(size: u64) -> Vec<Batch> {
        let mut dice = fastrand::Rng::with_seed(5);
        let arm = |requests, failures| Arm {
            length: Millis::secs(1),
            share: Share::percent(50),
            requests,
            failures,
            latency_us: vec![(20_000, requests)],
        };
        (0..1_800)
            .map(|second| {
                let bursts = (0..200).filter(|_| dice.f64() < 0.01 / size as f64).count() as u64;
                Batch {
                    number: second + 1,
                    at: Timestamp(i64::try_from(second).unwrap() * 1_000),
                    stage: Some(0),
                    new: arm(200, 100),
                    stable: Some(arm(200, (bursts * size).min(200))),
                    wanted: 1,
                    ..Batch::default()
                }
            })
            .collect()
    }

    fn bench(settings: Settings) -> Bench {
        let bench = Bench {
            settings,
            gates: standard_gates()[..1].to_vec(),
            shares: vec![Share::percent(10)],
            instances: 1,
            horizon: None,
        };
        of_itself(&bench.sequential(), true)
    }

    fn share(bench: &Bench, past: &[Batch]) -> f64 {
        let outcome = trials(Split::Intervals, "", bench, &[past.to_vec()], 100, 1).unwrap();
        f64::from(outcome.false_alarms) / f64::from(outcome.rollouts)
    }

    #[test]
    fn a_service_without_bursts_keeps_the_budget_and_one_with_bursts_does_once_they_are_learned() {
        let plain = bench(Settings::default());
        assert!(share(&plain, &past(1)) <= 0.03, "{}", share(&plain, &past(1)));
        let ignorant = share(&plain, &past(10));
        let learned = bench(Settings::default().with_learned(&learn(None, &past(10))));
        let knowing = share(&learned, &past(10));
        assert!(ignorant > 0.1 && knowing <= 0.04, "{ignorant} {knowing}");
    }

    #[test]
    fn plain_gates_turn_the_stable_release_back_again_and_again() {
        let mut plain = bench(Settings::default());
        for gate in &mut plain.gates {
            gate.mode = tidegate_core::gate::Mode::Threshold;
        }
        let few = &past(1)[..300];
        assert!(share(&plain, few) > 0.1, "{}", share(&plain, few));
    }

    #[test]
    fn a_past_that_is_too_short_says_nothing_and_the_same_seed_says_the_same() {
        let bench = bench(Settings::default());
        assert_eq!(trials(Split::Intervals, "", &bench, &[past(1)[..30].to_vec(), Vec::new()], 10, 1), None);
        let twice = [7, 7].map(|seed| trials(Split::Intervals, "", &bench, &[past(10)], 50, seed));
        assert_eq!(twice[0], twice[1]);
    }

    #[test]
    fn every_request_falls_to_one_side_and_every_gate_can_be_asked_of_the_two() {
        let past = past(1);
        let all: Vec<&Batch> = past.iter().collect();
        let batches = by_requests(&all, 10, &mut fastrand::Rng::with_seed(2));
        let (new, stable) = batches.iter().fold((0, 0), |sum, batch| {
            (sum.0 + batch.new.requests, sum.1 + batch.stable.as_ref().unwrap().requests)
        });
        assert!(new + stable == 360_000 && (35_000..37_000).contains(&new), "{new} {stable}");
        let mut every = bench(Settings::default());
        every.gates = of_itself(&Bench { gates: standard_gates(), ..every.clone() }.sequential(), true).gates;
        let outcome = trials(Split::Requests, "", &every, &[past[..400].to_vec()], 20, 1).unwrap();
        assert!(outcome.rollouts == 20 && outcome.false_alarms <= 1, "{outcome:?}");
    }
}
