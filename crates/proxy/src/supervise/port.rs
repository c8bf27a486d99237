//! Loopback ports for instances.

use std::collections::BTreeSet;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};

/// Ports tried before giving up; each try fails only when the kernel offers one that another instance owns.
const ATTEMPTS_MAX: usize = 32;

/// The address of an instance.
pub(super) fn address(port: u16) -> SocketAddr {
    SocketAddr::from((Ipv4Addr::LOCALHOST, port))
}

/// A port that is free now and not in `owned`.
pub(super) fn choose(owned: &BTreeSet<u16>) -> io::Result<u16> {
    for _ in 0..ATTEMPTS_MAX {
        let port = TcpListener::bind(address(0))?.local_addr()?.port();
        if !owned.contains(&port) {
            return Ok(port);
        }
    }
    Err(io::Error::new(io::ErrorKind::AddrInUse, "every port offered belongs to another instance"))
}

/// Whether nobody listens on the port.
pub(super) fn is_free(port: u16) -> bool {
    TcpListener::bind(address(port)).is_ok()
}
