//! Watches everything that becomes history and everything that changes at a target, and knows what must not be.

mod end;
mod history;
mod order;
mod probe;
mod table;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use tidegate_core::{
    deployment::{Effect, Recorded, State, evolve},
    gate::Reading,
    model::Millis,
    plan::Plan,
};
use tidegate_engine::{
    journal::{self, Row, Standing},
    record,
};

pub(crate) use order::Deed;

use crate::{
    law::{Law, Violation},
    target::Target,
};

/// Broken laws that are kept; the first ones tell the most.
const VIOLATIONS_MAX: usize = 16;

/// Everything that is known about one deployment.
pub(crate) struct Watched {
    pub(crate) plan: Arc<Plan>,
    pub(crate) state: State,
    pub(crate) history: Vec<Recorded>,
    /// Time spent in the bake of the stage in force.
    baked: Millis,
    /// True time at which the stage in force was exposed.
    exposed: i64,
    /// Time spent in the watch.
    seen: Millis,
    /// Every intention there ever was, with the stage it belonged to.
    intents: BTreeMap<String, Intent>,
    last_reading: Option<Reading>,
    /// Times its artifacts were written.
    artifacts: u32,
    /// Whether a fault of its own keeps it from ending.
    pub(crate) poisoned: bool,
}

/// One intention, as the journal implied it.
#[derive(Clone, Debug)]
struct Intent {
    effect: Effect,
    key: tidegate_core::deployment::Key,
    stage: Option<usize>,
    attempts: u32,
    /// Times it changed the target.
    changes: u32,
}

/// The checker.
pub(crate) struct Oracle {
    pub(crate) watched: BTreeMap<String, Watched>,
    rows: BTreeMap<String, Row>,
    /// Deployments from before dawn.
    pub(crate) past: BTreeSet<String>,
    pub(crate) violations: Vec<Violation>,
    /// Deployments that a client was told of, by request key.
    accepted: BTreeMap<String, BTreeSet<String>>,
    /// What a reader of a rehearsal sees.
    pub(crate) lines: Vec<(i64, String, Recorded, State)>,
    pub(crate) keeps_lines: bool,
}

impl Oracle {
    pub(crate) fn new() -> Self {
        Self {
            watched: BTreeMap::new(),
            rows: BTreeMap::new(),
            past: BTreeSet::new(),
            violations: Vec::new(),
            accepted: BTreeMap::new(),
            lines: Vec::new(),
            keeps_lines: false,
        }
    }

    pub(crate) fn broken(&mut self, law: Law, detail: String) {
        if self.violations.len() < VIOLATIONS_MAX {
            self.violations.push(Violation { law, detail });
        }
    }

    pub(crate) fn check(&mut self, holds: bool, law: Law, detail: impl FnOnce() -> String) {
        if !holds {
            self.broken(law, detail());
        }
    }

    /// These events of one deployment are history now.
    pub(crate) fn appended(
        &mut self,
        events: &[journal::Recorded],
        row: &Row,
        targets: &BTreeMap<String, Target>,
        now: i64,
    ) {
        let decoded: Result<Vec<Recorded>, _> = events.iter().map(record::decode).collect();
        let (Ok(batch), Some(id)) = (decoded, events.first().map(|event| event.deployment.clone())) else {
            return self.broken(Law::NoGaps, "an append without readable events".to_owned());
        };
        self.queue(&id, row, &batch);
        let target = targets.get(&row.service);
        let mut watched = match self.watched.remove(&id) {
            Some(watched) => watched,
            None => match Watched::begin(&batch) {
                Some(watched) => watched,
                None => return self.broken(Law::NoGaps, format!("{id} does not begin with a plan")),
            },
        };
        self.batch(&id, &mut watched, &batch, target, now);
        self.probe(&id, &watched);
        if let Some(target) = target {
            self.ended_at_target(&id, &watched, &batch, target);
        }
        self.watched.insert(id.clone(), watched);
        self.rows.insert(id, row.clone());
        self.one_running(row);
    }

    fn batch(
        &mut self,
        id: &str,
        watched: &mut Watched,
        batch: &[Recorded],
        target: Option<&Target>,
        now: i64,
    ) {
        let from = watched.state.name();
        let first = watched.history.is_empty();
        for recorded in batch {
            watched.spend(recorded, now);
            self.event(id, watched, recorded, target);
            if !first || recorded.seq > 1 {
                watched.state = evolve(&watched.plan, watched.state.clone(), recorded);
            }
            if let tidegate_core::deployment::Event::Replanned { plan } = &recorded.event {
                watched.plan = Arc::new(plan.as_ref().clone());
            }
            watched.history.push(recorded.clone());
            if self.keeps_lines {
                self.lines.push((now, id.to_owned(), recorded.clone(), watched.state.clone()));
            }
        }
        if !first {
            let events = batch.iter().map(|recorded| &recorded.event);
            if let Err(row) = table::allows(from, events, watched.state.name()) {
                self.broken(Law::GoldenTable, format!("{id}: {row}"));
            }
        }
        watched.remember();
        self.check(watched.history.len() < 300, Law::EventsBounded, || id.to_owned());
    }

    fn one_running(&mut self, row: &Row) {
        let running: Vec<String> = self
            .rows
            .iter()
            .filter(|(_, other)| other.service == row.service && other.standing == Standing::Running)
            .map(|(id, _)| id.clone())
            .collect();
        self.check(running.len() <= 1, Law::OneRunning, || format!("{running:?}"));
    }

    /// The ids of deployments that have not ended.
    pub(crate) fn unfinished(&self) -> Vec<String> {
        self.rows.iter().filter(|(_, row)| row.standing.is_active()).map(|(id, _)| id.clone()).collect()
    }

    /// A client was told that its request made this deployment.
    pub(crate) fn accepted(&mut self, key: &str, id: &str) {
        let known = self.watched.contains_key(id);
        self.check(known, Law::AcceptedIsKept, || format!("{id} was answered, and is not in the journal"));
        let ids = self.accepted.entry(key.to_owned()).or_default();
        ids.insert(id.to_owned());
        let ids = ids.clone();
        self.check(ids.len() == 1, Law::OneDeploymentPerKey, || format!("{key}: {ids:?}"));
    }

    /// Poisons a deployment, or heals it: what is said of the others stays.
    pub(crate) fn poison(&mut self, id: &str, poisoned: bool) {
        if let Some(watched) = self.watched.get_mut(id) {
            watched.poisoned = poisoned;
        }
    }
}
