//! Small worlds, and every point at which each of them can be hurt.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::{deployment::StateName, plan::Request};
use tidegate_engine::QueuePolicy;

use super::{
    Broken, FAILING_MAX, Failing, play,
    worlds::{World, canary, request, worlds},
};
use crate::{
    fate::{AppendFate, CallFate, Fates},
    law::{Law, Violation},
    scenario::{Happening, Report, Scenario, Service},
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
