//! Plays a scenario: engines live and die, clients and operators come and go, and in the end everything must have ended.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tidegate_core::{
    deployment::{Event, Phase, StateName, Verb},
    model::Actor,
    plan::{Plan, Request},
};
use tidegate_engine::{QueuePolicy, Submission, SubmitError, TellError, journal};

use crate::{
    fate::{Course, Fates},
    law::{Law, Violation},
    life::Life,
    target::{Health, Target},
    universe::{Due, Universe, Weather},
};

/// How long a dead control plane stays away when nothing else is said, milliseconds.
pub(crate) const DOWN_MS: i64 = 1_000;

/// The true time at which every scenario begins: 2026-01-01, in milliseconds since the Unix epoch.
pub(crate) const DAWN: i64 = 1_767_225_600_000;

/// Times a client sends one request.
const SENDS_MAX: u32 = 20;

/// Looks after the world is well in which everything must end.
const SOOTHINGS_MAX: u32 = 2_000;

/// A world and what happens in it.
pub(crate) struct Scenario {
    pub(crate) services: Vec<Service>,
    pub(crate) agenda: Vec<(i64, Happening)>,
    pub(crate) weather: Vec<(i64, String, Weather)>,
    pub(crate) fates: Fates,
    /// When everything that goes wrong by itself has stopped, milliseconds after dawn.
    pub(crate) well_at: i64,
    pub(crate) keeps_lines: bool,
}

/// A service before anything happens.
#[derive(Clone)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) instances: u32,
    pub(crate) rate: u64,
    /// The request of the deployment that left the release which runs.
    pub(crate) stable: Option<Request>,
}

/// Something that is done to the control plane.
#[derive(Clone)]
pub(crate) enum Happening {
    /// A client asks for a deployment until it is answered.
    Submit { key: String, request: Box<Request>, queue: QueuePolicy, health: Health, sends: u32 },
    /// A person asks something of the service's newest unfinished deployment, or of its oldest.
    Tell { service: String, newest: bool, verb: Verb },
    /// The process is killed.
    Kill { down: i64, survivors: usize, set_back: i64 },
    /// The process stands still, another one takes over, and later the first one wakes.
    Freeze { wakes: i64 },
    /// The frozen ones wake.
    Thaw,
    /// The oldest unfinished deployment of a service is poisoned.
    Poison { service: String, panics: bool },
    /// Nothing is poisoned any more.
    Cure,
}

/// What came of it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) violations: Vec<Violation>,
    pub(crate) hours: f64,
    pub(crate) faults: u64,
    pub(crate) appends: u64,
    pub(crate) calls: u64,
    pub(crate) events: u64,
    pub(crate) deployments: u64,
    pub(crate) restarts: u64,
    /// By request key: how it ended, and the events on the way.
    pub(crate) ends: BTreeMap<String, (StateName, Vec<&'static str>)>,
    pub(crate) lines: Vec<crate::rehearse::Line>,
}

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
                let of = |id: &String| id.starts_with(&format!("{service}-"));
                let mut open: Vec<String> =
                    self.universe().oracle.unfinished().into_iter().filter(of).collect();
                open.sort_by_key(|id| id.rsplit('-').next().and_then(|turn| turn.parse::<u64>().ok()));
                if let Some(id) = if newest { open.pop() } else { open.into_iter().next() } {
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
            Happening::Poison { service, panics } => self.poison(&service, panics),
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

    fn poison(&mut self, service: &str, panics: bool) {
        let of = |id: &String| id.starts_with(&format!("{service}-"));
        let id = self.universe().oracle.unfinished().into_iter().find(of);
        let Some(id) = id else { return };
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

/// Puts a service into the universe, with the release that runs there and the history that says so.
fn settle(universe: &mut Universe, service: &Service) {
    let running = service.stable.as_ref().map(|request| request.release.tag.clone());
    let target = Target::new(running.as_deref().map(|tag| (tag, service.instances)), service.rate, DAWN);
    universe.targets.insert(service.name.clone(), target);
    universe.instances.insert(service.name.clone(), service.instances);
    if let Some(request) = &service.stable {
        // A plan that cannot be made leaves the service without a past, which the checker will notice.
        let _: Option<()> = remember(universe, request);
    }
}

/// Writes the shortest history that ends with this release in charge.
fn remember(universe: &mut Universe, request: &Request) -> Option<()> {
    use futures_util::FutureExt as _;
    use tidegate_core::{
        deployment::{Recorded, fold},
        model::Timestamp,
        plan,
    };
    use tidegate_engine::{journal::Journal as _, record};

    let plan: Plan = plan::compile(request.clone()).ok()?;
    let at = Timestamp(DAWN - 1);
    let events = [
        Event::Planned {
            request: Box::new(request.clone()),
            plan: Box::new(plan.clone()),
            reason: String::new(),
        },
        Event::Verified,
    ];
    let recorded: Vec<Recorded> = events
        .into_iter()
        .zip(1..)
        .map(|(event, seq)| Recorded { seq, at, actor: Actor::engine(), event })
        .collect();
    let (plan, state) = fold(&recorded)?;
    universe.oracle.past.insert(plan.deployment.clone());
    let journal = universe.disk.journal();
    let append = journal::Append {
        deployment: plan.deployment.clone(),
        expected_seq: 0,
        epoch: journal.epoch(),
        events: recorded.iter().map(record::encode).collect::<Result<_, _>>().ok()?,
        row: record::row(&plan, &state, at),
        request: None,
    };
    journal.append(append).now_or_never()?.ok().map(drop)
}
