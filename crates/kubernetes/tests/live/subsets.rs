//! Rollouts by subsets of an Istio `DestinationRule`, by the history of all objects that say where a request goes.

use std::collections::BTreeMap;

use crate::scene::{self, Scene};
use serde_json::{Map, Value, json};
use tidegate_bed::{ControlPlane, Rule, Spoil};
use tidegate_core::{deployment::Effect, model::Share};
use tidegate_kubernetes::Traffic;
use tokio::task::JoinHandle;

const ISTIO: &str = "/apis/networking.istio.io/v1";

/// What has to be there before anything can be said of them.
const WHOLE: [&str; 3] = ["virtualservices/shop", "destinationrules/shop-rule", "services/shop"];

/// What says where a request goes, and who could answer it.
const WATCHED: [(&str, &str); 4] = [
    (ISTIO, "virtualservices"),
    (ISTIO, "destinationrules"),
    ("/api/v1", "services"),
    ("/apis/apps/v1", "deployments"),
];

/// What each of them is called in a scene.
const NAMES: [&str; 4] = ["shop", "shop-rule", "shop", "shop"];

/// The longest that a history may be, seconds.
const LONGEST_S: u32 = 240;

/// A service behind a `VirtualService`, whose host has a rule with a subset of its owner's.
pub(crate) async fn by_subsets(plane: &'static ControlPlane, replicas: u32) -> Scene {
    let rule = Some("shop-rule".to_owned());
    let traffic = Traffic::VirtualService { name: "shop".to_owned(), destination_rule: rule };
    plane.install_istio().expect("Istio's definitions");
    let scene = Scene::on(plane, replicas, traffic).await;
    scene.create(ISTIO, "destinationrules", &users_rule("shop"));
    scene
}

fn plane() -> &'static ControlPlane {
    ControlPlane::shared().expect("a control plane")
}

pub(crate) fn users_rule(host: &str) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1", "kind": "DestinationRule", "metadata": {"name": "shop-rule"},
        "spec": {
            "host": host,
            "trafficPolicy": {"tls": {"mode": "ISTIO_MUTUAL"}},
            "subsets": [{"name": "old-clients", "labels": {"app": "shop"}, "trafficPolicy": {"tls": {"mode": "DISABLE"}}}],
        },
    })
}

pub(crate) fn rule(scene: &Scene) -> Value {
    scene.admin().get(&scene.path(ISTIO, "destinationrules", "shop-rule")).expect("the rule")
}

/// Weights of the route by subset; without one it is the host.
fn weights(route: &Value) -> BTreeMap<String, u64> {
    let list = route["spec"]["http"][0]["route"].as_array().cloned().unwrap_or_default();
    let one = |entry: &Value| {
        let destination = &entry["destination"];
        assert_eq!(destination["host"], "shop", "{entry}");
        (destination["subset"].as_str().unwrap_or_default().to_owned(), entry["weight"].as_u64().unwrap_or(1))
    };
    list.iter().map(one).collect()
}

/// The weight of the new release's subset, and that of everything.
pub(crate) fn share_of_new(route: &Value) -> Option<(u64, u64)> {
    let list = route["spec"]["http"][0]["route"].as_array()?;
    let weight = |entry: &Value| entry["weight"].as_u64().unwrap_or(1);
    let new = list.iter().filter(|entry| entry["destination"]["subset"] == "tidegate-new").map(weight).sum();
    Some((new, list.iter().map(weight).sum()))
}

/// Whether everybody who comes in by the route as it is finds a pod, of no release of ours.
pub(crate) fn is_reached(scene: &Scene) -> bool {
    let (route, rule, selector) = (scene.route(), rule(scene), scene.selector());
    let subsets = rule["spec"]["subsets"].as_array().cloned().unwrap_or_default();
    weights(&route).iter().filter(|(_, weight)| **weight > 0).all(|(subset, _)| {
        // Behind the host alone are the pods that the Service selects.
        let of_all = subset.is_empty().then(|| selector.clone());
        let Some(labels) = of_all.or_else(|| {
            let one = subsets.iter().find(|one| one["name"] == **subset)?;
            Some(one["labels"].clone())
        }) else {
            return false;
        };
        let mut both = selector.as_object().cloned().unwrap_or_default();
        both.extend(labels.as_object().cloned().unwrap_or_default());
        let ours = json!({"app": "shop", "tidegate.dev/release": "new-1"});
        let narrow = both.len() > 1 || scene.ready_with(&ours) == 0;
        both.get("tidegate.dev/release").is_none() && narrow && scene.ready_with(&Value::Object(both)) > 0
    })
}

/// The weights of stable and new.
fn split(scene: &Scene) -> (u64, u64) {
    let weights = weights(&scene.route());
    assert_eq!(weights.len(), 2, "{weights:?}");
    (weights["tidegate-stable"], weights["tidegate-new"])
}

pub(crate) fn version(object: &Value) -> u64 {
    object["metadata"]["resourceVersion"].as_str().and_then(|text| text.parse().ok()).expect("a version")
}

/// The history of a scene's objects from now on.
fn beginning(scene: &Scene) -> History {
    let read = |((group, plural), name): ((&str, &str), &str)| {
        let object = scene.admin().get(&scene.path(group, plural, name)).expect("an object");
        (format!("{plural}/{name}"), object)
    };
    let now: World = WATCHED.into_iter().zip(NAMES).map(read).collect();
    follow(scene, version(&now["destinationrules/shop-rule"]), now)
}

/// A version from which all that is watched can be told. A kind that was just installed is listed a moment later.
pub(crate) fn newest(plane: &ControlPlane) -> u64 {
    let list = |(group, plural): (&str, &str)| {
        let path = format!("{group}/{plural}");
        tidegate_bed::until(&path, scene::SOON, || Ok(plane.admin().get(&path).ok())).expect("a list")
    };
    WATCHED.map(list).iter().map(version).max().unwrap_or_default()
}

/// What says that a history ends here.
const END: &str = "test/history-ends";

/// One version of an object, or that it is gone.
type Change = (u64, String, Option<Value>);

/// All changes of a scene's objects from one version on, as they are told. Asked for afterwards, the API server might not know
/// the first of them any more.
pub(crate) struct History {
    now: World,
    told: Vec<JoinHandle<Vec<Change>>>,
}

/// Begins to note what happens to the objects of a scene after this version, at which they were so.
pub(crate) fn follow(scene: &Scene, from: u64, now: World) -> History {
    let told = WATCHED.map(|(group, plural)| {
        let (admin, namespace) = (scene.plane.admin(), scene.namespace.clone());
        let path = format!(
            "{group}/namespaces/{namespace}/{plural}?watch=1&resourceVersion={from}&timeoutSeconds={LONGEST_S}"
        );
        tokio::task::spawn_blocking(move || {
            let mut told = Vec::new();
            let heard = |event: &Value| {
                assert_ne!(event["type"], "ERROR", "{event}");
                let object = &event["object"];
                if object["metadata"]["annotations"][END].is_string() {
                    return true;
                }
                let key = format!("{plural}/{}", object["metadata"]["name"].as_str().unwrap_or_default());
                let is_there = event["type"] != "DELETED";
                told.push((version(object), key, is_there.then(|| object.clone())));
                false
            };
            admin.watch(&path, heard).expect("a history");
            told
        })
    });
    History { now, told: told.into() }
}

impl History {
    /// Ends it, and looks at all objects as they were after every change; answers how many there were.
    pub(crate) async fn looked(self, scene: &Scene, look: impl Fn(&World)) -> usize {
        for ((group, plural), name) in WATCHED.into_iter().zip(NAMES) {
            let end = json!({"metadata": {"annotations": {END: "here"}}});
            scene.admin().merge(&scene.path(group, plural, name), &end).expect("an end");
        }
        let mut told = Vec::new();
        for one in self.told {
            told.extend(one.await.expect("a history"));
        }
        told.sort_by_key(|(version, ..)| *version);
        let (changes, mut now) = (told.len(), self.now);
        for (_, key, object) in told {
            match object {
                Some(object) => drop(now.insert(key, object)),
                None => drop(now.remove(&key)),
            }
            look(&now);
        }
        changes
    }
}

/// All objects at one moment, by kind and name.
pub(crate) type World = BTreeMap<String, Value>;

/// Every request has somewhere to go, and none goes where it was not sent.
pub(crate) fn is_whole(world: &World) {
    if WHOLE.iter().any(|key| !world.contains_key(*key)) {
        return;
    }
    let (route, rule) = (&world["virtualservices/shop"], &world["destinationrules/shop-rule"]);
    let selector = world["services/shop"]["spec"]["selector"].as_object().expect("a selector");
    let mut spec = rule["spec"].clone();
    let all = spec["subsets"].as_array_mut().expect("subsets");
    let subsets: BTreeMap<String, Map<String, Value>> = all
        .iter()
        .map(|one| {
            let labels = one["labels"].as_object().cloned().unwrap_or_default();
            (one["name"].as_str().unwrap_or_default().to_owned(), labels)
        })
        .collect();
    all.retain(|one| !one["name"].as_str().unwrap_or_default().starts_with("tidegate-"));
    assert_eq!(spec, users_rule("shop")["spec"], "what is not ours stays");
    let with_pods: Vec<&str> = world
        .iter()
        .filter(|(key, object)| key.starts_with("deployments/") && object["spec"]["replicas"] != 0)
        .map(|(key, _)| key.as_str())
        .collect();
    for (subset, weight) in weights(route) {
        if subset.is_empty() {
            let narrow = selector.len() > 1;
            assert!(narrow || with_pods.len() < 2, "users reach both: {selector:?}, {with_pods:?}");
            continue;
        }
        let labels = subsets.get(&subset).unwrap_or_else(|| panic!("no subset {subset}: {rule}"));
        let reached = selector.iter().all(|(key, value)| key == "app" || labels.get(key) == Some(value));
        assert!(weight == 0 || reached, "{weight} to {subset} {labels:?} of {selector:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn subsets_are_there_while_the_route_names_them_and_nobody_reaches_the_new_release_unasked() {
    let mut scene = by_subsets(plane(), 2).await;
    let (route_before, rule_before, pods) = (scene.route()["spec"].clone(), rule(&scene), scene.pods());
    let history = beginning(&scene);

    // One is turned back in the middle.
    let plan = scene.plan(scene.release("one-1", None), Some(scene.adopted().await));
    scene.begin(&plan).await;
    assert_eq!(split(&scene), (100, 0), "named before there is anything to choose");
    scene.ready("shop-one-1", 1).await;
    assert!(scene.selector()["pod-template-hash"].is_string(), "ready and unreachable: {}", scene.selector());
    scene.expose(&plan, Share::percent(5), 1).await;
    assert_eq!(split(&scene), (95, 5));
    assert_eq!(scene.selector(), json!({"app": "shop"}), "the subsets' endpoints are the Service's");
    scene.expose(&plan, Share::percent(50), 2).await;
    assert_eq!(split(&scene), (50, 50));
    let others = |scene: &Scene| (version(&rule(scene)), scene.selector());
    let (before, started) = (others(&scene), std::time::Instant::now());
    scene.must(&plan, Effect::Restore { generation: plan.generation(60) }).await;
    assert!(started.elapsed().as_secs() < 1, "{:?}", started.elapsed());
    assert_eq!(split(&scene), (100, 0));
    assert_eq!(others(&scene), before, "turning back is the route's matter alone");
    scene.must(&plan, Effect::Retire { new: true, generation: plan.generation(70) }).await;
    assert_eq!(scene.route()["spec"], route_before, "as its owner wrote it");
    assert_eq!(rule(&scene)["spec"], rule_before["spec"], "as its owner wrote it");
    assert_eq!((scene.selector(), scene.pods()), (json!({"app": "shop"}), pods.clone()));

    // The next one is promoted.
    scene.turn = 2;
    let plan = scene.plan(scene.release("two-1", None), Some(scene.adopted().await));
    scene.begin(&plan).await;
    for (step, percent) in [(1, 5), (2, 25), (3, 50), (4, 100)] {
        scene.expose(&plan, Share::percent(percent), step).await;
        assert_eq!(split(&scene), (100 - u64::from(percent), u64::from(percent)));
    }
    scene.must(&plan, Effect::Promote { generation: plan.generation(90) }).await;
    let still: Vec<_> = scene.pods().into_iter().filter(|pod| pods.contains(pod)).collect();
    assert_eq!(still, pods, "never restarted");
    scene.must(&plan, Effect::Retire { new: false, generation: plan.generation(95) }).await;
    assert_eq!(scene.selector(), json!({"app": "shop", "tidegate.dev/release": "two-1"}));
    assert_eq!(
        (scene.route()["spec"].clone(), rule(&scene)["spec"].clone()),
        (route_before, rule_before["spec"].clone())
    );
    let ours = rule(&scene)["metadata"]["managedFields"].to_string().contains("\"tidegate\"");
    assert!(!ours, "and his to change");

    let changes = history.looked(&scene, is_whole).await;
    assert!(changes > 20, "{changes}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_share_that_was_broken_off_before_the_proxies_could_know_waits_for_them_again() {
    let scene = by_subsets(plane(), 1).await;
    let plan = scene.plan(scene.release("one-1", None), Some(scene.adopted().await));
    scene.begin(&plan).await;
    let (share, at) = (Share::percent(5), |step| plan.generation(step));
    scene.must(&plan, Effect::Scale { instances: 1, generation: at(10), share }).await;
    let shift = |percent, generation| Effect::Shift {
        share: Share::percent(percent),
        mirror: Share::NONE,
        generation,
    };
    tokio::select! {
        outcome = scene.order(&plan, 1, shift(5, at(11))) => panic!("without a pause: {outcome:?}"),
        () = scene.until("a wide Service", |scene| scene.selector() == json!({"app": "shop"})) => {}
    }
    assert_eq!(split(&scene), (100, 0));
    let took = async |effect| {
        let started = std::time::Instant::now();
        scene.must(&plan, effect).await;
        started.elapsed().as_secs()
    };
    assert!(took(shift(5, at(11))).await >= 2, "the second try went on where the first was broken off");
    assert_eq!(split(&scene), (95, 5));
    assert!(took(shift(25, at(12))).await < 2, "who has users is known");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_share_of_a_deployment_that_was_given_up_is_never_the_next_release_s() {
    let mut scene = by_subsets(plane(), 1).await;
    let history = beginning(&scene);
    let stable = scene.adopted().await;
    let plan = scene.plan(scene.release("one-1", None), Some(stable.clone()));
    scene.begin(&plan).await;
    scene.expose(&plan, Share::percent(50), 1).await;
    scene.turn = 2;
    let plan = scene.plan(scene.release("two-1", None), Some(stable));
    scene.begin(&plan).await;
    assert_eq!(split(&scene), (100, 0));
    assert!(scene.selector()["pod-template-hash"].is_string(), "only stable serves: {}", scene.selector());
    let subsets = rule(&scene)["spec"]["subsets"].to_string();
    assert!(subsets.contains("two-1") && !subsets.contains("one-1"), "{subsets}");
    scene.expose(&plan, Share::percent(5), 1).await;
    let is_given_none = |world: &World| {
        let rule = world["destinationrules/shop-rule"]["spec"].to_string();
        let given = weights(&world["virtualservices/shop"]).get("tidegate-new").copied().unwrap_or(0);
        assert!(given < 50 || !rule.contains("two-1"), "{rule}");
    };
    history.looked(&scene, is_given_none).await;
    scene.must(&plan, Effect::Restore { generation: plan.generation(50) }).await;
    scene.must(&plan, Effect::Retire { new: true, generation: plan.generation(60) }).await;
    assert_eq!(weights(&scene.route()), BTreeMap::from([(String::new(), 1)]), "no subset is named");
    assert_eq!(rule(&scene)["spec"], users_rule("shop")["spec"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_was_applied_anew_gets_its_subsets_back_and_one_that_was_deleted_keeps_nobody_from_returning()
 {
    let scene = by_subsets(plane(), 1).await;
    let plan = scene.plan(scene.release("new-1", None), Some(scene.adopted().await));
    scene.begin(&plan).await;
    scene.expose(&plan, Share::percent(5), 1).await;
    let path = scene.path(ISTIO, "destinationrules", "shop-rule");
    scene.admin().merge(&path, &json!({"spec": {"subsets": users_rule("shop")["spec"]["subsets"]}})).unwrap();
    let shift = |generation| Effect::Shift { share: Share::percent(25), mirror: Share::NONE, generation };
    scene.must(&plan, shift(plan.generation(20))).await;
    assert_eq!(rule(&scene)["spec"]["subsets"].as_array().map(Vec::len), Some(3), "{}", rule(&scene));
    scene.admin().delete(&path).unwrap();
    scene.must(&plan, Effect::Restore { generation: plan.generation(50) }).await;
    assert_eq!(weights(&scene.route()), BTreeMap::from([(String::new(), 1)]), "no subset is named");
    assert!(scene.selector()["pod-template-hash"].is_string(), "only stable serves: {}", scene.selector());
    scene.must(&plan, Effect::Retire { new: true, generation: plan.generation(60) }).await;
    assert_eq!(scene.selector(), json!({"app": "shop"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_was_deleted_while_its_watch_is_silent_keeps_nobody_from_returning_either() {
    let mut scene = by_subsets(plane(), 1).await;
    let between = plane().middleman(scene.plane.admin()).expect("a middleman");
    between.kubeconfig().clone_into(&mut scene.kubeconfig);
    let plan = scene.plan(scene.release("new-1", None), Some(scene.adopted().await));
    scene.begin(&plan).await;
    scene.expose(&plan, Share::percent(5), 1).await;
    between.spoil(vec![Rule::every(Spoil::WatchSilent)]);
    scene.admin().delete(&scene.path(ISTIO, "destinationrules", "shop-rule")).unwrap();
    scene.must(&plan, Effect::Restore { generation: plan.generation(50) }).await;
    assert_eq!(weights(&scene.route()), BTreeMap::from([(String::new(), 1)]), "no subset is named");
    assert!(scene.selector()["pod-template-hash"].is_string(), "only stable serves: {}", scene.selector());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_cannot_be_ours_to_change_is_refused_before_anything_is_made() {
    let scene = by_subsets(plane(), 1).await;
    let path = scene.path(ISTIO, "destinationrules", "shop-rule");
    let stable = scene.adopted().await;
    let check = async |scene: &Scene, words: &[&str]| {
        let plan = scene.plan(scene.release("new-1", None), Some(stable.clone()));
        let why = scene.fails(&plan, Effect::Check).await;
        assert!(words.iter().all(|word| why.contains(word)), "{words:?}: {why}");
    };
    let taken = json!({"spec": {"subsets": [{"name": "tidegate-new", "labels": {"app": "x"}}]}});
    scene.admin().merge(&path, &taken).unwrap();
    check(&scene, &["DestinationRule", "/shop-rule", "`tidegate-new`", "not ours", "another name"]).await;
    scene.admin().merge(&path, &json!({"spec": {"subsets": [], "host": "cart"}})).unwrap();
    check(&scene, &["DestinationRule", "/shop-rule", "subsets of host shop", "cart"]).await;
    scene.admin().delete(&path).unwrap();
    check(&scene, &["there is no DestinationRule", "host: shop", "correct `traffic.destination_rule`"]).await;

    // By the Role and nothing else.
    let mut scene = by_subsets(plane(), 1).await;
    let role = tidegate_kubernetes::role(&scene.namespace, &scene.traffic, &[]);
    scene.kubeconfig = crate::permission::account(&scene, role).await;
    scene.target = scene::target("here", &scene.data);
    let plan = scene.plan(scene.release("new-1", None), Some(scene.adopted().await));
    scene.begin(&plan).await;
    scene.expose(&plan, Share::percent(5), 1).await;
    scene.must(&plan, Effect::Restore { generation: plan.generation(50) }).await;
    scene.must(&plan, Effect::Retire { new: true, generation: plan.generation(60) }).await;
}
