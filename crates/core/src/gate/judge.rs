//! The six standard gates in `threshold` mode, and whether the instances live.

use alloc::{borrow::ToOwned, format, string::String, vec, vec::Vec};
use core::fmt;

use serde::{Deserialize, Serialize};

use super::{
    analysis::Analysis,
    bound::{Z_BASELINE, Z_EARLY, wilson},
    chance,
    evidence::{Arm, Window},
    instances::instances,
};
use crate::model::{Millis, Share};

/// One question to the evidence, with its rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Gate {
    /// Its name, unique in a plan.
    pub name: String,
    /// The rule.
    pub rule: Rule,
    /// How the rule is asked.
    #[serde(default)]
    pub mode: Mode,
    /// The metric whose counters are asked instead of the traffic's own, when one is named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metric: Option<String>,
    /// Requests of the new release (and of the baseline, where one is compared) below which a final look has no evidence.
    pub min_requests: u64,
    /// What a failure does.
    pub on_failure: OnFailure,
    /// What missing evidence at the end of a bake does.
    pub on_no_evidence: OnNoEvidence,
    /// How long `hold` waits for evidence before it turns back.
    pub hold_max: Millis,
    /// What evidence that came but decides nothing does when a stage has lasted the longest it may.
    #[serde(default)]
    pub on_inconclusive: OnInconclusive,
    /// Steps at which it is asked, from 1: of the strategy before a plan is made, of the plan in it. None for every step
    /// with users, and the watch.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<usize>,
}

impl Gate {
    /// A threshold gate with the usual policies: a failure turns back, missing evidence is waited for.
    pub fn new(name: &str, rule: Rule) -> Self {
        Self {
            name: name.to_owned(),
            rule,
            mode: Mode::Threshold,
            metric: None,
            min_requests: 20,
            on_failure: OnFailure::RollBack,
            on_no_evidence: OnNoEvidence::Hold,
            hold_max: Millis::secs(180),
            on_inconclusive: OnInconclusive::Promote,
            steps: Vec::new(),
        }
    }

    /// Whether it is asked at this stage of a plan, from 0; nothing is the watch.
    pub fn is_asked_at(&self, stage: Option<usize>) -> bool {
        self.steps.is_empty() || stage.is_some_and(|stage| self.steps.contains(&(stage + 1)))
    }

    /// Whether it is asked of every batch; the others are asked of a window.
    pub const fn asks_batches(&self) -> bool {
        match self.rule {
            Rule::Instances => false,
            Rule::Metric(_) | Rule::Analysis(_) | Rule::Shadow { .. } | Rule::Goal { .. } => true,
            Rule::ErrorRate { .. }
            | Rule::Latency { .. }
            | Rule::LatencyShift { .. }
            | Rule::Cpu { .. }
            | Rule::Memory { .. }
            | Rule::RequestRate { .. } => matches!(self.mode, Mode::Sequential),
        }
    }

    /// The same question, asked only to say what is found: nothing is done about the answer.
    #[must_use]
    pub fn observing(self) -> Self {
        Self {
            on_failure: OnFailure::Alert,
            on_no_evidence: OnNoEvidence::Continue,
            on_inconclusive: OnInconclusive::Promote,
            ..self
        }
    }
}

/// How a rule is asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Exactly as written, at the end of a bake, over one window.
    #[default]
    Threshold,
    /// After every batch, by a test whose false-alarm probability holds however often it is asked; ends early both ways.
    Sequential,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Failed requests per request: at most `ratio_max_bp` (basis points, 11,000 is 1.1 ×) of the baseline's, or at most
    /// `floor`, whichever is more. Both zero is a pass.
    ErrorRate {
        /// Largest ratio to the baseline, basis points.
        ratio_max_bp: u32,
        /// A rate up to here always passes.
        floor: Share,
    },
    /// A latency quantile below a limit.
    Latency {
        /// Quantile in basis points: 9,500 is P95.
        quantile_bp: u16,
        /// The limit; exactly the limit fails.
        limit: Millis,
    },
    /// The whole latency distribution against the baseline's: requests slower than an edge at most `ratio_max_bp` of the
    /// baseline's. Sequential only.
    LatencyShift {
        /// Largest ratio to the baseline, basis points.
        ratio_max_bp: u32,
    },
    /// Mean CPU of the instances below a limit.
    Cpu {
        /// Of what 100 % is for the instance.
        limit: Share,
    },
    /// Memory of the largest instance below a limit.
    Memory {
        /// Of what 100 % is for the instance.
        limit: Share,
    },
    /// Requests per second above a share of the baseline's, both normalised by their share of traffic.
    RequestRate {
        /// Smallest share of the baseline's rate; exactly it fails.
        min: Share,
        /// Whether requests with a mark reach the release whatever its share is: more than the share is no fault then.
        #[serde(default, skip_serializing_if = "core::ops::Not::not")]
        marked: bool,
    },
    /// No instance in a crash loop, and at the end of a bake all wanted ones ready and none that ended by itself in it. Always
    /// asked.
    Instances,
    /// A count that users bring about (orders, sign-ups) per request of each side, in an A/B comparison: never turns back
    /// by the budget, fails when it is surely worse, passes when it is surely not.
    Goal {
        /// Smallest ratio to the baseline that still counts as no worse, basis points.
        ratio_min_bp: u32,
    },
    /// Answers to copies of users' requests: at most these shares of them failed, differ or are slower.
    Shadow {
        /// Copies that failed or were answered with another status.
        status_max: Share,
        /// Copies with the same status and another body.
        body_max: Share,
        /// Copies that took more than twice as long, and 10 ms more.
        slower_max: Share,
    },
    /// A metric of the user's own, with conditions on its value.
    Metric(Conditions),
    /// The same in measurements that are counted, as Argo Rollouts has it.
    Analysis(Analysis),
}

/// When a metric's value is good, and when it is bad. A value that is neither decides nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Conditions {
    /// True for a good value; without it, a value that is not bad is good.
    pub success: Option<String>,
    /// True for a bad value; without it, a value that is not good is bad.
    pub failure: Option<String>,
    /// Bad values within a stage that do not fail it yet; [`Self::AT_THE_END`] for one that is looked at as it is at the
    /// end, however often it was bad before.
    pub failures_max: u32,
    /// What the value counts, for comparison with literals that carry a unit.
    pub unit: String,
}

impl Conditions {
    /// Only the last value counts: a bad one fails the gate at the end of the watch, and not before.
    pub const AT_THE_END: u32 = u32::MAX;
}

/// What a failed gate does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnFailure {
    /// Turn back at once.
    #[default]
    RollBack,
    /// Stay at this share and ask a person.
    Hold,
    /// Say so and go on.
    Alert,
}

/// What missing evidence does at the end of a bake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnNoEvidence {
    /// Wait for evidence up to the gate's `hold_max`, then turn back.
    #[default]
    Hold,
    /// Go on without it.
    Continue,
    /// Turn back at once.
    RollBack,
}

/// What evidence that decides nothing does when a stage has lasted the longest it may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnInconclusive {
    /// Go on: nothing speaks against the release.
    #[default]
    Promote,
    /// Stay at this share and ask a person.
    Hold,
    /// Turn back.
    RollBack,
}

/// The answer of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// The evidence meets the rule.
    Pass,
    /// The evidence breaks the rule.
    Fail,
    /// There is not enough evidence; this is not a pass.
    NoEvidence,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::NoEvidence => "no evidence",
        })
    }
}

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unit {
    /// Parts per million of a whole.
    Ppm,
    /// Microseconds.
    Micros,
    /// Thousandths of a request per second.
    MilliRps,
    /// Things.
    Count,
}

/// A measured number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Value {
    /// The number.
    pub number: u64,
    /// What it counts.
    pub unit: Unit,
}

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n = self.number;
        match self.unit {
            Unit::Ppm if n.is_multiple_of(10_000) => write!(f, "{} %", n / 10_000),
            Unit::Ppm => write!(f, "{}.{:02} %", n / 10_000, n % 10_000 / 100),
            Unit::Micros if n >= 1_000_000 => write!(f, "{}.{:02} s", n / 1_000_000, n % 1_000_000 / 10_000),
            Unit::Micros if n >= 10_000 => write!(f, "{} ms", n / 1_000),
            Unit::Micros => write!(f, "{}.{} ms", n / 1_000, n % 1_000 / 100),
            Unit::MilliRps => write!(f, "{}.{} req/s", n / 1_000, n % 1_000 / 100),
            Unit::Count => write!(f, "{n}"),
        }
    }
}

/// A gate's answer with the evidence it looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Judgement {
    /// The gate.
    pub gate: String,
    /// Its answer.
    pub verdict: Verdict,
    /// One sentence for a person: what was seen, against what.
    pub reason: String,
    /// What was measured for the new release.
    pub value: Option<Value>,
    /// What it was held against.
    pub limit: Option<Value>,
    /// What was measured for the baseline.
    pub baseline: Option<Value>,
    /// Requests of the new release in the window.
    pub requests: u64,
    /// Requests of the baseline in its window.
    pub baseline_requests: u64,
    /// Length of the window.
    pub window: Millis,
    /// What a sequential gate knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub finding: Option<Finding>,
}

/// The three numbers of a sequential gate, beside what was seen: what is plausible, and how rare this is for a healthy
/// release. Integers, so that a replay can be compared bit by bit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Smallest plausible ratio to the baseline, thousandths; 95 %, at all times at once.
    pub ratio_low_milli: Option<u64>,
    /// Largest plausible ratio.
    pub ratio_high_milli: Option<u64>,
    /// Evidence that the release is worse than tolerated, thousandths of a nat (natural logarithm of the odds).
    pub against_mnat: i64,
    /// Evidence that it is not bad, thousandths of a nat.
    pub for_mnat: i64,
    /// Bayes factor of the counts, bad against healthy, thousandths of a nat: for the gate on errors only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ln_bayes_mnat: Option<i64>,
    /// Of the deployment's evidence against the release, this gate's part, parts per million of what turns it back.
    pub budget_ppm: u64,
    /// Evidence came, and it decides nothing yet.
    pub undecided: bool,
    /// Nor will it: there is nothing to wait for.
    #[serde(default, skip_serializing_if = "core::ops::Not::not")]
    pub ended: bool,
}

/// When a gate is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// During a bake: only a clear failure counts, so that looking often does not turn back healthy releases. It must
    /// show in at least three requests and beyond a one-sided 99.95 % bound.
    Early,
    /// At the end of a bake: the rule exactly as written.
    Final,
}

/// Failed (or slow) requests below which nothing is called clear.
const EARLY_HITS_MIN: u64 = 3;

/// The six standard gates with the first seed's limits: error rate below 1.1 × baseline, P95 < 500 ms, P99 < 1 s, CPU <
/// 80 %, memory < 90 %, request rate > 50 % of baseline.
pub fn standard_gates() -> Vec<Gate> {
    vec![
        Gate::new("error_rate", Rule::ErrorRate { ratio_max_bp: 11_000, floor: Share::NONE }),
        Gate::new("latency_p95", Rule::Latency { quantile_bp: 9_500, limit: Millis(500) }),
        Gate::new("latency_p99", Rule::Latency { quantile_bp: 9_900, limit: Millis(1_000) }),
        Gate::new("cpu", Rule::Cpu { limit: Share::percent(80) }),
        Gate::new("memory", Rule::Memory { limit: Share::percent(90) }),
        Gate::new("request_rate", Rule::RequestRate { min: Share::percent(50), marked: false }),
    ]
}

/// Asks one gate about one window.
pub fn judge(gate: &Gate, window: &Window, look: Look) -> Judgement {
    match gate.rule {
        Rule::ErrorRate { ratio_max_bp, floor } => error_rate(gate, window, look, ratio_max_bp, floor),
        Rule::Latency { quantile_bp, limit } => latency(gate, window, look, quantile_bp, limit),
        Rule::Cpu { limit } => gauge(gate, window, look, "CPU", window.cpu_ppm, limit),
        Rule::Memory { limit } => gauge(gate, window, look, "memory", window.memory_ppm, limit),
        Rule::RequestRate { min, .. } => request_rate(gate, window, look, min),
        Rule::Instances => instances(gate, window, look),
        // Asked of every batch, never of a window.
        Rule::LatencyShift { .. }
        | Rule::Goal { .. }
        | Rule::Shadow { .. }
        | Rule::Metric(_)
        | Rule::Analysis(_) => answer(gate, window, Verdict::NoEvidence, "no batch has come yet".to_owned()),
    }
}

/// A judgement without numbers yet.
pub(crate) fn answer(gate: &Gate, window: &Window, verdict: Verdict, reason: String) -> Judgement {
    Judgement {
        gate: gate.name.clone(),
        verdict,
        reason,
        value: None,
        limit: None,
        baseline: None,
        requests: window.new.requests,
        baseline_requests: window.baseline.as_ref().map_or(0, |arm| arm.requests),
        window: window.new.length,
        finding: None,
    }
}

/// Why a final look has too few requests, if it has.
fn too_few(gate: &Gate, window: &Window, compared: bool) -> Option<String> {
    let Some(baseline) = window.baseline.as_ref().filter(|_| compared) else {
        if compared {
            return Some("the stable release had no traffic to compare with".to_owned());
        }
        return (window.new.requests < gate.min_requests).then(|| {
            format!(
                "{} requests in {}, {} are needed",
                window.new.requests, window.new.length, gate.min_requests
            )
        });
    };
    let least = window.new.requests.min(baseline.requests);
    (least < gate.min_requests).then(|| {
        format!(
            "{} requests of the new release and {} of the stable one in {}, {} of each are needed",
            window.new.requests, baseline.requests, window.new.length, gate.min_requests
        )
    })
}

fn error_rate(gate: &Gate, window: &Window, look: Look, ratio_max_bp: u32, floor: Share) -> Judgement {
    let new = &window.new;
    let nothing = Arm::default();
    let base = window.baseline.as_ref().unwrap_or(&nothing);
    let value = ppm(new.failures, new.requests);
    let baseline = ppm(base.failures, base.requests);
    let floor_ppm = u64::from(floor.basis_points()) * 100;
    let limit = (baseline.saturating_mul(u64::from(ratio_max_bp)) / 10_000).max(floor_ppm);
    let seen = format!(
        "{} of {} requests failed ({}), {} {} of {} ({})",
        new.failures,
        new.requests,
        Value { number: value, unit: Unit::Ppm },
        whose(window),
        base.failures,
        base.requests,
        Value { number: baseline, unit: Unit::Ppm },
    );
    let verdict = match look {
        Look::Early if new.failures < EARLY_HITS_MIN || base.requests == 0 => Verdict::NoEvidence,
        Look::Early => {
            let surely = wilson(new.failures, new.requests, Z_EARLY).0;
            let at_most =
                wilson(base.failures, base.requests, Z_BASELINE).1 * f64::from(ratio_max_bp) / 10_000.0;
            clear(surely > at_most.max(floor_ppm as f64 / 1e6))
        }
        Look::Final => match too_few(gate, window, true) {
            Some(why) => return answer(gate, window, Verdict::NoEvidence, why),
            None => exact(new.failures == 0 || value <= limit),
        },
    };
    // A release that fails nothing says nothing of how often one that does would be turned back: half a failure is assumed.
    let failed = (base.failures as f64).max(0.5) / (base.requests as f64 + 1.0);
    let counts = (new.requests as f64, base.requests as f64);
    let by_luck = luck(look, || chance::errors(counts, failed, 1.0, ratio_max_bp, floor));
    let reason = format!("{seen}; at most {} allowed{by_luck}", Value { number: limit, unit: Unit::Ppm });
    with(answer(gate, window, verdict, reason), value, limit, Some(baseline), Unit::Ppm)
}

fn latency(gate: &Gate, window: &Window, look: Look, quantile_bp: u16, limit: Millis) -> Judgement {
    let new = &window.new;
    let limit_us = limit.0.saturating_mul(1_000);
    let Some(value) = new.quantile_us(quantile_bp) else {
        return answer(gate, window, Verdict::NoEvidence, "no request was answered".to_owned());
    };
    let verdict = match look {
        Look::Early => {
            let slow = new.slower_than(limit_us);
            let allowed = f64::from(10_000 - quantile_bp.min(10_000)) / 10_000.0;
            clear(slow >= EARLY_HITS_MIN && wilson(slow, new.timed(), Z_EARLY).0 > allowed)
        }
        Look::Final => match too_few(gate, window, false) {
            Some(why) => return answer(gate, window, Verdict::NoEvidence, why),
            None => exact(value < limit_us),
        },
    };
    let baseline = window.baseline.as_ref().and_then(|arm| arm.quantile_us(quantile_bp));
    let beside = baseline.map_or_else(String::new, |us| {
        format!(", {} {}", whose(window), Value { number: us, unit: Unit::Micros })
    });
    let by_luck = luck(look, || {
        let base = window.baseline.as_ref().filter(|arm| arm.timed() > 0)?;
        let slow = base.slower_than(limit_us) as f64 / base.timed() as f64;
        chance::quantile(new.timed(), slow, quantile_bp)
    });
    let reason = format!(
        "P{} was {}{beside}; below {limit} is asked{by_luck}",
        quantile_bp / 100,
        Value { number: value, unit: Unit::Micros },
    );
    with(answer(gate, window, verdict, reason), value, limit_us, baseline, Unit::Micros)
}

fn gauge(gate: &Gate, window: &Window, look: Look, what: &str, seen: Option<u64>, limit: Share) -> Judgement {
    let limit_ppm = u64::from(limit.basis_points()) * 100;
    let Some(value) = seen else {
        return answer(
            gate,
            window,
            Verdict::NoEvidence,
            format!("{what} of the instances could not be read"),
        );
    };
    let verdict = match look {
        // A gauge is noisy over a short window: only the whole bake decides.
        Look::Early => Verdict::NoEvidence,
        Look::Final => exact(value < limit_ppm),
    };
    let reason = format!("{what} was {}; below {limit} is asked", Value { number: value, unit: Unit::Ppm });
    with(answer(gate, window, verdict, reason), value, limit_ppm, None, Unit::Ppm)
}

fn request_rate(gate: &Gate, window: &Window, look: Look, min: Share) -> Judgement {
    if look == Look::Early {
        return answer(gate, window, Verdict::NoEvidence, "decided at the end of the bake".to_owned());
    }
    let Some(base) = window.baseline.as_ref().filter(|arm| arm.requests >= gate.min_requests) else {
        let why = too_few(gate, window, true).unwrap_or_else(|| "no baseline".to_owned());
        return answer(gate, window, Verdict::NoEvidence, why);
    };
    let (Some(value), Some(baseline)) = (normalised_rate(&window.new), normalised_rate(base)) else {
        return answer(gate, window, Verdict::NoEvidence, "one side had no share of traffic".to_owned());
    };
    let limit = baseline.saturating_mul(u64::from(min.basis_points())) / 10_000;
    // What came before was not split: the share promised nothing of it.
    let by_luck = luck(look, || {
        let split = !window.new.share.is_all();
        split.then(|| chance::rate((expected(&window.new, base), base.requests as f64), min)).flatten()
    });
    let reason = format!(
        "{} per full share, {} {}; more than {min} of it is asked{by_luck}",
        Value { number: value, unit: Unit::MilliRps },
        whose(window),
        Value { number: baseline, unit: Unit::MilliRps },
    );
    let judged = answer(gate, window, exact(value > limit), reason);
    with(judged, value, limit, Some(baseline), Unit::MilliRps)
}

/// Whose numbers a release is held against: of the same window, or, where the stable release has no traffic any more, of the
/// one before.
const fn whose(window: &Window) -> &'static str {
    if window.new.share.is_all() { "stable's past" } else { "stable" }
}

/// How often the rule, looked at once like this, fails a release that is exactly as good as the stable one. Looks in between
/// ask for more than the rule does.
fn luck(look: Look, chance: impl FnOnce() -> Option<f64>) -> String {
    let chance = if look == Look::Final { chance() } else { None };
    let Some(chance) = chance.filter(|chance| chance.is_finite()) else { return String::new() };
    let said = if chance < 1e-4 {
        "under 0.01 %".to_owned()
    } else {
        format!("{:.*} %", if chance < 0.1 { 2 } else { 0 }, chance * 100.0)
    };
    format!("; false alarm {said}")
}

/// Requests that the release's share promises beside these of the stable one.
fn expected(new: &Arm, stable: &Arm) -> f64 {
    stable.requests as f64 * f64::from(new.share.basis_points()) / f64::from(stable.share.basis_points())
}

pub(super) fn with(
    judged: Judgement,
    value: u64,
    limit: u64,
    baseline: Option<u64>,
    unit: Unit,
) -> Judgement {
    let as_value = |number| Value { number, unit };
    Judgement {
        value: Some(as_value(value)),
        limit: Some(as_value(limit)),
        baseline: baseline.map(as_value),
        ..judged
    }
}

/// Requests per second if the arm had had all traffic, thousandths.
fn normalised_rate(arm: &Arm) -> Option<u64> {
    let share = u128::from(arm.share.basis_points());
    let length = u128::from(arm.length.0);
    let milli = (u128::from(arm.requests) * 1_000 * 1_000 * 10_000).checked_div(length * share)?;
    u64::try_from(milli).ok()
}

fn ppm(part: u64, whole: u64) -> u64 {
    let ratio = (u128::from(part) * 1_000_000).checked_div(u128::from(whole)).unwrap_or(0);
    u64::try_from(ratio).unwrap_or(u64::MAX)
}

pub(super) const fn exact(met: bool) -> Verdict {
    if met { Verdict::Pass } else { Verdict::Fail }
}

/// During a bake only failures are answers.
const fn clear(failed: bool) -> Verdict {
    if failed { Verdict::Fail } else { Verdict::NoEvidence }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ErrorRate { ratio_max_bp, floor } => {
                write!(
                    f,
                    "failed requests at most {}.{:02} x stable",
                    ratio_max_bp / 10_000,
                    ratio_max_bp % 10_000 / 100
                )?;
                if *floor == Share::NONE { Ok(()) } else { write!(f, " or {floor}") }
            }
            Self::Latency { quantile_bp, limit } => write!(f, "P{} below {limit}", quantile_bp / 100),
            Self::LatencyShift { ratio_max_bp } => write!(
                f,
                "requests slower than any edge at most {}.{:02} x stable",
                ratio_max_bp / 10_000,
                ratio_max_bp % 10_000 / 100
            ),
            Self::Cpu { limit } => write!(f, "CPU below {limit}"),
            Self::Memory { limit } => write!(f, "memory below {limit}"),
            Self::RequestRate { min, .. } => write!(f, "request rate above {min} of stable"),
            Self::Instances => f.write_str("all instances ready, none ended by itself"),
            Self::Goal { ratio_min_bp } => write!(
                f,
                "goal at least {}.{:02} x stable's",
                ratio_min_bp / 10_000,
                ratio_min_bp % 10_000 / 100
            ),
            Self::Analysis(Analysis { count, interval, .. }) => match count {
                Some(count) => write!(f, "{count} measurements, {interval} apart"),
                None => write!(f, "a measurement every {interval}"),
            },
            Self::Shadow { status_max, body_max, slower_max } => write!(
                f,
                "copies: at most {status_max} failed or with another status, {body_max} with another body, {slower_max} slower"
            ),
            Self::Metric(conditions) => conditions.fmt(f),
        }
    }
}

impl fmt::Display for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.success, &self.failure) {
            (Some(success), Some(failure)) => write!(f, "good when {success}, bad when {failure}"),
            (Some(success), None) => write!(f, "good when {success}"),
            (None, Some(failure)) => write!(f, "bad when {failure}"),
            (None, None) => f.write_str("never good and never bad"),
        }
    }
}
