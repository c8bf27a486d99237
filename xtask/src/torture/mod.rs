//! Tortures: the real thing, hurt on purpose.

mod kill;
mod kube;
mod sim;

use crate::trial::Trial;

/// Every torture there is.
pub(crate) const ALL: &[Trial] = &[kill::TRIAL, kube::TRIAL, sim::TRIAL];
