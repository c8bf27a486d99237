//! Rules about the documents: they are there, their links lead somewhere, decisions have their four parts.

use std::path::{Component, Path, PathBuf};

use super::Finding;
use super::tree::Text;

/// Documents that every reader looks for, and a line that each must have.
const EXPECTED: &[(&str, &str)] = &[
    ("README.md", ""),
    ("ARCHITECTURE.md", "## Invariants"),
    ("CONTRIBUTING.md", ""),
    ("CHANGELOG.md", "## Unreleased"),
    ("SECURITY.md", ""),
    ("LICENSE", ""),
];
/// The parts of a decision.
const DECISION: &[&str] = &["## Context", "## Decision", "## Consequences", "## When to look again"];

/// Every rule that the documents break.
pub(super) fn findings(files: &[Text], root: &Path) -> Vec<Finding> {
    let mut findings: Vec<Finding> =
        EXPECTED.iter().filter_map(|(name, line)| expected(files, name, line)).collect();
    for file in files.iter().filter(|file| file.has_extension("md")) {
        findings.extend(broken_links(file, files, root));
        if file.path.starts_with("docs/adr") && !file.path.ends_with("README.md") {
            let missing = DECISION.iter().filter(|part| !file.content.lines().any(|line| line == **part));
            findings.extend(
                missing.map(|part| Finding::new(&file.path, 1, format!("a decision without `{part}`"))),
            );
        }
    }
    findings
}

fn expected(files: &[Text], name: &str, line: &str) -> Option<Finding> {
    let Some(file) = files.iter().find(|file| file.path == Path::new(name)) else {
        return Some(Finding::new(name, 1, "is missing"));
    };
    let there = line.is_empty() || file.content.lines().any(|found| found == line);
    (!there).then(|| Finding::new(name, 1, format!("has no line `{line}`")))
}

/// Links to files that do not exist, and to headings that no document has. Links to elsewhere are not followed.
fn broken_links(file: &Text, files: &[Text], root: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, link) in links(&file.content) {
        if link.contains("://") || link.starts_with("mailto:") {
            continue;
        }
        let (target, heading) =
            link.split_once('#').map_or((link, None), |(target, heading)| (target, Some(heading)));
        let path = if target.is_empty() {
            file.path.clone()
        } else {
            normal(&file.path.parent().unwrap_or(Path::new("")).join(target))
        };
        if path != file.path && !root.join(&path).exists() {
            findings.push(Finding::new(&file.path, line, format!("link to `{link}`, which does not exist")));
        } else if let (Some(heading), Some(document)) =
            (heading, files.iter().find(|other| other.path == path))
            && document.has_extension("md")
            && !prose(&document.content).any(|(_, line)| line.starts_with('#') && anchor(line) == heading)
        {
            findings.push(Finding::new(
                &file.path,
                line,
                format!("link to `{link}`, where no such heading is"),
            ));
        }
    }
    findings
}

/// Lines outside of code blocks, with their number.
fn prose(content: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut in_code = false;
    content.lines().enumerate().filter_map(move |(index, line)| {
        let fence = line.trim_start().starts_with("```");
        in_code ^= fence;
        (!fence && !in_code).then_some((index + 1, line))
    })
}

/// The targets of `[text](target)` and `![text](target)`, with their line.
fn links(content: &str) -> Vec<(usize, &str)> {
    let mut found = Vec::new();
    for (number, line) in prose(content) {
        // Every second part is inside backticks.
        for part in line.split('`').step_by(2) {
            let targets = part.split("](").skip(1).filter_map(|rest| rest.split_once(')'));
            found.extend(targets.map(|(target, _)| (number, target.split(' ').next().unwrap_or_default())));
        }
    }
    found
}

/// What a heading is called in a link: lower case, spaces to dashes, other signs left out.
fn anchor(heading: &str) -> String {
    let text = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = text.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

/// The path without `.` and `..`.
fn normal(path: &Path) -> PathBuf {
    let mut parts = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                parts.pop();
            }
            Component::CurDir => {}
            Component::Normal(_) | Component::RootDir | Component::Prefix(_) => parts.push(part),
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_must_lead_to_a_file_and_a_heading() {
        let document = |path: &str, content: &str| Text { path: path.into(), content: content.to_owned() };
        let content = "# Door\n[a](b.md) [a](../Cargo.toml) [a](#door) [a](gone.md)\n[a](#no) `[a](code.md)`\n\
            ```\n[a](block.md)\n```\n[a](https://example.org/x)\n";
        let files = [document("xtask/a.md", content)];
        let root = crate::step::root();
        let told: Vec<String> =
            broken_links(&files[0], &files, &root).iter().map(ToString::to_string).collect();
        let wanted = [
            "xtask/a.md:2: link to `b.md`, which does not exist",
            "xtask/a.md:2: link to `gone.md`, which does not exist",
            "xtask/a.md:3: link to `#no`, where no such heading is",
        ];
        assert_eq!(told, wanted);
    }

    #[test]
    fn a_missing_document_is_found() {
        let changelog = Text { path: "CHANGELOG.md".into(), content: "# Changes\n".to_owned() };
        let told: Vec<String> =
            findings(&[changelog], Path::new("/")).iter().map(ToString::to_string).collect();
        assert!(told.contains(&"CHANGELOG.md:1: has no line `## Unreleased`".to_owned()), "{told:?}");
        assert!(told.contains(&"LICENSE:1: is missing".to_owned()), "{told:?}");
    }
}
