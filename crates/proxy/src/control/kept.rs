//! One service as the control thread keeps it: its record, its routes in force, its addresses.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustls::ServerConfig;

use super::doors::OpenDoor;
use super::lease::LeaseClock;
use super::probe::Probes;
use super::registry::{Registry, healthy_since};
use super::{Control, Record, refused};
use crate::clock;
use crate::endpoint::{Endpoint, Probed};
use crate::protocol::{Refused, ServiceStatus, ServiceTable};
use crate::routing::{self, Compiling, Routes};
use crate::service::Service;
use crate::stats::ReleaseStats;
use crate::supervise::Endpoints;
use crate::worker::{Kind, Order};

/// One service as the control thread keeps it.
pub(crate) struct Kept {
    pub(crate) record: Record,
    pub(crate) service: Arc<Service>,
    pub(crate) lease: LeaseClock,
    pub(super) doors: Vec<OpenDoor>,
    endpoints: Vec<Arc<Endpoint>>,
    probes: Probes,
}

/// What a table needs of the world before it can be in force.
pub(super) struct Prepared {
    /// Addresses to keep, by their place in the service's doors, and their TLS.
    pub(super) kept: Vec<(usize, Option<Arc<ServerConfig>>)>,
    pub(super) opened: Vec<OpenDoor>,
}

struct World<'a> {
    registry: &'a Registry,
    instances: &'a Endpoints,
    service: &'a Service,
    table: &'a ServiceTable,
}

impl Compiling for World<'_> {
    fn supervised(&self, release: &str) -> Vec<SocketAddr> {
        let key = (self.service.name.clone(), release.to_owned());
        self.instances.get(&key).into_iter().flatten().map(|ready| ready.address).collect()
    }

    fn endpoint(&self, release: &str, address: SocketAddr, supervised: bool) -> Arc<Endpoint> {
        let probed =
            if self.table.health.active.is_some() && !supervised { Probed::Unknown } else { Probed::Healthy };
        let key = (self.service.name.clone(), release.to_owned());
        let ready = self
            .instances
            .get(&key)
            .into_iter()
            .flatten()
            .find(|ready| supervised && ready.address == address);
        let since = ready.map_or_else(clock::now_ms, |ready| healthy_since(ready.ready_since_unix_ms));
        let endpoint = self.registry.endpoint((&self.service.name, release), address, probed, since);
        if self.table.health.active.is_none() {
            endpoint.set_probed(Probed::Healthy, since);
        }
        endpoint
    }

    fn stats(&self, release: &str) -> Arc<ReleaseStats> {
        let routed = |name: &str| self.table.releases.iter().any(|route| route.release == name);
        self.service.stats.release(release, &routed)
    }
}

impl Kept {
    pub(super) fn new(record: Record, service: Arc<Service>) -> Self {
        let (doors, endpoints) = (Vec::new(), Vec::new());
        Self { record, service, lease: LeaseClock::None, doors, endpoints, probes: Probes::default() }
    }

    pub(super) fn compiled(&self, control: &Control) -> Result<Routes, Refused> {
        let Some(table) = &self.record.table else { return Ok(Routes::empty()) };
        let supervisor = control.supervisor();
        let instances = Arc::clone(&supervisor.endpoints().borrow());
        let world =
            World { registry: &control.registry, instances: &instances, service: &self.service, table };
        let ended = self.record.lease_ended_at_unix_ms.is_some();
        routing::compile(table, ended, &world).map_err(|message| refused("bad_request", message))
    }

    /// Puts compiled routes in force on all threads and lets go of endpoints that left.
    pub(super) async fn install(&mut self, control: &Rc<Control>, routes: Routes) {
        let active = routes.health.active.clone();
        let limits = routes.limits.clone();
        control.registry.set_limits(&self.service.name, &limits);
        let now: Vec<Arc<Endpoint>> = routes.endpoints().map(|(_, endpoint)| Arc::clone(endpoint)).collect();
        let ids: HashSet<u64> = now.iter().map(|endpoint| endpoint.id).collect();
        self.service.put(Arc::new(routes));
        let before = std::mem::replace(&mut self.endpoints, now);
        let gone: Vec<Arc<Endpoint>> =
            before.into_iter().filter(|endpoint| !ids.contains(&endpoint.id)).collect();
        if !gone.is_empty() {
            self.retire(control, gone, (limits.drain_ms, limits.drain_upgraded_ms)).await;
        }
        self.probes.follow(active.as_ref(), &self.endpoints);
    }

    /// Waits until no thread picks the endpoints any more; cuts what is left of their connections after the drain limits.
    async fn retire(
        &self,
        control: &Rc<Control>,
        gone: Vec<Arc<Endpoint>>,
        (http_ms, upgraded_ms): (u64, u64),
    ) {
        let ids: Vec<u64> = gone.iter().map(|endpoint| endpoint.id).collect();
        let mut heard = Vec::new();
        for worker in &control.workers {
            heard.push(worker.order(Order::Retire(Arc::clone(&self.service), ids.clone())).await);
        }
        for heard in heard {
            // A worker that is gone picks nothing.
            let _ = heard.await;
        }
        for endpoint in gone {
            endpoint.routable.store(false, Relaxed);
            for (kind, after_ms) in [(Kind::Http, http_ms), (Kind::Upgraded, upgraded_ms)] {
                let late = cut_later(
                    Rc::clone(control),
                    Arc::clone(&self.service),
                    Arc::clone(&endpoint),
                    kind,
                    after_ms,
                );
                tokio::task::spawn_local(late);
            }
        }
    }

    pub(crate) fn status(&self) -> Option<ServiceStatus> {
        let table = self.record.table.clone()?;
        let routes = self.service.routes.load();
        let healthy = |release: &routing::Release| {
            let healthy = release.endpoints.iter().filter(|endpoint| {
                endpoint.probed() == Probed::Healthy && !endpoint.ejected(clock::now_ms())
            });
            u32::try_from(healthy.count()).unwrap_or(u32::MAX)
        };
        Some(ServiceStatus {
            table,
            lease: self.lease.status(self.record.lease_ended_at_unix_ms),
            weights: routes.releases.iter().map(|release| release.weight).collect(),
            listening: self.doors.iter().map(|door| door.door.address.to_string()).collect(),
            healthy: routes.releases.iter().map(healthy).collect(),
        })
    }

    /// Whether the routes compiled now differ from those in force in their endpoints.
    pub(super) fn differs(&self, routes: &Routes) -> bool {
        let now = routes.endpoints().map(|(_, endpoint)| endpoint.id);
        !now.eq(self.endpoints.iter().map(|endpoint| endpoint.id))
    }

    pub(crate) fn doors(&self) -> &[OpenDoor] {
        &self.doors
    }

    /// Leaves the addresses to the workers, which are about to close them.
    pub(crate) fn let_go_of_doors(&mut self) {
        self.doors.iter_mut().for_each(OpenDoor::let_go);
    }
}

async fn cut_later(
    control: Rc<Control>,
    service: Arc<Service>,
    endpoint: Arc<Endpoint>,
    kind: Kind,
    after_ms: u64,
) {
    let count = match kind {
        Kind::Http => &endpoint.in_flight,
        Kind::Upgraded => &endpoint.upgraded,
    };
    let deadline = tokio::time::Instant::now() + Duration::from_millis(after_ms);
    while tokio::time::Instant::now() < deadline && count.load(Relaxed) > 0 {
        let step = deadline.min(tokio::time::Instant::now() + crate::worker::TICK);
        tokio::time::sleep_until(step).await;
    }
    if endpoint.routable.load(Relaxed) {
        return;
    }
    for worker in &control.workers {
        // Nobody waits for it.
        drop(worker.order(Order::Cut(Arc::clone(&service), endpoint.id, kind)).await);
    }
}

pub(super) async fn change_doors(control: &Rc<Control>, kept: &mut Kept, prepared: Prepared) {
    let mut old: BTreeMap<usize, OpenDoor> =
        std::mem::take(&mut kept.doors).into_iter().enumerate().collect();
    for (at, tls) in prepared.kept {
        if let Some(door) = old.remove(&at) {
            door.door.tls.store(tls);
            kept.doors.push(door);
        }
    }
    for door in prepared.opened {
        open(control, &door).await;
        kept.doors.push(door);
    }
    for (_, door) in old {
        door.close(&control.workers).await;
    }
}

pub(super) async fn open(control: &Rc<Control>, door: &OpenDoor) {
    if let Err(error) = door.open(&control.workers).await {
        tracing::error!(%error, address = %door.door.address, "cannot give the socket to the workers");
    }
}
