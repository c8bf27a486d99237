//! What goes into a journal and what comes out.

use std::fmt;

/// The number of an ownership of the journal. Grows by one every time a journal is opened for writing, and never resets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A SHA-256 digest; shown as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// One event that is about to be appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// When it happened, in milliseconds since the Unix epoch.
    pub at_unix_ms: i64,
    /// Its kind, in the writer's words, such as `stage_entered`. Not empty.
    pub kind: String,
    /// Its content: opaque text (the engine writes JSON).
    pub payload: String,
}

/// One event as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recorded {
    /// Its place among all events of the journal: from 1, growing, each used once.
    pub position: u64,
    /// The deployment it belongs to.
    pub deployment: String,
    /// Its place in that deployment: 1, 2, 3 …
    pub seq: u64,
    /// When it happened, in milliseconds since the Unix epoch.
    pub at_unix_ms: i64,
    /// The epoch of the owner that wrote it.
    pub epoch: Epoch,
    /// Its kind.
    pub kind: String,
    /// Its content.
    pub payload: String,
    /// The chain's hash up to and including this event.
    pub hash: Digest,
}

/// Where a deployment stands, as far as the journal must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Standing {
    /// Accepted, waits for its turn.
    Queued,
    /// At work. A service has at most one running deployment per environment.
    Running,
    /// Over, for better or worse.
    Ended,
}

impl Standing {
    /// Whether the deployment still needs the engine: queued or running.
    pub fn is_active(self) -> bool {
        match self {
            Self::Queued | Self::Running => true,
            Self::Ended => false,
        }
    }
}

/// What lists show of a deployment without reading its events. Derived from them, replaced by every append.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The service. Fixed by the first append.
    pub service: String,
    /// The environment. Fixed by the first append.
    pub environment: String,
    /// The state's name, as shown outside.
    pub state: String,
    /// Where the deployment stands.
    pub standing: Standing,
    /// The release it ships.
    pub release: String,
    /// Its number among the deployments of its service and environment, from 1; unique there. Fixed by the first append.
    pub turn: u64,
    /// When it last changed, in milliseconds since the Unix epoch.
    pub updated_unix_ms: i64,
}

/// A client's own name for its request, so that asking twice makes one deployment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The idempotency key.
    pub key: String,
    /// The digest of what was asked for: the same key with another digest is refused.
    pub digest: Digest,
}

/// Everything one append does, all or nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Append {
    /// The deployment's id.
    pub deployment: String,
    /// The sequence number the writer believes to be the last; 0 for a new deployment.
    pub expected_seq: u64,
    /// The writer's epoch.
    pub epoch: Epoch,
    /// The events, at least one.
    pub events: Vec<NewEvent>,
    /// The deployment's row after these events.
    pub row: Row,
    /// The request a new deployment answers. Looked at only when `expected_seq` is 0.
    pub request: Option<Request>,
}

/// What an append led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Appended {
    /// The deployment: the one asked for, or the earlier one when the same request came before.
    pub deployment: String,
    /// Its last sequence number now.
    pub seq: u64,
    /// The global position of its last event.
    pub position: u64,
    /// Its chain's head.
    pub head: Digest,
    /// True when nothing was written because the same request was answered before by `deployment`.
    pub repeated: bool,
}

/// One deployment as the journal keeps it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// Its id.
    pub deployment: String,
    /// Its row.
    pub row: Row,
    /// Its last sequence number.
    pub seq: u64,
    /// The global position of its first event: deployments are ordered by it.
    pub first_position: u64,
    /// The global position of its last event.
    pub position: u64,
    /// Its chain's head.
    pub head: Digest,
}

/// Which deployments to list. The default lists all, newest first, up to [`super::READ_MAX`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only those that stand in one of these ways; empty means all.
    pub standing: &'static [Standing],
    /// Only those of this service.
    pub service: Option<String>,
    /// Only those of this environment.
    pub environment: Option<String>,
    /// Only those whose first position is below this one: the way to the next page.
    pub before: Option<u64>,
    /// How many at most; `None` means [`super::READ_MAX`].
    pub limit: Option<usize>,
}

/// One evidence sample that is about to be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewSample {
    /// The sequence number of the deployment when it was taken.
    pub seq: u64,
    /// The stage it was taken in, counted from 0.
    pub stage: u32,
    /// When it was taken, in milliseconds since the Unix epoch.
    pub at_unix_ms: i64,
    /// What was measured: opaque text.
    pub payload: String,
}

/// One evidence sample as kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// Its number among the samples of its deployment, from 1, growing; the oldest numbers go when there are too many.
    pub number: u64,
    /// The sample itself.
    pub sample: NewSample,
}

/// What recomputing a chain says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Chain {
    /// Every event is there and unchanged, and so is the row.
    Intact {
        /// The deployment.
        deployment: String,
        /// How many events it has.
        events: u64,
        /// The head of its chain.
        head: Digest,
    },
    /// Something differs from what was written.
    Broken {
        /// The deployment.
        deployment: String,
        /// The first sequence number that cannot be trusted.
        seq: u64,
        /// What is wrong.
        what: String,
    },
}
