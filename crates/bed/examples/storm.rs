//! Services for `cargo xtask bench kube`: a control plane with so many of them, each a Service, a ready Deployment with one pod
//! and a `VirtualService`, in the namespace `storm`.
//!
//! Writes `KUBECONFIG path` and `ready`, then answers each line `watch NAME` on its standard input with `zero NAME micros`, the
//! Unix time at which the API server was first seen to give all of that service's traffic to the Deployment that was there
//! before. Ends with its input.

use std::{
    collections::BTreeSet,
    io::BufRead,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};
use tidegate_bed::{Access, BedError, ControlPlane, Options, until};

const NAMESPACE: &str = "storm";
const ROUTES: &str = "/apis/networking.istio.io/v1/namespaces/storm/virtualservices";

fn main() -> Result<(), BedError> {
    let count = std::env::args().nth(1).and_then(|count| count.parse().ok()).unwrap_or(1_000);
    let plane = ControlPlane::start(&Options::default())?;
    plane.install_istio()?;
    let admin = plane.admin();
    admin.create("/api/v1/namespaces", &json!({"metadata": {"name": NAMESPACE}}))?;
    println!("KUBECONFIG {}", plane.kubeconfig().display());
    for number in 0..count {
        service(admin, &format!("s{number}"))?;
    }
    until("ready Deployments", Duration::from_mins(10), || ready(admin, count))?;
    println!("ready");
    std::thread::scope(|scope| {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if let Some(name) = line.strip_prefix("watch ").map(str::to_owned) {
                scope.spawn(move || watch(admin, &name));
            }
        }
    });
    Ok(())
}

fn service(admin: &Access, name: &str) -> Result<(), BedError> {
    let labels = json!({"app": name});
    let digest = "a".repeat(64);
    let container = json!({"name": "web", "image": format!("registry.example/shop@sha256:{digest}")});
    admin.create(
        "/api/v1/namespaces/storm/services",
        &json!({"metadata": {"name": name}, "spec": {"selector": labels, "ports": [{"port": 80}]}}),
    )?;
    admin.create(
        "/apis/apps/v1/namespaces/storm/deployments",
        &json!({"metadata": {"name": name}, "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        }}),
    )?;
    let route = json!({"route": [{"destination": {"host": name}}]});
    admin.create(
        ROUTES,
        &json!({
            "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": name},
            "spec": {"hosts": [name], "http": [route]},
        }),
    )?;
    Ok(())
}

fn ready(admin: &Access, count: usize) -> Result<Option<()>, BedError> {
    let list = admin.get("/apis/apps/v1/namespaces/storm/deployments")?;
    let ready = |item: &&Value| item.pointer("/status/readyReplicas").and_then(Value::as_u64) == Some(1);
    let all = list.get("items").and_then(Value::as_array).into_iter().flatten().filter(ready).count();
    Ok((all >= count).then_some(()))
}

/// The hosts that get something of a service's traffic.
fn hosts(route: &Value) -> BTreeSet<String> {
    let routes = route.pointer("/spec/http/0/route").and_then(Value::as_array);
    let some = |one: &&Value| one.get("weight").and_then(Value::as_u64) != Some(0);
    let host = |one: &Value| one.pointer("/destination/host").and_then(Value::as_str).map(str::to_owned);
    routes.into_iter().flatten().filter(some).filter_map(host).collect()
}

/// Looks until nothing goes to the new release any more. The adopted release's tag ends with `-0`.
fn watch(admin: &Access, name: &str) {
    let path = format!("{ROUTES}/{name}");
    loop {
        let Ok(route) = admin.get(&path) else { continue };
        if hosts(&route).iter().all(|host| host == name || host.ends_with("-0")) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            println!("zero {name} {}", now.as_micros());
            return;
        }
        std::thread::sleep(Duration::from_micros(500));
    }
}
