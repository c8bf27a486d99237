//! The proxy process of this machine: started when it is not there, asked over its socket.

use std::{
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::{Duration, Instant},
};

use hyper::Method;
use tidegate_proxy::protocol::{
    Applied, CountersReport, LeaseRenewal, ProxyStatus, Run, RunStatus, ServiceStatus, ServiceTable, Upgrade,
};

use crate::unix_http::{CallError, Socket};

/// An answer of the proxy takes at most this long; most take a millisecond.
const CALL: Duration = Duration::from_secs(8);

/// A started proxy must answer within this time.
const START: Duration = Duration::from_secs(10);

/// Why the proxy could not be asked.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// It could not be started.
    #[error("cannot start the proxy ({})", program.display())]
    Start {
        /// The program.
        program: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It was started and does not answer.
    #[error("the proxy was started and does not answer within {} s: see {}; it wrote: {last}", START.as_secs(), log.display())]
    Silent {
        /// Its log.
        log: PathBuf,
        /// The end of the log.
        last: String,
    },
    /// It answered with no.
    #[error(transparent)]
    Call(#[from] CallError),
}

impl NodeError {
    /// Whether trying again can not help.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Start { .. } | Self::Silent { .. } => false,
            Self::Call(error) => error.is_permanent(),
        }
    }
}

/// The proxy that belongs to a data directory.
#[derive(Clone, Debug)]
pub struct Node {
    data: PathBuf,
    program: PathBuf,
    socket: Socket,
}

impl Node {
    /// The proxy below a data directory, run by this program (`tidegate` itself).
    pub fn new(data: &Path, program: PathBuf) -> Self {
        let data = data.join("proxy");
        let socket = Socket::new(data.join("admin.sock"), CALL);
        Self { data, program, socket }
    }

    /// Its admin socket.
    pub fn socket(&self) -> &Socket {
        &self.socket
    }

    /// Its own data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// What it is, when it runs.
    pub async fn status(&self) -> Result<ProxyStatus, NodeError> {
        Ok(self.socket.get("/v1/status").await?)
    }

    /// Starts it when nobody answers on its socket. It outlives whoever started it.
    pub async fn ensure(&self) -> Result<ProxyStatus, NodeError> {
        match self.status().await {
            Err(NodeError::Call(CallError::NoOne { .. })) => self.start().await,
            answer => answer,
        }
    }

    async fn start(&self) -> Result<ProxyStatus, NodeError> {
        let start = |source| NodeError::Start { program: self.program.clone(), source };
        std::fs::create_dir_all(&self.data).map_err(start)?;
        let log = self.data.join("proxy.log");
        let output = std::fs::OpenOptions::new().create(true).append(true).open(&log).map_err(start)?;
        let errors = output.try_clone().map_err(start)?;
        // Its own process group: a Ctrl-C at the terminal of whoever starts it must not reach it.
        let mut child = tokio::process::Command::new(&self.program)
            .args(["proxy", "run", "--data"])
            .arg(&self.data)
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .process_group(0)
            .spawn()
            .map_err(start)?;
        let silent = Instant::now() + START;
        loop {
            match self.status().await {
                // Another starter may have won: then that one answers, and this child ends by itself.
                Err(NodeError::Call(CallError::NoOne { .. })) if Instant::now() < silent => {
                    let ended = child.try_wait().ok().flatten().is_some();
                    if ended && self.status().await.is_err() {
                        return Err(NodeError::Silent { last: last_lines(&log), log });
                    }
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
                Err(NodeError::Call(CallError::NoOne { .. })) => {
                    return Err(NodeError::Silent { last: last_lines(&log), log });
                }
                answer => return answer,
            }
        }
    }

    /// Brings a table into force.
    pub async fn put_table(&self, table: &ServiceTable) -> Result<Applied, NodeError> {
        Ok(self.socket.call(Method::PUT, &format!("/v1/services/{}", table.service), Some(table)).await?)
    }

    /// A service as the proxy carries it; `None` when it does not know it.
    pub async fn service(&self, service: &str) -> Result<Option<ServiceStatus>, NodeError> {
        match self.socket.get(&format!("/v1/services/{service}")).await {
            Err(CallError::Refused { status, .. }) if status == hyper::StatusCode::NOT_FOUND => Ok(None),
            answer => Ok(Some(answer?)),
        }
    }

    /// All services.
    pub async fn services(&self) -> Result<Vec<ServiceStatus>, NodeError> {
        Ok(self.socket.get("/v1/services").await?)
    }

    /// Says that this epoch is alive.
    pub async fn renew(&self, epoch: u64, service: &str) -> Result<(), NodeError> {
        let renewal = LeaseRenewal { epoch, services: vec![service.to_owned()] };
        Ok(self.socket.call(Method::POST, "/v1/lease", Some(&renewal)).await?)
    }

    /// Counters of a service.
    pub async fn counters(&self, service: &str) -> Result<CountersReport, NodeError> {
        Ok(self.socket.get(&format!("/v1/counters?service={service}")).await?)
    }

    /// Brings the wanted instances of a release into force.
    pub async fn put_run(&self, service: &str, release: &str, run: &Run) -> Result<RunStatus, NodeError> {
        Ok(self.socket.call(Method::PUT, &format!("/v1/runs/{service}/{release}"), Some(run)).await?)
    }

    /// The instances of a service's releases.
    pub async fn runs(&self, service: &str) -> Result<Vec<RunStatus>, NodeError> {
        Ok(self.socket.get(&format!("/v1/runs?service={service}")).await?)
    }

    /// Drains, stops and forgets a release's instances; nothing to do when there are none.
    pub async fn delete_run(&self, service: &str, release: &str, epoch: u64) -> Result<(), NodeError> {
        let path = format!("/v1/runs/{service}/{release}?epoch={epoch}");
        match self.socket.send(Method::DELETE, &path, None::<&()>).await {
            Err(CallError::Refused { status, .. }) if status == hyper::StatusCode::NOT_FOUND => Ok(()),
            answer => Ok(answer.map(|_| ())?),
        }
    }

    /// Replaces the proxy's program without losing a request.
    pub async fn upgrade(&self, program: &Path) -> Result<ProxyStatus, NodeError> {
        let upgrade = Upgrade { program: program.to_string_lossy().into_owned() };
        Ok(self.socket.call(Method::POST, "/v1/upgrade", Some(&upgrade)).await?)
    }

    /// Ends the proxy, with or without the instances it supervises.
    pub async fn shutdown(&self, stop_instances: bool) -> Result<(), NodeError> {
        let what = if stop_instances { "stop" } else { "keep" };
        let path = format!("/v1/shutdown?instances={what}");
        Ok(self.socket.send(Method::POST, &path, None::<&()>).await.map(|_| ())?)
    }
}

/// The end of a log, for an error message.
fn last_lines(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let tail = text.get(text.len().saturating_sub(600)..).unwrap_or_default();
    let text = String::from_utf8_lossy(tail);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect::<String>().trim().to_owned()
}
