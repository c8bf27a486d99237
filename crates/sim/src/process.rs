//! One life of the control plane: its own timers, its own reading of the clock, and its end.
//!
//! Nothing here waits for real time. The runtime tells [`Process::rest`] when no task has anything left to do; only then
//! does time move, straight to the next timer. The same seed therefore always gives the same run.

use std::{
    collections::BTreeMap,
    future::Future,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tidegate_core::model::Timestamp;

use crate::universe::Universe;

/// A control plane from its start to its end.
pub(crate) struct Process {
    universe: Arc<Mutex<Universe>>,
    timers: Mutex<Timers>,
    /// What its clock shows beyond the true time, milliseconds.
    offset: AtomicI64,
    dead: AtomicBool,
    /// Time does not move beyond this while the runtime rests.
    horizon: AtomicI64,
    rested: AtomicBool,
    main: Mutex<Option<Waker>>,
}

#[derive(Default)]
struct Timers {
    queue: BTreeMap<(i64, u64), Waker>,
    next: u64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Process {
    /// A process whose wall clock shows `offset` milliseconds more than the true time.
    pub(crate) fn new(universe: Arc<Mutex<Universe>>, offset: i64) -> Arc<Self> {
        Arc::new(Self {
            universe,
            timers: Mutex::default(),
            offset: AtomicI64::new(offset),
            dead: AtomicBool::new(false),
            horizon: AtomicI64::new(i64::MIN),
            rested: AtomicBool::new(false),
            main: Mutex::new(None),
        })
    }

    /// The universe it lives in.
    pub(crate) fn universe(&self) -> MutexGuard<'_, Universe> {
        locked(&self.universe)
    }

    /// What its clock shows.
    pub(crate) fn clock(&self) -> Timestamp {
        Timestamp(self.universe().now() + self.offset.load(Ordering::Relaxed))
    }

    /// Makes its clock show at least this moment.
    pub(crate) fn not_before(&self, latest: Timestamp) {
        let behind = latest.0.saturating_sub(self.clock().0).max(0);
        self.offset.fetch_add(behind, Ordering::Relaxed);
    }

    /// The true time at which its clock will show this moment.
    pub(crate) fn true_time(&self, at: Timestamp) -> i64 {
        at.0.saturating_sub(self.offset.load(Ordering::Relaxed))
    }

    /// What its clock shows beyond the true time.
    pub(crate) fn offset(&self) -> i64 {
        self.offset.load(Ordering::Relaxed)
    }

    /// Ends it, here and now: nothing that it was doing goes on.
    pub(crate) fn kill(&self) {
        self.dead.store(true, Ordering::Relaxed);
        self.wake_main();
    }

    /// Whether it was killed.
    pub(crate) fn is_dead(&self) -> bool {
        self.dead.load(Ordering::Relaxed)
    }

    /// Resolves at a true time.
    pub(crate) fn sleep(self: &Arc<Self>, at: i64) -> Sleep {
        Sleep { process: Arc::clone(self), at, id: None }
    }

    /// The runtime has nothing left to do now: moves time to the next timer, or wakes whoever runs this process when there
    /// is none before the horizon.
    pub(crate) fn rest(&self) {
        let next = locked(&self.timers).queue.first_key_value().map(|(&(at, _), _)| at);
        match next {
            Some(at) if !self.is_dead() && at <= self.horizon.load(Ordering::Relaxed) => {
                let now = self.universe().advance(at);
                self.fire(now);
                // The timer may be one of a future that nobody polls just now, and then nothing follows from it: the
                // runtime must come to rest again instead of waiting for ever.
                self.wake_main();
            }
            _ => {
                self.rested.store(true, Ordering::Relaxed);
                self.wake_main();
            }
        }
    }

    fn fire(&self, now: i64) {
        let due = {
            let mut timers = locked(&self.timers);
            let later = timers.queue.split_off(&(now + 1, 0));
            std::mem::replace(&mut timers.queue, later)
        };
        due.into_values().for_each(Waker::wake);
    }

    fn wake_main(&self) {
        if let Some(waker) = locked(&self.main).take() {
            waker.wake();
        }
    }

    /// Runs everything that is due up to a true time. `false` when the process died on the way.
    pub(crate) async fn until(&self, horizon: i64) -> bool {
        self.horizon.store(horizon, Ordering::Relaxed);
        self.rested.store(false, Ordering::Relaxed);
        std::future::poll_fn(|context| {
            if self.is_dead() || self.rested.load(Ordering::Relaxed) {
                return Poll::Ready(());
            }
            *locked(&self.main) = Some(context.waker().clone());
            Poll::Pending
        })
        .await;
        !self.is_dead()
    }

    /// Lets `work` happen while time may move up to the horizon. `None` when the process died first, or when nothing is
    /// left that could finish it.
    pub(crate) async fn with<T>(&self, horizon: i64, work: impl Future<Output = T>) -> Option<T> {
        let mut work = std::pin::pin!(work);
        self.horizon.store(horizon, Ordering::Relaxed);
        self.rested.store(false, Ordering::Relaxed);
        std::future::poll_fn(|context| {
            if self.is_dead() {
                return Poll::Ready(None);
            }
            if let Poll::Ready(done) = work.as_mut().poll(context) {
                return Poll::Ready(Some(done));
            }
            if self.rested.swap(false, Ordering::Relaxed) {
                return Poll::Ready(None);
            }
            *locked(&self.main) = Some(context.waker().clone());
            Poll::Pending
        })
        .await
    }
}

/// Resolves at a true time; never, once its process is dead.
pub(crate) struct Sleep {
    process: Arc<Process>,
    at: i64,
    id: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.process.is_dead() {
            return Poll::Pending;
        }
        if self.process.universe().now() >= self.at {
            return Poll::Ready(());
        }
        let process = Arc::clone(&self.process);
        let mut timers = locked(&process.timers);
        let id = *self.id.get_or_insert_with(|| {
            timers.next += 1;
            timers.next
        });
        timers.queue.insert((self.at, id), context.waker().clone());
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            locked(&self.process.timers).queue.remove(&(self.at, id));
        }
    }
}
