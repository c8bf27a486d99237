//! Whole programmes of hurt: every crash point of small worlds, and many hours of large ones.

mod large;
mod small;
mod worlds;

use crate::{
    law::{Kind, Violation},
    play::Play,
    scenario::{Report, Scenario},
};

pub use large::{Large, large, large_world, trace};
pub use small::{Exhaustive, Programme, exhaustive};

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

/// The short programme that a defect put in on purpose must not survive: large worlds for some hours, then small worlds
/// with every second of their faults, up to the first broken law.
///
/// Returns the runs in which a law was broken; none when all is well.
pub fn smoke(seed: u64) -> Vec<Failing> {
    let mut hours = 0.0;
    for world in 0..8 {
        let one = large_world(seed.wrapping_add(world));
        hours += one.hours;
        if !one.failing.is_empty() {
            return one.failing;
        }
        if hours > 1_000.0 {
            break;
        }
    }
    exhaustive(Programme { seed, crash_states_min: 0, every: 2, stop_at_first: true }).failing
}

fn play(scenario: Scenario) -> Report {
    Play::new(scenario).run()
}
