//! `bench restart`: a thousand deployments under way, the engine killed, and how long until every one is driven again.
//!
//! Every deployment is one of a service of its own, with a real instance behind a real address: its share is in force, a
//! person has paused it, and its gates are asked twice a second. It counts as driven again when the new engine has asked
//! its gates.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::answer::{items, text};
use crate::figures::Figure;
use crate::house::{self, House, Peer, Service};
use crate::trial::{Terms, Trial};

pub(crate) const TRIAL: Trial = Trial {
    name: "restart",
    about: "kill -9 of the engine with a thousand deployments under way: until all are driven again, and memory",
    run,
};

const FULL: usize = 1_000;
const SHORT: usize = 150;
/// Command lines that run at once while the deployments are made.
const LANES: usize = 3;
/// Longest wait for one thing.
const PATIENCE: Duration = Duration::from_mins(1);
/// Time in which an idle process comes to rest before its memory is read.
const REST: Duration = Duration::from_secs(2);

const MORE: &str = "    gates: {error_rate: off, latency_p95: off, latency_p99: off, cpu: off, memory: off, request_rate: off, latency_shift: off}\n";
/// The first release of a service is one switch; this is its bake.
const STRATEGY: &str = "{all_at_once: {bake: 10s}}";

fn run(terms: &Terms) -> anyhow::Result<Vec<Figure>> {
    let count = if terms.short { SHORT } else { FULL };
    let house = House::build("restart")?;
    let ports = house::ports(count + 1)?;
    let [idle_server, idle_proxy] = idle(&house, *ports.last().context("no ports")?)?;
    let began = Instant::now();
    let ids = deploy_all(&house, ports.get(..count).context("no ports")?)?;
    println!("{count} deployments were made in {:.1} s", began.elapsed().as_secs_f64());
    until_driven(&house, &ids)?;
    thread::sleep(REST);
    let rss = rss_mb(house.pid(Peer::Engine).context("the engine does not answer")?)?;
    let resumed = killed_and_resumed(&house, &ids)?;
    let against = format!("{count} deployments under way");
    Ok(vec![
        Figure::new("resume_s", resumed, "s", "<= 2", &against)?,
        Figure::new("rss_server_mb", idle_server, "MB", "<= 30", "idle, one service deployed")?,
        Figure::new("rss_proxy_mb", idle_proxy, "MB", "<= 30", "idle, one service deployed")?,
        Figure::new("rss_1000_mb", rss, "MB", "<= 150", &against)?,
    ])
}

/// Memory of an engine and a proxy with nothing to do.
fn idle(house: &House, port: u16) -> anyhow::Result<[f64; 2]> {
    house.start_engine(None)?;
    house::wait_for("the engine", PATIENCE, || house.pid(Peer::Engine))?;
    let config = write(house, "idle", port)?;
    let ran = house.run(&["deploy", "--file", &config])?;
    if !ran.status.success() {
        bail!("the first deployment failed: {}", String::from_utf8_lossy(&ran.stdout));
    }
    thread::sleep(REST);
    let pid = |peer| house.pid(peer).context("nobody answers");
    Ok([rss_mb(pid(Peer::Engine)?)?, rss_mb(pid(Peer::Proxy)?)?])
}

fn write(house: &House, name: &str, listen: u16) -> anyhow::Result<String> {
    let program = house.program().to_string_lossy();
    let command = format!("[{program:?}, sample, --version-name, {name}]");
    let service = Service { name, listen, command: &command, strategy: STRATEGY, more: MORE, version: name };
    Ok(house.write(name, &service)?.to_string_lossy().into_owned())
}

/// Makes all deployments and pauses each: in its bake, or as soon as it comes there.
fn deploy_all(house: &House, ports: &[u16]) -> anyhow::Result<Vec<String>> {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let lane = || -> anyhow::Result<Vec<String>> {
            let mut made = Vec::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(port) = ports.get(number) else { return Ok(made) };
                let config = write(house, &format!("r{number}"), *port)?;
                let answer = house.json(&["deploy", "--detach", "--file", &config])?;
                let id = text(&answer, "/deployment").to_owned();
                house.json(&["pause", &id])?;
                made.push(id);
            }
        };
        let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(lane)).collect();
        let mut all = Vec::new();
        for lane in lanes {
            all.extend(lane.join().ok().context("a thread broke down")??);
        }
        Ok(all)
    })
}

/// Kills the engine, starts another, and answers with the seconds from its start until it drives everything.
fn killed_and_resumed(house: &House, ids: &[String]) -> anyhow::Result<f64> {
    let old = house.pid(Peer::Engine).context("the engine does not answer")?;
    house::kill(old);
    house::wait_for("the engine's end", PATIENCE, || house.pid(Peer::Engine).is_none().then_some(()))?;
    let began = Instant::now();
    house.start_engine(None)?;
    let status = house::wait_for("the engine", PATIENCE, || house.ask(Peer::Engine, "/v1/status").ok())?;
    let active = items(&status, "/active").len();
    println!("the engine answered after {:.2} s, with {active} active", began.elapsed().as_secs_f64());
    if active != ids.len() {
        bail!("{active} of {} deployments were taken over", ids.len());
    }
    until_driven(house, ids)?;
    Ok(began.elapsed().as_secs_f64())
}

/// Waits until the engine has asked every deployment's gates.
fn until_driven(house: &House, ids: &[String]) -> anyhow::Result<()> {
    for id in ids {
        let path = format!("/v1/deployments/{id}/live");
        let driven =
            || house.ask(Peer::Engine, &path).is_ok_and(|live| !items(&live, "/judgements").is_empty());
        let came = house::wait_for("it", PATIENCE, || driven().then_some(()));
        if came.is_err() {
            let why = house.run(&["why", id])?;
            bail!("{id} is not driven: {}", String::from_utf8_lossy(&why.stdout).trim());
        }
    }
    Ok(())
}

/// Resident memory of a process, MB of 2^20 bytes.
pub(super) fn rss_mb(pid: u32) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).context("the process is gone")?;
    let line =
        status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("the kernel tells no memory")?;
    let kib: f64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kib / 1_024.0)
}
