//! The whole state × input table, explored from the machine itself: what a reader, a golden file and a drawing need.

use alloc::{
    borrow::ToOwned,
    collections::{BTreeMap, BTreeSet, VecDeque},
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use super::{
    decide::{Refusal, decide},
    event::Recorded,
    evolve::evolve,
    input::{Input, Outcome, Verb},
    owed::{Effect, Key, What, owed},
    state::{Phase, State, StateName},
};
use crate::{
    gate::{Gate, Instance, OnFailure, Reading, ReleaseReading, Rule},
    judge::{Judge, Settings},
    model::{Actor, Artifact, Criticality, Millis, Release, Share, Strategy, TargetSpec, Timestamp},
    plan::{Back, Limits, PLAN_VERSION, Plan, Stage},
};

/// One thing that can happen in a state.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// Where the deployment is.
    pub from: StateName,
    /// The news, in words.
    pub input: String,
    /// What becomes of it: `event, event -> state`, `nothing`, or `refused: why`.
    pub answer: String,
    /// Where it is afterwards; `None` when nothing changed.
    pub to: Option<StateName>,
}

/// A state that the exploration reached, with the plan it belongs to.
pub struct Reached {
    /// The state.
    pub state: State,
    /// The moment it was reached.
    pub now: Timestamp,
}

/// The plan that is explored: every kind of stage, gate and policy in its smallest form.
pub fn sample_plan() -> Plan {
    let release = |tag: &str| Release {
        tag: tag.to_owned(),
        commit: None,
        artifact: Artifact::Files { sha256: tag.to_owned() },
        spec: TargetSpec { kind: "sample".to_owned(), json: "{}".to_owned(), place: None },
    };
    let gate = |name: &str, rule, on_failure| Gate {
        min_requests: 1,
        on_failure,
        hold_max: Millis::secs(30),
        ..Gate::new(name, rule)
    };
    let gates = vec![
        gate("instances", Rule::Instances, OnFailure::RollBack),
        gate("error_rate", Rule::ErrorRate { ratio_max_bp: 11_000, floor: Share::NONE }, OnFailure::RollBack),
        gate("latency_p95", Rule::Latency { quantile_bp: 9_500, limit: Millis(500) }, OnFailure::Hold),
    ];
    let stage = |percent, instances, approval| Stage {
        name: format!("canary {percent} %"),
        share: Share::percent(percent),
        mirror: Share::NONE,
        instances,
        bake: Millis::secs(60),
        gates: gates.clone(),
        approval,
        wave: 0,
    };
    Plan {
        version: PLAN_VERSION,
        deployment: "sample".to_owned(),
        service: "sample".to_owned(),
        environment: "production".to_owned(),
        criticality: Criticality::Medium,
        turn: 2,
        release: release("new"),
        stable: Some(release("old")),
        stable_note: None,
        strategy: Strategy::Canary,
        stages: vec![stage(5, 1, true), stage(50, 2, false), stage(100, 4, true)],
        back: Back::All,
        watch: Millis::minutes(5),
        watch_gates: gates,
        lease: Some(Millis::minutes(10)),
        limits: Limits {
            attempts_max: 2,
            back_attempts_max: 2,
            restore_attempts_max: 2,
            reopen_max: 1,
            ..Limits::default()
        },
        judge: Settings::default(),
        metrics: Vec::new(),
        confidence: None,
        way_back: false,
        notes: Vec::new(),
    }
}

/// Counters that pass every gate of the sample (`bad: 0`), fail the one that turns back (`1`), or fail the one that asks
/// a person (`2`).
pub(super) fn reading(at: Timestamp, bad: u8) -> Reading {
    let seconds = u64::try_from(at.0 / 1_000).unwrap_or(0);
    let release = |failures, slow| ReleaseReading {
        requests: seconds * 10,
        failures: if failures { seconds * 5 } else { 0 },
        latency_us: vec![if slow { (900_000, seconds * 10) } else { (10_000, seconds * 10) }],
        wanted: 1,
        instances: vec![Instance {
            id: "sample/1".to_owned(),
            ready: true,
            broken: false,
            ends: 0,
            ends_total: Some(0),
            last_end: None,
            cpu_ms: 0,
            cpu_limit_milli: 1_000,
            rss_bytes: 1,
            memory_limit_bytes: 100,
        }],
    };
    Reading {
        at,
        boot: "sample".to_owned(),
        new: release(bad == 1, bad == 2),
        stable: Some(release(false, false)),
        mirror: None,
        astray: None,
        metrics: Vec::new(),
    }
}

/// Every news that may come in a state, in words: what is owed answered in every way, time, every verb, and late news.
pub fn news(plan: &Plan, state: &State, now: Timestamp) -> Vec<(String, Input)> {
    let mut all = vec![
        ("admitted by the fleet".to_owned(), Input::Admit { replanned: None }),
        (
            "admitted, planned again".to_owned(),
            Input::Admit { replanned: Some(Ok(alloc::boxed::Box::new(plan.clone()))) },
        ),
        ("admitted, no plan left".to_owned(), Input::Admit { replanned: Some(Err("sample".to_owned())) }),
        ("tick".to_owned(), Input::Tick),
    ];
    for item in owed(plan, state) {
        let what = item.key.what;
        let mut add = |words: &str, outcome| {
            let input = Input::Outcome { key: item.key, attempt: item.attempt, outcome };
            all.push((format!("{what} {words}"), input));
        };
        match item.effect {
            Effect::Wake { .. } => continue,
            Effect::Measure { .. } => {
                add("reads healthy counters", Outcome::Read(reading(now, 0)));
                add("reads failing requests", Outcome::Read(reading(now, 1)));
                add("reads slow requests", Outcome::Read(reading(now, 2)));
                add("finds the lease ended", Outcome::LeaseEnded);
            }
            Effect::Shift { .. } => add("done", Outcome::Read(reading(now, 0))),
            Effect::Check
            | Effect::Build
            | Effect::Scale { .. }
            | Effect::Promote { .. }
            | Effect::Restore { .. }
            | Effect::Retire { .. } => add("done", Outcome::Done),
        }
        let failed = |permanent| Outcome::Failed { reason: "sample".to_owned(), permanent };
        add("failed", failed(false));
        add("failed for good", failed(true));
    }
    let late = Key { intent: u64::MAX, what: What::Shift };
    all.push(("late answer".to_owned(), Input::Outcome { key: late, attempt: 0, outcome: Outcome::Done }));
    let reason = || "sample".to_owned();
    all.extend(
        [
            ("pause", Verb::Pause { reason: reason() }),
            ("resume", Verb::Resume),
            ("promote", Verb::Promote { full: false }),
            ("promote --full", Verb::Promote { full: true }),
            ("abort", Verb::Abort { reason: reason() }),
            ("approve", Verb::Approve),
            ("retry", Verb::Retry),
            ("supersede", Verb::Supersede { by: reason() }),
        ]
        .map(|(words, verb)| (words.to_owned(), Input::Operator(verb))),
    );
    all
}

/// Every state shape that the sample plan can reach, and every row of the table, in order.
pub fn explore() -> (Vec<Reached>, BTreeSet<Row>) {
    let plan = sample_plan();
    let start = Timestamp(1_000_000);
    let mut queue = VecDeque::from([Reached { state: State::planned(start), now: start }]);
    let mut seen = BTreeSet::new();
    let mut rows = BTreeSet::new();
    let mut reached = Vec::new();
    while let Some(here) = queue.pop_front() {
        if !seen.insert(shape(&here.state)) {
            continue;
        }
        // Soon: nothing is due. Late: everything is.
        for (when, later) in [("", Millis::secs(1)), (" when due", Millis::hours(48))] {
            let now = here.now.after(later);
            for (words, input) in news(&plan, &here.state, now) {
                if !when.is_empty() && !depends_on_time(&input) {
                    continue;
                }
                let (row, next) = step(&plan, &here.state, &format!("{words}{when}"), &input, now);
                rows.insert(row);
                queue.extend(next.map(|state| Reached { state, now }));
            }
        }
        reached.push(here);
    }
    (reached, rows)
}

const fn depends_on_time(input: &Input) -> bool {
    matches!(input, Input::Tick | Input::Outcome { key: Key { what: What::Measure, .. }, .. })
}

/// Applies one piece of news.
fn step(plan: &Plan, state: &State, words: &str, input: &Input, now: Timestamp) -> (Row, Option<State>) {
    let from = state.name();
    let row = |answer, to| Row { from, input: words.to_owned(), answer, to };
    match decide(plan, state, &Judge::of(plan), input, now) {
        Err(refusal) => (row(format!("refused: {}", short(&refusal)), None), None),
        Ok(events) if events.is_empty() => (row("nothing".to_owned(), None), None),
        Ok(events) => {
            let names: Vec<&str> = events.iter().map(super::Event::name).collect();
            let next = events.into_iter().fold(state.clone(), |state, event| {
                let recorded = Recorded { seq: state.seq + 1, at: now, actor: Actor::engine(), event };
                evolve(plan, state, &recorded)
            });
            let answer = format!("{} -> {}", names.join(", "), next.name());
            (row(answer, Some(next.name())), Some(next))
        }
    }
}

fn short(refusal: &Refusal) -> String {
    match refusal {
        Refusal::Stale => "stale".to_owned(),
        Refusal::NotDue => "not due".to_owned(),
        Refusal::Over { .. } => "over".to_owned(),
        Refusal::Wrong { advice, .. } => (*advice).to_owned(),
        Refusal::Unseen { .. } => "unseen".to_owned(),
    }
}

/// What makes two states the same for the table: everything but times and counters without a bound.
fn shape(state: &State) -> String {
    let attempt = state.phase.tries().map(|tries| tries.attempt);
    let place = match &state.phase {
        Phase::Canary { step, .. } | Phase::RollingBack { step, .. } => format!("{step:?}"),
        Phase::AwaitingApproval { why, .. } => format!("{:?}", why.stage_in_force(1)),
        Phase::CanaryEvaluating { held_until, .. } => held_until.is_some().to_string(),
        Phase::Paused { resume, .. } => format!("{:?}", core::mem::discriminant(resume)),
        Phase::Retiring(_) => "retiring".to_owned(),
        Phase::Queued
        | Phase::Checking(_)
        | Phase::Init(_)
        | Phase::Building(_)
        | Phase::Deploying(_)
        | Phase::CanaryWaiting { .. }
        | Phase::Promoting(_)
        | Phase::Promoted(_)
        | Phase::Verifying { .. }
        | Phase::Verified
        | Phase::RolledBack
        | Phase::Stuck
        | Phase::Failed
        | Phase::Cancelled => String::new(),
    };
    let State { share, reopened, pause_asked, hurried, .. } = state;
    format!(
        "{} {:?} {place} {attempt:?} {share} {reopened} {pause_asked} {hurried}",
        state.name(),
        state.stage()
    )
}

/// The table as text: one block per state, one line per news; answers that depend on more than the state's name are
/// listed one under the other.
pub fn render() -> String {
    let mut blocks: BTreeMap<StateName, BTreeMap<String, Vec<String>>> = BTreeMap::new();
    for row in explore().1 {
        blocks.entry(row.from).or_default().entry(row.input).or_default().push(row.answer);
    }
    let mut text = String::new();
    for (state, inputs) in blocks {
        text = format!("{text}{state}\n");
        for (input, answers) in inputs {
            for (number, answer) in answers.iter().enumerate() {
                let label = if number == 0 { input.as_str() } else { "" };
                text = format!("{text}  {label:36} {answer}\n");
            }
        }
        text.push('\n');
    }
    text
}

/// The edges between states, each with the news that take it: what a drawing needs.
pub fn edges() -> BTreeMap<(StateName, StateName), BTreeSet<String>> {
    let mut edges: BTreeMap<_, BTreeSet<String>> = BTreeMap::new();
    for row in explore().1 {
        if let Some(to) = row.to.filter(|to| *to != row.from) {
            edges.entry((row.from, to)).or_default().insert(row.input);
        }
    }
    edges
}

#[cfg(test)]
mod tests {
    extern crate std;

    use super::*;

    #[test]
    fn the_table_is_the_one_in_the_golden_file() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/deployment/table.txt");
        let now = render();
        if std::env::var_os("TIDEGATE_BLESS").is_some() {
            std::fs::write(path, &now).unwrap();
        }
        let golden = std::fs::read_to_string(path).unwrap();
        assert!(
            golden == now,
            "the table changed: read the difference after `TIDEGATE_BLESS=1 cargo test -p tidegate-core`"
        );
    }

    #[test]
    fn every_state_and_every_stage_is_reached() {
        let (reached, _) = explore();
        let names: BTreeSet<_> = reached.iter().map(|r| r.state.name()).collect();
        assert_eq!(names, StateName::ALL.into_iter().collect());
        let stages: BTreeSet<_> = reached.iter().filter_map(|r| r.state.stage()).collect();
        assert_eq!(stages, (0..3).collect());
    }

    #[test]
    fn every_state_that_has_not_ended_owes_something_or_waits_for_the_fleet() {
        let plan = sample_plan();
        for Reached { state, .. } in explore().0 {
            let owes = !owed(&plan, &state).is_empty();
            assert_eq!(owes, !state.is_terminal() && state.phase != Phase::Queued, "{:?}", state.phase);
        }
    }

    /// From every state: a person aborts once, and then either everything works or nothing but the target's own traffic
    /// switch does. Both ways end, and with the stable release in force unless the deployment had ended before.
    #[test]
    fn every_state_has_a_way_back_that_needs_only_the_traffic_switch() {
        let plan = sample_plan();
        for Reached { state, now } in explore().0 {
            for others_work in [true, false] {
                let abort = Input::Operator(Verb::Abort { reason: String::new() });
                let mut here = step(&plan, &state, "", &abort, now).1.unwrap_or_else(|| state.clone());
                for lap in 0..40 {
                    let now = now.after(Millis::secs(lap * 20));
                    let Some(item) = owed(&plan, &here).into_iter().next() else { break };
                    let restores = matches!(item.effect, Effect::Restore { .. });
                    let reads = matches!(item.effect, Effect::Measure { .. } | Effect::Shift { .. });
                    let outcome = match (others_work, reads) {
                        (true, true) => Outcome::Read(reading(now, 0)),
                        (true, false) => Outcome::Done,
                        (false, _) if restores => Outcome::Done,
                        (false, _) => Outcome::Failed { reason: String::new(), permanent: false },
                    };
                    let input = Input::Outcome { key: item.key, attempt: item.attempt, outcome };
                    if let Some(next) = step(&plan, &here, "", &input, now).1 {
                        here = next;
                    }
                }
                assert!(here.is_terminal(), "from {:?} to {:?}", state.phase, here.phase);
                if !state.is_terminal() && here.name() == StateName::RolledBack {
                    assert_eq!(here.share, Share::NONE);
                }
            }
        }
    }

    #[test]
    fn no_evidence_never_passes_a_stage() {
        let (_, rows) = explore();
        for row in rows.iter().filter(|row| row.input.starts_with("measure failed")) {
            assert!(!row.answer.contains("stage_passed"), "{row:?}");
        }
    }
}
