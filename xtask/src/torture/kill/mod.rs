//! `torture kill`: the real program on its real journal, killed with `kill -9` again and again, at random moments and at
//! named points, while clients submit, ask, and write down every promise they were given.

mod client;
mod verdict;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Context;

use crate::answer::{items, number, text};
use crate::dice::Dice;
use crate::figures::Figure;
use crate::house::{self, House, Peer};
use crate::trial::{Terms, Trial};

use client::{Promises, Workload};

pub(crate) const TRIAL: Trial = Trial {
    name: "kill",
    about: "kills the engine again and again; nothing acknowledged may be lost, nothing done twice, nothing illegal",
    run,
};

const SERVICES: usize = 8;
const CLIENTS: u64 = 3;
/// Kills of the full form; the short form ends when its time is over.
const KILLS: u32 = 330;
const SHORT: Duration = Duration::from_secs(26);
/// An engine that does not come to its named point within this time is killed where it is.
const POINT_MAX: Duration = Duration::from_millis(1_200);
/// Longest wait for everything to end once nobody kills any more.
const END_MAX: Duration = Duration::from_secs(90);

/// Where the engine kills itself. What comes often is left to count further, so that the middle of things is met too.
const POINTS: &[&str] = &[
    "submitted",
    "submitted:2",
    "told",
    "perform-before",
    "perform-before:4",
    "perform-after",
    "perform-after:3",
    "perform-before:check",
    "perform-after:check",
    "perform-after:build",
    "perform-before:scale",
    "perform-after:scale",
    "perform-before:shift",
    "perform-after:shift",
    "perform-before:promote",
    "perform-after:promote",
    "perform-before:restore",
    "perform-after:restore",
    "perform-before:retire",
    "perform-after:retire",
    // The newest 64 ends are told again at every start; these are beyond them.
    "ended-before:65",
    "ended-after:66",
];

fn run(terms: &Terms) -> anyhow::Result<Vec<Figure>> {
    let house = House::build("kill")?;
    let workload = Workload::prepare(&house, SERVICES)?;
    let promises = Mutex::new(Promises::default());
    let over = AtomicBool::new(false);
    let (kills, named, stale) = thread::scope(|scope| -> anyhow::Result<_> {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|lane| {
                let (workload, promises, over) = (&workload, &promises, &over);
                scope.spawn(move || client::ask(workload, promises, over, Dice::new(terms.seed, lane + 1)))
            })
            .collect();
        let watcher = scope.spawn(|| watch_generations(&house, &over));
        let killed = kill_for(&house, terms);
        over.store(true, Ordering::Relaxed);
        for client in clients {
            client.join().ok().context("a client broke down")??;
        }
        let stale = watcher.join().ok().context("the watcher broke down")?;
        let (kills, named) = killed?;
        Ok((kills, named, stale))
    })?;
    println!("{kills} kills, {named} of them at a named point");
    let promises = promises.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    println!("{} deployments and {} verbs were acknowledged", promises.submitted.len(), promises.told.len());
    client::let_end(&house, END_MAX)?;
    let found = verdict::judge(&house, &workload, &promises)?;
    for line in found.lines.iter().take(40) {
        println!("{line}");
    }
    let figure = |id, value: usize, goal| Figure::new(id, value as f64, "count", goal, "none allowed");
    Ok(vec![
        Figure::new("kills", f64::from(kills), "count", ">= 300", "kill -9 of the engine")?,
        figure("lost", found.lost, "== 0")?,
        figure("duplicated", found.duplicated, "== 0")?,
        figure("illegal", found.illegal + stale, "== 0")?,
    ])
}

/// Starts the engine and kills it, until it is enough. Answers with the number of kills, and how many were at a point.
fn kill_for(house: &House, terms: &Terms) -> anyhow::Result<(u32, u32)> {
    let mut dice = Dice::new(terms.seed, 0);
    let (mut kills, mut named) = (0, 0);
    let began = Instant::now();
    while if terms.short { began.elapsed() < SHORT } else { kills < KILLS } {
        let point = if dice.below(5) < 3 { dice.one(POINTS).copied() } else { None };
        let mut engine = house.start_engine(point)?;
        let most = if point.is_some() { POINT_MAX } else { Duration::from_millis(30 + dice.below(400)) };
        let late = Instant::now() + most;
        let died = loop {
            if engine.try_wait()?.is_some() {
                break true;
            }
            if Instant::now() > late {
                break false;
            }
            thread::sleep(Duration::from_millis(1));
        };
        if !died {
            engine.kill()?;
            engine.wait()?;
        }
        // A client may have started one of its own meanwhile; ours then ended at once, and theirs is killed instead.
        if died && let Some(other) = house.pid(Peer::Engine) {
            house::kill(other);
        } else if died {
            named += 1;
        }
        kills += 1;
    }
    Ok((kills, named))
}

/// Looks at the proxy all the time: what it has in force may never go back. Answers how often it did.
fn watch_generations(house: &House, over: &AtomicBool) -> usize {
    let mut seen = std::collections::BTreeMap::new();
    let mut back = 0;
    while !over.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(20));
        let Ok(services) = house.ask(Peer::Proxy, "/v1/services") else { continue };
        for service in items(&services, "") {
            let name = text(service, "/table/service");
            let now = (number(service, "/table/epoch"), number(service, "/table/generation"));
            let before = seen.insert(name.to_owned(), now);
            if before.is_some_and(|before| before > now) {
                println!("ILLEGAL the proxy went back from {before:?} to {now:?} for {name}");
                back += 1;
            }
        }
    }
    back
}
