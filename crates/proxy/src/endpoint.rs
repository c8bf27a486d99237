//! One address of one release: its load and its health, shared by all threads.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, Ordering::Relaxed};

use crate::protocol::PassiveHealth;

/// What active probes know of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Probed {
    /// Not probed enough yet: used only when no endpoint is known to be healthy.
    Unknown,
    /// Healthy, or trusted because nobody probes it.
    Healthy,
    /// Unhealthy: never used.
    Unhealthy,
}

/// One address of one release.
pub(crate) struct Endpoint {
    /// Number of this endpoint in the process's life.
    pub(crate) id: u64,
    pub(crate) address: SocketAddr,
    /// Requests in flight, upgraded connections not included.
    pub(crate) in_flight: AtomicU32,
    /// Upgraded connections open.
    pub(crate) upgraded: AtomicU32,
    /// Whether some thread may still pick it: true until every thread has let go of the last table that names it.
    pub(crate) routable: AtomicBool,
    probed: AtomicU8,
    healthy_since_ms: AtomicU64,
    failures: AtomicU32,
    ejected_until_ms: AtomicU64,
}

impl Endpoint {
    pub(crate) fn new(id: u64, address: SocketAddr, probed: Probed, healthy_since_ms: u64) -> Self {
        Self {
            id,
            address,
            in_flight: AtomicU32::new(0),
            upgraded: AtomicU32::new(0),
            routable: AtomicBool::new(true),
            probed: AtomicU8::new(probed as u8),
            healthy_since_ms: AtomicU64::new(healthy_since_ms),
            failures: AtomicU32::new(0),
            ejected_until_ms: AtomicU64::new(0),
        }
    }

    /// What active probes know.
    pub(crate) fn probed(&self) -> Probed {
        match self.probed.load(Relaxed) {
            0 => Probed::Unknown,
            1 => Probed::Healthy,
            _ => Probed::Unhealthy,
        }
    }

    /// Notes what probes found; becoming healthy starts its time of slow start.
    pub(crate) fn set_probed(&self, probed: Probed, now_ms: u64) {
        if self.probed() != probed {
            self.healthy_since_ms.store(now_ms, Relaxed);
            self.failures.store(0, Relaxed);
            self.probed.store(probed as u8, Relaxed);
        }
    }

    /// Whether users' failures put it out of use now.
    pub(crate) fn ejected(&self, now_ms: u64) -> bool {
        self.ejected_until_ms.load(Relaxed) > now_ms
    }

    /// A user's request was answered.
    pub(crate) fn succeeded(&self) {
        if self.failures.load(Relaxed) != 0 {
            self.failures.store(0, Relaxed);
        }
    }

    /// A user's request failed on the way to it; `others` tells whether the release has another usable endpoint.
    pub(crate) fn failed(&self, policy: &PassiveHealth, others: bool, now_ms: u64) {
        let failures = self.failures.fetch_add(1, Relaxed).saturating_add(1);
        if policy.consecutive_failures > 0 && failures >= policy.consecutive_failures && others {
            self.ejected_until_ms.store(now_ms.saturating_add(policy.eject_ms), Relaxed);
            self.failures.store(0, Relaxed);
        }
    }

    /// The part of its full share that it may take now, in thousandths: a tenth until `min_healthy_ms` have passed, then
    /// rising to full over `slow_start_ms`.
    pub(crate) fn share(&self, min_healthy_ms: u64, slow_start_ms: u64, now_ms: u64) -> u64 {
        let healthy_ms = now_ms.saturating_sub(self.healthy_since_ms.load(Relaxed));
        let Some(rising_ms) = healthy_ms.checked_sub(min_healthy_ms) else { return 100 };
        if rising_ms >= slow_start_ms {
            return 1_000;
        }
        100 + rising_ms.saturating_mul(900) / slow_start_ms.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint() -> Endpoint {
        Endpoint::new(1, ([127, 0, 0, 1], 1).into(), Probed::Healthy, 1_000)
    }

    #[test]
    fn a_new_endpoint_takes_a_tenth_then_rises_to_its_full_share() {
        let one = endpoint();
        let shares = [1_000, 1_400, 1_500, 2_000, 2_500].map(|now| one.share(500, 1_000, now));
        assert_eq!(shares, [100, 100, 100, 550, 1_000]);
        assert_eq!(one.share(0, 0, 1_000), 1_000);
    }

    #[test]
    fn failures_in_a_row_eject_for_a_while_but_never_the_last_endpoint() {
        let policy = PassiveHealth { consecutive_failures: 2, eject_ms: 100 };
        let one = endpoint();
        one.failed(&policy, true, 1_000);
        one.succeeded();
        one.failed(&policy, true, 1_000);
        assert!(!one.ejected(1_000));
        one.failed(&policy, true, 1_000);
        assert!(one.ejected(1_099) && !one.ejected(1_100));
        let last = endpoint();
        (0..9).for_each(|_| last.failed(&policy, false, 1_000));
        assert!(!last.ejected(1_001));
    }
}
