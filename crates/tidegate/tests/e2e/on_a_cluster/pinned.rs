//! Whose cluster it is: that of the shell which deploys, and never that of the one in which the engine was started.

use std::{path::PathBuf, process::Stdio};

use serde_json::{Value, json};
use tidegate_bed::ControlPlane;

use super::template;
use crate::support::{Project, kill, until};

fn image(letter: char) -> String {
    format!("registry.example/shop@sha256:{}", letter.to_string().repeat(64))
}

/// The bed's kubeconfig with another API server and another context in it.
fn elsewhere(project: &Project, plane: &ControlPlane) -> PathBuf {
    let text = std::fs::read_to_string(plane.kubeconfig()).expect("a kubeconfig");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    config["clusters"][0]["cluster"]["server"] = json!("https://127.0.0.1:1");
    config["contexts"][0]["name"] = json!("staging");
    config["current-context"] = json!("staging");
    let path = project.root().join("staging.kubeconfig");
    std::fs::write(&path, config.to_string()).expect("written");
    path
}

#[test]
fn a_deployment_goes_to_the_cluster_of_the_shell_that_asks_and_never_to_the_engines() {
    let plane = ControlPlane::shared().expect("a control plane");
    let mut project = Project::new();
    let (admin, namespace) = (plane.admin(), plane.namespace("pinned").expect("a namespace"));
    let service =
        json!({"metadata": {"name": "shop"}, "spec": {"selector": {"app": "shop"}, "ports": [{"port": 80}]}});
    admin.create(&format!("/api/v1/namespaces/{namespace}/services"), &service).expect("made");
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "shop"}}, "template": template(&image('a'), None)},
    });
    std::fs::write(project.root().join("deploy.yaml"), deployment.to_string()).expect("a manifest");
    let text = format!(
        "version: 1\nservices:\n  shop:\n    run: {{kubernetes: {{manifest: deploy.yaml, namespace: {namespace}, service: shop, \
         replicas: 1}}}}\n    strategy: {{all_at_once: {{bake: 200ms}}}}\n    watch: 0s\n"
    );
    std::fs::write(project.config(), text).expect("a configuration");

    project.environment("KUBECONFIG", "/nonexistent");
    for verb in ["plan", "deploy"] {
        project.run(&[verb]).code(2).complains("no cluster is known: /nonexistent cannot be read: ");
    }
    let mut engine = project.command(&["server", "--idle-exit", "60"]);
    let mut engine =
        engine.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("an engine");
    until(|| project.engine().is_some(), || "no engine".to_owned());
    project.environment("KUBECONFIG", &plane.kubeconfig().to_string_lossy());
    project.run(&["deploy"]).code(0);
    project.run(&["deploy", "--image", &image('b')]).code(0);
    project.run(&["deploy", "--image", &image('b')]).code(2).complains("already runs");

    let staging = elsewhere(&project, plane);
    project.environment("KUBECONFIG", &staging.to_string_lossy());
    for verb in ["plan", "deploy"] {
        let ran = project.run(&[verb, "--image", &image('c')]);
        ran.code(2).complains("is in another cluster").complains("https://127.0.0.1:1/ (context staging of ");
    }
    project.run(&["rollback"]).code(0);
    let path = format!("/apis/apps/v1/namespaces/{namespace}/deployments");
    let made = admin.get(&path).expect("a list")["items"].as_array().map(Vec::len);
    assert_eq!(made, Some(2), "the two releases of this cluster, and the way back went there too");
    kill(engine.id());
    drop(engine.wait());
}
