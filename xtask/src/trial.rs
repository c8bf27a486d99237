//! The contract of `bench` and `torture`: what is listed, how it is run, what it prints last.
//!
//! The last line of standard output is one line of JSON, `{"name", "seed", "figures": [{"id", "value", "unit", "goal",
//! "against"}]}`. A figure that misses its goal is said before that line, and makes only `--check` fail.

use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use crate::figures::Figure;

/// One bench or torture. A new one is a file beside the others and one line in their list.
pub(crate) struct Trial {
    /// What it is called on the command line.
    pub(crate) name: &'static str,
    /// What it finds out, in one line.
    pub(crate) about: &'static str,
    /// Runs it. Whatever it prints on standard output comes before the figures.
    pub(crate) run: fn(&Terms) -> anyhow::Result<Vec<Figure>>,
}

/// How a trial is to be run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// End within 50 s on two cores, once everything is built.
    pub(crate) short: bool,
    /// What every random choice comes from.
    pub(crate) seed: u64,
}

/// The command line of `bench` and `torture`.
#[derive(Args)]
pub(crate) struct TrialArgs {
    /// Which one; see --list
    #[arg(required_unless_present = "list")]
    name: Option<String>,
    /// Say what there is
    #[arg(long)]
    list: bool,
    /// End within 50 s on two cores, once everything is built
    #[arg(long)]
    short: bool,
    /// Fail when a figure misses its goal
    #[arg(long)]
    check: bool,
    /// Repeat a run; without it the clock gives one
    #[arg(long)]
    seed: Option<u64>,
}

/// The closing line.
#[derive(Serialize)]
struct Closing<'a> {
    name: &'a str,
    seed: u64,
    figures: &'a [Figure],
}

/// Lists, or runs one and prints its figures.
pub(crate) fn conduct(verb: &str, all: &[Trial], args: &TrialArgs) -> anyhow::Result<ExitCode> {
    if args.list {
        for trial in all {
            println!("{:<10} {}", trial.name, trial.about);
        }
        return Ok(ExitCode::SUCCESS);
    }
    let name = args.name.as_deref().unwrap_or_default();
    let trial = all
        .iter()
        .find(|trial| trial.name == name)
        .with_context(|| format!("there is no {verb} `{name}`: see `cargo xtask {verb} --list`"))?;
    let terms = Terms { short: args.short, seed: args.seed.unwrap_or_else(seed_of_the_clock) };
    let started = Instant::now();
    let figures = (trial.run)(&terms)?;
    let missed = figures.iter().filter(|figure| !figure.reached()).count();
    println!("{verb} {name}, seed {}, {} s", terms.seed, started.elapsed().as_secs());
    for figure in &figures {
        println!("{figure}");
    }
    if missed > 0 {
        println!("{missed} of {} figures miss their goal", figures.len());
    }
    println!("{}", serde_json::to_string(&Closing { name, seed: terms.seed, figures: &figures })?);
    Ok(if args.check && missed > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A seed that is short enough to type again.
fn seed_of_the_clock() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| u64::from(age.subsec_nanos()))
}
