//! The gates over a stream of batches: what each says after every batch, and the decision.

use serde::Serialize;
use tidegate_core::{
    gate::{
        self, Arm, Gate, Judgement, Look, Mode, OnFailure, OnInconclusive, OnNoEvidence, Rule, Verdict,
        Window,
    },
    judge::{Batch, DataState, Judge, Said, Settings},
    model::{Share, Timestamp},
};

use super::line::{COUNTED, TIMED};

/// Batches of a deployment whose length is not known: half an hour of seconds.
const HORIZON: u64 = 1_800;

/// What a gate says after a batch: one line of the answer.
#[derive(Debug, Serialize)]
pub(super) struct Answer {
    batch: u64,
    at: i64,
    stage: usize,
    gate: String,
    state: DataState,
    /// Failures (or what the gate counts) of the new release against the stable one's.
    ratio: Option<f64>,
    ratio_low: Option<f64>,
    ratio_high: Option<f64>,
    /// Evidence against the release and for it, nats.
    evidence: Option<f64>,
    evidence_for: Option<f64>,
    /// Part of what turns back.
    budget: Option<f64>,
    verdict: Verdict,
    undecided: bool,
    reason: String,
    /// Whether the stage was over: gates that are asked once are asked then.
    #[serde(rename = "final")]
    last: bool,
}

/// How it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Decision {
    /// The release has to go.
    RollBack,
    /// Nothing speaks against it.
    Pass,
    /// More evidence, or a person, is needed.
    Undecided,
}

/// The last line of the answer.
#[derive(Debug, Serialize)]
pub(super) struct End {
    pub(super) decision: Decision,
    pub(super) gate: Option<String>,
    pub(super) reason: String,
    pub(super) batches: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub(super) skipped: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "what serde asks for")]
const fn is_zero(number: &u64) -> bool {
    *number == 0
}

/// The gates, and what they have seen.
pub(super) struct Sitting {
    gates: Vec<Gate>,
    judge: Judge,
    settings: Settings,
    stage: Option<Stage>,
    /// The stable release in the stage before: what is compared with where it has no traffic any more.
    kept: Option<Arm>,
    pub(super) batches: u64,
}

/// What came since a stage began.
struct Stage {
    number: usize,
    opened: Timestamp,
    at: Timestamp,
    window: Window,
    /// Thousandths of a second times parts per million, and the time that they were measured for.
    cpu: (u128, u64),
    state: DataState,
    said: Vec<(String, DataState)>,
}

impl Sitting {
    pub(super) fn new(gates: Vec<Gate>, settings: Settings, shares: &[Share]) -> Self {
        let gates: Vec<Gate> = gates.into_iter().map(counted).collect();
        let judge = Judge::with(&settings, &gates, shares, 1, HORIZON);
        Self { gates, judge, settings, stage: None, kept: None, batches: 0 }
    }

    /// The stage of the batch before, and when it ended.
    pub(super) fn last(&self) -> (usize, Option<Timestamp>) {
        self.stage.as_ref().map_or((0, None), |stage| (stage.number, Some(stage.at)))
    }

    /// Takes a batch: what the gates say now, and the end when one of them turns back. Where a new stage begins, the one
    /// before is looked at once more as a whole.
    pub(super) fn take(&mut self, batch: &Batch) -> (Vec<Answer>, Option<End>) {
        let number = batch.stage.unwrap_or_default();
        let mut answers = Vec::new();
        if self.stage.as_ref().is_some_and(|stage| stage.number != number) {
            let (said, end) = self.look(Look::Final);
            answers.extend(said);
            if end.is_some() {
                return (answers, end);
            }
            self.kept = self.stage.take().and_then(|stage| stage.window.baseline);
        }
        self.batches = batch.number;
        self.judge.take(batch);
        match &mut self.stage {
            Some(stage) => stage.add(batch),
            None => self.stage = Some(Stage::open(number, batch, self.kept.as_ref())),
        }
        let (said, end) = self.look(Look::Early);
        answers.extend(said);
        (answers, end)
    }

    /// No batch comes any more.
    pub(super) fn end(&self) -> (Vec<Answer>, End) {
        let Some(stage) = &self.stage else {
            let end = self.ended(Decision::Undecided, None, "no batch has come");
            return (Vec::new(), end);
        };
        let (answers, end) = self.look(Look::Final);
        let end = end.unwrap_or_else(|| {
            self.missing(stage, &answers)
                .unwrap_or_else(|| self.ended(Decision::Pass, None, &self.passed(&answers)))
        });
        (answers, end)
    }

    /// Asks every gate; the end is there when one that turns back has failed.
    fn look(&self, look: Look) -> (Vec<Answer>, Option<End>) {
        let Some(stage) = &self.stage else { return (Vec::new(), None) };
        let ask = |gate: &Gate| {
            let sequential =
                gate.mode == Mode::Sequential || matches!(gate.rule, Rule::Metric(_) | Rule::Analysis(_));
            if sequential {
                self.judge.ask(gate, &stage.window, Some(stage.number), look)
            } else {
                gate::judge(gate, &stage.window, look)
            }
        };
        let judgements: Vec<Judgement> = self.gates.iter().map(ask).collect();
        let failed = self.gates.iter().zip(&judgements).find(|(gate, judgement)| {
            judgement.verdict == Verdict::Fail && gate.on_failure == OnFailure::RollBack
        });
        let end = failed
            .map(|(gate, judgement)| self.ended(Decision::RollBack, Some(gate), judgement.reason.as_str()));
        let answers = self.gates.iter().zip(judgements);
        (answers.map(|(gate, judgement)| self.answer(stage, gate, judgement, look)).collect(), end)
    }

    /// What stands in the way of passing after the final look.
    fn missing(&self, stage: &Stage, answers: &[Answer]) -> Option<End> {
        let dwelt = stage.at.since(stage.opened) >= self.settings.max_dwell;
        for (gate, answer) in self.gates.iter().zip(answers) {
            let decision = match (answer.verdict, answer.undecided) {
                (Verdict::Pass, _) => continue,
                (Verdict::Fail, _) if gate.on_failure == OnFailure::Alert => continue,
                (Verdict::Fail, _) => Decision::Undecided,
                // Who only observes waits for nothing.
                (Verdict::NoEvidence, true) if self.settings.observe => continue,
                (Verdict::NoEvidence, true) => match gate.on_inconclusive {
                    OnInconclusive::Promote if dwelt => continue,
                    OnInconclusive::RollBack if dwelt => Decision::RollBack,
                    OnInconclusive::Promote | OnInconclusive::RollBack | OnInconclusive::Hold => {
                        Decision::Undecided
                    }
                },
                (Verdict::NoEvidence, false) => match gate.on_no_evidence {
                    OnNoEvidence::Continue => continue,
                    OnNoEvidence::RollBack => Decision::RollBack,
                    OnNoEvidence::Hold => Decision::Undecided,
                },
            };
            return Some(self.ended(decision, Some(gate), &answer.reason));
        }
        None
    }

    /// Why it passes; a gate that would have spoken against it if it were not for alerts only is named, and so is one that
    /// its policy lets pass without an answer.
    fn passed(&self, answers: &[Answer]) -> String {
        let with =
            |verdict| self.gates.iter().zip(answers).find(move |(_, answer)| answer.verdict == verdict);
        let said = match with(Verdict::Fail) {
            None => "no gate speaks against the release".to_owned(),
            Some((gate, answer)) => {
                format!(
                    "no gate that acts speaks against the release; `{}`, which only alerts, failed: {}",
                    gate.name, answer.reason
                )
            }
        };
        let Some((gate, answer)) = with(Verdict::NoEvidence) else { return said };
        let what = match (answer.undecided, self.settings.observe) {
            (_, true) => "has no answer, and is only observed",
            (true, false) => "decided nothing, and `on_inconclusive: promote` lets it pass",
            (false, false) => "had no evidence, and `on_no_evidence: continue` lets it pass",
        };
        format!("{said}; `{}` {what}: {}", gate.name, answer.reason)
    }

    fn ended(&self, decision: Decision, gate: Option<&Gate>, reason: &str) -> End {
        let gate = gate.map(|gate| gate.name.clone());
        End { decision, gate, reason: plain(reason), batches: self.batches, skipped: 0 }
    }

    fn answer(&self, stage: &Stage, gate: &Gate, judgement: Judgement, look: Look) -> Answer {
        let finding = judgement.finding;
        let weighed = finding.filter(|_| weighs(gate));
        let nats = |thousandths: i64| thousandths as f64 / 1_000.0;
        let ratio = judgement.value.zip(judgement.baseline).filter(|(_, baseline)| baseline.number > 0);
        Answer {
            batch: self.batches,
            at: stage.at.0,
            stage: stage.number,
            gate: judgement.gate,
            state: stage.state_of(gate),
            ratio: ratio.map(|(value, baseline)| rounded(value.number as f64 / baseline.number as f64)),
            ratio_low: finding.and_then(|known| known.ratio_low_milli).map(|low| low as f64 / 1_000.0),
            ratio_high: finding.and_then(|known| known.ratio_high_milli).map(|high| high as f64 / 1_000.0),
            evidence: weighed.map(|known| nats(known.against_mnat)),
            evidence_for: weighed.map(|known| nats(known.for_mnat)),
            budget: weighed.map(|known| known.budget_ppm as f64 / 1e6),
            verdict: judgement.verdict,
            undecided: finding.is_some_and(|known| known.undecided),
            reason: plain(&judgement.reason),
            last: look == Look::Final,
        }
    }
}

/// A reason in the words of whoever wrote the batches: nobody named a metric for the counts of the line itself.
fn plain(reason: &str) -> String {
    let own = [
        (COUNTED, "counts the new release only", "the batches count the new release only"),
        (TIMED, "counts the new release only", "the batches have no `latency_ms` of the stable release"),
        (COUNTED, "counted no request", "the batches counted no request"),
        (
            TIMED,
            "counted no latency of the stable release",
            "the batches counted no latency of the stable release",
        ),
        (TIMED, "counted no latency", "the batches counted no latency"),
    ];
    own.iter().fold(reason.to_owned(), |reason, (metric, said, plain)| {
        reason.replace(&format!("metric `{metric}` {said}"), plain)
    })
}

/// To thousandths, as everything else of an answer.
fn rounded(ratio: f64) -> f64 {
    (ratio * 1_000.0).round() / 1_000.0
}

/// Whether the gate weighs evidence; the others follow a rule that needs none.
const fn weighs(gate: &Gate) -> bool {
    match gate.rule {
        Rule::ErrorRate { .. }
        | Rule::Latency { .. }
        | Rule::LatencyShift { .. }
        | Rule::Cpu { .. }
        | Rule::Memory { .. } => true,
        Rule::RequestRate { .. }
        | Rule::Instances
        | Rule::Goal { .. }
        | Rule::Shadow { .. }
        | Rule::Metric(_)
        | Rule::Analysis(_) => false,
    }
}

/// A gate that asks the batch's own counts.
fn counted(gate: Gate) -> Gate {
    let own = match gate.rule {
        Rule::ErrorRate { .. } | Rule::RequestRate { .. } => Some(COUNTED),
        Rule::Latency { .. } | Rule::LatencyShift { .. } => Some(TIMED),
        Rule::Cpu { .. }
        | Rule::Memory { .. }
        | Rule::Instances
        | Rule::Goal { .. }
        | Rule::Shadow { .. }
        | Rule::Metric(_)
        | Rule::Analysis(_) => None,
    };
    let metric = gate.metric.clone().or_else(|| own.map(str::to_owned));
    Gate { metric, ..gate }
}

impl Stage {
    fn open(number: usize, batch: &Batch, kept: Option<&Arm>) -> Self {
        let window = Window {
            new: Arm { share: batch.new.share, ..Arm::default() },
            baseline: if batch.new.share.is_all() { kept.cloned() } else { None },
            cpu_ppm: None,
            memory_ppm: None,
            instances: Vec::new(),
            wanted: 0,
            ended: Vec::new(),
            astray: None,
        };
        let opened = Timestamp(batch.at.0.saturating_sub(i64::try_from(batch.new.length.0).unwrap_or(0)));
        let state = batch.state;
        let mut stage = Self { number, opened, at: batch.at, window, cpu: (0, 0), state, said: Vec::new() };
        stage.add(batch);
        stage
    }

    fn add(&mut self, batch: &Batch) {
        self.at = batch.at;
        self.state = batch.state;
        self.said = batch.metrics.iter().map(|one| (one.metric.clone(), state_of(&one.said))).collect();
        add(&mut self.window.new, &batch.new);
        if let Some(stable) = batch.stable.as_ref().filter(|_| !batch.new.share.is_all()) {
            add(self.window.baseline.get_or_insert_default(), stable);
        }
        if let Some(cpu) = batch.cpu_ppm {
            let (sum, length) = self.cpu;
            self.cpu = (
                sum.saturating_add(u128::from(cpu) * u128::from(batch.new.length.0)),
                length.saturating_add(batch.new.length.0),
            );
            self.window.cpu_ppm =
                self.cpu.0.checked_div(u128::from(self.cpu.1)).and_then(|mean| u64::try_from(mean).ok());
        }
        self.window.memory_ppm = batch.memory_ppm.or(self.window.memory_ppm);
    }

    fn state_of(&self, gate: &Gate) -> DataState {
        let Some(metric) = &gate.metric else { return self.state };
        match self.said.iter().find(|(name, _)| name == metric) {
            // What was counted by the line itself is as the whole line is.
            Some((_, DataState::Live)) if [COUNTED, TIMED].contains(&metric.as_str()) => self.state,
            Some((_, state)) => *state,
            None => DataState::NoSeries,
        }
    }
}

const fn state_of(said: &Said) -> DataState {
    match said {
        Said::Counts { .. } | Said::Values { .. } => DataState::Live,
        Said::Nothing { state, .. } => *state,
    }
}

/// Adds an interval to what came before it; both have rising edges.
fn add(whole: &mut Arm, part: &Arm) {
    whole.length.0 = whole.length.0.saturating_add(part.length.0);
    whole.share = part.share;
    whole.requests = whole.requests.saturating_add(part.requests);
    whole.failures = whole.failures.saturating_add(part.failures);
    for &(edge, count) in &part.latency_us {
        match whole.latency_us.binary_search_by_key(&edge, |(edge, _)| *edge) {
            Ok(at) => {
                if let Some((_, sum)) = whole.latency_us.get_mut(at) {
                    *sum = sum.saturating_add(count);
                }
            }
            Err(at) => whole.latency_us.insert(at, (edge, count)),
        }
    }
}
