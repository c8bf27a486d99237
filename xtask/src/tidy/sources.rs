//! Rules about one Rust file: how long, how it begins, what it must not say.

use std::path::Path;

use super::Finding;
use super::scan::{blank, functions, lines_with, without_tests};
use super::tree::Text;

/// A longer file holds two things.
const FILE_LINES_MAX: usize = 700;
/// A longer function hides one. Tests may be longer: they are read from top to bottom.
const FUNCTION_LINES_MAX: usize = 70;
/// What the core must not say, because it would let it know the time, the machine or the order of a random hash.
const NOT_IN_CORE: &[&str] = &["async", "std::", "SystemTime", "Instant", "HashMap", "HashSet"];

/// Every rule that one file breaks.
pub(super) fn findings(file: &Text) -> Vec<Finding> {
    let found = |line: usize, what: String| Finding::new(&file.path, line, what);
    let mut findings = Vec::new();
    let lines = file.content.lines().count();
    if lines > FILE_LINES_MAX {
        findings.push(found(
            FILE_LINES_MAX + 1,
            format!("{lines} lines, more than {FILE_LINES_MAX}: split it by noun"),
        ));
    }
    if !file.content.starts_with("//!") {
        findings.push(found(1, "does not begin with `//!` and what it is for".to_owned()));
    }
    for word in [["TO", "DO"].concat(), ["FIX", "ME"].concat()] {
        let unfinished = lines_with(&file.content, &word).into_iter();
        findings.extend(unfinished.map(|line| found(line, format!("{word}: finish it, or open an issue"))));
    }
    let shipped = without_tests(&blank(&file.content));
    if !is_test(&file.path) {
        let long = functions(&shipped).into_iter().filter(|function| function.lines > FUNCTION_LINES_MAX);
        findings.extend(long.map(|function| {
            let what =
                format!("`{}` has {} lines, more than {FUNCTION_LINES_MAX}", function.name, function.lines);
            found(function.line, what)
        }));
    }
    if file.path.starts_with("crates/core/src") && !is_test(&file.path) {
        findings.extend(NOT_IN_CORE.iter().flat_map(|word| {
            lines_with(&shipped, word)
                .into_iter()
                .map(move |line| found(line, format!("`{word}` in the core")))
        }));
    }
    if file.path == Path::new("crates/core/src/lib.rs") && !file.content.contains("no_std") {
        findings.push(found(1, "the core is not `#![no_std]`".to_owned()));
    }
    findings
}

/// Whether a whole file is tests.
fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests")
        || path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .is_some_and(|stem| stem == "tests" || stem.ends_with("_tests"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(path: &str, content: &str) -> Vec<(usize, String)> {
        let file = Text { path: path.into(), content: content.to_owned() };
        findings(&file).into_iter().map(|finding| (finding.line, finding.what)).collect()
    }

    #[test]
    fn a_clean_file_breaks_no_rule() {
        assert_eq!(told("crates/proxy/src/a.rs", "//! A.\nfn a() { std::process::exit(0) }\n"), []);
    }

    #[test]
    fn the_core_must_not_know_the_time_outside_its_tests() {
        let content = "//! A, not async.\n#![no_std]\nfn a() -> Instant {}\n#[cfg(test)]\nmod tests {\n    use std::fs;\n}\n";
        assert_eq!(told("crates/core/src/lib.rs", content), [(3, "`Instant` in the core".to_owned())]);
        assert_eq!(told("crates/core/src/deployment/tests.rs", "//! A.\nuse std::fs;\n"), []);
    }

    #[test]
    fn a_long_function_is_found_unless_it_is_a_test() {
        let body = "    a();\n".repeat(FUNCTION_LINES_MAX);
        let shipped = format!("//! A.\nfn long() {{\n{body}}}\n");
        assert_eq!(
            told("crates/sim/src/a.rs", &shipped),
            [(2, "`long` has 72 lines, more than 70".to_owned())]
        );
        assert_eq!(told("crates/sim/tests/a.rs", &shipped), []);
        assert_eq!(told("crates/sim/src/a.rs", &format!("//! A.\n#[test]\nfn long() {{\n{body}}}\n")), []);
    }

    #[test]
    fn unfinished_work_and_a_missing_first_line_are_found() {
        let word = ["TO", "DO"].concat();
        let found = told("crates/sim/src/a.rs", &format!("fn a() {{}}\n// {word}: b\n"));
        assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [1, 2]);
    }
}
