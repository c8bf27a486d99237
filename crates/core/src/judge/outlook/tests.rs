//! What plans can see, against the reference's tables.

use alloc::{string::ToString, vec};

use super::*;
use crate::{
    gate::standard_gates,
    judge::Settings,
    plan::{Request, Step, StrategySpec, compile},
    view::walker::request,
};

/// 5, 25 and 50 % for a minute each, then everything.
fn plan(mode: Mode, settings: Settings) -> Plan {
    let step = |percent| Step { share: Share::percent(percent), bake: Millis::secs(60), approval: false };
    let mut gates = standard_gates();
    for gate in &mut gates {
        gate.mode = mode;
    }
    compile(Request {
        gates,
        judge: settings,
        ..request(StrategySpec::Canary { steps: vec![step(5), step(25), step(50)] })
    })
    .unwrap()
}

fn load(requests_per_s: f64, failed_share: f64) -> Load {
    Load { requests_per_s, failed_share, latency_us: Vec::new() }
}

fn settings() -> Settings {
    Settings { warmup: Millis::ZERO, ..Settings::default() }
}

fn outlook(mode: Mode, load: &Load) -> Outlook {
    Outlook::of(&plan(mode, settings()), load).unwrap()
}

fn near(seen: Option<f64>, expected: f64) {
    assert!(seen.is_some_and(|seen| (seen / expected - 1.0).abs() < 0.02), "{seen:?} is not {expected}");
}

#[test]
fn the_smallest_ratio_is_the_one_of_the_reference_at_the_shipped_speed() {
    // Table 3.7 is for the bound: 1.6 times the traffic gives the shipped test the same.
    for (rps, failed, ratio) in
        [(10.0, 0.001, 14.0), (100.0, 0.001, 3.6), (1_000.0, 0.001, 1.74), (1_000.0, 0.01, 1.29)]
    {
        let seen = outlook(Mode::Sequential, &load(rps * SHIPPED_SLOWDOWN, failed));
        near(seen.stages[2].smallest, ratio);
        assert!(seen.stages[2].smallest_at_most < seen.stages[2].smallest);
        assert!(seen.stages[0].smallest.is_none_or(|first| first > ratio));
    }
}

#[test]
fn a_regression_has_its_time_and_its_price_and_the_stage_it_ends_in() {
    let seen = outlook(Mode::Sequential, &load(1_000.0, 0.001));
    let [double, _, failing] = seen.found.as_slice() else { panic!("three regressions") };
    // The limit is 30 failed requests at 5 % (section 3.6), 1.6 times that as shipped: 480 s at 0.1 failed a second.
    near(double.failed_requests, 30.0 * SHIPPED_SLOWDOWN);
    assert_eq!((double.stage, double.regression.to_string().as_str()), (Some(0), "2 x"));
    near(double.after.map(|after| after.0 as f64), 480_000.0);
    assert_eq!(failing.after, Some(Millis(500)), "not before the first look");
    near(failing.failed_requests, 12.5);
    // Ruling out 2 x: Wald's bound of section 3.9.
    near(seen.stages[0].rule_out.map(|after| after.0 as f64), 187_000.0);
}

#[test]
fn a_release_that_nobody_can_tell_from_a_good_one_is_not_said_to_be_found() {
    let seen = outlook(Mode::Sequential, &load(1.0, 0.001));
    assert_eq!(seen.found[0].after, None);
    assert_eq!((seen.stages[3].against, seen.stages[3].rule_out), (Against::Before, None));
    assert!(Outlook::of(&plan(Mode::Sequential, settings()), &load(0.0, 0.1)).is_none());
    let half = outlook(Mode::Sequential, &load(1_000.0, 0.6));
    assert_eq!(half.found[2].after, None, "half of the requests failing would be an improvement");
}

#[test]
fn learned_dispersion_makes_everything_take_longer_and_spread_widens_what_is_tolerated() {
    let both = Settings { dispersion_milli: 5_000, spread_milli: 150, ..settings() };
    let (loaded, traffic) = (plan(Mode::Sequential, both), load(1_000.0, 0.001));
    let (wide, narrow) = (Outlook::of(&loaded, &traffic).unwrap(), outlook(Mode::Sequential, &traffic));
    assert!(wide.tolerated > 1.2 && wide.dispersion > 4.9, "{wide:?}");
    let ratio = |outlook: &Outlook| outlook.stages[0].rule_out.unwrap().0 as f64;
    near(Some(ratio(&wide) / ratio(&narrow)), 5.0);
    let bursty = plan(Mode::Sequential, Settings { dispersion_milli: 5_000, ..settings() });
    let bursty = Outlook::of(&bursty, &traffic).unwrap();
    let price = |outlook: &Outlook| outlook.stages[0].found[1].failed_requests.unwrap();
    near(Some(price(&bursty) / price(&narrow)), 5.0);
}

#[test]
fn the_plain_rule_has_the_false_alarms_of_the_reference() {
    // Table 3.2, without the last stage, which the table does not have.
    for (rps, failed, alarm) in [(100.0, 0.001, 0.75), (1_000.0, 0.01, 0.47), (10_000.0, 0.01, 0.048)] {
        let mut plan = plan(Mode::Threshold, Settings::default());
        plan.stages.pop();
        let seen = Outlook::of(&plan, &load(rps, failed)).unwrap();
        let error_rate = &seen.plain[0];
        assert_eq!((error_rate.gate.as_str(), error_rate.silent_stages), ("error_rate", 0));
        let (alarm_seen, double) = (error_rate.false_alarm.unwrap(), error_rate.catches_double.unwrap());
        assert!(
            (alarm_seen - alarm).abs() < 0.02 && double > alarm_seen,
            "{rps} {failed}: {alarm_seen} {double}"
        );
    }
}

#[test]
fn a_plain_latency_rule_at_its_limit_fails_about_half_the_time_and_needs_known_latencies() {
    let known = Load { latency_us: vec![(100_000, 951), (800_000, 49)], ..load(1_000.0, 0.001) };
    let seen = outlook(Mode::Threshold, &known);
    let p95 = seen.plain.iter().find(|gate| gate.gate == "latency_p95").unwrap();
    assert!(p95.false_alarm.is_some_and(|alarm| alarm > 0.05 && alarm < 0.9), "{p95:?}");
    let blind = outlook(Mode::Threshold, &load(1_000.0, 0.001));
    assert!(blind.plain.iter().any(|gate| gate.gate == "latency_p95" && gate.false_alarm.is_none()));
    let rate = seen.plain.iter().find(|gate| gate.gate == "request_rate").unwrap();
    assert!(rate.false_alarm.is_some_and(|alarm| alarm < 1e-9), "{rate:?}");
}

#[test]
fn requests_of_the_warm_up_do_not_count_but_an_outage_does() {
    let cold = Settings { warmup: Millis::secs(30), warmup_requests: 100_000, ..Settings::default() };
    // One instance serves 5 and 25 %, two serve 50 %, all four everything.
    let (cold, warm) = (
        Outlook::of(&plan(Mode::Sequential, cold), &load(1_000.0, 0.001)).unwrap(),
        outlook(Mode::Sequential, &load(1_000.0, 0.001)),
    );
    let late = |number: usize| cold.found[number].after.unwrap().0 - warm.found[number].after.unwrap().0;
    assert_eq!((late(0), late(1), late(2)), (30_000, 30_000, 0));
    assert!(cold.stages[0].smallest > warm.stages[0].smallest);
    assert_eq!(cold.stages[1].found, warm.stages[1].found);
    for brings in [2, 3] {
        let after = |outlook: &Outlook| outlook.stages[brings].found[1].after.unwrap().0;
        assert_eq!(after(&cold) - after(&warm), 30_000, "stage {brings}");
    }
    let ruled_out = |outlook: &Outlook| outlook.stages[2].rule_out.unwrap().0;
    assert_eq!(ruled_out(&cold) - ruled_out(&warm), 30_000);
}
