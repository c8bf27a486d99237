//! What the control thread and the workers share about one service.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use arc_swap::ArcSwap;
use tokio::sync::watch;

use crate::routing::Routes;
use crate::stats::ServiceStats;

/// One service: its routes in force and its counters.
pub(crate) struct Service {
    pub(crate) name: String,
    /// The routes in force; swapped as a whole.
    pub(crate) routes: Arc<ArcSwap<Routes>>,
    /// Tells held requests that the routes changed.
    pub(crate) changed: watch::Sender<()>,
    pub(crate) stats: ServiceStats,
    in_flight: AtomicU32,
    held: AtomicU32,
    mirrored: AtomicU32,
}

impl Service {
    pub(crate) fn new(name: &str, workers: usize) -> Self {
        Self {
            name: name.to_owned(),
            routes: Arc::new(ArcSwap::from_pointee(Routes::empty())),
            changed: watch::Sender::new(()),
            stats: ServiceStats::new(workers),
            in_flight: AtomicU32::new(0),
            held: AtomicU32::new(0),
            mirrored: AtomicU32::new(0),
        }
    }

    /// Puts routes in force and wakes held requests.
    pub(crate) fn put(&self, routes: Arc<Routes>) {
        self.routes.store(routes);
        self.changed.send_replace(());
    }

    /// Admits a request, unless `max` are in flight.
    pub(crate) fn admit(&self, max: u32) -> bool {
        take(&self.in_flight, max)
    }

    /// An admitted request ended.
    pub(crate) fn leave(&self) {
        self.in_flight.fetch_sub(1, Relaxed);
    }

    /// Admits a request to wait, unless `max` are waiting.
    pub(crate) fn hold(&self, max: u32) -> bool {
        take(&self.held, max)
    }

    /// A held request waits no longer.
    pub(crate) fn release_held(&self) {
        self.held.fetch_sub(1, Relaxed);
    }

    /// Admits a mirrored copy, unless `max` are in flight.
    pub(crate) fn mirror(&self, max: u32) -> bool {
        take(&self.mirrored, max)
    }

    /// A mirrored copy ended.
    pub(crate) fn mirror_done(&self) {
        self.mirrored.fetch_sub(1, Relaxed);
    }
}

fn take(counter: &AtomicU32, max: u32) -> bool {
    if counter.fetch_add(1, Relaxed) < max {
        return true;
    }
    counter.fetch_sub(1, Relaxed);
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_than_the_bound_are_admitted_at_once() {
        let service = Service::new("shop", 1);
        assert!(service.admit(2) && service.admit(2) && !service.admit(2));
        service.leave();
        assert!(service.admit(2) && !service.admit(2));
    }
}
