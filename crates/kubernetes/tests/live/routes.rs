//! Whole rollouts by every kind of route, and what is not ours in them.

use crate::scene::Scene;
use serde_json::{Value, json};
use tidegate_core::{deployment::Effect, model::Share};
use tidegate_kubernetes::{
    Traffic,
    traffic::{HeaderValue, TesterMatch},
};

/// The new release's weight and all of them, as the route has them.
fn weights(scene: &Scene) -> (u64, u64) {
    let route = scene.route();
    let list = |path: &str| route.pointer(path).and_then(Value::as_array).cloned().unwrap_or_default();
    let sum = |all: &[Value], name: fn(&Value) -> &Value| {
        let weight = |one: &Value| one["weight"].as_u64().unwrap_or(1);
        let new = all.iter().filter(|one| name(one).as_str() == Some("shop-preview")).map(weight).sum();
        (new, all.iter().map(weight).sum())
    };
    match scene.traffic {
        Traffic::HttpRoute { .. } => sum(&list("/spec/rules/1/backendRefs"), |one| &one["name"]),
        Traffic::VirtualService { .. } => sum(&list("/spec/http/0/route"), |one| &one["destination"]["host"]),
        Traffic::Ingress { .. } => {
            let backend = &route["spec"]["rules"][0]["http"]["paths"][0]["backend"]["service"]["name"];
            assert_eq!(backend, "shop-preview", "{route}");
            let weight = &route["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"];
            (weight.as_str().and_then(|text| text.parse().ok()).expect("a weight"), 100)
        }
        Traffic::Service => (0, 0),
    }
}

/// Both Ingresses are there, or only the users'.
fn users_route(scene: &Scene) -> Value {
    let mut route = match &scene.traffic {
        Traffic::Ingress { name } => scene
            .admin()
            .get(&scene.path("/apis/networking.k8s.io/v1", "ingresses", name))
            .expect("the users' Ingress"),
        Traffic::HttpRoute { .. } | Traffic::VirtualService { .. } | Traffic::Service => scene.route(),
    };
    route["spec"].take()
}

#[tokio::test(flavor = "multi_thread")]
async fn istio_and_nginx_carry_a_whole_rollout_read_back_at_every_share_and_are_left_as_they_were() {
    let name = || "shop".to_owned();
    for traffic in
        [Traffic::VirtualService { name: name(), destination_rule: None }, Traffic::Ingress { name: name() }]
    {
        let scene = Scene::with(2, traffic.clone()).await;
        let (before, pods) = (users_route(&scene), scene.pods());
        let plan = scene.plan(scene.release("new-1", None), Some(scene.adopted().await));
        scene.begin(&plan).await;
        for (step, percent) in [5, 25, 50, 100].into_iter().enumerate() {
            scene.expose(&plan, Share::percent(percent), u64::try_from(step).unwrap() + 1).await;
            let (new, all) = weights(&scene);
            assert_eq!(new * 100, all * u64::from(percent), "{traffic:?}: {}", scene.route());
        }
        scene.must(&plan, Effect::Restore { generation: plan.generation(60) }).await;
        match &traffic {
            Traffic::Ingress { .. } => assert_eq!(scene.route(), Value::Null, "the second Ingress is gone"),
            Traffic::Service | Traffic::HttpRoute { .. } | Traffic::VirtualService { .. } => {
                assert_eq!(weights(&scene).0, 0);
            }
        }
        scene.expose(&plan, Share::ALL, 7).await;
        scene.must(&plan, Effect::Promote { generation: plan.generation(90) }).await;
        let still: Vec<_> = scene.pods().into_iter().filter(|pod| pods.contains(pod)).collect();
        assert_eq!(still, pods, "never restarted");
        scene.must(&plan, Effect::Retire { new: false, generation: plan.generation(95) }).await;
        assert_eq!(scene.selector(), json!({"app": "shop", "tidegate.dev/release": "new-1"}));
        assert_eq!(users_route(&scene), before, "{traffic:?}: as its owner wrote it");
        if matches!(traffic, Traffic::Ingress { .. }) {
            assert_eq!(scene.route(), Value::Null, "the second Ingress is gone");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_changes_of_a_route_never_touch_a_rule_of_somebody_else() {
    let scene = Scene::with(1, Traffic::HttpRoute { name: "shop".to_owned() }).await;
    let before = scene.route()["spec"].clone();
    let plan = scene.plan(scene.release("new-1", None), Some(scene.adopted().await));
    scene.begin(&plan).await;
    scene.expose(&plan, Share::percent(50), 1).await;
    let mut touched = 0;
    for change in 0..1_000_u16 {
        let share =
            Share::from_basis_points(u16::try_from(u32::from(change) * 7_919 % 10_001).unwrap()).unwrap();
        let generation = plan.generation(100) + u64::from(change);
        scene.must(&plan, Effect::Shift { share, mirror: Share::NONE, generation }).await;
        if change % 20 == 0 {
            let now = scene.route()["spec"].clone();
            touched += u32::from(now["rules"][0] != before["rules"][0]);
            assert_eq!(now["rules"].as_array().map(Vec::len), Some(2), "rules do not pile up");
            let (new, all) = weights(&scene);
            let off = (new * 10_000).abs_diff(all * u64::from(share.basis_points()));
            assert!(off <= all * 50, "{share}: {new} of {all}");
        }
    }
    scene.must(&plan, Effect::Restore { generation: plan.generation(5_000) }).await;
    scene.must(&plan, Effect::Retire { new: true, generation: plan.generation(5_001) }).await;
    touched += u32::from(scene.route()["spec"] != before);
    assert_eq!(touched, 0, "foreign_rules_touched");
}

#[tokio::test(flavor = "multi_thread")]
async fn testers_leave_the_new_release_with_the_first_step_of_the_way_back() {
    let name = || "shop".to_owned();
    let routes = [
        Traffic::HttpRoute { name: name() },
        Traffic::VirtualService { name: name(), destination_rule: None },
        Traffic::Ingress { name: name() },
    ];
    for traffic in routes {
        let mut scene = Scene::with(1, traffic.clone()).await;
        let value = HeaderValue::Exact("yes".to_owned());
        scene.testers = vec![TesterMatch::Header { name: "x-tester".to_owned(), value }];
        let marked = |scene: &Scene| scene.route().to_string().contains("x-tester");
        let plan = scene.plan(scene.release("new-1", None), Some(scene.adopted().await));
        scene.begin(&plan).await;
        scene.expose(&plan, Share::percent(5), 1).await;
        assert!(marked(&scene), "{traffic:?}: {}", scene.route());
        scene.must(&plan, Effect::Restore { generation: plan.generation(60) }).await;
        assert!(!marked(&scene), "{traffic:?}: {}", scene.route());
    }
}
