//! HTTP/2, TLS, WebSocket, server-sent events, stickiness.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::mpsc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::instance::{Instance, reply};
use crate::process::{Proxy, table, until, with};
use crate::user::{Answer, User};

/// A certificate for `shop.test` and its key, made for one test.
struct Certificate {
    folder: tempfile::TempDir,
}

impl Certificate {
    fn made() -> Self {
        let folder = tempfile::tempdir().expect("a directory");
        let made = rcgen::generate_simple_self_signed(["shop.test".to_owned()]).expect("a certificate");
        std::fs::write(folder.path().join("certificate.pem"), made.cert.pem()).expect("written");
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).expect("written");
        Self { folder }
    }

    fn file(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }
}

fn client_config(certificate: &Certificate, protocol: &[u8]) -> rustls::ClientConfig {
    let mut roots = rustls::RootCertStore::empty();
    let trusted = CertificateDer::from_pem_file(certificate.file("certificate.pem")).expect("certificate");
    roots.add(trusted).expect("root");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().expect("versions");
    let mut config = builder.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    config
}

async fn tls(
    certificate: &Certificate,
    address: &str,
    protocol: &[u8],
) -> tokio_rustls::client::TlsStream<TcpStream> {
    let connector = tokio_rustls::TlsConnector::from(Arc::new(client_config(certificate, protocol)));
    let stream = TcpStream::connect(address).await.expect("connected");
    connector.connect(ServerName::try_from("shop.test").expect("name"), stream).await.expect("handshake")
}

fn run<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime").block_on(future)
}

async fn over_http2<S>(stream: S, scheme: &str) -> Vec<(u16, String, String)>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let handshake = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream));
    let (sender, connection) = handshake.await.expect("handshake");
    tokio::spawn(connection);
    let mut answers = Vec::new();
    let mut sent = Vec::new();
    for number in 0..20 {
        let mut sender = sender.clone();
        let request = http::Request::post(format!("{scheme}://shop.test/{number}"))
            .body(Full::new(Bytes::from(format!("body {number}"))))
            .expect("request");
        sent.push(tokio::spawn(async move { sender.send_request(request).await.expect("an answer") }));
    }
    for answer in sent {
        let answer = answer.await.expect("joined");
        let status = answer.status().as_u16();
        let release = answer.headers()["x-tidegate-release"].to_str().expect("text").to_owned();
        let body = answer.into_body().collect().await.expect("body").to_bytes();
        answers.push((status, release, String::from_utf8_lossy(&body).into_owned()));
    }
    answers
}

#[test]
fn http_2_is_spoken_over_tls_and_without_it_and_http_1_over_tls() {
    let echo = Instance::start(|seen, stream| reply(stream, "200 OK", &String::from_utf8_lossy(&seen.body)));
    let proxy = Proxy::start();
    let made = Certificate::made();
    let files = json!({"certificate": made.file("certificate.pem"), "key": made.file("key.pem")});
    let listen = json!({"listen": [{"address": "127.0.0.1:0"}, {"address": "127.0.0.1:0", "tls": files}]});
    proxy.put(&with(table(1, &[("v1", 10_000, &[&echo.address])]), &listen));
    let listening = proxy.get("/v1/services/shop")["listening"].clone();
    let (plain, secure) = (listening[0].as_str().expect("address"), listening[1].as_str().expect("address"));
    let expected: Vec<_> = (0..20).map(|number| (200, "v1".to_owned(), format!("body {number}"))).collect();
    run(async {
        let stream = TcpStream::connect(plain).await.expect("connected");
        assert_eq!(over_http2(stream, "http").await, expected);
        assert_eq!(over_http2(tls(&made, secure, b"h2").await, "https").await, expected);
    });
    let last = echo.last();
    assert_eq!(
        (last.header("host").as_deref(), last.header("x-forwarded-proto").as_deref()),
        (Some("shop.test"), Some("https"))
    );
    let text = run(async {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tls(&made, secure, b"http/1.1").await;
        stream.write_all(b"GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n").await.expect("sent");
        let mut text = String::new();
        stream.read_to_string(&mut text).await.expect("read");
        text
    });
    assert!(text.starts_with("HTTP/1.1 200 OK"), "{text}");
    let bad = json!({"listen": [{"address": "127.0.0.1:0", "tls": {"certificate": "/nowhere", "key": "/nowhere"}}]});
    let (status, answer) = proxy.ask("PUT", "/v1/services/shop", &with(table(2, &[]), &bad));
    assert!(
        status == 400 && answer["message"].as_str().is_some_and(|text| text.contains("/nowhere")),
        "{answer}"
    );
}

#[test]
fn a_websocket_is_tunnelled_counted_apart_and_cut_when_its_time_to_drain_is_over() {
    let echo = Instance::start(|_, stream| {
        let head =
            b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nhello";
        stream.write_all(head).expect("written");
        let mut bytes = [0; 64];
        while let Ok(count) = stream.read(&mut bytes) {
            if count == 0 || stream.write_all(&bytes[..count]).is_err() {
                break;
            }
        }
        false
    });
    let other = Instance::named("other");
    let proxy = Proxy::start();
    let limits = json!({"limits": {"drain_ms": 100, "drain_upgraded_ms": 700}});
    proxy.put(&with(table(1, &[("v1", 10_000, &[&echo.address])]), &limits));
    let mut user = User::connect(&proxy.address());
    user.send(
        b"GET /ws HTTP/1.1\r\nHost: shop\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n\r\n",
    );
    let head = user.head().expect("a head");
    assert!(head.starts_with("HTTP/1.1 101") && head.to_lowercase().contains("upgrade: websocket"), "{head}");
    assert_eq!(user.exactly(5), b"hello");
    user.send(b"ping");
    assert_eq!(user.exactly(4), b"ping");
    assert_eq!(proxy.counters("v1")["upgraded"], 1);
    proxy.put(&with(table(2, &[("v2", 10_000, &[&other.address])]), &limits));
    until("HTTP's time is over", || {
        user.send(b"x");
        assert_eq!(user.exactly(1), b"x", "a tunnel has its own time");
        (proxy.get("/v1/status")["uptime_ms"].as_u64() > Some(400)).then_some(())
    });
    assert_eq!(user.rest(), b"");
    until("it is counted", || (proxy.counters("v1")["upgraded"] == 0).then_some(()));
}

#[test]
fn server_sent_events_reach_the_user_as_they_happen() {
    let (send, receive) = mpsc::channel::<&str>();
    let receive = std::sync::Mutex::new(receive);
    let events = Instance::start(move |_, stream| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).expect("written");
        for event in receive.lock().expect("channel").iter() {
            let chunk = format!("{:x}\r\n{event}\r\n", event.len());
            stream.write_all(chunk.as_bytes()).expect("written");
        }
        stream.write_all(b"0\r\n\r\n").is_ok()
    });
    let proxy = Proxy::start();
    proxy.put(&table(1, &[("v1", 10_000, &[&events.address])]));
    let mut user = User::connect(&proxy.address());
    user.send(b"GET /events HTTP/1.1\r\nHost: shop\r\n\r\n");
    user.head().expect("a head");
    for event in ["data: one\n\n", "data: two\n\n"] {
        send.send(event).expect("sent");
        assert_eq!(user.chunk().flatten().as_deref(), Some(event.as_bytes()));
    }
    drop(send);
    assert_eq!(user.chunk(), Some(None));
}

#[test]
fn a_sticky_user_gets_a_cookie_and_only_moves_forward() {
    let (stable, canary) = (Instance::named("stable"), Instance::named("canary"));
    let proxy = Proxy::start();
    let apply = |generation: u64, share: u16| {
        let routes = [
            ("v1", 10_000 - share, &[stable.address.as_str()][..]),
            ("v2", share, &[canary.address.as_str()][..]),
        ];
        proxy.put(&with(table(generation, &routes), &json!({"sticky": {"cookie": "who"}})));
    };
    apply(1, 2_000);
    let address = proxy.address();
    let mut user = User::connect(&address);
    let users: Vec<(String, Answer)> = (0..200)
        .map(|_| {
            let answer = user.get("/", "");
            let cookie = answer.header("set-cookie").expect("a cookie");
            (cookie.split(';').next().expect("a pair").to_owned(), answer)
        })
        .collect();
    let on_canary = users.iter().filter(|(_, answer)| answer.body == "canary").count();
    assert!((15..70).contains(&on_canary), "a fifth of 200, is {on_canary}");
    let visit = |user: &mut User, cookie: &str| user.get("/", &format!("Cookie: {cookie}\r\n"));
    for (generation, share) in [(2, 2_000), (3, 6_000), (4, 10_000)] {
        apply(generation, share);
        for (cookie, first) in &users {
            let answer = visit(&mut user, cookie);
            assert_eq!(answer.header("set-cookie"), None);
            assert!(first.body == "stable" || answer.body == "canary", "nobody goes back");
            assert!(share != 2_000 || first.body == answer.body, "nobody moves while the share stays");
        }
    }
    let status = proxy.get("/v1/status");
    assert_eq!(status["protocol"], Value::from(1));
    let scraped = crate::user::get(status["metrics_address"].as_str().expect("address"), "/metrics", "").body;
    let metrics = proxy.call("GET", "/v1/metrics", "").1;
    assert_eq!(scraped.lines().count(), metrics.lines().count());
    assert!(metrics.contains("tidegate_requests_total{service=\"shop\",release=\"v2\"}"), "{metrics}");
    assert!(metrics.contains("tidegate_weight_basis_points{service=\"shop\",release=\"v2\"} 10000"));
}
