//! A data directory with services, driven through the real program as a user drives it; nothing is left of it afterwards.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::package;
use crate::scratch::Scratch;

/// Longest wait for an answer on a socket.
const ANSWER_MAX: Duration = Duration::from_secs(30);
/// Time between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(5);
/// Rounds of killing at the end: an engine that is just starting a proxy needs a second one.
const SWEEPS_MAX: usize = 400;

/// Engine, proxy and instances of one data directory, all in one temporary folder.
pub(crate) struct House {
    scratch: Scratch,
    program: PathBuf,
}

/// A service as a project describes it.
pub(crate) struct Service<'a> {
    pub(crate) name: &'a str,
    pub(crate) listen: u16,
    /// YAML of `run.command`.
    pub(crate) command: &'a str,
    /// YAML of `strategy`.
    pub(crate) strategy: &'a str,
    /// Further keys of the service, each a line of its own.
    pub(crate) more: &'a str,
    /// What makes this release another than the one before.
    pub(crate) version: &'a str,
}

/// Who answers on a socket.
#[derive(Clone, Copy)]
pub(crate) enum Peer {
    Engine,
    Proxy,
}

impl House {
    /// Builds the program as users do, and makes room for it.
    pub(crate) fn build(what: &str) -> anyhow::Result<Self> {
        let program = package::release("tidegate", "tidegate")?;
        Ok(Self { scratch: Scratch::new(what)?, program })
    }

    /// The program.
    pub(crate) fn program(&self) -> &Path {
        &self.program
    }

    /// The temporary folder.
    pub(crate) fn root(&self) -> &Path {
        self.scratch.path()
    }

    /// The data directory.
    pub(crate) fn data(&self) -> PathBuf {
        self.root().join("d")
    }

    /// Writes a service's project into this folder and gives back its configuration.
    pub(crate) fn write(&self, folder: &str, service: &Service<'_>) -> anyhow::Result<PathBuf> {
        let folder = self.root().join(folder);
        std::fs::create_dir_all(&folder)?;
        let Service { name, listen, command, strategy, more, version } = service;
        let text = format!(
            "version: 1\nservices:\n  {name}:\n    listen: 127.0.0.1:{listen}\n    run:\n      command: {command}\n      \
             files: [version.txt]\n      ready: {{http: /healthz, interval: 50ms, timeout: 2s, successes: 1, \
             min_healthy: 0s, deadline: 30s}}\n      stop: {{grace: 2s}}\n    strategy: {strategy}\n{more}"
        );
        let config = folder.join("tidegate.yaml");
        std::fs::write(folder.join("version.txt"), version)?;
        std::fs::write(&config, text)?;
        Ok(config)
    }

    /// The program with these arguments, in this data directory.
    pub(crate) fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--data").arg(self.data()).current_dir(self.root()).stdin(Stdio::null());
        for name in ["TIDEGATE_FILE", "TIDEGATE_FAULT", "TIDEGATE_LOG"] {
            command.env_remove(name);
        }
        command
    }

    /// Runs the program to its end.
    pub(crate) fn run(&self, arguments: &[&str]) -> anyhow::Result<Output> {
        self.command(arguments).output().context("could not start the program")
    }

    /// Runs the program, which must succeed, and reads the JSON that it prints.
    pub(crate) fn json(&self, arguments: &[&str]) -> anyhow::Result<Value> {
        let output = self.run(&[arguments, &["--json"]].concat())?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            bail!("`tidegate {}` ended with {}: {}", arguments.join(" "), output.status, said.trim());
        }
        serde_json::from_slice(&output.stdout).context("could not read what the program printed")
    }

    /// Starts an engine in the background, with a fault if one is given.
    pub(crate) fn start_engine(&self, fault: Option<&str>) -> anyhow::Result<std::process::Child> {
        let log =
            std::fs::OpenOptions::new().create(true).append(true).open(self.root().join("engine.log"))?;
        let mut command = self.command(&["server"]);
        if let Some(fault) = fault {
            command.env("TIDEGATE_FAULT", fault);
        }
        command.stdout(log.try_clone()?).stderr(log).spawn().context("could not start the engine")
    }

    /// Asks the engine or the proxy.
    pub(crate) fn ask(&self, peer: Peer, path: &str) -> anyhow::Result<Value> {
        self.exchange(peer, "GET", path, "").map(|(_, body)| body)
    }

    /// Asks something of the engine, which must agree.
    pub(crate) fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        let (status, answer) = self.exchange(Peer::Engine, "POST", path, &body.to_string())?;
        if status != 200 {
            bail!("the engine answered {status} to {path}: {answer}");
        }
        Ok(answer)
    }

    /// One request; the answer's status and what it says.
    fn exchange(&self, peer: Peer, method: &str, path: &str, body: &str) -> anyhow::Result<(u16, Value)> {
        let socket = match peer {
            Peer::Engine => self.data().join("engine.sock"),
            Peer::Proxy => self.data().join("proxy/admin.sock"),
        };
        let mut stream = UnixStream::connect(&socket)
            .with_context(|| format!("nobody answers at {}", socket.display()))?;
        stream.set_read_timeout(Some(ANSWER_MAX))?;
        let length = body.len();
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n{body}"
        )?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no body")?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        let body =
            serde_json::from_str(body).with_context(|| format!("could not read the answer to {path}"))?;
        Ok((status.context("the answer has no status")?, body))
    }

    /// The process that answers; `None` when none does.
    pub(crate) fn pid(&self, peer: Peer) -> Option<u32> {
        let status = self.ask(peer, "/v1/status").ok()?;
        u32::try_from(status.get("pid")?.as_u64()?).ok()
    }
}

impl Drop for House {
    fn drop(&mut self) {
        for _ in 0..SWEEPS_MAX {
            let all = processes(self.root());
            if all.is_empty() {
                return;
            }
            for pid in all {
                kill(pid);
            }
            std::thread::sleep(LOOK);
        }
        eprintln!("some processes of {} could not be ended", self.root().display());
    }
}

/// `kill -9`.
pub(crate) fn kill(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // One that is gone already is as good.
        let _ = rustix::process::kill_process(pid, Signal::KILL);
    }
}

/// Waits until something is there.
pub(crate) fn wait_for<T>(
    what: &str,
    most: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> anyhow::Result<T> {
    let late = Instant::now() + most;
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if Instant::now() > late {
            bail!("{what} did not come within {} s", most.as_secs());
        }
        std::thread::sleep(LOOK);
    }
}

/// Every process but this one whose command line names this folder, or that works in it, as instances do.
fn processes(folder: &Path) -> Vec<u32> {
    // The system names a working directory without links.
    let real = std::fs::canonicalize(folder).unwrap_or_else(|_| folder.to_owned());
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let ours = |entry: &std::fs::DirEntry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let works_in = std::fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(&real));
        // A process that has ended and was not waited for has no command line.
        !line.is_empty() && (works_in || String::from_utf8_lossy(&line).contains(&*folder.to_string_lossy()))
    };
    entries
        .flatten()
        .filter(ours)
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != std::process::id())
        .collect()
}

/// Loopback ports that nobody listens on, below those that the kernel gives out to connections.
pub(crate) fn ports(count: usize) -> anyhow::Result<Vec<u16>> {
    let start = 10_000 + u16::try_from(std::process::id() % 50)? * 100;
    let free = (start..18_000).filter(|port| std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok());
    let free: Vec<u16> = free.take(count).collect();
    if free.len() < count {
        bail!("there are not {count} free ports");
    }
    Ok(free)
}
