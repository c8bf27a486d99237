//! Questions to the core in every state that a deployment comes to: what late, early and missing news would do.

use tidegate_core::{
    deployment::{
        Effect, Event, Input, Key, Outcome, Phase, Recorded, Step, Verb, What, decide, evolve, owed,
    },
    gate::OnNoEvidence,
    judge::Judge,
    model::{Actor, Timestamp},
};

use super::{Oracle, Watched, history::answers};
use crate::law::Law;

impl Oracle {
    pub(super) fn probe(&mut self, id: &str, watched: &Watched) {
        if watched.state.is_terminal() {
            return;
        }
        self.late_news(id, watched);
        self.early_ticks(id, watched);
        self.way_back(id, watched);
        self.blindness(id, watched);
    }

    /// Every answer that ever came, comes again; and answers come that nobody asked for yet.
    fn late_news(&mut self, id: &str, watched: &Watched) {
        let now = watched.state_time();
        let debts = owed(&watched.plan, &watched.state);
        for intent in watched.intents.values().filter(|intent| intent.key.what != What::Measure) {
            for attempt in 0..=intent.attempts {
                if debts.iter().any(|debt| debt.key == intent.key && debt.attempt == attempt) {
                    continue;
                }
                for outcome in answers(watched) {
                    let input = Input::Outcome { key: intent.key, attempt, outcome };
                    self.moves_nothing(id, watched, &input, now);
                }
            }
        }
        if watched.state.phase != Phase::Queued {
            self.moves_nothing(id, watched, &Input::Admit { replanned: None }, now);
        }
    }

    fn moves_nothing(&mut self, id: &str, watched: &Watched, input: &Input, now: Timestamp) {
        let moved = matches!(decide(&watched.plan, &watched.state, &Judge::of(&watched.plan), input, now), Ok(events) if !events.is_empty());
        self.check(!moved, Law::LateNewsMovesNothing, || {
            format!("{id} while {}: {input:?}", watched.state.name())
        });
    }

    fn early_ticks(&mut self, id: &str, watched: &Watched) {
        let due = owed(&watched.plan, &watched.state).into_iter().find_map(|debt| match debt.effect {
            Effect::Wake { at } => Some(at),
            Effect::Check
            | Effect::Build
            | Effect::Scale { .. }
            | Effect::Shift { .. }
            | Effect::Measure { .. }
            | Effect::Promote { .. }
            | Effect::Restore { .. }
            | Effect::Retire { .. } => None,
        });
        let now = watched.state_time();
        let early = due.map_or(now, |due| Timestamp(due.0 - 1));
        if early < now {
            return;
        }
        for at in [now, early] {
            let moved = decide(&watched.plan, &watched.state, &Judge::of(&watched.plan), &Input::Tick, at)
                .is_ok_and(|events| !events.is_empty());
            self.check(!moved, Law::NothingEarly, || format!("{id} while {}", watched.state.name()));
        }
    }

    /// An abort must be possible, and what it owes must need nothing but the target's traffic switch.
    fn way_back(&mut self, id: &str, watched: &Watched) {
        if matches!(watched.state.phase, Phase::RollingBack { .. } | Phase::Retiring(_)) {
            return;
        }
        let now = watched.state_time();
        let abort = Input::Operator(Verb::Abort { reason: String::new() });
        let events =
            decide(&watched.plan, &watched.state, &Judge::of(&watched.plan), &abort, now).unwrap_or_default();
        let open = match events.as_slice() {
            [Event::Cancelled { .. }] => true,
            [event @ Event::RollbackBegan { .. }] => {
                let seq = watched.state.seq + 1;
                let recorded = Recorded { seq, at: now, actor: Actor::engine(), event: event.clone() };
                let next = evolve(&watched.plan, watched.state.clone(), &recorded);
                matches!(next.phase, Phase::RollingBack { step: Step::Traffic, .. })
                    && owed(&watched.plan, &next)
                        .iter()
                        .all(|debt| matches!(debt.effect, Effect::Restore { .. }) && debt.not_before <= now)
            }
            _ => false,
        };
        self.check(open, Law::WayBackOpen, || format!("{id} while {}: {events:?}", watched.state.name()));
    }

    fn blindness(&mut self, id: &str, watched: &Watched) {
        let Phase::CanaryEvaluating { stage, .. } = watched.state.phase else { return };
        let optional = |gate: &tidegate_core::gate::Gate| gate.on_no_evidence == OnNoEvidence::Continue;
        if watched.plan.stage(stage).is_none_or(|stage| stage.gates.iter().all(optional)) {
            return;
        }
        let input = Input::Outcome {
            key: Key { intent: 0, what: What::Measure },
            attempt: 0,
            outcome: Outcome::Failed { reason: "blind".to_owned(), permanent: false },
        };
        let events =
            decide(&watched.plan, &watched.state, &Judge::of(&watched.plan), &input, watched.state_time())
                .unwrap_or_default();
        let passes = events.iter().any(|event| matches!(event, Event::StagePassed { .. }));
        self.check(!passes, Law::BlindNeverPasses, || format!("{id} stage {stage}"));
    }
}

impl Watched {
    /// The moment of its last event.
    pub(super) fn state_time(&self) -> Timestamp {
        self.history.last().map_or(Timestamp(0), |last| last.at)
    }
}
