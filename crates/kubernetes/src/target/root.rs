//! The users' Service: which pods its selector reaches. Without IO.

use serde_json::{Map, Value, json};

use crate::{
    fence::{Fence, annotation, at_version},
    manifest::ROLLOUTS_HASH,
    spec::Known,
};

/// Keeps the selector that the users wrote, while ours is narrower.
const SELECTOR: &str = "tidegate.dev/selector";
/// [`SELECTOR`] as a JSON pointer.
const KEPT: &str = "/metadata/annotations/tidegate.dev~1selector";

/// Whom the Service reaches.
#[derive(Clone, Copy, Debug)]
pub(super) enum Serves<'a> {
    /// Every pod that the users' selector finds: those of both releases.
    All,
    /// Only this release's.
    Only(&'a Known<'a>),
}

/// The selector that the users wrote.
pub(super) fn base(root: &Value) -> Map<String, Value> {
    let kept: Option<Map<String, Value>> =
        annotation(root, SELECTOR).and_then(|text| serde_json::from_str(text).ok());
    let mut base = kept.unwrap_or_else(|| selector(root));
    // What Argo Rollouts puts beside it is not the users' word.
    base.remove(ROLLOUTS_HASH);
    base
}

/// The selector as it is.
pub(super) fn selector(root: &Value) -> Map<String, Value> {
    root.pointer("/spec/selector").and_then(Value::as_object).cloned().unwrap_or_default()
}

/// The selector as it should be.
fn wanted(root: &Value, serves: Serves<'_>) -> Map<String, Value> {
    let mut selector = base(root);
    if let Serves::Only(known) = serves {
        let (key, value) = known.mark();
        selector.insert(key.to_owned(), json!(value));
    }
    selector
}

/// Whether the Service reaches the pods of this release.
pub(super) fn reaches(root: &Value, known: &Known<'_>) -> bool {
    finds(&selector(root), known)
}

/// Whether a selector finds the pods of this release.
pub(super) fn finds(selector: &Map<String, Value>, known: &Known<'_>) -> bool {
    let labels = known.labels();
    !selector.is_empty() && selector.iter().all(|(key, value)| labels.get(key) == Some(value))
}

/// The changes that make the Service reach these pods; none when it does so by this order's word already.
pub(super) fn changes(root: &Value, serves: Serves<'_>, fence: Fence<'_>) -> Vec<Value> {
    if is_so(root, serves) && fence.is_on(root) {
        return Vec::new();
    }
    let kept = json!({"op": "add", "path": KEPT, "value": Value::Object(base(root)).to_string()});
    fence.patch(root, [kept, selects(&wanted(root, serves))])
}

/// Whether the Service reaches these pods, by whosever word.
pub(super) fn is_so(root: &Value, serves: Serves<'_>) -> bool {
    selector(root) == wanted(root, serves)
}

/// The changes that make a Service select these pods; without a fence nobody's order is outdated by them.
pub(super) fn select(object: &Value, selector: &Map<String, Value>, fence: Option<Fence<'_>>) -> Vec<Value> {
    match fence {
        Some(fence) => fence.patch(object, [selects(selector)]),
        None => vec![at_version(object), selects(selector)],
    }
}

fn selects(selector: &Map<String, Value>) -> Value {
    json!({"op": "add", "path": "/spec/selector", "value": selector})
}
