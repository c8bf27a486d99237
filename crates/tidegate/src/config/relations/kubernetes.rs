//! What holds for services on Kubernetes alone, and what means nothing there.

use serde_json::Value;
use tidegate_adapters::metrics::PODS;

use super::{
    super::{
        fields,
        finding::{Code, Complaint, shown},
    },
    Checker, at,
};

/// Keys of `run` for what this machine's supervisor does.
const SUPERVISED: [&str; 5] = ["ready", "restart", "stop", "log", "resources"];

/// Keys of a service for what our proxy does.
const PROXIED: [&str; 4] = ["listen", "tls", "routing", "lease"];

/// Gates on requests, and what a metric needs for them.
pub(in crate::config) const REQUESTS: [&str; 5] =
    ["error_rate", "latency_p95", "latency_p99", "latency_shift", "request_rate"];

/// Gates on what the supervisor measures.
pub(in crate::config) const LEVELS: [&str; 2] = ["cpu", "memory"];

/// The key of `traffic` that goes with another and is no route itself.
const SUBSETS: &str = "destination_rule";

impl Checker<'_> {
    /// Everything about where a service runs.
    pub(super) fn place(&mut self, service: &Value, path: &str) {
        let Some(run) = service.pointer("/run/kubernetes") else {
            if service.get("run").is_some() && service.get("listen").is_none() && !self.wrote(path, "listen")
            {
                let complaint =
                    Complaint::new(Code::MissingKey, "`listen` is missing: expected `IP:port`, or several")
                        .help("write where users come in, `IP:port`: `listen: 127.0.0.1:8080`");
                self.add(&[path], complaint);
            }
            let pods = service.get("metrics").is_some_and(|metrics| metrics.to_string().contains(PODS));
            if pods {
                let message = format!("`{PODS}` stands for nothing on this machine");
                let complaint =
                    Complaint::new(Code::Conflict, message).help("name the release: `{{release}}`");
                self.add(&[&at(path, "metrics")], complaint);
            }
            return;
        };
        for key in PROXIED {
            let help = "traffic is moved by what `run.kubernetes.traffic` names: take it out";
            self.nothing(path, key, help);
        }
        for key in SUPERVISED {
            self.nothing(path, &format!("run.{key}"), "the manifest's pod template says it: take it out");
        }
        for gate in LEVELS {
            let help = "ask a metric by a custom gate, as `container_memory_working_set_bytes`";
            if service.pointer(&format!("/gates/{gate}")).is_some_and(Value::is_object) {
                self.nothing(path, &format!("gates.{gate}"), help);
            }
        }
        for gate in REQUESTS {
            let written = format!("gates.{gate}");
            let asks = service.pointer(&format!("/gates/{gate}")).filter(|gate| gate.is_object());
            if asks.is_some_and(|gate| gate.get("metric").is_none()) && self.wrote(path, &written) {
                let message = format!("`{gate}` counts requests, and on Kubernetes only a metric does");
                let complaint = Complaint::new(Code::Conflict, message)
                    .help("name one: `metric: NAME`, defined under `metrics`");
                self.add(&[&at(path, &written)], complaint);
            }
        }
        self.routes(service, run, path);
        self.digest(run, path);
        self.blast(service, run, path);
    }

    pub(super) fn wrote(&self, path: &str, key: &str) -> bool {
        self.places.written(&at(path, key)).is_some()
    }

    fn nothing(&mut self, path: &str, key: &str, help: &str) {
        if self.wrote(path, key) {
            let last = key.rsplit('.').next().unwrap_or(key);
            let message = format!("`{last}` means nothing for a service on Kubernetes");
            self.add(&[&at(path, key)], Complaint::new(Code::MisplacedKey, message).help(help));
        }
    }

    fn routes(&mut self, service: &Value, run: &Value, path: &str) {
        let traffic = run.get("traffic").and_then(Value::as_object);
        let named: Vec<&String> = traffic
            .into_iter()
            .flatten()
            .filter(|(key, name)| name.is_string() && *key != SUBSETS)
            .map(|(key, _)| key)
            .collect();
        let here = at(path, "run.kubernetes.traffic");
        let has = |key: &str| traffic.and_then(|traffic| traffic.get(key)).is_some_and(Value::is_string);
        if has(SUBSETS) && !has("virtual_service") {
            let message = format!("`{SUBSETS}` means nothing without `virtual_service`");
            let complaint = Complaint::new(Code::Conflict, message)
                .help("name the VirtualService that sends to its host: `virtual_service: NAME`");
            self.add(&[&format!("{here}.{SUBSETS}")], complaint);
        }
        if let [first, second, ..] = named.as_slice() {
            let message = format!("`{first}` and `{second}` exclude each other");
            self.add(
                &[&format!("{here}.{second}")],
                Complaint::new(Code::Conflict, message).help("keep one of the two"),
            );
        }
        let testers = run.get("testers").and_then(Value::as_array).into_iter().flatten();
        for (number, tester) in testers.enumerate() {
            let here = at(path, &format!("run.kubernetes.testers[{number}]"));
            if named.is_empty() {
                let complaint =
                    Complaint::new(Code::Conflict, "testers need a route that can tell requests apart")
                        .help("name one under `run.kubernetes.traffic`, or take `testers` out");
                self.add(&[&here], complaint);
            } else if tester.get("value").is_some_and(Value::is_string)
                == tester.get("matches").is_some_and(Value::is_string)
            {
                let complaint = Complaint::new(Code::Conflict, "expected one of `value` and `matches`")
                    .help("write what the header or cookie holds: `value: yes`");
                self.add(&[&here], complaint);
            }
        }
        self.copies(service, path, &named);
    }

    /// A route copies requests without a look at their method.
    fn copies(&mut self, service: &Value, path: &str, routes: &[&String]) {
        let Some(shadow) = service.get("shadow").filter(|shadow| shadow.is_object()) else { return };
        if !routes.iter().any(|key| ["http_route", "virtual_service"].contains(&key.as_str())) {
            let complaint = Complaint::new(Code::Conflict, "a shadow phase needs a route that can copy requests")
                .help("name an `http_route` or a `virtual_service` under `run.kubernetes.traffic`, or take `shadow` out");
            return self.add(&[&at(path, "shadow")], complaint);
        }
        let (all, named) = (fields::methods(), shadow.get("methods").and_then(Value::as_array));
        let is_named =
            |method: &&str| named.is_some_and(|named| named.iter().any(|one| one.as_str() == Some(*method)));
        if !all.iter().all(is_named) {
            let message = "a route copies requests of every method, and a copied POST does its work twice";
            let complaint = Complaint::new(Code::Conflict, message).help(format!(
                "where that does no harm, say so with `methods: [{}]`; or take `shadow` out",
                all.join(", ")
            ));
            self.add(&[&at(path, "shadow.methods"), &at(path, "shadow")], complaint);
        }
    }

    fn digest(&mut self, run: &Value, path: &str) {
        let Some(image) = run.get("image").and_then(Value::as_str) else { return };
        if !image.contains("@sha256:") {
            let message = format!("`{}` may be another image tomorrow", shown(image));
            let complaint = Complaint::new(Code::BadText, message).help("name it by digest: `name@sha256:…`");
            self.add(&[&at(path, "run.kubernetes.image")], complaint);
        }
    }
}
