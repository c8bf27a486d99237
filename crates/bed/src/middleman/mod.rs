//! Somebody between a client and the API server, who counts what is asked, and spoils what a test says: for what a client
//! does then.

mod asked;
mod relay;
mod spoil;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

pub use self::asked::{Asked, Verb};
use self::relay::Shared;
pub use self::spoil::{Rule, Spoil};
use crate::BedError;
use crate::api::Api;

/// Requests by what they asked for.
pub type Counts = BTreeMap<Asked, u32>;

/// Stands between one identity and the API server, at an address of its own, until it is dropped.
///
/// It speaks TLS with a certificate of the same authority, and passes requests on as that identity. HTTP/1.1 only.
pub struct Middleman {
    kubeconfig: PathBuf,
    rules: watch::Sender<Vec<Rule>>,
    counts: Arc<Mutex<Counts>>,
    runtime: Option<Runtime>,
}

impl Drop for Middleman {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // A test may be inside a runtime of its own, which must not wait.
            runtime.shutdown_background();
        }
    }
}

impl Middleman {
    /// `write` puts the kubeconfig of this address somewhere.
    pub(crate) fn start(
        api: &Api,
        certificate: Arc<rustls::ServerConfig>,
        write: impl FnOnce(SocketAddr) -> Result<PathBuf, BedError>,
    ) -> Result<Self, BedError> {
        let refused = || BedError::file("a middleman at 127.0.0.1:0");
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(refused())?;
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(refused())?;
        listener.set_nonblocking(true).map_err(refused())?;
        let address = listener.local_addr().map_err(refused())?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener).map_err(refused())?
        };
        let (rules, counts) = (watch::Sender::new(Vec::new()), Arc::<Mutex<Counts>>::default());
        let shared = Shared {
            server: api.address,
            to_server: Arc::clone(&api.tls),
            acceptor: TlsAcceptor::from(certificate),
            rules: rules.subscribe(),
            counts: Arc::clone(&counts),
        };
        runtime.spawn(relay::serve(listener, Arc::new(shared)));
        Ok(Self { kubeconfig: write(address)?, rules, counts, runtime: Some(runtime) })
    }

    /// The identity's kubeconfig by this way. It lives as long as the control plane.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// From now on requests are spoiled so, and watches that are open too; the first rule that fits a request counts.
    pub fn spoil(&self, rules: impl IntoIterator<Item = Rule>) {
        self.rules.send_replace(rules.into_iter().collect());
    }

    /// From now on nothing is spoiled. What is without an answer, or silent, stays so.
    pub fn relent(&self) {
        self.spoil([]);
    }

    /// The requests since the last time that this was asked.
    pub fn counted(&self) -> Counts {
        std::mem::take(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
