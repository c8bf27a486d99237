//! The judge over batches as they come from a service.

extern crate std;

use alloc::{format, string::String, vec, vec::Vec};

use super::{Batch, DataState, Judge, Settings};
use crate::{
    gate::{Arm, Gate, Judgement, Look, Mode, Rule, Verdict, Window, standard_gates},
    model::{Millis, Share, Timestamp},
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
        state: DataState::Live,
        new: Arm { share, ..arm(new, even(new, service.new_failing, number), service.slow_us) },
        stable: Some(Arm {
            share: share.rest(),
            ..arm(stable, even(stable, service.stable_failing, number), 90_000)
        }),
        cpu_ppm: Some(400_000),
        memory_ppm: Some(500_000),
        stable_cpu_ppm: Some(400_000),
        wanted: 1,
        ends: 0,
        mirror: None,
        metrics: Vec::new(),
    }
}

fn window() -> Window {
    Window {
        new: Arm::default(),
        baseline: None,
        cpu_ppm: None,
        memory_ppm: None,
        instances: Vec::new(),
        wanted: 1,
    }
}

fn ask(judge: &Judge, gate: &Gate, stage: usize, look: Look) -> Judgement {
    judge.ask(gate, &window(), Some(stage), look)
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
