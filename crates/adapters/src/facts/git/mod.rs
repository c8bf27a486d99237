//! What changed between the running commit and the new one, from the git repository itself.
//!
//! Read with `gix`, a git in Rust: no program is started, nothing is written, no hook, filter or configured command runs,
//! and only the repository's own configuration is read.

mod delicate;
mod dependencies;
mod exclude;
mod history;
mod lines;
mod rename;
mod repository;
mod tree;

use std::{
    collections::BTreeSet,
    ops::RangeInclusive,
    path::{Path, PathBuf},
};

use tidegate_core::{
    confidence::{Absence, ChangeSize, Factor, FactorKind, spread},
    model::Timestamp,
};

pub use exclude::LeftOut;
use repository::Repository;

/// More changed files than this are no release but another project.
pub const FILES_MAX: usize = 100_000;
/// Files larger than this are not compared by line, and count as binary.
pub const FILE_BYTES_MAX: u64 = 8 << 20;
/// Commits of history that are looked at for churn and experience.
pub const COMMITS_MAX: usize = 5_000;

/// Why nothing can be said about a change.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// There is no repository.
    #[error("{} is not in a git repository that can be read", path.display())]
    NotARepository {
        /// Where it was looked for, and in the directories above.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<gix::Error>,
    },
    /// A name that can be no commit.
    #[error("`{name}` ({side}) names no commit: give its hexadecimal id, a branch or a tag")]
    BadName {
        /// Which of the two.
        side: Side,
        /// What was given.
        name: String,
    },
    /// The commit is not there.
    #[error("the {side} commit {name} is not in the repository{}", hint(*.shallow))]
    MissingCommit {
        /// Which of the two.
        side: Side,
        /// What was given.
        name: String,
        /// Whether the clone is shallow.
        shallow: bool,
    },
    /// The shortened id fits several objects.
    #[error("`{name}` ({side}) is the beginning of several ids: give more of it")]
    Ambiguous {
        /// Which of the two.
        side: Side,
        /// What was given.
        name: String,
    },
    /// The name is of something else.
    #[error("`{name}` ({side}) is not a commit but a {kind}")]
    NotACommit {
        /// Which of the two.
        side: Side,
        /// What was given.
        name: String,
        /// What it is.
        kind: String,
    },
    /// An object is missing or damaged: a partial clone, or a broken repository.
    #[error(
        "cannot read {what} from the repository; fetch it in full, without a filter (`git fsck` names damage)"
    )]
    Object {
        /// What.
        what: String,
        /// Why.
        #[source]
        source: Box<gix::Error>,
    },
    /// Too much changed.
    #[error("more than {limit} files differ between the two commits")]
    TooManyFiles {
        /// How many may.
        limit: usize,
    },
}

/// Which of the two commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The one that runs.
    Running,
    /// The one to deploy.
    New,
}

impl std::fmt::Display for Side {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Running => "running",
            Self::New => "new",
        })
    }
}

fn hint(shallow: bool) -> &'static str {
    if shallow {
        ", which is a shallow clone: fetch the rest (`git fetch --unshallow`)"
    } else {
        ": fetch it first"
    }
}

impl GitError {
    /// The complexity factor without a value, for this reason.
    pub fn factor(&self) -> Factor {
        Factor::absent(FactorKind::Complexity, Absence::Unreadable, &crate::chain(self))
    }
}

/// What changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The running commit's full id.
    pub from: String,
    /// The new commit's full id.
    pub to: String,
    /// When the new commit was made.
    pub at: Timestamp,
    /// Its measures.
    pub size: ChangeSize,
    /// Every file that differs, by path.
    pub files: Vec<ChangedFile>,
    /// What could not be found out, one sentence each.
    pub unknown: Vec<String>,
}

/// One file that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChangedFile {
    /// Its path in the new commit, or in the running one when it is gone; not UTF-8 is replaced.
    pub path: String,
    /// Its path in the running commit, when it was renamed.
    pub renamed_from: Option<String>,
    /// Lines added.
    pub added: u64,
    /// Lines deleted.
    pub deleted: u64,
    /// The added lines' numbers in the new commit, from 1, rising.
    pub added_lines: Vec<RangeInclusive<u32>>,
    /// What it holds.
    pub content: Content,
    /// Why it is left out of the measures.
    pub left_out: Option<LeftOut>,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Lines.
    Text,
    /// Bytes without lines, or more of them than are compared.
    Binary,
    /// Another repository's commit.
    Submodule,
}

impl ChangedFile {
    /// Whether it counts in the measures.
    pub const fn counts(&self) -> bool {
        self.left_out.is_none()
    }
}

/// What changed from `running` to `new` in the repository around `directory` (bare ones too). Both are ids, in full or
/// shortened, or names of branches or tags. The same commit twice is an empty change.
pub fn changed(directory: &Path, running: &str, new: &str) -> Result<Change, GitError> {
    let repository = Repository::around(directory)?;
    let from = repository.commit(Side::Running, running)?;
    let to = repository.commit(Side::New, new)?;
    let pairs = rename::paired(&repository, tree::differences(&repository, &from, &to)?)?;
    let mut compared = Vec::with_capacity(pairs.len());
    for pair in &pairs {
        compared.push(lines::compare(&repository, pair)?);
    }
    compared.sort_by(|one, other| one.file.path.cmp(&other.file.path));
    let mut size = measured(compared.iter().map(|compared| &compared.file));
    size.delicate = delicate::found(&compared);
    let past = history::of(&repository, &from, &to, &compared);
    size.churn = past.churn;
    size.inexperience = past.inexperience;
    Ok(Change {
        from: from.id.to_string(),
        to: to.id.to_string(),
        at: Timestamp(to.seconds.saturating_mul(1_000)),
        size,
        files: compared.into_iter().map(|compared| compared.file).collect(),
        unknown: past.unknown,
    })
}

fn measured<'a>(files: impl Iterator<Item = &'a ChangedFile>) -> ChangeSize {
    let mut size = ChangeSize::default();
    let mut directories = BTreeSet::new();
    let mut lines = Vec::new();
    for file in files.filter(|file| file.counts()) {
        size.lines_added = size.lines_added.saturating_add(file.added);
        size.lines_deleted = size.lines_deleted.saturating_add(file.deleted);
        size.files += 1;
        directories.insert(file.path.rsplit_once('/').map_or("", |(directory, _)| directory));
        lines.push(file.added.saturating_add(file.deleted));
    }
    size.directories = directories.len() as u64;
    size.entropy = spread(&lines);
    size
}

#[cfg(test)]
mod tests;
