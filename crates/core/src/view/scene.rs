//! A history walked event by event, with the state before and after each.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::unanswered::unanswered;
use crate::{
    deployment::{Event, Phase, Recorded, State, StateName, evolve},
    gate::{Judgement, Verdict},
    model::{Share, Timestamp},
    plan::{Incident, Plan, Stage},
};

/// One event with what was true around it.
pub(super) struct Scene<'a> {
    /// The plan in force after the event.
    pub(super) plan: &'a Plan,
    /// The state before; `None` for the first event.
    pub(super) before: Option<State>,
    /// The state after.
    pub(super) after: State,
    /// The event.
    pub(super) recorded: &'a Recorded,
    /// What the gates said last of the stage, or of the watch, that it is in.
    pub(super) judged: &'a [Judgement],
}

/// The whole history, event by event; empty when it does not begin with a plan.
#[expect(clippy::wildcard_enum_match_arm, reason = "the other events change nothing of what the gates said")]
pub(super) fn scenes(history: &[Recorded]) -> Vec<Scene<'_>> {
    let Some((first, rest)) = history.split_first() else { return Vec::new() };
    let Event::Planned { plan, .. } = &first.event else { return Vec::new() };
    let mut plan: &Plan = plan;
    let mut state = State::planned(first.at);
    let mut all = Vec::with_capacity(history.len());
    all.push(Scene { plan, before: None, after: state.clone(), recorded: first, judged: &[] });
    let mut judged: &[Judgement] = &[];
    for recorded in rest {
        let before = state.clone();
        state = evolve(plan, state, recorded);
        if let Event::Replanned { plan: newer } = &recorded.event {
            plan = newer;
        }
        judged = match &recorded.event {
            Event::Judged { judgements, .. } => judgements,
            Event::Exposed { .. } | Event::WatchOpened { .. } => &[],
            _ => judged,
        };
        all.push(Scene { plan, before: Some(before), after: state.clone(), recorded, judged });
    }
    all
}

/// What a whole history comes to: the last state, and the moments that explain it.
pub(super) struct Story<'a> {
    /// The plan in force.
    pub(super) plan: &'a Plan,
    /// The last state.
    pub(super) state: State,
    /// The first event.
    pub(super) first: &'a Recorded,
    /// The last event.
    pub(super) last: &'a Recorded,
    /// Why the deployment was asked for.
    pub(super) reason: &'a str,
    /// The incident that the release is to fix.
    pub(super) incident: Option<&'a Incident>,
    /// The last try that failed, while the effect it belongs to is still on its way.
    pub(super) tried: Option<&'a Recorded>,
    /// The pause in force, or the one asked for.
    pub(super) paused: Option<&'a Recorded>,
    /// The last look at the gates.
    pub(super) judged: Option<&'a Recorded>,
    /// What let the last stage pass, or the watch, that a gate had no answer in.
    pub(super) unanswered: Option<String>,
    /// The first failure that turned nothing back because the gates only observe.
    pub(super) observed: Option<&'a Judgement>,
    /// Where and when it turned back.
    pub(super) turned: Option<Turned<'a>>,
    /// The event that stopped it: failed, cancelled, stuck or given up.
    pub(super) stopped: Option<&'a Recorded>,
    /// The stage it is in, or was in last.
    pub(super) stage: Option<usize>,
    /// The largest share that was ever surely in force.
    pub(super) largest: Share,
}

/// The beginning of a way back.
pub(super) struct Turned<'a> {
    /// The event.
    pub(super) recorded: &'a Recorded,
    /// The share in force just before.
    pub(super) share: Share,
    /// Where it was: a stage, the promotion, the watch; `None` before the first stage.
    pub(super) place: Option<String>,
}

impl<'a> Story<'a> {
    /// The story of a history; `None` when it does not begin with a plan.
    pub(super) fn of(history: &'a [Recorded]) -> Option<Self> {
        let mut scenes = scenes(history).into_iter();
        let first = scenes.next()?;
        let Event::Planned { reason, request, .. } = &first.recorded.event else { return None };
        let mut story = Self {
            plan: first.plan,
            state: first.after,
            first: first.recorded,
            last: first.recorded,
            reason,
            incident: request.incident.as_ref(),
            tried: None,
            paused: None,
            judged: None,
            unanswered: None,
            observed: None,
            turned: None,
            stopped: None,
            stage: None,
            largest: Share::NONE,
        };
        for scene in scenes {
            story.go_on(scene);
        }
        Some(story)
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the other events leave no mark of their own")]
    fn go_on(&mut self, scene: Scene<'a>) {
        let recorded = scene.recorded;
        let intent = |state: &State| state.phase.tries().map(|tries| tries.intent);
        if scene.before.as_ref().and_then(intent) != intent(&scene.after) {
            self.tried = None;
        }
        match &recorded.event {
            Event::Tried { .. } => self.tried = Some(recorded),
            Event::PauseAsked { .. } | Event::Paused { .. } => self.paused = Some(recorded),
            Event::Resumed => self.paused = None,
            Event::Judged { judgements, .. } => {
                self.judged = Some(recorded);
                let failed = || judgements.iter().find(|one| one.verdict == Verdict::Fail);
                self.observed = self.observed.or_else(|| failed().filter(|_| scene.plan.judge.observe));
            }
            Event::StagePassed { stage, by_hand: false } => {
                let open = unanswered(scene.plan, Some(*stage), scene.judged);
                let stage = placed(scene.plan, *stage);
                let said = open.map(|open| format!("{stage} passed although {open}"));
                self.unanswered = said.or_else(|| self.unanswered.take());
            }
            Event::WatchPassed { .. } => {
                let open = unanswered(scene.plan, None, scene.judged);
                let said = open.map(|open| format!("The watch passed although {open}"));
                self.unanswered = said.or_else(|| self.unanswered.take());
            }
            Event::RollbackBegan { .. } => {
                self.turned = scene.before.as_ref().map(|before| Turned {
                    recorded,
                    share: before.share,
                    place: place_of(scene.plan, before),
                });
            }
            Event::Stuck { .. }
            | Event::Abandoned { .. }
            | Event::Failed { .. }
            | Event::Cancelled { .. } => self.stopped = Some(recorded),
            _ => {}
        }
        self.stage = scene.after.stage().or(self.stage);
        self.largest = self.largest.max(scene.after.share);
        self.last = recorded;
        self.plan = scene.plan;
        self.state = scene.after;
    }

    /// When it ended; a stuck deployment has not, because a person must still do something about it.
    pub(super) fn ended_at(&self) -> Option<Timestamp> {
        let over = self.state.is_terminal() && self.state.phase != Phase::Stuck;
        over.then_some(self.state.since)
    }

    /// Why it did not end well, without the place and the time.
    pub(super) fn cause(&self) -> Option<String> {
        let turned = self.state.cause.as_ref().map(ToString::to_string);
        match self.stopped.map(|recorded| &recorded.event) {
            Some(Event::Failed { what, reason }) => Some(format!("{what} failed: {reason}")),
            Some(Event::Cancelled { reason }) => Some(reason.clone()),
            Some(Event::Stuck { reason }) if self.state.is_terminal() => {
                let began = turned.unwrap_or_default();
                Some(format!("{began}; then the way back failed: {reason}"))
            }
            Some(Event::Abandoned { reason }) => {
                let began = turned.unwrap_or_default();
                Some(format!("{began}; the way back was stuck and given up: {reason}"))
            }
            _ => turned,
        }
    }
}

/// Where a deployment turned back from.
fn place_of(plan: &Plan, state: &State) -> Option<String> {
    match (state.name(), state.stage()) {
        (_, Some(stage)) => Some(placed(plan, stage)),
        (StateName::Promoting | StateName::Promoted, None) => Some("the promotion".to_string()),
        (StateName::Verifying | StateName::Paused, None) => Some("the watch after promotion".to_string()),
        (_, None) => None,
    }
}

/// `canary 5 % (stage 1 of 4)`, `batch 1 of 2`.
pub(super) fn placed(plan: &Plan, stage: usize) -> String {
    let (name, place) = (named(plan, stage), format!("{} of {}", stage + 1, plan.stages.len()));
    if name.ends_with(&place) { name.to_string() } else { format!("{name} (stage {place})") }
}

/// The stage's name.
pub(super) fn named(plan: &Plan, stage: usize) -> &str {
    plan.stage(stage).map_or("a stage that the plan does not have", |stage: &Stage| stage.name.as_str())
}

/// `1 instance`, `3 instances`.
pub(super) fn instances(count: u32) -> String {
    if count == 1 { "1 instance".into() } else { format!("{count} instances") }
}
