//! What going on with an undecided gate would put at risk.

use tidegate_statistics::{
    Exposure, PERSON_S, Pair, Planner, RatioInterval, monthly_error_budget, worst_damage,
};

use super::settings::Settings;
use crate::model::Share;

/// Coverage of the ratios that count as plausible.
const PLAUSIBLE: f64 = 0.05;

/// The next step's exposure, and what it may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct AtRisk {
    rate: f64,
    next: Option<Exposure>,
    /// The share that is exposed over the one that `next` looks at.
    beyond: f64,
    planner: Planner,
    /// Failed requests that may be risked.
    pub(super) allowed: f64,
}

/// The worst plausible damage of the next step.
#[derive(Clone, Copy, Debug)]
pub(super) struct Harm {
    /// Failed requests beyond the stable release's own; infinite when nothing is known.
    pub(super) requests: f64,
}

impl AtRisk {
    /// `rate` is all users' requests per second; `next` is the next stage's share, nothing after the last.
    pub(super) fn new(settings: &Settings, rate: f64, next: Option<Share>) -> Self {
        let share = f64::from(next.unwrap_or(Share::ALL).basis_points()) / 10_000.0;
        // Beyond one half less and less is left to compare with, and what was seen before stands in for it: that finds a
        // regression about as quickly as two halves do.
        let watched = share.clamp(0.0001, 0.5);
        // Without a person the next stage ends after its longest dwell; after the last one a person has to look.
        let seconds = if next.is_some() { settings.max_dwell.0 as f64 / 1_000.0 } else { PERSON_S };
        let objective = f64::from(settings.objective_ppm.min(1_000_000)) / 1e6;
        let budget = monthly_error_budget(rate, objective).unwrap_or(0.0);
        Self {
            rate,
            next: Exposure::new(watched, seconds.max(1.0)).ok(),
            beyond: share / watched,
            planner: Planner { alpha: settings.alpha(), ..Planner::default() },
            allowed: budget * f64::from(settings.risk_ppm) / 1e6,
        }
    }
}

/// The worst that the plausible ratios would cost in the next step.
pub(super) fn worst(interval: &RatioInterval, total: Pair, at_risk: AtRisk) -> Harm {
    let AtRisk { rate, next, beyond, planner, .. } = at_risk;
    let damage = next.and_then(|next| {
        worst_damage(interval, PLAUSIBLE, total.stable, rate, next, &planner).ok().flatten()
    });
    Harm { requests: damage.map_or(f64::INFINITY, |damage| damage * beyond) }
}
