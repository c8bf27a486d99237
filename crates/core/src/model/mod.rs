//! The nouns: times, shares, names, releases, actors.

mod time;
mod words;

pub use time::{Millis, Timestamp};
pub use words::{
    Actor, ActorKind, Artifact, BadShare, Criticality, Release, Share, Strategy, TargetSpec, UnknownWord,
};
