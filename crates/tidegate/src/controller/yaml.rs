//! JSON values as YAML that people read: block style, every text quoted that could be taken for something else.

use serde_json::Value;

/// One document after the other, separated by `---`.
pub(crate) fn documents(values: &[Value]) -> String {
    values.iter().map(document).collect::<Vec<_>>().join("---\n")
}

/// One document.
pub(crate) fn document(value: &Value) -> String {
    let mut text = String::new();
    put(value, 0, &mut text);
    text
}

fn put(value: &Value, depth: usize, text: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(keys) if !keys.is_empty() => {
            for (key, value) in keys {
                text.push_str(&format!("{indent}{}:", scalar(key)));
                below(value, depth, text);
            }
        }
        Value::Array(items) if !items.is_empty() => {
            for item in items {
                let mut part = String::new();
                put(item, depth + 1, &mut part);
                text.push_str(&format!("{indent}- {}", part.trim_start()));
            }
        }
        _ => text.push_str(&format!("{indent}{}\n", flat(value))),
    }
}

fn below(value: &Value, depth: usize, text: &mut String) {
    match value {
        Value::Object(keys) if !keys.is_empty() => {
            text.push('\n');
            put(value, depth + 1, text);
        }
        Value::Array(items) if !items.is_empty() => {
            text.push('\n');
            put(value, depth, text);
        }
        _ => text.push_str(&format!(" {}\n", flat(value))),
    }
}

fn flat(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        // JSON is YAML.
        value => value.to_string(),
    }
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
                text.lines().map(|line| format!("  {line}\n")).collect::<String>()
            ),
        )
        .unwrap();
        let read = crate::config::manifest(&path, "Thing").unwrap();
        assert_eq!(read["value"], value, "{text}");
    }
}
