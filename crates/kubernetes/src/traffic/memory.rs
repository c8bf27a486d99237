//! What a rule's weights were, where that cannot be seen from the rule any more: an annotation on the object while a rollout
//! lasts, and only where it is needed.
//!
//! A rule with one backend and the usual weight comes back from its own form. A weight that nobody needs to write, or weights
//! beside ours that had to be multiplied, are kept here: `{"0": [null, 10]}` are the weights of our first rule at rest. Somebody
//! who applies the route again takes the rules with him, and the annotation then says nothing.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::patch;

/// Prefix of the annotation; its name is the root Service's.
const PREFIX: &str = "at-rest.tidegate.dev";

/// The weights of our rules at rest, by their place among our rules.
pub(crate) type Remembered = BTreeMap<usize, Vec<Option<u64>>>;

fn key(root: &str) -> String {
    format!("{PREFIX}/{root}")
}

/// What the object remembers; nothing when it cannot be read.
pub(crate) fn read(object: &Value, root: &str) -> Remembered {
    let text =
        object.pointer("/metadata/annotations").and_then(|all| all.get(key(root))).and_then(Value::as_str);
    text.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default()
}

/// Appends what makes the object remember this.
pub(crate) fn write(object: &Value, root: &str, remembered: &Remembered, operations: &mut Vec<Value>) {
    let annotations = object.pointer("/metadata/annotations").and_then(Value::as_object);
    let there = annotations.and_then(|all| all.get(&key(root)));
    let path = format!("/metadata/annotations/{}", patch::escaped(&key(root)));
    let text = Value::String(json!(remembered).to_string());
    match (remembered.is_empty(), there) {
        (true, None) => {}
        (true, Some(_)) if annotations.is_some_and(|all| all.len() == 1) => {
            operations.push(patch::remove("/metadata/annotations"));
        }
        (true, Some(_)) => operations.push(patch::remove(&path)),
        (false, Some(there)) if *there == text => {}
        (false, Some(_)) => operations.push(patch::add(&path, &text)),
        (false, None) => {
            if annotations.is_none() {
                operations.push(patch::add("/metadata/annotations", &json!({})));
            }
            operations.push(patch::add(&path, &text));
        }
    }
}
