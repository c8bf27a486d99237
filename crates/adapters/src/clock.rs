//! The engine's clock: the wall clock's reading where a timeline begins, and the machine's steady clock from then on.
//!
//! A wall clock is set by people and by the network, forwards and back. A bake that counted its hours would end early, or
//! an hour late. So the wall clock is read once, when an engine starts with nothing under way; deployments then live on
//! that timeline, also through the engine's restarts, for as long as the machine runs: what it shows beyond the steady
//! clock is kept in a file beside the data. After a restart of the machine itself the wall clock is read again; the
//! counters have started anew then too, so that a stage begins its bake again anyway.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};
use tidegate_core::model::Timestamp;

/// Names a file with milliseconds to add to the wall clock: how a test sets the clock of one engine, and of nobody else.
/// It is read again at every look at the wall clock. Without it the wall clock is the system's.
const WALL_VARIABLE: &str = "TIDEGATE_TEST_CLOCK";

/// Where the system names the present run of the machine.
const BOOT: &str = "/proc/sys/kernel/random/boot_id";

/// What the timeline shows beyond the steady clock, good for one run of the machine.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Anchor {
    boot: String,
    ahead_ms: i64,
}

/// A clock that never goes back and never jumps while anything is under way.
#[derive(Debug)]
pub struct Clock {
    file: PathBuf,
    /// What the timeline shows beyond the steady clock.
    ahead_ms: AtomicI64,
}

impl Clock {
    /// The clock of a data directory, on the wall clock's time until [`Clock::start_at`].
    pub fn new(data: &Path) -> Self {
        let ahead_ms = wall_ms().saturating_sub(steady_ms());
        Self { file: data.join("clock.json"), ahead_ms: AtomicI64::new(ahead_ms) }
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.ahead_ms.load(Ordering::Relaxed).saturating_add(steady_ms()))
    }

    /// Goes on with the timeline that the journal's latest moment is on; `None` begins a new one with the wall clock. The
    /// present is never before that moment. A timeline that cannot be kept is said and lost at the next start, no more.
    pub fn start_at(&self, latest: Option<Timestamp>) {
        let boot = fs::read_to_string(BOOT).unwrap_or_default().trim().to_owned();
        if let Some(latest) = latest {
            if let Some(anchor) = self.kept().filter(|anchor| !boot.is_empty() && anchor.boot == boot) {
                self.ahead_ms.store(anchor.ahead_ms, Ordering::Relaxed);
            }
            let behind = i64::try_from(latest.since(self.now()).0).unwrap_or(i64::MAX);
            self.ahead_ms.fetch_add(behind, Ordering::Relaxed);
        }
        let anchor = Anchor { boot, ahead_ms: self.ahead_ms.load(Ordering::Relaxed) };
        if let Err(why) = self.keep(&anchor) {
            tracing::warn!(file = %self.file.display(), %why, "the clock's place cannot be kept");
        }
    }

    /// Time from now to a moment; zero when it has passed.
    pub fn until(&self, at: Timestamp) -> Duration {
        Duration::from_millis(at.since(self.now()).0)
    }

    fn kept(&self) -> Option<Anchor> {
        serde_json::from_slice(&fs::read(&self.file).ok()?).ok()
    }

    /// Whole or not at all. Not synced: it is worth nothing after the machine went down.
    fn keep(&self, anchor: &Anchor) -> io::Result<()> {
        if self.kept().as_ref() == Some(anchor) {
            return Ok(());
        }
        let fresh = self.file.with_extension("json.new");
        fs::write(&fresh, serde_json::to_vec(anchor)?)?;
        fs::rename(&fresh, &self.file)
    }
}

/// The machine's steady clock: counts from some moment of its present run, the same for all processes.
fn steady_ms() -> i64 {
    let now = clock_gettime(ClockId::Monotonic);
    now.tv_sec.saturating_mul(1_000).saturating_add(now.tv_nsec / 1_000_000)
}

fn wall_ms() -> i64 {
    let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let wall_ms = i64::try_from(wall.as_millis()).unwrap_or(i64::MAX);
    let set = std::env::var_os(WALL_VARIABLE).and_then(|file| fs::read_to_string(file).ok());
    wall_ms.saturating_add(set.and_then(|text| text.trim().parse().ok()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use tidegate_core::model::Millis;

    use super::*;

    /// An engine's clock that shows so much beyond the true time, as if the wall clock had been set.
    fn shifted(data: &Path, ms: i64) -> Clock {
        let clock = Clock::new(data);
        clock.ahead_ms.fetch_add(ms, Ordering::Relaxed);
        clock
    }

    const HOUR: i64 = 3_600_000;

    #[test]
    fn a_wall_clock_that_was_set_while_the_engine_was_down_moves_nothing_that_is_under_way() {
        let data = tempfile::tempdir().unwrap();
        let before = Clock::new(data.path());
        before.start_at(None);
        let latest = before.now();
        for set in [HOUR, -HOUR] {
            let after = shifted(data.path(), set);
            after.start_at(Some(latest));
            let passed = after.now().since(latest);
            assert!(after.now() >= latest && passed < Millis::minutes(1), "{passed} for {set}");
        }
    }

    #[test]
    fn with_nothing_under_way_or_after_the_machine_started_again_the_wall_clock_counts() {
        let data = tempfile::tempdir().unwrap();
        Clock::new(data.path()).start_at(None);
        let latest = Clock::new(data.path()).now();
        let fresh = shifted(data.path(), HOUR);
        fresh.start_at(None);
        assert!(fresh.now().since(latest) >= Millis::hours(1));
        fs::write(data.path().join("clock.json"), r#"{"boot":"another run","ahead_ms":0}"#).unwrap();
        let fresh = shifted(data.path(), HOUR);
        fresh.start_at(Some(latest));
        assert!(fresh.now().since(latest) >= Millis::hours(1));
    }

    #[test]
    fn the_present_is_never_before_the_journals_latest_moment() {
        let data = tempfile::tempdir().unwrap();
        let latest = Clock::new(data.path()).now().after(Millis::hours(1));
        fs::write(data.path().join("clock.json"), "torn").unwrap();
        let clock = Clock::new(data.path());
        clock.start_at(Some(latest));
        assert!(clock.now() >= latest);
        // And the next engine goes on from there.
        let next = Clock::new(data.path());
        next.start_at(Some(Timestamp(0)));
        assert!(next.now() >= latest);
    }
}
