//! The control plane does what tests rely on: schedules, scripts pods, refuses, serves definitions, and never stays behind.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "the functions that tests share may fail as tests do"
)]

mod end;
mod objects;

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_bed::{BedError, ControlPlane, until};

use crate::objects::{deployment, pods, ready_replicas, role_for};

const SOON: Duration = Duration::from_secs(30);

fn plane() -> &'static ControlPlane {
    ControlPlane::shared().expect("a control plane; `cargo xtask setup` builds it")
}

/// Waits until the one pod of a Deployment looks as wanted, and gives it back.
fn pod_that(namespace: &str, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
    let look = || Ok(pods(plane(), namespace)?.into_iter().find(|pod| wanted(pod)));
    until(what, SOON, look).expect("the pod as scripted")
}

fn waits_for(pod: &Value) -> Option<&str> {
    pod.pointer("/status/containerStatuses/0/state/waiting/reason").and_then(Value::as_str)
}

fn restarts(pod: &Value) -> u64 {
    pod.pointer("/status/containerStatuses/0/restartCount").and_then(Value::as_u64).unwrap_or_default()
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

#[test]
fn a_deployment_of_three_is_scheduled_and_ready_and_its_pods_go_with_it() {
    let namespace = plane().namespace("three").unwrap();
    let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments");
    plane().admin().create(&path, &deployment("web", 3, None)).unwrap();
    until("3 ready replicas", SOON, || Ok((ready_replicas(plane(), &namespace, "web")? == 3).then_some(())))
        .unwrap();
    for pod in pods(plane(), &namespace).unwrap() {
        assert!(pod["spec"]["nodeName"].as_str().unwrap().starts_with("node-"), "{pod}");
        assert!(pod["status"]["podIP"].is_string(), "{pod}");
    }
    plane().admin().delete(&format!("{path}/web?propagationPolicy=Background")).unwrap();
    until("no pods", SOON, || Ok(pods(plane(), &namespace)?.is_empty().then_some(()))).unwrap();
}

#[test]
fn the_label_scripts_a_pod_that_crashes_again_and_again() {
    let namespace = plane().namespace("crash").unwrap();
    objects::deploy(plane(), &namespace, "web", 1, Some("crash")).unwrap();
    let crashed = pod_that(&namespace, "a crash", |pod| waits_for(pod) == Some("CrashLoopBackOff"));
    assert!(!is_ready(&crashed));
    let before = restarts(&crashed);
    assert!(before >= 1);
    pod_that(&namespace, "two more crashes", |pod| restarts(pod) >= before + 2);
}

#[test]
fn the_label_scripts_a_pod_that_cannot_pull_its_image() {
    let namespace = plane().namespace("pull").unwrap();
    objects::deploy(plane(), &namespace, "web", 1, Some("pull")).unwrap();
    let pod = pod_that(&namespace, "a failed pull", |pod| waits_for(pod) == Some("ImagePullBackOff"));
    assert_eq!(pod["status"]["phase"], "Pending");
    assert!(!is_ready(&pod));
}

#[test]
fn the_label_scripts_a_pod_that_runs_and_is_never_ready() {
    let namespace = plane().namespace("unready").unwrap();
    objects::deploy(plane(), &namespace, "web", 1, Some("unready")).unwrap();
    let pod = pod_that(&namespace, "a running pod", |pod| pod["status"]["phase"] == "Running");
    assert!(!is_ready(&pod));
    assert_eq!(ready_replicas(plane(), &namespace, "web").unwrap(), 0);
}

#[test]
fn the_label_and_an_annotation_script_how_slowly_a_pod_becomes_ready() {
    let namespace = plane().namespace("slow").unwrap();
    let mut slow = deployment("web", 1, Some("slow"));
    slow["spec"]["template"]["metadata"]["annotations"] = json!({"sim-delay": "1500ms"});
    plane().admin().create(&format!("/apis/apps/v1/namespaces/{namespace}/deployments"), &slow).unwrap();
    let scheduled = pod_that(&namespace, "a scheduled pod", |pod| pod["spec"]["nodeName"].is_string());
    assert!(!is_ready(&scheduled));
    let begun = std::time::Instant::now();
    pod_that(&namespace, "a ready pod", is_ready);
    let took = begun.elapsed();
    assert!(took > Duration::from_millis(700) && took < Duration::from_secs(5), "{took:?}");
}

#[test]
fn a_pod_that_is_ready_is_made_unready_and_stays_so_until_it_is_made_ready() {
    let namespace = plane().namespace("flip").unwrap();
    objects::deploy(plane(), &namespace, "web", 1, None).unwrap();
    let pod = pod_that(&namespace, "a ready pod", is_ready);
    let name = pod["metadata"]["name"].as_str().unwrap();
    for (ready, count) in [(false, 0), (true, 1)] {
        plane().admin().set_ready(&namespace, name, ready).unwrap();
        let counted = || Ok((ready_replicas(plane(), &namespace, "web")? == count).then_some(()));
        until("the Deployment to count it", SOON, counted).unwrap();
    }
}

#[test]
fn a_jobs_pod_succeeds_or_fails_as_scripted() {
    let namespace = plane().namespace("job").unwrap();
    let path = format!("/apis/batch/v1/namespaces/{namespace}/jobs");
    for (name, sim, end) in [("good", None, "succeeded"), ("bad", Some("fail"), "failed")] {
        plane().admin().create(&path, &objects::job(name, sim)).unwrap();
        let ended =
            || Ok((plane().admin().get(&format!("{path}/{name}"))?["status"][end] == 1).then_some(()));
        until(&format!("job {name} to have {end}"), SOON, ended).unwrap();
    }
}

#[test]
fn nobody_may_do_anything_before_a_role_says_so() {
    let namespace = plane().namespace("roles").unwrap();
    let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments");
    plane()
        .admin()
        .create(&format!("/api/v1/namespaces/{namespace}/serviceaccounts"), &objects::account("robot"))
        .unwrap();
    let robot = plane().service_account(&namespace, "robot").unwrap();
    let person = plane().user("ann", Some("shop")).unwrap();
    for access in [&robot, &person] {
        let error = access.get(&path).unwrap_err();
        assert!(matches!(error, BedError::Refused { status: 403, .. }), "{error}");
    }
    let subjects = json!([
        {"kind": "ServiceAccount", "name": "robot", "namespace": namespace},
        {"kind": "Group", "name": "shop", "apiGroup": "rbac.authorization.k8s.io"},
    ]);
    for (collection, object) in role_for(&subjects) {
        let path = format!("/apis/rbac.authorization.k8s.io/v1/namespaces/{namespace}/{collection}");
        plane().admin().create(&path, &object).unwrap();
    }
    for access in [&robot, &person] {
        let allowed = || match access.get(&path) {
            Ok(list) => Ok(Some(list)),
            Err(BedError::Refused { status: 403, .. }) => Ok(None),
            Err(error) => Err(error),
        };
        until("the role to hold", SOON, allowed).unwrap();
        let error = access.create(&path, &deployment("web", 1, None)).unwrap_err();
        assert!(matches!(error, BedError::Refused { status: 403, .. }), "{error}");
    }
}

#[test]
fn routes_of_gateway_api_are_checked_and_those_of_istio_are_kept_as_they_are() {
    let namespace = plane().namespace("routes").unwrap();
    for _ in ["once", "again"] {
        plane().install_gateway_api().unwrap();
        plane().install_istio().unwrap();
    }
    let path = format!("/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes");
    plane().admin().create(&path, &objects::http_route("web", 90)).unwrap();
    let error = plane().admin().create(&path, &objects::http_route("bad", -1)).unwrap_err();
    assert!(matches!(error, BedError::Refused { status: 422, .. }), "{error}");
    for version in ["v1", "v1beta1", "v1alpha3"] {
        let path = format!("/apis/networking.istio.io/{version}/namespaces/{namespace}/virtualservices");
        let wanted = objects::virtual_service(version);
        let made = plane().admin().create(&path, &wanted).unwrap();
        assert_eq!(made["spec"], wanted["spec"]);
    }
}
