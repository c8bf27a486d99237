//! Large worlds: many services and deployments, people, weather, crashes, all from one seed.

use tidegate_core::{
    deployment::Verb,
    gate::OnFailure,
    model::{Millis, Share},
    plan::{Batch, Limits, Request, Shadow, Step, StrategySpec},
};
use tidegate_engine::QueuePolicy;

use super::{
    Broken, FAILING_MAX, Failing, play,
    worlds::{gates, release, request, sequential},
};
use crate::{
    fate::{Fates, Rates},
    law::Violation,
    play::DAWN,
    rehearse::Line,
    scenario::{Happening, Report, Scenario, Service},
    target::Health,
    universe::Weather,
};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// What the large worlds came to.
#[derive(Clone, Debug, Default)]
pub struct Large {
    /// Worlds.
    pub worlds: u64,
    /// Hours that deployments took, from admission to their end.
    pub hours: f64,
    /// Deployments.
    pub deployments: u64,
    /// Events.
    pub events: u64,
    /// Appends and calls that went wrong.
    pub faults: u64,
    /// Times an engine was started.
    pub restarts: u64,
    /// Broken laws.
    pub broken: Broken,
    /// Runs in which one was broken; the first few.
    pub failing: Vec<Failing>,
}

/// Plays large worlds, the first from `seed`, until deployments took this many hours.
pub fn large(seed: u64, hours_min: f64) -> Large {
    let mut done = Large::default();
    while done.hours < hours_min && done.worlds < 100_000 {
        let number = seed.wrapping_add(done.worlds);
        done.add(number, large_world(number));
    }
    done
}

/// One large world.
pub fn large_world(seed: u64) -> Large {
    let mut done = Large::default();
    done.count(seed, play(scenario(seed)));
    done
}

/// Plays one large world and tells everything that happened in it, and what was broken.
pub fn trace(seed: u64) -> (Vec<Line>, Vec<Violation>) {
    let report = play(Scenario { keeps_lines: true, ..scenario(seed) });
    (report.lines, report.violations)
}

impl Large {
    fn add(&mut self, seed: u64, one: Self) {
        self.worlds += 1;
        self.hours += one.hours;
        self.deployments += one.deployments;
        self.events += one.events;
        self.faults += one.faults;
        self.restarts += one.restarts;
        self.broken.lost += one.broken.lost;
        self.broken.duplicated += one.broken.duplicated;
        self.broken.illegal += one.broken.illegal;
        let room = FAILING_MAX.saturating_sub(self.failing.len());
        self.failing.extend(one.failing.into_iter().take(room));
        debug_assert!(self.failing.iter().all(|one| !one.script.is_empty()), "seed {seed} has a script");
    }

    fn count(&mut self, seed: u64, report: Report) {
        self.worlds = 1;
        self.hours = report.hours;
        self.deployments = report.deployments;
        self.events = report.events;
        self.faults = report.faults;
        self.restarts = report.restarts;
        self.broken.count(&report.violations);
        if !report.violations.is_empty() {
            self.failing.push(Failing { script: format!("--seed {seed}"), violations: report.violations });
        }
    }
}

/// Draws a world.
struct Draw {
    rng: fastrand::Rng,
    /// Until then things go wrong, milliseconds.
    well_at: i64,
    agenda: Vec<(i64, Happening)>,
    weather: Vec<(i64, String, Weather)>,
}

fn scenario(seed: u64) -> Scenario {
    let mut rng = fastrand::Rng::with_seed(seed);
    let well_at = rng.i64(24..120) * HOUR;
    let mut draw = Draw { rng, well_at, agenda: Vec::new(), weather: Vec::new() };
    let services: Vec<Service> = (0..draw.rng.usize(3..9)).map(|number| draw.service(number)).collect();
    draw.trouble();
    let rates = match draw.rng.u32(..3) {
        0 => Rates { append: 0, call: 0, reading: 0 },
        1 => Rates { append: 20, call: 200, reading: 10 },
        _ => Rates { append: 150, call: 1_500, reading: 60 },
    };
    let rng = fastrand::Rng::with_seed(seed ^ 0x5eed);
    let until = DAWN + draw.well_at;
    Scenario {
        services,
        agenda: draw.agenda,
        weather: draw.weather,
        fates: Fates::Dice { rng, rates, until, slowest: 600 },
        well_at: draw.well_at,
        keeps_lines: false,
    }
}

impl Draw {
    fn when(&mut self) -> i64 {
        self.rng.i64(0..self.well_at)
    }

    fn service(&mut self, number: usize) -> Service {
        let name = format!("service{number}");
        let instances = self.rng.u32(1..9);
        let rate = self.rng.u64(5..40);
        let stable = self.rng.bool().then(|| Request {
            deployment: format!("{name}-1"),
            service: name.clone(),
            instances,
            ..request("old", StrategySpec::AllAtOnce { bake: Millis::ZERO })
        });
        for deployment in 0..self.rng.usize(4..12) {
            let at = self.when();
            let submit = self.submission(&name, instances, deployment);
            self.agenda.push((at, submit));
        }
        for _ in 0..self.rng.usize(0..14) {
            let (at, verb, newest) = (self.when(), self.verb(), self.rng.bool());
            self.agenda.push((at, Happening::Tell { service: name.clone(), newest, verb }));
        }
        for _ in 0..self.rng.usize(0..5) {
            let (at, length) = (self.when(), self.rng.i64(1..120) * MINUTE);
            let (from, to) = match self.rng.u32(..3) {
                0 => (Weather::Rate(0), Weather::Rate(rate)),
                1 => (Weather::Blind(true), Weather::Blind(false)),
                _ => (Weather::Reset, Weather::Rate(rate)),
            };
            self.weather.push((at, name.clone(), from));
            self.weather.push(((at + length).min(self.well_at), name.clone(), to));
        }
        Service { name, instances, rate, stable }
    }

    fn submission(&mut self, service: &str, instances: u32, number: usize) -> Happening {
        let tag = format!("{service}-r{number}");
        let from_bp = *self.rng.choice(&[1, 500, 2_500, 5_000, 10_000]).unwrap_or(&1);
        let health = match self.rng.u32(..10) {
            0 | 1 => Health::Errors { from_bp },
            2 => Health::Slow { from_bp },
            3 => Health::CrashLoop { from_bp },
            _ => Health::Good,
        };
        let queue = match self.rng.u32(..6) {
            0 => QueuePolicy::Reject,
            1 => QueuePolicy::Supersede,
            _ => QueuePolicy::Wait,
        };
        let (look_s, attempts_max, back_max) =
            (self.rng.u64(20..120), self.rng.u32(2..6), self.rng.u32(3..12));
        let limits = Limits {
            look_every: Millis::secs(look_s),
            attempts_max,
            back_attempts_max: back_max,
            restore_attempts_max: back_max,
            pause_max: Millis::hours(self.rng.u64(1..12)),
            reopen_max: self.rng.u32(0..4),
            ..Limits::default()
        };
        let mut asked = gates();
        for gate in &mut asked {
            gate.hold_max = Millis::minutes(self.rng.u64(5..60));
            if self.rng.u32(..6) == 0 {
                gate.on_failure = OnFailure::Hold;
            }
        }
        if self.rng.bool() {
            asked = sequential(asked);
        }
        let lease = self.rng.bool().then(|| Millis::minutes(self.rng.u64(10..90)));
        let shadow = (self.rng.u32(..6) == 0).then(|| Shadow::new(Share::percent(10), self.bake()));
        let strategy = self.strategy(instances);
        let request = Request {
            service: service.to_owned(),
            release: release(&tag),
            strategy,
            shadow,
            gates: asked,
            instances,
            watch: Millis::minutes(self.rng.u64(0..240)),
            lease,
            limits,
            ..request(&tag, StrategySpec::standard_canary())
        };
        let (key, request) = (format!("{tag}-key"), Box::new(request));
        Happening::Submit { key, request, queue, health, sends: 0 }
    }

    fn bake(&mut self) -> Millis {
        Millis::minutes(self.rng.u64(2..240))
    }

    fn strategy(&mut self, instances: u32) -> StrategySpec {
        let bake = self.bake();
        match self.rng.u32(..6) {
            0 => StrategySpec::AllAtOnce { bake },
            1 => StrategySpec::BlueGreen { bake, preview: self.bake(), approval: self.rng.bool() },
            2 => StrategySpec::Rolling { batch: Batch::Count(self.rng.u32(1..=instances)), bake },
            _ => {
                let mut shares: Vec<u8> = (0..self.rng.usize(1..5)).map(|_| self.rng.u8(1..=100)).collect();
                shares.sort_unstable();
                shares.dedup();
                let step = |percent| Step {
                    share: Share::percent(percent),
                    bake: Millis::minutes(self.rng.u64(2..180)),
                    approval: self.rng.u32(..8) == 0,
                };
                StrategySpec::Canary { steps: shares.into_iter().map(step).collect() }
            }
        }
    }

    fn verb(&mut self) -> Verb {
        let reason = || "a person".to_owned();
        match self.rng.u32(..10) {
            0..=1 => Verb::Pause { reason: reason() },
            2..=3 => Verb::Resume,
            4 => Verb::Promote { full: false },
            5 => Verb::Promote { full: true },
            6 => Verb::Abort { reason: reason() },
            7 => Verb::Retry,
            8 => Verb::Supersede { by: reason() },
            _ => Verb::Approve,
        }
    }

    /// What happens to the control plane.
    fn trouble(&mut self) {
        for _ in 0..self.rng.usize(0..20) {
            let at = self.when();
            let down = match self.rng.u32(..3) {
                0 => self.rng.i64(1..3 * HOUR),
                _ => self.rng.i64(1..60_000),
            };
            let set_back = if self.rng.u32(..5) == 0 { self.rng.i64(0..HOUR) } else { 0 };
            let survivors = self.rng.usize(0..3);
            self.agenda.push((at, Happening::Kill { down, survivors, set_back }));
        }
        for _ in 0..self.rng.usize(0..5) {
            let (at, wakes) = (self.when(), self.rng.i64(1..HOUR));
            self.agenda.push((at, Happening::Freeze { wakes }));
        }
        if self.rng.bool() {
            let (at, panics, newest) = (self.when(), self.rng.bool(), self.rng.bool());
            let service = "service0".to_owned();
            self.agenda.push((at, Happening::Poison { service, newest, panics }));
            self.agenda.push((at, Happening::Kill { down: 1_000, survivors: 0, set_back: 0 }));
            self.agenda.push((self.well_at, Happening::Cure));
        }
    }
}
