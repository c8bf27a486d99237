//! What must hold of one more event.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a law speaks of the few events or states it is about; others are none of its business"
)]

use std::sync::Arc;

use tidegate_core::{
    deployment::{Cause, Event, Outcome, Phase, Recorded, State, What, owed},
    gate::{Judgement, OnFailure, OnInconclusive, OnNoEvidence, Verdict},
    model::{ActorKind, Millis},
};
use tidegate_engine::journal::{Row, Standing};

use super::{Intent, Oracle, Watched};
use crate::{law::Law, target::Target};

impl Watched {
    pub(super) fn begin(batch: &[Recorded]) -> Option<Self> {
        let first = batch.first()?;
        let Event::Planned { plan, .. } = &first.event else { return None };
        Some(Self {
            plan: Arc::new(plan.as_ref().clone()),
            state: State::planned(first.at),
            history: Vec::new(),
            baked: Millis::ZERO,
            exposed: 0,
            seen: Millis::ZERO,
            intents: std::collections::BTreeMap::new(),
            last_reading: None,
            artifacts: 0,
            poisoned: false,
        })
    }

    /// Counts the time that the phase before this event took.
    pub(super) fn spend(&mut self, recorded: &Recorded, now: i64) {
        let spent = self.history.last().map_or(Millis::ZERO, |last| recorded.at.since(last.at));
        match self.state.phase {
            Phase::CanaryWaiting { .. } => self.baked = Millis(self.baked.0 + spent.0),
            Phase::Verifying { .. } => self.seen = Millis(self.seen.0 + spent.0),
            Phase::Queued
            | Phase::Checking(_)
            | Phase::Init(_)
            | Phase::Building(_)
            | Phase::Deploying(_)
            | Phase::AwaitingApproval { .. }
            | Phase::Canary { .. }
            | Phase::CanaryEvaluating { .. }
            | Phase::Promoting(_)
            | Phase::Promoted(_)
            | Phase::Retiring(_)
            | Phase::Paused { .. }
            | Phase::RollingBack { .. }
            | Phase::Verified
            | Phase::RolledBack
            | Phase::Stuck
            | Phase::Failed
            | Phase::Cancelled => {}
        }
        match &recorded.event {
            Event::Exposed { reading, .. } => {
                (self.baked, self.exposed) = (Millis::ZERO, now);
                self.last_reading = Some(reading.clone());
            }
            Event::Initialised { reading } | Event::WatchOpened { reading, .. } => {
                self.last_reading = Some(reading.clone());
            }
            _ => {}
        }
    }

    /// Writes down what the state owes now.
    pub(super) fn remember(&mut self) {
        for debt in owed(&self.plan, &self.state) {
            if debt.key.what == What::Wake {
                continue;
            }
            let key = debt.key.text(&self.plan.deployment);
            let stage = self.state.stage();
            let intent = self.intents.entry(key).or_insert(Intent {
                effect: debt.effect,
                key: debt.key,
                stage,
                attempts: 0,
                changes: 0,
            });
            intent.attempts = intent.attempts.max(debt.attempt + 1);
        }
    }

    pub(super) fn by_hand(recorded: &Recorded) -> bool {
        recorded.actor.kind != ActorKind::Engine
    }

    /// Whether a person asked for full promotion.
    pub(super) fn hurried(&self) -> bool {
        self.history.iter().any(|one| matches!(one.event, Event::Hurried { .. }) && Self::by_hand(one))
    }

    /// Whether a person agreed to a stage.
    pub(super) fn approved(&self, wanted: usize) -> bool {
        let agreed = |one: &Recorded| matches!(one.event, Event::Approved { stage } if stage == wanted);
        self.history.iter().any(|one| agreed(one) && Self::by_hand(one))
    }

    /// Whether a stage was passed.
    pub(super) fn passed(&self, wanted: usize) -> bool {
        self.history
            .iter()
            .any(|one| matches!(one.event, Event::StagePassed { stage, .. } if stage == wanted))
    }
}

impl Oracle {
    /// Checks an event against everything before it.
    pub(super) fn event(
        &mut self,
        id: &str,
        watched: &Watched,
        recorded: &Recorded,
        target: Option<&Target>,
    ) {
        let last = watched.history.last();
        let fits = recorded.seq == last.map_or(0, |last| last.seq) + 1
            && last.is_none_or(|last| last.at <= recorded.at);
        self.check(fits, Law::NoGaps, || format!("{id} event {}", recorded.seq));
        match &recorded.event {
            Event::Admitted => self.admitted(id, watched, target),
            Event::StagePassed { stage, by_hand } => {
                self.passed(id, watched, recorded, *stage, *by_hand, target);
            }
            Event::WatchPassed { .. } => {
                let whole = watched.seen >= watched.plan.watch || Watched::by_hand(recorded);
                self.check(whole, Law::WholeWatch, || {
                    format!("{id}: {} of {}", watched.seen, watched.plan.watch)
                });
            }
            Event::RollbackBegan { cause: Cause::GateFailed { gate, .. } } => {
                let failed = seen(watched).is_some_and(|judgements| {
                    judgements.iter().any(|one| one.gate == *gate && one.verdict == Verdict::Fail)
                });
                self.check(failed, Law::JustifiedTurnBack, || format!("{id}: {gate}"));
            }
            Event::Tried { what, attempt, .. } => self.tried(id, watched, *what, *attempt),
            _ => {}
        }
    }

    fn tried(&mut self, id: &str, watched: &Watched, what: What, attempt: u32) {
        let limits = &watched.plan.limits;
        let most = if what == What::Restore {
            limits.restore_attempts_max
        } else if what == What::Retire {
            limits.back_attempts_max
        } else {
            limits.attempts_max
        };
        self.check(attempt + 1 < most, Law::AttemptsBounded, || {
            format!("{id}: {what} try {attempt} of {most}")
        });
    }

    fn admitted(&mut self, id: &str, watched: &Watched, target: Option<&Target>) {
        let Some(view) = target.map(Target::view) else { return };
        let planned = watched.plan.stable.as_ref().map(|release| release.tag.clone());
        self.check(view.stable == planned, Law::FreshBaseline, || {
            format!("{id} is planned from {planned:?}, and {:?} runs", view.stable)
        });
    }

    /// The queue before an admission: the lowest turn that is not paused goes first.
    pub(super) fn queue(&mut self, id: &str, row: &Row, batch: &[Recorded]) {
        if !batch.iter().any(|recorded| matches!(recorded.event, Event::Admitted)) {
            return;
        }
        let before = self.rows.iter().find(|(other, waiting)| {
            waiting.service == row.service
                && waiting.standing == Standing::Queued
                && waiting.turn < row.turn
                && waiting.state != "paused"
                && other.as_str() != id
                && !self.watched.get(*other).is_some_and(|watched| watched.poisoned)
        });
        let paused = self.rows.get(id).is_some_and(|row| row.state == "paused");
        let before = before.map(|(other, _)| other.clone());
        self.check(before.is_none() && !paused, Law::TurnOrder, || format!("{id} before {before:?}"));
    }

    fn passed(
        &mut self,
        id: &str,
        watched: &Watched,
        recorded: &Recorded,
        stage: usize,
        by_hand: bool,
        target: Option<&Target>,
    ) {
        // A target that took the share back has nothing of this stage to be called good.
        let taken_back = target.is_some_and(|target| target.view().lease_ended);
        self.check(!taken_back, Law::PassesInForce, || format!("{id} stage {stage}"));
        if by_hand {
            let person = Watched::by_hand(recorded) || watched.hurried();
            return self.check(person, Law::EvidencePasses, || format!("{id} stage {stage}: nobody's hand"));
        }
        let Some(planned) = watched.plan.stage(stage) else {
            return self.broken(Law::EvidencePasses, format!("{id} has no stage {stage}"));
        };
        self.check(watched.baked >= planned.bake, Law::WholeBake, || {
            format!("{id} stage {stage}: {} of {}", watched.baked, planned.bake)
        });
        let judged = seen(watched).unwrap_or_default();
        let answered = planned.gates.len() == judged.len()
            && planned.gates.iter().zip(judged).all(|(gate, one)| {
                gate.name == one.gate
                    && match one.verdict {
                        Verdict::Pass => true,
                        Verdict::Fail => gate.on_failure == OnFailure::Alert,
                        Verdict::NoEvidence if one.finding.is_some_and(|finding| finding.undecided) => {
                            gate.on_inconclusive == OnInconclusive::Promote
                        }
                        Verdict::NoEvidence => gate.on_no_evidence == OnNoEvidence::Continue,
                    }
            });
        self.check(answered, Law::EvidencePasses, || format!("{id} stage {stage}: {judged:?}"));
        let ill = target.and_then(|target| target.ill_since(&watched.plan.release.tag));
        // Where the stable release fails too, the new one is no worse.
        let stable = watched.plan.stable.as_ref().map(|release| &release.tag);
        let both = target.zip(stable).is_some_and(|(target, tag)| target.ill_since(tag).is_some());
        let shows = !both
            && ill.is_some_and(|since| since <= watched.exposed)
            && judged.iter().any(|one| one.gate == "error_rate" && one.verdict == Verdict::Pass);
        self.check(!shows, Law::IllNeverPasses, || format!("{id} stage {stage}"));
    }
}

/// The judgements right before this moment.
fn seen(watched: &Watched) -> Option<&[Judgement]> {
    match watched.history.last().map(|last| &last.event) {
        Some(Event::Judged { judgements, .. }) => Some(judgements),
        _ => None,
    }
}

/// Whether an outcome could move something, were it not late.
pub(super) fn answers(watched: &Watched) -> Vec<Outcome> {
    let failed = Outcome::Failed { reason: "late".to_owned(), permanent: false };
    let read = watched.last_reading.clone().map(Outcome::Read);
    [Outcome::Done, failed].into_iter().chain(read).collect()
}
