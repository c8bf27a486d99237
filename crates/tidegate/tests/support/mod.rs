//! A project of its own for every test: its own directory, ports, engine, proxy and instances, all gone at the end.

mod process;
mod prometheus;
mod ran;
mod users;

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU16, Ordering},
    time::{Duration, Instant},
};

use serde_json::Value;

pub(crate) use process::kill;
pub(crate) use prometheus::{Prometheus, scraped};
pub(crate) use ran::Ran;
pub(crate) use users::Users;

/// Longest wait for something that must come; far more than it takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(2);

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_tidegate");

/// A project that can be deployed.
pub(crate) struct Project {
    root: tempfile::TempDir,
    port: u16,
    parts: BTreeMap<&'static str, String>,
    version: String,
    faults: Vec<String>,
    environment: Vec<(&'static str, String)>,
    elsewhere: Option<PathBuf>,
}

impl Project {
    /// One service, `shop`, with short bakes and gates that do not wait for users.
    pub(crate) fn new() -> Self {
        // Short, because the path of a Unix socket has at most 107 bytes.
        let root = tempfile::Builder::new().prefix("tg").tempdir().expect("a temporary directory");
        let parts = [
            ("service", "shop"),
            ("instances", "1"),
            (
                "ready",
                "{http: /healthz, interval: 50ms, timeout: 1s, successes: 1, min_healthy: 50ms, deadline: 10s}",
            ),
            ("strategy", "{canary: {steps: [{share: 50%, bake: 400ms}, {share: 100%, bake: 200ms}]}}"),
            ("gates", CARELESS),
            ("shadow", ""),
            ("judgement", "{mode: threshold}"),
            ("metrics", "{}"),
            ("watch", "200ms"),
            ("lease", "10m"),
            ("queue", "wait"),
        ];
        Self {
            root,
            port: free_port(),
            parts: parts.map(|(name, value)| (name, value.to_owned())).into(),
            version: "v1".to_owned(),
            faults: Vec::new(),
            environment: Vec::new(),
            elsewhere: None,
        }
    }

    /// Its data lies in this directory instead, behind a link.
    pub(crate) fn data_in(&mut self, directory: &Path) -> &mut Self {
        std::os::unix::fs::symlink(directory, self.data()).expect("a link");
        self.elsewhere = Some(directory.to_owned());
        self
    }

    /// The next deployment ships this version, without faults.
    pub(crate) fn version(&mut self, version: &str) -> &mut Self {
        version.clone_into(&mut self.version);
        self.faults.clear();
        self.parts.remove("command");
        self
    }

    /// Options of the sample service that make the version bad.
    pub(crate) fn faults(&mut self, faults: &[&str]) -> &mut Self {
        self.faults = faults.iter().map(|&fault| fault.to_owned()).collect();
        self
    }

    /// Replaces a part of the configuration.
    pub(crate) fn with(&mut self, part: &'static str, value: &str) -> &mut Self {
        self.parts.insert(part, value.to_owned());
        self
    }

    /// Only one step of the canary: this share, this long.
    pub(crate) fn bake(&mut self, share: &str, bake: &str) -> &mut Self {
        let steps = format!(
            "{{canary: {{steps: [{{share: {share}, bake: {bake}}}, {{share: 100%, bake: 200ms}}]}}}}"
        );
        self.with("strategy", &steps)
    }

    /// The engines started from now on get this variable.
    pub(crate) fn environment(&mut self, name: &'static str, value: &str) -> &mut Self {
        self.environment = vec![(name, value.to_owned())];
        self
    }

    /// The engines started from now on get no variable of a test.
    pub(crate) fn plain_environment(&mut self) -> &mut Self {
        self.environment.clear();
        self
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Users come to this port instead.
    pub(crate) fn on_port(&mut self, port: u16) -> &mut Self {
        self.port = port;
        self
    }

    pub(crate) fn root(&self) -> &Path {
        self.root.path()
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root().join(".tidegate")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.root().join("tidegate.yaml")
    }

    /// Writes the project as it stands.
    pub(crate) fn write(&self) -> &Self {
        let command = self.parts.get("command").cloned().unwrap_or_else(|| {
            let words = ["sample", "--version-name", &self.version].map(str::to_owned);
            let words = std::iter::once(PROGRAM.to_owned()).chain(words).chain(self.faults.iter().cloned());
            format!("[{}]", words.map(|word| format!("{word:?}")).collect::<Vec<_>>().join(", "))
        });
        let mut text = CONFIGURATION.replace("{command}", &command).replace("{port}", &self.port.to_string());
        for (name, value) in &self.parts {
            text = text.replace(&format!("{{{name}}}"), value);
        }
        fs::write(self.config(), text).expect("a configuration");
        fs::write(self.root().join("version.txt"), &self.version).expect("a file of the release");
        self
    }

    /// The program with these arguments, in the project's directory.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(PROGRAM);
        command
            .current_dir(self.root())
            .args(arguments)
            .env_remove("TIDEGATE_DATA")
            .env_remove("TIDEGATE_FILE")
            .env("TIDEGATE_ACTOR", "tester")
            .envs(self.environment.iter().cloned());
        command
    }

    /// Runs a command to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> Ran {
        Ran::of(self.command(arguments))
    }

    /// Writes the project and deploys it.
    pub(crate) fn deploy(&self) -> Ran {
        self.write().run(&["deploy"])
    }

    /// Writes the project and starts a deployment without following it; answers with its id.
    pub(crate) fn begin(&self) -> String {
        let ran = self.write().run(&["deploy", "--detach", "--json"]);
        ran.code(0).json()["deployment"].as_str().expect("an id").to_owned()
    }

    /// A deployment's state.
    pub(crate) fn state(&self, id: &str) -> String {
        let ran = self.run(&["status", id, "--json"]);
        ran.code(0).json()[0]["state"].as_str().expect("a state").to_owned()
    }

    /// Waits until a deployment has this state.
    pub(crate) fn reaches(&self, id: &str, state: &str) -> &Self {
        let mut last = String::new();
        until(
            || {
                last = self.state(id);
                last == state
            },
            || {
                format!(
                    "{id} is never {state}; it is {}\n{}",
                    self.state(id),
                    self.run(&["history", id]).stdout
                )
            },
        );
        self
    }

    /// The kinds of a deployment's events, in order.
    pub(crate) fn events(&self, id: &str) -> Vec<String> {
        let lines = self.run(&["history", id, "--json"]).code(0).json();
        let lines = lines.as_array().expect("events");
        lines.iter().map(|line| line["kind"].as_str().expect("a kind").to_owned()).collect()
    }

    /// Everybody's answer to "who are you": the version that serves a request now.
    pub(crate) fn asks(&self) -> Option<String> {
        let answer = http(TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok()?, "GET", "/")?;
        Some(answer["version"].as_str()?.to_owned())
    }

    /// What the proxy says of its service: shares in force, in basis points, by release.
    pub(crate) fn weights(&self) -> BTreeMap<String, u64> {
        let status = self.run(&["proxy", "status", "--json"]).code(0).json();
        let service = &status["services"][0];
        let names = service["table"]["releases"].as_array().into_iter().flatten();
        let weights = service["weights"].as_array().into_iter().flatten();
        names
            .zip(weights)
            .map(|(route, weight)| {
                (route["release"].as_str().unwrap_or_default().to_owned(), weight.as_u64().unwrap_or(0))
            })
            .collect()
    }

    /// The engine's process, when one answers.
    pub(crate) fn engine(&self) -> Option<u32> {
        pid(&self.data().join("engine.sock"))
    }

    /// The proxy's process, when one answers.
    pub(crate) fn proxy(&self) -> Option<u32> {
        pid(&self.data().join("proxy/admin.sock"))
    }

    /// The processes of the service's instances, read from the system: the proxy is not asked.
    pub(crate) fn instances(&self) -> Vec<u32> {
        let all = process::of(self.root()).into_iter().filter(|(_, line)| line.contains(" sample "));
        let mut all: Vec<u32> = all.map(|(pid, _)| pid).collect();
        all.sort_unstable();
        all
    }

    /// The ports they listen on, read from the system too.
    pub(crate) fn instance_ports(&self) -> Vec<u16> {
        let port = |pid: u32| {
            let bytes = fs::read(format!("/proc/{pid}/environ")).ok()?;
            let port = bytes.split(|byte| *byte == 0).find_map(|pair| pair.strip_prefix(b"PORT="))?;
            std::str::from_utf8(port).ok()?.parse().ok()
        };
        self.instances().into_iter().filter_map(port).collect()
    }

    /// Kills the engine as `kill -9` does, and waits until it is gone.
    pub(crate) fn kill_engine(&self) -> &Self {
        kill(self.engine().expect("an engine that answers"));
        until(|| self.engine().is_none(), || "the engine does not die".to_owned());
        self
    }

    /// Waits until the engine has killed itself.
    pub(crate) fn engine_dies(&self) -> &Self {
        until(|| self.engine().is_none(), || "the engine does not die".to_owned());
        self
    }

    /// Asks the engine to end, and waits until it is gone.
    pub(crate) fn stop_engine(&self) -> &Self {
        self.run(&["server", "--stop"]).code(0);
        let lock = || process::of(self.root()).iter().any(|(_, line)| line.contains(" server "));
        until(|| !lock(), || "the engine does not end".to_owned());
        self
    }

    /// Users at this rate, until they are told to go.
    pub(crate) fn users(&self, per_second: u32) -> Users {
        Users::come(self, per_second)
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        process::end_all(self.root());
        // Instances work where their files really are.
        if let Some(directory) = &self.elsewhere {
            process::end_all(directory);
        }
    }
}

/// Waits for a condition; it is looked at again and again, and after too long the test fails with these words.
pub(crate) fn until(mut so: impl FnMut() -> bool, words: impl FnOnce() -> String) {
    let late = Instant::now() + PATIENCE;
    while !so() {
        assert!(Instant::now() < late, "after {} s: {}", PATIENCE.as_secs(), words());
        std::thread::sleep(Duration::from_millis(15));
    }
}

/// A port that nobody listens on, below those that the kernel gives out, so that no outgoing connection takes it.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = u16::try_from(std::process::id() % 120).expect("small") * 100;
    loop {
        let port = 18_000 + (start + NEXT.fetch_add(1, Ordering::Relaxed)) % 14_000;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}

fn pid(socket: &Path) -> Option<u32> {
    let status = http(UnixStream::connect(socket).ok()?, "GET", "/v1/status")?;
    u32::try_from(status["pid"].as_u64()?).ok()
}

/// One request; the answer's body as JSON.
fn http(mut stream: impl std::io::Read + std::io::Write, method: &str, path: &str) -> Option<Value> {
    write!(stream, "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

/// The standard gates, none of which waits for users.
const CARELESS: &str = "{error_rate: {on_no_evidence: continue}, latency_p95: {on_no_evidence: continue}, \
     latency_p99: {on_no_evidence: continue}, cpu: off, memory: off, request_rate: off}";

/// The one gate that the tests with users look at.
pub(crate) const ERRORS: &str = "{error_rate: {min_requests: 10, hold_max: 20s}, latency_p95: off, latency_p99: off, \
     cpu: off, memory: off, request_rate: off}";

const CONFIGURATION: &str = "\
version: 1
services:
  {service}:
    listen: 127.0.0.1:{port}
    run:
      command: {command}
      files: [version.txt]
      instances: {instances}
      ready: {ready}
      restart: {backoff: 50ms, backoff_max: 200ms, crash_loop: 3, crash_loop_window: 20s}
      stop: {grace: 1s}
    strategy: {strategy}
    gates: {gates}
    judgement: {judgement}
    metrics: {metrics}
    routing: {limits: {drain: 500ms, drain_websocket: 500ms}}
    watch: {watch}
    lease: {lease}
    {shadow}
    queue: {queue}
";
