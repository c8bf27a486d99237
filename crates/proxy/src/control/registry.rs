//! Every endpoint that some thread may still use, and what the supervisor asks about it.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::clock;
use crate::endpoint::{Endpoint, Probed};
use crate::protocol::Limits;
use crate::supervise::{InFlight, Traffic};

/// Endpoints by service, release and address.
#[derive(Default)]
pub(crate) struct Registry {
    inner: Mutex<Inner>,
}

/// The endpoints at one address of a service: one per release.
type SameAddress = Vec<(String, Weak<Endpoint>)>;

#[derive(Default)]
struct Inner {
    next_id: u64,
    endpoints: HashMap<(String, SocketAddr), SameAddress>,
    limits: HashMap<String, (u64, u64)>,
}

impl Registry {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The endpoint of an address in a release, made when there is none. `probed` and `healthy_since_ms` are for a new one.
    pub(crate) fn endpoint(
        &self,
        (service, release): (&str, &str),
        address: SocketAddr,
        probed: Probed,
        healthy_since_ms: u64,
    ) -> Arc<Endpoint> {
        let mut inner = self.lock();
        let id = inner.next_id;
        let same = inner.endpoints.entry((service.to_owned(), address)).or_default();
        same.retain(|(_, endpoint)| endpoint.strong_count() > 0);
        let found = same.iter().find(|(of, _)| of == release).and_then(|(_, endpoint)| endpoint.upgrade());
        if let Some(found) = found {
            if !found.routable.swap(true, Relaxed) {
                // The address left and came back: it is another instance, with a start of its own.
                found.set_probed(Probed::Unhealthy, healthy_since_ms);
                found.set_probed(probed, healthy_since_ms);
            }
            return found;
        }
        let made = Arc::new(Endpoint::new(id, address, probed, healthy_since_ms));
        same.push((release.to_owned(), Arc::downgrade(&made)));
        inner.next_id += 1;
        made
    }

    /// Notes a service's drain limits.
    pub(crate) fn set_limits(&self, service: &str, limits: &Limits) {
        self.lock().limits.insert(service.to_owned(), (limits.drain_ms, limits.drain_upgraded_ms));
    }

    /// Forgets endpoints that nobody holds any more.
    pub(crate) fn sweep(&self) {
        self.lock().endpoints.retain(|_, same| {
            same.retain(|(_, endpoint)| endpoint.strong_count() > 0);
            !same.is_empty()
        });
    }
}

impl Traffic for Registry {
    /// An endpoint that some thread may still pick counts as one request at least: the supervisor must not stop it yet.
    fn in_flight(&self, service: &str, address: SocketAddr) -> InFlight {
        let mut sum = InFlight::default();
        let inner = self.lock();
        let same = inner.endpoints.get(&(service.to_owned(), address));
        for endpoint in same.into_iter().flatten().filter_map(|(_, endpoint)| endpoint.upgrade()) {
            // Order matters: a thread that picks counts the request before it lets go of the routes.
            let routable = u64::from(endpoint.routable.load(Relaxed));
            sum.requests += u64::from(endpoint.in_flight.load(Relaxed)).max(routable);
            sum.upgraded += u64::from(endpoint.upgraded.load(Relaxed));
        }
        sum
    }

    fn drain_limits(&self, service: &str) -> (u64, u64) {
        let default = Limits::default();
        self.lock().limits.get(service).copied().unwrap_or((default.drain_ms, default.drain_upgraded_ms))
    }
}

/// When an instance that is ready since `unix_ms` became healthy, on the process's own clock.
pub(crate) fn healthy_since(unix_ms: i64) -> u64 {
    let ago = u64::try_from(clock::unix_ms().saturating_sub(unix_ms)).unwrap_or(0);
    clock::now_ms().saturating_sub(ago)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_busy_until_no_thread_can_pick_it_and_no_request_is_left() {
        let registry = Registry::default();
        let address = ([127, 0, 0, 1], 80).into();
        let endpoint = registry.endpoint(("shop", "a"), address, Probed::Healthy, 1);
        let requests = || registry.in_flight("shop", address).requests;
        assert_eq!(requests(), 1);
        endpoint.in_flight.store(3, Relaxed);
        endpoint.routable.store(false, Relaxed);
        assert_eq!(requests(), 3);
        endpoint.in_flight.store(0, Relaxed);
        assert_eq!((requests(), registry.in_flight("other", address).requests), (0, 0));
    }

    #[test]
    fn the_same_address_of_the_same_release_stays_the_same_endpoint() {
        let registry = Registry::default();
        let address = ([127, 0, 0, 1], 80).into();
        let one = registry.endpoint(("shop", "a"), address, Probed::Healthy, 1);
        let other = registry.endpoint(("shop", "b"), address, Probed::Healthy, 1);
        let again = registry.endpoint(("shop", "a"), address, Probed::Healthy, 1);
        assert!(Arc::ptr_eq(&one, &again) && !Arc::ptr_eq(&one, &other));
    }
}
