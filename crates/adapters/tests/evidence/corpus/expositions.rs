//! What is wrong in what an instance exposes.

use super::{Codes, SELECTOR};
use crate::protobuf::{bytes, double, family, integer, label, message};

/// What an instance may expose that can not be taken.
pub(super) fn all() -> Vec<(&'static str, &'static str, Vec<u8>, Codes)> {
    let text = "text/plain; version=0.0.4";
    let open = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    let proto =
        "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
    let name = "http_requests_total";
    let line = |rest: &str| format!("{SELECTOR} {rest}\n").into_bytes();
    let eof = |body: &str| format!("{body}# EOF\n").into_bytes();
    let counter = |value: f64| {
        let metric = [label("version", "v2"), message(3, &double(1, value))].concat();
        family(name, 0, &[metric])
    };
    let good = counter(5.0);
    let many = format!("{}{SELECTOR} 1\n", (0..60_000).map(|_| "a 1\n").collect::<String>());
    vec![
        (text, "no such metric", b"up 1\n".to_vec(), &["no_data"]),
        (text, "only comments", b"# HELP http_requests_total Requests.\n".to_vec(), &["no_data"]),
        (text, "another version", b"http_requests_total{version=\"v1\"} 5\n".to_vec(), &["no_data"]),
        (text, "NaN", line("NaN"), &["not_a_number"]),
        (text, "+Inf", line("+Inf"), &["infinite"]),
        (text, "huge", line("1e300"), &["huge"]),
        (text, "a word", line("many"), &["not_metrics"]),
        (text, "no value", line(""), &["not_metrics"]),
        (text, "two values and a time", line("5 1700000000000 9"), &["not_metrics"]),
        (text, "a time that is none", line("5 yesterday"), &["not_metrics"]),
        (text, "a stale time", line("5 1600000000000"), &["stale"]),
        (text, "a time in the future", line("5 1800000000000"), &["future"]),
        (text, "a negative time", line("5 -1"), &["not_metrics"]),
        (text, "the same series twice", [line("5"), line("6")].concat(), &["not_metrics"]),
        (text, "no closing brace", b"http_requests_total{version=\"v2\" 5\n".to_vec(), &["not_metrics"]),
        (text, "no closing quote", b"http_requests_total{version=\"v2} 5\n".to_vec(), &["not_metrics"]),
        (text, "no quotes", b"http_requests_total{version=v2} 5\n".to_vec(), &["not_metrics"]),
        (
            text,
            "a label twice",
            b"http_requests_total{version=\"v2\",version=\"v1\"} 5\n".to_vec(),
            &["not_metrics"],
        ),
        (text, "a label without a name", b"http_requests_total{=\"v2\"} 5\n".to_vec(), &["not_metrics"]),
        (text, "a name with a digit first", b"5xx{version=\"v2\"} 5\n".to_vec(), &["not_metrics"]),
        (text, "no name", b"{version=\"v2\"} 5\n".to_vec(), &["not_metrics"]),
        (
            text,
            "an unknown type",
            [b"# TYPE http_requests_total tally\n".to_vec(), line("5")].concat(),
            &["not_metrics"],
        ),
        (
            text,
            "the type twice",
            [b"# TYPE a counter\n# TYPE a gauge\n".to_vec(), line("5")].concat(),
            &["not_metrics"],
        ),
        (
            text,
            "the type after the samples",
            [line("5"), b"# TYPE http_requests_total counter\n".to_vec()].concat(),
            &["not_metrics"],
        ),
        (text, "a last line cut short", format!("{SELECTOR} 5").into_bytes(), &["truncated"]),
        (text, "JSON", b"{\"http_requests_total\": 5}\n".to_vec(), &["not_metrics"]),
        (text, "too many samples", many.into_bytes(), &["too_large", "not_metrics"]),
        (text, "not UTF-8", [line("5"), b"a{b=\"\xff\"} 1\n".to_vec()].concat(), &["not_metrics"]),
        (open, "no end", line("5"), &["truncated"]),
        (
            open,
            "something after the end",
            [eof(&format!("{SELECTOR} 5\n")), line("6")].concat(),
            &["not_metrics"],
        ),
        (open, "an empty line", eof(&format!("\n{SELECTOR} 5\n")), &["not_metrics"]),
        (open, "a time in milliseconds", eof(&format!("{SELECTOR} 5 1700000000000\n")), &["not_metrics"]),
        (open, "an unknown type", eof("# TYPE http_requests countdown\n"), &["not_metrics"]),
        (
            open,
            "created in no time",
            eof(&format!("# TYPE http_requests counter\n{SELECTOR} 5\nhttp_requests_created -5\n")),
            &["not_metrics"],
        ),
        (open, "nothing but the end", eof(""), &["no_data"]),
        (proto, "text", line("5"), &["truncated", "not_metrics"]),
        (proto, "nothing", Vec::new(), &["no_data"]),
        (proto, "cut short", good[..good.len() - 3].to_vec(), &["truncated"]),
        (proto, "a length without end", vec![0xff; 12], &["truncated"]),
        (proto, "NaN", counter(f64::NAN), &["not_a_number"]),
        (proto, "infinity", counter(f64::INFINITY), &["infinite"]),
        (proto, "no name", family("", 0, &[]), &["not_metrics"]),
        (proto, "an unknown type", family(name, 99, &[message(3, &double(1, 5.0))]), &["not_metrics"]),
        (proto, "a value of another type", family(name, 0, &[message(2, &double(1, 5.0))]), &["not_metrics"]),
        (
            proto,
            "a value that is no number",
            family(name, 0, &[message(3, &integer(1, 5))]),
            &["not_metrics"],
        ),
        (
            proto,
            "a name that is not UTF-8",
            {
                let inner = bytes(1, &[0xff, 0xfe]);
                [vec![u8::try_from(inner.len()).unwrap()], inner].concat()
            },
            &["not_metrics"],
        ),
        (
            proto,
            "spans without buckets",
            family(
                name,
                4,
                &[message(7, &[integer(5, 0), message(12, &integer(2, 1_000_000_000))].concat())],
            ),
            &["not_metrics"],
        ),
        (
            proto,
            "a schema that does not exist",
            family(name, 4, &[message(7, &[integer(5, 200), integer(7, 1)].concat())]),
            &["not_metrics"],
        ),
        (
            proto,
            "buckets that do not add up",
            family(name, 4, &[message(7, &[integer(1, 9), integer(5, 0), integer(7, 1)].concat())]),
            &["not_metrics"],
        ),
        ("text/html", "a page", b"http_requests_total 5\n".to_vec(), &["html"]),
        ("application/json", "another type", line("5"), &["wrong_shape"]),
    ]
}
