//! What the control thread does to traffic: lease, hold, maintenance, health, instances that come and go.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde_json::{Value, json};

use crate::instance::{Instance, reply};
use crate::process::{Proxy, table, until, with};
use crate::user::{User, get};

fn free_port() -> String {
    TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("address").to_string()
}

#[test]
fn when_the_lease_ends_all_traffic_returns_to_stable_and_a_restart_does_not_undo_it() {
    let (stable, canary) = (Instance::named("stable"), Instance::named("canary"));
    let mut proxy = Proxy::start();
    let tester = json!({"when": [{"header": {"name": "x-tester", "value": null}}], "release": "v2"});
    let canaries = |generation| {
        let routes =
            [("v1", 0, &[stable.address.as_str()][..]), ("v2", 10_000, &[canary.address.as_str()][..])];
        with(table(generation, &routes), &json!({"lease_ms": 400, "rules": [tester]}))
    };
    proxy.put(&canaries(1));
    let address = proxy.address();
    let renewal = json!({"epoch": 1, "services": ["shop"]});
    let begun = Instant::now();
    while begun.elapsed().as_millis() < 900 {
        assert_eq!(proxy.ask("POST", "/v1/lease", &renewal).0, 204);
        assert_eq!(get(&address, "/", "").body, "canary", "the lease is held");
    }
    until("traffic returns", || (get(&address, "/", "").body == "stable").then_some(()));
    assert_eq!(get(&address, "/", "X-Tester: 1\r\n").body, "stable", "rules return too");
    let status = proxy.get("/v1/services/shop");
    assert_eq!(
        (&status["weights"], &status["table"]["releases"][1]["weight"]),
        (&json!([10_000, 0]), &json!(10_000))
    );
    assert!(status["lease"]["ended"]["at_unix_ms"].as_i64() > Some(0), "{status}");
    proxy.ask("POST", "/v1/lease", &renewal);
    proxy.put(&canaries(1));
    assert_eq!(
        get(&address, "/", "").body,
        "stable",
        "a late renewal or a repeat does not bring the canary back"
    );
    proxy.kill();
    proxy.start_again();
    assert_eq!(proxy.get("/v1/services/shop")["weights"], json!([10_000, 0]));
    proxy.put(&canaries(2));
    assert_eq!(get(&proxy.address(), "/", "").body, "canary", "a newer generation does");
}

#[test]
fn held_requests_are_released_at_once_when_the_mode_changes_and_are_bounded() {
    let instance = Instance::named("a");
    let proxy = Proxy::start();
    let routes: [(&str, u16, &[&str]); 1] = [("v1", 10_000, &[&instance.address])];
    let hold = |generation, wait_max_ms: u64| {
        let mode = json!({"mode": {"hold": {"wait_max_ms": wait_max_ms, "requests_max": 2}}});
        with(table(generation, &routes), &mode)
    };
    proxy.put(&hold(1, 60_000));
    let address = proxy.address();
    let held: Vec<_> = (0..2)
        .map(|_| {
            let address = address.clone();
            // The look below may have taken the place for a moment: then ask again.
            let ask = move || Some(get(&address, "/", "")).filter(|answer| answer.status != 503);
            std::thread::spawn(move || until("a held request is answered", ask))
        })
        .collect();
    let refused = until("the places are taken", || {
        let mut user = User::connect(&address);
        user.stream().set_read_timeout(Some(std::time::Duration::from_millis(100))).expect("timeout");
        user.send(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n");
        user.answer()
    });
    assert_eq!((refused.status, instance.requests()), (503, 0));
    proxy.put(&table(2, &routes));
    for user in held {
        assert_eq!(user.join().expect("answered").status, 200);
    }
    proxy.put(&hold(3, 50));
    let late = get(&address, "/", "");
    assert_eq!((late.status, late.body.as_str()), (503, "held for too long\n"));
}

#[test]
fn in_maintenance_everybody_gets_the_page_but_testers_pass() {
    let instance = Instance::named("a");
    let proxy = Proxy::start();
    let page = json!({
        "mode": {"maintenance": {"status": 503, "body": "<h1>back soon</h1>", "retry_after_s": 120}},
        "rules": [{"when": [{"cookie": {"name": "tester", "value": "yes"}}], "release": "v1"}],
    });
    proxy.put(&with(table(1, &[("v1", 10_000, &[&instance.address])]), &page));
    let address = proxy.address();
    let user = get(&address, "/", "");
    assert_eq!((user.status, user.body.as_str()), (503, "<h1>back soon</h1>"));
    assert_eq!(user.header("retry-after").as_deref(), Some("120"));
    assert!(user.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
    assert_eq!(get(&address, "/", "Cookie: tester=yes\r\n").body, "a");
}

#[test]
fn probes_take_an_unhealthy_endpoint_out_and_bring_it_back() {
    let sick = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&sick);
    let one = Instance::start(move |seen, stream| {
        let bad = seen.head.starts_with("GET /health") && flag.load(Ordering::Relaxed);
        reply(stream, if bad { "500 Sick" } else { "200 OK" }, "one")
    });
    let two = Instance::named("two");
    let proxy = Proxy::start();
    let health = json!({"health": {"active":
        {"path": "/health", "interval_ms": 20, "timeout_ms": 1000, "rise": 2, "fall": 2}}});
    proxy.put(&with(table(1, &[("v1", 10_000, &[&one.address, &two.address])]), &health));
    let healthy = |count: u64| {
        until("the number of healthy endpoints", || {
            (proxy.get("/v1/services/shop")["healthy"][0] == count).then_some(())
        });
    };
    healthy(2);
    sick.store(true, Ordering::Relaxed);
    healthy(1);
    let address = proxy.address();
    assert!((0..20).all(|_| get(&address, "/", "").body == "two"));
    sick.store(false, Ordering::Relaxed);
    healthy(2);
    until("the first one serves again", || (get(&address, "/", "").body == "one").then_some(()));
}

#[test]
fn a_user_does_not_see_a_canary_that_cannot_be_reached_but_the_counters_do() {
    let stable = Instance::named("stable");
    let dead = free_port();
    let proxy = Proxy::start();
    proxy.put(&table(1, &[("v1", 5_000, &[&stable.address]), ("v2", 5_000, &[&dead])]));
    let mut user = User::connect(&proxy.address());
    assert!((0..100).all(|_| user.get("/", "").body == "stable"));
    let failures = proxy.counters("v2")["failures"]["connect"].as_u64().expect("a count");
    assert!((20..80).contains(&failures), "half of 100, is {failures}");
    proxy.put(&table(2, &[("v1", 10_000, &[&dead])]));
    let alone = user.get("/", "");
    assert_eq!((alone.status, alone.release()), (502, "v1".to_owned()));
    proxy.put(&table(3, &[("v1", 10_000, &[])]));
    assert_eq!(user.get("/", "").status, 503);
    proxy.put(&table(4, &[]));
    assert_eq!(user.get("/", "").status, 503);
    let unrouted = proxy.get("/v1/counters?service=shop")["services"][0]["unrouted"].clone();
    assert_eq!(unrouted, json!(2));
}

#[test]
fn an_endpoint_that_keeps_failing_is_ejected_while_another_serves() {
    let broken = Instance::start(|_, _| false);
    let good = Instance::named("good");
    let proxy = Proxy::start();
    let passive = json!({"health": {"passive": {"consecutive_failures": 3, "eject_ms": 60_000}}});
    proxy.put(&with(table(1, &[("v1", 10_000, &[&broken.address, &good.address])]), &passive));
    let address = proxy.address();
    assert!((0..60).all(|_| get(&address, "/", "").status == 200), "requests without a body are tried again");
    until("it is ejected", || {
        get(&address, "/", "");
        (proxy.get("/v1/services/shop")["healthy"][0] == 1).then_some(())
    });
    let before = broken.requests();
    assert!((0..30).all(|_| get(&address, "/", "").body == "good"));
    assert_eq!(broken.requests(), before);
}

pub(crate) fn run(generation: u64, directory: &str, instances: u32) -> Value {
    let script = "import http.server,os,time\n\
        class H(http.server.BaseHTTPRequestHandler):\n\
        \x20 protocol_version='HTTP/1.1'\n\
        \x20 def do_GET(self):\n\
        \x20  time.sleep(0.05)\n\
        \x20  b=str(os.getpid()).encode()\n\
        \x20  self.send_response(200);self.send_header('Content-Length',str(len(b)));self.end_headers();self.wfile.write(b)\n\
        \x20 def log_message(self,*a): pass\n\
        http.server.ThreadingHTTPServer(('127.0.0.1',int(os.environ['PORT'])),H).serve_forever()\n";
    json!({
        "epoch": 1, "generation": generation, "instances": instances,
        "kind": {"command": {"argv": ["python3", "-c", script], "directory": directory}},
        "ready": {"probe": {"http": "/"}, "interval_ms": 20, "timeout_ms": 2000, "successes": 1,
            "min_healthy_ms": 0, "deadline_ms": 20_000},
        "stop": {"signal": "TERM", "grace_ms": 2000},
    })
}

#[test]
fn supervised_instances_come_and_go_without_a_failed_request() {
    let proxy = Proxy::start();
    let home = proxy.data.path().to_str().expect("path").to_owned();
    for release in ["v1", "v2"] {
        let (status, answer) = proxy.ask("PUT", &format!("/v1/runs/shop/{release}"), &run(1, &home, 1));
        assert_eq!(status, 200, "{answer}");
    }
    let routes = |generation: u64, old: u16, new: u16| {
        let route = |release: &str, weight: u16| json!({"release": release, "weight": weight, "backend": "supervised"});
        with(
            table(generation, &[]),
            &json!({"releases": [route("v1", old), route("v2", new)], "stable": "v1"}),
        )
    };
    proxy.put(&routes(1, 10_000, 0));
    until("both are ready", || (proxy.get("/v1/services/shop")["healthy"] == json!([1, 1])).then_some(()));
    let address = proxy.address();
    let stop = Arc::new(AtomicBool::new(false));
    let load: Vec<_> = (0..4)
        .map(|_| {
            let (address, stop) = (address.clone(), Arc::clone(&stop));
            std::thread::spawn(move || {
                let mut user = User::connect(&address);
                let mut releases = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    let answer = user.get("/", "");
                    assert_eq!(answer.status, 200);
                    releases.push(answer.release());
                }
                releases
            })
        })
        .collect();
    proxy.put(&routes(2, 0, 10_000));
    assert_eq!(proxy.call("DELETE", "/v1/runs/shop/v1?epoch=1", "").0, 204);
    until("the old release is gone", || {
        let runs = proxy.get("/v1/runs?service=shop");
        (runs.as_array().is_some_and(|runs| runs.len() == 1)).then_some(())
    });
    stop.store(true, Ordering::Relaxed);
    let seen: Vec<String> =
        load.into_iter().flat_map(|user| user.join().expect("no failed request")).collect();
    assert_eq!(seen.last().map(String::as_str), Some("v2"));
    assert_eq!(proxy.call("POST", "/v1/shutdown?instances=stop", "").0, 204);
}

#[test]
fn an_endpoint_that_left_the_table_is_cut_when_its_time_to_drain_is_over() {
    let endless = Instance::start(|_, stream| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n");
        std::thread::park();
        false
    });
    let other = Instance::named("other");
    let proxy = Proxy::start();
    let limits = json!({"limits": {"drain_ms": 200}});
    proxy.put(&with(table(1, &[("v1", 10_000, &[&endless.address])]), &limits));
    let mut user = User::connect(&proxy.address());
    user.send(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n");
    user.head().expect("a head");
    assert_eq!(user.chunk().flatten().as_deref(), Some(&b"hi"[..]));
    proxy.put(&with(table(2, &[("v1", 10_000, &[&other.address])]), &limits));
    assert_eq!(get(&proxy.address(), "/", "").body, "other");
    assert_eq!(user.rest(), b"", "the answer is cut, and does not look complete");
}
