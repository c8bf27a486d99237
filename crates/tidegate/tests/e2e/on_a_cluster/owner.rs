//! A Deployment that was adopted, that users were returned to, and that its owner then rolled out.

use serde_json::json;
use tidegate_bed::ControlPlane;

use super::template;
use crate::support::{Project, until};

fn image(letter: char) -> String {
    format!("registry.example/shop@sha256:{}", letter.to_string().repeat(64))
}

#[test]
fn a_deployment_goes_on_from_what_the_owner_of_an_adopted_deployment_has_there_now() {
    let plane = ControlPlane::shared().expect("a control plane");
    let mut project = Project::new();
    project.environment("KUBECONFIG", &plane.kubeconfig().to_string_lossy());
    let (admin, namespace) = (plane.admin(), plane.namespace("owned").expect("a namespace"));
    let all = format!("/apis/apps/v1/namespaces/{namespace}/deployments");
    let path = format!("{all}/shop");
    let service =
        json!({"metadata": {"name": "shop"}, "spec": {"selector": {"app": "shop"}, "ports": [{"port": 80}]}});
    admin.create(&format!("/api/v1/namespaces/{namespace}/services"), &service).expect("made");
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "shop"}}, "template": template(&image('a'), None)},
    });
    admin.create(&all, &deployment).expect("made");
    std::fs::write(project.root().join("deploy.yaml"), deployment.to_string()).expect("a manifest");
    let configure = |bake: &str| {
        let text = format!(
            "version: 1\nservices:\n  shop:\n    run: {{kubernetes: {{manifest: deploy.yaml, namespace: {namespace}, service: shop, \
             replicas: 2}}}}\n    strategy: {{blue_green: {{bake: {bake}}}}}\n    watch: 0s\n"
        );
        std::fs::write(project.config(), text).expect("a configuration");
    };
    configure("200ms");
    let rests = || {
        let shop = admin.get(&path).expect("it is there");
        let status = &shop["status"];
        let all = ["replicas", "updatedReplicas", "readyReplicas"].map(|key| status[key].as_u64());
        status["observedGeneration"] == shop["metadata"]["generation"] && all == [Some(2); 3]
    };
    until(rests, || "the Deployment is not ready".to_owned());

    project.run(&["deploy", "--image", &image('b')]).code(0);
    project.run(&["rollback"]).code(0);
    until(rests, || admin.get(&path).expect("it is there").to_string());
    admin
        .merge(&path, &json!({"spec": {"template": template(&image('c'), Some("unready"))}}))
        .expect("applied");
    until(|| !rests(), || "no rollout".to_owned());
    project
        .run(&["deploy", "--image", &image('d')])
        .code(2)
        .complains("is being rolled out by somebody else");
    admin.merge(&path, &json!({"spec": {"template": template(&image('c'), None)}})).expect("applied");
    until(rests, || admin.get(&path).expect("it is there").to_string());

    let said =
        |revision| format!("was rolled out by its owner since: revision {revision} is what is returned to");
    project.run(&["plan", "--image", &image('d')]).code(0).says(&said(3)).says(&image('c'));
    configure("60s");
    project.run(&["deploy", "--detach", "--image", &image('d')]).code(0);
    project.reaches("shop-3", "canary_waiting");
    project.run(&["history", "shop-3"]).code(0).says(&said(3));
    assert!(!project.events("shop-3").contains(&"replanned".to_owned()), "planned right at once");

    // He resumes it in the middle of that: what waits is planned again at its turn.
    configure("200ms");
    project.run(&["deploy", "--detach", "--image", &image('e')]).code(0);
    let resumed = json!({"spec": {"paused": false, "template": template(&image('f'), None)}});
    admin.merge(&path, &resumed).expect("applied");
    until(
        || rests() && !admin.get(&path).is_ok_and(|shop| shop["spec"]["paused"] == true),
        || admin.get(&path).expect("it is there").to_string(),
    );
    project.run(&["abort", "shop-3", "--reason", "enough"]).code(0);
    project.reaches("shop-4", "verified");
    project.run(&["history", "shop-4"]).code(0).says(&said(4));
}
