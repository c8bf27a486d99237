//! ingress-nginx: a second Ingress for the new release, by its canary annotations
//! (<https://kubernetes.github.io/ingress-nginx/user-guide/nginx-configuration/annotations/#canary>).
//!
//! The users' Ingress is never touched: it goes on sending to the root, which has to select the stable release's pods only. The
//! second has the same hosts and paths, but only those that point to the root, and points to the new release. nginx knows one
//! such Ingress per path, one header and one cookie; the header comes first, then the cookie, then the weight.
//!
//! Whole percents are written as parts of 100, which all versions read. Finer shares need `canary-weight-total`, which
//! controllers before 1.0 do not know.

use serde_json::{Map, Value, json};
use tidegate_core::model::{Share, literal};

use super::{Ends, HeaderValue, RouteError, Seen, TesterMatch, Wanted, found, split::fraction, title};

/// Prefix of the annotations, unless the controller was started with another one.
const PREFIX: &str = "nginx.ingress.kubernetes.io/";

/// Annotations besides ours that count on the second Ingress; all others are taken from the users' by nginx.
const KEPT: [&str; 4] = ["load-balance", "upstream-hash-by", "affinity", "session-cookie-"];

/// The class in its old form.
const CLASS: &str = "kubernetes.io/ingress.class";

/// The second Ingress as it should be, named `name`, without owner and labels; `None` when it should not exist: no share and no
/// testers.
///
/// Fails when the users' Ingress has canary annotations (it is itself somebody's second one), has no path to the root, or the
/// testers need more than one header and one cookie. nginx cannot send a share of copies: a mirror is refused.
pub fn canary(stable: &Value, wanted: &Wanted<'_>, name: &str) -> Result<Option<Value>, RouteError> {
    check(stable)?;
    wanted.check(stable)?;
    let Some(new) = wanted.ends.new else { return Ok(None) };
    if wanted.mirror > Share::NONE {
        return Err(unsupported(
            stable,
            "send copies of a share of the requests",
            "route by Gateway API or Istio",
        ));
    }
    if wanted.share == Share::NONE && wanted.testers.is_empty() {
        return Ok(None);
    }
    let rules = rules(stable, &wanted.ends, new);
    if rules.is_empty() {
        return Err(not_found(stable, &wanted.ends));
    }
    let mut annotations = kept(stable);
    annotate(&mut annotations, "canary", "true".to_owned());
    let points = wanted.share.basis_points();
    if points.is_multiple_of(100) {
        annotate(&mut annotations, "canary-weight", (points / 100).to_string());
    } else {
        annotate(&mut annotations, "canary-weight", points.to_string());
        annotate(&mut annotations, "canary-weight-total", "10000".to_owned());
    }
    mark(stable, wanted.testers, &mut annotations)?;
    let mut metadata = with("namespace", stable.pointer("/metadata/namespace"));
    metadata
        .extend([("name".to_owned(), json!(name)), ("annotations".to_owned(), Value::Object(annotations))]);
    let mut spec = with("ingressClassName", stable.pointer("/spec/ingressClassName"));
    spec.insert("rules".to_owned(), Value::Array(rules));
    let ingress =
        json!({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": metadata, "spec": spec});
    Ok(Some(ingress))
}

/// An object with this field, if there is one.
fn with(key: &str, value: Option<&Value>) -> Map<String, Value> {
    value.into_iter().map(|value| (key.to_owned(), value.clone())).collect()
}

/// What the second Ingress says; one that is not there, or points elsewhere than to the new release, gives it nothing.
pub fn read(canary: Option<&Value>, ends: &Ends<'_>) -> Result<Seen, RouteError> {
    let nothing = Seen { share: Share::NONE, mirror: Share::NONE };
    let Some(canary) = canary else { return Ok(nothing) };
    let is_new = |path: &Value| {
        path.pointer("/backend/service/name")
            .and_then(Value::as_str)
            .is_some_and(|name| ends.new == Some(name))
    };
    if annotation(canary, "canary") != Some("true") || !paths(canary).any(is_new) {
        return Ok(nothing);
    }
    let number = |name: &str, default: u64| match annotation(canary, name) {
        None => Ok(default),
        Some(text) => text.parse::<u64>().map_err(|_| RouteError::Malformed {
            object: title(canary),
            field: format!("/metadata/annotations/{}", super::patch::escaped(&format!("{PREFIX}{name}"))),
            expected: "a whole number, 0 or more",
            found: format!("`{text}`"),
        }),
    };
    let share = fraction(number("canary-weight", 0)?, number("canary-weight-total", 100)?);
    Ok(Seen { share, mirror: Share::NONE })
}

fn check(stable: &Value) -> Result<(), RouteError> {
    let kind = stable.get("kind");
    if kind.and_then(Value::as_str) != Some("Ingress") {
        return Err(RouteError::Malformed {
            object: title(stable),
            field: "/kind".to_owned(),
            expected: "Ingress",
            found: found(kind),
        });
    }
    let theirs = annotations(stable)
        .and_then(|all| all.keys().find(|key| key.starts_with(&format!("{PREFIX}canary"))));
    let Some(key) = theirs else { return Ok(()) };
    Err(RouteError::Ambiguous {
        object: title(stable),
        field: format!("/metadata/annotations/{}", super::patch::escaped(key)),
        problem: "makes this Ingress a canary of another, and nginx has one canary per path".to_owned(),
        todo: "name the Ingress that users come in by, or take the canary annotations away".to_owned(),
    })
}

/// The rules with only the paths that point to the root, now to the new release.
fn rules(stable: &Value, ends: &Ends<'_>, new: &str) -> Vec<Value> {
    let mut kept = Vec::new();
    for rule in stable.pointer("/spec/rules").and_then(Value::as_array).into_iter().flatten() {
        let paths = rule.pointer("/http/paths").and_then(Value::as_array).into_iter().flatten();
        let ours = paths.filter(|path| is_root(path, ends)).cloned().map(|mut path| {
            set(&mut path, "/backend/service", "name", json!(new));
            path
        });
        let ours: Vec<Value> = ours.collect();
        if !ours.is_empty() {
            let mut rule = rule.clone();
            set(&mut rule, "/http", "paths", Value::Array(ours));
            kept.push(rule);
        }
    }
    kept
}

fn set(object: &mut Value, path: &str, key: &str, value: Value) {
    if let Some(fields) = object.pointer_mut(path).and_then(Value::as_object_mut) {
        fields.insert(key.to_owned(), value);
    }
}

/// Whether a path points to the root. A port's name cannot be resolved here; the releases' Services have the root's names.
fn is_root(path: &Value, ends: &Ends<'_>) -> bool {
    let port = path.pointer("/backend/service/port/number").and_then(Value::as_u64);
    let name = path.pointer("/backend/service/name").and_then(Value::as_str);
    name == Some(ends.root) && port.is_none_or(|port| port == u64::from(ends.port))
}

fn paths(ingress: &Value) -> impl Iterator<Item = &Value> {
    let rules = ingress.pointer("/spec/rules").and_then(Value::as_array).into_iter().flatten();
    rules.flat_map(|rule| rule.pointer("/http/paths").and_then(Value::as_array).into_iter().flatten())
}

fn annotations(ingress: &Value) -> Option<&Map<String, Value>> {
    ingress.pointer("/metadata/annotations").and_then(Value::as_object)
}

fn annotation<'v>(ingress: &'v Value, name: &str) -> Option<&'v str> {
    annotations(ingress)?.get(&format!("{PREFIX}{name}"))?.as_str()
}

fn annotate(annotations: &mut Map<String, Value>, name: &str, value: String) {
    annotations.insert(format!("{PREFIX}{name}"), Value::String(value));
}

/// The users' annotations that the second Ingress needs as well.
fn kept(stable: &Value) -> Map<String, Value> {
    let counts = |key: &str| {
        let ours = key.strip_prefix(PREFIX);
        key == CLASS || ours.is_some_and(|name| KEPT.iter().any(|kept| name.starts_with(kept)))
    };
    let all = annotations(stable).into_iter().flatten();
    all.filter(|(key, _)| counts(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// Writes the testers' marks: nginx compares one header, by value or by pattern, and looks for one cookie that says `always`.
/// Another value of a cookie is a pattern of the header `Cookie`, with its semicolon as a code: the controller refuses it plain.
fn mark(
    stable: &Value,
    testers: &[TesterMatch],
    annotations: &mut Map<String, Value>,
) -> Result<(), RouteError> {
    let (mut header, mut cookie) = (None, None);
    for tester in testers {
        match tester {
            TesterMatch::Header { name, value } => put(stable, &mut header, (name.clone(), value.clone()))?,
            TesterMatch::Cookie { name, value } if value == "always" => {
                put(stable, &mut cookie, name.clone())?;
            }
            TesterMatch::Cookie { name, value } => {
                let pattern = format!(r"(^|\x3B\s*){}={}(\x3B|$)", literal(name), literal(value));
                put(stable, &mut header, ("Cookie".to_owned(), HeaderValue::Regex(pattern)))?;
            }
        }
    }
    if let Some((name, value)) = header {
        annotate(annotations, "canary-by-header", name);
        match value {
            HeaderValue::Exact(value) => annotate(annotations, "canary-by-header-value", value),
            HeaderValue::Regex(value) => annotate(annotations, "canary-by-header-pattern", value),
        }
    }
    if let Some(name) = cookie {
        annotate(annotations, "canary-by-cookie", name);
    }
    Ok(())
}

/// Takes the only place for a mark.
fn put<T: PartialEq>(stable: &Value, place: &mut Option<T>, mark: T) -> Result<(), RouteError> {
    if place.as_ref().is_some_and(|there| *there != mark) {
        let todo =
            "name one header, or a cookie whose value is `always`, or both; or route by Gateway API or Istio";
        return Err(unsupported(stable, "tell testers by more than one header and one cookie", todo));
    }
    *place = Some(mark);
    Ok(())
}

fn unsupported(stable: &Value, what: &str, todo: &str) -> RouteError {
    let (what, todo) = (what.to_owned(), todo.to_owned());
    RouteError::Unsupported { object: title(stable), router: "ingress-nginx", what, todo }
}

fn not_found(stable: &Value, ends: &Ends<'_>) -> RouteError {
    let word = |path: &Value| {
        let service = path.pointer("/backend/service")?;
        let port = service.pointer("/port/number").or_else(|| service.pointer("/port/name"));
        let name = service.get("name").and_then(Value::as_str)?;
        Some(port.map_or_else(|| name.to_owned(), |port| format!("{name}:{}", found(Some(port)))))
    };
    let mut words: Vec<String> = paths(stable).filter_map(word).take(10).collect();
    words.dedup();
    if stable.pointer("/spec/defaultBackend").is_some() {
        words.push("a default backend, which nginx cannot divide".to_owned());
    }
    let found = if words.is_empty() { "nothing".to_owned() } else { words.join(", ") };
    let wanted = format!("{} on port {}", ends.root, ends.port);
    RouteError::NotFound { object: title(stable), wanted, found, root: ends.root.to_owned() }
}

#[cfg(test)]
mod tests;
