//! One controller leads, and only one.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::scene::Scene;

#[test]
fn a_leader_that_is_stopped_is_followed_by_another_and_writes_nothing_when_it_goes_on() {
    let scene = Scene::new("leader");
    let first = scene.controller("a");
    scene.apply('a', &json!({}));
    scene.until_state("verified");
    let holder = scene.until_held(None);
    let _second = scene.controller("b");
    scene.apply('b', &json!({"strategy": {"canary": {"steps": ["50%"], "bake": "6s"}}}));
    let half = scene.until("half of the traffic", |status| status["share"] == "50%");
    first.stop();
    let stopped = Instant::now();
    let other = scene.until_held(Some(&holder));
    assert!(stopped.elapsed() < Duration::from_secs(3 + 4), "{:?}", stopped.elapsed());
    // Its disk is another one: it goes on with what is there, on its way since.
    let done = scene.until_state("verified");
    assert!(done["status"]["epoch"].as_u64() > half["status"]["epoch"].as_u64());
    assert_eq!(done["status"]["release"], half["status"]["release"], "the same release");
    assert_eq!(scene.releases().len(), 2, "{:?}", scene.releases());
    let settled = scene.settled();
    first.go_on();
    let (code, log) = first.ended();
    assert_eq!(code, Some(3), "{log}");
    assert!(log.contains("does not lead any more"), "{log}");
    assert_eq!(scene.versions(), settled, "it wrote something");
    assert_eq!(scene.until_held(None), other);
}
