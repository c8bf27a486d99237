//! The canary lease: when the control plane is silent for too long, traffic returns to the stable release by itself.

use std::rc::Rc;
use std::time::Duration;

use tokio::time::Instant;

use super::Control;
use crate::protocol::{Lease, LeaseRenewal};

/// Services in one renewal.
const SERVICES_MAX: usize = 4_096;
/// Time between attempts to bind addresses that were taken at start.
const CARE_INTERVAL: Duration = Duration::from_secs(1);

/// One service's lease on the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LeaseClock {
    None,
    Held { length: Duration, until: Instant },
    Ended,
}

impl LeaseClock {
    /// A lease that starts now in full, unless it ended before the process started.
    pub(crate) fn begin(lease_ms: Option<u64>, ended_at_unix_ms: Option<i64>) -> Self {
        match (lease_ms, ended_at_unix_ms) {
            (_, Some(_)) => Self::Ended,
            (None, None) => Self::None,
            (Some(ms), None) => {
                let length = Duration::from_millis(ms);
                Self::Held { length, until: Instant::now() + length }
            }
        }
    }

    /// Starts a held lease anew. An ended one stays ended until a newer generation comes.
    pub(crate) fn renew(&mut self) {
        if let Self::Held { length, until } = self {
            *until = Instant::now() + *length;
        }
    }

    pub(crate) fn status(self, ended_at_unix_ms: Option<i64>) -> Lease {
        match self {
            Self::None => Lease::None,
            Self::Held { until, .. } => {
                let left = until.saturating_duration_since(Instant::now());
                Lease::Held { left_ms: u64::try_from(left.as_millis()).unwrap_or(u64::MAX) }
            }
            Self::Ended => Lease::Ended { at_unix_ms: ended_at_unix_ms.unwrap_or(0) },
        }
    }

    const fn deadline(self) -> Option<Instant> {
        match self {
            Self::Held { until, .. } => Some(until),
            Self::None | Self::Ended => None,
        }
    }
}

/// Renews the leases of the services named, where the epoch is not older than the table's.
pub(crate) async fn renew(control: &Control, renewal: &LeaseRenewal) {
    let mut state = control.state.lock().await;
    for service in renewal.services.iter().take(SERVICES_MAX) {
        if let Some(kept) = state.services.get_mut(service)
            && renewal.epoch >= kept.record.epoch
        {
            kept.lease.renew();
        }
    }
    control.leases_changed.notify_one();
}

/// Ends leases when their time is over, until the process ends.
pub(crate) async fn watch_leases(control: Rc<Control>) {
    let mut care = tokio::time::interval(CARE_INTERVAL);
    care.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let deadlines =
            |state: &super::State| state.services.values().filter_map(|kept| kept.lease.deadline()).min();
        let next = deadlines(&*control.state.lock().await);
        // Without any lease there is only the care to wake for.
        let next = next.unwrap_or_else(|| Instant::now() + CARE_INTERVAL);
        tokio::select! {
            () = tokio::time::sleep_until(next) => {}
            () = control.leases_changed.notified() => {}
            _ = care.tick() => control.state.lock().await.open_missing_doors(&control).await,
        }
        let mut state = control.state.lock().await;
        let now = Instant::now();
        let over: Vec<String> = state
            .services
            .iter()
            .filter(|(_, kept)| kept.lease.deadline().is_some_and(|deadline| deadline <= now))
            .map(|(service, _)| service.clone())
            .collect();
        for service in over {
            state.end_lease(&control, &service).await;
        }
    }
}
