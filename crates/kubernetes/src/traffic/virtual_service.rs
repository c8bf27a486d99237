//! Istio `VirtualService` (`networking.istio.io/v1`, <https://istio.io/latest/docs/reference/config/networking/virtual-service/>).
//!
//! Only `spec.http` is looked at. In a route that sends to the root, the destination becomes two. Weights are relative in
//! today's Istio and had to be 100 together before: whole percents are written as parts of 100, finer shares as parts of
//! 10,000. Testers get a route of their own just before it: the first that matches wins. Copies are `mirror` with
//! `mirrorPercentage`, or one more entry of `mirrors` where users have that list.

use serde_json::{Map, Value, json};
use tidegate_core::model::Share;

use super::{
    Ends, HeaderValue, RouteError, Seen, Wanted,
    patch::Slot,
    rules::{Clash, Dialect, Excess, Route},
    split::{End, Weights, fraction},
};

/// How a destination names a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// By the host of its own Service.
    Hosts,
    /// By a subset of the root's host; [`Ends::stable`] and [`Ends::new`] are then names of subsets, which a
    /// [`super::destination_rule`] must have before.
    Subsets,
}

/// The patch that brings about what is wanted; empty when it is so already. Without a new release that is [`at_rest`].
pub fn changes(object: &Value, wanted: &Wanted<'_>, form: Form) -> Result<Vec<Value>, RouteError> {
    Route::of(VirtualService(form), object, &wanted.ends)?.changes(wanted)
}

/// The patch that takes everything of ours back: the root is the routes' destination again, as the users wrote it.
///
/// `ends` are those that the object was written with; routes for testers are told by `new`.
pub fn at_rest(object: &Value, ends: &Ends<'_>, form: Form) -> Result<Vec<Value>, RouteError> {
    Route::of(VirtualService(form), object, ends)?.at_rest()
}

/// What the object says.
pub fn read(object: &Value, ends: &Ends<'_>, form: Form) -> Result<Seen, RouteError> {
    Route::of(VirtualService(form), object, ends)?.read()
}

struct VirtualService(Form);

impl VirtualService {
    /// Which of ours a `Destination` is. Its port may be left out where the Service has only one.
    fn of_destination(&self, destination: &Value, ends: &Ends<'_>, namespace: &str) -> Option<End> {
        let port = destination.pointer("/port/number").and_then(Value::as_u64);
        if port.is_some_and(|port| port != u64::from(ends.port)) {
            return None;
        }
        let (name, _) = service(text(destination, "host")?, namespace)?;
        match (self.0, text(destination, "subset")) {
            (Form::Hosts, None) => ends.end(name),
            (Form::Subsets, None) => (name == ends.root).then_some(End::Root),
            (Form::Subsets, Some(subset)) if name == ends.root => match subset {
                _ if ends.new == Some(subset) => Some(End::New),
                _ if ends.stable == subset => Some(End::Stable),
                _ => None,
            },
            (Form::Hosts | Form::Subsets, Some(_)) => None,
        }
    }
}

impl Dialect for VirtualService {
    const KIND: &'static str = "VirtualService";
    const RULES: &'static str = "/spec/http";
    const BACKENDS: &'static str = "route";
    const MATCHES: &'static str = "match";
    const WEIGHTS: Weights = Weights { alone: 1, beside: 0, canonical: None, percent: true };

    fn end(&self, backend: &Value, ends: &Ends<'_>, namespace: &str) -> Option<End> {
        self.of_destination(backend.get("destination")?, ends, namespace)
    }

    fn point(&self, backend: &mut Value, ends: &Ends<'_>, to: End) {
        let name = match to {
            End::Root => ends.root,
            End::Stable => ends.stable,
            End::New => ends.new.unwrap_or(ends.stable),
        };
        let Some(destination) = backend.get_mut("destination").and_then(Value::as_object_mut) else { return };
        match (self.0, to) {
            (Form::Subsets, End::Root) => drop(destination.remove("subset")),
            (Form::Subsets, End::Stable | End::New) => {
                drop(destination.insert("subset".to_owned(), json!(name)));
            }
            (Form::Hosts, End::Root | End::Stable | End::New) => {
                let host = destination.get("host").and_then(Value::as_str).unwrap_or_default();
                let rest = host.find('.').and_then(|dot| host.get(dot..)).unwrap_or_default();
                let host = format!("{name}{rest}");
                destination.insert("host".to_owned(), json!(host));
            }
        }
    }

    fn word(&self, backend: &Value) -> String {
        let word = |path: &str| backend.pointer(path).and_then(Value::as_str);
        let mut words = word("/destination/host").unwrap_or("?").to_owned();
        if let Some(port) = backend.pointer("/destination/port/number") {
            words = format!("{words}:{port}");
        }
        word("/destination/subset")
            .map_or_else(|| words.clone(), |subset| format!("{words} (subset {subset})"))
    }

    fn everything(&self) -> Value {
        json!({})
    }

    fn asked(&self, one: &Value, header: &str) -> Option<HeaderValue> {
        let headers = one.get("headers").and_then(Value::as_object)?;
        let (_, asked) = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(header))?;
        let exact = text(asked, "exact").map(|value| HeaderValue::Exact(value.to_owned()));
        // a prefix, or only that the header is there: not what a tester's mark says
        Some(exact.unwrap_or_else(|| HeaderValue::Regex(text(asked, "regex").unwrap_or_default().to_owned())))
    }

    fn ask(&self, one: &mut Value, header: &str, value: &HeaderValue) {
        let value = match value {
            HeaderValue::Exact(value) => json!({"exact": value}),
            HeaderValue::Regex(value) => json!({"regex": value}),
        };
        let Some(one) = one.as_object_mut() else { return };
        let headers = one.entry("headers").or_insert_with(|| json!({}));
        if let Some(headers) = headers.as_object_mut() {
            // the reference asks for lower case
            headers.insert(header.to_ascii_lowercase(), value);
        }
    }

    fn mirrored(&self, rule: &Value, ends: &Ends<'_>, namespace: &str) -> Share {
        let ours = |one: Option<&Value>| {
            one.is_some_and(|one| self.of_destination(one, ends, namespace) == Some(End::New))
        };
        if ours(rule.get("mirror")) {
            return percentage(rule.get("mirrorPercentage"));
        }
        let entries = rule.get("mirrors").and_then(Value::as_array).into_iter().flatten();
        let entry = entries
            .filter(|entry| ours(entry.get("destination")))
            .map(|entry| percentage(entry.get("percentage")));
        entry.max().unwrap_or(Share::NONE)
    }

    fn unmirror(&self, rule: &mut Map<String, Value>, ends: &Ends<'_>, namespace: &str) {
        let ours = |one: Option<&Value>| {
            one.is_some_and(|one| self.of_destination(one, ends, namespace) == Some(End::New))
        };
        if ours(rule.get("mirror")) {
            rule.remove("mirror");
            rule.remove("mirrorPercentage");
        }
        if let Some(entries) = rule.get_mut("mirrors").and_then(Value::as_array_mut) {
            let before = entries.len();
            entries.retain(|entry| !ours(entry.get("destination")));
            if entries.is_empty() && before > 0 {
                rule.remove("mirrors");
            }
        }
    }

    fn mirror(&self, rule: &mut Map<String, Value>, share: Share, backend: Value) -> Result<(), Clash> {
        let destination = backend.get("destination").cloned().unwrap_or_default();
        let points = share.basis_points();
        // whole numbers as such: the API server does not keep `5.0`
        let value =
            if points.is_multiple_of(100) { json!(points / 100) } else { json!(f64::from(points) / 100.0) };
        let share = json!({"value": value});
        if rule.contains_key("mirror") {
            return Err(Clash {
                field: "mirror",
                problem: "sends copies elsewhere already, and a route has one `mirror`",
                todo: "write it as an entry of `mirrors`, which can have several",
            });
        }
        if let Some(entries) = rule.get_mut("mirrors").and_then(Value::as_array_mut) {
            entries.push(json!({"destination": destination, "percentage": share}));
        } else {
            rule.insert("mirror".to_owned(), destination);
            rule.insert("mirrorPercentage".to_owned(), share);
        }
        Ok(())
    }

    fn fits(&self, _: &[Slot]) -> Result<(), Excess> {
        Ok(())
    }
}

/// A Service's name and the rest of its host, if the host is one of this namespace's: `shop`, `shop.web`, `shop.web.svc`,
/// `shop.web.svc.cluster.local`.
pub(crate) fn service<'h>(host: &'h str, namespace: &str) -> Option<(&'h str, &'h str)> {
    let Some((name, rest)) = host.split_once('.') else { return Some((host, "")) };
    let mut parts = rest.splitn(3, '.');
    let is_here = parts.next() == Some(namespace) && parts.next().is_none_or(|part| part == "svc");
    is_here.then_some((name, rest))
}

/// A `Percent`; without one it is all.
fn percentage(percent: Option<&Value>) -> Share {
    let Some(value) = percent.and_then(|percent| percent.get("value")).and_then(Value::as_f64) else {
        return if percent.is_some() { Share::NONE } else { Share::ALL };
    };
    let points = (value * 100.0).round().clamp(0.0, 10_000.0);
    // within 0 to 10,000, and whole
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped on the line before")]
    let points = points as u64;
    fraction(points, 10_000)
}

fn text<'v>(value: &'v Value, key: &str) -> Option<&'v str> {
    value.get(key).and_then(Value::as_str)
}

#[cfg(test)]
mod tests;
