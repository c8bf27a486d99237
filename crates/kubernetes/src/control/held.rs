//! The right to act, which ends by itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

/// Longest time until an early end is noticed by who waits for it.
const ENDED_LOOK: Duration = Duration::from_millis(100);

/// Whether this process may still touch the world. It may not once the moment has passed up to which the right was last
/// extended, whether anybody looked at the time or not: a process that was stopped and goes on finds itself without it.
/// Measured by this process's own monotonic clock. Cheap to clone; all clones are the same right.
#[derive(Clone, Debug)]
pub struct Held {
    start: Instant,
    /// Milliseconds after `start`; 0 is never held.
    until_ms: Arc<AtomicU64>,
}

impl Default for Held {
    fn default() -> Self {
        Self { start: Instant::now(), until_ms: Arc::default() }
    }
}

impl Held {
    /// Holds until this moment at least.
    pub fn extend(&self, until: Instant) {
        let ms = u64::try_from(until.saturating_duration_since(self.start).as_millis()).unwrap_or(u64::MAX);
        self.until_ms.fetch_max(ms, Ordering::Relaxed);
    }

    /// Ends it now.
    pub fn end(&self) {
        self.until_ms.store(0, Ordering::Relaxed);
    }

    /// Whether it is held at this moment.
    pub fn is_held(&self) -> bool {
        !self.left().is_zero()
    }

    /// How long it is held from now on; nothing when it is not.
    pub fn left(&self) -> Duration {
        let until = self.start + Duration::from_millis(self.until_ms.load(Ordering::Relaxed));
        until.saturating_duration_since(Instant::now())
    }
}

/// Waits until the right is not held, and a moment longer when it is ended early. Where there is none, nothing ends it.
pub(crate) async fn no_longer(held: Option<&Held>) {
    let Some(held) = held else { return std::future::pending().await };
    loop {
        let left = held.left();
        if left.is_zero() {
            return;
        }
        tokio::time::sleep(left.min(ENDED_LOOK)).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_ends_with_its_time_or_at_once_and_is_only_ever_extended() {
        let held = Held::default();
        assert!(!held.is_held(), "nobody gave it");
        held.extend(Instant::now() + Duration::from_mins(1));
        held.extend(Instant::now());
        assert!(held.clone().is_held());
        held.end();
        assert!(!held.is_held());
        held.extend(held.start);
        assert!(!held.is_held());
    }
}
