//! The tables in force: checked, fenced, on disk, compiled, given to the workers.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use super::doors::{self, OpenDoor};
use super::kept::{Kept, Prepared, change_doors, open};
use super::lease::LeaseClock;
use super::{Control, Inherited, Record, refused};
use crate::clock;
use crate::protocol::{Applied, Backend, Refused, ServiceTable};
use crate::routing::{self, Listen, Routes};
use crate::service::Service;
use crate::worker::Order;

/// Services in one proxy, deleted ones included.
const SERVICES_MAX: usize = 1_024;

/// All services.
#[derive(Default)]
pub(crate) struct State {
    pub(crate) services: BTreeMap<String, Kept>,
    next_door: u64,
}

impl State {
    /// Applies a table: refused as a whole, or in force on all threads and on disk when this returns.
    pub(crate) async fn apply(
        &mut self,
        control: &Rc<Control>,
        table: ServiceTable,
    ) -> Result<Applied, Refused> {
        control.in_charge()?;
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
        let prepared = match self.prepare(control, &kept, listen).await {
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
    async fn prepare(
        &mut self,
        control: &Control,
        kept: &Kept,
        listen: &[Listen],
    ) -> Result<Prepared, Refused> {
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
            let sockets = doors::bind(one.address, control.workers.len()).await?;
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
        control.in_charge()?;
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
                match self.prepare(control, &kept, std::slice::from_ref(&one)).await {
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
            if kept.differs(&routes) {
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
