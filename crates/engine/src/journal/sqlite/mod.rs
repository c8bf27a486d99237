//! The journal on disk: one `SQLite` database in one data directory with one owner.
//!
//! Durability is never traded for speed: write-ahead log, `synchronous=FULL`, both read back at the start. What makes it fast
//! is that one `fdatasync` serves everybody who waits (`writer`).

mod ballast;
mod book;
mod database;
mod directory;
mod queue;
mod reading;
mod reads;
mod rows;
mod writer;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

use rusqlite::Connection;

use self::ballast::Ballast;
use self::book::Book;
pub use self::database::Start;
use self::directory::{DATABASE, DataDirectory};
use self::queue::{Queue, Work};
use self::reads::{Asker, Reads};
use self::writer::{Counters, Writer};
use super::entry::{Append, Appended, Chain, Epoch, Filter, Kept, NewSample, Recorded, Sample};
use super::error::{AppendError, OpenError, ReadError};
use super::{BoxFuture, History, Journal, rules};

/// Threads that read beside the writer. Two, so that a check of everything does not keep a status question waiting.
const READERS: usize = 2;

/// Answers every question of [`History`] by asking the reader threads.
macro_rules! delegate_history {
    ($journal:ty, $($asker:ident).+) => {
        impl History for $journal {
            fn read(&self, deployment: &str, after_seq: u64, limit: usize) -> BoxFuture<Result<Vec<Recorded>, ReadError>> {
                self.$($asker).+.read(deployment, after_seq, limit)
            }

            fn feed(&self, after: u64, limit: usize) -> BoxFuture<Result<Vec<Recorded>, ReadError>> {
                self.$($asker).+.feed(after, limit)
            }

            fn position(&self) -> BoxFuture<Result<u64, ReadError>> {
                self.$($asker).+.position()
            }

            fn deployment(&self, deployment: &str) -> BoxFuture<Result<Option<Kept>, ReadError>> {
                self.$($asker).+.deployment(deployment)
            }

            fn deployments(&self, filter: Filter) -> BoxFuture<Result<Vec<Kept>, ReadError>> {
                self.$($asker).+.deployments(filter)
            }

            fn active(&self) -> BoxFuture<Result<Vec<Kept>, ReadError>> {
                self.$($asker).+.active()
            }

            fn next_turn(&self, service: &str, environment: &str) -> BoxFuture<Result<u64, ReadError>> {
                self.$($asker).+.next_turn(service, environment)
            }

            fn request(&self, key: &str) -> BoxFuture<Result<Option<String>, ReadError>> {
                self.$($asker).+.request(key)
            }

            fn samples(&self, deployment: &str) -> BoxFuture<Result<Vec<Sample>, ReadError>> {
                self.$($asker).+.samples(deployment)
            }

            fn meta(&self, key: &str) -> BoxFuture<Result<Option<String>, ReadError>> {
                self.$($asker).+.meta(key)
            }

            fn verify(&self, deployment: &str) -> BoxFuture<Result<Chain, ReadError>> {
                self.$($asker).+.verify(deployment)
            }

            fn verify_all(&self) -> BoxFuture<Result<Vec<Chain>, ReadError>> {
                self.$($asker).+.verify_all()
            }
        }
    };
}

/// The journal in a data directory that this process owns. Clones are handles to the same journal.
///
/// When the last handle is dropped, what was already asked for is still written, then the journal is closed properly; that
/// may take as long as one commit and one checkpoint.
#[derive(Clone, Debug)]
pub struct SqliteJournal {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    epoch: Epoch,
    start: Start,
    queue: Arc<Queue>,
    counters: Arc<Counters>,
    /// `None` only while it is dropped.
    reads: Option<Reads>,
    asker: Asker,
    writer: Option<JoinHandle<Option<Connection>>>,
    directory: DataDirectory,
}

/// What the writer is doing, for metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Figures {
    /// Writes that were answered after a commit, refusals by the rules included.
    pub writes: u64,
    /// Commits they took.
    pub groups: u64,
    /// Writes that wait now.
    pub waiting: u64,
    /// Bytes in the write-ahead log. Beyond 256 MB something keeps readers open.
    pub wal_bytes: u64,
    /// Whether the disk is so full that no new deployment is accepted.
    pub scarce: bool,
}

impl SqliteJournal {
    /// Opens the journal of a data directory for writing, and creates both if needed. The epoch is one above the last.
    pub fn open(directory: &Path) -> Result<(Self, Epoch), OpenError> {
        Self::open_from(directory, Epoch(0))
    }

    /// The same, with an epoch that is not below `least`: where several data directories take turns at the same targets,
    /// somebody beside the journal counts too.
    pub fn open_from(directory: &Path, least: Epoch) -> Result<(Self, Epoch), OpenError> {
        let directory = DataDirectory::claim(directory)?;
        let path = directory.path.join(DATABASE);
        directory::create_private(&directory.path, &path)?;
        let mut ballast = Ballast::load(&directory.path);
        let (connection, start) =
            make_room(&mut ballast, || database::open_writer(&path, directory.was_closed))?;
        let epoch = make_room(&mut ballast, || {
            database::next_epoch(&connection, least.0)
                .map_err(|error| database::refine("take ownership of", &path, &error))
        })?;
        let epoch = Epoch(epoch);
        let readers = (0..READERS).map(|_| database::open_reader(&path, false)).collect::<Result<_, _>>()?;
        let spawn_error =
            |source: io::Error| OpenError::Io { attempt: "start a thread for", path: path.clone(), source };
        let reads = Reads::start(readers).map_err(spawn_error)?;
        let (queue, counters) = <(Arc<Queue>, Arc<Counters>)>::default();
        let writer = Writer {
            connection,
            book: Book::new(epoch),
            ballast,
            queue: Arc::clone(&queue),
            counters: Arc::clone(&counters),
        };
        let thread = thread::Builder::new().name("journal-write".to_owned());
        let writer = thread.spawn(move || writer.run()).map_err(spawn_error)?;
        let asker = reads.asker().clone();
        let inner = Inner {
            epoch,
            start,
            queue,
            counters,
            reads: Some(reads),
            asker,
            writer: Some(writer),
            directory,
        };
        Ok((Self { inner: Arc::new(inner) }, epoch))
    }

    /// How the journal was found when it was opened.
    pub fn start(&self) -> Start {
        self.inner.start
    }

    /// What the writer is doing.
    pub fn figures(&self) -> Figures {
        let counters = &self.inner.counters;
        Figures {
            writes: counters.writes.load(Ordering::Relaxed),
            groups: counters.groups.load(Ordering::Relaxed),
            waiting: self.inner.queue.waiting() as u64,
            wal_bytes: counters.wal_pages.load(Ordering::Relaxed) * 4_096,
            scarce: counters.scarce.load(Ordering::Relaxed),
        }
    }

    fn write(&self, checked: Result<Work, AppendError>) -> BoxFuture<Result<Option<Appended>, AppendError>> {
        let inner = Arc::clone(&self.inner);
        Box::pin(async move {
            let answer = inner.queue.push(checked?)?;
            let ended = || AppendError::Broken { why: "the journal's writer ended".to_owned() };
            answer.await.unwrap_or_else(|_| Err(ended()))
        })
    }
}

/// Tries once more without the ballast when there is no room.
fn make_room<T>(
    ballast: &mut Ballast,
    mut work: impl FnMut() -> Result<T, OpenError>,
) -> Result<T, OpenError> {
    match work() {
        Err(OpenError::Full { path }) => {
            if ballast.release() {
                work()
            } else {
                Err(OpenError::Full { path })
            }
        }
        other => other,
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // Readers first: the last connection to close cleans the write-ahead log up, and only the writer's can.
        self.reads = None;
        self.queue.close("the journal was closed");
        let Some(Ok(Some(connection))) = self.writer.take().map(JoinHandle::join) else { return };
        if connection.close().is_ok() {
            self.directory.mark_closed();
        }
    }
}

delegate_history!(SqliteJournal, inner.asker);

impl Journal for SqliteJournal {
    fn epoch(&self) -> Epoch {
        self.inner.epoch
    }

    fn append(&self, append: Append) -> BoxFuture<Result<Appended, AppendError>> {
        let checked = rules::check_append(&append).map(|()| Work::Append(Box::new(append)));
        let written = self.write(checked);
        Box::pin(async move {
            written.await?.ok_or_else(|| AppendError::Broken { why: "an append was not answered".to_owned() })
        })
    }

    fn put_samples(&self, deployment: &str, samples: Vec<NewSample>) -> BoxFuture<Result<(), AppendError>> {
        let deployment = deployment.to_owned();
        let checked = rules::check_samples(&samples).map(|()| Work::Samples { deployment, samples });
        let written = self.write(checked);
        Box::pin(async move { written.await.map(|_| ()) })
    }

    fn put_meta(&self, key: &str, value: &str) -> BoxFuture<Result<(), AppendError>> {
        let (key, value) = (key.to_owned(), value.to_owned());
        let checked = rules::check_meta(&key, &value).map(|()| Work::Meta { key, value });
        let written = self.write(checked);
        Box::pin(async move { written.await.map(|_| ()) })
    }
}

/// The journal of a data directory, for reading only: needs no lock, and disturbs no owner.
#[derive(Clone, Debug)]
pub struct SqliteReader {
    asker: Asker,
    /// Held for its threads.
    _reads: Arc<Reads>,
}

impl SqliteReader {
    /// Opens the journal of a data directory, whether an engine runs there or not.
    pub fn open(directory: &Path) -> Result<Self, OpenError> {
        let path = directory.join(DATABASE);
        match path.try_exists() {
            Ok(true) => {}
            Ok(false) => return Err(OpenError::NotFound { path }),
            Err(source) => return Err(directory::refine("look for", directory, &path, source)),
        }
        let connection = database::open_reader(&path, false).or_else(|error| open_frozen(&path, error))?;
        let spawn_error =
            |source: io::Error| OpenError::Io { attempt: "start a thread for", path: path.clone(), source };
        let reads = Reads::start(vec![connection]).map_err(spawn_error)?;
        Ok(Self { asker: reads.asker().clone(), _reads: Arc::new(reads) })
    }
}

/// On a medium where nothing can be written, the database cannot make its side files. If there is no write-ahead log, the file
/// by itself is complete.
fn open_frozen(path: &Path, error: OpenError) -> Result<Connection, OpenError> {
    let log = PathBuf::from(format!("{}-wal", path.display()));
    let log_is_empty = log.metadata().map_or(true, |meta| meta.len() == 0);
    if log_is_empty && matches!(error, OpenError::Store { .. } | OpenError::ReadOnly { .. }) {
        return database::open_reader(path, true);
    }
    Err(error)
}

delegate_history!(SqliteReader, asker);
