//! Times as the data plane keeps them: milliseconds of the monotonic clock since the process's first question.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

static START: OnceLock<Instant> = OnceLock::new();

/// Milliseconds since the process's start, never zero, of a moment on the monotonic clock.
pub(crate) fn ms(at: Instant) -> u64 {
    let start = *START.get_or_init(Instant::now);
    u64::try_from(at.saturating_duration_since(start).as_millis()).unwrap_or(u64::MAX).saturating_add(1)
}

/// Milliseconds since the process's start now.
pub(crate) fn now_ms() -> u64 {
    ms(Instant::now())
}

/// Milliseconds since the Unix epoch, for people and other programs.
pub(crate) fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
