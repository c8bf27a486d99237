//! What must hold between gates, their metrics and how they judge.

use serde_json::Value;
use tidegate_adapters::metrics::{PODS, RELEASE};
use tidegate_core::{
    expression::{Expression, ExpressionError, Unit},
    judge::scope,
};

use super::{
    super::{
        fields,
        finding::{Code, Complaint, Place, shown},
        judgement, suggest,
        units::decimal_text,
    },
    Checker, at, number,
};

/// Gates whose question needs requests by how long they took.
const TIMED: [&str; 3] = ["latency_p95", "latency_p99", "latency_shift"];

impl Checker<'_> {
    /// Everything about the gates of one service; `path` is where it stands. Without a list of metrics, as where they come
    /// with the evidence, their names are taken as they are.
    pub(in crate::config) fn gates(&mut self, service: &Value, path: &str) {
        self.shift(service, path);
        self.bad(service, path);
        for (name, metric) in entries(service, "/metrics") {
            self.counters(metric, &at(path, &format!("metrics.{}", shown(name))));
        }
        for (name, gate) in entries(service, "/gates").filter(|(name, _)| *name != "custom") {
            self.asked(service, name, gate, &at(path, &format!("gates.{name}")));
        }
        for (name, gate) in entries(service, "/gates/custom") {
            self.custom(service, name, gate, &at(path, &format!("gates.custom.{}", shown(name))));
        }
    }

    /// The whole distribution is only ever compared sample by sample.
    fn shift(&mut self, service: &Value, path: &str) {
        let gate = service.pointer("/gates/latency_shift").filter(|gate| gate.is_object());
        if gate.is_some_and(|gate| mode(service, gate) == "threshold") {
            let message = "`latency_shift` cannot be asked in `threshold` mode";
            let complaint = Complaint::new(Code::Conflict, message)
                .help("write `mode: sequential` in it, or take it out");
            let gate = at(path, "gates.latency_shift");
            self.add(&[&format!("{gate}.mode"), &gate], complaint);
        }
    }

    /// What is tolerated cannot be bad.
    fn bad(&mut self, service: &Value, path: &str) {
        let bad = number(service, "/judgement/bad_milli");
        let tolerated = number(service, "/gates/error_rate/ratio_max_milli");
        let (Some(bad), Some(tolerated)) = (bad, tolerated) else { return };
        if bad <= tolerated {
            let message = format!(
                "a ratio of {} is to be ruled out as bad, and {} is tolerated",
                decimal_text(bad),
                decimal_text(tolerated)
            );
            let complaint = Complaint::new(Code::Conflict, message)
                .help("raise `bad` in `judgement`, or lower `ratio_max` in `gates.error_rate`");
            self.add(&[&at(path, "judgement.bad"), &at(path, "gates.error_rate.ratio_max")], complaint);
        }
    }

    /// A share of failed requests needs both of its counters, and each release its own.
    fn counters(&mut self, metric: &Value, path: &str) {
        for source in ["prometheus", "scrape"] {
            let Some(asked) = metric.get(source) else { continue };
            if asked.get("requests").is_some() && asked.get("failures").is_none() {
                let complaint = Complaint::new(Code::MissingKey, "`failures` is missing beside `requests`")
                    .help("name the counter of requests that failed");
                self.add(&[&format!("{path}.{source}.requests")], complaint);
            }
        }
        // Whose an instance is, is known; what a server stores says it only by a label.
        let Some(asked) = metric.get("prometheus") else { return };
        for key in ["requests", "failures", "latency"] {
            let text = asked.get(key).and_then(Value::as_str);
            if text.is_some_and(|text| !text.contains(RELEASE) && !text.contains(PODS)) {
                let message = format!("`{key}` would count both releases together");
                let complaint = Complaint::new(Code::Conflict, message)
                    .help(format!("name the release by a label, as `{{version=\"{RELEASE}\"}}`"));
                self.add(&[&format!("{path}.prometheus.{key}")], complaint);
            }
        }
    }

    /// A standard gate that asks a metric.
    fn asked(&mut self, service: &Value, name: &str, gate: &Value, path: &str) {
        let Some(metric) = gate.get("metric").and_then(Value::as_str) else { return };
        let at = format!("{path}.metric");
        if mode(service, gate) == "threshold" {
            let complaint = Complaint::new(
                Code::Conflict,
                "a metric is only asked in `sequential` mode; in `threshold` mode the proxy's counters are",
            );
            self.add(&[&at], complaint.help("write `mode: sequential` beside it, or take it out"));
        }
        let Some(source) = self.known(service, metric, &at) else { return };
        let needs = |key: &str| {
            let text = format!("`{}` has no `{key}`, which `{name}` asks for", shown(metric));
            Complaint::new(Code::Conflict, text)
        };
        if source.get("requests").is_none() {
            self.add(&[&at], needs("requests").help("name a metric with counters, or write a custom gate"));
        } else if TIMED.contains(&name) && source.get("latency").is_none() {
            self.add(&[&at], needs("latency").help("add the histogram to the metric"));
        }
    }

    /// What a metric asks its source, when it is one of the service's.
    fn known<'v>(&mut self, service: &'v Value, metric: &str, at: &str) -> Option<&'v Value> {
        let metrics = service.get("metrics")?.as_object()?;
        if let Some(known) = metrics.get(metric) {
            return ["prometheus", "scrape", "web", "command"].iter().find_map(|source| known.get(source));
        }
        // One whose definition is wrong was reported there.
        if self.places.written(&format!("{}.metrics.{}", service_of(at), shown(metric))).is_none() {
            let complaint =
                Complaint::new(Code::UnknownWord, format!("there is no metric `{}`", shown(metric)));
            let near = suggest::nearest(metric, metrics.keys().map(String::as_str));
            let help = near.map_or_else(
                || "define it under `metrics`".to_owned(),
                |near| format!("did you mean `{near}`?"),
            );
            self.add(&[at], complaint.help(help));
        }
        None
    }

    fn custom(&mut self, service: &Value, name: &str, gate: &Value, path: &str) {
        // The first two are asked of every plan that has such stages, under these very names.
        if ["instances", "shadow"].contains(&name) || fields::is_standard_gate(name) {
            let complaint =
                Complaint::new(Code::Conflict, format!("`{name}` is the name of a standard gate"));
            self.add(&[path], complaint.help("give it another name"));
        }
        let metric = gate.get("metric").and_then(Value::as_str).unwrap_or_default();
        let at = format!("{path}.metric");
        let source = if metric.is_empty() { None } else { self.known(service, metric, &at) };
        let counts = source.map(|source| source.get("requests").is_some());
        if gate.get("goal_milli").is_some_and(|goal| !goal.is_null()) {
            return self.goal(gate, counts, metric, path);
        }
        if counts == Some(true) {
            let message = format!("`{}` has counters, and conditions need a value", shown(metric));
            let complaint = Complaint::new(Code::Conflict, message)
                .help("ask its counters in `error_rate`, or name a metric with a value");
            self.add(&[&at], complaint);
        }
        self.conditions(gate, path);
        self.analysis(gate, path);
        self.at_steps(service, gate, path);
    }

    /// Measurements need time between them, and are counted by limits of their own.
    fn analysis(&mut self, gate: &Value, path: &str) {
        let Some(run) = gate.get("analysis").filter(|run| run.is_object()) else { return };
        let several = number(run, "/count").is_none_or(|count| count > 1);
        if several && number(run, "/interval_ms") == Some(0) {
            let complaint = Complaint::new(Code::MissingKey, "expected `interval` for several measurements");
            let at = format!("{path}.analysis");
            self.add(&[&at], complaint.help("write the time between two, or `count: 1`"));
        }
        let at = format!("{path}.failures_max");
        if self.places.written(&at).is_some() {
            let complaint = Complaint::new(Code::Conflict, "`failures_max` has no meaning beside `analysis`");
            self.add(&[&at], complaint.help("write `failure_limit` in `analysis`"));
        }
    }

    /// A gate names steps that are there.
    fn at_steps(&mut self, service: &Value, gate: &Value, path: &str) {
        let Some(strategy) = service.get("strategy") else { return };
        let canary = strategy.pointer("/canary/steps").and_then(Value::as_array);
        let ends =
            |steps: &Vec<Value>| steps.last().and_then(|step| number(step, "/share_bp")) == Some(10_000);
        let there = match canary {
            Some(steps) => steps.len() + usize::from(!ends(steps)),
            None if strategy.get("blue_green").is_some() => 2,
            None if strategy.get("all_at_once").is_some() => 1,
            None => return,
        };
        let named = gate.get("steps").and_then(Value::as_array).into_iter().flatten();
        for (index, step) in named.enumerate() {
            let beyond =
                step.as_u64().and_then(|step| usize::try_from(step).ok()).filter(|step| *step > there);
            if let Some(step) = beyond {
                let message = format!("there is no step {step}: the strategy has {there}");
                let complaint = Complaint::new(Code::OutOfRange, message).help("steps are counted from 1");
                self.add(&[&format!("{path}.steps[{index}]"), path], complaint);
            }
        }
    }

    /// A goal is counted, and has no conditions.
    fn goal(&mut self, gate: &Value, counts: Option<bool>, metric: &str, path: &str) {
        if counts == Some(false) {
            let message = format!("`{}` has a value, and a goal needs counters", shown(metric));
            let complaint = Complaint::new(Code::Conflict, message).help(
                "name a metric with `requests` and `failures`, where `failures` counts the goals reached",
            );
            self.add(&[&format!("{path}.metric")], complaint);
        }
        for key in ["success", "failure"] {
            if gate.get(key).is_some_and(|condition| !condition.is_null()) {
                let complaint =
                    Complaint::new(Code::Conflict, format!("`{key}` has no meaning beside `goal`"));
                self.add(&[&format!("{path}.{key}")], complaint.help("remove one of both"));
            }
        }
    }

    /// There is one at least, and what stands in them goes together. Nothing is said where the unit is wrong: it was said
    /// there.
    fn conditions(&mut self, gate: &Value, path: &str) {
        let text = |key: &str| gate.get(key).and_then(Value::as_str);
        let Some(unit) = text("unit").and_then(|unit| unit.parse::<Unit>().ok()) else { return };
        let written = |key: &str| self.places.written(&format!("{path}.{key}")).is_some();
        if !written("success") && !written("failure") {
            let complaint = Complaint::new(Code::MissingKey, "expected `success`, `failure`, or both");
            self.add(&[path], complaint.help("write when the value is good, as `success: result < 5%`"));
        }
        for key in ["success", "failure"] {
            let Some(condition) = text(key) else { continue };
            let checked = Expression::parse(condition).and_then(|parsed| parsed.check(&scope(unit)));
            if let Err(error) = checked {
                self.condition(condition, &error, &format!("{path}.{key}"));
            }
        }
    }

    /// At the very column of the condition, where its text stands in the file as it is.
    fn condition(&mut self, condition: &str, error: &ExpressionError, path: &str) {
        let whole = self.places.nearest(path);
        let length = condition.chars().count();
        let quotes = match whole.length.checked_sub(length) {
            Some(0) => Some(0),
            Some(2) => Some(1),
            _ => None,
        };
        let place = quotes.filter(|_| error.column <= length).map_or(whole, |quotes| Place {
            line: whole.line,
            column: whole.column + quotes + error.column - 1,
            length: error.text.chars().count().clamp(1, length + 1 - error.column),
        });
        let message = format!("`{}` in the condition: {}", shown(&error.text), error.problem);
        self.findings.add(place, path, Complaint::new(Code::BadText, message));
    }
}

fn mode(service: &Value, gate: &Value) -> Value {
    gate.get("mode").cloned().unwrap_or_else(|| judgement::mode_of(service))
}

/// `services.shop` of `services.shop.gates.cpu`; nothing of `gates.cpu`.
fn service_of(path: &str) -> &str {
    path.rfind(".gates.").and_then(|cut| path.get(..cut)).unwrap_or_default()
}

fn entries<'v>(service: &'v Value, pointer: &str) -> impl Iterator<Item = (&'v String, &'v Value)> {
    service.pointer(pointer).and_then(Value::as_object).into_iter().flatten()
}
