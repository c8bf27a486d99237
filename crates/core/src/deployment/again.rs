//! A bake that does not count, because an instance of the release ended by itself in it.

use super::{
    decide::{gate_failed, gates},
    event::Event,
    state::State,
};
use crate::{
    gate::{Judgement, has_ended},
    model::Timestamp,
    plan::Plan,
};

/// What becomes of a stage at its last look where an instance ended by itself and is up again: the bake begins anew, so that all
/// instances are up for a whole one, and where that happened too often the release goes back. Nothing holds a way back up.
pub(super) fn again(
    plan: &Plan,
    state: &State,
    stage: usize,
    judgements: &[Judgement],
    now: Timestamp,
) -> Option<Event> {
    let mut asked = gates(plan, state).iter().zip(judgements);
    let (_, judgement) = asked.find(|(gate, judgement)| has_ended(gate, judgement))?;
    if plan.way_back {
        return None;
    }
    Some(if state.reopened >= plan.limits.reopen_max {
        Event::RollbackBegan { cause: gate_failed(plan, state, judgement, now) }
    } else {
        Event::Reopened { stage, why: judgement.reason.clone() }
    })
}

#[cfg(test)]
mod tests {
    use alloc::{string::ToString, vec::Vec};

    use super::*;
    use crate::{
        deployment::{
            Cause, Input, Key, Outcome, Phase, Recorded, Refusal, What, decide, evolve,
            table::{reading, sample_plan},
        },
        gate::{Instance, Reading},
        judge::Judge,
        model::Share,
    };

    /// Counters that pass every gate, of an instance that ended so often in its life.
    fn after(seconds: i64, ends: Option<u32>) -> Reading {
        let mut reading = reading(Timestamp(1_000_000 + seconds * 1_000), 0);
        let instances = reading.new.instances.into_iter();
        let last_end = Some("exit code 3".to_string());
        reading.new.instances =
            instances.map(|one| Instance { ends_total: ends, last_end: last_end.clone(), ..one }).collect();
        reading
    }

    /// What follows when the stage was opened by one reading and is looked at with another.
    fn looked(plan: &Plan, phase: Phase, reopened: u32, from: Reading, to: &Reading) -> Vec<Event> {
        let state = State {
            phase,
            reopened,
            share: Share::percent(50),
            opening: Some(from),
            ..State::planned(Timestamp(1_000_000))
        };
        looked_at(plan, &state, to)
    }

    fn looked_at(plan: &Plan, state: &State, to: &Reading) -> Vec<Event> {
        let key = Key { intent: 0, what: What::Measure };
        let input = Input::Outcome { key, attempt: 0, outcome: Outcome::Read(to.clone()) };
        decide(plan, state, &Judge::of(plan), &input, to.at).unwrap_or_else(|why: Refusal| panic!("{why}"))
    }

    const LAST: Phase = Phase::CanaryEvaluating { stage: 1, held_until: None };

    #[test]
    fn a_bake_in_which_an_instance_ended_by_itself_begins_anew_until_that_was_too_often() {
        let plan = sample_plan();
        let ended = |reopened| looked(&plan, LAST, reopened, after(0, Some(4)), &after(60, Some(6)));
        let events = ended(0);
        let [Event::Judged { .. }, Event::Reopened { stage: 1, why }] = events.as_slice() else {
            panic!("{events:?}")
        };
        assert_eq!(why, "sample/1 ended by itself 2 times in the bake (last: exit code 3)");
        let events = ended(plan.limits.reopen_max);
        let Some(Event::RollbackBegan { cause: Cause::GateFailed { gate, .. } }) = events.last() else {
            panic!("{events:?}")
        };
        assert_eq!(gate, "instances");
    }

    #[test]
    fn an_end_before_the_bake_or_one_that_nobody_counts_holds_nothing_up_nor_does_any_a_way_back() {
        let passes = |plan: &Plan, from, to| {
            let events = looked(plan, LAST, 0, after(0, from), &after(60, to));
            matches!(events.get(1), Some(Event::StagePassed { .. }))
        };
        let plan = sample_plan();
        assert!(passes(&plan, Some(4), Some(4)));
        assert!(passes(&plan, None, Some(4)), "read by an older proxy");
        assert!(passes(&plan, Some(4), None));
        let anew = Plan { way_back: true, ..plan.clone() };
        let mut gates = anew.clone();
        for gate in &mut gates.stages[1].gates {
            gate.on_no_evidence = crate::gate::OnNoEvidence::Continue;
        }
        assert!(passes(&gates, Some(4), Some(6)));
        let waiting = Phase::CanaryWaiting { stage: 1, until: Timestamp(1_060_000) };
        let during = looked(&plan, waiting, 0, after(0, Some(0)), &after(30, Some(1)));
        assert!(during.is_empty(), "{during:?}");
    }

    #[test]
    fn while_evidence_is_missing_another_reason_is_written_down_and_the_same_with_other_numbers_is_not() {
        let mut plan = sample_plan();
        for gate in &mut plan.stages[1].gates {
            gate.hold_max = crate::model::Millis::secs(180);
        }
        let lost = |seconds, why: &str| Reading { astray: Some(why.to_string()), ..after(seconds, Some(0)) };
        let state = State {
            phase: LAST,
            share: Share::percent(50),
            opening: Some(after(0, Some(0))),
            ..State::planned(Timestamp(1_000_000))
        };
        let first = lost(60, "it gives 0 %");
        let events = looked_at(&plan, &state, &first);
        let held = events.into_iter().enumerate().fold(state, |state, (index, event)| {
            let recorded =
                Recorded { seq: index as u64 + 2, at: first.at, actor: crate::model::Actor::engine(), event };
            evolve(&plan, state, &recorded)
        });
        assert!(matches!(held.phase, Phase::CanaryEvaluating { held_until: Some(_), .. }), "{held:?}");
        for (seconds, why, news) in [
            (90, "it gives 0 %", false),
            (90, "it gives 3.5 %", false),
            (90, "it has no pods", true),
            (62, "it has no pods", false),
        ] {
            let events = looked_at(&plan, &held, &lost(seconds, why));
            assert_eq!(
                matches!(events.as_slice(), [Event::Judged { .. }]),
                news,
                "{seconds} {why}: {events:?}"
            );
            assert!(news || events.is_empty(), "{events:?}");
        }
    }

    #[test]
    fn a_stage_whose_share_somebody_took_back_waits_for_it_and_goes_back_without_it_but_a_failure_is_never_overlooked()
     {
        let mut plan = sample_plan();
        for gate in &mut plan.stages[1].gates {
            gate.hold_max = crate::model::Millis::secs(180);
        }
        let lost = |seconds| Reading { astray: Some("it gives 0 %".to_string()), ..after(seconds, Some(0)) };
        let events = looked(&plan, LAST, 0, after(0, Some(0)), &lost(60));
        let [Event::Judged { judgements, .. }, Event::Held { stage: 1, .. }] = events.as_slice() else {
            panic!("{events:?}")
        };
        assert!(judgements.iter().any(|one| one.gate == "instances" && one.reason == "it gives 0 %"));
        let held = || Phase::CanaryEvaluating { stage: 1, held_until: Some(Timestamp(1_180_000)) };
        let there = looked(&plan, held(), 0, after(0, Some(0)), &after(90, Some(0)));
        assert!(matches!(there.get(1), Some(Event::StagePassed { .. })), "it is there again: {there:?}");
        let late = looked(&plan, held(), 0, after(0, Some(0)), &lost(300));
        let Some(Event::RollbackBegan { cause: Cause::NoEvidence { reason, .. } }) = late.last() else {
            panic!("{late:?}")
        };
        assert_eq!(reason, "it gives 0 %");
        let mut bad = lost(60);
        bad.new.instances.clear();
        let events = looked(&plan, LAST, 0, after(0, Some(0)), &bad);
        assert!(
            matches!(events.last(), Some(Event::RollbackBegan { cause: Cause::GateFailed { .. } })),
            "{events:?}"
        );
    }
}
