//! A start of pods: whether it goes on, and what says that it surely will not end well.

use std::time::{Duration, Instant};

use crate::{target::EffectError, view::Pods};

/// Progress that a crash loop cannot reset: only more ready pods than ever before count.
pub(crate) struct Progress {
    most: u32,
    since: Instant,
    within: Duration,
}

impl Progress {
    pub(crate) fn new(within_ms: u64) -> Self {
        Self { most: 0, since: Instant::now(), within: Duration::from_millis(within_ms) }
    }

    /// Time until it is too long.
    pub(crate) fn left(&self) -> Duration {
        self.within.saturating_sub(self.since.elapsed())
    }

    /// Fails when no further pod has become ready for too long.
    pub(crate) fn look(&mut self, ready: u32, wanted: u32, name: &str) -> Result<(), EffectError> {
        if ready > self.most {
            self.most = ready;
            self.since = Instant::now();
        }
        if self.since.elapsed() < self.within {
            return Ok(());
        }
        let (most, seconds) = (self.most, self.within.as_secs());
        Err(EffectError::Unready(format!(
            "{name}: {most} of {wanted} pods became ready, and no further one in {seconds} s"
        )))
    }

    /// Somebody stopped the start on purpose: the time does not count.
    pub(crate) fn hold(&mut self) {
        self.since = Instant::now();
    }
}

/// Why no further pods can be made: a quota, an admission.
pub(crate) fn refused(name: &str, why: &str) -> EffectError {
    EffectError::Unready(format!("no further pods of {name} can be made: {why}"))
}

/// Fails when one of the pods surely does not come up, and names it with the reason.
pub(crate) fn not_broken(pods: &Pods, namespace: &str) -> Result<(), EffectError> {
    match pods.iter().find_map(|(name, pod)| Some((name, pod.broken.as_ref()?, pod.restarts))) {
        Some((name, why, restarts)) => {
            let times = if restarts > 0 { format!(", {restarts} restarts") } else { String::new() };
            Err(EffectError::Unready(format!(
                "pod {name} does not come up: {why}{times}; see `kubectl -n {namespace} logs {name}`"
            )))
        }
        None => Ok(()),
    }
}
