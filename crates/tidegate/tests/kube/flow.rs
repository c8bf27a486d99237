//! What becomes of a Rollout's generations.

use serde_json::{Value, json};

use tidegate_bed::until;

use crate::scene::{PROGRAM, SOON, Scene, condition, is, template};

#[test]
fn generations_go_through_a_canary_or_back_and_status_conditions_and_events_say_so() {
    let scene = Scene::new("flow");
    let _controller = scene.controller("a");
    scene.apply('a', &json!({"pod_security": {"allow": ["host_ports"]}}));
    let first = scene.until_state("verified");
    assert_eq!(condition(&first, "Ready"), is("True", "Verified"));
    let all = first["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let accepted = all.iter().find(|one| one["type"] == "Accepted").expect("a condition");
    let said = accepted["message"].as_str().unwrap_or_default();
    for word in ["The spec was understood.", "`host_ports` is allowed", "NetworkPolicy"] {
        assert!(said.contains(word), "{word}: {said}");
    }
    assert_eq!(first["status"]["share"], "100%");
    assert_eq!(first["status"]["deployment"], format!("shop@{}-1", scene.namespace));
    let good = first["status"]["release"].as_str().expect("a release").to_owned();

    scene.apply('b', &json!({}));
    let half = scene.until("half of the traffic", |status| status["share"] == "50%");
    assert_eq!(half["status"]["stage"], "1/2", "{half:#}");
    assert_eq!(half["status"]["stable"], good.as_str());
    assert_eq!(condition(&half, "Progressing").0, "True");
    assert_eq!(condition(&half, "Ready").0, "False");
    let second = scene.until_state("verified");
    assert_eq!(condition(&second, "Progressing"), is("False", "Verified"));
    assert_eq!(condition(&second, "Degraded"), is("False", "Verified"));
    let present = second["status"]["release"].clone();

    scene.apply('c', &json!({"template": template('c', Some("unready"))}));
    let back = scene.until_state("rolled_back");
    assert_eq!(condition(&back, "Degraded"), is("True", "RolledBack"));
    assert_eq!(condition(&back, "Ready"), is("False", "RolledBack"));
    assert_eq!(back["status"]["stable"], present);
    let service = format!("/api/v1/namespaces/{}/services/shop", scene.namespace);
    let service = scene.admin().get(&service).expect("a Service");
    let selector = service["spec"]["selector"].clone();
    assert_eq!(selector["tidegate.dev/release"], present, "users are on the good one: {selector}");

    // Who applies the Service leaves out what this manager owns.
    let manager =
        |one: &&Value| one["manager"] == "tidegate" && one["fieldsV1"].to_string().contains("f:selector");
    assert!(
        service["metadata"]["managedFields"]
            .as_array()
            .is_some_and(|all| all.iter().any(|one| manager(&one)))
    );

    let reasons: Vec<String> = scene.events().into_iter().map(|(reason, _)| reason).collect();
    let verified = reasons.iter().filter(|reason| *reason == "Verified").count();
    assert_eq!(verified, 2, "{reasons:?}");
    assert_eq!(reasons.last().map(String::as_str), Some("RolledBack"), "{reasons:?}");

    // The spec was never written by anybody but its author, and a steady state costs no write.
    let managers = back["metadata"]["managedFields"].as_array().expect("managers").clone();
    let ours: Vec<&Value> = managers.iter().filter(|one| one["manager"] == "tidegate").collect();
    assert!(
        ours.iter().all(|one| one["subresource"] == "status" && one["operation"] == "Apply"),
        "{ours:#?}"
    );
    assert_eq!(ours.len(), 1);

    // What serves already is asked for: nothing happens to it.
    scene.apply('b', &json!({}));
    let same = scene.until_state("verified");
    assert_eq!(condition(&same, "Ready"), is("True", "Verified"));
    assert!(
        same["status"]["message"].as_str().is_some_and(|text| text.contains("Nothing to do")),
        "{same:#}"
    );
}

#[test]
fn a_second_generation_waits_for_the_first_or_turns_it_back() {
    let scene = Scene::new("queue");
    let _controller = scene.controller("a");
    scene.apply('a', &json!({}));
    scene.until_state("verified");
    let slow = json!({"strategy": {"canary": {"steps": ["50%"], "bake": "10m"}}});
    scene.apply('b', &slow);
    scene.until("half of the traffic", |status| status["share"] == "50%");
    let mut quick = slow.clone();
    quick["strategy"] = json!({"all_at_once": {"bake": "200ms"}});
    scene.apply('c', &quick);
    let queued = scene.until_state("queued");
    let message = queued["status"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("Waiting"), "{message}");
    assert_eq!(condition(&queued, "Ready"), is("False", "Queued"));
    // The one that runs is the one that is meant.
    scene.annotate("abort", "make room");
    let done = scene.until_state("verified");
    let answer = &done["status"]["requests"]["abort"];
    assert_eq!(answer["id"], "make room");
    assert_eq!(answer["answer"], format!("done to shop@{}-2", scene.namespace));
    // Without its Rollout, what serves goes on to serve.
    let before = scene.releases();
    scene.admin().delete(&scene.path("shop")).expect("gone");
    assert_eq!(scene.releases(), before);
    // Who has the controller's disk has its command line too.
    let data = scene.folder.path().join("a");
    let history =
        std::process::Command::new(PROGRAM).args(["--json", "history", "--data"]).arg(data).output();
    let history = String::from_utf8(history.expect("it runs").stdout).expect("text");
    let rows: Value = serde_json::from_str(&history).expect("JSON");
    assert_eq!(rows.as_array().map(Vec::len), Some(3), "{history}");
}

#[test]
fn annotations_are_verbs_and_each_is_heard_once() {
    let scene = Scene::new("verbs");
    let controller = scene.controller("a");
    scene.apply('a', &json!({}));
    scene.until_state("verified");
    let strategy =
        json!({"canary": {"bake": "10m", "steps": ["20%", {"share": "50%", "approval": true}, "60%"]}});
    scene.apply('b', &json!({"replicas": 10, "strategy": strategy}));
    scene.until("the first stage", |status| status["stage"] == "1/4" && status["share"] != "0%");
    scene.annotate("pause", "lunch");
    let paused = scene.until_state("paused");
    assert_eq!(condition(&paused, "Progressing").0, "Unknown");
    scene.annotate("resume", "lunch is over");
    scene.until("resumed", |status| status["state"] != "paused");
    scene.annotate("promote", "1");
    let waits = scene.until_state("awaiting_approval");
    assert_eq!(waits["status"]["requests"]["promote"]["id"], "1");
    // The same again, by another process: nothing is heard twice.
    let holder = scene.until_held(None);
    controller.kill();
    let _controller = scene.controller("a");
    scene.until_held(Some(&holder));
    scene.annotate("approve", "1");
    let stage =
        scene.until("the second stage", |status| status["stage"] == "2/4" && status["share"] == "50%");
    assert_eq!(stage["status"]["requests"]["approve"]["id"], "1");
    scene.annotate("abort", "enough");
    let back = scene.until_state("rolled_back");
    assert_eq!(condition(&back, "Degraded"), is("True", "RolledBack"));
    let message = back["status"]["message"].as_str().unwrap_or_default();
    assert!(message.contains("aborted by annotation tidegate.dev/abort: enough"), "{message}");
    assert_eq!(message.matches("enough").count(), 1, "{message}");
    scene.annotate("abort", "again");
    let late = scene.until("an answer", |status| status["requests"]["abort"]["id"] == "again");
    let answer = late["status"]["requests"]["abort"]["answer"].as_str().unwrap_or_default();
    assert!(answer.starts_with("not done: "), "{answer}");
}

#[test]
fn a_deployment_that_was_there_goes_on_to_be_written_by_its_owner_and_no_pod_of_it_is_restarted() {
    let scene = Scene::new("workload");
    let path = format!("/apis/apps/v1/namespaces/{}/deployments", scene.namespace);
    let deployment = json!({
        "metadata": {"name": "shop"},
        "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "shop"}}, "template": template('a', None)},
    });
    scene.admin().create(&path, &deployment).expect("a Deployment");
    let own = format!("{path}/shop");
    until("two ready pods", SOON, || {
        Ok((scene.admin().get(&own)?["status"]["readyReplicas"] == 2).then_some(()))
    })
    .expect("ready");
    let pods = |scene: &Scene| {
        let list = scene.admin().get(&format!("/api/v1/namespaces/{}/pods", scene.namespace)).expect("pods");
        let uid = |pod: &Value| pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        // Those of releases of ours have a label of ours.
        let items = list["items"].as_array().expect("items").iter();
        let theirs = items.filter(|pod| pod["metadata"]["labels"]["tidegate.dev/release"].is_null());
        theirs.map(uid).collect::<Vec<_>>()
    };
    let before = pods(&scene);
    let _controller = scene.controller("a");
    let strategy = json!({"canary": {"steps": ["50%"], "bake": "1s"}});
    scene.apply('a', &json!({"template": null, "workload": {"deployment": "shop"}, "strategy": strategy}));
    scene.until_state("verified");
    assert_eq!(pods(&scene), before, "it serves already");
    // Its owner pauses it, so that what he writes from now on is rolled out here.
    scene.admin().merge(&own, &json!({"spec": {"paused": true}})).expect("paused");
    scene.admin().merge(&own, &json!({"spec": {"template": template('b', None)}})).expect("written");
    let half = scene.until("half of the traffic", |status| status["share"] == "50%");
    let present = pods(&scene);
    assert!(!present.is_empty() && present.iter().all(|pod| before.contains(pod)), "a pod was restarted");
    let done =
        scene.until("the new one", |status| status["state"] == "verified" && status["share"] == "100%");
    assert_eq!(done["status"]["stable"], half["status"]["stable"]);
}

#[test]
fn a_deployment_that_asks_for_a_guard_by_an_annotation_is_undone_when_its_owner_rolls_out_something_bad() {
    let scene = Scene::new("guarded");
    let controller = scene.controller("a");
    let collection = format!("/apis/apps/v1/namespaces/{}/deployments", scene.namespace);
    let path = format!("{collection}/plain");
    let plain = json!({
        "metadata": {"name": "plain", "annotations": {"tidegate.dev/guard": "true", "tidegate.dev/guard-bake": "300ms"}},
        "spec": {
            "replicas": 1,
            "progressDeadlineSeconds": 600,
            "selector": {"matchLabels": {"app": "shop"}},
            "template": template('a', None),
        },
    });
    scene.admin().create(&collection, &plain).expect("a Deployment");
    let so = |what: &str, so: &dyn Fn(&Value) -> bool| {
        let seen = until(what, SOON, || Ok(scene.admin().get(&path).ok().filter(|object| so(object))));
        seen.unwrap_or_else(|why| panic!("{why}\n{}", scene.logs()))
    };
    so("a good revision", &|object| {
        object["metadata"]["annotations"]["tidegate.dev/good-revision"].is_string()
    });
    let good = scene.admin().get(&path).expect("it is there")["spec"]["template"].clone();
    let bad = json!({"spec": {"template": template('b', Some("crash"))}});
    scene.admin().merge(&path, &bad).expect("rolled out");
    let back = so("the good template again", &|object| {
        object["spec"]["template"]["spec"]["containers"] == good["spec"]["containers"]
    });
    assert_eq!(back["spec"]["template"], good, "all of it");
    drop(controller);
}
