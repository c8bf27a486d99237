//! Clients: they submit and ask through the command line, try again when they were not answered, and remember what they
//! were promised. They are never killed.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::bail;
use serde_json::Value;

use crate::answer::{holds, items, text};
use crate::dice::Dice;
use crate::house::{self, House, Service};

const VERBS: &[&[&str]] =
    &[&["pause"], &["resume"], &["promote"], &["promote", "--full"], &["approve"], &["abort"], &["rollback"]];

/// A canary with short bakes, and one that asks for an approval.
const STRATEGIES: [&str; 3] = [
    "{canary: {steps: [{share: 50%, bake: 150ms}, {share: 100%, bake: 100ms}]}}",
    "{canary: {steps: [{share: 20%, bake: 100ms}, {share: 60%, bake: 100ms, approval: true}, {share: 100%, bake: 50ms}]}}",
    "{blue_green: {bake: 100ms, preview: false}}",
];

/// The gates have their own tests; here nothing may depend on how busy the machine is.
const MORE: &str = "    gates: {error_rate: off, latency_p95: off, latency_p99: off, cpu: off, memory: off, request_rate: off, latency_shift: off}\n    \
     routing: {limits: {drain: 100ms, drain_websocket: 100ms}}\n    watch: 100ms\n";

/// What the clients were promised.
#[derive(Default)]
pub(super) struct Promises {
    /// Key of a submission, and the deployment it was answered with.
    pub(super) submitted: Vec<(String, String)>,
    /// Who asked, of which deployment, and the events that were said to follow.
    pub(super) told: Vec<(String, String, Vec<String>)>,
}

/// The services that are deployed.
pub(super) struct Workload<'a> {
    house: &'a House,
    services: Vec<(String, u16, &'static str)>,
    /// One line per start of an instance.
    pub(super) starts: PathBuf,
    next: AtomicU64,
}

impl<'a> Workload<'a> {
    pub(super) fn prepare(house: &'a House, count: usize) -> anyhow::Result<Self> {
        let ports = house::ports(count)?;
        let services = ports.into_iter().zip(STRATEGIES.iter().cycle()).enumerate();
        let services =
            services.map(|(number, (port, strategy))| (format!("s{number}"), port, *strategy)).collect();
        Ok(Self { house, services, starts: house.root().join("starts"), next: AtomicU64::new(1) })
    }

    /// A name that is used once in the whole run.
    fn unique(&self, what: &str) -> String {
        format!("{what}-{}", self.next.fetch_add(1, Ordering::Relaxed))
    }
}

/// Submits and asks until it is over.
pub(super) fn ask(
    workload: &Workload<'_>,
    promises: &Mutex<Promises>,
    over: &AtomicBool,
    mut dice: Dice,
) -> anyhow::Result<()> {
    while !over.load(Ordering::Relaxed) {
        if dice.below(2) == 0 {
            submit(workload, promises, over, &mut dice)?;
        } else {
            tell(workload, promises, &mut dice)?;
        }
        thread::sleep(Duration::from_millis(dice.below(150)));
    }
    Ok(())
}

/// Submits a new release with a key, again and again until it is acknowledged.
fn submit(
    workload: &Workload<'_>,
    promises: &Mutex<Promises>,
    over: &AtomicBool,
    dice: &mut Dice,
) -> anyhow::Result<()> {
    let house = workload.house;
    let Some((service, listen, strategy)) = dice.one(&workload.services) else {
        bail!("there are no services")
    };
    let key = workload.unique("key");
    let script = format!(
        "echo $TIDEGATE_INSTANCE >> {}; exec {} sample --version-name {key}",
        workload.starts.display(),
        house.program().display()
    );
    let command = format!("[sh, -c, {script:?}]");
    let project =
        Service { name: service, listen: *listen, command: &command, strategy, more: MORE, version: &key };
    // A folder per submission: another client may be writing the same service's next release.
    let config = house.write(&key, &project)?;
    let config = config.to_string_lossy().into_owned();
    let queue = if dice.below(2) == 0 { "supersede" } else { "wait" };
    let line = ["deploy", "--detach", "--file", &config, "--key", &key, "--reason", &key, "--queue", queue];
    while !over.load(Ordering::Relaxed) {
        if let Ok(answer) = house.json(&line) {
            let id = text(&answer, "/deployment").to_owned();
            lock(promises).submitted.push((key, id));
            return Ok(());
        }
        thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// Asks something of a deployment that was acknowledged lately. A refusal is an answer; no answer is not asked for again.
fn tell(workload: &Workload<'_>, promises: &Mutex<Promises>, dice: &mut Dice) -> anyhow::Result<()> {
    let recent: Vec<String> =
        lock(promises).submitted.iter().rev().take(8).map(|(_, id)| id.clone()).collect();
    let (Some(id), Some(verb)) = (dice.one(&recent), dice.one(VERBS)) else { return Ok(()) };
    if *verb == ["rollback"] {
        let service = id.split('-').next().unwrap_or_default();
        workload.house.run(&["rollback", service, "--detach"])?;
        return Ok(());
    }
    let who = workload.unique("verb");
    let mut command = workload.house.command(verb);
    let output = command.args([id.as_str(), "--json"]).env("TIDEGATE_ACTOR", &who).output()?;
    if output.status.success()
        && let Ok(answer) = serde_json::from_slice::<Value>(&output.stdout)
    {
        let events = items(&answer, "/events").iter();
        let events = events.filter_map(|event| event.as_str().map(str::to_owned)).collect();
        lock(promises).told.push((who, id.clone(), events));
    }
    Ok(())
}

/// Nobody kills any more: everything must come to an end. What waits for a person is given to it.
pub(super) fn let_end(house: &House, most: Duration) -> anyhow::Result<()> {
    let late = Instant::now() + most;
    loop {
        let all = house.json(&["history", "--limit", "100000"])?;
        let open = items(&all, "").iter().filter(|one| !holds(one, "/over"));
        let open: Vec<(&str, &str)> =
            open.map(|one| (text(one, "/deployment"), text(one, "/state"))).collect();
        if open.is_empty() {
            return Ok(());
        }
        if Instant::now() > late {
            bail!("{} deployments do not end: {open:?}", open.len());
        }
        for (id, state) in open {
            let verb = match state {
                "paused" | "queued" => "abort",
                "awaiting_approval" => "approve",
                // Anything starts the engine, should none run; what ends by itself needs no more.
                _ => "resume",
            };
            house.run(&[verb, id])?;
        }
        thread::sleep(Duration::from_millis(100));
    }
}

fn lock(promises: &Mutex<Promises>) -> MutexGuard<'_, Promises> {
    promises.lock().unwrap_or_else(PoisonError::into_inner)
}
