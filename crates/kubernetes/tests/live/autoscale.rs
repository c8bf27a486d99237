//! Enough pods while autoscalers change their number. The autoscaler's controller runs; what it would read from a metrics
//! server is written into its status.

use crate::scene::Scene;
use serde_json::{Value, json};
use tidegate_core::{
    deployment::Effect,
    model::{Millis, Share},
    plan::StrategySpec,
};
use tidegate_kubernetes::{
    Traffic,
    belongings::{Autoscale, Autoscaling},
};

const GROUP: &str = "/apis/autoscaling/v2";
const PLURAL: &str = "horizontalpodautoscalers";

fn route() -> Traffic {
    Traffic::HttpRoute { name: "shop".to_owned() }
}

pub(crate) fn cpu(percent: u64) -> Value {
    json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}})
}

pub(crate) fn own(min: u32, max: u32) -> Autoscaling {
    Autoscaling::Own(Autoscale { min, max, metrics: vec![cpu(70)], behavior: None })
}

fn scaler(scene: &Scene, name: &str) -> Option<Value> {
    scene.admin().get(&scene.path(GROUP, PLURAL, name)).ok()
}

fn floor(scene: &Scene, name: &str) -> Option<u64> {
    scaler(scene, name)?["spec"]["minReplicas"].as_u64()
}

fn wanted(scene: &Scene, name: &str) -> u64 {
    scene.deployment(name)["spec"]["replicas"].as_u64().unwrap_or_default()
}

/// The autoscaler wants so many pods.
pub(crate) fn wants(scene: &Scene, name: &str, pods: u64) {
    let path = format!("{}/status", scene.path(GROUP, PLURAL, name));
    let status = json!({"status": {"desiredReplicas": pods, "currentReplicas": 0}});
    scene.admin().merge(&path, &status).expect("written");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_release_has_the_pods_that_its_share_of_the_demand_needs_and_all_of_them_stay_for_the_way_back()
{
    let mut scene = Scene::with(4, route()).await;
    scene.belongings.autoscaling = own(2, 20);
    let adopted = scene.adopted().await;
    let first = scene.release("one-1", None);
    let plan = scene.plan(first.clone(), Some(adopted));
    scene.begin(&plan).await;
    assert_eq!(floor(&scene, "shop-one-1"), Some(2), "before its first pod");
    scene.expose(&plan, Share::percent(5), 1).await;
    assert_eq!((floor(&scene, "shop-one-1"), wanted(&scene, "shop-one-1")), (Some(2), 2), "the fewest");
    scene.expose(&plan, Share::ALL, 2).await;
    assert_eq!((floor(&scene, "shop-one-1"), wanted(&scene, "shop-one-1")), (Some(4), 4), "all of it");
    scene.must(&plan, Effect::Promote { generation: plan.generation(90) }).await;
    scene.must(&plan, Effect::Retire { new: false, generation: plan.generation(95) }).await;
    assert_eq!(floor(&scene, "shop-one-1"), Some(2), "alone, it is its own autoscaler's again");
    // Load has doubled since: the autoscaler of what serves wants 10.
    wants(&scene, "shop-one-1", 10);
    scene.turn += 1;
    let plan = scene.plan(scene.release("two-1", None), Some(first));
    scene.begin(&plan).await;
    scene.expose(&plan, Share::percent(50), 1).await;
    assert_eq!((floor(&scene, "shop-two-1"), wanted(&scene, "shop-two-1")), (Some(5), 5), "half of 10");
    assert_eq!(floor(&scene, "shop-one-1"), Some(10), "everything may return");
    scene.ready("shop-one-1", 10).await;
    // It rises again while the share is watched: 8 for half of it are 16 for all.
    wants(&scene, "shop-two-1", 8);
    scene.must(&plan, Effect::Measure { every: Millis::ZERO }).await;
    assert_eq!(floor(&scene, "shop-one-1"), Some(16));
    scene.ready("shop-one-1", 16).await;
    let reading = scene.expose(&plan, Share::ALL, 2).await;
    assert_eq!(wanted(&scene, "shop-two-1"), 16, "no share without the pods that carry it");
    assert!(reading.new.instances.iter().filter(|one| one.ready).count() >= 16, "{reading:?}");
    assert_eq!(wanted(&scene, "shop-one-1"), 16, "stable keeps its pods");
    scene.must(&plan, Effect::Restore { generation: plan.generation(50) }).await;
    scene.must(&plan, Effect::Retire { new: true, generation: plan.generation(60) }).await;
    assert!(scaler(&scene, "shop-two-1").is_none(), "no pods, no autoscaler");
    assert_eq!((wanted(&scene, "shop-one-1"), wanted(&scene, "shop-two-1")), (16, 0));
    assert_eq!(floor(&scene, "shop-one-1"), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_autoscaler_of_what_was_there_before_is_followed_and_left_as_it_is() {
    let mut scene = Scene::with(3, route()).await;
    scene.belongings.autoscaling = Autoscaling::Follow;
    let theirs = json!({"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "theirs"},
        "spec": {"scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop"},
            "minReplicas": 2, "maxReplicas": 9, "metrics": [cpu(60)]}});
    scene.create(GROUP, PLURAL, &theirs);
    let before = scaler(&scene, "theirs").unwrap()["spec"].clone();
    let plan = scene.plan(scene.release("one-1", None), Some(scene.adopted().await));
    scene.begin(&plan).await;
    wants(&scene, "theirs", 6);
    scene.expose(&plan, Share::percent(50), 1).await;
    let ours = scaler(&scene, "shop-one-1").unwrap();
    assert_eq!((&ours["spec"]["maxReplicas"], &ours["spec"]["metrics"]), (&json!(9), &json!([cpu(60)])));
    assert_eq!(
        (floor(&scene, "shop-one-1"), wanted(&scene, "shop-one-1")),
        (Some(3), 3),
        "half of what is wanted"
    );
    wants(&scene, "theirs", 3);
    scene.expose(&plan, Share::ALL, 2).await;
    assert_eq!(wanted(&scene, "shop-one-1"), 6);
    scene.must(&plan, Effect::Promote { generation: plan.generation(90) }).await;
    scene.must(&plan, Effect::Retire { new: false, generation: plan.generation(95) }).await;
    assert_eq!(scaler(&scene, "theirs").unwrap()["spec"], before);
    assert_eq!(floor(&scene, "shop-one-1"), Some(2), "as the one that it follows");
    // The next one follows ours.
    scene.turn += 1;
    let stable = scene.release("one-1", None);
    let plan = scene.plan(scene.release("two-1", None), Some(stable));
    scene.begin(&plan).await;
    assert_eq!(scaler(&scene, "shop-two-1").unwrap()["spec"]["maxReplicas"], json!(9));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_that_would_change_shares_or_that_the_server_does_not_take_is_refused_beforehand() {
    let mut scene = Scene::with(2, Traffic::Service).await;
    scene.belongings.autoscaling = own(2, 4);
    let adopted = scene.adopted().await;
    let plan = scene.plan(scene.release("one-1", None), Some(adopted));
    let why = scene.fails(&plan, Effect::Check).await;
    assert!(why.contains("`autoscale` changes the number of pods") && why.contains("blue_green"), "{why}");
    let mut scene = Scene::with(2, route()).await;
    let metrics = vec![
        json!({"type": "Pods", "pods": {"metric": {"name": "r"}, "target": {"type": "AverageValue", "averageValue": "many"}}}),
    ];
    scene.belongings.autoscaling = Autoscaling::Own(Autoscale { min: 2, max: 4, metrics, behavior: None });
    let adopted = scene.adopted().await;
    let plan = scene.plan(scene.release("one-1", None), Some(adopted));
    let why = scene.fails(&plan, Effect::Check).await;
    assert!(why.contains("HorizontalPodAutoscaler") && why.contains("shop-one-1"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_route_one_switch_is_made_with_the_pods_that_everything_needs() {
    let mut scene = Scene::with(2, Traffic::Service).await;
    scene.belongings.autoscaling = own(2, 9);
    scene.strategy =
        StrategySpec::BlueGreen { bake: Millis::secs(1), preview: Millis::ZERO, approval: false };
    let first = scene.release("one-1", None);
    let plan = scene.plan(first.clone(), Some(scene.adopted().await));
    scene.begin(&plan).await;
    scene.expose(&plan, Share::ALL, 1).await;
    scene.must(&plan, Effect::Promote { generation: plan.generation(90) }).await;
    scene.must(&plan, Effect::Retire { new: false, generation: plan.generation(95) }).await;
    wants(&scene, "shop-one-1", 5);
    scene.turn += 1;
    let plan = scene.plan(scene.release("two-1", None), Some(first));
    scene.begin(&plan).await;
    scene.expose(&plan, Share::ALL, 1).await;
    assert_eq!((floor(&scene, "shop-two-1"), wanted(&scene, "shop-two-1")), (Some(5), 5));
    assert_eq!(
        (floor(&scene, "shop-one-1"), wanted(&scene, "shop-one-1")),
        (Some(5), 5),
        "warm for the way back"
    );
    scene.must(&plan, Effect::Restore { generation: plan.generation(50) }).await;
    assert_eq!(scene.selector()["tidegate.dev/release"], json!("one-1"));
}
