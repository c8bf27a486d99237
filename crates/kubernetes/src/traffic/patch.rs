//! JSON Patch (RFC 6902) out of two values: as few operations as give the second.

use serde_json::{Map, Value, json};

use super::{RouteError, found, title};
use crate::fence::at_version;

/// A patch that begins with a test of the object's version; empty when nothing differs.
///
/// A test that fails is answered by the API server with 422, not 409: read again and make the patch anew.
pub(crate) fn versioned(object: &Value, operations: Vec<Value>) -> Result<Vec<Value>, RouteError> {
    if operations.is_empty() {
        return Ok(operations);
    }
    let version = object.pointer("/metadata/resourceVersion");
    if !version.is_some_and(Value::is_string) {
        return Err(RouteError::Malformed {
            object: title(object),
            field: "/metadata/resourceVersion".to_owned(),
            expected: "the version as the API server gave it",
            found: found(version),
        });
    }
    Ok(std::iter::once(at_version(object)).chain(operations).collect())
}

/// A key as a step of a JSON pointer (RFC 6901).
pub(crate) fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

pub(crate) fn add(path: &str, value: &Value) -> Value {
    json!({"op": "add", "path": path, "value": value})
}

pub(crate) fn remove(path: &str) -> Value {
    json!({"op": "remove", "path": path})
}

fn replace(path: &str, value: &Value) -> Value {
    json!({"op": "replace", "path": path, "value": value})
}

/// Whether two values say the same. Numbers are compared as numbers: the API server turns `5.0` into `5`.
pub(crate) fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || one.as_f64() == other.as_f64(),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            one.len() == other.len()
                && one.iter().all(|(key, value)| other.get(key).is_some_and(|other| same(value, other)))
        }
        (_, _) => one == other,
    }
}

/// Appends what turns `old` into `new`, both at `path`.
pub(crate) fn difference(old: &Value, new: &Value, path: &str, operations: &mut Vec<Value>) {
    match (old, new) {
        (_, _) if same(old, new) => {}
        (Value::Object(old), Value::Object(new)) => of_objects(old, new, path, operations),
        (Value::Array(old), Value::Array(new)) => of_lists(old, new, path, operations),
        (_, _) => operations.push(replace(path, new)),
    }
}

fn of_objects(old: &Map<String, Value>, new: &Map<String, Value>, path: &str, operations: &mut Vec<Value>) {
    for key in old.keys().filter(|key| !new.contains_key(*key)) {
        operations.push(remove(&format!("{path}/{}", escaped(key))));
    }
    for (key, value) in new {
        let path = format!("{path}/{}", escaped(key));
        match old.get(key) {
            Some(old) => difference(old, value, &path, operations),
            None => operations.push(add(&path, value)),
        }
    }
}

/// What both lists begin and end with stays; between, entries are changed in pairs, then added or removed.
fn of_lists(old: &[Value], new: &[Value], path: &str, operations: &mut Vec<Value>) {
    let pairs = || old.iter().zip(new);
    let start = pairs().take_while(|(old, new)| same(old, new)).count();
    let most = old.len().min(new.len()) - start;
    let backwards = old.iter().rev().zip(new.iter().rev());
    let end = backwards.take(most).take_while(|(old, new)| same(old, new)).count();
    let (old_end, new_end) = (old.len() - end, new.len() - end);
    let both = old_end.min(new_end);
    for (at, (old, new)) in pairs().enumerate().take(both).skip(start) {
        difference(old, new, &format!("{path}/{at}"), operations);
    }
    for at in (both..old_end).rev() {
        operations.push(remove(&format!("{path}/{at}")));
    }
    for (at, value) in new.iter().enumerate().take(new_end).skip(both) {
        operations.push(add(&format!("{path}/{at}"), value));
    }
}

/// An entry of a list that is to be: new, or one that was there, which may have changed.
pub(crate) struct Slot {
    /// Its place in the list as it is. Rising from slot to slot.
    pub(crate) from: Option<usize>,
    /// What it should be.
    pub(crate) value: Value,
}

/// Appends what turns the list at `path` into the slots, without touching entries that stay as they are.
pub(crate) fn of_slots(old: &[Value], slots: &[Slot], path: &str, operations: &mut Vec<Value>) {
    let mut next = 0;
    for (at, slot) in slots.iter().enumerate() {
        let path = format!("{path}/{at}");
        let Some(from) = slot.from else {
            operations.push(add(&path, &slot.value));
            continue;
        };
        for _gone in next..from {
            operations.push(remove(&path));
        }
        if let Some(old) = old.get(from) {
            difference(old, &slot.value, &path, operations);
        }
        next = from + 1;
    }
    for _gone in next..old.len() {
        operations.push(remove(&format!("{path}/{}", slots.len())));
    }
}
