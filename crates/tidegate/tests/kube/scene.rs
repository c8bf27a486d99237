//! A namespace with a Service, Rollouts in it, and controllers that look after them.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tidegate_bed::{Access, BedError, ControlPlane, until};

/// Longest wait of a test for anything.
pub(crate) const SOON: Duration = Duration::from_secs(50);

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// A namespace of its own on the shared control plane.
pub(crate) struct Scene {
    pub(crate) plane: &'static ControlPlane,
    pub(crate) namespace: String,
    pub(crate) folder: tempfile::TempDir,
    /// As the controller is known there.
    pub(crate) kubeconfig: PathBuf,
}

/// A controller's process; killed at the end whatever happens.
pub(crate) struct Controller {
    child: Child,
    log: PathBuf,
}

impl Drop for Controller {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The manifests that install a controller.
pub(crate) fn manifests(arguments: &[&str]) -> Vec<Value> {
    let mut all = vec!["controller", "manifests", "--json"];
    all.extend(arguments);
    let output = Command::new(PROGRAM).args(all).output().expect("the program runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("a list of manifests")
}

/// An image that is what it is.
pub(crate) fn image(letter: char) -> String {
    format!("registry.example/shop@sha256:{}", letter.to_string().repeat(64))
}

impl Scene {
    /// With the definition installed, and the account and the Role from the generated manifests.
    pub(crate) fn new(prefix: &str) -> Self {
        let plane = ControlPlane::shared().expect("a control plane");
        let definition = manifests(&["--crd"]).remove(0);
        plane.install(&[&definition.to_string()]).expect("the API server takes the definition");
        let namespace = plane.namespace(prefix).expect("a namespace");
        let folder = tempfile::Builder::new().prefix("tg").tempdir().expect("a directory");
        let mut scene = Self { plane, kubeconfig: plane.kubeconfig().to_owned(), folder, namespace };
        scene.account();
        let service = json!({
            "metadata": {"name": "shop"}, "spec": {"selector": {"app": "shop"}, "ports": [{"port": 80}]},
        });
        scene
            .admin()
            .create(&format!("/api/v1/namespaces/{}/services", scene.namespace), &service)
            .expect("a Service");
        scene
    }

    pub(crate) fn admin(&self) -> &Access {
        self.plane.admin()
    }

    /// The service account with what the manifests give it, and nothing else.
    fn account(&mut self) {
        let namespace = self.namespace.clone();
        let image = image('0');
        for object in
            manifests(&["--namespace", &namespace, "--lease-namespace", &namespace, "--image", &image])
        {
            let collection = match object["kind"].as_str().expect("a kind") {
                "ServiceAccount" => format!("/api/v1/namespaces/{namespace}/serviceaccounts"),
                "Role" => format!("{RBAC}/namespaces/{namespace}/roles"),
                "RoleBinding" => format!("{RBAC}/namespaces/{namespace}/rolebindings"),
                _ => continue,
            };
            self.admin().create(&collection, &object).expect("an account and its roles");
        }
        let access = self.plane.service_account(&namespace, "tidegate").expect("a token");
        // The API server learns of roles by a watch of its own.
        let review = json!({
            "apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": namespace},
        });
        until("the role", SOON, || {
            let rules =
                access.create("/apis/authorization.k8s.io/v1/selfsubjectrulesreviews", &review)?.to_string();
            Ok((rules.contains("rollouts/status") && rules.contains("\"update\"")).then_some(()))
        })
        .expect("the role is in force");
        access.kubeconfig().clone_into(&mut self.kubeconfig);
    }

    /// A controller with its data in this folder.
    pub(crate) fn controller(&self, data: &str) -> Controller {
        self.controller_with(data, &[])
    }

    pub(crate) fn controller_with(&self, data: &str, more: &[&str]) -> Controller {
        let log = self.folder.path().join(format!("{data}.log"));
        let file = fs::OpenOptions::new().create(true).append(true).open(&log).expect("a log");
        let lease: &[&str] = if more.contains(&"--lease") { &[] } else { &["--lease", "3"] };
        let own = ["--lease-namespace", &self.namespace];
        let lease_namespace: &[&str] = if more.contains(&"--lease-namespace") { &[] } else { &own };
        let child = Command::new(PROGRAM)
            .args(["controller", "--namespace", &self.namespace])
            .args(lease)
            .args(lease_namespace)
            .arg("--data")
            .arg(self.folder.path().join(data))
            .arg("--kubeconfig")
            .arg(&self.kubeconfig)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(file)
            .spawn()
            .expect("the program starts");
        Controller { child, log }
    }

    pub(crate) fn path(&self, name: &str) -> String {
        format!("/apis/tidegate.dev/v1/namespaces/{}/rollouts/{name}", self.namespace)
    }

    /// Applies a Rollout `shop` with this image and what else is in the spec, as `kubectl apply` does.
    pub(crate) fn apply(&self, letter: char, more: &Value) -> Value {
        let answer = self.ask_to_apply(&self.rollout(letter, more));
        assert!(answer.0 < 300, "{} {}", answer.0, answer.1);
        answer.1
    }

    /// What the API server says to a Rollout that is applied on the server's side, where nothing unknown is taken.
    pub(crate) fn ask_to_apply(&self, object: &Value) -> (u16, Value) {
        let path = format!("{}?fieldManager=kubectl&force=true", self.path("shop"));
        let answer = self.admin().ask("PATCH", &path, "application/apply-patch+yaml", object.to_string());
        let answer = answer.expect("an answer");
        (answer.status, answer.body)
    }

    pub(crate) fn rollout(&self, letter: char, more: &Value) -> Value {
        let mut spec = json!({
            "service": "shop",
            "replicas": 2,
            "watch": "1s",
            "progress": "3s",
            "strategy": {"canary": {"steps": ["50%", {"share": "100%", "bake": "500ms"}], "bake": "1s"}},
            "template": template(letter, None),
        });
        for (key, value) in more.as_object().into_iter().flatten() {
            spec[key] = value.clone();
            if value.is_null() {
                drop(spec.as_object_mut().and_then(|spec| spec.remove(key)));
            }
        }
        json!({
            "apiVersion": "tidegate.dev/v1",
            "kind": "Rollout",
            "metadata": {"name": "shop", "namespace": self.namespace},
            "spec": spec,
        })
    }

    pub(crate) fn annotate(&self, key: &str, value: &str) {
        let patch = json!({"metadata": {"annotations": {format!("tidegate.dev/{key}"): value}}});
        self.admin().merge(&self.path("shop"), &patch).expect("annotated");
    }

    /// The Rollout once its status for its present generation is so.
    pub(crate) fn until(&self, what: &str, so: impl Fn(&Value) -> bool) -> Value {
        let mut last = Value::Null;
        let seen = until(what, SOON, || {
            let rollout = self.admin().get(&self.path("shop"))?;
            last = rollout["status"].clone();
            let present = last["observedGeneration"] == rollout["metadata"]["generation"];
            Ok((present && so(&last)).then_some(rollout))
        });
        seen.unwrap_or_else(|why| panic!("{why}; the status is {last:#}\n{}", self.logs()))
    }

    pub(crate) fn until_state(&self, state: &str) -> Value {
        self.until(state, |status| status["state"] == state)
    }

    pub(crate) fn logs(&self) -> String {
        let files = fs::read_dir(self.folder.path()).expect("a folder").flatten();
        let logs = files.filter(|file| file.path().extension().is_some_and(|ext| ext == "log"));
        logs.map(|file| fs::read_to_string(file.path()).unwrap_or_default())
            .collect::<Vec<_>>()
            .join("\n---\n")
    }

    /// Our Deployments with the number of pods that each asks for.
    pub(crate) fn releases(&self) -> Vec<(String, u64)> {
        let path = format!("/apis/apps/v1/namespaces/{}/deployments", self.namespace);
        let list = self.admin().get(&path).expect("a list");
        let one = |one: &Value| {
            let name = one["metadata"]["name"].as_str().expect("a name").to_owned();
            (name, one["spec"]["replicas"].as_u64().unwrap_or_default())
        };
        list["items"].as_array().expect("items").iter().map(one).collect()
    }

    /// The versions of everything that a controller writes, by what they are.
    pub(crate) fn versions(&self) -> Vec<(String, String)> {
        let of = |group: &str, plural: &str| {
            let path = format!("{group}/namespaces/{}/{plural}", self.namespace);
            let list = self.admin().get(&path).expect("a list");
            let text = |one: &Value, key: &str| one["metadata"][key].as_str().unwrap_or_default().to_owned();
            let items = list["items"].as_array().expect("items").clone();
            items.iter().map(|one| (text(one, "name"), text(one, "resourceVersion"))).collect::<Vec<_>>()
        };
        let parts = [
            ("/apis/tidegate.dev/v1", "rollouts"),
            ("/apis/apps/v1", "deployments"),
            ("/api/v1", "services"),
            ("/apis/events.k8s.io/v1", "events"),
        ];
        parts.into_iter().flat_map(|(group, plural)| of(group, plural)).collect()
    }

    /// The same once nobody has written anything for a while: a leader has more to say of what has just ended.
    pub(crate) fn settled(&self) -> Vec<(String, String)> {
        const QUIET: Duration = Duration::from_secs(2);
        let began = Instant::now();
        let (mut seen, mut since) = (self.versions(), Instant::now());
        while since.elapsed() < QUIET {
            assert!(began.elapsed() < SOON, "somebody goes on writing: {seen:?}");
            std::thread::sleep(Duration::from_millis(100));
            let now = self.versions();
            if now != seen {
                (seen, since) = (now, Instant::now());
            }
        }
        seen
    }

    /// Reasons of the events about the Rollout, with their notes, in the order of their moments.
    pub(crate) fn events(&self) -> Vec<(String, String)> {
        let path = format!("/apis/events.k8s.io/v1/namespaces/{}/events", self.namespace);
        let list = self.admin().get(&path).expect("a list");
        let items = list["items"].as_array().expect("items").iter();
        let mut ours: Vec<&Value> = items.filter(|event| event["regarding"]["kind"] == "Rollout").collect();
        ours.sort_by_key(|event| event["eventTime"].as_str().unwrap_or_default().to_owned());
        let text = |event: &Value, key: &str| event[key].as_str().unwrap_or_default().to_owned();
        ours.into_iter().map(|event| (text(event, "reason"), text(event, "note"))).collect()
    }

    /// The Lease.
    pub(crate) fn lease(&self) -> Result<Value, BedError> {
        let path = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases/tidegate", self.namespace);
        self.admin().get(&path)
    }

    pub(crate) fn until_held(&self, by_other_than: Option<&str>) -> String {
        let held = until("a leader", SOON, || {
            let lease = match self.lease() {
                Err(BedError::Refused { status: 404, .. }) => return Ok(None),
                lease => lease?,
            };
            let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default().to_owned();
            Ok((!holder.is_empty() && by_other_than != Some(&holder)).then_some(holder))
        });
        held.unwrap_or_else(|why| panic!("{why}\n{}", self.logs()))
    }
}

/// A pod template; `sim` is how its pods behave.
pub(crate) fn template(letter: char, sim: Option<&str>) -> Value {
    let mut labels = json!({"app": "shop"});
    if let Some(sim) = sim {
        labels[tidegate_bed::SIM_LABEL] = json!(sim);
    }
    json!({
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "web", "image": image(letter), "ports": [{"containerPort": 80}]}]},
    })
}

/// Status and reason of a condition.
pub(crate) fn condition(rollout: &Value, name: &str) -> (String, String) {
    let all = rollout["status"]["conditions"].as_array().expect("conditions");
    let one = all.iter().find(|one| one["type"] == name).unwrap_or_else(|| panic!("no condition {name}"));
    let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
    (text("status"), text("reason"))
}

pub(crate) fn is(status: &str, reason: &str) -> (String, String) {
    (status.to_owned(), reason.to_owned())
}

impl Controller {
    fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).expect("a process");
        kill_process(pid, signal).expect("a signal");
    }

    pub(crate) fn stop(&self) {
        self.signal(Signal::STOP);
    }

    pub(crate) fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) {
        self.child.kill().expect("killed");
        self.child.wait().expect("gone");
    }

    /// Its exit code and what it wrote, once it has ended by itself.
    pub(crate) fn ended(mut self) -> (Option<i32>, String) {
        let code = until("the controller's end", SOON, || Ok(self.child.try_wait().expect("a child")));
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        (code.unwrap_or_else(|why| panic!("{why}\n{log}")).code(), log)
    }

    /// What it answers to a request without a secret.
    pub(crate) fn answers(&self, path: &str) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let address = log.split("http://").nth(1).and_then(|rest| rest.lines().next()).expect("an address");
        let mut stream = TcpStream::connect(address.trim()).expect("a connection");
        write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").expect("asked");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        text.split_once("\r\n\r\n").expect("a body").1.to_owned()
    }

    pub(crate) fn log(&self) -> &Path {
        &self.log
    }
}
