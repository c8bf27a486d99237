//! Benches: how fast, against whom.

pub(crate) mod load;
mod machine;
mod product;
mod proxy;

use crate::trial::Trial;

/// Every bench there is.
pub(crate) const ALL: &[Trial] = &[proxy::TRIAL];
