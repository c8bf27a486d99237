//! What happened, in order.

use alloc::{string::String, vec::Vec};

use serde::Serialize;

use super::{
    date,
    scene::{Scene, scenes},
    sentence::sentence,
};
use crate::{
    deployment::{Event, Recorded, StateName},
    gate::Judgement,
    model::{Actor, Timestamp},
};

/// One event of a deployment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Place in the history, from 1.
    pub seq: u64,
    /// When.
    #[serde(serialize_with = "date::moment")]
    pub at: Timestamp,
    /// The event's name in the journal.
    pub kind: &'static str,
    /// The state before; `None` for the first event.
    pub before: Option<StateName>,
    /// The state after.
    pub after: StateName,
    /// What happened, for a person, without a full stop.
    pub sentence: String,
    /// Who asked.
    pub actor: Actor,
    /// What the gates said, for events that asked them.
    pub judgements: Vec<Judgement>,
}

/// One line per event, oldest first.
pub fn timeline(history: &[Recorded]) -> Vec<Line> {
    scenes(history).iter().map(line).collect()
}

fn line(scene: &Scene<'_>) -> Line {
    let recorded = scene.recorded;
    let judgements =
        if let Event::Judged { judgements, .. } = &recorded.event { judgements.clone() } else { Vec::new() };
    Line {
        seq: recorded.seq,
        at: recorded.at,
        kind: recorded.event.name(),
        before: scene.before.as_ref().map(crate::deployment::State::name),
        after: scene.after.name(),
        sentence: sentence(scene),
        actor: recorded.actor.clone(),
        judgements,
    }
}

/// One change of state, in the shape of the state machine log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Transition {
    /// The state before.
    pub from_state: StateName,
    /// The state after; never the same.
    pub to_state: StateName,
    /// When.
    #[serde(rename = "timestamp", serialize_with = "date::moment")]
    pub at: Timestamp,
    /// Why, for a person.
    pub reason: String,
    /// Who asked.
    pub actor: Actor,
}

/// Every change of state, oldest first.
pub fn transitions(history: &[Recorded]) -> Vec<Transition> {
    scenes(history)
        .iter()
        .filter_map(|scene| {
            let (from_state, to_state) = (scene.before.as_ref()?.name(), scene.after.name());
            (from_state != to_state).then(|| Transition {
                from_state,
                to_state,
                at: scene.recorded.at,
                reason: sentence(scene),
                actor: scene.recorded.actor.clone(),
            })
        })
        .collect()
}

/// The state machine log: what `deployment_{id}.json` holds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StateLog {
    /// The deployment.
    pub deployment_id: String,
    /// Where it is.
    pub current_state: StateName,
    /// How it came there.
    pub transitions: Vec<Transition>,
}

/// The state machine log; `None` when the history does not begin with a plan.
pub fn state_log(history: &[Recorded]) -> Option<StateLog> {
    let scenes = scenes(history);
    let last = scenes.last()?;
    Some(StateLog {
        deployment_id: last.plan.deployment.clone(),
        current_state: last.after.name(),
        transitions: transitions(history),
    })
}

/// One event, for an auditor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct AuditRow {
    /// Place in the history, from 1.
    pub seq: u64,
    /// When.
    #[serde(serialize_with = "date::moment")]
    pub at: Timestamp,
    /// Who asked.
    pub actor: Actor,
    /// The event's name in the journal.
    pub kind: &'static str,
    /// What happened, for a person, without a full stop.
    pub summary: String,
}

/// Who did what when, oldest first.
pub fn audit(history: &[Recorded]) -> Vec<AuditRow> {
    timeline(history)
        .into_iter()
        .map(|line| AuditRow {
            seq: line.seq,
            at: line.at,
            actor: line.actor,
            kind: line.kind,
            summary: line.sentence,
        })
        .collect()
}
