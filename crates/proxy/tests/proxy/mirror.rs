//! Mirroring: copies, comparison, bounds.

use serde_json::{Value, json};

use crate::instance::{Instance, reply};
use crate::process::{Proxy, table, until, with};
use crate::user::{User, get};

fn mirrored(proxy: &Proxy) -> Value {
    proxy.get("/v1/counters?service=shop")["services"][0]["mirror"].clone()
}

fn mirroring(stable: &Instance, shadow: &Instance, mirror: &Value) -> Value {
    let table = table(1, &[("v1", 10_000, &[&stable.address]), ("shadow", 0, &[&shadow.address])]);
    let mut all = json!({"release": "shadow", "share": 10_000});
    for (key, value) in mirror.as_object().expect("an object") {
        all[key] = value.clone();
    }
    with(table, &json!({"mirror": all}))
}

#[test]
fn copies_are_compared_and_marked_and_users_see_none_of_it() {
    let body = |at: u32, price: u32| json!({"at": at, "price": price}).to_string();
    let stable = Instance::start(move |_, stream| reply(stream, "200 OK", &body(1, 7)));
    let shadow = Instance::start(move |seen, stream| match seen.head.split(' ').nth(1) {
        Some("/status") => reply(stream, "500 Oh", "x"),
        Some("/price") => reply(stream, "200 OK", &body(2, 8)),
        _ => reply(stream, "200 OK", &body(2, 7)),
    });
    let proxy = Proxy::start();
    let options = json!({"json": {"pointers": ["/at"]}, "methods": ["GET", "POST"], "body_max": 1000});
    proxy.put(&mirroring(&stable, &shadow, &options));
    let mut user = User::connect(&proxy.address());
    for path in ["/same", "/status", "/price"] {
        assert_eq!(user.get(path, "").body, r#"{"at":1,"price":7}"#);
    }
    user.send(b"POST /same HTTP/1.1\r\nHost: shop\r\nContent-Length: 4\r\n\r\nbody");
    assert_eq!(user.answer().expect("an answer").status, 200);
    user.send(
        format!("POST / HTTP/1.1\r\nHost: shop\r\nContent-Length: 1001\r\n\r\n{}", "x".repeat(1001))
            .as_bytes(),
    );
    assert_eq!(user.answer().expect("an answer").status, 200);
    until("four copies are compared", || (mirrored(&proxy)["answered"] == 4).then_some(()));
    let mirror = mirrored(&proxy);
    let counts = ["status_differs", "body_differs", "too_large", "failed"].map(|name| mirror[name].as_u64());
    assert_eq!(counts, [Some(1), Some(1), Some(1), Some(0)]);
    let mut examples: Vec<&str> =
        mirror["examples"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
    examples.sort_unstable();
    assert_eq!(examples, ["GET /price: body differs", "GET /status: 200/500"]);
    let copies = shadow.seen.lock().expect("log").clone();
    assert!(copies.iter().all(|copy| copy.header("x-tidegate-shadow").as_deref() == Some("1")));
    assert!(copies.iter().any(|copy| copy.body == b"body"));
}

#[test]
fn a_shadow_that_never_answers_costs_users_nothing_and_copies_are_bounded() {
    let stable = Instance::named("stable");
    let shadow = Instance::start(|_, _| {
        std::thread::park();
        false
    });
    let proxy = Proxy::start();
    proxy.put(&mirroring(&stable, &shadow, &json!({"in_flight_max": 4, "timeout_ms": 60_000})));
    let address = proxy.address();
    assert!((0..50).all(|_| get(&address, "/", "").body == "stable"));
    until("copies are dropped", || (mirrored(&proxy)["dropped"] == 46).then_some(()));
    until("the others wait", || (shadow.requests() == 4).then_some(()));
}
