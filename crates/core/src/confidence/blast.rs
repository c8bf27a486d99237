//! Blast radius: how much a bad release could hurt before a gate can stop it.

use alloc::{format, vec, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{
    factor::{Fact, Factor, FactorKind},
    number::Points,
};
use crate::model::{Criticality, Share};

/// So many dependents are as bad as it gets.
const DEPENDENTS_MOST: u32 = 20;

/// What the rollout exposes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exposure {
    /// How much harm a failure of the service does.
    pub criticality: Criticality,
    /// The largest share of traffic that the release reaches before the next gate.
    pub largest_share: Share,
    /// Services that depend on this one; `None` when nobody knows.
    pub dependents: Option<u32>,
    /// How many instances change at once; `None` when nobody knows.
    pub at_once: Option<AtOnce>,
}

/// How many instances change at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AtOnce {
    /// Instances above the wanted number.
    pub max_surge: u32,
    /// Instances that may be missing.
    pub max_unavailable: u32,
    /// Instances wanted; with 0 nothing is known.
    pub replicas: u32,
}

/// `1 − c·(½·√share + 0.3·min(1, dependents/20) + 0.2·min(1, (surge+unavailable)/replicas))` with c = 1, 0.7, 0.4, 0.2
/// for critical, high, medium, low. Parts that nobody knows are left out, and the others count in proportion.
pub fn blast_radius(exposure: &Exposure) -> Factor {
    let share = f64::from(exposure.largest_share.basis_points()) / 10_000.0;
    let dependents =
        exposure.dependents.map(|count| f64::from(count.min(DEPENDENTS_MOST)) / f64::from(DEPENDENTS_MOST));
    let at_once = exposure.at_once.and_then(AtOnce::share);
    let parts = [(0.5, Some(libm::sqrt(share))), (0.3, dependents), (0.2, at_once)];
    let known: f64 = parts.iter().filter(|(_, part)| part.is_some()).map(|(weight, _)| weight).sum();
    let harm: f64 = parts.iter().filter_map(|(weight, part)| part.map(|part| weight * part)).sum();
    let value = Points::round(1.0 - factor_of(exposure.criticality) * harm / known).unwrap_or(Points::NONE);
    let reason = format!(
        "a bad release of this service (criticality {}) reaches at most {} of traffic before the next gate",
        word(exposure.criticality),
        exposure.largest_share
    );
    Factor::known(FactorKind::BlastRadius, value, evidence(exposure), reason)
}

/// The specification's own mapping, from criticality alone: critical 0.1, high 0.4, medium 0.7, low 0.9.
pub fn classic_blast_radius(criticality: Criticality) -> Factor {
    let value = Points::new(match criticality {
        Criticality::Critical => 1_000,
        Criticality::High => 4_000,
        Criticality::Medium => 7_000,
        Criticality::Low => 9_000,
    });
    let evidence = vec![Fact::text("criticality", word(criticality)), Fact::text("mapping", "classic")];
    let reason = format!("the service's criticality is {}", word(criticality));
    Factor::known(FactorKind::BlastRadius, value, evidence, reason)
}

impl AtOnce {
    /// The share of instances that change at once, 0 to 1; `None` when no instance is wanted.
    fn share(self) -> Option<f64> {
        let moving = u64::from(self.max_surge) + u64::from(self.max_unavailable);
        (self.replicas > 0).then(|| (moving as f64 / f64::from(self.replicas)).min(1.0))
    }
}

fn factor_of(criticality: Criticality) -> f64 {
    match criticality {
        Criticality::Critical => 1.0,
        Criticality::High => 0.7,
        Criticality::Medium => 0.4,
        Criticality::Low => 0.2,
    }
}

fn word(criticality: Criticality) -> &'static str {
    match criticality {
        Criticality::Critical => "critical",
        Criticality::High => "high",
        Criticality::Medium => "medium",
        Criticality::Low => "low",
    }
}

fn evidence(exposure: &Exposure) -> Vec<Fact> {
    let share = Points::new(exposure.largest_share.basis_points());
    let unknown = |name: &str| Fact::text(name, "not known");
    let mut facts = vec![
        Fact::text("criticality", word(exposure.criticality)),
        Fact::points("largest_share_before_a_gate", share),
        exposure
            .dependents
            .map_or_else(|| unknown("dependents"), |count| Fact::count("dependents", u64::from(count))),
    ];
    match exposure.at_once {
        Some(at_once) => facts.extend([
            Fact::count("max_surge", u64::from(at_once.max_surge)),
            Fact::count("max_unavailable", u64::from(at_once.max_unavailable)),
            Fact::count("replicas", u64::from(at_once.replicas)),
        ]),
        None => facts.push(unknown("instances_at_once")),
    }
    facts
}
