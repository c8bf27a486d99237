//! The imagined universe: one true time, one disk, one target per service, and the checker that sees them all.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::{deployment::Outcome, model::Timestamp};
use tidegate_engine::{
    Order,
    journal::{AppendError, Epoch, MemoryJournal, Recorded, Row},
};

use crate::{
    disk::Disk,
    fate::{AppendFate, Course},
    law::Law,
    oracle::{Deed, Oracle},
    target::Target,
};

/// Orders at one moment beyond which the engine is said to spin.
const ORDERS_AT_ONCE_MAX: u32 = 400;

/// Everything outside the processes.
pub(crate) struct Universe {
    now: i64,
    pub(crate) disk: Disk,
    pub(crate) targets: BTreeMap<String, Target>,
    /// Instances that carry all traffic, per service.
    pub(crate) instances: BTreeMap<String, u32>,
    pub(crate) course: Course,
    pub(crate) oracle: Oracle,
    /// Deployments for which the world breaks down.
    pub(crate) panics: BTreeSet<String>,
    /// The owner that met a poisoned deployment last.
    pub(crate) stung: BTreeMap<String, Epoch>,
    /// Services whose counters cannot be read.
    blind: BTreeSet<String>,
    due: BTreeMap<(i64, u64), Due>,
    answers: BTreeMap<u64, Outcome>,
    next: u64,
    epoch: Epoch,
    orders: (i64, u32),
    /// True once the engine spins; every process then stands still.
    pub(crate) spins: bool,
}

/// Something that happens at a moment, whoever waits for it.
pub(crate) enum Due {
    /// An order reaches the target.
    Act {
        order: Order,
        /// Where the answer goes, when somebody may wait for it.
        answer: u64,
        /// What the caller's clock shows beyond the true time.
        offset: i64,
    },
    /// The weather changes.
    Weather(String, Weather),
}

/// What happens to a service by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// So many requests per second from now on.
    Rate(u64),
    /// Counters cannot be read, or can again.
    Blind(bool),
    /// The counting process is replaced.
    Reset,
}

impl Universe {
    pub(crate) fn new(now: i64, course: Course) -> Self {
        let journal = MemoryJournal::new();
        Self {
            now,
            disk: Disk::new(journal),
            targets: BTreeMap::new(),
            instances: BTreeMap::new(),
            course,
            oracle: Oracle::new(),
            panics: BTreeSet::new(),
            stung: BTreeMap::new(),
            blind: BTreeSet::new(),
            due: BTreeMap::new(),
            answers: BTreeMap::new(),
            next: 0,
            epoch: Epoch(1),
            orders: (now, 0),
            spins: false,
        }
    }

    /// The true time, milliseconds.
    pub(crate) const fn now(&self) -> i64 {
        self.now
    }

    /// The newest owner's epoch.
    pub(crate) const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// A new owner begins.
    pub(crate) fn owned_by(&mut self, epoch: Epoch) {
        self.epoch = epoch;
    }

    /// Time goes on to a moment, and everything that is due until then happens. Answers with the time it is then.
    pub(crate) fn advance(&mut self, to: i64) -> i64 {
        while let Some(entry) = self.due.first_entry() {
            let at = entry.key().0;
            if at > to {
                break;
            }
            let due = entry.remove();
            self.now = self.now.max(at);
            self.happen(due);
        }
        self.now = self.now.max(to);
        self.now
    }

    /// Makes something happen at a moment.
    pub(crate) fn at(&mut self, at: i64, due: Due) {
        self.next += 1;
        self.due.insert((at, self.next), due);
    }

    /// A number for an answer.
    pub(crate) fn ticket(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    /// Takes the answer to an order, when there is one.
    pub(crate) fn answer(&mut self, ticket: u64) -> Option<Outcome> {
        self.answers.remove(&ticket)
    }

    fn happen(&mut self, due: Due) {
        match due {
            Due::Act { order, answer, offset } => {
                let outcome = self.act(&order, offset);
                self.answers.insert(answer, outcome);
                // Answers that nobody came for are forgotten.
                while self.answers.len() > 256 {
                    self.answers.pop_first();
                }
            }
            Due::Weather(service, weather) => self.weather(&service, weather),
        }
    }

    fn weather(&mut self, service: &str, weather: Weather) {
        let now = self.now;
        match (weather, self.targets.get_mut(service)) {
            (Weather::Rate(rate), Some(target)) => {
                target.pass(now);
                target.rate = rate;
            }
            (Weather::Reset, Some(target)) => target.reset(now),
            (Weather::Blind(true), _) => drop(self.blind.insert(service.to_owned())),
            (Weather::Blind(false), _) => drop(self.blind.remove(service)),
            (Weather::Rate(_) | Weather::Reset, None) => {}
        }
    }

    /// The target hears an order.
    pub(crate) fn act(&mut self, order: &Order, offset: i64) -> Outcome {
        let service = &order.plan.service;
        let measures = matches!(order.effect, tidegate_core::deployment::Effect::Measure { .. });
        if measures && self.blind.contains(service) {
            return Outcome::Failed { reason: "no counters can be read".to_owned(), permanent: false };
        }
        let Some(target) = self.targets.get_mut(service) else {
            return Outcome::Failed { reason: format!("no target for {service}"), permanent: true };
        };
        target.pass(self.now);
        let before = target.view();
        let (acted, outcome) = target.act(order, Timestamp(self.now + offset), self.now);
        let after = target.view();
        let by_owner = order.epoch == self.epoch.0;
        let instances = self.instances.get(service).copied().unwrap_or(1);
        self.oracle.acted(&Deed { order, by_owner, acted, before: &before, after: &after, instances });
        outcome
    }

    /// An engine gives an order.
    pub(crate) fn ordered(&mut self, order: &Order, epoch: Epoch) {
        self.orders = if self.orders.0 == self.now { (self.now, self.orders.1 + 1) } else { (self.now, 1) };
        if self.orders.1 > ORDERS_AT_ONCE_MAX && !self.spins {
            self.spins = true;
            self.oracle.broken(Law::NoSpin, format!("{} at {}", order.key, self.now));
        }
        self.oracle.ordered(order, epoch.0, epoch == self.epoch);
    }

    /// Events became history.
    pub(crate) fn appended(&mut self, events: &[Recorded], row: &Row) {
        let now = self.now;
        if let Some(target) = self.targets.get_mut(&row.service) {
            target.pass(now);
        }
        self.oracle.appended(events, row, &self.targets, now);
    }

    /// The journal said no: the newest owner must never ask for what is not so.
    pub(crate) fn refused(&mut self, deployment: &str, error: &AppendError, epoch: Epoch) {
        let wrong = match error {
            AppendError::Conflict { .. }
            | AppendError::RowChanged { .. }
            | AppendError::TurnTaken { .. }
            | AppendError::OutOfBounds { .. } => Some(Law::NoGaps),
            AppendError::ServiceBusy { .. } => Some(Law::OneRunning),
            AppendError::Fenced { .. }
            | AppendError::RequestReused { .. }
            | AppendError::Unknown { .. }
            | AppendError::Damaged { .. }
            | AppendError::Overloaded { .. }
            | AppendError::Full
            | AppendError::Broken { .. } => None,
        };
        if let Some(law) = wrong.filter(|_| epoch == self.epoch) {
            self.oracle.broken(law, format!("{deployment}: {error}"));
        }
    }

    /// The fate of the next append.
    pub(crate) fn append_fate(&mut self) -> AppendFate {
        self.course.append(self.now)
    }

    /// Whether a deployment's events come back unreadable; remembers that somebody met them.
    pub(crate) fn spoils(&mut self, deployment: &str) -> bool {
        let spoils = self.disk.unreadable.contains(deployment);
        if spoils {
            self.stung.insert(deployment.to_owned(), self.epoch);
        }
        spoils
    }

    /// Whether the world breaks down for a deployment; remembers that somebody met it.
    pub(crate) fn breaks_down(&mut self, deployment: &str) -> bool {
        let panics = self.panics.contains(deployment);
        if panics {
            self.stung.insert(deployment.to_owned(), self.epoch);
        }
        panics
    }
}
