//! One factor: its value or why there is none, what it was worked out from, and what it says in words.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use serde::{Deserialize, Serialize};

use super::number::{Millionths, Points};

/// Which factor. The order is the specification's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum FactorKind {
    /// Checks before the deployment.
    #[serde(rename = "safety_score")]
    Safety,
    /// What the gates saw of the release under traffic.
    #[serde(rename = "canary_health")]
    Canary,
    /// How much a bad release could hurt.
    #[serde(rename = "blast_radius")]
    BlastRadius,
    /// How the service's releases ended.
    #[serde(rename = "historical_success")]
    History,
    /// How large and how delicate the change is.
    #[serde(rename = "change_complexity")]
    Complexity,
    /// How much of the change the tests run.
    #[serde(rename = "test_coverage")]
    Coverage,
}

impl FactorKind {
    /// All six, in order.
    pub const ALL: [Self; 6] =
        [Self::Safety, Self::Canary, Self::BlastRadius, Self::History, Self::Complexity, Self::Coverage];

    /// Its weight in basis points; the six add up to 10,000.
    pub const fn weight(self) -> u16 {
        match self {
            Self::Safety => 3_000,
            Self::Canary => 2_500,
            Self::BlastRadius => 1_500,
            Self::History | Self::Complexity | Self::Coverage => 1_000,
        }
    }

    /// Its name in files: `safety_score`, `canary_health` …
    pub const fn name(self) -> &'static str {
        match self {
            Self::Safety => "safety_score",
            Self::Canary => "canary_health",
            Self::BlastRadius => "blast_radius",
            Self::History => "historical_success",
            Self::Complexity => "change_complexity",
            Self::Coverage => "test_coverage",
        }
    }

    /// Its name in sentences.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Safety => "safety checks",
            Self::Canary => "canary health",
            Self::BlastRadius => "blast radius",
            Self::History => "history",
            Self::Complexity => "change complexity",
            Self::Coverage => "test coverage",
        }
    }
}

/// A value, or why there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FactorValue {
    /// Known; higher is safer.
    Known(Points),
    /// Not known: left out of the sum.
    Absent(Absence),
}

/// Why a factor has no value; the factor's reason says it with names and numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Absence {
    /// Nobody gave its input.
    NotGiven,
    /// Its input comes later: canary health before the canary.
    NotYet,
    /// Its input does not apply: no coverable line was changed.
    NotApplicable,
    /// Its input belongs to something else: a report of another commit.
    OtherRelease,
    /// Its input could not be read: a shallow clone, a missing commit.
    Unreadable,
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Things.
    Count,
    /// Ten-thousandths.
    BasisPoints,
    /// Millionths.
    Millionths,
    /// Milliseconds.
    Milliseconds,
}

/// A number or a word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Amount {
    /// A number.
    Number(i64),
    /// A word, a name or a list of names.
    Text(String),
}

/// One named input of a factor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fact {
    /// What it is, in words with underscores: `lines_added`.
    pub name: String,
    /// How much.
    pub value: Amount,
    /// What the number counts; nothing for words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unit: Option<Unit>,
}

impl Fact {
    /// A number of things.
    pub fn count(name: &str, value: u64) -> Self {
        Self::number(name, i64::try_from(value).unwrap_or(i64::MAX), Unit::Count)
    }

    /// A fraction in basis points.
    pub fn points(name: &str, value: Points) -> Self {
        Self::number(name, i64::from(value.basis_points()), Unit::BasisPoints)
    }

    /// A real number in millionths.
    pub fn millionths(name: &str, value: Millionths) -> Self {
        Self::number(name, value.0, Unit::Millionths)
    }

    /// A word.
    pub fn text(name: &str, value: &str) -> Self {
        Self { name: name.to_string(), value: Amount::Text(value.to_string()), unit: None }
    }

    fn number(name: &str, value: i64, unit: Unit) -> Self {
        Self { name: name.to_string(), value: Amount::Number(value), unit: Some(unit) }
    }
}

/// What forbids a decision that the sum alone would allow.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Veto {
    /// How far it forbids.
    pub kind: VetoKind,
    /// Which factor says so.
    pub factor: FactorKind,
    /// Why, one sentence.
    pub reason: String,
}

/// How far a veto forbids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum VetoKind {
    /// No start and no promotion without a person: at best guarded, at best manual review.
    Review,
    /// No start at all; under traffic, turn back.
    Refuse,
}

/// One factor with everything behind it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Factor {
    /// Which.
    pub kind: FactorKind,
    /// Its value, or why there is none.
    pub value: FactorValue,
    /// What it was worked out from.
    pub evidence: Vec<Fact>,
    /// What it says, one sentence.
    pub reason: String,
    /// What it forbids, whatever the others say. An absent factor forbids nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub veto: Option<Veto>,
}

impl Factor {
    /// A factor with a value and no veto.
    pub fn known(kind: FactorKind, value: Points, evidence: Vec<Fact>, reason: String) -> Self {
        Self { kind, value: FactorValue::Known(value), evidence, reason, veto: None }
    }

    /// A factor without a value; `reason` is one sentence that says what is missing.
    pub fn absent(kind: FactorKind, why: Absence, reason: &str) -> Self {
        Self {
            kind,
            value: FactorValue::Absent(why),
            evidence: Vec::new(),
            reason: reason.to_string(),
            veto: None,
        }
    }

    /// The same with a veto.
    #[must_use]
    pub fn vetoed(mut self, kind: VetoKind, reason: String) -> Self {
        self.veto = Some(Veto { kind, factor: self.kind, reason });
        self
    }

    /// Its value, when it has one.
    pub const fn points(&self) -> Option<Points> {
        match self.value {
            FactorValue::Known(points) => Some(points),
            FactorValue::Absent(_) => None,
        }
    }
}

/// The six factors of one release, each exactly once, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct Factors(Vec<Factor>);

impl Default for Factors {
    /// All absent.
    fn default() -> Self {
        Self(FactorKind::ALL.into_iter().map(nobody_gave).collect())
    }
}

impl Factors {
    /// These factors in any order; kinds that do not occur are absent, of one that occurs twice the last counts.
    pub fn new(given: impl IntoIterator<Item = Factor>) -> Self {
        given.into_iter().fold(Self::default(), Self::with)
    }

    /// The same with one factor replaced.
    #[must_use]
    pub fn with(mut self, factor: Factor) -> Self {
        for place in &mut self.0 {
            if place.kind == factor.kind {
                *place = factor;
                break;
            }
        }
        self
    }

    /// The same with canary health absent, as it is before the canary.
    #[must_use]
    pub fn before_canary(self) -> Self {
        let reason = "the release has had no traffic yet";
        self.with(Factor::absent(FactorKind::Canary, Absence::NotYet, reason))
    }

    /// In order.
    pub fn iter(&self) -> core::slice::Iter<'_, Factor> {
        self.0.iter()
    }

    /// The value of one kind, when it has one.
    pub fn points(&self, kind: FactorKind) -> Option<Points> {
        self.0.iter().find(|factor| factor.kind == kind).and_then(Factor::points)
    }

    /// What is forbidden, in order.
    pub fn vetoes(&self) -> impl Iterator<Item = &Veto> {
        self.0.iter().filter_map(|factor| factor.veto.as_ref())
    }
}

impl<'a> IntoIterator for &'a Factors {
    type Item = &'a Factor;
    type IntoIter = core::slice::Iter<'a, Factor>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

impl<'de> Deserialize<'de> for Factors {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::new(Vec::<Factor>::deserialize(deserializer)?))
    }
}

fn nobody_gave(kind: FactorKind) -> Factor {
    Factor::absent(kind, Absence::NotGiven, "nothing was given to work it out from")
}
