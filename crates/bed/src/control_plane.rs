//! One running control plane.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde_json::{Value, json};

use crate::api::Api;
use crate::authority::{Authority, Signed};
use crate::components::{FIRST_SERVICE, Site, files};
use crate::folder::Folder;
use crate::kubeconfig::{self, Credential};
use crate::process::Process;
use crate::wait::until;
use crate::{Access, BedError, Component, Gateway, Middleman, crds, gateway, nodes, programs};

/// Longest wait for each step of the start. It takes a fraction of it on an idle machine with two cores.
const STEP_WITHIN: Duration = Duration::from_mins(2);
/// A free port can be taken by somebody else before the API server listens there; so often another one is tried.
const STARTS_MAX: usize = 3;
/// How long a service account's token is asked for, seconds; the API server gives at least ten minutes.
const TOKEN_S: u32 = 24 * 3_600;

/// What a control plane is like.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many nodes, at least one. Each takes 100,000 pods.
    pub nodes: usize,
    /// Added to what the API server is started with: `--max-requests-inflight=20`. The last of two equal flags holds.
    pub api_server_flags: Vec<String>,
    /// Added to what the controller manager is started with.
    pub controller_manager_flags: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { nodes: 3, api_server_flags: Vec::new(), controller_manager_flags: Vec::new() }
    }
}

/// A running control plane. Dropping it kills its programs and removes its folder; so does the end of this process,
/// however it comes.
pub struct ControlPlane {
    options: Options,
    address: SocketAddr,
    authority: Authority,
    admin: Access,
    namespaces: AtomicU32,
    // Killed before the folder is removed: fields are dropped in this order.
    running: Mutex<BTreeMap<Component, Process>>,
    folder: Folder,
}

impl ControlPlane {
    /// Starts one and waits until it takes Deployments: controllers run, nodes are ready, the `default` namespace has
    /// its service account. About 5 s on an idle machine with two cores.
    ///
    /// # Errors
    /// A program is missing ([`BedError::Missing`]), ended ([`BedError::Ended`]) or is late ([`BedError::Late`], with
    /// the end of the log that matters).
    pub fn start(options: &Options) -> Result<Self, BedError> {
        let mut attempt = 1;
        loop {
            match Self::start_at(free_address()?, options.clone()) {
                Err(BedError::Ended { log, .. })
                    if attempt < STARTS_MAX && log.contains("address already in use") =>
                {
                    attempt += 1;
                }
                outcome => return outcome,
            }
        }
    }

    /// The one that all tests of a test program share, started by the first who asks. Use a
    /// [`namespace`](Self::namespace) of your own in it, and names of your own for what has no namespace.
    pub fn shared() -> Result<&'static Self, &'static BedError> {
        static SHARED: OnceLock<Result<ControlPlane, BedError>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start(&Options::default())).as_ref()
    }

    /// Where the API server is: `https://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        self.site().url()
    }

    /// The administrator, who may do everything (`system:masters`, so priority and fairness does not slow it either).
    pub fn admin(&self) -> &Access {
        &self.admin
    }

    /// The administrator's kubeconfig file; its namespace is `default`.
    pub fn kubeconfig(&self) -> &Path {
        self.admin.kubeconfig()
    }

    /// A user with a client certificate, in `group` if one is given. Nobody may do anything before a role says so.
    pub fn user(&self, name: &str, group: Option<&str>) -> Result<Access, BedError> {
        access(&self.site(), &self.folder, &self.authority, (name, group), &format!("user-{}", self.next()))
    }

    /// A service account that exists, with a token for a day.
    pub fn service_account(&self, namespace: &str, name: &str) -> Result<Access, BedError> {
        let request = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenRequest",
            "spec": {"expirationSeconds": TOKEN_S},
        });
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/{name}/token");
        let answer = self.admin.create(&path, &request)?;
        let token = answer.pointer("/status/token").and_then(Value::as_str).unwrap_or_default();
        let (url, authority) = (self.url(), self.authority.certificate());
        let text = kubeconfig::text(&url, &authority, &Credential::Token(token), namespace);
        let kubeconfig = self.folder.write(&format!("account-{}.kubeconfig", self.next()), &text)?;
        let api =
            Api { address: self.address, tls: self.authority.trust(None)?, token: Some(token.to_owned()) };
        Ok(Access { kubeconfig, api })
    }

    /// Somebody between this identity and the API server, who counts and spoils requests.
    pub fn middleman(&self, of: &Access) -> Result<Middleman, BedError> {
        let certificate = self.authority.server(FIRST_SERVICE)?;
        let name = format!("middleman-{}.kubeconfig", self.next());
        Middleman::start(&of.api, self.authority.serve(&certificate)?, |address| {
            let text = std::fs::read_to_string(&of.kubeconfig).map_err(BedError::file(&of.kubeconfig))?;
            self.folder.write(&name, &text.replace(&self.url(), &format!("https://{address}")))
        })
    }

    /// Makes a namespace whose name begins with `prefix` (a DNS label of at most 50 characters), waits until pods can
    /// be created in it, and gives back the name.
    pub fn namespace(&self, prefix: &str) -> Result<String, BedError> {
        let name = format!("{prefix}-{}", self.next());
        let object = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}});
        self.admin.create("/api/v1/namespaces", &object)?;
        self.has_service_account(&name)?;
        Ok(name)
    }

    /// Installs Gateway API's definitions (the standard channel) and waits until they are served. Again does nothing.
    pub fn install_gateway_api(&self) -> Result<(), BedError> {
        let definitions = crds::gateway_api()?;
        self.install(&definitions.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Installs Istio's `VirtualService`, `DestinationRule` and `Gateway` as open fixtures: every field is kept, none is checked.
    pub fn install_istio(&self) -> Result<(), BedError> {
        self.install(&crds::ISTIO)
    }

    /// Installs Argo Rollouts: its definitions as open fixtures, and its own controller, which then runs as one more
    /// [`Component`]. Again does nothing.
    pub fn install_argo_rollouts(&self) -> Result<(), BedError> {
        let definitions = crds::argo_rollouts();
        self.install(&definitions.iter().map(String::as_str).collect::<Vec<_>>())?;
        let component = Component::ArgoRollouts;
        if let Some(identity) = component.identity().filter(|_| self.pid(component).is_none()) {
            access(&self.site(), &self.folder, &self.authority, identity, component.program())?;
        }
        self.revive(component)
    }

    /// Installs Istio and a gateway of it, in [`GATEWAY`](crate::GATEWAY): both run as more [`Component`]s. Routes of Gateway API
    /// and of Istio that name it are followed, to the addresses of pods; so this is for a test
    /// [`in_a_network_of_its_own`](crate::in_a_network_of_its_own).
    pub fn install_gateway(&self) -> Result<Gateway, BedError> {
        self.install_gateway_api()?;
        self.install_istio()?;
        for (path, object) in gateway::objects() {
            self.admin.create(&path, &object)?;
        }
        let pod = until("the gateway's pod", STEP_WITHIN, || gateway::pod(&self.admin))?;
        self.folder.write(gateway::BOOTSTRAP, &gateway::bootstrap(&pod))?;
        self.folder.write(gateway::SETTINGS.0, gateway::SETTINGS.1)?;
        for component in [Component::Istiod, Component::Envoy] {
            if let Some(identity) = component.identity() {
                access(&self.site(), &self.folder, &self.authority, identity, component.program())?;
            }
            self.revive(component)?;
        }
        Ok(Gateway)
    }

    /// Installs custom resource definitions, each one document of YAML or JSON, unless they are there, and waits until
    /// they are served.
    pub fn install(&self, definitions: &[&str]) -> Result<(), BedError> {
        crds::install(&self.admin, definitions)
    }

    /// The process id of a program that runs, to measure it, or to hold it with `SIGSTOP`.
    pub fn pid(&self, component: Component) -> Option<u32> {
        self.running().get(&component).map(Process::pid)
    }

    /// Where a program's output is. Gone with the control plane.
    pub fn log(&self, component: Component) -> PathBuf {
        log(&self.folder, component)
    }

    /// Kills a program (`SIGKILL`), as a test of what then happens; not in a shared control plane.
    pub fn kill(&self, component: Component) {
        self.running().remove(&component);
    }

    /// Starts a program again that was killed, at the same place and with the same data, and waits for it if it is the
    /// store or the API server. Does nothing when it runs.
    pub fn revive(&self, component: Component) -> Result<(), BedError> {
        let mut running = self.running();
        if running.contains_key(&component) {
            return Ok(());
        }
        running.insert(component, launch(&self.site(), &self.folder, component)?);
        wait_for(component, &mut running, &self.folder, &self.admin)
    }

    /// Ends it, as dropping it does.
    pub fn stop(self) {
        drop(self);
    }

    fn start_at(address: SocketAddr, options: Options) -> Result<Self, BedError> {
        let folder = Folder::new()?;
        let authority = Authority::new()?;
        let site = Site { folder: folder.path(), address, options: &options };
        for (name, content) in files(&site, &authority)? {
            folder.write(name, &content)?;
        }
        let admin = access(&site, &folder, &authority, ("admin", Some("system:masters")), "admin")?;
        let mut running = BTreeMap::new();
        for component in Component::ALL {
            if let Some(identity) = component.identity() {
                access(&site, &folder, &authority, identity, component.program())?;
            }
            running.insert(component, launch(&site, &folder, component)?);
            wait_for(component, &mut running, &folder, &admin)?;
        }
        let running = Mutex::new(running);
        let plane =
            Self { options, address, authority, admin, namespaces: AtomicU32::new(0), running, folder };
        plane.open()?;
        Ok(plane)
    }

    /// Adds the nodes, and waits until pods can be created and scheduled.
    fn open(&self) -> Result<(), BedError> {
        for number in 0..self.options.nodes {
            self.admin.create("/api/v1/nodes", &nodes::node(number))?;
        }
        self.has_service_account("default")?;
        self.patiently("the nodes to be ready", Component::Kwok, || {
            let list = self.admin.get("/api/v1/nodes")?;
            let nodes = list.get("items").and_then(Value::as_array);
            let open = nodes.into_iter().flatten().filter(|node| nodes::is_open(node)).count();
            Ok((open == self.options.nodes).then_some(()))
        })
    }

    fn has_service_account(&self, namespace: &str) -> Result<(), BedError> {
        let path = format!("/api/v1/namespaces/{namespace}/serviceaccounts/default");
        let what = format!("the default service account of namespace {namespace}");
        self.patiently(&what, Component::ControllerManager, || match self.admin.get(&path) {
            Ok(_) => Ok(Some(())),
            Err(BedError::Refused { status: 404, .. }) => Ok(None),
            Err(error) => Err(error),
        })
    }

    /// Waits for what `component` brings about, as long as that runs.
    fn patiently(
        &self,
        what: &str,
        component: Component,
        mut look: impl FnMut() -> Result<Option<()>, BedError>,
    ) -> Result<(), BedError> {
        let waited = until(what, STEP_WITHIN, || {
            self.running().get_mut(&component).map_or(Ok(()), Process::check)?;
            look()
        });
        waited.map_err(|error| quoting(error, self.running().get(&component)))
    }

    fn site(&self) -> Site<'_> {
        Site { folder: self.folder.path(), address: self.address, options: &self.options }
    }

    fn running(&self) -> MutexGuard<'_, BTreeMap<Component, Process>> {
        // A test that panicked while it held this left nothing half done: the map is changed by whole entries.
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> u32 {
        self.namespaces.fetch_add(1, Ordering::Relaxed)
    }
}

fn log(folder: &Folder, component: Component) -> PathBuf {
    folder.path().join(format!("{component}.log"))
}

fn launch(site: &Site<'_>, folder: &Folder, component: Component) -> Result<Process, BedError> {
    let program = programs::find(component.program())?;
    Process::start(component, &program, &component.arguments(site), log(folder, component))
}

/// Waits until what the other programs need is there.
fn wait_for(
    component: Component,
    running: &mut BTreeMap<Component, Process>,
    folder: &Folder,
    admin: &Access,
) -> Result<(), BedError> {
    let waited = until(&format!("{component} to be ready"), STEP_WITHIN, || {
        running.get_mut(&component).map_or(Ok(()), Process::check)?;
        let ready = match component {
            Component::Etcd => UnixStream::connect(folder.path().join("etcd.sock")).is_ok(),
            Component::ApiServer => {
                admin.ask("GET", "/readyz", "", String::new()).is_ok_and(|answer| answer.status == 200)
            }
            Component::Istiod => gateway::istiod_is_ready(),
            Component::Envoy => gateway::envoy_is_ready(),
            Component::ControllerManager
            | Component::Scheduler
            | Component::Kwok
            | Component::ArgoRollouts => true,
        };
        Ok(ready.then_some(()))
    });
    waited.map_err(|error| quoting(error, running.get(&component)))
}

/// Adds the end of the log to a wait in vain.
fn quoting(error: BedError, process: Option<&Process>) -> BedError {
    match (error, process) {
        (BedError::Late { what, waited_s, .. }, Some(process)) => {
            let log = format!("; the last lines of the log:\n{}", process.last_lines());
            BedError::Late { what, waited_s, log }
        }
        (error, _) => error,
    }
}

/// An identity with a client certificate.
fn access(
    site: &Site<'_>,
    folder: &Folder,
    authority: &Authority,
    (user, group): (&str, Option<&str>),
    name: &str,
) -> Result<Access, BedError> {
    let signed: Signed = authority.client(user, group)?;
    let text =
        kubeconfig::text(&site.url(), &authority.certificate(), &Credential::Certificate(&signed), "default");
    let kubeconfig = folder.write(&format!("{name}.kubeconfig"), &text)?;
    let api = Api { address: site.address, tls: authority.trust(Some(&signed))?, token: None };
    Ok(Access { kubeconfig, api })
}

fn free_address() -> Result<SocketAddr, BedError> {
    let refused = || BedError::file("127.0.0.1:0");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(refused())?;
    listener.local_addr().map_err(refused())
}
