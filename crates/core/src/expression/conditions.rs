//! A success and a failure condition together.

use serde::{Deserialize, Serialize};

use super::{Evaluation, Expression, ExpressionError, Missing, Scope, Truth, Values};

/// What a custom metric must and must not be. At least one of both is meant to be there; without any, nothing can be told.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Conditions {
    /// Must hold.
    pub success: Option<Expression>,
    /// Must not hold.
    pub failure: Option<Expression>,
}

/// What the conditions say about values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Success, and no failure.
    Met,
    /// Failure; or no success, where there is no failure condition.
    Broken,
    /// Neither failure nor success, where both conditions are there.
    Between,
    /// The values do not say.
    CannotTell(Missing),
}

impl Conditions {
    /// Checks both.
    pub fn check(&self, scope: &Scope) -> Result<(), ExpressionError> {
        self.success.iter().chain(&self.failure).try_for_each(|condition| condition.check(scope))
    }

    /// What they say, and the first missing thing that they answered for themselves ([`Evaluation::assumed`]).
    pub fn evaluate(&self, scope: &Scope, values: &Values) -> (Finding, Option<Missing>) {
        let of = |condition: &Option<Expression>| condition.as_ref().map(|c| c.evaluate(scope, values));
        let (success, failure) = (of(&self.success), of(&self.failure));
        let assumed = [&failure, &success].into_iter().flatten().find_map(|e| e.assumed.clone());
        (finding(success, failure), assumed)
    }
}

fn finding(success: Option<Evaluation>, failure: Option<Evaluation>) -> Finding {
    match (success.map(|e| e.truth), failure.map(|e| e.truth)) {
        (None, None) => Finding::CannotTell(Missing::Empty),
        (_, Some(Truth::True)) | (Some(Truth::False), None) => Finding::Broken,
        (_, Some(Truth::CannotTell(missing))) | (Some(Truth::CannotTell(missing)), _) => {
            Finding::CannotTell(missing)
        }
        (Some(Truth::True) | None, _) => Finding::Met,
        (Some(Truth::False), Some(Truth::False)) => Finding::Between,
    }
}
