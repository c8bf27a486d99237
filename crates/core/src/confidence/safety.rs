//! The safety gates' answer: which checks ran before the deployment, and what they recommend.

use alloc::{format, string::String, vec, vec::Vec};

use serde::{Deserialize, Serialize};

use super::{
    factor::{Fact, Factor, FactorKind, VetoKind},
    number::Points,
};

/// What the safety gates recommend.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recommendation {
    /// Go on.
    Deploy,
    /// A person should look.
    Review,
    /// Do not go on.
    DoNotDeploy,
}

/// How one check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckOutcome {
    /// It passed.
    Passed,
    /// It failed.
    Failed,
    /// It did not run: left out, and listed.
    NotRun,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Its name.
    pub name: String,
    /// How much it counts beside the others; 1 unless said otherwise.
    pub weight: u16,
    /// Whether its failure alone forbids the deployment.
    pub blocking: bool,
    /// How it ended.
    pub outcome: CheckOutcome,
}

/// A report that contradicts itself and is therefore worth nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Contradiction {
    /// Passed, although a blocking check failed.
    #[error("`passed` is true, but the blocking check `{check}` failed")]
    PassedWithFailedCheck {
        /// The check.
        check: String,
    },
    /// Passed, although the recommendation is not to deploy.
    #[error("`passed` is true, but `recommendation` says not to deploy")]
    PassedButNotRecommended,
    /// Not passed, although the recommendation is to deploy.
    #[error("`passed` is false, but `recommendation` says to deploy")]
    FailedButRecommended,
    /// One check ended in two ways.
    #[error("`checks` holds `{check}` twice, with different outcomes")]
    CheckTwice {
        /// The check.
        check: String,
    },
}

/// A report of the safety gates that does not contradict itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SafetyReport {
    passed: bool,
    recommendation: Recommendation,
    checks: Vec<Check>,
}

impl SafetyReport {
    /// A report; one that contradicts itself is an error, because nobody can say which half is true.
    pub fn new(
        passed: bool,
        recommendation: Recommendation,
        checks: Vec<Check>,
    ) -> Result<Self, Contradiction> {
        match (passed, recommendation) {
            (true, Recommendation::DoNotDeploy) => return Err(Contradiction::PassedButNotRecommended),
            (false, Recommendation::Deploy) => return Err(Contradiction::FailedButRecommended),
            (true, Recommendation::Deploy | Recommendation::Review)
            | (false, Recommendation::Review | Recommendation::DoNotDeploy) => {}
        }
        if let Some(check) = checks.iter().find(|check| passed && check.fails_all()) {
            return Err(Contradiction::PassedWithFailedCheck { check: check.name.clone() });
        }
        if let Some(check) = twice(&checks) {
            return Err(Contradiction::CheckTwice { check: check.name.clone() });
        }
        Ok(Self { passed, recommendation, checks })
    }

    /// Whether the safety gates passed.
    pub const fn passed(&self) -> bool {
        self.passed
    }

    /// What they recommend.
    pub const fn recommendation(&self) -> Recommendation {
        self.recommendation
    }

    /// The checks, as the report lists them.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// Why nothing may be deployed on this report, one sentence; `None` when it may.
    pub fn refusal(&self) -> Option<String> {
        if let Some(check) = self.checks.iter().find(|check| check.fails_all()) {
            return Some(format!("the blocking safety check `{}` failed", check.name));
        }
        if self.recommendation == Recommendation::DoNotDeploy {
            return Some(String::from("the safety gates recommend not to deploy"));
        }
        (!self.passed).then(|| String::from("the safety gates did not pass"))
    }
}

impl Check {
    fn fails_all(&self) -> bool {
        self.blocking && self.outcome == CheckOutcome::Failed
    }
}

/// The weighted share of passed checks among those that ran; a report that lists none counts as one check, the whole
/// report. A blocking check that failed, `passed` being false, or a recommendation not to deploy is a veto; a
/// recommendation to review needs a person.
pub fn safety_score(report: &SafetyReport) -> Factor {
    let weight = |wanted: CheckOutcome| -> u64 {
        let of = report.checks.iter().filter(|check| check.outcome == wanted);
        of.map(|check| u64::from(check.weight)).sum()
    };
    let (passed, failed) = (weight(CheckOutcome::Passed), weight(CheckOutcome::Failed));
    let whole = if report.passed { Points::FULL } else { Points::NONE };
    let value = Points::ratio(passed, passed + failed).unwrap_or(whole);
    let factor = Factor::known(FactorKind::Safety, value, evidence(report), sentence(report));
    match (report.refusal(), report.recommendation) {
        (Some(reason), _) => factor.vetoed(VetoKind::Refuse, reason),
        (None, Recommendation::Review) => {
            factor.vetoed(VetoKind::Review, String::from("the safety gates ask for a review"))
        }
        (None, Recommendation::Deploy | Recommendation::DoNotDeploy) => factor,
    }
}

fn evidence(report: &SafetyReport) -> Vec<Fact> {
    let named = |wanted: CheckOutcome| -> Vec<&str> {
        let of = report.checks.iter().filter(|check| check.outcome == wanted);
        of.map(|check| check.name.as_str()).collect()
    };
    let (passed, failed) = (named(CheckOutcome::Passed), named(CheckOutcome::Failed));
    let recommendation = match report.recommendation {
        Recommendation::Deploy => "deploy",
        Recommendation::Review => "review",
        Recommendation::DoNotDeploy => "do_not_deploy",
    };
    let mut facts = vec![
        Fact::text("passed", if report.passed { "true" } else { "false" }),
        Fact::text("recommendation", recommendation),
        Fact::count("checks_passed", passed.len() as u64),
        Fact::count("checks_failed", failed.len() as u64),
    ];
    for (name, list) in [("failed", failed), ("not_run", named(CheckOutcome::NotRun))] {
        if !list.is_empty() {
            facts.push(Fact::text(name, &list.join(", ")));
        }
    }
    facts
}

fn sentence(report: &SafetyReport) -> String {
    let count = |wanted| report.checks.iter().filter(|check| check.outcome == wanted).count();
    let (passed, failed) = (count(CheckOutcome::Passed), count(CheckOutcome::Failed));
    let skipped = match count(CheckOutcome::NotRun) {
        0 => String::new(),
        some => format!("; {some} did not run"),
    };
    match (passed + failed, report.passed) {
        (0, true) => format!("the safety gates passed; no single check that ran is listed{skipped}"),
        (0, false) => format!("the safety gates did not pass; no single check that ran is listed{skipped}"),
        (ran, _) => format!("{passed} of {ran} safety checks passed{skipped}"),
    }
}

fn twice(checks: &[Check]) -> Option<&Check> {
    let differs = |one: &Check, other: &Check| one.name == other.name && one.outcome != other.outcome;
    let mut rest = checks;
    while let Some((first, others)) = rest.split_first() {
        if others.iter().any(|other| differs(first, other)) {
            return Some(first);
        }
        rest = others;
    }
    None
}
