//! `tidegate init`: looks at a project and writes a commented `tidegate.yaml` for it.

mod detect;
mod languages;
mod write;

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::{Path, PathBuf},
};

pub(crate) use self::{detect::detect, write::commented_yaml};
use super::FILE_NAME;

/// What a project seems to be, and how it seems to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Detected {
    /// What it is.
    pub(crate) project: Project,
    /// A name for the service; always a valid one.
    pub(crate) name: String,
    /// What it was told by, for the person who reads the file: `package.json has a start script`.
    pub(crate) reason: String,
    /// What has to be done before a release can be made, if anything: `cargo build --release`.
    pub(crate) build: Option<String>,
    /// What to run.
    pub(crate) run: Guess,
    /// A path that answers when the service is well; `None` when none was seen, and the port is probed.
    pub(crate) health: Option<String>,
}

impl Detected {
    /// What it is, in words that follow "for": `a Rust program`.
    pub(crate) const fn kind_name(&self) -> &'static str {
        match self.project {
            Project::Procfile => "a project with a Procfile",
            Project::Rust => "a Rust program",
            Project::Node => "a Node.js program",
            Project::Python => "a Python program",
            Project::Go => "a Go program",
            Project::Java => "a Java program",
            Project::Container => "a container",
            Project::Static => "a folder of static files",
            Project::Unknown => "a project that says nothing about how it runs",
        }
    }
}

/// Kinds of projects that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Project {
    /// A `Procfile` says what to run.
    Procfile,
    /// `Cargo.toml` with a binary.
    Rust,
    /// `package.json` with a start script.
    Node,
    /// Python, with or without a web framework that is known.
    Python,
    /// `go.mod`.
    Go,
    /// `pom.xml`.
    Java,
    /// A `Dockerfile` and nothing that says more.
    Container,
    /// An `index.html`.
    Static,
    /// Nothing that is known.
    Unknown,
}

/// What to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Guess {
    /// A command from files of the project.
    Command {
        /// Program and arguments.
        argv: Vec<String>,
        /// What is copied into a release.
        files: Vec<String>,
        /// What is left out.
        exclude: Vec<String>,
    },
    /// An image built from the project's `Dockerfile`.
    Container {
        /// Its name and tag.
        image: String,
        /// The port that it exposes.
        port: u16,
    },
}

/// Why no file was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum InitError {
    /// There is one already; it is never overwritten.
    #[error("{} is already there: edit it, or move it away first", .0.display())]
    Exists(PathBuf),
    /// The world refused.
    #[error("cannot write {}", path.display())]
    Write {
        /// What was to be written.
        path: PathBuf,
        /// Why it could not be.
        #[source]
        source: io::Error,
    },
}

/// Writes a `tidegate.yaml` for the project in `directory`; the answer is its path and what was seen.
pub(crate) fn init(directory: &Path) -> Result<(PathBuf, Detected), InitError> {
    let path = directory.join(FILE_NAME);
    let fail = |source: io::Error| {
        let path = path.clone();
        if source.kind() == io::ErrorKind::AlreadyExists {
            InitError::Exists(path)
        } else {
            InitError::Write { path, source }
        }
    };
    let detected = detect(directory);
    let text = commented_yaml(&detected);
    // `create_new` refuses in one step: nobody's file is lost to a race.
    let mut file = OpenOptions::new().write(true).create_new(true).open(&path).map_err(fail)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
    Ok((path, detected))
}
