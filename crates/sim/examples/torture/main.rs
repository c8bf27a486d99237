//! The simulator's torture: every crash point of small worlds, many hours of large ones, and defects that must be found.
//!
//! `--short` ends within 50 s, `--check` makes a missed goal an error, `--seed N` begins elsewhere, `--list` names the
//! figures, `--laws` the laws, `--replay N` tells everything that happens in the large world of a seed.

mod lab;
mod mutants;

use std::process::ExitCode;

use serde_json::{Value, json};
use tidegate_sim::{
    law::Law,
    torture::{Broken, Failing, Programme, exhaustive, large, trace},
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
                FIGURES.iter().for_each(|figure| println!("{figure}"));
                return Ok(ExitCode::SUCCESS);
            }
            "--laws" => {
                Law::ALL.iter().for_each(|law| println!("{}", law.sentence()));
                return Ok(ExitCode::SUCCESS);
            }
            "--replay" => return Ok(replay(number().unwrap_or(wish.seed))),
            other => anyhow::bail!("unknown argument {other}: see the top of this example's source"),
        }
    }
    torture(&wish)
}

fn replay(seed: u64) -> ExitCode {
    let (lines, violations) = trace(seed);
    lines.iter().for_each(|line| println!("{:14} {line}", line.deployment));
    violations.iter().for_each(|violation| println!("{violation}"));
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn torture(wish: &Wish) -> anyhow::Result<ExitCode> {
    lab::all_apply()?;
    let programme =
        Programme { seed: wish.seed, crash_states_min: 10_000, every: 1, stop_at_first: false };
    let small = exhaustive(if wish.short { programme } else { Programme { crash_states_min: 25_000, ..programme } });
    println!(
        "{} small worlds: {} crash states, {} with those that the control plane survives",
        small.worlds, small.crash_states, small.fault_states
    );
    let hurt = large(wish.seed, if wish.short { 10_000.0 } else { 30_000.0 });
    println!(
        "{} large worlds: {:.0} hours, {} deployments, {} events, {} faults, {} starts",
        hurt.worlds, hurt.hours, hurt.deployments, hurt.events, hurt.faults, hurt.restarts
    );
    small.failing.iter().chain(&hurt.failing).for_each(tell);
    // The short form tries a few defects, others for every seed.
    let few = |number: usize| (number as u64 + wish.seed).is_multiple_of(8);
    let found = lab::search(|number| !wish.short || few(number))?;
    let broken = Broken {
        lost: small.broken.lost + hurt.broken.lost,
        duplicated: small.broken.duplicated + hurt.broken.duplicated,
        illegal: small.broken.illegal + hurt.broken.illegal,
    };
    let values = [
        (json!(small.crash_states), "states", Some(10_000.0)),
        (json!(hurt.hours.floor()), "h", Some(10_000.0)),
        (json!(broken.lost), "", Some(0.0)),
        (json!(broken.duplicated), "", Some(0.0)),
        (json!(broken.illegal), "", Some(0.0)),
        (json!(found.tried), "", None),
        (json!(found.missed.len()), "", Some(0.0)),
    ];
    let figures: Vec<Value> = FIGURES.iter().zip(values).map(figure).collect();
    let missed = figures.iter().any(|figure| figure["missed"] == json!(true));
    println!("{}", json!({ "name": "sim", "seed": wish.seed, "figures": figures }));
    Ok(if wish.check && missed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn tell(failing: &Failing) {
    println!("{}", failing.script);
    failing.violations.iter().for_each(|violation| println!("  {violation}"));
}

/// A figure; the first two must reach their goal, the others must not exceed it.
fn figure((id, (value, unit, goal)): (&&str, (Value, &str, Option<f64>))) -> Value {
    let at_least = matches!(*id, "crash_states" | "hours");
    let number = value.as_f64().unwrap_or(f64::NAN);
    let met = goal.is_none_or(|goal| if at_least { number >= goal } else { number <= goal });
    let goal = goal.map(|goal| format!("{} {goal}", if at_least { ">=" } else { "<=" }));
    if !met {
        println!("{id} misses its goal: {value}, {}", goal.as_deref().unwrap_or_default());
    }
    json!({ "id": id, "value": value, "unit": unit, "goal": goal, "against": null, "missed": !met })
}
