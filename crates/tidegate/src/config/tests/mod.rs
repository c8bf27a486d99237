//! Files that are wrong in every way there is a rule for, and files that are right.

mod examples;
mod foreign;
mod good;
mod hostile;
mod init;
mod judging;
mod kubernetes;
mod mistakes;
mod rollouts;

use std::path::Path;

use super::{Config, Finding, Place, Rejected};

/// The findings in a text; panics when there are none.
fn findings(text: &str) -> Vec<Finding> {
    match parse(text) {
        Ok(_) => panic!("accepted:\n{text}"),
        Err(rejected) => rejected.findings,
    }
}

fn parse(text: &str) -> Result<Config, Rejected> {
    super::parse(Path::new("tidegate.yaml"), text)
}

/// A file with one service, whose other keys are `lines`.
fn service(lines: &str) -> String {
    format!(
        "version: 1\nservices:\n  shop:\n    listen: 8080\n    run: {{command: [./server]}}\n{}",
        indented(lines, 4)
    )
}

/// A file with one service that runs a command; the other keys of `run` are `lines`.
fn run(lines: &str) -> String {
    format!(
        "version: 1\nservices:\n  shop:\n    listen: 8080\n    run:\n      command: [./server]\n{}",
        indented(lines, 6)
    )
}

fn indented(lines: &str, by: usize) -> String {
    let lines: Vec<String> = lines.lines().map(|line| format!("{}{line}\n", " ".repeat(by))).collect();
    lines.concat()
}

/// A text without its marks `«…»`, and the places they marked.
fn marked(text: &str) -> (String, Vec<Place>) {
    let (mut plain, mut places) = (String::new(), Vec::new());
    let (mut line, mut column) = (1, 1);
    let mut open: Option<Place> = None;
    for c in text.chars() {
        match c {
            '«' => open = Some(Place { line, column, length: 0 }),
            '»' => {
                let start = open.take().expect("a mark ends that never began");
                places.push(Place { length: column - start.column, ..start });
            }
            '\n' => {
                plain.push(c);
                line += 1;
                column = 1;
            }
            _ => {
                plain.push(c);
                column += 1;
            }
        }
    }
    (plain, places)
}
