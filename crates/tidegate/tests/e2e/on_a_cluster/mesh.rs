//! A real gateway, the users who come to it, and the pods that it brings them to: one server of this test plays them all, and
//! Prometheus scrapes each of them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead as _, BufReader, Error, Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal};
use serde_json::{Value, json};
use tidegate_bed::{BedError, Component, ControlPlane};

use crate::support::{scraped, until};

/// Where the pods listen.
const PORT: u16 = 8080;
/// Whom users ask for.
pub(super) const HOST: &str = "shop.example";
/// How many users there are, and how long each of them waits before the next request: 400 a second, about.
const USERS: usize = 4;
const PAUSE: Duration = Duration::from_millis(10);
/// Longest wait of a user.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// So long it is believed that a pod is there. It ends as soon as it is told to: users must have left it by then.
const BELIEVED: Duration = Duration::from_millis(200);

/// The users of one host and the pods of one namespace. All live as long as the tests.
#[derive(Clone)]
pub(super) struct Mesh {
    plane: &'static ControlPlane,
    pods: String,
    /// Where users come.
    door: SocketAddr,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    /// Addresses of pods, and when each was seen last.
    alive: BTreeMap<IpAddr, Instant>,
    /// Those of which every second answer is a failure.
    failing: BTreeSet<IpAddr>,
    /// Answers of each pod, and how many of them were failures.
    counts: BTreeMap<IpAddr, [u64; 2]>,
    /// What went wrong for users that no pod is the reason of.
    lost: Vec<String>,
}

/// One answer as a user sees it.
struct Seen {
    status: u16,
    body: String,
}

impl Mesh {
    /// Pods are there at once, and the Prometheus of this folder scrapes each of them as soon as it is.
    pub(super) fn of(
        plane: &'static ControlPlane,
        namespace: &str,
        door: SocketAddr,
        prometheus: PathBuf,
    ) -> Self {
        let pods = format!("/api/v1/namespaces/{namespace}/pods");
        let mesh = Self { plane, pods, door, state: Arc::default() };
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, PORT)).expect("a port");
        let (serving, looking) = (mesh.clone(), mesh.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let mesh = serving.clone();
                // Whoever left is not answered.
                thread::spawn(move || drop(mesh.serve(&stream)));
            }
        });
        thread::spawn(move || {
            let mut scraping = BTreeMap::new();
            loop {
                // Who does not answer says nothing about pods.
                if let Ok(pods) = looking.look()
                    && pods != scraping
                {
                    scraped(&prometheus, &pods.iter().map(target).collect());
                    scraping = pods;
                }
                thread::sleep(Duration::from_millis(100));
            }
        });
        mesh
    }

    /// Addresses and names of the pods that there are now.
    fn look(&self) -> Result<BTreeMap<IpAddr, String>, BedError> {
        let now = Instant::now();
        let pods = self.pods(|pod| pod["metadata"]["deletionTimestamp"].is_null())?;
        self.state().alive.extend(pods.keys().map(|address| (*address, now)));
        Ok(pods)
    }

    /// Users come from the moment when the gateway knows the way.
    pub(super) fn opens(&self) -> &Self {
        let ask = || self.ask(&mut None, "accept: */*").map_or(0, |seen| seen.status);
        until(|| ask() == 200, || format!("the gateway answers {}", ask()));
        for _ in 0..USERS {
            let mesh = self.clone();
            thread::spawn(move || {
                let mut connection = None;
                loop {
                    match mesh.ask(&mut connection, "accept: */*") {
                        // What a pod says is no fault of the way there.
                        Ok(seen) if seen.body.starts_with("pod ") => {}
                        Ok(seen) => mesh.state().lost.push(format!("{} {}", seen.status, seen.body)),
                        Err(why) => mesh.state().lost.push(why.to_string()),
                    }
                    thread::sleep(PAUSE);
                }
            });
        }
        self
    }

    /// Whether the gateway is told what the routes say.
    pub(super) fn follows(&self, follows: bool) {
        let pid = self.plane.pid(Component::Istiod).and_then(|pid| Pid::from_raw(pid.cast_signed()));
        let signal = if follows { Signal::CONT } else { Signal::STOP };
        rustix::process::kill_process(pid.expect("it runs"), signal).expect("a signal");
    }

    /// Every second answer of the new release's pods is a failure from now on.
    pub(super) fn fails(&self, release: &str) {
        let failing = self.of_release(release);
        assert!(!failing.is_empty(), "{release} has pods");
        self.state().failing.extend(failing.into_keys());
    }

    /// The new release's part of what is answered until so many requests were.
    pub(super) fn share(&self, release: &str, requests: u64) -> f64 {
        let of = self.of_release(release);
        let count = || {
            let state = self.state();
            let sum = |wanted: &dyn Fn(&IpAddr) -> bool| -> u64 {
                state.counts.iter().filter(|(address, _)| wanted(address)).map(|(_, [all, _])| all).sum()
            };
            [sum(&|address| of.contains_key(address)), sum(&|_| true)]
        };
        let before = count();
        until(|| count()[1] >= before[1] + requests, || format!("{:?}", self.state().lost));
        let after = count();
        (after[0] - before[0]) as f64 / (after[1] - before[1]) as f64
    }

    /// Not one request has failed, but for those that a pod has answered so.
    pub(super) fn lost_none(&self) {
        let state = self.state();
        assert!(state.lost.is_empty(), "{} requests: {:?}", state.lost.len(), state.lost.first());
    }

    /// Addresses and names of pods.
    fn pods(&self, wanted: impl Fn(&Value) -> bool) -> Result<BTreeMap<IpAddr, String>, BedError> {
        let list = self.plane.admin().get(&self.pods)?;
        let pods = list["items"].as_array().into_iter().flatten().filter(|pod| wanted(pod));
        let named = |pod: &Value| {
            let address = pod["status"]["podIP"].as_str()?.parse().ok()?;
            Some((address, pod["metadata"]["name"].as_str()?.to_owned()))
        };
        Ok(pods.filter_map(named).collect())
    }

    fn of_release(&self, release: &str) -> BTreeMap<IpAddr, String> {
        let pods = self.pods(|pod| pod["metadata"]["labels"]["tidegate.dev/release"] == release);
        pods.expect("pods")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers what comes on one connection.
    fn serve(&self, stream: &TcpStream) -> Result<(), Error> {
        let pod = stream.local_addr()?.ip();
        let mut asks = BufReader::new(stream);
        while let Some((first, _)) = head(&mut asks)? {
            let (status, body) =
                if first.starts_with("GET /metrics ") { (200, self.page(pod)) } else { self.answer(pod) };
            let head = format!(
                "HTTP/1.1 {status} X\r\ncontent-type: text/plain; version=0.0.4\r\ncontent-length: {}",
                body.len()
            );
            let mut to = stream;
            to.write_all(format!("{head}\r\n\r\n{body}").as_bytes())?;
        }
        Ok(())
    }

    fn answer(&self, pod: IpAddr) -> (u16, String) {
        let seen = self.state().alive.get(&pod).is_some_and(|seen| seen.elapsed() < BELIEVED);
        if !seen && self.look().is_ok_and(|pods| !pods.contains_key(&pod)) {
            return (503, format!("no pod has the address {pod}"));
        }
        let mut state = self.state();
        let fails = state.failing.contains(&pod);
        let [all, failed] = state.counts.entry(pod).or_default();
        *all += 1;
        let fails = fails && *all % 2 == 0;
        *failed += u64::from(fails);
        (if fails { 500 } else { 200 }, format!("pod {pod}"))
    }

    /// What Prometheus gets.
    fn page(&self, pod: IpAddr) -> String {
        let [all, failed] = self.state().counts.get(&pod).copied().unwrap_or_default();
        let line = |code: &str, count: u64| format!("http_requests_total{{code=\"{code}\"}} {count}\n");
        format!("# TYPE http_requests_total counter\n{}{}", line("200", all - failed), line("500", failed))
    }

    /// Whether a request with this line in its head is answered by a pod of the release.
    pub(super) fn reaches(&self, release: &str, line: &str) -> bool {
        let seen = self.ask(&mut None, line).expect("an answer");
        self.of_release(release).keys().any(|pod| seen.body == format!("pod {pod}"))
    }

    /// Asks once, on this connection while it lasts.
    fn ask(&self, connection: &mut Option<BufReader<TcpStream>>, line: &str) -> Result<Seen, Error> {
        let mut stream = if let Some(stream) = connection.take() {
            stream
        } else {
            let stream = TcpStream::connect(self.door)?;
            stream.set_read_timeout(Some(ANSWER_WITHIN))?;
            BufReader::new(stream)
        };
        stream.get_mut().write_all(format!("GET / HTTP/1.1\r\nhost: {HOST}\r\n{line}\r\n\r\n").as_bytes())?;
        let (first, length) = head(&mut stream)?.ok_or_else(|| Error::other("no answer"))?;
        let mut body = vec![0; length];
        stream.read_exact(&mut body)?;
        *connection = Some(stream);
        let status = first.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_default();
        Ok(Seen { status, body: String::from_utf8_lossy(&body).into_owned() })
    }
}

/// A pod as Prometheus is told of it.
fn target((address, name): (&IpAddr, &String)) -> Value {
    json!({"targets": [SocketAddr::new(*address, PORT)], "labels": {"pod": name}})
}

/// The first line of a head, and how long the body behind it is; none at the end.
fn head<R: std::io::Read>(from: &mut BufReader<R>) -> Result<Option<(String, usize)>, Error> {
    let (mut first, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if from.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let line = line.trim_end();
        if line.is_empty() {
            return Ok(Some((first, length)));
        }
        if first.is_empty() {
            line.clone_into(&mut first);
        }
        let lower = line.to_ascii_lowercase();
        if let Some(value) = lower.strip_prefix("content-length:") {
            length = value.trim().parse().map_err(Error::other)?;
        }
    }
}

/// The weight of the new release's backend, and of all.
pub(super) fn weights(route: &Value) -> [u64; 2] {
    let backends = route.pointer("/spec/rules/0/backendRefs").and_then(Value::as_array);
    let weight = |one: &Value| one.get("weight").and_then(Value::as_u64).unwrap_or(1);
    let of_preview = |one: &&Value| one["name"] == "shop-preview";
    let all = || backends.into_iter().flatten();
    [all().filter(of_preview).map(weight).sum(), all().map(weight).sum()]
}

/// How many of 100 requests are copied to the new release.
pub(super) fn copies(route: &Value) -> u64 {
    let filters = route.pointer("/spec/rules/0/filters").and_then(Value::as_array).into_iter().flatten();
    let mirror = |one: &Value| {
        let mirror = one.get("requestMirror")?;
        Some(mirror.get("percent").and_then(Value::as_u64).unwrap_or(100))
    };
    filters.filter_map(mirror).sum()
}
