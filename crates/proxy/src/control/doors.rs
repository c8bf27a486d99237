//! Listening sockets: one per thread and address, so that the kernel spreads users' connections over the threads.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

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
/// Times that an address is tried while it is taken, and the pause in between.
const BIND_TRIES_MAX: usize = 20;
const BIND_PAUSE: Duration = Duration::from_millis(5);

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

/// Binds an address once per worker, none of them shared with another process.
///
/// An instance that is being started holds copies of all our sockets until its own program runs, so an address that we
/// have just let go of may still be taken for a moment: it is tried again for a while.
pub(crate) async fn bind(address: SocketAddr, workers: usize) -> Result<Vec<TcpListener>, Refused> {
    let mut tries = 1;
    loop {
        match bind_now(address, workers) {
            Ok(sockets) => return Ok(sockets),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && tries < BIND_TRIES_MAX => {
                tokio::time::sleep(BIND_PAUSE).await;
                tries += 1;
            }
            Err(error) => {
                let code = if error.kind() == io::ErrorKind::AddrInUse { "address_in_use" } else { "io" };
                let advice = "free the address, or choose another one for the service";
                return Err(refused(code, format!("cannot listen on {address}: {error}; {advice}")));
            }
        }
    }
}

/// The first socket is bound without `SO_REUSEPORT`: with it, the kernel would let us share a port with another process
/// of the same user, which then gets half of the users. Once the address is ours the workers may share it. It is not
/// bound a second time: between the two, the first one may live on in a process that is being started.
fn bind_now(address: SocketAddr, workers: usize) -> io::Result<Vec<TcpListener>> {
    let first = bound(address, false)?;
    first.set_reuse_port(true)?;
    let ours = first.local_addr()?.as_socket().unwrap_or(address);
    let mut sockets = vec![first];
    for _ in 1..workers {
        sockets.push(bound(ours, true)?);
    }
    let listening = |socket: Socket| socket.listen(BACKLOG).map(|()| TcpListener::from(socket));
    sockets.into_iter().map(listening).collect()
}

fn bound(address: SocketAddr, shared: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

    #[test]
    fn an_address_is_bound_and_bound_again_while_instances_are_being_started() {
        let done = AtomicBool::new(false);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Relaxed) {
                        Command::new("true").status().unwrap();
                    }
                });
            }
            let outcome = runtime.block_on(async {
                let mut address = SocketAddr::from(([127, 0, 0, 1], 0));
                for _ in 0..500 {
                    address =
                        bind(address, 2).await.map_err(|refusal| refusal.message)?[0].local_addr().unwrap();
                }
                Ok::<_, String>(())
            });
            done.store(true, Relaxed);
            assert_eq!(outcome, Ok(()));
        });
    }

    #[test]
    fn an_address_that_others_share_is_not_shared_with_them() {
        let other = bound(SocketAddr::from(([127, 0, 0, 1], 0)), true).unwrap();
        other.listen(1).unwrap();
        let address = other.local_addr().unwrap().as_socket().unwrap();
        assert_eq!(bind_now(address, 2).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    }
}
