//! A controller whose API server has trouble in the middle of a rollout.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tidegate_bed::{Middleman, Rule, Spoil, Verb};

use crate::scene::Scene;

/// Much shorter than [`LEASE`], and longer than a renewal waits for the next.
const BLIP: Duration = Duration::from_millis(1_500);

/// Seconds. Its holder renews it every sixth of that, and stops a quarter of it early.
const LEASE: &str = "8";

fn answered(status: u16, reason: &'static str) -> Spoil {
    Spoil::Answered { status, reason, message: "trouble", retry_after_s: (status == 429).then_some(1) }
}

/// A controller of this scene goes through somebody from now on.
fn between(scene: &mut Scene) -> Middleman {
    let access = scene.plane.service_account(&scene.namespace, "tidegate").expect("a token");
    let middleman = scene.plane.middleman(&access).expect("a middleman");
    middleman.kubeconfig().clone_into(&mut scene.kubeconfig);
    middleman
}

/// Half of the traffic, for a while.
fn half(scene: &Scene, bake: &str) -> Value {
    scene.apply('b', &json!({"strategy": {"canary": {"steps": ["50%"], "bake": bake}}}));
    scene.until("half of the traffic", |status| status["share"] == "50%")
}

fn goes_on(name: &str, rule: &Rule) {
    let mut scene = Scene::new("blip");
    let middleman = between(&mut scene);
    let _controller = scene.controller_with("a", &["--lease", LEASE]);
    scene.apply('a', &json!({}));
    scene.until_state("verified");
    let holder = scene.until_held(None);
    let before = half(&scene, "3s");
    middleman.spoil([rule.clone()]);
    thread::sleep(BLIP);
    middleman.relent();
    let done = scene.until_state("verified");
    assert_eq!(done["status"]["release"], before["status"]["release"], "{name}: the same release");
    assert_eq!(done["status"]["epoch"], before["status"]["epoch"], "{name}: the same leader");
    assert_eq!(scene.until_held(None), holder, "{name}");
}

#[test]
fn a_controller_whose_api_server_has_trouble_for_less_than_its_lease_goes_on_as_if_nothing_had_been() {
    let rules = [
        ("409", Rule::every(answered(409, "Conflict")).of(&Verb::WRITES)),
        ("429", Rule::every(answered(429, "TooManyRequests"))),
        ("500", Rule::every(answered(500, "InternalError"))),
        ("503", Rule::every(answered(503, "ServiceUnavailable"))),
        ("watches cut", Rule::every(Spoil::WatchCut)),
        ("watches gone", Rule::every(Spoil::WatchGone)),
    ];
    thread::scope(|scope| {
        let all: Vec<_> = rules.iter().map(|(name, rule)| scope.spawn(|| goes_on(name, rule))).collect();
        for one in all {
            if let Err(panicked) = one.join() {
                std::panic::resume_unwind(panicked);
            }
        }
    });
}

#[test]
fn a_controller_whose_api_server_has_trouble_for_longer_is_followed_by_one_that_is_heard() {
    let mut scene = Scene::new("unheard");
    let straight = scene.kubeconfig.clone();
    let middleman = between(&mut scene);
    let first = scene.controller("a");
    scene.apply('a', &json!({}));
    scene.until_state("verified");
    let holder = scene.until_held(None);
    scene.kubeconfig = straight;
    let _second = scene.controller("b");
    let before = half(&scene, "5s");
    middleman.spoil([Rule::every(answered(500, "InternalError"))]);
    let began = Instant::now();
    scene.until_held(Some(&holder));
    assert!(began.elapsed() < Duration::from_secs(3 + 4), "{:?}", began.elapsed());
    let done = scene.until_state("verified");
    assert_eq!(done["status"]["release"], before["status"]["release"], "the same release");
    let settled = scene.settled();
    middleman.relent();
    let (code, log) = first.ended();
    assert_eq!(code, Some(3), "{log}");
    assert_eq!(scene.versions(), settled, "it wrote something");
}
