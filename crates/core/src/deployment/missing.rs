//! Evidence that is missing, or decides nothing, at the end of a bake.

use super::{
    decide::{gates, stage_name},
    event::{ApprovalReason, Cause},
    state::State,
};
use crate::{
    gate::{Gate, Judgement, OnInconclusive, OnNoEvidence, Verdict},
    model::{Millis, Timestamp},
    plan::Plan,
};

/// Between two answers that are written down while evidence is waited for, at least.
const NEWS_EVERY: Millis = Millis::secs(5);

/// What missing evidence asks for.
pub(super) enum Missing {
    /// Nothing is missing, or what is missing may be.
    Nothing,
    /// It is waited for until then.
    Waited(Timestamp),
    /// It was waited for long enough.
    TooLong(Cause),
    /// What came decides nothing, and a person is to be asked.
    Undecided(ApprovalReason),
}

/// What is missing in these answers, the most urgent first.
pub(super) fn missing(plan: &Plan, state: &State, judgements: &[Judgement], now: Timestamp) -> Missing {
    let mut found = Missing::Nothing;
    for (gate, judgement) in gates(plan, state).iter().zip(judgements) {
        if judgement.verdict != Verdict::NoEvidence {
            continue;
        }
        let next = if judgement.finding.is_some_and(|finding| finding.undecided) {
            undecided(plan, state, gate, judgement, now)
        } else {
            absent(plan, state, gate, judgement, now)
        };
        found = match (found, next) {
            (_, Missing::TooLong(cause)) => return Missing::TooLong(cause),
            (Missing::Waited(one), Missing::Waited(other)) => Missing::Waited(one.min(other)),
            (Missing::Waited(until), _) | (_, Missing::Waited(until)) => Missing::Waited(until),
            (Missing::Undecided(why), _) | (_, Missing::Undecided(why)) => Missing::Undecided(why),
            (earlier, Missing::Nothing) => earlier,
        };
    }
    found
}

/// A gate without evidence, at the end of a bake.
fn absent(plan: &Plan, state: &State, gate: &Gate, judgement: &Judgement, now: Timestamp) -> Missing {
    let until = state.since.after(gate.hold_max);
    match gate.on_no_evidence {
        OnNoEvidence::Continue => Missing::Nothing,
        OnNoEvidence::Hold if now < until => Missing::Waited(until),
        OnNoEvidence::Hold | OnNoEvidence::RollBack => too_long_without(plan, state, judgement),
    }
}

/// A gate whose evidence decides nothing yet: it has until the longest that a stage may last, unless there is nothing to
/// wait for.
fn undecided(plan: &Plan, state: &State, gate: &Gate, judgement: &Judgement, now: Timestamp) -> Missing {
    let opened = state.opening.as_ref().map_or(state.since, |opening| opening.at);
    let until = opened.after(plan.judge.max_dwell);
    let waits = now < until && !judgement.finding.is_some_and(|finding| finding.ended);
    match gate.on_inconclusive {
        // A gate that need not have evidence need not be decided either.
        OnInconclusive::Promote if gate.on_no_evidence == OnNoEvidence::Continue => Missing::Nothing,
        _ if waits => Missing::Waited(until),
        OnInconclusive::Promote => Missing::Nothing,
        OnInconclusive::Hold => Missing::Undecided(ApprovalReason::Undecided {
            gate: gate.name.clone(),
            reason: judgement.reason.clone(),
        }),
        OnInconclusive::RollBack => too_long_without(plan, state, judgement),
    }
}

/// Whether these answers say something else than the ones that were written down last: other numbers in the same sentences are no
/// news, so that a long wait does not fill the journal.
pub(super) fn is_news(state: &State, judgements: &[Judgement], now: Timestamp) -> bool {
    let Some((at, told)) = &state.told else { return true };
    let reasons = judgements.iter().map(|judgement| words(&judgement.reason));
    let same = told.len() == judgements.len()
        && told.iter().zip(reasons).all(|(told, reason)| words(told).eq(reason));
    !same && now >= at.after(NEWS_EVERY)
}

/// A sentence without its numbers and their units.
fn words(reason: &str) -> impl Iterator<Item = &str> {
    let bare = |word: &'_ str| {
        !matches!(word, "" | "ms" | "s" | "min" | "h" | "d")
            && !word.contains(|one: char| one.is_ascii_digit())
    };
    reason.split(|one: char| one.is_whitespace() || one.is_ascii_punctuation()).filter(move |word| bare(word))
}

/// At the end of the watch nothing is waited for: a gate that must have an answer by then turns back without one.
pub(super) fn unproven(plan: &Plan, state: &State, judgements: &[Judgement]) -> Option<Cause> {
    let must = |(gate, judgement): &(&Gate, &Judgement)| {
        let undecided = judgement.finding.is_some_and(|finding| finding.undecided);
        judgement.verdict == Verdict::NoEvidence
            && if undecided {
                gate.on_inconclusive == OnInconclusive::RollBack
            } else {
                gate.on_no_evidence == OnNoEvidence::RollBack
            }
    };
    let (_, judgement) = gates(plan, state).iter().zip(judgements).find(must)?;
    Some(no_answer(plan, state, judgement))
}

fn too_long_without(plan: &Plan, state: &State, judgement: &Judgement) -> Missing {
    Missing::TooLong(no_answer(plan, state, judgement))
}

fn no_answer(plan: &Plan, state: &State, judgement: &Judgement) -> Cause {
    Cause::NoEvidence {
        stage: stage_name(plan, state),
        gate: judgement.gate.clone(),
        reason: judgement.reason.clone(),
    }
}
