//! Plays a scenario: engines live and die, clients and operators come and go, and in the end everything must have ended.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tidegate_core::{
    deployment::{Event, Phase, Verb},
    model::Actor,
};
use tidegate_engine::{Submission, SubmitError, TellError, journal};

use crate::{
    fate::Course,
    law::Law,
    life::Life,
    scenario::{Happening, Report, Scenario, settle},
    universe::{Due, Universe},
};

/// How long a dead control plane stays away when nothing else is said, milliseconds.
pub(crate) const DOWN_MS: i64 = 1_000;

/// The true time at which every scenario begins: 2026-01-01, in milliseconds since the Unix epoch.
pub(crate) const DAWN: i64 = 1_767_225_600_000;

/// Times a client sends one request.
const SENDS_MAX: u32 = 20;

/// Looks after the world is well in which everything must end.
const SOOTHINGS_MAX: u32 = 2_000;

/// A scenario being played.
pub(crate) struct Play {
    universe: Arc<Mutex<Universe>>,
    life: Option<Life>,
    frozen: Vec<Life>,
    agenda: BTreeMap<(i64, u64), Happening>,
    next: u64,
    /// What the wall clock shows beyond the true time.
    offset: i64,
    up_at: i64,
    survivors: usize,
    restarts: u64,
    well_at: i64,
    /// Deployments by request key.
    made: BTreeMap<String, String>,
}

impl Play {
    pub(crate) fn new(scenario: Scenario) -> Self {
        let mut universe = Universe::new(DAWN, Course::new(scenario.fates));
        universe.oracle.keeps_lines = scenario.keeps_lines;
        for service in &scenario.services {
            settle(&mut universe, service);
        }
        for (at, service, weather) in scenario.weather {
            universe.at(DAWN + at, Due::Weather(service, weather));
        }
        let next = scenario.agenda.len() as u64;
        let agenda = scenario.agenda.into_iter().zip(0..);
        Self {
            universe: Arc::new(Mutex::new(universe)),
            life: None,
            frozen: Vec::new(),
            next,
            agenda: agenda.map(|((at, happening), number)| ((DAWN + at, number), happening)).collect(),
            offset: 0,
            up_at: DAWN,
            survivors: 0,
            restarts: 0,
            well_at: DAWN + scenario.well_at,
            made: BTreeMap::new(),
        }
    }

    fn universe(&self) -> MutexGuard<'_, Universe> {
        self.universe.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn now(&self) -> i64 {
        self.universe().now()
    }

    fn over(&self) -> bool {
        let universe = self.universe();
        universe.spins || !universe.oracle.violations.is_empty()
    }

    /// Plays it to its end.
    pub(crate) fn run(mut self) -> Report {
        while let Some(((at, _), happening)) = self.agenda.pop_first() {
            self.pass(at);
            if self.over() {
                return self.report();
            }
            self.happen(happening);
        }
        let well = self.well_at.max(self.now());
        self.pass(well);
        self.settle_down();
        self.report()
    }

    /// Time goes on to a moment, with as many lives as that takes.
    fn pass(&mut self, to: i64) {
        loop {
            let now = self.now();
            if self.universe().spins {
                return;
            }
            match self.life.take() {
                None if self.up_at > to => {
                    self.universe().advance(to);
                    return;
                }
                None => {
                    self.universe().advance(self.up_at.max(now));
                    self.begin();
                }
                Some(life) => {
                    if life.until(to) {
                        self.life = Some(life);
                        self.universe().advance(to);
                        return;
                    }
                    self.died(life);
                }
            }
        }
    }

    fn died(&mut self, life: Life) {
        life.kill();
        self.up_at = self.now() + DOWN_MS;
        self.survivors = 0;
    }

    fn begin(&mut self) {
        self.restarts += 1;
        let Some(life) = Life::start(&self.universe, self.offset, self.survivors) else {
            return self.universe().oracle.broken(Law::RestartResumes, "no runtime".to_owned());
        };
        self.survivors = 0;
        if let Some(engine) = life.engine() {
            let (held, journal) = (engine.active(), self.universe().disk.journal());
            let mut universe = self.universe();
            universe.oracle.reopened(&journal, false);
            universe.oracle.resumed(&held);
        }
        self.life = Some(life);
    }

    fn happen(&mut self, happening: Happening) {
        match happening {
            Happening::Submit { .. } => self.submit(happening),
            Happening::Tell { service, newest, verb } => {
                if let Some(id) = self.unfinished_of(&service, newest) {
                    self.tell(&id, &verb);
                }
            }
            Happening::Kill { down, survivors, set_back } => {
                if let Some(life) = self.life.take() {
                    self.died(life);
                    self.survivors = survivors;
                }
                self.up_at = self.now() + down;
                self.offset -= set_back;
            }
            Happening::Freeze { wakes } => {
                self.frozen.extend(self.life.take());
                let now = self.now();
                self.up_at = now;
                self.later(now + wakes, Happening::Thaw);
            }
            Happening::Thaw => self.thaw(),
            Happening::Poison { service, newest, panics } => self.poison(&service, newest, panics),
            Happening::Cure => self.cure(),
        }
    }

    fn later(&mut self, at: i64, happening: Happening) {
        self.next += 1;
        self.agenda.insert((at, self.next), happening);
    }

    /// Old owners wake up and do what they were about to do, for as long as anything of it is due.
    fn thaw(&mut self) {
        let now = self.now();
        for old in std::mem::take(&mut self.frozen) {
            old.until(now);
            old.kill();
        }
    }

    fn submit(&mut self, happening: Happening) {
        let Happening::Submit { key, request, queue, health, sends } = happening.clone() else { return };
        let now = self.now();
        if let Some(target) = self.universe().targets.get_mut(&request.service) {
            target.set_health(&request.release.tag, health);
        }
        let submission = Submission {
            request: *request,
            queue,
            key: Some(journal::Request { digest: journal::genesis(&key), key: key.clone() }),
            actor: Actor::person("client"),
            reason: key.clone(),
        };
        let answered = self.life.as_ref().and_then(|life| {
            let engine = life.engine()?;
            life.ask(engine.submit(submission))
        });
        match answered {
            Some(Ok(id)) => {
                self.universe().oracle.accepted(&key, &id);
                self.made.insert(key, id);
            }
            Some(Err(SubmitError::Busy { .. } | SubmitError::Plan(_))) => {}
            // Not answered, or refused for a reason that passes: the client asks again, with the same key.
            Some(Err(_)) | None => {
                let alive = self.life.as_ref().is_some_and(|life| !life.is_dead());
                if answered.is_none() && alive {
                    self.universe().oracle.broken(Law::Answers, format!("submit {key}"));
                }
                if sends < SENDS_MAX
                    && let Happening::Submit { request, .. } = happening
                {
                    let again = Happening::Submit { key, request, queue, health, sends: sends + 1 };
                    self.later(now + 3 * DOWN_MS, again);
                }
            }
        }
    }

    fn tell(&mut self, id: &str, verb: &Verb) {
        let Some(life) = self.life.as_ref() else { return };
        let Some(engine) = life.engine() else { return };
        let answered = life.ask(engine.tell(id, Actor::person("operator"), verb.clone()));
        let dead = life.is_dead();
        match answered {
            Some(Ok(events)) => self.universe().oracle.answered(id, &events),
            Some(Err(
                TellError::Refused(_)
                | TellError::Unknown(_)
                | TellError::Overloaded(_)
                | TellError::Quarantined { .. },
            )) => {}
            None if dead => {}
            None => self.universe().oracle.broken(Law::Answers, format!("{verb:?} to {id}")),
        }
    }

    /// The newest or the oldest unfinished deployment of a service.
    fn unfinished_of(&self, service: &str, newest: bool) -> Option<String> {
        let turn = |id: &String| id.strip_prefix(service)?.strip_prefix('-')?.parse::<u64>().ok();
        let open = self.universe().oracle.unfinished();
        let mut open: Vec<(u64, String)> = open.into_iter().filter_map(|id| Some((turn(&id)?, id))).collect();
        open.sort_unstable();
        let found = if newest { open.pop() } else { open.into_iter().next() };
        found.map(|(_, id)| id)
    }

    fn poison(&mut self, service: &str, newest: bool, panics: bool) {
        let Some(id) = self.unfinished_of(service, newest) else { return };
        let mut universe = self.universe();
        universe.oracle.poison(&id, true);
        if panics {
            universe.panics.insert(id);
        } else {
            universe.disk.unreadable.insert(id);
        }
    }

    fn cure(&mut self) {
        let poisoned: Vec<String> = {
            let mut universe = self.universe();
            let mut poisoned = std::mem::take(&mut universe.panics);
            poisoned.append(&mut universe.disk.unreadable);
            poisoned.into_iter().collect()
        };
        for id in poisoned {
            let engine = self.life.as_ref().and_then(Life::engine);
            let trouble = engine.and_then(|engine| engine.live(&id)).and_then(|live| live.trouble);
            let named = trouble.is_some_and(|trouble| trouble.contains("quarantined"));
            let open = self.universe().oracle.unfinished().contains(&id);
            let alive = engine.is_some();
            if named {
                self.tell(&id, &Verb::Retry);
            }
            let mut universe = self.universe();
            // A deployment that asked nothing of the poisoned world meanwhile is none the worse for it.
            let touched = universe.stung.get(&id) == Some(&universe.epoch());
            universe.oracle.check(named || !open || !alive || !touched, Law::OthersGoOn, || id.clone());
            universe.oracle.poison(&id, false);
        }
    }

    /// The world is well: a person looks after what waits for one, until everything has ended.
    fn settle_down(&mut self) {
        for _ in 0..SOOTHINGS_MAX {
            let open = self.universe().oracle.unfinished();
            if open.is_empty() || self.over() {
                break;
            }
            for id in &open {
                if let Some(verb) = self.soothing(id) {
                    self.tell(id, &verb);
                }
            }
            let now = self.now();
            self.pass(now + 600_000);
        }
        let now = self.now();
        self.pass(now + DOWN_MS);
        let journal = self.universe().disk.journal();
        let mut universe = self.universe();
        if universe.oracle.violations.is_empty() {
            universe.oracle.reopened(&journal, true);
            universe.oracle.finished();
        }
    }

    fn soothing(&self, id: &str) -> Option<Verb> {
        let universe = self.universe();
        let phase = &universe.oracle.watched.get(id)?.state.phase;
        if matches!(phase, Phase::Paused { .. }) {
            Some(Verb::Resume)
        } else if matches!(phase, Phase::AwaitingApproval { .. }) {
            Some(Verb::Approve)
        } else {
            matches!(phase, Phase::Stuck).then_some(Verb::Retry)
        }
    }

    fn report(self) -> Report {
        let mut universe = self.universe();
        let ends = self.made.iter().filter_map(|(key, id)| {
            let watched = universe.oracle.watched.get(id)?;
            let names = watched.history.iter().map(|one| one.event.name());
            let names =
                names.filter(|name| !matches!(*name, "tried" | "judged" | "held" | "baked")).collect();
            Some((key.clone(), (watched.state.name(), names)))
        });
        let mut report = Report { ends: ends.collect(), ..Report::default() };
        for watched in universe.oracle.watched.values() {
            let begun = watched.history.iter().find(|one| matches!(one.event, Event::Admitted));
            let span = begun.zip(watched.history.last()).map_or(0, |(from, to)| to.at.since(from.at).0);
            report.hours += span as f64 / 3_600_000.0;
            report.events += watched.history.len() as u64;
            report.deployments += 1;
        }
        report.faults = universe.course.faults;
        report.appends = universe.course.appends;
        report.calls = universe.course.calls;
        report.restarts = self.restarts;
        report.lines =
            std::mem::take(&mut universe.oracle.lines).into_iter().map(crate::rehearse::Line::new).collect();
        report.violations = std::mem::take(&mut universe.oracle.violations);
        drop(universe);
        report
    }
}
