//! The sample service over real sockets.

use std::net::SocketAddr;

use clap::Parser;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::{End, SampleOptions, run};
use tokio::net::{TcpListener, TcpStream};

#[derive(Parser)]
struct Line {
    #[command(flatten)]
    options: SampleOptions,
}

struct Running {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    end: JoinHandle<End>,
}

async fn started(arguments: &[&str]) -> Running {
    let line = Line::try_parse_from(std::iter::once(&"sample").chain(arguments)).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel::<()>();
    let end = tokio::spawn(run(listener, line.options, async { drop(stopped.await) }));
    Running { address, stop, end }
}

/// Status and body of one GET on a connection of its own; nothing at all reads as status 0.
async fn get(address: SocketAddr, path: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let head = format!("GET {path} HTTP/1.1\r\nhost: sample\r\nconnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let status = answer.split(' ').nth(1).map_or(0, |status| status.parse().unwrap());
    (status, answer.split_once("\r\n\r\n").map_or(String::new(), |(_, body)| body.into()))
}

#[tokio::test]
async fn an_answer_names_the_version_the_process_and_the_path_and_has_the_asked_size() {
    let sample = started(&["--version-name", "v7", "--body-bytes", "5000"]).await;
    let (status, body) = get(sample.address, "/basket?x=1").await;
    assert_eq!(status, 200);
    assert!(body.len() >= 5000);
    let answer: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(answer["version"], "v7");
    assert_eq!(answer["pid"], std::process::id());
    assert_eq!(answer["path"], "/basket");
}

#[tokio::test]
async fn each_fault_shows_where_it_should_and_nowhere_else() {
    for (arguments, path, expected) in [
        (&["--error-percent", "100"][..], "/", 500),
        (&["--error-percent", "100"], "/healthz", 200),
        (&["--error-percent", "0"], "/", 200),
        (&["--never-ready"], "/healthz", 503),
        (&["--never-ready"], "/", 200),
        (&["--not-ready-ms", "600000"], "/healthz", 503),
        (&["--not-ready-ms", "0"], "/healthz", 200),
        (&["--crash-after-requests", "1"], "/", 0),
        (&["--crash-after-requests", "1"], "/healthz", 200),
        (&["--crash-after-requests", "2"], "/", 200),
    ] {
        let sample = started(arguments).await;
        assert_eq!(get(sample.address, path).await.0, expected, "{arguments:?} {path}");
    }
}

#[tokio::test]
async fn metrics_tell_of_every_request_and_of_failures_that_no_answer_shows() {
    let sample = started(&["--version-name", "v7", "--hidden-error-percent", "100"]).await;
    for _ in 0..3 {
        assert_eq!(get(sample.address, "/").await.0, 200);
    }
    for path in ["/metrics", "/healthz", "/metrics"] {
        assert_eq!(get(sample.address, path).await.0, 200);
    }
    let shown = get(sample.address, "/metrics").await.1;
    for line in ["sample_requests_total", "sample_failures_total", "sample_seconds_count"] {
        assert!(shown.contains(&format!("{line}{{release=\"v7\"}} 3\n")), "{shown}");
    }
    assert!(shown.contains("sample_seconds_bucket{release=\"v7\",le=\"2.500\"} 3\n"), "{shown}");
}

#[tokio::test]
async fn every_kind_of_delay_holds_the_answer_back() {
    for (arguments, path) in [
        (&["--latency-ms", "60"][..], "/"),
        (&["--slow-percent", "100", "--slow-ms", "60"], "/"),
        (&[], "/slow?ms=60"),
    ] {
        let sample = started(arguments).await;
        let asked = std::time::Instant::now();
        assert_eq!(get(sample.address, path).await.0, 200);
        assert!(asked.elapsed().as_millis() >= 60, "{arguments:?} {path}");
    }
}

#[tokio::test]
async fn a_crash_that_was_asked_for_ends_the_service_without_a_drain() {
    for arguments in [["--crash-after-ms", "1"], ["--crash-after-requests", "1"]] {
        let sample = started(&arguments).await;
        if arguments[0] == "--crash-after-requests" {
            assert_eq!(get(sample.address, "/").await.0, 0);
        }
        assert_eq!(sample.end.await.unwrap(), End::Crashed);
    }
}

#[tokio::test]
async fn a_stop_refuses_new_connections_and_finishes_the_request_at_hand() {
    let sample = started(&[]).await;
    let mut stream = TcpStream::connect(sample.address).await.unwrap();
    stream.write_all(b"POST /echo HTTP/1.1\r\nhost: sample\r\ncontent-length: 6\r\n\r\nti").await.unwrap();
    let mut answer = String::new();
    let mut reader = BufReader::new(&mut stream);
    while !answer.ends_with("ti") {
        answer.push(char::from(reader.read_u8().await.unwrap()));
    }
    sample.stop.send(()).unwrap();
    while TcpStream::connect(sample.address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!sample.end.is_finished());
    stream.write_all(b"dal!").await.unwrap();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.contains("dal!"), "{answer}");
    assert_eq!(sample.end.await.unwrap(), End::Stopped);
}

#[tokio::test]
async fn a_stop_ends_a_stream_of_events_with_a_complete_answer() {
    let sample = started(&[]).await;
    let mut stream = TcpStream::connect(sample.address).await.unwrap();
    stream.write_all(b"GET /stream?ms=10 HTTP/1.1\r\nhost: sample\r\n\r\n").await.unwrap();
    let mut lines = BufReader::new(stream).lines();
    let mut seen = Vec::new();
    while !seen.iter().any(|line| line == "data: 2") {
        seen.push(lines.next_line().await.unwrap().unwrap());
    }
    assert!(seen.contains(&"content-type: text/event-stream".to_owned()));
    sample.stop.send(()).unwrap();
    while let Some(line) = lines.next_line().await.unwrap() {
        seen.push(line);
    }
    // The closing chunk of a chunked answer: the reader knows that nothing was cut off.
    assert_eq!(seen[seen.len() - 2..], ["0", ""]);
    assert_eq!(sample.end.await.unwrap(), End::Stopped);
}
