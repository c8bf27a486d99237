//! The guard of the warm-up where the release has all traffic.

use super::*;

/// The second after a switch of everything at once at which a release is turned back: the stable one failed so many of
/// 10,000 requests until then.
fn found_after_a_switch(stable_failing: u64, new_failing: u64) -> Option<u64> {
    let gates = gates();
    let mut judge = Judge::with(&Settings::default(), &gates, &[Share::NONE, Share::ALL], 2, 240);
    let service = Service { new_failing, stable_failing, ..HEALTHY };
    for number in 1..=30 {
        let before = batch(service, number, 0);
        let stable = Arm { share: Share::ALL, ..before.stable.unwrap() };
        let new = Arm { length: Millis::secs(1), ..Arm::default() };
        judge.take(&Batch { new, stable: Some(stable), ..before });
    }
    (31..60).find_map(|number| {
        let switched = Batch { stage: Some(1), stable: None, ..batch(service, number, 3) };
        judge.take(&switched);
        (ask(&judge, &gates[0], 1, Look::Early).verdict == Verdict::Fail).then_some(number - 30)
    })
}

#[test]
fn after_a_switch_the_guard_of_the_warm_up_asks_what_the_time_before_was_like() {
    assert_eq!(found_after_a_switch(1_500, 1_500), None, "15 % failed before, and fail now");
    assert_eq!(found_after_a_switch(6_000, 6_500), None, "most failed before");
    assert!(found_after_a_switch(1_500, 6_000).is_some_and(|second| second <= 2), "four times as many");
    assert!(found_after_a_switch(10, 5_000).is_some_and(|second| second <= 2), "a plain outage");
}

#[test]
fn an_outage_in_the_warm_up_of_the_last_stage_is_not_hidden_by_the_good_time_before() {
    let gates = gates();
    let mut judge = judge(&Settings::default(), &gates);
    for number in 1..=60 {
        judge.take(&batch(HEALTHY, number, 2));
    }
    let outage = Service { new_failing: 5_000, ..HEALTHY };
    let found = (61..80).find(|number| {
        judge.take(&Batch { wanted: 2, stable: None, ..batch(outage, *number, 3) });
        ask(&judge, &gates[0], 3, Look::Early).verdict == Verdict::Fail
    });
    assert!(found.is_some_and(|at| at <= 62), "{found:?}");
}
