//! JSON values as YAML that people read: block style, every text quoted that could be taken for something else.

use serde_json::Value;

/// One document after the other, separated by `---`.
pub(crate) fn documents(values: &[Value]) -> String {
    values.iter().map(document).collect::<Vec<_>>().join("---\n")
}

/// One document.
pub(crate) fn document(value: &Value) -> String {
    lines(value).join("\n") + "\n"
}

fn lines(value: &Value) -> Vec<String> {
    if let Some(keys) = value.as_object().filter(|keys| !keys.is_empty()) {
        return keys.iter().flat_map(|(key, value)| below(key, value)).collect();
    }
    if let Some(items) = value.as_array().filter(|items| !items.is_empty()) {
        return items.iter().flat_map(item).collect();
    }
    vec![flat(value)]
}

fn below(key: &str, value: &Value) -> Vec<String> {
    let key = scalar(key);
    let indent = match value {
        Value::Object(keys) if !keys.is_empty() => "  ",
        Value::Array(items) if !items.is_empty() => "",
        Value::Null
        | Value::Bool(_)
        | Value::Number(_)
        | Value::String(_)
        | Value::Array(_)
        | Value::Object(_) => return vec![format!("{key}: {}", flat(value))],
    };
    let lines = lines(value).into_iter().map(|line| format!("{indent}{line}"));
    std::iter::once(format!("{key}:")).chain(lines).collect()
}

fn item(value: &Value) -> Vec<String> {
    let dash = |number: usize| if number == 0 { "- " } else { "  " };
    lines(value).into_iter().enumerate().map(|(number, line)| format!("{}{line}", dash(number))).collect()
}

fn flat(value: &Value) -> String {
    // JSON is YAML.
    value.as_str().map_or_else(|| value.to_string(), scalar)
}

/// A text without quotes where nobody can take it for anything else.
fn scalar(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/');
    let word = matches!(
        text.to_ascii_lowercase().as_str(),
        "true" | "false" | "yes" | "no" | "on" | "off" | "null" | "y" | "n" | "nan" | "inf"
    );
    if begins && !word && text.chars().all(plain) { text.to_owned() } else { Value::from(text).to_string() }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_is_written_is_read_back_as_it_was() {
        let value = json!({
            "a": {"b": [1, {"c": "off", "d": []}, ["x", "1.5"]], "e": {}},
            "key: odd": "two\nlines", "n": null, "t": true, "u": "a b",
        });
        let text = document(&value);
        assert!(text.contains("- c: \"off\"\n"), "{text}");
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.yaml");
        std::fs::write(
            &path,
            format!(
                "kind: Thing\nvalue:\n{}",
                text.lines().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
            ),
        )
        .unwrap();
        let read = crate::config::manifest(&path, "Thing").unwrap();
        assert_eq!(read["value"], value, "{text}");
    }
}
