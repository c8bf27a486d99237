//! The writer: one thread, one connection, many appends per commit.
//!
//! It takes everything that waits, writes it in one transaction, commits (one `fdatasync`), answers all, and looks again. There is
//! no timer: while the disk is busy with one group, the next one gathers by itself.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};

use super::ballast::Ballast;
use super::book::{Book, Fault};
use super::database::BUSY;
use super::queue::{Answer, Job, Queue, Taken, Work};
use crate::journal::error::AppendError;

/// Pages in the write-ahead log after which they are moved to the database: 4 MB.
const WAL_PAGES_CHECKPOINT: u64 = 1_000;
/// Pages after which the log is cut back to nothing, if no reader stands in the way: 64 MB.
const WAL_PAGES_TRUNCATE: u64 = 16_384;
/// How long without work until the log is moved to the database anyway.
const IDLE: Duration = Duration::from_secs(1);

thread_local! {
    /// Pages in the write-ahead log after the last commit of this thread, as the database's hook tells.
    static WAL_PAGES: Cell<u64> = const { Cell::new(0) };
}

/// What the writer did so far, for metrics and benches.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) writes: AtomicU64,
    pub(super) groups: AtomicU64,
    pub(super) wal_pages: AtomicU64,
    pub(super) scarce: AtomicBool,
}

/// The thread's state.
pub(super) struct Writer {
    pub(super) connection: Connection,
    pub(super) book: Book,
    pub(super) ballast: Ballast,
    pub(super) queue: Arc<Queue>,
    pub(super) counters: Arc<Counters>,
}

/// How a group ended, if not well.
enum Trouble {
    /// No room. Nothing was kept.
    Full,
    /// Another program holds the database. Nothing was kept.
    Busy,
    /// One of the writes is at odds with the database. Nothing was kept.
    Odd(String),
    /// Anything else: what was kept is unknown, and nothing may be retried.
    Fatal(String),
}

impl Writer {
    /// Serves the queue until it is closed or the database fails. Gives back the connection if it may still be used.
    pub(super) fn run(mut self) -> Option<Connection> {
        let _closes = CloseOnDrop(Arc::clone(&self.queue));
        self.connection.wal_hook(Some(|_, pages| {
            WAL_PAGES.set(u64::try_from(pages).unwrap_or(0));
            Ok(())
        }));
        self.note_scarcity();
        let mut moved = 0;
        loop {
            let idle = (WAL_PAGES.get() != moved).then_some(IDLE);
            let fatal = match self.queue.take(idle) {
                Taken::Group(group) => self.serve(group).err(),
                Taken::Idle => {
                    moved = WAL_PAGES.get();
                    self.checkpoint("PASSIVE").err()
                }
                Taken::Closed => return Some(self.connection),
            };
            if let Some(why) = fatal.or_else(|| self.tend_log(&mut moved).err()) {
                self.queue.fail(&why);
                return None;
            }
        }
    }

    /// Writes a group and answers it. The error is fatal.
    fn serve(&mut self, group: Vec<Job>) -> Result<(), String> {
        let group = if self.ballast.held() { group } else { self.admit_scarce(group) };
        if group.is_empty() {
            return Ok(());
        }
        match self.commit(&group) {
            Ok(answers) => {
                reply(group, answers);
                Ok(())
            }
            Err(Trouble::Full) => self.serve_full(group),
            Err(Trouble::Busy) => {
                let what = "another program holds the database";
                refuse(group, &AppendError::Overloaded { what });
                Ok(())
            }
            Err(Trouble::Odd(_)) => self.serve_singly(group),
            Err(Trouble::Fatal(why)) => fail(group, why),
        }
    }

    /// Writes all of a group in one transaction; the answers are true once this returns.
    fn commit(&mut self, group: &[Job]) -> Result<Vec<Answer>, Trouble> {
        let result = self.try_commit(group).map_err(|error| trouble(&error));
        if result.is_err() {
            self.book.forget();
            if !self.connection.is_autocommit()
                && let Err(error) = self.connection.execute_batch("ROLLBACK")
            {
                return Err(Trouble::Fatal(format!("cannot roll back: {error}")));
            }
        } else {
            self.counters.groups.fetch_add(1, Ordering::Relaxed);
            self.counters.writes.fetch_add(group.len() as u64, Ordering::Relaxed);
            self.counters.wal_pages.store(WAL_PAGES.get(), Ordering::Relaxed);
        }
        result
    }

    fn try_commit(&mut self, group: &[Job]) -> Result<Vec<Answer>, rusqlite::Error> {
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        let mut answers = Vec::with_capacity(group.len());
        for job in group {
            answers.push(match self.book.write(&self.connection, &job.work) {
                Ok(answer) => Ok(answer),
                Err(Fault::Refused(refusal)) => Err(refusal),
                Err(Fault::Sql(error)) => return Err(error),
            });
        }
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        Ok(answers)
    }

    /// While room is scarce, refuses what begins something new; the rest may use what the ballast left.
    fn admit_scarce(&mut self, group: Vec<Job>) -> Vec<Job> {
        let (new, known): (Vec<Job>, Vec<Job>) = group.into_iter().partition(|job| job.work.is_admission());
        if new.is_empty() {
            return known;
        }
        let held = self.ballast.regain();
        self.note_scarcity();
        if held {
            return known.into_iter().chain(new).collect();
        }
        refuse(new, &AppendError::Full);
        known
    }

    /// The disk is full: throws the ballast out and tries what must go on, together and then one by one.
    fn serve_full(&mut self, group: Vec<Job>) -> Result<(), String> {
        let had_ballast = self.ballast.release();
        self.note_scarcity();
        let (new, known): (Vec<Job>, Vec<Job>) = group.into_iter().partition(|job| job.work.is_admission());
        refuse(new, &AppendError::Full);
        if known.is_empty() {
            return Ok(());
        }
        if !had_ballast {
            return self.serve_singly(known);
        }
        match self.commit(&known) {
            Ok(answers) => {
                reply(known, answers);
                Ok(())
            }
            Err(Trouble::Full | Trouble::Busy | Trouble::Odd(_)) => self.serve_singly(known),
            Err(Trouble::Fatal(why)) => fail(known, why),
        }
    }

    /// Each write in a transaction of its own, so that one that cannot be written does not take the others with it.
    fn serve_singly(&mut self, group: Vec<Job>) -> Result<(), String> {
        let mut rest = group.into_iter();
        while let Some(job) = rest.next() {
            let alone = vec![job];
            match self.commit(&alone) {
                Ok(answers) => reply(alone, answers),
                Err(Trouble::Full) => refuse(alone, &AppendError::Full),
                Err(Trouble::Busy) => {
                    refuse(alone, &AppendError::Overloaded { what: "another program holds the database" });
                }
                Err(Trouble::Odd(what)) => refuse_odd(alone, &what),
                Err(Trouble::Fatal(why)) => return fail(alone.into_iter().chain(rest).collect(), why),
            }
        }
        Ok(())
    }

    /// Moves the log to the database when it has grown by enough since the last time.
    fn tend_log(&mut self, moved: &mut u64) -> Result<(), String> {
        let pages = WAL_PAGES.get();
        if pages < *moved {
            // The log began anew from its start.
            *moved = 0;
        }
        if pages < *moved + WAL_PAGES_CHECKPOINT {
            return Ok(());
        }
        *moved = pages;
        self.checkpoint(if pages > WAL_PAGES_TRUNCATE { "TRUNCATE" } else { "PASSIVE" })
    }

    fn checkpoint(&mut self, mode: &str) -> Result<(), String> {
        // A reader in the way is not worth waiting for: the next checkpoint takes what this one leaves.
        let done = self.connection.busy_timeout(Duration::ZERO).and_then(|()| {
            let sql = format!("PRAGMA wal_checkpoint({mode})");
            self.connection.prepare_cached(&sql)?.query_row([], |_| Ok(()))
        });
        let restored = self.connection.busy_timeout(BUSY);
        match done.and(restored).map_err(|error| trouble(&error)) {
            // Without room, the log stays where it is; nothing of it is lost.
            Ok(()) | Err(Trouble::Full | Trouble::Busy) => Ok(()),
            Err(Trouble::Odd(why) | Trouble::Fatal(why)) => Err(format!("cannot checkpoint: {why}")),
        }
    }

    fn note_scarcity(&self) {
        self.counters.scarce.store(!self.ballast.held(), Ordering::Relaxed);
    }
}

/// Closes the queue when the thread ends, by whatever way, so that nobody waits for an answer that cannot come.
struct CloseOnDrop(Arc<Queue>);

impl Drop for CloseOnDrop {
    fn drop(&mut self) {
        self.0.fail("the journal's writer ended");
    }
}

fn trouble(error: &rusqlite::Error) -> Trouble {
    let why = error.to_string();
    let Some(code) = error.sqlite_error_code() else { return Trouble::Odd(why) };
    if code == ErrorCode::DiskFull {
        return Trouble::Full;
    }
    if matches!(code, ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) {
        return Trouble::Busy;
    }
    if matches!(code, ErrorCode::ConstraintViolation | ErrorCode::TooBig | ErrorCode::TypeMismatch) {
        return Trouble::Odd(why);
    }
    Trouble::Fatal(why)
}

fn reply(group: Vec<Job>, answers: Vec<Answer>) {
    for (job, answer) in group.into_iter().zip(answers) {
        // A caller that no longer listens needs no answer.
        let _gone = job.reply.send(answer);
    }
}

fn refuse(group: Vec<Job>, refusal: &AppendError) {
    let answers = group.iter().map(|_| Err(refusal.clone())).collect();
    reply(group, answers);
}

fn fail(group: Vec<Job>, why: String) -> Result<(), String> {
    refuse(group, &AppendError::Broken { why: why.clone() });
    Err(why)
}

fn refuse_odd(group: Vec<Job>, what: &str) {
    let answers = group.iter().map(|job| Err(odd(&job.work, what))).collect();
    reply(group, answers);
}

fn odd(work: &Work, what: &str) -> AppendError {
    let what = format!("the database refuses the write: {what}");
    let (deployment, seq) = match work {
        Work::Append(append) => (append.deployment.clone(), append.expected_seq),
        Work::Samples { deployment, .. } => (deployment.clone(), 0),
        Work::Meta { key, .. } => (format!("(none, fact {key})"), 0),
    };
    AppendError::Damaged { deployment, seq, what }
}
