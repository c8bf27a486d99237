//! A small blocking client of one API server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::BedError;

/// Longest wait for one answer.
const ANSWER_WITHIN: Duration = Duration::from_secs(20);

/// What the API server answered.
#[derive(Debug)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// The body; a text that is not JSON (`/readyz`) as one string.
    pub body: Value,
}

/// One identity's connection data. Every request has a connection of its own: a bed asks a few dozen questions.
pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Arc<ClientConfig>,
    pub(crate) token: Option<String>,
}

impl Api {
    /// Sends one request and waits for its answer, whatever that is.
    pub(crate) fn ask(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: String,
    ) -> Result<Answer, BedError> {
        let request = format!("{method} {path}");
        let failed = |why: String| BedError::NoAnswer { request: request.clone(), why };
        let message =
            self.message(method, path, content_type, body).map_err(|why| failed(why.to_string()))?;
        // A thread of its own, because a runtime cannot be entered from inside another one.
        let asked = std::thread::scope(|scope| scope.spawn(|| self.exchange(message)).join());
        asked
            .unwrap_or_else(|_| Err("the thread that asked is gone".into()))
            .map_err(|why| failed(why.to_string()))
    }

    fn message(
        &self,
        method: &str,
        path: &str,
        content_type: &str,
        body: String,
    ) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(HOST, self.address.to_string())
            .header(ACCEPT, "application/json");
        if !body.is_empty() {
            request = request.header(CONTENT_TYPE, content_type);
        }
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        request.body(Full::from(body))
    }

    fn exchange(&self, message: Request<Full<Bytes>>) -> Result<Answer, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let answer = async { read(self.send(message).await?).await };
            let answer = tokio::time::timeout(ANSWER_WITHIN, answer).await;
            answer.map_err(|_| format!("none within {} s", ANSWER_WITHIN.as_secs()))?
        })
    }

    async fn send(&self, message: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        let stream = TcpStream::connect(self.address).await?;
        stream.set_nodelay(true)?;
        let name = ServerName::from(self.address.ip());
        let stream = TlsConnector::from(Arc::clone(&self.tls)).connect(name, stream).await?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Its error is the request's too, and it ends with the runtime.
        tokio::spawn(async move {
            let _told_to_the_sender = connection.await;
        });
        Ok(sender.send_request(message).await?)
    }

    /// Reads an answer that does not end, line by line, until `heard` says that it was enough or the server ends it.
    pub(crate) fn follow(&self, path: &str, mut heard: impl FnMut(&Value) -> bool) -> Result<(), BedError> {
        let failed = |why: String| BedError::NoAnswer { request: format!("GET {path}"), why };
        let message = self.message("GET", path, "", String::new()).map_err(|why| failed(why.to_string()))?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let lines = async {
            let mut body = self.send(message).await?.into_body();
            let mut rest = Vec::new();
            while let Some(frame) = body.frame().await {
                rest.extend_from_slice(&frame?.into_data().unwrap_or_default());
                while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                    let line: Vec<u8> = rest.drain(..=end).collect();
                    if heard(&serde_json::from_slice(&line)?) {
                        return Ok(());
                    }
                }
            }
            Ok::<(), Failure>(())
        };
        runtime.map_err(|why| failed(why.to_string()))?.block_on(lines).map_err(|why| failed(why.to_string()))
    }
}

/// Why there was no answer; only ever shown.
type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn read(response: Response<Incoming>) -> Result<Answer, Failure> {
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await?.to_bytes();
    let body = serde_json::from_slice(&bytes)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&bytes).into_owned()));
    Ok(Answer { status, body })
}
