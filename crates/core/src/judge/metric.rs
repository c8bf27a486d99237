//! A metric of the user's own with conditions on its value.

use alloc::{
    format,
    string::{String, ToString},
};

use super::{
    batch::{Batch, Said},
    seat::{Answer, Standing},
};
use crate::{
    expression::{Conditions, Declared, Expression, Finding, Scope, Unit, Value, Values},
    gate::{self, Gate, Look, Number},
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
    /// What it is called, where it is looked at as it is at the end.
    gate: String,
    metric: String,
    conditions: Conditions,
    scope: Scope,
    failures_max: u32,
    stage: Option<usize>,
    /// Values in this stage.
    values: u32,
    /// Of those, bad.
    bad: u32,
    last: Option<(Finding, String)>,
}

impl Conditioned {
    /// Conditions were checked when the configuration was read; one that does not parse can tell nothing.
    pub(super) fn new(gate: &Gate, rule: &gate::Conditions) -> Self {
        let parse = |text: &Option<String>| text.as_deref().and_then(|text| Expression::parse(text).ok());
        let conditions = Conditions { success: parse(&rule.success), failure: parse(&rule.failure) };
        let unit = rule.unit.parse().unwrap_or_default();
        Self {
            gate: gate.name.clone(),
            metric: gate.metric.clone().unwrap_or_default(),
            conditions,
            scope: scope(unit),
            failures_max: rule.failures_max,
            stage: None,
            values: 0,
            bad: 0,
            last: None,
        }
    }

    pub(super) fn take(&mut self, batch: &Batch) {
        if batch.stage != self.stage {
            (self.stage, self.values, self.bad, self.last) = (batch.stage, 0, 0, None);
        }
        let Some(Said::Values { new, stable }) =
            batch.metrics.iter().find(|one| one.metric == self.metric).map(|one| &one.said)
        else {
            return;
        };
        let (found, assumed) = self.conditions.evaluate(&self.scope, &values(new, stable));
        self.values = self.values.saturating_add(1);
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
    pub(super) fn answer(&self, stage: Option<usize>, look: Look) -> Answer {
        let Some((found, seen)) = self.last.as_ref().filter(|_| self.stage == stage) else {
            return Answer::plain(
                Standing::Absent,
                format!("metric `{}` has no value in this stage yet", self.metric),
            );
        };
        let name = &self.metric;
        match found {
            Finding::Met => Answer::plain(
                Standing::Passed,
                format!("`{name}` is {seen}: as it should be{}", self.how_often()),
            ),
            Finding::Broken | Finding::Between if self.failures_max == gate::Conditions::AT_THE_END => {
                let (standing, yet) =
                    if look == Look::Final { (Standing::Failed, "") } else { (Standing::Undecided, " yet") };
                let reason = format!("{} is not fixed{yet}: `{name}` is {seen}, {}", self.gate, self.rule());
                Answer::plain(standing, reason)
            }
            Finding::Broken => Answer::plain(
                Standing::Undecided,
                format!("`{name}` is {seen}, {}{}", self.rule(), self.how_often()),
            ),
            Finding::Between => Answer::plain(
                Standing::Undecided,
                format!("`{name}` is {seen}: neither good nor bad{}", self.how_often()),
            ),
            Finding::CannotTell(missing) => {
                Answer::plain(Standing::Absent, format!("`{name}` is {seen}: {missing}"))
            }
        }
    }

    pub(super) fn fault(&self) -> String {
        let seen = self.last.as_ref().map_or("", |(_, seen)| seen.as_str());
        format!("`{}` is {seen}, {}{}", self.metric, self.rule(), self.how_often())
    }

    fn rule(&self) -> String {
        match (&self.conditions.failure, &self.conditions.success) {
            (Some(failure), _) => format!("bad when {failure}"),
            (None, Some(success)) => format!("good when {success}"),
            (None, None) => String::new(),
        }
    }

    /// `; bad 2 of 37 values, 1 may be`; nothing where only the last one counts.
    fn how_often(&self) -> String {
        if self.failures_max == gate::Conditions::AT_THE_END {
            return String::new();
        }
        let values = if self.values == 1 { "value" } else { "values" };
        format!("; bad {} of {} {values}, {} may be", self.bad, self.values, self.failures_max)
    }
}

pub(super) fn values(new: &[Number], stable: &[Number]) -> Values {
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

pub(super) fn shown(numbers: &[Number]) -> String {
    match numbers {
        [] => "empty".into(),
        [one] => one.0.to_string(),
        [first, rest @ ..] => format!("{} and {} more", first.0, rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use alloc::{borrow::ToOwned, vec, vec::Vec};

    use super::*;
    use crate::{
        gate::{
            Counters, Judgement, MetricAnswer, MetricReading, Mode, Reading, ReleaseReading, Rule, Verdict,
            Window,
        },
        judge::{Exposure, Judge, Settings},
        model::{Millis, Share, Timestamp},
    };

    /// A deployment at 10 % whose metric is read once a second.
    struct Watched {
        judge: Judge,
        gate: Gate,
        last: Reading,
        number: u64,
        stage: usize,
    }

    /// Healthy traffic as the proxy counts it.
    fn reading(at: i64, metrics: Vec<MetricReading>) -> Reading {
        let release = |per_second: u64| ReleaseReading {
            requests: u64::try_from(at).unwrap() / 1_000 * per_second,
            failures: 0,
            latency_us: Vec::new(),
            wanted: 1,
            instances: Vec::new(),
        };
        Reading {
            at: Timestamp(at),
            boot: "b".to_owned(),
            new: release(10),
            stable: Some(release(90)),
            mirror: None,
            astray: None,
            metrics,
        }
    }

    impl Watched {
        fn by(rule: Rule) -> Self {
            let gate = Gate {
                mode: Mode::Sequential,
                metric: Some("m".to_owned()),
                min_requests: 1,
                ..Gate::new("g", rule)
            };
            let settings = Settings { warmup: Millis::ZERO, ..Settings::default() };
            let judge = Judge::with(&settings, [&gate], &[Share::percent(10), Share::percent(20)], 1, 100);
            Self { judge, gate, last: reading(0, Vec::new()), number: 0, stage: 0 }
        }

        fn says(&mut self, answer: MetricAnswer) -> Judgement {
            self.number += 1;
            let at = i64::try_from(self.number).unwrap() * 1_000;
            let now = reading(at, vec![MetricReading { metric: "m".to_owned(), answer }]);
            let exposure = Exposure { share: Share::percent(10), stage: Some(self.stage) };
            self.judge.take(&Batch::between(&self.last, &now, exposure, self.number));
            self.last = now;
            self.judge.ask(&self.gate, &Window::default(), Some(self.stage), Look::Final)
        }

        fn value(&mut self, at: i64, value: f64) -> Judgement {
            self.says(MetricAnswer::Values {
                at: Timestamp(at),
                new: vec![Number(value)],
                stable: Vec::new(),
            })
        }

        fn counted(&mut self, at: i64, new: Counters, stable: Counters) -> Judgement {
            self.says(MetricAnswer::Counters { at: Timestamp(at), new, stable: Some(stable) })
        }
    }

    fn good_below_five(failures_max: u32) -> Rule {
        let success = Some("result < 5".to_owned());
        Rule::Metric(gate::Conditions { success, failure: None, failures_max, unit: "number".to_owned() })
    }

    #[test]
    fn one_answer_is_one_value_however_often_it_is_looked_at() {
        let mut watched = Watched::by(good_below_five(1));
        for _ in 0..5 {
            assert_eq!(watched.value(1_000, 9.0).verdict, Verdict::NoEvidence, "bad once, once may be");
        }
        let failed = watched.value(2_000, 8.0);
        assert_eq!(failed.verdict, Verdict::Fail);
        assert!(
            failed.reason.contains("`m` is 8, good when result < 5; bad 2 of 2 values, 1 may be"),
            "{}",
            failed.reason
        );
    }

    #[test]
    fn a_value_of_the_stage_before_passes_no_stage() {
        let mut watched = Watched::by(good_below_five(0));
        assert_eq!(watched.value(1_000, 1.0).verdict, Verdict::Pass);
        watched.stage = 1;
        let waiting = watched.value(1_000, 1.0);
        assert_eq!(waiting.verdict, Verdict::NoEvidence);
        assert!(waiting.reason.contains("no value in this stage yet"), "{}", waiting.reason);
        assert_eq!(watched.value(3_000, 1.0).verdict, Verdict::Pass);
    }

    #[test]
    fn a_metric_that_counts_nothing_is_no_evidence_whatever_the_proxy_counts() {
        for rule in [
            Rule::ErrorRate { ratio_max_bp: 11_000, floor: Share::NONE },
            Rule::LatencyShift { ratio_max_bp: 12_500 },
            Rule::RequestRate { min: Share::percent(50), marked: false },
        ] {
            let mut watched = Watched::by(rule);
            for at in 1..20 {
                let judged = watched.counted(at * 1_000, Counters::default(), Counters::default());
                assert_eq!(judged.verdict, Verdict::NoEvidence);
                assert!(judged.finding.is_none(), "missing, not undecided: {judged:?}");
            }
        }
    }

    #[test]
    fn latencies_of_a_metric_are_compared_at_every_edge_though_nothing_lies_between_two() {
        let rule = Rule::LatencyShift { ratio_max_bp: 12_500 };
        let counters = |at: i64, [fast, medium, slow]: [u64; 3]| {
            let at = u64::try_from(at).unwrap();
            let latency_us =
                vec![(5_000, fast * at), (50_000, medium * at), (500_000, slow * at), (u64::MAX, 0)];
            Counters { requests: (fast + medium + slow) * at, failures: 0, latency_us }
        };
        let verdict = |new: [u64; 3]| {
            let mut watched = Watched::by(rule.clone());
            let mut judged =
                |at| watched.counted(at * 1_000, counters(at, new), counters(at, [890, 100, 10])).verdict;
            (1..30).map(&mut judged).find(|verdict| *verdict == Verdict::Fail)
        };
        // As many above 5 ms as on stable, and all of them above 50 ms.
        assert_eq!(verdict([89, 0, 11]), Some(Verdict::Fail));
        assert_eq!(verdict([89, 10, 1]), None);
    }
}
