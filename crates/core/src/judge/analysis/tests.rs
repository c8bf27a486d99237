//! Analyses as the judge asks them: readings in, verdicts out.

use alloc::{borrow::ToOwned, string::String, vec, vec::Vec};

use crate::{
    deployment::{Event, Input, Key, Outcome, Phase, State, What, decide, table::sample_plan},
    gate::{
        Analysis, Gate, Judgement, Look, MetricAnswer, MetricReading, Mode, Number, OnInconclusive,
        OnNoEvidence, Reading, ReleaseReading, Rule, Verdict, Window,
    },
    judge::{Batch, Exposure, Judge, Settings},
    model::{Millis, Share, Timestamp},
};

fn rule(count: Option<u32>) -> Analysis {
    Analysis {
        success: Some("result[0] < 5".to_owned()),
        failure: None,
        unit: "number".to_owned(),
        count,
        interval: Millis::secs(60),
        initial_delay: Millis::ZERO,
        failure_limit: Some(0),
        inconclusive_limit: 0,
        consecutive_error_limit: 4,
        consecutive_success_limit: 0,
        background: false,
    }
}

struct Asked {
    judge: Judge,
    gate: Gate,
    last: Reading,
    number: u64,
    share: Share,
    stage: Option<usize>,
}

fn reading(at: i64, answer: Option<MetricAnswer>) -> Reading {
    let release = ReleaseReading { wanted: 1, ..ReleaseReading::default() };
    let metrics = answer.map(|answer| MetricReading { metric: "m".to_owned(), answer });
    Reading {
        at: Timestamp(at),
        boot: "b".to_owned(),
        new: release.clone(),
        stable: Some(release),
        mirror: None,
        astray: None,
        metrics: metrics.into_iter().collect(),
    }
}

impl Asked {
    fn by(rule: Analysis, steps: Vec<usize>) -> Self {
        let gate = Gate {
            mode: Mode::Sequential,
            metric: Some("m".to_owned()),
            on_no_evidence: OnNoEvidence::Hold,
            steps,
            ..Gate::new("g", Rule::Analysis(rule))
        };
        let shares = [Share::percent(10), Share::percent(20)];
        let judge = Judge::with(&Settings::default(), [&gate], &shares, 1, 100);
        let share = Share::percent(10);
        Self { judge, gate, last: reading(0, None), number: 0, share, stage: Some(0) }
    }

    /// What is judged after this was read at this second.
    fn at(&mut self, second: i64, answer: MetricAnswer) -> Judgement {
        self.number += 1;
        let now = reading(second * 1_000, Some(answer));
        let exposure = Exposure { share: self.share, stage: self.stage };
        self.judge.take(&Batch::between(&self.last, &now, exposure, self.number));
        self.last = now;
        self.judge.ask(&self.gate, &Window::default(), self.stage, Look::Final)
    }

    fn value(&mut self, second: i64, value: f64) -> Judgement {
        let at = Timestamp(second * 1_000);
        self.at(second, MetricAnswer::Values { at, new: vec![Number(value)], stable: Vec::new() })
    }

    fn fault(&mut self, second: i64) -> Judgement {
        self.at(second, MetricAnswer::Fault { reason: "connection refused".to_owned() })
    }
}

#[test]
fn a_step_waits_for_all_measurements_of_its_run_and_each_step_has_its_own() {
    let mut asked = Asked::by(rule(Some(3)), vec![1, 2]);
    assert_eq!(asked.value(1, 1.0).verdict, Verdict::NoEvidence);
    // What comes between two measurements is not looked at.
    assert_eq!(asked.value(30, 9.0).verdict, Verdict::NoEvidence);
    let second = asked.value(61, 2.0);
    assert!(
        second.finding.is_some_and(|found| found.undecided) && second.reason.contains("2 of 3 measurements")
    );
    assert_eq!(asked.value(121, 3.0).verdict, Verdict::Pass);
    asked.stage = Some(1);
    assert_eq!(asked.value(122, 3.0).verdict, Verdict::NoEvidence, "a run of its own");
}

#[test]
fn five_errors_in_a_row_ten_seconds_apart_end_it_and_a_first_question_on_its_way_is_none() {
    let mut asked = Asked::by(rule(Some(3)), vec![1]);
    let waiting = MetricAnswer::Awaited { reason: "is being asked".to_owned() };
    assert_eq!(asked.at(1, waiting).verdict, Verdict::NoEvidence);
    for second in 2..42 {
        assert_eq!(asked.fault(second).verdict, Verdict::NoEvidence, "{second}");
    }
    let ended = asked.fault(42);
    assert_eq!(ended.verdict, Verdict::Fail);
    let reason: &String = &ended.reason;
    assert!(
        reason.contains("5 errors in a row (4 may)") && reason.contains("connection refused"),
        "{reason}"
    );
}

#[test]
fn an_inconclusive_run_has_ended_and_is_not_waited_for() {
    let neither = Analysis { failure: Some("result[0] > 9".to_owned()), ..rule(Some(3)) };
    let mut asked = Asked::by(neither, vec![1]);
    let ended = asked.value(1, 7.0);
    assert_eq!(ended.verdict, Verdict::NoEvidence);
    let finding = ended.finding.unwrap();
    assert!(finding.undecided && finding.ended, "{}", ended.reason);
    assert!(asked.value(61, 1.0).finding.unwrap().ended, "no measurement brings it back");
}

#[test]
fn nothing_compares_with_nan_and_a_failure_condition_over_it_is_no_pass() {
    let mut good = Asked::by(rule(Some(1)), vec![1]);
    assert_eq!(good.value(1, f64::NAN).verdict, Verdict::Fail, "a success condition is not met");
    let bad = Analysis { success: None, failure: Some("result[0] > 5".to_owned()), ..rule(Some(1)) };
    let mut bad = Asked::by(bad, vec![1]);
    assert_eq!(bad.value(1, f64::NAN).verdict, Verdict::NoEvidence);
    assert_eq!(bad.value(12, 1.0).verdict, Verdict::Pass);
}

#[test]
fn a_run_beside_the_steps_holds_none_of_them_but_needs_a_measurement_in_each() {
    let mut asked = Asked::by(Analysis { background: true, ..rule(None) }, vec![1, 2]);
    assert_eq!(asked.value(1, 1.0).verdict, Verdict::Pass);
    asked.stage = Some(1);
    assert_eq!(asked.value(30, 1.0).verdict, Verdict::NoEvidence, "the next one is due at 61 s");
    assert_eq!(asked.value(61, 1.0).verdict, Verdict::Pass);
    assert_eq!(asked.value(121, 7.0).verdict, Verdict::Fail);
}

#[test]
fn a_preview_without_users_is_asked_where_the_gate_names_it_and_nowhere_else() {
    let mut asked = Asked::by(rule(Some(1)), vec![1]);
    asked.share = Share::NONE;
    assert_eq!(asked.value(1, 1.0).verdict, Verdict::Pass);
    (asked.share, asked.stage) = (Share::ALL, Some(1));
    let elsewhere = asked.value(2, 9.0);
    assert_ne!(elsewhere.verdict, Verdict::Fail, "{}", elsewhere.reason);
}

#[test]
fn a_person_is_asked_when_an_inconclusive_run_has_ended_however_long_the_step_could_last() {
    let neither = Analysis { failure: Some("result[0] > 9".to_owned()), ..rule(Some(3)) };
    let mut asked = Asked::by(neither, vec![1]);
    asked.gate.on_inconclusive = OnInconclusive::Hold;
    let mut plan = sample_plan();
    let now = Timestamp(2_000);
    for (stage, value, event) in [(0, 7.0, "approval_asked"), (0, 1.0, "held")] {
        plan.stages[stage].gates = vec![asked.gate.clone()];
        let mut judge = Judge::of(&plan);
        let at = Timestamp(1_000);
        let answer = MetricAnswer::Values { at, new: vec![Number(value)], stable: Vec::new() };
        let exposure = Exposure { share: Share::percent(10), stage: Some(stage) };
        judge.take(&Batch::between(&reading(0, None), &reading(1_000, Some(answer)), exposure, 1));
        let state = State {
            phase: Phase::CanaryEvaluating { stage, held_until: None },
            share: Share::percent(10),
            opening: Some(reading(0, None)),
            ..State::planned(Timestamp(0))
        };
        let key = Key { intent: 0, what: What::Measure };
        let input = Input::Outcome { key, attempt: 0, outcome: Outcome::Read(reading(2_000, None)) };
        let events = decide(&plan, &state, &judge, &input, now).unwrap();
        assert_eq!(events.last().map(Event::name), Some(event), "{value}");
    }
}
