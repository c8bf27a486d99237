//! `tidegate.yaml`: found, read, and checked all at once, with every mistake at its line and column.
//!
//! One table of fields (`fields`) drives the reader, the suggestions for unknown keys, the JSON Schema for editors and
//! the reference page. The way of a file: bytes, guarded tree (`tree`), normal form (`reader`), what must hold between
//! values (`relations`), types (`model`).
#![cfg_attr(not(test), expect(dead_code, reason = "the verbs that use this room are wired up one by one"))]

pub(crate) mod blast;
mod complaint;
pub(crate) mod confidence;
mod fields;
pub(crate) mod foreign;
mod form;
pub(crate) mod gates;
pub(crate) mod init;
mod judged;
pub(crate) mod judgement;
pub(crate) mod metrics;
mod model;
mod objects;
mod reader;
pub(crate) mod reference;
mod relations;
pub(crate) mod render;
pub(crate) mod rollout;
pub(crate) mod routing;
mod run;
mod scalar;
pub(crate) mod schema;
mod strategy;
pub(crate) mod structural;
mod suggest;
mod table;
mod units;

#[cfg(test)]
mod tests;

use std::{
    fmt,
    fs::File,
    io::{self, Read},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};
use tidegate_yaml::{finding, tree};

pub(crate) use self::{
    finding::{Code, Finding, Place},
    form::selector,
    judged::{Judged, load_judged},
    model::*,
    objects::{line_of, objects, read_objects, rejected},
    render::render,
    run::*,
    strategy::*,
    suggest::nearest,
};
use self::{
    finding::{Complaint, Findings, Places},
    table::Kind,
};

/// The file's name.
pub(crate) const FILE_NAME: &str = "tidegate.yaml";
/// What to do about a file that is not there.
const MISSING: &str = "`tidegate init` writes one for the project in this directory";
/// The control plane may be silent for so long at the least before a canary turns back by itself.
const LEASE_MS_MIN: u64 = 600_000;

/// A file that cannot be used, and everything that is wrong with it.
#[derive(Debug)]
pub(crate) struct Rejected {
    /// From the top of the file down; never empty.
    pub(crate) findings: Vec<Finding>,
    /// The file's text, for excerpts; empty when it could not be read.
    pub(crate) source: String,
}

impl fmt::Display for Rejected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(render(&self.findings, &self.source).trim_end())
    }
}

impl std::error::Error for Rejected {}

/// The `tidegate.yaml` in `start` or the nearest directory above it.
pub(crate) fn find(start: &Path) -> Option<PathBuf> {
    let start = std::path::absolute(start).ok()?;
    start.ancestors().map(|directory| directory.join(FILE_NAME)).find(|path| path.is_file())
}

/// A duration as the file writes it (`60s`), milliseconds, for options of the command line. The error says what is wrong.
pub(crate) fn duration(text: &str, min_ms: u64, max_ms: u64) -> Result<u64, String> {
    units::duration(text, min_ms, max_ms).map_err(|wrong| match wrong.help {
        Some(help) => format!("{}; {help}", wrong.message),
        None => wrong.message,
    })
}

/// Reads and checks the file at `path`.
pub(crate) fn load(path: &Path) -> Result<Config, Rejected> {
    parse(path, &read_file(path, MISSING)?)
}

/// Checks a text as if it stood in the file at `path`.
pub(crate) fn parse(path: &Path, source: &str) -> Result<Config, Rejected> {
    let source = plain_lines(source);
    let mut findings = Findings::new(&path.display().to_string());
    match checked(&source, &mut findings) {
        Some((services, places)) if findings.is_empty() => {
            Ok(Config { path: path.to_owned(), source, services, places })
        }
        _ => Err(Rejected { findings: findings.sorted(), source }),
    }
}

/// The text without a byte order mark, and with each of YAML's line ends as `\n`: lines count the same everywhere.
fn plain_lines(source: &str) -> String {
    source.strip_prefix('\u{feff}').unwrap_or(source).replace("\r\n", "\n").replace('\r', "\n")
}

type Services = std::collections::BTreeMap<String, Service>;

fn checked(source: &str, findings: &mut Findings) -> Option<(Services, Places)> {
    if source.len() > tree::BYTES_MAX {
        findings.add(Place::default(), "", too_large());
        return None;
    }
    let root = tree::grow(source, findings)?;
    let (value, places) = reader::read(&root, &Kind::Block(&fields::FILE), findings);
    let mut value = value?;
    relations::check(&value, &places, findings);
    if !findings.is_empty() {
        return None;
    }
    match lowered(&mut value, &places) {
        Ok(services) => Some((services, places)),
        Err(error) => {
            findings.add(Place::default(), "", defect(&error));
            None
        }
    }
}

fn defect(error: &serde_json::Error) -> Complaint {
    let message = format!("the table of fields and the types disagree: {error}");
    Complaint::new(Code::Internal, message).help("this is a defect of Tidegate; please report it")
}

/// The types for a file in its normal form. Values whose default depends on others are filled in first.
fn lowered(file: &mut Value, places: &Places) -> Result<Services, serde_json::Error> {
    let mut services = file.get_mut("services").map(Value::take).unwrap_or_default();
    for (name, service) in services.as_object_mut().into_iter().flatten() {
        fill_bakes(service);
        judgement::fill(service);
        if service.pointer("/run/kubernetes").is_some() {
            fill_cluster(service, &format!("services.{}", finding::shown(name)), places);
        }
        let leased = service.get("lease_ms").is_some();
        if !leased {
            fill_lease(service)?;
        }
    }
    serde_json::from_value(services)
}

fn fill_bakes(service: &mut Value) {
    let Some(canary) = service.pointer_mut("/strategy/canary") else { return };
    let bake = canary.get("bake_ms").cloned().unwrap_or_default();
    let steps = canary.get_mut("steps").and_then(Value::as_array_mut);
    for step in steps.into_iter().flatten().filter_map(Value::as_object_mut) {
        step.entry("bake_ms").or_insert_with(|| bake.clone());
    }
}

/// On Kubernetes nobody counts requests but a metric, and nobody holds a lease. Gates that were not written ask the only
/// metric that has counters, where there is one, and are off otherwise.
fn fill_cluster(service: &mut Value, path: &str, places: &Places) {
    use relations::kubernetes::{LEVELS, REQUESTS};
    let counters = |key: &str| {
        let metrics = service.get("metrics").and_then(Value::as_object);
        let mut having = metrics.into_iter().flatten().filter(|(_, metric)| {
            let source = metric.get("prometheus").or_else(|| metric.get("scrape"));
            source.is_some_and(|source| source.get(key).is_some())
        });
        let only = having.next().map(|(name, _)| name.clone());
        only.filter(|_| having.next().is_none())
    };
    let (requests, latency) = (counters("requests"), counters("latency"));
    let unwritten = |gate: &str| places.written(&format!("{path}.gates.{gate}")).is_none();
    let metric = |gate: &str| if gate.starts_with("latency") { latency.clone() } else { requests.clone() };
    let asked: Vec<(&str, Option<String>)> = REQUESTS
        .iter()
        .map(|gate| (*gate, metric(gate)))
        .chain(LEVELS.iter().map(|gate| (*gate, None)))
        .filter(|(gate, _)| unwritten(gate))
        .collect();
    for (gate, metric) in asked {
        let Some(gate) = service.pointer_mut(&format!("/gates/{gate}")) else { continue };
        match (metric, gate.as_object_mut()) {
            (Some(metric), Some(gate)) => drop(gate.insert("metric".to_owned(), json!(metric))),
            (None, _) => *gate = Value::Null,
            (Some(_), None) => {}
        }
    }
    if let Some(service) = service.as_object_mut() {
        service.insert("lease_ms".to_owned(), Value::Null);
    }
}

fn fill_lease(service: &mut Value) -> Result<(), serde_json::Error> {
    let strategy: Strategy = serde_json::from_value(service.get("strategy").cloned().unwrap_or_default())?;
    let lease = strategy.bake_max_ms().saturating_mul(2).max(LEASE_MS_MIN);
    if let Some(service) = service.as_object_mut() {
        service.insert("lease_ms".to_owned(), json!(lease));
    }
    Ok(())
}

/// The first object of this kind in a manifest of Kubernetes, which may hold several.
pub(crate) fn manifest(path: &Path, kind: &str) -> Result<Value, Rejected> {
    let source = plain_lines(&read_file(path, "write it, or name the one that is there")?);
    let mut findings = Findings::new(&path.display().to_string());
    let mut kinds = Vec::new();
    for text in objects::documents(&source) {
        let Some(root) = tree::grow(&text, &mut findings) else { continue };
        let value = reader::as_written(&root);
        let found = value.get("kind").and_then(Value::as_str).unwrap_or("nothing").to_owned();
        if found == kind {
            return Ok(value);
        }
        kinds.push(found);
    }
    if findings.is_empty() {
        let complaint =
            Complaint::new(Code::MissingKey, format!("there is no {kind} in it, only {}", kinds.join(", ")));
        findings.add(Place::default(), "", complaint.help("name the manifest that has the pod template"));
    }
    Err(Rejected { findings: findings.sorted(), source })
}

/// The file's text. `missing` is what to do when it is not there.
fn read_file(path: &Path, missing: &str) -> Result<String, Rejected> {
    text_of(path, missing).map_err(|(complaint, place)| {
        let mut findings = Findings::new(&path.display().to_string());
        findings.add(place, "", complaint);
        Rejected { findings: findings.sorted(), source: String::new() }
    })
}

/// The file's text; reads no more than the bound, whatever the file is.
fn text_of(path: &Path, missing: &str) -> Result<String, (Complaint, Place)> {
    let whole = |complaint| (complaint, Place::default());
    // Asked before it is opened: opening a pipe would wait for somebody to write into it.
    let kind = std::fs::metadata(path).map_err(|error| whole(unreadable(path, &error, missing)))?;
    if !kind.is_file() {
        let what = if kind.is_dir() { "is a directory" } else { "is not a regular file" };
        let complaint = Complaint::new(Code::Unreadable, format!("{} {what}", path.display()));
        return Err(whole(complaint.help("name the file itself")));
    }
    let file = File::open(path).map_err(|error| whole(unreadable(path, &error, missing)))?;
    let mut bytes = Vec::new();
    let bound = u64::try_from(tree::BYTES_MAX).unwrap_or(u64::MAX).saturating_add(1);
    file.take(bound).read_to_end(&mut bytes).map_err(|error| whole(unreadable(path, &error, missing)))?;
    if bytes.len() > tree::BYTES_MAX {
        return Err(whole(too_large()));
    }
    String::from_utf8(bytes).map_err(|error| not_text(&error))
}

fn unreadable(path: &Path, error: &io::Error, missing: &str) -> Complaint {
    let complaint = Complaint::new(Code::Unreadable, format!("cannot read {}: {error}", path.display()));
    if error.kind() == io::ErrorKind::NotFound {
        return complaint.help(missing);
    }
    if error.kind() == io::ErrorKind::PermissionDenied {
        return complaint.help("let the user that runs this read it");
    }
    complaint
}

fn too_large() -> Complaint {
    let bound = units::size_text(u64::try_from(tree::BYTES_MAX).unwrap_or(u64::MAX));
    Complaint::new(Code::TooLarge, format!("the file is larger than {bound}"))
        .help("is this the right file? A service takes about 1KiB")
}

fn not_text(error: &std::string::FromUtf8Error) -> (Complaint, Place) {
    let good = error.utf8_error().valid_up_to();
    let before = String::from_utf8_lossy(error.as_bytes().get(..good).unwrap_or_default());
    let line = before.matches('\n').count() + 1;
    let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let complaint = Complaint::new(Code::NotText, "the file is not UTF-8 text").help("save it as UTF-8");
    (complaint, Place { line, column, length: 1 })
}
