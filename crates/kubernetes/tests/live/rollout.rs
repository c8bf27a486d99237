//! A rollout, effect by effect.

use std::time::Instant;

use crate::scene::{self, Scene};
use serde_json::{Value, json};
use tidegate_core::{
    deployment::{Effect, Outcome},
    model::{Millis, Share},
    plan::{Batch, StrategySpec},
};
use tidegate_kubernetes::Traffic;

const ALL: Share = Share::ALL;

fn route() -> Traffic {
    Traffic::HttpRoute { name: "shop".to_owned() }
}

/// The weights of the rule that is ours.
fn weights(route: &Value) -> Vec<(String, u64)> {
    let backends = route["spec"]["rules"][1]["backendRefs"].as_array().cloned().unwrap_or_default();
    let one = |backend: &Value| {
        (backend["name"].as_str().unwrap_or_default().to_owned(), backend["weight"].as_u64().unwrap_or(1))
    };
    backends.iter().map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_serves_is_adopted_and_promoted_away_from_without_a_restart_and_the_route_is_left_as_it_was() {
    let scene = Scene::with(4, route()).await;
    let (before, route_before) = (scene.pods(), scene.route()["spec"].clone());
    let stable = scene.adopted().await;
    let plan = scene.plan(scene.release("new-1", None), Some(stable));
    scene.begin(&plan).await;
    let kept =
        |scene: &Scene| -> Vec<_> { scene.pods().into_iter().filter(|pod| before.contains(pod)).collect() };
    assert_eq!(kept(&scene), before, "none was stopped");
    for (step, percent) in [5, 25, 50, 100].into_iter().enumerate() {
        let share = Share::percent(percent);
        let reading = scene.expose(&plan, share, u64::try_from(step).unwrap() + 1).await;
        let parts = weights(&scene.route());
        let given: u64 =
            parts.iter().filter(|(name, _)| name == "shop-preview").map(|(_, weight)| *weight).sum();
        let all: u64 = parts.iter().map(|(_, weight)| *weight).sum();
        assert_eq!(given * 100, all * u64::from(percent), "{parts:?}");
        assert!(reading.new.instances.iter().all(|instance| instance.ready), "{reading:?}");
        assert_eq!(reading.stable.map(|stable| stable.instances.len()), Some(4), "stable keeps its pods");
    }
    scene.must(&plan, Effect::Promote { generation: plan.generation(90) }).await;
    assert!(scene.selector()["pod-template-hash"].is_string(), "turning back is the route's matter alone");
    assert_eq!(kept(&scene), before, "the adopted pods were never restarted");
    scene.must(&plan, Effect::Retire { new: false, generation: plan.generation(95) }).await;
    assert_eq!(scene.selector(), json!({"app": "shop", "tidegate.dev/release": "new-1"}));
    assert_eq!(scene.route()["spec"], route_before, "as its owner wrote it");
    assert!(!scene.is_ours("/apis/gateway.networking.k8s.io/v1", "httproutes"), "and his to change");
    assert!(scene.is_ours("/api/v1", "services") && scene.is_ours("/apis/apps/v1", "deployments"));
    scene.ready("shop", 0).await;
    scene.ready("shop-new-1", 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_asks_nothing_of_the_new_release_and_leaves_the_users_objects_as_they_were() {
    let scene = Scene::with(3, route()).await;
    let (before, route_before) = (scene.pods(), scene.route()["spec"].clone());
    let plan = scene.plan(scene.release("bad-1", None), Some(scene.adopted().await));
    scene.begin(&plan).await;
    scene.expose(&plan, Share::percent(50), 1).await;
    // Everything of the new release is gone, as after a quota, an eviction or a mistake.
    scene.admin().delete(&scene.path("/apis/apps/v1", "deployments", "shop-bad-1")).unwrap();
    scene.admin().delete(&scene.path("/api/v1", "services", "shop-preview")).unwrap();
    let started = Instant::now();
    scene.must(&plan, Effect::Restore { generation: plan.generation(50) }).await;
    assert!(started.elapsed().as_secs() < 2, "{:?}", started.elapsed());
    let to_new: u64 = weights(&scene.route())
        .iter()
        .filter(|(name, _)| name == "shop-preview")
        .map(|(_, weight)| weight)
        .sum();
    assert_eq!(to_new, 0);
    scene.must(&plan, Effect::Retire { new: true, generation: plan.generation(60) }).await;
    assert_eq!(scene.route()["spec"], route_before);
    assert_eq!(scene.selector(), json!({"app": "shop"}));
    assert_eq!(scene.pods(), before);
    for (group, plural) in [
        ("/apis/gateway.networking.k8s.io/v1", "httproutes"),
        ("/api/v1", "services"),
        ("/apis/apps/v1", "deployments"),
    ] {
        assert!(!scene.is_ours(group, plural), "{plural} are as their owner wrote them, and his to change");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_does_not_come_up_fails_at_once_and_names_pod_container_and_reason() {
    for (sim, reason, see) in
        [("crash", "CrashLoopBackOff", "logs"), ("pull", "ImagePullBackOff", "describe pod")]
    {
        let scene = Scene::with(1, route()).await;
        let plan = scene.plan(scene.release("bad-1", Some(sim)), Some(scene.adopted().await));
        scene.begin(&plan).await;
        let scale = Effect::Scale { instances: 1, generation: plan.generation(10), share: Share::percent(5) };
        let why = scene.fails(&plan, scale).await;
        assert!(why.contains("pod shop-bad-1-") && why.contains("web") && why.contains(reason), "{why}");
        assert!(why.contains(&format!("kubectl -n {} {see} shop-bad-1-", scene.namespace)), "{why}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_never_become_ready_end_the_start_by_the_progress_clock() {
    let scene = Scene::with(2, route()).await;
    let plan = scene.plan(scene.release("slow-1", Some("unready")), Some(scene.adopted().await));
    scene.begin(&plan).await;
    let scale = Effect::Scale { instances: 2, generation: plan.generation(10), share: Share::percent(50) };
    let why = scene.fails(&plan, scale).await;
    assert!(why.contains("0 of 2 pods became ready, and no further one in 10 s; pod shop-slow-1-"), "{why}");
    assert!(why.contains("ready") && why.contains("describe pod shop-slow-1-"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_route_the_numbers_of_pods_make_the_share_and_never_too_few_are_ready() {
    let scene = Scene::with(4, Traffic::Service).await;
    let plan = scene.plan(scene.release("new-1", None), Some(scene.adopted().await));
    scene.begin(&plan).await;
    assert!(scene.selector().get("pod-template-hash").is_some(), "only stable serves: {}", scene.selector());
    scene.expose(&plan, Share::percent(25), 1).await;
    assert_eq!(scene.selector(), json!({"app": "shop"}), "both serve");
    scene.ready("shop-new-1", 1).await;
    scene.ready("shop", 3).await;
    scene.expose(&plan, Share::percent(50), 2).await;
    scene.ready("shop-new-1", 2).await;
    scene.ready("shop", 2).await;
    scene.expose(&plan, ALL, 3).await;
    assert_eq!(scene.selector(), json!({"app": "shop", "tidegate.dev/release": "new-1"}));
    scene.ready("shop", 4).await;
    scene.must(&plan, Effect::Restore { generation: plan.generation(50) }).await;
    assert!(scene.selector().get("tidegate.dev/release").is_none(), "{}", scene.selector());
    assert!(scene.selector().get("pod-template-hash").is_some(), "{}", scene.selector());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rolling_update_puts_new_pods_in_the_place_of_old_ones_and_its_way_back_waits_for_pods_that_can_carry()
 {
    let mut scene = Scene::with(4, Traffic::Service).await;
    scene.strategy = StrategySpec::Rolling { batch: Batch::Count(2), bake: Millis::secs(1) };
    let plan = scene.plan(scene.release("new-1", None), Some(scene.adopted().await));
    scene.begin(&plan).await;
    scene.expose(&plan, Share::percent(50), 1).await;
    scene.expose(&plan, ALL, 2).await;
    scene.ready("shop", 0).await;
    scene.ready("shop-new-1", 4).await;
    scene.must(&plan, Effect::Restore { generation: plan.generation(50) }).await;
    let ready = scene.deployment("shop")["status"]["readyReplicas"].as_u64().unwrap_or(0);
    assert!(ready >= 2, "half of them are what the way back asks for: {ready}");
    assert!(scene.selector().get("pod-template-hash").is_some(), "{}", scene.selector());
    scene.must(&plan, Effect::Retire { new: true, generation: plan.generation(60) }).await;
    scene.ready("shop", 4).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_green_that_turns_unready_after_the_switch_leaves_users_on_the_old_release_within_a_second_of_the_verdict()
 {
    let mut scene = Scene::with(3, Traffic::Service).await;
    scene.strategy =
        StrategySpec::BlueGreen { bake: Millis::secs(1), preview: Millis::ZERO, approval: false };
    let plan = scene.plan(scene.release("green-1", None), Some(scene.adopted().await));
    scene.begin(&plan).await;
    scene.expose(&plan, ALL, 1).await;
    for (pod, _) in scene.pods().iter().filter(|(name, _)| name.starts_with("shop-green-1")) {
        scene.admin().set_ready(&scene.namespace, pod, false).unwrap();
    }
    scene
        .until("unready green", |scene| scene.deployment("shop-green-1")["status"]["readyReplicas"].is_null())
        .await;
    let started = Instant::now();
    scene.must(&plan, Effect::Restore { generation: plan.generation(50) }).await;
    assert!(started.elapsed().as_secs() < 1, "{:?}", started.elapsed());
    assert!(scene.selector().get("pod-template-hash").is_some(), "{}", scene.selector());
    scene.must(&plan, Effect::Retire { new: true, generation: plan.generation(60) }).await;
    scene.ready("shop", 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_engine_an_older_deployment_and_another_tidegate_are_refused_by_the_objects() {
    let scene = Scene::with(1, route()).await;
    let stable = scene.adopted().await;
    let plan = scene.plan(scene.release("new-1", None), Some(stable.clone()));
    scene.begin(&plan).await;
    let shift = |generation| Effect::Shift { share: Share::percent(5), mirror: Share::NONE, generation };
    scene.expose(&plan, Share::percent(5), 2).await;
    let refused = |outcome| {
        let Outcome::Failed { reason, permanent: true } = outcome else { panic!("{outcome:?}") };
        reason
    };
    let why = refused(scene.order(&plan, 1, shift(plan.generation(3))).await);
    assert!(why.contains("newer"), "{why}");
    let why = refused(scene.order(&plan, 0, shift(plan.generation(99))).await);
    assert!(why.contains("newer"), "{why}");
    let data = tempfile::tempdir().unwrap();
    let mut other = scene;
    other.target = scene::target("there", &data);
    let why = other.fails(&plan, Effect::Check).await;
    assert!(why.contains("another Tidegate (`here`)"), "{why}");
}
