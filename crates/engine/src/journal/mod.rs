//! The journal: what happened to every deployment, in order, kept for good.
//!
//! Two stores keep it, [`MemoryJournal`] and [`SqliteJournal`], and one suite ([`conformance`]) says what both must do. The
//! journal knows nothing of deployments beyond their row: payloads are opaque UTF-8 text, so an old journal can be read by
//! any later binary, and a damaged one names the deployment that is hurt instead of taking the others down with it.
//!
//! What is promised, and what is not:
//! * An answered append survives `kill -9` and, on a disk that honours `fdatasync`, the loss of power.
//! * An append that was *not* answered (the caller died, the future was dropped) may or may not have happened: read first.
//! * The events of one deployment form one chain of hashes; a changed, missing or reordered event is found on reading.
//! * Losing the only disk loses the journal, and someone who rewrites the whole file can rewrite the chain too.
//!
//! The futures returned here need no particular runtime: they only wait for an answer from the store's own threads.

mod chain;
#[doc(hidden)]
pub mod conformance;
mod entry;
mod error;
mod memory;
mod rules;
mod sqlite;

use std::pin::Pin;

pub use chain::{ROW_FORMAT, event_hash, genesis};
pub use entry::{
    Append, Appended, Chain, Digest, Epoch, Filter, Kept, NewEvent, NewSample, Recorded, Request, Row,
    Sample, Standing,
};
pub use error::{AppendError, OpenError, ReadError};
pub use memory::MemoryJournal;
pub use rules::{
    ACTIVE_MAX, EVENTS_PER_APPEND_MAX, EVENTS_PER_DEPLOYMENT_MAX, META_BYTES_MAX, NAME_BYTES_MAX,
    PAYLOAD_BYTES_MAX, READ_MAX, SAMPLES_PER_DEPLOYMENT_MAX,
};
pub use sqlite::{Figures, SqliteJournal, SqliteReader, Start};

/// A future on the heap that any executor can poll, and that borrows nothing.
pub type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send + 'static>>;

/// The reading side of a journal. Also there when no engine runs ([`SqliteReader`]).
///
/// Every list is bounded: at most [`READ_MAX`] entries come back per call, whatever `limit` asks for. Continue from the last
/// one received.
pub trait History: Send + Sync + 'static {
    /// Events of one deployment with a sequence number above `after_seq`, oldest first, their chain checked.
    ///
    /// An unknown deployment has no events. A damaged one gives [`ReadError::Broken`], which names it; others stay readable.
    fn read(
        &self,
        deployment: &str,
        after_seq: u64,
        limit: usize,
    ) -> BoxFuture<Result<Vec<Recorded>, ReadError>>;

    /// Events of all deployments with a global position above `after`, oldest first. Their chains are not checked here.
    fn feed(&self, after: u64, limit: usize) -> BoxFuture<Result<Vec<Recorded>, ReadError>>;

    /// The global position of the newest event; 0 in an empty journal.
    fn position(&self) -> BoxFuture<Result<u64, ReadError>>;

    /// One deployment's row and head, or `None` when the journal does not know it.
    fn deployment(&self, deployment: &str) -> BoxFuture<Result<Option<Kept>, ReadError>>;

    /// Deployments that match the filter, newest first.
    fn deployments(&self, filter: Filter) -> BoxFuture<Result<Vec<Kept>, ReadError>>;

    /// Every deployment that is queued or running, oldest first: never more than [`ACTIVE_MAX`].
    fn active(&self) -> BoxFuture<Result<Vec<Kept>, ReadError>>;

    /// The turn the next deployment of this service and environment should carry: one above the highest so far.
    ///
    /// Two callers may be told the same turn; the second to append gets [`AppendError::TurnTaken`].
    fn next_turn(&self, service: &str, environment: &str) -> BoxFuture<Result<u64, ReadError>>;

    /// The deployment that was made for an idempotency key, if the key was seen.
    fn request(&self, key: &str) -> BoxFuture<Result<Option<String>, ReadError>>;

    /// The newest evidence samples of one deployment, oldest first: at most [`SAMPLES_PER_DEPLOYMENT_MAX`].
    fn samples(&self, deployment: &str) -> BoxFuture<Result<Vec<Sample>, ReadError>>;

    /// One engine-level fact, or `None` when it was never put.
    fn meta(&self, key: &str) -> BoxFuture<Result<Option<String>, ReadError>>;

    /// Recomputes one deployment's whole chain and compares it with what is stored.
    ///
    /// Damage is an answer ([`Chain::Broken`]), not an error. An unknown deployment is intact, with 0 events.
    fn verify(&self, deployment: &str) -> BoxFuture<Result<Chain, ReadError>>;

    /// Recomputes the chains of all deployments; returns those that are broken, in order of their first event.
    fn verify_all(&self) -> BoxFuture<Result<Vec<Chain>, ReadError>>;
}

/// The writing side: one owner, who holds the current [`Epoch`].
///
/// Dropping a returned future does not take the write back: once polled, it may happen all the same.
pub trait Journal: History {
    /// The epoch this journal was opened with. Appends must carry it.
    fn epoch(&self) -> Epoch;

    /// Appends events to one deployment and replaces its row, all or nothing, durable when the answer is `Ok`.
    fn append(&self, append: Append) -> BoxFuture<Result<Appended, AppendError>>;

    /// Keeps evidence samples beside the events of a deployment that exists.
    ///
    /// Less important than an append: taken after all waiting appends, refused first when the disk is full. Only the newest
    /// [`SAMPLES_PER_DEPLOYMENT_MAX`] of a deployment stay, because the verdict in the journal carries what it judged by;
    /// samples serve the later reader, and a deployment that waits for days must not fill the disk.
    fn put_samples(&self, deployment: &str, samples: Vec<NewSample>) -> BoxFuture<Result<(), AppendError>>;

    /// Keeps one engine-level fact that is not derived from events. Keys and values are bounded by [`META_BYTES_MAX`].
    fn put_meta(&self, key: &str, value: &str) -> BoxFuture<Result<(), AppendError>>;
}
