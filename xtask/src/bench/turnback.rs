//! `bench turnback`: a release that fails half of its answers, behind the real proxy under the demo's load, and how long
//! until its traffic is back.
//!
//! The time is from the event that its share is in force to the event that all traffic is back; the failed requests are
//! what the users counted. Every round ships another bad release to the same service.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context, bail};

use crate::answer::{items, number, text};
use crate::figures::{Figure, median};
use crate::house::{self, House, Peer, Service};
use crate::trial::{Terms, Trial};

pub(crate) const TRIAL: Trial = Trial {
    name: "turnback",
    about: "half of a canary's answers fail at a share of 5 %: seconds and failed requests until all traffic is back",
    run,
};

const FULL: u32 = 15;
const SHORT: u32 = 5;
/// Users' requests per second: the demo's load.
const RATE: u32 = 300;
const PATIENCE: Duration = Duration::from_mins(1);
/// Half a second between two batches is the default; caches are warm.
const MORE: &str = "    judgement: {warmup: 0s}\n";
const STRATEGY: &str = "{canary: {steps: [{share: 5%, bake: 60s}]}}";

fn run(terms: &Terms) -> anyhow::Result<Vec<Figure>> {
    let rounds = if terms.short { SHORT } else { FULL };
    let house = House::build("turnback")?;
    let port = house::ports(1)?.first().copied().context("no port")?;
    house.start_engine(None)?;
    house::wait_for("the engine", PATIENCE, || house.pid(Peer::Engine))?;
    let good = write(&house, port, "good", 0)?;
    let first = house.run(&["deploy", "--file", &good])?;
    if !first.status.success() {
        bail!("the first deployment failed: {}", String::from_utf8_lossy(&first.stdout));
    }
    let (mut seconds, mut failed) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        let (took, lost, why) = turned_back(&house, port, round)?;
        println!("round {round}: {took:.2} s, {lost} failed requests: {why}");
        seconds.push(took);
        failed.push(lost);
    }
    let against = format!("median of {rounds} rounds, {RATE} requests/s, batches of 0.5 s");
    let most = |all: &[f64]| all.iter().copied().fold(0.0, f64::max);
    println!("the worst rounds: {:.2} s, {} failed requests", most(&seconds), most(&failed));
    Ok(vec![
        Figure::new("turnback_s", median(seconds), "s", "<= 3", &against)?,
        Figure::new("failed_requests", median(failed), "requests", "<= 10", &against)?,
    ])
}

/// Ships one bad release under load: seconds, failed requests, and the reason that was given.
fn turned_back(house: &House, port: u16, round: u32) -> anyhow::Result<(f64, f64, String)> {
    let config = write(house, port, &format!("bad{round}"), 50)?;
    let url = format!("http://127.0.0.1:{port}/");
    let load = house
        .command(&["load", "--url", &url, "--rate", &RATE.to_string(), "--duration", "12", "--json"])
        .stdout(Stdio::piped())
        .spawn()?;
    let deployed = house.run(&["deploy", "--file", &config, "--json"])?;
    let report: serde_json::Value = serde_json::from_slice(&load.wait_with_output()?.stdout)?;
    if deployed.status.code() != Some(4) {
        bail!("it was not turned back: {}", String::from_utf8_lossy(&deployed.stdout));
    }
    let newest = house.json(&["history", "--limit", "1"])?;
    let id = text(&newest, "/0/deployment").to_owned();
    let events = house.json(&["history", &id])?;
    let at = |kind: &str| {
        let found = items(&events, "").iter().find(|one| text(one, "/kind") == kind)?;
        second_of_day(text(found, "/at"))
    };
    let (exposed, restored) = at("exposed").zip(at("restored")).with_context(|| format!("{events}"))?;
    let why = text(&house.json(&["why", &id])?, "/why").to_owned();
    let failed = number(&report, "/failed").with_context(|| format!("{report}"))?;
    Ok(((restored - exposed).rem_euclid(86_400.0), f64::from(u32::try_from(failed)?), why))
}

/// The second of the day of `2026-01-31T10:31:04.250Z`.
fn second_of_day(moment: &str) -> Option<f64> {
    let (_, time) = moment.trim_end_matches('Z').split_once('T')?;
    let mut parts = time.split(':').map(|part| part.parse::<f64>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    Some(hours.mul_add(3_600.0, minutes.mul_add(60.0, seconds)))
}

fn write(house: &House, listen: u16, version: &str, failing: u32) -> anyhow::Result<String> {
    let program = house.program().to_string_lossy();
    let command = format!("[{program:?}, sample, --version-name, {version}, --error-percent, \"{failing}\"]");
    let service =
        Service { name: "shop", listen, command: &command, strategy: STRATEGY, more: MORE, version };
    Ok(house.write("shop", &service)?.to_string_lossy().into_owned())
}
