//! A network that misbehaves: a plain tunnel in front of the API server.

use std::{net::SocketAddr, path::PathBuf, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tidegate_bed::ControlPlane;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
};

/// How it behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As it should.
    Open,
    /// Connections end, and none can be made.
    Refusing,
    /// Every piece is late.
    Slow,
    /// Connections end in the middle of an answer.
    Cutting,
    /// Nothing arrives any more; what began then stays silent for good.
    Silent,
}

pub(crate) struct Tunnel {
    mode: Arc<watch::Sender<Mode>>,
    address: SocketAddr,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Tunnel {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Tunnel {
    pub(crate) fn to(plane: &ControlPlane) -> Self {
        let server: SocketAddr = plane.url().trim_start_matches("https://").parse().expect("an address");
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        listener.set_nonblocking(true).expect("a port that waits for nobody");
        let listener = TcpListener::from_std(listener).expect("a runtime");
        let address = listener.local_addr().expect("an address");
        let mode = Arc::new(watch::Sender::new(Mode::Open));
        let task = tokio::spawn(serve(listener, address, server, mode.subscribe()));
        Self { mode, address, task }
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// The admin's kubeconfig by this way.
    pub(crate) fn kubeconfig(&self, plane: &ControlPlane, folder: &tempfile::TempDir) -> PathBuf {
        let text = std::fs::read_to_string(plane.kubeconfig()).expect("a kubeconfig");
        let mut config: Value = serde_json::from_str(&text).expect("JSON");
        config["clusters"][0]["cluster"]["server"] = json!(format!("https://{}", self.address));
        let path = folder.path().join("tunnel.kubeconfig");
        std::fs::write(&path, config.to_string()).expect("written");
        path
    }
}

async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    server: SocketAddr,
    mut mode: watch::Receiver<Mode>,
) {
    let mut listener = Some(listener);
    loop {
        if *mode.borrow() == Mode::Refusing {
            listener = None;
        } else if listener.is_none() {
            listener = TcpListener::bind(address).await.ok();
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await.ok(),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            Some((client, _)) = accepted => {
                tokio::spawn(tunnel(client, server, mode.clone()));
            }
            changed = mode.changed() => if changed.is_err() { return },
        }
    }
}

async fn tunnel(client: TcpStream, server: SocketAddr, mode: watch::Receiver<Mode>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    // Whichever way ends first ends both.
    tokio::select! {
        () = carry(from_client, to_server, mode.clone(), false) => {}
        () = carry(from_server, to_client, mode, true) => {}
    }
}

async fn carry(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    answers: bool,
) {
    let mut piece = vec![0; 16 * 1_024];
    loop {
        let now = *mode.borrow_and_update();
        if now == Mode::Refusing {
            return;
        }
        if now == Mode::Silent {
            return std::future::pending().await;
        }
        let read = tokio::select! {
            read = from.read(&mut piece) => read,
            _ = mode.changed() => continue,
        };
        let Ok(length @ 1..) = read else { return };
        let now = *mode.borrow();
        match now {
            Mode::Refusing => return,
            Mode::Silent => return std::future::pending().await,
            Mode::Cutting if answers => {
                let _half = to.write_all(&piece[..length / 2]).await;
                return;
            }
            Mode::Slow => tokio::time::sleep(Duration::from_millis(100)).await,
            Mode::Open | Mode::Cutting => {}
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}
