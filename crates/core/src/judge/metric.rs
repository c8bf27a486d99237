//! A metric of the user's own with conditions on its value.

use alloc::{
    format,
    string::{String, ToString},
};

use super::{
    batch::{Batch, Said},
    panel::{Answer, Standing},
};
use crate::{
    expression::{Conditions, Declared, Expression, Finding, Scope, Unit, Value, Values},
    gate::{self, Number},
};

/// The names that a condition may use, for a metric in this unit: `result`, `new`, `stable` and `ratio`.
pub fn scope(unit: Unit) -> Scope {
    Scope::result(unit)
        .with("new", Declared::Number(unit))
        .with("stable", Declared::Number(unit))
        .with("ratio", Declared::Number(Unit::Number))
}

/// A metric gate in one stage.
#[derive(Clone, Debug)]
pub(super) struct Conditioned {
    metric: String,
    conditions: Conditions,
    scope: Scope,
    failures_max: u32,
    stage: Option<usize>,
    bad: u32,
    last: Option<(Finding, String)>,
}

impl Conditioned {
    /// Conditions were checked when the configuration was read; one that does not parse can tell nothing.
    pub(super) fn new(metric: String, rule: &gate::Conditions) -> Self {
        let parse = |text: &Option<String>| text.as_deref().and_then(|text| Expression::parse(text).ok());
        let conditions = Conditions { success: parse(&rule.success), failure: parse(&rule.failure) };
        let unit = rule.unit.parse().unwrap_or_default();
        let failures_max = rule.failures_max;
        Self { metric, conditions, scope: scope(unit), failures_max, stage: None, bad: 0, last: None }
    }

    pub(super) fn take(&mut self, batch: &Batch) {
        if batch.stage != self.stage {
            (self.stage, self.bad, self.last) = (batch.stage, 0, None);
        }
        let Some(Said::Values { new, stable }) =
            batch.metrics.iter().find(|one| one.metric == self.metric).map(|one| &one.said)
        else {
            return;
        };
        let (found, assumed) = self.conditions.evaluate(&self.scope, &values(new, stable));
        if found == Finding::Broken {
            self.bad = self.bad.saturating_add(1);
        }
        // A condition that answers for missing data by itself has seen nothing: that is no pass.
        let found = match assumed {
            Some(missing) if found == Finding::Met => Finding::CannotTell(missing),
            _ => found,
        };
        self.last = Some((found, shown(new)));
    }

    pub(super) const fn fails(&self) -> bool {
        self.bad > self.failures_max
    }

    /// A value of an earlier stage says nothing about this one.
    pub(super) fn answer(&self, stage: Option<usize>) -> Answer {
        let Some((found, seen)) = self.last.as_ref().filter(|_| self.stage == stage) else {
            return Answer::plain(
                Standing::Absent,
                format!("metric `{}` has no value in this stage yet", self.metric),
            );
        };
        let name = &self.metric;
        match found {
            Finding::Met => Answer::plain(Standing::Passed, format!("`{name}` is {seen}: as it should be")),
            Finding::Broken => Answer::plain(
                Standing::Undecided,
                format!("`{name}` is {seen}: bad {} times, {} may be", self.bad, self.failures_max),
            ),
            Finding::Between => {
                Answer::plain(Standing::Undecided, format!("`{name}` is {seen}: neither good nor bad"))
            }
            Finding::CannotTell(missing) => {
                Answer::plain(Standing::Absent, format!("`{name}` is {seen}: {missing}"))
            }
        }
    }

    pub(super) fn fault(&self) -> String {
        let seen = self.last.as_ref().map_or("", |(_, seen)| seen.as_str());
        let rule = match (&self.conditions.failure, &self.conditions.success) {
            (Some(failure), _) => format!("bad when {failure}"),
            (None, Some(success)) => format!("good when {success}"),
            (None, None) => String::new(),
        };
        format!("`{}` is {seen}, {rule}; bad {} times, {} may be", self.metric, self.bad, self.failures_max)
    }
}

fn values(new: &[Number], stable: &[Number]) -> Values {
    let mut values = Values::new();
    values.insert("result".into(), Value::numbers(new.iter().map(|number| number.0)));
    let only = |numbers: &[Number]| match numbers {
        [number] => Some(number.0),
        _ => None,
    };
    let (ours, theirs) = (only(new), only(stable));
    if let Some(ours) = ours {
        values.insert("new".into(), Value::Number(ours));
    }
    if let Some(theirs) = theirs {
        values.insert("stable".into(), Value::Number(theirs));
    }
    if let (Some(ours), Some(theirs)) = (ours, theirs) {
        // 0/0 is not a number, which no condition accepts.
        values.insert("ratio".into(), Value::Number(ours / theirs));
    }
    values
}

fn shown(numbers: &[Number]) -> String {
    match numbers {
        [] => "empty".into(),
        [one] => one.0.to_string(),
        [first, rest @ ..] => format!("{} and {} more", first.0, rest.len()),
    }
}
