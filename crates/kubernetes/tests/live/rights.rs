//! What an account may not do is said before anything is done.

use std::time::Duration;

use serde_json::{Value, json};
use tidegate_bed::{Access, Counts, Rule, Spoil, Verb};
use tidegate_core::{
    deployment::{Effect, Outcome},
    model::Share,
};
use tidegate_kubernetes::{
    Belonging, Traffic,
    belongings::{Belongings, Network},
    guard_role, role,
};

use crate::{guard::Plain, permission::account, scene::Scene};

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

const REFUSED: Spoil = Spoil::Answered {
    status: 403,
    reason: "Forbidden",
    message: "reviews are forbidden: User \"tidegate\" cannot create resource \"reviews\" in API group \"authorization.k8s.io\"",
    retry_after_s: None,
};

fn route() -> Traffic {
    Traffic::HttpRoute { name: "shop".to_owned() }
}

/// The Role without these verbs of these resources.
fn without(mut role: Value, taken: &[(&str, &str)]) -> Value {
    for rule in role["rules"].as_array_mut().expect("rules") {
        let resource = rule["resources"][0].as_str().expect("a resource").to_owned();
        let verbs = rule["verbs"].as_array_mut().expect("verbs");
        verbs.retain(|verb| !taken.iter().any(|(of, one)| *of == resource && verb == one));
    }
    // A rule without verbs is none.
    role["rules"].as_array_mut().expect("rules").retain(|rule| rule["verbs"] != json!([]));
    role
}

/// Our Deployments in the namespace.
fn deployments(scene: &Scene) -> usize {
    let path = format!("/apis/apps/v1/namespaces/{}/deployments", scene.namespace);
    scene.admin().get(&path).expect("a list")["items"].as_array().expect("items").len()
}

/// How often the account asked what it may do.
fn reviews(counted: &Counts) -> u32 {
    let review = |resource: &str| resource.starts_with("selfsubject");
    counted
        .iter()
        .filter(|(one, _)| one.verb == Verb::Create && review(&one.resource))
        .map(|(_, times)| times)
        .sum()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_that_is_missing_is_said_at_once_before_there_is_a_pod_and_who_mends_it_deploys_at_once() {
    let mut scene = Scene::with(1, route()).await;
    scene.belongings = Belongings { network: Some(Network::default()), ..Belongings::default() };
    let all = role(&scene.namespace, &route(), &[Belonging::Network]);
    let taken = [
        ("httproutes", "patch"),
        ("services", "create"),
        ("services", "patch"),
        ("networkpolicies", "create"),
    ];
    let stable = scene.adopted().await;
    scene.kubeconfig = account(&scene, without(all.clone(), &taken)).await;
    let plan = scene.plan(scene.release("new-1", None), Some(stable.clone()));
    let said = format!(
        "not allowed to create and patch services, patch httproutes.gateway.networking.k8s.io, create \
         networkpolicies.networking.k8s.io in namespace {}: bind a Role with `apiGroups: [\"\"], resources: [services], verbs: \
         [create, patch]` and `apiGroups: [gateway.networking.k8s.io], resources: [httproutes], verbs: [patch]` and `apiGroups: \
         [networking.k8s.io], resources: [networkpolicies], verbs: [create]`",
        scene.namespace
    );
    assert_eq!(scene.fails(&plan, Effect::Check).await, said);
    let foreseen = scene.target.foresee(&plan).await;
    assert_eq!(
        foreseen.first().map(|one| (one.why.as_str(), one.permanent)),
        Some((said.as_str(), true)),
        "{foreseen:?}"
    );
    assert_eq!(deployments(&scene), 1, "only what was there");
    // A preview that is there already need not be made.
    let preview = json!({
        "metadata": {"name": "shop-preview", "annotations": {"shop.tidegate.dev/owner": "here"}},
        "spec": {"selector": {"app": "none"}, "ports": [{"port": 80}]},
    });
    scene.create("/api/v1", "services", &preview);
    let why = scene.fails(&plan, Effect::Check).await;
    assert!(why.starts_with("not allowed to patch services, patch httproutes"), "{why}");

    let path = scene.path(RBAC, "roles", "tidegate");
    scene.admin().merge(&path, &json!({"rules": all["rules"]})).expect("mended");
    let mended = async { while scene.order(&plan, 1, Effect::Check).await != Outcome::Done {} };
    tokio::time::timeout(Duration::from_secs(20), mended)
        .await
        .expect("as soon as the API server knows of it");
    // What turns back, and a person's way back, is not kept from it by what is missing.
    scene
        .admin()
        .merge(&path, &json!({"rules": without(all, &[("deployments", "delete")])["rules"]}))
        .expect("less");
    scene.turn = 2;
    let mut back = tidegate_core::plan::Plan::clone(&scene.plan(scene.release("new-2", None), Some(stable)));
    back.way_back = true;
    scene.must(&std::sync::Arc::new(back), Effect::Check).await;
    scene.must(&plan, Effect::Restore { generation: plan.generation(100) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_way_back_is_not_stuck_on_what_it_may_not_change_and_that_is_as_it_should_be() {
    let scene = Scene::with(1, route()).await;
    let plan = scene.plan(scene.release("new-1", None), Some(scene.adopted().await));
    scene.begin(&plan).await;
    let taken = [("httproutes", "patch"), ("services", "patch")];
    let role = without(role(&scene.namespace, &route(), &[]), &taken);
    let bound = scene.plan_by(&account(&scene, role).await, &plan);
    let restore = |step: u64| Effect::Restore { generation: plan.generation(step) };
    scene.target.forget(&plan.deployment);
    scene.must(&bound, restore(1)).await;

    // With users on the new release it is not as it should be.
    scene.target.forget(&plan.deployment);
    scene.expose(&plan, plan.stages[0].share, 1).await;
    scene.target.forget(&plan.deployment);
    let why = scene.fails(&bound, restore(100)).await;
    assert!(why.starts_with("not allowed to patch httproutes"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_this_rollout_asks_for_has_to_be_allowed_and_names_are_not_second_guessed() {
    let mut scene = Scene::with(1, Traffic::Service).await;
    let stable = scene.adopted().await;
    let role = role(&scene.namespace, &Traffic::Service, &[]);
    // No Service is made where there is no preview, and this one Service may be patched by its name.
    let mut role = without(role, &[("services", "create"), ("services", "list"), ("services", "patch")]);
    let named =
        json!({"apiGroups": [""], "resources": ["services"], "verbs": ["patch"], "resourceNames": ["shop"]});
    role["rules"].as_array_mut().expect("rules").push(named);
    scene.kubeconfig = account(&scene, role).await;
    let plan = scene.plan(scene.release("new-1", None), Some(stable));
    scene.begin(&plan).await;
    scene.must(&plan, Effect::Restore { generation: plan.generation(100) }).await;
    scene.must(&plan, Effect::Retire { new: true, generation: plan.generation(200) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rights_cost_one_request_a_minute_for_a_namespace_and_where_rules_are_not_told_each_verb_is_asked_for()
 {
    let mut scene = Scene::with(1, Traffic::Service).await;
    let stable = scene.adopted().await;
    let all = role(&scene.namespace, &Traffic::Service, &[]);
    account(&scene, without(all, &[("deployments", "patch"), ("deployments", "delete")])).await;
    let access = scene.plane.service_account(&scene.namespace, "tidegate").expect("a token");
    let by = |scene: &mut Scene, access: &Access| {
        let middleman = scene.plane.middleman(access).expect("a middleman");
        middleman.kubeconfig().clone_into(&mut scene.kubeconfig);
        middleman
    };
    let plane = scene.plane;
    let middleman = by(&mut scene, plane.admin());
    for turn in 1..=3 {
        scene.turn = turn;
        let plan = scene.plan(scene.release(&format!("new-{turn}"), None), Some(stable.clone()));
        scene.must(&plan, Effect::Check).await;
        assert_eq!(reviews(&middleman.counted()), u32::from(turn == 1), "{turn}");
    }
    let middleman = by(&mut scene, &access);
    let both = "not allowed to patch and delete deployments.apps in namespace";
    // What is not among the rules is asked for once more; where there are no rules, everything is; where nothing is told, the
    // first request that is refused says so.
    let cases: [(u64, &[&str], &str, std::ops::RangeInclusive<u32>); 3] = [
        (4, &["nothing"], both, 3..=3),
        (5, &["selfsubjectrulesreviews"], both, 10..=16),
        (
            6,
            &["selfsubjectrulesreviews", "selfsubjectaccessreviews"],
            "not allowed to patch deployments.apps",
            10..=16,
        ),
    ];
    for (turn, refused, said, asked) in cases {
        middleman.spoil([Rule::every(REFUSED).on(refused)]);
        scene.turn = turn;
        let plan = scene.plan(scene.release(&format!("new-{turn}"), None), Some(stable.clone()));
        drop(middleman.counted());
        let foreseen = scene.target.foresee(&plan).await;
        assert!(foreseen.len() == 1 && foreseen[0].why.starts_with(said), "{turn}: {foreseen:?}");
        let reviews = reviews(&middleman.counted());
        assert!(asked.contains(&reviews), "{turn}: {reviews}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_foresees_what_the_check_refuses_and_changes_nothing_even_where_the_stable_release_has_no_pods()
 {
    let mut scene = Scene::with(1, route()).await;
    let plan = scene.plan(scene.release("one-1", None), Some(scene.adopted().await));
    scene.begin(&plan).await;
    scene.expose(&plan, Share::ALL, 1).await;
    scene.must(&plan, Effect::Promote { generation: plan.generation(100) }).await;
    scene.must(&plan, Effect::Retire { new: false, generation: plan.generation(200) }).await;
    let path = scene.path("/apis/apps/v1", "deployments", "shop-one-1");
    scene.admin().merge(&path, &json!({"spec": {"replicas": 0}})).expect("scaled");
    scene.ready("shop-one-1", 0).await;
    scene.turn = 2;
    let plan = scene.plan(scene.release("two-1", None), Some(plan.release.clone()));
    let before = (scene.deployment("shop-one-1")["metadata"]["generation"].clone(), deployments(&scene));
    assert_eq!(scene.target.foresee(&plan).await, []);
    let other = scene.path("/apis/gateway.networking.k8s.io/v1", "httproutes", "shop");
    scene.admin().delete(&other).expect("gone");
    let foreseen = scene.target.foresee(&plan).await;
    assert_eq!(
        (scene.deployment("shop-one-1")["metadata"]["generation"].clone(), deployments(&scene)),
        before
    );
    let why = scene.fails(&plan, Effect::Check).await;
    assert!(why.contains("there is no HTTPRoute"), "{why}");
    assert_eq!(foreseen.iter().map(|one| one.why.as_str()).collect::<Vec<_>>(), [why.as_str()]);
    assert!(foreseen.iter().all(|one| one.permanent));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guard_that_could_not_undo_says_so_when_it_begins() {
    let mut plain = Plain::new(1).await;
    plain.complete().await;
    let less = without(
        guard_role(&plain.scene.namespace),
        &[("deployments", "patch"), ("deployments", "watch"), ("pods", "watch"), ("replicasets", "list")],
    );
    plain.scene.kubeconfig = account(&plain.scene, less).await;
    let guarded = plain.guarded().await;
    let why = guarded.first_look_to_guard().await.expect_err("refused").to_string();
    let said = "not allowed to patch deployments.apps, list replicasets.apps in namespace";
    assert!(why.starts_with(said) && why.contains("resources: [deployments], verbs: [patch]"), "{why}");
}
