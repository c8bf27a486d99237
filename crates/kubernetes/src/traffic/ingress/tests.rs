//! The second Ingress: what it takes from the first, and what it says.

use super::*;
use crate::traffic::fixture::{ENDS, cookie, exact};

fn path(path: &str, service: &str, port: &Value) -> Value {
    json!({"path": path, "pathType": "Prefix", "backend": {"service": {"name": service, "port": port}}})
}

fn users() -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "Ingress",
        "metadata": {
            "namespace": "web",
            "name": "shop",
            "uid": "1",
            "annotations": {
                "nginx.ingress.kubernetes.io/rewrite-target": "/",
                "nginx.ingress.kubernetes.io/affinity": "cookie",
                "nginx.ingress.kubernetes.io/session-cookie-name": "s",
                "other/one": "x",
            },
        },
        "spec": {
            "ingressClassName": "nginx",
            "tls": [{"hosts": ["shop.example"], "secretName": "shop"}],
            "rules": [
                {"host": "shop.example", "http": {"paths": [
                    path("/cart", "cart", &json!({"number": 80})),
                    path("/", "shop", &json!({"number": 80})),
                    path("/admin", "shop", &json!({"number": 9_090})),
                ]}},
                {"host": "cart.example", "http": {"paths": [path("/", "cart", &json!({"number": 80}))]}},
                {"host": "old.example", "http": {"paths": [path("/", "shop", &json!({"name": "http"}))]}},
            ],
        },
    })
}

fn wanted(basis_points: u16) -> Wanted<'static> {
    let share = Share::from_basis_points(basis_points).unwrap();
    Wanted { ends: ENDS, share, mirror: Share::NONE, testers: &[] }
}

fn seen(object: &Value, name: &str) -> Option<String> {
    annotation(object, name).map(str::to_owned)
}

#[test]
fn the_second_ingress_has_our_paths_and_what_nginx_does_not_take_from_the_first() {
    let second = canary(&users(), &wanted(500), "shop-b").unwrap().unwrap();
    assert_eq!(
        second,
        json!({
            "apiVersion": "networking.k8s.io/v1",
            "kind": "Ingress",
            "metadata": {"namespace": "web", "name": "shop-b", "annotations": {
                "nginx.ingress.kubernetes.io/affinity": "cookie",
                "nginx.ingress.kubernetes.io/session-cookie-name": "s",
                "nginx.ingress.kubernetes.io/canary": "true",
                "nginx.ingress.kubernetes.io/canary-weight": "5",
            }},
            "spec": {"ingressClassName": "nginx", "rules": [
                {"host": "shop.example", "http": {"paths": [path("/", "shop-b", &json!({"number": 80}))]}},
                {"host": "old.example", "http": {"paths": [path("/", "shop-b", &json!({"name": "http"}))]}},
            ]},
        })
    );
}

#[test]
fn the_share_is_read_back_as_written_to_the_basis_point() {
    for points in (1..=10_000).step_by(7).chain([100, 9_900, 10_000]) {
        let second = canary(&users(), &wanted(points), "c").unwrap();
        assert_eq!(read(second.as_ref(), &ENDS).unwrap().share.basis_points(), points);
        let total = seen(second.as_ref().unwrap(), "canary-weight-total");
        assert_eq!(total.is_some(), points % 100 != 0, "old controllers read whole percents");
    }
    assert_eq!(read(None, &ENDS).unwrap().share, Share::NONE);
    let mut second = canary(&users(), &wanted(500), "c").unwrap().unwrap();
    let other = Ends { new: Some("shop-c"), ..ENDS };
    assert_eq!(read(Some(&second), &other).unwrap().share, Share::NONE, "another release's");
    second["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"] = json!("five");
    assert!(read(Some(&second), &ENDS).unwrap_err().to_string().contains("canary-weight"));
}

#[test]
fn without_a_share_and_testers_there_is_no_second_ingress() {
    assert_eq!(canary(&users(), &wanted(0), "c").unwrap(), None);
    let alone = Wanted { ends: Ends { new: None, ..ENDS }, ..wanted(0) };
    assert_eq!(canary(&users(), &alone, "c").unwrap(), None);
}

#[test]
fn testers_are_one_header_and_one_cookie() {
    let with = |testers: &[TesterMatch]| canary(&users(), &Wanted { testers, ..wanted(0) }, "c");
    let regex = TesterMatch::Header { name: "x-qa".to_owned(), value: HeaderValue::Regex("^a".to_owned()) };
    let both = with(&[exact("x-qa", "1"), cookie("qa", "always")]).unwrap().unwrap();
    let marks = |object: &Value| {
        [
            "canary-weight",
            "canary-by-header",
            "canary-by-header-value",
            "canary-by-header-pattern",
            "canary-by-cookie",
        ]
        .map(|name| seen(object, name).unwrap_or_default())
    };
    assert_eq!(marks(&both), ["0", "x-qa", "1", "", "qa"]);
    assert_eq!(marks(&with(&[regex]).unwrap().unwrap()), ["0", "x-qa", "", "^a", ""]);
    let valued = marks(&with(&[cookie("qa", "a.b")]).unwrap().unwrap());
    assert_eq!(valued, ["0", "Cookie", "", r"(^|\x3B\s*)qa=a\.b(\x3B|$)", ""]);
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || r"-._~/:^$[](){}*+?|&=\".contains(letter);
    assert!(valued[3].chars().all(allowed), "the controller's own check of patterns");
    let error = with(&[exact("x-qa", "1"), exact("x-qb", "1")]).unwrap_err().to_string();
    assert!(error.contains("ingress-nginx cannot") && error.contains("one header"), "{error}");
}

#[test]
fn what_nginx_cannot_do_is_refused_with_a_way_out() {
    let mirror = Wanted { mirror: Share::percent(1), ..wanted(0) };
    assert!(canary(&users(), &mirror, "c").unwrap_err().to_string().contains("Gateway API or Istio"));
    let mut theirs = users();
    theirs["metadata"]["annotations"]["nginx.ingress.kubernetes.io/canary-weight"] = json!("3");
    assert!(canary(&theirs, &wanted(1), "c").unwrap_err().to_string().contains("canary-weight"));
    let mut foreign = users();
    foreign["spec"]["rules"] = json!([{"http": {"paths": [path("/", "cart", &json!({"number": 80}))]}}]);
    foreign["spec"]["defaultBackend"] = json!({"service": {"name": "shop", "port": {"number": 80}}});
    let error = canary(&foreign, &wanted(1), "c").unwrap_err().to_string();
    assert!(error.contains("cart:80, a default backend, which nginx cannot divide"), "{error}");
    assert!(
        canary(&json!({"kind": "Service"}), &wanted(1), "c").unwrap_err().to_string().contains("Ingress")
    );
}
