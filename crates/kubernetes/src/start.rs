//! A start of pods: whether it goes on, and what says that it surely will not end well.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    target::EffectError,
    view::{Pod, Pods},
};

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

    /// Fails when no further pod has become ready for too long, and names one that is not with the reason.
    pub(crate) fn look(
        &mut self,
        (ready, wanted): (u32, u32),
        name: &str,
        (namespace, pods): (&str, &Pods),
    ) -> Result<(), EffectError> {
        if ready > self.most {
            self.most = ready;
            self.since = Instant::now();
        }
        if self.since.elapsed() < self.within {
            return Ok(());
        }
        let (most, seconds) = (self.most, self.within.as_secs());
        Err(EffectError::Unready(format!(
            "{name}: {most} of {wanted} pods became ready, and no further one in {seconds} s{}",
            first_unready(pods, namespace)
        )))
    }

    /// Somebody stopped the start on purpose: the time does not count.
    pub(crate) fn hold(&mut self) {
        self.since = Instant::now();
    }
}

/// The first pod that is not ready, why, and where there is more to read.
fn first_unready(pods: &Pods, namespace: &str) -> String {
    let unready = |(name, pod): (&String, &Arc<Pod>)| {
        let why = pod.broken.as_ref().or(pod.waits.as_ref())?;
        Some(format!("; pod {name}: {why}; see `kubectl -n {namespace} describe pod {name}`"))
    };
    pods.iter().find_map(unready).unwrap_or_default()
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
            // Only a container that was started has written anything.
            let see = if restarts > 0 || why.contains("CrashLoopBackOff") { "logs" } else { "describe pod" };
            Err(EffectError::Unready(format!(
                "pod {name} does not come up: {why}{times}; see `kubectl -n {namespace} {see} {name}`"
            )))
        }
        None => Ok(()),
    }
}
