//! Requests changed at random: whatever comes in, what an instance receives is framed as the proxy understood it.

use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::abuse::SMUGGLING;
use crate::instance::Instance;
use crate::process::{Proxy, table, until};
use crate::user::{User, get};

/// How long requests are sent; the number of rounds depends on the machine.
const LENGTH: Duration = Duration::from_secs(3);
const ROUNDS_MAX: u64 = 4_000;

const PLAIN: [&str; 5] = [
    "GET /a?b=c HTTP/1.1\r\nHost: a\r\nAccept: */*\r\nCookie: x=1; y=2\r\n\r\n",
    "POST /b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello",
    "PUT /c HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    "HEAD http://a/d HTTP/1.1\r\nHost: a\r\nConnection: close, x\r\nX: 1\r\n\r\n",
    "GET /e HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
];

/// Pieces that matter to framing, put where they do not belong.
const PIECES: [&str; 12] = [
    "\r\n",
    "\n",
    "\r",
    "\0",
    ":",
    " ",
    "\t",
    "\r\n\r\n",
    "Content-Length: 3\r\n",
    "Transfer-Encoding: chunked\r\n",
    "0\r\n\r\n",
    "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
];

/// One to four changes: a byte replaced, a stretch cut out or doubled, a piece put in.
fn mutated(random: &mut fastrand::Rng) -> Vec<u8> {
    let plain = PLAIN.into_iter().chain(SMUGGLING.iter().map(|(_, bytes)| *bytes));
    let mut bytes = random.choice(plain.collect::<Vec<_>>()).expect("a request").as_bytes().to_vec();
    for _ in 0..random.usize(1..=4) {
        let at = random.usize(..=bytes.len());
        let end = (at + random.usize(..12)).min(bytes.len());
        match random.u8(..5) {
            0 if at < bytes.len() => bytes[at] = random.u8(..),
            1 => drop(bytes.drain(at..end)),
            2 => bytes.extend_from_within(at..end),
            3 => {
                let piece = random.choice(PIECES).expect("a piece");
                bytes.splice(at..at, piece.bytes());
            }
            _ => {
                let again = bytes[at..end].to_vec();
                bytes.splice(at..at, again);
            }
        }
    }
    bytes
}

#[test]
fn whatever_bytes_come_an_instance_receives_exactly_the_requests_that_the_proxy_counts() {
    // `FUZZ_SEED` takes other ways, or one way again.
    let seed = std::env::var("FUZZ_SEED").ok().and_then(|text| text.parse().ok()).unwrap_or(1);
    let mut random = fastrand::Rng::with_seed(seed);
    let instance = Instance::named("a");
    let mut proxy = Proxy::start();
    proxy.put(&table(1, &[("v1", 10_000, &[&instance.address])]));
    let address = proxy.address();
    let begun = Instant::now();
    for round in 0..ROUNDS_MAX {
        if begun.elapsed() > LENGTH {
            break;
        }
        let bytes = mutated(&mut random);
        let mut user = User::connect(&address);
        user.send(&bytes);
        // The proxy may have closed already.
        let _ = user.stream().shutdown(Shutdown::Write);
        user.rest();
        if round % 100 == 0 {
            assert_eq!(get(&address, "/", "").body, "a", "seed {seed}: the proxy still serves");
        }
    }
    assert_eq!(get(&address, "/", "").body, "a", "seed {seed}: the proxy still serves");
    let counted = || proxy.counters("v1")["requests"].as_u64();
    until("every request has ended", || (proxy.counters("v1")["in_flight"] == 0).then_some(()));
    let seen = instance.seen.lock().expect("log");
    // A request whose user went away in the middle of its body is counted, but its instance never had it whole.
    let whole = u64::try_from(seen.len()).expect("a number");
    assert!(Some(whole) <= counted(), "seed {seed}: {whole} arrived, {:?} were carried", counted());
    for one in seen.iter() {
        let framing = |line: &&str| {
            let name = line.split(':').next().unwrap_or_default().trim();
            ["content-length", "transfer-encoding"].iter().any(|framing| name.eq_ignore_ascii_case(framing))
        };
        let framings = one.head.lines().filter(framing).count();
        assert!(framings <= 1, "seed {seed}: two framings in {:?}", one.head);
        assert!(
            one.header("x-forwarded-for").is_some(),
            "seed {seed}: not sent by the proxy: {:?}",
            one.head
        );
    }
    let said = proxy.last_words();
    assert!(!said.contains("panicked"), "seed {seed}: {said}");
}
