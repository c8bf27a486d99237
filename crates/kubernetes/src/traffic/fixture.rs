//! What the tests of several routers need: JSON Patch as an API server applies it, and dice.

use serde_json::Value;

use super::{Ends, HeaderValue, TesterMatch};

pub(crate) const ENDS: Ends<'static> = Ends { root: "shop", stable: "shop-a", new: Some("shop-b"), port: 80 };

/// The object after the patch (RFC 6902: add, replace, remove, test). Panics where an API server would refuse.
pub(crate) fn applied(object: &Value, operations: &[Value]) -> Value {
    let mut object = object.clone();
    for operation in operations {
        let path = operation["path"].as_str().unwrap();
        let (parent, key) = path.rsplit_once('/').unwrap();
        let key = key.replace("~1", "/").replace("~0", "~");
        let verb = operation["op"].as_str().unwrap();
        if verb == "test" {
            assert_eq!(object.pointer(path), operation.get("value"), "{operation}");
            continue;
        }
        if verb == "replace" || verb == "remove" {
            assert!(object.pointer(path).is_some(), "{operation}");
        }
        match object.pointer_mut(parent).unwrap_or_else(|| panic!("{operation}")) {
            Value::Object(map) if verb == "remove" => drop(map.remove(&key)),
            Value::Object(map) => drop(map.insert(key, operation["value"].clone())),
            Value::Array(list) => {
                let at: usize = key.parse().unwrap();
                match verb {
                    "add" => list.insert(at, operation["value"].clone()),
                    "replace" => list[at] = operation["value"].clone(),
                    _ => drop(list.remove(at)),
                }
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => panic!("{operation}"),
        }
    }
    object
}

pub(crate) fn exact(name: &str, value: &str) -> TesterMatch {
    TesterMatch::Header { name: name.to_owned(), value: HeaderValue::Exact(value.to_owned()) }
}

pub(crate) fn cookie(name: &str, value: &str) -> TesterMatch {
    TesterMatch::Cookie { name: name.to_owned(), value: value.to_owned() }
}
