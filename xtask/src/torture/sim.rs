//! `torture sim`: the real core and engine in imagined worlds, crashed everywhere.

use crate::figures::Figure;
use crate::outside;
use crate::trial::{Terms, Trial};

pub(crate) const TRIAL: Trial = Trial {
    name: "sim",
    about: "every crash point of small imagined worlds, many hours of large ones, and defects that must be found",
    run,
};

fn run(terms: &Terms) -> anyhow::Result<Vec<Figure>> {
    let seed = terms.seed.to_string();
    let mut arguments = vec!["--seed", seed.as_str()];
    if terms.short {
        arguments.push("--short");
    }
    outside::figures("tidegate-sim", "torture", &arguments)
}
