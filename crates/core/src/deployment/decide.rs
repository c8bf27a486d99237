//! The only maker of events.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a last arm refuses; the golden table prints every state x input pair, so a new variant shows as a difference"
)]

use alloc::{
    boxed::Box,
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use super::{
    again::again,
    event::{ApprovalReason, Cause, Event},
    input::{Input, Outcome, Verb},
    missing::{Missing, is_news, missing, unproven},
    owed::{Key, Owed, What, expected, measure},
    review::{self, Asked},
    state::{Phase, Resume, State, StateName, Step, Try},
};
use crate::{
    gate::{Gate, Judgement, Look, NoWindow, OnFailure, Reading, Verdict, Window, answer, judge},
    judge::Judge,
    model::{Millis, Timestamp},
    plan::Plan,
};

/// Why an input makes no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Late, repeated or unasked news: normal after a crash.
    #[error("the news is late: nothing waits for it")]
    Stale,
    /// Nothing is due yet.
    #[error("nothing is due yet")]
    NotDue,
    /// The deployment has ended.
    #[error("the deployment has ended ({state}); {advice}")]
    Over {
        /// How.
        state: StateName,
        /// What to do instead.
        advice: &'static str,
    },
    /// The verb makes no sense here.
    #[error("cannot {verb} while {state}: {advice}")]
    Wrong {
        /// The verb.
        verb: &'static str,
        /// Where the deployment is.
        state: StateName,
        /// Why, and what to do instead.
        advice: &'static str,
    },
    /// A stage cannot be called good, because nobody could see whether its share is in force: see [`look_first`].
    #[error(
        "whether the stage's share is still in force could not be read ({reason}): look at the target, then ask again"
    )]
    Unseen {
        /// Why not.
        reason: String,
    },
}

/// What an input means in a state. No event at all is an answer too: the news was heard and changes nothing. `seen` is
/// the fold of the batches up to now, as the state is the fold of the events.
pub fn decide(
    plan: &Plan,
    state: &State,
    seen: &Judge,
    input: &Input,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    match input {
        Input::Admit { replanned } if state.phase == Phase::Queued => Ok(match replanned {
            None => vec![Event::Admitted],
            Some(Ok(plan)) => vec![Event::Replanned { plan: plan.clone() }, Event::Admitted],
            Some(Err(reason)) => vec![Event::Cancelled { reason: reason.clone() }],
        }),
        Input::Admit { .. } => Err(Refusal::Stale),
        Input::Tick => tick(state, now),
        Input::Outcome { key: Key { what: What::Measure, .. }, outcome, .. } => {
            measured(plan, state, seen, outcome, now)
        }
        Input::Outcome { key, attempt, outcome } => answered(plan, state, *key, *attempt, outcome, now),
        Input::Operator(verb) => operator(plan, state, verb, now),
    }
}

/// What the gates would say to a reading now: for a person who watches. Empty where nothing is measured.
pub fn look(plan: &Plan, state: &State, seen: &Judge, reading: &Reading) -> Vec<Judgement> {
    let Some(opening) = &state.opening else { return Vec::new() };
    let Ok(window) = Window::between(opening, reading, state.share, state.kept.as_ref()) else {
        return Vec::new();
    };
    ask(plan, state, seen, &window, Look::Final)
}

/// Asks the gates in force: over the window, or of the batches, as each gate's mode says.
fn ask(plan: &Plan, state: &State, seen: &Judge, window: &Window, look: Look) -> Vec<Judgement> {
    let stage = state.stage_in_force();
    let answer = |gate: &Gate| {
        if gate.asks_batches() { seen.ask(gate, window, stage, look) } else { judge(gate, window, look) }
    };
    gates(plan, state).iter().map(answer).collect()
}

/// The look that must come before a person's word is decided. A person may call a stage good only while its share is in
/// force, and a target whose lease ended while nobody was there has taken the share back. The answer is news like any
/// other and is decided first; without one the word is refused as [`Refusal::Unseen`]. `None` where no look is needed.
pub fn look_first(plan: &Plan, state: &State, input: &Input, now: Timestamp) -> Option<Owed> {
    let Input::Operator(verb) = input else { return None };
    let leased = plan.lease.is_some() && plan.stable.is_some();
    let passes = |event: &Event| matches!(event, Event::StagePassed { by_hand: true, .. });
    let events = if leased { operator(plan, state, verb, now).unwrap_or_default() } else { Vec::new() };
    events.iter().any(passes).then(|| measure(plan))
}

fn tick(state: &State, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    match &state.phase {
        Phase::CanaryWaiting { stage, until } if *until <= now => Ok(vec![Event::Baked { stage: *stage }]),
        Phase::AwaitingApproval { until, .. } if *until <= now => Ok(too_long("an approval")),
        Phase::Paused { resume: Resume::Queued, until } if *until <= now => {
            Ok(vec![Event::Cancelled { reason: "paused too long".to_string() }])
        }
        Phase::Paused { until, .. } if *until <= now => Ok(too_long("the end of a pause")),
        phase if phase.name().is_terminal() => Err(Refusal::Stale),
        _ => Err(Refusal::NotDue),
    }
}

fn too_long(what: &str) -> Vec<Event> {
    vec![Event::RollbackBegan { cause: Cause::WaitedTooLong { what: what.to_string() } }]
}

/// The answer to the effect on its way.
fn answered(
    plan: &Plan,
    state: &State,
    key: Key,
    attempt: u32,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let tries = state.phase.tries().ok_or(Refusal::Stale)?;
    if expected(&state.phase) != Some(key.what) || tries.intent != key.intent || tries.attempt != attempt {
        return Err(Refusal::Stale);
    }
    match outcome {
        Outcome::Failed { reason, permanent } => {
            Ok(failed(plan, state, key.what, tries, reason, *permanent, now))
        }
        Outcome::Done | Outcome::Read(_) | Outcome::LeaseEnded => advanced(plan, state, outcome, now),
    }
}

/// The effect on its way has happened.
fn advanced(plan: &Plan, state: &State, outcome: &Outcome, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    let old = || plan.stable.as_ref().map_or_else(String::new, |release| release.tag.clone());
    Ok(match (&state.phase, outcome) {
        (Phase::Checking(_), Outcome::Done) => vec![Event::Checked],
        (Phase::Init(_), Outcome::Read(reading)) => vec![Event::Initialised { reading: reading.clone() }],
        (Phase::Building(_), Outcome::Done) => vec![Event::Built],
        (Phase::Deploying(_), Outcome::Done) => {
            let instances = plan.stage(0).map_or(0, |stage| stage.instances);
            then_ask(plan, state, vec![Event::Deployed { instances }], 0, now)
        }
        (Phase::Canary { stage, step: Step::Instances, .. }, Outcome::Done) => {
            let instances = plan.stage(*stage).map_or(0, |stage| stage.instances);
            vec![Event::Scaled { stage: *stage, instances }]
        }
        (Phase::Canary { stage, step: Step::Traffic, .. }, Outcome::Read(reading)) => {
            let exposed = Event::Exposed { stage: *stage, reading: reading.clone() };
            if state.hurried && stage + 1 == plan.stages.len() {
                vec![exposed, Event::StagePassed { stage: *stage, by_hand: true }]
            } else {
                vec![exposed]
            }
        }
        (Phase::Promoting(_), Outcome::Done) => vec![Event::Promoted],
        (Phase::Promoted(_), Outcome::Read(reading)) => {
            let opened = Event::WatchOpened { reading: reading.clone(), until: now.after(plan.watch) };
            if plan.watch == Millis::ZERO { end_of_watch(plan, vec![opened], None) } else { vec![opened] }
        }
        (Phase::Retiring(_), Outcome::Done) => vec![Event::Retired { release: old() }, Event::Verified],
        (Phase::RollingBack { step: Step::Traffic, .. }, Outcome::Done) => vec![Event::Restored],
        (Phase::RollingBack { step: Step::Instances, .. }, Outcome::Done) => {
            vec![Event::Retired { release: plan.release.tag.clone() }, Event::RolledBack]
        }
        _ => return Err(Refusal::Stale),
    })
}

/// The effect on its way has failed, or its answer was lost.
fn failed(
    plan: &Plan,
    state: &State,
    what: What,
    tries: Try,
    reason: &str,
    permanent: bool,
    now: Timestamp,
) -> Vec<Event> {
    let limits = &plan.limits;
    let back = matches!(state.phase, Phase::RollingBack { .. } | Phase::Retiring(_));
    let next = tries.attempt.saturating_add(1);
    let (most, wait) = if matches!(state.phase, Phase::RollingBack { step: Step::Traffic, .. }) {
        (limits.restore_attempts_max, limits.restore_backoff_before(next))
    } else {
        let most = if back { limits.back_attempts_max } else { limits.attempts_max };
        (most, limits.backoff_before(next))
    };
    let reason = reason.to_string();
    // The way back is tried to its bound even when the target says that it can not help: it may be wrong.
    if next < most && (back || !permanent) {
        let retry_at = now.after(wait);
        return vec![Event::Tried { what, attempt: tries.attempt, reason, retry_at }];
    }
    match &state.phase {
        Phase::Checking(_) | Phase::Init(_) | Phase::Building(_) => vec![Event::Failed { what, reason }],
        Phase::RollingBack { step: Step::Traffic, .. } => vec![Event::Stuck { reason }],
        Phase::RollingBack { step: Step::Instances, .. } => {
            vec![Event::RetireGivenUp { release: plan.release.tag.clone(), reason }, Event::RolledBack]
        }
        Phase::Retiring(_) => {
            let release = plan.stable.as_ref().map_or_else(String::new, |release| release.tag.clone());
            vec![Event::RetireGivenUp { release, reason }, Event::Verified]
        }
        _ => vec![Event::RollbackBegan { cause: Cause::EffectFailed { what, reason } }],
    }
}

/// A reading came, or could not be had.
fn measured(
    plan: &Plan,
    state: &State,
    seen: &Judge,
    outcome: &Outcome,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    if !measures(&state.phase) {
        return Err(Refusal::Stale);
    }
    match outcome {
        Outcome::Done => Err(Refusal::Stale),
        Outcome::LeaseEnded => {
            Ok(reopen(plan, state, "the control plane was silent longer than the canary lease"))
        }
        Outcome::Failed { reason, .. } => Ok(blind(plan, state, reason, now)),
        Outcome::Read(reading) => {
            let Some(opening) = &state.opening else { return Ok(Vec::new()) };
            match Window::between(opening, reading, state.share, state.kept.as_ref()) {
                Ok(window) => {
                    Ok(judged(plan, state, reading, |look| ask(plan, state, seen, &window, look), now))
                }
                Err(NoWindow::Backwards) => Ok(Vec::new()),
                Err(NoWindow::Reset) => Ok(reset(plan, state, reading)),
            }
        }
    }
}

const fn measures(phase: &Phase) -> bool {
    matches!(
        phase,
        Phase::CanaryWaiting { .. }
            | Phase::CanaryEvaluating { .. }
            | Phase::AwaitingApproval { .. }
            | Phase::Verifying { .. }
            | Phase::Paused {
                resume: Resume::Waiting { .. } | Resume::Evaluating { .. } | Resume::Watching { .. },
                ..
            }
    )
}

/// The gates that are asked in this state.
pub(super) fn gates<'a>(plan: &'a Plan, state: &State) -> &'a [Gate] {
    match state.stage_in_force() {
        Some(stage) => plan.stage(stage).map_or(&[], |stage| stage.gates.as_slice()),
        None => &plan.watch_gates,
    }
}

/// The stage that has to start again when its share is no more in force; nothing when none was.
const fn stage_to_reopen(state: &State) -> Option<usize> {
    match &state.phase {
        Phase::AwaitingApproval { stage, why, .. } => why.stage_in_force(*stage),
        _ => state.stage(),
    }
}

/// The stage starts again, or, when it did so too often, the deployment turns back.
fn reopen(plan: &Plan, state: &State, why: &str) -> Vec<Event> {
    let why = why.to_string();
    match stage_to_reopen(state) {
        None => Vec::new(),
        Some(_) if state.reopened >= plan.limits.reopen_max => {
            vec![Event::RollbackBegan { cause: Cause::ReopenedTooOften { why } }]
        }
        Some(stage) => vec![Event::Reopened { stage, why }],
    }
}

/// The counters restarted: what was seen before is lost, and a new window is opened.
fn reset(plan: &Plan, state: &State, reading: &Reading) -> Vec<Event> {
    let (Phase::Verifying { until } | Phase::Paused { resume: Resume::Watching { .. }, until }) = state.phase
    else {
        return reopen(plan, state, "the counters restarted from zero");
    };
    vec![Event::WatchOpened { reading: reading.clone(), until }]
}

/// Nothing could be read: in a last look that is missing evidence, elsewhere the next reading will tell.
fn blind(plan: &Plan, state: &State, reason: &str, now: Timestamp) -> Vec<Event> {
    let unread = |gate: &Gate| {
        let reason = format!("nothing could be read: {reason}");
        answer(gate, &Window::default(), Verdict::NoEvidence, reason)
    };
    let judgements = || gates(plan, state).iter().map(unread).collect();
    match &state.phase {
        Phase::CanaryEvaluating { stage, .. } => last_look(plan, state, *stage, judgements(), now),
        Phase::Verifying { until } if *until <= now => {
            blind_at_the_end(plan, state, *until, judgements(), now)
        }
        _ => Vec::new(),
    }
}

/// The watch is over and nothing can be read. Most gates need no answer then; one that does is given its time.
fn blind_at_the_end(
    plan: &Plan,
    state: &State,
    until: Timestamp,
    judgements: Vec<Judgement>,
    now: Timestamp,
) -> Vec<Event> {
    let Some(cause) = unproven(plan, state, &judgements) else {
        return end_of_watch(plan, Vec::new(), None);
    };
    let patience = gates(plan, state).iter().map(|gate| gate.hold_max).max().unwrap_or(Millis::ZERO);
    if now < until.after(patience) {
        return Vec::new();
    }
    back(Event::Judged { stage: None, judgements }, cause)
}

/// What the gates' answers ask for.
fn judged(
    plan: &Plan,
    state: &State,
    reading: &Reading,
    ask: impl Fn(Look) -> Vec<Judgement>,
    now: Timestamp,
) -> Vec<Event> {
    match &state.phase {
        Phase::CanaryEvaluating { stage, .. } => last_look(plan, state, *stage, ask(Look::Final), now),
        Phase::Verifying { until } if *until <= now => {
            let judgements = ask(Look::Final);
            let cause =
                turn_back(plan, state, &judgements, now).or_else(|| unproven(plan, state, &judgements));
            let seen = Event::Judged { stage: None, judgements };
            match cause {
                Some(cause) => back(seen, cause),
                None => end_of_watch(plan, vec![seen], Some(reading)),
            }
        }
        _ => early_look(plan, state, ask(Look::Early), now),
    }
}

/// A look in between: only a clear failure does anything.
fn early_look(plan: &Plan, state: &State, judgements: Vec<Judgement>, now: Timestamp) -> Vec<Event> {
    let cause = turn_back(plan, state, &judgements, now);
    let held = held_by(plan, state, &judgements);
    let news = failure(plan, state, &judgements, OnFailure::Alert)
        .is_some_and(|one| !state.alerted.contains(&one.gate));
    let seen = Event::Judged { stage: state.stage_in_force(), judgements };
    match (cause, held, &state.phase) {
        (Some(cause), _, _) => back(seen, cause),
        (None, Some(why), Phase::CanaryWaiting { stage, .. }) => {
            vec![seen, Event::ApprovalAsked { stage: *stage, why, until: now.after(plan.limits.pause_max) }]
        }
        // A gate that only alerts says so once; the deployment goes on.
        (None, _, _) if news => vec![seen],
        (None, _, _) => Vec::new(),
    }
}

/// The look that ends a stage: the rules exactly as written, and what is missing is not a pass.
fn last_look(
    plan: &Plan,
    state: &State,
    stage: usize,
    judgements: Vec<Judgement>,
    now: Timestamp,
) -> Vec<Event> {
    let cause = turn_back(plan, state, &judgements, now);
    let held = held_by(plan, state, &judgements);
    let missing = missing(plan, state, &judgements, now);
    let asked = review::asked(plan, state, stage, &judgements);
    let again = again(plan, state, stage, &judgements, now);
    let waits = matches!(state.phase, Phase::CanaryEvaluating { held_until: Some(_), .. });
    let news = is_news(state, &judgements, now);
    let seen = Event::Judged { stage: Some(stage), judgements };
    if let Some(cause) = cause {
        return back(seen, cause);
    }
    if let Some(why) = held {
        return vec![seen, Event::ApprovalAsked { stage, why, until: now.after(plan.limits.pause_max) }];
    }
    if let Some(event) = again {
        return vec![seen, event];
    }
    match missing {
        Missing::Nothing => match asked {
            Asked::Nothing => pass(plan, state, vec![seen], stage, false, now),
            Asked::Person(why) => {
                vec![seen, Event::ApprovalAsked { stage, why, until: now.after(plan.limits.pause_max) }]
            }
            Asked::Back(cause) => back(seen, cause),
        },
        Missing::Waited(_) if waits && news => vec![seen],
        Missing::Waited(_) if waits => Vec::new(),
        Missing::Waited(until) => vec![seen, Event::Held { stage, until }],
        Missing::TooLong(cause) => back(seen, cause),
        Missing::Undecided(why) => {
            vec![seen, Event::ApprovalAsked { stage, why, until: now.after(plan.limits.pause_max) }]
        }
    }
}

/// The first failure that turns back.
fn turn_back(plan: &Plan, state: &State, judgements: &[Judgement], now: Timestamp) -> Option<Cause> {
    let judgement = failure(plan, state, judgements, OnFailure::RollBack)?;
    Some(gate_failed(plan, state, judgement, now))
}

pub(super) fn gate_failed(plan: &Plan, state: &State, judgement: &Judgement, now: Timestamp) -> Cause {
    Cause::GateFailed {
        stage: stage_name(plan, state),
        gate: judgement.gate.clone(),
        reason: judgement.reason.clone(),
        after: state.opening.as_ref().map_or(Millis::ZERO, |opening| now.since(opening.at)),
    }
}

/// The first failure that asks a person.
fn held_by(plan: &Plan, state: &State, judgements: &[Judgement]) -> Option<ApprovalReason> {
    let judgement = failure(plan, state, judgements, OnFailure::Hold)?;
    Some(ApprovalReason::GateFailed { gate: judgement.gate.clone(), reason: judgement.reason.clone() })
}

fn failure<'a>(
    plan: &Plan,
    state: &State,
    judgements: &'a [Judgement],
    action: OnFailure,
) -> Option<&'a Judgement> {
    gates(plan, state)
        .iter()
        .zip(judgements)
        .find(|(gate, judgement)| judgement.verdict == Verdict::Fail && gate.on_failure == action)
        .map(|(_, judgement)| judgement)
}

fn back(seen: Event, cause: Cause) -> Vec<Event> {
    vec![seen, Event::RollbackBegan { cause }]
}

pub(super) fn stage_name(plan: &Plan, state: &State) -> String {
    state
        .stage_in_force()
        .and_then(|stage| plan.stage(stage))
        .map_or_else(|| "the watch after promotion".to_string(), |stage| stage.name.clone())
}

/// The stage is done: on to the next, which may ask for an approval first.
fn pass(
    plan: &Plan,
    state: &State,
    mut events: Vec<Event>,
    stage: usize,
    by_hand: bool,
    now: Timestamp,
) -> Vec<Event> {
    events.push(Event::StagePassed { stage, by_hand });
    then_ask(plan, state, events, stage + 1, now)
}

fn then_ask(plan: &Plan, state: &State, mut events: Vec<Event>, stage: usize, now: Timestamp) -> Vec<Event> {
    if !state.hurried && plan.stage(stage).is_some_and(|stage| stage.approval) {
        let until = now.after(plan.limits.pause_max);
        events.push(Event::ApprovalAsked { stage, why: ApprovalReason::Planned, until });
    }
    events
}

/// The watch is over: stop the old release, when there is one.
fn end_of_watch(plan: &Plan, mut events: Vec<Event>, reading: Option<&Reading>) -> Vec<Event> {
    events.push(Event::WatchPassed { reading: reading.map(|reading| Box::new(reading.clone())) });
    if plan.stable.is_none() {
        events.push(Event::Verified);
    }
    events
}

fn operator(plan: &Plan, state: &State, verb: &Verb, now: Timestamp) -> Result<Vec<Event>, Refusal> {
    match verb {
        Verb::Retry if state.phase == Phase::Stuck => Ok(vec![Event::Unstuck]),
        Verb::Abort { reason } if state.phase == Phase::Stuck => {
            Ok(vec![Event::Abandoned { reason: reason.clone() }])
        }
        _ if state.phase == Phase::Stuck => Err(wrong(
            verb,
            state,
            "use `tidegate retry` to try the way back again, or `tidegate abort` to give it up",
        )),
        _ if state.is_terminal() => {
            let advice = "start a new deployment, or use `tidegate rollback`";
            Err(Refusal::Over { state: state.name(), advice })
        }
        Verb::Retry => Err(wrong(
            verb,
            state,
            "only a stuck way back can be tried again; everything else retries by itself",
        )),
        Verb::Pause { reason } => pause(plan, state, verb, reason, now),
        Verb::Resume if state.pause_asked || matches!(state.phase, Phase::Paused { .. }) => {
            Ok(vec![Event::Resumed])
        }
        Verb::Resume => Err(wrong(verb, state, "it is not paused")),
        Verb::Promote { full } => promote(plan, state, verb, *full, now),
        Verb::Approve => match &state.phase {
            Phase::AwaitingApproval { stage, why, .. } => Ok(approve(plan, state, *stage, why, now)),
            _ => Err(wrong(verb, state, "nothing waits for an approval")),
        },
        Verb::Abort { reason } => {
            let (reason, cause) = (reason.clone(), Cause::Aborted { reason: reason.clone() });
            call_off(plan, state, verb, reason, cause)
        }
        Verb::Supersede { by } => {
            let cause = Cause::Superseded { by: by.clone() };
            call_off(plan, state, verb, cause.to_string(), cause)
        }
    }
}

const fn verb_name(verb: &Verb) -> &'static str {
    match verb {
        Verb::Pause { .. } => "pause",
        Verb::Resume => "resume",
        Verb::Promote { .. } => "promote",
        Verb::Abort { .. } => "abort",
        Verb::Approve => "approve",
        Verb::Retry => "retry",
        Verb::Supersede { .. } => "supersede",
    }
}

const fn wrong(verb: &Verb, state: &State, advice: &'static str) -> Refusal {
    Refusal::Wrong { verb: verb_name(verb), state: state.name(), advice }
}

fn pause(
    plan: &Plan,
    state: &State,
    verb: &Verb,
    reason: &str,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let reason = reason.to_string();
    match &state.phase {
        _ if state.pause_asked => Err(wrong(verb, state, "a pause is asked for already")),
        Phase::Queued
        | Phase::CanaryWaiting { .. }
        | Phase::CanaryEvaluating { .. }
        | Phase::Verifying { .. } => {
            Ok(vec![Event::Paused { reason, until: now.after(plan.limits.pause_max) }])
        }
        Phase::Checking(_)
        | Phase::Init(_)
        | Phase::Building(_)
        | Phase::Deploying(_)
        | Phase::Canary { .. }
        | Phase::Promoting(_)
        | Phase::Promoted(_) => Ok(vec![Event::PauseAsked { reason }]),
        Phase::Paused { .. } | Phase::AwaitingApproval { .. } => {
            Err(wrong(verb, state, "it stands still already"))
        }
        _ => Err(wrong(verb, state, "it is ending; nothing is left to pause")),
    }
}

fn promote(
    plan: &Plan,
    state: &State,
    verb: &Verb,
    full: bool,
    now: Timestamp,
) -> Result<Vec<Event>, Refusal> {
    let last = plan.stages.len().saturating_sub(1);
    match &state.phase {
        Phase::AwaitingApproval { stage, why, .. } if !full => Ok(approve(plan, state, *stage, why, now)),
        Phase::AwaitingApproval { stage, .. }
        | Phase::Canary { stage, .. }
        | Phase::CanaryWaiting { stage, .. }
        | Phase::CanaryEvaluating { stage, .. }
        | Phase::Paused { resume: Resume::Waiting { stage, .. } | Resume::Evaluating { stage }, .. }
            if full && *stage < last =>
        {
            Ok(vec![Event::Hurried { stage: last }])
        }
        Phase::CanaryWaiting { stage, .. }
        | Phase::CanaryEvaluating { stage, .. }
        | Phase::Paused { resume: Resume::Waiting { stage, .. } | Resume::Evaluating { stage }, .. } => {
            Ok(pass(plan, state, Vec::new(), *stage, true, now))
        }
        Phase::AwaitingApproval { stage, why, .. } => Ok(approve(plan, state, *stage, why, now)),
        Phase::Canary { .. } => {
            Err(wrong(verb, state, "the share is just being shifted; ask again in a moment"))
        }
        Phase::Promoting(_) | Phase::Promoted(_) | Phase::Verifying { .. } | Phase::Retiring(_) => {
            Err(wrong(verb, state, "it is promoted already"))
        }
        Phase::Paused { .. } => Err(wrong(verb, state, "use `tidegate resume`")),
        _ => Err(wrong(verb, state, "no share of traffic is in force yet, or it is on its way back")),
    }
}

fn approve(plan: &Plan, state: &State, stage: usize, why: &ApprovalReason, now: Timestamp) -> Vec<Event> {
    match why {
        ApprovalReason::Planned => vec![Event::Approved { stage }],
        ApprovalReason::GateFailed { .. }
        | ApprovalReason::Undecided { .. }
        | ApprovalReason::Review { .. } => pass(plan, state, Vec::new(), stage, true, now),
    }
}

/// Abort or supersede: cancelled where nothing was touched, turned back where something was.
fn call_off(
    plan: &Plan,
    state: &State,
    verb: &Verb,
    reason: String,
    cause: Cause,
) -> Result<Vec<Event>, Refusal> {
    match &state.phase {
        Phase::Queued
        | Phase::Paused { resume: Resume::Queued, .. }
        | Phase::Checking(_)
        | Phase::Init(_)
        | Phase::Building(_) => Ok(vec![Event::Cancelled { reason }]),
        // A promoted release that nothing speaks against makes room by ending its watch, not by turning back.
        Phase::Verifying { .. } | Phase::Paused { resume: Resume::Watching { .. }, .. }
            if matches!(verb, Verb::Supersede { .. }) =>
        {
            Ok(end_of_watch(plan, Vec::new(), None))
        }
        Phase::RollingBack { .. } => Err(wrong(verb, state, "it is on its way back already")),
        Phase::Retiring(_) => Err(wrong(verb, state, "the watch has passed; use `tidegate rollback`")),
        _ => Ok(vec![Event::RollbackBegan { cause }]),
    }
}
