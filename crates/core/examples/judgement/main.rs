//! How the judge of the sequential gates does in simulated rollouts: how often it turns back a healthy release, how soon it
//! finds a bad one, how many users that costs beside simple models of other tools, and what it costs to run.
//!
//! `judgement [cost] [detection] [peers] [healthy] [--short] [--check] [--list] [--seed N]`, all four when none is named; the last line on standard output is JSON. The same seed gives the
//! same tables; only the time per evaluation is measured. What is simulated is told in `docs/guide/judgement-figures.md`.

mod chance;
mod cost;
mod healthy;
mod peers;
mod report;
mod service;
mod speed;

use std::{error::Error, process::ExitCode};

use report::{Closing, Figure, Terms};

/// What can be run by itself.
const PARTS: [&str; 4] = ["cost", "detection", "peers", "healthy"];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let (mut terms, mut check, mut named) = (Terms { short: false, seed: 1 }, false, Vec::new());
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        match word.as_str() {
            "--short" => terms.short = true,
            "--check" => check = true,
            "--seed" => terms.seed = words.next().ok_or("--seed needs a number")?.parse()?,
            "--list" => {
                println!("judgement: {}", PARTS.join(", "));
                return Ok(ExitCode::SUCCESS);
            }
            part if PARTS.contains(&part) => named.push(word),
            _ => return Err(format!("unknown option {word}").into()),
        }
    }
    if terms.short {
        println!("short form: about a tenth of the runs, so rare events are told coarsely");
    }
    let mut figures: Vec<Figure> = Vec::new();
    for part in PARTS.into_iter().filter(|part| named.is_empty() || named.iter().any(|name| name == part)) {
        figures.extend(match part {
            "cost" => cost::figures()?,
            "detection" => speed::figures(terms),
            "peers" => peers::figures(terms),
            _ => healthy::figures(terms),
        });
    }
    let reached = figures.iter().all(Figure::reached);
    println!(
        "{}",
        serde_json::to_string(&Closing { name: "judgement", seed: terms.seed, figures: &figures })?
    );
    Ok(if check && !reached { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}
