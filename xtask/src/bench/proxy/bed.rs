//! The servers of the bench: the backend, the rivals, ours.

use std::net::SocketAddr;

use crate::bench::machine::{self, Core, Server};
use crate::scratch::Scratch;
use crate::{bench::product, package, step};

use super::ours::Ours;
use super::rivals;

/// Where the proxy that is measured runs, alone.
pub(super) const PROXY_CORE: Core = Core(0);
/// Where the backend and the load run.
pub(super) const OTHER_CORE: Core = Core(1);

/// What is measured: a proxy in one of its forms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proxy {
    Nginx,
    NginxMirror,
    NginxTls,
    Haproxy,
    Ours,
    OursMirror,
    OursTls,
}

impl Proxy {
    /// How it is called in the table.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::NginxMirror => "nginx, mirror",
            Self::NginxTls => "nginx, TLS",
            Self::Haproxy => "haproxy",
            Self::Ours => "ours",
            Self::OursMirror => "ours, mirror",
            Self::OursTls => "ours, TLS",
        }
    }

    /// Whether users speak TLS to it.
    pub(super) fn is_tls(self) -> bool {
        matches!(self, Self::NginxTls | Self::OursTls)
    }
}

/// Every address of the bench, on loopback.
pub(super) struct Addresses {
    pub(super) stable: SocketAddr,
    pub(super) canary: SocketAddr,
    pub(super) shadow: SocketAddr,
    pub(super) nginx: SocketAddr,
    pub(super) nginx_mirror: SocketAddr,
    pub(super) nginx_tls: SocketAddr,
    pub(super) haproxy: SocketAddr,
    pub(super) ours: SocketAddr,
    pub(super) ours_mirror: SocketAddr,
    pub(super) ours_tls: SocketAddr,
}

/// Everything that runs. Stopped, and its files removed, when this is dropped: fields are dropped in this order.
pub(super) struct Bed {
    pub(super) ours: Ours,
    pub(super) nginx: Server,
    pub(super) haproxy: Server,
    pub(super) backend: Server,
    pub(super) addresses: Addresses,
    _files: Scratch,
}

impl Bed {
    /// Builds the product, starts everything, and waits until it serves.
    pub(super) fn open() -> anyhow::Result<Self> {
        let files = Scratch::new("bench-proxy")?;
        let command = product::proxy(&files.file("data"))?;
        package::release("xtask", "xtask")?;
        certificate(&files)?;
        let addresses = Addresses::free()?;
        let backend = rivals::backend(&files, &addresses)?;
        let nginx = rivals::nginx(&files, &addresses)?;
        let haproxy = rivals::haproxy(&files, &addresses)?;
        let ours = Ours::start(&files, &command, &addresses)?;
        Ok(Self { ours, nginx, haproxy, backend, addresses, _files: files })
    }

    /// The process that a proxy is a part of.
    pub(super) fn server(&self, who: Proxy) -> &Server {
        match who {
            Proxy::Nginx | Proxy::NginxMirror | Proxy::NginxTls => &self.nginx,
            Proxy::Haproxy => &self.haproxy,
            Proxy::Ours | Proxy::OursMirror | Proxy::OursTls => &self.ours.server,
        }
    }
}

impl Addresses {
    fn free() -> anyhow::Result<Self> {
        let [stable, canary, shadow, nginx, nginx_mirror, nginx_tls, haproxy, ours, ours_mirror, ours_tls] =
            machine::free_addresses()?;
        Ok(Self {
            stable,
            canary,
            shadow,
            nginx,
            nginx_mirror,
            nginx_tls,
            haproxy,
            ours,
            ours_mirror,
            ours_tls,
        })
    }

    /// Where users reach a proxy.
    pub(super) fn of(&self, who: Proxy) -> SocketAddr {
        match who {
            Proxy::Nginx => self.nginx,
            Proxy::NginxMirror => self.nginx_mirror,
            Proxy::NginxTls => self.nginx_tls,
            Proxy::Haproxy => self.haproxy,
            Proxy::Ours => self.ours,
            Proxy::OursMirror => self.ours_mirror,
            Proxy::OursTls => self.ours_tls,
        }
    }
}

/// A certificate for the TLS part, P-256, good for two days.
fn certificate(files: &Scratch) -> anyhow::Result<()> {
    let mut command = step::program("openssl", &["req", "-x509", "-newkey", "ec", "-nodes", "-days", "2"]);
    command.args(["-pkeyopt", "ec_paramgen_curve:prime256v1", "-subj", "/CN=localhost"]);
    command.args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]);
    command.arg("-keyout").arg(files.file("key.pem")).arg("-out").arg(files.file("certificate.pem"));
    step::capture(command.stderr(std::process::Stdio::null())).map(drop)
}
