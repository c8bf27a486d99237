//! The load generator against real sockets.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::client::RELEASE_HEADER;
use super::report::FailureClass;
use super::*;

/// Long enough that only a broken load reaches it.
const PATIENCE: Duration = Duration::from_secs(30);

fn options(address: SocketAddr, rate: f64, connections: usize, count: Option<u64>) -> LoadOptions {
    let (path, headers) = ("/".into(), HeaderMap::new());
    LoadOptions { address, rate, connections, path, timeout: PATIENCE, headers, count }
}

/// A keep-alive server that answers every request after `delay`; `release` in turn of the requests.
async fn server(delay: Duration, status: u16, releases: &'static [&'static str]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let answer = move |number: usize| {
        let release = releases[number % releases.len()];
        format!("HTTP/1.1 {status} Done\r\n{RELEASE_HEADER}: {release}\r\ncontent-length: 2\r\n\r\nok")
    };
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = [0; 1024];
                for number in 0.. {
                    // The load sends one small request at a time: one read is one request.
                    if !matches!(stream.read(&mut head).await, Ok(1..)) {
                        return;
                    }
                    tokio::time::sleep(delay).await;
                    stream.write_all(answer(number).as_bytes()).await.unwrap();
                }
            });
        }
    });
    address
}

async fn until(load: &Load, reached: impl Fn(&LoadReport) -> bool) {
    let seen = async {
        while !reached(&load.snapshot()) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, seen).await.unwrap();
}

#[tokio::test]
async fn every_request_of_a_healthy_target_is_counted_once_for_its_release() {
    let address = server(Duration::ZERO, 200, &["r1", "r2"]).await;
    let report = Load::start(options(address, 2000.0, 1, Some(500))).unwrap().finish().await;
    assert_eq!((report.scheduled, report.sent, report.ok), (500, 500, 500));
    assert_eq!((report.failed, report.not_sent, report.in_flight, report.reconnected), (0, 0, 0, 0));
    assert_eq!((report.releases["r1"].ok, report.releases["r2"].ok), (250, 250));
    assert_eq!((report.latency.count(), report.service_time.count()), (500, 500));
    // 500 moments, 0.5 ms apart, none of them early.
    assert!(report.elapsed >= Duration::from_micros(499 * 500));
    assert_eq!(report.to_json()["releases"]["r2"]["ok"], 250);
}

#[tokio::test]
async fn failures_keep_their_time_class_and_release() {
    let before = SystemTime::now();
    let address = server(Duration::ZERO, 503, &["bad"]).await;
    let report = Load::start(options(address, 1000.0, 2, Some(20))).unwrap().finish().await;
    assert_eq!((report.ok, report.failed), (0, 20));
    assert_eq!(report.failed_by_class[&FailureClass::Status5xx], 20);
    assert_eq!(report.releases["bad"].failed, 20);
    assert!(report.failures.iter().all(|failure| failure.release.as_deref() == Some("bad")));
    assert_eq!(report.failed_since(before), Some(20));
    assert_eq!(report.failed_since(SystemTime::now()), Some(0));
    assert!(report.first_failure_at.unwrap() <= report.last_failure_at.unwrap());
    assert!(report.to_string().contains("status_5xx  20"), "{report}");
}

#[tokio::test]
async fn latency_counts_from_the_moment_a_request_was_due() {
    // One connection carries ten requests of 50 ms, all due within 9 ms: the last waits for the other nine.
    let address = server(Duration::from_millis(50), 200, &["r1"]).await;
    let report = Load::start(options(address, 1000.0, 1, Some(10))).unwrap().finish().await;
    assert_eq!(report.ok, 10);
    assert!(report.latency.longest().unwrap() >= Duration::from_millis(490));
    assert!(report.service_time.quantile(0.0).unwrap() >= Duration::from_millis(50));
    assert!(report.service_time.quantile(0.5) < report.latency.quantile(0.5));
}

#[tokio::test]
async fn a_target_that_hangs_bounds_what_is_under_way_and_the_rest_is_not_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let due = WAITING_MAX as u64 + 500;
    let load = Load::start(options(listener.local_addr().unwrap(), RATE_MAX, 2, Some(due))).unwrap();
    until(&load, |report| report.not_sent > 0 && report.scheduled == due).await;
    let hanging = load.snapshot();
    assert_eq!((hanging.sent, hanging.in_flight, hanging.not_sent), (2, 2, 498));
    drop(listener);
    let report = load.finish().await;
    // What waited was sent and refused; the two under way were cut off.
    assert_eq!(
        (report.scheduled, report.sent, report.failed, report.not_sent),
        (due, due - 498, due - 498, 498)
    );
    assert_eq!(report.failed_by_class[&FailureClass::Connect], WAITING_MAX as u64);
    assert_eq!(report.failed_by_class[&FailureClass::Reset], 2);
}

#[tokio::test]
async fn a_request_that_waited_past_the_timeout_is_not_sent() {
    let address = server(Duration::from_millis(300), 200, &["r1"]).await;
    let mut options = options(address, 1000.0, 1, Some(5));
    options.timeout = Duration::from_millis(200);
    let report = Load::start(options).unwrap().finish().await;
    assert_eq!((report.ok, report.scheduled), (0, 5));
    assert_eq!(report.scheduled, report.sent + report.not_sent);
    assert_eq!(report.sent, report.failed_by_class[&FailureClass::Timeout]);
    assert!(report.not_sent >= 3, "{report}");
}

#[tokio::test]
async fn a_load_follows_its_rate_pauses_and_finishes_what_is_under_way_when_stopped() {
    let address = server(Duration::from_millis(5), 200, &["r1"]).await;
    let load = Load::start(options(address, 0.0, 4, None)).unwrap();
    assert_eq!(load.snapshot().scheduled, 0);
    load.set_rate(0.001).unwrap();
    until(&load, |report| report.ok == 1).await;
    load.set_rate(500.0).unwrap();
    until(&load, |report| report.ok >= 50).await;
    assert!(load.set_rate(f64::NAN).is_err());
    assert!(load.set_rate(-1.0).is_err());
    let report = load.stop().await;
    assert_eq!((report.ok, report.in_flight, report.failed), (report.scheduled, 0, 0));
}

#[tokio::test]
async fn failures_that_are_no_longer_kept_make_the_answer_unknown() {
    let tally = Tally::new();
    let before = SystemTime::now();
    for _ in 0..=report::FAILURES_MAX {
        let moments = Moments { due: Instant::now(), sent: Instant::now(), sent_at: SystemTime::now() };
        tally.sent();
        tally.ended(moments, report::Seen { release: None, failure: Some(FailureClass::Reset) }, 0);
    }
    let report = tally.snapshot();
    assert_eq!(report.failures.len(), report::FAILURES_MAX);
    assert_eq!(report.failed_since(before), None);
    assert_eq!(report.failed_since(SystemTime::now() + PATIENCE), Some(0));
}

#[test]
fn options_out_of_range_are_refused() {
    let address = "127.0.0.1:1".parse().unwrap();
    for (rate, connections, path) in [
        (f64::INFINITY, 1, "/"),
        (RATE_MAX * 2.0, 1, "/"),
        (1.0, 0, "/"),
        (1.0, CONNECTIONS_MAX + 1, "/"),
        (1.0, 1, "no slash"),
        (1.0, 1, "http://elsewhere/"),
    ] {
        let mut options = options(address, rate, connections, Some(1));
        options.path = path.into();
        assert!(Load::start(options).is_err(), "{rate} {connections} {path}");
    }
}
