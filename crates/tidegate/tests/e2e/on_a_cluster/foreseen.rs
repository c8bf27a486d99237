//! What a deployment would be refused for is in the plan, and a guard that could not undo does not begin.

use std::fs;

use serde_json::{Value, json};
use tidegate_bed::{Access, ControlPlane};

use super::template;
use crate::support::{Project, until};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

fn image(letter: char) -> String {
    format!("registry.example/shop@sha256:{}", letter.to_string().repeat(64))
}

/// A service whose namespace has nothing in it.
struct Shop {
    plane: &'static ControlPlane,
    project: Project,
    namespace: String,
}

impl Shop {
    fn new() -> Self {
        let plane = ControlPlane::shared().expect("a control plane");
        let mut project = Project::new();
        project.environment("KUBECONFIG", &plane.kubeconfig().to_string_lossy());
        let namespace = plane.namespace("foreseen").expect("a namespace");
        let shop = Self { plane, project, namespace };
        fs::write(shop.project.root().join("deploy.yaml"), deployment().to_string()).expect("a manifest");
        let text = format!(
            "version: 1\nservices:\n  shop:\n    run: {{kubernetes: {{manifest: deploy.yaml, namespace: {}, service: shop, \
             replicas: 1}}}}\n    strategy: {{all_at_once: {{bake: 200ms}}}}\n    watch: 0s\n",
            shop.namespace
        );
        fs::write(shop.project.config(), text).expect("a configuration");
        shop
    }

    fn admin(&self) -> &'static Access {
        self.plane.admin()
    }

    fn path(&self, group: &str, plural: &str) -> String {
        format!("{group}/namespaces/{}/{plural}", self.namespace)
    }

    fn make(&self, group: &str, plural: &str, object: &Value) {
        self.admin().create(&self.path(group, plural), object).expect("made");
    }

    fn deployments(&self) -> usize {
        let list = self.admin().get(&self.path("/apis/apps/v1", "deployments")).expect("a list");
        list["items"].as_array().expect("items").len()
    }

    /// From now on it is done by an account with this Role and nothing else.
    fn by_account(&mut self, name: &str, role: &Value) {
        let own = json!({"metadata": {"name": name}});
        self.make("/api/v1", "serviceaccounts", &own);
        self.make(RBAC, "roles", &json!({"metadata": {"name": name}, "rules": role["rules"]}));
        let binding = json!({
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": self.namespace}],
        });
        self.make(RBAC, "rolebindings", &binding);
        let access = self.plane.service_account(&self.namespace, name).expect("a token");
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": self.namespace},
        });
        let known = || {
            let rules = access.create("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", &review);
            rules.is_ok_and(|rules| rules.to_string().contains("\"pods\""))
        };
        until(known, || "no role in force".to_owned());
        self.project.environment("KUBECONFIG", &access.kubeconfig().to_string_lossy());
    }
}

fn deployment() -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "shop"}}, "template": template(&image('a'), None)},
    })
}

/// A Role without `patch` on these.
fn without_patch(mut role: Value, resource: &str) -> Value {
    for rule in role["rules"].as_array_mut().expect("rules") {
        if rule["resources"][0] == resource {
            rule["verbs"].as_array_mut().expect("verbs").retain(|verb| verb != "patch");
        }
    }
    role
}

#[test]
fn a_plan_says_what_the_deployment_would_be_refused_for_in_its_words_and_changes_nothing() {
    let mut shop = Shop::new();
    let missing = format!("there is no Service `shop` in namespace {}", shop.namespace);
    let plan = shop.project.run(&["plan"]);
    let plan = plan
        .code(2)
        .says("stage")
        .says("A deployment would fail in its check")
        .says("there is no Service `shop`");
    plan.says("make it first");
    let problems = shop.project.run(&["plan", "--json"]).code(2).json()["problems"].clone();
    let said = problems[0].as_str().expect("a problem");
    assert!(said.starts_with(&missing) && problems[1].is_null(), "{problems}");
    assert!(shop.project.engine().is_none() && !shop.project.root().join(".tidegate/owner").exists());
    shop.project.run(&["deploy"]).code(4).says("there is no Service `shop`");

    let service =
        json!({"metadata": {"name": "shop"}, "spec": {"selector": {"app": "else"}, "ports": [{"port": 80}]}});
    shop.make("/api/v1", "services", &service);
    shop.project.run(&["plan"]).code(2).says("selects app=else").says("correct one of the two");
    let right = json!({"spec": {"selector": {"app": "shop"}}});
    let path = shop.path("/api/v1", "services") + "/shop";
    shop.admin().merge(&path, &right).expect("corrected");
    assert_eq!(shop.project.run(&["plan", "--json"]).code(0).json()["problems"], json!([]));

    let role = shop.project.run(&["role", "--json"]).code(0).json();
    shop.by_account("less", &without_patch(role, "services"));
    let plan = shop.project.run(&["plan"]);
    plan.code(2)
        .says("not allowed to patch services in namespace")
        .says("resources: [services], verbs: [patch]");
    assert_eq!(shop.deployments(), 0, "nothing was made");
    let owner = shop.admin().get(&path).expect("the Service")["metadata"]["annotations"].clone();
    assert_eq!(owner, Value::Null, "nor noted");
}

#[test]
fn a_guard_without_the_right_to_undo_ends_at_once_and_names_the_rule() {
    let mut shop = Shop::new();
    shop.make("/apis/apps/v1", "deployments", &deployment());
    let role = shop.project.run(&["role", "deployment/shop", "--namespace", &shop.namespace]).code(0).json();
    shop.by_account("less", &without_patch(role, "deployments"));
    let ran = shop.project.run(&["guard", "deployment/shop", "--namespace", &shop.namespace]);
    ran.code(3)
        .complains("not allowed to patch deployments.apps")
        .complains("resources: [deployments], verbs: [patch]");
}
