//! Trials that are programs of the crates they belong to: run as they are, with their closing line passed on.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, bail};
use serde::Deserialize;
use serde_json::Value;

use crate::figures::Figure;
use crate::{package, step};

/// The closing line of such a program. A goal that is a bare number is a lower bound.
#[derive(Deserialize)]
struct Closing {
    figures: Vec<Value>,
}

/// Builds an example with the everyday release profile, runs it, shows what it says, and gives back its figures.
pub(crate) fn figures(package: &str, example: &str, arguments: &[&str]) -> anyhow::Result<Vec<Figure>> {
    step::run(&mut step::cargo(&["build", "--release", "--quiet", "-p", package, "--example", example]))?;
    let program = package::built("release", &format!("examples/{example}"))?;
    let mut command = step::program(&program.to_string_lossy(), arguments);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("could not start the example")?;
    let output = child.stdout.take().context("the example has no standard output")?;
    let mut last = String::new();
    for line in BufReader::new(output).lines() {
        let line = line.context("could not read what the example wrote")?;
        if !line.starts_with('{') {
            println!("{line}");
        }
        last = line;
    }
    let status = child.wait()?;
    let closing: Closing = serde_json::from_str(&last)
        .with_context(|| format!("the last line of {example} is not its figures: {last}"))?;
    if !status.success() {
        bail!("{example} ended with {status}");
    }
    closing.figures.into_iter().map(figure).collect()
}

fn figure(mut raw: Value) -> anyhow::Result<Figure> {
    let bound = raw.get("goal").and_then(Value::as_f64);
    if let (Some(bound), Some(goal)) = (bound, raw.get_mut("goal")) {
        *goal = format!(">= {bound}").into();
    }
    let Figure { id, value, unit, goal, against } =
        serde_json::from_value(raw).context("a figure lacks one of its fields")?;
    Figure::new(&id, value, &unit, &goal, &against)
}
