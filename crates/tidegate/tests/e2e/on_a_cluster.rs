//! The guard of plain Deployments, and rollouts behind a route, by the command line, on a real control plane.
//!
//! `cargo xtask test kube` runs these; the other suites leave them out by the name of this module.

mod asked;
mod before;
mod evidence;
mod foreseen;
mod mesh;
mod owner;
mod pinned;
mod told;
mod ways;

use std::{
    fs::File,
    path::PathBuf,
    process::{Child, Stdio},
};

use serde_json::{Value, json};
use tidegate_bed::{Access, ControlPlane};

use crate::support::{Project, kill, until};

const SHORT: [&str; 4] = ["--bake", "300ms", "--watch", "300ms"];

/// A Deployment `shop` that somebody else rolls out.
struct Shop {
    project: Project,
    admin: &'static Access,
    namespace: String,
}

impl Shop {
    fn new() -> Self {
        let plane = ControlPlane::shared().expect("a control plane");
        let mut project = Project::new();
        project.environment("KUBECONFIG", &plane.kubeconfig().to_string_lossy());
        let shop =
            Self { project, admin: plane.admin(), namespace: plane.namespace("shop").expect("a namespace") };
        let collection = format!("/apis/apps/v1/namespaces/{}/deployments", shop.namespace);
        let object = json!({
            "metadata": {"name": "shop"},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "shop"}}, "template": template("shop:1", None)},
        });
        shop.admin.create(&collection, &object).expect("made");
        shop
    }

    fn path(&self) -> String {
        format!("/apis/apps/v1/namespaces/{}/deployments/shop", self.namespace)
    }

    fn object(&self) -> Value {
        self.admin.get(&self.path()).expect("it is there")
    }

    fn apply(&self, image: &str, sim: Option<&str>) {
        self.admin
            .merge(&self.path(), &json!({"spec": {"template": template(image, sim)}}))
            .expect("applied");
    }

    /// Arguments with the place.
    fn here<'a>(&'a self, arguments: &[&'a str]) -> Vec<&'a str> {
        [arguments, &["--namespace", &self.namespace]].concat()
    }

    fn once(&self) -> crate::support::Ran {
        self.project.run(&[&self.here(&["guard", "deployment/shop", "--once"])[..], &SHORT].concat())
    }

    /// A service whose gate asks the file that this names, which says 0.01 now: more than 0.2 is bad.
    fn gated(&self) -> PathBuf {
        let failing = self.project.root().join("failing");
        std::fs::write(&failing, "0.01").expect("written");
        let configuration = format!(
            "version: 1\nservices:\n  web:\n    run: {{kubernetes: {{manifest: d.yaml, service: web}}}}\n    metrics: {{failing: \
             {{every: 500ms, command: {{argv: [/bin/cat, '{}']}}}}}}\n    gates: {{custom: {{orders: {{metric: failing, failure: \
             'result > 0.2', hold_max: 20s}}}}}}\n    judgement: {{warmup: 0s, max_dwell: 10s}}\n",
            failing.display()
        );
        std::fs::write(self.project.config(), configuration).expect("written");
        failing
    }

    /// The guard, with that gate.
    fn once_by_gate(&self) -> crate::support::Ran {
        let asked = ["guard", "deployment/shop", "--once", "--service", "web"];
        self.project.run(&[&self.here(&asked)[..], &SHORT[2..], &["--bake", "2s"]].concat())
    }

    /// The guard in the foreground of another terminal; what it says goes to this file.
    fn guard(&self, file: &str, bake: &str) -> Child {
        let said = File::create(self.project.root().join(file)).expect("a file");
        let errors = said.try_clone().expect("a second handle");
        let arguments = self.here(&["guard", "deployment/shop", "--bake", bake, "--watch", "300ms"]);
        let mut command = self.project.command(&arguments);
        command.stdin(Stdio::null()).stdout(said).stderr(errors).spawn().expect("a guard")
    }

    fn said(&self, file: &str) -> String {
        std::fs::read_to_string(self.project.root().join(file)).unwrap_or_default()
    }

    fn until_said(&self, file: &str, what: &str) {
        until(|| self.said(file).contains(what), || format!("no `{what}` in:\n{}", self.said(file)));
    }

    /// The how-many-eth rollout that was judged.
    fn deployment(&self, turn: u32) -> String {
        let object = self.object();
        let uid = object["metadata"]["uid"].as_str().expect("a uid");
        format!("shop@{}.{}-{turn}", self.namespace, &uid[..4])
    }

    fn image(&self) -> String {
        let object = self.object();
        object["spec"]["template"]["spec"]["containers"][0]["image"].as_str().unwrap_or_default().to_owned()
    }

    fn status(&self) -> Value {
        self.project.run(&self.here(&["status", "deployment/shop", "--json"])).code(0).json()
    }
}

fn template(image: &str, sim: Option<&str>) -> Value {
    json!({
        "metadata": {"labels": {"app": "shop", "sim": sim}},
        "spec": {"containers": [{"name": "web", "image": image, "ports": [{"containerPort": 8080}]}]},
    })
}

#[test]
fn a_guard_records_what_is_good_undoes_what_is_bad_and_after_the_second_time_asks_a_person() {
    let shop = Shop::new();
    shop.once().code(0);
    let first = shop.status();
    assert_eq!((&first["good"], &first["present"]), (&first["present"], &first["good"]), "{first}");
    assert!(first["good"].is_string(), "{first}");
    shop.once().code(0).says("is good");

    let mut guard = shop.guard("said", "300ms");
    shop.until_said("said", "revision 1");
    for round in 1..=2 {
        shop.apply("shop:2", Some("crash"));
        shop.until_said("said", &shop.deployment(round + 1));
        until(|| shop.image() == "shop:1", || shop.said("said"));
        until(|| shop.status()["under_way"] == json!([]), || shop.said("said"));
    }
    shop.until_said("said", "CrashLoopBackOff");
    shop.apply("shop:2", Some("crash"));
    shop.until_said("said", "HELD");
    assert_eq!(shop.image(), "shop:2", "it does not fight");
    shop.once().code(5);
    kill(guard.id());
    guard.wait().expect("it ends");

    let rows = shop.project.run(&shop.here(&["history", "deployment/shop", "--json"])).code(0).json();
    assert_eq!(
        (&rows[0]["images"][0], &rows[0]["current"], &rows[0]["good"]),
        (&json!("shop:2"), &json!(true), &json!(false))
    );
    assert_eq!((&rows[1]["images"][0], &rows[1]["recorded"]), (&json!("shop:1"), &json!(true)), "{rows}");
    shop.project.run(&shop.here(&["undo", "deployment/shop", "--dry-run"])).code(0).says("nothing was done");
    assert_eq!(shop.image(), "shop:2");
    shop.project.run(&shop.here(&["undo", "deployment/shop", "--reason", "enough"])).code(0);
    assert_eq!(shop.image(), "shop:1");
    shop.once().code(0);
    shop.apply("shop:3", Some("crash"));
    until(|| shop.status()["present"].is_string(), || "no revision".to_owned());
    shop.once().code(4);
    assert_eq!(shop.image(), "shop:1");
}

#[test]
fn a_guard_and_an_engine_that_are_killed_in_the_middle_of_a_rollout_are_followed_by_others_that_go_on() {
    let shop = Shop::new();
    shop.once().code(0);
    let mut guard = shop.guard("first", "3s");
    shop.until_said("first", "revision 1");
    shop.apply("shop:2", None);
    shop.until_said("first", "canary_waiting");
    kill(guard.id());
    guard.wait().expect("it ends");
    shop.project.kill_engine();
    // Nobody was there while its pods began to crash.
    let mut guard = shop.guard("second", "3s");
    shop.until_said("second", "Verified at");
    let status = shop.status();
    assert_eq!(status["good"], status["present"], "{status}");
    let judged = shop.project.run(&["history", "--json"]).code(0).json();
    assert_eq!(judged.as_array().map(Vec::len), Some(2), "the same rollout is judged once: {judged}");

    // A newer wish takes the place of what is being judged, and is what counts.
    shop.apply("shop:3", None);
    shop.until_said("second", &shop.deployment(3));
    shop.project.reaches(&shop.deployment(3), "canary_waiting");
    shop.apply("shop:4", None);
    until(
        || {
            let status = shop.status();
            status["good"] == status["present"] && status["revisions"][0]["images"][0] == "shop:4"
        },
        || shop.said("second"),
    );
    assert_eq!(shop.image(), "shop:4");
    assert!(shop.said("second").contains("superseded"), "{}", shop.said("second"));

    // An owner who goes back by himself ends what was being judged.
    shop.apply("shop:5", None);
    shop.until_said("second", &shop.deployment(5));
    shop.project.reaches(&shop.deployment(5), "canary_waiting");
    shop.apply("shop:4", None);
    shop.until_said("second", "was rolled out again by its owner, back to revision");
    until(|| shop.status()["under_way"] == json!([]), || shop.said("second"));
    let status = shop.status();
    assert_eq!((&status["good"], shop.image()), (&status["present"], "shop:4".to_owned()), "{status}");
    kill(guard.id());
    guard.wait().expect("it ends");
}

#[test]
fn what_cannot_be_guarded_undone_or_found_is_refused_and_says_what_to_do() {
    let shop = Shop::new();
    let refused: &[(&[&str], &str)] = &[
        (&["guard", "statefulset/shop"], "only a Deployment can, as `deployment/NAME`"),
        (&["guard", "shop"], "write `deployment/shop`"),
        (&["guard", "deployment/Shop!"], "is no name of a Deployment"),
        (&["guard", "deployment/shopp"], "there is no Deployment"),
        (&["guard", "deployment/shop", "--bake", "soon"], "`soon` is not a duration"),
        (&["history", "pod/shop"], "only a Deployment can"),
        (&["undo", "deployment/shop"], "no good revision of deployment/shop"),
        (
            &["undo", "deployment/shop", "--to-revision", "7"],
            "has no revision 7 any more: there is revision 1 (",
        ),
        (&["undo", "deployment/shop", "--to-revision", "1"], "runs revision 1"),
    ];
    for (arguments, word) in refused {
        let ran = shop.project.run(&shop.here(arguments));
        ran.code(2);
        assert!(ran.stderr.contains(word), "{arguments:?}: {}", ran.stderr);
    }
    let ran = shop.project.run(&shop.here(&["status", "deployment/shop", "--context", "elsewhere"]));
    ran.code(2);
    assert!(ran.stderr.contains("no context `elsewhere`; it has bed"), "{}", ran.stderr);
    let mut lost = shop.project.command(&["status", "deployment/shop"]);
    let lost = lost.env("KUBECONFIG", "/nowhere").output().expect("it runs");
    let said = String::from_utf8_lossy(&lost.stderr).into_owned();
    assert!(lost.status.code() == Some(2) && said.contains("/nowhere"), "{said}");

    shop.admin.merge(&shop.path(), &json!({"spec": {"paused": true}})).expect("paused");
    shop.apply("shop:2", None);
    let mut guard = shop.guard("said", "1s");
    shop.until_said("said", "its owner holds the rollout");
    kill(guard.id());
    guard.wait().expect("it ends");
    let role = shop.project.run(&shop.here(&["role", "deployment/shop"])).code(0).json();
    assert_eq!((&role["kind"], &role["metadata"]["namespace"]), (&json!("Role"), &json!(shop.namespace)));
}

#[test]
fn a_gate_of_a_service_undoes_a_rollout_whose_pods_are_all_ready() {
    let shop = Shop::new();
    let failing = shop.gated();
    let once = || shop.once_by_gate();
    once().code(0);
    std::fs::write(&failing, "0.9").expect("written");
    shop.apply("shop:2", None);
    once().code(4).says("orders");
    assert_eq!(shop.image(), "shop:1");
    let why = shop.project.run(&["why", &shop.deployment(2)]);
    why.code(0).says("gate orders failed");
}
