//! Counters of what users saw, per release and thread; merged when somebody reads.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use crate::histogram::{self, Histogram};
use crate::protocol::{Failures, MirrorCounters, ReleaseCounters, ServiceCounters};

/// Releases of one service whose counters are kept; the oldest one out of the table leaves first.
const RELEASES_MAX: usize = 64;
/// Examples of differing answers kept per service.
const EXAMPLES_MAX: usize = 16;

/// Why a request failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    ServerError,
    Connect,
    Reset,
    Timeout,
    Unavailable,
}

/// One thread's counters of one release. Only that thread writes, so adding needs no locked instruction; the alignment
/// keeps two threads' counters off one cache line.
#[repr(align(128))]
pub(crate) struct ThreadStats {
    started: AtomicU64,
    ended: AtomicU64,
    failures: [AtomicU64; 5],
    upgraded_opened: AtomicU64,
    upgraded_closed: AtomicU64,
    bytes_in: AtomicU64,
    bytes_out: AtomicU64,
    latency_sum_us: AtomicU64,
    latency: Histogram,
}

fn add(counter: &AtomicU64, count: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(count), Relaxed);
}

impl ThreadStats {
    fn new() -> Self {
        Self {
            started: AtomicU64::new(0),
            ended: AtomicU64::new(0),
            failures: [const { AtomicU64::new(0) }; 5],
            upgraded_opened: AtomicU64::new(0),
            upgraded_closed: AtomicU64::new(0),
            bytes_in: AtomicU64::new(0),
            bytes_out: AtomicU64::new(0),
            latency_sum_us: AtomicU64::new(0),
            latency: Histogram::new(),
        }
    }

    /// A request was given to the release.
    pub(crate) fn start(&self) {
        add(&self.started, 1);
    }

    /// A request ended, well or not; `latency_us` when the release answered it.
    pub(crate) fn end(&self, failure: Option<Failure>, latency_us: Option<u64>) {
        add(&self.ended, 1);
        if let Some(counter) = failure.and_then(|failure| self.failures.get(failure as usize)) {
            add(counter, 1);
        }
        if let Some(us) = latency_us {
            add(&self.latency_sum_us, us);
            self.latency.record(us);
        }
    }

    /// A connection was upgraded.
    pub(crate) fn upgraded(&self) {
        add(&self.upgraded_opened, 1);
    }

    /// An upgraded connection closed.
    pub(crate) fn upgraded_closed(&self) {
        add(&self.upgraded_closed, 1);
    }

    /// Body bytes came from a user.
    pub(crate) fn bytes_in(&self, bytes: u64) {
        add(&self.bytes_in, bytes);
    }

    /// Body bytes went to a user.
    pub(crate) fn bytes_out(&self, bytes: u64) {
        add(&self.bytes_out, bytes);
    }
}

/// One release's counters over all threads.
pub(crate) struct ReleaseStats {
    release: String,
    threads: Box<[ThreadStats]>,
}

impl ReleaseStats {
    fn new(release: &str, workers: usize) -> Self {
        Self {
            release: release.to_owned(),
            threads: (0..workers.max(1)).map(|_| ThreadStats::new()).collect(),
        }
    }

    /// The counters that worker number `worker` writes.
    pub(crate) fn thread(&self, worker: usize) -> Option<&ThreadStats> {
        self.threads.get(worker)
    }

    fn read(&self) -> ReleaseCounters {
        let mut counters = ReleaseCounters { release: self.release.clone(), ..ReleaseCounters::default() };
        let mut latency = Vec::new();
        for thread in &self.threads {
            // Ended is read first, so that a request that ends in between cannot make "in flight" negative.
            let ended = thread.ended.load(Relaxed);
            counters.requests += ended;
            counters.in_flight += thread.started.load(Relaxed).saturating_sub(ended);
            add_failures(&mut counters.failures, &thread.failures);
            let closed = thread.upgraded_closed.load(Relaxed);
            counters.upgraded += thread.upgraded_opened.load(Relaxed).saturating_sub(closed);
            counters.bytes_in += thread.bytes_in.load(Relaxed);
            counters.bytes_out += thread.bytes_out.load(Relaxed);
            counters.latency_sum_us += thread.latency_sum_us.load(Relaxed);
            thread.latency.add_to(&mut latency);
        }
        counters.latency_us = histogram::pairs(&latency);
        counters
    }
}

fn add_failures(sum: &mut Failures, counters: &[AtomicU64; 5]) {
    let [server_error, connect, reset, timeout, unavailable] =
        counters.each_ref().map(|one| one.load(Relaxed));
    sum.server_error += server_error;
    sum.connect += connect;
    sum.reset += reset;
    sum.timeout += timeout;
    sum.unavailable += unavailable;
}

/// Counters of one service.
pub(crate) struct ServiceStats {
    workers: usize,
    releases: Mutex<Vec<Arc<ReleaseStats>>>,
    unrouted: AtomicU64,
    mirror: Mutex<Option<MirrorCounters>>,
}

impl ServiceStats {
    pub(crate) fn new(workers: usize) -> Self {
        Self {
            workers,
            releases: Mutex::new(Vec::new()),
            unrouted: AtomicU64::new(0),
            mirror: Mutex::new(None),
        }
    }

    /// The counters of a release, made when it has none yet. `routed` tells which releases must keep theirs.
    pub(crate) fn release(&self, release: &str, routed: &dyn Fn(&str) -> bool) -> Arc<ReleaseStats> {
        let mut releases = self.releases.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = releases.iter().find(|stats| stats.release == release) {
            return Arc::clone(found);
        }
        if releases.len() >= RELEASES_MAX
            && let Some(oldest) = releases.iter().position(|stats| !routed(&stats.release))
        {
            releases.remove(oldest);
        }
        let made = Arc::new(ReleaseStats::new(release, self.workers));
        releases.push(Arc::clone(&made));
        made
    }

    /// A request that no release answered.
    pub(crate) fn unrouted(&self) {
        self.unrouted.fetch_add(1, Relaxed);
    }

    /// Changes the mirror's counters; they start anew when the shadow release is another one.
    pub(crate) fn mirror(&self, release: &str, change: impl FnOnce(&mut MirrorCounters)) {
        let mut mirror = self.mirror.lock().unwrap_or_else(PoisonError::into_inner);
        let counters = match mirror.take() {
            Some(counters) if counters.release == release => counters,
            Some(_) | None => MirrorCounters { release: release.to_owned(), ..MirrorCounters::default() },
        };
        let counters = mirror.insert(counters);
        change(counters);
        keep_telling(&mut counters.examples);
    }

    /// All counters as they are now.
    pub(crate) fn read(&self, service: &str) -> ServiceCounters {
        let releases = self.releases.lock().unwrap_or_else(PoisonError::into_inner).clone();
        ServiceCounters {
            service: service.to_owned(),
            releases: releases.iter().map(|release| release.read()).collect(),
            unrouted: self.unrouted.load(Relaxed),
            mirror: self.mirror.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// The newest example stays if it is not there already. Where there are too many, the oldest of the most frequent kind goes
/// (a kind is what follows the last colon, as `200/500` or `body differs`), so that many of one leave room for the others.
fn keep_telling(examples: &mut Vec<String>) {
    if examples.split_last().is_some_and(|(newest, before)| before.contains(newest)) {
        examples.pop();
    }
    if examples.len() <= EXAMPLES_MAX {
        return;
    }
    let like = |one: &str| examples.iter().filter(|other| kind(other) == kind(one)).count();
    let most = examples.iter().map(|one| like(one)).max().unwrap_or(0);
    if let Some(oldest) = examples.iter().position(|one| like(one) == most) {
        examples.remove(oldest);
    }
}

fn kind(example: &str) -> &str {
    example.rsplit_once(": ").map_or("", |(_, what)| what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_counts_in_flight_until_it_ends_and_then_in_its_class() {
        let stats = ServiceStats::new(2);
        let release = stats.release("a", &|_| true);
        release.thread(0).expect("first").start();
        release.thread(1).expect("second").start();
        release.thread(1).expect("second").end(Some(Failure::Timeout), None);
        let read = stats.read("shop").releases.remove(0);
        assert_eq!(
            (read.requests, read.in_flight, read.failures.timeout, read.latency_us.len()),
            (1, 1, 1, 0)
        );
    }

    #[test]
    fn the_oldest_release_out_of_the_table_leaves_first() {
        let stats = ServiceStats::new(1);
        for number in 0..RELEASES_MAX {
            stats.release(&number.to_string(), &|_| true);
        }
        stats.release("new", &|release| release == "0");
        let names: Vec<String> = stats.read("s").releases.into_iter().map(|one| one.release).collect();
        assert_eq!(names.len(), RELEASES_MAX);
        assert!(names.contains(&"0".to_owned()) && !names.contains(&"1".to_owned()));
    }

    #[test]
    fn many_examples_of_one_kind_leave_room_for_those_of_another() {
        let stats = ServiceStats::new(1);
        stats.mirror("a", |mirror| mirror.examples.push("GET /: 200/500".to_owned()));
        for number in 0..100 {
            let example = format!("GET /{}: body differs", number % 40);
            stats.mirror("a", |mirror| mirror.examples.push(example));
        }
        let mut examples = stats.read("s").mirror.expect("mirror").examples;
        assert_eq!((examples.len(), examples.first().map(String::as_str)), (16, Some("GET /: 200/500")));
        examples.sort();
        examples.dedup();
        assert_eq!(examples.len(), 16, "no two are the same");
    }

    #[test]
    fn mirror_counters_start_anew_for_another_shadow_and_keep_sixteen_examples() {
        let stats = ServiceStats::new(1);
        for number in 0..20 {
            stats.mirror("a", |mirror| mirror.examples.push(number.to_string()));
        }
        let examples = stats.read("s").mirror.expect("mirror").examples;
        assert_eq!((examples.len(), examples.first().map(String::as_str)), (16, Some("4")));
        stats.mirror("b", |mirror| mirror.answered += 1);
        assert_eq!(
            stats.read("s").mirror.map(|mirror| (mirror.answered, mirror.examples.len())),
            Some((1, 0))
        );
    }
}
