//! What can go wrong with a control plane for tests.

use std::path::PathBuf;

use crate::Component;

/// Why a control plane did not start, or did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BedError {
    /// A program of the control plane is neither in `KUBEBUILDER_ASSETS` nor built.
    #[error("there is no {program} at {}: run `cargo xtask setup`, which builds it", path.display())]
    Missing {
        /// The program's name.
        program: &'static str,
        /// Where it would be after the set-up.
        path: PathBuf,
    },
    /// A file or folder could not be written or read.
    #[error("could not use {}: {source}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A certificate or a key could not be made.
    #[error("could not make the certificate of {whose}: {why}")]
    Certificate {
        /// Whose.
        whose: String,
        /// What the library said.
        why: String,
    },
    /// A program did not start. The usual reason is that `setpriv` (util-linux) is missing.
    #[error("could not start {component} through setpriv: {source}")]
    Start {
        /// Which one.
        component: Component,
        /// What the system said.
        source: std::io::Error,
    },
    /// A program of the control plane ended by itself.
    #[error("{component} ended with {status}; its last lines:\n{log}")]
    Ended {
        /// Which one.
        component: Component,
        /// How.
        status: String,
        /// The end of its log.
        log: String,
    },
    /// Something was not there in time.
    #[error("waited {waited_s} s in vain for {what}{log}")]
    Late {
        /// What was waited for.
        what: String,
        /// How long, seconds.
        waited_s: u64,
        /// The last lines of the log that may say why; empty when no log does.
        log: String,
    },
    /// The API server gave no answer to a request.
    #[error("no answer to {request}: {why}")]
    NoAnswer {
        /// Method and path.
        request: String,
        /// What happened.
        why: String,
    },
    /// The API server answered a request with something else than success.
    #[error("{request} was answered with {status}: {message}")]
    Refused {
        /// Method and path.
        request: String,
        /// The HTTP status.
        status: u16,
        /// What the API server says about it.
        message: String,
    },
}

impl BedError {
    pub(crate) fn file(path: impl Into<PathBuf>) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::File { path: path.into(), source }
    }
}
