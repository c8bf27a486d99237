//! A deployment in one row.

use alloc::{
    format,
    string::{String, ToString},
};

use serde::Serialize;

use super::{
    date,
    scene::{Story, instances, placed},
    users::{Users, users},
};
use crate::{
    deployment::{ApprovalReason, Phase, Recorded, Resume, State, StateName, Step, owed},
    model::{Actor, Criticality, Millis, Share, Strategy, Timestamp},
    plan::Plan,
};

/// Where a deployment is and how it came there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// Its id.
    pub deployment: String,
    /// The service.
    pub service: String,
    /// The environment.
    pub environment: String,
    /// How much harm a failure does.
    pub criticality: Criticality,
    /// Tag of the release that is rolled out.
    pub release: String,
    /// The commit it was made from.
    pub commit: Option<String>,
    /// What it is made of, for a person.
    pub artifact: String,
    /// Tag of the release that traffic returns to.
    pub stable: Option<String>,
    /// The strategy.
    pub strategy: Strategy,
    /// Whether it is a way back to an older release.
    pub way_back: bool,
    /// Where it is.
    pub state: StateName,
    /// Whether nothing more happens by itself.
    pub over: bool,
    /// The stage it is in, or was in when it turned back.
    pub stage: Option<Place>,
    /// The new release's share of users' traffic that was last surely in force, basis points. Of a stuck deployment
    /// only the target knows the present one.
    #[serde(rename = "share_basis_points")]
    pub share: Share,
    /// The largest share it ever had, basis points.
    #[serde(rename = "largest_share_basis_points")]
    pub largest_share: Share,
    /// Instances of the new release that were last surely ready.
    pub instances: u32,
    /// What users met on the new release.
    pub users: Users,
    /// Who asked for it.
    pub asked_by: Actor,
    /// Why.
    pub reason: String,
    /// When it was asked for.
    #[serde(serialize_with = "date::moment")]
    pub started_at: Timestamp,
    /// When the present state began.
    #[serde(serialize_with = "date::moment")]
    pub since: Timestamp,
    /// When the last event happened.
    #[serde(serialize_with = "date::moment")]
    pub updated_at: Timestamp,
    /// When it ended; a stuck deployment has not.
    #[serde(serialize_with = "date::perhaps")]
    pub ended_at: Option<Timestamp>,
    /// From being asked for to its end, or to now.
    #[serde(rename = "duration_ms")]
    pub duration: Millis,
    /// What it waits for; `None` when nothing more happens by itself.
    pub waits: Option<Waits>,
    /// Why it did not end well, or does not go on to a good end.
    pub cause: Option<String>,
}

/// A stage's place in the plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// From 1.
    pub number: usize,
    /// Stages in the plan.
    pub of: usize,
    /// Its name.
    pub name: String,
    /// The share it brings, basis points.
    #[serde(rename = "share_basis_points")]
    pub share: Share,
}

/// What a deployment waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Waits {
    /// For what, as the object of "waits for".
    pub what: String,
    /// Until then at most; `None` in the queue, where only the others' ends bound it.
    #[serde(serialize_with = "date::perhaps")]
    pub until: Option<Timestamp>,
}

/// A deployment in one row; `None` when the history does not begin with a plan.
pub fn summary(history: &[Recorded], now: Timestamp) -> Option<Summary> {
    let story = Story::of(history)?;
    let (plan, state) = (story.plan, &story.state);
    let ended_at = story.ended_at();
    Some(Summary {
        deployment: plan.deployment.clone(),
        service: plan.service.clone(),
        environment: plan.environment.clone(),
        criticality: plan.criticality,
        release: plan.release.tag.clone(),
        commit: plan.release.commit.clone(),
        artifact: plan.release.artifact.to_string(),
        stable: plan.stable.as_ref().map(|release| release.tag.clone()),
        strategy: plan.strategy,
        way_back: plan.way_back,
        state: state.name(),
        over: state.is_terminal(),
        stage: story.stage.map(|number| place(plan, number)),
        share: state.share,
        largest_share: story.largest,
        instances: state.instances,
        users: users(history, &[]),
        asked_by: story.first.actor.clone(),
        reason: story.reason.to_string(),
        started_at: story.first.at,
        since: state.since,
        updated_at: story.last.at,
        ended_at,
        duration: ended_at.unwrap_or(now).since(story.first.at),
        waits: waits(plan, state),
        cause: story.cause(),
    })
}

fn place(plan: &Plan, number: usize) -> Place {
    Place {
        number: number + 1,
        of: plan.stages.len(),
        name: super::scene::named(plan, number).to_string(),
        share: plan.stage(number).map_or(Share::NONE, |stage| stage.share),
    }
}

/// What the state waits for and until when; `None` when nothing more happens by itself.
pub(super) fn waits(plan: &Plan, state: &State) -> Option<Waits> {
    let (new, old) = (&plan.release.tag, plan.stable.as_ref().map(|release| &release.tag));
    let what = match &state.phase {
        Phase::Queued => format!("its turn: one deployment of {} at a time", plan.service),
        Phase::Checking(_) => "the target to say whether it can do what the plan asks".to_string(),
        Phase::Init(_) => "the counters before anything is touched".to_string(),
        Phase::Building(_) => format!("{new} to lie ready at the target"),
        Phase::Deploying(_) => {
            let count = plan.stage(0).map_or(0, |stage| stage.instances);
            format!("{} of {new} to be ready", instances(count))
        }
        Phase::Canary { stage, step: Step::Instances, .. } => {
            let count = plan.stage(*stage).map_or(0, |stage| stage.instances);
            format!("{} of {new} to be ready for {}", instances(count), placed(plan, *stage))
        }
        Phase::Canary { stage, step: Step::Traffic, .. } => {
            format!("the traffic of {} to be in force", placed(plan, *stage))
        }
        Phase::CanaryWaiting { stage, .. } => format!("the bake of {}", placed(plan, *stage)),
        Phase::CanaryEvaluating { stage, held_until: None } => {
            format!("the last look at the gates of {}", placed(plan, *stage))
        }
        Phase::CanaryEvaluating { stage, held_until: Some(_) } => {
            format!("missing evidence in {}", placed(plan, *stage))
        }
        Phase::AwaitingApproval { stage, why: ApprovalReason::Planned, .. } => {
            format!("a person to approve {}", placed(plan, *stage))
        }
        Phase::AwaitingApproval { stage, why: ApprovalReason::GateFailed { gate, .. }, .. } => {
            format!("a person to decide about gate {gate}, which failed in {}", placed(plan, *stage))
        }
        Phase::AwaitingApproval { stage, why: ApprovalReason::Review { score, .. }, .. } => {
            format!("a person to decide about confidence of {score} in {}", placed(plan, *stage))
        }
        Phase::AwaitingApproval { stage, why: ApprovalReason::Undecided { gate, .. }, .. } => {
            format!("a person to decide about gate {gate}, which could not in {}", placed(plan, *stage))
        }
        Phase::Promoting(_) => format!("{new} to become the stable release"),
        Phase::Promoted(_) => "the counters that open the watch".to_string(),
        Phase::Verifying { .. } => format!("the watch over {new} with all traffic"),
        Phase::Retiring(_) => {
            format!("{} to be stopped", old.map_or("the older release", String::as_str))
        }
        Phase::Paused { resume, .. } => format!("the end of the pause {}", paused_in(plan, resume)),
        Phase::RollingBack { step: Step::Traffic, .. } => match old {
            Some(old) => format!("all traffic to be back on {old}"),
            None => format!("traffic to be taken from {new}"),
        },
        Phase::RollingBack { step: Step::Instances, .. } => format!("{new} to be stopped"),
        Phase::Verified | Phase::RolledBack | Phase::Stuck | Phase::Failed | Phase::Cancelled => return None,
    };
    Some(Waits { what, until: until(plan, state) })
}

/// When the wait is over at the latest.
fn until(plan: &Plan, state: &State) -> Option<Timestamp> {
    match &state.phase {
        Phase::CanaryWaiting { until, .. }
        | Phase::AwaitingApproval { until, .. }
        | Phase::Verifying { until }
        | Phase::Paused { until, .. }
        | Phase::CanaryEvaluating { held_until: Some(until), .. } => Some(*until),
        Phase::CanaryEvaluating { held_until: None, .. } => Some(state.since.after(plan.limits.call_max)),
        Phase::Queued
        | Phase::Verified
        | Phase::RolledBack
        | Phase::Stuck
        | Phase::Failed
        | Phase::Cancelled => None,
        Phase::Checking(_)
        | Phase::Init(_)
        | Phase::Building(_)
        | Phase::Deploying(_)
        | Phase::Canary { .. }
        | Phase::Promoting(_)
        | Phase::Promoted(_)
        | Phase::Retiring(_)
        | Phase::RollingBack { .. } => {
            owed(plan, state).first().map(|item| item.not_before.after(item.within))
        }
    }
}

/// `in the queue`, `in canary 5 % (stage 1 of 4)`, `in the watch`.
pub(super) fn paused_in(plan: &Plan, resume: &Resume) -> String {
    match resume {
        Resume::Queued => "in the queue".to_string(),
        Resume::Waiting { stage, .. } | Resume::Evaluating { stage } => {
            format!("in {}", placed(plan, *stage))
        }
        Resume::Watching { .. } => "in the watch".to_string(),
    }
}
