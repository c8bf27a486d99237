//! The instances of one release that the supervisor keeps running.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The wanted state of one release's instances. `instances: 0` drains and stops them and keeps the entry.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// Fencing: the owner's epoch; a lower one than the entry in force is refused.
    pub epoch: u64,
    /// Order within an epoch, as for tables.
    pub generation: u64,
    /// How many instances are wanted.
    pub instances: u32,
    /// What to run.
    pub kind: RunKind,
    /// When an instance counts as ready.
    pub ready: Readiness,
    /// What to do when an instance ends by itself.
    #[serde(default)]
    pub restart: RestartPolicy,
    /// How an instance is stopped.
    #[serde(default)]
    pub stop: StopPolicy,
    /// Where its output goes.
    #[serde(default)]
    pub log: LogPolicy,
    /// What "100 %" of CPU and memory means for the gates.
    #[serde(default)]
    pub resources: Resources,
}

/// What an instance is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum RunKind {
    /// A process on this machine.
    Command(Command),
    /// A container on a Docker Engine.
    Container(Container),
}

/// A process on this machine. `$PORT` and `${PORT}` in `argv` and `env` become the instance's port; no shell is involved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// Program and arguments. A program without `/` is looked up in the release directory first, then in `PATH`.
    pub argv: Vec<String>,
    /// Environment, beside `PATH`, `HOME`, `LANG`, `TZ` of the proxy and `PORT`; nothing else is inherited. With `user`,
    /// `HOME` and `USER` are that user's. `TIDEGATE_INSTANCE` and `TIDEGATE_DATA` are added: by them the supervisor finds
    /// its processes again.
    #[serde(default)]
    pub env: BTreeMap<String, EnvValue>,
    /// Absolute directory that the process starts in: the immutable release directory or a folder in it.
    pub directory: String,
    /// User to run as, by name or number; `None` is the proxy's own. Needs a proxy that runs as root.
    #[serde(default)]
    pub user: Option<String>,
}

/// A container on a Docker Engine. The port is published on loopback at the instance's port.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Container {
    /// Image with its digest, `name@sha256:…`, or an image id of the engine, `sha256:…` (an image built there has no
    /// digest); a moving tag is refused.
    pub image: String,
    /// Arguments, when the image's own are not wanted.
    #[serde(default)]
    pub argv: Vec<String>,
    /// Environment beside `PORT`.
    #[serde(default)]
    pub env: BTreeMap<String, EnvValue>,
    /// The port that the program in the container listens on; also its `PORT`.
    pub port: u16,
    /// The engine's socket; `None` is `DOCKER_HOST`, else `/var/run/docker.sock`.
    #[serde(default)]
    pub socket: Option<String>,
    /// Memory limit in bytes given to the engine.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
}

/// Where an environment variable's value comes from. Values from files never enter a journal, a table or a log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum EnvValue {
    /// A plain value.
    Value(String),
    /// The content of this file at the instance's start, without a trailing newline.
    File(String),
}

/// When an instance counts as ready: `successes` probes in a row, `min_healthy_ms` after the first of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Readiness {
    /// What is probed.
    pub probe: ProbeKind,
    /// Time between probes, milliseconds.
    pub interval_ms: u64,
    /// A probe that takes longer fails, milliseconds.
    pub timeout_ms: u64,
    /// Successes in a row.
    pub successes: u32,
    /// Time it must stay healthy before it counts as ready, milliseconds.
    pub min_healthy_ms: u64,
    /// An instance that is not ready this long after its start has failed, milliseconds.
    pub deadline_ms: u64,
}

/// What a readiness probe does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ProbeKind {
    /// HTTP GET of a path on the instance's port; 2xx or 3xx is a success.
    Http(String),
    /// The port accepts a connection.
    Tcp,
}

/// What to do when an instance ends by itself: wait `backoff_ms`, doubled each time up to `backoff_max_ms`, start again.
/// After `crash_loop_count` ends within `crash_loop_window_ms` the instance is reported as crash-looping (it is still
/// restarted, at the longest back-off). The count falls back to zero after one window without an end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RestartPolicy {
    /// First wait, milliseconds.
    pub backoff_ms: u64,
    /// Longest wait, milliseconds.
    pub backoff_max_ms: u64,
    /// Ends that make a crash loop.
    pub crash_loop_count: u32,
    /// Window they are counted in, milliseconds.
    pub crash_loop_window_ms: u64,
}

impl Default for RestartPolicy {
    fn default() -> Self {
        Self { backoff_ms: 200, backoff_max_ms: 30_000, crash_loop_count: 3, crash_loop_window_ms: 60_000 }
    }
}

/// How an instance is stopped: it is taken out of traffic and drained, gets `signal`, and is killed with its whole
/// process group after `grace_ms`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct StopPolicy {
    /// `TERM`, `INT`, `QUIT` or `HUP`.
    pub signal: String,
    /// Time between the signal and the kill, milliseconds.
    pub grace_ms: u64,
}

impl Default for StopPolicy {
    fn default() -> Self {
        Self { signal: "TERM".to_owned(), grace_ms: 10_000 }
    }
}

/// Output of instances: one file per instance, rotated.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogPolicy {
    /// A file larger than this is rotated, bytes.
    pub size_max: u64,
    /// Rotated files kept per instance.
    pub files_max: u32,
}

impl Default for LogPolicy {
    fn default() -> Self {
        Self { size_max: 10 * 1024 * 1024, files_max: 3 }
    }
}

/// What "100 %" of CPU and memory means for one instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Resources {
    /// Thousandths of a core; `None` is the whole machine.
    pub cpu_milli: Option<u32>,
    /// Bytes; `None` is the machine's memory.
    pub memory_bytes: Option<u64>,
}

/// One release's instances as they are.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RunStatus {
    /// The service.
    pub service: String,
    /// The release.
    pub release: String,
    /// Epoch in force.
    pub epoch: u64,
    /// Generation in force.
    pub generation: u64,
    /// Instances wanted.
    pub wanted: u32,
    /// Instances, by number.
    pub instances: Vec<InstanceStatus>,
}

/// One instance as it is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InstanceStatus {
    /// `{service}/{release}/{number}`.
    pub id: String,
    /// Process id (of the container's first process for a container), when it runs.
    pub pid: Option<u32>,
    /// `IP:port`, once one is given.
    pub address: Option<String>,
    /// Where it is in its life.
    pub state: InstanceState,
    /// When it entered that state, milliseconds since the Unix epoch.
    pub since_unix_ms: i64,
    /// Ends by itself within the crash-loop window.
    pub restarts: u32,
    /// Ends by itself since it is there; never falls. A proxy of before this was counted says nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_total: Option<u32>,
    /// Why it ended last: `exit code 3`, `killed by signal 9`, `not ready within 30 s: connection refused`.
    pub last_end: Option<String>,
    /// The last lines it wrote before it ended, at most 2 KiB.
    pub last_output: Option<String>,
    /// CPU time used by its whole process tree since its start, milliseconds; falls back to 0 on restart.
    pub cpu_ms: u64,
    /// Resident memory of its whole process tree, bytes.
    pub rss_bytes: u64,
    /// What 100 % of CPU is, thousandths of a core.
    pub cpu_limit_milli: u32,
    /// What 100 % of memory is, bytes.
    pub memory_limit_bytes: u64,
    /// Path of its current log file.
    pub log: String,
}

/// Where an instance is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum InstanceState {
    /// Started, not ready yet.
    Starting,
    /// Ready: may take traffic.
    Ready,
    /// Was ready, its probe fails now.
    Unready,
    /// Ended by itself, waits to be started again.
    BackingOff,
    /// Ended too often; waits the longest back-off between starts.
    CrashLooping,
    /// Out of traffic, finishing requests.
    Draining,
    /// Got its signal.
    Stopping,
    /// Gone, and not wanted.
    Stopped,
    /// Could not be started at all: `last_end` says why (command not found, not executable, no such user).
    Failed,
}
