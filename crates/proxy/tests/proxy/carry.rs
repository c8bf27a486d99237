//! Carrying requests: split, headers, counters, tables.

use serde_json::json;

use crate::instance::Instance;
use crate::process::{Proxy, spawn, table, until, with};
use crate::user::{User, get};

#[test]
fn requests_are_split_by_weight_and_counted_per_release() {
    let (stable, canary) = (Instance::named("stable"), Instance::named("canary"));
    let proxy = Proxy::start();
    proxy.put(&table(1, &[("v1", 7_500, &[&stable.address]), ("v2", 2_500, &[&canary.address])]));
    let mut user = User::connect(&proxy.address());
    let answers: Vec<_> = (0..2_000).map(|_| user.get("/", "")).collect();
    let to_canary =
        answers.iter().filter(|answer| answer.body == "canary" && answer.release() == "v2").count();
    let to_stable =
        answers.iter().filter(|answer| answer.body == "stable" && answer.release() == "v1").count();
    assert_eq!(to_canary + to_stable, 2_000);
    assert!((400..600).contains(&to_canary), "a quarter of 2,000, is {to_canary}");
    until("the last request is counted", || (proxy.counters("v2")["in_flight"] == 0).then_some(()));
    let counters = proxy.counters("v2");
    assert_eq!((&counters["requests"], &counters["bytes_out"]), (&json!(to_canary), &json!(to_canary * 6)));
    let latency: u64 =
        counters["latency_us"].as_array().expect("pairs").iter().filter_map(|pair| pair[1].as_u64()).sum();
    assert_eq!(latency, to_canary as u64);
    assert!(
        stable.connections.load(std::sync::atomic::Ordering::Relaxed) <= 2,
        "connections are kept and used again"
    );
}

#[test]
fn bodies_pass_both_ways_and_headers_tell_where_they_came_from() {
    let echo = Instance::start(|seen, stream| {
        crate::instance::reply(stream, "201 Created", &String::from_utf8_lossy(&seen.body))
    });
    let proxy = Proxy::start();
    proxy.put(&table(1, &[("v1", 10_000, &[&echo.address])]));
    let mut user = User::connect(&proxy.address());
    user.send(b"POST /a?b=c HTTP/1.1\r\nHost: shop\r\nContent-Length: 5\r\nX-Forwarded-For: 9.9.9.9\r\nKeep-Alive: 3\r\n\r\nhello");
    let answer = user.answer().expect("an answer");
    assert_eq!((answer.status, answer.body.as_str()), (201, "hello"));
    user.send(b"POST / HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n");
    assert_eq!(user.answer().expect("an answer").body, "abcde");
    let first = echo.seen.lock().expect("log")[0].clone();
    assert!(first.head.starts_with("POST /a?b=c HTTP/1.1"));
    let headers = ["host", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host", "keep-alive"]
        .map(|name| first.header(name).unwrap_or_default());
    assert_eq!(headers, ["shop", "9.9.9.9, 127.0.0.1", "http", "shop", ""]);
    until("both are counted", || (proxy.counters("v1")["bytes_in"] == 10).then_some(()));
}

#[test]
fn an_older_epoch_or_generation_is_refused_and_a_repeat_changes_nothing() {
    let proxy = Proxy::start();
    let instance = Instance::named("a");
    let at = |epoch: u64, generation: u64| {
        let table =
            with(table(generation, &[("v1", 10_000, &[&instance.address])]), &json!({"epoch": epoch}));
        let (status, body) = proxy.ask("PUT", "/v1/services/shop", &table);
        (status, body["code"].as_str().unwrap_or("").to_owned(), body["changed"].as_bool())
    };
    assert_eq!(at(3, 5), (200, String::new(), Some(true)));
    assert_eq!(at(3, 5), (200, String::new(), Some(false)));
    assert_eq!(at(3, 4), (409, "stale_generation".into(), None));
    assert_eq!(at(2, 9), (409, "stale_epoch".into(), None));
    assert_eq!(at(4, 1), (200, String::new(), Some(true)));
    let delete = |epoch: u64| proxy.call("DELETE", &format!("/v1/services/shop?epoch={epoch}"), "").0;
    assert_eq!((delete(3), delete(4)), (409, 204));
    assert_eq!(at(3, 99).1, "stale_epoch", "a deleted service remembers its epoch");
    assert_eq!(at(4, 2).0, 200);
}

#[test]
fn bad_requests_to_the_admin_socket_are_answered_with_a_reason() {
    let proxy = Proxy::start();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("address").to_string();
    let one = table(1, &[("v1", 10_000, &["127.0.0.1:1"])]);
    let cases = [
        (json!("nonsense"), 400, "cannot understand"),
        (with(one.clone(), &json!({"service": "other"})), 400, "the path names"),
        (table(1, &[("v1", 9_999, &["127.0.0.1:1"])]), 400, "sum to 9999"),
        (table(1, &[("v1", 10_000, &["localhost"])]), 400, "IP:port"),
        (with(one.clone(), &json!({"stable": "v9"})), 400, "v9"),
        (with(one.clone(), &json!({"wieght": 1})), 400, "wieght"),
        (with(one.clone(), &json!({"listen": [{"address": address}]})), 409, "choose another"),
    ];
    for (body, expected, words) in cases {
        let (status, answer) = proxy.ask("PUT", "/v1/services/shop", &body);
        let message = answer["message"].as_str().unwrap_or_default();
        assert!(status == expected && message.contains(words), "{status} {answer}");
    }
    assert_eq!(proxy.call("GET", "/v1/services/shop", "").0, 404, "nothing of it is in force");
    assert_eq!(proxy.call("PATCH", "/v1/nothing", "").0, 404);
    proxy.put(&one);
    let same = json!({"service": "two", "listen": [{"address": proxy.address()}]});
    assert_eq!(proxy.ask("PUT", "/v1/services/two", &with(one, &same)).1["code"], "address_in_use");
}

#[test]
fn tables_survive_kill_9_and_a_second_proxy_on_the_same_data_is_refused() {
    let instance = Instance::named("a");
    let mut proxy = Proxy::start();
    let free =
        std::net::TcpListener::bind("127.0.0.1:0").expect("bound").local_addr().expect("address").to_string();
    proxy.put(&with(
        table(1, &[("v1", 10_000, &[&instance.address])]),
        &json!({"listen": [{"address": free}]}),
    ));
    let second = spawn(proxy.data.path()).wait_with_output().expect("ended");
    let words = String::from_utf8_lossy(&second.stderr).into_owned();
    assert!(!second.status.success() && words.contains(&format!("pid {}", proxy.pid())), "{words}");
    proxy.kill();
    proxy.start_again();
    assert_eq!(get(&free, "/", "").body, "a");
    proxy.kill();
    std::fs::write(proxy.data.path().join("tables/shop.json"), "{\"version\":1").expect("damaged");
    let damaged = spawn(proxy.data.path()).wait_with_output().expect("ended");
    let words = String::from_utf8_lossy(&damaged.stderr).into_owned();
    assert!(!damaged.status.success() && words.contains("shop.json"), "{words}");
}
