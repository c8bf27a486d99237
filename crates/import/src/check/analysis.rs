//! The rules for an `AnalysisTemplate`.

use std::collections::BTreeSet;

use tidegate_yaml::finding::{Code, shown};

use super::Said;
use crate::{duration, field::Field};

/// Providers, of which a metric has one.
const PROVIDERS: [&str; 12] = [
    "prometheus",
    "web",
    "job",
    "datadog",
    "newRelic",
    "wavefront",
    "kayenta",
    "cloudWatch",
    "graphite",
    "influxdb",
    "skywalking",
    "plugin",
];

pub(super) fn check(root: &Field<'_>, said: &mut Said) {
    let Some(spec) = root.get("spec") else { return };
    let metrics = spec.get("metrics").map(|metrics| metrics.items()).unwrap_or_default();
    let nested = spec.get("templates").is_some_and(|templates| !templates.items().is_empty());
    if metrics.is_empty() && !nested {
        said.missing(&spec, "metrics", "at least one metric, or `templates`");
    }
    let mut names = BTreeSet::new();
    for metric in &metrics {
        if let Some(name) = metric.get("name").filter(|name| !names.insert(name.text().unwrap_or_default())) {
            said.add(
                &name,
                Code::DuplicateKey,
                format!("a second metric called {}", name.found()),
                "give each its own name",
            );
        }
        self::metric(metric, said);
    }
    dry_runs(&spec, said);
}

fn metric(metric: &Field<'_>, said: &mut Said) {
    for key in ["interval", "initialDelay"] {
        let Some(field) = metric.get(key).filter(|field| !is_filled_in(field)) else { continue };
        if field.text().is_some_and(|text| !text.is_empty() && duration::go(text).is_none()) {
            let message = format!("expected a duration, found {}", field.found());
            said.add(&field, Code::BadText, message, "write 30s, 5m or 1h");
        }
    }
    let number =
        |key: &str| metric.get(key).filter(|field| !is_filled_in(field)).and_then(|field| field.whole());
    for key in
        ["count", "failureLimit", "inconclusiveLimit", "consecutiveErrorLimit", "consecutiveSuccessLimit"]
    {
        let Some(field) = metric.get(key).filter(|field| !is_filled_in(field)) else { continue };
        match field.whole() {
            None => {
                said.add(
                    &field,
                    Code::WrongType,
                    format!("expected a whole number, found {}", field.found()),
                    "write a number",
                );
            }
            // Without a limit on failures, only successes in a row end it.
            Some(-1)
                if key == "failureLimit"
                    && number("consecutiveSuccessLimit").is_some_and(|limit| limit > 0) => {}
            Some(-1) if key == "failureLimit" => {
                said.conflict(
                    &field,
                    "`failureLimit: -1` needs `consecutiveSuccessLimit`",
                    "write how many good measurements in a row end it, or a limit",
                );
            }
            Some(limit) if limit < 0 => {
                said.add(&field, Code::OutOfRange, format!("`{limit}` is below zero"), "write 0 or more");
            }
            Some(_) => {}
        }
    }
    limits(metric, &number, said);
    provider(metric, said);
}

/// Limits that a run can reach.
fn limits(metric: &Field<'_>, number: &impl Fn(&str) -> Option<i64>, said: &mut Said) {
    let count = number("count").unwrap_or(0);
    if count <= 0 {
        return;
    }
    let at = |key: &str| metric.get(key).unwrap_or_else(|| metric.clone());
    let failures = number("failureLimit").unwrap_or(0).max(0);
    let successes = number("consecutiveSuccessLimit").unwrap_or(0).max(0);
    if count < failures.saturating_add(successes) {
        let message = format!(
            "`count`, {count}, is less than `failureLimit` and `consecutiveSuccessLimit` together, {}",
            failures.saturating_add(successes)
        );
        said.conflict(&at("count"), message, "raise it, or lower the limits");
    }
    if number("inconclusiveLimit").is_some_and(|limit| count < limit) {
        said.conflict(
            &at("inconclusiveLimit"),
            format!("`count`, {count}, is less than this limit"),
            "raise `count`, or lower it",
        );
    }
    if count > 1 && metric.text_at("interval").is_none() {
        said.missing(metric, "interval", "the time between two of several measurements");
    }
}

fn provider(metric: &Field<'_>, said: &mut Said) {
    let Some(provider) = metric.get("provider").filter(Field::is_map) else { return };
    let found: Vec<&str> = PROVIDERS.into_iter().filter(|key| provider.get(key).is_some()).collect();
    match found.as_slice() {
        [] if provider.entries().is_empty() => said.missing(&provider, "prometheus", "exactly one provider"),
        [] | [_] => {}
        [first, second, ..] => {
            said.conflict(
                &provider,
                format!("`{first}` and `{second}` exclude each other"),
                "keep one, and write a second metric",
            );
        }
    }
}

/// Which metrics are meant is said by regular expressions.
fn dry_runs(spec: &Field<'_>, said: &mut Said) {
    for rule in spec.get("dryRun").map(|rules| rules.items()).unwrap_or_default() {
        let Some(field) = rule.get("metricName") else { continue };
        let pattern = field.text().unwrap_or_default();
        if regex_automata::meta::Regex::new(pattern).is_err() {
            let message = format!("`{}` is no regular expression", shown(pattern));
            said.add(&field, Code::BadText, message, "write `.*` for all metrics");
        }
    }
}

/// Whether an argument stands there: then nothing is known yet.
fn is_filled_in(field: &Field<'_>) -> bool {
    field.text().is_some_and(|text| text.contains("{{"))
}
