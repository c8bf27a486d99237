//! Gateway API `HTTPRoute` (`gateway.networking.k8s.io/v1`, <https://gateway-api.sigs.k8s.io/reference/spec/#httproute>).
//!
//! In a rule that names the root, its backend becomes two with weights of 10,000 together. Testers get a rule of their own
//! before it, with their mark in every match: one more header, so it is the more specific one. Copies are a `RequestMirror`
//! filter at the end of the rule's filters. Everything that we write has its defaults spelt out, as the API server would.
//!
//! An empty `filters` list of the users' is not kept through a mirror: it comes back as no list.

use serde_json::{Map, Value, json};
use tidegate_core::model::Share;

use super::{
    Ends, HeaderValue, RouteError, Seen, Wanted,
    patch::Slot,
    rules::{Clash, Dialect, Excess, Route},
    split::{End, Weights, fraction},
};

/// Most rules of a route (`HTTPRouteSpec.rules`).
const RULES_MAX: usize = 16;

/// Most matches of all rules together (validation rule of `HTTPRouteSpec.rules`).
const MATCHES_MAX_ALL: usize = 128;

/// The patch that brings about what is wanted; empty when it is so already. Without a new release that is [`at_rest`].
pub fn changes(object: &Value, wanted: &Wanted<'_>) -> Result<Vec<Value>, RouteError> {
    Route::of(HttpRoute, object, &wanted.ends)?.changes(wanted)
}

/// The patch that takes everything of ours back: the root is the rules' backend again, as the users wrote it.
///
/// `ends` are those that the route was written with; rules for testers are told by `new`.
pub fn at_rest(object: &Value, ends: &Ends<'_>) -> Result<Vec<Value>, RouteError> {
    Route::of(HttpRoute, object, ends)?.at_rest()
}

/// What the route says.
pub fn read(object: &Value, ends: &Ends<'_>) -> Result<Seen, RouteError> {
    Route::of(HttpRoute, object, ends)?.read()
}

struct HttpRoute;

impl Dialect for HttpRoute {
    const KIND: &'static str = "HTTPRoute";
    const RULES: &'static str = "/spec/rules";
    const BACKENDS: &'static str = "backendRefs";
    const MATCHES: &'static str = "matches";
    const WEIGHTS: Weights = Weights { alone: 1, beside: 1, canonical: Some(1), percent: false };

    fn end(&self, backend: &Value, ends: &Ends<'_>, namespace: &str) -> Option<End> {
        let is = |key: &str, default: &str| text(backend, key).unwrap_or(default) == default;
        let is_service = is("group", "") && is("kind", "Service") && is("namespace", namespace);
        let port = backend.get("port").and_then(Value::as_u64);
        let is_ours = is_service && port == Some(u64::from(ends.port));
        text(backend, "name").filter(|_| is_ours).and_then(|name| ends.end(name))
    }

    fn point(&self, backend: &mut Value, ends: &Ends<'_>, to: End) {
        let name = match to {
            End::Root => ends.root,
            End::Stable => ends.stable,
            End::New => ends.new.unwrap_or(ends.stable),
        };
        if let Some(backend) = backend.as_object_mut() {
            backend.insert("name".to_owned(), json!(name));
        }
    }

    fn word(&self, backend: &Value) -> String {
        let name = text(backend, "name").unwrap_or("?");
        backend.get("port").map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
    }

    fn everything(&self) -> Value {
        json!({"path": {"type": "PathPrefix", "value": "/"}})
    }

    fn asked(&self, one: &Value, header: &str) -> Option<HeaderValue> {
        let headers = one.get("headers").and_then(Value::as_array)?;
        let named =
            |entry: &&Value| text(entry, "name").is_some_and(|name| name.eq_ignore_ascii_case(header));
        let entry = headers.iter().find(named)?;
        let value = text(entry, "value").unwrap_or_default().to_owned();
        let is_exact = text(entry, "type").is_none_or(|kind| kind == "Exact");
        Some(if is_exact { HeaderValue::Exact(value) } else { HeaderValue::Regex(value) })
    }

    fn ask(&self, one: &mut Value, header: &str, value: &HeaderValue) {
        let (kind, value) = match value {
            HeaderValue::Exact(value) => ("Exact", value),
            HeaderValue::Regex(value) => ("RegularExpression", value),
        };
        let Some(one) = one.as_object_mut() else { return };
        let headers = one.entry("headers").or_insert_with(|| json!([]));
        if let Some(headers) = headers.as_array_mut() {
            headers.push(json!({"name": header, "type": kind, "value": value}));
        }
    }

    fn mirrored(&self, rule: &Value, ends: &Ends<'_>, namespace: &str) -> Share {
        let filters = rule.get("filters").and_then(Value::as_array).into_iter().flatten();
        let ours = filters.filter(|filter| is_our_mirror(self, filter, ends, namespace));
        ours.map(|filter| mirror_share(filter.get("requestMirror"))).next().unwrap_or(Share::NONE)
    }

    fn unmirror(&self, rule: &mut Map<String, Value>, ends: &Ends<'_>, namespace: &str) {
        let Some(filters) = rule.get_mut("filters").and_then(Value::as_array_mut) else { return };
        let before = filters.len();
        filters.retain(|filter| !is_our_mirror(self, filter, ends, namespace));
        if filters.is_empty() && before > 0 {
            rule.remove("filters");
        }
    }

    fn mirror(&self, rule: &mut Map<String, Value>, share: Share, backend: Value) -> Result<(), Clash> {
        let (backend, points) = (reference(&backend), share.basis_points());
        let mirror = if share.is_all() {
            // no share is all of them, which implementations without `percent` understand as well
            json!({"backendRef": backend})
        } else if points.is_multiple_of(100) {
            json!({"backendRef": backend, "percent": points / 100})
        } else {
            json!({"backendRef": backend, "fraction": {"numerator": points, "denominator": 10_000}})
        };
        let filters = rule.entry("filters").or_insert_with(|| json!([]));
        if let Some(filters) = filters.as_array_mut() {
            filters.push(json!({"type": "RequestMirror", "requestMirror": mirror}));
        }
        Ok(())
    }

    fn fits(&self, rules: &[Slot]) -> Result<(), Excess> {
        // a rule without matches gets one by default
        let matches = |slot: &Slot| slot.value.get("matches").and_then(Value::as_array).map_or(1, Vec::len);
        let all = rules.iter().map(matches).sum();
        if rules.len() > RULES_MAX {
            return Err(Excess { field: "/spec/rules".to_owned(), would: rules.len(), limit: RULES_MAX });
        }
        if all > MATCHES_MAX_ALL {
            return Err(Excess {
                field: "/spec/rules/*/matches".to_owned(),
                would: all,
                limit: MATCHES_MAX_ALL,
            });
        }
        Ok(())
    }
}

/// A backend without what only a weighted one has (`BackendObjectReference`).
fn reference(backend: &Value) -> Value {
    let kept =
        ["name", "namespace", "port"].into_iter().filter_map(|key| Some((key, backend.get(key)?.clone())));
    let fixed = [("group", json!("")), ("kind", json!("Service"))];
    Value::Object(fixed.into_iter().chain(kept).map(|(key, value)| (key.to_owned(), value)).collect())
}

fn is_our_mirror(route: &HttpRoute, filter: &Value, ends: &Ends<'_>, namespace: &str) -> bool {
    let backend = filter.pointer("/requestMirror/backendRef");
    backend.is_some_and(|backend| route.end(backend, ends, namespace) == Some(End::New))
}

/// `percent`, `fraction` (of 100 unless it says otherwise), or all.
fn mirror_share(mirror: Option<&Value>) -> Share {
    let number = |path: &str| mirror.and_then(|mirror| mirror.pointer(path)).and_then(Value::as_u64);
    match (number("/percent"), number("/fraction/numerator")) {
        (Some(percent), _) => fraction(percent, 100),
        (None, Some(numerator)) => fraction(numerator, number("/fraction/denominator").unwrap_or(100)),
        (None, None) => Share::ALL,
    }
}

fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_str)
}

#[cfg(test)]
mod tests;
