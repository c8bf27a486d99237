//! `test` and `ci`: which steps there are, in which order, and what they came to.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use anyhow::Context;
use clap::ValueEnum;

use crate::{check, engine, reference, setup, step, tidy};

/// Longest run of one example, seconds.
const EXAMPLE_S_MAX: &str = "300";

/// A test program that says nothing for so long hangs; no test takes as long.
const SILENCE_MAX: Duration = Duration::from_mins(15);

/// Where drawn cases begin unless `PROPTEST_RNG_SEED` says otherwise: what is red here is red again on the next machine. Plain
/// `cargo test` draws others at each run.
const SEED: &str = "20261122";

/// A part of the tests.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Suite {
    /// Format, house rules, lints, rustdoc, generated reference
    Checks,
    /// Every Rust test of the workspace but the Kubernetes ones, with a real Docker Engine
    Rust,
    /// The tests that need a Kubernetes control plane: a real one, built by the set-up
    Kube,
    /// Every folder under `examples`
    Examples,
}

/// The crates whose tests start a control plane.
const KUBE: &[&str] = &["tidegate-bed", "tidegate-kubernetes"];

/// What the names of the binary's own tests begin with that start one.
const ON_A_CLUSTER: &str = "on_a_cluster::";
/// The test program of the binary that starts one; no other suite runs it.
const CONTROLLER: [&str; 4] = ["--package", "tidegate", "--test", "kube"];

/// Whether dependencies must be those of `Cargo.lock`, to the letter.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Locked {
    /// `Cargo.lock` may be completed.
    No,
    /// A `Cargo.lock` that does not fit the manifests is an error.
    Yes,
}

/// How many tests passed, failed and were skipped.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
struct Tally {
    passed: u64,
    failed: u64,
    skipped: u64,
}

/// Sets the machine up and runs the asked suite, or all. Every step runs even when an earlier one failed; the last line
/// says how many passed.
pub(crate) fn test(suite: Option<Suite>, locked: Locked) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    setup::for_tests()?;
    let wanted = |one| suite.is_none_or(|asked| asked == one);
    let mut tally = Tally::default();
    if wanted(Suite::Checks) {
        tally.step("format", check::format());
        tally.step("tidy", tidy::check());
    }
    if wanted(Suite::Rust) {
        rust_tests(locked, &mut tally)?;
    }
    if wanted(Suite::Kube) {
        kube_tests(locked, &mut tally)?;
    }
    if wanted(Suite::Checks) {
        tally.step("lints", check::lints());
        tally.step("documentation", check::documentation());
        tally.step("reference", reference::generate(true));
    }
    if wanted(Suite::Examples) {
        examples(&mut tally)?;
    }
    Ok(tally.close(started))
}

/// `test` with `Cargo.lock` as it is, and the dependency rules.
pub(crate) fn ci() -> anyhow::Result<ExitCode> {
    check::deny(false)?;
    test(None, Locked::Yes)
}

impl Tally {
    fn step(&mut self, name: &str, outcome: anyhow::Result<()>) {
        match outcome {
            Ok(()) => self.passed += 1,
            Err(error) => {
                self.failed += 1;
                eprintln!("FAILED {name}: {error:#}");
            }
        }
    }

    fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    fn close(self, started: Instant) -> ExitCode {
        eprintln!("done in {} s", started.elapsed().as_secs());
        println!("total: {} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped);
        if self.failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

fn rust_tests(locked: Locked, tally: &mut Tally) -> anyhow::Result<()> {
    let engine = engine::Engine::ready()?;
    let mut command = step::cargo(&["test", "--workspace", "--no-fail-fast"]);
    command.args(KUBE.iter().flat_map(|package| ["--exclude", package]));
    if let Some(host) = engine.host() {
        command.env("DOCKER_HOST", host);
    }
    cargo_test(command, &["--skip", ON_A_CLUSTER], locked, tally)
}

fn kube_tests(locked: Locked, tally: &mut Tally) -> anyhow::Result<()> {
    setup::for_kube_tests()?;
    let mut command = step::cargo(&["test", "--no-fail-fast"]);
    command.args(KUBE.iter().flat_map(|package| ["--package", package]));
    cargo_test(command, &[], locked, tally)?;
    let binary = step::cargo(&["test", "--no-fail-fast", "--package", "tidegate", "--test", "e2e"]);
    cargo_test(binary, &[ON_A_CLUSTER], locked, tally)?;
    let mut command = step::cargo(&["test", "--no-fail-fast"]);
    command.args(CONTROLLER);
    cargo_test(command, &[], locked, tally)
}

/// Runs `cargo test`, with these arguments for the test programs, and counts.
fn cargo_test(
    mut command: Command,
    arguments: &[&str],
    locked: Locked,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    if locked == Locked::Yes {
        command.arg("--locked");
    }
    if std::env::var_os("PROPTEST_RNG_SEED").is_none() {
        command.env("PROPTEST_RNG_SEED", SEED);
    }
    // The compiler may be silent for long, a test may not.
    let mut built = step::program(&command.get_program().to_string_lossy(), &[]);
    built.args(command.get_args()).arg("--no-run");
    if let Err(error) = step::run(&mut built) {
        tally.step("cargo test", Err(error));
        return Ok(());
    }
    command.arg("--").args(arguments);
    tally.add(heard(command, SILENCE_MAX)?);
    Ok(())
}

/// Runs a command that writes as `cargo test` does, ends it once it has said nothing for so long, and counts.
fn heard(mut command: Command, silence: Duration) -> anyhow::Result<Tally> {
    let line = step::shown(&command);
    eprintln!("$ {line}");
    let mut child =
        command.stdout(Stdio::piped()).spawn().with_context(|| format!("could not start `{line}`"))?;
    let output = child.stdout.take().with_context(|| format!("`{line}` has no standard output"))?;
    let (says, said) = mpsc::channel();
    std::thread::spawn(move || BufReader::new(output).lines().try_for_each(|line| says.send(line)));
    let mut counted = Tally::default();
    loop {
        match said.recv_timeout(silence) {
            Ok(written) => {
                let written = written.with_context(|| format!("could not read what `{line}` wrote"))?;
                println!("{written}");
                counted.add(result_line(&written).unwrap_or_default());
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => {
                eprintln!("FAILED `{line}`: no word for {} s, it is ended", silence.as_secs());
                step::end_tree(child.id());
            }
        }
    }
    let status = child.wait().with_context(|| format!("could not wait for `{line}`"))?;
    // A test that does not compile, or a test program that dies, is counted by nobody else.
    if !status.success() && counted.failed == 0 {
        counted.failed = 1;
        eprintln!("FAILED `{line}`: {status}");
    }
    Ok(counted)
}

/// Reads `test result: ok. 12 passed; 0 failed; 1 ignored; …`.
fn result_line(line: &str) -> Option<Tally> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |what: &str| {
        let part = counts.split("; ").find_map(|part| part.strip_suffix(what))?;
        part.trim().parse().ok()
    };
    Some(Tally { passed: count(" passed")?, failed: count(" failed")?, skipped: count(" ignored")? })
}

/// Runs `run.sh` of every folder under `examples`, with the path of the binary in `TIDEGATE`.
fn examples(tally: &mut Tally) -> anyhow::Result<()> {
    let Ok(folders) = std::fs::read_dir(step::root().join("examples")) else {
        return Ok(());
    };
    let mut folders = folders.map(|entry| entry.map(|entry| entry.path())).collect::<Result<Vec<_>, _>>()?;
    folders.retain(|path| path.is_dir());
    folders.sort();
    if !folders.is_empty() {
        step::run(&mut step::cargo(&["build", "--package", "tidegate"]))?;
    }
    let engine = engine::Engine::ready()?;
    for folder in folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        tally.step(&format!("examples/{name}"), example(&folder, &engine));
    }
    Ok(())
}

fn example(folder: &Path, engine: &engine::Engine) -> anyhow::Result<()> {
    let mut command = step::program("timeout", &["--kill-after=10", EXAMPLE_S_MAX, "bash", "run.sh"]);
    command.env("TIDEGATE", crate::package::built("debug", "tidegate")?);
    if let Some(host) = engine.host() {
        command.env("DOCKER_HOST", host);
    }
    step::run(command.current_dir(folder).stdin(Stdio::null()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read_from_the_closing_line_of_each_test_program() {
        let line = "test result: FAILED. 12 passed; 2 failed; 1 ignored; 0 measured; 3 filtered out; finished in 0.1s";
        assert_eq!(result_line(line), Some(Tally { passed: 12, failed: 2, skipped: 1 }));
        assert_eq!(result_line("test the_result: ok. 1 passed ... ok"), None);
    }

    #[test]
    fn tests_that_hang_are_ended_and_count_as_failed() {
        let line = "test result: ok. 12 passed; 0 failed; 1 ignored; 0 measured";
        let hangs = step::program("sh", &["-c", &format!("echo '{line}'; sleep 600; true")]);
        let counted = heard(hangs, Duration::from_millis(300)).unwrap();
        assert_eq!(counted, Tally { passed: 12, failed: 1, skipped: 1 });
    }
}
