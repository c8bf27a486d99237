//! Waiting for what somebody else brings about.

use std::time::{Duration, Instant};

use crate::BedError;

/// Between two looks. Short beside everything that is waited for here.
const LOOK_AGAIN: Duration = Duration::from_millis(25);

/// Looks until there is something to see, at most for `within`; `what` completes the sentence "waited in vain for". An
/// error of the look ends the wait.
///
/// # Errors
/// The look's own, or [`BedError::Late`].
pub fn until<T>(
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> Result<Option<T>, BedError>,
) -> Result<T, BedError> {
    let started = Instant::now();
    loop {
        if let Some(seen) = look()? {
            return Ok(seen);
        }
        if started.elapsed() >= within {
            return Err(BedError::Late {
                what: what.to_owned(),
                waited_s: within.as_secs(),
                log: String::new(),
            });
        }
        std::thread::sleep(LOOK_AGAIN);
    }
}
