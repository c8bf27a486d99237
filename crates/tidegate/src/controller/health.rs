//! `/healthz`, `/readyz` and `/metrics`: for probes and Prometheus. Nothing can be changed here.

use std::{
    convert::Infallible,
    fmt::Write as _,
    net::SocketAddr,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{Request, Response, StatusCode, body::Incoming, header, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tidegate_kubernetes::control::Held;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, watch},
};

use super::desk::Desk;
use crate::fault::Fault;

/// Connections served at once; more wait in the listener's own queue.
const CONNECTIONS_MAX: usize = 32;

/// What a controller shows of itself.
#[derive(Default)]
pub(super) struct Health {
    /// The API server answered, so that it is known whether somebody else leads.
    pub(super) connected: AtomicBool,
    pub(super) held: Held,
    /// Only while this process leads.
    pub(super) desk: OnceLock<(Arc<Desk>, watch::Receiver<usize>)>,
}

/// Listens at an address.
pub(super) async fn listen(address: SocketAddr) -> Result<TcpListener, Fault> {
    let bound = TcpListener::bind(address).await;
    let bound = bound.map_err(|error| Fault::trouble(format!("cannot listen on {address}: {error}")))?;
    let address = bound.local_addr().map_err(Fault::world)?;
    tracing::info!("probes and metrics are answered at http://{address}");
    Ok(bound)
}

/// Answers, for ever.
pub(super) async fn serve(health: Arc<Health>, listener: TcpListener) -> Result<(), Fault> {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.map_err(Fault::internal)?;
        let (stream, _) = listener.accept().await.map_err(Fault::world)?;
        let health = Arc::clone(&health);
        tokio::spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                let answer = answer(&health, request.uri().path());
                async move { Ok::<_, Infallible>(answer) }
            });
            let served = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(Duration::from_secs(5))
                .keep_alive(false)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(why) = served {
                tracing::debug!(%why, "a connection ended early");
            }
            drop(place);
        });
    }
}

fn answer(health: &Health, path: &str) -> Response<Full<Bytes>> {
    let (status, text) = match path {
        "/healthz" => (StatusCode::OK, "ok\n".to_owned()),
        "/readyz" if health.held.is_held() => (StatusCode::OK, "leads\n".to_owned()),
        "/readyz" if health.connected.load(Ordering::Relaxed) => (StatusCode::OK, "stands by\n".to_owned()),
        "/readyz" => (StatusCode::SERVICE_UNAVAILABLE, "the API server has not answered yet\n".to_owned()),
        "/metrics" => (StatusCode::OK, metrics(health)),
        _ => (StatusCode::NOT_FOUND, "there is /healthz, /readyz and /metrics\n".to_owned()),
    };
    let mut answer = Response::new(Full::new(Bytes::from(text)));
    *answer.status_mut() = status;
    let kind = header::HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, kind);
    answer
}

fn metrics(health: &Health) -> String {
    let mut text = String::new();
    let mut add = |name: &str, kind: &str, help: &str, value: u64| {
        // Writing into a text does not fail.
        let _ = writeln!(
            text,
            "# HELP tidegate_controller_{name} {help}\n# TYPE tidegate_controller_{name} {kind}"
        );
        let _ = writeln!(text, "tidegate_controller_{name} {value}");
    };
    add("leads", "gauge", "1 while this process leads.", u64::from(health.held.is_held()));
    if let Some((desk, known)) = health.desk.get() {
        let number = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
        let counts = &desk.counts;
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        add("epoch", "gauge", "The epoch that everything is done under.", desk.epoch);
        add("rollouts", "gauge", "Rollouts that are looked after.", number(*known.borrow()));
        add(
            "deployments_active",
            "gauge",
            "Deployments that have not ended.",
            number(desk.engine.active().len()),
        );
        add("submitted_total", "counter", "Deployments that were asked for.", read(&counts.submitted));
        add("refused_total", "counter", "Specs that were refused.", read(&counts.refused));
        add("status_writes_total", "counter", "Statuses that were written.", read(&counts.written));
        add("events_total", "counter", "Events that were written.", read(&counts.told));
        add("troubles_total", "counter", "Requests or looks that failed.", read(&counts.troubles));
    }
    text
}
