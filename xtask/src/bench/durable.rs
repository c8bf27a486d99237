//! `bench durable`: durable transitions per second against the bare disk.

use crate::figures::Figure;
use crate::outside;
use crate::trial::{Terms, Trial};

pub(crate) const TRIAL: Trial = Trial {
    name: "durable",
    about: "durable transitions per second of 1, 16 and 64 deployments, against fdatasync of the same disk",
    run,
};

fn run(terms: &Terms) -> anyhow::Result<Vec<Figure>> {
    outside::figures("tidegate-engine", "durable", if terms.short { &["--short"] } else { &[] })
}
