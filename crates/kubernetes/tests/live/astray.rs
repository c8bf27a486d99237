//! What a stage was given and somebody else takes back during the bake.

use std::time::Instant;

use crate::scene::{SOON, Scene};
use serde_json::{Value, json};
use tidegate_core::{deployment::Effect, gate::Reading, model::Share, plan::Plan};
use tidegate_kubernetes::Traffic;

const HALF: Share = Share::percent(50);

impl Scene {
    /// A canary at 50 %.
    async fn half(&self) -> std::sync::Arc<Plan> {
        let plan = self.plan(self.release("new-1", None), Some(self.adopted().await));
        self.begin(&plan).await;
        self.expose(&plan, HALF, 1).await;
        plan
    }

    async fn look(&self, plan: &std::sync::Arc<Plan>) -> Reading {
        let given = plan.stages.iter().position(|stage| stage.share == HALF).expect("a stage");
        self.looked(plan, given).await
    }

    /// Looks until that is said, or until nothing is.
    async fn says(&self, plan: &std::sync::Arc<Plan>, words: Option<&str>) {
        let started = Instant::now();
        loop {
            let said = self.look(plan).await.astray;
            match (&said, words) {
                (None, None) => return,
                (Some(said), Some(words)) if said.contains(words) => return,
                _ => {}
            }
            assert!(started.elapsed() < SOON, "{said:?} and not {words:?}");
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    }
}

fn http_route() -> Traffic {
    Traffic::HttpRoute { name: "shop".to_owned() }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_share_or_a_selector_that_somebody_takes_back_is_said_until_it_is_as_it_was() {
    let scene = Scene::with(2, http_route()).await;
    let plan = scene.half().await;
    let path = scene.path("/apis/gateway.networking.k8s.io/v1", "httproutes", "shop");
    let given = scene.route()["spec"].clone();
    let mut alone = given.clone();
    let backends = alone["rules"][1]["backendRefs"].as_array().cloned().unwrap_or_default();
    let old: Vec<Value> = backends.into_iter().filter(|one| one["name"] == "shop").collect();
    alone["rules"][1]["backendRefs"] = json!(old);
    scene.admin().merge(&path, &json!({"spec": alone})).unwrap();
    scene.says(&plan, Some("gives the new release 0 % and not 50 %")).await;
    assert_eq!(scene.route()["spec"], alone, "nobody fights over it");
    scene.admin().merge(&path, &json!({"spec": given})).unwrap();
    scene.says(&plan, None).await;

    let service = scene.path("/api/v1", "services", "shop");
    let selector = scene.selector();
    for (other, words) in [
        (json!({"app": "nothing"}), "finds none of the stable release's pods"),
        (json!({"app": "shop", "pod-template-hash": null}), "the new release's pods beside"),
    ] {
        scene.admin().merge(&service, &json!({"spec": {"selector": other}})).unwrap();
        scene.says(&plan, Some(words)).await;
        scene.admin().merge(&service, &json!({"spec": {"selector": selector}})).unwrap();
        scene.says(&plan, None).await;
    }
    scene.admin().merge(&path, &json!({"spec": alone})).unwrap();
    scene.says(&plan, Some("0 %")).await;
    scene.must(&plan, Effect::Restore { generation: plan.generation(50) }).await;
    scene.must(&plan, Effect::Retire { new: true, generation: plan.generation(60) }).await;
    assert_eq!((scene.selector(), scene.endpoints()), (json!({"app": "shop"}), 2), "the way back works");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_release_that_somebody_scales_to_nothing_is_short_of_pods_and_a_stable_one_that_is_gone_is_said() {
    let scene = Scene::with(2, http_route()).await;
    let plan = scene.half().await;
    let deployment = |name: &str| scene.path("/apis/apps/v1", "deployments", name);
    let to = |name: &str, replicas: u32| {
        scene.admin().merge(&deployment(name), &json!({"spec": {"replicas": replicas}})).unwrap();
    };
    to("shop-new-1", 0);
    scene.ready("shop-new-1", 0).await;
    let started = Instant::now();
    loop {
        let new = scene.look(&plan).await.new;
        assert_eq!(new.wanted, 1, "what the stage asks for");
        if new.instances.is_empty() {
            break;
        }
        assert!(started.elapsed() < SOON, "{new:?}");
    }
    to("shop-new-1", 1);
    scene.ready("shop-new-1", 1).await;
    to("shop", 0);
    scene.says(&plan, Some("Deployment ")).await;
    scene.says(&plan, Some("was scaled to no pods: the 50 % of the users that stay with release")).await;
    to("shop", 2);
    scene.says(&plan, None).await;
    scene.admin().delete(&deployment("shop")).unwrap();
    scene.says(&plan, Some("is gone: the 50 %")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_route_and_none_has_what_it_was_given_at_every_step() {
    let name = || "shop".to_owned();
    let routes = [
        Traffic::Service,
        Traffic::VirtualService { name: name(), destination_rule: None },
        Traffic::Ingress { name: name() },
        http_route(),
    ];
    for traffic in routes {
        let scene = Scene::with(4, traffic.clone()).await;
        let plan = scene.plan(scene.release("new-1", None), Some(scene.adopted().await));
        scene.begin(&plan).await;
        for (number, stage) in (1..).zip(&plan.stages) {
            scene.expose(&plan, stage.share, number).await;
        }
        scene.must(&plan, Effect::Promote { generation: plan.generation(90) }).await;
        assert_eq!(scene.looked(&plan, 3).await.astray, None, "{traffic:?} after promotion");
    }
}
