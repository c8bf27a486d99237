//! Users and instances that do not behave.

use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;

use crate::instance::{Instance, reply};
use crate::process::{Proxy, table, until, with};
use crate::user::{User, get};

/// Raw requests that another program could read differently: each must be refused, or reach the instance as exactly one
/// plain request, and never make a second one.
pub(crate) const SMUGGLING: [(&str, &str); 20] = [
    (
        "length, then chunked",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nG",
    ),
    (
        "chunked, then length",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nG",
    ),
    (
        "two lengths",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nContent-Length: 34\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a list of lengths",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0, 34\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a signed length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +34\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "a negative length",
        "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    (
        "HTTP/1.0 chunked",
        "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
    ),
    ("an unknown coding", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
    (
        "chunked twice",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    ),
    (
        "chunked, identity",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    ),
    ("gzip, chunked", "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n"),
    (
        "a space before the colon",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ),
    ("a folded header", "POST / HTTP/1.1\r\nHost: a\r\nX: b\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    ("a bare CR in a header", "GET / HTTP/1.1\r\nHost: a\r\nX: b\rTransfer-Encoding: chunked\r\n\r\n"),
    ("a NUL in a header", "GET / HTTP/1.1\r\nHost: a\r\nX: b\0c\r\n\r\n"),
    ("no host", "GET / HTTP/1.1\r\nX: y\r\n\r\n"),
    ("two hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"),
    ("CONNECT", "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\n\r\n"),
    (
        "a broken chunk",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nGET /smuggled HTTP/1.1\r\n\r\n",
    ),
    (
        "an overflowing chunk",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffffffffffffffff0\r\nGET /smuggled HTTP/1.1\r\n\r\n",
    ),
];

#[test]
fn requests_that_can_be_read_in_two_ways_never_reach_an_instance_whole() {
    let instance = Instance::named("a");
    let proxy = Proxy::start();
    proxy.put(&table(1, &[("v1", 10_000, &[&instance.address])]));
    let address = proxy.address();
    for (name, bytes) in SMUGGLING {
        let before = instance.requests();
        let mut user = User::connect(&address);
        user.send(bytes.as_bytes());
        // A body that never parses ends when the user closes his half.
        user.stream().shutdown(std::net::Shutdown::Write).expect("half closed");
        let said = String::from_utf8_lossy(&user.rest()).into_owned();
        assert!(!said.contains("200 OK"), "{name}: {said}");
        assert!(
            said.is_empty() || said.starts_with("HTTP/1.1 4") || said.starts_with("HTTP/1.0 4"),
            "{name}: {said}"
        );
        assert_eq!(instance.requests(), before, "{name}");
    }
    assert_eq!(get(&address, "/", "").body, "a", "the proxy still serves");
}

#[test]
fn what_looks_like_a_second_request_inside_a_body_stays_a_body() {
    let instance = Instance::named("a");
    let proxy = Proxy::start();
    proxy.put(&table(1, &[("v1", 10_000, &[&instance.address])]));
    let mut user = User::connect(&proxy.address());
    let inner =
        "GET /smuggled HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n";
    user.send(
        format!("POST /one HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{inner}", inner.len()).as_bytes(),
    );
    assert_eq!(user.answer().expect("an answer").status, 200);
    assert_eq!(user.get("/two", "").status, 200);
    let heads: Vec<String> =
        instance.seen.lock().expect("log").iter().map(|seen| seen.head.clone()).collect();
    assert!(
        heads.len() == 2 && heads[0].starts_with("POST /one") && heads[1].starts_with("GET /two"),
        "{heads:?}"
    );
}

#[test]
fn an_upgrade_that_was_not_asked_for_is_an_error_and_h2c_is_not_forwarded() {
    let eager = Instance::start(|_, stream| {
        let head = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
        stream.write_all(head).is_ok()
    });
    let proxy = Proxy::start();
    proxy.put(&table(1, &[("v1", 10_000, &[&eager.address])]));
    let address = proxy.address();
    assert_eq!(get(&address, "/", "").status, 502);
    assert_eq!(
        get(&address, "/", "Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: a\r\n")
            .status,
        502
    );
    assert_eq!(eager.last().header("upgrade"), None);
}

/// What an instance does wrong, and what the user sees.
#[test]
fn instances_that_break_off_hang_or_reset_end_in_an_error_of_the_right_class() {
    let half = |bytes: &'static str| {
        move |_: &_, stream: &mut std::net::TcpStream| {
            let _ = stream.write_all(bytes.as_bytes());
            false
        }
    };
    let silent = Instance::start(|_, _| {
        std::thread::park();
        false
    });
    let cases = [
        ("half a head", Instance::start(half("HTTP/1.1 200 OK\r\nContent-Le")), Some(502), "reset"),
        ("nothing", Instance::start(half("")), Some(502), "reset"),
        ("garbage", Instance::start(half("lorem ipsum\r\n\r\n")), Some(502), "reset"),
        (
            "half a body",
            Instance::start(half("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")),
            None,
            "reset",
        ),
        (
            "half of the chunks",
            Instance::start(half("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")),
            None,
            "reset",
        ),
        ("silence", silent, Some(504), "timeout"),
    ];
    let proxy = Proxy::start();
    for (generation, (name, instance, status, class)) in (1..).zip(cases) {
        let limits = json!({"limits": {"response_ms": 300}, "health": {"passive": {"consecutive_failures": 0, "eject_ms": 0}}});
        proxy.put(&with(table(generation, &[(class, 10_000, &[&instance.address])]), &limits));
        let before = proxy.counters(class)["failures"][class].as_u64().unwrap_or(0);
        let mut user = User::connect(&proxy.address());
        user.send(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 0\r\n\r\n");
        assert_eq!(user.answer().map(|answer| answer.status), status, "{name}");
        until(name, || (proxy.counters(class)["failures"][class].as_u64() == Some(before + 1)).then_some(()));
        assert_eq!(instance.requests(), 1, "{name}: a POST is not sent twice");
    }
}

#[test]
fn a_request_without_a_body_is_sent_again_once_when_a_kept_connection_breaks() {
    let first = AtomicBool::new(true);
    let flaky = Instance::start(move |seen, stream| {
        // The connection is closed instead of answering the second request on it, once.
        if seen.head.starts_with("GET /again") && first.swap(false, Ordering::Relaxed) {
            return false;
        }
        reply(stream, "200 OK", "a")
    });
    let proxy = Proxy::start();
    proxy.put(&table(1, &[("v1", 10_000, &[&flaky.address])]));
    let mut user = User::connect(&proxy.address());
    assert_eq!(user.get("/", "").status, 200);
    assert_eq!(user.get("/again", "").status, 200);
    assert_eq!((flaky.requests(), &proxy.counters("v1")["failures"]["reset"]), (3, &json!(0)));
}

#[test]
fn users_that_are_slow_silent_or_never_read_are_cut() {
    let big = Instance::start(|seen, stream| {
        if seen.head.starts_with("GET /big") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            let chunk = format!("10000\r\n{}\r\n", "x".repeat(0x10000));
            while stream.write_all(chunk.as_bytes()).is_ok() {}
            return false;
        }
        reply(stream, "200 OK", "a")
    });
    let proxy = Proxy::start();
    let limits = json!({"limits": {"header_read_ms": 200, "idle_ms": 600}});
    proxy.put(&with(table(1, &[("v1", 10_000, &[&big.address])]), &limits));
    let address = proxy.address();
    let mut half_head = User::connect(&address);
    half_head.send(b"GET / HTTP/1.1\r\nHo");
    let mut idle = User::connect(&address);
    assert_eq!(idle.get("/", "").status, 200);
    let mut half_body = User::connect(&address);
    half_body.send(b"POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\nabc");
    let mut unread = User::connect(&address);
    unread.send(b"GET /big HTTP/1.1\r\nHost: shop\r\n\r\n");
    assert_eq!((half_head.rest(), idle.rest()), (Vec::new(), Vec::new()));
    assert_eq!(half_body.answer().map(|answer| answer.status), Some(408));
    until("the user who never reads is cut", || (proxy.counters("v1")["in_flight"] == 0).then_some(()));
    assert_eq!(proxy.counters("v1")["failures"]["timeout"], 0, "slow users are no failure of the release");
}

#[test]
fn no_more_than_the_bound_of_requests_are_in_flight() {
    let gate = Arc::new(AtomicBool::new(false));
    let open = Arc::clone(&gate);
    let slow = Instance::start(move |_, stream| {
        until("the test goes on", || open.load(Ordering::Relaxed).then_some(()));
        reply(stream, "200 OK", "a")
    });
    let proxy = Proxy::start();
    proxy.put(&with(table(1, &[("v1", 10_000, &[&slow.address])]), &json!({"limits": {"in_flight_max": 2}})));
    let address = proxy.address();
    let mut users: Vec<User> = (0..2).map(|_| User::connect(&address)).collect();
    for user in &mut users {
        user.send(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n");
    }
    until("both are in flight", || (slow.requests() == 2).then_some(()));
    let third = get(&address, "/", "");
    assert_eq!((third.status, third.header("retry-after").as_deref()), (503, Some("1")));
    gate.store(true, Ordering::Relaxed);
    assert!(users.iter_mut().all(|user| user.answer().is_some_and(|answer| answer.status == 200)));
}

#[test]
fn a_user_who_goes_away_ends_the_request_to_the_instance() {
    let gone = Arc::new(AtomicBool::new(false));
    let noticed = Arc::clone(&gone);
    let waiting = Instance::start(move |_, stream| {
        stream.set_read_timeout(Some(Duration::from_secs(20))).expect("timeout");
        let ended = std::io::Read::read(stream, &mut [0]);
        noticed.store(matches!(ended, Ok(0)) || ended.is_err(), Ordering::Relaxed);
        false
    });
    let proxy = Proxy::start();
    proxy.put(&table(1, &[("v1", 10_000, &[&waiting.address])]));
    let mut user = User::connect(&proxy.address());
    user.send(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n");
    until("it is in flight", || (waiting.requests() == 1).then_some(()));
    drop(user);
    until("the instance notices", || gone.load(Ordering::Relaxed).then_some(()));
    until("it is counted", || (proxy.counters("v1")["in_flight"] == 0).then_some(()));
    let counters = proxy.counters("v1");
    assert_eq!((&counters["requests"], &counters["failures"]["reset"]), (&json!(1), &json!(0)));
}
