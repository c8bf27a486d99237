//! Slowness beyond everything that the stable release does, and healthy releases of every speed.

extern crate std;

use alloc::vec::Vec;

use fastrand::Rng;

use super::*;
use crate::{
    gate::{Gate, Look, Mode, Rule, Verdict, Window},
    judge::{Batch, Judge},
    model::{Share, Timestamp},
};

/// Latencies of 1,000 requests: upper edge of the bucket in microseconds, and requests in it.
type Latencies = &'static [(u64, u64)];

fn shift_gate() -> Gate {
    Gate { mode: Mode::Sequential, ..Gate::new("latency_shift", Rule::LatencyShift { ratio_max_bp: 12_500 }) }
}

fn warm() -> Settings {
    Settings { warmup: Millis::ZERO, ..Settings::default() }
}

/// One second of one release, of 1,000 requests with such latencies: evenly, without luck.
fn second(number: u64, requests: u64, latencies: Latencies) -> Vec<(u64, u64)> {
    let until = |number: u64, count: u64| number * requests * count / 1_000;
    latencies.iter().map(|&(edge, count)| (edge, until(number, count) - until(number - 1, count))).collect()
}

fn arm(latency_us: Vec<(u64, u64)>) -> Arm {
    let requests = latency_us.iter().map(|(_, count)| count).sum();
    Arm { length: Millis::secs(1), requests, latency_us, ..Arm::default() }
}

/// The second at which the gate fails a release of this share of 1,000 requests per second, and why.
fn found(stable: Latencies, new: Latencies) -> Option<(u64, String)> {
    found_in(stable, |_| new)
}

/// The same for a release whose latencies are another matter from second to second.
fn found_in(stable: Latencies, new: impl Fn(u64) -> Latencies) -> Option<(u64, String)> {
    let gate = shift_gate();
    let shares = [5, 100].map(Share::percent);
    let mut judge = Judge::with(&warm(), [&gate], &shares, 1, 240);
    (1..=240).find_map(|number| {
        let share = Share::percent(5);
        judge.take(&Batch {
            number,
            at: Timestamp(i64::try_from(number).unwrap() * 1_000),
            stage: Some(0),
            new: Arm { share, ..arm(second(number, 50, new(number))) },
            stable: Some(Arm { share: share.rest(), ..arm(second(number, 950, stable)) }),
            wanted: 1,
            ..Batch::default()
        });
        let said = judge.ask(&gate, &Window::default(), Some(0), Look::Early);
        (said.verdict == Verdict::Fail).then_some((number, said.reason))
    })
}

#[test]
fn a_pause_of_the_new_release_turns_nothing_back() {
    // Once everything that it answers is late for a moment, over the edge of a batch.
    let paused = |number| match number {
        30 => &[(2_000, 700), (250_000, 300)][..],
        31 => &[(2_000, 400), (250_000, 600)][..],
        _ => &[(2_000, 1_000)][..],
    };
    assert_eq!(found_in(&[(2_000, 1_000)], paused), None);
}

#[test]
fn a_release_that_is_slow_where_nothing_was_is_found_within_seconds() {
    let rows: [(&str, Latencies, Latencies, u64); 5] = [
        ("2 ms, then 400 ms", &[(2_000, 1_000)], &[(400_000, 1_000)], 4),
        ("2 ms, then 40 ms", &[(2_000, 1_000)], &[(40_000, 1_000)], 4),
        ("2 ms, then 2 of 100 take 300 ms", &[(2_000, 1_000)], &[(2_000, 980), (300_000, 20)], 8),
        ("100 ms always, then 160 ms", &[(100_000, 1_000)], &[(160_000, 1_000)], 4),
        // As many take longer than 10 ms, and they take far longer.
        (
            "30 of 100 take 12 ms, then 450 ms",
            &[(4_000, 700), (12_000, 300)],
            &[(4_000, 700), (450_000, 300)],
            5,
        ),
    ];
    for (name, stable, new, within) in rows {
        let (at, reason) = found(stable, new).unwrap_or_else(|| panic!("{name}: not found"));
        assert!(at <= within, "{name}: after {at} s");
        assert!(reason.contains("took longer than") && reason.contains("1 of 100 is allowed"), "{reason}");
    }
}

#[test]
fn a_shift_that_nobody_notices_fails_nothing() {
    let rows: [(&str, Latencies, Latencies); 4] = [
        ("2 ms, then 9 ms", &[(2_000, 1_000)], &[(9_000, 1_000)]),
        ("9 ms, then 12 ms", &[(9_000, 1_000)], &[(12_000, 1_000)]),
        ("2 ms, then 2 of 1,000 take 40 ms", &[(2_000, 1_000)], &[(2_000, 998), (40_000, 2)]),
        ("100 ms always, then 110 ms", &[(100_000, 1_000)], &[(110_000, 1_000)]),
    ];
    for (name, stable, new) in rows {
        assert_eq!(found(stable, new), None, "{name}");
    }
}

#[test]
fn healthy_releases_of_every_speed_are_failed_no_more_often_than_the_budget_says() {
    let (mut rng, alpha, rollouts, seconds) = (Rng::with_seed(21), 0.05, 400, 60);
    let gate = shift_gate();
    let settings = Settings { false_rollback_ppm: 50_000, ..warm() };
    let mut failed = 0;
    for rollout in 0..rollouts {
        // Of all requests: beyond 10 ms, beyond 30 ms, beyond 300 ms. Every second rollout sits at what is tolerated.
        let slow = rng.f64() * rng.f64() * 0.02;
        let parts = [slow + rng.f64() * 0.2 * f64::from(rollout % 3), slow, slow * 0.3];
        let margin = if rollout % 2 == 0 { 1.0 } else { 1.25 };
        let mut shift = Shift::new(&settings, 12_500, OnsetPrior::spread(seconds, 1));
        let crossed = (0..seconds).any(|second| {
            let share = if second < 30 { 50 } else { 250 };
            let (new, stable) = (
                by_lot(&mut rng, share, parts.map(|part| part * margin)),
                by_lot(&mut rng, 1_000 - share, parts),
            );
            shift.take(&Interval {
                new: &new,
                stable: Some(&stable),
                layout: crate::judge::seat::NARROW,
                share: Share::percent(5),
                strata: &[],
                raised: second == 30,
                warming: false,
            });
            shift.ln_against() >= -libm::log(alpha)
        });
        failed += u32::from(crossed);
    }
    assert!(gate.mode == Mode::Sequential && failed <= 20 + 13, "{failed} of {rollouts}");
}

/// So many requests, these parts of which take longer than 10, 30 and 300 ms.
fn by_lot(rng: &mut Rng, requests: u64, [noticed, slow, slower]: [f64; 3]) -> Arm {
    let mut counts = [0_u64; 4];
    for _ in 0..requests {
        let lot = rng.f64();
        counts[usize::from(lot < noticed) + usize::from(lot < slow) + usize::from(lot < slower)] += 1;
    }
    let edges = [2_000, 12_288, 40_960, 327_680];
    arm(edges.into_iter().zip(counts).filter(|(_, count)| *count > 0).collect())
}

#[test]
fn buckets_that_are_listed_are_compared_at_the_next_edge_above_what_is_slow() {
    let listed = |slow: u64| {
        let edges = [5_000, 10_000, 50_000, 100_000, u64::MAX];
        arm(edges.into_iter().zip([1_000 - slow, 0, 0, slow, 0]).collect())
    };
    let mut shift = Shift::new(&warm(), 12_500, OnsetPrior::spread(60, 1));
    for slow in [0, 20, 20, 20, 20] {
        let (new, stable) = (listed(slow), listed(0));
        shift.take(&Interval {
            new: &new,
            stable: Some(&stable),
            layout: Layout::Listed,
            share: Share::percent(50),
            strata: &[],
            raised: false,
            warming: false,
        });
    }
    let reason = shift.fault(&warm(), shift.ln_against());
    assert!(reason.starts_with("80 of 4,000 requests took longer than 50.0 ms"), "{reason}");
    assert!(shift.ln_against() > 4.6, "{}", shift.ln_against());
}

#[test]
fn after_one_switch_there_is_nobody_to_compare_with_and_nobody_waits_for_it() {
    for stable in [&[(2_000, 1_000)][..], &[(100_000, 1_000)][..]] {
        let gate = shift_gate();
        let mut judge = Judge::with(&warm(), [&gate], &[Share::ALL], 1, 60);
        for number in 1..=30 {
            let switched = number > 20;
            let (new, old) = if switched { (Share::ALL, Share::NONE) } else { (Share::NONE, Share::ALL) };
            let of = |share: Share| {
                if share.is_all() { arm(second(number, 500, stable)) } else { arm(Vec::new()) }
            };
            judge.take(&Batch {
                number,
                at: Timestamp(i64::try_from(number).unwrap() * 1_000),
                stage: Some(0),
                new: Arm { share: new, ..of(new) },
                stable: Some(Arm { share: old, ..of(old) }),
                wanted: 1,
                ..Batch::default()
            });
        }
        let said = judge.ask(&gate, &Window::default(), Some(0), Look::Final);
        assert_eq!(said.verdict, Verdict::Pass, "{}", said.reason);
    }
}
