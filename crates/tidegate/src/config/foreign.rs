//! Manifests of other tools: read with their places, and checked where their own tools have a linter.

use std::path::{Path, PathBuf};

use tidegate_import::Source;
use tidegate_yaml::{
    finding::{Code, Complaint, Finding, Findings, Place},
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
    files.iter().map(|file| source(file).map(|(source, _)| source)).collect()
}

/// The documents of one file, and its text.
fn source(path: &Path) -> Result<(Source, String), Rejected> {
    let text = plain_lines(&read_file(path, MISSING)?);
    documents(&path.display().to_string(), &text)
        .map(|source| (source, text.clone()))
        .map_err(|findings| Rejected { findings, source: text })
}

/// The documents of a text.
pub(crate) fn documents(file: &str, text: &str) -> Result<Source, Vec<Finding>> {
    let mut findings = Findings::new(file);
    match tree::grow_all(text, &mut findings) {
        Some(documents) if findings.is_empty() => Ok(Source { file: file.to_owned(), documents }),
        _ => Err(findings.sorted()),
    }
}

/// What manifests of another tool were found to be.
#[derive(Debug)]
pub(crate) struct Checked {
    /// `Rollout shop`, in the order of the file.
    pub(crate) objects: Vec<String>,
}

/// Checks a file when it holds manifests of another tool; nothing when it is one of ours, or cannot be read as theirs.
pub(crate) fn check(path: &Path) -> Option<Result<Checked, Rejected>> {
    let text = plain_lines(&read_file(path, MISSING).ok()?);
    if !names_one(&text) {
        return None;
    }
    let source = match documents(&path.display().to_string(), &text) {
        Ok(source) => source,
        Err(findings) => return Some(Err(Rejected { findings, source: text })),
    };
    if !source.documents.iter().any(tidegate_import::recognises) {
        return None;
    }
    let objects = source.documents.iter().filter_map(tidegate_import::name_of).collect();
    let findings = tidegate_import::check(&[source]);
    Some(if findings.is_empty() { Ok(Checked { objects }) } else { Err(Rejected { findings, source: text }) })
}

/// Whether a text speaks of the API of a tool that is imported from: cheap, and true of files that cannot be read, too.
fn names_one(text: &str) -> bool {
    text.contains("argoproj.io/") || text.contains("flagger.app/")
}
