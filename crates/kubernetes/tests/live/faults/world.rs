//! What else may happen to the objects: they are missing, too few, not ready, refused by a quota or a policy, or somebody else's.

use std::{
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use serde_json::json;
use tidegate_bed::{BedError, ControlPlane, until};
use tidegate_core::deployment::{Effect, Outcome};

use super::{Case, Fault, HELD, SAFE_WITHIN, Style, Sum, cases, meet};
use crate::scene::{SOON, Scene, users_deployment, users_route, users_service};

const ROUTES: &str = "/apis/gateway.networking.k8s.io/v1";
const POLICIES: &str = "/apis/admissionregistration.k8s.io/v1";
/// The label of a namespace that says what is refused there.
const REFUSE: &str = "tidegate-test-refuse";

/// Long enough that the engine waits its longest between two tries.
const LASTS: Duration = Duration::from_secs(3);

/// So many faults at once: each has a deployment at every effect.
const AT_ONCE: usize = 3;

/// Begins or ends it for one case.
type Set = fn(&Case<()>, bool);

/// What happens.
#[derive(Clone, Copy)]
struct Happening {
    name: &'static str,
    style: Style,
    /// Pods of the stable release.
    replicas: u32,
    set: Set,
    lasts: Option<Duration>,
    takes_pods: bool,
}

impl Happening {
    const fn new(name: &'static str, replicas: u32, set: Set) -> Self {
        Self { name, style: Style::Canary, replicas, set, lasts: None, takes_pods: false }
    }

    const fn lasting(self, lasts: Duration) -> Self {
        Self { lasts: Some(lasts), ..self }
    }
}

const HAPPENINGS: [Happening; 12] = [
    Happening::new("route deleted", 1, route_deleted).lasting(LASTS),
    Happening {
        takes_pods: true,
        ..Happening::new("stable Deployment deleted", 1, stable_deleted).lasting(LASTS)
    },
    Happening::new("users' Service deleted", 1, service_deleted).lasting(LASTS),
    Happening {
        takes_pods: true,
        ..Happening::new("stable scaled down", 4, stable_scaled_down).lasting(Duration::ZERO)
    },
    Happening::new("stable unready", 2, stable_unready).lasting(LASTS),
    Happening::new("new release unready", 2, new_unready),
    Happening { style: Style::BlueGreen, ..Happening::new("green unready", 2, new_unready) },
    Happening::new("quota exhausted", 2, quota_exhausted),
    Happening::new("admission refuses the new release", 1, |case, on| refuse(case, on.then_some("new"))),
    Happening::new("admission refuses Deployments", 1, |case, on| refuse(case, on.then_some("deployments"))),
    Happening::new("admission refuses the route", 1, |case, on| refuse(case, on.then_some("routes")))
        .lasting(LASTS),
    Happening::new("somebody gives the new release all", 1, taken_over),
];

fn in_time(what: &str, so: impl Fn() -> bool) {
    until(what, SOON, || Ok(so().then_some(()))).expect("in time");
}

fn route_deleted(case: &Case<()>, on: bool) {
    let scene = &case.scene;
    if on {
        scene.admin().delete(&scene.path(ROUTES, "httproutes", "shop")).expect("deleted");
    } else {
        scene.create(ROUTES, "httproutes", &users_route("shop"));
    }
}

/// When the mistake is noticed, the pods of the new release still have their traffic: nobody else has any.
fn still_served(case: &Case<()>) {
    if case.effect == "promote" && case.weights().is_some_and(|(new, _)| new == 0) {
        case.nobody.store(true, Ordering::Relaxed);
    }
}

fn stable_deleted(case: &Case<()>, on: bool) {
    let scene = &case.scene;
    if on {
        scene.admin().delete(&scene.path("/apis/apps/v1", "deployments", "shop")).expect("deleted");
        in_time("no pod of the stable release", || stable_ready(scene) == 0);
    } else {
        still_served(case);
        scene.create("/apis/apps/v1", "deployments", &users_deployment(scene.replicas));
        in_time("ready pods", || stable_ready(scene) > 0);
    }
}

fn service_deleted(case: &Case<()>, on: bool) {
    let scene = &case.scene;
    if on {
        scene.admin().delete(&scene.path("/api/v1", "services", "shop")).expect("deleted");
    } else {
        scene.create("/api/v1", "services", &users_service());
    }
}

fn stable_scaled_down(case: &Case<()>, on: bool) {
    let scene = &case.scene;
    if on {
        let path = scene.path("/apis/apps/v1", "deployments", "shop");
        scene.admin().merge(&path, &json!({"spec": {"replicas": 1}})).expect("scaled");
        in_time("fewer pods", || stable_ready(scene) <= 1);
    } else {
        // Half of them are enough for everything, and until then they get their part.
        in_time("enough pods", || stable_ready(scene) >= 2);
    }
}

fn set_ready(scene: &Scene, prefix: &str, ready: bool) {
    for (pod, _) in scene.pods().iter().filter(|(name, _)| is_of(name, prefix)) {
        match scene.admin().set_ready(&scene.namespace, pod, ready) {
            // It was on its way out.
            Ok(()) | Err(BedError::Refused { status: 404, .. }) => {}
            Err(why) => panic!("{why}"),
        }
    }
}

/// Pods of the stable release begin with `shop-`, and so do the others: those of the new one with `shop-new-1-`.
fn is_of(pod: &str, release: &str) -> bool {
    pod.starts_with("shop-new-1-") == (release == "new")
}

/// Ready pods of the stable release.
fn stable_ready(scene: &Scene) -> u64 {
    let path = scene.path("/apis/apps/v1", "deployments", "shop");
    let Ok(deployment) = scene.admin().get(&path) else {
        let pods = scene.pods();
        return u64::try_from(pods.iter().filter(|(name, _)| is_of(name, "stable")).count())
            .unwrap_or(u64::MAX);
    };
    deployment["status"]["readyReplicas"].as_u64().unwrap_or(0)
}

fn stable_unready(case: &Case<()>, on: bool) {
    if !on {
        still_served(case);
    }
    set_ready(&case.scene, "stable", !on);
    in_time("pods as they are", || (stable_ready(&case.scene) == 0) == on);
}

fn new_unready(case: &Case<()>, on: bool) {
    if on {
        set_ready(&case.scene, "new", false);
    }
}

fn quota_exhausted(case: &Case<()>, on: bool) {
    let scene = &case.scene;
    if on {
        let quota = json!({"metadata": {"name": "full"}, "spec": {"hard": {"pods": scene.pods().len()}}});
        scene.create("/api/v1", "resourcequotas", &quota);
    }
}

fn taken_over(case: &Case<()>, on: bool) {
    let scene = &case.scene;
    if on {
        let backend = |name, weight| json!({"name": name, "port": 80, "weight": weight});
        let all = json!([backend("shop", 0), backend("shop-preview", 1)]);
        let patch = json!([{"op": "replace", "path": "/spec/rules/1/backendRefs", "value": all}]);
        let path = scene.path(ROUTES, "httproutes", "shop");
        let answer = scene.admin().ask("PATCH", &path, "application/json-patch+json", patch.to_string());
        assert_eq!(answer.expect("an answer").status, 200);
    }
}

/// What the policies refuse in a namespace with the label: objects of our releases, every change of a Deployment, every one of
/// a route.
fn policies(plane: &ControlPlane) {
    let rule = |group: &str, resource: &str, operations: &[&str]| json!({"apiGroups": [group], "apiVersions": ["*"], "resources": [resource], "operations": operations});
    let both = ["CREATE", "UPDATE"];
    let ours = "!has(object.metadata.labels) || !('tidegate.dev/release' in object.metadata.labels)";
    for (name, rules, expression) in [
        ("new", json!([rule("apps", "deployments", &both), rule("", "pods", &both)]), ours),
        ("deployments", json!([rule("apps", "deployments", &both)]), "false"),
        ("routes", json!([rule("gateway.networking.k8s.io", "httproutes", &both)]), "false"),
    ] {
        let metadata = json!({"name": format!("tidegate-test-{name}")});
        let policy = json!({
            "metadata": metadata,
            "spec": {
                "failurePolicy": "Fail",
                "matchConstraints": {"resourceRules": rules},
                "validations": [{"expression": expression, "message": "not in this namespace"}],
            },
        });
        let binding = json!({
            "metadata": metadata,
            "spec": {
                "policyName": metadata["name"],
                "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": {"matchLabels": {REFUSE: name}}},
            },
        });
        plane.admin().create(&format!("{POLICIES}/validatingadmissionpolicies"), &policy).expect("a policy");
        let bindings = format!("{POLICIES}/validatingadmissionpolicybindings");
        plane.admin().create(&bindings, &binding).expect("a binding");
    }
}

/// The namespace has this label from now on, and the API server knows it.
fn refuse(case: &Case<()>, what: Option<&str>) {
    let scene = &case.scene;
    let path = format!("/api/v1/namespaces/{}", scene.namespace);
    let before = scene.admin().get(&path).expect("the namespace")["metadata"]["labels"][REFUSE].clone();
    scene.admin().merge(&path, &json!({"metadata": {"labels": {REFUSE: what}}})).expect("labelled");
    let what = what.or(before.as_str()).unwrap_or_default().to_owned();
    let (group, plural, mut object) = match what.as_str() {
        "routes" => (ROUTES, "httproutes", users_route("probe")),
        _ => ("/apis/apps/v1", "deployments", users_deployment(1)),
    };
    object["metadata"] = json!({"name": "probe", "labels": {"tidegate.dev/release": "probe"}});
    let collection = format!("{group}/namespaces/{}/{plural}?dryRun=All", scene.namespace);
    let refused = before.is_null();
    in_time("the policy", || (scene.admin().create(&collection, &object).is_err()) == refused);
}

async fn met(plane: &'static ControlPlane, happening: Happening) -> Sum {
    let Happening { name, style, replicas, set, lasts, takes_pods } = happening;
    let cases = cases(plane, (style, replicas), |_, _| ()).await;
    let all = |cases: &[Arc<Case<()>>], on| {
        // One after the other they would be late.
        std::thread::scope(|scope| cases.iter().for_each(|case| drop(scope.spawn(move || set(case, on)))));
    };
    let mut sum = meet(&cases, &Fault { name, set: &all, held: HELD, lasts, takes_pods }).await;
    // Then the new release goes, and nothing that users come in by.
    let ends: Vec<_> =
        cases.iter().cloned().map(|case| tokio::spawn(async move { case.end().await })).collect();
    for (case, end) in cases.iter().zip(ends) {
        let gone = end.await.expect("an end").is_some();
        if !(gone && case.is_safe()) {
            eprintln!("UNSAFE {name} at {}: ended {gone}, {:?}", case.effect, case.weights());
            sum.unsafe_ += 1;
        }
    }
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 16)]
async fn whatever_happens_to_the_objects_at_any_effect_users_are_safe_within_five_seconds_of_its_end() {
    let plane = ControlPlane::shared().expect("a control plane");
    plane.install_gateway_api().expect("Gateway API");
    policies(plane);
    let mut sum = Sum::default();
    for some in HAPPENINGS.chunks(AT_ONCE) {
        let met: Vec<_> = some.iter().map(|happening| tokio::spawn(met(plane, *happening))).collect();
        for one in met {
            sum.add(&one.await.expect("met"));
        }
    }
    sum.all_well();
}

/// The whole namespace goes. Until its objects are gone they can still be changed, and then nobody comes in by them.
#[tokio::test(flavor = "multi_thread", worker_threads = 16)]
async fn whatever_was_on_its_way_in_a_namespace_that_is_deleted_the_new_release_has_no_users_within_five_seconds()
 {
    let plane = ControlPlane::shared().expect("a control plane");
    plane.install_gateway_api().expect("Gateway API");
    let cases = cases(plane, (Style::Canary, 1), |_, _| ()).await;
    let mut sum = Sum::default();
    for case in cases {
        let scene = &case.scene;
        scene.admin().delete(&format!("/api/v1/namespaces/{}", scene.namespace)).expect("deleted");
        let (effect, began) = (scene.order(&case.plan, 1, case.effect()).await, Instant::now());
        let restore = Effect::Restore { generation: case.plan.generation(100) };
        let back = scene.order(&case.plan, 1, restore).await;
        for outcome in [effect, back] {
            if let Outcome::Failed { reason, .. } = outcome {
                assert!(!reason.is_empty(), "{}", case.effect);
            }
        }
        while case.weights().is_some_and(|(new, _)| new > 0) && began.elapsed() < SAFE_WITHIN {
            tokio::time::sleep(super::LOOK).await;
        }
        sum.cases += 1;
        sum.unsafe_ += u32::from(began.elapsed() >= SAFE_WITHIN);
        sum.slowest = sum.slowest.max(began.elapsed());
    }
    sum.all_well();
}
