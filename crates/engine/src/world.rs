//! The world as the engine needs it: a clock and something that performs effects.

use std::sync::Arc;

use tidegate_core::{
    deployment::{Effect, Outcome, Reach, Recorded},
    model::{Release, Timestamp},
    plan::Plan,
};

use crate::journal::BoxFuture;

/// Performs effects and tells the time. Adapters implement it for real targets, the simulator for imagined ones.
pub trait World: Send + Sync + 'static {
    /// The present moment. Never goes back within a process, and never lies before [`World::start_at`]'s.
    fn now(&self) -> Timestamp;

    /// Tells the clock the latest moment of what is under way, before anything is driven; `None` when nothing is. A clock
    /// that was set while the engine was down must neither make the present earlier than that moment nor make time pass
    /// that nobody lived through.
    fn start_at(&self, latest: Option<Timestamp>);

    /// Resolves at that moment; at once when it has passed.
    fn sleep_until(&self, at: Timestamp) -> BoxFuture<()>;

    /// Brings about a desired state and answers with facts. Called again with the same key after a crash or a failure:
    /// it must look at the target first and leave alone what is so already. Dropping the future takes nothing back.
    fn perform(&self, order: Order) -> BoxFuture<Outcome>;

    /// Asks the target what stands in the place of a service's last good release, where that is not ours to keep: its owner
    /// may have rolled it out since. `None` where there is nothing to ask; the answer `None` is that it stands. An error says
    /// why it cannot be told, or why nothing can be returned to just now, and what to do. Changes nothing.
    fn successor(
        &self,
        service: &str,
        good: &Release,
    ) -> Option<BoxFuture<Result<Option<Successor>, String>>> {
        let _ = (service, good);
        None
    }

    /// A deployment has ended: write its artifacts. Called again after a crash; must end the same.
    fn ended(&self, history: Arc<[Recorded]>) -> BoxFuture<()>;
}

/// What took the place of a release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Successor {
    /// What all traffic is to return to now.
    pub release: Release,
    /// What happened, for people: a sentence without a full stop.
    pub note: String,
}

/// One try of one effect.
#[derive(Clone, Debug)]
pub struct Order {
    /// Names the intention: `deployment/intent/what`. The same for every try.
    pub key: String,
    /// The try, from 0.
    pub attempt: u32,
    /// The owner's epoch: the target refuses an older one than it has seen.
    pub epoch: u64,
    /// The plan.
    pub plan: Arc<Plan>,
    /// The plan's stage, from 0, whose share was given last: what is measured is held against it. `None` when none was.
    pub given: Option<usize>,
    /// The part of the target that it concerns.
    pub reach: Reach,
    /// What.
    pub effect: Effect,
}
