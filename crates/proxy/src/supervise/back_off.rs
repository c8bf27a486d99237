//! When an instance that ended by itself is started again.

use std::collections::VecDeque;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::protocol::RestartPolicy;

/// Ends remembered; also the largest `crash_loop_count` that a run may ask for.
pub(super) const ENDS_MAX: usize = 1_000;

/// The ends of one instance by itself. Times are milliseconds since the machine's boot, so that a changed clock
/// neither makes nor hides a crash loop.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ends {
    at_boot_ms: VecDeque<u64>,
    in_a_row: u32,
    looping: bool,
}

impl Ends {
    /// Notes an end and answers how long to wait before the next start.
    pub(super) fn record(&mut self, now_boot_ms: u64, policy: &RestartPolicy) -> Duration {
        let window_start = now_boot_ms.saturating_sub(policy.crash_loop_window_ms);
        self.at_boot_ms.retain(|at| *at >= window_start);
        if self.at_boot_ms.len() == ENDS_MAX {
            self.at_boot_ms.pop_front();
        }
        self.at_boot_ms.push_back(now_boot_ms);
        self.in_a_row = self.in_a_row.saturating_add(1);
        // Once looping, only a quiet window ends it: the long waits themselves would thin the ends out below the limit.
        self.looping |= self.at_boot_ms.len() >= policy.crash_loop_count as usize;
        if self.looping { Duration::from_millis(policy.backoff_max_ms) } else { self.wait(policy) }
    }

    /// The instance ran for one window without an end: everything is forgiven.
    pub(super) fn forgive(&mut self) {
        *self = Self::default();
    }

    /// Ends that count now.
    pub(super) fn count(&self, now_boot_ms: u64, policy: &RestartPolicy) -> u32 {
        if self.looping {
            return self.in_a_row;
        }
        let window_start = now_boot_ms.saturating_sub(policy.crash_loop_window_ms);
        u32::try_from(self.at_boot_ms.iter().filter(|at| **at >= window_start).count()).unwrap_or(u32::MAX)
    }

    /// Whether it ends too often.
    pub(super) const fn looping(&self) -> bool {
        self.looping
    }

    fn wait(&self, policy: &RestartPolicy) -> Duration {
        let doublings = self.in_a_row.saturating_sub(1).min(32);
        let wait_ms = policy.backoff_ms.saturating_mul(1 << doublings).min(policy.backoff_max_ms);
        Duration::from_millis(wait_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RestartPolicy {
        RestartPolicy {
            backoff_ms: 200,
            backoff_max_ms: 1_000,
            crash_loop_count: 5,
            crash_loop_window_ms: 10_000,
        }
    }

    #[test]
    fn waits_double_up_to_the_longest() {
        let mut ends = Ends::default();
        let waits: Vec<_> = (0..4).map(|n| ends.record(n * 11_000, &policy()).as_millis()).collect();
        assert_eq!(waits, [200, 400, 800, 1_000]);
        assert!(!ends.looping(), "ends further apart than the window are no crash loop");
    }

    #[test]
    fn a_crash_loop_lasts_until_a_quiet_window_even_when_its_own_waits_thin_the_ends_out() {
        let mut ends = Ends::default();
        for n in 0..5 {
            ends.record(n * 100, &policy());
        }
        assert!(ends.looping());
        assert_eq!(ends.record(100_000, &policy()).as_millis(), 1_000);
        assert!(ends.looping());
        assert_eq!(ends.count(100_000, &policy()), 6);
        ends.forgive();
        assert_eq!(ends.record(200_000, &policy()).as_millis(), 200);
        assert_eq!(ends.count(200_000, &policy()), 1);
        assert_eq!(ends.count(300_000, &policy()), 0);
    }
}
