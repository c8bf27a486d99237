//! Rollouts behind a route of Gateway API and of Istio, that a real gateway follows, judged by what a real Prometheus says.

use serde_json::{Value, json};
use tidegate_bed::{Access, ControlPlane, GATEWAY, in_a_network_of_its_own};

use super::{
    mesh::{HOST, Mesh, copies, weights},
    template,
};
use crate::support::{Project, Prometheus, until};

/// A service behind a route, whose requests are counted.
pub(super) struct Shop {
    pub(super) project: Project,
    admin: &'static Access,
    namespace: String,
    way: Way,
    pub(super) mesh: Mesh,
    prometheus: Prometheus,
}

/// What says where users' requests go.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Weights of an `HTTPRoute`.
    HttpRoute,
    /// Weights of a `VirtualService`, between two hosts.
    Hosts,
    /// Weights of a `VirtualService`, between two subsets of one host.
    Subsets,
}

impl Way {
    /// As `traffic` says it.
    const fn said(self) -> &'static str {
        match self {
            Self::HttpRoute => "{http_route: shop}",
            Self::Hosts => "{virtual_service: shop}",
            Self::Subsets => "{virtual_service: shop, destination_rule: shop}",
        }
    }
}

impl Shop {
    /// With these steps and gates, each as YAML.
    fn new(strategy: &str, gates: &str) -> Self {
        Self::by(Way::HttpRoute, "", strategy, gates)
    }

    /// The same by another route, and with `more` said of the service on Kubernetes.
    pub(super) fn by(way: Way, more: &str, strategy: &str, gates: &str) -> Self {
        let plane = ControlPlane::shared().expect("a control plane");
        let gateway = plane.install_gateway().expect("a gateway");
        let mut project = Project::new();
        project.environment("KUBECONFIG", &plane.kubeconfig().to_string_lossy());
        let (admin, namespace) = (plane.admin(), plane.namespace("judged").expect("a namespace"));
        let prometheus = Prometheus::of(&project);
        let door = if way == Way::HttpRoute { gateway.route() } else { gateway.mesh() };
        let mesh = Mesh::of(plane, &namespace, door, prometheus.folder());
        let shop = Self { project, admin, namespace, way, mesh, prometheus };
        shop.objects();
        shop.write(more, strategy, gates);
        shop.mesh.opens();
        shop
    }

    /// What its owner made.
    fn objects(&self) {
        let create = |group: &str, kind: &str, object: &Value| {
            let path = format!("{group}/namespaces/{}/{kind}", self.namespace);
            self.admin.create(&path, object).expect("made");
        };
        let ports = json!([{"name": "http", "port": 80, "targetPort": 8080}]);
        let service =
            json!({"metadata": {"name": "shop"}, "spec": {"selector": {"app": "shop"}, "ports": ports}});
        create("/api/v1", "services", &service);
        let deployment = json!({
            "metadata": {"name": "shop"},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "shop"}}, "template": template(&image('a'), None)},
        });
        create("/apis/apps/v1", "deployments", &deployment);
        if self.way == Way::HttpRoute {
            let rules = json!([{"backendRefs": [{"name": "shop", "port": 80}]}]);
            let spec = json!({"hostnames": [HOST], "parentRefs": [{"name": GATEWAY, "namespace": GATEWAY}], "rules": rules});
            create(
                "/apis/gateway.networking.k8s.io/v1",
                "httproutes",
                &named("gateway.networking.k8s.io/v1", "HTTPRoute", &spec),
            );
        } else {
            let routes = json!([{"route": [{"destination": {"host": "shop", "port": {"number": 80}}}]}]);
            let spec = json!({"hosts": [HOST], "gateways": [format!("{GATEWAY}/{GATEWAY}")], "http": routes});
            create(ISTIO, "virtualservices", &named("networking.istio.io/v1", "VirtualService", &spec));
        }
        if self.way == Way::Subsets {
            let spec = json!({"host": "shop"});
            create(ISTIO, "destinationrules", &named("networking.istio.io/v1", "DestinationRule", &spec));
        }
        let ready = || {
            let path = format!("/apis/apps/v1/namespaces/{}/deployments/shop", self.namespace);
            self.admin.get(&path).is_ok_and(|object| object["status"]["readyReplicas"] == 2)
        };
        until(ready, || "the Deployment is not ready".to_owned());
    }

    fn write(&self, more: &str, strategy: &str, gates: &str) {
        let manifest = json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": "shop"}, "spec": {"template": template(&image('a'), None)},
        });
        std::fs::write(self.project.root().join("deploy.yaml"), manifest.to_string()).expect("a manifest");
        let counter = |more: &str| format!("'http_requests_total{{pod=~\"{{{{pods}}}}\"{more}}}'");
        let asked = format!(
            "address: '{}', lookback: 30s, requests: {}, failures: {}",
            self.prometheus.address(),
            counter(""),
            counter(",code=~\"5..\""),
        );
        let run = format!(
            "{{manifest: deploy.yaml, namespace: {}, service: shop, replicas: 2, traffic: {}{more}}}",
            self.namespace,
            self.way.said()
        );
        let text = format!(
            "version: 1\nservices:\n  shop:\n    run: {{kubernetes: {run}}}\n    strategy: {strategy}\n    watch: 0s\n    \
             metrics: {{requests: {{every: 500ms, fresh: 4s, prometheus: {{{asked}}}}}}}\n    gates: {{{gates}}}\n    \
             judgement: {{warmup: 0s, max_dwell: 10s}}\n"
        );
        std::fs::write(self.project.config(), text).expect("a configuration");
    }

    /// Starts a rollout of another image.
    pub(super) fn begin(&self, letter: char) -> String {
        let begun = self.project.run(&["deploy", "--detach", "--json", "--image", &image(letter)]);
        begun.code(0).json()["deployment"].as_str().expect("an id").to_owned()
    }

    /// The tag of the release that this brings.
    pub(super) fn release(&self, id: &str) -> String {
        let status = self.project.run(&["status", id, "--json"]).code(0).json();
        status[0]["release"].as_str().expect("a release").to_owned()
    }

    /// The weight of the new release, in per cent, as the API server has it.
    fn percent(&self) -> u64 {
        let [preview, all] = weights(&self.admin.get(&route(&self.namespace)).expect("the route"));
        (100 * preview + all / 2) / all
    }

    pub(super) fn why(&self, id: &str) -> String {
        self.project.run(&["why", id]).code(0).stdout.clone()
    }

    /// Waits until it stands at the end of a step and says this of what it waits for.
    fn waits(&self, id: &str, said: &str) {
        let held = || self.project.events(id).iter().any(|kind| kind == "held");
        until(held, || self.project.run(&["history", id]).stdout);
        until(|| self.why(id).contains(said), || self.why(id));
    }
}

const ISTIO: &str = "/apis/networking.istio.io/v1";

fn named(version: &str, kind: &str, spec: &Value) -> Value {
    json!({"apiVersion": version, "kind": kind, "metadata": {"name": "shop"}, "spec": spec})
}

fn route(namespace: &str) -> String {
    format!("/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes/shop")
}

fn image(letter: char) -> String {
    format!("registry.example/shop@sha256:{}", letter.to_string().repeat(64))
}

#[test]
fn a_release_whose_requests_begin_to_fail_goes_back_by_itself() {
    if !in_a_network_of_its_own(&a_release_whose_requests_begin_to_fail_goes_back_by_itself) {
        return;
    }
    let errors = "latency_p95: off, latency_p99: off, latency_shift: off, error_rate: {metric: requests, hold_max: 30s}";
    let shop = Shop::new("{canary: {steps: [50%, 100%], bake: 20s}}", errors);
    let id = shop.begin('b');
    shop.project.reaches(&id, "canary_waiting");
    assert_eq!(shop.percent(), 50);
    let share = shop.mesh.share(&shop.release(&id), 1_000);
    assert!((share - 0.5).abs() < 0.1, "half of the users are there: {share}");
    shop.mesh.fails(&shop.release(&id));
    shop.project.reaches(&id, "rolled_back");
    assert_eq!(shop.percent(), 0);
    let why = shop.why(&id);
    assert!(why.contains("error_rate") && why.contains("1 of 100 is allowed"), "{why}");
}

#[test]
fn without_the_metrics_nothing_is_promoted_it_says_so_and_the_way_back_needs_none() {
    if !in_a_network_of_its_own(
        &without_the_metrics_nothing_is_promoted_it_says_so_and_the_way_back_needs_none,
    ) {
        return;
    }
    let gates = "latency_p95: off, latency_p99: off, latency_shift: off, error_rate: {metric: requests, hold_max: 10m}";
    let mut shop = Shop::new("{canary: {steps: [50%, 100%], bake: 6s}}", gates);
    let id = shop.begin('b');
    shop.project.reaches(&id, "canary_waiting");
    shop.prometheus.kill();
    shop.waits(&id, "no connection could be made");
    assert_eq!((shop.project.state(&id).as_str(), shop.percent()), ("canary_evaluating", 50));
    let waits = shop.project.run(&["status", &id]);
    assert!(waits.code(0).stdout.contains("evidence"), "it says what it waits for: {}", waits.stdout);
    // Until then nobody was asked to promote it, and an operator is not told to wait for Prometheus.
    shop.project.run(&["abort", &id, "--reason", "metrics are gone"]).code(0);
    until(|| shop.percent() == 0, || shop.why(&id));
    shop.project.reaches(&id, "rolled_back");
    let events = shop.project.events(&id);
    assert!(events.iter().all(|kind| kind != "stage_passed" && kind != "promoted"), "{events:?}");
}

#[test]
fn a_share_that_the_route_says_and_no_request_shows_is_waited_for_and_turned_back() {
    if !in_a_network_of_its_own(
        &a_share_that_the_route_says_and_no_request_shows_is_waited_for_and_turned_back,
    ) {
        return;
    }
    // Prometheus takes up to five seconds until it scrapes pods that are new, and two scrapes more to see them answer.
    let gates = "latency_p95: off, latency_p99: off, latency_shift: off, error_rate: off, \
                 request_rate: {metric: requests, hold_max: 15s}";
    let shop = Shop::new("{canary: {steps: [20%, 100%], bake: 4s}}", gates);
    shop.mesh.follows(false);
    let id = shop.begin('b');
    shop.waits(&id, "asked 20 %, observed 0 % of ");
    assert_eq!((shop.project.state(&id).as_str(), shop.percent()), ("canary_evaluating", 20));
    shop.project.reaches(&id, "rolled_back");
    assert_eq!(shop.percent(), 0);
    let why = shop.why(&id);
    assert!(why.contains("asked 20 %, observed 0 % of ") && why.contains("what the route says"), "{why}");

    shop.mesh.lost_none();
    // What was written down in between is computed again like every verdict.
    let replayed = shop.project.run(&["replay", &id, "--json"]).json();
    let verdicts = replayed["verdicts"].as_array().expect("verdicts");
    assert!(verdicts.len() >= 3 && verdicts.iter().all(|one| one["outcome"] != "differs"), "{replayed}");

    // A gateway that is told of it late is waited for, and then it goes on.
    let id = shop.begin('c');
    shop.waits(&id, "asked 20 %, observed 0 % of ");
    shop.mesh.follows(true);
    shop.project.reaches(&id, "verified");
}

#[test]
fn copies_that_a_mesh_sends_are_judged_by_the_metrics_of_who_answers_them() {
    if !in_a_network_of_its_own(&copies_that_a_mesh_sends_are_judged_by_the_metrics_of_who_answers_them) {
        return;
    }
    let errors = "latency_p95: off, latency_p99: off, latency_shift: off, request_rate: off, \
                  error_rate: {metric: requests, hold_max: 30s}";
    let phase = "{canary: {steps: [50%, 100%], bake: 20s}}\n    shadow: {share: 50%, bake: 20s, \
                 methods: [GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE]}";
    let shop = Shop::new(phase, errors);
    let plan = shop.project.run(&["plan", "--image", &image('b')]);
    plan.code(0).says("compares no answers").says("step's share is what was read back");
    let id = shop.begin('b');
    shop.project.reaches(&id, "canary_waiting");
    let route = shop.admin.get(&route(&shop.namespace)).expect("the route");
    assert_eq!((copies(&route), shop.percent()), (50, 0));
    shop.mesh.fails(&shop.release(&id));
    shop.project.reaches(&id, "rolled_back");
    let why = shop.why(&id);
    assert!(why.contains("error_rate") && why.contains("shadow 50 %"), "{why}");
    let status = shop.project.run(&["status", &id, "--json"]).code(0).json();
    assert_eq!(status[0]["largest_share_basis_points"], 0, "no user got an answer of it: {status}");
}
