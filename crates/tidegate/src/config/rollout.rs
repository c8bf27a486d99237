//! The `spec` of a Rollout: the words of a service in `tidegate.yaml`, those of `run.kubernetes` beside them, read by the
//! same table. Only what would reach into the machine that Tidegate runs on is left out: whoever may write a Rollout may
//! not therefore read its files or run programs there.

use std::path::Path;

use serde_json::{Map, Value, json};

use super::{
    Finding, Kubernetes, RunKind, Service, fields, parse,
    suggest::nearest,
    table::{Absent, Block, Field, Form, Kind, Word},
};

/// Keys of a service that a Rollout says otherwise, or that are our proxy's.
const NOT_OF_SERVICE: [&str; 7] = ["confidence", "environment", "listen", "tls", "run", "routing", "lease"];

/// Keys of `run.kubernetes` that a Rollout says by itself.
const NOT_OF_RUN: [&str; 4] = ["manifest", "namespace", "context", "kubeconfig"];

/// Keys that are left out wherever they stand: programs, and secrets that are the machine's.
const NOT_ANYWHERE: [&str; 2] = ["auth", "command"];

/// Findings that are told at once; what is mended first may mend the others.
const TOLD_MAX: usize = 5;

/// Where a Rollout's pod template is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Source {
    /// In the Rollout.
    Template(Value),
    /// In the Deployment of this name.
    Deployment(String),
}

/// A Rollout that was read.
#[derive(Clone, Debug)]
pub(crate) struct RolloutSpec {
    /// As a service of `tidegate.yaml`.
    pub(crate) service: Service,
    /// Its `run.kubernetes`.
    pub(crate) kubernetes: Kubernetes,
    /// Its pod template.
    pub(crate) source: Source,
}

/// Which block of the table a key of `spec` is from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Home {
    Service,
    Run,
}

/// The fields of `spec`, but for the pod template's two.
pub(super) fn spec_fields() -> impl Iterator<Item = (Home, &'static Field)> {
    let service = fields::SERVICE.fields.iter().map(|field| (Home::Service, field));
    let run = fields::KUBERNETES.fields.iter().map(|field| (Home::Run, field));
    let of = |(home, field): &(Home, &Field)| {
        let not: &[&str] = match home {
            Home::Service => &NOT_OF_SERVICE,
            Home::Run => &NOT_OF_RUN,
        };
        !not.contains(&field.key) && is_usable(field)
    };
    service.chain(run).filter(of)
}

/// Whether a Rollout has this key.
pub(super) fn is_usable(field: &Field) -> bool {
    !NOT_ANYWHERE.contains(&field.key) && !is_of_the_machine(&field.kind)
}

/// Whether a value names files of the machine that Tidegate runs on.
fn is_of_the_machine(kind: &Kind) -> bool {
    match kind {
        Kind::Text(form) => matches!(form, Form::File | Form::Inside | Form::Glob),
        Kind::List { of, .. } | Kind::OneOrMany { of, .. } | Kind::Map { of, .. } => is_of_the_machine(of),
        Kind::Or { other, .. } => is_of_the_machine(other),
        Kind::Block(block) | Kind::Short { block, .. } => block
            .fields
            .iter()
            .any(|field| matches!(field.absent, Absent::Required) && is_of_the_machine(&field.kind)),
        Kind::Word(_)
        | Kind::Flag
        | Kind::Bool
        | Kind::Whole { .. }
        | Kind::Decimal { .. }
        | Kind::Duration { .. }
        | Kind::Share { .. }
        | Kind::Size { .. }
        | Kind::Listen
        | Kind::Batch { .. } => false,
    }
}

/// Reads the `spec` of a Rollout. An error names every field that is wrong, what was expected, and the nearest known one.
pub(crate) fn rollout(
    namespace: &str,
    name: &str,
    kubeconfig: Option<&str>,
    spec: &Value,
) -> Result<RolloutSpec, String> {
    let given = spec.as_object().ok_or("`spec` is missing")?;
    let (source, given) = source(given)?;
    let (mut service, mut run) = sorted(&given)?;
    run.insert("manifest".to_owned(), json!("rollout"));
    run.insert("namespace".to_owned(), json!(namespace));
    run.extend(kubeconfig.map(|path| ("kubeconfig".to_owned(), json!(path))));
    service.insert("run".to_owned(), json!({"kubernetes": run}));
    let file = json!({"version": 1, "services": {name: service}});
    let what = format!("Rollout {namespace}/{name}");
    let config =
        parse(Path::new(&what), &file.to_string()).map_err(|rejected| told(name, &rejected.findings))?;
    let read = config.services.into_values().next().ok_or("`spec` says nothing")?;
    let RunKind::Kubernetes(kubernetes) = read.run.kind.clone() else {
        return Err("`spec` is not about Kubernetes".to_owned());
    };
    Ok(RolloutSpec { service: read, kubernetes: *kubernetes, source })
}

/// Where the pod template is, and all the other keys.
fn source(given: &Map<String, Value>) -> Result<(Source, Map<String, Value>), String> {
    let mut given = given.clone();
    let source = match (given.remove("template"), given.remove("workload")) {
        (Some(template), None) => Source::Template(template),
        (None, Some(workload)) => {
            let name = workload.get("deployment").and_then(Value::as_str);
            Source::Deployment(
                name.ok_or("spec.workload.deployment: the name of a Deployment is missing")?.to_owned(),
            )
        }
        (Some(_), Some(_)) => {
            return Err(
                "spec.workload: `template` and `workload` exclude each other: keep one of the two".to_owned()
            );
        }
        (None, None) => {
            return Err(
                "spec.template: the pod template is missing; write it, or name a Deployment that has it: \
                        `workload: {deployment: NAME}`"
                    .to_owned(),
            );
        }
    };
    Ok((source, given))
}

type Keys = Map<String, Value>;

/// The keys of a service and those of its `run.kubernetes`.
fn sorted(given: &Keys) -> Result<(Keys, Keys), String> {
    let (mut service, mut run) = (Keys::new(), Keys::new());
    let mut wrong = Vec::new();
    for (key, value) in given {
        let Some((home, field)) = spec_fields().find(|(_, field)| field.key == key) else {
            let known = spec_fields().map(|(_, field)| field.key).chain(["template", "workload"]);
            let near =
                nearest(key, known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
            wrong.push(format!("spec.{key}: a Rollout has no such field{near}"));
            continue;
        };
        let value = as_read(value, &field.kind, &format!("spec.{key}"), &mut wrong);
        match home {
            Home::Service => service.insert(key.clone(), value),
            Home::Run => run.insert(key.clone(), value),
        };
    }
    if wrong.is_empty() { Ok((service, run)) } else { Err(listed(&wrong)) }
}

/// The value as the file would have it. Programs that read YAML by its older version hand `off` on as `false`.
fn as_read(value: &Value, kind: &'static Kind, path: &str, wrong: &mut Vec<String>) -> Value {
    match (kind, value) {
        (Kind::Or { word, .. }, Value::Bool(false)) if word.word == "off" => json!("off"),
        (Kind::Word(words), Value::Bool(false)) if has_off(words) => json!("off"),
        (Kind::Or { other, .. }, _) => as_read(value, other, path, wrong),
        (Kind::Short { key, block }, Value::Bool(_)) => match block.field(key) {
            Some(field) => as_read(value, &field.kind, path, wrong),
            None => value.clone(),
        },
        (Kind::Block(block) | Kind::Short { block, .. }, Value::Object(keys)) => {
            let read = |(key, value): (&String, &Value)| {
                let path = format!("{path}.{key}");
                (key.clone(), key_of(block, key, value, &path, wrong))
            };
            Value::Object(keys.iter().map(read).collect())
        }
        (Kind::Map { of, .. }, Value::Object(keys)) => {
            let read = |(key, value): (&String, &Value)| {
                (key.clone(), as_read(value, of, &format!("{path}.{key}"), wrong))
            };
            Value::Object(keys.iter().map(read).collect())
        }
        (Kind::List { of, .. } | Kind::OneOrMany { of, .. }, Value::Array(items)) => {
            let read = |(index, value)| as_read(value, of, &format!("{path}[{index}]"), wrong);
            Value::Array(items.iter().enumerate().map(read).collect())
        }
        _ => value.clone(),
    }
}

/// Whether one of these words is taken for another value by programs that read YAML by its older version.
pub(super) fn has_off(words: &[Word]) -> bool {
    words.iter().any(|word| word.word == "off")
}

fn key_of(block: &'static Block, key: &str, value: &Value, path: &str, wrong: &mut Vec<String>) -> Value {
    match block.field(key) {
        Some(field) if !is_usable(field) => {
            wrong.push(format!(
                "{path}: a Rollout cannot use it: it would reach into the machine that Tidegate runs on"
            ));
            value.clone()
        }
        Some(field) => as_read(value, &field.kind, path, wrong),
        // Named by who reads the whole.
        None => value.clone(),
    }
}

/// What is wrong, in the Rollout's own words.
fn told(name: &str, findings: &[Finding]) -> String {
    let service = format!("services.{name}");
    let run = format!("{service}.run.kubernetes");
    let own = |text: &str| text.replace(&run, "spec").replace(&service, "spec");
    let told = |finding: &Finding| {
        let help = finding.help.as_deref().map(|help| format!("; {}", own(help))).unwrap_or_default();
        format!("{}: {}{help}", own(&finding.path), own(&finding.message))
    };
    listed(&findings.iter().map(told).collect::<Vec<_>>())
}

fn listed(wrong: &[String]) -> String {
    let more = wrong.len().saturating_sub(TOLD_MAX);
    let first = wrong.iter().take(TOLD_MAX).map(String::as_str).collect::<Vec<_>>().join(". ");
    if more == 0 { first } else { format!("{first}. And {more} more") }
}

/// The first key of a Rollout as somebody wrote it that is not in the Rollout as it is kept: the API server drops what its
/// schema does not know, where the client lets it, and somebody may have taken it out since.
pub(crate) fn dropped(written: &Value, kept: &Value) -> Option<String> {
    fn below(written: &Value, kept: &Value, path: &str) -> Option<String> {
        match (written, kept) {
            (Value::Object(written), Value::Object(kept)) => written.iter().find_map(|(key, value)| {
                let path = format!("{path}.{key}");
                match kept.get(key) {
                    Some(kept) => below(value, kept, &path),
                    // To write nothing is not to write.
                    None => (!value.is_null()).then_some(path),
                }
            }),
            (Value::Array(written), Value::Array(kept)) => {
                let pairs = written.iter().zip(kept).enumerate();
                pairs
                    .into_iter()
                    .find_map(|(index, (written, kept))| below(written, kept, &format!("{path}[{index}]")))
            }
            _ => None,
        }
    }
    let (written, kept) = (written.get("spec")?, kept.get("spec")?);
    // The pod template is the API server's own to read.
    let part = |spec: &Value| {
        let mut spec = spec.as_object().cloned().unwrap_or_default();
        spec.remove("template");
        Value::Object(spec)
    };
    below(&part(written), &part(kept), "spec")
}
