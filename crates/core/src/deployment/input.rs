//! News: what the engine hands to `decide`.

use alloc::{boxed::Box, string::String};

use super::owed::Key;
use crate::{gate::Reading, plan::Plan};

/// One piece of news.
#[expect(clippy::large_enum_variant, reason = "news is handed over once, never kept")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The fleet gives the deployment its slot. `replanned` is the plan made from the same request with the present
    /// stable release, when that is not the plan it has; an error when no plan can be made any more.
    Admit {
        /// The new plan, or why there is none.
        replanned: Option<Result<Box<Plan>, String>>,
    },
    /// Time has passed.
    Tick,
    /// The answer to an effect.
    Outcome {
        /// Which intention.
        key: Key,
        /// Which try.
        attempt: u32,
        /// The answer.
        outcome: Outcome,
    },
    /// A person or a token asks.
    Operator(Verb),
}

/// The answer to an effect: facts, never a verdict.
#[expect(clippy::large_enum_variant, reason = "an answer is handed over once, never kept")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is so now.
    Done,
    /// It is so now, and these are the counters right after it.
    Read(Reading),
    /// The target's lease ended: traffic is back on stable.
    LeaseEnded,
    /// It did not happen, **or its answer was lost**: the target must be read before the next try.
    Failed {
        /// Why, for a person.
        reason: String,
        /// Whether trying again can not help.
        permanent: bool,
    },
}

/// What a person may ask of a deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verb {
    /// Stop progress at the present share; gates go on.
    Pause {
        /// Why.
        reason: String,
    },
    /// Go on.
    Resume,
    /// Take the present stage as passed; with `full`, all of them.
    Promote {
        /// Straight to everything.
        full: bool,
    },
    /// Turn back.
    Abort {
        /// Why.
        reason: String,
    },
    /// Agree to what waits for approval.
    Approve,
    /// Try the way back again.
    Retry,
    /// Make room for a newer deployment.
    Supersede {
        /// The newer deployment's id.
        by: String,
    },
}
