//! Metrics of a Canary: built in, or by a `MetricTemplate`.

use crate::{
    Options,
    analysis::plain_gate,
    difference::Report,
    field::Field,
    form,
    gate::{Gate, Limits},
    known,
    objects::{Object, Objects},
};

/// Whom the metrics are about.
pub(super) struct About<'a> {
    pub(super) objects: &'a Objects<'a>,
    pub(super) options: &'a Options,
    pub(super) owner: &'a Object<'a>,
    pub(super) spec: &'a Field<'a>,
    /// The service in `tidegate.yaml`: what its releases' names begin with.
    pub(super) service: &'a str,
    /// Between two checks, milliseconds.
    pub(super) interval: u64,
}

/// A gate for each metric that can be asked.
pub(super) fn gates(analysis: &Field<'_>, about: &About<'_>, report: &mut Report) -> Vec<Gate> {
    let threshold = analysis.get("threshold").and_then(|threshold| threshold.whole()).unwrap_or(1);
    let limits = Limits {
        count: None,
        interval_ms: about.interval,
        initial_delay_ms: 0,
        failures: i32::try_from(threshold.saturating_sub(1).clamp(0, 10_000)).unwrap_or(0),
        inconclusive: 0,
        consecutive_errors: 0,
        consecutive_successes: 0,
    };
    let metrics = analysis.get("metrics").map(|metrics| metrics.items()).unwrap_or_default();
    metrics.iter().filter_map(|metric| gate(metric, &limits, about, report)).collect()
}

fn gate(metric: &Field<'_>, limits: &Limits, about: &About<'_>, report: &mut Report) -> Option<Gate> {
    let name = metric.text_at("name").unwrap_or_default();
    let interval = metric.text_at("interval").unwrap_or("1m");
    let (address, query) = match (metric.get("templateRef"), metric.text_at("query")) {
        (Some(template), _) => of_template(&template, metric, interval, about, report)?,
        (None, Some(query)) => (None, query.to_owned()),
        (None, None) => (None, built_in(metric, name, interval, about, report)?),
    };
    let address = address
        .or_else(|| about.spec.text_at("metricsServer").map(str::to_owned))
        .or_else(|| about.options.prometheus.clone())
        .filter(|address| form::is_url(address));
    let Some(address) = address else {
        report.error(
            metric,
            format!("`{name}` asks the Prometheus that Flagger is configured with"),
            "name it: `tidegate import --prometheus http://HOST:9090`; the gate is not written",
        );
        return None;
    };
    let success = range(metric, name, report)?;
    Some(plain_gate(name, &address, &query, success, limits.clone()))
}

/// When a value is good: `result >= 99 && result <= 100`.
fn range(metric: &Field<'_>, name: &str, report: &mut Report) -> Option<String> {
    let number = |field: Field<'_>| {
        let text = field.text()?.trim().to_owned();
        text.parse::<f64>().is_ok_and(f64::is_finite).then_some(text)
    };
    let of = |key: &str| metric.at(&format!("thresholdRange.{key}")).and_then(number);
    let (mut min, mut max) = (of("min"), of("max"));
    if let Some(threshold) = metric.get("threshold").and_then(number) {
        // As it was before there were ranges: a share of successes must reach it, everything else stay below.
        if name == "request-success-rate" {
            min = min.or(Some(threshold));
        } else {
            max = max.or(Some(threshold));
        }
    }
    let bounds: Vec<String> = min
        .map(|min| format!("result >= {min}"))
        .into_iter()
        .chain(max.map(|max| format!("result <= {max}")))
        .collect();
    if bounds.is_empty() {
        report.error(
            metric,
            format!("`{name}` has no `thresholdRange`: it is never a failed check"),
            "the gate is not written: say which values are good",
        );
        return None;
    }
    crate::condition::read(&bounds.join(" && ")).ok().map(|condition| condition.to_string())
}

/// The address and the query of a `MetricTemplate`.
fn of_template(
    named: &Field<'_>,
    metric: &Field<'_>,
    interval: &str,
    about: &About<'_>,
    report: &mut Report,
) -> Option<(Option<String>, String)> {
    let name = named.text_at("name").unwrap_or_default();
    let namespace = named.text_at("namespace").unwrap_or(about.owner.namespace);
    let Some(template) = about.objects.named("MetricTemplate", name, namespace) else {
        report.error(
            named,
            format!("asks the MetricTemplate `{name}`"),
            "it is in none of the files: name the one that has it; the gate is not written",
        );
        return None;
    };
    known::say(template, report);
    let kind = template.field.at("spec.provider.type");
    if let Some(kind) = kind.filter(|kind| kind.text() != Some("prometheus")) {
        report.error(
            &kind,
            format!("asks {}", kind.found()),
            "no source of Tidegate's: ask it by `web` where it has an HTTP API, or by a `command` that prints a number; the gate is not written",
        );
        return None;
    }
    let query = template.field.at("spec.query")?;
    let text = filled(&query, metric, interval, about, report)?;
    Some((template.field.text_at("spec.provider.address").map(str::to_owned), text))
}

/// A query with its variables filled in.
fn filled(
    query: &Field<'_>,
    metric: &Field<'_>,
    interval: &str,
    about: &About<'_>,
    report: &mut Report,
) -> Option<String> {
    let mut out = String::new();
    let mut rest = query.text()?;
    while let Some((before, behind)) = rest.split_once("{{") {
        out.push_str(before);
        let (inside, after) = behind.split_once("}}")?;
        rest = after;
        let word = inside.trim();
        let service = || about.spec.text_at("service.name").or_else(|| about.spec.text_at("targetRef.name"));
        let value = match word {
            "namespace" => Some(
                if about.owner.namespace.is_empty() { "default" } else { about.owner.namespace }.to_owned(),
            ),
            "interval" => Some(interval.to_owned()),
            "service" => service().map(str::to_owned),
            "name" => Some(about.owner.name.to_owned()),
            "ingress" => about.spec.text_at("ingressRef.name").map(str::to_owned),
            "target" => {
                report.warn(
                    query,
                    "`{{ target }}` is the Deployment with the new release",
                    "that Deployment is called by the service, `-`, and `{{release}}`, which stands there now; `pod=~\"{{pods}}\"` names its pods",
                );
                Some(format!("{}-{{{{release}}}}", about.service))
            }
            other => other
                .strip_prefix("variables.")
                .and_then(|key| metric.at(&format!("templateVariables.{key}"))?.text().map(str::to_owned)),
        };
        let Some(value) = value else {
            report.error(
                query,
                format!("`{{{{ {word} }}}}` in the query"),
                "nobody gives it a value; the gate is not written",
            );
            return None;
        };
        out.push_str(&value);
    }
    out.push_str(rest);
    Some(out)
}

/// The queries that come with Flagger, of a mesh that counts by workload.
fn built_in(
    metric: &Field<'_>,
    name: &str,
    interval: &str,
    about: &About<'_>,
    report: &mut Report,
) -> Option<String> {
    let namespace = if about.owner.namespace.is_empty() { "default" } else { about.owner.namespace };
    let of = format!(
        "reporter=\"destination\",destination_workload_namespace=\"{namespace}\",destination_workload=\"{}-{{{{release}}}}\"",
        about.service
    );
    let istio = super::provider_of(about.spec) == "istio";
    match (name, istio) {
        ("request-success-rate", true) => Some(format!(
            "sum(rate(istio_requests_total{{{of},response_code!~\"5..\"}}[{interval}])) / sum(rate(istio_requests_total{{{of}}}[{interval}])) * 100"
        )),
        ("request-duration", true) => Some(format!(
            "histogram_quantile(0.99, sum(rate(istio_request_duration_milliseconds_bucket{{{of}}}[{interval}])) by (le))"
        )),
        ("request-success-rate" | "request-duration", false) => {
            report.error(
                metric,
                format!("`{name}` comes with a query for the router"),
                "the gate is not written: give the service a metric with the router's counters, and `gates.error_rate` and `latency_p99` ask it",
            );
            None
        }
        _ => {
            report.error(
                metric,
                format!("`{name}` is no metric that comes with Flagger, and names no template"),
                "the gate is not written",
            );
            None
        }
    }
}
