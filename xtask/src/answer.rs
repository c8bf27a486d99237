//! Reading what the program answers in JSON. What is not there reads as nothing: the caller says what that means.

use serde_json::Value;

/// The text at a JSON pointer; empty when there is none.
pub(crate) fn text<'a>(answer: &'a Value, pointer: &str) -> &'a str {
    answer.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The whole number at a JSON pointer.
pub(crate) fn number(answer: &Value, pointer: &str) -> Option<u64> {
    answer.pointer(pointer).and_then(Value::as_u64)
}

/// The elements of the array at a JSON pointer; none when there is no array.
pub(crate) fn items<'a>(answer: &'a Value, pointer: &str) -> &'a [Value] {
    answer.pointer(pointer).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// Whether `true` stands at a JSON pointer.
pub(crate) fn holds(answer: &Value, pointer: &str) -> bool {
    answer.pointer(pointer) == Some(&Value::Bool(true))
}
