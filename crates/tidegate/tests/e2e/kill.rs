//! `kill -9` of the engine in every state, before and after everything it does: whoever looks next finds it going on.

use std::thread;

use crate::support::{ERRORS, Project, until};

/// Where the engine dies, and how the deployment must end.
struct Death {
    /// A point of `TIDEGATE_FAULT`, or the state in which it is killed from outside.
    when: When,
    ends: &'static str,
    /// What must be done so that it comes there.
    prepare: fn(&mut Project),
    /// What must be done so that it goes on from there.
    release: fn(&Project),
}

#[derive(Clone, Copy)]
enum When {
    Point(&'static str),
    State(&'static str),
}

const fn at(point: &'static str) -> Death {
    Death { when: When::Point(point), ends: "verified", prepare: |_| {}, release: |_| {} }
}

const fn back(point: &'static str) -> Death {
    Death { when: When::Point(point), ends: "rolled_back", prepare: bad, release: |_| {} }
}

const fn during(state: &'static str, prepare: fn(&mut Project), release: fn(&Project)) -> Death {
    Death { when: When::State(state), ends: "verified", prepare, release }
}

/// Its instances die under it.
fn bad(shop: &mut Project) {
    shop.faults(&["--crash-after-ms", "600"]).bake("50%", "8s");
}

fn slow_start(shop: &mut Project) {
    shop.faults(&["--not-ready-ms", "1500"]);
}

fn long_bake(shop: &mut Project) {
    shop.bake("50%", "2s");
}

fn approval(shop: &mut Project) {
    shop.with(
        "strategy",
        "{canary: {steps: [{share: 50%, bake: 100ms, approval: true}, {share: 100%, bake: 100ms}]}}",
    );
}

fn no_evidence(shop: &mut Project) {
    shop.with("gates", ERRORS);
}

const DEATHS: &[Death] = &[
    // Checking, init, building, deploying, canary, promoting, promoted, verifying: before and after what each of them does.
    at("perform-before:check"),
    at("perform-after:check"),
    at("perform-before:read"),
    at("perform-before:build"),
    at("perform-after:build"),
    at("perform-before:scale"),
    at("perform-after:scale"),
    at("perform-before:shift"),
    at("perform-after:shift"),
    at("perform-after:shift:2"),
    at("perform-before:promote"),
    at("perform-after:promote"),
    at("perform-after:read:2"),
    at("perform-before:retire"),
    at("perform-after:retire"),
    at("perform-after:measure:2"),
    // The end of the release before is told again at every start; that one is the first.
    at("ended-before:2"),
    at("ended-after:2"),
    // The way back.
    back("perform-before:restore"),
    back("perform-after:restore"),
    back("perform-before:retire"),
    back("perform-after:retire"),
    // States that take their time, killed from outside.
    during("deploying", slow_start, |_| {}),
    during("canary_waiting", long_bake, |_| {}),
    during("awaiting_approval", approval, |shop| drop(shop.run(&["approve"]))),
    during("canary_evaluating", no_evidence, |shop| drop(shop.run(&["promote", "--full"]))),
];

/// Plays one row of the table.
fn die(death: &Death) {
    let mut shop = Project::new();
    shop.deploy().code(0);
    shop.stop_engine();
    shop.version("v2").with("watch", "600ms");
    (death.prepare)(&mut shop);
    match death.when {
        When::Point(point) => {
            shop.environment("TIDEGATE_FAULT", point).begin();
            shop.plain_environment().engine_dies();
        }
        When::State(state) => {
            let id = shop.begin();
            shop.reaches(&id, state).kill_engine();
        }
    }
    let label = match death.when {
        When::Point(name) | When::State(name) => name,
    };
    if matches!(death.when, When::State("awaiting_approval" | "canary_evaluating")) {
        (death.release)(&shop);
    }
    let code = if death.ends == "verified" { 0 } else { 4 };
    let watched = shop.run(&["watch"]);
    assert_eq!(shop.state("shop-2"), death.ends, "{label}: {watched}");
    watched.code(code);
    let serves = if code == 0 { "v2" } else { "v1" };
    assert_eq!(shop.asks().as_deref(), Some(serves), "{label}: {watched}");
    let events = shop.events("shop-2");
    for once in
        ["admitted", "checked", "built", "deployed", "promoted", "restored", "verified", "rolled_back"]
    {
        assert!(
            events.iter().filter(|event| *event == once).count() <= 1,
            "{label}: {once} twice in {events:?}"
        );
    }
    let artifact = shop.data().join("artifacts/deployment_artifact_shop-2.json");
    // The artifacts of a deployment that ended while the engine died come at its next start, or by `artifacts`.
    if !artifact.is_file() {
        shop.run(&["artifacts", "shop-2"]).code(0);
    }
    assert!(artifact.is_file(), "{label}");
    shop.run(&["audit"]).code(0);
}

/// Some rows at a time: most of each is waiting.
fn play(deaths: &'static [Death]) {
    let lanes = 5;
    thread::scope(|scope| {
        let mut running = Vec::new();
        for lane in 0..lanes {
            running.push(scope.spawn(move || deaths.iter().skip(lane).step_by(lanes).for_each(die)));
        }
        for lane in running {
            if let Err(panicked) = lane.join() {
                std::panic::resume_unwind(panicked);
            }
        }
    });
}

#[test]
fn a_deployment_ends_right_wherever_the_engine_is_killed() {
    play(DEATHS);
}

#[test]
fn a_queued_deployment_and_a_paused_one_survive_the_engine() {
    let mut shop = Project::new();
    shop.deploy().code(0);
    let first = shop.version("v2").bake("50%", "60s").begin();
    shop.reaches(&first, "canary_waiting");
    shop.run(&["pause"]).code(0);
    let second = shop.version("v3").bake("50%", "200ms").begin();
    shop.kill_engine();
    assert_eq!((shop.state(&first), shop.state(&second)), ("paused".to_owned(), "queued".to_owned()));
    shop.run(&["resume", &first]).code(0);
    shop.kill_engine();
    shop.run(&["promote", "--full", &first]).code(0);
    shop.run(&["watch", &first]).code(0);
    shop.reaches(&second, "verified");
    assert_eq!(shop.asks().as_deref(), Some("v3"));
}

#[test]
fn a_submission_whose_answer_was_lost_is_found_again_by_its_key() {
    let mut shop = Project::new();
    shop.environment("TIDEGATE_FAULT", "submitted").write();
    let ask = |shop: &Project| shop.run(&["deploy", "--detach", "--json", "--key", "once"]);
    ask(&shop).code(3);
    shop.plain_environment().engine_dies();
    assert_eq!(ask(&shop).code(0).json()["deployment"], "shop-1");
    shop.reaches("shop-1", "verified");
    assert_eq!(shop.run(&["history", "--json"]).code(0).json().as_array().map(Vec::len), Some(1));
}

#[test]
fn a_verb_whose_answer_was_lost_has_happened() {
    let mut shop = Project::new();
    shop.deploy().code(0);
    shop.stop_engine();
    shop.environment("TIDEGATE_FAULT", "told");
    let id = shop.version("v2").bake("50%", "60s").begin();
    shop.reaches(&id, "canary_waiting");
    shop.run(&["abort", "--reason", "never mind"]).code(3);
    shop.plain_environment().engine_dies();
    shop.run(&["watch"]).code(4);
    assert_eq!(shop.asks().as_deref(), Some("v1"));
}

#[test]
fn with_the_engine_dead_traffic_returns_to_stable_when_the_lease_ends() {
    let mut shop = Project::new();
    shop.deploy().code(0);
    let id = shop.version("v2").bake("50%", "60s").with("lease", "2s").begin();
    shop.reaches(&id, "canary_waiting");
    shop.kill_engine();
    let killed = std::time::Instant::now();
    let all_on_stable = || shop.weights().values().any(|weight| *weight == 10_000);
    assert!(!all_on_stable());
    until(all_on_stable, || "the lease does not end".to_owned());
    // The last renewal was at most half a second before the death; a second more is allowed after the lease.
    assert!(killed.elapsed().as_millis() <= 3_000, "it took {:?}", killed.elapsed());
    assert_eq!(shop.asks().as_deref(), Some("v1"));
    // Whoever asks for anything starts the engine again. A stage whose share is gone cannot be called good: the engine
    // finds the lease ended, and the stage starts over.
    shop.run(&["promote"]).code(2).complains("ask again in a moment");
    assert!(!shop.events(&id).contains(&"stage_passed".to_owned()), "{:?}", shop.events(&id));
    until(|| shop.events(&id).contains(&"reopened".to_owned()), || format!("{:?}", shop.events(&id)));
    until(|| shop.run(&["promote"]).stdout.contains("passed"), || "it cannot be promoted".to_owned());
    shop.run(&["watch"]).code(0);
    assert_eq!(shop.asks().as_deref(), Some("v2"));
}
