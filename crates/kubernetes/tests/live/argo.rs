//! A running Rollout of Argo Rollouts becomes the stable release, beside its own controller.

use std::time::{Duration, Instant};

use crate::{
    autoscale::{cpu, wants},
    scene::{SOON, Scene, template},
};
use serde_json::{Value, json};
use tidegate_bed::{Component, ControlPlane, Options};
use tidegate_core::{
    deployment::Effect,
    model::{Millis, Share},
};
use tidegate_kubernetes::{Traffic, belongings::Autoscaling};

const INSTANCE: &str = "argo-rollouts.argoproj.io/controller-instance-id";
const HASH: &str = "rollouts-pod-template-hash";
const ROLLOUTS: &str = "/apis/argoproj.io/v1alpha1";
const NETWORK: &str = "/apis/networking.k8s.io/v1";

/// Its controller goes through everything every 2 s here.
const RESYNC: Duration = Duration::from_secs(3);

fn mesh() -> Traffic {
    Traffic::VirtualService { name: "shop".to_owned(), destination_rule: None }
}

/// A canary behind a `VirtualService` with two Services, all healthy, run by its own controller.
pub(crate) async fn rollout(replicas: u32) -> Scene {
    let plane = ControlPlane::shared().expect("a control plane");
    on(plane, replicas).await
}

async fn on(plane: &'static ControlPlane, replicas: u32) -> Scene {
    plane.install_istio().expect("Istio's definitions");
    plane.install_argo_rollouts().expect("Argo Rollouts");
    let mut scene = Scene::empty(plane, replicas, mesh());
    scene.adopt = Some("shop".to_owned());
    scene.services(&["shop", "shop-canary"]);
    let route = |host: &str, weight: u32| json!({"destination": {"host": host}, "weight": weight});
    scene.create("/apis/networking.istio.io/v1", "virtualservices", &json!({
        "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": "shop"},
        "spec": {"hosts": ["shop"], "http": [{"name": "all", "route": [route("shop", 100), route("shop-canary", 0)]}]},
    }));
    let routing = json!({"istio": {"virtualService": {"name": "shop"}}});
    scene.rolls(
        "shop",
        &json!({"canary": {
            "stableService": "shop", "canaryService": "shop-canary", "trafficRouting": routing,
            "steps": [{"setWeight": 50}, {"pause": {}}],
        }}),
    );
    scene.rests("shop").await;
    scene.until("its selector", |scene| scene.selector()[HASH].is_string()).await;
    scene
}

impl Scene {
    fn services(&self, names: &[&str]) {
        for name in names {
            self.create(
                "/api/v1",
                "services",
                &json!({
                    "apiVersion": "v1", "kind": "Service", "metadata": {"name": name},
                    "spec": {"selector": {"app": "shop"}, "ports": [{"port": 80, "targetPort": 8080}]},
                }),
            );
        }
    }

    fn rolls(&self, name: &str, strategy: &Value) {
        let mut template = template("old", None);
        template["metadata"]["labels"] = json!({"app": name});
        self.create(
            ROLLOUTS,
            "rollouts",
            &json!({
                "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": name},
                "spec": {
                    "replicas": self.replicas,
                    "selector": {"matchLabels": {"app": name}},
                    "template": template,
                    "strategy": strategy,
                },
            }),
        );
    }

    fn argo(&self, name: &str) -> Value {
        self.admin().get(&self.path(ROLLOUTS, "rollouts", name)).expect("a Rollout")
    }

    fn write(&self, name: &str, change: &Value) {
        self.admin().merge(&self.path(ROLLOUTS, "rollouts", name), change).expect("written");
    }

    /// Waits until its controller has seen it all and is content.
    async fn rests(&self, name: &str) {
        self.until("a healthy Rollout", |scene| {
            let rollout = scene.argo(name);
            let status = &rollout["status"];
            status["phase"] == "Healthy"
                && status["stableRS"] == status["currentPodHash"]
                && status["observedGeneration"] == rollout["metadata"]["generation"].to_string().as_str()
        })
        .await;
    }

    /// Its controller has gone through everything once more, and acts on what it has to: on another Rollout.
    async fn argo_has_looked(&self) {
        let began = Instant::now();
        let known = self.admin().get(&self.path(ROLLOUTS, "rollouts", "witness")).is_ok();
        if !known {
            self.rolls("witness", &json!({"canary": {}}));
        }
        for turn in 1.. {
            self.write("witness", &json!({"spec": {"replicas": 1 + turn % 2}}));
            self.rests("witness").await;
            if began.elapsed() > RESYNC {
                return;
            }
        }
    }

    /// The users' pods: which they are, and how often each was started.
    fn theirs(&self) -> Vec<(String, u64)> {
        let list = self.admin().get(&format!("/api/v1/namespaces/{}/pods", self.namespace)).expect("pods");
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let its = items.iter().filter(|pod| {
            pod["metadata"]["labels"]["app"] == "shop" && pod["metadata"]["labels"][HASH].is_string()
        });
        let one = |pod: &Value| {
            let restarts = pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or(0);
            (pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned(), restarts)
        };
        let mut all: Vec<_> = its.map(one).collect();
        all.sort();
        all
    }

    /// What the route gives to whom.
    fn parts(&self) -> Vec<(String, u64)> {
        let route = self.route();
        let parts = route["spec"]["http"][0]["route"].as_array().cloned().unwrap_or_default();
        let one = |part: &Value| {
            let host = part["destination"]["host"].as_str().unwrap_or_default().to_owned();
            (host, part["weight"].as_u64().unwrap_or(0))
        };
        parts.iter().map(one).collect()
    }

    fn is_held(&self) -> bool {
        self.argo("shop")["metadata"]["labels"][INSTANCE] == "tidegate"
    }
}

fn parts(parts: &[(&str, u64)]) -> Vec<(String, u64)> {
    parts.iter().map(|(name, weight)| ((*name).to_owned(), *weight)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_running_rollout_is_promoted_away_from_without_a_restart_and_its_live_controller_undoes_nothing() {
    let scene = rollout(3).await;
    let (before, route) = (scene.theirs(), scene.route()["spec"].clone());
    assert_eq!(before.len(), 3);
    let stable = scene.adopted().await;
    let plan = scene.plan(scene.release("new-1", None), Some(stable));
    let began = Instant::now();
    scene.begin(&plan).await;
    eprintln!("handover of a running Rollout: {} ms", began.elapsed().as_millis());
    assert!(scene.is_held());
    for (step, percent) in [(1, 5), (2, 50), (3, 100)] {
        scene.expose(&plan, Share::percent(percent), step).await;
        let given = u64::from(percent);
        let wanted = parts(&[("shop", 100 - given), ("shop-preview", given), ("shop-canary", 0)]);
        assert_eq!(scene.parts(), wanted);
        scene.argo_has_looked().await;
        assert_eq!((scene.parts(), scene.theirs()), (wanted, before.clone()), "at {percent} %");
        assert_eq!(scene.endpoints(), 3, "{}", scene.selector());
    }
    scene.must(&plan, Effect::Promote { generation: plan.generation(90) }).await;
    assert_eq!(scene.theirs(), before, "until the very end");
    scene.must(&plan, Effect::Retire { new: false, generation: plan.generation(95) }).await;
    let ours = json!({"app": "shop", "tidegate.dev/release": "new-1"});
    for gone in [false, true] {
        scene.argo_has_looked().await;
        assert_eq!((scene.selector(), scene.endpoints()), (ours.clone(), 3));
        assert_eq!(scene.route()["spec"], route, "as its owner wrote it");
        assert_eq!(scene.theirs(), Vec::new(), "nobody starts them again");
        if !gone {
            assert_eq!(scene.argo("shop")["spec"]["replicas"], 0);
            scene.admin().delete(&scene.path(ROLLOUTS, "rollouts", "shop")).expect("deleted");
        }
    }
    let next = scene.target.found("shop", &scene.release("any-1", None)).await.expect("told");
    assert_eq!(
        next.expect("ours").tag,
        "new-1",
        "a lost journal finds what serves, whatever `adopt_rollout` says"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_goes_to_the_rollouts_pods_and_its_controller_goes_on_where_it_was() {
    let scene = rollout(3).await;
    scene.write("shop", &json!({"metadata": {"labels": {"team": "web"}}}));
    let (before, route) = (scene.theirs(), scene.route()["spec"].clone());
    let plan = scene.plan(scene.release("bad-1", None), Some(scene.adopted().await));
    // What is looked at before anything begins takes nothing.
    scene.must(&plan, Effect::Measure { every: Millis::ZERO }).await;
    assert!(!scene.is_held());
    scene.begin(&plan).await;
    let notes = scene.argo("shop")["metadata"]["annotations"].clone();
    assert!(notes["shop.tidegate.dev/fence"].is_string(), "{notes}");
    scene.expose(&plan, Share::percent(50), 1).await;
    // Somebody gives it back in the middle: both would move traffic.
    scene.write("shop", &json!({"metadata": {"labels": {INSTANCE: Value::Null}}}));
    let began = Instant::now();
    while !scene.is_held() {
        assert!(began.elapsed() < Duration::from_secs(10), "not taken back");
        scene.must(&plan, Effect::Measure { every: Millis::ZERO }).await;
    }
    scene.admin().delete(&scene.path("/apis/apps/v1", "deployments", "shop-bad-1")).expect("deleted");
    let began = Instant::now();
    scene.must(&plan, Effect::Restore { generation: plan.generation(50) }).await;
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());
    assert_eq!(scene.parts(), parts(&[("shop", 100), ("shop-preview", 0), ("shop-canary", 0)]));
    assert_eq!((scene.endpoints(), scene.theirs()), (3, before.clone()));
    scene.must(&plan, Effect::Retire { new: true, generation: plan.generation(60) }).await;
    assert_eq!(
        (scene.argo("shop")["metadata"]["labels"].clone(), scene.theirs()),
        (json!({"team": "web"}), before.clone())
    );
    scene.until("its selector", |scene| scene.selector()[HASH].is_string()).await;
    scene.argo_has_looked().await;
    assert_eq!((scene.route()["spec"].clone(), scene.theirs(), scene.endpoints()), (route, before, 3));
    assert!(
        !scene.is_ours(ROLLOUTS, "rollouts")
            && !scene.is_ours("/apis/networking.istio.io/v1", "virtualservices")
    );
    // It is its controller's again: that rolls it out.
    scene.write("shop", &json!({"spec": {"template": {"metadata": {"annotations": {"by": "argo"}}}}}));
    scene.until("its own canary", |scene| scene.argo("shop")["status"]["phase"] == "Paused").await;
    scene.until("its weight", |scene| scene.parts() == parts(&[("shop", 50), ("shop-canary", 50)])).await;
    let why = scene.target.found("shop", &scene.release("any-1", None)).await.expect_err("in the middle").why;
    assert!(why.contains("Rollout") && why.contains("middle of an update at step 1"), "{why}");
    scene
        .admin()
        .ask(
            "PATCH",
            &format!("{}/status", scene.path(ROLLOUTS, "rollouts", "shop")),
            "application/merge-patch+json",
            json!({"status": {"abort": true}}).to_string(),
        )
        .expect("aborted");
    scene.until("its abort", |scene| scene.argo("shop")["status"]["phase"] == "Degraded").await;
    let why = scene.target.found("shop", &scene.release("any-1", None)).await.expect_err("aborted").why;
    assert!(why.contains("was aborted") && why.contains("undo"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn where_argo_rollouts_runs_no_more_its_rollout_is_taken_over_all_the_same() {
    let plane = ControlPlane::start(&Options::default()).expect("a control plane");
    let plane: &'static ControlPlane = Box::leak(Box::new(plane));
    plane.install_istio().expect("Istio's definitions");
    let mut none = Scene::empty(plane, 1, mesh());
    none.services(&["shop"]);
    none.adopt = Some("shop".to_owned());
    let why = none.target.found("shop", &none.release("any-1", None)).await.expect_err("no such kind").why;
    assert!(
        why.contains("does not know rollouts.argoproj.io") && why.contains("take `adopt_rollout` out"),
        "{why}"
    );

    let scene = on(plane, 3).await;
    plane.kill(Component::ArgoRollouts);
    let before = scene.theirs();
    let plan = scene.plan(scene.release("new-1", None), Some(scene.adopted().await));
    scene.begin(&plan).await;
    scene.expose(&plan, Share::percent(50), 1).await;
    assert_eq!((scene.theirs(), scene.endpoints()), (before.clone(), 3));
    scene.expose(&plan, Share::ALL, 2).await;
    scene.must(&plan, Effect::Promote { generation: plan.generation(90) }).await;
    assert_eq!(scene.theirs(), before);
    scene.must(&plan, Effect::Retire { new: false, generation: plan.generation(95) }).await;
    assert_eq!((scene.theirs(), scene.endpoints()), (Vec::new(), 3));
    // Nor does one that comes back later disturb anything.
    plane.revive(Component::ArgoRollouts).expect("revived");
    scene.argo_has_looked().await;
    assert_eq!((scene.theirs(), scene.endpoints()), (Vec::new(), 3));

    // Back to the first release: its ReplicaSet serves again, and is nobody else's to change.
    let mut scene = scene;
    scene.turn = 2;
    let now = scene.target.found("shop", &scene.release("any-1", None)).await.expect("told");
    let first = plan.stable.clone().expect("adopted");
    let plan = scene.plan(first.clone(), now);
    scene.begin(&plan).await;
    scene.expose(&plan, Share::ALL, 1).await;
    scene.must(&plan, Effect::Promote { generation: plan.generation(90) }).await;
    scene.must(&plan, Effect::Retire { new: false, generation: plan.generation(95) }).await;
    scene.turn = 3;
    let plan = scene.plan(scene.release("three-1", None), Some(first));
    scene.begin(&plan).await;
    scene.expose(&plan, Share::percent(50), 1).await;
    scene.must(&plan, Effect::Restore { generation: plan.generation(50) }).await;
    scene.must(&plan, Effect::Retire { new: true, generation: plan.generation(60) }).await;
    let again = scene.theirs();
    scene.argo_has_looked().await;
    assert_eq!(
        (again.len(), scene.theirs(), scene.endpoints(), scene.is_held()),
        (3, again.clone(), 3, true)
    );
    assert_eq!(scene.argo("shop")["spec"]["replicas"], 3, "whoever gives it back gives it with its pods");
    scene.write(
        "shop",
        &json!({"metadata": {
            "labels": {INSTANCE: Value::Null},
            "annotations": {"tidegate.dev/held": Value::Null, "tidegate.dev/kept": Value::Null},
        }}),
    );
    scene.until("its selector", |scene| scene.selector()[HASH].is_string()).await;
    scene.argo_has_looked().await;
    assert_eq!((scene.theirs(), scene.endpoints()), (again, 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_router_and_with_the_pods_of_a_deployment_a_rollout_is_taken_over_pod_by_pod() {
    let plane = ControlPlane::shared().expect("a control plane");
    plane.install_argo_rollouts().expect("Argo Rollouts");
    let mut scene = Scene::empty(plane, 4, Traffic::Service);
    scene.adopt = Some("shop".to_owned());
    scene.services(&["shop"]);
    let why =
        scene.target.found("shop", &scene.release("any-1", None)).await.expect_err("no such Rollout").why;
    assert!(
        why.contains("there is no Rollout") && why.contains("/shop, which `adopt_rollout` names"),
        "{why}"
    );
    scene.create("/apis/apps/v1", "deployments", &json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop-template"},
        "spec": {"replicas": 0, "selector": {"matchLabels": {"app": "shop"}}, "template": template("old", None)},
    }));
    scene.create(
        ROLLOUTS,
        "rollouts",
        &json!({
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "metadata": {"name": "shop"},
            "spec": {
                "replicas": 4, "strategy": {"canary": {}}, "selector": {"matchLabels": {"app": "shop"}},
                "workloadRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": "shop-template"},
            },
        }),
    );
    scene.until("a healthy Rollout", |scene| scene.argo("shop")["status"]["phase"] == "Healthy").await;
    let before = scene.theirs();
    let plan = scene.plan(scene.release("new-1", None), Some(scene.adopted().await));
    scene.begin(&plan).await;
    assert!(scene.selector()[HASH].is_string(), "only stable serves: {}", scene.selector());
    scene.expose(&plan, Share::percent(25), 1).await;
    scene.argo_has_looked().await;
    assert_eq!((scene.theirs().len(), scene.endpoints(), scene.selector()), (3, 4, json!({"app": "shop"})));
    assert!(scene.theirs().iter().all(|pod| before.contains(pod)), "no more than had to");
    scene.must(&plan, Effect::Restore { generation: plan.generation(50) }).await;
    scene.must(&plan, Effect::Retire { new: true, generation: plan.generation(60) }).await;
    scene.until("all of its pods", |scene| scene.endpoints() == 4 && scene.theirs().len() == 4).await;
    assert!(!scene.is_held());

    // Beside another that serves nobody can tell; without the key it is named, where a Service is pointed to it.
    scene
        .admin()
        .merge(
            &scene.path("/apis/apps/v1", "deployments", "shop-template"),
            &json!({"spec": {"replicas": 1}}),
        )
        .expect("scaled");
    scene.ready("shop-template", 1).await;
    scene.until("news of it", |scene| scene.endpoints() == 5).await;
    let why = scene.target.found("shop", &scene.release("any-1", None)).await.expect_err("two").why;
    assert!(why.contains("1 Deployment (shop-template) and Rollout shop"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_argo_points_elsewhere_is_not_taken_without_its_rollout() {
    let mut scene = rollout(1).await;
    scene.adopt = None;
    let found = scene.target.found("shop", &scene.release("any-1", None)).await.expect("told");
    assert!(found.is_none(), "{found:?}");
    let plan = scene.plan(scene.release("new-1", None), None);
    let why = scene.fails(&plan, Effect::Check).await;
    assert!(why.contains("by Argo Rollouts: write `adopt_rollout: shop`"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_autoscaler_of_a_held_rollout_is_obeyed_by_its_replica_set() {
    let mut scene = rollout(2).await;
    scene.belongings.autoscaling = Autoscaling::Follow;
    let of = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "shop"});
    scene.create(
        "/apis/autoscaling/v2",
        "horizontalpodautoscalers",
        &json!({
            "apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": "theirs"},
            "spec": {"scaleTargetRef": of, "minReplicas": 2, "maxReplicas": 9, "metrics": [cpu(60)]},
        }),
    );
    let plan = scene.plan(scene.release("new-1", None), Some(scene.adopted().await));
    scene.begin(&plan).await;
    wants(&scene, "theirs", 4);
    scene.expose(&plan, Share::percent(50), 1).await;
    let all = |scene: &Scene, pods: usize| scene.theirs().len() == pods && scene.endpoints() == pods;
    scene.until("four pods for all that may return", |scene| all(scene, 4)).await;
    scene.write("shop", &json!({"spec": {"replicas": 9}}));
    // What is asked for is looked at now and then.
    let began = Instant::now();
    while !all(&scene, 9) {
        assert!(began.elapsed() < SOON, "{:?}", scene.theirs());
        scene.must(&plan, Effect::Measure { every: Millis::ZERO }).await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    scene.must(&plan, Effect::Restore { generation: plan.generation(50) }).await;
    scene.must(&plan, Effect::Retire { new: true, generation: plan.generation(60) }).await;
    scene.argo_has_looked().await;
    assert_eq!((scene.argo("shop")["spec"]["replicas"].clone(), scene.theirs().len()), (json!(9), 9));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_canary_ingress_of_argo_makes_room_and_comes_back_with_its_rollout() {
    let plane = ControlPlane::shared().expect("a control plane");
    plane.install_argo_rollouts().expect("Argo Rollouts");
    let mut scene = Scene::empty(plane, 1, Traffic::Ingress { name: "shop".to_owned() });
    scene.adopt = Some("shop".to_owned());
    scene.services(&["shop", "shop-canary"]);
    let backend = json!({"service": {"name": "shop", "port": {"number": 80}}});
    scene.create(
        NETWORK,
        "ingresses",
        &json!({
            "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "shop"},
            "spec": {"ingressClassName": "nginx", "rules": [{"host": "shop.example", "http": {"paths": [
                {"path": "/", "pathType": "Prefix", "backend": backend},
            ]}}]},
        }),
    );
    scene.rolls(
        "shop",
        &json!({"canary": {
            "stableService": "shop", "canaryService": "shop-canary", "steps": [{"setWeight": 50}],
            "trafficRouting": {"nginx": {"stableIngress": "shop"}},
        }}),
    );
    scene.rests("shop").await;
    let theirs =
        |scene: &Scene| scene.admin().get(&scene.path(NETWORK, "ingresses", "shop-shop-canary")).is_ok();
    scene.until("their canary", theirs).await;
    let plan = scene.plan(scene.release("new-1", None), Some(scene.adopted().await));
    scene.begin(&plan).await;
    scene.expose(&plan, Share::percent(25), 1).await;
    scene.argo_has_looked().await;
    assert!(!theirs(&scene), "an Ingress has one canary");
    assert_eq!(scene.route()["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"], "25");
    scene.must(&plan, Effect::Restore { generation: plan.generation(50) }).await;
    scene.must(&plan, Effect::Retire { new: true, generation: plan.generation(60) }).await;
    scene.until("their canary", theirs).await;
    assert_eq!(scene.route(), Value::Null, "and ours is gone");
}
