//! What a load has seen so far: counts, failures with their times, latencies.
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use super::histogram::Histogram;

/// Failures that a report prints.
const SHOWN_MAX: usize = 100;
/// Failures kept with their time and release; older ones survive only in the counts.
pub(crate) const FAILURES_MAX: usize = 10_000;
/// Releases counted apart; any further one is counted under [`OTHER_RELEASES`].
pub(crate) const RELEASES_MAX: usize = 64;
/// Name under which releases beyond [`RELEASES_MAX`] are counted together.
pub(crate) const OTHER_RELEASES: &str = "(other)";

/// Why a user would have seen a request fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum FailureClass {
    /// Answered with a status that is neither 2xx, 3xx nor 4xx.
    Status5xx,
    /// Answered with status 4xx.
    Status4xx,
    /// No connection could be opened.
    Connect,
    /// The connection ended before the answer was complete.
    Reset,
    /// No complete answer within the timeout.
    Timeout,
    /// The answer was not HTTP.
    Malformed,
}

impl FailureClass {
    /// Short name for tables and JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Status5xx => "status_5xx",
            Self::Status4xx => "status_4xx",
            Self::Connect => "connect",
            Self::Reset => "reset",
            Self::Timeout => "timeout",
            Self::Malformed => "malformed",
        }
    }
}

/// One failed request.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// Wall time at which it was sent.
    pub(crate) sent_at: SystemTime,
    /// Wall time at which it had failed.
    pub(crate) failed_at: SystemTime,
    /// How it failed.
    pub(crate) class: FailureClass,
    /// The release that answered, when an answer named one.
    pub(crate) release: Option<String>,
}

/// What one release answered. Times are wall times at which the answer was complete or had failed.
#[derive(Debug, Clone)]
pub(crate) struct ReleaseCount {
    /// Answers with 2xx or 3xx.
    pub(crate) ok: u64,
    /// Answers that count as failed.
    pub(crate) failed: u64,
    /// First answer.
    pub(crate) first_at: SystemTime,
    /// Last answer: after a rollback, when the last user left the release.
    pub(crate) last_at: SystemTime,
}

/// Everything a load has counted up to one moment; all figures belong to the same moment.
///
/// `sent = ok + failed + in_flight` holds always; `scheduled = sent + not_sent` after the load has stopped.
#[derive(Debug, Clone)]
pub(crate) struct LoadReport {
    /// Time since the load started.
    pub(crate) elapsed: Duration,
    /// Requests that were due.
    pub(crate) scheduled: u64,
    /// Requests given to a connection.
    pub(crate) sent: u64,
    /// Requests answered completely with 2xx or 3xx.
    pub(crate) ok: u64,
    /// Requests that failed, all classes.
    pub(crate) failed: u64,
    /// The same, by class; a class without failures is absent.
    pub(crate) failed_by_class: BTreeMap<FailureClass, u64>,
    /// Requests given up by the load itself: no connection was free in time. The target never saw them.
    pub(crate) not_sent: u64,
    /// Requests sent and neither answered nor failed.
    pub(crate) in_flight: u64,
    /// Connections closed by the server between two requests and opened again, which no user notices.
    pub(crate) reconnected: u64,
    /// Answers by the release that the proxy named; answers that name none are not here.
    pub(crate) releases: BTreeMap<String, ReleaseCount>,
    /// From the moment a request was due to its last byte; only requests answered (any status) or timed out.
    /// Holds the load's own lag, up to about 2 ms: its timer wakes on whole milliseconds.
    pub(crate) latency: Histogram,
    /// The same requests, from the moment they were sent.
    pub(crate) service_time: Histogram,
    /// When the first failure was seen.
    pub(crate) first_failure_at: Option<SystemTime>,
    /// When the last failure was seen.
    pub(crate) last_failure_at: Option<SystemTime>,
    /// The last failures, oldest first, at most [`FAILURES_MAX`].
    pub(crate) failures: VecDeque<Failure>,
}

impl LoadReport {
    #[cfg(test)]
    /// Failed requests that were sent at or after `moment`; `None` when failures that may belong to them are no
    /// longer kept.
    pub(crate) fn failed_since(&self, moment: SystemTime) -> Option<u64> {
        let kept = self.failures.len() as u64;
        let complete =
            kept == self.failed || self.failures.front().is_some_and(|oldest| oldest.failed_at < moment);
        let since = self.failures.iter().filter(|failure| failure.sent_at >= moment);
        complete.then(|| since.count() as u64)
    }

    /// One JSON object: counts, times in milliseconds (since 1970 where the name ends in `_at_ms`), and the newest
    /// [`SHOWN_MAX`] failures.
    pub(crate) fn to_json(&self) -> serde_json::Value {
        let classes =
            self.failed_by_class.iter().map(|(class, count)| (class.name().to_owned(), (*count).into()));
        let releases = self.releases.iter().map(|(name, count)| {
            let count = serde_json::json!({
                "ok": count.ok, "failed": count.failed,
                "first_at_ms": unix_ms(count.first_at), "last_at_ms": unix_ms(count.last_at),
            });
            (name.clone(), count)
        });
        let failures = self.failures.iter().rev().take(SHOWN_MAX).map(|failure| {
            serde_json::json!({
                "sent_at_ms": unix_ms(failure.sent_at), "failed_at_ms": unix_ms(failure.failed_at),
                "class": failure.class.name(), "release": failure.release,
            })
        });
        serde_json::json!({
            "failures": failures.collect::<Vec<_>>(),
            "elapsed_ms": ms(self.elapsed), "scheduled": self.scheduled, "sent": self.sent, "ok": self.ok,
            "failed": self.failed, "failed_by_class": classes.collect::<serde_json::Map<_, _>>(),
            "not_sent": self.not_sent, "in_flight": self.in_flight, "reconnected": self.reconnected,
            "releases": releases.collect::<serde_json::Map<_, _>>(),
            "latency_ms": quantiles_json(&self.latency), "service_time_ms": quantiles_json(&self.service_time),
            "first_failure_at_ms": self.first_failure_at.map(unix_ms),
            "last_failure_at_ms": self.last_failure_at.map(unix_ms),
        })
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.elapsed.as_secs_f64();
        let rate = if seconds > 0.0 { self.sent as f64 / seconds } else { 0.0 };
        writeln!(
            f,
            "sent          {} in {seconds:.1} s ({rate:.1}/s), {} in flight",
            self.sent, self.in_flight
        )?;
        writeln!(f, "ok            {}", self.ok)?;
        writeln!(f, "failed        {}", self.failed)?;
        for (class, count) in &self.failed_by_class {
            writeln!(f, "  {:<11} {count}", class.name())?;
        }
        writeln!(f, "not sent      {}", self.not_sent)?;
        writeln!(f, "reconnected   {}", self.reconnected)?;
        for (name, count) in &self.releases {
            writeln!(f, "release {name}: {} ok, {} failed", count.ok, count.failed)?;
        }
        for (name, histogram) in [("latency", &self.latency), ("service time", &self.service_time)] {
            write!(f, "{name:<13}")?;
            for (label, value) in quantiles(histogram) {
                match value {
                    Some(value) => write!(f, " {label} {:.2} ms", ms(value))?,
                    None => write!(f, " {label} none")?,
                }
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

fn quantiles(histogram: &Histogram) -> [(&'static str, Option<Duration>); 4] {
    [
        ("p50", histogram.quantile(0.5)),
        ("p99", histogram.quantile(0.99)),
        ("p99.9", histogram.quantile(0.999)),
        ("max", histogram.longest()),
    ]
}

fn quantiles_json(histogram: &Histogram) -> serde_json::Value {
    let named = quantiles(histogram).map(|(label, value)| (label.to_owned(), value.map(ms).into()));
    named.into_iter().collect::<serde_json::Map<_, _>>().into()
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

fn unix_ms(at: SystemTime) -> u64 {
    // A clock before 1970 reads as 1970.
    let since = at.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// How one exchange ended.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) release: Option<String>,
    /// `None` is success.
    pub(super) failure: Option<FailureClass>,
}

/// The moments of one exchange.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moments {
    pub(super) due: Instant,
    pub(super) sent: Instant,
    pub(super) sent_at: SystemTime,
}

/// The report in the making, shared by the load's thread and its readers.
#[derive(Debug)]
pub(super) struct Tally {
    started: Instant,
    report: Mutex<LoadReport>,
}

impl Tally {
    pub(super) fn new() -> Self {
        let report = LoadReport {
            elapsed: Duration::ZERO,
            scheduled: 0,
            sent: 0,
            ok: 0,
            failed: 0,
            failed_by_class: BTreeMap::new(),
            not_sent: 0,
            in_flight: 0,
            reconnected: 0,
            releases: BTreeMap::new(),
            latency: Histogram::new(),
            service_time: Histogram::new(),
            first_failure_at: None,
            last_failure_at: None,
            failures: VecDeque::new(),
        };
        Self { started: Instant::now(), report: Mutex::new(report) }
    }

    pub(super) fn snapshot(&self) -> LoadReport {
        let mut report = self.report().clone();
        report.elapsed = self.started.elapsed();
        report
    }

    pub(super) fn scheduled(&self) {
        self.report().scheduled += 1;
    }

    pub(super) fn not_sent(&self) {
        self.report().not_sent += 1;
    }

    pub(super) fn sent(&self) {
        let mut report = self.report();
        report.sent += 1;
        report.in_flight += 1;
    }

    /// Counts the end of an exchange that [`Self::sent`] has counted.
    pub(super) fn ended(&self, moments: Moments, seen: Seen, reconnected: u64) {
        let (now, now_at) = (Instant::now(), SystemTime::now());
        let mut report = self.report();
        report.in_flight = report.in_flight.saturating_sub(1);
        report.reconnected += reconnected;
        if !matches!(
            seen.failure,
            Some(FailureClass::Connect | FailureClass::Reset | FailureClass::Malformed)
        ) {
            report.latency.record(now.saturating_duration_since(moments.due));
            report.service_time.record(now.saturating_duration_since(moments.sent));
        }
        if let Some(name) = &seen.release {
            report.count_release(name, seen.failure.is_some(), now_at);
        }
        match seen.failure {
            None => report.ok += 1,
            Some(class) => report.count_failure(Failure {
                sent_at: moments.sent_at,
                failed_at: now_at,
                class,
                release: seen.release,
            }),
        }
    }

    fn report(&self) -> MutexGuard<'_, LoadReport> {
        // Counts stay usable whatever happened to another holder.
        self.report.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LoadReport {
    fn count_release(&mut self, name: &str, failed: bool, at: SystemTime) {
        let known = self.releases.contains_key(name) || self.releases.len() < RELEASES_MAX;
        let name = if known { name } else { OTHER_RELEASES };
        let new = ReleaseCount { ok: 0, failed: 0, first_at: at, last_at: at };
        let count = self.releases.entry(name.to_owned()).or_insert(new);
        count.last_at = at;
        *(if failed { &mut count.failed } else { &mut count.ok }) += 1;
    }

    fn count_failure(&mut self, failure: Failure) {
        self.failed += 1;
        *self.failed_by_class.entry(failure.class).or_insert(0) += 1;
        self.first_failure_at.get_or_insert(failure.failed_at);
        self.last_failure_at = Some(failure.failed_at);
        if self.failures.len() == FAILURES_MAX {
            self.failures.pop_front();
        }
        self.failures.push_back(failure);
    }
}
