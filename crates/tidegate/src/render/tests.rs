//! What a person sees of deployments that were walked through the real machine.

use tidegate_core::{
    deployment::{Effect, Event, Input, Outcome, Recorded, StateName, Verb, decide, fold, look, owed},
    gate::{Instance, Judgement, Mode, Reading, ReleaseReading, standard_gates},
    judge::{
        Judge,
        outlook::{Load, Outlook},
    },
    model::{Actor, Artifact, Criticality, Millis, Release, Share, TargetSpec, Timestamp},
    plan::{Plan, Request, Shadow, Step, StrategySpec, compile},
    view::{self, Summary, users},
};

use super::{text::tests::unstyled, *};

const START: Timestamp = Timestamp(1_767_348_000_000);

fn release(tag: &str) -> Release {
    Release {
        tag: tag.to_owned(),
        commit: tag.split_once('-').map(|(commit, _)| commit.to_owned()),
        artifact: Artifact::Files { sha256: tag.replace("-17", "").repeat(4) },
        spec: TargetSpec { kind: "local".to_owned(), json: "{}".to_owned(), place: None },
    }
}

fn request() -> Request {
    let step = |percent, approval| Step { share: Share::percent(percent), bake: Millis::secs(60), approval };
    let strategy = StrategySpec::Canary { steps: vec![step(5, false), step(50, true)] };
    Request {
        deployment: "shop-2".to_owned(),
        criticality: Criticality::High,
        turn: 2,
        stable: Some(release("9f8e7d-1767260000")),
        shadow: Some(Shadow::new(Share::percent(10), Millis::secs(30))),
        gates: standard_gates(),
        instances: 4,
        watch: Millis::minutes(5),
        lease: Some(Millis::minutes(10)),
        ..Request::new("shop", release("abc123-1767348000"), strategy)
    }
}

/// Walks one deployment through the machine, 100 requests a second, 200 ms for every answer.
struct Walk {
    history: Vec<Recorded>,
    now: Timestamp,
    /// Whether every second request of the new release fails.
    failing: bool,
    requests: (u64, u64),
    failures: u64,
}

impl Walk {
    fn of(request: Request) -> Self {
        let plan = compile(request.clone()).unwrap();
        let event = Event::Planned {
            request: request.into(),
            plan: plan.into(),
            reason: "new \u{1b}[2Jprices".to_owned(),
        };
        let first = Recorded { seq: 1, at: START, actor: Actor::person("ana"), event };
        Self { history: vec![first], now: START, failing: false, requests: (0, 0), failures: 0 }
    }

    fn plan(&self) -> Plan {
        *fold(&self.history).unwrap().0
    }

    fn hear(&mut self, actor: &Actor, input: &Input) {
        let (plan, state) = fold(&self.history).unwrap();
        for event in decide(&plan, &state, &Judge::of(&plan), input, self.now).unwrap_or_default() {
            let seq = self.history.len() as u64 + 1;
            self.history.push(Recorded { seq, at: self.now, actor: actor.clone(), event });
        }
    }

    fn reading(&self) -> Reading {
        let release = |requests, failures| ReleaseReading {
            requests,
            failures,
            latency_us: vec![(12_000, requests)],
            wanted: 1,
            instances: vec![Instance {
                id: "shop/1".to_owned(),
                ready: true,
                broken: false,
                ends: 0,
                ends_total: Some(0),
                last_end: None,
                cpu_ms: 0,
                cpu_limit_milli: 1_000,
                rss_bytes: 10,
                memory_limit_bytes: 100,
            }],
        };
        let new = release(self.requests.0, self.failures);
        Reading {
            at: self.now,
            boot: "one".to_owned(),
            new,
            stable: Some(release(self.requests.1, 0)),
            mirror: None,
            astray: None,
            metrics: Vec::new(),
        }
    }

    fn step(&mut self) {
        let (plan, state) = fold(&self.history).unwrap();
        self.now = self.now.after(Millis(200));
        let new = 20 * u64::from(state.share.basis_points()) / 10_000;
        self.requests = (self.requests.0 + new, self.requests.1 + 20 - new);
        self.failures += if self.failing { new.div_ceil(2) } else { 0 };
        let input = match owed(&plan, &state).into_iter().next() {
            None => Input::Admit { replanned: None },
            Some(item) => {
                let read = matches!(item.effect, Effect::Measure { .. } | Effect::Shift { .. });
                let outcome = if read { Outcome::Read(self.reading()) } else { Outcome::Done };
                Input::Outcome { key: item.key, attempt: item.attempt, outcome }
            }
        };
        self.hear(&Actor::engine(), &input);
        self.hear(&Actor::engine(), &Input::Tick);
    }

    fn run_to(mut self, goal: StateName) -> Self {
        for _ in 0..5_000 {
            if fold(&self.history).unwrap().1.name() == goal {
                return self;
            }
            self.step();
        }
        panic!("{goal} is not reached");
    }

    fn waits(mut self, steps: u32) -> Self {
        (0..steps).for_each(|_| self.step());
        self
    }

    fn asked(mut self, verb: Verb) -> Self {
        self.hear(&Actor::person("ben"), &Input::Operator(verb));
        self
    }

    fn summary(&self) -> Summary {
        view::summary(&self.history, self.now).unwrap()
    }

    /// What the gates would say now.
    fn live(&self) -> Vec<Judgement> {
        let (plan, state) = fold(&self.history).unwrap();
        look(&plan, &state, &Judge::of(&plan), &self.reading())
    }

    fn block(&self, width: usize) -> String {
        let (plan, summary, live) = (self.plan(), self.summary(), self.live());
        let users = users(&self.history, &live);
        let it = Progress {
            plan: &plan,
            summary: &summary,
            judgements: &live,
            users,
            trouble: None,
            now: self.now,
        };
        progress(&it, width).join("\n") + "\n"
    }
}

fn sight(mode: Mode, requests_per_s: f64) -> (Plan, Outlook) {
    let mut gates = standard_gates();
    for gate in &mut gates {
        gate.mode = mode;
    }
    let plan = compile(Request { gates, ..request() }).unwrap();
    let latency_us = vec![(100_000, 960), (800_000, 40)];
    let outlook = Outlook::of(&plan, &Load { requests_per_s, failed_share: 0.001, latency_us }).unwrap();
    (plan, outlook)
}

fn seen(mode: Mode, requests_per_s: f64) -> String {
    let (plan, seen) = sight(mode, requests_per_s);
    outlook(&plan, &seen, "as given")
}

fn failing() -> Walk {
    let quiet = Request { shadow: None, ..request() };
    Walk { failing: true, ..Walk::of(quiet) }.run_to(StateName::RolledBack)
}

fn approval() -> Walk {
    Walk::of(request()).run_to(StateName::AwaitingApproval)
}

fn baking() -> Walk {
    approval().asked(Verb::Approve).run_to(StateName::CanaryWaiting).waits(100)
}

fn first() -> Walk {
    Walk::of(Request { stable: None, ..request() }).run_to(StateName::Verified)
}

#[test]
fn what_a_person_sees_is_in_the_golden_file() {
    let walks = [failing(), approval(), baking(), first()];
    let summaries: Vec<Summary> = walks.iter().map(Walk::summary).collect();
    let mut shown = String::new();
    let mut show = |title: &str, text: &str| shown = format!("{shown}== {title}\n{}\n", unstyled(text));
    show("plan", &plan(&compile(request()).unwrap()));
    show("plan of a first deployment", &plan(&compile(Request { stable: None, ..request() }).unwrap()));
    show("what a plan can see", &seen(Mode::Sequential, 1_000.0));
    show("what a plan can see of little traffic", &seen(Mode::Sequential, 1.0));
    show("what plain gates see", &seen(Mode::Threshold, 1_000.0));
    let examples: Vec<Outlook> = [10.0, 10_000.0].map(|rps| sight(Mode::Sequential, rps).1).into();
    show("what a plan can see at unknown traffic", &unknown_traffic(0.001, &examples));
    show("status", &status(&summaries, baking().now));
    show("history", &history(&summaries));
    show("summary of one that turned back", &status(&[failing().summary()], failing().now));
    show("summary of one that bakes", &status(&[baking().summary()], baking().now));
    show("timeline of one that turned back", &timeline(&view::timeline(&failing().history)));
    show("timeline of one that bakes", &timeline(&view::timeline(&baking().history)));
    show("progress of one that bakes", &baking().block(120));
    show("progress of one that waits for a person", &approval().block(120));
    show("progress of one that turned back", &failing().block(120));
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/render/golden.txt");
    if std::env::var_os("TIDEGATE_BLESS").is_some() {
        std::fs::write(path, &shown).unwrap();
    }
    let golden = std::fs::read_to_string(path).unwrap();
    assert!(
        golden == shown,
        "the text changed: read the difference after `TIDEGATE_BLESS=1 cargo test -p tidegate`"
    );
}

#[test]
fn no_line_of_the_live_block_is_wider_than_the_terminal() {
    for width in [0, 1, 20, 40, 80, 200] {
        let block = unstyled(&baking().block(width));
        assert!(block.lines().all(|line| line.chars().count() <= width), "{width}: {block}");
    }
}

#[test]
fn a_block_is_drawn_over_the_one_before_it() {
    let lines = ["one".to_owned(), "two".to_owned()];
    assert_eq!(redraw(0, &lines), "\rone\u{1b}[K\ntwo\u{1b}[K\n\r\u{1b}[J".replace("\ntwo", "\n\rtwo"));
    assert_eq!(redraw(2, &[]), "\u{1b}[2A\r\u{1b}[J");
}

#[test]
fn no_reason_from_outside_reaches_the_terminal_as_a_command() {
    let walk = baking();
    let shown = status(&[walk.summary()], walk.now) + &timeline(&view::timeline(&walk.history));
    assert!(shown.contains("new [2Jprices") && !unstyled(&shown).contains('\u{1b}'), "{shown}");
}
