//! Canary health: what the gates have seen of the release under traffic, as evidence for and against it.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use serde::{Deserialize, Serialize};

use super::{
    factor::{Absence, Fact, Factor, FactorKind, VetoKind},
    number::{Millionths, NotANumber, Points},
};

/// What one gate has seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GateEvidence {
    /// The gate.
    pub gate: String,
    /// How much it counts beside the others; a gate of weight 0 counts nothing, but its rollback still does.
    pub weight: u16,
    /// What it saw.
    pub seen: GateSight,
}

/// What a gate can have seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GateSight {
    /// Evidence of a sequential gate that has not ended the rollout.
    Evidence {
        /// Logarithm of the evidence against "the release is bad": grows while it is healthy, may be negative.
        ln_good: Millionths,
        /// Logarithm of the evidence against "the release is healthy": grows while it is bad.
        ln_bad: Millionths,
        /// The gate's share of false rollbacks, parts per million; `ln_bad` counts in full at `ln(1/alpha)`.
        alpha_ppm: u32,
        /// Its share of wrong passes, parts per million; `ln_good` counts in full at `ln(1/beta)`.
        beta_ppm: u32,
    },
    /// A threshold gate that holds: there is no more to be had from it.
    Held,
    /// Nothing that says anything.
    Nothing,
    /// It turned the release back.
    RolledBack,
}

/// Evidence that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadGateEvidence {
    /// A logarithm that is not a number.
    #[error("the evidence of gate `{gate}` cannot be weighed")]
    NotANumber {
        /// The gate.
        gate: String,
        /// Why.
        #[source]
        source: NotANumber,
    },
    /// A share of errors that is none, or all.
    #[error("the {level} of gate `{gate}` is {ppm} parts per million; it must lie between 1 and 999999")]
    Level {
        /// The gate.
        gate: String,
        /// Which: `alpha` or `beta`.
        level: &'static str,
        /// What was given.
        ppm: u32,
    },
}

impl GateEvidence {
    /// Evidence of a sequential gate from its natural logarithms; infinite ones count in full, a NaN is an error.
    pub fn sequential(
        gate: &str,
        weight: u16,
        (ln_good, ln_bad): (f64, f64),
        (alpha_ppm, beta_ppm): (u32, u32),
    ) -> Result<Self, BadGateEvidence> {
        for (level, ppm) in [("alpha", alpha_ppm), ("beta", beta_ppm)] {
            if !(1..1_000_000).contains(&ppm) {
                return Err(BadGateEvidence::Level { gate: gate.to_string(), level, ppm });
            }
        }
        let fixed = |value| {
            Millionths::round(value)
                .map_err(|source| BadGateEvidence::NotANumber { gate: gate.to_string(), source })
        };
        let seen =
            GateSight::Evidence { ln_good: fixed(ln_good)?, ln_bad: fixed(ln_bad)?, alpha_ppm, beta_ppm };
        Ok(Self { gate: gate.to_string(), weight, seen })
    }

    /// `½ + ½·min(1, ln E_good / ln(1/β)) − ½·min(1, ln⁺ E_bad / ln(1/α))`, clipped to 0 to 1: 1 only when "bad" is
    /// excluded and nothing speaks against the release, ½ without evidence, 0 once it was turned back.
    fn health(&self) -> Points {
        match self.seen {
            GateSight::Held => Points::FULL,
            GateSight::Nothing => Points::HALF,
            GateSight::RolledBack => Points::NONE,
            GateSight::Evidence { ln_good, ln_bad, alpha_ppm, beta_ppm } => {
                let good = (ln_good.real() / full_at(beta_ppm)).min(1.0);
                let bad = (ln_bad.real().max(0.0) / full_at(alpha_ppm)).min(1.0);
                Points::round(0.5 + 0.5 * good - 0.5 * bad).unwrap_or(Points::NONE)
            }
        }
    }
}

/// The weighted mean of the gates' health; 0 and a veto when any gate turned the release back; absent without gates.
pub fn canary_health(gates: &[GateEvidence]) -> Factor {
    let evidence = gates.iter().flat_map(facts).collect();
    if let Some(reason) = turned_back(gates) {
        return Factor::known(FactorKind::Canary, Points::NONE, evidence, reason.clone())
            .vetoed(VetoKind::Refuse, reason);
    }
    let weight: u64 = gates.iter().map(|gate| u64::from(gate.weight)).sum();
    let of = |gate: &GateEvidence| u64::from(gate.weight) * u64::from(gate.health().basis_points());
    match Points::ratio(gates.iter().map(of).sum(), weight * 10_000) {
        Some(mean) => Factor::known(FactorKind::Canary, mean, evidence, sentence(gates)),
        None => Factor::absent(FactorKind::Canary, Absence::NotYet, "no gate has looked at the release yet"),
    }
}

fn turned_back(gates: &[GateEvidence]) -> Option<String> {
    let failed = gates.iter().filter(|gate| gate.seen == GateSight::RolledBack);
    let names: Vec<&str> = failed.map(|gate| gate.gate.as_str()).collect();
    match names.as_slice() {
        [] => None,
        [one] => Some(format!("the gate `{one}` turned the release back")),
        more => Some(format!("the gates {} turned the release back", more.join(", "))),
    }
}

/// The logarithm at which evidence counts in full. A level of 0 cannot come from [`GateEvidence::sequential`]; from a
/// file it asks for more evidence than there can be.
fn full_at(ppm: u32) -> f64 {
    libm::log(1e6 / f64::from(ppm.clamp(1, 999_999)))
}

fn facts(gate: &GateEvidence) -> Vec<Fact> {
    let name = |what: &str| format!("{}.{what}", gate.gate);
    let mut facts = alloc::vec![
        Fact::points(&name("health"), gate.health()),
        Fact::count(&name("weight"), u64::from(gate.weight)),
    ];
    if let GateSight::Evidence { ln_good, ln_bad, alpha_ppm, beta_ppm } = gate.seen {
        facts.extend([
            Fact::millionths(&name("ln_good"), ln_good),
            Fact::millionths(&name("ln_bad"), ln_bad),
            Fact::millionths(&name("alpha"), Millionths(i64::from(alpha_ppm))),
            Fact::millionths(&name("beta"), Millionths(i64::from(beta_ppm))),
        ]);
    }
    facts
}

fn sentence(gates: &[GateEvidence]) -> String {
    let blind = gates.iter().filter(|gate| gate.seen == GateSight::Nothing).count();
    let unseen = if blind == 0 { String::new() } else { format!("; {blind} saw nothing that says anything") };
    let counted = gates.iter().filter(|gate| gate.weight > 0);
    let Some(worst) = counted.min_by_key(|gate| gate.health()) else {
        return String::from("no gate counts");
    };
    format!(
        "no gate of {} failed; the least sure is `{}` at {}{unseen}",
        gates.len(),
        worst.gate,
        worst.health()
    )
}
