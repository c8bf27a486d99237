//! Figures: what a measurement found, beside what it should have found.

use std::fmt;
use std::str::FromStr;

use anyhow::Context;
use serde::{Deserialize, Serialize};

/// One measured number with its goal, as it stands in the closing line of a bench.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Figure {
    /// Its name; never changes once published.
    pub(crate) id: String,
    /// What was measured. Not a number when it could not be: written as `null`, and never reaches a goal.
    #[serde(deserialize_with = "null_is_nan")]
    pub(crate) value: f64,
    /// What it is counted in, `ratio` for one number divided by another.
    pub(crate) unit: String,
    /// The goal as text: `>= 1.0`, `<= 12`, `== 0`.
    pub(crate) goal: String,
    /// What it was measured against: another program in the same run, or a fixed bound.
    pub(crate) against: String,
}

impl Figure {
    /// A figure whose goal is text that [`Goal`] can read; an error otherwise, because a goal nobody can read would be
    /// reached by everything.
    pub(crate) fn new(id: &str, value: f64, unit: &str, goal: &str, against: &str) -> anyhow::Result<Self> {
        goal.parse::<Goal>()?;
        Ok(Self {
            id: id.to_owned(),
            value,
            unit: unit.to_owned(),
            goal: goal.to_owned(),
            against: against.to_owned(),
        })
    }

    /// Whether the goal is reached.
    pub(crate) fn reached(&self) -> bool {
        self.goal.parse::<Goal>().is_ok_and(|goal| goal.reached_by(self.value))
    }
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verdict = if self.reached() { "ok    " } else { "MISSED" };
        let Self { id, value, unit, goal, against } = self;
        write!(f, "{verdict} {id:<18} {value:>12.3} {unit:<8} goal {goal:<10} against {against}")
    }
}

/// A bound on a figure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Goal {
    /// `>= N`
    AtLeast(f64),
    /// `<= N`
    AtMost(f64),
    /// `== N`
    Exactly(f64),
}

impl Goal {
    #[expect(clippy::float_cmp, reason = "`==` is for counts, which are whole numbers far below 2^53")]
    fn reached_by(self, value: f64) -> bool {
        match self {
            Self::AtLeast(bound) => value >= bound,
            Self::AtMost(bound) => value <= bound,
            Self::Exactly(bound) => value == bound,
        }
    }
}

impl FromStr for Goal {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (sign, bound) =
            text.split_once(' ').with_context(|| format!("goal `{text}` is not like `>= 1.0`"))?;
        let bound = bound.trim().parse().with_context(|| format!("goal `{text}` has no number"))?;
        match sign {
            ">=" => Ok(Self::AtLeast(bound)),
            "<=" => Ok(Self::AtMost(bound)),
            "==" => Ok(Self::Exactly(bound)),
            _ => anyhow::bail!("goal `{text}` begins with none of >=, <=, =="),
        }
    }
}

/// The middle of some numbers; not a number when there are none.
pub(crate) fn median(numbers: impl IntoIterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = numbers.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let upper = sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN);
    let lower =
        sorted.len().checked_sub(1).and_then(|last| sorted.get(last / 2)).copied().unwrap_or(f64::NAN);
    f64::midpoint(lower, upper)
}

fn null_is_nan<'de, D: serde::Deserializer<'de>>(source: D) -> Result<f64, D::Error> {
    Ok(Option::<f64>::deserialize(source)?.unwrap_or(f64::NAN))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_is_reached_at_its_bound_and_missed_beyond_it() {
        for (goal, reached, missed) in [(">= 1.0", 1.0, 0.999), ("<= 12", 12.0, 12.1), ("== 0", 0.0, 1.0)] {
            let figure = |value| Figure::new("id", value, "ratio", goal, "nginx").unwrap();
            assert!(figure(reached).reached(), "{goal}");
            assert!(!figure(missed).reached(), "{goal}");
        }
    }

    #[test]
    fn what_could_not_be_measured_reaches_no_goal() {
        let figure = Figure::new("id", f64::NAN, "ratio", "<= 1", "nginx").unwrap();
        assert!(!figure.reached());
        let text = serde_json::to_string(&figure).unwrap();
        assert!(text.contains("\"value\":null"), "{text}");
        assert!(serde_json::from_str::<Figure>(&text).unwrap().value.is_nan());
    }

    #[test]
    fn a_goal_that_cannot_be_read_is_refused() {
        for goal in ["", "1.0", "> 1", ">= fast"] {
            assert!(Figure::new("id", 1.0, "ratio", goal, "nginx").is_err(), "{goal}");
        }
    }

    #[test]
    fn the_median_of_an_even_count_lies_between_the_middle_two() {
        assert!((median([4.0, 1.0, 3.0, 2.0]) - 2.5).abs() < 1e-9);
        assert!((median([3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
        assert!(median([]).is_nan());
    }
}
