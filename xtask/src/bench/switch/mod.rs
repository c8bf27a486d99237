//! `bench switch`: traffic moves to and fro under load, the proxy is replaced in the middle, and no request is lost.
//!
//! Some services are deployed to again and again through the real command line, while each has its users. Three of four
//! deployments are good releases that are aborted in the middle of their canary; the fourth goes through. A decision's
//! time is the longer of two: from the event of the decision to the event that traffic is back, and from the decision to
//! the last answer that any user got from the release.

mod users;

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::answer::{holds, items, number, text};
use crate::dice::Dice;
use crate::figures::Figure;
use crate::house::{self, House, Service};
use crate::trial::{Terms, Trial};

use users::Users;

pub(crate) const TRIAL: Trial = Trial {
    name: "switch",
    about: "shares, rollbacks, drains and an upgrade of the proxy under load: how fast back, and what users lose",
    run,
};

const SERVICES: usize = 4;
/// Requests per second and service.
const RATE: u32 = 1_000;
/// How long there are users: at this rate more than 200,000 requests.
const FULL: Duration = Duration::from_secs(62);
const SHORT: Duration = Duration::from_secs(26);
/// Longest wait for anything that a deployment here has to do.
const STEP_MAX: Duration = Duration::from_secs(30);
/// Deployments of one service: a load tells at most 64 releases apart.
const RELEASES_MAX: u64 = 60;

const THROUGH: &str =
    "{canary: {steps: [{share: 10%, bake: 150ms}, {share: 50%, bake: 150ms}, {share: 100%, bake: 100ms}]}}";
const ABORTED: &str = "{canary: {steps: [{share: 50%, bake: 60s}, {share: 100%, bake: 1s}]}}";
/// Gates are another bench's business.
const MORE: &str = "    gates: {error_rate: off, latency_p95: off, latency_p99: off, cpu: off, memory: off, request_rate: off, latency_shift: off}\n    \
     routing: {limits: {drain: 500ms, drain_websocket: 500ms}}\n    watch: 200ms\n";

/// What one service's deployments came to.
#[derive(Default)]
struct Switched {
    /// Changes of shares that came into force.
    switches: u64,
    /// The decision (Unix milliseconds), the milliseconds until traffic was back, and the release.
    decisions: Vec<(i64, i64, String)>,
}

fn run(terms: &Terms) -> anyhow::Result<Vec<Figure>> {
    let house = House::build("switch")?;
    let ports = house::ports(SERVICES)?;
    for (number, port) in ports.iter().enumerate() {
        deploy(&house, &format!("s{number}"), *port, "v0", THROUGH)?;
    }
    let over = AtomicBool::new(false);
    let lasts = if terms.short { SHORT } else { FULL };
    let (services, upgrade) = thread::scope(|scope| -> anyhow::Result<_> {
        let lanes: Vec<_> = (0_u64..)
            .zip(&ports)
            .map(|(number, port)| {
                let (house, over, seed) = (&house, &over, terms.seed);
                scope.spawn(move || {
                    let done = service(house, &format!("s{number}"), *port, over, Dice::new(seed, number));
                    if done.is_err() {
                        over.store(true, Ordering::Relaxed);
                    }
                    done
                })
            })
            .collect();
        let began = Instant::now();
        let (mut upgrade, mut upgraded) = (Ok(()), false);
        while began.elapsed() < lasts && !over.load(Ordering::Relaxed) {
            if !upgraded && began.elapsed() > lasts / 2 {
                upgraded = true;
                upgrade = house.json(&["proxy", "upgrade"]).map(drop);
            }
            thread::sleep(Duration::from_millis(20));
        }
        over.store(true, Ordering::Relaxed);
        let services: anyhow::Result<Vec<_>> = lanes
            .into_iter()
            .map(|lane| lane.join().ok().context("a service's thread broke down")?)
            .collect();
        Ok((services?, upgrade))
    })?;
    upgrade.context("the proxy could not be upgraded")?;
    figures(&services)
}

fn figures(services: &[(Switched, Value)]) -> anyhow::Result<Vec<Figure>> {
    let sum = |field: &str| {
        services.iter().map(|(_, report)| number(report, &format!("/{field}")).unwrap_or(0)).sum::<u64>()
    };
    let (requests, failed) = (sum("sent"), sum("failed"));
    let switches: u64 = services.iter().map(|(switched, _)| switched.switches).sum();
    let mut took = Vec::new();
    for (switched, report) in services {
        for (decided, engine, release) in &switched.decisions {
            let last = report.pointer(&format!("/releases/{release}/last_at_ms")).and_then(Value::as_i64);
            took.push((*engine).max(last.map_or(0, |last| last - decided)));
        }
        if let Some(classes) =
            report.pointer("/failed_by_class").filter(|_| number(report, "/failed") != Some(0))
        {
            println!("failed: {classes}");
        }
    }
    took.sort_unstable();
    let worst = took.last().copied().unwrap_or(0);
    let middle = took.get(took.len() / 2).copied().unwrap_or(0);
    let p99 = took.get((took.len() * 99).div_ceil(100).saturating_sub(1)).map_or(f64::NAN, |ms| *ms as f64);
    println!(
        "{} rollbacks: median {middle} ms, worst {worst} ms; {} requests not sent for lack of a connection",
        took.len(),
        sum("not_sent")
    );
    Ok(vec![
        Figure::new("decision_p99_ms", p99, "ms", "<= 250", "the event and the users' last answer")?,
        Figure::new("requests", requests as f64, "count", ">= 200000", "users of four services")?,
        Figure::new("failed", failed as f64, "count", "== 0", "none allowed")?,
        Figure::new("switches", switches as f64, "count", ">= 100", "shares that came into force")?,
    ])
}

/// Deploys to one service until it is over.
fn service(
    house: &House,
    name: &str,
    port: u16,
    over: &AtomicBool,
    mut dice: Dice,
) -> anyhow::Result<(Switched, Value)> {
    let users = Users::come(house, port, RATE)?;
    let mut switched = Switched::default();
    for turn in 1..=RELEASES_MAX {
        if over.load(Ordering::Relaxed) {
            break;
        }
        let through = turn % 4 == 0;
        let strategy = if through { THROUGH } else { ABORTED };
        let id = deploy(house, name, port, &format!("v{turn}"), strategy)?;
        if !through {
            reach(house, &id, |state| state == "canary_waiting")?;
            thread::sleep(Duration::from_millis(dice.below(200)));
            house.json(&["abort", &id])?;
        }
        reach(house, &id, |state| state == if through { "verified" } else { "rolled_back" })?;
        switched.read(house, &id)?;
    }
    while !over.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(20));
    }
    Ok((switched, users.leave()?))
}

fn deploy(house: &House, name: &str, listen: u16, version: &str, strategy: &str) -> anyhow::Result<String> {
    let program = house.program().to_string_lossy();
    let command = format!("[{program:?}, sample, --version-name, {version}]");
    let service = Service { name, listen, command: &command, strategy, more: MORE, version };
    let config = house.write(name, &service)?;
    let id = begin(house, &config)?;
    if version == "v0" {
        reach(house, &id, |state| state == "verified")?;
    }
    Ok(id)
}

fn begin(house: &House, config: &Path) -> anyhow::Result<String> {
    let answer = house.json(&["deploy", "--detach", "--file", &config.to_string_lossy()])?;
    Ok(text(&answer, "/deployment").to_owned())
}

/// Waits until a deployment is in a state; one that ended otherwise is an error.
fn reach(house: &House, id: &str, so: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    let late = Instant::now() + STEP_MAX;
    loop {
        let status = house.json(&["status", id])?;
        let state = text(&status, "/0/state");
        if so(state) {
            return Ok(());
        }
        if holds(&status, "/0/over") || Instant::now() > late {
            bail!("{id} is {state}: {}", text(&status, "/0/cause"));
        }
        thread::sleep(Duration::from_millis(10));
    }
}

impl Switched {
    fn read(&mut self, house: &House, id: &str) -> anyhow::Result<()> {
        let release = text(&house.json(&["status", id])?, "/0/release").to_owned();
        let mut decided = None;
        for line in items(&house.json(&["history", id])?, "") {
            let at = unix_ms(text(line, "/at")).context("an event has no moment")?;
            match text(line, "/kind") {
                "exposed" | "promoted" => self.switches += 1,
                "rollback_began" => decided = Some(at),
                "restored" => {
                    self.switches += 1;
                    let decided = decided.context("traffic came back without a decision")?;
                    self.decisions.push((decided, at - decided, release.clone()));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// Milliseconds since 1970 of `2026-01-02T10:00:00.000Z`.
fn unix_ms(text: &str) -> Option<i64> {
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    // Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
    let year = if month <= 2 { year - 1 } else { year };
    let in_era = year.rem_euclid(400);
    let in_year = (153 * (month + if month > 2 { -3 } else { 9 }) + 2) / 5 + day - 1;
    let days = year.div_euclid(400) * 146_097 + in_era * 365 + in_era / 4 - in_era / 100 + in_year - 719_468;
    let seconds = (days * 24 + number(11, 13)?) * 3_600 + number(14, 16)? * 60 + number(17, 19)?;
    Some(seconds * 1_000 + number(20, 23)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_read_to_the_millisecond() {
        assert_eq!(unix_ms("1970-01-01T00:00:00.001Z"), Some(1));
        assert_eq!(unix_ms("2024-02-29T12:34:56.789Z"), Some(1_709_210_096_789));
        assert_eq!(unix_ms("soon"), None);
    }
}
