//! What the sample service counts, as a real one would show it to Prometheus.

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper edges of the latency histogram, milliseconds.
const EDGES_MS: [u64; 9] = [5, 10, 25, 50, 100, 250, 500, 1_000, 2_500];

/// Counters since the start.
#[derive(Debug, Default)]
pub(super) struct Counted {
    requests: AtomicU64,
    failures: AtomicU64,
    latency: [AtomicU64; EDGES_MS.len()],
    latency_us: AtomicU64,
}

impl Counted {
    /// A request was answered after so long; a failure may be one that its answer did not show.
    pub(super) fn add(&self, took: Duration, failed: bool) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.failures.fetch_add(failed.into(), Ordering::Relaxed);
        let us = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
        self.latency_us.fetch_add(us, Ordering::Relaxed);
        // Beyond the last edge only the count of all requests tells of it.
        if let Some((_, bucket)) = EDGES_MS.iter().zip(&self.latency).find(|(edge, _)| us <= **edge * 1_000) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// All of it in the text format of Prometheus, with the release as the supervisor names it.
    pub(super) fn exposition(&self, release: &str) -> String {
        let labels = format!("release=\"{}\"", release.replace(['\\', '"', '\n'], "_"));
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (requests, failures) = (of(&self.requests), of(&self.failures));
        let mut text = format!(
            "# TYPE sample_requests_total counter\nsample_requests_total{{{labels}}} {requests}\n\
             # TYPE sample_failures_total counter\nsample_failures_total{{{labels}}} {failures}\n\
             # TYPE sample_seconds histogram\n"
        );
        let mut below = 0;
        for (edge, bucket) in EDGES_MS.iter().zip(&self.latency) {
            below += of(bucket);
            let edge = format!("{}.{:03}", edge / 1_000, edge % 1_000);
            // Writing to a string cannot fail.
            let _ = writeln!(text, "sample_seconds_bucket{{{labels},le=\"{edge}\"}} {below}");
        }
        // Read after the buckets, which are counted later: no bucket may hold more than the one above.
        let (all, seconds) = (of(&self.requests).max(below), of(&self.latency_us) as f64 / 1e6);
        let _ = write!(
            text,
            "sample_seconds_bucket{{{labels},le=\"+Inf\"}} {all}\nsample_seconds_sum{{{labels}}} {seconds}\n\
             sample_seconds_count{{{labels}}} {all}\n"
        );
        text
    }
}
