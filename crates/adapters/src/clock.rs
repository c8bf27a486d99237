//! The engine's clock: wall time at the start, then only the monotonic clock.

use std::{
    sync::atomic::{AtomicI64, Ordering},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use tidegate_core::model::Timestamp;

/// A clock that never goes back: a wall clock that is set back while the engine runs is not noticed, and one that was
/// set back while it was down goes on from the latest moment in the journal, so that no bake gets shorter and no
/// deadline moves away.
#[derive(Debug)]
pub struct Clock {
    started: Instant,
    wall_ms: AtomicI64,
}

impl Default for Clock {
    fn default() -> Self {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        let wall_ms = i64::try_from(wall.as_millis()).unwrap_or(i64::MAX);
        Self { started: Instant::now(), wall_ms: AtomicI64::new(wall_ms) }
    }
}

impl Clock {
    /// The present moment.
    pub fn now(&self) -> Timestamp {
        let passed = i64::try_from(self.started.elapsed().as_millis()).unwrap_or(i64::MAX);
        Timestamp(self.wall_ms.load(Ordering::Relaxed).saturating_add(passed))
    }

    /// Makes the present at least this moment.
    pub fn not_before(&self, latest: Timestamp) {
        let behind = latest.since(self.now());
        let behind = i64::try_from(behind.0).unwrap_or(i64::MAX);
        self.wall_ms.fetch_add(behind, Ordering::Relaxed);
    }

    /// Time from now to a moment; zero when it has passed.
    pub fn until(&self, at: Timestamp) -> Duration {
        Duration::from_millis(at.since(self.now()).0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wall_clock_set_back_while_down_goes_on_from_the_journals_latest_moment() {
        let clock = Clock::default();
        let latest = clock.now().after(tidegate_core::model::Millis::hours(1));
        clock.not_before(latest);
        assert!(clock.now() >= latest);
        let now = clock.now();
        clock.not_before(Timestamp(0));
        assert!(clock.now() >= now, "an old moment changes nothing");
    }
}
