//! What the Role allows, and what its absence says.

use std::path::PathBuf;

use crate::scene::Scene;
use serde_json::{Value, json};
use tidegate_core::{
    deployment::{Effect, Outcome},
    model::{Release, Share},
};
use tidegate_kubernetes::{Traffic, role};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

fn route() -> Traffic {
    Traffic::HttpRoute { name: "shop".to_owned() }
}

/// A service account with this Role and nothing else; its kubeconfig.
async fn account(scene: &Scene, mut role: Value) -> PathBuf {
    role["metadata"]["namespace"] = json!(scene.namespace);
    scene.create("/api/v1", "serviceaccounts", &json!({"metadata": {"name": "tidegate"}}));
    scene.create(RBAC, "roles", &role);
    scene.create(
        RBAC,
        "rolebindings",
        &json!({
            "metadata": {"name": "tidegate"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "tidegate"},
            "subjects": [{"kind": "ServiceAccount", "name": "tidegate", "namespace": scene.namespace}],
        }),
    );
    let access = scene.plane.service_account(&scene.namespace, "tidegate").expect("a token");
    // The API server learns of roles by a watch of its own.
    let review = json!({
        "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": scene.namespace},
    });
    scene
        .until("effective role", |_| {
            let rules = access.create("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", &review);
            rules.is_ok_and(|rules| rules.to_string().contains("\"pods\""))
        })
        .await;
    access.kubeconfig().to_owned()
}

/// Two rollouts, one turned back and one promoted, with all that is tidied up; the first refusal, if there is one.
async fn whole(scene: &mut Scene) -> Result<(), String> {
    let back = |seq| Effect::Restore { generation: seq };
    turn(scene, "one-1", Share::percent(50), |at| {
        vec![back(at + 1), Effect::Retire { new: true, generation: at + 2 }]
    })
    .await?;
    let on =
        |at| vec![Effect::Promote { generation: at + 1 }, Effect::Retire { new: false, generation: at + 2 }];
    turn(scene, "two-1", Share::ALL, on).await
}

async fn turn(
    scene: &mut Scene,
    tag: &str,
    share: Share,
    end: impl Fn(u64) -> Vec<Effect>,
) -> Result<(), String> {
    scene.turn += 1;
    let stable: Option<Release> = scene.target.found("shop", &scene.release("any-1", None)).await?;
    let plan = scene.plan(scene.release(tag, None), stable);
    let generation = plan.generation(10);
    let shift = Effect::Shift { share, mirror: Share::NONE, generation: generation + 1 };
    let mut effects =
        vec![Effect::Check, Effect::Build, Effect::Scale { instances: 1, generation, share }, shift];
    effects.extend(end(plan.generation(20)));
    for effect in effects {
        match scene.order(&plan, 1, effect.clone()).await {
            Outcome::Done | Outcome::Read(_) => {}
            Outcome::Failed { reason, .. } => return Err(reason),
            Outcome::LeaseEnded => panic!("{effect:?}: a lease"),
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_role_and_nothing_else_carries_rollouts_by_route_and_by_service_and_reads_no_secret() {
    for traffic in [route(), Traffic::Service, Traffic::Ingress { name: "shop".to_owned() }] {
        let mut scene = Scene::with(1, traffic.clone()).await;
        scene.keep = 2;
        scene.kubeconfig = account(&scene, role(&scene.namespace, &traffic)).await;
        whole(&mut scene).await.unwrap_or_else(|why| panic!("{traffic:?}: {why}"));
        let text = role("shop", &traffic).to_string();
        for word in ["secret", "*", "configmaps", "ClusterRole", "update", "impersonate", "escalate"] {
            assert!(!text.contains(word), "{word}: {text}");
        }
    }
}

/// The Role without one verb of one rule.
fn without(rule: usize, verb: usize) -> Value {
    let mut role = role("", &route());
    let rules = role["rules"].as_array_mut().expect("rules");
    let verbs = rules[rule]["verbs"].as_array_mut().expect("verbs");
    verbs.remove(verb);
    if verbs.is_empty() {
        rules.remove(rule);
    }
    role
}

#[tokio::test(flavor = "multi_thread", worker_threads = 16)]
async fn each_verb_that_is_taken_away_is_named_with_its_resource_and_the_role_that_would_allow_it() {
    let all = role("", &route());
    let (mut cases, mut spared) = (Vec::new(), Vec::new());
    for (number, rule) in all["rules"].as_array().expect("rules").iter().enumerate() {
        let group = rule["apiGroups"][0].as_str().unwrap_or_default();
        let resource = rule["resources"][0].as_str().unwrap_or_default();
        for (at, verb) in rule["verbs"].as_array().expect("verbs").iter().enumerate() {
            let verb = verb.as_str().unwrap_or_default();
            // Without a watch of these, each object is asked for.
            let spares = ["services", "httproutes"].contains(&resource) && ["list", "watch"].contains(&verb);
            if spares || (resource, verb) == ("replicasets", "list") {
                spared.push((number, at));
                continue;
            }
            let full = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
            let group = if group.is_empty() { "\"\"" } else { group };
            let words = [
                format!("not allowed to {verb} {full}"),
                format!("`apiGroups: [{group}], resources: [{resource}], verbs: [{verb}]`"),
            ];
            cases.push((number, at, words));
        }
    }
    let count = cases.len();
    let tasks = cases.into_iter().map(|(rule, verb, words)| {
        tokio::spawn(async move {
            let mut scene = Scene::with(1, route()).await;
            scene.keep = 2;
            scene.kubeconfig = account(&scene, without(rule, verb)).await;
            let why = whole(&mut scene).await.expect_err(&words[0]);
            for word in &words {
                assert!(why.contains(word), "expected {word}, found {why}");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("named");
    }
    assert_eq!((count, spared.len()), (13, 5), "a verb that nothing asks for is one too many");
    for (rule, verb) in spared {
        let mut scene = Scene::with(1, route()).await;
        scene.keep = 2;
        scene.kubeconfig = account(&scene, without(rule, verb)).await;
        whole(&mut scene).await.expect("it works without");
    }
}
