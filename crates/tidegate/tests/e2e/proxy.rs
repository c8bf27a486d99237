//! The proxy dies, or is replaced, while users come.

use crate::support::{Project, kill, until};

#[test]
fn a_killed_proxy_is_started_again_and_finds_its_instances() {
    let mut shop = Project::new();
    shop.deploy().code(0);
    let users = shop.users(50);
    let id = shop.version("v2").bake("50%", "4s").begin();
    shop.reaches(&id, "canary_waiting");
    let before = shop.instances();
    assert_eq!(before.len(), 2);
    let proxy = shop.proxy().expect("a proxy");
    kill(proxy);
    until(|| shop.proxy().is_some_and(|pid| pid != proxy), || "the proxy is not started again".to_owned());
    assert_eq!(shop.instances(), before, "the instances were not left alone");
    shop.run(&["watch"]).code(0);
    assert_eq!(shop.asks().as_deref(), Some("v2"));
    let report = users.leave();
    let count = |name: &str| report[name].as_u64().unwrap_or(0);
    let gap_ms = match (report["first_failure_at_ms"].as_u64(), report["last_failure_at_ms"].as_u64()) {
        (Some(first), Some(last)) => last - first,
        _ => 0,
    };
    // Nobody listens until the engine sees it; after that nothing fails.
    assert!(gap_ms < 4_000, "users saw failures for {gap_ms} ms: {report}");
    assert!(count("failed") < count("ok"), "{report}");
}

#[test]
fn an_upgrade_of_the_proxy_under_load_loses_no_request_and_touches_no_instance() {
    let mut shop = Project::new();
    shop.deploy().code(0);
    let users = shop.users(200);
    let id = shop.version("v2").bake("50%", "60s").begin();
    shop.reaches(&id, "canary_waiting");
    let (before, old) = (shop.instances(), shop.proxy());
    assert_eq!(before.len(), 2);
    for _ in 0..2 {
        shop.run(&["proxy", "upgrade"]).code(0).says("the proxy is version");
    }
    assert_ne!(shop.proxy(), old);
    assert_eq!(shop.instances(), before);
    shop.run(&["promote", "--full"]).code(0);
    shop.run(&["watch"]).code(0);
    let report = users.leave();
    assert_eq!(report["failed"], 0, "{report}");
    assert!(report["ok"].as_u64() > Some(80), "{report}");
}

#[test]
fn a_stopped_proxy_comes_back_with_the_stable_release_at_the_next_deployment() {
    let mut shop = Project::new();
    shop.deploy().code(0);
    shop.run(&["proxy", "stop", "--instances"]).code(0);
    until(|| shop.proxy().is_none(), || "the proxy does not stop".to_owned());
    assert_eq!(shop.asks(), None);
    let id = shop.version("v2").bake("50%", "60s").begin();
    shop.reaches(&id, "canary_waiting");
    assert!(shop.weights().values().all(|weight| *weight == 5_000), "{:?}", shop.weights());
    shop.run(&["proxy", "stop"]).code(2).complains(&id).complains("under way");
    shop.run(&["abort"]).code(0);
    shop.run(&["watch"]).code(4);
    assert_eq!(shop.asks().as_deref(), Some("v1"));
}
