//! JSON over HTTP/1.1 on a Unix socket: how the binary's processes talk to each other.

use std::{
    io,
    path::{Path, PathBuf},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::{Method, Request, StatusCode, header};
use hyper_util::rt::TokioIo;
use serde::{Serialize, de::DeserializeOwned};
use tidegate_proxy::protocol::Refused;

/// Largest answer that is read.
const ANSWER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Why a request on a socket has no usable answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// Nobody listens.
    #[error("nothing answers at {socket}")]
    NoOne {
        /// The socket.
        socket: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The connection broke before the answer was complete: what was asked may or may not have happened.
    #[error("the answer of {socket} to {what} was lost ({why})")]
    Lost {
        /// The socket.
        socket: PathBuf,
        /// Method and path.
        what: String,
        /// Why.
        why: String,
    },
    /// The other side said no.
    #[error("{}", refused.message)]
    Refused {
        /// Status.
        status: StatusCode,
        /// What it said.
        refused: Refused,
    },
    /// The answer is not what was expected.
    #[error(
        "{socket} answered {what} with something else than expected ({why}); are both programs of the same version?"
    )]
    Malformed {
        /// The socket.
        socket: PathBuf,
        /// Method and path.
        what: String,
        /// Why.
        why: String,
    },
}

impl CallError {
    /// Whether trying again can not help.
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::NoOne { .. } | Self::Lost { .. } => false,
            Self::Refused { status, .. } => status.is_client_error(),
            Self::Malformed { .. } => true,
        }
    }
}

/// One peer.
#[derive(Clone, Debug)]
pub struct Socket {
    path: PathBuf,
    within: Duration,
}

impl Socket {
    /// The peer that listens on this path; a request without an answer for `within` counts as lost.
    pub fn new(path: impl Into<PathBuf>, within: Duration) -> Self {
        Self { path: path.into(), within }
    }

    /// The path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sends a request with a JSON body, or none, and reads a JSON answer.
    pub async fn call<A: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<A, CallError> {
        let what = format!("{method} {path}");
        let answer = self.send(method, path, body).await?;
        // An empty answer (204) reads as JSON null, which is what `()` is.
        let text: &[u8] = if answer.is_empty() { b"null" } else { &answer };
        serde_json::from_slice(text).map_err(|why| CallError::Malformed {
            socket: self.path.clone(),
            what,
            why: why.to_string(),
        })
    }

    /// Reads a path.
    pub async fn get<A: DeserializeOwned>(&self, path: &str) -> Result<A, CallError> {
        self.call(Method::GET, path, None::<&()>).await
    }

    /// Sends a request and gives back the bytes of a successful answer.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&(impl Serialize + Sync)>,
    ) -> Result<Bytes, CallError> {
        let what = format!("{method} {path}");
        let lost = |why: String| CallError::Lost { socket: self.path.clone(), what: what.clone(), why };
        let body = match body {
            None => Bytes::new(),
            Some(body) => serde_json::to_vec(body).map_err(|why| lost(why.to_string()))?.into(),
        };
        let exchange = self.exchange(method, path, body);
        let (status, answer) = tokio::time::timeout(self.within, exchange)
            .await
            .map_err(|_| lost(format!("no answer within {} s", self.within.as_secs())))??;
        if status.is_success() {
            return Ok(answer);
        }
        let refused = serde_json::from_slice(&answer).unwrap_or_else(|_| Refused {
            code: status.as_str().to_owned(),
            message: format!("{what} was answered with {status}"),
        });
        Err(CallError::Refused { status, refused })
    }

    async fn exchange(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
    ) -> Result<(StatusCode, Bytes), CallError> {
        let what = format!("{method} {path}");
        let lost = |why: String| CallError::Lost { socket: self.path.clone(), what: what.clone(), why };
        let stream = tokio::net::UnixStream::connect(&self.path)
            .await
            .map_err(|source| CallError::NoOne { socket: self.path.clone(), source })?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|why| lost(why.to_string()))?;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "localhost")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(body))
            .map_err(|why| lost(why.to_string()))?;
        let answer = async {
            let response = sender.send_request(request).await.map_err(|why| lost(why.to_string()))?;
            let status = response.status();
            let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX);
            let bytes = body.collect().await.map_err(|why| lost(why.to_string()))?.to_bytes();
            Ok((status, bytes))
        };
        // The connection is driven beside the answer, so nothing outlives this call.
        tokio::pin!(answer);
        tokio::select! {
            biased;
            result = &mut answer => result,
            ended = connection => match ended {
                Ok(()) => answer.await,
                Err(why) => Err(lost(why.to_string())),
            },
        }
    }
}
