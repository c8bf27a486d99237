//! One connection of a client, and what goes on from it to the API server.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::header::{CONTENT_TYPE, HeaderValue, RETRY_AFTER};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_rustls::{TlsAcceptor, TlsConnector};

use super::Counts;
use super::asked::{Asked, Verb};
use super::spoil::{self, Rule, Spoil};

/// Why something went no further; only ever seen by the client as the end of its connection.
type Failure = Box<dyn std::error::Error + Send + Sync>;
type Answer = Response<UnsyncBoxBody<Bytes, Failure>>;

/// What all connections share.
pub(super) struct Shared {
    pub(super) server: SocketAddr,
    pub(super) to_server: Arc<ClientConfig>,
    pub(super) acceptor: TlsAcceptor,
    pub(super) rules: watch::Receiver<Vec<Rule>>,
    pub(super) counts: Arc<Mutex<Counts>>,
}

/// Serves clients until the runtime ends.
pub(super) async fn serve(listener: TcpListener, shared: Arc<Shared>) {
    // A listener on loopback fails to accept only when there are no descriptors left, which the test is told by its client.
    while let Ok((client, _)) = listener.accept().await {
        let shared = Arc::clone(&shared);
        tokio::spawn(async move {
            let _ended = client.set_nodelay(true);
            let Ok(client) = shared.acceptor.accept(client).await else { return };
            let upstream = Arc::new(tokio::sync::Mutex::new(None));
            let service = service_fn(|request| relayed(Arc::clone(&shared), Arc::clone(&upstream), request));
            let connection = hyper::server::conn::http1::Builder::new();
            let _ended = connection.serve_connection(TokioIo::new(client), service).await;
        });
    }
}

/// The way to the API server that belongs to one client's connection.
type Upstream = Arc<tokio::sync::Mutex<Option<SendRequest<Full<Bytes>>>>>;

async fn relayed(
    shared: Arc<Shared>,
    upstream: Upstream,
    request: Request<Incoming>,
) -> Result<Answer, Failure> {
    let asked = Asked::of(request.method(), request.uri());
    *shared.counts.lock().unwrap_or_else(PoisonError::into_inner).entry(asked.clone()).or_default() += 1;
    let (head, body) = request.into_parts();
    let request = Request::from_parts(head, Full::new(body.collect().await?.to_bytes()));
    let mut rules = shared.rules.clone();
    let spoil = spoil::request(&rules.borrow_and_update(), &asked).cloned();
    match spoil {
        None | Some(Spoil::WatchCut | Spoil::WatchGone | Spoil::WatchSilent) => {
            let answer = sent(&shared, &upstream, request).await?;
            Ok(if asked.verb == Verb::Watch { watched(answer, asked, rules) } else { plain(answer) })
        }
        Some(Spoil::Answered { status, reason, message, retry_after_s }) => {
            answered(status, &spoil::status(status, reason, message), retry_after_s)
        }
        Some(Spoil::Unheard) => std::future::pending().await,
        Some(Spoil::Unanswered) => {
            let carried_out = tokio::spawn(async move { alone(&shared, request).await.map(drop) });
            carried_out.await??;
            Err("the answer is lost".into())
        }
        Some(Spoil::Held) => {
            let late = async move {
                let is_held = |rules: &[Rule]| matches!(spoil::request(rules, &asked), Some(Spoil::Held));
                drop(rules.wait_for(|rules| !is_held(rules)).await);
                alone(&shared, request).await
            };
            tokio::spawn(late).await?
        }
    }
}

/// Sends a request by the connection that belongs to the client's.
async fn sent(
    shared: &Shared,
    upstream: &Upstream,
    request: Request<Full<Bytes>>,
) -> Result<Response<Incoming>, Failure> {
    let mut upstream = upstream.lock().await;
    let mut sender = match upstream.take().filter(|sender| !sender.is_closed()) {
        Some(sender) => sender,
        None => connected(shared).await?,
    };
    sender.ready().await?;
    let answer = sender.send_request(request).await?;
    *upstream = Some(sender);
    Ok(answer)
}

/// Sends a request by a connection of its own, and reads all of the answer.
async fn alone(shared: &Shared, request: Request<Full<Bytes>>) -> Result<Answer, Failure> {
    let answer = connected(shared).await?.send_request(request).await?;
    let (head, body) = answer.into_parts();
    let body = Full::new(body.collect().await?.to_bytes());
    Ok(Response::from_parts(head, body.map_err(|never: Infallible| match never {}).boxed_unsync()))
}

async fn connected(shared: &Shared) -> Result<SendRequest<Full<Bytes>>, Failure> {
    let stream = TcpStream::connect(shared.server).await?;
    stream.set_nodelay(true)?;
    let name = ServerName::from(shared.server.ip());
    let stream = TlsConnector::from(Arc::clone(&shared.to_server)).connect(name, stream).await?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(async move {
        let _told_to_the_sender = connection.await;
    });
    Ok(sender)
}

fn plain(answer: Response<Incoming>) -> Answer {
    answer.map(|body| body.map_err(Failure::from).boxed_unsync())
}

fn answered(status: u16, body: &str, retry_after_s: Option<u32>) -> Result<Answer, Failure> {
    let body = Full::new(Bytes::copy_from_slice(body.as_bytes()));
    let mut answer = Response::builder()
        .status(status)
        .header(CONTENT_TYPE, "application/json")
        .body(body.map_err(|never: Infallible| match never {}).boxed_unsync())?;
    if let Some(seconds) = retry_after_s {
        answer.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    Ok(answer)
}

/// A watch that ends, or falls silent, when a rule says so.
fn watched(answer: Response<Incoming>, asked: Asked, rules: watch::Receiver<Vec<Rule>>) -> Answer {
    answer.map(|body| {
        let frames = stream::unfold(Some((body, rules, asked)), |on| async move {
            let (mut body, mut rules, asked) = on?;
            loop {
                let spoil = spoil::watch(&rules.borrow_and_update(), &asked).cloned();
                match spoil {
                    Some(Spoil::WatchCut) => return Some((Err(Failure::from("cut")), None)),
                    Some(Spoil::WatchGone) => return Some((Ok(gone()), None)),
                    Some(Spoil::WatchSilent) => return std::future::pending().await,
                    Some(Spoil::Answered { .. } | Spoil::Unheard | Spoil::Unanswered | Spoil::Held)
                    | None => {}
                }
                tokio::select! {
                    frame = body.frame() => {
                        let frame = frame?.map_err(Failure::from);
                        return Some((frame, Some((body, rules, asked))));
                    }
                    Ok(()) = rules.changed() => {}
                }
            }
        });
        StreamBody::new(frames).boxed_unsync()
    })
}

/// What a watch is told whose version is kept no more.
fn gone() -> Frame<Bytes> {
    let status = spoil::status(410, "Expired", "too old resource version");
    Frame::data(Bytes::from(format!("{{\"type\":\"ERROR\",\"object\":{status}}}\n")))
}
