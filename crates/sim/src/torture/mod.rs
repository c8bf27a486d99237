//! Whole programmes of hurt: every crash point of small worlds, and many hours of large ones.

mod large;
mod small;

use crate::{
    law::{Kind, Violation},
    play::{Play, Report, Scenario},
};

pub use large::{Large, large, large_world, trace};
pub use small::{Exhaustive, exhaustive, worlds};

/// A run in which a law was broken, with all that is needed to play it again.
#[derive(Clone, Debug)]
pub struct Failing {
    /// The world and what was done to it; for a large one, its seed.
    pub script: String,
    /// What was broken, first things first.
    pub violations: Vec<Violation>,
}

/// Broken laws by what they mean.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Broken {
    /// Something that was promised was gone.
    pub lost: u64,
    /// Something happened twice.
    pub duplicated: u64,
    /// Something else.
    pub illegal: u64,
}

impl Broken {
    fn count(&mut self, violations: &[Violation]) {
        for violation in violations {
            *match violation.law.kind() {
                Kind::Lost => &mut self.lost,
                Kind::Duplicated => &mut self.duplicated,
                Kind::Illegal => &mut self.illegal,
            } += 1;
        }
    }

    /// All of them.
    pub const fn all(self) -> u64 {
        self.lost + self.duplicated + self.illegal
    }
}

/// Failing runs that are kept with their scripts.
const FAILING_MAX: usize = 8;

/// The short programme that a defect put in on purpose must not survive.
///
/// Returns the first broken laws; empty when all is well.
pub fn smoke(seed: u64) -> Vec<Failing> {
    let (small, hurt) = (exhaustive(seed, 0, Some(12)), large(seed, 60.0));
    small.failing.into_iter().chain(hurt.failing).collect()
}

fn play(scenario: Scenario) -> Report {
    Play::new(scenario).run()
}
