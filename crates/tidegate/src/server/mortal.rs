//! Deaths on purpose, so that every promise can be tried at its edge.
//!
//! `TIDEGATE_FAULT=POINT[:EFFECT][:COUNT]` lets the engine kill itself, exactly as `kill -9` would, the COUNT-th time
//! (default: the first) it comes to that point. Read once at the start; without it nothing here does anything.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use rustix::process::{Signal, getpid, kill_process};
use tidegate_core::{
    deployment::{Effect, Outcome, Recorded},
    model::{Millis, Release, Timestamp},
};
use tidegate_engine::{Order, Successor, World, journal::BoxFuture};

use crate::fault::Fault;

const VARIABLE: &str = "TIDEGATE_FAULT";

/// Places at which the engine may die.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Point {
    /// A deployment is durable, and whoever asked for it was not told.
    Submitted,
    /// What a verb made is durable, and whoever asked was not told.
    Told,
    /// The journal implies an effect, and nothing of it was done.
    PerformBefore,
    /// An effect is done, and the journal does not know.
    PerformAfter,
    /// A deployment has ended, and its artifacts are not written.
    EndedBefore,
    /// Its artifacts are written.
    EndedAfter,
}

impl Point {
    const ALL: [(Self, &'static str); 6] = [
        (Self::Submitted, "submitted"),
        (Self::Told, "told"),
        (Self::PerformBefore, "perform-before"),
        (Self::PerformAfter, "perform-after"),
        (Self::EndedBefore, "ended-before"),
        (Self::EndedAfter, "ended-after"),
    ];
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(point, _)| point == self).map_or("", |(_, name)| name))
    }
}

/// When and where this process dies by its own hand; by default never.
#[derive(Debug, Default)]
pub(super) struct Fate {
    set: Option<Set>,
}

#[derive(Debug)]
struct Set {
    point: Point,
    effect: Option<String>,
    left: AtomicU32,
}

impl Fate {
    /// What the environment asks for.
    pub(super) fn from_environment() -> Result<Self, Fault> {
        match std::env::var(VARIABLE) {
            Err(_) => Ok(Self::default()),
            Ok(text) => Self::read(&text).ok_or_else(|| {
                let points: Vec<String> = Point::ALL.iter().map(|(point, _)| point.to_string()).collect();
                let points = points.join(", ");
                Fault::refuse(format!("{VARIABLE}={text} is not POINT[:EFFECT][:COUNT]; points are {points}"))
            }),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(':');
        let name = parts.next()?;
        let (point, _) = *Point::ALL.iter().find(|(_, known)| *known == name)?;
        let (mut effect, mut count) = (None, 1);
        for part in parts {
            match part.parse() {
                Ok(number) => count = number,
                Err(_) => effect = Some(part.to_owned()),
            }
        }
        Some(Self { set: Some(Set { point, effect, left: AtomicU32::new(count) }) })
    }

    /// The engine comes to a point. Does not return when this is the time.
    pub(super) fn reach(&self, point: Point, effect: Option<&str>) {
        let Some(set) = self.set.as_ref().filter(|set| set.point == point) else { return };
        let meant = match (&set.effect, effect) {
            (Some(wanted), effect) => effect == Some(wanted.as_str()),
            // Measuring repeats all the time; it counts only when it is asked for by name.
            (None, effect) => effect != Some(MEASURE),
        };
        if meant && set.left.fetch_sub(1, Ordering::Relaxed) == 1 {
            // If even this fails, the next line ends it too.
            let _ = kill_process(getpid(), Signal::KILL);
            std::process::abort();
        }
    }
}

/// A world in which the engine may die before or after everything it does.
#[derive(Clone)]
pub(crate) struct Mortal<W> {
    world: Arc<W>,
    fate: Arc<Fate>,
}

impl<W> Mortal<W> {
    pub(super) fn new(world: W, fate: Arc<Fate>) -> Self {
        Self { world: Arc::new(world), fate }
    }
}

impl<W: World> World for Mortal<W> {
    fn now(&self) -> Timestamp {
        self.world.now()
    }

    fn start_at(&self, latest: Option<Timestamp>) {
        self.world.start_at(latest);
    }

    fn sleep_until(&self, at: Timestamp) -> BoxFuture<()> {
        self.world.sleep_until(at)
    }

    fn perform(&self, order: Order) -> BoxFuture<Outcome> {
        let (world, fate) = (Arc::clone(&self.world), Arc::clone(&self.fate));
        Box::pin(async move {
            let effect = name(&order.effect);
            fate.reach(Point::PerformBefore, Some(effect));
            let outcome = world.perform(order).await;
            fate.reach(Point::PerformAfter, Some(effect));
            outcome
        })
    }

    fn successor(
        &self,
        service: &str,
        good: &Release,
    ) -> Option<BoxFuture<Result<Option<Successor>, String>>> {
        self.world.successor(service, good)
    }

    fn ended(&self, history: Arc<[Recorded]>) -> BoxFuture<()> {
        let (world, fate) = (Arc::clone(&self.world), Arc::clone(&self.fate));
        Box::pin(async move {
            fate.reach(Point::EndedBefore, None);
            world.ended(history).await;
            fate.reach(Point::EndedAfter, None);
        })
    }
}

const MEASURE: &str = "measure";

const fn name(effect: &Effect) -> &'static str {
    match effect {
        Effect::Check => "check",
        Effect::Build => "build",
        Effect::Scale { .. } => "scale",
        Effect::Shift { .. } => "shift",
        Effect::Measure { every: Millis::ZERO } => "read",
        Effect::Measure { .. } => MEASURE,
        Effect::Promote { .. } => "promote",
        Effect::Restore { .. } => "restore",
        Effect::Retire { .. } => "retire",
        Effect::Wake { .. } => "wake",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_names_a_point_and_perhaps_an_effect_and_a_count() {
        let read = |text| Fate::read(text).and_then(|fate| fate.set);
        let set = read("perform-after:shift:2").unwrap();
        assert_eq!((set.point, set.effect.as_deref()), (Point::PerformAfter, Some("shift")));
        assert_eq!(set.left.into_inner(), 2);
        assert_eq!(read("submitted").unwrap().left.into_inner(), 1);
        assert!(read("").is_none() && read("perform").is_none());
    }
}
