//! Two versions of one file, line by line.

use std::ops::RangeInclusive;

use gix::objs::tree::EntryKind;
use gix_imara_diff::{Algorithm, Diff, InternedInput};

use super::{
    ChangedFile, Content, FILE_BYTES_MAX, GitError,
    exclude::{self, LeftOut},
    rename::Pair,
    repository::Repository,
    tree::Entry,
};

/// Git's own rule: a zero byte in so many first ones makes a file binary.
const BINARY_LOOK_BYTES: usize = 8_000;

/// A compared file; both texts are kept only where somebody looks at them again.
pub(super) struct Compared {
    pub(super) file: ChangedFile,
    /// Both texts of a dependency manifest.
    pub(super) manifest: Option<(String, String)>,
}

pub(super) fn compare(repository: &Repository, pair: &Pair) -> Result<Compared, GitError> {
    let (old, new) = (pair.old.as_ref(), pair.new.as_ref());
    let path = new.or(old).map_or_else(String::new, |entry| entry.path.to_string());
    let renamed_from = match (old, new) {
        (Some(old), Some(new)) if old.path != new.path => Some(old.path.to_string()),
        _ => None,
    };
    let mut file = ChangedFile {
        left_out: exclude::by_path(&path),
        path,
        renamed_from,
        added: 0,
        deleted: 0,
        added_lines: Vec::new(),
        content: Content::Text,
    };
    if old.into_iter().chain(new).any(|entry| entry.kind == EntryKind::Commit) {
        file.content = Content::Submodule;
        return Ok(Compared { file, manifest: None });
    }
    let (Some(before), Some(after)) = (text(repository, old)?, text(repository, new)?) else {
        file.content = Content::Binary;
        return Ok(Compared { file, manifest: None });
    };
    count(&mut file, &before, &after);
    if file.left_out.is_none() && exclude::by_first_lines(if new.is_some() { &after } else { &before }) {
        file.left_out = Some(LeftOut::Generated);
    }
    let manifest = super::dependencies::is_manifest(&file.path).then(|| (lossy(&before), lossy(&after)));
    Ok(Compared { file, manifest })
}

fn count(file: &mut ChangedFile, before: &[u8], after: &[u8]) {
    let input = InternedInput::new(before, after);
    let mut diff = Diff::compute(Algorithm::Histogram, &input);
    // Among several diffs of the same length, the one that git shows, so that line numbers agree with it.
    diff.postprocess_lines(&input);
    for hunk in diff.hunks() {
        file.deleted += u64::from(hunk.before.end - hunk.before.start);
        file.added += u64::from(hunk.after.end - hunk.after.start);
        if hunk.after.end > hunk.after.start {
            let lines: RangeInclusive<u32> = hunk.after.start + 1..=hunk.after.end;
            file.added_lines.push(lines);
        }
    }
}

/// The bytes of a version, nothing for a version that is not there; `None` for what has no lines.
fn text(repository: &Repository, entry: Option<&Entry>) -> Result<Option<Vec<u8>>, GitError> {
    let Some(entry) = entry else { return Ok(Some(Vec::new())) };
    let Some(bytes) = repository.blob(entry.id, FILE_BYTES_MAX)? else { return Ok(None) };
    let binary = bytes.iter().take(BINARY_LOOK_BYTES).any(|byte| *byte == 0);
    Ok((!binary).then_some(bytes))
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
