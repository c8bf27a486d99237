//! The weighted sum, the two decisions, and their vetoes.

use alloc::{string::String, vec::Vec};
use core::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    factor::{Factor, FactorKind, Factors, Veto, VetoKind},
    number::Points,
};

/// A score in tenths of a point, 0.0 to 100.0. Scores are rounded to a tenth, halves up, before they are compared with
/// a band: 79.95 is 80.0 and promotes, 79.94 is 79.9 and does not. In files it is a decimal number: `80.0`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Score(u16);

/// A score outside 0 to 100, or no number.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
#[error("{0} is not a score between 0 and 100")]
pub struct BadScore(pub f64);

impl Score {
    /// From here on: promote, or start by itself.
    pub const PROMOTE: Self = Self(800);
    /// From here on: ask a person; below, turn back or do not start.
    pub const REVIEW: Self = Self(600);
    /// The most.
    pub const FULL: Self = Self(1_000);

    /// So many tenths of a point; more than 1,000 is 1,000.
    pub const fn tenths(tenths: u16) -> Self {
        if tenths > 1_000 { Self::FULL } else { Self(tenths) }
    }

    /// The nearest tenth to a number of points, halves up.
    pub fn round(points: f64) -> Result<Self, BadScore> {
        if !(0.0..=100.0).contains(&points) {
            return Err(BadScore(points));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a whole number between 0 and 1000"
        )]
        let tenths = libm::round(points * 10.0) as u16;
        Ok(Self::tenths(tenths))
    }

    /// Tenths of a point, 0 to 1,000.
    pub const fn in_tenths(self) -> u16 {
        self.0
    }

    /// Points, 0 to 100.
    pub fn points(self) -> f64 {
        f64::from(self.0) / 10.0
    }
}

impl fmt::Display for Score {
    /// `80.0`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 / 10, self.0 % 10)
    }
}

impl Serialize for Score {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.points())
    }
}

impl<'de> Deserialize<'de> for Score {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::round(f64::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// The weighted sum over the factors that are known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weighed {
    /// The sum, renormalised to the known factors; nothing when none is known.
    pub score: Option<Score>,
    /// Weight of the known factors, basis points: 10,000 when all six are known.
    pub known_weight: u16,
    /// What is not known, in order.
    pub absent: Vec<FactorKind>,
}

/// What the final score says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// 80 and more: give it all traffic.
    AutoPromote,
    /// 60 to 80: a person decides.
    ManualReview,
    /// Below 60: turn back.
    Rollback,
}

impl fmt::Display for Decision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AutoPromote => "promote",
            Self::ManualReview => "manual review",
            Self::Rollback => "roll back",
        })
    }
}

/// What the pre-flight score says. It never promotes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// 80 and more: start.
    Automatic,
    /// 60 to 80, or nothing is known: start after one approval, or at 1 % of traffic.
    Guarded,
    /// Below 60: do not start.
    Blocked,
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Automatic => "start",
            Self::Guarded => "start after one approval, or at 1 %",
            Self::Blocked => "do not start",
        })
    }
}

/// The score before any traffic, and how to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Preflight {
    /// The sum over the five factors that can be known before traffic.
    #[serde(flatten)]
    pub weighed: Weighed,
    /// How to start.
    pub decision: Start,
    /// What capped the decision, if anything.
    pub vetoes: Vec<Veto>,
}

/// The score under traffic, and what to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Final {
    /// The sum.
    #[serde(flatten)]
    pub weighed: Weighed,
    /// What to do.
    pub decision: Decision,
    /// What capped the decision, if anything.
    pub vetoes: Vec<Veto>,
}

/// The classic weighted sum over the known factors: `100 · Σ weight·value / Σ weight`, worked out in integers and
/// rounded once, to a tenth, halves up.
pub fn weigh(factors: &Factors) -> Weighed {
    let (mut sum, mut known_weight, mut absent) = (0_u64, 0_u16, Vec::new());
    for factor in factors {
        match factor.points() {
            Some(points) => {
                sum += u64::from(factor.kind.weight()) * u64::from(points.basis_points());
                known_weight += factor.kind.weight();
            }
            None => absent.push(factor.kind),
        }
    }
    Weighed { score: mean(sum, known_weight), known_weight, absent }
}

/// The score before any traffic: canary health is left out even when it is known.
pub fn preflight(factors: &Factors) -> Preflight {
    let factors = factors.clone().before_canary();
    let mut weighed = weigh(&factors);
    weighed.absent.retain(|kind| *kind != FactorKind::Canary);
    let banded = match weighed.score {
        Some(score) if score >= Score::PROMOTE => Start::Automatic,
        Some(score) if score >= Score::REVIEW => Start::Guarded,
        Some(_) => Start::Blocked,
        None => Start::Guarded,
    };
    let vetoes: Vec<Veto> = factors.vetoes().cloned().collect();
    let decision = match (strongest(&vetoes), banded) {
        (Some(VetoKind::Refuse), _) | (_, Start::Blocked) => Start::Blocked,
        (Some(VetoKind::Review), _) | (None, Start::Guarded) => Start::Guarded,
        (None, Start::Automatic) => Start::Automatic,
    };
    Preflight { weighed, decision, vetoes }
}

/// The score under traffic. Without canary health the decision is at best manual review, whatever the sum: no data is
/// not a pass. Bands: 80 to 100 promote, 60 to below 80 manual review, below 60 roll back.
pub fn final_score(factors: &Factors) -> Final {
    let weighed = weigh(factors);
    let banded = match weighed.score {
        Some(score) if score >= Score::PROMOTE => Decision::AutoPromote,
        Some(score) if score >= Score::REVIEW => Decision::ManualReview,
        Some(_) => Decision::Rollback,
        None => Decision::ManualReview,
    };
    let mut vetoes: Vec<Veto> = factors.vetoes().cloned().collect();
    if factors.points(FactorKind::Canary).is_none() {
        vetoes.push(unseen());
    }
    let decision = match (strongest(&vetoes), banded) {
        (Some(VetoKind::Refuse), _) | (_, Decision::Rollback) => Decision::Rollback,
        (Some(VetoKind::Review), _) | (None, Decision::ManualReview) => Decision::ManualReview,
        (None, Decision::AutoPromote) => Decision::AutoPromote,
    };
    Final { weighed, decision, vetoes }
}

/// What one factor alone would need for the score to reach 80.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lift {
    /// The factor.
    pub factor: FactorKind,
    /// The least value with which the score is 80, all others as they are.
    pub needed: Points,
}

/// Every factor that could lift the score to 80 by itself, in order: what a person in the review band can look for instead
/// of waiting. Nothing when the score is there already, when no factor is known, or when a refusal stands.
pub fn lifts(factors: &Factors) -> Vec<Lift> {
    let refused = factors.vetoes().any(|veto| veto.kind == VetoKind::Refuse);
    if refused || weigh(factors).score.is_none_or(|score| score >= Score::PROMOTE) {
        return Vec::new();
    }
    let lift = |factor| least(factors, factor).map(|needed| Lift { factor, needed });
    FactorKind::ALL.into_iter().filter_map(lift).collect()
}

/// The least value of one factor with which the score is 80; `None` when even the best is not enough.
fn least(factors: &Factors, kind: FactorKind) -> Option<Points> {
    let enough = |points: u16| {
        let tried = Factor::known(kind, Points::new(points), Vec::new(), String::new());
        weigh(&factors.clone().with(tried)).score >= Some(Score::PROMOTE)
    };
    let (mut low, mut high) = (0, Points::FULL.basis_points());
    if !enough(high) {
        return None;
    }
    // More of a factor never lowers the score, so halving finds the edge.
    while low < high {
        let middle = low.midpoint(high);
        if enough(middle) { high = middle } else { low = middle + 1 }
    }
    Some(Points::new(high))
}

fn mean(sum: u64, weight: u16) -> Option<Score> {
    let whole = u64::from(weight) * 10_000;
    if whole == 0 {
        return None;
    }
    let tenths = (sum * 2_000 + whole) / (whole * 2);
    u16::try_from(tenths).ok().map(Score::tenths)
}

fn strongest(vetoes: &[Veto]) -> Option<VetoKind> {
    vetoes.iter().map(|veto| veto.kind).max()
}

fn unseen() -> Veto {
    Veto {
        kind: VetoKind::Review,
        factor: FactorKind::Canary,
        reason: String::from("canary health is not known, and no data is not a pass"),
    }
}
