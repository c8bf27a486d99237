//! The fold: what an event means for the state. Total: there is no event that it refuses.

use alloc::{boxed::Box, vec::Vec};

use super::{
    event::{ApprovalReason, Event, Recorded},
    review::remember,
    state::{Phase, Resume, State, Step, Try},
};
use crate::{
    gate::{Arm, Judgement, OnFailure, Reading, Verdict},
    model::{Share, Timestamp},
    plan::Plan,
};

/// The plan and the state that a history folds to; `None` when it does not begin with a plan.
pub fn fold<'a>(history: impl IntoIterator<Item = &'a Recorded>) -> Option<(Box<Plan>, State)> {
    let mut history = history.into_iter();
    let first = history.next()?;
    let Event::Planned { plan, .. } = &first.event else { return None };
    let start = (plan.clone(), State::planned(first.at));
    Some(history.fold(start, |(plan, state), recorded| {
        let state = evolve(&plan, state, recorded);
        if let Event::Replanned { plan } = &recorded.event { (plan.clone(), state) } else { (plan, state) }
    }))
}

impl State {
    /// The state right after the plan was accepted.
    pub const fn planned(at: Timestamp) -> Self {
        Self {
            phase: Phase::Queued,
            since: at,
            seq: 1,
            share: Share::NONE,
            exposed: None,
            instances: 0,
            initial: None,
            opening: None,
            kept: None,
            reopened: 0,
            pause_asked: false,
            hurried: false,
            alerted: Vec::new(),
            seen: Vec::new(),
            told: None,
            cause: None,
            failed_in: None,
        }
    }
}

/// The state after one more event.
#[must_use]
pub fn evolve(plan: &Plan, state: State, recorded: &Recorded) -> State {
    let was = state.phase.name();
    let mut next = State { seq: recorded.seq, ..state };
    let fresh = Try { intent: recorded.seq, attempt: 0, not_before: recorded.at };
    apply(plan, &mut next, &recorded.event, recorded.at, fresh);
    if next.phase.name() != was {
        next.since = recorded.at;
        next.told = None;
    }
    next
}

fn apply(plan: &Plan, state: &mut State, event: &Event, at: Timestamp, fresh: Try) {
    match event {
        // Facts of their own; the event after them says what follows.
        Event::Planned { .. }
        | Event::Replanned { .. }
        | Event::Retired { .. }
        | Event::RetireGivenUp { .. } => {}
        Event::Judged { stage, judgements } => judged(plan, state, *stage, judgements, at),
        Event::Admitted => state.phase = Phase::Checking(fresh),
        Event::Checked => state.phase = Phase::Init(fresh),
        Event::Initialised { reading } => {
            state.initial = Some(reading.clone());
            state.phase = Phase::Building(fresh);
        }
        Event::Built => state.phase = Phase::Deploying(fresh),
        Event::Deployed { instances } => {
            state.instances = *instances;
            enter(plan, state, 0, fresh);
        }
        Event::Scaled { stage, instances } => {
            state.instances = *instances;
            state.phase = Phase::Canary { stage: *stage, step: Step::Traffic, tries: fresh };
        }
        Event::Exposed { stage, reading } => exposed(plan, state, *stage, reading, at),
        Event::Baked { stage } => state.phase = Phase::CanaryEvaluating { stage: *stage, held_until: None },
        Event::Held { stage, until } => {
            state.phase = Phase::CanaryEvaluating { stage: *stage, held_until: Some(*until) };
        }
        Event::StagePassed { stage, .. } => passed(plan, state, *stage, fresh),
        Event::Hurried { stage } => {
            state.hurried = true;
            state.phase = Phase::Canary { stage: *stage, step: Step::Instances, tries: fresh };
        }
        Event::ApprovalAsked { stage, why, until } => {
            state.phase = Phase::AwaitingApproval { stage: *stage, why: why.clone(), until: *until };
        }
        Event::Approved { stage } => enter(plan, state, *stage, fresh),
        Event::Promoted => state.phase = Phase::Promoted(fresh),
        Event::WatchOpened { reading, until } => watch_opened(plan, state, reading, *until, at),
        Event::WatchPassed { .. } => state.phase = Phase::Retiring(fresh),
        Event::Verified => state.phase = Phase::Verified,
        Event::Tried { attempt, retry_at, .. } => retry(&mut state.phase, attempt + 1, *retry_at),
        Event::Reopened { stage, .. } => {
            state.reopened += 1;
            state.pause_asked |= matches!(state.phase, Phase::Paused { .. });
            state.phase = Phase::Canary { stage: *stage, step: Step::Traffic, tries: fresh };
        }
        Event::PauseAsked { .. } => state.pause_asked = true,
        Event::Paused { until, .. } => pause(state, at, *until),
        Event::Resumed => resume(state, at),
        Event::RollbackBegan { cause } => {
            state.failed_in = state.stage();
            state.cause = Some(cause.clone());
            state.phase = Phase::RollingBack { step: Step::Traffic, tries: fresh };
        }
        Event::Restored => {
            state.share = Share::NONE;
            state.phase = Phase::RollingBack { step: Step::Instances, tries: fresh };
        }
        Event::RolledBack => state.phase = Phase::RolledBack,
        Event::Stuck { .. } => state.phase = Phase::Stuck,
        Event::Unstuck => state.phase = Phase::RollingBack { step: Step::Traffic, tries: fresh },
        Event::Failed { .. } | Event::Abandoned { .. } => state.phase = Phase::Failed,
        Event::Cancelled { .. } => state.phase = Phase::Cancelled,
    }
}

/// What the gates said is kept for the final score, and for what is news at the end of a bake.
fn judged(plan: &Plan, state: &mut State, stage: Option<usize>, judgements: &[Judgement], at: Timestamp) {
    if matches!(state.phase, Phase::CanaryEvaluating { .. }) {
        state.told = Some((at, judgements.iter().map(|one| one.reason.clone()).collect()));
    }
    remember_alerts(plan, state, stage, judgements);
    if let Some(stage) = stage {
        remember(plan, &mut state.seen, stage, judgements);
    }
}

/// What failed and only alerts was said with this.
fn remember_alerts(plan: &Plan, state: &mut State, stage: Option<usize>, judgements: &[Judgement]) {
    let gates = stage.and_then(|stage| plan.stage(stage)).map_or(&plan.watch_gates, |stage| &stage.gates);
    for judgement in judgements.iter().filter(|judgement| judgement.verdict == Verdict::Fail) {
        let alerts =
            gates.iter().any(|gate| gate.name == judgement.gate && gate.on_failure == OnFailure::Alert);
        if alerts && !state.alerted.contains(&judgement.gate) {
            state.alerted.push(judgement.gate.clone());
        }
    }
}

/// On to the next stage, or to promotion after the last.
fn passed(plan: &Plan, state: &mut State, stage: usize, tries: Try) {
    if stage + 1 < plan.stages.len() {
        enter(plan, state, stage + 1, tries);
    } else {
        state.phase = Phase::Promoting(tries);
    }
}

/// The watch begins, or goes on with a new window when the counters restarted; a pause stays one.
fn watch_opened(plan: &Plan, state: &mut State, reading: &Reading, until: Timestamp, at: Timestamp) {
    state.opening = Some(reading.clone());
    if !matches!(state.phase, Phase::Paused { .. }) {
        settle(plan, state, Phase::Verifying { until }, at);
    }
}

/// Begins a stage: instances first when it needs more of them, or when it is the first of a wave, whose cells have none.
fn enter(plan: &Plan, state: &mut State, stage: usize, tries: Try) {
    let wave = state.exposed.and_then(|stage| plan.stage(stage)).map_or(0, |stage| stage.wave);
    let more = plan.stage(stage).is_some_and(|stage| stage.instances > state.instances || stage.wave != wave);
    let step = if more { Step::Instances } else { Step::Traffic };
    state.phase = Phase::Canary { stage, step, tries };
}

/// The share is in force: keep what the stable release did before, open the window, begin the bake.
fn exposed(plan: &Plan, state: &mut State, number: usize, reading: &Reading, at: Timestamp) {
    let before = state.opening.as_ref().or(state.initial.as_ref());
    if let Some(arm) = before.and_then(|from| stable_arm(from, reading, state.share))
        && state.kept.as_ref().is_none_or(|kept| kept.requests <= arm.requests)
    {
        state.kept = Some(arm);
    }
    state.opening = Some(reading.clone());
    let (share, bake) =
        plan.stage(number).map_or((Share::NONE, crate::model::Millis::ZERO), |s| (s.share, s.bake));
    (state.share, state.exposed) = (share, Some(number));
    settle(plan, state, Phase::CanaryWaiting { stage: number, until: at.after(bake) }, at);
}

/// What the stable release did between two readings while the new one had `share`.
fn stable_arm(from: &Reading, to: &Reading, share: Share) -> Option<Arm> {
    let (before, after) = (from.stable.as_ref()?, to.stable.as_ref()?);
    if from.boot != to.boot || share.is_all() {
        return None;
    }
    Arm::between(before, after, to.at.since(from.at), share.rest()).ok()
}

/// Enters a phase that may be paused; does so at once when a pause was asked for.
fn settle(plan: &Plan, state: &mut State, phase: Phase, at: Timestamp) {
    state.phase = phase;
    if state.pause_asked {
        state.pause_asked = false;
        pause(state, at, at.after(plan.limits.pause_max));
    }
}

fn pause(state: &mut State, at: Timestamp, until: Timestamp) {
    let resume = match &state.phase {
        Phase::Queued => Resume::Queued,
        Phase::CanaryWaiting { stage, until } => Resume::Waiting { stage: *stage, left: until.since(at) },
        Phase::CanaryEvaluating { stage, .. } => Resume::Evaluating { stage: *stage },
        Phase::Verifying { until } => Resume::Watching { left: until.since(at) },
        Phase::Checking(_)
        | Phase::Init(_)
        | Phase::Building(_)
        | Phase::Deploying(_)
        | Phase::AwaitingApproval { .. }
        | Phase::Canary { .. }
        | Phase::Promoting(_)
        | Phase::Promoted(_)
        | Phase::Retiring(_)
        | Phase::Paused { .. }
        | Phase::RollingBack { .. }
        | Phase::Verified
        | Phase::RolledBack
        | Phase::Stuck
        | Phase::Failed
        | Phase::Cancelled => return,
    };
    state.phase = Phase::Paused { resume, until };
}

fn resume(state: &mut State, at: Timestamp) {
    state.pause_asked = false;
    if let Phase::Paused { resume, .. } = state.phase {
        state.phase = match resume {
            Resume::Queued => Phase::Queued,
            Resume::Waiting { stage, left } => Phase::CanaryWaiting { stage, until: at.after(left) },
            Resume::Evaluating { stage } => Phase::CanaryEvaluating { stage, held_until: None },
            Resume::Watching { left } => Phase::Verifying { until: at.after(left) },
        };
    }
}

/// The next try of the effect on its way; the intention stays.
fn retry(phase: &mut Phase, attempt: u32, not_before: Timestamp) {
    match phase {
        Phase::Checking(tries)
        | Phase::Init(tries)
        | Phase::Building(tries)
        | Phase::Deploying(tries)
        | Phase::Canary { tries, .. }
        | Phase::Promoting(tries)
        | Phase::Promoted(tries)
        | Phase::Retiring(tries)
        | Phase::RollingBack { tries, .. } => *tries = Try { intent: tries.intent, attempt, not_before },
        Phase::Queued
        | Phase::AwaitingApproval { .. }
        | Phase::CanaryWaiting { .. }
        | Phase::CanaryEvaluating { .. }
        | Phase::Verifying { .. }
        | Phase::Paused { .. }
        | Phase::Verified
        | Phase::RolledBack
        | Phase::Stuck
        | Phase::Failed
        | Phase::Cancelled => {}
    }
}

impl ApprovalReason {
    /// The stage whose share is in force while `stage` waits for this approval; `None` when nothing is exposed.
    pub const fn stage_in_force(&self, stage: usize) -> Option<usize> {
        match self {
            Self::Planned => stage.checked_sub(1),
            Self::GateFailed { .. } | Self::Undecided { .. } | Self::Review { .. } => Some(stage),
        }
    }
}
