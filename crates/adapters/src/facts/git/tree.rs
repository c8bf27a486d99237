//! Which files differ between two commits, before anybody looks inside them.

use std::{
    collections::{HashSet, VecDeque},
    ops::ControlFlow,
};

use gix::{
    ObjectId,
    bstr::{BStr, BString, ByteSlice as _, ByteVec as _},
    diff::tree::{Error, State, Visit, visit},
    objs::{FindExt as _, TreeRefIter, tree::EntryKind},
};

use super::{
    FILES_MAX, GitError,
    repository::{Found, Repository, unreadable},
};

/// One version of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) path: BString,
    pub(super) id: ObjectId,
    pub(super) kind: EntryKind,
}

/// What differs: gone, come, or the same path with two contents.
#[derive(Debug, Default)]
pub(super) struct Differences {
    pub(super) gone: Vec<Entry>,
    pub(super) come: Vec<Entry>,
    pub(super) changed: Vec<(Entry, Entry)>,
}

pub(super) fn differences(
    repository: &Repository,
    from: &Found,
    to: &Found,
) -> Result<Differences, GitError> {
    let (mut found, mut left) = (Differences::default(), FILES_MAX);
    let collect = |path: &BString, change: visit::Change| {
        let Some(still_left) = left.checked_sub(1) else { return ControlFlow::Break(()) };
        left = still_left;
        found.take(path, &change);
        ControlFlow::Continue(())
    };
    match walk(repository, Some(from.tree), to.tree, collect) {
        Ok(()) => Ok(found),
        Err(Error::Cancelled) => Err(GitError::TooManyFiles { limit: FILES_MAX }),
        Err(Error::Failure(source)) => Err(unreadable("a directory")(source)),
    }
}

/// Whether any of `paths` differs between two trees; `None` is the tree before the first commit.
pub(super) fn touches(
    repository: &Repository,
    from: Option<ObjectId>,
    to: ObjectId,
    paths: &HashSet<BString>,
) -> Result<bool, GitError> {
    let find = |path: &BString, _| {
        if paths.contains(path) { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    match walk(repository, from, to, find) {
        Ok(()) => Ok(false),
        // It stops at the first.
        Err(Error::Cancelled) => Ok(true),
        Err(Error::Failure(source)) => Err(unreadable("a directory of the history")(source)),
    }
}

impl Differences {
    fn take(&mut self, path: &BString, change: &visit::Change) {
        let entry = |id, kind| Entry { path: path.clone(), id, kind };
        match *change {
            visit::Change::Addition { entry_mode, oid, .. } => self.come.push(entry(oid, entry_mode.kind())),
            visit::Change::Deletion { entry_mode, oid, .. } => self.gone.push(entry(oid, entry_mode.kind())),
            visit::Change::Modification { previous_entry_mode, previous_oid, entry_mode, oid } => {
                let old = entry(previous_oid, previous_entry_mode.kind());
                self.changed.push((old, entry(oid, entry_mode.kind())));
            }
        }
    }
}

/// Calls `see` with every file that differs until it says to stop.
fn walk(
    repository: &Repository,
    from: Option<ObjectId>,
    to: ObjectId,
    see: impl FnMut(&BString, visit::Change) -> visit::Action,
) -> Result<(), Error> {
    let objects = &repository.git.objects;
    let from = from.unwrap_or_else(|| ObjectId::empty_tree(repository.git.object_hash()));
    let (mut old, mut new) = (Vec::new(), Vec::new());
    let old = directory(objects, from, &mut old)?;
    let new = directory(objects, to, &mut new)?;
    let mut follower = Follower { current: BString::default(), waiting: VecDeque::new(), see };
    gix::diff::tree(old, new, State::default(), objects, &mut follower)
}

fn directory<'a>(
    objects: &gix::OdbHandle,
    id: ObjectId,
    bytes: &'a mut Vec<u8>,
) -> Result<TreeRefIter<'a>, gix::Error> {
    // The empty tree need not be stored anywhere.
    if id.is_empty_tree() {
        return Ok(TreeRefIter::from_bytes(&[], id.kind()));
    }
    objects.find_tree_iter(&id, bytes)
}

/// Keeps the path of the entry that is visited, which `gix::diff` spells out component by component.
struct Follower<F> {
    current: BString,
    waiting: VecDeque<BString>,
    see: F,
}

impl<F: FnMut(&BString, visit::Change) -> visit::Action> Visit for Follower<F> {
    fn pop_front_tracked_path_and_set_current(&mut self) {
        self.current = self.waiting.pop_front().unwrap_or_default();
    }

    fn push_back_tracked_path_component(&mut self, component: &BStr) {
        self.push_path_component(component);
        self.waiting.push_back(self.current.clone());
    }

    fn push_path_component(&mut self, component: &BStr) {
        if !self.current.is_empty() {
            self.current.push_byte(b'/');
        }
        self.current.push_str(component);
    }

    fn pop_path_component(&mut self) {
        let end = self.current.rfind_byte(b'/').unwrap_or(0);
        self.current.truncate(end);
    }

    fn visit(&mut self, change: visit::Change) -> visit::Action {
        if change.entry_mode().is_tree() {
            return ControlFlow::Continue(());
        }
        (self.see)(&self.current, change)
    }
}
