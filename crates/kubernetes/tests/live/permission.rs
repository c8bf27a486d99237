//! What the Role allows, and what its absence says.

use std::path::PathBuf;

use crate::scene::Scene;
use serde_json::{Value, json};
use tidegate_core::{
    deployment::{Effect, Outcome},
    model::{Release, Share},
};
use tidegate_kubernetes::{
    Belonging, Traffic,
    belongings::{Belongings, Network},
    role,
};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

fn route() -> Traffic {
    Traffic::HttpRoute { name: "shop".to_owned() }
}

/// A service account with this Role and nothing else; its kubeconfig.
pub(crate) async fn account(scene: &Scene, mut role: Value) -> PathBuf {
    role["metadata"]["namespace"] = json!(scene.namespace);
    scene.create("/api/v1", "serviceaccounts", &json!({"metadata": {"name": "tidegate"}}));
    scene.create(RBAC, "roles", &role);
    scene.create(
        RBAC,
        "rolebindings",
        &json!({
            "metadata": {"name": "tidegate"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": role["metadata"]["name"]},
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
    let stable: Option<Release> =
        scene.target.found("shop", &scene.release("any-1", None)).await.map_err(|why| why.why)?;
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
    let all = role("shop", &route(), &ALL);
    let rules = all["rules"].as_array().expect("rules");
    let secrets = rules.iter().find(|rule| rule["resources"][0] == "secrets").expect("a rule for Secrets");
    assert_eq!(secrets["verbs"], json!(["get", "create", "delete"]), "neither list nor watch");
    for traffic in [route(), Traffic::Service, Traffic::Ingress { name: "shop".to_owned() }] {
        let mut scene = Scene::with(1, traffic.clone()).await;
        scene.keep = 2;
        scene.kubeconfig = account(&scene, role(&scene.namespace, &traffic, &[])).await;
        whole(&mut scene).await.unwrap_or_else(|why| panic!("{traffic:?}: {why}"));
        for (belongings, more) in [(&[][..], &["secret", "configmaps"][..]), (&ALL, &[])] {
            let text = role("shop", &traffic, belongings).to_string();
            let never = ["*", "ClusterRole", "update", "impersonate", "escalate", "bind", "deletecollection"];
            for word in never.iter().chain(more) {
                assert!(!text.contains(word), "{word}: {text}");
            }
        }
    }
}

/// The Role without one verb of one rule.
fn without(mut role: Value, rule: usize, verb: usize) -> Value {
    let rules = role["rules"].as_array_mut().expect("rules");
    let verbs = rules[rule]["verbs"].as_array_mut().expect("verbs");
    verbs.remove(verb);
    if verbs.is_empty() {
        rules.remove(rule);
    }
    role
}

/// Everything that a service may bring.
const ALL: [Belonging; 5] =
    [Belonging::Budget, Belonging::Network, Belonging::Autoscaler, Belonging::ConfigMap, Belonging::Secret];

/// A service that brings it.
async fn with_all() -> Scene {
    let mut scene = Scene::with(2, route()).await;
    let (file, configs) = crate::belongings::configs(&scene);
    drop(file);
    scene.belongings = Belongings {
        disruption_budget: true,
        network: Some(Network::default()),
        configs,
        autoscaling: crate::autoscale::own(2, 4),
    };
    scene
}

#[tokio::test(flavor = "multi_thread", worker_threads = 16)]
async fn what_a_service_brings_needs_its_own_rules_and_each_verb_of_them_that_is_missing_is_named() {
    let mut scene = with_all().await;
    scene.keep = 2;
    scene.kubeconfig = account(&scene, role(&scene.namespace, &route(), &ALL)).await;
    whole(&mut scene).await.expect("with all of them");
    // An old release's belongings that may not be removed are left behind and said: they harm nobody.
    let left = [("networkpolicies", "delete"), ("configmaps", "delete"), ("secrets", "delete")];
    let all = role("", &route(), &ALL);
    let first = all["rules"].as_array().expect("rules").len() - ALL.len();
    let named = |resource: &str, verb: &str| !left.contains(&(resource, verb));
    let cases =
        verbs(&all).into_iter().filter(|case| case.rule >= first && named(&case.resource, &case.verb));
    each(all.clone(), cases.collect(), || Box::pin(with_all()), 17).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 16)]
async fn each_verb_that_is_taken_away_is_named_with_its_resource_and_the_role_that_would_allow_it() {
    let all = role("", &route(), &[]);
    let (spared, cases): (Vec<Case>, Vec<Case>) = verbs(&all).into_iter().partition(Case::is_spared);
    each(all.clone(), cases, || Box::pin(Scene::with(1, route())), 14).await;
    assert_eq!(spared.len(), 5, "a verb that nothing asks for is one too many");
    for case in spared {
        let mut scene = Scene::with(1, route()).await;
        scene.keep = 2;
        scene.kubeconfig = account(&scene, without(all.clone(), case.rule, case.at)).await;
        whole(&mut scene).await.expect("it works without");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 16)]
async fn an_adopted_rollout_needs_rules_of_its_own_and_each_verb_of_them_that_is_missing_is_named() {
    let made = || -> Made { Box::pin(crate::argo::rollout(2)) };
    let all = role(
        "",
        &Traffic::VirtualService { name: "shop".to_owned(), destination_rule: None },
        &[Belonging::Rollout],
    );
    let first = all["rules"].as_array().expect("rules").len() - 2;
    // Without a watch of Rollouts, the one is asked for.
    let spared = |case: &Case| case.resource == "rollouts" && ["list", "watch"].contains(&case.verb.as_str());
    let (spared, cases): (Vec<Case>, Vec<Case>) =
        verbs(&all).into_iter().filter(|case| case.rule >= first).partition(spared);
    each(all.clone(), cases, made, 4).await;
    let without = spared.into_iter().fold(all, |role, case| without(role, case.rule, case.at.min(1)));
    let mut scene = made().await;
    scene.keep = 2;
    scene.kubeconfig = account(&scene, without).await;
    whole(&mut scene).await.expect("it works without");
}

/// One verb of one rule.
struct Case {
    rule: usize,
    at: usize,
    resource: String,
    verb: String,
    words: [String; 2],
}

impl Case {
    /// Without a watch of these, each object is asked for.
    fn is_spared(&self) -> bool {
        let watched = ["services", "httproutes"].contains(&self.resource.as_str());
        let spares = watched && ["list", "watch"].contains(&self.verb.as_str());
        spares || (self.resource == "replicasets" && self.verb == "list")
    }
}

fn verbs(all: &Value) -> Vec<Case> {
    let mut cases = Vec::new();
    for (number, rule) in all["rules"].as_array().expect("rules").iter().enumerate() {
        let group = rule["apiGroups"][0].as_str().unwrap_or_default();
        let resource = rule["resources"][0].as_str().unwrap_or_default();
        for (at, verb) in rule["verbs"].as_array().expect("verbs").iter().enumerate() {
            let verb = verb.as_str().unwrap_or_default();
            let full = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
            let group = if group.is_empty() { "\"\"" } else { group };
            let words = [
                format!("not allowed to {verb} {full}"),
                format!("`apiGroups: [{group}], resources: [{resource}], verbs: [{verb}]`"),
            ];
            cases.push(Case {
                rule: number,
                at,
                resource: resource.to_owned(),
                verb: verb.to_owned(),
                words,
            });
        }
    }
    cases
}

type Made = std::pin::Pin<Box<dyn Future<Output = Scene> + Send>>;

async fn each(all: Value, cases: Vec<Case>, scene: fn() -> Made, expected: usize) {
    assert_eq!(cases.len(), expected, "a verb that nothing asks for is one too many");
    let tasks = cases.into_iter().map(|case| {
        let role = without(all.clone(), case.rule, case.at);
        tokio::spawn(async move {
            let mut scene = scene().await;
            scene.keep = 2;
            scene.kubeconfig = account(&scene, role).await;
            let why = whole(&mut scene).await.expect_err(&case.words[0]);
            for word in &case.words {
                assert!(why.contains(word), "expected {word}, found {why}");
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("named");
    }
}
