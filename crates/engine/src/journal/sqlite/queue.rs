//! What waits for the writer: two bounded lanes, appends before everything else.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::journal::entry::{Append, Appended, NewSample};
use crate::journal::error::AppendError;

/// Most appends that wait. At 10,000 a second this is less than half a second of work.
pub(super) const APPENDS_WAITING_MAX: usize = 4_096;
/// From this many on, only deployments that exist are served: what runs may end, nothing new begins.
pub(super) const ADMISSIONS_WAITING_MAX: usize = 3_072;
/// Most other writes that wait.
pub(super) const OTHERS_WAITING_MAX: usize = 512;
/// Most payload bytes that wait, in both lanes together.
pub(super) const BYTES_WAITING_MAX: usize = 64 << 20;
/// Most appends in one transaction.
pub(super) const GROUP_MAX: usize = 256;
/// Most other writes in one transaction.
pub(super) const OTHERS_PER_GROUP_MAX: usize = 32;

/// The answer to any write; only an append has content to answer with.
pub(super) type Answer = Result<Option<Appended>, AppendError>;

/// One write and where its answer goes.
#[derive(Debug)]
pub(super) struct Job {
    pub(super) work: Work,
    pub(super) reply: oneshot::Sender<Answer>,
}

/// One write.
#[derive(Debug)]
pub(super) enum Work {
    Append(Box<Append>),
    Samples { deployment: String, samples: Vec<NewSample> },
    Meta { key: String, value: String },
}

impl Work {
    /// Whether this begins something new, rather than carry on what exists.
    pub(super) fn is_admission(&self) -> bool {
        match self {
            Self::Append(append) => append.expected_seq == 0,
            Self::Samples { .. } | Self::Meta { .. } => true,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Append(append) => append.events.iter().map(|event| event.payload.len()).sum(),
            Self::Samples { samples, .. } => samples.iter().map(|sample| sample.payload.len()).sum(),
            Self::Meta { key, value } => key.len() + value.len(),
        }
    }
}

/// What the writer gets when it asks for work.
pub(super) enum Taken {
    Group(Vec<Job>),
    /// Nothing came for as long as the writer wanted to wait.
    Idle,
    /// Nothing will come any more.
    Closed,
}

/// The queue between callers and the writer.
#[derive(Debug, Default)]
pub(super) struct Queue {
    lanes: Mutex<Lanes>,
    filled: Condvar,
}

#[derive(Debug, Default)]
struct Lanes {
    appends: VecDeque<Job>,
    others: VecDeque<Job>,
    bytes: usize,
    /// Why nothing is taken any more.
    closed: Option<String>,
}

impl Queue {
    /// Puts a write in its lane, or says why not. The answer will come through the receiver.
    pub(super) fn push(&self, work: Work) -> Result<oneshot::Receiver<Answer>, AppendError> {
        let (reply, answer) = oneshot::channel();
        let mut lanes = self.locked();
        if let Some(why) = &lanes.closed {
            return Err(AppendError::Broken { why: why.clone() });
        }
        let bytes = lanes.bytes + work.bytes();
        if bytes > BYTES_WAITING_MAX {
            return Err(AppendError::Overloaded { what: "bytes waiting to be written" });
        }
        let (lane, max, what) = match (&work, work.is_admission()) {
            (Work::Append(_), false) => (&mut lanes.appends, APPENDS_WAITING_MAX, "waiting appends"),
            (Work::Append(_), true) => (&mut lanes.appends, ADMISSIONS_WAITING_MAX, "waiting appends"),
            (Work::Samples { .. } | Work::Meta { .. }, _) => {
                (&mut lanes.others, OTHERS_WAITING_MAX, "waiting samples")
            }
        };
        if lane.len() >= max {
            return Err(AppendError::Overloaded { what });
        }
        lane.push_back(Job { work, reply });
        lanes.bytes = bytes;
        drop(lanes);
        self.filled.notify_one();
        Ok(answer)
    }

    /// Waits for work, at most `idle` if that is given, and takes a group of it.
    pub(super) fn take(&self, idle: Option<Duration>) -> Taken {
        let mut lanes = self.locked();
        while lanes.appends.is_empty() && lanes.others.is_empty() {
            if lanes.closed.is_some() {
                return Taken::Closed;
            }
            let Some(idle) = idle else {
                lanes = self.filled.wait(lanes).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let waited = self.filled.wait_timeout(lanes, idle).unwrap_or_else(PoisonError::into_inner);
            lanes = waited.0;
            if waited.1.timed_out() && lanes.appends.is_empty() && lanes.others.is_empty() {
                return Taken::Idle;
            }
        }
        Taken::Group(lanes.group())
    }

    /// Takes nothing new any more. What waits is still served.
    pub(super) fn close(&self, why: &str) {
        self.locked().closed.get_or_insert_with(|| why.to_owned());
        self.filled.notify_all();
    }

    /// Takes nothing new any more, and answers what waits with the reason.
    pub(super) fn fail(&self, why: &str) {
        self.close(why);
        let (appends, others) = {
            let mut lanes = self.locked();
            lanes.bytes = 0;
            (std::mem::take(&mut lanes.appends), std::mem::take(&mut lanes.others))
        };
        for job in appends.into_iter().chain(others) {
            // A caller that no longer listens needs no answer.
            let _gone = job.reply.send(Err(AppendError::Broken { why: why.to_owned() }));
        }
    }

    /// How many writes wait.
    pub(super) fn waiting(&self) -> usize {
        let lanes = self.locked();
        lanes.appends.len() + lanes.others.len()
    }

    fn locked(&self) -> MutexGuard<'_, Lanes> {
        // Nothing inside can panic half-way, so a poisoned lock still holds a sound queue.
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lanes {
    fn group(&mut self) -> Vec<Job> {
        let appends = self.appends.len().min(GROUP_MAX);
        let others = self.others.len().min(OTHERS_PER_GROUP_MAX);
        let mut group = Vec::with_capacity(appends + others);
        group.extend(self.appends.drain(..appends));
        group.extend(self.others.drain(..others));
        self.bytes = self.bytes.saturating_sub(group.iter().map(|job| job.work.bytes()).sum());
        group
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::Epoch;
    use crate::journal::conformance::first_append;

    fn append(expected_seq: u64) -> Work {
        let append = first_append("d", Epoch(1));
        Work::Append(Box::new(Append { expected_seq, ..append }))
    }

    #[test]
    fn when_it_overflows_new_deployments_are_refused_first_and_running_ones_last() {
        const { assert!(ADMISSIONS_WAITING_MAX + 1_000 <= APPENDS_WAITING_MAX, "room for what runs") };
        let queue = Queue::default();
        let mut answers = Vec::new();
        for _ in 0..ADMISSIONS_WAITING_MAX {
            answers.push(queue.push(append(0)).unwrap());
        }
        assert!(matches!(queue.push(append(0)), Err(AppendError::Overloaded { .. })));
        for _ in ADMISSIONS_WAITING_MAX..APPENDS_WAITING_MAX {
            answers.push(queue.push(append(1)).unwrap());
        }
        assert!(matches!(queue.push(append(1)), Err(AppendError::Overloaded { .. })));
        assert_eq!(queue.waiting(), APPENDS_WAITING_MAX);
        queue.fail("gone");
        for mut answer in answers {
            assert_eq!(answer.try_recv().unwrap(), Err(AppendError::Broken { why: "gone".to_owned() }));
        }
    }

    #[test]
    fn appends_are_taken_before_samples_that_came_first() {
        let queue = Queue::default();
        let _samples = queue.push(Work::Meta { key: "k".to_owned(), value: String::new() }).unwrap();
        let _append = queue.push(append(0)).unwrap();
        let Taken::Group(group) = queue.take(None) else { panic!("work waits") };
        assert!(matches!(group.first().map(|job| &job.work), Some(Work::Append(_))));
        assert_eq!(group.len(), 2);
    }
}
