//! What installs a controller is taken by a cluster that takes nothing lightly.

use serde_json::{Value, json};
use tidegate_bed::until;

use crate::scene::{SOON, Scene, image, manifests};

fn collection(object: &Value, namespace: &str) -> String {
    let version = object["apiVersion"].as_str().expect("a version");
    let prefix = if version == "v1" { "/api/v1".to_owned() } else { format!("/apis/{version}") };
    let plural = format!("{}s", object["kind"].as_str().expect("a kind").to_lowercase());
    match object["kind"].as_str() {
        Some("CustomResourceDefinition" | "ClusterRole" | "ClusterRoleBinding") => format!("{prefix}/{plural}"),
        _ => {
            let own = object["metadata"]["namespace"].as_str().unwrap_or(namespace);
            format!("{prefix}/namespaces/{own}/{plural}")
        }
    }
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
        let ours = list["items"].as_array().into_iter().flatten();
        let ours = ours.cloned().find(|pod| pod["spec"]["containers"][0]["name"] == "controller");
        Ok(ours)
    });
    pod.expect("a pod that the profile admits");
}

#[test]
fn the_manifests_are_taken_and_their_pod_is_admitted_where_the_restricted_profile_is_enforced() {
    for scope in ["--namespace", "--all-namespaces"] {
        let scene = Scene::new("install");
        let name = if scope == "--namespace" { "plain" } else { "wide" };
        let image = image('0');
        let mut arguments = vec!["--lease-namespace", &scene.namespace, "--name", name, "--image", &image, scope];
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
