//! Picks one endpoint of a release: usable ones only, the less loaded of two, new ones less often.

use std::sync::atomic::Ordering::Relaxed;

use super::Release;
use crate::endpoint::{Endpoint, Probed};
use crate::protocol::Health;

/// Draws before slow start is ignored; bounds the work of one pick.
const DRAWS_MAX: usize = 8;

/// An endpoint picked: its place in the release, and whether the release has another usable one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pick {
    pub(crate) at: usize,
    pub(crate) others: bool,
}

/// Picks an endpoint other than `excluded`; `None` when there is none to use.
pub(crate) fn pick(release: &Release, health: &Health, excluded: Option<u64>, now_ms: u64) -> Option<Pick> {
    if release.endpoints.len() == 1 {
        let only = release.endpoints.first()?;
        let usable = excluded != Some(only.id) && only.probed() != Probed::Unhealthy;
        return usable.then_some(Pick { at: 0, others: false });
    }
    let count = |tier| {
        (0..release.endpoints.len()).filter(|at| in_tier(release, *at, tier, excluded, now_ms)).count()
    };
    for tier in [Tier::Healthy, Tier::Unknown, Tier::Ejected] {
        let usable = count(tier);
        if usable > 0 {
            let at = draw(release, health, tier, usable, excluded, now_ms)?;
            return Some(Pick { at, others: usable > 1 });
        }
    }
    None
}

/// Endpoints are used best first: an endpoint that users' failures ejected is better than none.
#[derive(Clone, Copy)]
enum Tier {
    Healthy,
    Unknown,
    Ejected,
}

fn in_tier(release: &Release, at: usize, tier: Tier, excluded: Option<u64>, now_ms: u64) -> bool {
    let Some(endpoint) = release.endpoints.get(at).filter(|one| excluded != Some(one.id)) else {
        return false;
    };
    match tier {
        Tier::Healthy => endpoint.probed() == Probed::Healthy && !endpoint.ejected(now_ms),
        Tier::Unknown => endpoint.probed() != Probed::Unhealthy && !endpoint.ejected(now_ms),
        Tier::Ejected => endpoint.probed() != Probed::Unhealthy,
    }
}

fn draw(
    release: &Release,
    health: &Health,
    tier: Tier,
    usable: usize,
    excluded: Option<u64>,
    now_ms: u64,
) -> Option<usize> {
    let nth = |n: usize| {
        (0..release.endpoints.len()).filter(|at| in_tier(release, *at, tier, excluded, now_ms)).nth(n)
    };
    let warm = |endpoint: &Endpoint| {
        let share = endpoint.share(health.min_healthy_ms, health.slow_start_ms, now_ms);
        share >= 1_000 || fastrand::u64(0..1_000) < share
    };
    let mut last = None;
    for _ in 0..DRAWS_MAX {
        let at = less_loaded(release, nth(fastrand::usize(..usable)), nth(fastrand::usize(..usable)))?;
        last = Some(at);
        if release.endpoints.get(at).is_some_and(|endpoint| warm(endpoint)) {
            break;
        }
    }
    last
}

fn less_loaded(release: &Release, one: Option<usize>, other: Option<usize>) -> Option<usize> {
    let load = |at: usize| release.endpoints.get(at).map(|endpoint| endpoint.in_flight.load(Relaxed));
    match (one, other) {
        (Some(one), Some(other)) => Some(if load(other) < load(one) { other } else { one }),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::PassiveHealth;
    use crate::stats::ServiceStats;
    use http::HeaderValue;
    use std::sync::Arc;

    const NOW: u64 = 100_000;

    fn release(probed: &[Probed]) -> Release {
        let endpoint = |(id, probed): (usize, &Probed)| {
            Arc::new(Endpoint::new(id as u64, ([127, 0, 0, 1], 1).into(), *probed, 1))
        };
        Release {
            tag: "a".into(),
            tag_value: HeaderValue::from_static("a"),
            weight: 10_000,
            endpoints: probed.iter().enumerate().map(endpoint).collect(),
            stats: ServiceStats::new(1).release("a", &|_| true),
        }
    }

    fn picked(release: &Release, health: &Health, times: usize) -> Vec<usize> {
        let mut counts = vec![0; release.endpoints.len()];
        for _ in 0..times {
            counts[pick(release, health, None, NOW).expect("an endpoint").at] += 1;
        }
        counts
    }

    #[test]
    fn unhealthy_endpoints_are_never_picked_and_unknown_ones_only_when_none_is_healthy() {
        let health = Health::default();
        let mixed = release(&[Probed::Unhealthy, Probed::Unknown, Probed::Healthy]);
        assert_eq!(picked(&mixed, &health, 100), [0, 0, 100]);
        assert_eq!(picked(&release(&[Probed::Unhealthy, Probed::Unknown]), &health, 50), [0, 50]);
        assert_eq!(pick(&release(&[Probed::Unhealthy; 2]), &health, None, NOW), None);
        assert_eq!(pick(&release(&[Probed::Unhealthy]), &health, None, NOW), None);
    }

    #[test]
    fn the_less_loaded_of_two_gets_the_request() {
        let two = release(&[Probed::Healthy; 2]);
        two.endpoints[0].in_flight.store(50, Relaxed);
        let counts = picked(&two, &Health::default(), 1_000);
        assert!(counts[1] > 650, "three of four draws see the idle one: {counts:?}");
    }

    #[test]
    fn an_endpoint_in_slow_start_gets_less() {
        let two = release(&[Probed::Healthy, Probed::Unknown]);
        two.endpoints[1].set_probed(Probed::Healthy, NOW);
        let counts = picked(&two, &Health { slow_start_ms: 1_000, ..Health::default() }, 2_000);
        assert!((50..500).contains(&counts[1]), "a tenth of the draws: {counts:?}");
    }

    #[test]
    fn ejected_endpoints_are_left_out_until_only_they_remain() {
        let two = release(&[Probed::Healthy; 2]);
        let policy = PassiveHealth { consecutive_failures: 1, eject_ms: 1_000 };
        two.endpoints[0].failed(&policy, true, NOW);
        assert_eq!(picked(&two, &Health::default(), 50), [0, 50]);
        assert_eq!(pick(&two, &Health::default(), Some(1), NOW), Some(Pick { at: 0, others: false }));
    }
}
