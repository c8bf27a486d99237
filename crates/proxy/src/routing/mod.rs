//! The routing table as the data plane reads it: compiled once by the control thread, never changed afterwards.

mod choose;
mod compile;
mod cookie;
mod pick;
mod validate;

use std::net::SocketAddr;
use std::sync::Arc;

use http::{HeaderName, HeaderValue, Method};

use crate::endpoint::Endpoint;
use crate::protocol::{Health, Limits, Mode};
use crate::stats::ReleaseStats;

pub(crate) use choose::{Choice, Chosen, Client, choose, matches_a_rule};
pub(crate) use compile::{Compiling, compile};
pub(crate) use cookie::Cookie;
pub(crate) use pick::{Pick, pick};
pub(crate) use validate::{Listen, listen_addresses, validate, validate_name};

/// One service's traffic, compiled.
pub(crate) struct Routes {
    pub(crate) mode: Mode,
    pub(crate) limits: Limits,
    pub(crate) health: Health,
    pub(crate) releases: Vec<Release>,
    /// Upper edges (exclusive) of the releases' buckets, rising, with the release's place in `releases`.
    pub(crate) split: Vec<(u16, usize)>,
    /// Place of the stable release.
    pub(crate) stable: Option<usize>,
    pub(crate) sticky: Option<Key>,
    pub(crate) rules: Vec<Rule>,
    pub(crate) mirror: Option<Mirror>,
}

/// One release with its endpoints.
pub(crate) struct Release {
    pub(crate) tag: String,
    /// The tag as the value of `x-tidegate-release`.
    pub(crate) tag_value: HeaderValue,
    pub(crate) weight: u16,
    pub(crate) endpoints: Vec<Arc<Endpoint>>,
    pub(crate) stats: Arc<ReleaseStats>,
}

/// What a user is known by.
pub(crate) enum Key {
    Cookie(Cookie),
    Header(HeaderName),
    ClientAddress,
}

/// A compiled rule: all conditions must hold.
pub(crate) struct Rule {
    pub(crate) when: Vec<Condition>,
    pub(crate) release: usize,
}

/// A compiled condition.
pub(crate) enum Condition {
    Header(HeaderName, Option<Vec<u8>>),
    Cookie(String, Option<String>),
    PathPrefix(String),
}

/// Compiled mirroring.
pub(crate) struct Mirror {
    /// The shadow's place in `releases`.
    pub(crate) release: usize,
    pub(crate) share: u16,
    pub(crate) methods: Vec<Method>,
    pub(crate) body_max: usize,
    pub(crate) in_flight_max: u32,
    pub(crate) timeout_ms: u64,
    /// JSON pointers to leave out, cut into segments; `None` compares bytes.
    pub(crate) json: Option<Vec<Vec<String>>>,
}

impl Routes {
    /// A table that routes nothing, for the moment before the first one.
    pub(crate) fn empty() -> Self {
        Self {
            mode: Mode::Serve,
            limits: Limits::default(),
            health: Health::default(),
            releases: Vec::new(),
            split: Vec::new(),
            stable: None,
            sticky: None,
            rules: Vec::new(),
            mirror: None,
        }
    }

    /// Every endpoint with the release it belongs to.
    pub(crate) fn endpoints(&self) -> impl Iterator<Item = (&Release, &Arc<Endpoint>)> {
        self.releases
            .iter()
            .flat_map(|release| release.endpoints.iter().map(move |endpoint| (release, endpoint)))
    }
}

/// Parses `IP:port`.
pub(crate) fn parse_address(text: &str) -> Result<SocketAddr, String> {
    text.parse().map_err(|_| format!("`{text}` is not an address of the form IP:port"))
}
