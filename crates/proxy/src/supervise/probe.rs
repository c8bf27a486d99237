//! Readiness: one probe, and what a row of them means.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::protocol::{ProbeKind, Readiness};

/// Longest status line, bytes.
const STATUS_LINE_BYTES_MAX: usize = 1_024;
/// Of the answer's body this much is read, so that a normal server sees its answer taken; bytes.
const BODY_BYTES_MAX: u64 = 64 * 1_024;
/// Failures in a row that take a ready instance out of traffic.
const FAILURES_MAX: u32 = 3;
/// Shortest time between probes of an instance that has been ready.
const WATCH_INTERVAL_MS_MIN: u64 = 1_000;
/// Shortest time between probes of a starting instance.
const START_INTERVAL_MS_MIN: u64 = 10;

/// Probes once; the error is a phrase for a person.
pub(super) async fn probe(kind: &ProbeKind, address: SocketAddr, timeout: Duration) -> Result<(), String> {
    let attempt = async {
        match kind {
            ProbeKind::Tcp => {
                TcpStream::connect(address).await.map(drop).map_err(|e| connect_failed(address, &e))
            }
            ProbeKind::Http(path) => get(path, address).await,
        }
    };
    match tokio::time::timeout(timeout, attempt).await {
        Ok(result) => result,
        Err(_) => Err(format!("no answer from {address} within {} ms", timeout.as_millis())),
    }
}

async fn get(path: &str, address: SocketAddr) -> Result<(), String> {
    let mut stream = TcpStream::connect(address).await.map_err(|e| connect_failed(address, &e))?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: tidegate-probe\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    );
    let broken = |error: io::Error| format!("GET {path}: the connection broke: {error}");
    stream.write_all(request.as_bytes()).await.map_err(broken)?;
    let line = status_line(&mut stream).await.map_err(broken)?;
    let status = parse_status(&line).ok_or_else(|| format!("GET {path}: the answer is not HTTP/1"))?;
    // The verdict is known; a body that breaks off changes nothing about it.
    let _read = tokio::io::copy(&mut stream.take(BODY_BYTES_MAX), &mut tokio::io::sink()).await;
    if (200..400).contains(&status) { Ok(()) } else { Err(format!("GET {path} answered {status}")) }
}

async fn status_line(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut line = Vec::with_capacity(64);
    while line.len() < STATUS_LINE_BYTES_MAX {
        match stream.read_u8().await {
            Ok(b'\n') => break,
            Ok(byte) => line.push(byte),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
            Err(error) => return Err(error),
        }
    }
    Ok(line)
}

fn parse_status(line: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(line).ok()?;
    let rest = line.strip_prefix("HTTP/1.1 ").or_else(|| line.strip_prefix("HTTP/1.0 "))?;
    rest.get(..3)?.parse().ok()
}

fn connect_failed(address: SocketAddr, error: &io::Error) -> String {
    if error.kind() == io::ErrorKind::ConnectionRefused {
        format!("connection refused on {address} (the program must listen on 127.0.0.1 at the port in PORT)")
    } else {
        format!("cannot connect to {address}: {error}")
    }
}

/// Whether an instance may take traffic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Condition {
    /// Never was ready.
    Starting,
    /// May take traffic.
    Ready,
    /// Was ready, is not now.
    Unready,
    /// Never was ready, and its time is up.
    Late,
}

/// What the probes of one instance's life add up to.
#[derive(Clone, Debug)]
pub(super) struct Health {
    condition: Condition,
    started_ms: u64,
    successes: u32,
    healthy_since_ms: u64,
    failures: u32,
    last_error: String,
    confirmed: bool,
}

impl Health {
    /// Of an instance started at `started_ms` (any monotonic clock) and last seen in condition `seen`. The first
    /// success confirms one that was seen ready; no deadline holds for one that ever was.
    pub(super) fn new(started_ms: u64, seen: Condition) -> Self {
        Self {
            condition: if seen == Condition::Ready { Condition::Unready } else { seen },
            started_ms,
            successes: 0,
            healthy_since_ms: started_ms,
            failures: 0,
            last_error: "no probe has ended".to_owned(),
            confirmed: seen != Condition::Ready,
        }
    }

    /// Adds one probe's result.
    pub(super) fn note(&mut self, result: Result<(), String>, now_ms: u64, ready: &Readiness) -> Condition {
        match result {
            Ok(()) => self.note_success(now_ms, ready),
            Err(error) => self.note_failure(error),
        }
        self.confirmed = true;
        if self.condition == Condition::Starting && self.left_ms(now_ms, ready) == Some(0) {
            self.condition = Condition::Late;
        }
        self.condition
    }

    /// Why the last failed probe failed.
    pub(super) fn last_error(&self) -> &str {
        &self.last_error
    }

    /// How long to wait before the next probe.
    pub(super) fn interval(&self, now_ms: u64, ready: &Readiness) -> Duration {
        Duration::from_millis(match self.left_ms(now_ms, ready) {
            Some(left_ms) => ready.interval_ms.max(START_INTERVAL_MS_MIN).min(left_ms),
            None => ready.interval_ms.max(WATCH_INTERVAL_MS_MIN),
        })
    }

    /// How long the next probe may take.
    pub(super) fn timeout(&self, now_ms: u64, ready: &Readiness) -> Duration {
        let left_ms = self.left_ms(now_ms, ready).unwrap_or(u64::MAX);
        Duration::from_millis(ready.timeout_ms.min(left_ms).max(1))
    }

    fn note_success(&mut self, now_ms: u64, ready: &Readiness) {
        self.failures = 0;
        if self.successes == 0 {
            self.healthy_since_ms = now_ms;
        }
        self.successes = self.successes.saturating_add(1);
        let enough = self.successes >= ready.successes;
        let long_enough = now_ms.saturating_sub(self.healthy_since_ms) >= ready.min_healthy_ms;
        match self.condition {
            Condition::Starting if enough && long_enough => self.condition = Condition::Ready,
            Condition::Unready if enough || !self.confirmed => self.condition = Condition::Ready,
            Condition::Starting | Condition::Unready | Condition::Ready | Condition::Late => {}
        }
    }

    fn note_failure(&mut self, error: String) {
        self.last_error = error;
        self.successes = 0;
        self.failures = self.failures.saturating_add(1);
        if self.condition == Condition::Ready && self.failures >= FAILURES_MAX {
            self.condition = Condition::Unready;
        }
    }

    /// Time left to become ready; `None` once it was.
    fn left_ms(&self, now_ms: u64, ready: &Readiness) -> Option<u64> {
        match self.condition {
            Condition::Starting => {
                Some(self.started_ms.saturating_add(ready.deadline_ms).saturating_sub(now_ms))
            }
            Condition::Ready | Condition::Unready => None,
            Condition::Late => Some(0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ready() -> Readiness {
        Readiness {
            probe: ProbeKind::Tcp,
            interval_ms: 100,
            timeout_ms: 50,
            successes: 2,
            min_healthy_ms: 300,
            deadline_ms: 1_000,
        }
    }

    fn conditions(health: &mut Health, probes: &[(u64, bool)]) -> Vec<Condition> {
        let result = |ok| if ok { Ok(()) } else { Err("connection refused".to_owned()) };
        probes.iter().map(|(at, ok)| health.note(result(*ok), *at, &ready())).collect()
    }

    #[test]
    fn ready_needs_successes_in_a_row_and_the_healthy_time() {
        use Condition::{Ready, Starting};
        let mut health = Health::new(0, Condition::Starting);
        let probes = [(0, true), (100, false), (200, true), (300, true), (500, true)];
        assert_eq!(conditions(&mut health, &probes), [Starting, Starting, Starting, Starting, Ready]);
    }

    #[test]
    fn an_instance_that_is_not_ready_at_its_deadline_is_late() {
        let mut health = Health::new(0, Condition::Starting);
        assert_eq!(
            conditions(&mut health, &[(999, true), (1_000, true)]),
            [Condition::Starting, Condition::Late]
        );
    }

    #[test]
    fn three_failures_in_a_row_take_it_out_and_successes_bring_it_back() {
        use Condition::{Ready, Unready};
        let mut health = Health::new(0, Condition::Ready);
        let probes = [
            (0, true),
            (1, false),
            (2, false),
            (3, true),
            (4, false),
            (5, false),
            (6, false),
            (7, true),
            (8, true),
        ];
        let expected = [Ready, Ready, Ready, Ready, Ready, Ready, Unready, Unready, Ready];
        assert_eq!(conditions(&mut health, &probes), expected);
    }

    #[test]
    fn an_adopted_instance_whose_first_probe_fails_is_not_ready() {
        let mut health = Health::new(0, Condition::Ready);
        assert_eq!(
            conditions(&mut health, &[(0, false), (1, true)]),
            [Condition::Unready, Condition::Unready]
        );
    }

    #[test]
    fn only_http_1_status_lines_are_read() {
        assert_eq!(parse_status(b"HTTP/1.1 204 No Content\r"), Some(204));
        assert_eq!(parse_status(b"HTTP/1.0 200"), Some(200));
        assert_eq!(parse_status(b"SSH-2.0-OpenSSH"), None);
        assert_eq!(parse_status(b"HTTP/1.1 2"), None);
    }
}
