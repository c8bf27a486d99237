//! The judge over batches as they come from a service.

extern crate std;

mod copies;
mod said;
mod shares;
mod warmup;

use alloc::{borrow::ToOwned, format, string::String, vec, vec::Vec};

use super::{Batch, Bench, DataState, Exposure, Judge, MetricBatch, Said, Settings, exposure};
use crate::{
    deployment::{Cause, StateName, fold},
    gate::{
        Arm, Conditions, Counters, Gate, Judgement, Look, MetricAnswer, MetricReading, Mirrored, Mode,
        Number, Reading, ReleaseReading, Rule, Verdict, Window, standard_gates,
    },
    model::{Millis, Share, Timestamp},
    view::walker::{Health, Walker},
};

/// A service under a new release: requests per second of all users, and what each side does with them.
#[derive(Clone, Copy)]
struct Service {
    rps: u64,
    /// Of 10,000 requests, failed.
    new_failing: u64,
    stable_failing: u64,
    /// Latency of a tenth of the new release's requests, microseconds; the rest take 20 to 80 ms.
    slow_us: u64,
}

const HEALTHY: Service = Service { rps: 1_000, new_failing: 10, stable_failing: 10, slow_us: 90_000 };

fn gates() -> Vec<Gate> {
    let mut gates = standard_gates();
    gates.push(Gate::new("latency_shift", Rule::LatencyShift { ratio_max_bp: 12_500 }));
    for gate in &mut gates {
        gate.mode = Mode::Sequential;
    }
    gates
}

fn settings() -> Settings {
    Settings { warmup: Millis::ZERO, ..Settings::default() }
}

const SHARES: [u8; 4] = [5, 25, 50, 100];

fn judge(settings: &Settings, gates: &[Gate]) -> Judge {
    Judge::with(settings, gates, &SHARES.map(Share::percent), 2, 240)
}

/// Spreads `total × part / 10,000` over time without luck: what came until second `t` less what came before it.
fn even(total: u64, part: u64, t: u64) -> u64 {
    total * part * (t + 1) / 10_000 - total * part * t / 10_000
}

fn arm(requests: u64, failures: u64, slow_us: u64) -> Arm {
    let tenth = requests / 10;
    let buckets = [(20_000, requests - 4 * tenth), (50_000, 2 * tenth), (80_000, tenth), (slow_us, tenth)];
    Arm {
        length: Millis::secs(1),
        share: Share::NONE,
        requests,
        failures,
        latency_us: buckets.into_iter().filter(|(_, count)| *count > 0).collect(),
    }
}

fn batch(service: Service, number: u64, stage: usize) -> Batch {
    let share = Share::percent(SHARES[stage]);
    let new = service.rps * u64::from(share.basis_points()) / 10_000;
    let stable = service.rps - new;
    Batch {
        number,
        at: Timestamp(i64::try_from(number).unwrap() * 1_000),
        stage: Some(stage),
        new: Arm { share, ..arm(new, even(new, service.new_failing, number), service.slow_us) },
        stable: Some(Arm {
            share: share.rest(),
            ..arm(stable, even(stable, service.stable_failing, number), 90_000)
        }),
        cpu_ppm: Some(400_000),
        memory_ppm: Some(500_000),
        stable_cpu_ppm: Some(400_000),
        wanted: 1,
        ..Batch::default()
    }
}

fn ask(judge: &Judge, gate: &Gate, stage: usize, look: Look) -> Judgement {
    judge.ask(gate, &Window::default(), Some(stage), look)
}

/// The first batch of `stage` after which a gate fails, with its answer.
fn first_failure(
    judge: &mut Judge,
    gates: &[Gate],
    service: Service,
    batches: core::ops::Range<u64>,
) -> Option<(u64, Judgement)> {
    for number in batches {
        judge.take(&batch(service, number, 0));
        let failed =
            gates.iter().map(|gate| ask(judge, gate, 0, Look::Early)).find(|j| j.verdict == Verdict::Fail);
        if let Some(judgement) = failed {
            return Some((number, judgement));
        }
    }
    None
}

#[test]
fn half_of_the_requests_failing_is_found_in_the_first_second() {
    let gates = gates();
    let outage = Service { new_failing: 5_000, ..HEALTHY };
    let (at, failed) = first_failure(&mut judge(&settings(), &gates), &gates, outage, 1..100).unwrap();
    assert_eq!((at, failed.gate.as_str()), (1, "error_rate"));
    assert!(failed.reason.contains("25 of 50 requests failed (50.0 %)"), "{}", failed.reason);
    assert!(failed.reason.contains("1 of 100 is allowed"), "{}", failed.reason);
}

#[test]
fn a_healthy_release_is_never_turned_back_and_passes_every_gate() {
    let gates = gates();
    let mut judge = judge(&settings(), &gates);
    let mut number = 0;
    for stage in 0..4 {
        for _ in 0..60 {
            number += 1;
            judge.take(&batch(HEALTHY, number, stage));
            for gate in &gates {
                assert_ne!(ask(&judge, gate, stage, Look::Early).verdict, Verdict::Fail, "{}", gate.name);
            }
        }
        for gate in &gates {
            let judged = ask(&judge, gate, stage, Look::Final);
            assert_eq!(judged.verdict, Verdict::Pass, "{} in stage {stage}: {}", gate.name, judged.reason);
        }
    }
}

#[test]
fn both_releases_failing_together_turns_nothing_back() {
    let gates = gates();
    let incident = Service { new_failing: 2_000, stable_failing: 2_000, ..HEALTHY };
    assert!(first_failure(&mut judge(&settings(), &gates), &gates, incident, 1..300).is_none());
}

#[test]
fn a_tenth_of_slow_requests_is_found_by_a_latency_gate() {
    let gates = gates();
    let slow = Service { slow_us: 900_000, ..HEALTHY };
    let (at, failed) = first_failure(&mut judge(&settings(), &gates), &gates, slow, 1..100).unwrap();
    assert!(at <= 10, "after {at} s");
    assert!(failed.gate.starts_with("latency"), "{}", failed.gate);
}

#[test]
fn while_warming_up_only_an_outage_turns_back() {
    let gates = gates();
    let cold = Settings { warmup: Millis::secs(30), warmup_requests: u64::MAX, ..Settings::default() };
    let clumsy = Service { new_failing: 500, ..HEALTHY };
    assert!(
        first_failure(&mut judge(&cold, &gates), &gates, clumsy, 1..29).is_none(),
        "5 % fail while caches are cold"
    );
    let outage = Service { new_failing: 5_000, ..HEALTHY };
    let (at, failed) = first_failure(&mut judge(&cold, &gates), &gates, outage, 1..29).unwrap();
    assert!(at <= 2 && failed.reason.contains("warming up"), "{at}: {}", failed.reason);
}

#[test]
fn a_shared_outage_while_warming_up_turns_nothing_back() {
    let gates = gates();
    let cold = Settings { warmup: Millis::secs(30), ..Settings::default() };
    let incident = Service { new_failing: 3_000, stable_failing: 3_000, ..HEALTHY };
    assert!(first_failure(&mut judge(&cold, &gates), &gates, incident, 1..60).is_none());
}

/// What is asked of a release that answers copies before it answers users.
fn shadowed() -> (Gate, Vec<Gate>) {
    let rule = Rule::Shadow {
        status_max: Share::percent(1),
        body_max: Share::percent(1),
        slower_max: Share::percent(5),
    };
    let shadow = Gate::new("shadow", rule);
    let all = core::iter::once(shadow.clone()).chain(gates()).collect();
    (shadow, all)
}

/// A second of copies before the first user is answered, so many of which failed.
fn copies(number: u64, copies: u64, failed: u64) -> Batch {
    let mirror = Mirrored { copies, failed, ..Mirrored::default() };
    Batch {
        number,
        at: Timestamp(i64::try_from(number).unwrap() * 1_000),
        stage: Some(0),
        new: Arm { length: Millis::secs(1), ..Arm::default() },
        mirror: Some(mirror),
        wanted: 1,
        ..batch(HEALTHY, number, 0)
    }
}

fn judge_after_shadow(settings: &Settings, gates: &[Gate]) -> Judge {
    let shares = [0, 5, 25, 50, 100].map(Share::percent);
    Judge::with(settings, gates, &shares, 2, 240)
}

#[test]
fn what_the_guard_of_a_warm_up_finds_is_said_by_a_gate_that_is_asked_then() {
    let (_, gates) = shadowed();
    let cold = Settings { warmup: Millis::secs(30), ..Settings::default() };
    let mut judge = judge_after_shadow(&cold, &gates);
    judge.take(&copies(1, 50, 0));
    let outage = Service { new_failing: 5_000, ..HEALTHY };
    for number in 2..5 {
        judge.take(&Batch { stage: Some(1), ..batch(outage, number, 0) });
    }
    let failed: Vec<&str> = gates[1..]
        .iter()
        .filter(|gate| ask(&judge, gate, 1, Look::Early).verdict == Verdict::Fail)
        .map(|gate| gate.name.as_str())
        .collect();
    assert_eq!(failed, ["error_rate"]);
    assert!(ask(&judge, &gates[1], 1, Look::Early).reason.contains("warming up"));
}

#[test]
fn what_copies_have_shown_counts_against_a_release_once_users_are_answered() {
    let (shadow, gates) = shadowed();
    let mut judge = judge_after_shadow(&settings(), &gates);
    let mut number = 0;
    // Almost enough to turn back.
    while ask(&judge, &shadow, 0, Look::Early).finding.is_none_or(|finding| finding.budget_ppm < 200_000) {
        number += 1;
        judge.take(&copies(number, 10, number % 2));
        assert_ne!(ask(&judge, &shadow, 0, Look::Early).verdict, Verdict::Fail);
    }
    // The last copies are answered when the gate on copies is asked no more.
    judge.take(&copies(number + 1, 100, 20));
    judge.take(&Batch { stage: Some(1), ..batch(HEALTHY, number + 2, 0) });
    let said = ask(&judge, &gates[1], 1, Look::Early);
    assert!(said.verdict == Verdict::Fail && said.reason.contains("copies"), "{}", said.reason);
}

#[test]
fn instances_that_a_stage_brought_are_cold_again() {
    let gates = gates();
    let cold = Settings { warmup: Millis::secs(10), ..Settings::default() };
    let mut judge = judge(&cold, &gates);
    for number in 1..=20 {
        judge.take(&batch(HEALTHY, number, 0));
    }
    let clumsy = Service { new_failing: 500, ..HEALTHY };
    for number in 21..=30 {
        judge.take(&Batch { wanted: 2, ..batch(clumsy, number, 1) });
        assert_ne!(ask(&judge, &gates[0], 1, Look::Early).verdict, Verdict::Fail, "at {number}");
    }
    judge.take(&Batch { wanted: 2, ..batch(clumsy, 31, 1) });
    assert_eq!(ask(&judge, &gates[0], 1, Look::Early).verdict, Verdict::Fail, "warm, and still failing");
}

#[test]
fn silence_is_not_a_pass() {
    let gates = gates();
    let mut judge = judge(&settings(), &gates);
    for number in 1..100 {
        judge.take(&batch(Service { rps: 0, ..HEALTHY }, number, 0));
    }
    for gate in gates.iter().filter(|gate| gate.name != "cpu" && gate.name != "memory") {
        let judged = ask(&judge, gate, 0, Look::Final);
        assert_eq!(judged.verdict, Verdict::NoEvidence, "{}: {}", gate.name, judged.reason);
    }
}

#[test]
fn little_traffic_is_undecided_unless_so_little_is_at_risk() {
    let gates = gates();
    let quiet = Service { rps: 60, ..HEALTHY };
    let taken = |settings: &Settings| {
        let mut judge = judge(settings, &gates);
        for number in 1..=60 {
            judge.take(&batch(quiet, number, 0));
        }
        ask(&judge, &gates[0], 0, Look::Final)
    };
    let strict = taken(&Settings { objective_ppm: 1_000_000, ..settings() });
    assert!(strict.verdict == Verdict::NoEvidence && strict.finding.unwrap().undecided, "{}", strict.reason);
    let usual = taken(&settings());
    assert_eq!(usual.verdict, Verdict::Pass, "{}", usual.reason);
    assert!(usual.reason.contains("going on risks"), "{}", usual.reason);
}

#[test]
fn after_everything_is_shifted_the_release_is_held_against_the_time_before() {
    let gates = gates();
    let mut judge = judge(&settings(), &gates);
    for number in 1..=60 {
        judge.take(&batch(HEALTHY, number, 1));
    }
    let worse = Service { new_failing: 500, ..HEALTHY };
    let found = (61..120).find(|number| {
        judge.take(&batch(worse, *number, 3));
        ask(&judge, &gates[0], 3, Look::Early).verdict == Verdict::Fail
    });
    assert!(found.is_some_and(|at| at <= 64), "{found:?}");
}

#[test]
fn a_batch_that_comes_twice_is_taken_once() {
    let gates = gates();
    let (mut once, mut twice) = (judge(&settings(), &gates), judge(&settings(), &gates));
    for number in 1..50 {
        once.take(&batch(HEALTHY, number, 0));
        twice.take(&batch(HEALTHY, number, 0));
        twice.take(&batch(HEALTHY, number, 0));
    }
    for gate in &gates {
        assert_eq!(ask(&once, gate, 0, Look::Final), ask(&twice, gate, 0, Look::Final));
    }
}

#[test]
fn batches_that_went_through_json_give_the_very_same_answers() {
    let gates = gates();
    let (mut live, mut replayed) = (judge(&settings(), &gates), judge(&settings(), &gates));
    for number in 1..50 {
        let batch = batch(Service { new_failing: 30, ..HEALTHY }, number, 0);
        let stored: String = serde_json::to_string(&batch).unwrap();
        live.take(&batch);
        replayed.take(&serde_json::from_str(&stored).unwrap());
    }
    for gate in &gates {
        assert_eq!(ask(&live, gate, 0, Look::Final), ask(&replayed, gate, 0, Look::Final));
    }
}

#[test]
fn a_gate_that_only_alerts_fails_by_itself_and_spends_none_of_the_budget() {
    let mut gates = gates();
    gates[0].on_failure = crate::gate::OnFailure::Alert;
    let outage = Service { new_failing: 5_000, ..HEALTHY };
    let mut judge = judge(&settings(), &gates);
    judge.take(&batch(outage, 1, 0));
    assert_eq!(ask(&judge, &gates[0], 0, Look::Early).verdict, Verdict::Fail);
    for gate in &gates[1..] {
        assert_ne!(ask(&judge, gate, 0, Look::Early).verdict, Verdict::Fail, "{}", gate.name);
    }
}

#[test]
fn memory_at_its_limit_turns_back_without_statistics() {
    let gates = gates();
    let mut judge = judge(&settings(), &gates);
    for number in 1..=10 {
        judge.take(&Batch { memory_ppm: Some(970_000), ..batch(HEALTHY, number, 0) });
    }
    let memory = gates.iter().find(|gate| gate.name == "memory").unwrap();
    let judged = ask(&judge, memory, 0, Look::Early);
    assert!(judged.verdict == Verdict::Fail && judged.reason.contains("97.0 %"), "{}", judged.reason);
}

#[test]
fn a_release_that_gets_no_requests_fails_the_request_rate() {
    let gates = gates();
    let mut judge = judge(&settings(), &gates);
    for number in 1..=20 {
        let mut starved = batch(HEALTHY, number, 0);
        starved.new = Arm { share: starved.new.share, length: Millis::secs(1), ..Arm::default() };
        starved.state = DataState::NoTraffic;
        judge.take(&starved);
    }
    let rate = gates.iter().find(|gate| gate.name == "request_rate").unwrap();
    assert_eq!(ask(&judge, rate, 0, Look::Early).verdict, Verdict::Fail);
}

#[test]
fn reasons_are_sentences_with_the_numbers_that_were_seen() {
    let gates = gates();
    let mut judge = judge(&settings(), &gates);
    for number in 1..=60 {
        judge.take(&batch(HEALTHY, number, 0));
    }
    let said: Vec<String> = gates
        .iter()
        .map(|gate| format!("{}: {}", gate.name, ask(&judge, gate, 0, Look::Final).reason))
        .collect();
    let expected = vec!["error_rate: 3 of 3,000 requests failed (0.10 %), stable 57 of 57,000 (0.10 %)"];
    for (said, expected) in said.iter().zip(expected) {
        assert!(said.starts_with(expected), "{said}");
    }
    for one in &said {
        std::println!("{one}");
    }
}

#[test]
fn while_an_approval_is_waited_for_what_comes_belongs_to_the_stage_in_force() {
    let mut walker = Walker::with_approval();
    walker.run_to(StateName::AwaitingApproval);
    let (_, state) = fold(&walker.history).unwrap();
    let seen = exposure(&state);
    assert_eq!((state.stage(), seen.share, seen.stage), (Some(1), Share::percent(5), Some(0)));
    walker.health = Health::Failing;
    walker.run_to(StateName::RolledBack);
    let (_, state) = fold(&walker.history).unwrap();
    assert!(
        matches!(&state.cause, Some(Cause::GateFailed { stage, .. }) if stage == "canary 5 %"),
        "{:?}",
        state.cause
    );
}

#[test]
fn while_a_share_is_shifted_what_comes_belongs_to_the_share_before() {
    let mut walker = Walker::canary();
    walker.run_to(StateName::CanaryWaiting).run_to(StateName::Canary);
    let (_, state) = fold(&walker.history).unwrap();
    let seen = exposure(&state);
    assert_eq!((state.stage(), seen.share, seen.stage), (Some(1), Share::percent(5), Some(0)));
    walker.run_to(StateName::CanaryWaiting);
    assert_eq!(exposure(&fold(&walker.history).unwrap().1).stage, Some(1));
}

/// The stable release has all traffic in stage 0, the new one from then.
fn switched(settings: &Settings, service: Service, before: u64, after: u64) -> Option<Judgement> {
    let gates = gates();
    let mut judge = Judge::with(settings, &gates, &[Share::NONE, Share::ALL], 2, 240);
    for number in 1..=before {
        judge.take(&Batch { mirror: None, ..copies(number, 0, 0) });
    }
    (before + 1..=before + after).find_map(|number| {
        judge.take(&Batch { stage: Some(1), ..batch(service, number, 3) });
        let asked = gates.iter().map(|gate| ask(&judge, gate, 1, Look::Early));
        asked.into_iter().find(|judged| judged.verdict == Verdict::Fail)
    })
}

#[test]
fn what_stable_did_before_the_switch_is_what_a_release_that_was_switched_to_is_held_against() {
    let worse = Service { new_failing: 500, ..HEALTHY };
    let failed = switched(&settings(), worse, 60, 5).unwrap();
    assert_eq!(failed.gate, "error_rate");
    assert_eq!(switched(&settings(), HEALTHY, 60, 60), None);
}

#[test]
fn a_metric_that_is_bad_before_a_gate_on_it_is_asked_turns_nothing_back() {
    let rule = Rule::Metric(Conditions {
        success: Some("result < 5".into()),
        failure: None,
        failures_max: 0,
        unit: "number".into(),
    });
    let gate = Gate { metric: Some("m".into()), ..Gate::new("g", rule) };
    let mut judge = Judge::with(&settings(), [&gate], &[Share::NONE, Share::ALL], 2, 240);
    let says = |value| {
        let said = Said::Values { new: vec![Number(value)], stable: Vec::new() };
        vec![MetricBatch { metric: "m".into(), said }]
    };
    judge.take(&Batch { metrics: says(9.0), ..copies(1, 0, 0) });
    judge.take(&Batch { stage: Some(1), metrics: says(1.0), ..batch(HEALTHY, 2, 3) });
    assert_eq!(ask(&judge, &gate, 1, Look::Final).verdict, Verdict::Pass);
}

#[test]
fn what_spoke_for_a_release_before_everything_was_shifted_does_not_pass_it_afterwards() {
    let gates = gates();
    let mut judge = judge(&settings(), &gates);
    for number in 1..=200 {
        judge.take(&batch(HEALTHY, number, 2));
    }
    assert_eq!(ask(&judge, &gates[0], 2, Look::Final).verdict, Verdict::Pass);
    // 4 % fail: every second speaks against it, and it is not enough yet.
    judge.take(&Batch { new: Arm { share: Share::ALL, ..arm(60, 4, 90_000) }, ..batch(HEALTHY, 201, 3) });
    let said = ask(&judge, &gates[0], 3, Look::Final);
    assert!(said.verdict == Verdict::NoEvidence && said.finding.unwrap().undecided, "{}", said.reason);
}

#[test]
fn where_most_requests_fail_whatever_the_release_one_that_is_no_worse_stays() {
    let gates = gates();
    let sick = Service { new_failing: 6_000, stable_failing: 6_000, ..HEALTHY };
    let mut judge = judge(&settings(), &gates);
    for number in 1..=120 {
        let stage = if number <= 60 { 2 } else { 3 };
        judge.take(&batch(sick, number, stage));
        assert_ne!(ask(&judge, &gates[0], stage, Look::Early).verdict, Verdict::Fail, "at {number}");
    }
}

#[test]
fn a_raise_that_comes_with_cold_instances_is_looked_at_as_any_raise() {
    let gates = gates();
    let found = |wanted: u32| {
        let mut judge = judge(&Settings { warmup: Millis::secs(5), ..Settings::default() }, &gates);
        for number in 1..=200 {
            judge.take(&batch(HEALTHY, number, 1));
        }
        let worse = Service { new_failing: 25, ..HEALTHY };
        (201..600).find(|number| {
            judge.take(&Batch { wanted, ..batch(worse, *number, 2) });
            ask(&judge, &gates[0], 2, Look::Early).verdict == Verdict::Fail
        })
    };
    let (warm, cold) = (found(1).unwrap(), found(2).unwrap());
    assert!(cold <= warm + 7, "found at {warm} warm, at {cold} after 5 s cold");
}

#[test]
fn instances_are_cold_from_when_they_are_ready_however_long_their_start_took() {
    let gates = gates();
    let cold = Settings { warmup: Millis::secs(10), ..Settings::default() };
    let mut judge = judge(&cold, &gates);
    for number in 1..=20 {
        judge.take(&batch(HEALTHY, number, 0));
    }
    // Nothing is measured while instances start: one batch ends when they are ready.
    let mut started = batch(HEALTHY, 21, 0);
    started.new.length = Millis::secs(60);
    judge.take(&Batch { wanted: 2, ..started });
    let clumsy = Service { new_failing: 500, ..HEALTHY };
    for number in 22..=31 {
        judge.take(&Batch { wanted: 2, ..batch(clumsy, number, 1) });
        assert_ne!(ask(&judge, &gates[0], 1, Look::Early).verdict, Verdict::Fail, "at {number}");
    }
    judge.take(&Batch { wanted: 2, ..batch(clumsy, 32, 1) });
    assert_eq!(ask(&judge, &gates[0], 1, Look::Early).verdict, Verdict::Fail);
}

#[test]
fn one_doubtful_window_does_not_hold_a_release_that_has_all_traffic() {
    let gates = gates();
    let rate = gates.iter().find(|gate| gate.name == "request_rate").unwrap();
    let mut judge = judge(&settings(), &gates);
    let mut starved = batch(HEALTHY, 1, 2);
    starved.new.requests = 100;
    judge.take(&starved);
    assert_eq!(ask(&judge, rate, 2, Look::Final).verdict, Verdict::NoEvidence);
    judge.take(&batch(HEALTHY, 2, 3));
    assert_eq!(ask(&judge, rate, 3, Look::Final).verdict, Verdict::Pass);
}

#[test]
fn counts_that_may_not_be_used_are_no_traffic() {
    let gates = gates();
    let mut judge = judge(&settings(), &gates);
    for number in 1..=60 {
        judge.take(&batch(HEALTHY, number, 1));
    }
    judge.take(&Batch { state: DataState::Stale, ..batch(HEALTHY, 61, 2) });
    let said = ask(&judge, &gates[0], 2, Look::Final);
    assert!(said.verdict == Verdict::NoEvidence && said.finding.is_none(), "{}", said.reason);
}

#[test]
fn signs_of_slowness_that_do_not_suffice_to_turn_back_do_not_pass_either() {
    let gates = gates();
    let shift = gates.iter().find(|gate| gate.name == "latency_shift").unwrap();
    let mut judge = judge(&settings(), &gates);
    for number in 1..=20 {
        judge.take(&batch(HEALTHY, number, 1));
    }
    assert_eq!(ask(&judge, shift, 1, Look::Final).verdict, Verdict::Pass);
    let doubted = (21..60).find_map(|number| {
        let mut some = batch(HEALTHY, number, 1);
        some.new = Arm { share: some.new.share, requests: 10, failures: 0, ..some.new };
        some.new.latency_us = vec![(20_000, 9), (200_000, 1)];
        judge.take(&some);
        let said = ask(&judge, shift, 1, Look::Final);
        (said.verdict != Verdict::Pass).then_some(said)
    });
    let said = doubted.unwrap();
    assert!(said.verdict == Verdict::NoEvidence && said.finding.unwrap().undecided, "{}", said.reason);
}

#[test]
fn a_release_that_was_not_counted_before_is_compared_from_its_second_reading_on() {
    let exposure = Exposure { share: Share::percent(50), stage: Some(0) };
    let release = |requests| ReleaseReading { requests, ..ReleaseReading::default() };
    let reading = |at, new, stable: Option<u64>| Reading {
        at: Timestamp(at),
        new: release(new),
        stable: stable.map(release),
        ..Reading::default()
    };
    let (opened, first, second) =
        (reading(0, 10, None), reading(1_000, 20, Some(1_000_000)), reading(2_000, 30, Some(1_000_010)));
    let begun = Batch::between(&opened, &first, exposure, 1);
    assert_eq!((begun.state, begun.stable), (DataState::OneSided, None));
    let next = Batch::between(&first, &second, exposure, 2);
    assert_eq!((next.state, next.stable.unwrap().requests), (DataState::Live, 10));
    // Counters that began anew have counted nothing but this interval.
    let reborn = Reading { boot: "again".into(), ..reading(1_000, 20, Some(15)) };
    let after = Batch::between(&opened, &reborn, exposure, 1);
    assert_eq!((after.state, after.stable.unwrap().requests), (DataState::Reset, 15));
    let metric = |at, stable: Option<u64>| {
        let counters = |requests| Counters { requests, ..Counters::default() };
        let answer = MetricAnswer::Counters {
            at: Timestamp(at),
            new: counters(u64::try_from(at).unwrap()),
            stable: stable.map(counters),
        };
        Reading { metrics: vec![MetricReading { metric: "m".into(), answer }], ..reading(at, 10, Some(10)) }
    };
    let asked = Batch::between(&metric(1_000, None), &metric(2_000, Some(1_000_000)), exposure, 1);
    assert!(matches!(&asked.metrics[0].said, Said::Counts { stable: None, .. }), "{:?}", asked.metrics);
}

#[test]
fn however_much_instances_differ_the_gate_on_errors_is_asked() {
    let gates = gates();
    for settings in [
        Settings { spread_milli: 5_000, ..settings() },
        Settings { spread_milli: u32::MAX, ..settings() },
        Settings { bad_bp: u32::MAX, ..settings() },
    ] {
        let mut judge = judge(&settings, &gates);
        let outage = Service { new_failing: 9_000, stable_failing: 1, ..HEALTHY };
        let failed = first_failure(&mut judge, &gates[..1], outage, 1..20);
        assert!(failed.is_some(), "{settings:?}: {:?}", ask(&judge, &gates[0], 0, Look::Final));
    }
}

#[test]
fn what_copies_and_metrics_would_have_turned_back_is_found_over_kept_batches_too() {
    let (shadow, gates) = shadowed();
    let bench = Bench {
        settings: settings(),
        gates,
        shares: vec![Share::NONE, Share::percent(5)],
        instances: 1,
        horizon: None,
    };
    let batches: Vec<Batch> = (1..20).map(|number| copies(number, 50, 10)).collect();
    assert_eq!(bench.retry(&batches).failed.map(|failed| failed.gate), Some(shadow.name));
}
