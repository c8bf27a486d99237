//! Tortures: the real thing, hurt on purpose.

use crate::trial::Trial;

/// Every torture there is.
pub(crate) const ALL: &[Trial] = &[];
