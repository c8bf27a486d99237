//! What somebody may have meant by a key or word that is not known here.

use super::table::Block;

/// Longer words are not compared: nobody meant them.
const CHARS_MAX: usize = 64;
/// Places that are named for a misplaced key.
const PLACES_MAX: usize = 3;

/// The known word nearest to `word`, when it is near enough to be a slip.
pub(crate) fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.is_empty() || word.chars().count() > CHARS_MAX {
        return None;
    }
    let fold = |text: &str| text.to_lowercase().replace(['-', ' '], "_");
    let folded = fold(word);
    known
        .filter_map(|candidate| {
            let full = fold(candidate);
            let head = full.split('_').next().unwrap_or_default();
            // `latency` for `latency_p95` is half of what was meant, and counts as one more slip.
            let far =
                [near(&folded, &full), near(&folded, head).map(|far| far + 1)].into_iter().flatten().min()?;
            Some((far, candidate))
        })
        .min_by_key(|(far, _)| *far)
        .map(|(_, candidate)| candidate)
}

/// The known word that is one slip of the fingers away: nothing else can have been meant.
pub(super) fn slip<'a>(word: &str, mut known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    const CHARS_MIN: usize = 4;
    let chars = word.chars().count();
    if !(CHARS_MIN..=CHARS_MAX).contains(&chars) {
        return None;
    }
    known.find(|candidate| distance(word, candidate) == 1)
}

/// The distance, unless the words are too far apart for a slip.
fn near(a: &str, b: &str) -> Option<usize> {
    let far = distance(a, b);
    (far <= a.chars().count().max(b.chars().count()).div_ceil(3)).then_some(far)
}

/// Edits between two words (insert, delete, replace, swap of neighbours): the optimal string alignment distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut last: Vec<usize> = (0..=b.len()).collect();
    let mut previous: Option<char> = None;
    for (row, x) in a.chars().enumerate() {
        let mut current = vec![row + 1];
        for (column, &y) in b.iter().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX - 1);
            let replaced = at(&last, column) + usize::from(x != y);
            let mut best = replaced.min(at(&last, column + 1) + 1).min(at(&current, column) + 1);
            let swapped = column > 0 && previous == Some(y) && b.get(column - 1) == Some(&x);
            if swapped {
                best = best.min(at(&before, column - 1) + 1);
            }
            current.push(best);
        }
        before = std::mem::replace(&mut last, current);
        previous = Some(x);
    }
    last.last().copied().unwrap_or_default()
}

/// Where in the file a key of this very name belongs: `services.<name>.strategy.canary`, nearest to the root first.
pub(super) fn homes(key: &str, root: &'static Block) -> Vec<String> {
    let mut found = Vec::new();
    collect(key, root, "", &mut found);
    found.sort_by_key(|path: &String| path.matches('.').count());
    found.truncate(PLACES_MAX);
    found
}

/// Recursion is as deep as the table of fields, which has no circles.
fn collect(key: &str, block: &'static Block, path: &str, found: &mut Vec<String>) {
    for field in block.fields {
        if field.key == key {
            found.push(path.to_owned());
        }
        if let Some((step, inner)) = field.kind.below() {
            let dot = if path.is_empty() { "" } else { "." };
            collect(key, inner, &format!("{path}{dot}{}{step}", field.key), found);
        }
    }
}
