//! What passes from user to instance and back, and what never does (RFC 9110 section 7.6, RFC 9112 sections 3 and 6).

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::PathAndQuery;
use http::{Method, Uri, Version, request, response};

/// Says which release answered.
pub(crate) static RELEASE: HeaderName = HeaderName::from_static("x-tidegate-release");
/// Marks a mirrored copy.
pub(crate) static SHADOW: HeaderName = HeaderName::from_static("x-tidegate-shadow");
static FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
static FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// What a connection adds to each request.
pub(crate) struct Forwarded {
    pub(crate) address: HeaderValue,
    pub(crate) proto: HeaderValue,
}

impl Forwarded {
    pub(crate) fn new(address: IpAddr, tls: bool) -> Self {
        let text = address.to_canonical().to_string();
        Self {
            address: HeaderValue::from_str(&text).unwrap_or(HeaderValue::from_static("unknown")),
            proto: HeaderValue::from_static(if tls { "https" } else { "http" }),
        }
    }
}

/// Which of the headers that matter here a head carries, found in one pass: a lookup costs more than a glance at each name.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Survey {
    /// Bits of [`HOP_BY_HOP`] found.
    hop_by_hop: u16,
    hosts: u8,
    connections: u8,
    codings: u8,
    cookies: u8,
    length: bool,
    expect: bool,
    forwarded_for: bool,
}

/// Headers of one connection, by the number of their bit.
static HOP_BY_HOP: [HeaderName; 10] = [
    header::CONNECTION,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    HeaderName::from_static("http2-settings"),
];
const CONNECTION: u16 = 1;
const UPGRADE: u16 = 1 << 2;

impl Survey {
    pub(crate) fn of(headers: &HeaderMap) -> Self {
        let mut survey = Self::default();
        for name in headers.iter().map(|(name, _)| name.as_str()) {
            match name {
                "host" => survey.hosts = survey.hosts.saturating_add(1),
                "cookie" => survey.cookies = survey.cookies.saturating_add(1),
                "content-length" => survey.length = true,
                "expect" => survey.expect = true,
                "x-forwarded-for" => survey.forwarded_for = true,
                "connection" => {
                    survey.hop_by_hop |= CONNECTION;
                    survey.connections = survey.connections.saturating_add(1);
                }
                "transfer-encoding" => {
                    survey.hop_by_hop |= 1 << 1;
                    survey.codings = survey.codings.saturating_add(1);
                }
                "upgrade" => survey.hop_by_hop |= UPGRADE,
                "te" => survey.hop_by_hop |= 1 << 3,
                "trailer" => survey.hop_by_hop |= 1 << 4,
                "proxy-authenticate" => survey.hop_by_hop |= 1 << 5,
                "proxy-authorization" => survey.hop_by_hop |= 1 << 6,
                "keep-alive" => survey.hop_by_hop |= 1 << 7,
                "proxy-connection" => survey.hop_by_hop |= 1 << 8,
                "http2-settings" => survey.hop_by_hop |= 1 << 9,
                _ => {}
            }
        }
        survey
    }
}

/// Refuses a request that two programs could read in two ways.
pub(crate) fn check(head: &request::Parts, survey: Survey) -> Result<(), &'static str> {
    if head.method == Method::CONNECT {
        return Err("CONNECT is not served here");
    }
    if survey.codings > 0 {
        if survey.length {
            return Err("Content-Length and Transfer-Encoding exclude each other");
        }
        let coding = head.headers.get(header::TRANSFER_ENCODING).map_or(&b""[..], HeaderValue::as_bytes);
        if survey.codings > 1 || !coding.eq_ignore_ascii_case(b"chunked") {
            return Err("the only Transfer-Encoding understood here is chunked");
        }
    }
    match survey.hosts {
        0 if head.version == Version::HTTP_11 => Err("no Host"),
        0 => Ok(()),
        1 if head.headers.get(header::HOST).is_some_and(|host| plain_host(host.as_bytes())) => Ok(()),
        1 => Err("Host is malformed"),
        _ => Err("more than one Host"),
    }
}

fn plain_host(host: &[u8]) -> bool {
    host.iter().all(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b':' => true,
        other => b"_~[]%!$&'()*+,;=".contains(other),
    })
}

/// Whether the request asks to leave HTTP, in a way that can be carried.
pub(crate) fn asks_upgrade(head: &request::Parts, survey: Survey, empty: bool) -> bool {
    if survey.hop_by_hop & UPGRADE == 0 {
        return false;
    }
    let Some(protocol) = head.headers.get(header::UPGRADE) else { return false };
    head.version == Version::HTTP_11
        && empty
        && !protocol.as_bytes().eq_ignore_ascii_case(b"h2c")
        && names(&head.headers).any(|name| name.eq_ignore_ascii_case("upgrade"))
}

/// The names listed in `Connection`.
fn names(headers: &HeaderMap) -> impl Iterator<Item = &str> {
    let values = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// Makes a user's head fit to be sent to an instance. Keeps the upgrade headers when `upgrade`.
pub(crate) fn to_instance(
    head: &mut request::Parts,
    survey: Survey,
    forwarded: &Forwarded,
    upgrade: bool,
    address: &str,
) {
    set_host(head, survey, address);
    let protocol = if upgrade { head.headers.get(header::UPGRADE).cloned() } else { None };
    strip(&mut head.headers, survey);
    if survey.expect {
        head.headers.remove(header::EXPECT);
    }
    if survey.cookies > 1 && head.version == Version::HTTP_2 {
        join_cookies(&mut head.headers);
    }
    if let Some(protocol) = protocol {
        head.headers.insert(header::UPGRADE, protocol);
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    if survey.forwarded_for {
        join_forwarded(&mut head.headers, &forwarded.address);
    } else {
        head.headers.insert(&FORWARDED_FOR, forwarded.address.clone());
    }
    head.headers.insert(&FORWARDED_PROTO, forwarded.proto.clone());
    if let Some(host) = head.headers.get(header::HOST).cloned() {
        head.headers.insert(&FORWARDED_HOST, host);
    }
    head.version = Version::HTTP_11;
    head.extensions.clear();
}

/// One `Host`, from the target where it has one (RFC 9112 section 3.2.2), and a target in origin form.
fn set_host(head: &mut request::Parts, survey: Survey, address: &str) {
    if let Some(authority) = head.uri.authority() {
        let host = authority.as_str().rsplit('@').next().unwrap_or_default();
        if let Ok(host) = HeaderValue::from_str(host) {
            head.headers.insert(header::HOST, host);
        }
        let path = head.uri.path_and_query().cloned();
        head.uri = Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")));
    } else if survey.hosts == 0
        && let Ok(host) = HeaderValue::from_str(address)
    {
        head.headers.insert(header::HOST, host);
    }
}

/// The user's address after those that other proxies found.
fn join_forwarded(headers: &mut HeaderMap, address: &HeaderValue) {
    let mut joined = Vec::new();
    for before in headers.get_all(&FORWARDED_FOR) {
        joined.extend_from_slice(before.as_bytes());
        joined.extend_from_slice(b", ");
    }
    joined.extend_from_slice(address.as_bytes());
    headers.insert(&FORWARDED_FOR, HeaderValue::from_bytes(&joined).unwrap_or_else(|_| address.clone()));
}

/// HTTP/2 cuts cookies into crumbs; HTTP/1.1 has one line (RFC 9113 section 8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    let mut crumbs = headers.get_all(header::COOKIE).iter();
    let (Some(first), Some(second)) = (crumbs.next(), crumbs.next()) else { return };
    let mut joined = first.as_bytes().to_vec();
    for crumb in std::iter::once(second).chain(crumbs) {
        joined.extend_from_slice(b"; ");
        joined.extend_from_slice(crumb.as_bytes());
    }
    if let Ok(joined) = HeaderValue::from_bytes(&joined) {
        headers.insert(header::COOKIE, joined);
    }
}

/// Makes an instance's head fit to be sent to a user. Keeps the upgrade headers when `upgrade`.
pub(crate) fn to_user(head: &mut response::Parts, release: &HeaderValue, upgrade: bool) {
    let protocol = if upgrade { head.headers.get(header::UPGRADE).cloned() } else { None };
    let survey = Survey::of(&head.headers);
    strip(&mut head.headers, survey);
    if let Some(protocol) = protocol {
        head.headers.insert(header::UPGRADE, protocol);
        head.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    }
    head.headers.insert(&RELEASE, release.clone());
    head.version = Version::HTTP_11;
}

/// Removes what belongs to one connection only, and what `Connection` names; never what frames or routes the message.
fn strip(headers: &mut HeaderMap, survey: Survey) {
    if survey.hop_by_hop == 0 {
        return;
    }
    let mut found = survey.hop_by_hop;
    if survey.connections == 1 {
        // By far the most common case needs one lookup.
        found &= !CONNECTION;
        if let Some(value) = headers.remove(header::CONNECTION).filter(|value| !usual(value)) {
            strip_named(headers, &names_in(&value));
        }
    } else if survey.connections > 1 {
        let named = headers.get_all(header::CONNECTION).iter().flat_map(names_in).collect::<Vec<_>>();
        strip_named(headers, &named);
    }
    for (bit, name) in HOP_BY_HOP.iter().enumerate() {
        if found >> bit & 1 == 1 {
            headers.remove(name);
        }
    }
}

fn usual(value: &HeaderValue) -> bool {
    value.as_bytes().eq_ignore_ascii_case(b"keep-alive") || value.as_bytes().eq_ignore_ascii_case(b"close")
}

fn names_in(value: &HeaderValue) -> Vec<HeaderName> {
    let text = value.to_str().unwrap_or_default();
    text.split(',').filter_map(|name| name.trim().parse().ok()).collect()
}

fn strip_named(headers: &mut HeaderMap, named: &[HeaderName]) {
    let kept =
        [header::HOST, header::CONTENT_LENGTH, header::CONTENT_TYPE, header::AUTHORIZATION, header::COOKIE];
    for name in named.iter().filter(|name| !kept.contains(name) && **name != FORWARDED_FOR) {
        headers.remove(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(version: Version, uri: &str, headers: &[(&str, &str)]) -> request::Parts {
        let mut builder = http::Request::builder().version(version).uri(uri);
        for (name, value) in headers {
            builder = builder.header(*name, *value);
        }
        builder.body(()).expect("request").into_parts().0
    }

    fn sent(mut head: request::Parts) -> request::Parts {
        let survey = Survey::of(&head.headers);
        to_instance(&mut head, survey, &Forwarded::new([10, 0, 0, 9].into(), true), false, "127.0.0.1:80");
        head
    }

    fn value<'a>(head: &'a request::Parts, name: &str) -> Option<&'a str> {
        head.headers.get(name).and_then(|value| value.to_str().ok())
    }

    #[test]
    fn headers_of_one_connection_and_those_it_names_do_not_pass() {
        let sent = sent(head(
            Version::HTTP_11,
            "/a?b",
            &[
                ("host", "shop"),
                ("connection", "close, X-Secret, Host, content-length"),
                ("x-secret", "1"),
                ("content-length", "3"),
                ("keep-alive", "5"),
                ("te", "trailers"),
                ("upgrade", "h2c"),
                ("http2-settings", "x"),
                ("x-forwarded-for", "1.1.1.1"),
                ("x-forwarded-proto", "lie"),
            ],
        ));
        for gone in ["connection", "x-secret", "keep-alive", "te", "upgrade", "http2-settings"] {
            assert_eq!(value(&sent, gone), None, "{gone}");
        }
        let kept = ["host", "content-length", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"]
            .map(|name| value(&sent, name).unwrap_or("-"));
        assert_eq!(kept, ["shop", "3", "1.1.1.1, 10.0.0.9", "https", "shop"]);
    }

    #[test]
    fn an_absolute_target_gives_the_host_and_is_sent_in_origin_form() {
        let sent = sent(head(Version::HTTP_11, "http://user@shop.example:8080/x?y", &[("host", "other")]));
        assert_eq!(
            (value(&sent, "host"), sent.uri.to_string().as_str()),
            (Some("shop.example:8080"), "/x?y")
        );
    }

    #[test]
    fn cookie_crumbs_of_http_2_become_one_line() {
        let sent = sent(head(Version::HTTP_2, "https://shop/", &[("cookie", "a=1"), ("cookie", "b=2")]));
        assert_eq!(value(&sent, "cookie"), Some("a=1; b=2"));
    }

    fn checked(head: &request::Parts) -> Result<(), &'static str> {
        check(head, Survey::of(&head.headers))
    }

    #[test]
    fn each_header_of_one_connection_has_its_own_bit() {
        for (bit, name) in HOP_BY_HOP.iter().enumerate() {
            let found = head(Version::HTTP_11, "/", &[(name.as_str(), "x")]);
            assert_eq!(Survey::of(&found.headers).hop_by_hop, 1 << bit, "{name}");
        }
    }

    #[test]
    fn requests_that_can_be_read_in_two_ways_are_refused() {
        let cases: [&[(&str, &str)]; 6] = [
            &[],
            &[("host", "a"), ("host", "b")],
            &[("host", "a/b")],
            &[("host", "a"), ("transfer-encoding", "chunked"), ("content-length", "3")],
            &[("host", "a"), ("transfer-encoding", "gzip, chunked")],
            &[("host", "a"), ("transfer-encoding", "chunked"), ("transfer-encoding", "chunked")],
        ];
        for headers in cases {
            assert!(checked(&head(Version::HTTP_11, "/", headers)).is_err(), "{headers:?}");
        }
        assert!(
            checked(&head(Version::HTTP_11, "/", &[("host", "a"), ("transfer-encoding", "Chunked")])).is_ok()
        );
        assert!(checked(&head(Version::HTTP_10, "/", &[])).is_ok());
    }
}
