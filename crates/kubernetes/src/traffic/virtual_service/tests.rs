//! Virtual services of all shapes: divided, read back, and put back as they were.

use proptest::prelude::*;

use super::*;
use crate::traffic::fixture::{ENDS, applied, cookie, exact};

const FORMS: [Form; 2] = [Form::Hosts, Form::Subsets];

fn object(routes: &Value) -> Value {
    json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "VirtualService",
        "metadata": {"namespace": "web", "name": "shop", "resourceVersion": "41"},
        "spec": {"hosts": ["shop.example"], "http": routes, "tcp": [{"route": [{"destination": {"host": "shop"}}]}]},
    })
}

fn wanted(basis_points: u16) -> Wanted<'static> {
    let share = Share::from_basis_points(basis_points).unwrap();
    Wanted { ends: ENDS, share, mirror: Share::NONE, testers: &[] }
}

#[test]
fn a_destination_is_divided_into_hosts_or_subsets_and_comes_back() {
    let users = json!({"destination": {"host": "shop.web.svc.cluster.local", "port": {"number": 80}}, "headers": {"request": {}}});
    let cart = json!({"match": [{"uri": {"prefix": "/cart"}}], "route": [{"destination": {"host": "cart"}}]});
    let redirect = json!({"match": [{"port": 80}], "redirect": {"scheme": "https"}});
    let at_rest = object(&json!([redirect, cart, {"name": "main", "route": [users], "timeout": "9s"}]));
    let with = |host: &str, subset: Option<&str>, weight: u32| {
        let mut one = users.clone();
        one["destination"]["host"] = json!(host);
        if let Some(subset) = subset {
            one["destination"]["subset"] = json!(subset);
        }
        one["weight"] = json!(weight);
        one
    };
    let (stable, new, root) =
        ("shop-a.web.svc.cluster.local", "shop-b.web.svc.cluster.local", "shop.web.svc.cluster.local");
    for (form, share, expected) in [
        (Form::Hosts, 500, [with(stable, None, 95), with(new, None, 5)]),
        (Form::Hosts, 525, [with(stable, None, 9_475), with(new, None, 525)]),
        (Form::Subsets, 500, [with(root, Some("shop-a"), 95), with(root, Some("shop-b"), 5)]),
    ] {
        let rolling = applied(&at_rest, &changes(&at_rest, &wanted(share), form).unwrap());
        assert_eq!(rolling["spec"]["http"][2]["route"], json!(expected));
        assert_eq!(rolling["metadata"], at_rest["metadata"], "nothing to remember");
        assert_eq!(read(&rolling, &ENDS, form).unwrap().share.basis_points(), share);
        assert_eq!(applied(&rolling, &super::at_rest(&rolling, &ENDS, form).unwrap()), at_rest);
    }
}

#[test]
fn hosts_are_those_of_the_objects_own_namespace() {
    let end = |host: &str, port: Option<u16>, subset: Option<&str>, form| {
        let mut destination = json!({"host": host});
        destination["port"]["number"] = json!(port);
        destination["subset"] = json!(subset);
        VirtualService(form).of_destination(&destination, &ENDS, "web")
    };
    for host in
        ["shop", "shop.web", "shop.web.svc", "shop.web.svc.cluster.local", "shop.web.svc.corp.example"]
    {
        assert_eq!(end(host, None, None, Form::Hosts), Some(End::Root), "{host}");
    }
    for host in ["shop.other", "shop.example.com", "shop.web.example", "x.shop", ""] {
        assert_eq!(end(host, None, None, Form::Hosts), None, "{host}");
    }
    assert_eq!(end("shop", Some(80), None, Form::Hosts), Some(End::Root));
    assert_eq!(end("shop", Some(81), None, Form::Hosts), None);
    assert_eq!(end("shop", None, Some("v1"), Form::Hosts), None, "a subset of the users' own");
    assert_eq!(end("shop", None, Some("v1"), Form::Subsets), None);
    assert_eq!(end("shop", None, Some("shop-b"), Form::Subsets), Some(End::New));
    assert_eq!(end("shop-b", None, None, Form::Subsets), None);
}

#[test]
fn testers_come_first_in_lower_case_and_copies_go_where_users_have_theirs() {
    let testers = [exact("X-QA", "1"), cookie("qa", "1")];
    let mirror = Share::from_basis_points(1_250).unwrap();
    let asked = Wanted { mirror, testers: &testers, ..wanted(0) };
    let main = json!({"match": [{"uri": {"prefix": "/"}}], "route": [{"destination": {"host": "shop"}}]});
    let listed = json!({"mirrors": [{"destination": {"host": "audit"}}], "route": [{"destination": {"host": "shop"}}]});
    let at_rest = object(&json!([main, listed]));
    let rolling = applied(&at_rest, &changes(&at_rest, &asked, Form::Hosts).unwrap());
    let routes = rolling["spec"]["http"].as_array().unwrap();
    assert_eq!(routes[0]["route"], json!([{"destination": {"host": "shop-b"}}]));
    assert_eq!(
        routes[0]["match"],
        json!([
            {"uri": {"prefix": "/"}, "headers": {"x-qa": {"exact": "1"}}},
            {"uri": {"prefix": "/"}, "headers": {"cookie": {"regex": "^(.*; *)?qa=1(;.*)?$"}}},
        ])
    );
    assert_eq!(routes[1]["mirror"], json!({"host": "shop-b"}));
    assert_eq!(routes[1]["mirrorPercentage"], json!({"value": 12.5}));
    assert_eq!(
        routes[3]["mirrors"][1],
        json!({"destination": {"host": "shop-b"}, "percentage": {"value": 12.5}})
    );
    assert_eq!(read(&rolling, &ENDS, Form::Hosts).unwrap(), Seen { share: Share::NONE, mirror });
    assert_eq!(applied(&rolling, &super::at_rest(&rolling, &ENDS, Form::Hosts).unwrap()), at_rest);
    let taken = object(&json!([{"mirror": {"host": "audit"}, "route": [{"destination": {"host": "shop"}}]}]));
    let error = changes(&taken, &asked, Form::Hosts).unwrap_err().to_string();
    assert!(error.contains("/spec/http/0/mirror") && error.contains("`mirrors`"), "{error}");
    changes(&taken, &wanted(0), Form::Hosts).unwrap();
}

#[test]
fn a_percentage_that_the_api_server_wrote_its_own_way_is_no_change() {
    let at_rest = object(&json!([{"route": [{"destination": {"host": "shop"}}]}]));
    let asked = Wanted { mirror: Share::percent(5), ..wanted(0) };
    let mut rolling = applied(&at_rest, &changes(&at_rest, &asked, Form::Hosts).unwrap());
    rolling["spec"]["http"][0]["mirrorPercentage"]["value"] = json!(5.0);
    assert_eq!(changes(&rolling, &asked, Form::Hosts).unwrap(), Vec::<Value>::new());
}

#[test]
fn an_object_without_our_hosts_names_those_it_has() {
    let destinations = json!([{"destination": {"host": "cart", "port": {"number": 8_080}}}, {"destination": {"host": "shop", "subset": "v1"}}]);
    let error =
        changes(&object(&json!([{"route": destinations}])), &wanted(1), Form::Hosts).unwrap_err().to_string();
    assert!(
        error.contains("VirtualService web/shop") && error.contains("cart:8080, shop (subset v1)"),
        "{error}"
    );
}

fn foreign() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({"destination": {"host": "cart"}})),
        Just(json!({"destination": {"host": "shop.other"}, "weight": 7})),
        Just(json!({"destination": {"host": "shop", "port": {"number": 9_090}}, "weight": 20})),
        Just(json!({"destination": {"host": "shop", "subset": "v1"}, "weight": 13})),
    ]
}

fn fields() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(json!({})),
        Just(
            json!({"name": "n", "timeout": "1s", "retries": {"attempts": 2}, "match": [{"uri": {"exact": "/a"}}]})
        ),
        Just(json!({"match": [{"headers": {"x-qa": {"exact": "0"}}}, {"method": {"exact": "GET"}}]})),
        Just(json!({"mirrors": [{"destination": {"host": "audit"}, "percentage": {"value": 1.5}}]})),
    ]
}

fn route() -> impl Strategy<Value = (Value, bool)> {
    let host = prop_oneof![Just("shop"), Just("shop.web"), Just("shop.web.svc.cluster.local")];
    let ours = (host, prop_oneof![Just(None), Just(Some(100)), (1_u32..300).prop_map(Some)]);
    let others = || prop::collection::vec(foreign(), 0..3);
    prop_oneof![
        (fields(), others()).prop_map(|(mut route, list)| {
            route["route"] = json!(list);
            (route, false)
        }),
        Just((json!({"match": [{"uri": {"prefix": "/"}}], "redirect": {"uri": "/x"}}), false)),
        (fields(), ours, others(), any::<prop::sample::Index>()).prop_map(
            |(mut route, (host, weight), mut list, at)| {
                let mut one = json!({"destination": {"host": host}});
                // beside others, a destination without a weight gets nothing
                if let Some(weight) = weight.or((!list.is_empty()).then_some(50)) {
                    one["weight"] = json!(weight);
                }
                list.insert(at.index(list.len() + 1), one);
                route["route"] = json!(list);
                (route, true)
            }
        ),
    ]
}

fn share() -> impl Strategy<Value = Share> {
    let points =
        prop_oneof![Just(0), Just(10_000), (0_u16..=100).prop_map(|percent| percent * 100), 0_u16..=10_000];
    points.prop_map(|points| Share::from_basis_points(points).unwrap())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn foreign_routes_stay_and_everything_comes_back_for_any_object(
        routes in prop::collection::vec(route(), 1..6), form in prop::sample::select(FORMS.to_vec()),
        shares in prop::array::uniform4(share()), counts in prop::array::uniform2(0_usize..3),
    ) {
        prop_assume!(routes.iter().any(|(_, ours)| *ours));
        let list: Vec<&Value> = routes.iter().map(|(route, _)| route).collect();
        let at_rest = object(&json!(list));
        let testers = [exact("x-qa", "1"), cookie("qa", "1")];
        let with = |share, mirror, count: usize| Wanted { ends: ENDS, share, mirror, testers: &testers[..count] };
        let [first, second] =
            [with(shares[0], shares[1], counts[0]), with(shares[2], shares[3], counts[1])];
        let one = applied(&at_rest, &changes(&at_rest, &first, form).unwrap());
        prop_assert_eq!(changes(&one, &first, form).unwrap(), Vec::<Value>::new());
        prop_assert_eq!(read(&one, &ENDS, form).unwrap(), Seen { share: first.share, mirror: first.mirror });
        let two = applied(&one, &changes(&one, &second, form).unwrap());
        for object in [&one, &two] {
            let mut left = object["spec"]["http"].as_array().unwrap().iter();
            for (route, _) in routes.iter().filter(|(_, ours)| !ours) {
                prop_assert!(left.any(|one| one == route), "{} is not in {}", route, object);
            }
            prop_assert_eq!(applied(object, &super::at_rest(object, &ENDS, form).unwrap()), at_rest.clone());
        }
        prop_assert_eq!(applied(&two, &changes(&two, &first, form).unwrap()), one);
    }
}
