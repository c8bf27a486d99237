//! What a `HorizontalPodAutoscaler` says about the load.

use serde_json::Value;

/// Pods that the load asks for. From the metrics, as the autoscaler itself reckons, when it shows all of them, so that the
/// answer may be below its floor; otherwise what it wants, when that is more than its floor.
pub(crate) fn asked(object: &Value) -> Option<u32> {
    by_metrics(object).or_else(|| {
        let wanted = whole(object, "/status/desiredReplicas")?;
        (wanted > whole(object, "/spec/minReplicas").unwrap_or(1)).then_some(wanted)
    })
}

fn whole(object: &Value, path: &str) -> Option<u32> {
    object.pointer(path).and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok())
}

/// Pods now, times what is over what should be, of the metric that asks for most.
fn by_metrics(object: &Value) -> Option<u32> {
    let pods = whole(object, "/status/currentReplicas").filter(|pods| *pods > 0)?;
    let wanted = object.pointer("/spec/metrics").and_then(Value::as_array).filter(|all| !all.is_empty())?;
    let current = object.pointer("/status/currentMetrics").and_then(Value::as_array)?;
    let mut most = 0;
    for (metric, now) in wanted.iter().zip(current) {
        most = most.max(by_metric(metric, now, pods)?);
    }
    (wanted.len() == current.len()).then_some(most)
}

fn by_metric(metric: &Value, now: &Value, pods: u32) -> Option<u32> {
    let kind = metric.get("type").and_then(Value::as_str)?;
    if now.get("type").and_then(Value::as_str) != Some(kind) {
        return None;
    }
    let key = format!("{}{}", kind.get(..1)?.to_lowercase(), kind.get(1..)?);
    let (target, current) = (metric.get(&key)?.get("target")?, now.get(&key)?.get("current")?);
    let value = |of: &Value, key: &str| match of.get(key)? {
        Value::String(text) => milli(text),
        Value::Number(number) => number.as_u64().map(|number| u128::from(number) * 1_000),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    for key in ["averageUtilization", "averageValue", "value"] {
        if let (Some(target), Some(current)) = (value(target, key), value(current, key)) {
            let asked = (u128::from(pods) * current).div_ceil(target.max(1));
            return u32::try_from(asked).ok();
        }
    }
    None
}

/// A quantity of Kubernetes (`1500m`, `2`, `1.5`, `64Mi`, `1e3`) in thousandths; `None` when it is none, or does not fit.
fn milli(text: &str) -> Option<u128> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let (whole, part) = number.split_once('.').unwrap_or((number, ""));
    let digits = format!("{whole}{}", part.get(..part.len().min(9))?);
    let value: u128 = digits.parse().ok()?;
    let down = 10_u128.checked_pow(u32::try_from(part.len().min(9)).ok()?)?;
    // In thousand-millionths, so that `n` and `u` fit.
    let up = match suffix {
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "" => 1_000_000_000,
        _ => factor(suffix)?.checked_mul(1_000_000_000)?,
    };
    Some(value.checked_mul(up)? / down / 1_000_000)
}

fn factor(suffix: &str) -> Option<u128> {
    if let Some(power) = suffix.strip_prefix(['e', 'E']).filter(|power| !power.is_empty()) {
        return 10_u128.checked_pow(power.trim_start_matches('+').parse().ok()?);
    }
    let decimal = ["k", "M", "G", "T", "P", "E"].iter().position(|known| *known == suffix);
    let binary = ["Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].iter().position(|known| *known == suffix);
    let power = |at: usize| u32::try_from(at + 1).ok();
    match (decimal, binary) {
        (Some(at), _) => 1_000_u128.checked_pow(power(at)?),
        (None, Some(at)) => 1_024_u128.checked_pow(power(at)?),
        (None, None) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_metric_that_asks_for_most_counts_and_without_all_of_them_what_is_wanted_above_the_floor() {
        let cpu = |percent: u64| json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}});
        let cpu_now = |percent: u64| json!({"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": percent}}});
        let rate = json!({"type": "Pods", "pods": {"metric": {"name": "r"}, "target": {"type": "AverageValue", "averageValue": "1500m"}}});
        let rate_now =
            json!({"type": "Pods", "pods": {"metric": {"name": "r"}, "current": {"averageValue": "3"}}});
        let of = |wanted: &Value, now: &Value, floor: u64, desired: u64| {
            asked(&json!({
                "spec": {"minReplicas": floor, "metrics": wanted},
                "status": {"currentReplicas": 4, "desiredReplicas": desired, "currentMetrics": now},
            }))
        };
        assert_eq!(of(&json!([cpu(70)]), &json!([cpu_now(35)]), 4, 4), Some(2), "below the floor");
        assert_eq!(of(&json!([cpu(70), rate]), &json!([cpu_now(35), rate_now]), 4, 4), Some(8));
        assert_eq!(of(&json!([cpu(70), rate]), &json!([cpu_now(35)]), 4, 4), None, "a metric is missing");
        assert_eq!(of(&json!([cpu(70)]), &json!(null), 4, 6), Some(6));
        assert_eq!(of(&json!([cpu(70)]), &json!(null), 4, 4), None);
    }

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        for (text, milli_units) in [
            ("1500m", Some(1_500)),
            ("2", Some(2_000)),
            ("1.5", Some(1_500)),
            ("1k", Some(1_000_000)),
            ("1e3", Some(1_000_000)),
            ("1Mi", Some(1_048_576_000)),
            ("250000u", Some(250)),
            ("5000000n", Some(5)),
            ("", None),
            ("x", None),
            ("1Q", None),
            ("999999999999999999999999999999999999E", None),
        ] {
            assert_eq!(milli(text), milli_units, "{text}");
        }
    }
}
