//! The tables in force: checked, fenced, on disk, compiled, given to the workers.

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use rustls::ServerConfig;

use super::doors::{self, OpenDoor};
use super::lease::LeaseClock;
use super::probe::Probes;
use super::registry::{Registry, healthy_since};
use super::{Control, Inherited, Record, refused};
use crate::clock;
use crate::endpoint::{Endpoint, Probed};
use crate::protocol::{Applied, Backend, Refused, ServiceStatus, ServiceTable};
use crate::routing::{self, Compiling, Listen, Routes};
use crate::service::Service;
use crate::stats::ReleaseStats;
use crate::supervise::Endpoints;
use crate::worker::{Kind, Order};

/// Services in one proxy, deleted ones included.
const SERVICES_MAX: usize = 1_024;

/// One service as the control thread keeps it.
pub(crate) struct Kept {
    pub(crate) record: Record,
    pub(crate) service: Arc<Service>,
    pub(crate) lease: LeaseClock,
    doors: Vec<OpenDoor>,
    endpoints: Vec<Arc<Endpoint>>,
    probes: Probes,
}

/// All services.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) services: BTreeMap<String, Kept>,
    next_door: u64,
}

/// What a table needs of the world before it can be in force.
struct Prepared {
    /// Addresses to keep, by their place in the service's doors, and their TLS.
    kept: Vec<(usize, Option<Arc<ServerConfig>>)>,
    opened: Vec<OpenDoor>,
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
    fn new(record: Record, service: Arc<Service>) -> Self {
        let (doors, endpoints) = (Vec::new(), Vec::new());
        Self { record, service, lease: LeaseClock::None, doors, endpoints, probes: Probes::default() }
    }

    fn compiled(&self, control: &Control) -> Result<Routes, Refused> {
        let Some(table) = &self.record.table else { return Ok(Routes::empty()) };
        let supervisor = control.supervisor();
        let instances = Arc::clone(&supervisor.endpoints().borrow());
        let world =
            World { registry: &control.registry, instances: &instances, service: &self.service, table };
        let ended = self.record.lease_ended_at_unix_ms.is_some();
        routing::compile(table, ended, &world).map_err(|message| refused("bad_request", message))
    }

    /// Puts compiled routes in force on all threads and lets go of endpoints that left.
    async fn install(&mut self, control: &Rc<Control>, routes: Routes) {
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

impl State {
    /// Applies a table: refused as a whole, or in force on all threads and on disk when this returns.
    pub(crate) async fn apply(
        &mut self,
        control: &Rc<Control>,
        table: ServiceTable,
    ) -> Result<Applied, Refused> {
        routing::validate(&table).map_err(|message| refused("bad_request", message))?;
        let (epoch, generation) = (table.epoch, table.generation);
        let known = self.services.get_mut(&table.service);
        if let Some(kept) = known
            && !newer(&kept.record, epoch, generation)?
        {
            kept.lease.renew();
            control.leases_changed.notify_one();
            return Ok(Applied { epoch, generation, changed: false });
        }
        if !self.services.contains_key(&table.service) && self.services.len() >= SERVICES_MAX {
            return Err(refused(
                "bad_request",
                format!("this proxy has {SERVICES_MAX} services already: delete some"),
            ));
        }
        let listen = routing::listen_addresses(&table).map_err(|message| refused("bad_request", message))?;
        let kept = match self.services.remove(&table.service) {
            Some(kept) => kept,
            None => Kept::new(
                Record::deleted(&table.service, 0),
                Arc::new(Service::new(&table.service, control.workers.len())),
            ),
        };
        let name = table.service.clone();
        let (kept, result) = self.replace(control, kept, table, &listen).await;
        if kept.record.epoch > 0 || kept.record.table.is_some() || result.is_ok() {
            self.services.insert(name, kept);
        }
        control.leases_changed.notify_one();
        result.map(|()| Applied { epoch, generation, changed: true })
    }

    /// Prepares, writes, then acts; the service as it is afterwards comes back in every case.
    async fn replace(
        &mut self,
        control: &Rc<Control>,
        mut kept: Kept,
        table: ServiceTable,
        listen: &[Listen],
    ) -> (Kept, Result<(), Refused>) {
        let prepared = match self.prepare(control, &kept, listen) {
            Ok(prepared) => prepared,
            Err(refusal) => return (kept, Err(refusal)),
        };
        let record = Record::new(table);
        let before = std::mem::replace(&mut kept.record, record);
        let ready = kept.compiled(control).and_then(|routes| {
            let written = kept.record.write(&control.data);
            let failed =
                |error| refused("io", format!("cannot store the table of `{}`: {error}", kept.service.name));
            written.map_err(failed).map(|()| routes)
        });
        match ready {
            Ok(routes) => {
                let lease_ms = kept.record.table.as_ref().and_then(|table| table.lease_ms);
                kept.lease = LeaseClock::begin(lease_ms, None);
                kept.install(control, routes).await;
                change_doors(control, &mut kept, prepared).await;
                (kept, Ok(()))
            }
            Err(refusal) => {
                kept.record = before;
                (kept, Err(refusal))
            }
        }
    }

    /// Binds the addresses that the service does not have yet and reads certificates.
    fn prepare(&mut self, control: &Control, kept: &Kept, listen: &[Listen]) -> Result<Prepared, Refused> {
        let mut prepared = Prepared { kept: Vec::new(), opened: Vec::new() };
        let mut free: Vec<usize> = (0..kept.doors.len()).collect();
        for one in listen {
            let tls = doors::tls_of(one)?;
            let same =
                free.iter().position(|at| kept.doors.get(*at).is_some_and(|door| door.asked == one.address));
            if let Some(same) = same {
                prepared.kept.push((free.swap_remove(same), tls));
                continue;
            }
            if let Some(owner) = self.owner(one.address) {
                let message = format!("{} already serves `{owner}`: choose another address", one.address);
                return Err(refused("address_in_use", message));
            }
            let sockets = doors::bind(one.address, control.workers.len())?;
            self.next_door += 1;
            prepared.opened.push(OpenDoor::new(self.next_door, &kept.service, one.address, sockets, tls));
        }
        Ok(prepared)
    }

    /// The service that listens on an address.
    fn owner(&self, address: SocketAddr) -> Option<&str> {
        let has = |kept: &Kept| kept.doors.iter().any(|door| door.door.address == address);
        self.services.values().find(|kept| has(kept)).map(|kept| kept.service.name.as_str())
    }

    /// Stops carrying a service; its epoch is kept.
    pub(crate) async fn delete(
        &mut self,
        control: &Rc<Control>,
        service: &str,
        epoch: u64,
    ) -> Result<(), Refused> {
        let Some(mut kept) = self.services.remove(service) else {
            return Err(refused("not_found", format!("there is no service `{service}`")));
        };
        let deleted = Record::deleted(service, epoch.max(kept.record.epoch));
        let result = if epoch < kept.record.epoch {
            Err(stale_epoch(&kept.record, epoch))
        } else {
            let failed = |error| refused("io", format!("cannot store that `{service}` was deleted: {error}"));
            deleted.write(&control.data).map_err(failed)
        };
        if result.is_ok() {
            kept.record = deleted;
            kept.lease = LeaseClock::None;
            kept.install(control, Routes::empty()).await;
            change_doors(control, &mut kept, Prepared { kept: Vec::new(), opened: Vec::new() }).await;
            for worker in &control.workers {
                // Nobody waits for it.
                drop(worker.order(Order::Forget(Arc::clone(&kept.service))).await);
            }
        }
        self.services.insert(service.to_owned(), kept);
        result
    }

    /// Puts stored tables in force at the process's start. An address that cannot be bound is tried again later.
    pub(crate) async fn restore(
        &mut self,
        control: &Rc<Control>,
        records: Vec<Record>,
        inherited: Vec<Inherited>,
    ) {
        let mut inherited = inherited;
        for record in records {
            let service = Arc::new(Service::new(&record.service, control.workers.len()));
            let mut kept = Kept::new(record, service);
            kept.lease = LeaseClock::begin(
                kept.record.table.as_ref().and_then(|table| table.lease_ms),
                kept.record.lease_ended_at_unix_ms,
            );
            match kept.compiled(control) {
                Ok(routes) => kept.install(control, routes).await,
                Err(refusal) => {
                    tracing::error!(service = kept.service.name, "cannot use its table: {}", refusal.message);
                }
            }
            let (ours, others) = inherited.into_iter().partition(|one| one.service == kept.service.name);
            inherited = others;
            self.adopt(control, &mut kept, ours).await;
            self.services.insert(kept.service.name.clone(), kept);
        }
        self.open_missing_doors(control).await;
    }

    async fn adopt(&mut self, control: &Rc<Control>, kept: &mut Kept, ours: Vec<Inherited>) {
        let listen = kept.record.table.as_ref().map(routing::listen_addresses).transpose();
        let listen = listen.ok().flatten().unwrap_or_default();
        for Inherited { asked, sockets, .. } in ours {
            let tls = match listen.iter().find(|one| one.address == asked).map(doors::tls_of).transpose() {
                Ok(tls) => tls.flatten(),
                Err(refusal) => {
                    // Without its certificate the address must not be served at all, and it is tried again later.
                    tracing::error!(service = kept.service.name, "{}", refusal.message);
                    continue;
                }
            };
            self.next_door += 1;
            let door = OpenDoor::new(self.next_door, &kept.service, asked, sockets, tls);
            open(control, &door).await;
            kept.doors.push(door);
        }
    }

    /// Binds addresses that a stored table asks for and that could not be bound before.
    pub(crate) async fn open_missing_doors(&mut self, control: &Rc<Control>) {
        let names: Vec<String> = self.services.keys().cloned().collect();
        for name in names {
            let Some(mut kept) = self.services.remove(&name) else { continue };
            let listen = kept.record.table.as_ref().map(routing::listen_addresses).transpose();
            let listen = listen.ok().flatten().unwrap_or_default();
            for one in listen {
                if kept.doors.iter().any(|door| door.asked == one.address) {
                    continue;
                }
                match self.prepare(control, &kept, std::slice::from_ref(&one)) {
                    Ok(prepared) => {
                        for door in prepared.opened {
                            open(control, &door).await;
                            kept.doors.push(door);
                        }
                    }
                    Err(refusal) => tracing::error!(service = name, "{}", refusal.message),
                }
            }
            self.services.insert(name, kept);
        }
    }

    /// Compiles the services that have supervised releases anew, where their ready instances changed.
    pub(crate) async fn refresh_supervised(&mut self, control: &Rc<Control>) {
        for kept in self.services.values_mut() {
            let supervised = |table: &ServiceTable| {
                table.releases.iter().any(|route| matches!(route.backend, Backend::Supervised))
            };
            if !kept.record.table.as_ref().is_some_and(supervised) {
                continue;
            }
            let Ok(routes) = kept.compiled(control) else { continue };
            let ids: Vec<u64> = routes.endpoints().map(|(_, endpoint)| endpoint.id).collect();
            if ids != kept.endpoints.iter().map(|endpoint| endpoint.id).collect::<Vec<_>>() {
                kept.install(control, routes).await;
            }
        }
        control.registry.sweep();
    }

    /// Returns all traffic of a service to its stable release: its lease ended. In force first, then on disk: a full disk
    /// must not keep a canary in traffic.
    pub(crate) async fn end_lease(&mut self, control: &Rc<Control>, service: &str) {
        let Some(kept) = self.services.get_mut(service) else { return };
        kept.record.lease_ended_at_unix_ms = Some(clock::unix_ms());
        kept.lease = LeaseClock::Ended;
        match kept.compiled(control) {
            Ok(routes) => kept.install(control, routes).await,
            Err(refusal) => tracing::error!(service, "cannot return to stable: {}", refusal.message),
        }
        if let Err(error) = kept.record.write(&control.data) {
            tracing::error!(service, %error, "cannot store that the lease ended");
        }
        tracing::warn!(
            service,
            "the control plane was silent for longer than the lease: all traffic is back on stable"
        );
    }
}

/// Whether the pair is newer than the one in force; refuses an older one.
fn newer(record: &Record, epoch: u64, generation: u64) -> Result<bool, Refused> {
    if epoch < record.epoch {
        return Err(stale_epoch(record, epoch));
    }
    let Some(table) = record.table.as_ref().filter(|table| table.epoch == epoch) else { return Ok(true) };
    if generation < table.generation {
        let message = format!(
            "generation {generation} of `{}` is older than {} in force (epoch {epoch}): read the table and decide again",
            record.service, table.generation
        );
        return Err(refused("stale_generation", message));
    }
    Ok(generation > table.generation)
}

fn stale_epoch(record: &Record, epoch: u64) -> Refused {
    let message = format!(
        "epoch {epoch} of `{}` is older than {} in force: another control plane took over, stop this one",
        record.service, record.epoch
    );
    refused("stale_epoch", message)
}

async fn change_doors(control: &Rc<Control>, kept: &mut Kept, prepared: Prepared) {
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

async fn open(control: &Rc<Control>, door: &OpenDoor) {
    if let Err(error) = door.open(&control.workers).await {
        tracing::error!(%error, address = %door.door.address, "cannot give the socket to the workers");
    }
}
