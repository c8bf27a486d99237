//! `bench kube`: the way back on a real API server, alone and in the middle of a thousand other rollouts.
//!
//! The control plane is that of the tests, on this machine's cores, with Istio's definitions and pods that become ready at once.
//! What is measured is the program that users build, with its journal on disk. Beside it stand the figures of Argo Rollouts on
//! the same bed and the same number of cores: 21 ms, 10.6 s, 120 s, 217 MB, 56 s.
//!
//! The storm is of services that Tidegate has rolled out before, as those Rollouts had a revision before theirs. A rollout has
//! finished when its last step has passed, which is where Argo calls a Rollout healthy; both keep the old pods for 30 s more.

pub(super) mod churn;
mod exporter;
mod scrape;

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixListener;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail};
use serde_json::{Value, json};

use crate::answer::{items, text};
use crate::figures::Figure;
use crate::house::{self, House, Peer};
use crate::step;
use crate::trial::{Terms, Trial};

pub(crate) const TRIAL: Trial = Trial {
    name: "kube",
    about: "the way back on a real API server, alone and in the middle of a thousand rollouts",
    run,
};

/// Services whose rollout is aborted, each in both scenes.
const ABORTED: usize = 15;
/// Services that turn bad in the sight of Prometheus.
const SCRAPED: usize = 30;
const SCRAPED_SHORT: usize = 3;
const FULL: usize = 1_000;
const SHORT: usize = 60;
/// From the first of the storm's rollouts to the aborts in its middle.
const INTO: Duration = Duration::from_secs(15);
/// Requests that are on their way at once.
const LANES: usize = 8;
/// The old pods stay for so long after the last step, seconds: Argo's default.
const KEPT_S: u32 = 30;
/// Longest wait for one thing.
const PATIENCE: Duration = Duration::from_mins(30);

fn run(terms: &Terms) -> anyhow::Result<Vec<Figure>> {
    let (count, into, bake, kept, scraped) = if terms.short {
        (SHORT, Duration::from_secs(3), 4, 2, SCRAPED_SHORT)
    } else {
        (FULL, INTO, 20, KEPT_S, SCRAPED)
    };
    let house = House::build("kube")?;
    step::run(&mut step::cargo(&["build", "--quiet", "--package", "tidegate-bed", "--example", "storm"]))?;
    let mut bed = Bed::start(ABORTED + count + scraped)?;
    let mut engine = house.command(&["server"]).env("KUBECONFIG", &bed.kubeconfig).spawn()?;
    house::wait_for("the engine", Duration::from_secs(10), || house.pid(Peer::Engine))?;
    let long = request(&house, &bed, &Asked { name: "long", bake: 600, watch: 0, more: "" })?;
    let first = submit_all(&house, &long, 0..ABORTED)?;
    let idle = abort_all(&house, &mut bed, &first, Beside::Nothing)?;
    until_ended(&house)?;
    let first_free = ABORTED + count;
    let scraped = scrape::measure(&house, &mut bed, first_free..first_free + scraped, terms.seed)?;
    let services = ABORTED..ABORTED + count;
    let began = Instant::now();
    let adopting = request(&house, &bed, &Asked { name: "first", bake: 0, watch: 0, more: "" })?;
    let adopted = submit_all(&house, &adopting, services.clone())?;
    until_ended(&house)?;
    all_verified(&house, &adopted)?;
    println!("{count} services had their first release in {:.1} s", began.elapsed().as_secs_f64());
    let second = submit_all(&house, &long, 0..ABORTED)?;
    exposed(&house, &second)?;
    let asked = request(&house, &bed, &Asked { name: "storm", bake, watch: kept, more: "" })?;
    let used = cpu_s(&house)?;
    let (began, since) = (Instant::now(), SystemTime::now());
    let storm = submit_all(&house, &asked, services)?;
    println!("{count} rollouts were asked for in {:.1} s", began.elapsed().as_secs_f64());
    thread::sleep(into.saturating_sub(began.elapsed()));
    let stormy = abort_all(&house, &mut bed, &second, Beside::Everything)?;
    let most = until_ended(&house)?;
    let ended = began.elapsed().as_secs_f64();
    let cpu = cpu_s(&house)? - used;
    all_verified(&house, &storm)?;
    let total = finished(&house, &storm, since)?;
    println!("{count} had finished after {total:.1} s, and none had old pods after {ended:.1} s");
    engine.kill()?;
    engine.wait()?;
    let against = format!("{count} rollouts at once, on one machine with the control plane");
    Ok(vec![
        Figure::new(
            "abort_idle_p50_ms",
            quantile(&idle, 50),
            "ms",
            "<= 15",
            "21 ms of Argo Rollouts on the same bed",
        )?,
        Figure::new("abort_storm_p99_ms", quantile(&stormy, 99), "ms", "<= 500", &against)?,
        Figure::new("storm_total_s", total, "s", "<= 75", &against)?,
        Figure::new("storm_rss_mb", most, "MB", "<= 100", &against)?,
        Figure::new("storm_cpu_s", cpu, "s", "<= 30", &against)?,
        scraped,
    ])
}

/// The control plane with its services.
struct Bed {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
    kubeconfig: String,
}

impl Bed {
    fn start(count: usize) -> anyhow::Result<Self> {
        let program = crate::package::built("debug", "examples/storm")?;
        let mut child = Command::new(program)
            .arg(count.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("could not start the control plane: run `cargo xtask setup`")?;
        let input = child.stdin.take().context("no input")?;
        let output = BufReader::new(child.stdout.take().context("no output")?);
        let mut bed = Self { child, input, output, kubeconfig: String::new() };
        let line = bed.line()?;
        line.strip_prefix("KUBECONFIG ").context("no control plane")?.clone_into(&mut bed.kubeconfig);
        if bed.line()? != "ready" {
            bail!("the control plane's services did not become ready");
        }
        println!("{count} services are ready");
        Ok(bed)
    }

    fn line(&mut self) -> anyhow::Result<String> {
        let mut line = String::new();
        if self.output.read_line(&mut line)? == 0 {
            bail!("the control plane ended");
        }
        Ok(line.trim().to_owned())
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        // Its own processes end with it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A release of one service, as its user describes it.
struct Asked<'a> {
    /// Tells its content from that of others.
    name: &'a str,
    /// Of each step, seconds.
    bake: u32,
    /// Seconds.
    watch: u32,
    /// Further keys of the service, each on a line of its own.
    more: &'a str,
}

/// What the command line asks of the engine for one service: heard by answering in the engine's place.
fn request(house: &House, bed: &Bed, asked: &Asked<'_>) -> anyhow::Result<Value> {
    let Asked { name, bake, watch, more } = asked;
    let folder = house.root().join(name);
    let data = folder.join("d");
    std::fs::create_dir_all(&data)?;
    let hex: String = name.bytes().fold(String::new(), |hex, byte| format!("{hex}{byte:02x}"));
    let manifest = format!(
        "apiVersion: apps/v1\nkind: Deployment\nspec:\n  template:\n    metadata: {{labels: {{app: s0}}}}\n    spec:\n      \
         containers: [{{name: web, image: \"registry.example/shop@sha256:{hex:0>64}\"}}]\n"
    );
    std::fs::write(folder.join("deploy.yaml"), manifest)?;
    // A control plane on two cores takes its time for the last of a thousand pods.
    let kubernetes = "{manifest: deploy.yaml, namespace: storm, service: s0, progress: 15m, traffic: {virtual_service: s0}}";
    let strategy = format!("{{canary: {{steps: [50%, 100%], bake: {bake}s}}}}");
    let config = folder.join("tidegate.yaml");
    let text = format!(
        "version: 1\nservices:\n  s0:\n    run: {{kubernetes: {kubernetes}}}\n    strategy: {strategy}\n    watch: {watch}s\n{more}"
    );
    std::fs::write(&config, text)?;
    let listener = UnixListener::bind(data.join("engine.sock"))?;
    let heard = thread::spawn(move || overhear(&listener));
    let mut command = Command::new(house.program());
    command.args(["deploy", "--detach", "--json", "--file"]).arg(&config).arg("--data").arg(&data);
    let output = command.env("KUBECONFIG", &bed.kubeconfig).stdin(Stdio::null()).output()?;
    if !output.status.success() {
        bail!("nothing was asked: {}", String::from_utf8_lossy(&output.stderr));
    }
    let submitted = heard.join().ok().context("a thread broke down")??;
    submitted.get("request").cloned().context("no request")
}

/// Answers as an engine until a deployment is asked for, and answers with what was asked.
fn overhear(listener: &UnixListener) -> anyhow::Result<Value> {
    loop {
        let (mut stream, _) = listener.accept()?;
        let mut reader = BufReader::new(stream.try_clone()?);
        let (mut first, mut length) = (String::new(), 0);
        reader.read_line(&mut first)?;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? <= 2 {
                break;
            }
            let lower = line.to_ascii_lowercase();
            if let Some(value) = lower.strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body)?;
        let asked = first.starts_with("POST");
        let answer = if asked {
            json!({"deployment": "heard"})
        } else {
            json!({"version": "", "pid": 0, "epoch": 0, "uptime_ms": 0, "active": []})
        };
        let answer = answer.to_string();
        write!(
            stream,
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{answer}",
            answer.len()
        )?;
        if asked {
            return Ok(serde_json::from_slice(&body)?);
        }
    }
}

/// The same request for other services.
fn submit_all(house: &House, like: &Value, numbers: std::ops::Range<usize>) -> anyhow::Result<Vec<String>> {
    let (first, next) = (numbers.start, AtomicUsize::new(numbers.start));
    let made = Mutex::new(vec![String::new(); numbers.len()]);
    thread::scope(|scope| {
        let lane = || -> anyhow::Result<()> {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= numbers.end {
                    return Ok(());
                }
                let id = submit(house, like, number)?;
                if let Some(place) =
                    made.lock().unwrap_or_else(PoisonError::into_inner).get_mut(number - first)
                {
                    *place = id;
                }
            }
        };
        let lanes: Vec<_> = (0..LANES).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().try_for_each(|lane| lane.join().ok().context("a thread broke down")?)
    })?;
    Ok(made.into_inner().unwrap_or_else(PoisonError::into_inner))
}

fn submit(house: &House, like: &Value, number: usize) -> anyhow::Result<String> {
    let name = format!("s{number}");
    let mut request = like.clone();
    let spec = text(&request, "/release/spec/json").replace("\"s0\"", &format!("\"{name}\""));
    set(&mut request, "/release/spec/json", json!(spec))?;
    set(&mut request, "/service", json!(name))?;
    set(&mut request, "/again", json!(true))?;
    let body = json!({"request": request, "queue": "wait", "key": null, "actor": actor(), "reason": "bench"});
    Ok(text(&house.post("/v1/deployments", &body)?, "/deployment").to_owned())
}

fn set(value: &mut Value, pointer: &str, to: Value) -> anyhow::Result<()> {
    *value.pointer_mut(pointer).with_context(|| format!("no {pointer} in the request"))? = to;
    Ok(())
}

fn actor() -> Value {
    json!({"kind": "person", "name": "bench"})
}

fn tell(house: &House, id: &str, action: &str) -> anyhow::Result<Value> {
    let body = json!({"action": action, "actor": actor(), "reason": "bench"});
    house.post(&format!("/v1/deployments/{id}/verbs"), &body)
}

/// Waits until each has its first share.
fn exposed(house: &House, ids: &[String]) -> anyhow::Result<()> {
    for id in ids {
        house::wait_for("a first share", PATIENCE, || {
            let live = house.ask(Peer::Engine, &format!("/v1/deployments/{id}/live")).ok()?;
            (!items(&live, "/judgements").is_empty()).then_some(())
        })?;
    }
    Ok(())
}

/// What goes on while an abort is measured.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Beside {
    /// Nothing: the one before has ended.
    Nothing,
    /// Whatever there is.
    Everything,
}

/// Aborts each, one after the other; milliseconds from the request to a weight of zero.
fn abort_all(house: &House, bed: &mut Bed, ids: &[String], beside: Beside) -> anyhow::Result<Vec<f64>> {
    exposed(house, ids)?;
    let mut took = Vec::new();
    for (number, id) in ids.iter().enumerate() {
        writeln!(bed.input, "watch s{number}")?;
        thread::sleep(Duration::from_millis(20));
        let asked = SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros();
        tell(house, id, "abort")?;
        let line = bed.line()?;
        let zero: u128 = line.rsplit(' ').next().unwrap_or_default().parse().context(line.clone())?;
        if beside == Beside::Nothing {
            house::wait_for("the end of an abort", PATIENCE, || {
                let status = house.ask(Peer::Engine, "/v1/status").ok()?;
                let active = items(&status, "/active").iter().any(|one| one.as_str() == Some(id));
                (!active).then_some(())
            })?;
        }
        took.push(u32::try_from(zero.saturating_sub(asked)).map_or(f64::MAX, f64::from) / 1_000.0);
    }
    println!("abort to weight 0, ms: {took:.1?}");
    Ok(took)
}

/// Waits until nothing is active, and answers the most memory meanwhile, MB. The engine itself is asked rarely: with a thousand
/// active its answer is work that is none of theirs.
fn until_ended(house: &House) -> anyhow::Result<f64> {
    const LOOKS: u32 = 10;
    let mut most: f64 = 0.0;
    let began = Instant::now();
    loop {
        let status = house.ask(Peer::Engine, "/v1/status")?;
        let pid = status.get("pid").and_then(Value::as_u64).context("no pid")?;
        let active = items(&status, "/active").len();
        for _ in 0..LOOKS {
            most = most.max(super::restart::rss_mb(u32::try_from(pid)?)?);
            if active == 0 {
                return Ok(most);
            }
            thread::sleep(Duration::from_millis(200));
        }
        if began.elapsed() > PATIENCE {
            bail!("{active} rollouts are still active");
        }
    }
}

/// CPU time of the engine so far, seconds.
fn cpu_s(house: &House) -> anyhow::Result<f64> {
    const TICKS_A_SECOND: f64 = 100.0;
    let pid = house.pid(Peer::Engine).context("the engine does not answer")?;
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let after = stat.rsplit_once(')').context("no name in stat")?.1;
    let ticks: f64 =
        after.split_whitespace().skip(11).take(2).filter_map(|text| text.parse::<f64>().ok()).sum();
    Ok(ticks / TICKS_A_SECOND)
}

/// Seconds until the last of these rollouts had passed its last step, by their own logs.
fn finished(house: &House, ids: &[String], since: SystemTime) -> anyhow::Result<f64> {
    let since = since.duration_since(UNIX_EPOCH)?.as_secs_f64();
    let mut last: f64 = 0.0;
    for id in ids {
        let path = house.data().join("artifacts").join(format!("deployment_{id}.json"));
        let log: Value =
            serde_json::from_slice(&std::fs::read(&path).with_context(|| path.display().to_string())?)?;
        let promoted = items(&log, "/transitions").iter().find(|one| text(one, "/to_state") == "promoted");
        let at = text(promoted.context("it was never promoted")?, "/timestamp");
        let at: jiff::Timestamp = at.parse().with_context(|| at.to_owned())?;
        last = last.max(at.as_duration().as_secs_f64() - since);
    }
    Ok(last)
}

/// Each of these ended well.
fn all_verified(house: &House, ids: &[String]) -> anyhow::Result<()> {
    let history = house.json(&["history", "--limit", "100000"])?;
    let rows = history.as_array().map_or_else(|| items(&history, "/deployments"), Vec::as_slice);
    let ended: std::collections::BTreeSet<&str> = rows
        .iter()
        .filter(|row| text(row, "/state") == "verified")
        .map(|row| text(row, "/deployment"))
        .collect();
    let wrong = ids.iter().filter(|id| !ended.contains(id.as_str())).count();
    anyhow::ensure!(wrong == 0, "{wrong} rollouts did not end well: see `tidegate history`");
    Ok(())
}

/// The value below which so many of a hundred are, the nearest above.
fn quantile(values: &[f64], percent: usize) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).copied().unwrap_or(f64::NAN)
}
