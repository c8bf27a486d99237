//! The views of deployments that were walked through the real machine.

extern crate std;

use alloc::{
    borrow::ToOwned,
    collections::BTreeSet,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use proptest::prelude::*;

use super::{
    scene::Story,
    walker::{Health, START, Walker, request},
    *,
};
use crate::{
    deployment::{Effect, Event, Recorded, StateName, Verb, decide, fold, table},
    gate::{Conditions, Finding, Gate, Judgement, Verdict},
    judge::{Judge, Settings},
    model::{Actor, Millis, Timestamp},
    plan::{Batch, Incident, Request, StrategySpec},
};

fn abort() -> Verb {
    Verb::Abort { reason: "wrong price list".to_owned() }
}

fn with(health: Health) -> Walker {
    let mut walker = Walker::canary();
    walker.health = health;
    walker
}

fn broken(effects: fn(&Effect) -> bool) -> Walker {
    let mut walker = Walker::canary();
    walker.broken = effects;
    walker
}

/// Every story with its name.
fn stories() -> Vec<(&'static str, Walker)> {
    let mut all = Vec::new();
    let mut tell = |name, mut walker: Walker, goal| {
        walker.run_to(goal);
        all.push((name, walker));
    };
    tell("a good release", Walker::canary(), StateName::Verified);
    tell("a release that fails requests", with(Health::Failing), StateName::RolledBack);
    tell("a release that is slow", with(Health::Slow), StateName::RolledBack);
    tell("a release that nobody uses", with(Health::Idle), StateName::RolledBack);
    tell("a build that fails", broken(|e| matches!(e, Effect::Build)), StateName::Failed);
    tell("instances that do not start", broken(|e| matches!(e, Effect::Scale { .. })), StateName::RolledBack);
    let first = Request { stable: None, ..request(StrategySpec::standard_canary()) };
    tell("a first deployment", Walker::with(first), StateName::Verified);
    let rolling = StrategySpec::Rolling { batch: Batch::Count(2), bake: Millis::secs(20) };
    tell("a rolling deployment", Walker::with(request(rolling)), StateName::Verified);
    let mut by_hand = Walker::with_approval();
    by_hand.run_to(StateName::AwaitingApproval).ask(Verb::Approve).run_to(StateName::CanaryWaiting);
    by_hand.ask(Verb::Pause { reason: "lunch".to_owned() }).step().ask(Verb::Resume);
    by_hand.ask(Verb::Promote { full: false }).run_to(StateName::Verifying);
    tell(
        "a person who approves, pauses and aborts",
        {
            by_hand.ask(abort());
            by_hand
        },
        StateName::RolledBack,
    );
    let mut stuck = broken(|e| matches!(e, Effect::Restore { .. }));
    stuck.run_to(StateName::CanaryWaiting).ask(abort());
    tell("a way back that fails", stuck, StateName::Stuck);
    let mut queued = Walker::canary();
    queued.ask(abort());
    tell("one that is called off", queued, StateName::Cancelled);
    all
}

/// The sentences that `why` gave on the way, but for those in `seen`, and the timeline.
fn told((name, walker): (&str, Walker), seen: &mut BTreeSet<String>) -> String {
    let mut text = format!("{name}\n\n");
    for end in 1..=walker.history.len() {
        let history = walker.history.get(..end).unwrap();
        let now = history.last().unwrap().at.after(Millis(300));
        let clock = |at: Timestamp| format!("+{}", at.since(START));
        let why = why(history, now, &clock).unwrap();
        if seen.insert(why.clone()) {
            text = format!("{text}  {why}\n");
        }
    }
    text.push('\n');
    for line in timeline(&walker.history) {
        let (at, after) = (line.at.since(START).0, line.after.as_str());
        text = format!("{text}  {at:>7} ms  {after:18} {:9} {}\n", line.actor.name, line.sentence);
    }
    text.push('\n');
    text
}

#[test]
fn the_stories_are_the_ones_in_the_golden_file() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/view/stories.txt");
    let mut seen = BTreeSet::new();
    let now: String = stories().into_iter().map(|story| told(story, &mut seen)).collect();
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        std::fs::write(path, &now).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    assert!(
        golden == now,
        "a story changed: read the difference after `TIDEGATE_BLESS=1 cargo test -p tidegate-core`"
    );
}

#[test]
fn a_bake_says_until_when_it_is_waited_for() {
    let mut walker = Walker::canary();
    walker.run_to(StateName::CanaryWaiting);
    walker.now = START.after(Millis::secs(20));
    assert_eq!(walker.why(), "Waiting until +61 s for the bake of canary 5 % (stage 1 of 4); 41 s left.");
}

#[test]
fn what_turned_back_says_after_how_long_and_what_users_have_now() {
    let mut walker = with(Health::Failing);
    assert_eq!(
        walker.run_to(StateName::RolledBack).why(),
        "Rolled back after 600 ms of canary 5 %: gate error_rate failed: 3 of 3 requests failed (100 %), stable 0 of 57 \
         (0 %); at most 0 % allowed. 0 % of traffic is on shop new-2 now."
    );
}

#[test]
fn a_way_back_that_was_given_up_says_that_nobody_knows_where_traffic_is() {
    let mut walker = broken(|e| matches!(e, Effect::Restore { .. }));
    walker.run_to(StateName::CanaryWaiting).ask(abort()).run_to(StateName::Stuck);
    assert_eq!(summary(&walker.history, walker.now).unwrap().ended_at, None);
    let event = Event::Abandoned { reason: "the host is gone.".to_owned() };
    let seq = walker.history.len() as u64 + 1;
    walker.history.push(Recorded { seq, at: walker.now, actor: Actor::person("ana"), event });
    let why = walker.why();
    assert!(why.starts_with("Given up by ana at +"), "{why}");
    assert!(
        why.contains("aborted by ben: wrong price list; only the target knows where traffic is."),
        "{why}"
    );
}

#[test]
fn the_artifact_has_the_fields_that_its_readers_know() {
    let mut walker = with(Health::Failing);
    walker.run_to(StateName::RolledBack);
    let json = serde_json::to_value(artifact(&walker.history).unwrap()).unwrap();
    let seed = [
        ("deployment_id", "\"d1\""),
        ("incident_id", "null"),
        ("service_name", "\"shop\""),
        ("image_tag", "\"new-2\""),
        ("commit_hash", "\"new\""),
        ("confidence_score", "null"),
        ("confidence_decision", "null"),
        ("state", "\"rolled_back\""),
        ("duration_seconds", "2.2"),
        ("deployment_strategy", "\"canary\""),
        ("immutable_deployment", "true"),
    ];
    for (field, value) in seed {
        assert_eq!(json.get(field).map(ToString::to_string).as_deref(), Some(value), "{field}");
    }
    assert_eq!(json["blast_radius_control"]["largest_share_basis_points"], 500);
    let first = &json["state_transitions"][0];
    let fields: BTreeSet<_> = first.as_object().unwrap().keys().map(String::as_str).collect();
    assert!(fields.is_superset(&["from_state", "to_state", "timestamp", "reason"].into()), "{fields:?}");
    assert_eq!(first["timestamp"], "2026-01-02T10:00:00.200Z");
    let log = serde_json::to_value(state_log(&walker.history).unwrap()).unwrap();
    assert_eq!(log["current_state"], "rolled_back");
    assert_eq!(log["transitions"], json["state_transitions"]);
}

#[test]
fn the_evidence_keeps_every_answer_with_its_stage() {
    let mut walker = Walker::canary();
    walker.run_to(StateName::Verified);
    let evidence = evidence(&walker.history).unwrap();
    let stages: Vec<_> = evidence.looks.iter().map(|look| (look.stage, look.judgements.len())).collect();
    assert_eq!(stages, [(Some(1), 7), (Some(2), 7), (Some(3), 7), (Some(4), 7), (None, 7)]);
    assert_eq!(evidence.looks.last().unwrap().name, "watch");
}

#[test]
fn what_users_met_is_counted_over_all_windows() {
    let mut good = Walker::canary();
    good.run_to(StateName::Verified);
    // 60 s at 5, 25, 50 and 100 % and the watch of 300 s, at 100 requests a second, and the shifts in between.
    let met = summary(&good.history, good.now).unwrap().users;
    assert!((40_800..41_000).contains(&met.requests) && met.failures == 0, "{met:?}");
    let mut bad = with(Health::Failing);
    bad.run_to(StateName::RolledBack);
    assert_eq!(summary(&bad.history, bad.now).unwrap().users, Users { requests: 3, failures: 3 });
}

#[test]
fn a_stage_that_passed_without_an_answer_says_what_let_it_pass() {
    let mut walker = Walker::canary();
    walker.run_to(StateName::CanaryEvaluating);
    let open = Judgement {
        verdict: Verdict::NoEvidence,
        finding: Some(Finding { undecided: true, ..Finding::default() }),
        ..judged("latency_p99", "1 of 80 requests took longer than 1 s")
    };
    let judgements = vec![judged("error_rate", "nothing failed"), open];
    for event in
        [Event::Judged { stage: Some(0), judgements }, Event::StagePassed { stage: 0, by_hand: false }]
    {
        let seq = walker.history.len() as u64 + 1;
        walker.history.push(Recorded { seq, at: walker.now, actor: Actor::engine(), event });
    }
    let passed = "canary 5 % (stage 1 of 4) passed, although gate latency_p99 decided nothing in 10 min, the longest \
                  that a stage may last, and `on_inconclusive: promote` let it pass: 1 of 80 requests took longer than 1 s";
    assert_eq!(timeline(&walker.history).last().unwrap().sentence, passed);
    let why = walker.why();
    assert!(why.ends_with(&format!(" {}.", passed.replace(", although", " although"))), "{why}");
}

fn judged(gate: &str, reason: &str) -> Judgement {
    Judgement {
        gate: gate.to_owned(),
        verdict: Verdict::Pass,
        reason: reason.to_owned(),
        value: None,
        limit: None,
        baseline: None,
        requests: 80,
        baseline_requests: 800,
        window: Millis::secs(60),
        finding: None,
    }
}

#[test]
fn what_was_only_observed_says_what_the_gates_would_have_done() {
    let observing = |health| {
        let asked = request(StrategySpec::standard_canary());
        let gates = asked.gates.iter().cloned().map(Gate::observing).collect();
        let judge = Settings { observe: true, ..Settings::default() };
        let mut walker = Walker::with(Request { gates, judge, ..asked });
        walker.health = health;
        walker.run_to(StateName::Verified).why()
    };
    let (bad, good) = (observing(Health::Failing), observing(Health::Good));
    assert!(bad.contains("It was only observed: gate error_rate would have turned it back: 3 of 3"), "{bad}");
    assert!(good.ends_with("It was only observed: no gate would have turned it back."), "{good}");
}

#[test]
fn a_history_without_a_plan_has_no_view() {
    let lone = [Recorded { seq: 1, at: START, actor: Actor::engine(), event: Event::Admitted }];
    for history in [&[][..], &lone] {
        assert!(
            summary(history, START).is_none() && artifact(history).is_none() && evidence(history).is_none()
        );
        assert!(why(history, START, &rfc3339).is_none() && state_log(history).is_none());
        assert!(timeline(history).is_empty() && transitions(history).is_empty() && audit(history).is_empty());
    }
}

/// A random walk: every number picks one piece of the news that the state may get.
fn wander(choices: &[(u8, u8)]) -> Vec<Recorded> {
    let plan = table::sample_plan();
    let planned = Walker::canary().history.remove(0);
    let Event::Planned { request, reason, .. } = planned.event else { panic!("the first event is the plan") };
    let event = Event::Planned { request, plan: plan.into(), reason };
    let mut history = vec![Recorded { event, ..planned }];
    let mut now = START;
    for &(choice, seconds) in choices {
        let (plan, state) = fold(&history).unwrap();
        now = now.after(Millis::secs(u64::from(seconds)));
        let news = table::news(&plan, &state, now);
        let (_, input) = &news[usize::from(choice) % news.len()];
        for event in decide(&plan, &state, &Judge::of(&plan), input, now).unwrap_or_default() {
            let seq = history.len() as u64 + 1;
            history.push(Recorded { seq, at: now, actor: Actor::engine(), event });
        }
    }
    history
}

proptest! {
    #[test]
    fn the_views_of_any_history_agree_with_its_fold(choices in proptest::collection::vec((any::<u8>(), 0_u8..90), 0..80)) {
        let history = wander(&choices);
        let now = history.last().unwrap().at;
        let (_, state) = fold(&history).unwrap();
        let story = Story::of(&history).unwrap();
        prop_assert_eq!(&story.state, &state);
        let summary = summary(&history, now).unwrap();
        prop_assert_eq!(summary.state, state.name());
        prop_assert_eq!(summary.waits.is_none(), summary.over);
        prop_assert!(summary.share <= summary.largest_share);
        let sentence = why(&history, now, &rfc3339).unwrap();
        prop_assert!(sentence.ends_with('.') && !sentence.contains('\n') && !sentence.contains("  "), "{}", sentence);
        let lines = timeline(&history);
        prop_assert_eq!(lines.len(), history.len());
        prop_assert!(lines.windows(2).all(|pair| pair[1].before == Some(pair[0].after)));
        let moves = transitions(&history);
        prop_assert!(moves.iter().all(|change| change.from_state != change.to_state));
        prop_assert!(moves.windows(2).all(|pair| pair[0].to_state == pair[1].from_state));
        prop_assert_eq!(moves.last().map_or(StateName::Queued, |last| last.to_state), state.name());
    }
}

#[test]
fn an_incident_that_nobody_could_look_at_is_not_taken_for_fixed() {
    let fixed = Conditions {
        success: Some("result < 5".to_owned()),
        failure: None,
        failures_max: 0,
        unit: "number".to_owned(),
    };
    let incident = Incident { id: "7".to_owned(), metric: "queue".to_owned(), fixed };
    let once = StrategySpec::AllAtOnce { bake: Millis::secs(20) };
    let asked = |incident| Request { incident, watch: Millis::secs(5), ..request(once.clone()) };
    for (incident, ends) in [(Some(incident), StateName::RolledBack), (None, StateName::Verified)] {
        let mut walker = Walker::with(asked(incident));
        walker.run_to(StateName::Verifying);
        walker.broken = |effect| matches!(effect, Effect::Measure { .. });
        walker.run_to(ends);
    }
}
