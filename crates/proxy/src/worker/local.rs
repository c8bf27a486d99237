//! One thread's view of a service: the routes in force and its own connections.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use arc_swap::{ArcSwap, Cache};

use super::drain::Draining;
use super::pool::{Kind, Pool};
use crate::routing::Routes;
use crate::service::Service;
use crate::stats::ThreadStats;

type RoutesCache = Cache<Arc<ArcSwap<Routes>>, Arc<Routes>>;

/// Routes with this thread's connection pools beside each endpoint.
pub(crate) struct LocalRoutes {
    pub(crate) routes: Arc<Routes>,
    /// Per release, per endpoint, in the routes' order.
    pools: Vec<Vec<Rc<Pool>>>,
    worker: usize,
}

impl LocalRoutes {
    pub(crate) fn pool(&self, release: usize, at: usize) -> Option<&Rc<Pool>> {
        self.pools.get(release)?.get(at)
    }

    /// Changes this thread's counters of a release.
    pub(crate) fn count(&self, release: usize, change: impl FnOnce(&ThreadStats)) {
        if let Some(stats) =
            self.routes.releases.get(release).and_then(|release| release.stats.thread(self.worker))
        {
            change(stats);
        }
    }
}

/// One thread's part of a service.
pub(crate) struct LocalService {
    pub(crate) shared: Arc<Service>,
    pub(crate) draining: Rc<Draining>,
    worker: usize,
    cache: RefCell<RoutesCache>,
    local: RefCell<Rc<LocalRoutes>>,
    pools: RefCell<HashMap<u64, Rc<Pool>>>,
}

impl LocalService {
    pub(crate) fn new(shared: Arc<Service>, worker: usize, draining: Rc<Draining>) -> Self {
        let mut cache = Cache::new(Arc::clone(&shared.routes));
        let routes = Arc::clone(cache.load());
        let pools = RefCell::default();
        let local = RefCell::new(Rc::new(localise(routes, worker, &pools)));
        Self { shared, draining, worker, cache: RefCell::new(cache), local, pools }
    }

    /// The routes in force.
    pub(crate) fn routes(&self) -> Rc<LocalRoutes> {
        let mut cache = self.cache.borrow_mut();
        let current = cache.load();
        let mut local = self.local.borrow_mut();
        if !Arc::ptr_eq(&local.routes, current) {
            *local = Rc::new(localise(Arc::clone(current), self.worker, &self.pools));
        }
        Rc::clone(&local)
    }

    /// Lets go of routes that name retired endpoints, and of idle connections to them. Afterwards this thread picks none of
    /// them any more.
    pub(crate) fn retire(&self, endpoints: &[u64]) {
        drop(self.routes());
        let pools = self.pools.borrow();
        endpoints.iter().filter_map(|id| pools.get(id)).for_each(|pool| pool.close_idle());
    }

    /// Cuts what is left of a retired endpoint's connections.
    pub(crate) fn cut(&self, endpoint: u64, kind: Kind) {
        if let Some(pool) = self.pools.borrow().get(&endpoint) {
            pool.cut(kind);
        }
    }

    /// Regular care of the pools.
    pub(crate) fn tick(&self) {
        self.pools.borrow_mut().retain(|_, pool| {
            pool.tick();
            !pool.is_unused()
        });
    }
}

fn localise(routes: Arc<Routes>, worker: usize, pools: &RefCell<HashMap<u64, Rc<Pool>>>) -> LocalRoutes {
    let mut known = pools.borrow_mut();
    let mut pool = |endpoint: &Arc<crate::endpoint::Endpoint>| {
        Rc::clone(known.entry(endpoint.id).or_insert_with(|| Rc::new(Pool::new(Arc::clone(endpoint)))))
    };
    let pools =
        routes.releases.iter().map(|release| release.endpoints.iter().map(&mut pool).collect()).collect();
    LocalRoutes { routes, pools, worker }
}
