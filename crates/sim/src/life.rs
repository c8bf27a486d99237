//! A real engine on a runtime of its own, living in a [`Process`].

use std::sync::{Arc, Mutex};

use tidegate_engine::{Engine, journal::Journal as _};
use tokio::runtime::{Builder, Runtime};

use crate::{disk::SimJournal, process::Process, universe::Universe, world::SimWorld};

/// Longest wait for an answer to one request, milliseconds of true time.
const ANSWER_MS_MAX: i64 = 60_000;

/// An engine and everything that keeps it going.
pub(crate) struct Life {
    runtime: Runtime,
    process: Arc<Process>,
    engine: Option<Engine<SimJournal, SimWorld>>,
}

impl Life {
    /// Starts an engine on what the disk kept. `None` when the operating system refuses a runtime.
    pub(crate) fn start(universe: &Arc<Mutex<Universe>>, offset: i64, survivors: usize) -> Option<Self> {
        let process = Process::new(Arc::clone(universe), offset);
        let resting = Arc::clone(&process);
        let runtime = Builder::new_current_thread().on_thread_park(move || resting.rest()).build().ok()?;
        let journal = Arc::new(SimJournal::open(&process, survivors));
        let epoch = journal.epoch();
        process.universe().owned_by(epoch);
        let world = Arc::new(SimWorld::new(Arc::clone(&process), epoch));
        let now = process.universe().now();
        let started = runtime.block_on(process.with(now + ANSWER_MS_MAX, Engine::start(journal, world)));
        let engine = started.and_then(Result::ok);
        Some(Self { runtime, process, engine })
    }

    /// The engine; `None` when it died while it started.
    pub(crate) const fn engine(&self) -> Option<&Engine<SimJournal, SimWorld>> {
        self.engine.as_ref()
    }

    /// Lets it work up to a true time. `false` when it died, or does not take anything more.
    pub(crate) fn until(&self, horizon: i64) -> bool {
        let alive = self.runtime.block_on(async {
            let mut halted = self.engine.as_ref().map(Engine::halted);
            let halt = async {
                match &mut halted {
                    Some(halted) => drop(halted.wait_for(Option::is_some).await),
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = halt => false,
                alive = self.process.until(horizon) => alive,
            }
        });
        alive && self.engine.is_some()
    }

    /// Asks the engine something. `None` when it died, or does not answer in time.
    pub(crate) fn ask<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        let now = self.process.universe().now();
        self.runtime.block_on(self.process.with(now + ANSWER_MS_MAX, work))
    }

    /// Whether the process was killed.
    pub(crate) fn is_dead(&self) -> bool {
        self.process.is_dead() || self.engine.is_none()
    }

    /// Kills it: nothing of it goes on.
    pub(crate) fn kill(self) {
        self.process.kill();
    }
}
