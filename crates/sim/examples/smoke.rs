//! The short programme, for a copy of the code with a defect in it: exit code 1 when a law was broken.
//! `--seed N` chooses another beginning.

use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let seed = match (arguments.next().as_deref(), arguments.next()) {
        (Some("--seed"), Some(number)) => number.parse().unwrap_or(1),
        _ => 1,
    };
    let failing = tidegate_sim::torture::smoke(seed);
    for one in &failing {
        println!("{}", one.script);
        one.violations.iter().for_each(|violation| println!("  {violation}"));
    }
    if failing.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
