//! Containers on a Docker Engine, reached through its Unix socket.
//!
//! The engine keeps a container running without us; its labels say whose it is. Images are fetched by others: one that
//! is missing is told, not pulled.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, ContainerState, HostConfig, HostConfigLogConfig, PortBinding};
use bollard::query_parameters::{
    CreateContainerOptions, InspectContainerOptions, KillContainerOptionsBuilder,
    ListContainersOptionsBuilder, LogsOptionsBuilder, RemoveContainerOptionsBuilder, StartContainerOptions,
    WaitContainerOptions,
};
use bollard::{API_DEFAULT_VERSION, Docker};
use futures_util::StreamExt;
use tokio::task::{JoinHandle, spawn_local};

use crate::protocol::Container;

use super::launch::{LaunchError, env_value, with_port};
use super::log;
use super::proc_table::{self, boot_ms};
use super::process::Mark;

/// Where the engine listens unless told otherwise.
const SOCKET_DEFAULT: &str = "/var/run/docker.sock";
/// Longest wait for the engine's answer to one request.
const ENGINE_TIMEOUT_S: u64 = 30;
/// Pause before an engine that does not answer is asked again.
const ENGINE_PAUSE: Duration = Duration::from_secs(1);
/// Attempts at an engine that does not answer before its container is given up.
const ENGINE_ATTEMPTS_MAX: u32 = 30;
/// How long a container's last output may take to arrive after its end.
const LAST_OUTPUT_WAIT: Duration = Duration::from_secs(1);
/// The engine's own copy of the output, which nobody reads twice.
const ENGINE_LOG_SIZE: &str = "1m";
/// Label with the data directory's name.
const LABEL_DATA: &str = "tidegate.data";
/// Label with the instance.
const LABEL_INSTANCE: &str = "tidegate.instance";

/// A container of an instance, running or ended.
#[derive(Debug)]
pub(super) struct Held {
    engine: Docker,
    id: String,
    pid: Option<u32>,
    started_boot_ms: u64,
    /// Copies its output to the log; ends with the output.
    follower: RefCell<JoinHandle<()>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        self.follower.borrow().abort();
    }
}

/// Creates and starts a container whose `port` is published at loopback `host_port`.
pub(super) async fn start(
    container: &Container,
    host_port: u16,
    mark: &Mark,
    log: &Path,
) -> Result<Held, LaunchError> {
    let engine = connect(container).await?;
    remove_left_over(&engine, mark).await;
    let body = body(container, host_port, mark)?;
    let created = engine.create_container(None::<CreateContainerOptions>, body).await;
    let id = created.map_err(|error| explain(container, &error))?.id;
    let started = engine.start_container(&id, None::<StartContainerOptions>).await;
    if let Err(error) = started {
        remove(&engine, &id).await;
        return Err(explain(container, &error));
    }
    let state = inspect(&engine, &id).await.ok().flatten();
    Ok(Held::new(engine, id, state.as_ref(), log, 0))
}

impl Held {
    /// Takes hold of a container known by its id; `None` when the engine does not have it.
    pub(super) async fn adopt(container: &Container, id: &str, log: &Path) -> Option<Self> {
        let engine = reach(container).await?;
        let state = inspect_patiently(&engine, id).await?;
        Some(Self::new(engine, id.to_owned(), Some(&state), log, last_written_s(log)))
    }

    /// Finds a container that was started but not recorded, by its labels.
    pub(super) async fn find(container: &Container, mark: &Mark, log: &Path) -> Option<Self> {
        let engine = connect(container).await.ok()?;
        for id in labelled(&engine, mark).await {
            if let Ok(Some(state)) = inspect(&engine, &id).await
                && state.running == Some(true)
            {
                return Some(Self::new(engine, id, Some(&state), log, last_written_s(log)));
            }
        }
        None
    }

    fn new(engine: Docker, id: String, state: Option<&ContainerState>, log: &Path, since_s: i32) -> Self {
        let pid = state.and_then(|state| u32::try_from(state.pid?).ok()).filter(|pid| *pid != 0);
        let process = pid.and_then(proc_table::read);
        let started_boot_ms =
            process.map_or_else(boot_ms, |process| proc_table::ticks_to_ms(process.start_ticks));
        let follower = RefCell::new(spawn_local(follow(engine.clone(), id.clone(), log.to_owned(), since_s)));
        // Without the engine's processes in view (another process namespace) there is no id to tell.
        Self { engine, id, pid: process.map(|process| process.pid), started_boot_ms, follower }
    }

    /// The engine's name for it.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Its first process, when it is in view.
    pub(super) const fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// When it started, milliseconds since boot.
    pub(super) const fn started_boot_ms(&self) -> u64 {
        self.started_boot_ms
    }

    /// Waits for its end. An engine that does not answer says nothing about the container, so it is asked again.
    pub(super) async fn ended(&self) -> String {
        loop {
            {
                // Whatever it answers, the state below is what counts.
                let waited = self.engine.wait_container(&self.id, None::<WaitContainerOptions>);
                let _answer = std::pin::pin!(waited).next().await;
            }
            match inspect(&self.engine, &self.id).await {
                Ok(None) => return "ended (the container was removed by someone else)".to_owned(),
                Ok(Some(state)) if state.running != Some(true) => return end_of(&state),
                Ok(Some(_)) | Err(_) => tokio::time::sleep(ENGINE_PAUSE).await,
            }
        }
    }

    /// Sends a signal to its first process.
    pub(super) async fn signal(&self, signal: &str) {
        let options = KillContainerOptionsBuilder::default().signal(&format!("SIG{signal}")).build();
        if let Err(error) = self.engine.kill_container(&self.id, Some(options)).await {
            tracing::debug!(id = self.id, %error, "could not signal the container");
        }
    }

    /// Kills what runs of it, takes its last output and removes it; says how it ended.
    pub(super) async fn clear(&self) -> Option<String> {
        if inspect_patiently(&self.engine, &self.id).await?.running == Some(true) {
            self.signal("KILL").await;
        }
        let mut follower = self.follower.replace(spawn_local(async {}));
        if tokio::time::timeout(LAST_OUTPUT_WAIT, &mut follower).await.is_err() {
            follower.abort();
        }
        let state = inspect_patiently(&self.engine, &self.id).await;
        remove(&self.engine, &self.id).await;
        state.as_ref().map(end_of)
    }
}

async fn connect(container: &Container) -> Result<Docker, LaunchError> {
    let socket = match &container.socket {
        Some(socket) => socket.clone(),
        None => std::env::var("DOCKER_HOST").unwrap_or_else(|_| SOCKET_DEFAULT.to_owned()),
    };
    let path = socket.strip_prefix("unix://").unwrap_or(&socket);
    if !path.starts_with('/') {
        return Err(LaunchError::Hopeless(format!(
            "the engine's address `{socket}` is not a Unix socket: set `socket` or DOCKER_HOST to its path"
        )));
    }
    let later = |error: &Error| {
        LaunchError::Later(format!(
            "cannot reach the container engine at {path}: {error}: start it, or correct `socket`"
        ))
    };
    let engine =
        Docker::connect_with_unix(path, ENGINE_TIMEOUT_S, API_DEFAULT_VERSION).map_err(|e| later(&e))?;
    engine.negotiate_version().await.map_err(|e| later(&e))
}

/// Asks until the engine answers; `None` when it does not for long, or never can.
async fn reach(container: &Container) -> Option<Docker> {
    for _ in 0..ENGINE_ATTEMPTS_MAX {
        match connect(container).await {
            Ok(engine) => return Some(engine),
            Err(LaunchError::Hopeless(_)) => return None,
            Err(LaunchError::Later(_)) => tokio::time::sleep(ENGINE_PAUSE).await,
        }
    }
    None
}

/// Asks until the engine answers; `None` when it does not for long, or does not know the container.
async fn inspect_patiently(engine: &Docker, id: &str) -> Option<ContainerState> {
    for _ in 0..ENGINE_ATTEMPTS_MAX {
        match inspect(engine, id).await {
            Ok(state) => return state,
            Err(_) => tokio::time::sleep(ENGINE_PAUSE).await,
        }
    }
    tracing::warn!(id, "the container engine does not answer, the container is left alone");
    None
}

fn body(container: &Container, host_port: u16, mark: &Mark) -> Result<ContainerCreateBody, LaunchError> {
    let mut env = Vec::new();
    for (name, value) in &container.env {
        let value = env_value(name, value, container.port)?;
        env.push(format!("{name}={}", value.to_string_lossy()));
    }
    env.push(format!("PORT={}", container.port));
    let argv: Vec<String> =
        container.argv.iter().map(|argument| with_port(argument, container.port)).collect();
    let exposed = format!("{}/tcp", container.port);
    let binding =
        PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: Some(host_port.to_string()) };
    let host_config = HostConfig {
        memory: container.memory_bytes.map(|bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
        port_bindings: Some(HashMap::from([(exposed.clone(), Some(vec![binding]))])),
        log_config: Some(HostConfigLogConfig {
            typ: Some("json-file".to_owned()),
            config: Some(HashMap::from([("max-size".to_owned(), ENGINE_LOG_SIZE.to_owned())])),
        }),
        ..HostConfig::default()
    };
    Ok(ContainerCreateBody {
        image: Some(container.image.clone()),
        cmd: (!argv.is_empty()).then_some(argv),
        env: Some(env),
        exposed_ports: Some(vec![exposed]),
        labels: Some(labels(mark)),
        host_config: Some(host_config),
        ..ContainerCreateBody::default()
    })
}

fn labels(mark: &Mark) -> HashMap<String, String> {
    let mut parts = mark.instance.split('/');
    let mut part = || parts.next().unwrap_or_default().to_owned();
    HashMap::from([
        (LABEL_DATA.to_owned(), mark.data.clone()),
        (LABEL_INSTANCE.to_owned(), mark.instance.clone()),
        ("tidegate.service".to_owned(), part()),
        ("tidegate.release".to_owned(), part()),
    ])
}

/// `None` when the engine does not know it.
async fn inspect(engine: &Docker, id: &str) -> Result<Option<ContainerState>, Error> {
    match engine.inspect_container(id, None::<InspectContainerOptions>).await {
        Ok(found) => Ok(Some(found.state.unwrap_or_default())),
        Err(Error::DockerResponseServerError { status_code: 404, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

async fn labelled(engine: &Docker, mark: &Mark) -> Vec<String> {
    let label = |name: &str, value: &str| format!("{name}={value}");
    let wanted = vec![label(LABEL_DATA, &mark.data), label(LABEL_INSTANCE, &mark.instance)];
    let filters = HashMap::from([("label".to_owned(), wanted)]);
    let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    let found = engine.list_containers(Some(options)).await.unwrap_or_default();
    found.into_iter().filter_map(|summary| summary.id).collect()
}

async fn remove_left_over(engine: &Docker, mark: &Mark) {
    for id in labelled(engine, mark).await {
        remove(engine, &id).await;
    }
}

async fn remove(engine: &Docker, id: &str) {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    if let Err(error) = engine.remove_container(id, Some(options)).await {
        tracing::warn!(id, %error, "could not remove the container");
    }
}

/// Appends the output to the log until it ends; goes on after an engine that was away.
async fn follow(engine: Docker, id: String, log: PathBuf, mut since_s: i32) {
    loop {
        let options =
            LogsOptionsBuilder::default().follow(true).stdout(true).stderr(true).since(since_s).build();
        let mut output = std::pin::pin!(engine.logs(&id, Some(options)));
        loop {
            match output.next().await {
                None | Some(Err(Error::DockerResponseServerError { .. })) => return,
                Some(Err(_)) => break,
                Some(Ok(part)) => append(&log, part.as_ref()),
            }
        }
        tokio::time::sleep(ENGINE_PAUSE).await;
        since_s = last_written_s(&log);
    }
}

fn append(log: &Path, bytes: &[u8]) {
    let written = log::open(log).and_then(|(mut file, _)| file.write_all(bytes));
    if let Err(error) = written {
        tracing::warn!(log = %log.display(), %error, "could not write a container's output");
    }
}

/// From when output is missing: the log's last change, to the second; what was written in that second comes twice.
fn last_written_s(log: &Path) -> i32 {
    let changed = fs::metadata(log).and_then(|meta| meta.modified()).ok();
    let since = changed.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    since.and_then(|since| i32::try_from(since.as_secs()).ok()).unwrap_or(0)
}

fn end_of(state: &ContainerState) -> String {
    let code = state.exit_code.unwrap_or_default();
    if state.oom_killed == Some(true) {
        return "killed by signal 9: out of memory, raise its memory limit".to_owned();
    }
    // Engines report a death by signal as 128 and the signal's number.
    match code - 128 {
        signal @ 1..=64 => format!("killed by signal {signal}"),
        _ => format!("exit code {code}"),
    }
}

fn explain(container: &Container, error: &Error) -> LaunchError {
    let Error::DockerResponseServerError { status_code, message } = error else {
        return LaunchError::Later(format!("the container engine did not answer as expected: {error}"));
    };
    match status_code {
        404 => LaunchError::Hopeless(format!(
            "no such image: {} is not on this engine: pull or load it first ({message})",
            container.image
        )),
        // A command or an option that the engine cannot accept stays so.
        400 => LaunchError::Hopeless(format!("the container engine refused it: {message}")),
        _ => LaunchError::Later(format!("the container engine could not start it: {message}")),
    }
}
