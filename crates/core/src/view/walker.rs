//! A deployment walked through the real machine, for the tests of the views.

use alloc::{borrow::ToOwned, format, string::String, vec, vec::Vec};

use crate::{
    deployment::{Effect, Event, Input, Outcome, Recorded, StateName, Verb, decide, fold, owed},
    gate::{Instance, Reading, ReleaseReading, standard_gates},
    judge::Judge,
    model::{Actor, Artifact, Millis, Release, Share, TargetSpec, Timestamp},
    plan::{Request, Step, StrategySpec, compile},
};

pub(crate) const START: Timestamp = Timestamp(1_767_348_000_000);

/// What the new release does with its requests.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Health {
    Good,
    /// Half of the requests fail.
    Failing,
    /// Half of them are answered after 0.9 s.
    Slow,
    /// Nobody asks either release anything.
    Idle,
}

fn release(tag: &str) -> Release {
    Release {
        tag: tag.to_owned(),
        commit: tag.split_once('-').map(|(commit, _)| commit.to_owned()),
        artifact: Artifact::Files { sha256: tag.repeat(12) },
        spec: TargetSpec { kind: "local".to_owned(), json: "{}".to_owned(), place: None },
    }
}

pub(crate) fn request(strategy: StrategySpec) -> Request {
    Request {
        deployment: "d1".to_owned(),
        turn: 2,
        stable: Some(release("old-1")),
        gates: standard_gates(),
        instances: 4,
        watch: Millis::minutes(5),
        lease: Some(Millis::minutes(10)),
        ..Request::new("shop", release("new-2"), strategy)
    }
}

/// Drives one deployment and keeps its history. Every answer takes 200 ms.
pub(crate) struct Walker {
    pub(crate) history: Vec<Recorded>,
    pub(crate) now: Timestamp,
    pub(crate) health: Health,
    /// Effects that fail.
    pub(crate) broken: fn(&Effect) -> bool,
    requests: (u64, u64),
    failures: u64,
    slow: u64,
}

impl Walker {
    /// `shop`: a canary of 5, 25, 50 and 100 %, 60 s each, asked for by ana.
    pub(crate) fn canary() -> Self {
        Self::with(request(StrategySpec::standard_canary()))
    }

    /// The same with a person's approval before the second stage.
    pub(crate) fn with_approval() -> Self {
        let step =
            |percent, approval| Step { share: Share::percent(percent), bake: Millis::secs(60), approval };
        Self::with(request(StrategySpec::Canary { steps: vec![step(5, false), step(50, true)] }))
    }

    pub(crate) fn with(request: Request) -> Self {
        let plan = compile(request.clone()).unwrap();
        let event = Event::Planned {
            request: request.into(),
            plan: plan.into(),
            reason: "release 2 of the shop".to_owned(),
        };
        let first = Recorded { seq: 1, at: START, actor: Actor::person("ana"), event };
        Self {
            history: vec![first],
            now: START,
            health: Health::Good,
            broken: |_| false,
            requests: (0, 0),
            failures: 0,
            slow: 0,
        }
    }

    pub(crate) fn state(&self) -> StateName {
        fold(&self.history).unwrap().1.name()
    }

    /// One piece of news.
    pub(crate) fn hear(&mut self, actor: &Actor, input: &Input) -> &mut Self {
        let (plan, state) = fold(&self.history).unwrap();
        if let Ok(events) = decide(&plan, &state, &Judge::of(&plan), input, self.now) {
            for event in events {
                let seq = self.history.len() as u64 + 1;
                self.history.push(Recorded { seq, at: self.now, actor: actor.clone(), event });
            }
        }
        self
    }

    /// A person asks.
    pub(crate) fn ask(&mut self, verb: Verb) -> &mut Self {
        self.hear(&Actor::person("ben"), &Input::Operator(verb))
    }

    /// Goes on by itself until the state is reached.
    pub(crate) fn run_to(&mut self, goal: StateName) -> &mut Self {
        for _ in 0..5_000 {
            if self.state() == goal {
                return self;
            }
            self.step();
        }
        panic!("{goal} is not reached, it is {}", self.state());
    }

    /// 200 ms: the first thing that is owed is answered, and time passes.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the other effects are answered alike")]
    pub(crate) fn step(&mut self) -> &mut Self {
        let (plan, state) = fold(&self.history).unwrap();
        self.pass(Millis(200), state.share);
        let engine = Actor::engine();
        let Some(item) = owed(&plan, &state).into_iter().next() else {
            return self.hear(&engine, &Input::Admit { replanned: None });
        };
        if item.not_before > self.now {
            return self;
        }
        let outcome = match item.effect {
            ref effect if (self.broken)(effect) => {
                Outcome::Failed { reason: "connection refused".to_owned(), permanent: false }
            }
            Effect::Measure { .. } | Effect::Shift { .. } => Outcome::Read(self.reading()),
            _ => Outcome::Done,
        };
        self.hear(&engine, &Input::Outcome { key: item.key, attempt: item.attempt, outcome });
        self.hear(&engine, &Input::Tick)
    }

    /// 100 requests a second, split by the share.
    pub(crate) fn pass(&mut self, span: Millis, share: Share) {
        self.now = self.now.after(span);
        let all = if self.health == Health::Idle { 0 } else { span.0 / 10 };
        let new = all * u64::from(share.basis_points()) / 10_000;
        self.requests = (self.requests.0 + new, self.requests.1 + all - new);
        self.failures += if self.health == Health::Failing { new.div_ceil(2) } else { 0 };
        self.slow += if self.health == Health::Slow { new.div_ceil(2) } else { 0 };
    }

    fn reading(&self) -> Reading {
        let release = |requests, failures, slow| ReleaseReading {
            requests,
            failures,
            latency_us: vec![(12_000, requests - slow), (900_000, slow)],
            wanted: 1,
            instances: vec![Instance {
                id: "new-2/1".to_owned(),
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
        Reading {
            at: self.now,
            boot: "one".to_owned(),
            new: release(self.requests.0, self.failures, self.slow),
            stable: Some(release(self.requests.1, 0, 0)),
            mirror: None,
            astray: None,
            metrics: Vec::new(),
        }
    }

    /// The sentence, with times as seconds since the start.
    pub(crate) fn why(&self) -> String {
        let clock = |at: Timestamp| format!("+{}", at.since(START));
        super::why(&self.history, self.now, &clock).unwrap()
    }
}
