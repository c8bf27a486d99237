//! Decides which release gets a request: rules first, then the user's bucket, else the dice.

use std::net::IpAddr;

use http::HeaderMap;

use super::{Condition, Key, Routes, Rule, cookie};
use crate::hash::{BUCKETS, bucket};

/// A key longer than this is hashed by its first bytes only, so that no client buys work with a long header.
const KEY_MAX: usize = 256;

/// What is known of a request.
pub(crate) struct Client<'a> {
    pub(crate) path: &'a str,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) address: IpAddr,
}

/// How the release was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Chosen {
    /// A rule asked for exactly this release.
    Rule,
    /// The split: any release may serve.
    Split,
}

/// The release that gets a request.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Choice {
    /// Place in the table's releases.
    pub(crate) release: usize,
    pub(crate) by: Chosen,
    /// Value of the sticky cookie that the user must be given.
    pub(crate) cookie: Option<u64>,
}

/// Chooses; `None` when the table routes nothing.
pub(crate) fn choose(routes: &Routes, client: &Client<'_>, dice: impl FnOnce() -> u64) -> Option<Choice> {
    if let Some(rule) = routes.rules.iter().find(|rule| holds(rule, client)) {
        return Some(Choice { release: rule.release, by: Chosen::Rule, cookie: None });
    }
    let (bucket, cookie) = draw(routes, client, dice);
    let release = routes.split.iter().find(|(upper, _)| bucket < *upper)?.1;
    Some(Choice { release, by: Chosen::Split, cookie })
}

/// Whether some rule holds for the request.
pub(crate) fn matches_a_rule(routes: &Routes, client: &Client<'_>) -> bool {
    routes.rules.iter().any(|rule| holds(rule, client))
}

fn draw(routes: &Routes, client: &Client<'_>, dice: impl FnOnce() -> u64) -> (u16, Option<u64>) {
    let known = match &routes.sticky {
        None => None,
        Some(Key::Cookie(key)) => {
            let Some(value) = cookie::find(client.headers, &key.name) else {
                let identity = dice();
                return (bucket(&cookie::digits(identity)), Some(identity));
            };
            Some(key_bucket(value.as_bytes()))
        }
        Some(Key::Header(name)) => client.headers.get(name).map(|value| key_bucket(value.as_bytes())),
        Some(Key::ClientAddress) => Some(match client.address.to_canonical() {
            IpAddr::V4(v4) => bucket(&v4.octets()),
            IpAddr::V6(v6) => bucket(&v6.octets()),
        }),
    };
    (known.unwrap_or_else(|| u16::try_from(dice() % BUCKETS).unwrap_or(0)), None)
}

fn key_bucket(key: &[u8]) -> u16 {
    bucket(key.get(..KEY_MAX).unwrap_or(key))
}

fn holds(rule: &Rule, client: &Client<'_>) -> bool {
    rule.when.iter().all(|when| match when {
        Condition::Header(name, Some(value)) => {
            client.headers.get_all(name).iter().any(|found| found.as_bytes() == value.as_slice())
        }
        Condition::Header(name, None) => client.headers.contains_key(name),
        Condition::Cookie(name, Some(value)) => cookie::find(client.headers, name) == Some(value.as_str()),
        Condition::Cookie(name, None) => cookie::find(client.headers, name).is_some(),
        Condition::PathPrefix(prefix) => below(client.path, prefix),
    })
}

/// Whether `path` is `prefix` or lies below it: `/app` covers `/app` and `/app/x`, not `/apple`.
fn below(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || prefix.ends_with('/') || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routing::{Cookie, Routes};
    use http::HeaderValue;

    fn routes(canary: u16, sticky: Option<Key>) -> Routes {
        let split = if canary == 0 { vec![(10_000, 0)] } else { vec![(canary, 1), (10_000, 0)] };
        Routes { split, sticky, stable: Some(0), ..Routes::empty() }
    }

    fn headers(name: &'static str, value: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_str(value).expect("value"));
        headers
    }

    fn client(headers: &HeaderMap) -> Client<'_> {
        Client { path: "/a", headers, address: [127, 0, 0, 1].into() }
    }

    fn release(routes: &Routes, headers: &HeaderMap, dice: u64) -> usize {
        choose(routes, &client(headers), || dice).expect("a release").release
    }

    #[test]
    fn the_dice_give_each_release_its_share() {
        let (routes, none) = (routes(500, None), HeaderMap::new());
        let canary = (0..10_000).filter(|dice| release(&routes, &none, *dice) == 1).count();
        assert_eq!(canary, 500);
    }

    #[test]
    fn a_user_with_a_key_only_moves_towards_the_new_release_while_its_share_rises() {
        for user in 0..2_000 {
            let headers = headers("cookie", &format!("theme=dark; who=u{user}"));
            let path = [0, 500, 2_500, 5_000, 10_000]
                .map(|share| release(&routes(share, Some(Key::Cookie(Cookie::new("who")))), &headers, 7));
            assert!(path.is_sorted(), "user {user} went back: {path:?}");
            assert_eq!((path[0], path[4]), (0, 1));
        }
    }

    #[test]
    fn a_user_without_the_cookie_gets_one_that_leads_to_the_same_release() {
        let routes = routes(5_000, Some(Key::Cookie(Cookie::new("who"))));
        for dice in 0..200_u64 {
            let none = HeaderMap::new();
            let first = choose(&routes, &client(&none), || dice).expect("a release");
            let digits = cookie::digits(first.cookie.expect("a cookie"));
            let cookie = std::str::from_utf8(&digits).expect("digits");
            let again = headers("cookie", &format!("who={cookie}"));
            let second = choose(&routes, &client(&again), || 0).expect("a release");
            assert_eq!((second.release, second.cookie), (first.release, None));
        }
    }

    #[test]
    fn rules_win_over_the_split_and_need_all_their_conditions() {
        let when = vec![
            Condition::Header("x-tester".parse().expect("name"), Some(b"yes".to_vec())),
            Condition::PathPrefix("/a".into()),
        ];
        let routes = Routes { rules: vec![Rule { when, release: 1 }], ..routes(0, None) };
        assert_eq!(release(&routes, &headers("x-tester", "yes"), 0), 1);
        assert_eq!(release(&routes, &headers("x-tester", "no"), 0), 0);
    }

    #[test]
    fn a_path_prefix_ends_at_a_slash() {
        let cases = [("/app", true), ("/app/x", true), ("/apple", false), ("/", false)];
        assert!(cases.iter().all(|(path, expected)| below(path, "/app") == *expected));
        assert!(below("/static/x", "/static/") && below("/x", "/"));
    }

    #[test]
    fn a_table_without_weights_routes_nothing() {
        assert_eq!(choose(&Routes::empty(), &client(&HeaderMap::new()), || 1), None);
    }
}
