//! Events as the journal keeps them: JSON with a version in front.

use serde::{Deserialize, Serialize};
use tidegate_core::{
    deployment::{Event, Recorded, State, StateName},
    model::{Actor, Timestamp},
    plan::Plan,
};

use crate::journal::{self, NewEvent, Row, Standing};

/// Version of the stored event's format. A higher one than this in a journal freezes its deployment, nothing else.
pub const EVENT_VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Stored {
    v: u32,
    actor: Actor,
    event: Event,
}

/// Why a stored event cannot be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// It is not JSON of an event.
    #[error(
        "event {seq} of {deployment} cannot be read ({why}); the journal was written by another program or is damaged"
    )]
    Malformed {
        /// The deployment.
        deployment: String,
        /// Its place.
        seq: u64,
        /// What is wrong.
        why: String,
    },
    /// It was written by a newer version.
    #[error(
        "event {seq} of {deployment} has format {found}, this version knows up to {EVENT_VERSION}: use the newer version"
    )]
    Newer {
        /// The deployment.
        deployment: String,
        /// Its place.
        seq: u64,
        /// Its format.
        found: u32,
    },
    /// The history does not begin with a plan.
    #[error("the history of {deployment} does not begin with a plan")]
    NoPlan {
        /// The deployment.
        deployment: String,
    },
}

/// The event as the journal keeps it.
///
/// Fails only when the event cannot be written as JSON, which no event of the core does.
pub fn encode(recorded: &Recorded) -> Result<NewEvent, serde_json::Error> {
    let stored = Stored { v: EVENT_VERSION, actor: recorded.actor.clone(), event: recorded.event.clone() };
    Ok(NewEvent {
        at_unix_ms: recorded.at.0,
        kind: recorded.event.name().to_owned(),
        payload: serde_json::to_string(&stored)?,
    })
}

/// The event that the journal kept.
pub fn decode(kept: &journal::Recorded) -> Result<Recorded, DecodeError> {
    #[derive(Deserialize)]
    struct Version {
        v: u32,
    }
    let malformed = |why: serde_json::Error| DecodeError::Malformed {
        deployment: kept.deployment.clone(),
        seq: kept.seq,
        why: why.to_string(),
    };
    let Version { v } = serde_json::from_str(&kept.payload).map_err(malformed)?;
    if v > EVENT_VERSION {
        return Err(DecodeError::Newer { deployment: kept.deployment.clone(), seq: kept.seq, found: v });
    }
    let Stored { actor, event, .. } = serde_json::from_str(&kept.payload).map_err(malformed)?;
    Ok(Recorded { seq: kept.seq, at: Timestamp(kept.at_unix_ms), actor, event })
}

/// The journal's row for a deployment in this state.
pub fn row(plan: &Plan, state: &State, now: Timestamp) -> Row {
    Row {
        service: plan.service.clone(),
        environment: plan.environment.clone(),
        state: state.name().to_string(),
        standing: standing(state),
        release: plan.release.tag.clone(),
        turn: plan.turn,
        updated_unix_ms: now.0,
    }
}

fn standing(state: &State) -> Standing {
    use tidegate_core::deployment::{Phase, Resume};
    let waits = matches!(state.phase, Phase::Queued | Phase::Paused { resume: Resume::Queued, .. });
    // A stuck deployment keeps its place: nothing else may touch the service until a person has looked.
    let holds = state.phase == Phase::Stuck || !state.is_terminal();
    match (waits, holds) {
        (true, _) => Standing::Queued,
        (false, true) => Standing::Running,
        (false, false) => Standing::Ended,
    }
}

/// The state name in a journal's row, when it is one.
pub fn state_name(row: &Row) -> Option<StateName> {
    StateName::ALL.into_iter().find(|name| name.as_str() == row.state)
}
