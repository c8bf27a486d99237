//! Ending and replacing the process.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;

use crate::instance::{Instance, reply};
use crate::process::{Proxy, spawn, table, until, with};
use crate::user::{User, get};

/// Users that ask until told to stop: one half on one connection each, the other half on a new one for each request.
fn load(address: &str, stop: &Arc<AtomicBool>) -> Vec<std::thread::JoinHandle<usize>> {
    let users = (0..6).map(|number| {
        let (address, stop) = (address.to_owned(), Arc::clone(stop));
        std::thread::spawn(move || {
            let mut count = 0;
            let mut user = User::connect(&address);
            while !stop.load(Ordering::Relaxed) {
                let answer = user.get("/", "");
                assert_eq!(answer.status, 200, "{}", answer.head);
                count += 1;
                if number % 2 == 0 || answer.header("connection").as_deref() == Some("close") {
                    user = User::connect(&address);
                }
            }
            count
        })
    });
    users.collect()
}

#[test]
fn the_process_is_replaced_under_load_without_a_failed_request() {
    let instance = Instance::start(|_, stream| {
        std::thread::sleep(std::time::Duration::from_millis(2));
        reply(stream, "200 OK", "a")
    });
    let proxy = Proxy::start();
    proxy.put(&table(1, &[("v1", 10_000, &[&instance.address])]));
    let (address, old) = (proxy.address(), proxy.get("/v1/status"));
    let stop = Arc::new(AtomicBool::new(false));
    let users = load(&address, &stop);
    let program = std::env::current_exe().expect("own path");
    let mut pid = old["pid"].clone();
    for _ in 0..3 {
        let (status, new) = proxy.ask("POST", "/v1/upgrade", &json!({"program": program}));
        assert_eq!(status, 200, "{new}");
        assert!(new["pid"] != pid && proxy.get("/v1/status")["pid"] == new["pid"]);
        assert_eq!(proxy.address(), address);
        pid = new["pid"].clone();
    }
    let before = instance.requests();
    until("the new process serves", || (instance.requests() > before + 200).then_some(()));
    stop.store(true, Ordering::Relaxed);
    let total: usize = users.into_iter().map(|user| user.join().expect("no failed request")).sum();
    assert!(total > 200);
    let second = spawn(proxy.data.path()).wait_with_output().expect("ended");
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(words.contains(&format!("pid {pid}")), "the lock moved on: {words}");
    assert_eq!(proxy.call("POST", "/v1/shutdown?instances=keep", "").0, 204);
    until("the last process ends", || (!proxy.data.path().join("admin.sock").exists()).then_some(()));
}

#[test]
fn an_upgrade_to_a_program_that_fails_leaves_the_old_process_in_charge() {
    let instance = Instance::named("a");
    let proxy = Proxy::start();
    proxy.put(&table(1, &[("v1", 10_000, &[&instance.address])]));
    let address = proxy.address();
    for (program, words) in
        [("/bin/false", "ended at once"), ("/nowhere/proxy", "absolute path"), ("proxy", "absolute")]
    {
        let (status, answer) = proxy.ask("POST", "/v1/upgrade", &json!({"program": program}));
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(status >= 400 && message.contains(words), "{program}: {answer}");
    }
    assert_eq!(get(&address, "/", "").body, "a");
    proxy.put(&table(2, &[("v1", 10_000, &[&instance.address])]));
    assert_eq!(proxy.get("/v1/status")["pid"], json!(proxy.pid()));
}

#[test]
fn supervised_instances_live_through_an_upgrade() {
    let proxy = Proxy::start();
    let home = proxy.data.path().to_str().expect("path").to_owned();
    assert_eq!(proxy.ask("PUT", "/v1/runs/shop/v1", &crate::control::run(1, &home, 1)).0, 200);
    let route = json!([{"release": "v1", "weight": 10_000, "backend": "supervised"}]);
    proxy.put(&with(table(1, &[]), &json!({"releases": route, "stable": "v1"})));
    until("it is ready", || (proxy.get("/v1/services/shop")["healthy"] == json!([1])).then_some(()));
    let address = proxy.address();
    let pid = get(&address, "/", "").body;
    let program = std::env::current_exe().expect("own path");
    let (status, new) = proxy.ask("POST", "/v1/upgrade", &json!({"program": program}));
    assert_eq!(status, 200, "{new}");
    for _ in 0..5 {
        assert_eq!(get(&address, "/", "").body, pid, "the same process answers");
    }
    assert_eq!(proxy.get("/v1/runs?service=shop")[0]["instances"][0]["pid"].to_string(), pid);
    assert_eq!(proxy.call("POST", "/v1/shutdown?instances=stop", "").0, 204);
    until("the last process ends", || (!proxy.data.path().join("admin.sock").exists()).then_some(()));
}

#[test]
fn a_data_directory_with_too_long_a_path_is_refused_with_a_reason() {
    let home = tempfile::tempdir().expect("directory");
    let ended = spawn(&home.path().join("x".repeat(100))).wait_with_output().expect("ended");
    let words = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(!ended.status.success() && words.contains("at most 107"), "{words}");
}

#[test]
fn sigterm_finishes_what_is_in_flight_and_then_ends_the_process() {
    let gate = Arc::new(AtomicBool::new(false));
    let open = Arc::clone(&gate);
    let slow = Instance::start(move |_, stream| {
        until("the test goes on", || open.load(Ordering::Relaxed).then_some(()));
        reply(stream, "200 OK", "whole")
    });
    let mut proxy = Proxy::start();
    let limits = json!({"limits": {"drain_ms": 10_000}});
    proxy.put(&with(table(1, &[("v1", 10_000, &[&slow.address])]), &limits));
    let address = proxy.address();
    let mut user = User::connect(&address);
    user.send(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n");
    until("it is in flight", || (slow.requests() == 1).then_some(()));
    let killed = Command::new("kill").arg(proxy.pid().to_string()).status().expect("kill");
    assert!(killed.success());
    until("nobody listens any more", || std::net::TcpStream::connect(&address).is_err().then_some(()));
    gate.store(true, Ordering::Relaxed);
    let answer = user.answer().expect("an answer");
    assert_eq!((answer.body.as_str(), answer.header("connection").as_deref()), ("whole", Some("close")));
    assert!(proxy.wait());
    assert!(!proxy.data.path().join("admin.sock").exists());
}
