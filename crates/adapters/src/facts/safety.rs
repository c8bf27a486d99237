//! The safety gates' report: JSON with `passed`, `recommendation` and, where the tool writes them, `checks`.
//!
//! ```json
//! {"passed": true, "recommendation": "DEPLOY",
//!  "checks": [{"name": "unit tests", "passed": true, "blocking": true, "weight": 2},
//!             {"name": "migration dry run", "status": "skipped"}]}
//! ```
//!
//! Strict where it matters (both answers must be there, must be of the right kind and must agree), tolerant of
//! everything else: unknown fields are the tool's own business.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use tidegate_core::confidence::{Check, CheckOutcome, Contradiction, Recommendation, SafetyReport};

use super::{Unreadable, read_text};

/// A report of one release is some kilobytes.
pub const REPORT_BYTES_MAX: u64 = 4 << 20;
/// Checks in one report.
pub const CHECKS_MAX: usize = 1_000;

/// Why a report is refused: what cannot be understood cannot be trusted.
#[derive(Debug, thiserror::Error)]
pub enum BadSafetyReport {
    /// The file cannot be read.
    #[error("the safety report is refused")]
    Unreadable {
        /// Why.
        #[source]
        source: Unreadable,
    },
    /// It is no JSON object.
    #[error("the safety report {} is refused: it is not a JSON object", path.display())]
    NotJson {
        /// The file.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: serde_json::Error,
    },
    /// A field is missing.
    #[error("the safety report {} is refused: `{field}` is missing; {wanted}", path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// A field holds something else than it must.
    #[error("the safety report {} is refused: `{field}` is {found}; {wanted}", path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The field.
        field: String,
        /// What it holds, shortened.
        found: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// Two fields contradict each other.
    #[error("the safety report {} is refused: it contradicts itself", path.display())]
    Contradiction {
        /// The file.
        path: PathBuf,
        /// Which fields.
        #[source]
        source: Contradiction,
    },
}

const PASSED: &str = "it must be true or false";
const RECOMMENDATION: &str = "it must be `DEPLOY`, `REVIEW` or `DO_NOT_DEPLOY`";
const CHECKS: &str = "it must be a list of at most 1000 checks";
const NAME: &str = "it must be the check's name";
const OUTCOME: &str = "a check needs `passed` (true or false) or `status` (`passed`, `failed` or `skipped`), and both must agree";
const BLOCKING: &str = "it must be true or false";
const WEIGHT: &str = "it must be a whole number from 1 to 1000";

/// The fields that matter, of whatever kind they are; what is wrong with them is said with their names.
#[derive(Deserialize)]
#[serde(expecting = "an object with `passed` and `recommendation`")]
struct Raw {
    passed: Option<Value>,
    recommendation: Option<Value>,
    checks: Option<Value>,
}

/// Reads and checks one report.
pub fn read(path: &Path) -> Result<SafetyReport, BadSafetyReport> {
    let text = read_text(path, REPORT_BYTES_MAX).map_err(|source| BadSafetyReport::Unreadable { source })?;
    parse(path, &text)
}

/// Checks one report's text; `path` is for messages.
pub fn parse(path: &Path, text: &str) -> Result<SafetyReport, BadSafetyReport> {
    let not_json = |source| BadSafetyReport::NotJson { path: path.to_owned(), source };
    if text.trim_start().starts_with('[') {
        // Fields without names would be taken by their order.
        return Err(not_json(serde::de::Error::custom("a list stands where an object should")));
    }
    let raw: Raw = serde_json::from_str(text).map_err(not_json)?;
    let reader = Reader { path };
    let passed = reader.boolean("passed", raw.passed.as_ref(), PASSED)?;
    let recommendation = reader.recommendation(raw.recommendation.as_ref())?;
    let checks = reader.checks(raw.checks.as_ref())?;
    SafetyReport::new(passed, recommendation, checks)
        .map_err(|source| BadSafetyReport::Contradiction { path: path.to_owned(), source })
}

struct Reader<'a> {
    path: &'a Path,
}

impl Reader<'_> {
    fn boolean(
        &self,
        field: &str,
        value: Option<&Value>,
        wanted: &'static str,
    ) -> Result<bool, BadSafetyReport> {
        let value = self.there(field, value, wanted)?;
        value.as_bool().ok_or_else(|| self.wrong(field, value, wanted))
    }

    fn recommendation(&self, value: Option<&Value>) -> Result<Recommendation, BadSafetyReport> {
        let value = self.there("recommendation", value, RECOMMENDATION)?;
        let word = value.as_str().map(|word| word.trim().to_ascii_lowercase().replace([' ', '-'], "_"));
        match word.as_deref() {
            Some("deploy") => Ok(Recommendation::Deploy),
            Some("review" | "manual_review") => Ok(Recommendation::Review),
            Some("do_not_deploy" | "block") => Ok(Recommendation::DoNotDeploy),
            Some(_) | None => Err(self.wrong("recommendation", value, RECOMMENDATION)),
        }
    }

    /// No list is an empty one: a tool may keep its checks to itself.
    fn checks(&self, value: Option<&Value>) -> Result<Vec<Check>, BadSafetyReport> {
        let Some(value) = value else { return Ok(Vec::new()) };
        match value.as_array() {
            Some(list) if list.len() <= CHECKS_MAX => {
                list.iter().enumerate().map(|(number, check)| self.check(number, check)).collect()
            }
            Some(list) => Err(BadSafetyReport::Wrong {
                path: self.path.to_owned(),
                field: "checks".to_owned(),
                found: format!("a list of {}", list.len()),
                wanted: CHECKS,
            }),
            None => Err(self.wrong("checks", value, CHECKS)),
        }
    }

    fn check(&self, number: usize, value: &Value) -> Result<Check, BadSafetyReport> {
        let field = |name: &str| format!("checks[{number}].{name}");
        let name = self.there(&field("name"), value.get("name"), NAME)?;
        let name = name.as_str().ok_or_else(|| self.wrong(&field("name"), name, NAME))?.to_owned();
        let blocking = match value.get("blocking") {
            Some(blocking) => self.boolean(&field("blocking"), Some(blocking), BLOCKING)?,
            None => false,
        };
        let weight = match value.get("weight") {
            Some(weight) => weight
                .as_u64()
                .and_then(|weight| u16::try_from(weight).ok())
                .filter(|weight| (1..=1_000).contains(weight))
                .ok_or_else(|| self.wrong(&field("weight"), weight, WEIGHT))?,
            None => 1,
        };
        Ok(Check { name, weight, blocking, outcome: self.outcome(&field("passed"), value)? })
    }

    fn outcome(&self, field: &str, value: &Value) -> Result<CheckOutcome, BadSafetyReport> {
        let wrong = || self.wrong(field, value, OUTCOME);
        let passed = match value.get("passed") {
            None | Some(Value::Null) => None,
            Some(Value::Bool(true)) => Some(CheckOutcome::Passed),
            Some(Value::Bool(false)) => Some(CheckOutcome::Failed),
            Some(_) => return Err(wrong()),
        };
        let status = match value.get("status").map(|status| status.as_str().map(str::to_ascii_lowercase)) {
            None => None,
            Some(Some(word)) => Some(outcome_of(&word).ok_or_else(wrong)?),
            Some(None) => return Err(wrong()),
        };
        match (passed, status) {
            (Some(passed), Some(status)) if passed != status => Err(wrong()),
            (Some(outcome), _) | (None, Some(outcome)) => Ok(outcome),
            (None, None) => Err(wrong()),
        }
    }

    fn there<'v>(
        &self,
        field: &str,
        value: Option<&'v Value>,
        wanted: &'static str,
    ) -> Result<&'v Value, BadSafetyReport> {
        let missing =
            || BadSafetyReport::Missing { path: self.path.to_owned(), field: field.to_owned(), wanted };
        value.filter(|value| !value.is_null()).ok_or_else(missing)
    }

    fn wrong(&self, field: &str, value: &Value, wanted: &'static str) -> BadSafetyReport {
        let mut found = value.to_string();
        if let Some((end, _)) = found.char_indices().nth(60) {
            found.truncate(end);
            found.push('…');
        }
        BadSafetyReport::Wrong { path: self.path.to_owned(), field: field.to_owned(), found, wanted }
    }
}

fn outcome_of(word: &str) -> Option<CheckOutcome> {
    match word {
        "passed" | "pass" | "ok" | "success" => Some(CheckOutcome::Passed),
        "failed" | "fail" | "error" | "failure" => Some(CheckOutcome::Failed),
        "skipped" | "not_run" | "absent" => Some(CheckOutcome::NotRun),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use tidegate_core::confidence::{Points, safety_score};

    use super::*;

    fn said(text: &str) -> String {
        parse(Path::new("safety.json"), text).map_or_else(
            |error| crate::chain(&error),
            |report| format!("{:?} {:?}", report.recommendation(), safety_score(&report).points()),
        )
    }

    #[test]
    fn a_plain_report_of_the_specification_is_enough() {
        let report = said(r#"{"passed": true, "recommendation": "DEPLOY", "risk": "LOW", "run_id": 7}"#);
        assert_eq!(report, format!("Deploy {:?}", Some(Points::FULL)));
    }

    #[test]
    fn checks_are_weighed_and_those_that_did_not_run_are_left_out() {
        let report = said(
            r#"{"passed": true, "recommendation": "deploy", "checks": [
                {"name": "tests", "passed": true, "blocking": true, "weight": 3, "seconds": 9},
                {"name": "scan", "passed": false}, {"name": "dry run", "status": "skipped"}]}"#,
        );
        assert_eq!(report, format!("Deploy {:?}", Some(Points::new(7_500))));
    }

    #[test]
    fn what_is_missing_wrong_or_contradictory_is_refused_with_file_and_field() {
        let failed = r#""checks": [{"name": "signature", "passed": false, "blocking": true}]"#;
        for (text, said_so) in [
            (r#"{"recommendation": "DEPLOY"}"#.to_owned(), "`passed` is missing"),
            (r#"{"passed": null, "recommendation": "DEPLOY"}"#.to_owned(), "`passed` is missing"),
            (r#"{"passed": "true", "recommendation": "DEPLOY"}"#.to_owned(), "`passed` is \"true\"; it must be"),
            (r#"{"passed": 1, "recommendation": "DEPLOY"}"#.to_owned(), "`passed` is 1"),
            (r#"{"passed": true}"#.to_owned(), "`recommendation` is missing; it must be `DEPLOY`"),
            (r#"{"passed": true, "recommendation": "MAYBE"}"#.to_owned(), "`recommendation` is \"MAYBE\""),
            (r#"{"passed": true, "recommendation": ["DEPLOY"]}"#.to_owned(), "`recommendation` is [\"DEPLOY\"]"),
            (r#"{"passed": true, "recommendation": "DO_NOT_DEPLOY"}"#.to_owned(), "says not to deploy"),
            (r#"{"passed": false, "recommendation": "DEPLOY"}"#.to_owned(), "says to deploy"),
            (format!(r#"{{"passed": true, "recommendation": "DEPLOY", {failed}}}"#), "check `signature` failed"),
            (r#"{"passed": true, "recommendation": "DEPLOY", "checks": {}}"#.to_owned(), "`checks` is {}"),
            (
                r#"{"passed": true, "recommendation": "DEPLOY", "checks": [{"passed": true}]}"#.to_owned(),
                "`checks[0].name` is missing",
            ),
            (
                r#"{"passed": true, "recommendation": "DEPLOY", "checks": [{"name": "a"}]}"#.to_owned(),
                "`checks[0].passed` is",
            ),
            (
                r#"{"passed": true, "recommendation": "DEPLOY",
                    "checks": [{"name": "a", "passed": true, "status": "failed"}]}"#
                    .to_owned(),
                "both must agree",
            ),
            (
                r#"{"passed": true, "recommendation": "DEPLOY", "checks": [{"name": "a", "passed": true, "weight": 0}]}"#
                    .to_owned(),
                "`checks[0].weight` is 0",
            ),
            (r#"[true, "DEPLOY", []]"#.to_owned(), "not a JSON object"),
            (r#"{"passed": false, "passed": true, "recommendation": "DEPLOY"}"#.to_owned(), "duplicate field `passed`"),
            ("null".to_owned(), "invalid type: null, expected an object with `passed` and `recommendation`"),
            ("<html>".to_owned(), "not a JSON object"),
            (String::new(), "not a JSON object"),
            (r#"{"passed": true, "recommendation": "DEPLOY""#.to_owned(), "line 1"),
        ] {
            let answer = said(&text);
            assert!(answer.starts_with("the safety report safety.json is refused"), "{text}: {answer}");
            assert!(answer.contains(said_so), "{text}: {answer}");
        }
    }

    #[test]
    fn a_file_that_is_absent_endless_or_not_text_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("safety.json");
        assert!(crate::chain(&read(&file).unwrap_err()).contains("cannot read"));
        std::fs::write(&file, b"{\"passed\": \xff}").unwrap();
        assert!(crate::chain(&read(&file).unwrap_err()).contains("not UTF-8 text from byte 11"));
        std::fs::File::create(&file).unwrap().set_len(REPORT_BYTES_MAX + 1).unwrap();
        assert!(crate::chain(&read(&file).unwrap_err()).contains("larger than 4194304 bytes"));
    }
}
