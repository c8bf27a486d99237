//! The small worlds: one of every strategy, sick releases, people in between, old owners, poison.

use tidegate_core::{
    deployment::{StateName, Verb},
    gate::{Gate, Mode, Rule, standard_gates},
    judge::Settings,
    model::{Artifact, Millis, Release, Share, TargetSpec},
    plan::{Batch, Limits, Request, Shadow, Step, StrategySpec},
};
use tidegate_engine::QueuePolicy;

use crate::{scenario::Happening, target::Health};

/// A small world: one service, and what is asked of it.
#[derive(Clone)]
pub(super) struct World {
    /// Its name.
    pub(super) name: &'static str,
    pub(super) request: Request,
    pub(super) first: bool,
    pub(super) health: Health,
    pub(super) rate: u64,
    /// What else happens, by milliseconds.
    pub(super) more: Vec<(i64, Happening)>,
    /// How the deployment ends when nothing goes wrong.
    pub(super) ends: StateName,
    /// Whether it ends the same after a crash or one failed call: not where a person's moment matters.
    pub(super) same_end: bool,
}

pub(super) fn release(tag: &str) -> Release {
    Release {
        tag: tag.to_owned(),
        commit: None,
        artifact: Artifact::Files { sha256: tag.to_owned() },
        spec: TargetSpec { kind: "imagined".to_owned(), json: "{}".to_owned(), place: None },
    }
}

/// The gates that small and large worlds ask: one that compares, one that does not.
pub(super) fn gates() -> Vec<Gate> {
    let wanted = ["error_rate", "latency_p95"];
    standard_gates().into_iter().filter(|gate| wanted.contains(&gate.name.as_str())).collect()
}

/// The same, asked after every batch, with what only a batch can be asked.
pub(super) fn sequential(mut gates: Vec<Gate>) -> Vec<Gate> {
    gates.push(Gate::new("latency_shift", Rule::LatencyShift { ratio_max_bp: 12_500 }));
    for gate in &mut gates {
        gate.mode = Mode::Sequential;
    }
    gates
}

/// A request for the service `shop`, with short times.
pub(super) fn request(tag: &str, strategy: StrategySpec) -> Request {
    Request {
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
            restore_attempts_max: 10,
            ..Limits::default()
        },
        ..Request::new("shop", release(tag), strategy)
    }
}

pub(super) fn canary(shares: &[u8], approval: bool) -> StrategySpec {
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

fn shop() -> String {
    "shop".to_owned()
}

fn poison(at: i64, newest: bool, panics: bool) -> (i64, Happening) {
    (at, Happening::Poison { service: shop(), newest, panics })
}

fn tell(at: i64, verb: Verb) -> (i64, Happening) {
    (at, Happening::Tell { service: shop(), newest: false, verb })
}

fn second(at: i64, queue: QueuePolicy) -> (i64, Happening) {
    another(at, "newer", queue)
}

fn another(at: i64, tag: &str, queue: QueuePolicy) -> (i64, Happening) {
    let request = Box::new(request(tag, canary(&[100], false)));
    let key = format!("{tag} one");
    (at, Happening::Submit { key, request, queue, health: Health::Good, sends: 0 })
}

/// Every small world.
pub(super) fn worlds() -> Vec<World> {
    let mut all = plain();
    all.extend(ill());
    all.extend(with_batches());
    all.extend(with_people());
    all.extend(with_trouble());
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
            request: Request { shadow: Some(Shadow::new(Share::percent(10), BAKE)), ..shadow.request },
            ..shadow
        },
    ]
}

/// A canary that has to turn back.
fn back(name: &'static str, health: Health) -> World {
    World { health, ends: StateName::RolledBack, ..world(name, canary(&[25, 100], false)) }
}

/// Releases and services that are not well.
fn ill() -> Vec<World> {
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

/// The same worlds with gates that are asked after every batch: their evidence has to survive every crash.
fn with_batches() -> Vec<World> {
    let asked = |world: World| {
        let mut request = world.request;
        request.gates = sequential(request.gates);
        request.judge =
            Settings { warmup: Millis::secs(5), max_dwell: Millis::secs(60), ..Settings::default() };
        World { request, same_end: false, ..world }
    };
    vec![
        asked(world("sequential gates", canary(&[25, 100], false))),
        asked(back("errors, found by batches", Health::Errors { from_bp: 2_500 })),
        asked(back("slow, found by batches", Health::Slow { from_bp: 2_500 })),
    ]
}

fn open(name: &'static str, more: Vec<(i64, Happening)>, ends: StateName) -> World {
    World { more, ends, same_end: false, ..world(name, canary(&[25, 100], false)) }
}

/// People in between.
fn with_people() -> Vec<World> {
    let pause = || Verb::Pause { reason: String::new() };
    let abort = || Verb::Abort { reason: String::new() };
    let mut impatient =
        open("a way back that is tried once", vec![tell(15_000, abort())], StateName::RolledBack);
    impatient.request.limits.back_attempts_max = 1;
    impatient.request.limits.restore_attempts_max = 1;
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
            "a paused one is overtaken",
            vec![
                second(5_000, QueuePolicy::Wait),
                (6_000, Happening::Tell { service: shop(), newest: true, verb: pause() }),
                another(7_000, "newest", QueuePolicy::Wait),
                tell(150_000, Verb::Resume),
            ],
            StateName::Verified,
        ),
    ]
}

/// Poison, silence, clocks and old owners.
fn with_trouble() -> Vec<World> {
    vec![
        open(
            "the world breaks down for one",
            vec![poison(12_000, false, true), (60_000, Happening::Cure)],
            StateName::Verified,
        ),
        open(
            "one that waits cannot be read",
            vec![
                second(10_000, QueuePolicy::Wait),
                poison(12_000, true, false),
                (12_000, Happening::Kill { down: 1_000, survivors: 0, set_back: 0 }),
                (400_000, Happening::Cure),
            ],
            StateName::Verified,
        ),
        open(
            "silence beyond the lease",
            vec![(15_000, Happening::Kill { down: 900_000, survivors: 0, set_back: 0 })],
            StateName::Verified,
        ),
        open(
            "promoted right after a silence beyond the lease",
            vec![
                (15_000, Happening::Kill { down: 900_000, survivors: 0, set_back: 0 }),
                tell(915_000, Verb::Promote { full: false }),
            ],
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
