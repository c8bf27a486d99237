//! What somebody may have meant by a word that is not known.

/// Longer words are not compared: nobody meant them.
const CHARS_MAX: usize = 64;

/// The known word nearest to `word`, when it is near enough to be a slip.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
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
pub fn slip<'a>(word: &str, mut known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
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
