//! Sources of evidence, against real servers and programs and against hostile ones.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::float_cmp,
    reason = "the functions that tests share may fail as tests do, and numbers are read as they were written"
)]

mod bad;
mod command;
mod corpus;
mod hostile;
mod matrix;
mod prometheus;
mod protobuf;
mod scrape;
mod server;
mod target;
