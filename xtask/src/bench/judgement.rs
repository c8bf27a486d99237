//! `bench judgement`: the judge of the sequential gates in simulated rollouts.

use crate::figures::Figure;
use crate::outside;
use crate::trial::{Terms, Trial};

pub(crate) const TRIAL: Trial = Trial {
    name: "judgement",
    about: "false rollbacks, detection against Wald's bound, failed requests beside models of other tools, cost",
    run,
};

fn run(terms: &Terms) -> anyhow::Result<Vec<Figure>> {
    let seed = terms.seed.to_string();
    let arguments = ["--seed", seed.as_str(), "--short"];
    let (long, _) = arguments.split_at(2);
    outside::figures("tidegate-core", "judgement", if terms.short { &arguments } else { long })
}
