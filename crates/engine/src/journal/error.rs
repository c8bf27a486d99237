//! How a journal says no.

use std::io;
use std::path::PathBuf;

use super::Epoch;

/// Why an append, or another write, did not happen. Nothing of it was kept, except as [`AppendError::Broken`] says.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Someone else appended first, or the writer's picture is old: read again, decide again.
    #[error("deployment {deployment} stands at event {actual}, not {expected}: read it again")]
    Conflict {
        /// The deployment.
        deployment: String,
        /// The last sequence number the writer believed in.
        expected: u64,
        /// The last sequence number there is.
        actual: u64,
    },
    /// The writer does not own the journal (any more): it must stop.
    #[error("epoch {epoch} may not write: the journal is owned by epoch {current}; stop this engine")]
    Fenced {
        /// The writer's epoch.
        epoch: Epoch,
        /// The epoch that owns the journal.
        current: Epoch,
    },
    /// The service already has a running deployment in that environment.
    #[error(
        "service {service} in {environment} already has a running deployment, {by}: wait for it or end it"
    )]
    ServiceBusy {
        /// The service.
        service: String,
        /// The environment.
        environment: String,
        /// The running deployment.
        by: String,
    },
    /// Another deployment of the service carries that turn.
    #[error("turn {turn} of service {service} in {environment} is taken: ask for the next turn again")]
    TurnTaken {
        /// The service.
        service: String,
        /// The environment.
        environment: String,
        /// The turn.
        turn: u64,
    },
    /// The idempotency key was used before, for something else.
    #[error("request key {key} was used before for another request (deployment {deployment}): use a new key")]
    RequestReused {
        /// The key.
        key: String,
        /// The deployment it led to then.
        deployment: String,
    },
    /// The row's service, environment or turn differs from what the first append fixed.
    #[error("deployment {deployment} cannot change its {what}")]
    RowChanged {
        /// The deployment.
        deployment: String,
        /// Which part.
        what: &'static str,
    },
    /// The deployment is not in the journal, and the write needs it there.
    #[error("deployment {deployment} is not in the journal")]
    Unknown {
        /// The deployment.
        deployment: String,
    },
    /// The deployment's record is damaged; nothing is added to it. Others are not affected.
    #[error(
        "the journal of deployment {deployment} is damaged at event {seq}: {what}; restore it from a backup"
    )]
    Damaged {
        /// The deployment.
        deployment: String,
        /// The first sequence number that cannot be trusted.
        seq: u64,
        /// What is wrong.
        what: String,
    },
    /// A part is empty, too long or too many.
    #[error("{what} must be between {min} and {max}, not {actual}")]
    OutOfBounds {
        /// What was measured, with its unit.
        what: &'static str,
        /// The least allowed.
        min: u64,
        /// The most allowed.
        max: u64,
        /// What was given.
        actual: u64,
    },
    /// Too much waits to be written, or too many deployments are active: try again later.
    #[error("the journal is overloaded ({what}): try again in a moment")]
    Overloaded {
        /// Which bound was met.
        what: &'static str,
    },
    /// The disk is full. The journal is consistent, and writes again as soon as there is room.
    #[error(
        "the disk of the data directory is full: free some space; running deployments can still be ended"
    )]
    Full,
    /// Writing failed in a way that must not be retried in this process. Whether this append was kept is unknown: after a
    /// restart, read before trying again.
    #[error(
        "the journal stopped after an error ({why}): restart the process, it will read back what was kept"
    )]
    Broken {
        /// What happened.
        why: String,
    },
}

/// Why reading did not give an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReadError {
    /// The deployment's record is damaged. Others stay readable.
    #[error(
        "the journal of deployment {deployment} is damaged at event {seq}: {what}; restore it from a backup"
    )]
    Broken {
        /// The deployment.
        deployment: String,
        /// The first sequence number that cannot be trusted.
        seq: u64,
        /// What is wrong.
        what: String,
    },
    /// The store itself is damaged at a place that belongs to no deployment in particular.
    #[error("the journal is damaged while {doing}: {why}; restore it from a backup")]
    Damaged {
        /// What was attempted.
        doing: &'static str,
        /// What the store said.
        why: String,
    },
    /// Too many readers wait: try again later.
    #[error("too many reads of the journal are waiting: try again in a moment")]
    Overloaded,
    /// The read took longer than its bound and was cut.
    #[error("reading the journal took longer than {limit_ms} ms and was stopped: ask for less")]
    Slow {
        /// The bound, in milliseconds.
        limit_ms: u64,
    },
    /// The store could not be read.
    #[error("cannot read the journal while {doing}: {why}")]
    Store {
        /// What was attempted.
        doing: &'static str,
        /// What the store said.
        why: String,
    },
}

/// Why a data directory could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process works on this directory.
    #[error(
        "the data directory {path} is in use by process {}: stop it, or choose another directory",
        pid.map_or_else(|| "(unknown)".to_owned(), |pid| pid.to_string())
    )]
    Owned {
        /// The owner, when it wrote its number down.
        pid: Option<u32>,
        /// The directory.
        path: PathBuf,
    },
    /// The directory is on a filesystem where locks or shared memory cannot be relied on.
    #[error("the data directory {path} is on {kind}, where file locks are not dependable: use a local disk")]
    NetworkFilesystem {
        /// The directory.
        path: PathBuf,
        /// The filesystem's name.
        kind: &'static str,
    },
    /// The directory, or a file in it, may not be written.
    #[error(
        "cannot write in the data directory {path}: give this user write access, or choose another directory"
    )]
    ReadOnly {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// There is no room to open the journal.
    #[error("the disk of the data directory {path} is full: free some space and start again")]
    Full {
        /// The directory.
        path: PathBuf,
    },
    /// There is no journal in this directory.
    #[error(
        "there is no journal at {path}: nothing was deployed from here yet, or the directory is another one"
    )]
    NotFound {
        /// The journal file that was looked for.
        path: PathBuf,
    },
    /// The journal was written by a newer version of this program.
    #[error(
        "the journal at {path} has format {found}, this version knows up to {known}: \
         use the newer version, or another data directory"
    )]
    Newer {
        /// The journal file.
        path: PathBuf,
        /// Its format.
        found: i64,
        /// The newest format this version knows.
        known: i64,
    },
    /// The file is a database, but not this program's.
    #[error("{path} is not a journal of this program: move it away, or choose another data directory")]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The database is damaged.
    #[error(
        "the journal at {path} is damaged ({what}); deployments hurt: {}; restore it from a backup, the history stays \
         readable as far as it goes",
        if deployments.is_empty() { "none found".to_owned() } else { deployments.join(", ") }
    )]
    Damaged {
        /// The journal file.
        path: PathBuf,
        /// What the check said.
        what: String,
        /// The deployments whose record is hurt, at most 16 of them.
        deployments: Vec<String>,
    },
    /// A setting that durability rests on did not take.
    #[error(
        "the database at {path} keeps {setting} at {found} instead of {wanted}: the journal will not run like that"
    )]
    Setting {
        /// The journal file.
        path: PathBuf,
        /// The setting.
        setting: &'static str,
        /// What it must be.
        wanted: &'static str,
        /// What it is.
        found: String,
    },
    /// Anything else the system or the database said.
    #[error("cannot {attempt} {path}")]
    Io {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Anything else the database said.
    #[error("cannot {attempt} {path}: {why}")]
    Store {
        /// What was attempted.
        attempt: &'static str,
        /// On what.
        path: PathBuf,
        /// What the database said.
        why: String,
    },
}
