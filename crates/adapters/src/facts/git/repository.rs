//! Opening the repository and finding the two commits in it.

use std::path::Path;

use gix::{ObjectId, objs::Kind};

use super::{GitError, Side};

/// Objects kept decompressed while comparing, bytes.
const CACHE_BYTES: usize = 32 << 20;

pub(super) struct Repository {
    pub(super) git: gix::Repository,
    /// Whether history ends early.
    pub(super) shallow: bool,
}

/// A commit that was found.
pub(super) struct Found {
    pub(super) id: ObjectId,
    pub(super) tree: ObjectId,
    /// When it was committed, seconds since the Unix epoch.
    pub(super) seconds: i64,
}

impl Repository {
    pub(super) fn around(directory: &Path) -> Result<Self, GitError> {
        // Neither the environment nor configuration outside of the repository changes what a commit holds.
        let options = gix::open::Options::isolated();
        let mut git =
            gix::discover_opts(directory, gix::discover::upwards::Options::default(), options).map_err(
                |source| GitError::NotARepository { path: directory.to_owned(), source: Box::new(source) },
            )?;
        git.object_cache_size(CACHE_BYTES);
        let shallow = git.is_shallow().map_err(unreadable("the list of shallow commits"))?;
        Ok(Self { git, shallow })
    }

    pub(super) fn commit(&self, side: Side, name: &str) -> Result<Found, GitError> {
        let id = self.id(side, name)?;
        let missing = || GitError::MissingCommit { side, name: name.to_owned(), shallow: self.shallow };
        let object = self.git.try_find_object(id).map_err(unreadable("a commit"))?.ok_or_else(missing)?;
        let object = object.peel_tags_to_end().map_err(unreadable("a tag"))?;
        if object.kind != Kind::Commit {
            return Err(GitError::NotACommit { side, name: name.to_owned(), kind: object.kind.to_string() });
        }
        let commit = object.peel_to_commit().map_err(unreadable("a commit"))?;
        let tree = commit.tree_id().map_err(unreadable("a commit"))?.detach();
        let seconds = commit.time().map_err(unreadable("a commit"))?.seconds;
        Ok(Found { id: commit.id, tree, seconds })
    }

    /// An id in full, a reference's name, or the beginning of an id, in this order.
    fn id(&self, side: Side, name: &str) -> Result<ObjectId, GitError> {
        if let Ok(id) = ObjectId::from_hex(name.as_bytes()) {
            return Ok(id);
        }
        // A name that git forbids finds no reference; it may still be none of an id.
        if let Ok(Some(mut reference)) = self.git.try_find_reference(name) {
            return Ok(reference.peel_to_id().map_err(unreadable("a reference"))?.detach());
        }
        let Ok(prefix) = gix::hash::Prefix::from_hex(name) else {
            return Err(GitError::BadName { side, name: name.to_owned() });
        };
        match self.git.objects.lookup_prefix(prefix, None).map_err(unreadable("the list of objects"))? {
            Some(Ok(id)) => Ok(id),
            Some(Err(())) => Err(GitError::Ambiguous { side, name: name.to_owned() }),
            None => Err(GitError::MissingCommit { side, name: name.to_owned(), shallow: self.shallow }),
        }
    }

    /// A blob's bytes; `None` when it has more than `limit`.
    pub(super) fn blob(&self, id: ObjectId, limit: u64) -> Result<Option<Vec<u8>>, GitError> {
        let what = || format!("the file content {id}");
        let header = self.git.find_header(id).map_err(unreadable(what()))?;
        if header.size() > limit {
            return Ok(None);
        }
        let mut object = self.git.find_object(id).map_err(unreadable(what()))?;
        Ok(Some(std::mem::take(&mut object.data)))
    }
}

/// For `map_err`.
pub(super) fn unreadable(what: impl Into<String>) -> impl FnOnce(gix::Error) -> GitError {
    let what = what.into();
    move |source| GitError::Object { what, source: Box::new(source) }
}
