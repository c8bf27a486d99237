//! Effects on this machine: every one looks at the target first and leaves alone what is so already.

use std::{path::Path, sync::Arc, time::Duration};

use futures_util::FutureExt;
use tidegate_core::{
    deployment::{Effect, Event, Outcome, Recorded},
    gate::{Instance, Mirrored, Reading, ReleaseReading},
    model::{Release, Share, Timestamp},
    plan::Plan,
};
use tidegate_engine::{Order, World, journal::BoxFuture};
use tidegate_proxy::protocol::{
    CountersReport, InstanceState, InstanceStatus, Lease, ListenAddress, ReleaseCounters, RunStatus,
    ServiceStatus,
};
use tokio::sync::Semaphore;

use super::{
    image::{self, ImageError},
    node::{Node, NodeError},
    spec::{LocalSpec, Program, Wanted, files_digest},
    store::{BuildError, ReleaseStore},
};
use crate::{
    chain,
    clock::Clock,
    metrics::{InstanceAddress, Instances, Metrics},
    target_spec::SpecError,
    unix_http::CallError,
};

/// Time between two looks at instances that are starting or stopping.
const LOOK: Duration = Duration::from_millis(25);

/// Looks at the counters that are on their way at once. With a thousand deployments the others wait here, so that no way
/// back waits behind them at the proxy.
const LOOKS_MAX: usize = 16;

/// What writes artifacts when a deployment has ended; given by the binary, which knows their formats.
pub type Publisher = Arc<dyn Fn(&[Recorded]) + Send + Sync>;

/// The local target as the engine's world.
#[derive(Clone)]
pub struct LocalWorld {
    node: Node,
    store: ReleaseStore,
    clock: Arc<Clock>,
    publisher: Publisher,
    looks: Arc<Semaphore>,
    metrics: Metrics,
}

/// Why an effect did not happen.
#[derive(Debug, thiserror::Error)]
enum EffectError {
    #[error(transparent)]
    Node(#[from] NodeError),
    #[error(transparent)]
    Spec(#[from] SpecError),
    #[error(transparent)]
    Build(#[from] BuildError),
    #[error(transparent)]
    Image(#[from] ImageError),
    #[error("{0}")]
    Instances(String),
    #[error("{address} is taken by another process: stop it, or choose another address for `listen`")]
    AddressTaken { address: String },
    #[error("{address} belongs to service `{other}` already: two services cannot share an address")]
    AddressShared { address: String, other: String },
    #[error("the files of release {release} are not in the store any more; deploy it again from its commit")]
    Pruned { release: String },
    #[error("the files could not be copied: {0}")]
    Join(String),
}

impl EffectError {
    fn outcome(&self) -> Outcome {
        let permanent = match self {
            Self::Node(error) => error.is_permanent(),
            Self::Build(error) => !matches!(error, BuildError::Io { .. }),
            Self::Spec(_)
            | Self::Instances(_)
            | Self::AddressTaken { .. }
            | Self::AddressShared { .. }
            | Self::Pruned { .. } => true,
            Self::Join(_) | Self::Image(_) => false,
        };
        Outcome::Failed { reason: chain(self), permanent }
    }
}

impl LocalWorld {
    /// The world of a data directory.
    pub fn new(node: Node, store: ReleaseStore, clock: Arc<Clock>, publisher: Publisher) -> Self {
        let looks = Arc::new(Semaphore::new(LOOKS_MAX));
        Self { node, store, clock, publisher, looks, metrics: Metrics::default() }
    }

    async fn effect(&self, order: &Order) -> Result<Outcome, EffectError> {
        let Order { epoch, plan, .. } = order;
        match order.effect {
            Effect::Check => self.check(plan, *epoch).await,
            Effect::Build => self.build(plan).await,
            Effect::Scale { instances, generation, .. } => {
                self.scale(plan, &plan.release, *epoch, generation, instances).await
            }
            Effect::Shift { share, mirror, generation } => {
                self.node.put_table(&shifted(plan, *epoch, generation, share, mirror).table()?).await?;
                self.reading(plan).await.map(Outcome::Read)
            }
            Effect::Measure { every } => self.measure(plan, *epoch, every.0 > 0).await,
            Effect::Promote { generation } => {
                let wanted =
                    Wanted { stable: Some(&plan.release), lease_ms: None, ..base(plan, *epoch, generation) };
                let old = plan.stable.as_ref().map(|old| (old, Share::NONE, Share::NONE));
                // The old release stays in the table without a share: it is kept warm for the watch.
                self.node.put_table(&Wanted { new: old, ..wanted }.table()?).await?;
                Ok(Outcome::Done)
            }
            Effect::Restore { generation } => self.restore(plan, *epoch, generation).await,
            Effect::Retire { new, generation } => self.retire(plan, *epoch, new, generation).await,
            Effect::Wake { .. } => Ok(Outcome::Done),
        }
    }

    /// The proxy runs, the addresses are free or ours, and the stable release is there to return to.
    async fn check(&self, plan: &Plan, epoch: u64) -> Result<Outcome, EffectError> {
        let spec = LocalSpec::of(&plan.release)?;
        self.node.ensure().await?;
        let services = self.node.services().await?;
        for listen in &spec.routing.listen {
            free_or_ours(&plan.service, listen, &services)?;
        }
        if let Some(stable) = &plan.stable {
            let runs = self.node.runs(&plan.service).await?;
            if !runs.iter().any(|run| run.release == stable.tag && run.wanted > 0) {
                let all = LocalSpec::of(stable)?.instances;
                // Generation 0 of a run that is not there: whatever comes later is newer.
                return self.scale(plan, stable, epoch, plan.generation(0), all).await;
            }
        }
        Ok(Outcome::Done)
    }

    async fn build(&self, plan: &Plan) -> Result<Outcome, EffectError> {
        let program = LocalSpec::of(&plan.release)?.program;
        match (files_digest(&plan.release), program) {
            (_, Program::Container(container)) => {
                image::bring(&container.image, container.socket.as_deref().map(Path::new)).await?;
            }
            (Some(sha256), Program::Command { source, .. }) => {
                if plan.way_back && !self.store.has(sha256) {
                    return Err(EffectError::Pruned { release: plan.release.tag.clone() });
                }
                let (store, sha256) = (self.store.clone(), sha256.to_owned());
                tokio::task::spawn_blocking(move || store.bring(&source, &sha256))
                    .await
                    .map_err(|why| EffectError::Join(why.to_string()))??;
            }
            (None, Program::Command { .. }) => {}
        }
        Ok(Outcome::Done)
    }

    /// Asks for instances and waits until they are ready, or surely will not be.
    async fn scale(
        &self,
        plan: &Plan,
        release: &Release,
        epoch: u64,
        generation: u64,
        instances: u32,
    ) -> Result<Outcome, EffectError> {
        let files = files_digest(release).map(|sha256| self.store.path(sha256));
        let run = LocalSpec::of(release)?.run(files, epoch, generation, instances);
        self.node.put_run(&plan.service, &release.tag, &run).await?;
        loop {
            let runs = self.node.runs(&plan.service).await?;
            let Some(run) = runs.iter().find(|run| run.release == release.tag) else {
                return Err(EffectError::Instances(format!("the proxy forgot release {}", release.tag)));
            };
            if let Some(broken) = run.instances.iter().find(|instance| is_broken(instance)) {
                return Err(EffectError::Instances(sentence(broken)));
            }
            let ready =
                run.instances.iter().filter(|instance| instance.state == InstanceState::Ready).count();
            if ready >= usize::try_from(instances).unwrap_or(usize::MAX) {
                return Ok(Outcome::Done);
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Looks at the counters. Repeated looks are many, a thousand deployments make two thousand a second: each asks the
    /// proxy only what its plan needs, and looks whether the proxy runs only when nobody answers.
    async fn measure(&self, plan: &Plan, epoch: u64, renews: bool) -> Result<Outcome, EffectError> {
        let Ok(_turn) = self.looks.acquire().await else { return self.look(plan, epoch, renews).await };
        match self.look(plan, epoch, renews).await {
            Err(EffectError::Node(NodeError::Call(CallError::NoOne { .. }))) if renews => {
                self.node.ensure().await?;
                self.look(plan, epoch, renews).await
            }
            answer => answer,
        }
    }

    async fn look(&self, plan: &Plan, epoch: u64, renews: bool) -> Result<Outcome, EffectError> {
        // Without a release to return to there is no lease: see `shifted`.
        if renews && plan.lease.is_some() && plan.stable.is_some() {
            self.node.renew(epoch, &plan.service).await?;
            let status = self.node.service(&plan.service).await?;
            if status.is_some_and(|status| matches!(status.lease, Lease::Ended { .. })) {
                return Ok(Outcome::LeaseEnded);
            }
        }
        self.reading(plan).await.map(Outcome::Read)
    }

    /// The way back needs the proxy and nothing else.
    async fn restore(&self, plan: &Plan, epoch: u64, generation: u64) -> Result<Outcome, EffectError> {
        self.node.ensure().await?;
        let wanted = Wanted { lease_ms: None, ..base(plan, epoch, generation) };
        let new = Some((&plan.release, Share::NONE, Share::NONE));
        self.node.put_table(&Wanted { new, ..wanted }.table()?).await?;
        Ok(Outcome::Done)
    }

    /// Takes a release out of the table, then drains and stops its instances, and with them whatever else of the service
    /// runs beside the one that stays: a deployment that was given up may have left its own behind.
    async fn retire(
        &self,
        plan: &Plan,
        epoch: u64,
        new: bool,
        generation: u64,
    ) -> Result<Outcome, EffectError> {
        let stays = if new { plan.stable.as_ref() } else { Some(&plan.release) };
        let wanted = Wanted { stable: stays, new: None, lease_ms: None, ..base(plan, epoch, generation) };
        self.node.put_table(&wanted.table()?).await?;
        let leaves = |run: &RunStatus| stays.is_none_or(|stays| stays.tag != run.release);
        for run in self.node.runs(&plan.service).await?.iter().filter(|run| leaves(run)) {
            self.node.delete_run(&plan.service, &run.release, epoch).await?;
        }
        while self.node.runs(&plan.service).await?.iter().any(|run| leaves(run) && is_there(run)) {
            tokio::time::sleep(LOOK).await;
        }
        Ok(Outcome::Done)
    }

    /// Counters of both releases, and their instances, at one moment.
    async fn reading(&self, plan: &Plan) -> Result<Reading, EffectError> {
        let (counters, runs) =
            futures_util::future::try_join(self.node.counters(&plan.service), self.node.runs(&plan.service))
                .await?;
        let at = self.clock.now();
        let addresses = |tag: Option<&str>| addresses(&runs, tag);
        let stable_tag = plan.stable.as_ref().map(|stable| stable.tag.as_str());
        let (new, stable) = (addresses(Some(&plan.release.tag)), addresses(stable_tag));
        let instances = Instances { new, stable, ..Instances::default() };
        Ok(Reading {
            at,
            new: release_reading(&plan.release, &plan.service, &counters, &runs),
            stable: plan
                .stable
                .as_ref()
                .map(|stable| release_reading(stable, &plan.service, &counters, &runs)),
            mirror: mirrored(&plan.release, &plan.service, &counters),
            astray: None,
            metrics: self.metrics.read(plan, &instances, at),
            boot: counters.boot,
        })
    }
}

impl World for LocalWorld {
    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn start_at(&self, latest: Option<Timestamp>) {
        self.clock.start_at(latest);
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<()> {
        let clock = Arc::clone(&self.clock);
        async move { tokio::time::sleep(clock.until(at)).await }.boxed()
    }

    fn perform(&self, order: Order) -> BoxFuture<Outcome> {
        let world = self.clone();
        async move {
            match world.effect(&order).await {
                Ok(outcome) => outcome,
                Err(error) => error.outcome(),
            }
        }
        .boxed()
    }

    fn ended(&self, history: Arc<[Recorded]>) -> BoxFuture<()> {
        let publisher = Arc::clone(&self.publisher);
        if let Some(Event::Planned { plan, .. }) = history.first().map(|first| &first.event) {
            self.metrics.forget(&plan.deployment);
        }
        async move {
            // Written on a thread that may block; trouble there is the publisher's to report and delays nothing.
            drop(tokio::task::spawn_blocking(move || publisher(&history)).await);
        }
        .boxed()
    }
}

/// A table with nothing new yet.
fn base(plan: &Plan, epoch: u64, generation: u64) -> Wanted<'_> {
    Wanted {
        service: &plan.service,
        epoch,
        generation,
        stable: plan.stable.as_ref(),
        new: None,
        lease_ms: None,
    }
}

/// The table of a stage. On a service's first deployment there is nothing to return to, and so no lease.
fn shifted(plan: &Plan, epoch: u64, generation: u64, share: Share, mirror: Share) -> Wanted<'_> {
    let lease_ms = plan.stable.as_ref().and(plan.lease).map(|lease| lease.0);
    Wanted { new: Some((&plan.release, share, mirror)), lease_ms, ..base(plan, epoch, generation) }
}

/// The address is free, or the service's own, or its listener is about to be moved to this service.
fn free_or_ours(
    service: &str,
    listen: &ListenAddress,
    services: &[ServiceStatus],
) -> Result<(), EffectError> {
    let address = listen.address.clone();
    let bound = services.iter().find(|status| status.listening.contains(&address));
    match bound {
        Some(status) if status.table.service == service => Ok(()),
        Some(status) => Err(EffectError::AddressShared { address, other: status.table.service.clone() }),
        None => match std::net::TcpListener::bind(&address) {
            Ok(_) => Ok(()),
            Err(_) => Err(EffectError::AddressTaken { address }),
        },
    }
}

/// Where the instances of a release listen, as far as they do.
fn addresses(runs: &[RunStatus], tag: Option<&str>) -> Vec<InstanceAddress> {
    let instances =
        runs.iter().filter(|run| Some(run.release.as_str()) == tag).flat_map(|run| &run.instances);
    let address =
        |one: &InstanceStatus| Some(InstanceAddress { id: one.id.clone(), address: one.address.clone()? });
    instances.filter_map(address).collect()
}

fn is_there(run: &RunStatus) -> bool {
    run.instances.iter().any(|instance| instance.state != InstanceState::Stopped)
}

fn is_broken(instance: &InstanceStatus) -> bool {
    matches!(instance.state, InstanceState::CrashLooping | InstanceState::Failed)
}

/// Why an instance does not come up, for a person.
fn sentence(instance: &InstanceStatus) -> String {
    let why = instance.last_end.as_deref().unwrap_or("no reason known");
    let times = if instance.restarts > 1 { format!(" ({} times)", instance.restarts) } else { String::new() };
    let said = instance.last_output.as_deref().map(str::trim).filter(|said| !said.is_empty());
    let said = said.map_or_else(String::new, |said| format!("; it wrote last: {said}"));
    format!("instance {} does not come up: {why}{times}{said}; its log is {}", instance.id, instance.log)
}

fn release_reading(
    release: &Release,
    service: &str,
    counters: &CountersReport,
    runs: &[RunStatus],
) -> ReleaseReading {
    let nothing = ReleaseCounters::default();
    let counted = counters
        .services
        .iter()
        .filter(|entry| entry.service == service)
        .flat_map(|entry| &entry.releases)
        .find(|entry| entry.release == release.tag)
        .unwrap_or(&nothing);
    let failures = &counted.failures;
    let run = runs.iter().find(|run| run.release == release.tag);
    ReleaseReading {
        requests: counted.requests,
        failures: failures.server_error
            + failures.connect
            + failures.reset
            + failures.timeout
            + failures.unavailable,
        latency_us: counted.latency_us.clone(),
        wanted: run.map_or(0, |run| run.wanted),
        instances: run.map_or_else(Vec::new, |run| run.instances.iter().map(instance_reading).collect()),
    }
}

/// What the proxy saw of copies to this release.
fn mirrored(release: &Release, service: &str, counters: &CountersReport) -> Option<Mirrored> {
    let entry = counters.services.iter().find(|entry| entry.service == service)?;
    let mirror = entry.mirror.as_ref().filter(|mirror| mirror.release == release.tag)?;
    Some(Mirrored {
        copies: mirror.answered.saturating_add(mirror.failed),
        failed: mirror.failed,
        status_differs: mirror.status_differs,
        body_differs: mirror.body_differs,
        slower: mirror.slower,
        examples: mirror.examples.clone(),
    })
}

fn instance_reading(status: &InstanceStatus) -> Instance {
    Instance {
        id: status.id.clone(),
        ready: status.state == InstanceState::Ready,
        broken: is_broken(status),
        ends: status.restarts,
        ends_total: status.ends_total,
        last_end: status.last_end.clone(),
        cpu_ms: status.cpu_ms,
        cpu_limit_milli: status.cpu_limit_milli,
        rss_bytes: status.rss_bytes,
        memory_limit_bytes: status.memory_limit_bytes,
    }
}
