//! Gates that ask somebody else than the proxy: the instances themselves, a real Prometheus, a web page, a program.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::TcpListener,
    path::PathBuf,
    thread,
};

use crate::support::{Project, Prometheus, until};

/// Failures that the proxy cannot see: the answers say 200.
const HIDDEN: [&str; 2] = ["--hidden-error-percent", "50"];

/// What the instances count, by the release that their label names.
fn counters(release: &str) -> String {
    format!("requests: 'sample_requests_total{release}', failures: 'sample_failures_total{release}'")
}

/// A first release with users, and from then on these metrics and gates besides no other.
fn running(shop: &mut Project, metrics: &str, gates: &str) {
    shop.deploy().code(0);
    let off =
        "latency_p95: off, latency_p99: off, latency_shift: off, cpu: off, memory: off, request_rate: off";
    shop.with("metrics", metrics)
        .with("gates", &format!("{{{gates}, {off}}}"))
        .with("judgement", "{warmup: 0s, max_dwell: 2s}");
}

#[test]
fn failures_that_only_the_instances_know_of_turn_a_release_back() {
    let mut shop = Project::new();
    let scrape = format!("{{app: {{every: 500ms, scrape: {{{}, latency: sample_seconds}}}}}}", counters(""));
    running(&mut shop, &scrape, "error_rate: {metric: app, hold_max: 20s}");
    let users = shop.users(200);
    shop.version("v2").bake("50%", "2s").deploy().code(0);
    shop.version("v3").faults(&HIDDEN).bake("20%", "30s");
    shop.deploy().code(4).says("error_rate").says("1 of 100 is allowed");
    assert_eq!(users.leave()["failed"], 0, "no user saw a failure");
    assert_eq!(shop.asks().as_deref(), Some("v2"));
}

#[test]
fn raw_counters_of_a_prometheus_turn_a_release_back() {
    let mut shop = Project::new();
    let prometheus = Prometheus::of(&shop);
    let asked = format!(
        "address: '{}', lookback: 30s, {}",
        prometheus.address(),
        counters("{release=\"{{release}}\"}")
    );
    let metrics = format!("{{app: {{every: 500ms, prometheus: {{{asked}}}}}}}");
    running(&mut shop, &metrics, "error_rate: {metric: app, hold_max: 30s}");
    let _users = shop.users(200);
    let id = shop.version("v2").faults(&HIDDEN).bake("20%", "30s").begin();
    shop.reaches(&id, "canary_waiting");
    prometheus.scrape(&shop);
    shop.reaches(&id, "rolled_back");
    shop.run(&["why", &id]).code(0).says("error_rate").says("1 of 100 is allowed");
}

#[test]
fn a_condition_on_a_query_turns_a_release_back_and_lets_a_good_one_pass() {
    let mut shop = Project::new();
    let prometheus = Prometheus::of(&shop);
    let rate = |name: &str| format!("sum(rate({name}{{release=\"{{{{release}}}}\"}}[4s]))");
    let query = format!("{} / {}", rate("sample_failures_total"), rate("sample_requests_total"));
    let asked = format!("address: '{}', query: '{query}'", prometheus.address());
    let metrics = format!("{{failing: {{every: 500ms, prometheus: {{{asked}}}}}}}");
    let gates = "error_rate: off, custom: {orders: {metric: failing, failure: 'result > 20%', unit: ratio, hold_max: 30s}}";
    running(&mut shop, &metrics, gates);
    let _users = shop.users(200);
    for (version, faults, end) in [("v2", &[][..], "verified"), ("v3", &HIDDEN[..], "rolled_back")] {
        let id = shop.version(version).faults(faults).bake("50%", "1s").begin();
        shop.reaches(&id, "canary_evaluating");
        prometheus.scrape(&shop);
        shop.reaches(&id, end);
        if end == "rolled_back" {
            shop.run(&["why", &id]).code(0).says("orders").says("result > 20%");
        }
    }
}

#[test]
fn a_web_page_and_a_program_let_a_release_pass_or_turn_it_back() {
    let mut shop = Project::new();
    let (page, printed) = (shop.root().join("page.json"), shop.root().join("printed.json"));
    let depth = |of: &PathBuf, depth: u32| {
        fs::write(of, format!("{{\"queue\": {{\"depth\": {depth}}}}}")).expect("a file");
    };
    let metrics = format!(
        "{{page: {{every: 500ms, web: {{address: '{}', path: $.queue.depth}}}}, \
         printed: {{every: 500ms, command: {{argv: [cat, printed.json], path: $.queue.depth}}}}}}",
        serve(page.clone())
    );
    let gates = "error_rate: off, custom: {web: {metric: page, success: result < 5}, \
                 command: {metric: printed, failure: result >= 5}}";
    running(&mut shop, &metrics, gates);
    for (version, seen, ran, failed) in
        [("v2", 3, 3, None), ("v3", 9, 3, Some("`page` is 9")), ("v4", 3, 7, Some("`printed` is 7"))]
    {
        depth(&page, seen);
        depth(&printed, ran);
        let ended = shop.version(version).deploy();
        match failed {
            None => ended.code(0),
            Some(reason) => ended.code(4).says(reason),
        };
    }
    assert_eq!(shop.asks().as_deref(), Some("v2"));
}

#[test]
fn a_source_that_goes_away_holds_a_release_until_it_is_back() {
    let mut shop = Project::new();
    let mut prometheus = Prometheus::of(&shop);
    let asked = format!("address: '{}', query: 'min(up)'", prometheus.address());
    let metrics = format!("{{up: {{every: 500ms, prometheus: {{{asked}}}}}}}");
    let gates = "error_rate: off, custom: {targets: {metric: up, success: result == 1, hold_max: 60s}}";
    running(&mut shop, &metrics, gates);
    prometheus.scrape(&shop);
    let id = shop.version("v2").bake("50%", "3s").begin();
    shop.reaches(&id, "canary_waiting");
    prometheus.kill();
    until(|| shop.events(&id).iter().any(|kind| kind == "held"), || shop.run(&["history", &id]).stdout);
    shop.run(&["why", &id]).code(0).says("`min(up)`").says("no connection could be made");
    assert_eq!(shop.state(&id), "canary_evaluating");
    prometheus.start();
    shop.reaches(&id, "verified");
}

/// A page with what is in this file, as long as the tests run.
fn serve(file: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}/", listener.local_addr().expect("an address"));
    thread::spawn(move || {
        for mut user in listener.incoming().flatten() {
            // One line of the request is enough: nobody asks for anything else.
            let mut asked = [0; 4];
            if user.read_exact(&mut asked).is_err() {
                continue;
            }
            let body = fs::read_to_string(&file).unwrap_or_default();
            let head =
                format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            // Whoever left is not answered.
            drop(user.write_all((head + &body).as_bytes()));
        }
    });
    address
}

#[test]
fn a_release_that_does_not_fix_its_incident_goes_back_at_the_end_of_the_watch() {
    let mut shop = Project::new();
    let backlog = shop.root().join("backlog");
    fs::write(&backlog, "40").expect("to write");
    let metrics = format!(
        "{{backlog: {{every: 500ms, command: {{argv: [/bin/cat, '{}']}}}}, app: {{scrape: {{{}}}}}}}",
        backlog.display(),
        counters("")
    );
    running(&mut shop, &metrics, "error_rate: off");
    shop.with("watch", "2s");
    let fix = ["deploy", "--incident", "INC-42", "--fixed-when", "backlog: result < 10"];
    shop.version("v2").write().run(&fix).code(4).says("INC-42");
    shop.run(&["deploy", "--incident", "INC-42", "--fixed-when", "other: result < 10"])
        .code(2)
        .complains("`other`");
    shop.run(&["deploy", "--incident", "INC-42", "--fixed-when", "backlog: result <"])
        .code(2)
        .complains("column");
    for (incident, fixed, said) in [
        ("INC-42", "backlg: result < 10", "did you mean `backlog`?"),
        ("INC-42", "app: result < 10", "which has counters"),
        (" ", "backlog: result < 10", "needs the incident's id"),
    ] {
        shop.run(&["deploy", "--incident", incident, "--fixed-when", fixed]).code(2).complains(said);
    }
    fs::write(&backlog, "3").expect("to write");
    shop.version("v3").write().run(&fix).code(0);
}
