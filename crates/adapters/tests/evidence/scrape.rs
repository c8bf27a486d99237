//! Instances' own metrics, in all formats.

use tidegate_adapters::evidence::{
    ArmSelectors, Authentication, Birth, Endpoint, Exposition, NotFinite, Scraper, Secret, SecretSource,
    Selector, Tally,
};
use tidegate_core::{
    expression::Unit,
    model::{Millis, Timestamp},
};

use crate::{
    protobuf::{bytes, double, family, integer, label, message, signed, varint, zigzag},
    target::Target,
};

const AGE_MAX: Millis = Millis(5_000);

/// Whatever is cut off or changed: a fault or a reading, never a panic.
fn maim(content_type: &str, whole: &[u8]) {
    for at in 0..whole.len() {
        let _cut = Exposition::parse(content_type, &whole[..at]);
        for change in [0x01, 0x55, 0x80, b'"' ^ whole[at], b'{' ^ whole[at], b'\n' ^ whole[at]] {
            let mut changed = whole.to_vec();
            changed[at] ^= change;
            let _changed = Exposition::parse(content_type, &changed);
        }
    }
}

/// What drives deployments moves between threads.
fn sendable<F: Future + Send>(future: F) -> F {
    future
}

fn selector(text: &str) -> Selector {
    text.parse().unwrap()
}

#[test]
fn the_older_text_format_is_read_with_all_its_freedoms() {
    let text = "# HELP a Help with \\n escapes.\n#comment\n\n# TYPE a counter\n  a { b = \"x\\\\\\\"\\n\" , } 1 1700000000123 \n\
                a{b=\"ü\"} +1e3\t\nc NaN\nd -Inf\n{\"e.f\",\"g h\"=\"i\"} 5\nj{} 0x1\n";
    let broken = Exposition::parse("text/plain; version=0.0.4", text.as_bytes()).unwrap_err().to_string();
    assert!(broken.contains("line 10") && broken.contains("`0x1` is no number"), "{broken}");
    let read = Exposition::parse("", text.replace("0x1", "1").as_bytes()).unwrap();
    let points = read.points();
    assert_eq!(
        (points[0].labels["b"].as_str(), points[0].at),
        ("x\\\"\n", Some(Timestamp(1_700_000_000_123)))
    );
    assert_eq!((points[1].labels["b"].as_str(), points[1].value), ("ü", 1_000.0));
    assert!(points[2].value.is_nan() && points[3].value.is_infinite());
    assert_eq!((points[4].name.as_str(), points[4].labels["g h"].as_str()), ("e.f", "i"));
    assert_eq!(points.len(), 6);
    maim("", text.as_bytes());
}

#[test]
fn open_metrics_is_read_with_exemplars_and_times_of_birth() {
    let text = "# TYPE requests counter\n# UNIT requests requests\nrequests_total{code=\"500\"} 17 # {trace=\"a\"} 1 1.5\n\
                requests_created{code=\"500\"} 1700000000.5\n# TYPE t_seconds histogram\n\
                t_seconds_bucket{le=\"0.1\"} 8 # {} 0.09\nt_seconds_bucket{le=\"+Inf\"} 9\nt_seconds_count 9\n\
                t_seconds_sum 3\nt_seconds_created 1700000001\n# EOF\n";
    let kind = "application/openmetrics-text; version=1.0.0";
    maim(kind, text.as_bytes());
    let read = Exposition::parse(kind, text.as_bytes()).unwrap();
    let requests = selector("requests_total{code=~\"5..\"}");
    let point = read.find(&requests).next().unwrap();
    assert_eq!((point.value, point.created), (17.0, Some(Timestamp(1_700_000_000_500))));
    let histograms = read.histograms(&selector("t_seconds"), Timestamp(7)).unwrap();
    assert_eq!(histograms[0].buckets, [(0.1, 8), (f64::INFINITY, 1)]);
    assert_eq!((histograms[0].at, histograms[0].created), (Timestamp(7), Some(Timestamp(1_700_000_001_000))));
}

#[test]
fn protobuf_is_read_with_classic_and_native_histograms() {
    let created = message(15, &[integer(1, 1_700_000_000), integer(2, 500_000_000)].concat());
    let bucket = |count: u64, edge: f64| message(3, &[integer(1, count), double(2, edge)].concat());
    let classic = [integer(1, 9), double(2, 3.0), bucket(5, 0.1), bucket(8, 0.5), created];
    // Schema 1: edges are powers of the square root of 2. Deltas one by one, not packed.
    let native = [
        integer(1, 7),
        signed(5, 1),
        message(12, &[signed(1, -2), integer(2, 2)].concat()),
        integer(13, zigzag(3)),
        integer(13, zigzag(-1)),
        message(9, &[signed(1, 1), integer(2, 1)].concat()),
        bytes(10, &varint(zigzag(2))),
    ];
    let born = message(3, &[integer(1, 1_700_000_000)].concat());
    let body = [
        family(
            "requests_total",
            0,
            &[[label("code", "200"), message(3, &[double(1, 5.0), born].concat())].concat()],
        ),
        family("cpu", 1, &[message(2, &double(1, 0.5))]),
        family("t_seconds", 4, &[message(7, &classic.concat())]),
        family("n_seconds", 4, &[message(7, &native.concat())]),
    ];
    let kind = "application/vnd.google.protobuf";
    let read = Exposition::parse(kind, &body.concat()).unwrap();
    let requests = selector("requests_total");
    let point = read.find(&requests).next().unwrap();
    assert_eq!((point.value, point.created), (5.0, Some(Timestamp(1_700_000_000_000))));
    let classic = read.histograms(&selector("t_seconds"), Timestamp(7)).unwrap();
    assert_eq!(classic[0].buckets, [(0.1, 5), (0.5, 3), (f64::INFINITY, 1)]);
    assert_eq!(classic[0].created, Some(Timestamp(1_700_000_000_500)));
    let native = read.histograms(&selector("n_seconds"), Timestamp(7)).unwrap();
    let edges: Vec<(String, u64)> = native[0].buckets.iter().map(|(e, n)| (format!("{e:.3}"), *n)).collect();
    assert_eq!(edges, [("-1.000".into(), 2), ("0.500".into(), 3), ("0.707".into(), 2)]);
    assert_eq!(native[0].at, Timestamp(7));

    maim(kind, &body.concat());
}

#[tokio::test]
async fn a_scraped_tally_adds_up_instances_and_their_restarts_over_one_connection_each() {
    let exposed = |good: u64, failed: u64| {
        format!(
            "requests_total{{code=\"200\"}} {good}\nrequests_total{{code=\"503\"}} {failed}\n\
             t_bucket{{le=\"0.1\"}} {good}\nt_bucket{{le=\"+Inf\"}} {}\n",
            good + failed
        )
    };
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token");
    std::fs::write(&token, "first").unwrap();
    let first = Target::start("text/plain", exposed(10, 1).as_bytes()).await;
    let second = Target::start("text/plain", exposed(20, 0).as_bytes()).await;
    let scraper = |target: &Target| {
        let authentication = Authentication::Bearer(SecretSource::File(token.clone()));
        let headers = vec![("X-Scope-OrgID".to_owned(), Secret::new("shop"))];
        Scraper::new(Endpoint { authentication, headers, ..Endpoint::new(target.url()) }).unwrap()
    };
    let scrapers = [(scraper(&first), "first"), (scraper(&second), "second")];
    let selectors = ArmSelectors {
        requests: selector("requests_total"),
        failures: selector("requests_total{code=~\"5..\"}"),
        latency: Some(selector("t")),
    };
    let mut tally = Tally::new(Birth::Here, Timestamp(0), Unit::Seconds);
    let mut seen = Vec::new();
    for (second_passed, exposition) in [(1, (10, 1)), (2, (15, 3)), (3, (2, 2)), (4, (2, 2))] {
        first.expose(exposed(exposition.0, exposition.1).as_bytes());
        for (scraper, instance) in &scrapers {
            let at = Timestamp(second_passed * 1_000);
            let observed = scraper.observe(&selectors, instance, &mut tally, at, AGE_MAX);
            sendable(observed).await.unwrap();
        }
        let counters = tally.counters();
        seen.push((counters.requests, counters.failures, counters.resets));
    }
    assert_eq!(seen, [(31, 1, 0), (38, 3, 0), (42, 5, 1), (42, 5, 1)]);
    assert_eq!(tally.counters().latency_us, [(100_000, 37), (u64::MAX, 5)]);
    assert_eq!((first.connections(), second.connections()), (1, 1), "connections are kept");
    let head = first.head().to_lowercase();
    assert!(head.contains("authorization: bearer first") && head.contains("x-scope-orgid: shop"), "{head}");
    assert!(head.contains("accept: application/vnd.google.protobuf"), "{head}");

    std::fs::write(&token, "second").unwrap();
    let all = selector("t_bucket{le=\"+Inf\"}");
    let answer = scrapers[0].0.read(&all, Timestamp(9_000), AGE_MAX, NotFinite::Refuse).await;
    assert_eq!(answer.unwrap().single().unwrap().value, 4.0);
    assert!(first.head().contains("Bearer second"), "a rotated token is taken up");

    first.expose(b"requests_total{code=\"200\"} 5\n");
    let before = tally.counters();
    let fault =
        scrapers[0].0.observe(&selectors, "first", &mut tally, Timestamp(10_000), AGE_MAX).await.unwrap_err();
    assert!(fault.to_string().contains("there is no histogram t"), "{fault}");
    assert_eq!(tally.counters(), before, "a fault counts nothing");
}
