//! The engine's world, imagined: orders travel to the target and answers travel back, each with its fate.

use std::sync::Arc;

use futures_util::FutureExt as _;
use tidegate_core::{
    deployment::{Effect, Outcome, Recorded},
    model::Timestamp,
};
use tidegate_engine::{
    Order, World,
    journal::{BoxFuture, Epoch},
};

use crate::{
    fate::CallFate,
    process::Process,
    universe::{Due, Universe},
};

/// How long after its bound a late order acts: the next try is on its way by then.
const LATE_MS: i64 = 400;

/// A process's connection to the world.
pub(crate) struct SimWorld {
    process: Arc<Process>,
    epoch: Epoch,
}

impl SimWorld {
    pub(crate) const fn new(process: Arc<Process>, epoch: Epoch) -> Self {
        Self { process, epoch }
    }
}

/// How a call goes on after the order was given.
#[expect(clippy::large_enum_variant, reason = "one at a time, handed over once")]
enum Way {
    /// The process is dead.
    Dead,
    /// An answer comes at a moment: this one, or the target's.
    Answer { at: i64, ticket: u64, instead: Option<Outcome> },
    /// None ever comes.
    Silence,
    /// The world itself breaks down.
    Panic,
}

impl World for SimWorld {
    fn now(&self) -> Timestamp {
        self.process.clock()
    }

    fn start_at(&self, latest: Option<Timestamp>) {
        if let Some(latest) = latest {
            self.process.not_before(latest);
        }
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<()> {
        self.process.sleep(self.process.true_time(at)).boxed()
    }

    fn perform(&self, order: Order) -> BoxFuture<Outcome> {
        let (process, epoch) = (Arc::clone(&self.process), self.epoch);
        async move {
            match send(&process, epoch, order) {
                Way::Dead | Way::Silence => std::future::pending().await,
                Way::Panic => std::panic::resume_unwind(Box::new("a poisoned deployment")),
                Way::Answer { at, ticket, instead } => {
                    process.sleep(at).await;
                    let came = process.universe().answer(ticket);
                    let none =
                        || Outcome::Failed { reason: "the answer was lost".to_owned(), permanent: false };
                    instead.or(came).unwrap_or_else(none)
                }
            }
        }
        .boxed()
    }

    fn ended(&self, history: Arc<[Recorded]>) -> BoxFuture<()> {
        let process = Arc::clone(&self.process);
        async move {
            if process.is_dead() {
                return std::future::pending().await;
            }
            process.universe().oracle.artifacts(&history);
        }
        .boxed()
    }
}

/// Gives an order and decides its fate.
fn send(process: &Process, epoch: Epoch, order: Order) -> Way {
    if process.is_dead() {
        return Way::Dead;
    }
    let offset = process.offset();
    let way = {
        let mut universe = process.universe();
        universe.ordered(&order, epoch);
        if universe.spins {
            Way::Dead
        } else if universe.breaks_down(&order.plan.deployment) {
            Way::Panic
        } else {
            fly(&mut universe, order, offset, epoch)
        }
    };
    if matches!(way, Way::Dead) {
        process.kill();
    }
    way
}

fn fly(universe: &mut Universe, order: Order, offset: i64, epoch: Epoch) -> Way {
    let (bound, now) = (bound(&order), universe.now());
    let reading = matches!(order.effect, Effect::Measure { .. });
    let by_owner = epoch == universe.epoch();
    let (fate, permille) = if by_owner { universe.course.call(now, reading) } else { (CallFate::Fine, 1) };
    let takes = (bound * i64::try_from(permille).unwrap_or(0) / 1_000).max(1);
    let ticket = universe.ticket();
    let failed = |permanent| Some(Outcome::Failed { reason: format!("{fate:?}"), permanent });
    let (acts, way) = match fate {
        CallFate::Fine => (Some(takes / 2), Way::Answer { at: now + takes, ticket, instead: None }),
        CallFate::KilledBefore => (None, Way::Dead),
        CallFate::KilledAfter => (Some(0), Way::Dead),
        CallFate::KilledActsLate => (Some(crate::play::DOWN_MS * 2), Way::Dead),
        CallFate::Fails => (None, Way::Answer { at: now + takes, ticket, instead: failed(false) }),
        CallFate::FailsForGood => (None, Way::Answer { at: now + takes, ticket, instead: failed(true) }),
        CallFate::FailsAfter => {
            (Some(takes / 2), Way::Answer { at: now + takes, ticket, instead: failed(false) })
        }
        CallFate::Silent => (Some(takes / 2), Way::Silence),
        CallFate::ActsLate => (Some(bound + LATE_MS), Way::Silence),
    };
    match acts {
        Some(0) => drop(universe.act(&order, offset)),
        Some(after) => universe.at(now + after, Due::Act { order, answer: ticket, offset }),
        None => {}
    }
    way
}

/// The bound that the engine puts on a call, milliseconds.
fn bound(order: &Order) -> i64 {
    let limits = &order.plan.limits;
    let bound = match order.effect {
        Effect::Check | Effect::Scale { .. } => limits.scale_max,
        Effect::Build => limits.build_max,
        Effect::Retire { .. } => limits.retire_max,
        Effect::Shift { .. }
        | Effect::Measure { .. }
        | Effect::Promote { .. }
        | Effect::Restore { .. }
        | Effect::Wake { .. } => limits.call_max,
    };
    i64::try_from(bound.0).unwrap_or(i64::MAX / 4)
}
