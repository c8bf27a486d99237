//! What runs, as configured. Durations are milliseconds, sizes bytes.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use tidegate_core::plan::Back;
use tidegate_kubernetes::traffic::{HeaderValue, TesterMatch};

use super::blast::{Autoscale, Caps, NetworkPolicy, PodSecurity, Sizes};
pub(crate) use tidegate_proxy::protocol::{
    Container, EnvValue, ProbeKind as Probe, Readiness, Resources, StopPolicy as Stop,
};

/// What runs, and how it is kept.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawRun")]
pub(crate) struct Run {
    /// A command or a container.
    pub(crate) kind: RunKind,
    /// Instances at once, 1 to 64.
    pub(crate) instances: u32,
    /// When one may take traffic.
    pub(crate) ready: Readiness,
    /// What happens when one ends by itself.
    pub(crate) restart: Restart,
    /// How one is stopped.
    pub(crate) stop: Stop,
    /// What is kept of its output.
    pub(crate) log: Log,
    /// What 100 % of CPU and memory is.
    pub(crate) resources: Resources,
}

/// A command on this machine, or a container.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum RunKind {
    /// A process.
    Command(Command),
    /// A container on a Docker Engine.
    Container(Container),
    /// A Deployment on Kubernetes.
    Kubernetes(Box<Kubernetes>),
}

/// A Deployment on Kubernetes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Kubernetes {
    /// The file with the pod template, relative to the configuration's directory.
    pub(crate) manifest: String,
    /// The image by digest; `None` is the manifest's.
    pub(crate) image: Option<String>,
    /// The container that it is for; `None` is the only one.
    pub(crate) container: Option<String>,
    /// The users' Service.
    pub(crate) service: String,
    /// Its port.
    pub(crate) port: u16,
    /// The Service that reaches the release under way; `None` is made.
    pub(crate) preview: Option<String>,
    /// The Rollout of Argo Rollouts that serves before Tidegate does.
    pub(crate) adopt_rollout: Option<String>,
    /// The namespace.
    pub(crate) namespace: String,
    /// The context; `None` is the current one.
    pub(crate) context: Option<String>,
    /// The kubeconfig; `None` is the usual one.
    pub(crate) kubeconfig: Option<String>,
    /// Several places; none is the one above.
    pub(crate) cells: BTreeMap<String, Cell>,
    /// What goes back when a step fails in a later wave.
    pub(crate) turn_back: Back,
    /// Pods that carry all traffic.
    pub(crate) replicas: u32,
    /// What moves traffic.
    pub(crate) traffic: Traffic,
    /// Whose requests always reach the new release.
    #[serde(deserialize_with = "testers")]
    pub(crate) testers: Vec<TesterMatch>,
    /// Pods above.
    pub(crate) surge: super::Batch,
    /// Pods below.
    pub(crate) unavailable: super::Batch,
    /// Longest time without a further ready pod.
    pub(crate) progress_ms: u64,
    /// Smallest part of the stable pods for an instant way back.
    pub(crate) way_back_bp: u16,
    /// What pods may do.
    pub(crate) pod_security: PodSecurity,
    /// Whether pods get the token of their service account unasked.
    pub(crate) service_account_token: bool,
    /// What a container without requests and limits gets.
    pub(crate) resources: Sizes,
    /// Whether one pod stays when nodes are emptied.
    pub(crate) disruption_budget: bool,
    /// Who may reach the pods; `None` is everybody.
    pub(crate) network_policy: Option<NetworkPolicy>,
    /// Manifests of `ConfigMaps` and Secrets, relative to the configuration's directory.
    pub(crate) configs: Vec<String>,
    /// What changes the number of pods.
    pub(crate) autoscale: Autoscale,
    /// Bounds on what a strategy may do.
    pub(crate) caps: Caps,
}

/// One place of several; what is not said is the service's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Cell {
    /// The context.
    pub(crate) context: Option<String>,
    /// The kubeconfig.
    pub(crate) kubeconfig: Option<String>,
    /// The namespace.
    pub(crate) namespace: Option<String>,
    /// Where it is, for people.
    pub(crate) region: Option<String>,
    /// Its wave, from 1.
    pub(crate) wave: u16,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawTester {
    header: Option<String>,
    cookie: Option<String>,
    value: Option<String>,
    matches: Option<String>,
}

fn testers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<TesterMatch>, D::Error> {
    let tester = |raw: RawTester| match (raw.header, raw.cookie, raw.value, raw.matches) {
        (Some(name), None, Some(value), None) => {
            Ok(TesterMatch::Header { name, value: HeaderValue::Exact(value) })
        }
        (Some(name), None, None, Some(regex)) => {
            Ok(TesterMatch::Header { name, value: HeaderValue::Regex(regex) })
        }
        (None, Some(name), Some(value), None) => Ok(TesterMatch::Cookie { name, value }),
        _ => Err(D::Error::custom("a header with `value` or `matches`, or a cookie with `value`")),
    };
    Vec::<RawTester>::deserialize(deserializer)?.into_iter().map(tester).collect()
}

/// What moves traffic; at most one, none is the Service's selector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Traffic {
    /// A Gateway API `HTTPRoute`.
    pub(crate) http_route: Option<String>,
    /// An Istio `VirtualService`.
    pub(crate) virtual_service: Option<String>,
    /// The `DestinationRule` whose subsets it names, where they and not hosts tell the releases apart.
    pub(crate) destination_rule: Option<String>,
    /// An Ingress of ingress-nginx.
    pub(crate) ingress: Option<String>,
}

/// A process, started from an immutable copy of some of the project's files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Command {
    /// Program and arguments; `$PORT` is still in them.
    pub(crate) argv: Vec<String>,
    /// Files and folders to copy, relative to the configuration's directory.
    pub(crate) files: Vec<String>,
    /// Patterns of paths not to copy, beside `.git` and `.tidegate`.
    pub(crate) exclude: Vec<String>,
    /// Working directory inside the release.
    pub(crate) directory: String,
    /// User to run as; `None` is the proxy's own.
    pub(crate) user: Option<String>,
    /// Environment.
    pub(crate) env: BTreeMap<String, EnvValue>,
}

/// What happens when an instance ends by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Restart {
    /// First wait, doubled each time.
    pub(crate) backoff_ms: u64,
    /// Longest wait; never shorter than the first.
    pub(crate) backoff_max_ms: u64,
    /// Ends that make a crash loop.
    pub(crate) crash_loop: u32,
    /// Window they are counted in.
    pub(crate) crash_loop_window_ms: u64,
}

/// What is kept of an instance's output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Log {
    /// A larger file is rotated.
    pub(crate) size_max_bytes: u64,
    /// Rotated files kept.
    pub(crate) files_max: u32,
}

/// `run` as the table of fields has it: what belongs to the command stands beside it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRun {
    command: Option<Vec<String>>,
    container: Option<RawContainer>,
    kubernetes: Option<Kubernetes>,
    files: Option<Vec<String>>,
    exclude: Option<Vec<String>>,
    directory: Option<String>,
    user: Option<String>,
    env: Option<BTreeMap<String, EnvValue>>,
    instances: Option<u32>,
    #[serde(deserialize_with = "readiness")]
    ready: Readiness,
    restart: Restart,
    stop: Stop,
    log: Log,
    resources: Resources,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawContainer {
    image: String,
    port: u16,
    argv: Vec<String>,
    env: BTreeMap<String, EnvValue>,
    socket: Option<String>,
    memory_bytes: Option<u64>,
    instances: u32,
}

impl TryFrom<RawRun> for Run {
    type Error = &'static str;

    fn try_from(raw: RawRun) -> Result<Self, Self::Error> {
        let (kind, instances) = match (raw.command, raw.container, raw.kubernetes) {
            (Some(argv), None, None) => {
                let (Some(files), Some(exclude), Some(directory), Some(env), Some(instances)) =
                    (raw.files, raw.exclude, raw.directory, raw.env, raw.instances)
                else {
                    return Err("a default beside `command` is missing");
                };
                let command = Command { argv, files, exclude, directory, user: raw.user, env };
                (RunKind::Command(command), instances)
            }
            (None, Some(container), None) => {
                let RawContainer { image, port, argv, env, socket, memory_bytes, instances } = container;
                (RunKind::Container(Container { image, port, argv, env, socket, memory_bytes }), instances)
            }
            (None, None, Some(kubernetes)) => {
                let replicas = kubernetes.replicas;
                (RunKind::Kubernetes(Box::new(kubernetes)), replicas)
            }
            _ => return Err("exactly one of `command`, `container` and `kubernetes`"),
        };
        let (ready, restart, stop, log, resources) =
            (raw.ready, raw.restart, raw.stop, raw.log, raw.resources);
        Ok(Self { kind, instances, ready, restart, stop, log, resources })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawReadiness {
    http: Option<String>,
    tcp: Option<bool>,
    interval_ms: u64,
    timeout_ms: u64,
    successes: u32,
    min_healthy_ms: u64,
    deadline_ms: u64,
}

fn readiness<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Readiness, D::Error> {
    let raw = RawReadiness::deserialize(deserializer)?;
    let probe = match (raw.http, raw.tcp) {
        (Some(path), None) => Probe::Http(path),
        (None, Some(true)) => Probe::Tcp,
        (Some(_) | None, _) => return Err(D::Error::custom("exactly one of `http` and `tcp`")),
    };
    let RawReadiness { interval_ms, timeout_ms, successes, min_healthy_ms, deadline_ms, .. } = raw;
    Ok(Readiness { probe, interval_ms, timeout_ms, successes, min_healthy_ms, deadline_ms })
}
