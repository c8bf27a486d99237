//! A Docker Engine for the tests: the machine's own when it answers, else a private one for as long as the tests run.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use crate::step;

/// Longest wait for the private engine to answer.
const START_MAX: Duration = Duration::from_mins(1);
/// Time between two questions whether it answers.
const ASK_INTERVAL: Duration = Duration::from_millis(200);
/// Longest wait for one answer, and for the engine to end.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// An engine that answers. A private one is ended, and its files are removed, when this is dropped.
pub(crate) enum Engine {
    /// Somebody runs one where clients look for it anyway.
    Found,
    /// Ours.
    Private(Private),
}

/// A `dockerd` with its own socket and its own files.
pub(crate) struct Private {
    folder: PathBuf,
    daemon: Child,
}

impl Engine {
    /// Finds an engine or starts one.
    pub(crate) fn ready() -> anyhow::Result<Self> {
        let host = std::env::var("DOCKER_HOST").unwrap_or_else(|_| "unix:///var/run/docker.sock".to_owned());
        match host.strip_prefix("unix://") {
            Some(socket) if !answers(Path::new(socket)) => Private::start().map(Self::Private),
            Some(_) | None => Ok(Self::Found),
        }
    }

    /// What `DOCKER_HOST` must be for the tests, unless it is right already.
    pub(crate) fn host(&self) -> Option<String> {
        match self {
            Self::Found => None,
            Self::Private(private) => Some(format!("unix://{}", private.socket().display())),
        }
    }
}

impl Private {
    fn start() -> anyhow::Result<Self> {
        // Not below the target directory: the path of a Unix socket is limited to 107 bytes.
        let folder = std::env::temp_dir().join(format!("tidegate-engine-{}", std::process::id()));
        std::fs::create_dir_all(&folder).with_context(|| format!("could not create {}", folder.display()))?;
        let log = std::fs::File::create(folder.join("log"))?;
        let daemon = dockerd(&folder)?
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("could not start `dockerd`; start a Docker Engine yourself and set DOCKER_HOST")?;
        eprintln!("engine: no Docker Engine answers, so the tests get a private one in {}", folder.display());
        let mut private = Self { folder, daemon };
        private.wait()?;
        Ok(private)
    }

    fn socket(&self) -> PathBuf {
        self.folder.join("docker.sock")
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let started = Instant::now();
        while !answers(&self.socket()) {
            let ended = self.daemon.try_wait()?;
            if ended.is_some() || started.elapsed() > START_MAX {
                let log = std::fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                let tail: Vec<&str> = log.lines().rev().take(5).collect();
                bail!(
                    "the private Docker Engine did not come up; start one yourself and set DOCKER_HOST. It said:\n{}",
                    tail.into_iter().rev().collect::<Vec<_>>().join("\n")
                );
            }
            std::thread::sleep(ASK_INTERVAL);
        }
        Ok(())
    }

    /// Asks the daemon to end; it stops its containers first. With `sudo` it is not our child that has to be asked, so
    /// its own file with the process id is read.
    fn stop(&mut self) -> anyhow::Result<()> {
        let pid = std::fs::read_to_string(self.folder.join("pid"))
            .context("could not read the engine's process id")?;
        let mut kill = privileged("kill")?;
        kill.args(["-TERM", pid.trim()]).stderr(Stdio::null()).status()?;
        let asked = Instant::now();
        while self.daemon.try_wait()?.is_none() {
            if asked.elapsed() > ANSWER_MAX {
                self.daemon.kill()?;
            }
            std::thread::sleep(ASK_INTERVAL);
        }
        privileged("rm")?.arg("-rf").arg(&self.folder).status()?;
        Ok(())
    }
}

impl Drop for Private {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            eprintln!("engine: could not clean up {}: {error:#}", self.folder.display());
        }
    }
}

fn dockerd(folder: &Path) -> anyhow::Result<Command> {
    let mut command = privileged("dockerd")?;
    for (option, name) in [("--data-root", "data"), ("--exec-root", "exec"), ("--pidfile", "pid")] {
        command.arg(option).arg(folder.join(name));
    }
    command.arg("--host").arg(format!("unix://{}", folder.join("docker.sock").display()));
    command.arg("--group").arg(rustix::process::getgid().as_raw().to_string());
    Ok(command)
}

/// The program, run as root.
fn privileged(name: &str) -> anyhow::Result<Command> {
    let path = step::find(name).with_context(|| format!("there is no `{name}`"))?;
    if rustix::process::geteuid().is_root() {
        return Ok(Command::new(path));
    }
    let mut command = Command::new("sudo");
    command.arg(path);
    Ok(command)
}

/// Whether an engine answers on this socket.
fn answers(socket: &Path) -> bool {
    ping(socket).is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"))
}

fn ping(socket: &Path) -> std::io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(ANSWER_MAX))?;
    stream.write_all(b"GET /_ping HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
