//! What is wrong ends with a sentence that says what to do.

use serde_json::{Value, json};

use crate::scene::{Scene, condition, image, is};

#[test]
fn the_api_server_takes_the_definition_and_refuses_fields_that_are_not_known_or_not_right() {
    let scene = Scene::new("schema");
    let refused = |more: &Value, word: &str| {
        let (status, body) = scene.ask_to_apply(&scene.rollout('a', more));
        let text = body["message"].as_str().unwrap_or_default().to_owned();
        assert!(status >= 400 && text.contains(word), "expected {word}, found {status} {text}");
    };
    refused(&json!({"strategi": {}}), "strategi");
    refused(&json!({"port": 0}), "spec.port");
    refused(&json!({"watch": "soon"}), "spec.watch");
    refused(&json!({"criticality": "huge"}), "spec.criticality");
    refused(&json!({"strategy": {"canary": {}, "rolling": {}}}), "spec.strategy");
    refused(&json!({"container": "web"}), "means nothing without `image`");
    refused(&json!({"metrics": {"m": {"command": {"argv": ["id"]}}}}), "command");
    refused(&json!({"workload": {"deployment": "shop"}}), "oneOf");
    let mut named = scene.rollout('a', &json!({}));
    named["metadata"]["name"] = json!("shop.example");
    let path = scene.path("shop.example") + "?fieldManager=kubectl";
    let answer =
        scene.admin().ask("PATCH", &path, "application/apply-patch+yaml", named.to_string()).expect("one");
    assert!(answer.body.to_string().contains("at most 39 characters"), "{}", answer.body);
}

#[test]
fn a_spec_that_is_refused_is_a_condition_that_names_the_field_and_what_runs_is_left_alone() {
    let scene = Scene::new("refused");
    let _controller = scene.controller("a");
    scene.apply('a', &json!({}));
    let good = scene.until_state("verified");
    let before = scene.releases();
    let cases = [
        (json!({"strategy": {"canary": {"steps": ["50%", "20%"]}}}), "spec.strategy.canary.steps[1]"),
        (
            json!({"strategy": {"canary": {"steps": [{"share": "50%", "baek": "1s"}]}}}),
            "did you mean `bake`?",
        ),
        (json!({"gates": {"error_rate": {"metric": "requests"}}}), "requests"),
        (json!({"image": "shop:1"}), "spec.image"),
        (json!({"template": {"spec": {"containers": [{"name": "web", "image": "shop:1"}]}}}), "by digest"),
        (json!({"template": null, "workload": {"deployment": "nobody"}}), "no Deployment `nobody`"),
    ];
    for (more, word) in cases {
        scene.apply('b', &more);
        let refused = scene.until_state("refused");
        let message = refused["status"]["message"].as_str().unwrap_or_default();
        assert!(message.contains(word), "expected {word}, found {message}");
        assert_eq!(condition(&refused, "Accepted"), is("False", "Refused"));
        assert_eq!(condition(&refused, "Degraded"), is("True", "Refused"));
        assert_eq!(refused["status"]["deployment"], good["status"]["deployment"]);
    }
    assert_eq!(scene.releases(), before, "nothing else happened");
    scene.apply('a', &json!({}));
    scene.until_state("verified");
    // Where the client lets the API server drop what it does not know, it is named all the same.
    let mut lax = scene.rollout('a', &json!({}));
    let mut written = lax.clone();
    written["spec"]["gates"] = json!({"instancse": {}});
    lax["spec"]["gates"] = written["spec"]["gates"].clone();
    lax["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/last-applied-configuration": written.to_string()});
    let patch = scene.path("shop") + "?fieldValidation=Ignore";
    scene.admin().merge(&patch, &lax).expect("taken, and dropped");
    let refused = scene.until_state("refused");
    let message = refused["status"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("spec.gates.instancse"), "{message}");
    // What was taken out since is no mistake.
    let written = scene.rollout('a', &json!({"queue": "wait"})).to_string();
    let taken =
        json!({"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": written}}});
    scene.admin().merge(&scene.path("shop"), &taken).expect("annotated");
    scene.until_state("verified");
    assert_eq!(scene.releases(), before);
}

#[test]
fn a_second_installation_leaves_the_rollouts_of_the_first_alone_and_says_whose_they_are() {
    let scene = Scene::new("owners");
    let first = scene.controller_with("a", &["--listen", "127.0.0.1:0"]);
    scene.apply('a', &json!({}));
    scene.until_state("verified");
    assert_eq!(first.answers("/readyz"), "leads\n");
    let metrics = first.answers("/metrics");
    for line in ["leads 1", "rollouts 1", "submitted_total 1", "refused_total 0"] {
        assert!(metrics.contains(&format!("tidegate_controller_{line}\n")), "{line}: {metrics}");
    }
    let mut other = scene;
    other.kubeconfig = other.plane.kubeconfig().to_owned();
    let second = other.controller_with("b", &["--name", "second"]);
    let said = tidegate_bed::until("a word about it", crate::scene::SOON, || {
        let log = std::fs::read_to_string(second.log()).unwrap_or_default();
        Ok(log.contains("looked after by another Tidegate").then_some(log))
    });
    let said = said.expect("a word about it");
    assert!(said.contains(&format!("`{}/tidegate`", other.namespace)), "{said}");
    let rollout = other.admin().get(&other.path("shop")).expect("a Rollout");
    assert_eq!(rollout["status"]["owner"], format!("{}/tidegate", other.namespace));
    assert!(other.events().iter().any(|(reason, _)| reason == "Owned"), "{:?}", other.events());
}

#[test]
fn a_missing_role_is_named_with_its_rule_and_a_missing_definition_with_the_way_to_install_it() {
    let mut scene = Scene::new("forbidden");
    let account = json!({"metadata": {"name": "nobody"}});
    let path = format!("/api/v1/namespaces/{}/serviceaccounts", scene.namespace);
    scene.admin().create(&path, &account).expect("an account");
    let access = scene.plane.service_account(&scene.namespace, "nobody").expect("a token");
    scene.kubeconfig = access.kubeconfig().to_owned();
    let (code, log) = scene.controller("a").ended();
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("not allowed to list rollouts.tidegate.dev"), "{log}");
    assert!(log.contains("apiGroups: [tidegate.dev], resources: [rollouts], verbs: [list]"), "{log}");
    scene.kubeconfig = scene.plane.kubeconfig().to_owned();
    let (code, log) = scene.controller_with("c", &["--lease-namespace", "not-there"]).ended();
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("no namespace not-there for Lease not-there/tidegate: make it first"), "{log}");
    let bare = tidegate_bed::ControlPlane::start(&tidegate_bed::Options::default()).expect("a control plane");
    scene.kubeconfig = bare.kubeconfig().to_owned();
    let (code, log) = scene.controller("b").ended();
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("tidegate controller manifests --crd"), "{log}");
    assert!(!image('a').is_empty());
}
