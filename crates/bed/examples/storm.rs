//! Services for `cargo xtask bench kube`: a control plane with so many of them, each a Service, a ready Deployment with one pod
//! and a `VirtualService`, in the namespace `storm`.
//!
//! Writes `KUBECONFIG path` and `ready`, then answers each line `watch NAME` on its standard input with `zero NAME micros`, the
//! Unix time at which the API server was first seen to give all of that service's traffic to the Deployment that was there
//! before. Ends with its input.

use std::{
    collections::BTreeSet,
    io::BufRead,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
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
    let asked = Mutex::new(BTreeSet::new());
    let began = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| watch(admin, &asked, &began));
        until("a watch", Duration::from_secs(10), || Ok(began.load(Ordering::Relaxed).then_some(())))?;
        println!("ready");
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if let Some(name) = line.strip_prefix("watch ") {
                asked.lock().unwrap_or_else(PoisonError::into_inner).insert(name.to_owned());
            }
        }
        // The watch ends with the control plane.
        std::process::exit(0)
    })
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

/// Says of each service that was asked for when nothing goes to the new release any more, as soon as the API server says so.
/// The adopted release's tag ends with `-0`.
fn watch(admin: &Access, asked: &Mutex<BTreeSet<String>>, began: &AtomicBool) {
    // Every watch begins with what there is.
    let path = format!("{ROUTES}?watch=1&timeoutSeconds=3600");
    let ended = admin.watch(&path, |event| {
        began.store(true, Ordering::Relaxed);
        let route = event.get("object").unwrap_or(&Value::Null);
        let name = route.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
        let back = hosts(route).iter().all(|host| host == name || host.ends_with("-0"));
        if back && asked.lock().unwrap_or_else(PoisonError::into_inner).remove(name) {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            println!("zero {name} {}", now.as_micros());
        }
        false
    });
    println!("the watch ended: {ended:?}");
}
