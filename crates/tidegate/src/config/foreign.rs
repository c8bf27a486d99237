//! Manifests of other tools: read with their places, and checked where their own tools have a linter.

use std::path::{Path, PathBuf};

use tidegate_import::{Difference, Source};
use tidegate_yaml::{
    finding::{Code, Complaint, Finding, Findings, Place, shown},
    tree,
};

use super::{Rejected, plain_lines, read_file};

/// Files that are read in one go.
const FILES_MAX: usize = 1_000;
const MISSING: &str = "name a file with manifests";

/// The documents of these files.
pub(crate) fn sources(files: &[PathBuf]) -> Result<Vec<Source>, Rejected> {
    if files.len() > FILES_MAX {
        let mut findings = Findings::new("");
        let message = format!("more than {FILES_MAX} files");
        findings.add(Place::default(), "", Complaint::new(Code::TooLarge, message));
        return Err(Rejected { findings: findings.sorted(), source: String::new() });
    }
    files.iter().map(|file| source(file)).collect()
}

/// The documents of one file.
fn source(path: &Path) -> Result<Source, Rejected> {
    let text = plain_lines(&read_file(path, MISSING)?);
    match documents(&path.display().to_string(), &text) {
        (Some(source), findings) if findings.is_empty() => Ok(source),
        (_, findings) => Err(Rejected { findings, source: text }),
    }
}

/// The documents of a text, and what is wrong with them as YAML.
pub(crate) fn documents(file: &str, text: &str) -> (Option<Source>, Vec<Finding>) {
    let mut findings = Findings::new(file);
    let documents = tree::grow_all(text, &mut findings);
    let source = documents.map(|documents| Source { file: file.to_owned(), documents });
    (source, findings.sorted())
}

/// What manifests of another tool were found to be.
#[derive(Debug)]
pub(crate) struct Checked {
    /// `Rollout shop`, in the order of the file.
    pub(crate) objects: Vec<String>,
    /// What is right there and is asked about here: images by tags.
    pub(crate) notes: Vec<Difference>,
}

/// Checks a file when it holds manifests of another tool; nothing when it is one of ours, or cannot be read as theirs.
pub(crate) fn check(path: &Path) -> Option<Result<Checked, Rejected>> {
    let text = plain_lines(&read_file(path, MISSING).ok()?);
    if !names_one(&text) {
        return None;
    }
    let (source, mut findings) = documents(&path.display().to_string(), &text);
    let Some(source) = source else { return Some(Err(Rejected { findings, source: text })) };
    if !source.documents.iter().any(tidegate_import::recognises) {
        let mut other =
            source.documents.iter().filter_map(|one| Some((one, tidegate_import::stranger(one)?)));
        let (document, kind) = other.next()?;
        return Some(Err(Rejected { findings: unread(path, document.place, kind), source: text }));
    }
    let objects = source.documents.iter().filter_map(tidegate_import::name_of).collect();
    let sources = [source];
    let notes = tidegate_import::tags(&sources);
    findings.extend(tidegate_import::check(&sources));
    findings.sort_by(|a, b| (a.place, &a.path).cmp(&(b.place, &b.path)));
    Some(if findings.is_empty() {
        Ok(Checked { objects, notes })
    } else {
        Err(Rejected { findings, source: text })
    })
}

/// Whether a text speaks of the API of a tool that is imported from, or may be an object of Kubernetes: cheap, and true of files that cannot be read, too.
fn names_one(text: &str) -> bool {
    text.contains("argoproj.io/") || text.contains("flagger.app/") || text.contains("apiVersion")
}

/// That an object is of no kind that is read here.
fn unread(path: &Path, place: Place, kind: &str) -> Vec<Finding> {
    let mut findings = Findings::new(&path.display().to_string());
    let message = format!("this is a manifest of kind `{}`, which is not checked here", shown(kind));
    let help = format!("name a tidegate.yaml, or manifests with {}", tidegate_import::kinds());
    findings.add(place, "kind", Complaint::new(Code::UnknownWord, message).help(help));
    findings.sorted()
}
