//! Tortures: the real thing, hurt on purpose.

mod kill;
mod sim;

use crate::trial::Trial;

/// Every torture there is.
pub(crate) const ALL: &[Trial] = &[kill::TRIAL, sim::TRIAL];
