//! The nouns: times, shares, names, releases, actors.

mod pattern;
mod time;
mod words;

pub use pattern::literal;
pub use time::{Millis, Timestamp};
pub use words::{
    Actor, ActorKind, Artifact, BadShare, Criticality, Release, Share, Strategy, TargetSpec, UnknownWord,
};
