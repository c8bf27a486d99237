//! The wall clock is set, by an hour, forwards and back, while the engine runs and while it is down.

use std::{fs, thread, time::Instant};

use crate::support::{Project, kill, until};

const HOUR_MS: i64 = 3_600_000;

/// How long the bake is, and how long missing evidence is waited for.
const SPAN_MS: u128 = 4_000;

/// What happens beside the clock.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Meanwhile {
    /// The engine runs on.
    Nothing,
    /// The engine dies and is started again.
    Death,
    /// The machine is started again: the engine and the proxy die, and the steady clock begins anew.
    Reboot,
}

/// Sets the wall clock of the project's engines.
fn set(shop: &Project, ms: i64) {
    fs::write(shop.root().join("wall"), ms.to_string()).expect("a clock");
}

fn shop() -> Project {
    let mut shop = Project::new();
    let clock = shop.root().join("wall").to_string_lossy().into_owned();
    shop.environment("TIDEGATE_TEST_CLOCK", &clock);
    set(&shop, 0);
    shop.deploy().code(0);
    shop
}

fn happens(shop: &Project, id: &str, ms: i64, meanwhile: Meanwhile) {
    if meanwhile == Meanwhile::Nothing {
        return set(shop, ms);
    }
    shop.kill_engine();
    if meanwhile == Meanwhile::Reboot {
        kill(shop.proxy().expect("a proxy"));
        until(|| shop.proxy().is_none(), || "the proxy does not die".to_owned());
        fs::write(shop.data().join("clock.json"), r#"{"boot":"the run before","ahead_ms":0}"#)
            .expect("a file");
    }
    set(shop, ms);
    // Refused, but whoever asks for anything starts the engine.
    shop.run(&["retry", id]).code(2);
}

/// The time of the deployment's events never goes back.
fn in_order(shop: &Project, id: &str) {
    let lines = shop.run(&["history", id, "--json"]).code(0).json();
    // RFC 3339 with fixed places: the order of the texts is the order of the moments.
    let times: Vec<&str> =
        lines.as_array().expect("events").iter().filter_map(|line| line["at"].as_str()).collect();
    assert!(times.len() > 5 && times.is_sorted(), "{times:?}");
}

fn promotes(ms: i64, meanwhile: Meanwhile) {
    let mut shop = shop();
    let id = shop.version("v2").bake("50%", &format!("{SPAN_MS}ms")).begin();
    shop.reaches(&id, "canary_waiting");
    let seen = Instant::now();
    happens(&shop, &id, ms, meanwhile);
    let passed = || shop.events(&id).contains(&"stage_passed".to_owned());
    until(passed, || format!("{ms} {meanwhile:?}: {:?}", shop.events(&id)));
    let took = seen.elapsed().as_millis();
    // The share was in force a little before it was seen; a clock that was believed makes it a fraction of this.
    assert!(took > SPAN_MS - 1_500, "{ms} {meanwhile:?}: promoted after {took} ms: {:?}", shop.events(&id));
    let again = shop.events(&id).contains(&"reopened".to_owned());
    assert_eq!(again, meanwhile == Meanwhile::Reboot, "{ms} {meanwhile:?}: {:?}", shop.events(&id));
    shop.run(&["watch"]).code(0);
    in_order(&shop, &id);
}

fn turns_back(ms: i64, meanwhile: Meanwhile) {
    let mut shop = shop();
    let gates = format!(
        "{{error_rate: {{min_requests: 10, hold_max: {SPAN_MS}ms}}, latency_p95: off, latency_p99: off, \
         cpu: off, memory: off, request_rate: off}}"
    );
    let id = shop.version("v2").with("gates", &gates).bake("50%", "100ms").begin();
    until(|| shop.events(&id).contains(&"held".to_owned()), || format!("{:?}", shop.events(&id)));
    let seen = Instant::now();
    happens(&shop, &id, ms, meanwhile);
    shop.run(&["watch"]).code(4).says("error_rate had no evidence");
    let took = seen.elapsed().as_millis();
    assert!(took < 3 * SPAN_MS, "{ms} {meanwhile:?}: turned back after {took} ms");
    in_order(&shop, &id);
}

type Case = (fn(i64, Meanwhile), i64, Meanwhile);

#[test]
fn a_clock_that_is_set_promotes_nothing_early_and_keeps_nothing_from_turning_back() {
    let cases: [Case; 9] = [
        (promotes, HOUR_MS, Meanwhile::Nothing),
        (promotes, -HOUR_MS, Meanwhile::Nothing),
        (promotes, HOUR_MS, Meanwhile::Death),
        (promotes, -HOUR_MS, Meanwhile::Death),
        (promotes, HOUR_MS, Meanwhile::Reboot),
        (turns_back, HOUR_MS, Meanwhile::Nothing),
        (turns_back, -HOUR_MS, Meanwhile::Nothing),
        (turns_back, HOUR_MS, Meanwhile::Death),
        (turns_back, -HOUR_MS, Meanwhile::Death),
    ];
    thread::scope(|scope| {
        let lanes: Vec<_> = cases
            .chunks(2)
            .map(|lane| scope.spawn(|| lane.iter().for_each(|(play, ms, how)| play(*ms, *how))))
            .collect();
        for lane in lanes {
            if let Err(panicked) = lane.join() {
                std::panic::resume_unwind(panicked);
            }
        }
    });
}
