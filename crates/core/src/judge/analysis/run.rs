//! One run: counters, and when the next measurement is due. A pure fold.

use alloc::{format, string::String};

use crate::{gate::Analysis, model::Timestamp};

/// How one measurement came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Measurement {
    Successful,
    Failed,
    Inconclusive,
    /// It could not be taken.
    Error,
}

/// How the run stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Running,
    Successful,
    Failed,
    Inconclusive,
    Error,
}

/// Everything that is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Run {
    began: Option<Timestamp>,
    last: Option<(Timestamp, Measurement)>,
    /// Measurements that were taken, whatever they said.
    count: u32,
    failed: u32,
    inconclusive: u32,
    consecutive_errors: u32,
    consecutive_successes: u32,
    phase: Phase,
}

impl Run {
    pub(super) const fn phase(&self) -> Phase {
        self.phase
    }

    /// Whether a measurement is due; the first question begins the run.
    pub(super) fn is_due(&mut self, rule: &Analysis, now: Timestamp) -> bool {
        let began = *self.began.get_or_insert(now);
        let due = match self.last {
            None => began.after(rule.initial_delay),
            Some((at, Measurement::Error)) => at.after(Analysis::RETRY),
            Some((at, Measurement::Successful | Measurement::Failed | Measurement::Inconclusive)) => {
                at.after(rule.interval)
            }
        };
        self.phase == Phase::Running && now >= due
    }

    /// Counts a measurement that ended at this moment.
    pub(super) fn take(&mut self, rule: &Analysis, measurement: Measurement, at: Timestamp) {
        self.last = Some((at, measurement));
        let one_more = |count: u32| count.saturating_add(1);
        match measurement {
            Measurement::Error => self.consecutive_errors = one_more(self.consecutive_errors),
            Measurement::Successful | Measurement::Failed | Measurement::Inconclusive => {
                (self.count, self.consecutive_errors) = (one_more(self.count), 0);
            }
        }
        match measurement {
            Measurement::Successful => self.consecutive_successes = one_more(self.consecutive_successes),
            Measurement::Failed => (self.failed, self.consecutive_successes) = (one_more(self.failed), 0),
            Measurement::Inconclusive => {
                (self.inconclusive, self.consecutive_successes) = (one_more(self.inconclusive), 0);
            }
            Measurement::Error => self.consecutive_successes = 0,
        }
        self.phase = self.assessed(rule);
    }

    /// What the counters say. What is worse is asked first, and a limit that was reached before what ends well.
    fn assessed(&self, rule: &Analysis) -> Phase {
        // Of several limits that are broken, the last that is looked at there names the phase.
        if self.consecutive_errors > rule.consecutive_error_limit {
            return Phase::Error;
        }
        if self.inconclusive > rule.inconclusive_limit {
            return Phase::Inconclusive;
        }
        if rule.failure_limit.is_some_and(|limit| self.failed > limit) {
            return Phase::Failed;
        }
        let wanted = rule.consecutive_success_limit;
        if wanted > 0 && self.consecutive_successes >= wanted {
            return Phase::Successful;
        }
        match (rule.count.is_some_and(|count| self.count >= count), wanted > 0, rule.failure_limit) {
            (false, _, _) => Phase::Running,
            (true, true, Some(_)) => Phase::Inconclusive,
            (true, true, None) => Phase::Failed,
            (true, false, _) => Phase::Successful,
        }
    }

    /// What was counted, in words.
    pub(super) fn said(&self, rule: &Analysis, seen: &str) -> String {
        let of = rule.count.map_or_else(String::new, |count| format!(" of {count}"));
        let state = match self.phase {
            Phase::Running => "running",
            Phase::Successful => "successful",
            Phase::Failed => "failed",
            Phase::Inconclusive => "inconclusive",
            Phase::Error => "not to be measured",
        };
        let may = rule.failure_limit.map_or_else(|| "any number".into(), |limit| format!("{limit}"));
        format!(
            "{state} after {}{of} measurements; {} failed ({may} may), {} inconclusive ({} may), {} errors in a row ({} may); last: {seen}",
            self.count,
            self.failed,
            self.inconclusive,
            rule.inconclusive_limit,
            self.consecutive_errors,
            rule.consecutive_error_limit,
        )
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec::Vec;

    use super::*;
    use crate::model::Millis;

    fn rule() -> Analysis {
        Analysis {
            success: None,
            failure: None,
            unit: "number".into(),
            count: Some(3),
            interval: Millis::secs(60),
            initial_delay: Millis::ZERO,
            failure_limit: Some(0),
            inconclusive_limit: 0,
            consecutive_error_limit: 4,
            consecutive_success_limit: 0,
            background: false,
        }
    }

    fn after(rule: &Analysis, letters: &str) -> Phase {
        let mut run = Run::default();
        let mut phases: Vec<Phase> = Vec::new();
        for (at, letter) in letters.chars().enumerate() {
            let measurement = match letter {
                's' => Measurement::Successful,
                'f' => Measurement::Failed,
                'i' => Measurement::Inconclusive,
                _ => Measurement::Error,
            };
            run.take(rule, measurement, Timestamp(i64::try_from(at).unwrap()));
            phases.push(run.phase());
        }
        run.phase()
    }

    #[test]
    fn a_run_ends_as_the_counters_of_argo_rollouts_say() {
        let limits = |failure: Option<u32>, inconclusive, errors, successes, count| Analysis {
            failure_limit: failure,
            inconclusive_limit: inconclusive,
            consecutive_error_limit: errors,
            consecutive_success_limit: successes,
            count,
            ..rule()
        };
        let usual = rule();
        for (rule, letters, phase) in [
            (&usual, "ss", Phase::Running),
            (&usual, "sss", Phase::Successful),
            (&usual, "f", Phase::Failed),
            (&usual, "i", Phase::Inconclusive),
            // An error is not counted, and any measurement ends their row.
            (&usual, "eesees", Phase::Running),
            (&usual, "eeeeseeees", Phase::Running),
            (&usual, "eeeee", Phase::Error),
            (&usual, "ss eeee s".replace(' ', "").as_str(), Phase::Successful),
            (&limits(Some(1), 0, 4, 0, Some(3)), "fss", Phase::Successful),
            (&limits(Some(1), 0, 4, 0, Some(3)), "fsf", Phase::Failed),
            (&limits(Some(0), 1, 4, 0, Some(3)), "iss", Phase::Successful),
            (&limits(Some(0), 1, 4, 0, Some(3)), "isi", Phase::Inconclusive),
            (&limits(Some(0), 0, 0, 0, Some(3)), "e", Phase::Error),
            (&limits(Some(5), 5, 4, 2, None), "sfs", Phase::Running),
            (&limits(Some(5), 5, 4, 2, None), "sfss", Phase::Successful),
            (&limits(Some(5), 5, 4, 2, None), "ses", Phase::Running),
            (&limits(Some(2), 0, 4, 3, Some(4)), "ssfs", Phase::Inconclusive),
            (&limits(None, 0, 4, 3, Some(4)), "ffff", Phase::Failed),
            (&limits(None, 0, 4, 2, Some(9)), "ffffss", Phase::Successful),
            (&limits(Some(0), 0, 4, 0, None), "ssssssss", Phase::Running),
        ] {
            assert_eq!(after(rule, letters), phase, "{letters}");
        }
    }

    #[test]
    fn measurements_are_an_interval_apart_and_errors_are_tried_again_after_ten_seconds() {
        let rule = Analysis { initial_delay: Millis::secs(30), ..rule() };
        let mut run = Run::default();
        let at = |seconds: i64| Timestamp(seconds * 1_000);
        assert!(!run.is_due(&rule, at(100)) && !run.is_due(&rule, at(129)) && run.is_due(&rule, at(130)));
        run.take(&rule, Measurement::Error, at(131));
        assert!(!run.is_due(&rule, at(140)) && run.is_due(&rule, at(141)));
        run.take(&rule, Measurement::Successful, at(142));
        assert!(!run.is_due(&rule, at(201)) && run.is_due(&rule, at(202)));
        run.take(&rule, Measurement::Failed, at(202));
        assert!(!run.is_due(&rule, at(900)), "it has ended");
    }
}
