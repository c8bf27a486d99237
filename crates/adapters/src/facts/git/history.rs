//! What the history says of the touched files: how often they changed lately, and whose they are.

use std::collections::{HashMap, HashSet};

use gix::{
    ObjectId,
    bstr::{BString, ByteSlice as _},
    revision::walk::Sorting,
    traverse::commit::simple::CommitTimeOrder,
};
use tidegate_core::confidence::Points;

use super::{
    COMMITS_MAX, GitError,
    lines::Compared,
    repository::{Found, Repository, unreadable},
    tree,
};

/// Commits younger than this, before the new one, are churn.
const CHURN_SECONDS: i64 = 90 * 86_400;
/// Commits younger than this say who knows a file.
const EXPERIENCE_SECONDS: i64 = 365 * 86_400;

/// What the history says.
#[derive(Default)]
pub(super) struct Past {
    pub(super) churn: Option<u64>,
    pub(super) inexperience: Option<Points>,
    pub(super) unknown: Vec<String>,
}

/// A commit of the walk.
struct Seen {
    author: BString,
    seconds: i64,
    touches: bool,
}

/// Churn and experience from what was in the running commit already: the change itself is not its own past. Merges are left
/// out, as they only repeat what their branches changed. History that cannot be read leaves both unknown; what changed is
/// known without it.
pub(super) fn of(repository: &Repository, from: &Found, to: &Found, compared: &[Compared]) -> Past {
    let paths = touched(compared);
    if paths.is_empty() {
        return Past { churn: Some(0), ..Past::default() };
    }
    if repository.shallow {
        return unknown("the clone is shallow: churn and experience are not known");
    }
    let since = to.seconds.saturating_sub(EXPERIENCE_SECONDS);
    // However old the change's own commits are: it may have waited long.
    let before = walk(repository, from.id, None, since, Some(&paths));
    let change = walk(repository, to.id, Some(from.id), i64::MIN, None);
    match (before, change) {
        (Ok(Some(before)), Ok(change)) => weighed(&before, change.as_deref(), to.seconds),
        (Ok(None), Ok(_)) => {
            unknown("a year has more commits than are looked at: churn and experience are not known")
        }
        (Err(error), _) | (_, Err(error)) => {
            unknown(&format!("{}: churn and experience are not known", crate::chain(&error)))
        }
    }
}

fn touched(compared: &[Compared]) -> HashSet<BString> {
    let files = compared.iter().map(|compared| &compared.file).filter(|file| file.counts());
    let paths = files.flat_map(|file| [Some(&file.path), file.renamed_from.as_ref()]).flatten();
    paths.map(|path| BString::from(path.as_str())).collect()
}

fn weighed(before: &[Seen], change: Option<&[Seen]>, until: i64) -> Past {
    let since = until.saturating_sub(CHURN_SECONDS);
    let touching = || before.iter().filter(|seen| seen.touches);
    let churn = touching().filter(|seen| seen.seconds >= since).count() as u64;
    let authors: HashSet<&BString> = change.into_iter().flatten().map(|seen| &seen.author).collect();
    let theirs = touching().filter(|seen| authors.contains(&seen.author)).count() as u64;
    let share = Points::ratio(theirs, touching().count() as u64).filter(|_| !authors.is_empty());
    let mut past = Past { churn: Some(churn), inexperience: share.map(Points::rest), unknown: Vec::new() };
    if past.inexperience.is_none() {
        let reason = "nobody changed these files in the year before, or the change has no commits of its own: \
                      experience is not known";
        past.unknown.push(reason.to_owned());
    }
    past
}

fn unknown(reason: &str) -> Past {
    Past { unknown: vec![reason.to_owned()], ..Past::default() }
}

/// The commits from `tip` that are not reachable from `hidden`, no older than `since`; `None` when there are too many.
fn walk(
    repository: &Repository,
    tip: ObjectId,
    hidden: Option<ObjectId>,
    since: i64,
    paths: Option<&HashSet<BString>>,
) -> Result<Option<Vec<Seen>>, GitError> {
    let history = || unreadable("the history");
    let sorting = Sorting::ByCommitTimeCutoff { order: CommitTimeOrder::NewestFirst, seconds: since };
    let commits =
        repository.git.rev_walk([tip]).sorting(sorting).with_hidden(hidden).all().map_err(history())?;
    let mut trees = Trees { repository, known: HashMap::new() };
    let mut seen = Vec::new();
    for (count, commit) in commits.enumerate() {
        if count >= COMMITS_MAX {
            return Ok(None);
        }
        let commit = commit.map_err(history())?;
        let parents: Vec<ObjectId> = commit.parent_ids.iter().copied().collect();
        if parents.len() > 1 {
            continue;
        }
        let object = commit.object().map_err(history())?;
        let author = object.author().map_err(history())?.email.trim().to_ascii_lowercase().into();
        let seconds = object.time().map_err(history())?.seconds;
        let touches = match paths {
            Some(paths) => trees.touches(commit.id, parents.first().copied(), paths)?,
            None => false,
        };
        seen.push(Seen { author, seconds, touches });
    }
    Ok(Some(seen))
}

/// The trees of commits: each is asked for twice, as itself and as its child's parent.
struct Trees<'a> {
    repository: &'a Repository,
    known: HashMap<ObjectId, ObjectId>,
}

impl Trees<'_> {
    fn touches(
        &mut self,
        commit: ObjectId,
        parent: Option<ObjectId>,
        paths: &HashSet<BString>,
    ) -> Result<bool, GitError> {
        let new = self.of(commit)?;
        let old = parent.map(|parent| self.of(parent)).transpose()?;
        tree::touches(self.repository, old, new, paths)
    }

    fn of(&mut self, commit: ObjectId) -> Result<ObjectId, GitError> {
        if let Some(tree) = self.known.get(&commit) {
            return Ok(*tree);
        }
        let found = self.repository.git.find_commit(commit).map_err(unreadable("the history"))?;
        let tree = found.tree_id().map_err(unreadable("the history"))?.detach();
        self.known.insert(commit, tree);
        Ok(tree)
    }
}
