//! The fold of an analysis: measurements in, a verdict out.

mod run;
#[cfg(test)]
mod tests;

use alloc::{
    format,
    string::{String, ToString},
};

use run::{Measurement, Phase, Run};

use super::{
    batch::{Batch, DataState, Said},
    metric::{scope, shown, values},
    seat::{Answer, Standing},
};
use crate::{
    expression::{Conditions, Expression, Finding, Missing, Scope},
    gate::{self, Gate, Number},
};

/// An analysis gate.
#[derive(Clone, Debug)]
pub(super) struct Analysed {
    metric: String,
    rule: gate::Analysis,
    conditions: Conditions,
    scope: Scope,
    run: Run,
    stage: Option<usize>,
    /// Whether a measurement of this stage was good, and none since was bad.
    good: bool,
    /// What was measured last.
    seen: String,
}

impl Analysed {
    /// Conditions were checked when the configuration was read; one that does not parse can tell nothing.
    pub(super) fn new(gate: &Gate, rule: &gate::Analysis) -> Self {
        let parse = |text: &Option<String>| text.as_deref().and_then(|text| Expression::parse(text).ok());
        Self {
            metric: gate.metric.clone().unwrap_or_default(),
            conditions: Conditions { success: parse(&rule.success), failure: parse(&rule.failure) },
            scope: scope(rule.unit.parse().unwrap_or_default()),
            rule: rule.clone(),
            run: Run::default(),
            stage: None,
            good: false,
            seen: "not measured yet".into(),
        }
    }

    pub(super) fn take(&mut self, batch: &Batch) {
        if batch.stage != self.stage {
            (self.stage, self.good) = (batch.stage, false);
            if !self.rule.background {
                self.run = Run::default();
            }
        }
        if !self.run.is_due(&self.rule, batch.at) {
            return;
        }
        let Some(said) = batch.metrics.iter().find(|one| one.metric == self.metric) else { return };
        let Some((measurement, seen)) = self.measured(&said.said) else { return };
        self.seen = seen;
        self.good = measurement == Measurement::Successful;
        self.run.take(&self.rule, measurement, batch.at);
    }

    /// What a metric said, as a measurement; nothing while it says nothing new, and where an answer rests on what is missing.
    fn measured(&self, said: &Said) -> Option<(Measurement, String)> {
        match said {
            Said::Values { new, stable } => {
                self.judged(new, stable).map(|measurement| (measurement, shown(new)))
            }
            // Between two answers, and before the first.
            Said::Nothing { state: DataState::Live | DataState::NoSeries, .. } => None,
            Said::Nothing { reason, .. } => Some((Measurement::Error, reason.clone())),
            Said::Counts { .. } => Some((Measurement::Error, "counted, and a value is asked".to_string())),
        }
    }

    fn judged(&self, new: &[Number], stable: &[Number]) -> Option<Measurement> {
        let (found, assumed) = self.conditions.evaluate(&self.scope, &values(new, stable));
        Some(match found {
            Finding::Met if assumed.is_some() => return None,
            Finding::Met => Measurement::Successful,
            Finding::Broken => Measurement::Failed,
            Finding::Between => Measurement::Inconclusive,
            // Nothing compares with NaN: what has to be true is not.
            Finding::CannotTell(Missing::NotANumber | Missing::Infinite)
                if self.conditions.failure.is_none() =>
            {
                Measurement::Failed
            }
            Finding::CannotTell(_) => Measurement::Error,
        })
    }

    pub(super) fn fails(&self) -> bool {
        matches!(self.run.phase(), Phase::Failed | Phase::Error)
    }

    pub(super) fn answer(&self, stage: Option<usize>) -> Answer {
        let here = self.stage == stage;
        let standing = match self.run.phase() {
            Phase::Failed | Phase::Error => Standing::Failed,
            Phase::Successful if self.rule.background || here => Standing::Passed,
            // Beside the steps only a failure stops them; but what was not measured has not passed.
            Phase::Running if self.rule.is_beside() && here && self.good => Standing::Passed,
            Phase::Inconclusive => Standing::Ended,
            Phase::Successful | Phase::Running => Standing::Undecided,
        };
        Answer::plain(standing, format!("`{}`: {}", self.metric, self.run.said(&self.rule, &self.seen)))
    }

    pub(super) fn fault(&self) -> String {
        format!("`{}`: {}", self.metric, self.run.said(&self.rule, &self.seen))
    }
}

impl gate::Analysis {
    /// Whether steps go on while it runs.
    const fn is_beside(&self) -> bool {
        self.background || (self.count.is_none() && self.consecutive_success_limit == 0)
    }
}
