//! Copies of users' requests that a mesh sends: only the release's own metrics see the answers.

use super::*;
use crate::{
    gate::{OnInconclusive, OnNoEvidence},
    plan::{Plan, Request, Shadow, StrategySpec, compile},
    view::walker::request,
};

/// A plan with a shadow phase in which gates ask a metric, and one whose condition means something else without users.
fn shadowed(warmup: Millis) -> Plan {
    let asks = |gate: Gate| Gate { metric: Some("app".into()), mode: Mode::Sequential, ..gate };
    let conditions = Conditions {
        success: Some("result > 10".into()),
        failure: None,
        failures_max: 0,
        unit: "number".into(),
    };
    let gates = vec![
        asks(Gate::new("error_rate", Rule::ErrorRate { ratio_max_bp: 11_000, floor: Share::NONE })),
        asks(Gate::new("latency_p99", Rule::Latency { quantile_bp: 9_900, limit: Millis(500) })),
        asks(Gate::new("request_rate", Rule::RequestRate { min: Share::percent(50), marked: false })),
        asks(Gate::new("orders", Rule::Metric(conditions))),
    ];
    let shadow = Some(Shadow::new(Share::percent(50), Millis::secs(30)));
    let plain = request(StrategySpec::standard_canary());
    compile(Request { gates, shadow, judge: Settings { warmup, ..settings() }, ..plain }).unwrap()
}

/// A second in which a mesh sent copies; the proxy, which there is none of, counted nothing.
fn mirrored(number: u64, failures: u64, slow: u64) -> Batch {
    let timed = |requests, slow| vec![(90_000, requests - slow), (500_000, 0), (2_000_000, slow)];
    let [new, stable] = [(100, failures, slow), (200, 0, 0)].map(|(requests, failures, slow)| Arm {
        latency_us: timed(requests, slow),
        ..arm(requests, failures, 90_000)
    });
    let stable = Some(Arm { share: Share::ALL, ..stable });
    let said = Said::Counts { new: new.clone(), stable, strata: Vec::new() };
    Batch {
        number,
        at: Timestamp(i64::try_from(number).unwrap() * 1_000),
        stage: Some(0),
        new: Arm { length: Millis::secs(1), ..Arm::default() },
        stable: Some(Arm { length: Millis::secs(1), share: Share::ALL, ..Arm::default() }),
        wanted: 1,
        metrics: vec![MetricBatch { metric: "app".into(), said }],
        ..Batch::default()
    }
}

fn verdicts(judge: &Judge, plan: &Plan) -> Vec<(String, Verdict)> {
    let asked = plan.stages[0].gates.iter().filter(|gate| gate.asks_batches());
    asked.map(|gate| (gate.name.clone(), ask(judge, gate, 0, Look::Final).verdict)).collect()
}

#[test]
fn gates_on_a_metric_that_counts_requests_are_asked_of_copies_and_hold_nobody_up() {
    let plan = shadowed(Millis::ZERO);
    let of =
        |stage: usize| plan.stages[stage].gates.iter().map(|gate| gate.name.as_str()).collect::<Vec<_>>();
    assert_eq!(of(0), ["instances", "shadow", "error_rate", "latency_p99"]);
    assert_eq!(of(1), ["instances", "error_rate", "latency_p99", "request_rate", "orders"]);
    for gate in &plan.stages[0].gates[1..] {
        assert_eq!(gate.on_no_evidence, OnNoEvidence::Continue, "{}", gate.name);
        assert_eq!(gate.on_inconclusive, OnInconclusive::Promote, "{}", gate.name);
    }
}

#[test]
fn copies_that_fail_or_are_slow_turn_a_release_back_before_the_first_user() {
    for (failures, slow, gate) in [(50, 0, "error_rate"), (0, 20, "latency_p99")] {
        let plan = shadowed(Millis::ZERO);
        let mut judge = Judge::of(&plan);
        for number in 1..=20 {
            judge.take(&mirrored(number, failures, slow));
        }
        let failed: Vec<_> =
            verdicts(&judge, &plan).into_iter().filter(|(_, said)| *said == Verdict::Fail).collect();
        assert_eq!(failed, [(gate.to_owned(), Verdict::Fail)]);
    }
    let plan = shadowed(Millis::ZERO);
    let mut judge = Judge::of(&plan);
    for number in 1..=60 {
        judge.take(&mirrored(number, 0, 0));
    }
    let said = verdicts(&judge, &plan);
    assert!(said.contains(&("latency_p99".to_owned(), Verdict::Pass)), "{said:?}");
    assert!(said.contains(&("shadow".to_owned(), Verdict::NoEvidence)), "nobody compares: {said:?}");
}

#[test]
fn caches_that_copies_meet_cold_are_given_their_time() {
    let plan = shadowed(Millis::secs(10));
    let mut judge = Judge::of(&plan);
    for number in 1..=10 {
        judge.take(&mirrored(number, 50, 0));
        assert!(verdicts(&judge, &plan).iter().all(|(_, said)| *said != Verdict::Fail), "at {number}");
    }
    for number in 11..=20 {
        judge.take(&mirrored(number, 50, 0));
    }
    assert!(verdicts(&judge, &plan).contains(&("error_rate".to_owned(), Verdict::Fail)));
}
