//! Files that were moved: without this, moving a directory would look like rewriting it.

use std::collections::{BTreeMap, HashMap};

use gix::{ObjectId, objs::tree::EntryKind};

use super::{
    FILE_BYTES_MAX, GitError,
    repository::Repository,
    tree::{Differences, Entry},
};

/// Contents compared with each other; beyond, only files that moved unchanged are found. Git's own limit is a thousand
/// files on either side; this is a quarter of them.
const PAIRS_MAX: usize = 250_000;
/// Bytes of contents held while comparing; beyond, likewise.
const BYTES_MAX: usize = 64 << 20;
/// Git's own threshold: at least half of the larger one's bytes are in both.
const ALIKE_PERCENT_MIN: u64 = 50;

/// A file before and after; at least one of the two is there.
#[derive(Debug)]
pub(super) struct Pair {
    pub(super) old: Option<Entry>,
    pub(super) new: Option<Entry>,
}

/// Every difference as a pair, moved files together.
pub(super) fn paired(repository: &Repository, found: Differences) -> Result<Vec<Pair>, GitError> {
    let Differences { mut gone, mut come, changed } = found;
    let mut pairs: Vec<Pair> =
        changed.into_iter().map(|(old, new)| Pair { old: Some(old), new: Some(new) }).collect();
    moved_unchanged(&mut gone, &mut come, &mut pairs);
    moved_and_edited(repository, &mut gone, &mut come, &mut pairs)?;
    pairs.extend(gone.into_iter().map(|old| Pair { old: Some(old), new: None }));
    pairs.extend(come.into_iter().map(|new| Pair { old: None, new: Some(new) }));
    Ok(pairs)
}

fn moved_unchanged(gone: &mut Vec<Entry>, come: &mut Vec<Entry>, pairs: &mut Vec<Pair>) {
    let mut by_content: HashMap<(ObjectId, EntryKind), Vec<Entry>> = HashMap::new();
    for old in gone.drain(..) {
        by_content.entry((old.id, old.kind)).or_default().push(old);
    }
    come.retain(|new| {
        let old = by_content.get_mut(&(new.id, new.kind)).and_then(Vec::pop);
        let stays = old.is_none();
        if let Some(old) = old {
            pairs.push(Pair { old: Some(old), new: Some(new.clone()) });
        }
        stays
    });
    gone.extend(by_content.into_values().flatten());
    gone.sort_by(|one, other| one.path.cmp(&other.path));
}

fn moved_and_edited(
    repository: &Repository,
    gone: &mut Vec<Entry>,
    come: &mut Vec<Entry>,
    pairs: &mut Vec<Pair>,
) -> Result<(), GitError> {
    if gone.is_empty() || come.is_empty() || gone.len().saturating_mul(come.len()) > PAIRS_MAX {
        return Ok(());
    }
    let mut budget = BYTES_MAX;
    let old = contents(repository, gone, &mut budget)?;
    let new = contents(repository, come, &mut budget)?;
    let mut alike = Vec::new();
    for (from, old) in &old {
        for (to, new) in &new {
            let percent = old.alike(new);
            if percent >= ALIKE_PERCENT_MIN {
                alike.push((percent, *from, *to));
            }
        }
    }
    // The most alike first; equals in order of their paths, so that the answer is always the same.
    alike.sort_by(|one, other| other.0.cmp(&one.0).then((one.1, one.2).cmp(&(other.1, other.2))));
    let (mut from_taken, mut to_taken) = (vec![false; gone.len()], vec![false; come.len()]);
    for (_, from, to) in alike {
        let (Some(from_free), Some(to_free)) = (from_taken.get_mut(from), to_taken.get_mut(to)) else {
            continue;
        };
        if *from_free || *to_free {
            continue;
        }
        (*from_free, *to_free) = (true, true);
        pairs.push(Pair { old: gone.get(from).cloned(), new: come.get(to).cloned() });
    }
    keep_untaken(gone, &from_taken);
    keep_untaken(come, &to_taken);
    Ok(())
}

fn keep_untaken(entries: &mut Vec<Entry>, taken: &[bool]) {
    let mut taken = taken.iter();
    entries.retain(|_| !taken.next().copied().unwrap_or(false));
}

/// A content as its distinct lines with the bytes that each fills.
struct Lines {
    bytes: u64,
    by_line: BTreeMap<Vec<u8>, u64>,
}

impl Lines {
    /// How much of the larger one is in both, percent.
    fn alike(&self, other: &Self) -> u64 {
        let larger = self.bytes.max(other.bytes);
        // What one has more of can never be in both.
        if larger == 0 || self.bytes.min(other.bytes) * 100 < larger * ALIKE_PERCENT_MIN {
            return 0;
        }
        let (few, many) =
            if self.by_line.len() < other.by_line.len() { (self, other) } else { (other, self) };
        let both: u64 = few
            .by_line
            .iter()
            .map(|(line, bytes)| many.by_line.get(line).copied().unwrap_or(0).min(*bytes))
            .sum();
        both * 100 / larger
    }
}

fn contents(
    repository: &Repository,
    entries: &[Entry],
    budget: &mut usize,
) -> Result<Vec<(usize, Lines)>, GitError> {
    let mut contents = Vec::new();
    for (place, entry) in entries.iter().enumerate() {
        if !matches!(entry.kind, EntryKind::Blob | EntryKind::BlobExecutable) {
            continue;
        }
        let Some(bytes) = repository.blob(entry.id, FILE_BYTES_MAX.min(*budget as u64))? else { continue };
        *budget = budget.saturating_sub(bytes.len());
        let mut by_line: BTreeMap<Vec<u8>, u64> = BTreeMap::new();
        for line in bytes.split_inclusive(|byte| *byte == b'\n') {
            *by_line.entry(line.to_vec()).or_default() += line.len() as u64;
        }
        contents.push((place, Lines { bytes: bytes.len() as u64, by_line }));
    }
    Ok(contents)
}
