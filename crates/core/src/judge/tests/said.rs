//! What the gates say, and what they must not take for an answer.

use alloc::{string::String, vec, vec::Vec};

use super::*;
use crate::{
    plan::{Incident, Request, StrategySpec, compile},
    view::walker::request,
};

/// A metric's counts of both sides at 5 %.
fn counted(number: u64, new: Arm, stable: Arm) -> Batch {
    let new = Arm { share: Share::percent(5), ..new };
    let said = Said::Counts { new, stable: Some(stable), strata: Vec::new() };
    let plain = batch(HEALTHY, number, 0);
    Batch { metrics: vec![MetricBatch { metric: "app".into(), said }], ..plain }
}

#[test]
fn a_goal_that_is_reached_often_enough_is_not_surely_missed() {
    let gate = Gate { metric: Some("app".into()), ..Gate::new("orders", Rule::Goal { ratio_min_bp: 9_500 }) };
    let mut judge = judge(&settings(), core::slice::from_ref(&gate));
    for number in 1..=100 {
        // 0.9548 times as often: a little more than is asked.
        let (new, stable) = (arm(50_000, 2_010, 90_000), arm(950_000, 40_000, 90_000));
        judge.take(&counted(number, new, stable));
        let said = ask(&judge, &gate, 0, Look::Early);
        assert_eq!(said.verdict, Verdict::NoEvidence, "after {number}: {}", said.reason);
    }
    let known = ask(&judge, &gate, 0, Look::Final).finding.unwrap();
    let (low, high) = (known.ratio_low_milli.unwrap(), known.ratio_high_milli.unwrap());
    assert!((940..955).contains(&low) && (955..970).contains(&high), "{known:?}");
}

#[test]
fn a_goal_that_is_reached_as_often_as_before_passes_and_one_that_is_clearly_missed_fails() {
    for (reached, verdict) in [(2_100, Verdict::Pass), (1_850, Verdict::Fail)] {
        let gate =
            Gate { metric: Some("app".into()), ..Gate::new("orders", Rule::Goal { ratio_min_bp: 9_500 }) };
        let mut judge = judge(&settings(), core::slice::from_ref(&gate));
        for number in 1..=40 {
            judge.take(&counted(number, arm(50_000, reached, 90_000), arm(950_000, 40_000, 90_000)));
        }
        let said = ask(&judge, &gate, 0, Look::Final);
        assert_eq!(said.verdict, verdict, "{}", said.reason);
    }
}

#[test]
fn an_incident_that_is_not_fixed_fails_at_the_end_of_the_watch_and_says_so() {
    let fixed = Conditions {
        success: Some("result < 10".into()),
        failure: None,
        failures_max: 0,
        unit: "number".into(),
    };
    let once = StrategySpec::AllAtOnce { bake: Millis::secs(20) };
    let incident = Some(Incident { id: "INC-7".into(), metric: "backlog".into(), fixed });
    let plan = compile(Request { incident, ..request(once) }).unwrap();
    let gate = plan.watch_gates.last().unwrap();
    let mut judge = Judge::of(&plan);
    let mut value = |number, value| {
        let said = Said::Values { new: vec![Number(value)], stable: Vec::new() };
        let metrics = vec![MetricBatch { metric: "backlog".into(), said }];
        judge.take(&Batch { stage: None, metrics, ..batch(HEALTHY, number, 3) });
        [Look::Early, Look::Final].map(|look| judge.ask(gate, &Window::default(), None, look))
    };
    let [early, end] = value(1, 40.0);
    assert!(early.verdict == Verdict::NoEvidence && early.reason.contains("is not fixed yet"), "{early:?}");
    assert_eq!(
        (end.verdict, end.reason.as_str()),
        (Verdict::Fail, "incident INC-7 is not fixed: `backlog` is 40, good when result < 10")
    );
    let [_, end] = value(2, 4.0);
    assert_eq!((end.verdict, end.reason.as_str()), (Verdict::Pass, "`backlog` is 4: as it should be"));
}

#[test]
fn a_gate_on_latency_of_counts_without_latencies_has_no_evidence() {
    let bare = |requests| Arm { latency_us: Vec::new(), ..arm(requests, 0, 90_000) };
    let p99 = Rule::Latency { quantile_bp: 9_900, limit: Millis(500) };
    for (rule, new, stable) in [
        (p99.clone(), bare(50), bare(950)),
        (Rule::LatencyShift { ratio_max_bp: 12_500 }, bare(50), arm(950, 0, 90_000)),
        (Rule::LatencyShift { ratio_max_bp: 12_500 }, arm(50, 0, 90_000), bare(950)),
    ] {
        for metric in [Some("app".into()), None] {
            let gate = Gate { mode: Mode::Sequential, metric, ..Gate::new("g", rule.clone()) };
            let mut judge = judge(&settings(), core::slice::from_ref(&gate));
            for number in 1..=700 {
                let one = counted(number, new.clone(), stable.clone());
                let share = one.new.share;
                judge.take(&Batch { new: Arm { share, ..new.clone() }, stable: Some(stable.clone()), ..one });
            }
            let said = ask(&judge, &gate, 0, Look::Final);
            assert!(said.verdict == Verdict::NoEvidence && said.finding.is_none(), "{said:?}");
            assert!(said.reason.contains("no latency"), "{}", said.reason);
        }
    }
}

#[test]
fn examples_of_copies_are_different_ones_and_of_every_kind() {
    let (gate, _) = shadowed();
    let mut judge = judge(&settings(), core::slice::from_ref(&gate));
    let mut examples = vec!["GET /cart: 200/500".into()];
    examples.extend(["GET /: body differs", "GET /: body differs", "GET /a: body differs"].map(String::from));
    judge.take(&copies(1, 0, 0));
    for number in 2..=30 {
        let mut one = copies(number, 40, 10);
        one.mirror.as_mut().unwrap().examples.clone_from(&examples);
        judge.take(&one);
    }
    let said = ask(&judge, &gate, 0, Look::Early);
    assert_eq!(said.verdict, Verdict::Fail, "{}", said.reason);
    assert!(
        said.reason.contains("for example GET /a: body differs, GET /cart: 200/500, GET /: body differs;"),
        "{}",
        said.reason
    );
}

#[test]
fn every_gate_that_weighs_says_what_is_plausible_and_how_rare_it_is() {
    let gates = gates();
    let mut judge = judge(&settings(), &gates);
    for number in 1..=240 {
        judge.take(&batch(HEALTHY, number, 1));
    }
    let said = |name: &str| {
        let gate = gates.iter().find(|gate| gate.name == name).unwrap();
        ask(&judge, gate, 1, Look::Final).reason
    };
    for name in ["error_rate", "latency_p99", "latency_shift", "cpu", "memory", "request_rate"] {
        assert!(said(name).ends_with("a healthy release looks like this"), "{}", said(name));
    }
    for name in ["cpu", "memory", "request_rate"] {
        assert!(said(name).contains("(plausible "), "{}", said(name));
    }
}

#[test]
fn what_stable_did_before_is_named_where_it_stands_in_for_what_it_does_now() {
    let gates = gates();
    let mut judge = judge(&settings(), &gates);
    for number in 1..=100 {
        judge.take(&batch(HEALTHY, number, 2));
    }
    judge.take(&batch(HEALTHY, 101, 3));
    let said = ask(&judge, &gates[0], 3, Look::Final);
    assert!(said.reason.contains("its past stands in (50 of 50,000 failed)"), "{}", said.reason);
}
