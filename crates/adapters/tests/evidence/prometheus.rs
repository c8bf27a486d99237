//! Against a real Prometheus server.

use std::{path::PathBuf, time::Duration};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tidegate_adapters::evidence::{
    ArmQueries, Authentication, Birth, ClientCertificate, Data, Endpoint, NotFinite, Prometheus,
    SecretSource, Tally, Warnings,
};
use tidegate_core::{
    expression::Unit,
    model::{Millis, Timestamp},
};

use crate::{
    protobuf::{bytes, double, family, integer, label, message, signed, varint, zigzag},
    server::{Server, now},
    target::Target,
};

const LOOKBACK: Millis = Millis(60_000);
const AGE_MAX: Millis = Millis(30_000);

/// What the instance exposes after so many good and failed requests; each took 3 ms or 300 ms.
fn exposed(good: u64, failed: u64) -> String {
    let failures = match failed {
        0 => String::new(),
        _ => format!("http_requests_total{{version=\"v2\",code=\"500\"}} {failed}\n"),
    };
    let all = good + failed;
    format!(
        "# TYPE http_requests_total counter\n\
         http_requests_total{{version=\"v2\",code=\"200\"}} {good}\n{failures}\
         # TYPE latency_seconds histogram\n\
         latency_seconds_bucket{{le=\"0.005\"}} {good}\n\
         latency_seconds_bucket{{le=\"0.5\"}} {all}\n\
         latency_seconds_bucket{{le=\"+Inf\"}} {all}\n\
         latency_seconds_sum 1\nlatency_seconds_count {all}\n"
    )
}

/// A native histogram of schema 0: 2 observations up to 1, 3 up to 2, 1 up to 8, and 4 of zero.
fn native() -> Vec<u8> {
    let deltas: Vec<u8> = [2, 1, -2].into_iter().flat_map(|delta| varint(zigzag(delta))).collect();
    let histogram = [
        integer(1, 10),
        double(2, 9.5),
        signed(5, 0),
        double(6, 0.001),
        integer(7, 4),
        message(12, &[signed(1, 0), integer(2, 2)].concat()),
        message(12, &[signed(1, 1), integer(2, 1)].concat()),
        bytes(13, &deltas),
    ];
    family("work_seconds", 4, &[[label("version", "v2"), message(7, &histogram.concat())].concat()])
}

/// An empty web configuration.
fn plain(_: &std::path::Path) -> String {
    String::new()
}

fn client(server: &Server) -> Prometheus {
    Prometheus::new(Endpoint::new(format!("http://127.0.0.1:{}", server.port)), Warnings::Refuse).unwrap()
}

#[tokio::test]
async fn instants_ranges_raw_samples_and_histograms_are_read_as_they_were_scraped() {
    let text = Target::start("text/plain; version=0.0.4", exposed(900, 100).as_bytes()).await;
    let kind = "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
    let proto = Target::start(kind, &native()).await;
    let server = Server::start(&[("shop", &text.address), ("work", &proto.address)], plain);
    let prometheus = client(&server);

    // Two scrapes of both are enough for everything below.
    let series = server
        .until(async || {
            let native = prometheus.histograms("work_seconds", now(), LOOKBACK, AGE_MAX).await?;
            let all = prometheus.raw_counters("http_requests_total", now(), LOOKBACK, AGE_MAX).await?;
            let scraped = all.iter().all(|s| s.samples.len() > 2) && native.len() > 1;
            Ok(scraped.then_some(all))
        })
        .await;
    assert_eq!(series.iter().map(|s| s.samples[0].value).sum::<f64>(), 1_000.0);
    let between = series[0].samples[1].at.since(series[0].samples[0].at);
    assert!((50..2_000).contains(&between.0), "samples have the times of their scrapes, {between} apart");

    let at = now();
    let share = "sum(http_requests_total{code=~\"5..\"}) / sum(http_requests_total)";
    let sample = prometheus.one(share, at).await.unwrap();
    assert_eq!((sample.value, sample.at), (0.1, at));
    let dated =
        prometheus.dated(share, "http_requests_total", now(), AGE_MAX, NotFinite::Refuse).await.unwrap();
    assert_eq!(dated.single().unwrap().value, 0.1);
    let scalar = prometheus.instant("scalar(sum(http_requests_total))", at, NotFinite::Refuse).await.unwrap();
    assert!(matches!(scalar.data, Data::Scalar(sample) if sample.value == 1_000.0));
    let from = Timestamp(at.0 - 500);
    let range = prometheus.range("sum(up)", from, at, Millis(100), NotFinite::Refuse).await.unwrap();
    let Data::Matrix(series) = &range.data else { panic!("{range:?}") };
    assert!(series[0].samples.len() > 1);

    let classic = prometheus.histograms("latency_seconds_bucket", now(), LOOKBACK, AGE_MAX).await.unwrap();
    assert_eq!(classic[0].buckets, [(0.005, 900), (0.5, 100), (f64::INFINITY, 0)]);
    let native =
        prometheus.histograms("work_seconds{version=\"v2\"}", now(), LOOKBACK, AGE_MAX).await.unwrap();
    assert_eq!(native[0].buckets, [(0.001, 4), (1.0, 2), (2.0, 3), (8.0, 1)]);

    for (query, code, said) in [
        ("sum(", "reported", "parse error"),
        ("http_requests_total", "many_series", "code"),
        ("http_request_total", "no_data", "check the metric's name"),
        ("sum(http_requests_total) * NaN", "not_a_number", "division by zero"),
        ("1 / 0", "infinite", "division by zero"),
        ("\"text\"", "not_numeric", "text"),
    ] {
        let fault = prometheus.one(query, now()).await.unwrap_err();
        assert_eq!(fault.kind.code(), code, "{fault}");
        assert!(fault.to_string().contains(said) && fault.to_string().contains(query), "{fault}");
    }
    let kept = prometheus.instant("sum(up) * NaN", now(), NotFinite::Keep).await.unwrap();
    assert!(matches!(&kept.data, Data::Vector(series) if series[0].sample.value.is_nan()));
    let later = now().after(Millis(40_000));
    let stale = prometheus.raw("up", later, LOOKBACK, AGE_MAX).await.unwrap_err();
    assert_eq!(stale.kind.code(), "stale", "{stale}");
    let stale = prometheus.dated("sum(up)", "up", later, AGE_MAX, NotFinite::Refuse).await.unwrap_err();
    assert_eq!(stale.kind.code(), "stale", "{stale}");
    let early = Timestamp(now().0 - 3_600_000);
    assert_eq!(prometheus.raw("up", early, LOOKBACK, AGE_MAX).await.unwrap_err().kind.code(), "no_data");
}

#[tokio::test]
async fn a_tally_over_prometheus_counts_every_request_once_across_a_restart() {
    let target = Target::start("text/plain; version=0.0.4", exposed(40, 0).as_bytes()).await;
    let server = Server::start(&[("shop", &target.address)], plain);
    let prometheus = client(&server);
    let queries = ArmQueries {
        requests: "http_requests_total{version=\"v2\"}".into(),
        failures: "http_requests_total{version=\"v2\",code=~\"5..\"}".into(),
        latency: Some("latency_seconds_bucket".into()),
        instance_labels: vec!["instance".into()],
    };
    let began = now();
    let mut canary = Tally::new(Birth::Here, began, Unit::Seconds);
    let mut stable = Tally::new(Birth::Before, began, Unit::Seconds);
    // Each exposition stays until it was seen, as requests would be counted on and on.
    for (good, failed, counted, since) in [
        (40, 0, (40, 0), (0, 0)),
        (50, 6, (56, 6), (16, 6)),
        // It began anew: 3 and 2 since.
        (3, 2, (61, 8), (21, 8)),
        (3, 4, (63, 10), (23, 10)),
    ] {
        target.expose(exposed(good, failed).as_bytes());
        server
            .until(async || {
                for tally in [&mut canary, &mut stable] {
                    prometheus.observe(&queries, tally, now(), LOOKBACK, AGE_MAX).await?;
                }
                let counters = [canary.counters(), stable.counters()];
                let [of_canary, of_stable] = counters.map(|c| (c.requests, c.failures));
                Ok((of_canary == counted && of_stable == since).then_some(()))
            })
            .await;
    }
    let counters = canary.counters();
    assert_eq!(counters.latency_us, [(5_000, 53), (500_000, 10), (u64::MAX, 0)]);
    assert_eq!((counters.resets, counters.instances, counters.failure_series), (1, 1, 1));
    assert!(now().since(counters.newest.unwrap()) < Millis(5_000));
}

/// Certificates in a folder, the server's and a client's, and the web configuration that wants them and a password.
fn secured(folder: &std::path::Path) -> String {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    std::fs::write(folder.join("ca.pem"), authority.pem()).unwrap();
    for (name, host) in [("server", "127.0.0.1"), ("client", "tidegate")] {
        let key = KeyPair::generate().unwrap();
        let signed =
            CertificateParams::new(vec![host.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
        std::fs::write(folder.join(format!("{name}.pem")), signed.pem()).unwrap();
        std::fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).unwrap();
    }
    std::fs::write(folder.join("password"), "s3cret\n").unwrap();
    // The hash of that password.
    let hash = "$2b$04$wf0kdOr3tlUlGqoDMA6gZenvuq/myZnV2gKFa0hOX0BwXeKKqkdKO";
    format!(
        "tls_server_config: {{cert_file: server.pem, key_file: server.key, \
         client_auth_type: RequireAndVerifyClientCert, client_ca_file: ca.pem}}\n\
         basic_auth_users: {{tidegate: '{hash}'}}\n"
    )
}

#[tokio::test]
async fn tls_a_client_certificate_and_a_password_open_a_server_that_wants_them() {
    let server = Server::start(&[], secured);
    let file = |name: &str| server.folder.path().join(name);
    let endpoint = |ca: Option<PathBuf>, password: &str, certificate: Option<&str>| Endpoint {
        ca_file: ca,
        authentication: Authentication::Basic {
            user: "tidegate".into(),
            password: SecretSource::File(file(password)),
        },
        client_certificate: certificate.map(|name| ClientCertificate {
            certificate: file(&format!("{name}.pem")),
            key: file(&format!("{name}.key")),
        }),
        within: Duration::from_secs(5),
        ..Endpoint::new(format!("https://127.0.0.1:{}", server.port))
    };
    let good = Prometheus::new(endpoint(Some(file("ca.pem")), "password", Some("client")), Warnings::Refuse)
        .unwrap();
    let sample = server.until(async || good.one("vector(42)", now()).await.map(Some)).await;
    assert_eq!(sample.value, 42.0);

    std::fs::write(file("wrong"), "guess").unwrap();
    let other = tempfile::tempdir().unwrap();
    secured(other.path());
    let foreign = Some(other.path().join("ca.pem"));
    for (endpoint, code) in [
        (endpoint(Some(file("ca.pem")), "wrong", Some("client")), "authentication"),
        (endpoint(Some(file("ca.pem")), "gone", Some("client")), "configuration"),
        (endpoint(Some(file("ca.pem")), "password", None), "tls"),
        (endpoint(foreign, "password", Some("client")), "tls"),
    ] {
        let prometheus = Prometheus::new(endpoint, Warnings::Refuse).unwrap();
        let fault = prometheus.one("vector(42)", now()).await.unwrap_err();
        assert_eq!(fault.kind.code(), code, "{fault}");
        assert!(!format!("{fault} {prometheus:?}").contains("s3cret"));
    }
    let unsecured = Endpoint::new(format!("http://127.0.0.1:{}", server.port));
    let fault = Prometheus::new(unsecured, Warnings::Refuse).unwrap().one("1", now()).await.unwrap_err();
    assert_eq!(fault.kind.code(), "status", "{fault}");
    for (url, why) in [
        ("https://user:pass@host", "must not contain a user"),
        ("ftp://host", "must begin with http"),
        ("prometheus:9090", "must begin with http"),
        ("https://[::1", "no URL"),
    ] {
        let fault = Prometheus::new(Endpoint::new(url), Warnings::Refuse).unwrap_err().to_string();
        assert!(fault.contains(why) && !fault.contains("pass@"), "{fault}");
    }
    let endpoint = Endpoint { ca_file: Some(file("gone.pem")), ..Endpoint::new("https://host") };
    let fault = Prometheus::new(endpoint, Warnings::Refuse).unwrap_err().to_string();
    assert!(fault.contains("gone.pem"), "{fault}");
}
