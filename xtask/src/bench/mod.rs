//! Benches: how fast, against whom.

mod durable;
mod judgement;
mod kube;
pub(crate) mod load;
mod machine;
mod product;
mod proxy;
mod restart;
mod switch;
mod turnback;

use crate::trial::Trial;

/// Every bench there is.
pub(crate) const ALL: &[Trial] = &[
    proxy::TRIAL,
    durable::TRIAL,
    judgement::TRIAL,
    switch::TRIAL,
    restart::TRIAL,
    turnback::TRIAL,
    kube::TRIAL,
    kube::churn::TRIAL,
];
