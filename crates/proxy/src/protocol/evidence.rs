//! Raw counters: facts, never verdicts.

use serde::{Deserialize, Serialize};

/// Cumulative counters of all releases of the asked services since the process started.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CountersReport {
    /// Random name of the process's life; when it changes, counters restarted from zero.
    pub boot: String,
    /// When they were read, milliseconds since the Unix epoch.
    pub at_unix_ms: i64,
    /// One entry per service.
    pub services: Vec<ServiceCounters>,
}

/// Counters of one service.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ServiceCounters {
    /// The service.
    pub service: String,
    /// Releases that have or had traffic since the process started, at most 64; the oldest idle one leaves first.
    pub releases: Vec<ReleaseCounters>,
    /// Requests that no release answered (no healthy endpoint, held too long, over the in-flight bound).
    pub unrouted: u64,
    /// Mirroring, when any happened.
    pub mirror: Option<MirrorCounters>,
}

/// Counters of one release: what users saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ReleaseCounters {
    /// The release.
    pub release: String,
    /// Requests ended, whatever the answer.
    pub requests: u64,
    /// Of those, failed.
    pub failures: Failures,
    /// Requests in flight now.
    pub in_flight: u64,
    /// Upgraded connections (WebSocket) open now.
    pub upgraded: u64,
    /// Body bytes from users.
    pub bytes_in: u64,
    /// Body bytes to users.
    pub bytes_out: u64,
    /// Latency from the request's head to the answer's end of body, of every request that got an answer: pairs
    /// `(upper edge in microseconds, count)` of the non-empty buckets, edges rising, counts **not** cumulative.
    pub latency_us: Vec<(u64, u64)>,
    /// Sum of those latencies, microseconds.
    pub latency_sum_us: u64,
}

/// Failed requests by class; the classes do not overlap. When nothing of a request reached a release that the split chose
/// (`connect`, `unavailable`), the stable release answers it where it can: the failure counts here, and the user sees the
/// stable release's answer, which counts there. Requests of a rule are not handed on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failures {
    /// The release answered 5xx.
    pub server_error: u64,
    /// No connection could be made.
    pub connect: u64,
    /// The connection broke, or the answer was malformed or cut short.
    pub reset: u64,
    /// No answer in time.
    pub timeout: u64,
    /// No healthy endpoint of the release.
    pub unavailable: u64,
}

/// What mirroring saw.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct MirrorCounters {
    /// The shadow release.
    pub release: String,
    /// Copies sent and answered.
    pub answered: u64,
    /// Copies that failed (connect, reset, time-out).
    pub failed: u64,
    /// Copies dropped because too many were in flight.
    pub dropped: u64,
    /// Requests not copied because the body was too large.
    pub too_large: u64,
    /// Answers whose status differed from the users'.
    pub status_differs: u64,
    /// Answers with the same status whose body differed.
    pub body_differs: u64,
    /// Answers that took more than twice as long, and 10 ms more, than the users'.
    pub slower: u64,
    /// At most 16 examples, newest last: `METHOD path: 200/500`, bodies never included.
    pub examples: Vec<String>,
}
