//! News: what the engine hands to `decide`.

use alloc::string::String;

use super::owed::Key;
use crate::gate::Reading;

/// One piece of news.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Input {
    /// The fleet gives the deployment its slot.
    Admit,
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
