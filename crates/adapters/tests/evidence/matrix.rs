//! Every bad answer, given to every kind of gate that can ask a metric, under every policy for missing evidence, in a
//! deployment that is watched and then judged.

use std::collections::BTreeSet;

use tidegate_core::{
    deployment::{
        Cause, Event, Input, Key, Outcome, Phase, Recorded, State, What, decide, evolve, look, table,
    },
    gate::{
        Conditions, Counters, Gate, MetricAnswer, MetricReading, Mode, Number, OnNoEvidence, Reading,
        ReleaseReading, Rule, Verdict,
    },
    judge::{Batch, Exposure, Judge, Settings},
    model::{Actor, Millis, Share, Timestamp},
    plan::{Plan, Stage},
};

use crate::corpus::{METRIC, NOW, Told, told};

const STEP: Millis = Millis(2_000);
const BAKE: Millis = Millis(6_000);
const HOLD_MAX: Millis = Millis(4_000);
/// Moments after which nothing is waited for any more.
const STEPS: i64 = 12;
const POLICIES: [OnNoEvidence; 3] = [OnNoEvidence::Hold, OnNoEvidence::Continue, OnNoEvidence::RollBack];

/// How a deployment went on, in milliseconds after its share came into force.
#[derive(Debug, Default)]
struct Course {
    passed: Option<i64>,
    held: Option<i64>,
    back: Option<(i64, Cause)>,
    verdicts: BTreeSet<String>,
    /// What the gate said last.
    reason: String,
}

impl Course {
    fn note(&mut self, event: &Event, at: i64) {
        if let Event::StagePassed { .. } = event {
            self.passed = Some(at);
        } else if let Event::Held { .. } = event {
            self.held = Some(at);
        } else if let Event::RollbackBegan { cause } = event {
            self.back = Some((at, cause.clone()));
        }
    }
}

#[tokio::test]
async fn no_bad_answer_passes_a_gate_of_any_kind_under_any_policy() {
    let mut all = told().await;
    // In a plan a list of numbers is a value, and a list of one good number a good one.
    all.retain(|told| told.name != "Web: a list");
    let faults = all.iter().filter(|told| matches!(told.answer, MetricAnswer::Fault { .. })).count();
    assert!(faults >= 250, "{faults} of {}", all.len());
    let mut wrong = Vec::new();
    for (kind, rule) in kinds() {
        for policy in POLICIES {
            let plan = plan(&rule, policy);
            control(kind, &plan, policy);
            for told in &all {
                // From the beginning, and after good answers: in the middle of what is watched.
                for good_until in [0, 4_000] {
                    let course =
                        course(&plan, |at| if at <= good_until { good(&rule, at) } else { told.at(at) });
                    if let Some(why) = complaint(told, policy, &course, good_until) {
                        wrong.push(format!(
                            "{kind}, {policy:?}, good until {good_until}, {}: {why}",
                            told.name
                        ));
                    }
                }
            }
        }
    }
    let shown = wrong.iter().take(20).cloned().collect::<Vec<_>>().join("\n");
    assert!(wrong.is_empty(), "{} wrong:\n{shown}", wrong.len());
}

/// The kinds of gates that can ask a metric.
fn kinds() -> Vec<(&'static str, Rule)> {
    let conditions = |success: Option<&str>, failure: Option<&str>| {
        let text = |text: &str| text.to_owned();
        Rule::Metric(Conditions {
            success: success.map(text),
            failure: failure.map(text),
            failures_max: 0,
            unit: "ratio".to_owned(),
        })
    };
    vec![
        ("error_rate", Rule::ErrorRate { ratio_max_bp: 11_000, floor: Share::NONE }),
        ("latency_shift", Rule::LatencyShift { ratio_max_bp: 12_500 }),
        ("latency_p95", Rule::Latency { quantile_bp: 9_500, limit: Millis(500) }),
        ("request_rate", Rule::RequestRate { min: Share::percent(50), marked: false }),
        ("goal", Rule::Goal { ratio_min_bp: 9_500 }),
        ("success", conditions(Some("result < 5%"), None)),
        ("failure", conditions(None, Some("result >= 5%"))),
        ("both", conditions(Some("result < 5%"), Some("result > 50%"))),
    ]
}

fn plan(rule: &Rule, policy: OnNoEvidence) -> Plan {
    let gate = Gate {
        mode: Mode::Sequential,
        metric: Some(METRIC.to_owned()),
        on_no_evidence: policy,
        hold_max: HOLD_MAX,
        ..Gate::new("asked", rule.clone())
    };
    let mut plan = table::sample_plan();
    plan.judge = Settings { warmup: Millis::ZERO, ..Settings::default() };
    let stages = [10, 100].map(|percent| Stage {
        name: format!("canary {percent} %"),
        share: Share::percent(percent),
        mirror: Share::NONE,
        instances: 1,
        bake: BAKE,
        gates: vec![gate.clone()],
        approval: false,
        wave: 0,
    });
    plan.stages = stages.into();
    plan
}

/// With good answers all the time a gate with a condition passes: the others have to be sure first.
fn control(kind: &str, plan: &Plan, policy: OnNoEvidence) {
    let rule = &plan.stages[0].gates[0].rule;
    let course = course(plan, |at| good(rule, at));
    let sure = !matches!(rule, Rule::Metric(_)) || course.verdicts.contains("pass");
    assert!(sure && course.back.is_none(), "{kind} {policy:?}: {course:?}");
    assert!(
        !matches!(rule, Rule::Metric(_)) || course.passed == Some(6_000),
        "{kind} {policy:?}: {course:?}"
    );
}

fn good(rule: &Rule, at: i64) -> MetricAnswer {
    let at = Timestamp(NOW.0 + at);
    if matches!(rule, Rule::Metric(_)) {
        return MetricAnswer::Values { at, new: vec![Number(0.01)], stable: vec![Number(0.01)] };
    }
    let counters = |share: u64| {
        let requests = u64::try_from(at.0 - NOW.0).unwrap() / 1_000 * share;
        Counters {
            requests,
            failures: 0,
            latency_us: vec![(50_000, requests / 2), (500_000, requests / 2), (u64::MAX, 0)],
        }
    };
    MetricAnswer::Counters { at, new: counters(10), stable: Some(counters(90)) }
}

/// What a deployment becomes whose metric answers so, seen from the moment its first share is in force.
fn course(plan: &Plan, answer: impl Fn(i64) -> MetricAnswer) -> Course {
    let mut history = History::exposed(plan);
    let mut judge = Judge::of(plan);
    let mut last = reading(0, MetricAnswer::Fault { reason: format!("metric `{METRIC}` is being asked") });
    let mut course = Course::default();
    for step in 1..=STEPS {
        let at = step * i64::try_from(STEP.0).unwrap();
        let now = reading(at, answer(at));
        let exposure = Exposure { share: Share::percent(10), stage: Some(0) };
        judge.take(&Batch::between(&last, &now, exposure, u64::try_from(step).unwrap()));
        for judgement in look(plan, &history.state, &judge, &now) {
            course.verdicts.insert(judgement.verdict.to_string());
            course.reason = judgement.reason;
        }
        last = now.clone();
        let measured = Input::Outcome {
            key: Key { intent: 0, what: What::Measure },
            attempt: 0,
            outcome: Outcome::Read(now),
        };
        for input in [Input::Tick, measured] {
            let events =
                decide(plan, &history.state, &judge, &input, Timestamp(NOW.0 + at)).unwrap_or_default();
            for event in events {
                course.note(&event, at);
                history.push(event, at);
            }
            if course.passed.is_some() || course.back.is_some() {
                return course;
            }
        }
    }
    course
}

/// Healthy traffic, as the proxy counts it.
fn reading(at: i64, answer: MetricAnswer) -> Reading {
    let release = |per_second: u64| {
        let requests = u64::try_from(at).unwrap() / 1_000 * per_second;
        ReleaseReading {
            requests,
            failures: 0,
            latency_us: vec![(50_000, requests)],
            wanted: 1,
            instances: Vec::new(),
        }
    };
    Reading {
        at: Timestamp(NOW.0 + at),
        boot: "boot".to_owned(),
        new: release(100),
        stable: Some(release(900)),
        mirror: None,
        astray: None,
        metrics: vec![MetricReading { metric: METRIC.to_owned(), answer }],
    }
}

impl Told {
    /// The answer as it comes so many milliseconds later: a value is dated with the moment of asking.
    fn at(&self, later: i64) -> MetricAnswer {
        match self.answer.clone() {
            MetricAnswer::Values { new, stable, .. } => {
                MetricAnswer::Values { at: Timestamp(NOW.0 + later), new, stable }
            }
            as_it_is @ (MetricAnswer::Awaited { .. }
            | MetricAnswer::Counters { .. }
            | MetricAnswer::Fault { .. }) => as_it_is,
        }
    }
}

struct History<'a> {
    plan: &'a Plan,
    state: State,
    seq: u64,
}

impl<'a> History<'a> {
    /// A deployment whose first share has just come into force.
    fn exposed(plan: &'a Plan) -> Self {
        let mut history = Self { plan, state: State::planned(NOW), seq: 1 };
        let nothing = || reading(0, MetricAnswer::Fault { reason: String::new() });
        for event in [
            Event::Admitted,
            Event::Checked,
            Event::Initialised { reading: nothing() },
            Event::Built,
            Event::Deployed { instances: 1 },
            Event::Exposed { stage: 0, reading: nothing() },
        ] {
            history.push(event, 0);
        }
        assert!(
            matches!(history.state.phase, Phase::CanaryWaiting { stage: 0, .. }),
            "{:?}",
            history.state.phase
        );
        history
    }

    fn push(&mut self, event: Event, at: i64) {
        self.seq += 1;
        let recorded = Recorded { seq: self.seq, at: Timestamp(NOW.0 + at), actor: Actor::engine(), event };
        self.state = evolve(self.plan, self.state.clone(), &recorded);
    }
}

fn complaint(told: &Told, policy: OnNoEvidence, course: &Course, good_until: i64) -> Option<String> {
    let bad = |why: &str| Some(format!("{why}: {course:?}"));
    if course.passed.is_some() && policy != OnNoEvidence::Continue {
        return bad("it goes on");
    }
    if good_until == 0 && course.verdicts.contains(&Verdict::Pass.to_string()) {
        return bad("it passes");
    }
    let MetricAnswer::Fault { .. } = &told.answer else {
        return (!course.reason.contains(METRIC)).then(|| format!("the reason names no metric: {course:?}"));
    };
    let query: String = told.query.chars().take(60).collect();
    if !course.reason.contains(&query) || !course.reason.contains("gave no usable answer") {
        return bad("the reason does not name the query");
    }
    let (bake, end) = (6_000, 10_000);
    match (policy, course.held, &course.back, course.passed) {
        (OnNoEvidence::Continue, None, None, Some(at)) if at == bake => None,
        (OnNoEvidence::Hold, Some(held), Some((at, cause)), None) if (held, *at) == (bake, end) => {
            unnamed(cause, &query)
        }
        (OnNoEvidence::RollBack, None, Some((at, cause)), None) if *at == bake => unnamed(cause, &query),
        _ => bad("it goes another way"),
    }
}

/// The cause must name the gate and the query.
fn unnamed(cause: &Cause, query: &str) -> Option<String> {
    let named =
        matches!(cause, Cause::NoEvidence { gate, reason, .. } if gate == "asked" && reason.contains(query));
    (!named).then(|| format!("the cause is {cause:?}"))
}
