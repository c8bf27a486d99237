//! A step's share is what the requests show, where they are counted.

use super::*;

fn rate() -> Gate {
    Gate {
        mode: Mode::Sequential,
        ..Gate::new("request_rate", Rule::RequestRate { min: Share::percent(50), marked: false })
    }
}

/// A second of a stage in which so many requests came to the new release, of 1,000.
fn split(new: u64, number: u64, stage: usize) -> Batch {
    let plain = batch(HEALTHY, number, stage);
    let with = |arm: Arm, requests| Arm { requests, failures: 0, latency_us: Vec::new(), ..arm };
    let stable = plain.stable.clone().map(|stable| with(stable, 1_000 - new));
    Batch { new: with(plain.new.clone(), new), stable, ..plain }
}

fn said(judge: &Judge, stage: usize) -> Judgement {
    ask(judge, &rate(), stage, Look::Final)
}

#[test]
fn a_step_whose_share_no_request_shows_is_waited_for_and_fails_when_it_does_not_come() {
    let mut judge = judge(&settings(), &[rate()]);
    for number in 1..=5 {
        judge.take(&split(3, number, 1));
    }
    let waited = said(&judge, 1);
    let missing = !waited.finding.is_some_and(|finding| finding.undecided);
    assert!(waited.verdict == Verdict::NoEvidence && missing, "missing, not undecided: {waited:?}");
    assert!(
        waited.reason.starts_with("asked 25 %, observed 0.30 % of 4,000 requests (surely"),
        "{}",
        waited.reason
    );
    for number in 6..=20 {
        judge.take(&split(3, number, 1));
    }
    let failed = said(&judge, 1);
    assert!(
        failed.verdict == Verdict::Fail && failed.reason.contains("observed 0.30 %"),
        "{}",
        failed.reason
    );
}

#[test]
fn a_mesh_that_is_told_of_the_share_a_few_seconds_later_fails_nothing() {
    let mut judge = judge(&settings(), &[rate()]);
    for number in 1..=60 {
        judge.take(&split(if number <= 12 { 0 } else { 250 }, number, 1));
        assert_ne!(said(&judge, 1).verdict, Verdict::Fail, "at {number}");
    }
    let there = said(&judge, 1);
    assert!(
        there.verdict == Verdict::Pass && there.reason.contains("asked 25 %, observed 25.0 %"),
        "{}",
        there.reason
    );
}

#[test]
fn more_than_the_share_is_not_the_share_either_nor_is_half_of_all_when_everything_was_asked() {
    for (stage, new, words) in
        [(0, 600, "asked 5 %, observed 60.0 %"), (3, 500, "asked 100 %, observed 50.0 %")]
    {
        let mut judge = judge(&settings(), &[rate()]);
        for number in 1..=5 {
            judge.take(&split(new, number, stage));
        }
        let waited = said(&judge, stage);
        assert_eq!(waited.verdict, Verdict::NoEvidence, "{}", waited.reason);
        assert!(waited.reason.starts_with(words), "{}", waited.reason);
    }
}

#[test]
fn with_few_requests_the_share_is_what_was_read_back_and_that_is_said() {
    let mut judge = judge(&settings(), &[rate()]);
    let few = split(0, 1, 1);
    let stable = few.stable.clone().map(|stable| Arm { requests: 40, ..stable });
    judge.take(&Batch { stable, ..few });
    let waited = said(&judge, 1);
    assert!(waited.finding.is_some_and(|finding| finding.undecided), "{waited:?}");
    let words = "asked 25 %, which was read back; 40 requests so far, 65 would show whether it is so";
    assert!(waited.reason.starts_with(words), "{}", waited.reason);
}

#[test]
fn what_a_slow_source_counted_partly_before_the_step_says_nothing_of_its_share() {
    let gate = Gate { metric: Some("app".into()), ..rate() };
    let mut judge = judge(&settings(), core::slice::from_ref(&gate));
    let counted = |number, new: u64| {
        let plain = split(new, number, 1);
        let stable = plain.stable.clone();
        let said = Said::Counts { new: plain.new.clone(), stable, strata: Vec::new() };
        Batch { metrics: vec![MetricBatch { metric: "app".into(), said }], ..plain }
    };
    judge.take(&counted(1, 0));
    judge.take(&counted(2, 250));
    let there = ask(&judge, &gate, 1, Look::Final);
    assert!(there.reason.starts_with("asked 25 %, observed 25.0 % of 1,000 requests"), "{}", there.reason);
}
