//! What is wrong ends in words that say what to do.

use std::{net::TcpListener, path::PathBuf, time::Instant};

use crate::scene::{self, Scene};
use serde_json::{Value, json};
use tidegate_core::{
    deployment::{Effect, Outcome},
    model::Share,
};
use tidegate_kubernetes::Traffic;

fn route() -> Traffic {
    Traffic::HttpRoute { name: "shop".to_owned() }
}

/// The admin's kubeconfig with something else in it.
fn kubeconfig(scene: &Scene, data: &tempfile::TempDir, name: &str, change: impl Fn(&mut Value)) -> PathBuf {
    let text = std::fs::read_to_string(scene.plane.kubeconfig()).expect("a kubeconfig");
    let mut config: Value = serde_json::from_str(&text).expect("JSON");
    change(&mut config);
    let path = data.path().join(name);
    std::fs::write(&path, config.to_string()).expect("written");
    path
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_that_cannot_be_reached_says_why_and_within_bounds() {
    let mut scene = Scene::with(1, route()).await;
    let stable = scene.adopted().await;
    let data = tempfile::tempdir().unwrap();
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    // Connections are taken by the system, and nobody reads them.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = |address: std::net::SocketAddr| {
        move |config: &mut Value| {
            config["clusters"][0]["cluster"]["server"] = json!(format!("https://{address}"));
        }
    };
    let malformed = data.path().join("malformed");
    std::fs::write(&malformed, "clusters: [").unwrap();
    let bed = scene.kubeconfig.clone();
    let unknown = |config: &mut Value| config["users"][0]["user"] = json!({"token": "nobody"});
    let cases: [(PathBuf, Option<&str>, &[&str]); 6] = [
        (data.path().join("nowhere"), None, &["no cluster is known", "nowhere", "KUBECONFIG"]),
        (malformed, None, &["no cluster is known", "malformed"]),
        (bed, Some("bde"), &["no context `bde`; it has bed"]),
        (
            kubeconfig(&scene, &data, "closed", at(closed)),
            None,
            &["does not answer to get Service", "refused"],
        ),
        (
            kubeconfig(&scene, &data, "silent", at(silent.local_addr().unwrap())),
            None,
            &["does not answer to get Service"],
        ),
        (
            kubeconfig(&scene, &data, "unknown", unknown),
            None,
            &["does not accept the credentials", "log in again"],
        ),
    ];
    for (path, context, words) in cases {
        scene.kubeconfig = path;
        scene.context = context.map(str::to_owned);
        let plan = scene.plan(scene.release("new-1", None), Some(stable.clone()));
        let started = Instant::now();
        let why = scene.fails(&plan, Effect::Check).await;
        assert!(words.iter().all(|word| why.contains(word)), "{words:?}: {why}");
        assert!(started.elapsed().as_secs() < 20, "{:?}: {why}", started.elapsed());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_users_come_in_by_has_to_be_there_and_to_fit() {
    let mut scene = Scene::with(1, route()).await;
    let stable = scene.adopted().await;
    let root = scene.path("/api/v1", "services", "shop");
    let check = async |scene: &Scene| {
        let plan = scene.plan(scene.release("new-1", None), Some(stable.clone()));
        scene.fails(&plan, Effect::Check).await
    };
    let says =
        |why: &str, words: &[&str]| assert!(words.iter().all(|word| why.contains(word)), "{words:?}: {why}");

    let rules = |name: &str| json!({"spec": {"rules": [{"backendRefs": [{"name": name, "port": 80}]}]}});
    let path = scene.path("/apis/gateway.networking.k8s.io/v1", "httproutes", "shop");
    scene.admin().merge(&path, &rules("others")).unwrap();
    says(&check(&scene).await, &["HTTPRoute", "no rule that points to shop", "others"]);
    scene.admin().delete(&path).unwrap();
    says(&check(&scene).await, &["there is no HTTPRoute", "/shop", "correct `traffic`"]);
    scene.traffic = Traffic::Service;

    scene.admin().merge(&root, &json!({"spec": {"selector": {"app": "else"}}})).unwrap();
    says(&check(&scene).await, &["selects app=else", "app=shop", "correct one of the two"]);
    scene.admin().merge(&root, &json!({"spec": {"selector": null}})).unwrap();
    says(&check(&scene).await, &["has no selector"]);
    scene.admin().delete(&root).unwrap();
    says(&check(&scene).await, &["there is no Service `shop`", "make it first"]);

    let long = scene.plan(scene.release(&format!("{}-1", "x".repeat(70)), None), Some(stable.clone()));
    says(&scene.fails(&long, Effect::Check).await, &["may have 63", "shorten"]);

    let keep = json!({"metadata": {"name": "keep", "finalizers": ["example.com/keep"]}});
    scene.create("/api/v1", "configmaps", &keep);
    scene.admin().delete(&format!("/api/v1/namespaces/{}", scene.namespace)).unwrap();
    says(&check(&scene).await, &["is being deleted", &scene.namespace]);
    let kept = scene.path("/api/v1", "configmaps", "keep");
    scene.admin().merge(&kept, &json!({"metadata": {"finalizers": null}})).unwrap();
    scene.namespace = "nowhere".to_owned();
    says(&check(&scene).await, &["there is no namespace `nowhere`", "make it first"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn pods_that_the_cluster_refuses_are_named_with_its_reason_and_users_stay_where_they_are() {
    let quota = json!({"metadata": {"name": "few"}, "spec": {"hard": {"pods": "1"}}});
    let limits = json!({"metadata": {"name": "small"}, "spec": {"limits": [{"type": "Container", "max": {"cpu": "100m"}, "default": {"cpu": "100m"}}]}});
    for (what, word) in [
        ("quota", "exceeded quota: few"),
        ("limits", "maximum cpu usage"),
        ("security", "violates PodSecurity"),
    ] {
        let scene = Scene::with(1, route()).await;
        let before = (scene.pods(), scene.route()["spec"].clone());
        let mut release = scene.release("bad-1", None);
        match what {
            "quota" => {
                scene.create("/api/v1", "resourcequotas", &quota);
                scene
                    .until("used quota", |scene| {
                        let quota = scene.admin().get(&scene.path("/api/v1", "resourcequotas", "few"));
                        quota.is_ok_and(|quota| quota["status"]["used"]["pods"] == "1")
                    })
                    .await;
            }
            "limits" => {
                scene.create("/api/v1", "limitranges", &limits);
                release.spec.json = release.spec.json.replace("\"name\":\"web\"", "\"name\":\"web\",\"resources\":{\"requests\":{\"cpu\":\"1\"},\"limits\":{\"cpu\":\"1\"}}");
            }
            _ => {
                let label =
                    json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
                scene.admin().merge(&format!("/api/v1/namespaces/{}", scene.namespace), &label).unwrap();
                release.spec.json = release.spec.json.replace(
                    "\"name\":\"web\"",
                    "\"name\":\"web\",\"securityContext\":{\"privileged\":true}",
                );
            }
        }
        let plan = scene.plan(release, Some(scene.adopted().await));
        scene.begin(&plan).await;
        let scale = Effect::Scale { instances: 1, generation: plan.generation(10), share: Share::percent(5) };
        let started = Instant::now();
        let why = scene.fails(&plan, scale).await;
        assert!(why.contains("no further pods of shop-bad-1 can be made") && why.contains(word), "{why}");
        assert!(started.elapsed().as_secs() < 8, "at once: {:?}", started.elapsed());
        scene.must(&plan, Effect::Restore { generation: plan.generation(20) }).await;
        scene.must(&plan, Effect::Retire { new: true, generation: plan.generation(30) }).await;
        assert_eq!((scene.pods(), scene.route()["spec"].clone()), before);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn objects_of_our_names_that_somebody_else_made_are_never_taken_over() {
    let mut scene = Scene::with(1, route()).await;
    let plan = scene.plan(scene.release("new-1", None), Some(scene.adopted().await));
    let mut theirs = json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop-preview"},
        "spec": {"selector": {"app": "theirs"}, "ports": [{"port": 80}]},
    });
    scene.create("/api/v1", "services", &theirs);
    scene.must(&plan, Effect::Check).await;
    let why = scene.fails(&plan, Effect::Build).await;
    assert!(
        why.contains("Service") && why.contains("shop-preview is there already and is not ours"),
        "{why}"
    );
    scene.must(&plan, Effect::Restore { generation: plan.generation(20) }).await;
    let now = scene.admin().get(&scene.path("/api/v1", "services", "shop-preview")).unwrap();
    assert_eq!(now["spec"]["selector"], theirs["spec"]["selector"].take());

    scene.turn = 2;
    let plan = scene.plan(scene.release("two-1", None), Some(scene.adopted().await));
    let mut copy = scene.deployment("shop");
    copy["metadata"] = json!({"name": "shop-two-1"});
    scene.create("/apis/apps/v1", "deployments", &copy);
    let why = scene.fails(&plan, Effect::Check).await;
    assert!(why.contains("shop-two-1 is there already and was made from something else"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_tidegates_that_begin_at_once_one_wins_and_the_other_changes_nothing() {
    let scene = Scene::with(1, route()).await;
    let plan = scene.plan(scene.release("new-1", None), Some(scene.adopted().await));
    let data = tempfile::tempdir().unwrap();
    let other = scene::target("there", &data);
    let build = || tidegate_engine::Order {
        key: "test".to_owned(),
        attempt: 0,
        epoch: 1,
        plan: std::sync::Arc::clone(&plan),
        given: None,
        reach: tidegate_core::deployment::Reach::All,
        effect: Effect::Build,
    };
    let both = tokio::join!(scene.target.perform(build()), other.perform(build()));
    let refused = |outcome: &Outcome| matches!(outcome, Outcome::Failed { reason, permanent: true } if reason.contains("another Tidegate"));
    let (here, there) = (&both.0, &both.1);
    let one = (*here == Outcome::Done && refused(there)) || (*there == Outcome::Done && refused(here));
    assert!(one, "{both:?}");
}
