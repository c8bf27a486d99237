//! Facts about a release that are known before it gets traffic: what changed, what the tests run of it, and what the
//! safety gates say. Numbers only; what they are worth is the core's to say.
//!
//! Everything here blocks (files, git objects): call it where blocking is allowed.

pub mod coverage;
pub mod git;
pub mod safety;

use std::{
    io::Read,
    path::{Path, PathBuf},
};

/// A report file that cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum Unreadable {
    /// The file system says no.
    #[error("cannot read {}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// It is larger than any such report should be.
    #[error("{} is larger than {limit} bytes; that is no report of one release", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// How large it may be.
        limit: u64,
    },
    /// It is not text.
    #[error("{} is not UTF-8 text from byte {at} on", path.display())]
    NotText {
        /// The file.
        path: PathBuf,
        /// The first byte that is not.
        at: usize,
    },
}

/// The whole file as text, at most `limit` bytes.
fn read_text(path: &Path, limit: u64) -> Result<String, Unreadable> {
    let io = |source| Unreadable::Io { path: path.to_owned(), source };
    let file = std::fs::File::open(path).map_err(io)?;
    let mut bytes = Vec::new();
    // One byte more than allowed, so that a file that grows while it is read is caught too.
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes).map_err(io)?;
    if bytes.len() as u64 > limit {
        return Err(Unreadable::TooLarge { path: path.to_owned(), limit });
    }
    String::from_utf8(bytes)
        .map_err(|error| Unreadable::NotText { path: path.to_owned(), at: error.utf8_error().valid_up_to() })
}
