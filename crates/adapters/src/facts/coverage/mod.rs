//! Coverage reports: lcov and Cobertura, and how much of a change they cover.

mod cobertura;
mod lcov;
mod paths;

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use tidegate_core::{
    confidence::{Absence, Fact, Factor, FactorKind, patch_coverage},
    model::Timestamp,
};

use super::{Unreadable, git::Change, read_text};

/// The largest report that is read: coverage of some ten million lines.
pub const REPORT_BYTES_MAX: u64 = 256 << 20;

/// Why a report cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadCoverage {
    /// The file cannot be read.
    #[error("the coverage report cannot be used")]
    Unreadable {
        /// Why.
        #[source]
        source: Unreadable,
    },
    /// A line is not what the format allows.
    #[error("the coverage report {} cannot be used: line {line}: {fault}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong with it.
        fault: String,
    },
    /// It is well formed, and says nothing.
    #[error("the coverage report {} names no source file; was it written by a run that ran tests?", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
}

/// A fault in a report's text, before the file's name is known.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    line: usize,
    what: String,
}

/// Which lines a test run ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CoverageReport {
    /// By source file, as the report names it with forward slashes: line (from 1) to how often it ran.
    files: BTreeMap<String, BTreeMap<u32, u64>>,
    /// When the report says that it was written.
    written_at: Option<Timestamp>,
}

/// What is known about where a report comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The commit that was tested, in full or shortened.
    pub commit: Option<&'a str>,
    /// When the report was written: what the report or its file says.
    pub written_at: Option<Timestamp>,
}

impl CoverageReport {
    /// Reads lcov or Cobertura; which of them, the first character says.
    pub fn read(path: &Path) -> Result<Self, BadCoverage> {
        let text = read_text(path, REPORT_BYTES_MAX).map_err(|source| BadCoverage::Unreadable { source })?;
        Self::parse(path, &text)
    }

    /// The same from text; `path` is for messages.
    pub fn parse(path: &Path, text: &str) -> Result<Self, BadCoverage> {
        let text = text.trim_start_matches('\u{feff}');
        let xml = text.trim_start().starts_with('<');
        let report = if xml { cobertura::parse(text) } else { lcov::parse(text) };
        let report = report.map_err(|fault| BadCoverage::Malformed {
            path: path.to_owned(),
            line: fault.line,
            fault: fault.what,
        })?;
        if report.files.is_empty() {
            return Err(BadCoverage::Empty { path: path.to_owned() });
        }
        Ok(report)
    }

    /// When the report says that it was written; lcov never does.
    pub const fn written_at(&self) -> Option<Timestamp> {
        self.written_at
    }

    /// How often a line ran; `None` for a line that cannot run, or is not in the report.
    pub fn hits(&self, file: &str, line: u32) -> Option<u64> {
        self.files.get(file)?.get(&line).copied()
    }

    fn file(&mut self, name: &str) -> &mut BTreeMap<u32, u64> {
        self.files.entry(paths::normal(name)).or_default()
    }
}

/// The coverage factor of `change`. Absent when the report is of another commit, or older than the commit, or knows none of
/// the changed lines; a report of unknown origin is taken at its word, and the evidence says so.
pub fn coverage_of(change: &Change, report: &CoverageReport, origin: Origin<'_>) -> Factor {
    if let Some(reason) = foreign(change, report, origin) {
        return Factor::absent(FactorKind::Coverage, Absence::OtherRelease, &reason);
    }
    let changed: Vec<_> = change.files.iter().filter(|file| file.counts() && file.added > 0).collect();
    let names: Vec<&str> = changed.iter().map(|file| file.path.as_str()).collect();
    let found = paths::matched(&names, report.files.keys().map(String::as_str));
    let (mut covered, mut coverable) = (0_u64, 0_u64);
    let mut unmatched: Vec<&str> = Vec::new();
    for file in changed {
        let Some(lines) = found.get(file.path.as_str()).and_then(|name| report.files.get(*name)) else {
            unmatched.push(&file.path);
            continue;
        };
        let hits = file.added_lines.iter().flat_map(|range| lines.range(range.clone()));
        for (_, hits) in hits {
            coverable += 1;
            covered += u64::from(*hits > 0);
        }
    }
    let mut factor = match unmatched.first() {
        Some(first) if coverable == 0 => {
            Factor::absent(FactorKind::Coverage, Absence::NotGiven, &not_in_report(first, unmatched.len()))
        }
        Some(_) | None => patch_coverage(covered, coverable),
    };
    let checked = if origin.commit.is_some() || origin.written_at.or(report.written_at).is_some() {
        "of this commit"
    } else {
        "of unknown commit"
    };
    factor.evidence.push(Fact::count("changed_files_not_in_report", unmatched.len() as u64));
    factor.evidence.push(Fact::text("report", checked));
    factor
}

/// Nothing is known of what was changed; nobody can tell whether it could be known.
fn not_in_report(first: &str, files: usize) -> String {
    let others = if files == 1 { String::new() } else { format!(" and {} other changed files", files - 1) };
    let are = if files == 1 { "is" } else { "are" };
    format!("{first}{others} {are} not in the coverage report, and it knows no other line of the change")
}

/// Why the report is of something else; `None` when it is not, or when nobody can tell.
fn foreign(change: &Change, report: &CoverageReport, origin: Origin<'_>) -> Option<String> {
    if let Some(commit) = origin.commit {
        let commit = commit.trim().to_ascii_lowercase();
        // Seven digits are what git itself shortens to at least.
        let same = commit.len() >= 7 && change.to.starts_with(&commit);
        return (!same)
            .then(|| format!("the coverage report is of commit {commit}, not of {}", short(&change.to)));
    }
    let written_at = origin.written_at.or(report.written_at)?;
    (written_at < change.at)
        .then(|| format!("the coverage report is older than the commit {}", short(&change.to)))
}

fn short(commit: &str) -> &str {
    commit.get(..12).unwrap_or(commit)
}

#[cfg(test)]
mod tests;
