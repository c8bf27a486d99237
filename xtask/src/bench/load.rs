//! Load at a fixed rate, open loop: requests are due at fixed times whatever the answers do, and a latency counts from
//! the time a request was due, so that a slow server cannot make itself look fast by delaying the next question.
//!
//! One thread, one timer, one poll: it must cost little, because it shares a core with the backend.
//!
//! The 99th percentile is that of a tenth of a second, and the median of all tenths is told: a machine that stands still
//! for some milliseconds, which a virtual one does a few times a second, would else decide the number, whoever is measured.
//! A server that is late in every other tenth is seen all the same, and that of all requests together is told beside it.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use clap::Args;
use rustix::event::epoll;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec};
use serde::{Deserialize, Serialize};

/// Longest wait for the answers that are still out when the last request was due.
const LAST_ANSWER_MAX: Duration = Duration::from_secs(2);
/// Part of the requests, from the first on, that warm up and are not counted: one in this many.
const WARM_UP_PART: u64 = 10;
/// Spans of which each has its own 99th percentile: this many in a second.
const SPANS_PER_SECOND: u64 = 10;
/// Longest answer that is read, head and body, bytes.
const ANSWER_MAX: usize = 64 * 1024;
/// Marks the timer among the polled files.
const TIMER: u64 = u64::MAX;

/// What load to offer.
#[derive(Args)]
pub(crate) struct LoadArgs {
    /// Address of the server
    #[arg(long)]
    pub(crate) address: SocketAddr,
    /// Requests per second
    #[arg(long)]
    pub(crate) rate: u64,
    /// Connections
    #[arg(long)]
    pub(crate) connections: u64,
    /// How long, milliseconds
    #[arg(long)]
    pub(crate) milliseconds: u64,
}

/// What came of it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct LoadReport {
    /// Answers counted, the warm-up left out.
    pub(crate) answered: u64,
    /// Requests without a whole answer, or with another status than 200.
    pub(crate) failed: u64,
    /// Answers that said `X-Release: canary`.
    pub(crate) canary: u64,
    /// Median latency from the due time to the last byte, microseconds.
    pub(crate) p50_us: u32,
    /// 99th percentile of the same within a tenth of a second: the median of all tenths.
    pub(crate) p99_us: u32,
    /// 99th percentile of all requests together.
    pub(crate) p99_of_all_us: u32,
}

/// Offers the load and prints a [`LoadReport`] as JSON.
pub(crate) fn run(args: &LoadArgs) -> anyhow::Result<()> {
    let report = Load::open(args)?.offer()?;
    println!("{}", serde_json::to_string(&report)?);
    Ok(())
}

/// The whole of it, one per run.
struct Load {
    poll: OwnedFd,
    timer: OwnedFd,
    connections: Vec<Option<Connection>>,
    idle: Vec<usize>,
    interval: Duration,
    /// Requests that are due in one span.
    span: u64,
    total: u64,
    /// Requests sent so far; also the number of the next one.
    sent: u64,
    ended: u64,
    failed: u64,
    canary: u64,
    /// By the span in which the request was due.
    latencies_us: BTreeMap<u64, Vec<u32>>,
}

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    number: u64,
}

/// A whole answer.
#[derive(Debug, PartialEq, Eq)]
struct Answer {
    good: bool,
    canary: bool,
}

impl Load {
    fn open(args: &LoadArgs) -> anyhow::Result<Self> {
        if args.rate == 0 || args.connections == 0 {
            bail!("a load needs a rate and connections");
        }
        let poll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let timer = rustix::time::timerfd_create(
            TimerfdClockId::Monotonic,
            TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC,
        )?;
        epoll::add(&poll, &timer, epoll::EventData::new_u64(TIMER), epoll::EventFlags::IN)?;
        let mut connections = Vec::new();
        for number in 0..args.connections {
            let stream = TcpStream::connect(args.address)
                .with_context(|| format!("could not connect to {}", args.address))?;
            stream.set_nodelay(true)?;
            stream.set_nonblocking(true)?;
            epoll::add(&poll, &stream, epoll::EventData::new_u64(number), epoll::EventFlags::IN)?;
            connections.push(Some(Connection { stream, received: Vec::new(), number: 0 }));
        }
        Ok(Self {
            poll,
            timer,
            idle: (0..connections.len()).collect(),
            connections,
            interval: Duration::from_secs(1) / u32::try_from(args.rate).context("the rate is too high")?,
            span: (args.rate / SPANS_PER_SECOND).max(1),
            total: args.rate.saturating_mul(args.milliseconds) / 1_000,
            sent: 0,
            ended: 0,
            failed: 0,
            canary: 0,
            latencies_us: BTreeMap::new(),
        })
    }

    fn offer(mut self) -> anyhow::Result<LoadReport> {
        let start = Instant::now();
        self.arm()?;
        let end = self.due(start, self.total) + LAST_ANSWER_MAX;
        let mut events = Vec::with_capacity(128);
        while self.ended < self.total && Instant::now() < end {
            epoll::wait(&self.poll, rustix::buffer::spare_capacity(&mut events), None)?;
            for event in events.drain(..) {
                let tag = event.data.u64();
                if tag == TIMER {
                    self.settle_timer()?;
                } else {
                    self.receive(usize::try_from(tag)?, start);
                }
            }
            self.send_due(start)?;
        }
        self.failed += self.total - self.ended;
        Ok(self.report())
    }

    /// The timer ticks once per request, and goes on ticking while answers are out, so that a silent server cannot keep
    /// the poll waiting for ever.
    fn arm(&self) -> anyhow::Result<()> {
        let interval = Timespec::try_from(self.interval)?;
        let ticks = Itimerspec { it_interval: interval, it_value: interval };
        rustix::time::timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &ticks)?;
        Ok(())
    }

    fn settle_timer(&self) -> anyhow::Result<()> {
        let mut ticks = [0; 8];
        match rustix::io::read(&self.timer, &mut ticks) {
            Ok(_) | Err(rustix::io::Errno::AGAIN) => Ok(()),
            Err(error) => Err(error).context("could not read the timer"),
        }
    }

    fn due(&self, start: Instant, number: u64) -> Instant {
        let nanoseconds = u64::try_from(self.interval.as_nanos()).unwrap_or(u64::MAX);
        start + Duration::from_nanos(nanoseconds.saturating_mul(number))
    }

    fn send_due(&mut self, start: Instant) -> anyhow::Result<()> {
        while self.sent < self.total && self.due(start, self.sent) <= Instant::now() {
            let Some(at) = self.idle.pop() else { return Ok(()) };
            let number = self.sent;
            self.sent += 1;
            let Some(connection) = self.connections.get_mut(at).and_then(Option::as_mut) else { continue };
            connection.number = number;
            connection.received.clear();
            let request = b"GET / HTTP/1.1\r\nHost: bench.test\r\n\r\n";
            if connection.stream.write_all(request).is_err() {
                self.lose(at);
            }
            if self.connections.iter().all(Option::is_none) {
                bail!("the server closed every connection");
            }
        }
        Ok(())
    }

    fn receive(&mut self, at: usize, start: Instant) {
        let Some(connection) = self.connections.get_mut(at).and_then(Option::as_mut) else { return };
        let mut part = [0; 16 * 1024];
        match connection.stream.read(&mut part) {
            Ok(count) if count > 0 => {
                connection.received.extend_from_slice(part.get(..count).unwrap_or_default());
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            Ok(_) | Err(_) => return self.lose(at),
        }
        if connection.received.len() > ANSWER_MAX {
            return self.lose(at);
        }
        let number = connection.number;
        if let Some(answer) = answer(&connection.received) {
            self.count(number, &answer, start);
            self.idle.push(at);
        }
    }

    fn count(&mut self, number: u64, answer: &Answer, start: Instant) {
        self.ended += 1;
        if !answer.good {
            self.failed += 1;
        } else if number >= self.total / WARM_UP_PART {
            let latency = Instant::now().saturating_duration_since(self.due(start, number));
            let of_span = self.latencies_us.entry(number / self.span).or_default();
            of_span.push(u32::try_from(latency.as_micros()).unwrap_or(u32::MAX));
            self.canary += u64::from(answer.canary);
        }
    }

    /// A connection that is gone takes its request with it.
    fn lose(&mut self, at: usize) {
        if let Some(place) = self.connections.get_mut(at) {
            *place = None;
        }
        if let Some(position) = self.idle.iter().position(|idle| *idle == at) {
            self.idle.swap_remove(position);
        } else {
            self.ended += 1;
            self.failed += 1;
        }
    }

    fn report(self) -> LoadReport {
        let all: Vec<u32> = self.latencies_us.values().flatten().copied().collect();
        // The end of a run may leave a span of a few requests, whose percentile says nothing.
        let whole = self.latencies_us.into_values().filter(|span| span.len() as u64 * 2 >= self.span);
        LoadReport {
            answered: all.len() as u64,
            failed: self.failed,
            canary: self.canary,
            p99_us: quantile(whole.map(|span| quantile(span, 99)).collect(), 50),
            p50_us: quantile(all.clone(), 50),
            p99_of_all_us: quantile(all, 99),
        }
    }
}

/// So many per cent are below it; the largest number when there is none.
fn quantile(mut numbers: Vec<u32>, percent: usize) -> u32 {
    numbers.sort_unstable();
    let at = (numbers.len() * percent / 100).min(numbers.len().saturating_sub(1));
    numbers.get(at).copied().unwrap_or(u32::MAX)
}

/// Reads an answer with a `Content-Length`; `None` while it is not whole.
fn answer(received: &[u8]) -> Option<Answer> {
    let head_end = received.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(received.get(..head_end)?).ok()?;
    let header = |wanted: &str| {
        head.split("\r\n")
            .skip(1)
            .filter_map(|line| line.split_once(':'))
            .find_map(|(name, value)| name.eq_ignore_ascii_case(wanted).then(|| value.trim()))
    };
    let length: usize = header("content-length")?.parse().ok()?;
    if received.len() < head_end + 4 + length {
        return None;
    }
    Some(Answer { good: head.starts_with("HTTP/1.1 200"), canary: header("x-release") == Some("canary") })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn an_answer_counts_only_when_its_last_byte_is_there() {
        let whole = b"HTTP/1.1 200 OK\r\ncontent-LENGTH: 3\r\nX-Release: canary\r\n\r\nabc";
        assert_eq!(answer(whole), Some(Answer { good: true, canary: true }));
        for end in 0..whole.len() {
            assert_eq!(answer(&whole[..end]), None, "{end}");
        }
        let bad = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(answer(bad), Some(Answer { good: false, canary: false }));
    }

    #[test]
    fn a_stall_of_the_server_is_charged_to_every_request_that_was_due_in_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let stall = Duration::from_millis(100);
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 4096];
            let mut answered = 0;
            while let Ok(count) = stream.read(&mut request) {
                if count == 0 {
                    break;
                }
                answered += 1;
                if answered == 50 {
                    std::thread::sleep(stall);
                }
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
            }
        });
        let args = LoadArgs { address, rate: 1_000, connections: 1, milliseconds: 200 };
        let report = Load::open(&args).unwrap().offer().unwrap();
        server.join().unwrap();
        assert_eq!((report.failed, report.answered), (0, 180));
        // About a hundred requests were due during the stall; a closed loop would have charged it to one.
        assert!(report.p99_of_all_us >= 90_000, "{report:?}");
        assert!(report.p50_us >= 10_000, "{report:?}");
    }

    #[test]
    fn one_late_tenth_of_a_second_decides_the_percentile_of_all_and_not_that_of_the_usual_tenth() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let args = LoadArgs {
            address: listener.local_addr().unwrap(),
            rate: 1_000,
            connections: 1,
            milliseconds: 500,
        };
        let mut load = Load::open(&args).unwrap();
        let good = Answer { good: true, canary: false };
        let start = Instant::now().checked_sub(Duration::from_secs(1)).unwrap();
        // Answers come now, so a request that was due later took less time.
        (0..500).for_each(|number| load.count(number, &good, start));
        let late = |from: u32| 1_000_000 - 1_000 * from;
        let report = load.report();
        assert_eq!(report.answered, 450);
        // The tenths begin at 50 (half of it warmed up), 100, 200, 300 and 400: the middle one's longest.
        for (told, from) in [(report.p99_us, 201), (report.p99_of_all_us, 54)] {
            assert!((late(from)..late(from) + 90_000).contains(&told), "{report:?} {from}");
        }
    }
}
