//! Routes of all shapes: divided, read back, and put back as they were.

use proptest::prelude::*;

use super::*;
use crate::traffic::fixture::{ENDS, applied, cookie, exact};

fn route(rules: &Value) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"namespace": "web", "name": "shop", "resourceVersion": "41"},
        "spec": {"hostnames": ["shop.example"], "parentRefs": [{"name": "gateway"}], "rules": rules},
    })
}

fn service(name: &str) -> Value {
    json!({"group": "", "kind": "Service", "name": name, "port": 80, "weight": 1})
}

fn weighted(name: &str, weight: u32) -> Value {
    json!({"group": "", "kind": "Service", "name": name, "port": 80, "weight": weight})
}

fn everywhere() -> Value {
    json!([{"path": {"type": "PathPrefix", "value": "/"}}])
}

fn wanted(basis_points: u16) -> Wanted<'static> {
    let share = Share::from_basis_points(basis_points).unwrap();
    Wanted { ends: ENDS, share, mirror: Share::NONE, testers: &[] }
}

fn paths(operations: &[Value]) -> Vec<String> {
    operations
        .iter()
        .map(|one| format!("{} {}", one["op"].as_str().unwrap(), one["path"].as_str().unwrap()))
        .collect()
}

#[test]
fn the_users_only_backend_is_divided_and_comes_back_as_it_was() {
    let redirect = json!({"matches": everywhere(), "filters": [{"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}]});
    let cart = json!({"name": "cart", "matches": everywhere(), "backendRefs": [service("cart")], "timeouts": {"request": "3s"}});
    let ours = json!({"name": "main", "matches": everywhere(), "backendRefs": [service("shop")], "timeouts": {"request": "9s"}});
    let at_rest = route(&json!([redirect, cart, ours]));
    let patch = changes(&at_rest, &wanted(525)).unwrap();
    let ours = "/spec/rules/2/backendRefs";
    let expected = ["test /metadata/resourceVersion".to_owned()].into_iter().chain(
        ["replace", "replace", "add"]
            .into_iter()
            .zip(["0/name", "0/weight", "1"])
            .map(|(op, at)| format!("{op} {ours}/{at}")),
    );
    assert_eq!(paths(&patch), expected.collect::<Vec<_>>());
    let rolling = applied(&at_rest, &patch);
    assert_eq!(rolling.pointer(ours), Some(&json!([weighted("shop-a", 9_475), weighted("shop-b", 525)])));
    assert_eq!(read(&rolling, &ENDS).unwrap().share.basis_points(), 525);
    assert_eq!(changes(&rolling, &wanted(525)).unwrap(), Vec::<Value>::new());
    assert_eq!(paths(&changes(&rolling, &wanted(0)).unwrap()).len(), 3, "two weights");
    assert_eq!(applied(&rolling, &super::at_rest(&rolling, &ENDS).unwrap()), at_rest);
    assert_eq!(read(&at_rest, &ENDS).unwrap(), Seen { share: Share::NONE, mirror: Share::NONE });
}

#[test]
fn testers_get_one_rule_before_each_of_ours_and_copies_one_filter() {
    let api = json!({
        "name": "api",
        "matches": [{"path": {"type": "PathPrefix", "value": "/api"}, "headers": [{"name": "X-Tier", "value": "gold"}]}],
        "filters": [{"type": "RequestHeaderModifier", "requestHeaderModifier": {"remove": ["x"]}}],
        "backendRefs": [service("shop")],
    });
    let foreign = json!({"matches": everywhere(), "backendRefs": [service("cart")]});
    let main = json!({"matches": everywhere(), "backendRefs": [service("shop")]});
    let at_rest = route(&json!([api, foreign, main]));
    let testers = [exact("x-qa", "1"), cookie("qa", "a.b")];
    let mirror = Share::from_basis_points(1_250).unwrap();
    let asked = Wanted { mirror, testers: &testers, ..wanted(0) };
    let patch = changes(&at_rest, &asked).unwrap();
    let rolling = applied(&at_rest, &patch);
    let rules = rolling["spec"]["rules"].as_array().unwrap();
    assert_eq!(rules.len(), 5);
    assert_eq!(rules[2], foreign);
    assert!(!paths(&patch).iter().any(|path| path.contains("rules/2/")), "{:?}", paths(&patch));
    assert_eq!(rules[0].get("name"), None);
    assert_eq!(rules[0]["filters"], api["filters"]);
    assert_eq!(rules[0]["backendRefs"], json!([service("shop-b")]));
    let marks: Vec<&Value> =
        rules[0]["matches"].as_array().unwrap().iter().map(|one| &one["headers"][1]).collect();
    let pattern = r"^(.*; *)?qa=a\.b(;.*)?$";
    assert_eq!(
        marks,
        [
            &json!({"name": "x-qa", "type": "Exact", "value": "1"}),
            &json!({"name": "cookie", "type": "RegularExpression", "value": pattern}),
        ]
    );
    let copies = json!({"type": "RequestMirror", "requestMirror": {
        "backendRef": {"group": "", "kind": "Service", "name": "shop-b", "port": 80},
        "fraction": {"numerator": 1_250, "denominator": 10_000},
    }});
    assert_eq!([&rules[1]["filters"][1], &rules[4]["filters"][0]], [&copies, &copies]);
    assert_eq!(read(&rolling, &ENDS).unwrap(), Seen { share: Share::NONE, mirror });
    assert_eq!(changes(&rolling, &asked).unwrap(), Vec::<Value>::new());
    let fewer = Wanted { testers: &testers[..1], ..asked };
    let after = applied(&rolling, &changes(&rolling, &fewer).unwrap());
    assert_eq!(after["spec"]["rules"].as_array().unwrap().len(), 5, "made anew, not added");
    assert_eq!(applied(&after, &super::at_rest(&after, &ENDS).unwrap()), at_rest);
}

#[test]
fn a_mark_that_a_rule_asks_for_already_is_compared_with_it() {
    let asks = |value: &str, kind: &str| {
        let headers = json!([{"name": "X-QA", "type": kind, "value": value}]);
        route(&json!([{"matches": [{"headers": headers}], "backendRefs": [service("shop")]}]))
    };
    let testers = [exact("x-qa", "1")];
    let asked = Wanted { testers: &testers, ..wanted(0) };
    let rules = |object: Value| {
        applied(&object, &changes(&object, &asked).unwrap())["spec"]["rules"].as_array().unwrap().len()
    };
    assert_eq!(rules(asks("1", "Exact")), 2, "the same");
    assert_eq!(rules(asks("0", "Exact")), 1, "never both");
    let error = changes(&asks("[01]", "RegularExpression"), &asked).unwrap_err().to_string();
    assert!(error.contains("/spec/rules/0/matches/0/headers") && error.contains("another header"), "{error}");
}

#[test]
fn what_cannot_be_done_says_what_to_do() {
    let none =
        route(&json!([{"backendRefs": [service("cart"), {"name": "shop", "port": 9_090}]}, {"matches": []}]));
    let error = changes(&none, &wanted(100)).unwrap_err().to_string();
    assert_eq!(
        error,
        "HTTPRoute web/shop has no rule that points to shop, shop-a, shop-b on port 80 with a weight above 0; it points to \
         cart:80, shop:9090: name `shop` as a backend of the rule that users come in by"
    );
    assert!(matches!(read(&none, &ENDS), Err(RouteError::NotFound { .. })));
    let twice = route(&json!([{"backendRefs": [service("shop"), service("shop")]}]));
    assert!(matches!(changes(&twice, &wanted(100)), Err(RouteError::Ambiguous { .. })));
    let coarse = route(&json!([{"backendRefs": [weighted("shop", 1), weighted("cart", 1_000_000)]}]));
    let error = changes(&coarse, &wanted(500)).unwrap_err().to_string();
    assert!(error.contains("cannot give 5 %") && error.contains("nearest is 0 %"), "{error}");
    for end in [0, 10_000] {
        let rolling = applied(&coarse, &changes(&coarse, &wanted(end)).unwrap());
        assert_eq!(read(&rolling, &ENDS).unwrap().share.basis_points(), end);
    }
    let many: Vec<Value> =
        (0..9).map(|_| json!({"matches": everywhere(), "backendRefs": [service("shop")]})).collect();
    let many = route(&json!(many));
    let testers = [exact("x-qa", "1")];
    let error = changes(&many, &Wanted { testers: &testers, ..wanted(0) }).unwrap_err().to_string();
    assert!(error.contains("18 entries and may have 16"), "{error}");
    changes(&many, &wanted(0)).unwrap();
    let mut old = route(&json!([{"backendRefs": [service("shop")]}]));
    old["metadata"]["resourceVersion"] = Value::Null;
    assert!(changes(&old, &wanted(1)).unwrap_err().to_string().contains("/metadata/resourceVersion"));
    let nobody = Wanted { ends: Ends { new: None, ..ENDS }, ..wanted(1) };
    assert!(matches!(changes(&old, &nobody), Err(RouteError::Nobody { .. })));
    assert!(matches!(changes(&json!({"kind": "Ingress"}), &wanted(1)), Err(RouteError::Malformed { .. })));
    let text = route(&json!([{"backendRefs": [{"name": "shop", "port": 80, "weight": "5"}]}]));
    assert!(
        changes(&text, &wanted(1)).unwrap_err().to_string().contains("/spec/rules/0/backendRefs/0/weight")
    );
}

#[test]
fn rules_that_somebody_else_wrote_meanwhile_are_noticed_and_mended() {
    let main = json!({"matches": everywhere(), "backendRefs": [service("shop")]});
    let at_rest = route(&json!([main, main]));
    let mut half = applied(&at_rest, &changes(&at_rest, &wanted(500)).unwrap());
    half["spec"]["rules"][1] = main;
    assert!(matches!(read(&half, &ENDS), Err(RouteError::Disagree { .. })));
    let mended = applied(&half, &changes(&half, &wanted(500)).unwrap());
    assert_eq!(read(&mended, &ENDS).unwrap().share.basis_points(), 500);
    assert_eq!(applied(&half, &super::at_rest(&half, &ENDS).unwrap()), at_rest);
}

#[test]
fn weights_beside_ours_come_back_also_when_the_annotation_was_lost() {
    let users = json!([weighted("shop", 3), weighted("cart", 1)]);
    let at_rest = route(&json!([{"backendRefs": users}]));
    let mut rolling = applied(&at_rest, &changes(&at_rest, &wanted(1_000)).unwrap());
    let list = &rolling["spec"]["rules"][0]["backendRefs"];
    assert_eq!(*list, json!([weighted("shop-a", 27), weighted("shop-b", 3), weighted("cart", 10)]));
    assert!(rolling["metadata"]["annotations"]["at-rest.tidegate.dev/shop"].is_string());
    assert_eq!(applied(&rolling, &super::at_rest(&rolling, &ENDS).unwrap()), at_rest);
    rolling["metadata"].as_object_mut().unwrap().remove("annotations");
    let back = applied(&rolling, &super::at_rest(&rolling, &ENDS).unwrap());
    assert_eq!(back["spec"]["rules"][0]["backendRefs"], json!([weighted("shop", 30), weighted("cart", 10)]));
}

#[test]
fn weights_beside_ours_are_written_only_when_they_have_to_be() {
    let bare = json!({"name": "cart", "port": 80});
    let at_rest = route(&json!([{"backendRefs": [weighted("shop", 4), bare]}]));
    let list = |object: &Value| object["spec"]["rules"][0]["backendRefs"].clone();
    let rolling = applied(&at_rest, &changes(&at_rest, &wanted(2_500)).unwrap());
    assert_eq!(list(&rolling), json!([weighted("shop-a", 3), weighted("shop-b", 1), bare]));
    // somebody gave the other more meanwhile: what is remembered no longer holds, the proportions do
    let mut moved = applied(&rolling, &changes(&rolling, &wanted(1_000)).unwrap());
    assert_eq!(
        list(&moved),
        json!([weighted("shop-a", 18), weighted("shop-b", 2), {"name": "cart", "port": 80, "weight": 5}])
    );
    assert_eq!(list(&applied(&moved, &super::at_rest(&moved, &ENDS).unwrap())), list(&at_rest));
    moved["spec"]["rules"][0]["backendRefs"][2]["weight"] = json!(7);
    let back = applied(&moved, &super::at_rest(&moved, &ENDS).unwrap());
    assert_eq!(list(&back), json!([weighted("shop", 20), {"name": "cart", "port": 80, "weight": 7}]));
    // the smallest share that fits is never nothing, and the largest never all
    let narrow = route(&json!([{"backendRefs": [weighted("shop", 1), weighted("cart", 1_000)]}]));
    for (points, seen) in [(1, 10), (9_999, 9_990)] {
        let rolling = applied(&narrow, &changes(&narrow, &wanted(points)).unwrap());
        assert_eq!(read(&rolling, &ENDS).unwrap().share.basis_points(), seen);
    }
}

#[test]
fn a_root_that_users_give_nothing_is_left_alone() {
    let parked = json!({"backendRefs": [weighted("shop", 0), weighted("cart", 1)]});
    let at_rest = route(&json!([parked, {"backendRefs": [service("shop")]}]));
    let rolling = applied(&at_rest, &changes(&at_rest, &wanted(2_500)).unwrap());
    assert_eq!(rolling["spec"]["rules"][0], parked);
    assert_eq!(read(&rolling, &ENDS).unwrap().share.basis_points(), 2_500);
    assert!(matches!(changes(&route(&json!([parked])), &wanted(1)), Err(RouteError::NotFound { .. })));
}

#[test]
fn the_root_may_be_the_stable_releases_own_service() {
    let ends = Ends { stable: "shop", ..ENDS };
    let at_rest = route(&json!([{"backendRefs": [service("shop")]}]));
    let rolling = applied(&at_rest, &changes(&at_rest, &Wanted { ends, ..wanted(2_000) }).unwrap());
    assert_eq!(
        rolling["spec"]["rules"][0]["backendRefs"],
        json!([weighted("shop", 8_000), weighted("shop-b", 2_000)])
    );
    assert_eq!(read(&rolling, &ends).unwrap().share.basis_points(), 2_000);
    assert_eq!(applied(&rolling, &super::at_rest(&rolling, &ends).unwrap()), at_rest);
}

/// A backend that is nobody's of ours, though it may look like it.
fn foreign_backend() -> impl Strategy<Value = Value> {
    prop_oneof![
        (0_u32..4, 0_u32..100)
            .prop_map(|(name, weight)| json!({"name": format!("x{name}"), "port": 80, "weight": weight})),
        Just(json!({"name": "shop", "port": 9_090})),
        Just(json!({"name": "shop", "namespace": "other", "port": 80})),
        Just(json!({"kind": "Backend", "group": "example", "name": "shop", "port": 80, "weight": 2_000})),
    ]
}

fn fields() -> impl Strategy<Value = Value> {
    let matches = prop_oneof![
        Just(json!({})),
        Just(json!({"matches": [{"path": {"type": "Exact", "value": "/a"}}]})),
        Just(json!({"matches": [{"headers": [{"name": "x-qa", "value": "1"}]}, {"method": "GET"}]})),
        Just(
            json!({"matches": [{"headers": [{"name": "x-qa", "value": "0"}], "path": {"type": "PathPrefix", "value": "/b"}}]})
        ),
    ];
    let more = prop_oneof![
        Just(json!({})),
        Just(json!({"name": "n", "timeouts": {"request": "1s"}, "retry": {"attempts": 2}})),
        Just(
            json!({"filters": [{"type": "RequestMirror", "requestMirror": {"backendRef": {"name": "audit", "port": 80}}}]})
        ),
    ];
    (matches, more).prop_map(|(mut one, other)| {
        one.as_object_mut().unwrap().extend(other.as_object().unwrap().clone());
        one
    })
}

fn our_backend() -> impl Strategy<Value = Value> {
    let weight = prop_oneof![Just(None), Just(Some(1)), (1_u32..100).prop_map(Some)];
    (weight, any::<bool>()).prop_map(|(weight, spelt)| {
        let mut one = json!({"name": "shop", "port": 80});
        let fields = one.as_object_mut().unwrap();
        fields.extend(weight.map(|weight| ("weight".to_owned(), json!(weight))));
        if spelt {
            fields.insert("kind".to_owned(), json!("Service"));
            fields.insert("namespace".to_owned(), json!("web"));
            fields.insert("filters".to_owned(), json!([{"type": "URLRewrite"}]));
        }
        one
    })
}

/// A rule, and whether it is ours.
fn rule() -> impl Strategy<Value = (Value, bool)> {
    let others = || prop::collection::vec(foreign_backend(), 0..3);
    prop_oneof![
        (fields(), others()).prop_map(|(mut rule, list)| {
            rule["backendRefs"] = json!(list);
            (rule, false)
        }),
        fields().prop_map(|mut rule| {
            rule["filters"] = json!([{"type": "RequestRedirect", "requestRedirect": {"scheme": "https"}}]);
            (rule, false)
        }),
        (fields(), our_backend(), others(), any::<prop::sample::Index>(), any::<bool>()).prop_map(
            |(mut rule, ours, mut list, at, alone)| {
                if alone {
                    list.clear();
                }
                list.insert(at.index(list.len() + 1), ours);
                rule["backendRefs"] = json!(list);
                (rule, true)
            }
        ),
    ]
}

/// A share, a mirror and a number of testers.
fn asked() -> impl Strategy<Value = (Share, Share, usize)> {
    let share = || {
        prop_oneof![Just(0), Just(10_000), (0_u16..=100).prop_map(|percent| percent * 100), 0_u16..=10_000]
    };
    (share(), share(), 0_usize..4).prop_map(|(share, mirror, testers)| {
        let of = |points| Share::from_basis_points(points).unwrap();
        (of(share), of(mirror), testers)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn foreign_rules_stay_and_everything_comes_back_for_any_route(
        rules in prop::collection::vec(rule(), 1..6), annotated in any::<bool>(), first in asked(), second in asked(),
    ) {
        prop_assume!(rules.iter().any(|(_, ours)| *ours));
        let list: Vec<&Value> = rules.iter().map(|(rule, _)| rule).collect();
        let mut at_rest = route(&json!(list));
        if annotated {
            at_rest["metadata"]["annotations"] = json!({"a/b": "c"});
        }
        let testers = [exact("x-qa", "1"), exact("X-Else", "2"), cookie("qa", "1")];
        let with = |(share, mirror, count): (Share, Share, usize)| {
            Wanted { ends: ENDS, share, mirror, testers: testers.get(..count).unwrap() }
        };
        let (first, second) = (with(first), with(second));
        let one = applied(&at_rest, &changes(&at_rest, &first).unwrap());
        prop_assert_eq!(changes(&one, &first).unwrap(), Vec::<Value>::new());
        let seen = read(&one, &ENDS).unwrap();
        prop_assert_eq!(seen.mirror, first.mirror);
        prop_assert!(seen.share.basis_points().abs_diff(first.share.basis_points()) <= 50);
        let two = applied(&one, &changes(&one, &second).unwrap());
        for object in [&one, &two] {
            let now = object["spec"]["rules"].as_array().unwrap();
            let foreign = rules.iter().filter(|(_, ours)| !ours).map(|(rule, _)| rule);
            let mut left = now.iter();
            for rule in foreign {
                prop_assert!(left.any(|one| one == rule), "{} is not in {}", rule, object);
            }
            prop_assert!(now.len() <= 2 * rules.len());
            prop_assert_eq!(applied(object, &super::at_rest(object, &ENDS).unwrap()), at_rest.clone());
        }
        prop_assert_eq!(applied(&two, &changes(&two, &first).unwrap()), one);
        prop_assert_eq!(super::at_rest(&at_rest, &ENDS).unwrap(), Vec::<Value>::new());
    }
}
