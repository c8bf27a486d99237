//! Where a deployment is.

use alloc::{string::String, vec::Vec};
use core::fmt;

use serde::{Deserialize, Serialize};

use super::event::{ApprovalReason, Cause};
use crate::{
    gate::{Arm, Judgement, Reading},
    model::{Millis, Share, Timestamp},
};

/// The fold of a deployment's events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Where it is.
    pub phase: Phase,
    /// When it came there.
    pub since: Timestamp,
    /// Events folded so far.
    pub seq: u64,
    /// The last share that was surely in force.
    pub share: Share,
    /// The stage that it belongs to, from 0, once one was exposed.
    pub exposed: Option<usize>,
    /// Instances of the release that were surely ready.
    pub instances: u32,
    /// The counters before anything was touched.
    pub initial: Option<Reading>,
    /// The opening of the window in force.
    pub opening: Option<Reading>,
    /// The stable release's traffic to compare with where it has none in the same window: of the periods seen so far,
    /// the one with the most requests.
    pub kept: Option<Arm>,
    /// Times a stage started again.
    pub reopened: u32,
    /// Whether a pause takes hold as soon as the shift on its way is done.
    pub pause_asked: bool,
    /// Whether a person asked for full promotion.
    pub hurried: bool,
    /// Gates that failed and only alert: each is said once.
    pub alerted: Vec<String>,
    /// The newest look of every gate at an exposed stage, for the final score; empty where no score was planned.
    pub seen: Vec<Judgement>,
    /// At the end of a bake, why each gate answered as it did when that was last written down, and when that was.
    pub told: Option<(Timestamp, Vec<String>)>,
    /// Why it turned back, once it did.
    pub cause: Option<Cause>,
    /// The stage in which it turned back; `None` before and after all stages.
    pub failed_in: Option<usize>,
}

/// Where a deployment is, with what that place needs to remember.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Waits for its slot.
    Queued,
    /// Asks the target whether it can do what the plan says.
    Checking(Try),
    /// Reads the counters before anything is touched.
    Init(Try),
    /// Brings the release to the target.
    Building(Try),
    /// Starts the first instances.
    Deploying(Try),
    /// A person must agree before, or inside, a stage.
    AwaitingApproval {
        /// The stage.
        stage: usize,
        /// Why.
        why: ApprovalReason,
        /// Until then.
        until: Timestamp,
    },
    /// Brings a stage's share into force.
    Canary {
        /// The stage.
        stage: usize,
        /// Scaling or shifting.
        step: Step,
        /// The effect's tries.
        tries: Try,
    },
    /// The share is in force and is watched.
    CanaryWaiting {
        /// The stage.
        stage: usize,
        /// End of the bake.
        until: Timestamp,
    },
    /// The bake is over; the gates are asked for the last time.
    CanaryEvaluating {
        /// The stage.
        stage: usize,
        /// When missing evidence turns it back, once it is waited for.
        held_until: Option<Timestamp>,
    },
    /// Makes the release the stable one.
    Promoting(Try),
    /// It is; the watch is about to open.
    Promoted(Try),
    /// The watch.
    Verifying {
        /// Its end.
        until: Timestamp,
    },
    /// The watch has passed; the old release is stopped.
    Retiring(Try),
    /// Progress stands still by request.
    Paused {
        /// Where it goes on.
        resume: Resume,
        /// Until then; after it the deployment turns back.
        until: Timestamp,
    },
    /// On the way back: traffic first, then the instances.
    RollingBack {
        /// Which of the two.
        step: Step,
        /// The effect's tries.
        tries: Try,
    },
    /// Ended well.
    Verified,
    /// Ended on the stable release.
    RolledBack,
    /// The way back failed: traffic is where the target last had it, and a person is needed.
    Stuck,
    /// Ended before anything was touched, or given up by a person on a stuck way back.
    Failed,
    /// Called off before anything was touched.
    Cancelled,
}

/// The two halves of a change at the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Instances: start more (forward) or stop them (back).
    Instances,
    /// Traffic.
    Traffic,
}

/// The tries of one intention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Try {
    /// Number of the event that made the intention; names it, and orders it at the target.
    pub intent: u64,
    /// The present try, from 0.
    pub attempt: u32,
    /// Not before then.
    pub not_before: Timestamp,
}

/// Where a pause goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resume {
    /// In the queue.
    Queued,
    /// In a bake.
    Waiting {
        /// The stage.
        stage: usize,
        /// What is left of the bake.
        left: Millis,
    },
    /// In the last look of a stage.
    Evaluating {
        /// The stage.
        stage: usize,
    },
    /// In the watch.
    Watching {
        /// What is left of it.
        left: Millis,
    },
}

/// The names that every outside surface uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "each is the phase of the same name")]
pub enum StateName {
    Queued,
    Checking,
    Init,
    Building,
    Deploying,
    AwaitingApproval,
    Canary,
    CanaryWaiting,
    CanaryEvaluating,
    Promoting,
    Promoted,
    Verifying,
    Verified,
    Paused,
    RollingBack,
    RolledBack,
    Stuck,
    Failed,
    Cancelled,
}

impl StateName {
    /// All of them, in the order of a deployment's life.
    pub const ALL: [Self; 19] = [
        Self::Queued,
        Self::Checking,
        Self::Init,
        Self::Building,
        Self::Deploying,
        Self::AwaitingApproval,
        Self::Canary,
        Self::CanaryWaiting,
        Self::CanaryEvaluating,
        Self::Promoting,
        Self::Promoted,
        Self::Verifying,
        Self::Verified,
        Self::Paused,
        Self::RollingBack,
        Self::RolledBack,
        Self::Stuck,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The name as it is written everywhere.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Checking => "checking",
            Self::Init => "init",
            Self::Building => "building",
            Self::Deploying => "deploying",
            Self::AwaitingApproval => "awaiting_approval",
            Self::Canary => "canary",
            Self::CanaryWaiting => "canary_waiting",
            Self::CanaryEvaluating => "canary_evaluating",
            Self::Promoting => "promoting",
            Self::Promoted => "promoted",
            Self::Verifying => "verifying",
            Self::Verified => "verified",
            Self::Paused => "paused",
            Self::RollingBack => "rolling_back",
            Self::RolledBack => "rolled_back",
            Self::Stuck => "stuck",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether nothing more happens by itself.
    pub const fn is_terminal(self) -> bool {
        matches!(self, Self::Verified | Self::RolledBack | Self::Stuck | Self::Failed | Self::Cancelled)
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl State {
    /// The name of where it is.
    pub const fn name(&self) -> StateName {
        self.phase.name()
    }

    /// Whether nothing more happens by itself.
    pub const fn is_terminal(&self) -> bool {
        self.phase.name().is_terminal()
    }

    /// The stage whose share is in force, from 0, when it is in one: the one before while the next waits for an approval, or
    /// for its instances. Before anything is exposed it is the first.
    pub const fn stage_in_force(&self) -> Option<usize> {
        match (&self.phase, self.exposed) {
            (Phase::AwaitingApproval { .. } | Phase::Canary { .. }, Some(exposed)) => Some(exposed),
            _ => self.stage(),
        }
    }

    /// The stage it is in, from 0, when it is in one.
    pub const fn stage(&self) -> Option<usize> {
        match &self.phase {
            Phase::AwaitingApproval { stage, .. }
            | Phase::Canary { stage, .. }
            | Phase::CanaryWaiting { stage, .. }
            | Phase::CanaryEvaluating { stage, .. }
            | Phase::Paused {
                resume: Resume::Waiting { stage, .. } | Resume::Evaluating { stage }, ..
            } => Some(*stage),
            Phase::Queued
            | Phase::Checking(_)
            | Phase::Init(_)
            | Phase::Building(_)
            | Phase::Deploying(_)
            | Phase::Promoting(_)
            | Phase::Promoted(_)
            | Phase::Verifying { .. }
            | Phase::Retiring(_)
            | Phase::Paused { resume: Resume::Queued | Resume::Watching { .. }, .. }
            | Phase::RollingBack { .. }
            | Phase::Verified
            | Phase::RolledBack
            | Phase::Stuck
            | Phase::Failed
            | Phase::Cancelled => None,
        }
    }
}

impl Phase {
    /// The name that outside surfaces use.
    pub const fn name(&self) -> StateName {
        match self {
            Self::Queued => StateName::Queued,
            Self::Checking(_) => StateName::Checking,
            Self::Init(_) => StateName::Init,
            Self::Building(_) => StateName::Building,
            Self::Deploying(_) => StateName::Deploying,
            Self::AwaitingApproval { .. } => StateName::AwaitingApproval,
            Self::Canary { .. } => StateName::Canary,
            Self::CanaryWaiting { .. } => StateName::CanaryWaiting,
            Self::CanaryEvaluating { .. } => StateName::CanaryEvaluating,
            Self::Promoting(_) => StateName::Promoting,
            Self::Promoted(_) => StateName::Promoted,
            Self::Verifying { .. } | Self::Retiring(_) => StateName::Verifying,
            Self::Paused { .. } => StateName::Paused,
            Self::RollingBack { .. } => StateName::RollingBack,
            Self::Verified => StateName::Verified,
            Self::RolledBack => StateName::RolledBack,
            Self::Stuck => StateName::Stuck,
            Self::Failed => StateName::Failed,
            Self::Cancelled => StateName::Cancelled,
        }
    }

    /// The tries of the effect on its way, in phases that have one.
    pub const fn tries(&self) -> Option<Try> {
        match self {
            Self::Checking(tries)
            | Self::Init(tries)
            | Self::Building(tries)
            | Self::Deploying(tries)
            | Self::Canary { tries, .. }
            | Self::Promoting(tries)
            | Self::Promoted(tries)
            | Self::Retiring(tries)
            | Self::RollingBack { tries, .. } => Some(*tries),
            Self::Queued
            | Self::AwaitingApproval { .. }
            | Self::CanaryWaiting { .. }
            | Self::CanaryEvaluating { .. }
            | Self::Verifying { .. }
            | Self::Paused { .. }
            | Self::Verified
            | Self::RolledBack
            | Self::Stuck
            | Self::Failed
            | Self::Cancelled => None,
        }
    }
}
