//! History: how often the service's releases ended well, with recent ones counting more.

use alloc::{format, vec};

use serde::{Deserialize, Serialize};

use super::{
    beta,
    factor::{Fact, Factor, FactorKind},
    number::Points,
};
use crate::model::Millis;

/// A release counts half as much after this long.
const HALF_LIFE: Millis = Millis::hours(90 * 24);
/// The prior counts as much as so many releases of today.
const PRIOR_RELEASES: f64 = 10.0;
/// The share of good releases where nobody has any.
const PRIOR_SHARE: Points = Points::new(8_500);
/// Below this point lies the true share once in twenty.
const LOW_END: f64 = 0.05;

/// One release of the past whose label is known. Only *confirmed* failures are failures: counting rollbacks of a gate
/// that turns back healthy releases would lower the score of the next healthy one, for ever.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// How long ago it ended.
    pub age: Millis,
    /// Whether it was good: no confirmed rollback, hotfix or incident within 72 hours.
    pub good: bool,
}

/// What to expect of a service without history of its own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SuccessPrior {
    /// The team's share of good releases, when it has one.
    pub team: Option<Points>,
    /// The organisation's, when it has one.
    pub organisation: Option<Points>,
}

impl SuccessPrior {
    /// The nearest known share and whose it is; 85 % by default.
    fn share(self) -> (Points, &'static str) {
        match (self.team, self.organisation) {
            (Some(team), _) => (team, "team"),
            (None, Some(organisation)) => (organisation, "organisation"),
            (None, None) => (PRIOR_SHARE, "default"),
        }
    }
}

/// The decayed mean `(Σ wᵢ·goodᵢ + 10·m) / (Σ wᵢ + 10)` with `wᵢ = 2^(−age/90 days)`, m being the prior's share. Without any
/// release it is the prior's share. The point below which the true share lies once in twenty is in the evidence.
pub fn historical_success(outcomes: &[Outcome], prior: SuccessPrior) -> Factor {
    let (share, whose) = prior.share();
    let weight = |outcome: &Outcome| libm::exp2(-(outcome.age.0 as f64) / HALF_LIFE.0 as f64);
    let total: f64 = outcomes.iter().map(weight).sum();
    let good: f64 = outcomes.iter().filter(|outcome| outcome.good).map(weight).sum();
    let for_it = good + PRIOR_RELEASES * share.fraction();
    let against = (total - good).max(0.0) + PRIOR_RELEASES * share.rest().fraction();
    let value = Points::round(for_it / (for_it + against)).unwrap_or(share);
    let count = outcomes.iter().filter(|outcome| outcome.good).count() as u64;
    let mut evidence = vec![
        Fact::count("releases", outcomes.len() as u64),
        Fact::count("releases_good", count),
        Fact::points("prior_share_good", share),
        Fact::text("prior_from", whose),
    ];
    let low = beta::quantile(for_it, against, LOW_END).and_then(Points::round);
    if let Some(low) = low {
        evidence.push(Fact::points("share_good_at_least_19_of_20", low));
    }
    let reason = if outcomes.is_empty() {
        format!("no labelled release yet: {share} is assumed ({whose})")
    } else {
        format!("{count} of the last {} labelled releases were good; recent ones count more", outcomes.len())
    };
    Factor::known(FactorKind::History, value, evidence, reason)
}
