//! An analysis of a Rollout: its templates flattened, its arguments filled in, a gate for each metric.

use std::collections::BTreeMap;

use regex_automata::meta::Regex;
use tidegate_yaml::tree::{Content, Node, Scalar};

use crate::{
    Options, condition,
    difference::Report,
    duration,
    field::Field,
    form,
    gate::{Gate, Limits},
    known, member,
    objects::{Object, Objects},
    out::{Value, text},
    provider,
};

/// Templates within templates.
const DEPTH_MAX: usize = 16;
/// Measurements that can be counted.
const MANY: u32 = 100_000;
/// Templates of one analysis, nested ones too.
const TEMPLATES_MAX: usize = 200;

/// Whom an analysis is about.
pub(crate) struct About<'a> {
    pub(crate) objects: &'a Objects<'a>,
    pub(crate) options: &'a Options,
    pub(crate) owner: &'a Object<'a>,
}

/// The gates of one analysis.
#[derive(Debug, Default)]
pub(crate) struct Run {
    pub(crate) gates: Vec<Gate>,
}

impl Run {
    /// How long it takes; nothing when a gate has no end.
    pub(crate) fn length_ms(&self) -> Option<u64> {
        self.gates.iter().try_fold(0, |longest: u64, gate| Some(longest.max(gate.limits.length_ms()?)))
    }
}

/// What an argument stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Argument {
    Text(String),
    Secret(String),
    /// Declared, and nobody says what it is.
    Nothing,
}

type Arguments = BTreeMap<String, Argument>;

/// Reads the analysis that `block` asks for.
pub(crate) fn run(block: &Field<'_>, about: &About<'_>, report: &mut Report) -> Run {
    let mut templates = Vec::new();
    gather(block, about, 0, &mut templates, report);
    let mut arguments = Arguments::new();
    for template in &templates {
        declare(template, &mut arguments, report);
    }
    give(block, about, &mut arguments, report);
    let dry = dry_runs(block, &templates, report);
    let mut gates: Vec<Gate> = Vec::new();
    for template in &templates {
        for metric in template.get("metrics").map(|metrics| metrics.items()).unwrap_or_default() {
            // What is wrong with those that are none was said.
            for gate in gates_of(&metric, &arguments, &dry, about, report).into_iter().flatten() {
                if gates.iter().any(|one| one.name == gate.name) {
                    let theirs = format!("two metrics are called `{}`, which Argo refuses", gate.name);
                    report.error(&metric, theirs, "the second one is not written");
                } else {
                    gates.push(gate);
                }
            }
        }
    }
    Run { gates }
}

/// The specs of all templates that are named, and of those that they name.
fn gather<'a>(
    block: &Field<'a>,
    about: &About<'a>,
    depth: usize,
    found: &mut Vec<Field<'a>>,
    report: &mut Report,
) {
    for named in block.get("templates").map(|templates| templates.items()).unwrap_or_default() {
        let name = named.text_at("templateName").unwrap_or_default();
        let cluster = named.get("clusterScope").and_then(|scope| scope.truth()) == Some(true);
        let kind = if cluster { "ClusterAnalysisTemplate" } else { "AnalysisTemplate" };
        let namespace = if cluster { "" } else { about.owner.namespace };
        let template = about.objects.named(kind, name, namespace);
        let Some(spec) = template.and_then(|template| template.field.get("spec")) else {
            let theirs = format!("asks the {kind} `{name}`");
            report.error(
                &named,
                theirs,
                "it is in none of the files: name the one that has it; its gates are not written",
            );
            continue;
        };
        if found.iter().any(|one| std::ptr::eq(one.node, spec.node)) {
            continue;
        }
        if depth >= DEPTH_MAX || found.len() >= TEMPLATES_MAX {
            report.error(&named, "templates within templates", "too many of them; the rest is not written");
            return;
        }
        if let Some(template) = template {
            known::say(template, report);
        }
        found.push(spec.clone());
        gather(&spec, about, depth + 1, found, report);
    }
}

/// The arguments that a template declares. Two templates may not give one name two values.
fn declare(template: &Field<'_>, arguments: &mut Arguments, report: &mut Report) {
    for argument in template.get("args").map(|args| args.items()).unwrap_or_default() {
        let name = argument.text_at("name").unwrap_or_default().to_owned();
        let value = match (argument.get("value"), argument.get("valueFrom")) {
            (Some(value), _) => Argument::Text(value.text().unwrap_or_default().to_owned()),
            (None, Some(from)) => from.get("secretKeyRef").map_or(Argument::Nothing, |secret| {
                let of = |key| secret.text_at(key).unwrap_or_default();
                Argument::Secret(provider::secret_mark(of("name"), of("key")))
            }),
            (None, None) => Argument::Nothing,
        };
        match arguments.get(&name) {
            Some(known) if *known != Argument::Nothing && value != Argument::Nothing && *known != value => {
                let theirs = format!("two templates give `{name}` different values, which Argo refuses");
                report.error(&argument, theirs, "the first value is used");
            }
            Some(known) if *known != Argument::Nothing => {}
            _ => drop(arguments.insert(name, value)),
        }
    }
}

/// The values that the Rollout gives.
fn give(block: &Field<'_>, about: &About<'_>, arguments: &mut Arguments, report: &mut Report) {
    let mut given: Vec<&str> = Vec::new();
    for argument in block.get("args").map(|args| args.items()).unwrap_or_default() {
        let name = argument.text_at("name").unwrap_or_default();
        if !arguments.contains_key(name) {
            report.note(
                &argument,
                format!("`{name}` is an argument that no template declares"),
                "left out, as there",
            );
            continue;
        }
        if given.contains(&name) {
            let theirs = format!("`{name}` is given twice; the last one is taken");
            stricter(about, report, &argument, theirs, "the last one is taken: keep one of the two");
        }
        given.push(name);
        let value = match (argument.get("value"), argument.get("valueFrom")) {
            (Some(value), _) => Argument::Text(value.text().unwrap_or_default().to_owned()),
            (None, Some(from)) => value_from(&from, about, report),
            (None, None) => {
                stricter(
                    about,
                    report,
                    &argument,
                    format!("`{name}` has no value: the empty text stands for it"),
                    "the same; give it a value",
                );
                Argument::Text(String::new())
            }
        };
        arguments.insert(name.to_owned(), value);
    }
}

/// What Argo lets through and Tidegate does not, unless all is to stay as it was.
fn stricter(about: &About<'_>, report: &mut Report, at: &Field<'_>, theirs: String, ours: &str) {
    if about.options.compat {
        report.warn(at, theirs, ours);
    } else {
        report.error(at, theirs, ours);
    }
}

fn value_from(from: &Field<'_>, about: &About<'_>, report: &mut Report) -> Argument {
    if let Some(hash) = from.get("podTemplateHashValue") {
        if hash.text() == Some("Latest") {
            let ours = "`{{release}}`, the release's tag, which pods have as the label `tidegate.dev/release`; `pod=~\"{{pods}}\"` names them without a label";
            report.warn(&hash, "the hash of the new pods, the label `rollouts-pod-template-hash`", ours);
            return Argument::Text("{{release}}".to_owned());
        }
        let theirs = "the hash of the stable pods";
        report.error(&hash, theirs, "a query with `{{release}}` is asked for both releases, and conditions compare `new` with `stable`: write it so");
        return Argument::Nothing;
    }
    if let Some(path) = from.text_at("fieldRef.fieldPath") {
        return if let Some(value) = at_path(&about.owner.field, path) {
            report.note(
                from,
                format!("the value of `{path}` of the Rollout when the analysis begins"),
                format!("its value now: `{value}`"),
            );
            Argument::Text(value)
        } else {
            report.error(
                from,
                format!("the value of `{path}` of the Rollout"),
                "it is not in the file; gates that need it are not written",
            );
            Argument::Nothing
        };
    }
    Argument::Nothing
}

/// The value at `metadata.labels['app']`, `spec.template.spec.containers[0].image` and the like.
fn at_path(root: &Field<'_>, path: &str) -> Option<String> {
    let mut field = root.clone();
    let mut rest = path;
    while !rest.is_empty() {
        rest = rest.strip_prefix('.').unwrap_or(rest);
        if let Some(inside) = rest.strip_prefix('[') {
            let (key, behind) = inside.split_once(']')?;
            let name = key.trim_matches(['\'', '"']);
            field = match key.parse::<usize>() {
                Ok(index) => field.items().into_iter().nth(index)?,
                Err(_) => field.get(name)?,
            };
            rest = behind;
        } else {
            let end = rest.find(['.', '[']).unwrap_or(rest.len());
            let (key, behind) = rest.split_at_checked(end)?;
            field = field.get(key)?;
            rest = behind;
        }
    }
    field.text().map(str::to_owned)
}

/// Which metrics are only looked at. The names are unanchored regular expressions there.
fn dry_runs(block: &Field<'_>, templates: &[Field<'_>], report: &mut Report) -> Vec<Regex> {
    let metrics =
        || templates.iter().filter_map(|template| template.get("metrics")).flat_map(|all| all.items());
    let mut all = Vec::new();
    for of in std::iter::once(block).chain(templates) {
        for rule in of.get("dryRun").map(|rules| rules.items()).unwrap_or_default() {
            let pattern = rule.text_at("metricName").unwrap_or_default();
            match Regex::new(pattern) {
                Ok(regex) => {
                    if !metrics().any(|metric| regex.is_match(metric.text_at("name").unwrap_or_default())) {
                        let theirs =
                            format!("`{pattern}` names no metric, which ends the analysis with an error");
                        report.warn(&rule, theirs, "left out");
                    }
                    all.push(regex);
                }
                Err(_) => report.error(
                    &rule,
                    format!("`{pattern}` names metrics by a regular expression"),
                    "it is none; write the metrics' names",
                ),
            }
        }
    }
    all
}

fn gates_of(
    metric: &Field<'_>,
    arguments: &Arguments,
    dry: &[Regex],
    about: &About<'_>,
    report: &mut Report,
) -> Option<Vec<Gate>> {
    let mut missing = Vec::new();
    let filled = fill(metric.node, arguments, &mut missing);
    let metric = Field { node: &filled, file: metric.file, path: metric.path.clone(), place: metric.place };
    let name = metric.text_at("name").unwrap_or("metric").to_owned();
    if !missing.is_empty() {
        let theirs = format!("`{name}` needs {}, which nobody gives", missing.join(", "));
        report.error(&metric, theirs, "the gate is not written: give the arguments values");
        return None;
    }
    let provider = metric.get("provider")?;
    let source = provider::source(&provider, about.options.prometheus.as_deref(), report);
    let questions = questions(&name, source.as_ref(), &metric, report);
    let (Some(source), Some(questions)) = (source, questions) else { return None };
    if provider::holds_secret(&source.1) {
        report.error(
            &metric,
            "a value from a Secret is part of the question",
            "only a bearer token can come from a variable; the gate is not written",
        );
        return None;
    }
    about.services(&metric, &source.1, report);
    let limits = limits(&metric, report)?;
    if !about.options.compat {
        not_counted(&metric, &limits, report);
    }
    let dry_run = dry.iter().any(|rule| rule.is_match(name.as_str()));
    if dry_run {
        report.note(
            &metric,
            "a dry run",
            "asked and said, and nothing is done about it (`on_failure: alert`)",
        );
    }
    let gate = |Question { name, source, success, failure }| {
        let limits = limits.clone();
        Gate { name, source, success, failure, limits, dry_run, background: false, steps: [].into() }
    };
    Some(questions.into_iter().map(gate).collect())
}

/// A source with its conditions.
struct Question {
    name: String,
    source: (&'static str, Value),
    success: Option<String>,
    failure: Option<String>,
}

/// What a metric asks: one question, or one for each member of an object that its condition is about. What is wrong with
/// conditions is said although nothing can be asked.
fn questions(
    name: &str,
    source: Option<&(&'static str, Value)>,
    metric: &Field<'_>,
    report: &mut Report,
) -> Option<Vec<Question>> {
    let condition = metric.get("successCondition");
    let alone = metric.text_at("failureCondition").is_none();
    let parts = condition.as_ref().and_then(Field::text).filter(|_| alone).and_then(member::parts);
    if let (Some(("web", keys)), Some(parts), Some(condition)) = (source, parts, &condition) {
        if parts.len() > 1 {
            report.note(
                condition,
                "one measurement of several members",
                "a gate for each of them, with bad values counted for each",
            );
        }
        let of = |part: &member::Part| {
            let success = condition::canonical(&part.condition, condition, report)?;
            let last = part.path.rsplit('.').next().unwrap_or_default();
            let name = if parts.len() > 1 { format!("{name}-{last}") } else { name.to_owned() };
            let source = ("web", provider::at_member(keys, &part.path));
            Some(Question { name, source, success: Some(success), failure: None })
        };
        return parts.iter().map(of).collect();
    }
    let success = condition::translated(condition.as_ref(), report);
    let failure = condition::translated(metric.get("failureCondition").as_ref(), report);
    let (Some(source), Ok(success), Ok(failure)) = (source, success, failure) else { return None };
    Some(vec![Question { name: name.to_owned(), source: source.clone(), success, failure }])
}

/// Says what is not counted where every value is looked at.
fn not_counted(metric: &Field<'_>, limits: &Limits, report: &mut Report) {
    if limits.initial_delay_ms > 0 {
        report.warn(
            metric,
            "the first measurement comes after `initialDelay`",
            "values are looked at from the beginning of the step; `--compat argo` waits",
        );
    }
    if limits.consecutive_successes > 0 {
        report.note(
            metric,
            "so many good measurements in a row end the analysis",
            "the step lasts as long as they take and ends with a good value; `--compat argo` counts them",
        );
    }
}

impl About<'_> {
    /// Says where a question names a Service that Tidegate leaves alone.
    fn services(&self, metric: &Field<'_>, source: &Value, report: &mut Report) {
        let Some(canary) = self.owner.field.text_at("spec.strategy.canary.canaryService") else { return };
        if canary.len() > 2 && mentions(source, canary) {
            report.warn(
                metric,
                format!("the question names the Service `{canary}`"),
                "Tidegate does not move that Service: name the release's pods by `{{pods}}`, or its own Service (the name of the service, `-`, `{{release}}`)",
            );
        }
    }
}

fn mentions(value: &Value, word: &str) -> bool {
    match value {
        Value::Text(text) | Value::Plain(text) => text.contains(word),
        Value::Map(entries) => entries.iter().any(|(_, value)| mentions(value, word)),
        Value::List(items) => items.iter().any(|item| mentions(item, word)),
    }
}

/// When the analysis of a metric ends, by Argo's defaults.
fn limits(metric: &Field<'_>, report: &mut Report) -> Option<Limits> {
    let number = |key: &str| metric.get(key).and_then(|field| field.whole());
    let time = |key: &str| match metric.get(key).filter(|field| field.text() != Some("")) {
        None => Some(0),
        Some(field) => field.text().and_then(duration::go).and_then(|ms| u64::try_from(ms).ok()),
    };
    let (Some(interval_ms), Some(initial_delay_ms)) = (time("interval"), time("initialDelay")) else {
        report.error(
            metric,
            "`interval` or `initialDelay` is no duration",
            "the gate is not written: write it as 30s, 5m or 1h",
        );
        return None;
    };
    let whole = |key: &str, otherwise: u32| number(key).map_or(Some(otherwise), |n| u32::try_from(n).ok());
    let failures = number("failureLimit").map_or(Some(0), |limit| i32::try_from(limit).ok());
    let count = whole("count", 0);
    let all = (
        count,
        failures,
        whole("inconclusiveLimit", 0),
        whole("consecutiveErrorLimit", 4),
        whole("consecutiveSuccessLimit", 0),
    );
    let (
        Some(count),
        Some(failures),
        Some(inconclusive),
        Some(consecutive_errors),
        Some(consecutive_successes),
    ) = all
    else {
        report.error(metric, "a limit is no whole number", "the gate is not written");
        return None;
    };
    let large =
        [count, inconclusive, consecutive_errors, consecutive_successes].into_iter().any(|n| n > MANY);
    if large || failures < -1 || interval_ms.max(initial_delay_ms) > form::WEEK_MS {
        report.error(
            metric,
            "a limit or a time that is out of range",
            "the gate is not written: counts are up to 100000, times up to 7 days",
        );
        return None;
    }
    if count > 1 && interval_ms == 0 {
        report.error(
            metric,
            "several measurements without `interval`, which Argo refuses",
            "the gate is not written: write the time between two",
        );
        return None;
    }
    let count = match (count, interval_ms) {
        (0, 0) => Some(1),
        (0, _) => None,
        (count, _) => Some(count),
    };
    Some(Limits {
        count,
        interval_ms,
        initial_delay_ms,
        failures,
        inconclusive,
        consecutive_errors,
        consecutive_successes,
    })
}

/// The metric with its arguments filled in; names of those that nobody gives are in `missing`.
fn fill(node: &Node, arguments: &Arguments, missing: &mut Vec<String>) -> Node {
    let content = match &node.content {
        Content::Scalar(scalar) => Content::Scalar(Scalar {
            text: filled(&scalar.text, arguments, missing),
            plain: scalar.plain && !scalar.text.contains("{{"),
        }),
        Content::List(items) => {
            Content::List(items.iter().map(|item| fill(item, arguments, missing)).collect())
        }
        Content::Map(entries) => Content::Map(
            entries.iter().map(|(key, value)| (key.clone(), fill(value, arguments, missing))).collect(),
        ),
    };
    Node { place: node.place, content }
}

fn filled(text: &str, arguments: &Arguments, missing: &mut Vec<String>) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once("{{") {
        out.push_str(before);
        let Some((inside, after)) = behind.split_once("}}") else {
            out.push_str("{{");
            rest = behind;
            continue;
        };
        match inside.trim().strip_prefix("args.").map(|name| (name, arguments.get(name))) {
            Some((_, Some(Argument::Text(value) | Argument::Secret(value)))) => out.push_str(value),
            Some((name, Some(Argument::Nothing) | None)) => {
                let name = format!("`{}`", tidegate_yaml::finding::shown(name));
                if !missing.contains(&name) {
                    missing.push(name);
                }
            }
            None => out.extend(["{{", inside, "}}"]),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

/// A gate of our own making: for tools whose metrics are no templates.
pub(crate) fn plain_gate(name: &str, address: &str, query: &str, success: String, limits: Limits) -> Gate {
    let keys = crate::out::map([("address", text(address)), ("query", text(query.trim()))]);
    Gate {
        name: name.to_owned(),
        source: ("prometheus", keys),
        success: Some(success),
        failure: None,
        limits,
        dry_run: false,
        background: false,
        steps: [].into(),
    }
}
