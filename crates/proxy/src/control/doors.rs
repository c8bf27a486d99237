//! Listening sockets: one per thread and address, so that the kernel spreads users' connections over the threads.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use socket2::{Domain, Protocol, Socket, Type};

use super::refused;
use crate::protocol::{Refused, TlsFiles};
use crate::routing::Listen;
use crate::service::Service;
use crate::worker::{Door, Order, Worker};

/// Connections that wait in the kernel per socket.
const BACKLOG: i32 = 4_096;

/// An address being served.
pub(crate) struct OpenDoor {
    pub(crate) door: Arc<Door>,
    /// The address as the table asks for it: port 0 is any free one.
    pub(crate) asked: SocketAddr,
    /// Our own handles on the workers' sockets, for the next process.
    pub(crate) sockets: Vec<TcpListener>,
}

/// Sockets that came from the process before this one.
pub(crate) struct Inherited {
    pub(crate) service: String,
    pub(crate) asked: SocketAddr,
    pub(crate) sockets: Vec<TcpListener>,
}

/// Binds an address once per worker. A probe without `SO_REUSEPORT` comes first: with it, the kernel would let us share a
/// port with another process of the same user, which then gets half of the users.
pub(crate) fn bind(address: SocketAddr, workers: usize) -> Result<Vec<TcpListener>, Refused> {
    let failed = |error: io::Error| {
        let code = if error.kind() == io::ErrorKind::AddrInUse { "address_in_use" } else { "io" };
        let advice = "free the address, or choose another one for the service";
        refused(code, format!("cannot listen on {address}: {error}; {advice}"))
    };
    let first = socket(address, false).map_err(failed)?;
    let bound = first.local_addr().map_err(failed)?;
    drop(first);
    (0..workers.max(1)).map(|_| socket(bound, true).map_err(failed)).collect()
}

fn socket(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Reads a certificate chain and its key.
pub(crate) fn tls(files: &TlsFiles) -> Result<Arc<ServerConfig>, Refused> {
    let bad = |what: &str, path: &str, error: &dyn std::fmt::Display| {
        refused("bad_request", format!("cannot use the {what} {path}: {error}"))
    };
    let mut chain = Vec::new();
    let parsed = CertificateDer::pem_file_iter(&files.certificate);
    for certificate in parsed.map_err(|error| bad("certificate", &files.certificate, &error))? {
        chain.push(certificate.map_err(|error| bad("certificate", &files.certificate, &error))?);
    }
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| bad("key", &files.key, &error))?;
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, key))
        .map_err(|error| bad("certificate", &files.certificate, &error))?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// The TLS configuration of an address, when it asks for one.
pub(crate) fn tls_of(listen: &Listen) -> Result<Option<Arc<ServerConfig>>, Refused> {
    listen.tls.as_ref().map(tls).transpose()
}

impl OpenDoor {
    pub(crate) fn new(
        id: u64,
        service: &Arc<Service>,
        asked: SocketAddr,
        sockets: Vec<TcpListener>,
        tls: Option<Arc<ServerConfig>>,
    ) -> Self {
        let address = sockets.first().and_then(|socket| socket.local_addr().ok()).unwrap_or(asked);
        let door = Door { id, address, service: Arc::clone(service), tls: ArcSwapOption::new(tls) };
        Self { door: Arc::new(door), asked, sockets }
    }

    /// Gives the sockets to the workers. With fewer sockets than workers some are shared; with more, some workers get two.
    pub(crate) async fn open(&self, workers: &[Worker]) -> io::Result<()> {
        let count = workers.len().max(self.sockets.len());
        for (worker, socket) in workers.iter().cycle().zip(self.sockets.iter().cycle()).take(count) {
            let handle = socket.try_clone()?;
            // The worker answers at once; users need not wait for it.
            drop(worker.order(Order::Listen(Arc::clone(&self.door), handle)).await);
        }
        Ok(())
    }

    /// Closes our own handles, so that a worker that stops accepting really closes the address.
    pub(crate) fn let_go(&mut self) {
        self.sockets.clear();
    }

    /// Stops accepting, after what waits in the queues was accepted.
    pub(crate) async fn close(mut self, workers: &[Worker]) {
        self.let_go();
        for worker in workers {
            // A worker that is gone accepts nothing either.
            let _ = worker.order(Order::Unlisten { door: self.door.id, empty: true }).await.await;
        }
    }
}
