//! What somebody else does to the objects while a rollout is on its way.

use std::time::{Duration, Instant};

use crate::scene::{SOON, Scene};
use serde_json::{Value, json};
use tidegate_core::{deployment::Effect, model::Share};
use tidegate_kubernetes::Traffic;

fn route() -> Traffic {
    Traffic::HttpRoute { name: "shop".to_owned() }
}

impl Scene {
    /// The ready pods with these labels.
    pub(crate) fn ready_with(&self, selector: &Value) -> usize {
        let list = self.admin().get(&format!("/api/v1/namespaces/{}/pods", self.namespace)).expect("pods");
        let wanted = selector.as_object().cloned().unwrap_or_default();
        let found = |pod: &&Value| {
            let ready = pod["status"]["conditions"].as_array().into_iter().flatten();
            let mut ready = ready.filter(|one| one["type"] == "Ready" && one["status"] == "True");
            ready.next().is_some()
                && pod["metadata"]["deletionTimestamp"].is_null()
                && wanted.iter().all(|(key, value)| pod["metadata"]["labels"][key] == *value)
        };
        list["items"].as_array().into_iter().flatten().filter(found).count()
    }

    /// How many pods users reach by the Service.
    pub(crate) fn endpoints(&self) -> usize {
        self.ready_with(&self.selector())
    }
}

/// Another version of the users' Deployment, slowly.
fn rollout() -> Value {
    json!({"spec": {"template": {
        "metadata": {"labels": {"sim": "slow"}, "annotations": {"by": "somebody", "sim-delay": "700ms"}},
    }}})
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_by_somebody_else_waits_until_ours_has_ended_and_users_always_have_pods() {
    let scene = Scene::with(2, Traffic::Service).await;
    let before = scene.pods();
    let plan = scene.plan(scene.release("new-1", None), Some(scene.adopted().await));
    scene.begin(&plan).await;
    let shop = scene.path("/apis/apps/v1", "deployments", "shop");
    scene.admin().merge(&shop, &rollout()).unwrap();
    scene
        .until("seen change", |scene| {
            let shop = scene.deployment("shop");
            shop["status"]["observedGeneration"] == shop["metadata"]["generation"]
        })
        .await;
    scene.expose(&plan, Share::ALL, 2).await;
    scene.must(&plan, Effect::Restore { generation: plan.generation(50) }).await;
    let still: Vec<_> = scene.pods().into_iter().filter(|pod| before.contains(pod)).collect();
    assert_eq!((still, scene.endpoints()), (before.clone(), 2), "nothing was replaced under the users");
    scene.must(&plan, Effect::Retire { new: true, generation: plan.generation(60) }).await;
    scene
        .until("their rollout", |scene| {
            assert!(scene.endpoints() > 0, "{}", scene.selector());
            let shop = scene.deployment("shop");
            shop["status"]["updatedReplicas"] == 2
                && shop["status"]["replicas"] == 2
                && shop["status"]["readyReplicas"] == 2
        })
        .await;
    let shop = scene.deployment("shop");
    assert!(
        shop["spec"]["paused"].is_null() && shop["metadata"]["annotations"]["tidegate.dev/held"].is_null(),
        "{shop}"
    );
    assert_eq!(scene.selector(), json!({"app": "shop"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn where_somebody_resumes_the_stable_deployment_users_follow_its_pods() {
    for traffic in [Traffic::Service, route()] {
        let scene = Scene::with(3, traffic).await;
        let plan = scene.plan(scene.release("new-1", None), Some(scene.adopted().await));
        scene.begin(&plan).await;
        let old = scene.selector();
        let mut change = rollout();
        change["spec"]["paused"] = json!(false);
        scene.admin().merge(&scene.path("/apis/apps/v1", "deployments", "shop"), &change).unwrap();
        let started = Instant::now();
        while scene.ready_with(&old) > 0 || scene.deployment("shop")["status"]["replicas"] != 3 {
            assert!(started.elapsed() < SOON, "no rollout");
            scene.must(&plan, Effect::Measure { every: tidegate_core::model::Millis::ZERO }).await;
            assert!(scene.endpoints() > 0, "nobody for {}", scene.selector());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        scene.must(&plan, Effect::Restore { generation: plan.generation(50) }).await;
        assert_eq!(scene.endpoints(), 3);
        scene.must(&plan, Effect::Retire { new: true, generation: plan.generation(60) }).await;
        assert_eq!((scene.endpoints(), scene.selector()), (3, json!({"app": "shop"})));
        let why = scene.target.found("shop", &scene.release("any-1", None)).await;
        assert!(why.is_ok(), "{why:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_edits_removes_or_scales_between_two_shifts_is_put_right_and_never_blocks_the_way_back()
{
    let scene = Scene::with(2, route()).await;
    let plan = scene.plan(scene.release("new-1", None), Some(scene.adopted().await));
    scene.begin(&plan).await;
    scene.expose(&plan, Share::percent(25), 1).await;
    let path = scene.path("/apis/gateway.networking.k8s.io/v1", "httproutes", "shop");
    let service = |name: &str| scene.path("/api/v1", "services", name);
    let new = scene.path("/apis/apps/v1", "deployments", "shop-new-1");

    // Their timeout stays, our weights return.
    let mut spec = scene.route()["spec"].clone();
    spec["rules"][1]["timeouts"] = json!({"request": "7s"});
    spec["rules"][1]["backendRefs"][0]["weight"] = json!(1);
    spec["rules"][1]["backendRefs"][1]["weight"] = json!(999);
    scene.admin().merge(&path, &json!({"spec": spec})).unwrap();
    scene.admin().delete(&service("shop-preview")).unwrap();
    scene.admin().merge(&new, &json!({"spec": {"replicas": 0}})).unwrap();
    scene.ready("shop-new-1", 0).await;
    let shift = |generation| Effect::Shift { share: Share::percent(50), mirror: Share::NONE, generation };
    scene
        .until("news of it", |scene| scene.deployment("shop-new-1")["status"]["readyReplicas"].is_null())
        .await;
    let started = Instant::now();
    loop {
        // The watch may be a moment behind; without pods nothing is given.
        let outcome = scene.order(&plan, 1, shift(plan.generation(15))).await;
        if format!("{outcome:?}").contains("it gets no traffic") {
            break;
        }
        assert!(started.elapsed() < SOON, "{outcome:?}");
    }
    scene.expose(&plan, Share::percent(50), 2).await;
    let rule = scene.route()["spec"]["rules"][1].clone();
    let weights: Vec<_> = [0, 1].iter().map(|at| rule["backendRefs"][at]["weight"].clone()).collect();
    assert_eq!((&weights[0], &rule["timeouts"]["request"]), (&weights[1], &json!("7s")), "{rule}");
    assert!(scene.admin().get(&service("shop-preview")).is_ok(), "made again");

    // Somebody removes the preview, points the users' Service elsewhere, and owns the number of pods.
    scene.admin().delete(&service("shop-preview")).unwrap();
    let elsewhere = json!({"spec": {"selector": {"pod-template-hash": "none"}}});
    scene.admin().merge(&service("shop"), &elsewhere).unwrap();
    scene.admin().merge(&new, &json!({"spec": {"replicas": 4}})).unwrap();
    scene
        .admin()
        .merge(&scene.path("/apis/apps/v1", "deployments", "shop"), &json!({"spec": {"replicas": 1}}))
        .unwrap();
    scene.ready("shop", 1).await;
    scene.must(&plan, Effect::Restore { generation: plan.generation(50) }).await;
    assert!(scene.endpoints() > 0, "{}", scene.selector());
    scene.ready("shop", 2).await;
    scene.must(&plan, Effect::Retire { new: true, generation: plan.generation(60) }).await;
    assert_eq!(scene.deployment("shop-new-1")["spec"]["replicas"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stable_release_of_ours_that_somebody_deleted_is_made_again_before_it_gets_its_users_back() {
    let mut scene = Scene::with(2, route()).await;
    let first = scene.release("one-1", None);
    let plan = scene.plan(first.clone(), Some(scene.adopted().await));
    scene.begin(&plan).await;
    scene.expose(&plan, Share::ALL, 1).await;
    scene.must(&plan, Effect::Promote { generation: plan.generation(50) }).await;
    scene.must(&plan, Effect::Retire { new: false, generation: plan.generation(60) }).await;
    scene.turn = 2;
    let plan = scene.plan(scene.release("two-1", None), Some(first));
    scene.begin(&plan).await;
    scene.expose(&plan, Share::ALL, 1).await;
    let path = scene.path("/apis/apps/v1", "deployments", "shop-one-1");
    scene.admin().delete(&path).expect("deleted");
    let of_first = |scene: &Scene| scene.ready_with(&json!({"tidegate.dev/release": "one-1"}));
    scene.until("no pods of it", |scene| of_first(scene) == 0).await;
    scene.must(&plan, Effect::Restore { generation: plan.generation(50) }).await;
    assert_eq!((of_first(&scene), scene.endpoints()), (2, 2), "users came back before its pods did");
    let backends = scene.route()["spec"]["rules"][1]["backendRefs"].clone();
    let new = backends.as_array().into_iter().flatten().find(|one| one["name"] == "shop-preview");
    assert!(new.is_none_or(|new| new["weight"] == 0), "{backends}");
}

/// Everything of the namespace that we may write, without what changes by itself.
fn objects(scene: &Scene) -> Vec<Value> {
    let lists = [
        ("/api/v1", "services"),
        ("/apis/apps/v1", "deployments"),
        ("/apis/gateway.networking.k8s.io/v1", "httproutes"),
    ];
    let mut all = Vec::new();
    for (group, plural) in lists {
        let list =
            scene.admin().get(&format!("{group}/namespaces/{}/{plural}", scene.namespace)).expect("a list");
        for mut object in list["items"].as_array().cloned().unwrap_or_default() {
            let fields = object.as_object_mut().expect("an object");
            fields.remove("status");
            if let Some(metadata) = object["metadata"].as_object_mut() {
                metadata.remove("managedFields");
                if plural == "deployments" {
                    metadata.remove("resourceVersion");
                }
            }
            all.push(object);
        }
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn every_effect_performed_twice_leaves_the_same_objects_as_once() {
    let scene = Scene::with(2, route()).await;
    let plan = scene.plan(scene.release("new-1", None), Some(scene.adopted().await));
    let at = |step: u64| plan.generation(step);
    let half = Share::percent(50);
    let effects = [
        Effect::Check,
        Effect::Build,
        Effect::Scale { instances: 1, generation: at(10), share: half },
        Effect::Shift { share: half, mirror: Share::NONE, generation: at(11) },
        Effect::Restore { generation: at(20) },
        Effect::Scale { instances: 2, generation: at(30), share: Share::ALL },
        Effect::Shift { share: Share::ALL, mirror: Share::NONE, generation: at(31) },
        Effect::Promote { generation: at(40) },
        Effect::Retire { new: false, generation: at(50) },
    ];
    for effect in effects {
        scene.must(&plan, effect.clone()).await;
        let once = objects(&scene);
        scene.must(&plan, effect.clone()).await;
        assert_eq!(objects(&scene), once, "{effect:?}");
    }
}
