//! `tidy`: the house rules that no compiler knows. One line per finding, `file:line: what`.

mod documents;
mod edges;
mod scan;
mod sources;
mod tree;

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::bail;

use crate::{package, step};

/// A broken rule and where.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Finding {
    file: PathBuf,
    line: usize,
    what: String,
}

impl Finding {
    fn new(file: impl Into<PathBuf>, line: usize, what: impl Into<String>) -> Self {
        Self { file: file.into(), line, what: what.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file.display(), self.line, self.what)
    }
}

/// The verb: prints the findings and says how many there are.
pub(crate) fn report() -> anyhow::Result<ExitCode> {
    let findings = findings()?;
    for finding in &findings {
        println!("{finding}");
    }
    if findings.is_empty() {
        println!("tidy: nothing to say");
        return Ok(ExitCode::SUCCESS);
    }
    println!("tidy: {} findings", findings.len());
    Ok(ExitCode::FAILURE)
}

/// The step of `test`: an error when there are findings, which are printed.
pub(crate) fn check() -> anyhow::Result<()> {
    let findings = findings()?;
    for finding in &findings {
        eprintln!("{finding}");
    }
    if findings.is_empty() { Ok(()) } else { bail!("{} findings", findings.len()) }
}

fn findings() -> anyhow::Result<Vec<Finding>> {
    let root = step::root();
    let files = tree::texts(&root)?;
    let mut findings = edges::findings(&package::metadata()?);
    findings.extend(files.iter().filter(|file| file.is_rust()).flat_map(sources::findings));
    findings.extend(documents::findings(&files, &root));
    findings.extend(files.iter().flat_map(|file| tree::machine_paths(file, &root)));
    findings.sort();
    findings.dedup();
    Ok(findings)
}
