//! Conditions on members of an object: one number, and so one gate, for each.

/// A condition on one member of `result`, said of `result` itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    /// `.status.ratio`.
    pub(crate) path: String,
    /// `result >= 0.9`.
    pub(crate) condition: String,
}

/// The parts of a condition that all have to hold, each about one member; nothing where it is about anything else.
pub(crate) fn parts(condition: &str) -> Option<Vec<Part>> {
    // It binds looser than `&&`, and holds of one side only.
    if condition.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "or") {
        return None;
    }
    let mut parts: Vec<Part> = Vec::new();
    for one in conjuncts(condition)? {
        let Part { path, condition } = part(one.trim())?;
        match parts.iter_mut().find(|part| part.path == path) {
            Some(known) => known.condition = format!("({}) && ({condition})", known.condition),
            None => parts.push(Part { path, condition }),
        }
    }
    (!parts.is_empty()).then_some(parts)
}

/// What stands between `&&` outside of brackets and quotes; nothing when those do not close.
fn conjuncts(text: &str) -> Option<Vec<&str>> {
    let (mut found, mut from, mut depth, mut quote) = (Vec::new(), 0, 0_u32, None);
    for (at, c) in text.char_indices() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, '(' | '[' | '{') => depth += 1,
            (None, ')' | ']' | '}') => depth = depth.checked_sub(1)?,
            (None, '&') if depth == 0 && text.get(at..at + 2) == Some("&&") => {
                found.push(text.get(from..at)?);
                from = at + 2;
            }
            // What holds of one side only cannot be taken apart.
            (None, '|' | '?') if depth == 0 => return None,
            (Some(_) | None, _) => {}
        }
    }
    found.push(text.get(from..)?);
    (depth == 0 && quote.is_none()).then_some(found)
}

/// One conjunct, when every `result` in it is followed by one and the same member.
fn part(text: &str) -> Option<Part> {
    const WORD: &str = "result";
    let mut path: Option<&str> = None;
    let (mut condition, mut rest) = (String::new(), text);
    while let Some(at) = rest.find(WORD) {
        let (before, behind) = rest.split_at_checked(at)?;
        let behind = behind.get(WORD.len()..)?;
        let word = |c: char| c.is_alphanumeric() || c == '_';
        if before.ends_with(word) || behind.starts_with(word) {
            return None;
        }
        let end = behind.find(|c: char| !word(c) && c != '.').unwrap_or(behind.len());
        let (member, next) = behind.split_at_checked(end)?;
        let names = member.strip_prefix('.')?;
        let named = |name: &str| !name.is_empty() && !name.starts_with(|c: char| c.is_ascii_digit());
        if !names.split('.').all(named)
            || next.starts_with(['(', '['])
            || *path.get_or_insert(member) != member
        {
            return None;
        }
        condition.push_str(before);
        condition.push_str(WORD);
        rest = next;
    }
    condition.push_str(rest);
    // A member alone is one that is true.
    let condition = match condition.as_str() {
        WORD => format!("{WORD} == 1"),
        "!result" => format!("{WORD} == 0"),
        _ => condition,
    };
    Some(Part { path: path?.to_owned(), condition })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(condition: &str) -> Option<Vec<(String, String)>> {
        parts(condition).map(|parts| parts.into_iter().map(|part| (part.path, part.condition)).collect())
    }

    #[test]
    fn members_that_all_have_to_hold_are_taken_apart_and_nothing_else_is() {
        let two = said("result.ok && result.data.percent >= 0.90").unwrap();
        assert_eq!(
            two,
            [(".ok".into(), "result == 1".into()), (".data.percent".into(), "result >= 0.90".into())]
        );
        let one = said("(result.ratio > 0) && result.ratio <= 5").unwrap();
        assert_eq!(one, [(".ratio".into(), "((result > 0)) && (result <= 5)".into())]);
        for text in [
            "result[0] > 1",
            "result > 1",
            "result.a > result.b",
            "result.ok || result.fine",
            "result.a > 5 or result.a < 1 && result.b > 0",
            "len(result.list) > 0 ? result.a : result.b",
            "result.list[0] > 1",
            "results.a > 1",
            "result.a > (1",
            "result. > 1",
            "'result.a",
            "",
        ] {
            assert_eq!(said(text), None, "{text}");
        }
    }
}
