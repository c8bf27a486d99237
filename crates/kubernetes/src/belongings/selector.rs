//! Whether a selector finds pods with some labels.

use serde_json::{Map, Value};

/// Whether a label selector (`matchLabels`, `matchExpressions`) finds these labels. An empty one finds everything, none
/// nothing; an operator that is not known is taken to find, which is the careful answer.
pub(crate) fn selects(selector: Option<&Value>, labels: &Map<String, Value>) -> bool {
    let Some(selector) = selector.and_then(Value::as_object) else { return false };
    let wanted = selector.get("matchLabels").and_then(Value::as_object);
    let expressions = selector.get("matchExpressions").and_then(Value::as_array);
    wanted.into_iter().flatten().all(|(key, value)| labels.get(key) == Some(value))
        && expressions.into_iter().flatten().all(|expression| holds(expression, labels))
}

fn holds(expression: &Value, labels: &Map<String, Value>) -> bool {
    let text = |key: &str| expression.get(key).and_then(Value::as_str).unwrap_or_default();
    let label = labels.get(text("key"));
    let values = expression.get("values").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    match text("operator") {
        "In" => label.is_some_and(|label| values.contains(label)),
        "NotIn" => label.is_none_or(|label| !values.contains(label)),
        "Exists" => label.is_some(),
        "DoesNotExist" => label.is_none(),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_selector_finds_labels_as_the_api_server_says() {
        let labels = json!({"app": "shop", "tier": "web"});
        let labels = labels.as_object().unwrap();
        for (selector, finds) in [
            (json!(null), false),
            (json!({}), true),
            (json!({"matchLabels": {"app": "shop"}}), true),
            (json!({"matchLabels": {"app": "shop", "x": "y"}}), false),
            (json!({"matchExpressions": [{"key": "tier", "operator": "In", "values": ["web", "db"]}]}), true),
            (json!({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["web"]}]}), false),
            (json!({"matchExpressions": [{"key": "z", "operator": "NotIn", "values": ["web"]}]}), true),
            (json!({"matchExpressions": [{"key": "z", "operator": "Exists"}]}), false),
            (json!({"matchExpressions": [{"key": "z", "operator": "DoesNotExist"}]}), true),
        ] {
            assert_eq!(selects(Some(&selector), labels), finds, "{selector}");
        }
    }
}
