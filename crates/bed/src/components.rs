//! The programs of a control plane and what each is told.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use serde_json::json;

use crate::authority::{Authority, TokenKey};
use crate::nodes::FAKE;
use crate::{BedError, Options, gateway, stages};

/// One program of the control plane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Component {
    /// The store.
    Etcd,
    /// The API server.
    ApiServer,
    /// Deployments and what they own, endpoints, quotas, garbage collection and the rest.
    ControllerManager,
    /// What gives pods to nodes.
    Scheduler,
    /// What plays the nodes.
    Kwok,
    /// The controller of Argo Rollouts, once it was installed.
    ArgoRollouts,
    /// Istio's control plane, once a gateway was installed.
    Istiod,
    /// The gateway that it tells where requests go, once one was installed.
    Envoy,
}

/// First address of the services' range.
pub(crate) const FIRST_SERVICE: Ipv4Addr = Ipv4Addr::new(10, 128, 0, 1);
/// A million Services.
const SERVICES: &str = "10.128.0.0/12";
/// Eight million pods, outside the services' range.
pub(crate) const PODS: &str = "10.0.0.0/9";
/// The controllers' own limits, so high that they are never what a test measures.
const CLIENT_QPS: u32 = 2_000;
const CLIENT_BURST: u32 = 4_000;
/// How many Deployments, and how many `ReplicaSets`, the controller manager works on at once. With its usual 5, a thousand
/// that start together wait for each other's answers while the processor idles.
const WORKERS: u32 = 50;
/// What a node may be silent for is longer: the controller manager takes it for lost after 50 s.
const NODE_LEASE_S: u32 = 40;

/// How often the controller of Argo Rollouts goes through all that it knows: what it would undo is undone while a test looks.
const ARGO_RESYNC_S: u32 = 2;

/// Where a control plane is.
pub(crate) struct Site<'a> {
    /// Its folder.
    pub(crate) folder: &'a Path,
    /// Where the API server listens.
    pub(crate) address: SocketAddr,
    /// What was asked for.
    pub(crate) options: &'a Options,
}

impl Component {
    /// Those of every control plane, in the order in which they are started.
    pub(crate) const ALL: [Self; 5] =
        [Self::Etcd, Self::ApiServer, Self::ControllerManager, Self::Scheduler, Self::Kwok];

    /// The program's name, in `KUBEBUILDER_ASSETS` too.
    pub(crate) const fn program(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Scheduler => "kube-scheduler",
            Self::Kwok => "kwok",
            Self::ArgoRollouts => "rollouts-controller",
            Self::Istiod => "pilot-discovery",
            Self::Envoy => "envoy",
        }
    }

    /// The user that the program is to the API server, and its group.
    pub(crate) const fn identity(self) -> Option<(&'static str, Option<&'static str>)> {
        match self {
            Self::Etcd | Self::ApiServer | Self::Envoy => None,
            Self::ControllerManager => Some(("system:kube-controller-manager", None)),
            Self::Scheduler => Some(("system:kube-scheduler", None)),
            Self::Kwok => Some(("kwok", Some("system:masters"))),
            Self::ArgoRollouts => Some(("argo-rollouts", Some("system:masters"))),
            Self::Istiod => Some(("istiod", Some("system:masters"))),
        }
    }

    /// What the program is started with.
    pub(crate) fn arguments(self, site: &Site<'_>) -> Vec<String> {
        match self {
            Self::Etcd => etcd(site),
            Self::ApiServer => api_server(site),
            Self::ControllerManager => controller_manager(site),
            Self::Scheduler => scheduler(site),
            Self::Kwok => kwok(site),
            Self::ArgoRollouts => argo_rollouts(site),
            Self::Istiod => gateway::istiod(site),
            Self::Envoy => gateway::envoy(site),
        }
    }

    /// What the program finds in its environment.
    pub(crate) const fn environment(self) -> &'static [(&'static str, &'static str)] {
        if matches!(self, Self::Istiod) { gateway::ISTIOD } else { &[] }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.program())
    }
}

impl Site<'_> {
    /// The path of a file in the folder, as an argument.
    pub(crate) fn file(&self, name: &str) -> String {
        self.folder.join(name).to_string_lossy().into_owned()
    }

    /// Where the API server is.
    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// The name of a component's kubeconfig in the folder.
    pub(crate) fn kubeconfig(component: Component) -> String {
        format!("{component}.kubeconfig")
    }
}

/// The scheduler takes its client's limits from a file alone.
pub(crate) fn scheduler_configuration(site: &Site<'_>) -> String {
    let kubeconfig = site.file(&Site::kubeconfig(Component::Scheduler));
    let connection = json!({"kubeconfig": kubeconfig, "qps": CLIENT_QPS, "burst": CLIENT_BURST});
    json!({
        "apiVersion": "kubescheduler.config.k8s.io/v1",
        "kind": "KubeSchedulerConfiguration",
        "clientConnection": connection,
        "leaderElection": {"leaderElect": false},
    })
    .to_string()
}

/// Unix sockets: nothing of the store can be reached, and no port of it can be taken.
fn etcd(site: &Site<'_>) -> Vec<String> {
    let (clients, peers) = (store(site), format!("unix://{}", site.file("peer.sock")));
    vec![
        format!("--data-dir={}", site.file("etcd")),
        format!("--listen-client-urls={clients}"),
        format!("--advertise-client-urls={clients}"),
        format!("--listen-peer-urls={peers}"),
        format!("--initial-advertise-peer-urls={peers}"),
        format!("--initial-cluster=default={peers}"),
        "--unsafe-no-fsync".to_owned(),
        "--log-level=warn".to_owned(),
    ]
}

fn store(site: &Site<'_>) -> String {
    format!("unix://{}", site.file("etcd.sock"))
}

fn api_server(site: &Site<'_>) -> Vec<String> {
    let mut arguments = vec![
        format!("--etcd-servers={}", store(site)),
        format!("--bind-address={}", site.address.ip()),
        format!("--advertise-address={}", site.address.ip()),
        format!("--secure-port={}", site.address.port()),
        format!("--client-ca-file={}", site.file("ca.crt")),
        format!("--tls-cert-file={}", site.file("server.crt")),
        format!("--tls-private-key-file={}", site.file("server.key")),
        format!("--service-account-key-file={}", site.file("tokens.pub")),
        format!("--service-account-signing-key-file={}", site.file("tokens.key")),
        format!("--service-cluster-ip-range={SERVICES}"),
    ];
    let fixed = [
        "--service-account-issuer=https://kubernetes.default.svc",
        "--authorization-mode=RBAC",
        "--anonymous-auth=false",
        "--allow-privileged=true",
        "--endpoint-reconciler-type=none",
        "--profiling=false",
    ];
    arguments.extend(fixed.map(str::to_owned));
    arguments.extend(site.options.api_server_flags.iter().cloned());
    arguments
}

fn controller_manager(site: &Site<'_>) -> Vec<String> {
    let kubeconfig = site.file(&Site::kubeconfig(Component::ControllerManager));
    let mut arguments = vec![
        format!("--kubeconfig={kubeconfig}"),
        format!("--service-account-private-key-file={}", site.file("tokens.key")),
        format!("--root-ca-file={}", site.file("ca.crt")),
        format!("--kube-api-qps={CLIENT_QPS}"),
        format!("--kube-api-burst={CLIENT_BURST}"),
        format!("--concurrent-deployment-syncs={WORKERS}"),
        format!("--concurrent-replicaset-syncs={WORKERS}"),
    ];
    let fixed = [
        "--use-service-account-credentials=true",
        "--leader-elect=false",
        "--secure-port=0",
        "--profiling=false",
    ];
    arguments.extend(fixed.map(str::to_owned));
    arguments.extend(site.options.controller_manager_flags.iter().cloned());
    arguments
}

fn scheduler(site: &Site<'_>) -> Vec<String> {
    vec![format!("--config={}", site.file("scheduler.json")), "--secure-port=0".to_owned()]
}

fn kwok(site: &Site<'_>) -> Vec<String> {
    vec![
        format!("--kubeconfig={}", site.file(&Site::kubeconfig(Component::Kwok))),
        format!("--config={}", site.file("stages.yaml")),
        format!("--manage-nodes-with-annotation-selector={}={}", FAKE.0, FAKE.1),
        format!("--node-lease-duration-seconds={NODE_LEASE_S}"),
        format!("--cidr={PODS}"),
        "--node-ip=10.0.0.1".to_owned(),
        // No port of a kubelet: there is nothing to be read from these nodes.
        "--node-port=0".to_owned(),
    ]
}

/// Its two servers listen wherever they like and cannot be told not to; at least nobody else's port is taken.
fn argo_rollouts(site: &Site<'_>) -> Vec<String> {
    let mut arguments = vec![
        format!("--kubeconfig={}", site.file(&Site::kubeconfig(Component::ArgoRollouts))),
        format!("--qps={CLIENT_QPS}"),
        format!("--burst={CLIENT_BURST}"),
        format!("--rollout-resync={ARGO_RESYNC_S}"),
    ];
    let fixed = ["--leader-elect=false", "--metricsport=0", "--healthzPort=0"];
    arguments.extend(fixed.map(str::to_owned));
    arguments
}

/// Everything that the programs find in the folder, beside their kubeconfigs: name and content.
pub(crate) fn files(site: &Site<'_>, authority: &Authority) -> Result<Vec<(&'static str, String)>, BedError> {
    let server = authority.server(FIRST_SERVICE)?;
    let tokens = TokenKey::new()?;
    Ok(vec![
        ("ca.crt", authority.certificate()),
        ("server.crt", server.certificate),
        ("server.key", server.key),
        ("tokens.key", tokens.private),
        ("tokens.pub", tokens.public),
        ("scheduler.json", scheduler_configuration(site)),
        ("stages.yaml", stages::configuration()),
    ])
}
