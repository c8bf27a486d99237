//! Which file of a report is which file of the repository: test runs name them from other directories.

use std::collections::BTreeMap;

/// Forward slashes, no `.` components.
pub(super) fn normal(path: &str) -> String {
    let path = path.trim().replace('\\', "/");
    let root = if path.starts_with('/') { "/" } else { "" };
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    format!("{root}{}", parts.join("/"))
}

/// For each changed path the report's name of it: the one that shares the longest tail of whole components, where one of
/// the two must be the tail of the other. Two report names that fit equally well, or one that fits two changed files, are
/// no match: a guess could count another file's lines.
pub(super) fn matched<'c, 'r>(
    changed: &[&'c str],
    named: impl Iterator<Item = &'r str>,
) -> BTreeMap<&'c str, &'r str> {
    // By last component, so that each changed file is compared with its namesakes only.
    let mut namesakes: BTreeMap<&str, Vec<&'r str>> = BTreeMap::new();
    for name in named {
        namesakes.entry(last(name)).or_default().push(name);
    }
    let mut best: BTreeMap<&'c str, &'r str> = BTreeMap::new();
    let mut claims: BTreeMap<&'r str, (usize, u32)> = BTreeMap::new();
    for path in changed {
        let Some((length, name)) = longest(path, namesakes.get(last(path)).map_or(&[], Vec::as_slice)) else {
            continue;
        };
        best.insert(path, name);
        let claim = claims.entry(name).or_insert((0, 0));
        match length.cmp(&claim.0) {
            std::cmp::Ordering::Greater => *claim = (length, 1),
            std::cmp::Ordering::Equal => claim.1 += 1,
            std::cmp::Ordering::Less => {}
        }
    }
    best.retain(|path, name| claims.get(name).is_some_and(|claim| *claim == (tail(path, name), 1)));
    best
}

fn longest<'r>(path: &str, names: &[&'r str]) -> Option<(usize, &'r str)> {
    let fitting = || names.iter().map(|name| (tail(path, name), *name)).filter(|(length, _)| *length > 0);
    let (length, name) = fitting().max_by_key(|(length, _)| *length)?;
    (fitting().filter(|(other, _)| *other == length).count() == 1).then_some((length, name))
}

/// Components that both end in; 0 unless one is wholly the tail of the other.
fn tail(left: &str, right: &str) -> usize {
    let parts = |path: &str| path.split('/').filter(|part| !part.is_empty()).count();
    let (mut ours, mut theirs) = (left.rsplit('/'), right.rsplit('/'));
    let mut same = 0;
    while let (Some(our), Some(their)) = (ours.next(), theirs.next()) {
        if our != their || our.is_empty() {
            break;
        }
        same += 1;
    }
    if same == parts(left).min(parts(right)) { same } else { 0 }
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_longest_tail_wins_and_a_tie_is_no_match() {
        let found = |changed: &[&'static str], named: &[&'static str]| -> Vec<(&'static str, &'static str)> {
            matched(changed, named.iter().copied()).into_iter().collect()
        };
        let absolute = ["/ci/build/src/app/main.py", "/ci/build/src/main.py"];
        assert_eq!(found(&["src/app/main.py"], &absolute), [("src/app/main.py", absolute[0])]);
        assert_eq!(found(&["src/main.py"], &absolute), [("src/main.py", absolute[1])]);
        // The report is written from a directory below the root.
        assert_eq!(found(&["api/app/x.go"], &["app/x.go", "x.go"]), [("api/app/x.go", "app/x.go")]);
        // Neither is the tail of the other.
        assert_eq!(found(&["a/src/x.go"], &["b/src/x.go"]), []);
        // Which of the two it is, nobody can tell.
        assert_eq!(found(&["x.go"], &["a/x.go", "b/x.go"]), []);
        assert_eq!(found(&["a/x.go", "b/x.go"], &["x.go"]), []);
        // The exact one keeps its file; the other has none.
        assert_eq!(found(&["lib/x.go", "a/lib/x.go"], &["a/lib/x.go"]), [("a/lib/x.go", "a/lib/x.go")]);
    }

    #[test]
    fn names_are_compared_with_forward_slashes() {
        assert_eq!(normal(r".\src\a.cs"), "src/a.cs");
        assert_eq!(normal("/x/./y//z.c "), "/x/y/z.c");
    }
}
