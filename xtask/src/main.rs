//! The workshop: everything a contributor or a machine runs around the product, as `cargo xtask VERB`.
//!
//! Nothing here is shipped, and nothing that is shipped depends on it.

mod answer;
mod bench;
mod check;
mod control_plane;
mod dice;
mod engine;
mod figures;
mod house;
mod outside;
mod package;
mod reference;
mod scratch;
mod setup;
mod step;
mod suite;
mod tidy;
mod torture;
mod trial;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::suite::Suite;
use crate::trial::TrialArgs;

/// Checks, tests and measures Tidegate.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Install what this machine lacks for the build, the tests and the benches (Debian; elsewhere it says what to install)
    Setup {
        /// Also compile and install cargo-deny, which takes minutes
        #[arg(long)]
        deny: bool,
    },
    /// Run everything one needs to trust this tree: set-up, checks, all tests, examples
    Test {
        /// Only this part
        suite: Option<Suite>,
    },
    /// `test` on the locked dependencies, and `deny`
    Ci,
    /// Check the house rules: edges between crates, purity of the core, sizes, documents and links
    Tidy,
    /// Write the generated reference under docs/reference
    Gen {
        /// Only compare; fail when a file is out of date
        #[arg(long)]
        check: bool,
    },
    /// Check licences, banned crates and sources of all dependencies
    Deny {
        /// Also check security advisories; fetches the advisory database
        #[arg(long)]
        advisories: bool,
    },
    /// Measure, and print the figures as one line of JSON at the end
    Bench(TrialArgs),
    /// Hurt it, and print the figures as one line of JSON at the end
    Torture(TrialArgs),
    /// Offer load at a fixed rate (used by `bench`)
    #[command(hide = true)]
    Load(bench::load::LoadArgs),
}

fn main() -> ExitCode {
    match act(Cli::parse().verb) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn act(verb: Verb) -> anyhow::Result<ExitCode> {
    match verb {
        Verb::Setup { deny } => setup::everything(deny).map(|()| ExitCode::SUCCESS),
        Verb::Test { suite } => suite::test(suite, suite::Locked::No),
        Verb::Ci => suite::ci(),
        Verb::Tidy => tidy::report(),
        Verb::Gen { check } => reference::generate(check).map(|()| ExitCode::SUCCESS),
        Verb::Deny { advisories } => check::deny(advisories).map(|()| ExitCode::SUCCESS),
        Verb::Bench(args) => trial::conduct("bench", bench::ALL, &args),
        Verb::Torture(args) => trial::conduct("torture", torture::ALL, &args),
        Verb::Load(args) => bench::load::run(&args).map(|()| ExitCode::SUCCESS),
    }
}
