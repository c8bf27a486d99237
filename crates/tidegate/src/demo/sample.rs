//! A sample HTTP service that can be told to be slow, wrong, unready or mortal.
//!
//! The demonstration and the end-to-end tests ship it as a release; every fault a gate must catch is one option.
mod metrics;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::channel::Channel;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Exit status of a crash that was asked for, so that a supervisor can tell it from any other.
pub(crate) const CRASH_EXIT_CODE: i32 = 3;

/// Connections served at once; later ones wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 1024;
/// Longest wait for unfinished requests after SIGTERM; above the longest answer (`/slow` at its limit).
const DRAIN_MAX: Duration = Duration::from_secs(65);
/// Longest delay that a request may ask for.
const ASKED_MS_MAX: u64 = 60_000;
/// Shortest pause between two events of `/stream`.
const TICK_MS_MIN: u64 = 10;
/// Events of `/stream` that wait for a slow reader before the stream itself waits.
const TICKS_BUFFERED: usize = 4;
/// Pause after a failed accept: the usual cause is a lack of file descriptors, which needs time to pass.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Where the supervisor writes `service/release/number`.
const INSTANCE: &str = "TIDEGATE_INSTANCE";

/// What the service answers and how it misbehaves. Faults never touch `/metrics`, nor `/healthz` except the two readiness
/// options.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct SampleOptions {
    /// Port on 127.0.0.1; 0 takes any free one (printed on the first line of output)
    #[arg(long, env = "PORT", default_value_t = 0)]
    pub(crate) port: u16,
    /// Version that every answer names
    #[arg(long, value_name = "TEXT", default_value = "dev")]
    pub(crate) version_name: String,
    /// Percent of requests answered with status 500 (0 to 100)
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = parse_percent)]
    pub(crate) error_percent: f64,
    /// Percent of requests that fail though they are answered with status 200: only /metrics tells (0 to 100)
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = parse_percent)]
    pub(crate) hidden_error_percent: f64,
    /// Delay of every answer, milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(crate) latency_ms: u32,
    /// Upper end of a random delay added to every answer, milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(crate) latency_jitter_ms: u32,
    /// Percent of requests delayed by a further --slow-ms (0 to 100)
    #[arg(long, value_name = "PERCENT", default_value_t = 0.0, value_parser = parse_percent)]
    pub(crate) slow_percent: f64,
    /// Further delay of the requests chosen by --slow-percent, milliseconds
    #[arg(long, value_name = "MS", default_value_t = 1000)]
    pub(crate) slow_ms: u32,
    /// Exit with status 3 this long after the start, milliseconds
    #[arg(long, value_name = "MS")]
    pub(crate) crash_after_ms: Option<u32>,
    /// Exit with status 3 at this request, leaving it unanswered (probes of /healthz do not count)
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) crash_after_requests: Option<u64>,
    /// Answer /healthz with status 503 for ever
    #[arg(long)]
    pub(crate) never_ready: bool,
    /// Answer /healthz with status 503 for this long after the start, milliseconds
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub(crate) not_ready_ms: u32,
    /// Pad the JSON answer to at least this many bytes (at most 16 MiB)
    #[arg(long, value_name = "BYTES", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=16 << 20))]
    pub(crate) body_bytes: u32,
}

/// Serves on 127.0.0.1 until SIGTERM or SIGINT, finishes the requests at hand, then returns.
///
/// A crash that was asked for ends the process with [`CRASH_EXIT_CODE`] and does not return.
/// Fails when the port cannot be bound or the signals cannot be watched.
pub(crate) async fn serve(options: SampleOptions) -> anyhow::Result<()> {
    let address = (Ipv4Addr::LOCALHOST, options.port);
    let listener = TcpListener::bind(address)
        .await
        .with_context(|| format!("bind the sample service to port {}; choose a free --port", options.port))?;
    let mut terminate = signal(SignalKind::terminate()).context("watch SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("watch SIGINT")?;
    let bound = listener.local_addr().context("read the address of the sample service")?;
    // A closed output must not take the service down.
    let _ = writeln!(std::io::stdout(), "sample {} listens on http://{bound}", options.version_name);
    let stop = async {
        tokio::select! {
            _ = terminate.recv() => (),
            _ = interrupt.recv() => (),
        }
    };
    match run(listener, options, stop).await {
        End::Stopped => Ok(()),
        End::Crashed => std::process::exit(CRASH_EXIT_CODE),
    }
}

/// How the service ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// It was told to stop and the requests at hand were given their time.
    Stopped,
    /// An option asked for a crash; nothing was finished.
    Crashed,
}

type Body = UnsyncBoxBody<Bytes, hyper::Error>;

struct Service {
    options: SampleOptions,
    started: Instant,
    requests: AtomicU64,
    counted: metrics::Counted,
    crash: Notify,
    stopping: watch::Receiver<bool>,
}

async fn run(listener: TcpListener, options: SampleOptions, stop: impl Future<Output = ()>) -> End {
    let (stopping, stop_seen) = watch::channel(false);
    let service = Arc::new(Service {
        options,
        started: Instant::now(),
        requests: AtomicU64::new(0),
        counted: metrics::Counted::default(),
        crash: Notify::new(),
        stopping: stop_seen,
    });
    let mut stop = pin!(stop);
    let mut crash = pin!(service.crashed());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            () = &mut crash => return End::Crashed,
            () = &mut stop => break,
            Some(_) = connections.join_next() => (),
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((stream, _)) => drop(connections.spawn(attend(stream, Arc::clone(&service)))),
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    stopping.send_replace(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    tokio::select! {
        () = &mut crash => End::Crashed,
        _ = tokio::time::timeout(DRAIN_MAX, drained) => End::Stopped,
    }
}

async fn attend(stream: TcpStream, service: Arc<Service>) {
    let answer = service_fn(|request| {
        let service = Arc::clone(&service);
        async move { service.answer(request).await }
    });
    let mut connection = pin!(http1::Builder::new().serve_connection(TokioIo::new(stream), answer));
    tokio::select! {
        // How a connection ended concerns only its client.
        _ = connection.as_mut() => return,
        () = stop_asked(service.stopping.clone()) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

async fn stop_asked(mut stopping: watch::Receiver<bool>) {
    // A vanished sender means that the service is gone: the same as a stop.
    let _ = stopping.wait_for(|asked| *asked).await;
}

impl Service {
    /// Ends when an option asks for the crash; never ends without such an option.
    async fn crashed(&self) {
        match self.options.crash_after_ms {
            Some(after) => {
                let due = self.started + Duration::from_millis(after.into());
                let _ = tokio::time::timeout_at(due, self.crash.notified()).await;
            }
            None => self.crash.notified().await,
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> hyper::Result<Response<Body>> {
        if request.uri().path() == "/healthz" {
            return Ok(self.health());
        }
        if request.uri().path() == "/metrics" {
            return Ok(self.metrics());
        }
        let begun = Instant::now();
        let number = self.requests.fetch_add(1, Ordering::Relaxed) + 1;
        if self.options.crash_after_requests.is_some_and(|last| number >= last) {
            self.crash.notify_one();
            std::future::pending::<()>().await;
        }
        let delay = self.delay();
        // Even a sleep of nothing waits for the timer's next millisecond.
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        let failed = hits(self.options.error_percent);
        self.counted.add(begun.elapsed(), failed || hits(self.options.hidden_error_percent));
        if failed {
            return Ok(text(StatusCode::INTERNAL_SERVER_ERROR, "this failure was asked for\n"));
        }
        Ok(match request.uri().path() {
            "/echo" => Response::new(request.into_body().boxed_unsync()),
            "/stream" => self.stream(asked_ms(request.uri()).unwrap_or(1000)),
            "/slow" => {
                tokio::time::sleep(Duration::from_millis(asked_ms(request.uri()).unwrap_or(1000))).await;
                self.describe(request.uri().path())
            }
            path => self.describe(path),
        })
    }

    fn health(&self) -> Response<Body> {
        let unready = Duration::from_millis(self.options.not_ready_ms.into());
        if self.options.never_ready || self.started.elapsed() < unready {
            return text(StatusCode::SERVICE_UNAVAILABLE, "not ready\n");
        }
        text(StatusCode::OK, "ok\n")
    }

    fn metrics(&self) -> Response<Body> {
        let instance = std::env::var(INSTANCE).unwrap_or_default();
        let release = instance.split('/').nth(1).unwrap_or(&self.options.version_name);
        let mut response = text(StatusCode::OK, self.counted.exposition(release));
        let kind = HeaderValue::from_static("text/plain; version=0.0.4");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }

    fn delay(&self) -> Duration {
        let jitter = fastrand::u32(0..=self.options.latency_jitter_ms);
        let slow = if hits(self.options.slow_percent) { self.options.slow_ms } else { 0 };
        Duration::from_millis(u64::from(self.options.latency_ms) + u64::from(jitter) + u64::from(slow))
    }

    fn describe(&self, path: &str) -> Response<Body> {
        let mut answer = serde_json::json!({
            "version": self.options.version_name,
            "pid": std::process::id(),
            "path": path,
        });
        let length = answer.to_string().len();
        let wanted = usize::try_from(self.options.body_bytes).unwrap_or(usize::MAX);
        if let (Some(fields), true) = (answer.as_object_mut(), wanted > length) {
            fields.insert("padding".into(), "x".repeat(wanted - length).into());
        }
        let mut response = text(StatusCode::OK, answer.to_string());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    /// Server-sent events, one at once and one per tick, until the client leaves or the service stops.
    fn stream(&self, tick_ms: u64) -> Response<Body> {
        let (mut sender, body) = Channel::new(TICKS_BUFFERED);
        let stopping = self.stopping.clone();
        let mut ticks = tokio::time::interval(Duration::from_millis(tick_ms.max(TICK_MS_MIN)));
        tokio::spawn(async move {
            let mut stop = pin!(stop_asked(stopping));
            for number in 0_u64.. {
                tokio::select! {
                    biased;
                    () = &mut stop => return,
                    _ = ticks.tick() => (),
                }
                let event = Bytes::from(format!("event: tick\ndata: {number}\n\n"));
                tokio::select! {
                    () = &mut stop => return,
                    sent = sender.send_data(event) => if sent.is_err() { return },
                }
            }
        });
        let mut response = Response::new(body.boxed_unsync());
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        response
    }
}

fn text(status: StatusCode, content: impl Into<Bytes>) -> Response<Body> {
    let mut response =
        Response::new(Full::new(content.into()).map_err(|never| match never {}).boxed_unsync());
    *response.status_mut() = status;
    response
}

fn hits(percent: f64) -> bool {
    fastrand::f64() * 100.0 < percent
}

fn asked_ms(uri: &Uri) -> Option<u64> {
    let mut pairs = uri.query()?.split('&');
    let asked: u64 = pairs.find_map(|pair| pair.strip_prefix("ms="))?.parse().ok()?;
    Some(asked.min(ASKED_MS_MAX))
}

fn parse_percent(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(percent) if (0.0..=100.0).contains(&percent) => Ok(percent),
        Ok(_) | Err(_) => Err("give a number from 0 to 100".into()),
    }
}
