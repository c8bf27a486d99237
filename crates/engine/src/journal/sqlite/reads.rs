//! Reader threads: each with a connection of its own, so that reading never waits for a commit.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use tokio::sync::oneshot;

use super::reading::{self, READ_MS_MAX};
use crate::journal::entry::{Chain, Filter, Kept, Recorded, Sample};
use crate::journal::{BoxFuture, History, ReadError};

/// Most reads that wait.
const READS_WAITING_MAX: usize = 1_024;
/// How often a running query looks at the clock, in steps of the database's machine: about every 0.1 ms.
const STEPS_BETWEEN_LOOKS: i32 = 5_000;

type Question = Box<dyn FnOnce(&Connection) + Send>;

/// Threads that answer questions. Dropping it waits for those being answered.
#[derive(Debug)]
pub(super) struct Reads {
    asker: Asker,
    threads: Vec<JoinHandle<()>>,
}

/// A way to ask them.
#[derive(Clone, Debug)]
pub(super) struct Asker {
    queue: Arc<Queue>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    questions: VecDeque<Question>,
    closed: bool,
}

impl Reads {
    /// Starts one thread per connection.
    pub(super) fn start(connections: Vec<Connection>) -> std::io::Result<Self> {
        let mut reads = Self { asker: Asker { queue: Arc::default() }, threads: Vec::new() };
        for connection in connections {
            let queue = Arc::clone(&reads.asker.queue);
            let thread = thread::Builder::new().name("journal-read".to_owned());
            reads.threads.push(thread.spawn(move || answer(&queue, &connection))?);
        }
        Ok(reads)
    }

    pub(super) fn asker(&self) -> &Asker {
        &self.asker
    }
}

impl Asker {
    /// Asks, once polled, and waits for the answer.
    fn ask<T: Send + 'static>(
        &self,
        doing: &'static str,
        question: impl FnOnce(&Connection) -> Result<T, ReadError> + Send + 'static,
    ) -> BoxFuture<Result<T, ReadError>> {
        let queue = Arc::clone(&self.queue);
        Box::pin(async move {
            let (reply, answer) = oneshot::channel();
            let asked = queue.push(Box::new(move |connection| {
                // A caller that no longer listens needs no answer.
                let _gone = reply.send(question(connection));
            }));
            let ended = || ReadError::Store { doing, why: "the journal was closed".to_owned() };
            match asked {
                Asked::Waiting => answer.await.unwrap_or_else(|_| Err(ended())),
                Asked::Full => Err(ReadError::Overloaded),
                Asked::Closed => Err(ended()),
            }
        })
    }
}

impl Drop for Reads {
    fn drop(&mut self) {
        self.asker.queue.close();
        for thread in self.threads.drain(..) {
            // A reader that panicked has already told its caller by dropping the reply.
            let _ended = thread.join();
        }
    }
}

enum Asked {
    Waiting,
    Full,
    Closed,
}

impl Queue {
    fn push(&self, question: Question) -> Asked {
        let mut state = self.locked();
        if state.closed {
            return Asked::Closed;
        }
        if state.questions.len() >= READS_WAITING_MAX {
            return Asked::Full;
        }
        state.questions.push_back(question);
        drop(state);
        self.filled.notify_one();
        Asked::Waiting
    }

    fn close(&self) {
        let mut state = self.locked();
        state.closed = true;
        let waiting = std::mem::take(&mut state.questions);
        drop(state);
        self.filled.notify_all();
        // Dropping what waits tells those who asked; outside the lock, because their wakers may ask again.
        drop(waiting);
    }

    fn next(&self) -> Option<Question> {
        let mut state = self.locked();
        loop {
            if state.closed {
                return None;
            }
            if let Some(question) = state.questions.pop_front() {
                return Some(question);
            }
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn locked(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Queue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue").field("questions", &self.locked().questions.len()).finish_non_exhaustive()
    }
}

fn answer(queue: &Queue, connection: &Connection) {
    let limit = TimeLimit::on(connection);
    while let Some(question) = queue.next() {
        limit.begin(Duration::from_millis(READ_MS_MAX));
        question(connection);
    }
}

/// Cuts queries on one connection that take too long.
pub(super) struct TimeLimit {
    origin: Instant,
    deadline_us: Arc<AtomicU64>,
}

impl TimeLimit {
    pub(super) fn on(connection: &Connection) -> Self {
        let limit = Self { origin: Instant::now(), deadline_us: Arc::new(AtomicU64::new(u64::MAX)) };
        let (origin, deadline_us) = (limit.origin, Arc::clone(&limit.deadline_us));
        let is_over = move || micros(origin.elapsed()) > deadline_us.load(Ordering::Relaxed);
        // It fails only on a closed connection; without it, reads are merely not cut.
        let _unlimited = connection.progress_handler(STEPS_BETWEEN_LOOKS, Some(is_over));
        limit
    }

    /// From now on, queries are cut after `limit`.
    pub(super) fn begin(&self, limit: Duration) {
        self.deadline_us.store(micros(self.origin.elapsed() + limit), Ordering::Relaxed);
    }

    /// From now on, queries are not cut.
    pub(super) fn lift(&self) {
        self.deadline_us.store(u64::MAX, Ordering::Relaxed);
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

impl History for Asker {
    fn read(
        &self,
        deployment: &str,
        after_seq: u64,
        limit: usize,
    ) -> BoxFuture<Result<Vec<Recorded>, ReadError>> {
        let deployment = deployment.to_owned();
        self.ask("reading a deployment's events", move |connection| {
            reading::read(connection, &deployment, after_seq, limit)
        })
    }

    fn feed(&self, after: u64, limit: usize) -> BoxFuture<Result<Vec<Recorded>, ReadError>> {
        self.ask("reading the events of all deployments", move |connection| {
            reading::feed(connection, after, limit)
        })
    }

    fn position(&self) -> BoxFuture<Result<u64, ReadError>> {
        self.ask("reading the last position", reading::position)
    }

    fn deployment(&self, deployment: &str) -> BoxFuture<Result<Option<Kept>, ReadError>> {
        let deployment = deployment.to_owned();
        self.ask("looking a deployment up", move |connection| reading::kept(connection, &deployment))
    }

    fn deployments(&self, filter: Filter) -> BoxFuture<Result<Vec<Kept>, ReadError>> {
        self.ask("listing deployments", move |connection| reading::deployments(connection, &filter))
    }

    fn active(&self) -> BoxFuture<Result<Vec<Kept>, ReadError>> {
        self.ask("listing active deployments", reading::active)
    }

    fn next_turn(&self, service: &str, environment: &str) -> BoxFuture<Result<u64, ReadError>> {
        let (service, environment) = (service.to_owned(), environment.to_owned());
        self.ask("looking the last turn up", move |connection| {
            reading::next_turn(connection, &service, &environment)
        })
    }

    fn request(&self, key: &str) -> BoxFuture<Result<Option<String>, ReadError>> {
        let key = key.to_owned();
        self.ask("looking a request up", move |connection| reading::request(connection, &key))
    }

    fn samples(&self, deployment: &str) -> BoxFuture<Result<Vec<Sample>, ReadError>> {
        let deployment = deployment.to_owned();
        self.ask("reading samples", move |connection| reading::samples(connection, &deployment))
    }

    fn meta(&self, key: &str) -> BoxFuture<Result<Option<String>, ReadError>> {
        let key = key.to_owned();
        self.ask("reading a fact", move |connection| reading::meta(connection, &key))
    }

    fn verify(&self, deployment: &str) -> BoxFuture<Result<Chain, ReadError>> {
        let deployment = deployment.to_owned();
        self.ask("checking a deployment", move |connection| reading::verify(connection, &deployment))
    }

    fn verify_all(&self) -> BoxFuture<Result<Vec<Chain>, ReadError>> {
        let asker = self.clone();
        Box::pin(async move {
            // One question per deployment, so that other reads get their turn and none runs into the time limit.
            let (mut broken, mut after) = (Vec::new(), 0);
            loop {
                let doing = "listing deployments to check";
                let places = asker.ask(doing, move |connection| reading::places(connection, after)).await?;
                let Some((last, _)) = places.last() else { return Ok(broken) };
                after = *last;
                for (_, deployment) in places {
                    let chain = asker.verify(&deployment).await?;
                    if matches!(chain, Chain::Broken { .. }) {
                        broken.push(chain);
                    }
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    #[test]
    fn a_query_that_takes_too_long_is_cut_and_the_next_one_is_not() {
        let connection = Connection::open_in_memory().unwrap();
        let limit = TimeLimit::on(&connection);
        limit.begin(Duration::ZERO);
        let endless =
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
        let count = |sql| connection.query_row(sql, [], |row| row.get::<_, i64>(0));
        let cut = reading::store("counting", &count(endless).unwrap_err());
        assert_eq!(cut, ReadError::Slow { limit_ms: READ_MS_MAX });
        limit.lift();
        assert_eq!(count("SELECT 1"), Ok(1));
    }

    #[test]
    fn too_many_readers_are_refused_and_those_who_wait_are_told_when_it_closes() {
        let reads = Reads::start(Vec::new()).unwrap();
        let mut waiting: Vec<_> = (0..READS_WAITING_MAX).map(|_| reads.asker().position()).collect();
        let mut context = Context::from_waker(Waker::noop());
        for answer in &mut waiting {
            assert!(answer.as_mut().poll(&mut context).is_pending());
        }
        let one_more = pin!(reads.asker().position()).poll(&mut context);
        assert_eq!(one_more, Poll::Ready(Err(ReadError::Overloaded)));
        drop(reads);
        for answer in &mut waiting {
            let told = answer.as_mut().poll(&mut context);
            assert!(matches!(told, Poll::Ready(Err(ReadError::Store { .. }))), "{told:?}");
        }
    }
}
