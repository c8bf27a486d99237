//! Sources of evidence: Prometheus, the instances' own `/metrics`, a web endpoint, a command.
//!
//! A source answers with facts, an [`Answer`] or counters, or with a [`Fault`] that says what was asked, what went wrong and
//! what to do. It never judges, and it never makes a number out of nothing: what is refused, late, cut short, malformed, empty,
//! doubled, not a number or too old is a fault. Every wait, body, list and output is bounded.

mod answer;
mod command;
mod counters;
mod fault;
mod histogram;
mod http;
mod json_path;
mod prometheus;
mod scrape;
mod secret;
mod tls;
mod web;

pub use answer::{Answer, Data, Labelled, Labels, NotFinite, Sample, Series};
pub use command::{Command, OUTPUT_BYTES_MAX};
pub use counters::{Birth, Counters, Tally};
pub use fault::{Fault, FaultKind};
pub use histogram::Histogram;
pub use http::{Authentication, ClientCertificate, Endpoint, HEADERS_MAX};
pub use json_path::{JsonPath, JsonPathError};
pub use prometheus::{ArmQueries, Prometheus, Warnings};
pub use scrape::{ArmSelectors, Exposition, Point, Scraper, Selector, SelectorError};
pub use secret::{Secret, SecretError, SecretSource};
pub use web::{Method, Web};
