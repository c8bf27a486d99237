//! One controller leads, and only one.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::scene::{SOON, Scene};

#[test]
fn a_leader_that_is_stopped_is_followed_by_another_and_writes_nothing_when_it_goes_on() {
    let scene = Scene::new("leader");
    let first = scene.controller("a");
    scene.apply('a', &json!({}));
    scene.until_state("verified");
    let holder = scene.until_held(None);
    let _second = scene.controller("b");
    scene.apply('b', &json!({"strategy": {"canary": {"steps": ["50%"], "bake": "10m"}}}));
    let half = scene.until("half of the traffic", |status| status["share"] == "50%");
    first.stop();
    let stopped = Instant::now();
    let other = scene.until_held(Some(&holder));
    assert!(stopped.elapsed() < Duration::from_secs(3 + 5), "{:?}", stopped.elapsed());
    assert_ne!(other, holder);
    let epoch = half["status"]["epoch"].as_u64();
    scene.until("the new leader's word", |status| status["epoch"].as_u64() > epoch);
    // Its disk is another one: what it finds it takes over, or says why it cannot.
    let after = scene.lease().expect("a Lease");
    first.go_on();
    let (code, log) = first.ended();
    assert_eq!(code, Some(3), "{log}");
    assert!(log.contains("does not lead any more"), "{log}");
    let now = scene.lease().expect("a Lease");
    assert_eq!(now["spec"]["holderIdentity"], after["spec"]["holderIdentity"]);
    let rollout = scene.admin().get(&scene.path("shop")).expect("a Rollout");
    assert!(rollout["status"]["epoch"].as_u64() > epoch, "{rollout:#}");
    assert!(SOON > Duration::ZERO);
}
