//! What can go wrong on the way, whatever is asked.

use std::io::Write;

use super::{BODY_BYTES_MAX, Codes};
use crate::hostile::{Wire, reply};

/// Name, what the connection meets, and the words for the fault that fit.
pub(super) type Shape = (&'static str, Wire, Codes);

/// All of them.
pub(super) fn shapes() -> Vec<Shape> {
    const UNREADABLE: &[&str] = &["not_json", "not_metrics", "no_data", "wrong_shape", "truncated"];
    let ok = |body: &[u8]| Wire::Send(reply("200 OK", &[], body));
    let with = |headers: &[(&str, &str)], body: &[u8]| Wire::Send(reply("200 OK", headers, body));
    let status = |line: &str| Wire::Send(reply(line, &[], b"sorry"));
    let to =
        |line: &str| Wire::Send(reply(line, &[("Location", "http://127.0.0.1:1/elsewhere?token=abc")], b""));
    let raw = |text: &str| Wire::Send(text.as_bytes().to_vec());
    let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let long = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", BODY_BYTES_MAX * 4);
    let packed = gzip(&vec![b' '; BODY_BYTES_MAX * 100]);
    let small = gzip(b"{\"value\": 0.01}\n");
    let cut = &small[..small.len() - 9];
    let gzipped = [("Content-Encoding", "gzip")];
    vec![
        ("refused", Wire::Refuse, &["refused"]),
        ("closed at once", Wire::CloseAtOnce, &["truncated"]),
        ("closed without an answer", raw(""), &["truncated"]),
        ("cut within the head", raw("HTTP/1.1 200 OK\r\nContent-Le"), &["truncated"]),
        ("hangs without an answer", Wire::SendAndHang(Vec::new()), &["timed_out"]),
        ("hangs within the head", Wire::SendAndHang(b"HTTP/1.1 200 OK\r\n".to_vec()), &["timed_out"]),
        ("hangs within the body", Wire::SendAndHang(long.clone().into_bytes()), &["timed_out"]),
        ("drips the body", Wire::Drip(long.clone().into_bytes()), &["timed_out"]),
        ("400", status("400 Bad Request"), &["status"]),
        ("401", status("401 Unauthorized"), &["authentication"]),
        ("403", status("403 Forbidden"), &["authentication"]),
        ("404", status("404 Not Found"), &["status"]),
        ("407", status("407 Proxy Authentication Required"), &["authentication"]),
        ("429", status("429 Too Many Requests"), &["status"]),
        ("500", status("500 Internal Server Error"), &["status"]),
        ("502", Wire::Send(reply("502 Bad Gateway", &[], b"<html>502</html>")), &["status"]),
        ("503", status("503 Service Unavailable"), &["status"]),
        ("504", status("504 Gateway Timeout"), &["status"]),
        ("204", raw("HTTP/1.1 204 No Content\r\n\r\n"), UNREADABLE),
        ("301", to("301 Moved Permanently"), &["redirected"]),
        ("302", to("302 Found"), &["redirected"]),
        ("307", to("307 Temporary Redirect"), &["redirected"]),
        (
            "a login page",
            with(&[("Content-Type", "text/html; charset=utf-8")], b"<!DOCTYPE html>"),
            &["html"],
        ),
        ("a page without a type", ok(b"\n <html><body>0.01</body></html>"), &["html"]),
        ("nothing", ok(b""), UNREADABLE),
        ("null", ok(b"null"), UNREADABLE),
        ("a bare number", ok(b"0.01"), UNREADABLE),
        ("a list", ok(b"[0.01]"), UNREADABLE),
        ("an empty object", ok(b"{}"), UNREADABLE),
        ("binary", ok(&[0xff, 0xfe, 0x00, 0x80, 0x0a]), UNREADABLE),
        ("UTF-16", ok(b"\xff\xfe{\0}\0"), UNREADABLE),
        ("brackets without end", ok(&vec![b'['; 20_000]), UNREADABLE),
        ("longer than promised", raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}garbage"), UNREADABLE),
        ("shorter than promised", raw("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}"), &["truncated"]),
        ("a chunk cut short", raw(&format!("{chunked}10\r\n{{}}")), &["truncated"]),
        ("no last chunk", raw(&format!("{chunked}2\r\n{{}}\r\n")), &["truncated"]),
        ("a chunk without a size", raw(&format!("{chunked}xyz\r\n{{}}")), &["truncated"]),
        ("too large", Wire::Forever(long.into_bytes(), vec![b' '; 4096]), &["too_large"]),
        (
            "without end",
            Wire::Forever(chunked.as_bytes().to_vec(), b"4\r\n    \r\n".repeat(100)),
            &["too_large"],
        ),
        (
            "a head without end",
            Wire::Forever(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-A: b\r\n".repeat(100)),
            &["wrong_shape"],
        ),
        ("a gzip bomb", with(&gzipped, &packed), &["gzip_bomb"]),
        ("gzip cut short", with(&gzipped, cut), &["encoding"]),
        ("gzip that is none", with(&gzipped, b"{\"value\": 0.01}"), &["encoding"]),
        ("an unknown compression", with(&[("Content-Encoding", "br")], b"0.01"), &["encoding"]),
        (
            "two compressions",
            with(&[("Content-Encoding", "gzip"), ("Content-Encoding", "gzip")], b"0.01"),
            &["encoding"],
        ),
        ("another protocol", raw("SSH-2.0-OpenSSH_9.2\r\n"), &["wrong_shape"]),
        ("TLS", Wire::Send(b"\x15\x03\x01\x00\x02\x02\x16".to_vec()), &["wrong_shape"]),
        (
            "two lengths",
            raw("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\n{} "),
            &["wrong_shape"],
        ),
    ]
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).unwrap();
    encoder.finish().unwrap()
}
