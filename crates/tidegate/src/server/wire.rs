//! What the command line and the server say to each other.

use serde::{Deserialize, Serialize};
use tidegate_core::{deployment::Verb, gate::Judgement, model::Actor, plan::Request};
use tidegate_engine::QueuePolicy;

/// Asks for a deployment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Submit {
    /// What is wanted; id, turn and stable release are the engine's to fill in.
    pub(crate) request: Request,
    /// What to do about a running deployment of the service.
    pub(crate) queue: QueuePolicy,
    /// Idempotency key: the same key with the same request answers with the same deployment.
    pub(crate) key: Option<String>,
    /// Who asks.
    pub(crate) actor: Actor,
    /// Why.
    pub(crate) reason: String,
}

/// The deployment that was made.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Submitted {
    /// Its id.
    pub(crate) deployment: String,
}

/// Asks something of a deployment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Tell {
    /// What.
    pub(crate) action: Action,
    /// Who asks.
    pub(crate) actor: Actor,
    /// Why.
    pub(crate) reason: String,
}

/// What a person says that a deployment turned out to be.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Labelled {
    /// Whether it was good.
    pub(crate) good: bool,
    /// Who says so.
    pub(crate) actor: Actor,
    /// Why.
    pub(crate) reason: String,
}

/// What may be asked of a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Action {
    Pause,
    Resume,
    Promote,
    PromoteFull,
    Abort,
    Approve,
    Retry,
}

impl Action {
    /// As the engine hears it.
    pub(crate) fn verb(self, reason: String) -> Verb {
        match self {
            Self::Pause => Verb::Pause { reason },
            Self::Resume => Verb::Resume,
            Self::Promote => Verb::Promote { full: false },
            Self::PromoteFull => Verb::Promote { full: true },
            Self::Abort => Verb::Abort { reason },
            Self::Approve => Verb::Approve,
            Self::Retry => Verb::Retry,
        }
    }
}

/// What came of it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    /// Names of the events that it made.
    pub(crate) events: Vec<String>,
}

/// What the engine knows of a running deployment beyond its journal.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Glimpse {
    /// What the gates would say now.
    pub(crate) judgements: Vec<Judgement>,
    /// Something that is tried again.
    pub(crate) trouble: Option<String>,
}

/// What the server is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ServerStatus {
    pub(crate) version: String,
    pub(crate) pid: u32,
    pub(crate) epoch: u64,
    pub(crate) uptime_ms: u64,
    pub(crate) active: Vec<String>,
    /// Its name on objects that it looks after elsewhere; an older server does not say it.
    #[serde(default)]
    pub(crate) owner: String,
}
