//! What installs a controller is taken by a cluster that takes nothing lightly.

use serde_json::{Value, json};
use tidegate_bed::until;

use crate::scene::{SOON, Scene, image, manifests};

fn collection(object: &Value, namespace: &str) -> String {
    let version = object["apiVersion"].as_str().expect("a version");
    let prefix = if version == "v1" { "/api/v1".to_owned() } else { format!("/apis/{version}") };
    let plural = format!("{}s", object["kind"].as_str().expect("a kind").to_lowercase());
    let wide = ["CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"];
    if wide.iter().any(|kind| object["kind"] == *kind) {
        return format!("{prefix}/{plural}");
    }
    let own = object["metadata"]["namespace"].as_str().unwrap_or(namespace);
    format!("{prefix}/namespaces/{own}/{plural}")
}

/// Everything of the manifests in a namespace that enforces the strictest of the pod security profiles.
pub(crate) fn install(scene: &Scene, objects: &[Value]) {
    let patch = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    scene.admin().merge(&format!("/api/v1/namespaces/{}", scene.namespace), &patch).expect("a label");
    for object in objects {
        let answer = scene
            .admin()
            .ask("POST", &collection(object, &scene.namespace), "application/json", object.to_string())
            .expect("an answer");
        // The account and its roles are there, as is the definition.
        assert!([201, 409].contains(&answer.status), "{} {}", answer.status, answer.body);
    }
    let pods = format!("/api/v1/namespaces/{}/pods", scene.namespace);
    let pod = until("the controller's pod", SOON, || {
        let list = scene.admin().get(&pods)?;
        let mut ours = list["items"].as_array().into_iter().flatten();
        Ok(ours.find(|pod| pod["spec"]["containers"][0]["name"] == "controller").cloned())
    });
    pod.expect("a pod that the profile admits");
}

#[test]
fn the_manifests_are_taken_and_their_pod_is_admitted_where_the_restricted_profile_is_enforced() {
    for scope in ["--namespace", "--all-namespaces"] {
        let scene = Scene::new("install");
        let name = if scope == "--namespace" { "plain" } else { "wide" };
        let image = image('0');
        let mut arguments =
            vec!["--lease-namespace", &scene.namespace, "--name", name, "--image", &image, scope];
        if scope == "--namespace" {
            arguments.push(&scene.namespace);
        }
        let objects = manifests(&arguments);
        install(&scene, &objects);
        let text = json!(objects[1..]).to_string();
        for word in ["secrets", "\"*\"", "impersonate", "escalate", "pods/exec"] {
            assert!(!text.contains(word), "{word}");
        }
    }
}

/// What the API server makes of a manifest, without what it says of the asking.
fn understood(scene: &Scene, text: &str) -> Value {
    let admin = scene.admin();
    let asked = |path: &str| admin.ask("POST", path, "application/yaml", text.to_owned()).expect("an answer");
    // Which kind it is, it says itself.
    let word = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
        line.trim().to_owned()
    };
    let object = json!({
        "apiVersion": word("apiVersion:"), "kind": word("kind:"), "metadata": {"namespace": scene.namespace},
    });
    let answer =
        asked(&format!("{}?dryRun=All&fieldValidation=Strict", collection(&object, &scene.namespace)));
    assert_eq!(answer.status, 201, "{}\n{text}", answer.body);
    let mut body = answer.body;
    for key in ["uid", "creationTimestamp", "managedFields", "generation"] {
        drop(body["metadata"].as_object_mut().and_then(|metadata| metadata.remove(key)));
    }
    body
}

fn helm(arguments: &[&str]) -> Result<String, String> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("a root");
    let home = tempfile::tempdir().expect("a directory");
    let output = std::process::Command::new(root.join("target/control-plane/bin/helm"))
        .args(["template", "chart-test", "deploy/chart"])
        .args(arguments)
        .env("HOME", home.path())
        .current_dir(root)
        .output()
        .expect("helm, which `cargo xtask setup` builds");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

#[test]
fn the_chart_says_what_the_manifests_say_and_refuses_values_that_are_not_known() {
    let scene = Scene::new("chart");
    let image = image('0');
    let namespace = scene.namespace.as_str();
    let pinned = format!("image={image}");
    for (flags, scope) in [
        (vec!["--set", "allNamespaces=true"], vec!["--all-namespaces"]),
        (vec![], vec!["--namespace", namespace]),
    ] {
        let mut arguments = vec!["--namespace", namespace, "--set", &pinned];
        arguments.extend(flags);
        let rendered = helm(&arguments).expect("rendered");
        let parts = rendered.split("\n---\n").map(|part| part.trim_start_matches("---\n"));
        let parts = parts.filter(|part| part.lines().any(|line| line.starts_with("kind:")));
        let mut charted: Vec<Value> = parts.map(|part| understood(&scene, part)).collect();
        let mut arguments = vec!["--lease-namespace", namespace, "--name", "chart-test", "--image", &image];
        arguments.extend(scope);
        let plain = manifests(&arguments);
        let shown = |object: &Value| {
            let head = ["apiVersion", "kind"]
                .map(|key| format!("{key}: {}\n", object[key].as_str().expect("a word")));
            let mut rest = object.clone();
            for key in ["apiVersion", "kind"] {
                rest.as_object_mut().expect("an object").remove(key);
            }
            // JSON is YAML, but the first two lines are read as lines.
            let body =
                rest.as_object().expect("an object").iter().map(|(key, value)| format!("{key}: {value}\n"));
            format!("{}{}", head.concat(), body.collect::<String>())
        };
        let mut made: Vec<Value> = plain[1..].iter().map(|one| understood(&scene, &shown(one))).collect();
        for all in [&mut charted, &mut made] {
            all.sort_by_key(|one| format!("{} {}", one["kind"], one["metadata"]["name"]));
        }
        assert_eq!(charted, made);
    }
    for (flag, word) in
        [("image=shop:1", "image"), ("imagee=x", "imagee"), ("leaseSeconds=1", "leaseSeconds")]
    {
        let why = helm(&["--set", &pinned, "--set", flag]).expect_err(flag);
        assert!(why.contains(word), "{why}");
    }
    assert!(helm(&[]).is_err(), "an image is needed");
    let both = ["--set", &pinned, "--set", "allNamespaces=true", "--set", "namespaces={shop}"];
    let why = helm(&both).expect_err("all namespaces, and some");
    assert!(why.contains("`allNamespaces: true` and `namespaces` exclude each other"), "{why}");
}
