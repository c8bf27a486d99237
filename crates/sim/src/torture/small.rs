//! Small worlds, and every point at which each of them can be hurt.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::{
    deployment::{StateName, Verb},
    gate::{Gate, standard_gates},
    model::{Artifact, Criticality, Millis, Release, Share, TargetSpec},
    plan::{Batch, Limits, Request, Shadow, Step, StrategySpec},
};
use tidegate_engine::QueuePolicy;

use super::{Broken, FAILING_MAX, Failing, play};
use crate::{
    fate::{AppendFate, CallFate, Fates},
    law::{Law, Violation},
    play::{Happening, Report, Scenario, Service},
    target::Health,
};

/// What the small worlds came to.
#[derive(Clone, Debug, Default)]
pub struct Exhaustive {
    /// Distinct (world, crash points, fates) in which every one of the points was reached and the control plane died.
    pub crash_states: u64,
    /// The same, with those counted in that the control plane survived.
    pub fault_states: u64,
    /// Worlds.
    pub worlds: u64,
    /// Broken laws.
    pub broken: Broken,
    /// Runs in which one was broken; the first few.
    pub failing: Vec<Failing>,
}

/// A small world: one service, and what is asked of it.
#[derive(Clone)]
pub struct World {
    /// Its name.
    pub name: &'static str,
    request: Request,
    first: bool,
    health: Health,
    rate: u64,
    /// What else happens, by milliseconds.
    more: Vec<(i64, Happening)>,
    /// How the deployment ends when nothing goes wrong.
    ends: StateName,
    /// Whether it ends the same after a crash or one failed call: not where a person's moment matters.
    same_end: bool,
}

pub(super) fn release(tag: &str) -> Release {
    Release {
        tag: tag.to_owned(),
        commit: None,
        artifact: Artifact::Files { sha256: tag.to_owned() },
        spec: TargetSpec { kind: "imagined".to_owned(), json: "{}".to_owned() },
    }
}

/// The gates that small and large worlds ask: one that compares, one that does not.
pub(super) fn gates() -> Vec<Gate> {
    let wanted = ["error_rate", "latency_p95"];
    standard_gates().into_iter().filter(|gate| wanted.contains(&gate.name.as_str())).collect()
}

/// A request for the service `shop`, with short times.
pub(super) fn request(tag: &str, strategy: StrategySpec) -> Request {
    Request {
        deployment: String::new(),
        service: "shop".to_owned(),
        environment: "production".to_owned(),
        criticality: Criticality::Medium,
        turn: 1,
        release: release(tag),
        stable: None,
        strategy,
        shadow: None,
        gates: gates(),
        instances: 4,
        watch: Millis::secs(20),
        lease: Some(Millis::minutes(10)),
        limits: Limits {
            look_every: Millis::secs(10),
            call_max: Millis::secs(2),
            scale_max: Millis::secs(10),
            build_max: Millis::secs(10),
            retire_max: Millis::secs(10),
            ..Limits::default()
        },
        way_back: false,
        again: false,
    }
}

fn canary(shares: &[u8], approval: bool) -> StrategySpec {
    let step = |&percent: &u8| Step { share: Share::percent(percent), bake: Millis::secs(20), approval };
    StrategySpec::Canary { steps: shares.iter().map(step).collect() }
}

const BAKE: Millis = Millis::secs(20);

fn world(name: &'static str, strategy: StrategySpec) -> World {
    World {
        name,
        request: request("new", strategy),
        first: false,
        health: Health::Good,
        rate: 50,
        more: Vec::new(),
        ends: StateName::Verified,
        same_end: true,
    }
}

fn tell(at: i64, verb: Verb) -> (i64, Happening) {
    (at, Happening::Tell { service: "shop".to_owned(), newest: false, verb })
}

fn second(at: i64, queue: QueuePolicy) -> (i64, Happening) {
    let request = Box::new(request("newer", canary(&[100], false)));
    let key = "second".to_owned();
    (at, Happening::Submit { key, request, queue, health: Health::Good, sends: 0 })
}

/// Every small world.
pub fn worlds() -> Vec<World> {
    let mut all = plain();
    all.extend(ill());
    all.extend(with_people());
    all
}

/// One of each strategy, with a good release.
fn plain() -> Vec<World> {
    let blue_green = |approval| StrategySpec::BlueGreen { bake: BAKE, preview: BAKE, approval };
    let first = |strategy| World { first: true, ..world("first deployment", strategy) };
    let way_back = world("way back", canary(&[5], false));
    let unwatched = world("no watch", canary(&[100], false));
    let shadow = world("shadow, then canary", canary(&[50], false));
    vec![
        world("canary, one stage", canary(&[100], false)),
        world("canary, two stages", canary(&[25, 100], false)),
        world("canary, three stages", canary(&[5, 50], false)),
        world("blue-green", blue_green(false)),
        World { same_end: false, ..world("blue-green, approval", blue_green(true)) },
        world("rolling", StrategySpec::Rolling { batch: Batch::Count(2), bake: BAKE }),
        world("all at once", StrategySpec::AllAtOnce { bake: BAKE }),
        first(StrategySpec::AllAtOnce { bake: BAKE }),
        World { request: Request { way_back: true, ..way_back.request }, ..way_back },
        World { request: Request { watch: Millis::ZERO, ..unwatched.request }, ..unwatched },
        World {
            request: Request {
                shadow: Some(Shadow { share: Share::percent(10), bake: BAKE }),
                ..shadow.request
            },
            ..shadow
        },
    ]
}

/// Releases and services that are not well.
fn ill() -> Vec<World> {
    let back = |name, health| World {
        health,
        ends: StateName::RolledBack,
        ..world(name, canary(&[25, 100], false))
    };
    let mut all = vec![
        back("errors at the first stage", Health::Errors { from_bp: 2_500 }),
        back("errors at the last stage", Health::Errors { from_bp: 10_000 }),
        back("slow", Health::Slow { from_bp: 2_500 }),
        back("crash loop", Health::CrashLoop { from_bp: 2_500 }),
        World { rate: 0, ..back("no traffic at all", Health::Good) },
    ];
    for one in &mut all {
        for gate in &mut one.request.gates {
            gate.hold_max = Millis::secs(40);
        }
    }
    all
}

/// People in between.
fn with_people() -> Vec<World> {
    let pause = || Verb::Pause { reason: String::new() };
    let abort = || Verb::Abort { reason: String::new() };
    let open =
        |name, more, ends| World { more, ends, same_end: false, ..world(name, canary(&[25, 100], false)) };
    let mut impatient =
        open("a way back that is tried once", vec![tell(15_000, abort())], StateName::RolledBack);
    impatient.request.limits.back_attempts_max = 1;
    let approval = World { same_end: false, ..world("canary with approvals", canary(&[25, 100], true)) };
    vec![
        approval,
        open(
            "pause and resume",
            vec![tell(15_000, pause()), tell(40_000, Verb::Resume)],
            StateName::Verified,
        ),
        open(
            "pause while it is being shifted",
            vec![tell(3_500, pause()), tell(60_000, Verb::Resume)],
            StateName::Verified,
        ),
        open("abort in a bake", vec![tell(15_000, abort())], StateName::RolledBack),
        impatient,
        open("abort before anything", vec![tell(500, abort())], StateName::Cancelled),
        open("promote, full", vec![tell(15_000, Verb::Promote { full: true })], StateName::Verified),
        open("promote, one stage", vec![tell(15_000, Verb::Promote { full: false })], StateName::Verified),
        open("a second one waits", vec![second(10_000, QueuePolicy::Wait)], StateName::Verified),
        open("a second one supersedes", vec![second(15_000, QueuePolicy::Supersede)], StateName::RolledBack),
        open(
            "silence beyond the lease",
            vec![(15_000, Happening::Kill { down: 900_000, survivors: 0, set_back: 0 })],
            StateName::Verified,
        ),
        open(
            "clock set back",
            vec![(15_000, Happening::Kill { down: 1_000, survivors: 0, set_back: 3_600_000 })],
            StateName::Verified,
        ),
        open(
            "an old owner answers first",
            vec![(500, Happening::Freeze { wakes: 700 })],
            StateName::Verified,
        ),
        open("an old owner wakes", vec![(14_000, Happening::Freeze { wakes: 9_000 })], StateName::Verified),
    ]
}

/// A point and what happens there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Hurt {
    Append(u64, AppendFate),
    Call(u64, CallFate),
}

impl Hurt {
    const fn kills(self) -> bool {
        match self {
            Self::Append(_, fate) => fate.kills(),
            Self::Call(_, fate) => fate.kills(),
        }
    }
}

impl World {
    fn scenario(&self, hurts: &[Hurt]) -> Scenario {
        let (mut appends, mut calls) = (BTreeMap::new(), BTreeMap::new());
        for hurt in hurts {
            match *hurt {
                Hurt::Append(number, fate) => drop(appends.insert(number, fate)),
                Hurt::Call(number, fate) => drop(calls.insert(number, fate)),
            }
        }
        let stable = Request { deployment: "shop-1".to_owned(), ..request("old", canary(&[100], false)) };
        let submit = Happening::Submit {
            key: "first".to_owned(),
            request: Box::new(self.request.clone()),
            queue: QueuePolicy::Wait,
            health: self.health,
            sends: 0,
        };
        let agenda = [(0, submit)].into_iter().chain(self.more.iter().cloned()).collect();
        Scenario {
            services: vec![Service {
                name: "shop".to_owned(),
                instances: 4,
                rate: self.rate,
                stable: (!self.first).then_some(stable),
            }],
            agenda,
            weather: Vec::new(),
            fates: Fates::Forced { appends, calls },
            well_at: 0,
            keeps_lines: false,
        }
    }

    /// Every single thing that may go wrong, given how often something happens when nothing does.
    fn hurts(calm: &Report) -> Vec<Hurt> {
        let appends = (0..calm.appends).flat_map(|n| AppendFate::BAD.map(|fate| Hurt::Append(n, fate)));
        let calls = (0..calm.calls).flat_map(|n| CallFate::BAD.map(|fate| Hurt::Call(n, fate)));
        appends.chain(calls).collect()
    }

    /// Whether the run ended as it must when nothing goes wrong.
    fn judge_calm(&self, calm: &Report) -> Vec<Violation> {
        let mut violations = calm.violations.clone();
        let ended = calm.ends.get("first").map(|(state, _)| *state);
        if violations.is_empty() && ended != Some(self.ends) {
            let law = if self.ends == StateName::Verified { Law::GoodArrives } else { Law::BadReturns };
            violations.push(Violation { law, detail: format!("{ended:?} instead of {}", self.ends) });
        }
        violations
    }

    /// Whether the run ended as it must, given how it ends when nothing goes wrong.
    fn judge(&self, calm: &Report, run: &Report, hurts: &[Hurt]) -> Vec<Violation> {
        let mut violations = run.violations.clone();
        let last_word = |hurt: &Hurt| matches!(hurt, Hurt::Call(_, CallFate::FailsForGood));
        let (ended, wanted) = (run.ends.get("first"), calm.ends.get("first"));
        if violations.is_empty() && self.same_end && !hurts.iter().any(last_word) && ended != wanted {
            violations
                .push(Violation { law: Law::SameEnd, detail: format!("{ended:?} instead of {wanted:?}") });
        }
        violations
    }
}

impl Exhaustive {
    fn fail(&mut self, world: &World, hurts: &[Hurt], violations: Vec<Violation>) {
        self.broken.count(&violations);
        if !violations.is_empty() && self.failing.len() < FAILING_MAX {
            self.failing.push(Failing { script: format!("{}: {hurts:?}", world.name), violations });
        }
    }

    fn hurt(&mut self, world: &World, calm: &Report, hurts: &[Hurt]) {
        let run = play(world.scenario(hurts));
        if run.faults >= hurts.len() as u64 {
            self.fault_states += 1;
            self.crash_states += u64::from(hurts.iter().any(|hurt| hurt.kills()));
        }
        self.fail(world, hurts, world.judge(calm, &run, hurts));
    }
}

/// How the small worlds are gone through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Programme {
    /// Draws the pairs, and where a thinned programme begins.
    pub seed: u64,
    /// Distinct crash states to reach, by pairs of faults once single ones are used up.
    pub crash_states_min: u64,
    /// Only every so-many-eth single fault is taken; 1 takes all.
    pub every: usize,
    /// Stops at the first run in which a law is broken.
    pub stop_at_first: bool,
}

/// Every small world with everything that can go wrong singly, and then in pairs, drawn by the seed, until there were at
/// least the wanted number of distinct crash states (or 40 draws were made for each state still missing).
pub fn exhaustive(programme: Programme) -> Exhaustive {
    let mut done = Exhaustive::default();
    let mut calm_worlds = Vec::new();
    for world in worlds() {
        let calm = play(world.scenario(&[]));
        let violations = world.judge_calm(&calm);
        done.worlds += 1;
        if violations.is_empty() {
            calm_worlds.push((world, calm));
        } else {
            done.fail(&world, &[], violations);
        }
    }
    let over = |done: &Exhaustive| programme.stop_at_first && done.broken.all() > 0;
    let every = programme.every.max(1);
    let offset = usize::try_from(programme.seed).unwrap_or(0) % every;
    for (number, (world, calm)) in calm_worlds.iter().enumerate() {
        for hurt in World::hurts(calm).iter().skip((offset + number) % every).step_by(every) {
            if over(&done) {
                return done;
            }
            done.hurt(world, calm, &[*hurt]);
        }
    }
    pairs(&mut done, &calm_worlds, programme);
    done
}

fn pairs(done: &mut Exhaustive, worlds: &[(World, Report)], programme: Programme) {
    let Programme { seed, crash_states_min, stop_at_first, .. } = programme;
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut seen = BTreeSet::new();
    let mut draws = crash_states_min.saturating_sub(done.crash_states).saturating_mul(40);
    while done.crash_states < crash_states_min && draws > 0 && !worlds.is_empty() {
        if stop_at_first && done.broken.all() > 0 {
            return;
        }
        draws -= 1;
        let place = rng.usize(..worlds.len());
        let Some((world, calm)) = worlds.get(place) else { continue };
        let all = World::hurts(calm);
        let pair = [rng.choice(&all), rng.choice(&all)];
        let mut hurts: Vec<Hurt> = pair.into_iter().flatten().copied().collect();
        hurts.sort_unstable();
        let same_place = matches!(hurts.as_slice(), [Hurt::Append(a, _), Hurt::Append(b, _)] if a == b)
            || matches!(hurts.as_slice(), [Hurt::Call(a, _), Hurt::Call(b, _)] if a == b);
        if same_place || !hurts.iter().any(|hurt| hurt.kills()) || !seen.insert((place, hurts.clone())) {
            continue;
        }
        done.hurt(world, calm, &hurts);
    }
}
