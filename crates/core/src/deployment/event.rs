//! What happened: past tense, in the journal, never edited.

use alloc::{boxed::Box, string::String, vec::Vec};
use core::fmt;

use serde::{Deserialize, Serialize};

use super::owed::What;
use crate::{
    gate::{Judgement, Reading},
    model::{Actor, Millis, Timestamp},
    plan::{Plan, Request},
};

/// An event with its place in the deployment's history.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Recorded {
    /// Place in the deployment's history, from 1, without gaps.
    pub seq: u64,
    /// When it was decided.
    pub at: Timestamp,
    /// Who asked.
    pub actor: Actor,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Event {
    /// The plan was made and accepted; always the first event.
    Planned {
        /// What was asked for.
        request: Box<Request>,
        /// The plan, whole.
        plan: Box<Plan>,
        /// Why the deployment was asked for.
        reason: String,
    },
    /// The stable release had changed while the deployment waited, so it was planned again; nothing had begun.
    Replanned {
        /// The new plan, whole.
        plan: Box<Plan>,
    },
    /// A slot was given: nothing else of the service is running.
    Admitted,
    /// The target can do what the plan asks.
    Checked,
    /// The counters before anything was touched were read.
    Initialised {
        /// The reading.
        reading: Reading,
    },
    /// The release lies at the target, ready to start.
    Built,
    /// The first instances of the release are ready; they have no traffic yet.
    Deployed {
        /// How many.
        instances: u32,
    },
    /// More instances of the release are ready.
    Scaled {
        /// Stage that needed them.
        stage: usize,
        /// How many there are now.
        instances: u32,
    },
    /// The stage's share of traffic is in force.
    Exposed {
        /// The stage.
        stage: usize,
        /// The counters right after the shift: the window's opening.
        reading: Reading,
    },
    /// The bake is over.
    Baked {
        /// The stage.
        stage: usize,
    },
    /// Gates were asked; what follows from it is the next event.
    Judged {
        /// The stage; `None` is the watch after promotion.
        stage: Option<usize>,
        /// The answers.
        judgements: Vec<Judgement>,
    },
    /// Evidence is missing at the end of a bake; it is waited for.
    Held {
        /// The stage.
        stage: usize,
        /// Until then; after it the deployment turns back.
        until: Timestamp,
    },
    /// The stage is done.
    StagePassed {
        /// The stage.
        stage: usize,
        /// Whether a person said so instead of the gates.
        by_hand: bool,
    },
    /// The stages up to the last are left out because a person asked for full promotion.
    Hurried {
        /// The last stage.
        stage: usize,
    },
    /// A person must agree.
    ApprovalAsked {
        /// The stage that waits.
        stage: usize,
        /// Why.
        why: ApprovalReason,
        /// Until then; after it the deployment turns back.
        until: Timestamp,
    },
    /// A person agreed.
    Approved {
        /// The stage.
        stage: usize,
    },
    /// All traffic belongs to the release; it is the stable one now.
    Promoted,
    /// The watch began.
    WatchOpened {
        /// Its opening.
        reading: Reading,
        /// Its end.
        until: Timestamp,
    },
    /// The watch is over without a failure.
    WatchPassed {
        /// The counters at its end; nothing when they could not be read.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reading: Option<Box<Reading>>,
    },
    /// A release's instances were drained and stopped.
    Retired {
        /// Its tag.
        release: String,
    },
    /// A release's instances could not be stopped in time; the supervisor goes on with it.
    RetireGivenUp {
        /// Its tag.
        release: String,
        /// Why.
        reason: String,
    },
    /// The deployment ended well.
    Verified,
    /// An effect failed and will be tried again.
    Tried {
        /// Which.
        what: What,
        /// The try that failed, from 0.
        attempt: u32,
        /// Why.
        reason: String,
        /// Not again before then.
        retry_at: Timestamp,
    },
    /// The stage starts again: its window or its share was lost through no fault of the release.
    Reopened {
        /// The stage.
        stage: usize,
        /// Why.
        why: String,
    },
    /// A pause was asked for while an effect was on its way; it takes hold when the effect is done.
    PauseAsked {
        /// Why.
        reason: String,
    },
    /// Progress stopped; gates go on.
    Paused {
        /// Why.
        reason: String,
        /// Until then; after it the deployment turns back.
        until: Timestamp,
    },
    /// Progress goes on.
    Resumed,
    /// The way back began.
    RollbackBegan {
        /// Why.
        cause: Cause,
    },
    /// All traffic is back on the stable release.
    Restored,
    /// The deployment ended on the stable release.
    RolledBack,
    /// The way back failed; a person is needed.
    Stuck {
        /// What failed.
        reason: String,
    },
    /// A person asked for the way back to be tried again.
    Unstuck,
    /// A person gave up on a stuck way back: where traffic is, only the target knows.
    Abandoned {
        /// Why.
        reason: String,
    },
    /// The deployment ended before anything was touched.
    Failed {
        /// What was being done.
        what: What,
        /// Why it could not be.
        reason: String,
    },
    /// The deployment was called off before anything was touched.
    Cancelled {
        /// Why.
        reason: String,
    },
}

impl Event {
    /// Its name in the journal.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Planned { .. } => "planned",
            Self::Replanned { .. } => "replanned",
            Self::Admitted => "admitted",
            Self::Checked => "checked",
            Self::Initialised { .. } => "initialised",
            Self::Built => "built",
            Self::Deployed { .. } => "deployed",
            Self::Scaled { .. } => "scaled",
            Self::Exposed { .. } => "exposed",
            Self::Baked { .. } => "baked",
            Self::Judged { .. } => "judged",
            Self::Held { .. } => "held",
            Self::StagePassed { .. } => "stage_passed",
            Self::Hurried { .. } => "hurried",
            Self::ApprovalAsked { .. } => "approval_asked",
            Self::Approved { .. } => "approved",
            Self::Promoted => "promoted",
            Self::WatchOpened { .. } => "watch_opened",
            Self::WatchPassed { .. } => "watch_passed",
            Self::Retired { .. } => "retired",
            Self::RetireGivenUp { .. } => "retire_given_up",
            Self::Verified => "verified",
            Self::Tried { .. } => "tried",
            Self::Reopened { .. } => "reopened",
            Self::PauseAsked { .. } => "pause_asked",
            Self::Paused { .. } => "paused",
            Self::Resumed => "resumed",
            Self::RollbackBegan { .. } => "rollback_began",
            Self::Restored => "restored",
            Self::RolledBack => "rolled_back",
            Self::Stuck { .. } => "stuck",
            Self::Unstuck => "unstuck",
            Self::Abandoned { .. } => "abandoned",
            Self::Failed { .. } => "failed",
            Self::Cancelled { .. } => "cancelled",
        }
    }
}

/// Why a person must agree.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ApprovalReason {
    /// The plan asks for it.
    Planned,
    /// A gate whose failure holds instead of turning back has failed.
    GateFailed {
        /// The gate.
        gate: String,
        /// What it said.
        reason: String,
    },
    /// Confidence under traffic is too low to promote without a person.
    Review {
        /// 0 to 100, to a tenth.
        score: String,
        /// What holds it down.
        reason: String,
    },
    /// A gate's evidence decides nothing, and the stage has lasted the longest it may.
    Undecided {
        /// The gate.
        gate: String,
        /// What it said.
        reason: String,
    },
}

/// Why a deployment turned back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "cause", rename_all = "snake_case")]
pub enum Cause {
    /// A gate failed.
    GateFailed {
        /// The stage's name.
        stage: String,
        /// The gate.
        gate: String,
        /// What it said.
        reason: String,
        /// Time from the window's opening to the verdict.
        after: Millis,
    },
    /// Evidence stayed missing.
    NoEvidence {
        /// The stage's name.
        stage: String,
        /// The gate that missed it.
        gate: String,
        /// What it said.
        reason: String,
    },
    /// Confidence under traffic is too low to go on.
    LowConfidence {
        /// 0 to 100, to a tenth.
        score: String,
        /// What holds it down.
        reason: String,
    },
    /// A person asked.
    Aborted {
        /// Why.
        reason: String,
    },
    /// A newer deployment took its place.
    Superseded {
        /// The newer deployment.
        by: String,
    },
    /// Something could not be done.
    EffectFailed {
        /// What.
        what: What,
        /// Why.
        reason: String,
    },
    /// A pause or an approval took too long.
    WaitedTooLong {
        /// What was waited for.
        what: String,
    },
    /// A stage had to start again too often.
    ReopenedTooOften {
        /// Why the last time.
        why: String,
    },
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GateFailed { stage, gate, reason, after } => {
                write!(f, "gate {gate} failed {after} into {stage}: {reason}")
            }
            Self::NoEvidence { stage, gate, reason } => {
                write!(f, "gate {gate} had no evidence in {stage}: {reason}")
            }
            Self::LowConfidence { score, reason } => write!(f, "confidence is {score} of 100: {reason}"),
            Self::Aborted { reason } if reason.is_empty() => f.write_str("aborted by hand"),
            Self::Aborted { reason } => write!(f, "aborted by hand: {reason}"),
            Self::Superseded { by } => write!(f, "superseded by {by}"),
            Self::EffectFailed { what, reason } => write!(f, "{what} failed: {reason}"),
            Self::WaitedTooLong { what } => write!(f, "waited too long for {what}"),
            Self::ReopenedTooOften { why } => {
                write!(f, "the stage had to start again too often, last: {why}")
            }
        }
    }
}
