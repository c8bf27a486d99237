//! The simulator's torture: every crash point of small worlds, many hours of large ones, and defects that must be found.
//!
//! `--short` ends within 50 s, `--check` makes a missed goal an error, `--seed N` begins elsewhere, `--list` names the
//! figures, `--laws` the laws, `--replay N` tells everything that happens in the large world of a seed, `--hours N` plays
//! large worlds only, for that many hours.

mod lab;
mod mutants;

use std::process::ExitCode;

use serde_json::{Value, json};
use tidegate_sim::{
    law::Law,
    torture::{Broken, Exhaustive, Failing, Large, Programme, exhaustive, large, trace},
};

const FIGURES: [&str; 7] =
    ["crash_states", "hours", "lost", "duplicated", "illegal", "mutants", "mutants_missed"];

/// What was asked for.
#[derive(Default)]
struct Wish {
    short: bool,
    check: bool,
    seed: u64,
}

fn main() -> anyhow::Result<ExitCode> {
    let mut wish = Wish { seed: 1, ..Wish::default() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().and_then(|text| text.parse().ok());
        match argument.as_str() {
            "--short" => wish.short = true,
            "--check" => wish.check = true,
            "--seed" => wish.seed = number().unwrap_or(wish.seed),
            "--list" => {
                println!("{}", FIGURES.join("\n"));
                return Ok(ExitCode::SUCCESS);
            }
            "--laws" => {
                println!("{}", Law::ALL.map(Law::sentence).join("\n"));
                return Ok(ExitCode::SUCCESS);
            }
            "--hours" => return Ok(only_large(wish.seed, number().unwrap_or(10_000))),
            "--replay" => return Ok(replay(number().unwrap_or(wish.seed))),
            other => anyhow::bail!("unknown argument {other}: see the top of this example's source"),
        }
    }
    torture(&wish)
}

fn replay(seed: u64) -> ExitCode {
    let (lines, violations) = trace(seed);
    for line in lines {
        println!("{:14} {line}", line.deployment);
    }
    for violation in &violations {
        println!("{violation}");
    }
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn only_large(seed: u64, hours: u64) -> ExitCode {
    let hurt = large(seed, hours as f64);
    println!("{} worlds, {:.0} hours, {:?}", hurt.worlds, hurt.hours, hurt.broken);
    hurt.failing.iter().for_each(tell);
    if hurt.broken.all() == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn torture(wish: &Wish) -> anyhow::Result<ExitCode> {
    lab::all_apply()?;
    // The copy with the defects is built beside the runs.
    let lab = std::thread::spawn(lab::Lab::build);
    let (small, hurt) = runs(wish)?;
    small.failing.iter().chain(&hurt.failing).for_each(tell);
    // The short form tries a few defects, others for every seed.
    let few = |number: usize| (number as u64 + wish.seed).is_multiple_of(8);
    let lab =
        lab.join().map_err(|_| anyhow::anyhow!("the build of the copy with the defects broke down"))??;
    let found = lab.search(|number| !wish.short || few(number))?;
    let broken = Broken {
        lost: small.broken.lost + hurt.broken.lost,
        duplicated: small.broken.duplicated + hurt.broken.duplicated,
        illegal: small.broken.illegal + hurt.broken.illegal,
    };
    let against = "the laws of the simulator";
    let figures = [
        Figure::new("crash_states", small.crash_states as f64, "states", ">= 10000", "small worlds"),
        Figure::new("hours", hurt.hours.floor(), "h", ">= 10000", "large worlds"),
        Figure::new("lost", broken.lost as f64, "count", "== 0", against),
        Figure::new("duplicated", broken.duplicated as f64, "count", "== 0", against),
        Figure::new("illegal", broken.illegal as f64, "count", "== 0", against),
        Figure::new(
            "mutants",
            found.tried as f64,
            "count",
            if wish.short { ">= 2" } else { ">= 16" },
            against,
        ),
        Figure::new("mutants_missed", found.missed.len() as f64, "count", "== 0", against),
    ];
    figures.iter().filter(|figure| !figure.reached).for_each(|figure| {
        println!("{} misses its goal: {} is not {}", figure.id, figure.value, figure.goal);
    });
    let missed = figures.iter().any(|figure| !figure.reached);
    let figures: Vec<Value> = figures.iter().map(Figure::json).collect();
    println!("{}", json!({ "name": "sim", "seed": wish.seed, "figures": figures }));
    Ok(if wish.check && missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// A number with its goal.
struct Figure {
    id: &'static str,
    value: f64,
    unit: &'static str,
    goal: &'static str,
    against: &'static str,
    reached: bool,
}

impl Figure {
    fn new(
        id: &'static str,
        value: f64,
        unit: &'static str,
        goal: &'static str,
        against: &'static str,
    ) -> Self {
        let bound = goal.get(3..).and_then(|text| text.parse().ok()).unwrap_or(f64::NAN);
        // A count that must be nothing is as good as one that must not exceed it.
        let reached = if goal.starts_with(">=") { value >= bound } else { value <= bound };
        Self { id, value, unit, goal, against, reached }
    }

    fn json(&self) -> Value {
        let Self { id, value, unit, goal, against, .. } = self;
        json!({ "id": id, "value": value, "unit": unit, "goal": goal, "against": against })
    }
}

/// Small and large worlds, each on a core of its own.
fn runs(wish: &Wish) -> anyhow::Result<(Exhaustive, Large)> {
    let started = std::time::Instant::now();
    let (seed, hours) = (wish.seed, if wish.short { 10_000.0 } else { 30_000.0 });
    let hurt = std::thread::spawn(move || large(seed, hours));
    let crash_states_min = if wish.short { 10_000 } else { 25_000 };
    let small = exhaustive(Programme { seed, crash_states_min, every: 1, stop_at_first: false });
    println!(
        "{} small worlds: {} crash states, {} with those that the control plane survives",
        small.worlds, small.crash_states, small.fault_states
    );
    let hurt = hurt.join().map_err(|_| anyhow::anyhow!("the large worlds broke down"))?;
    println!(
        "{} large worlds: {:.0} hours, {} deployments, {} events, {} faults, {} starts; {:.1} s",
        hurt.worlds,
        hurt.hours,
        hurt.deployments,
        hurt.events,
        hurt.faults,
        hurt.restarts,
        started.elapsed().as_secs_f64()
    );
    Ok((small, hurt))
}

fn tell(failing: &Failing) {
    println!("{}", failing.script);
    failing.violations.iter().for_each(|violation| println!("  {violation}"));
}
