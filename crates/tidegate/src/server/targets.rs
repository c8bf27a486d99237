//! Every target behind one door: a release says which one understands it.

use std::sync::Arc;

use tidegate_adapters::local::LocalWorld;
use tidegate_core::{
    deployment::{Event, Outcome, Recorded},
    model::{Release, Timestamp},
};
use tidegate_engine::{Order, Successor, World, journal::BoxFuture};
use tidegate_kubernetes::{KubernetesTarget, Untold};

/// The world of the engine. The clock, and what is done at an end, are the local world's.
#[derive(Clone)]
pub(crate) struct Targets {
    local: LocalWorld,
    kubernetes: KubernetesTarget,
}

impl Targets {
    pub(super) const fn new(local: LocalWorld, kubernetes: KubernetesTarget) -> Self {
        Self { local, kubernetes }
    }

    /// Whether the release's target can tell what serves already.
    pub(super) fn can_find(release: &Release) -> bool {
        release.spec.kind == tidegate_kubernetes::KIND
    }

    /// The release that serves already, when the target can tell and it is not one of ours.
    pub(super) async fn found(&self, service: &str, release: &Release) -> Result<Option<Release>, Untold> {
        if Self::can_find(release) { self.kubernetes.found(service, release).await } else { Ok(None) }
    }
}

impl World for Targets {
    fn now(&self) -> Timestamp {
        self.local.now()
    }

    fn start_at(&self, latest: Option<Timestamp>) {
        self.local.start_at(latest);
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<()> {
        self.local.sleep_until(at)
    }

    fn perform(&self, order: Order) -> BoxFuture<Outcome> {
        match order.plan.release.spec.kind.as_str() {
            tidegate_kubernetes::KIND | tidegate_kubernetes::guard::KIND => self.kubernetes.perform(order),
            _ => self.local.perform(order),
        }
    }

    fn successor(&self, _: &str, good: &Release) -> Option<BoxFuture<Result<Option<Successor>, String>>> {
        if Self::can_find(good) { self.kubernetes.successor(good) } else { None }
    }

    fn ended(&self, history: Arc<[Recorded]>) -> BoxFuture<()> {
        if let Some(Event::Planned { plan, .. }) = history.first().map(|first| &first.event) {
            self.kubernetes.forget(&plan.deployment);
        }
        self.local.ended(history)
    }
}
