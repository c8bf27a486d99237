//! What belongs to a release: made before its pods, turned back and removed with it, and never anybody else's.

use std::path::{Path, PathBuf};

use crate::scene::{Scene, image};
use serde_json::{Value, json};
use tidegate_core::{
    deployment::Effect,
    model::{Artifact, Release, Share},
};
use tidegate_kubernetes::{
    KubernetesSpec, Traffic,
    belongings::{
        Belongings, ConfigRef, Configuration, Network, configured,
        security::{PodSecurity, SecurityError, secured},
    },
};

fn route() -> Traffic {
    Traffic::HttpRoute { name: "shop".to_owned() }
}

/// Whether the API server would take a pod of this template.
fn admitted(scene: &Scene, template: &Value) -> bool {
    let mut pod =
        json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "any"}, "spec": template["spec"]});
    if let Some(annotations) = template.pointer("/metadata/annotations") {
        pod["metadata"]["annotations"] = annotations.clone();
    }
    let path = format!("/api/v1/namespaces/{}/pods?dryRun=All", scene.namespace);
    let answer = scene.admin().ask("POST", &path, "application/json", pod.to_string()).expect("an answer");
    let said = answer.body["message"].as_str().unwrap_or_default();
    assert!(answer.status < 300 || said.contains("violates PodSecurity"), "{said}: {pod}");
    answer.status < 300
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_filled_in_or_refused_is_what_the_admission_of_restricted_namespaces_takes_or_refuses() {
    let scene = Scene::with(1, Traffic::Service).await;
    let labels = json!({"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}});
    scene.admin().merge(&format!("/api/v1/namespaces/{}", scene.namespace), &labels).expect("labelled");
    let good = [
        (json!({}), json!({})),
        (
            json!({"securityContext": {"runAsUser": 7, "seccompProfile": {"type": "Localhost", "localhostProfile": "a"}}}),
            json!({}),
        ),
        (
            json!({}),
            json!({"securityContext": {"runAsNonRoot": true, "capabilities": {"add": ["NET_BIND_SERVICE"], "drop": ["KILL"]}}}),
        ),
        (
            json!({"volumes": [{"name": "a", "emptyDir": {}}, {"name": "b", "configMap": {"name": "x"}}]}),
            json!({}),
        ),
        (
            json!({"securityContext": {"sysctls": [{"name": "net.ipv4.tcp_fin_timeout", "value": "9"}]}}),
            json!({}),
        ),
        (json!({}), json!({"livenessProbe": {"httpGet": {"path": "/", "port": 1}}})),
        (json!({"securityContext": {"seLinuxOptions": {"type": "container_t"}}}), json!({})),
    ];
    let context = |key: &str, value: Value| (json!({}), json!({"securityContext": {key: value}}));
    let bad = [
        (json!({"hostNetwork": true}), json!({})),
        (json!({"hostPID": true}), json!({})),
        (json!({"hostIPC": true}), json!({})),
        (json!({"volumes": [{"name": "a", "hostPath": {"path": "/"}}]}), json!({})),
        (json!({"volumes": [{"name": "a", "nfs": {"server": "s", "path": "/"}}]}), json!({})),
        (json!({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}), json!({})),
        (json!({"securityContext": {"runAsUser": 0}}), json!({})),
        (json!({"securityContext": {"runAsNonRoot": false}}), json!({})),
        (json!({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}), json!({})),
        (json!({"securityContext": {"seLinuxOptions": {"type": "spc_t"}}}), json!({})),
        (json!({"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}), json!({})),
        (json!({}), json!({"ports": [{"containerPort": 1, "hostPort": 1}]})),
        (json!({}), json!({"livenessProbe": {"tcpSocket": {"host": "a", "port": 1}}})),
        (json!({}), json!({"lifecycle": {"preStop": {"httpGet": {"host": "a", "port": 1}}}})),
        context("privileged", json!(true)),
        context("allowPrivilegeEscalation", json!(true)),
        context("runAsNonRoot", json!(false)),
        context("runAsUser", json!(0)),
        context("procMount", json!("Unmasked")),
        context("capabilities", json!({"add": ["CHOWN"]})),
        context("seLinuxOptions", json!({"user": "a"})),
        context("seccompProfile", json!({"type": "Unconfined"})),
        context("windowsOptions", json!({"hostProcess": true})),
    ];
    let template = |(mut pod, mut container): (Value, Value)| {
        container["name"] = json!("web");
        container["image"] = json!("shop");
        pod["containers"] = json!([container]);
        json!({"spec": pod})
    };
    let mut checked = 0;
    for case in good {
        let (filled, _) = secured(&template(case), &PodSecurity::default()).expect("nothing against it");
        assert!(admitted(&scene, &filled), "{filled}");
        checked += 1;
    }
    for case in bad {
        let template = template(case);
        let found = match secured(&template, &PodSecurity::default()) {
            Err(SecurityError::Breaks { violations, .. }) => violations,
            other => panic!("{other:?}: {template}"),
        };
        // All but this is filled in: it is this that the admission refuses.
        let allow = found.iter().map(|one| one.path.clone()).collect();
        let asked = PodSecurity { allow, ..PodSecurity::default() };
        let (filled, notes) = secured(&template, &asked).expect("allowed");
        // What the API itself refuses has nothing to do with profiles.
        if template.to_string().contains("hostProcess") || template.to_string().contains("Unmasked") {
            continue;
        }
        assert!(!admitted(&scene, &filled), "{filled}");
        assert!(notes.iter().any(|note| note.contains(found[0].rule.name())), "{notes:?}");
        checked += 1;
    }
    assert_eq!(checked, 28);
}

/// A file with a `ConfigMap` `shop` and a Secret `login`.
fn file(scene: &Scene, name: &str, setting: &str, password: &str) -> PathBuf {
    let objects = json!([
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "shop"}, "data": {"setting": setting}},
        {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}, "stringData": {"password": password}},
    ]);
    let path = scene.data.path().join(name);
    std::fs::write(&path, objects.to_string()).expect("written");
    path
}

/// A `ConfigMap` and a Secret for any template.
pub(crate) fn configs(scene: &Scene) -> (PathBuf, Vec<ConfigRef>) {
    let file = file(scene, "configs.json", "1", "hunter2");
    let refs = contents(scene, &file).iter().map(|content| content.at(file.clone())).collect();
    (file, refs)
}

fn contents(scene: &Scene, file: &Path) -> Vec<Configuration> {
    let objects: Vec<Value> =
        serde_json::from_str(&std::fs::read_to_string(file).expect("as it was written"))
            .expect("as it was written");
    objects
        .iter()
        .map(|object| Configuration::of(object, &scene.namespace).expect("as it was written"))
        .collect()
}

/// The release with its template configured by the file.
fn configured_release(scene: &Scene, tag: &str, file: &Path) -> Release {
    let plain = scene.release(tag, None);
    let mut spec = KubernetesSpec::of(&plain).expect("a description");
    let mut template = spec.template.value();
    template["spec"]["containers"][0]["envFrom"] = json!([{"configMapRef": {"name": "shop"}}]);
    template["spec"]["volumes"] = json!([{"name": "login", "secret": {"secretName": "login"}}]);
    let contents = contents(scene, file);
    spec.belongings.configs = contents.iter().map(|content| content.at(file.to_owned())).collect();
    spec.template = configured(&template, &contents).expect("as it was written").0.into();
    Release {
        artifact: Artifact::Image { reference: image(tag) },
        spec: spec.target_spec().expect("as it was written"),
        ..plain
    }
}

fn names(scene: &Scene, plural: &str) -> Vec<String> {
    let list =
        scene.admin().get(&format!("/api/v1/namespaces/{}/{plural}", scene.namespace)).expect("a list");
    let names = list["items"].as_array().into_iter().flatten().map(|one| one["metadata"]["name"].to_string());
    names.map(|name| name.trim_matches('"').to_owned()).filter(|name| !name.starts_with("kube-")).collect()
}

fn object(scene: &Scene, group: &str, plural: &str, name: &str) -> Option<Value> {
    scene.admin().get(&scene.path(group, plural, name)).ok()
}

const POLICY: &str = "/apis/policy/v1";
const NETWORKING: &str = "/apis/networking.k8s.io/v1";

async fn promoted(scene: &mut Scene, release: Release, stable: Release) -> Release {
    scene.turn += 1;
    let plan = scene.plan(release.clone(), Some(stable));
    scene.begin(&plan).await;
    scene.expose(&plan, Share::ALL, 1).await;
    scene.must(&plan, Effect::Promote { generation: plan.generation(90) }).await;
    scene.must(&plan, Effect::Retire { new: false, generation: plan.generation(95) }).await;
    release
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_policy_and_budget_come_before_the_pods_are_turned_back_with_them_and_go_with_the_last_of_them()
 {
    let mut scene = Scene::with(2, route()).await;
    scene.keep = 2;
    scene.belongings = Belongings {
        disruption_budget: true,
        network: Some(Network {
            from: vec!["ingress".to_owned()],
            addresses: vec!["10.0.0.0/8".to_owned()],
            ports: vec![9_090],
        }),
        ..Belongings::default()
    };
    let (before, adopted) = (scene.pods(), scene.adopted().await);
    let one = file(&scene, "one.json", "1", "hunter2");
    let plan = scene.plan(configured_release(&scene, "one-1", &one), Some(adopted.clone()));
    scene.begin(&plan).await;
    let (maps, secrets) = (names(&scene, "configmaps"), names(&scene, "secrets"));
    assert_eq!((maps.len(), secrets.len()), (1, 1), "{maps:?} {secrets:?}");
    let map = object(&scene, "/api/v1", "configmaps", &maps[0]).unwrap();
    assert_eq!((&map["immutable"], &map["data"]["setting"]), (&json!(true), &json!("1")));
    let secret = object(&scene, "/api/v1", "secrets", &secrets[0]).unwrap();
    assert_eq!((&secret["immutable"], &secret["data"]["password"]), (&json!(true), &json!("aHVudGVyMg==")));
    let text = serde_json::to_string(&*plan).unwrap();
    assert!(!text.contains("hunter2") && !text.contains("aHVudGVyMg"), "a Secret is in the plan");
    let budget = object(&scene, POLICY, "poddisruptionbudgets", "shop-tidegate").unwrap();
    assert_eq!(budget["spec"], json!({"minAvailable": 1, "selector": {"matchLabels": {"app": "shop"}}}));
    let policy = object(&scene, NETWORKING, "networkpolicies", "shop-one-1").unwrap();
    assert_eq!(policy["spec"]["podSelector"]["matchLabels"]["tidegate.dev/release"], json!("one-1"));
    let ingress = &policy["spec"]["ingress"][0];
    assert_eq!(
        ingress["from"],
        json!([
            {"podSelector": {}},
            {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "ingress"}}},
            {"ipBlock": {"cidr": "10.0.0.0/8"}},
        ])
    );
    assert_eq!(
        ingress["ports"],
        json!([{"protocol": "TCP", "port": 8080}, {"protocol": "TCP", "port": 9090}])
    );
    let made =
        |object: &Value| object["metadata"]["creationTimestamp"].as_str().unwrap_or_default().to_owned();
    assert!(made(&policy) <= made(&scene.deployment("shop-one-1")), "before the pods");
    scene.expose(&plan, Share::percent(50), 1).await;
    scene.must(&plan, Effect::Restore { generation: plan.generation(50) }).await;
    scene.must(&plan, Effect::Retire { new: true, generation: plan.generation(60) }).await;
    assert!(object(&scene, POLICY, "poddisruptionbudgets", "shop-tidegate").is_none(), "the owner had none");
    let left: Vec<_> = scene.pods().into_iter().filter(|pod| before.contains(pod)).collect();
    assert_eq!(left, before);
    let two = file(&scene, "two.json", "2", "hunter2");
    let release = configured_release(&scene, "two-1", &two);
    let second = promoted(&mut scene, release, adopted).await;
    assert_eq!(
        (names(&scene, "configmaps").len(), names(&scene, "secrets").len()),
        (1, 1),
        "one Secret, the newer map"
    );
    assert!(
        object(&scene, NETWORKING, "networkpolicies", "shop-one-1").is_none(),
        "gone with its Deployment"
    );
    let three = file(&scene, "three.json", "3", "hunter3");
    let release = configured_release(&scene, "three-1", &three);
    promoted(&mut scene, release, second).await;
    assert_eq!(
        (names(&scene, "configmaps").len(), names(&scene, "secrets").len()),
        (2, 2),
        "the one before is kept"
    );
    assert!(object(&scene, POLICY, "poddisruptionbudgets", "shop-tidegate").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_of_somebody_else_that_finds_the_pods_is_left_alone_and_none_is_put_beside_it() {
    let mut scene = Scene::with(2, route()).await;
    scene.belongings.disruption_budget = true;
    let theirs = json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "theirs"},
        "spec": {"maxUnavailable": 1, "selector": {"matchLabels": {"app": "shop"}}}});
    let adopted = scene.adopted().await;
    let plan = scene.plan(scene.release("one-1", None), Some(adopted));
    scene.begin(&plan).await;
    assert!(object(&scene, POLICY, "poddisruptionbudgets", "shop-tidegate").is_some());
    scene.create(POLICY, "poddisruptionbudgets", &theirs);
    scene.must(&plan, Effect::Build).await;
    assert!(
        object(&scene, POLICY, "poddisruptionbudgets", "shop-tidegate").is_none(),
        "two would keep every pod"
    );
    assert!(object(&scene, POLICY, "poddisruptionbudgets", "theirs").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn configuration_that_is_not_what_its_name_says_ends_in_words_before_anything_else_happens() {
    let scene = Scene::with(1, route()).await;
    let adopted = scene.adopted().await;
    let good = file(&scene, "good.json", "1", "hunter2");
    let release = configured_release(&scene, "one-1", &good);
    let plan = scene.plan(release, Some(adopted));
    let spec = KubernetesSpec::of(&plan.release).unwrap();
    let map = spec.belongings.configs[0].object();
    // The file says something else by now.
    file(&scene, "good.json", "2", "hunter2");
    let why = scene.fails(&plan, Effect::Check).await;
    assert!(
        why.contains("good.json has no ConfigMap `shop` any more") && why.contains("deploy again"),
        "{why}"
    );
    file(&scene, "good.json", "1", "hunter2");
    scene.must(&plan, Effect::Check).await;
    // Somebody else has that name.
    let other = |annotations: Value| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": map, "annotations": annotations},
            "data": {"setting": "9"}, "immutable": true})
    };
    for (annotations, words) in [
        (json!({}), "is there already and is not this service's"),
        (json!({"shop.tidegate.dev/owner": "here"}), "with another content than its name says: remove it"),
        (json!({"shop.tidegate.dev/owner": "there"}), "looked after by another Tidegate"),
    ] {
        scene.create("/api/v1", "configmaps", &other(annotations));
        for effect in [Effect::Check, Effect::Build] {
            let why = scene.fails(&plan, effect).await;
            assert!(why.contains(words) && why.contains(&map), "{why}");
        }
        scene.admin().delete(&scene.path("/api/v1", "configmaps", &map)).unwrap();
    }
    let quota = json!({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "few"}, "spec": {"hard": {"secrets": "0"}}});
    scene.create("/api/v1", "resourcequotas", &quota);
    scene
        .until("a quota in force", |scene| {
            let quota = scene.admin().get(&scene.path("/api/v1", "resourcequotas", "few")).unwrap();
            quota["status"]["hard"].is_object()
        })
        .await;
    let why = scene.fails(&plan, Effect::Build).await;
    assert!(why.contains("exceeded quota: few") && !why.contains("hunter2"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_that_the_api_server_does_not_take_is_refused_before_anything_happens() {
    let mut scene = Scene::with(1, route()).await;
    scene.belongings.network = Some(Network { addresses: vec!["ten".to_owned()], ..Network::default() });
    let plan = scene.plan(scene.release("one-1", None), Some(scene.adopted().await));
    let why = scene.fails(&plan, Effect::Check).await;
    assert!(why.contains("NetworkPolicy") && why.contains("ten"), "{why}");
}
