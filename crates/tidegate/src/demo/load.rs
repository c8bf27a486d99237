//! An open-loop load generator: requests are due at fixed moments, whatever the answers do.
//!
//! A closed loop waits for slow answers and so hides them; here latency counts from the moment a request was due.
//! Nothing is retried: every failure that a user would see is counted. It runs on a thread of its own, so that a
//! busy process does not disturb the schedule.
pub(crate) mod client;
pub(crate) mod histogram;
pub(crate) mod report;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Context as _;
use hyper::header::{HOST, HeaderValue};
use hyper::{HeaderMap, Uri};
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Mutex, mpsc, oneshot, watch};
use tokio::task::JoinSet;

use client::{Client, Target};
use report::{LoadReport, Moments, Tally};

/// Highest rate, requests per second; one core cannot keep a higher promise.
pub(crate) const RATE_MAX: f64 = 100_000.0;
/// Most connections of one load.
pub(crate) const CONNECTIONS_MAX: usize = 1024;

/// Lowest rate above 0, requests per second: keeps every interval representable.
const RATE_MIN: f64 = 0.001;
/// Requests that wait for a free connection; at most this many plus one per connection are under way at once.
const WAITING_MAX: usize = 1024;

/// What to send, where and how fast.
#[derive(Debug, Clone)]
pub(crate) struct LoadOptions {
    /// Address to connect to.
    pub(crate) address: SocketAddr,
    /// Requests per second: 0 (paused) or 0.001 to [`RATE_MAX`].
    pub(crate) rate: f64,
    /// Keep-alive HTTP/1.1 connections, 1 to [`CONNECTIONS_MAX`]; each carries one request at a time.
    pub(crate) connections: usize,
    /// Path and query of every GET, beginning with `/`.
    pub(crate) path: String,
    /// Bound of one exchange, connecting included, and of the wait for a free connection.
    pub(crate) timeout: Duration,
    /// Further request headers; `host` is the address unless it is among them.
    pub(crate) headers: HeaderMap,
    /// Ends the load by itself after this many requests.
    pub(crate) count: Option<u64>,
}

/// A running load. Dropping it stops it without waiting for the requests under way.
#[derive(Debug)]
pub(crate) struct Load {
    tally: Arc<Tally>,
    rate: watch::Sender<f64>,
    done: oneshot::Receiver<()>,
}

impl Load {
    /// Starts sending at once. Fails on options out of range, or when no thread can be started.
    pub(crate) fn start(options: LoadOptions) -> anyhow::Result<Self> {
        anyhow::ensure!(
            (1..=CONNECTIONS_MAX).contains(&options.connections),
            "start a load over {} connections: choose 1 to {CONNECTIONS_MAX}",
            options.connections
        );
        let (rate, rate_seen) = watch::channel(valid_rate(options.rate)?);
        let target = Arc::new(target_of(&options)?);
        let tally = Arc::new(Tally::new());
        let (ended, done) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start the runtime of the load generator")?;
        let drive = drive(options, target, rate_seen, Arc::clone(&tally));
        std::thread::Builder::new()
            .name("load".into())
            .spawn(move || {
                runtime.block_on(drive);
                // Nobody waits when the load was dropped.
                let _ = ended.send(());
            })
            .context("start the thread of the load generator")?;
        Ok(Self { tally, rate, done })
    }

    /// Everything counted so far.
    pub(crate) fn snapshot(&self) -> LoadReport {
        self.tally.snapshot()
    }

    #[cfg(test)]
    /// Changes the rate from now on; 0 pauses. Fails, changing nothing, on a rate out of range.
    pub(crate) fn set_rate(&self, rate: f64) -> anyhow::Result<()> {
        self.rate.send_replace(valid_rate(rate)?);
        Ok(())
    }

    /// Stops sending, waits for the requests under way (at most twice the timeout) and reports.
    ///
    /// A future, because the process that waits often also serves the requests waited for.
    pub(crate) async fn stop(self) -> LoadReport {
        let Self { tally, rate, done } = self;
        drop(rate);
        // An error means that the thread is gone: equally done.
        let _ = done.await;
        tally.snapshot()
    }

    #[cfg(test)]
    /// Waits until a load with a `count` has ended by itself and reports. Without a `count` this never ends.
    pub(crate) async fn finish(mut self) -> LoadReport {
        let _ = (&mut self.done).await;
        self.tally.snapshot()
    }
}

/// Options of the hidden verb `tidegate load`.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct LoadArgs {
    /// Where to send: http://ADDRESS:PORT/PATH, the address numeric
    #[arg(long)]
    url: Uri,
    /// Requests per second
    #[arg(long, value_name = "PER_SECOND", default_value_t = 100.0)]
    rate: f64,
    /// How long to send, seconds
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    duration: f64,
    /// Keep-alive connections
    #[arg(long, value_name = "COUNT", default_value_t = 16)]
    connections: usize,
    /// Longest wait for one answer, milliseconds
    #[arg(long, value_name = "MS", default_value_t = 5000)]
    timeout_ms: u64,
    /// Print one line of JSON in place of the table
    #[arg(long)]
    json: bool,
}

/// Runs a load for the asked duration, or until SIGINT, and prints its report on standard output.
pub(crate) async fn run(arguments: LoadArgs) -> anyhow::Result<()> {
    let duration =
        Duration::try_from_secs_f64(arguments.duration).context("read --duration; give seconds")?;
    let LoadArgs { url, rate, connections, timeout_ms, json, duration: _ } = arguments;
    anyhow::ensure!(url.scheme_str() == Some("http"), "read --url {url}: only http:// can be sent to");
    let host = url.authority().map(hyper::http::uri::Authority::as_str).unwrap_or_default();
    let address = host.parse().with_context(|| format!("read --url {url}; give http://ADDRESS:PORT/PATH"))?;
    let path = url.path_and_query().map_or_else(|| "/".into(), ToString::to_string);
    let timeout = Duration::from_millis(timeout_ms);
    let headers = HeaderMap::new();
    let load = Load::start(LoadOptions { address, rate, connections, path, timeout, headers, count: None })?;
    tokio::select! {
        () = tokio::time::sleep(duration) => (),
        interrupted = tokio::signal::ctrl_c() => interrupted.context("watch SIGINT")?,
    }
    let report = load.stop().await;
    let text = if json { format!("{}\n", report.to_json()) } else { report.to_string() };
    std::io::stdout().write_all(text.as_bytes()).context("print the report of the load")
}

fn valid_rate(rate: f64) -> anyhow::Result<f64> {
    // The comparison with zero is meant exactly: it is the one value below the range that is allowed.
    anyhow::ensure!(
        rate.abs() < f64::MIN_POSITIVE || (RATE_MIN..=RATE_MAX).contains(&rate),
        "send {rate} requests per second: choose 0, or {RATE_MIN} to {RATE_MAX}"
    );
    Ok(rate)
}

fn target_of(options: &LoadOptions) -> anyhow::Result<Target> {
    let path = &options.path;
    let uri: Uri = path.parse().with_context(|| format!("send requests to the path {path:?}"))?;
    anyhow::ensure!(path.starts_with('/'), "send requests to the path {path:?}: it must begin with /");
    let mut headers = options.headers.clone();
    if !headers.contains_key(HOST) {
        let host = HeaderValue::try_from(options.address.to_string()).context("name the host")?;
        headers.insert(HOST, host);
    }
    Ok(Target { address: options.address, uri, headers, timeout: options.timeout })
}

/// Runs schedule and connections until the schedule ends and nothing is under way.
async fn drive(options: LoadOptions, target: Arc<Target>, rate: watch::Receiver<f64>, tally: Arc<Tally>) {
    let (due, waiting) = mpsc::channel(WAITING_MAX);
    let waiting = Arc::new(Mutex::new(waiting));
    let mut connections = JoinSet::new();
    for _ in 0..options.connections {
        connections.spawn(carry(Arc::clone(&waiting), Arc::clone(&target), Arc::clone(&tally)));
    }
    schedule(rate, due, options.count, &tally).await;
    while connections.join_next().await.is_some() {}
}

/// Emits the moments at which requests are due, until the count is reached or the rate's owner is gone.
async fn schedule(
    mut rate: watch::Receiver<f64>,
    waiting: mpsc::Sender<Instant>,
    count: Option<u64>,
    tally: &Tally,
) {
    let mut due = Instant::now();
    let mut scheduled = 0;
    while count.is_none_or(|count| scheduled < count) {
        let interval = interval_of(*rate.borrow_and_update());
        let now = Instant::now();
        // After a pause or a faster rate the old moment no longer counts; a lag behind it does.
        due = interval.map_or(due, |interval| due.min(now + interval));
        let elapsed = async {
            match interval {
                Some(_) => tokio::time::sleep_until(due.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            changed = rate.changed() => {
                if changed.is_err() {
                    return;
                }
                // No burst for the time of a pause.
                due = if interval.is_none() { Instant::now() } else { due };
                continue;
            },
            () = elapsed => (),
        }
        scheduled += 1;
        tally.scheduled();
        match waiting.try_send(due) {
            Ok(()) => (),
            Err(TrySendError::Full(_)) => tally.not_sent(),
            Err(TrySendError::Closed(_)) => return,
        }
        due += interval.unwrap_or_default();
        // Lets the connections take what is due before more is added, should the schedule be behind.
        tokio::task::yield_now().await;
    }
}

fn interval_of(rate: f64) -> Option<Duration> {
    if rate < RATE_MIN { None } else { Duration::try_from_secs_f64(rate.recip()).ok() }
}

/// Carries due requests over one connection, one at a time, until no more can come.
async fn carry(waiting: Arc<Mutex<mpsc::Receiver<Instant>>>, target: Arc<Target>, tally: Arc<Tally>) {
    let mut client = Client::default();
    loop {
        let next = waiting.lock().await.recv().await;
        let Some(due) = next else { return };
        if due.elapsed() > target.timeout {
            tally.not_sent();
            continue;
        }
        let moments = Moments { due, sent: Instant::now(), sent_at: SystemTime::now() };
        tally.sent();
        let seen = client.exchange(&target).await;
        tally.ended(moments, seen, std::mem::take(&mut client.reconnected));
    }
}
