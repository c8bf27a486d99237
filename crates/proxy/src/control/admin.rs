//! The admin socket: HTTP/1.1 with JSON, answered on the control thread.

use std::convert::Infallible;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::{Semaphore, watch};

use super::kept::Kept;
use super::{Control, Ending, lease, prometheus, refused};
use crate::clock;
use crate::protocol::{CountersReport, LeaseRenewal, Refused, Run, ServiceTable, Upgrade};

/// Largest body of a request, bytes.
const BODY_MAX: usize = 8 * 1024 * 1024;
/// Connections at once on each of the two listeners; further ones wait in the kernel's queue.
const CONNECTIONS_MAX: usize = 64;
/// A head or a body that takes longer is given up.
const READ_MAX: Duration = Duration::from_secs(10);
/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

type Answer = Response<Full<Bytes>>;

/// Serves the admin socket until it is `closed`.
pub(crate) async fn serve_admin(
    control: Rc<Control>,
    listener: UnixListener,
    mut closed: watch::Receiver<bool>,
) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = closed.wait_for(|closed| *closed) => return,
        };
        let Some((stream, _)) = taken(accepted, "admin socket").await else { continue };
        let control = Rc::clone(&control);
        let answer = move |request| respond(Rc::clone(&control), request);
        tokio::task::spawn_local(async move {
            converse(stream, answer).await;
            drop(place);
        });
    }
}

/// Serves Prometheus text, and nothing else, on a TCP address.
pub(crate) async fn serve_metrics(control: Rc<Control>, listener: TcpListener) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
        let Some((stream, _)) = taken(listener.accept().await, "metrics address").await else { continue };
        let control = Rc::clone(&control);
        let answer = move |request| scrape(Rc::clone(&control), request);
        tokio::task::spawn_local(async move {
            converse(stream, answer).await;
            drop(place);
        });
    }
}

async fn taken<T>(accepted: std::io::Result<T>, what: &str) -> Option<T> {
    match accepted {
        Ok(stream) => Some(stream),
        Err(error) => {
            tracing::warn!(%error, "cannot accept on the {what}; trying again");
            tokio::time::sleep(ACCEPT_PAUSE).await;
            None
        }
    }
}

async fn converse<S, A, F>(stream: S, answer: A)
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
    A: Fn(Request<Incoming>) -> F + 'static,
    F: Future<Output = Result<Answer, Infallible>> + 'static,
{
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(READ_MAX);
    // A caller that goes away in the middle is its own business.
    let _ = builder.serve_connection(TokioIo::new(stream), service_fn(answer)).await;
}

/// Answers from a task of its own: a caller that goes away must not stop a change in the middle.
async fn respond(control: Rc<Control>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    let answered = tokio::task::spawn_local(async move { route(&control, request).await }).await;
    Ok(match answered {
        Ok(Ok(answer)) => answer,
        Ok(Err(refusal)) => json(status_of(&refusal), &refusal),
        Err(error) => {
            let message = format!("this request could not be carried out: {error}; please report it");
            json(StatusCode::INTERNAL_SERVER_ERROR, &refused("internal", message))
        }
    })
}

async fn scrape(control: Rc<Control>, request: Request<Incoming>) -> Result<Answer, Infallible> {
    if request.method() == Method::GET && request.uri().path() == "/metrics" {
        return Ok(text(prometheus::render(&control).await));
    }
    Ok(json(StatusCode::NOT_FOUND, &refused("not_found", "only `GET /metrics` is served here")))
}

fn status_of(refusal: &Refused) -> StatusCode {
    match refusal.code.as_str() {
        "bad_request" => StatusCode::BAD_REQUEST,
        "not_found" => StatusCode::NOT_FOUND,
        "stale_epoch" | "stale_generation" | "address_in_use" => StatusCode::CONFLICT,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

async fn route(control: &Rc<Control>, request: Request<Incoming>) -> Result<Answer, Refused> {
    let (head, body) = request.into_parts();
    // Read in every case: closing a Unix socket with unread bytes would cost the caller the answer.
    let body = collect(body).await?;
    let query = Query(head.uri.query().unwrap_or_default());
    let path = head.uri.path();
    let segments: Vec<&str> = path.trim_matches('/').split('/').collect();
    let answer = match head.method {
        Method::GET => look(control, &segments, query).await?,
        _ => change(control, head.method.as_str(), &segments, query, &body).await?,
    };
    answer.ok_or_else(|| refused("not_found", format!("there is no `{} {path}`", head.method)))
}

/// Answers what only looks; `None` for an unknown path.
async fn look(control: &Control, segments: &[&str], query: Query<'_>) -> Result<Option<Answer>, Refused> {
    let ok = StatusCode::OK;
    Ok(Some(match segments {
        ["v1", "services"] => {
            let state = control.state.lock().await;
            json(ok, &state.services.values().filter_map(Kept::status).collect::<Vec<_>>())
        }
        ["v1", "services", service] => {
            let state = control.state.lock().await;
            let status = state.services.get(*service).and_then(Kept::status);
            json(ok, &status.ok_or_else(|| refused("not_found", format!("there is no service `{service}`")))?)
        }
        ["v1", "counters"] => json(ok, &counters(control, query.get("service")).await),
        ["v1", "metrics"] => text(prometheus::render(control).await),
        ["v1", "runs"] => json(ok, &control.supervisor().status(query.get("service")).await),
        ["v1", "status"] => json(ok, &control.status()),
        _ => return Ok(None),
    }))
}

/// Does what changes something; `None` for an unknown method or path.
async fn change(
    control: &Rc<Control>,
    method: &str,
    segments: &[&str],
    query: Query<'_>,
    body: &Bytes,
) -> Result<Option<Answer>, Refused> {
    let ok = StatusCode::OK;
    Ok(Some(match (method, segments) {
        ("PUT", ["v1", "services", service]) => {
            let table: ServiceTable = read(body)?;
            if table.service != *service {
                let message = format!("the path names `{service}`, the table `{}`", table.service);
                return Err(refused("bad_request", message));
            }
            json(ok, &control.state.lock().await.apply(control, table).await?)
        }
        ("DELETE", ["v1", "services", service]) => {
            let epoch = query.epoch()?;
            control.state.lock().await.delete(control, service, epoch).await?;
            no_content()
        }
        ("POST", ["v1", "lease"]) => {
            lease::renew(control, &read::<LeaseRenewal>(body)?).await;
            no_content()
        }
        ("PUT", ["v1", "runs", service, release]) => {
            let run: Run = read(body)?;
            for (what, name) in [("service", service), ("release", release)] {
                crate::routing::validate_name(what, name)
                    .map_err(|message| refused("bad_request", message))?;
            }
            json(ok, &control.supervisor().apply(service, release, run).await?)
        }
        ("DELETE", ["v1", "runs", service, release]) => {
            control.supervisor().remove(service, release, query.epoch()?).await?;
            no_content()
        }
        ("POST", ["v1", "upgrade"]) => {
            json(ok, &crate::handover::upgrade(control, &read::<Upgrade>(body)?).await?)
        }
        ("POST", ["v1", "shutdown"]) => {
            control.ending.send_replace(Ending::Shutdown { stop_instances: query.stop_instances()? });
            no_content()
        }
        _ => return Ok(None),
    }))
}

async fn counters(control: &Control, service: Option<&str>) -> CountersReport {
    let state = control.state.lock().await;
    let asked = state.services.values().filter(|kept| service.is_none_or(|name| name == kept.service.name));
    CountersReport {
        boot: control.boot.clone(),
        at_unix_ms: clock::unix_ms(),
        services: asked.map(|kept| kept.service.stats.read(&kept.service.name)).collect(),
    }
}

/// Reads a body of bounded size in bounded time.
async fn collect(body: Incoming) -> Result<Bytes, Refused> {
    let collected = tokio::time::timeout(READ_MAX, Limited::new(body, BODY_MAX).collect()).await;
    let body = collected
        .map_err(|_| {
            refused("bad_request", format!("the body did not come within {} s", READ_MAX.as_secs()))
        })?
        .map_err(|error| {
            refused("bad_request", format!("cannot read the body (at most {BODY_MAX} bytes): {error}"))
        })?;
    Ok(body.to_bytes())
}

fn read<T: DeserializeOwned>(body: &Bytes) -> Result<T, Refused> {
    serde_json::from_slice(body)
        .map_err(|error| refused("bad_request", format!("cannot understand the body: {error}")))
}

/// The query's pairs; values are plain words and numbers, so nothing is decoded.
#[derive(Clone, Copy)]
struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    fn get(self, name: &str) -> Option<&'a str> {
        self.0
            .split('&')
            .filter_map(|pair| pair.split_once('='))
            .find_map(|(key, value)| (key == name).then_some(value))
    }

    fn stop_instances(self) -> Result<bool, Refused> {
        match self.get("instances") {
            Some("stop") => Ok(true),
            Some("keep") => Ok(false),
            Some(_) | None => Err(refused("bad_request", "say `?instances=stop` or `?instances=keep`")),
        }
    }

    fn epoch(self) -> Result<u64, Refused> {
        let number = self.get("epoch").and_then(|text| text.parse().ok());
        number.ok_or_else(|| refused("bad_request", "say whose epoch it is: `?epoch=NUMBER`"))
    }
}

fn json<T: Serialize>(status: StatusCode, body: &T) -> Answer {
    // Our own types always have a JSON form.
    let bytes = serde_json::to_vec(body).unwrap_or_default();
    let mut answer = Response::new(Full::new(Bytes::from(bytes)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    answer
}

fn text(body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

fn no_content() -> Answer {
    let mut answer = Response::new(Full::new(Bytes::new()));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}
