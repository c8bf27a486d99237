//! A small reader of Rust: enough to find functions and tests, no more.
//!
//! It first blanks comments and literals, keeping every line and column, so that a brace in a string is no brace.

/// A function with a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Function {
    /// Its name.
    pub(super) name: String,
    /// Line of the word `fn`, from 1.
    pub(super) line: usize,
    /// Lines from there to its closing brace.
    pub(super) lines: usize,
}

/// The text with the content of comments, strings and character literals replaced by spaces; line breaks stay.
pub(super) fn blank(source: &str) -> String {
    let mut rest = source;
    let mut blanked = String::with_capacity(source.len());
    let mut after_word = false;
    while let Some(first) = rest.chars().next() {
        let length = if after_word { None } else { literal(rest) }.or_else(|| comment_or_quote(rest));
        if let Some(length) = length {
            let (literal, tail) = rest.split_at(length);
            blanked.extend(literal.chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
            rest = tail;
            after_word = false;
        } else {
            blanked.push(first);
            rest = rest.get(first.len_utf8()..).unwrap_or_default();
            after_word = is_word(first);
        }
    }
    blanked
}

/// The text with everything that belongs to tests blanked too: items under `#[cfg(test)]` and `#[test]`. Takes what
/// [`blank`] gives.
pub(super) fn without_tests(blanked: &str) -> String {
    let mut text = blanked.to_owned();
    for mark in ["#[cfg(test)]", "#[cfg(all(test", "#[test]", "#[tokio::test"] {
        while let Some(start) = text.find(mark) {
            let tail = text.get(start..).unwrap_or_default();
            let length = item_end(tail).unwrap_or(tail.len());
            let spaces: String = tail
                .get(..length)
                .unwrap_or(tail)
                .chars()
                .map(|c| if c == '\n' { '\n' } else { ' ' })
                .collect();
            text.replace_range(start..start + length, &spaces);
        }
    }
    text
}

/// Every function with a body, in order. Takes what [`blank`] gives.
pub(super) fn functions(blanked: &str) -> Vec<Function> {
    let mut found = Vec::new();
    for (at, _) in blanked.match_indices("fn ") {
        if blanked.get(..at).and_then(|before| before.chars().next_back()).is_some_and(is_word) {
            continue;
        }
        let tail = blanked.get(at..).unwrap_or_default();
        let name: String =
            tail.chars().skip(3).skip_while(|c| c.is_whitespace()).take_while(|c| is_word(*c)).collect();
        // `fn (…)` is a type, and `fn $name` a pattern of a macro.
        if name.is_empty() {
            continue;
        }
        let Some(end) = item_end(tail).filter(|end| tail.get(..*end).is_some_and(|item| item.ends_with('}')))
        else {
            continue;
        };
        let line = 1 + line_breaks(blanked.get(..at).unwrap_or_default());
        found.push(Function { name, line, lines: 1 + line_breaks(tail.get(..end).unwrap_or_default()) });
    }
    found
}

/// The line, from 1, of each place where a word stands by itself; a `word` may end in a sign, like `std::`.
pub(super) fn lines_with(text: &str, word: &str) -> Vec<usize> {
    let open_end = !word.ends_with(is_word);
    text.match_indices(word)
        .filter(|(at, _)| {
            let before = text.get(..*at).and_then(|text| text.chars().next_back());
            let after = text.get(at + word.len()..).and_then(|text| text.chars().next());
            !before.is_some_and(is_word) && (open_end || !after.is_some_and(is_word))
        })
        .map(|(at, _)| 1 + line_breaks(text.get(..at).unwrap_or_default()))
        .collect()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn line_breaks(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

/// Length of an item: to the brace that closes its first one, or to the semicolon before any. Parentheses and brackets
/// are stepped over, so that `[u8; 4]` in a signature ends nothing.
fn item_end(text: &str) -> Option<usize> {
    let (mut braces, mut others) = (0_usize, 0_usize);
    for (at, c) in text.char_indices() {
        match c {
            '(' | '[' => others += 1,
            ')' | ']' => others = others.saturating_sub(1),
            '{' => braces += 1,
            '}' => {
                braces = braces.saturating_sub(1);
                if braces == 0 && others == 0 {
                    return Some(at + 1);
                }
            }
            ';' if braces == 0 && others == 0 => return Some(at + 1),
            _ => {}
        }
    }
    None
}

/// Length of a literal that begins with a letter: `r"…"`, `r#"…"#`, `b"…"`, `br"…"`, `c"…"`, `b'…'`.
fn literal(text: &str) -> Option<usize> {
    let prefix = ["br", "cr", "r", "b", "c"]
        .into_iter()
        .find(|prefix| text.strip_prefix(prefix).is_some_and(|rest| rest.starts_with(['"', '#', '\''])))?;
    let rest = text.get(prefix.len()..)?;
    if prefix.ends_with('r') {
        return raw_string(rest).map(|length| prefix.len() + length);
    }
    match rest.chars().next()? {
        '"' => Some(prefix.len() + quoted(rest, '"')?),
        '\'' if prefix == "b" => Some(prefix.len() + quoted(rest, '\'')?),
        _ => None,
    }
}

/// Length of `"…"` or `#"…"#`, without escapes; `r#word` is no string.
fn raw_string(text: &str) -> Option<usize> {
    let hashes = text.chars().take_while(|c| *c == '#').count();
    let body = text.get(hashes..)?.strip_prefix('"')?;
    let close = format!("\"{}", "#".repeat(hashes));
    Some(hashes + 1 + body.find(&close)? + close.len())
}

fn comment_or_quote(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("/*") {
        return Some(block_comment(text));
    }
    match text.chars().next()? {
        '"' => quoted(text, '"'),
        '\'' => character(text),
        _ => None,
    }
}

/// Length of a block comment; they nest.
fn block_comment(text: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest.starts_with("*/") {
            depth = depth.saturating_sub(1);
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest.chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// Length of a literal between two quotes, with escapes.
fn quoted(text: &str, quote: char) -> Option<usize> {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return Some(at + c.len_utf8()),
            _ => {}
        }
    }
    None
}

/// Length of a character literal; a lifetime is none.
fn character(text: &str) -> Option<usize> {
    let mut inside = text.chars().skip(1);
    let (first, second) = (inside.next()?, inside.next()?);
    if first == '\\' || second == '\'' { quoted(text, '\'') } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literals_and_comments_are_blanked_and_columns_stay() {
        let table = [
            (r#"a("{") b"#, "a(   ) b"),
            (r#"a("\"{") b"#, "a(     ) b"),
            ("a('{') b", "a(   ) b"),
            (r"a('\'', '}') b", "a(    ,    ) b"),
            ("fn f<'a>(x: &'a str) {}", "fn f<'a>(x: &'a str) {}"),
            ("a // {\nb", "a     \nb"),
            ("a /* { /* } */ { */ b", "a                   b"),
            (r##"a(r#"{ " {"#) b"##, "a(          ) b"),
            (r#"a(br"{\") b"#, "a(      ) b"),
            ("r#type + b'{'", "r#type +     "),
            ("for\"{\"", "for   "),
            ("\"a\nb\" c", "  \n   c"),
        ];
        for (source, wanted) in table {
            let blanked = blank(source);
            assert_eq!(blanked.trim_end(), wanted.trim_end(), "{source}");
            assert_eq!(blanked.len(), source.len(), "{source}");
        }
    }

    #[test]
    fn the_length_of_a_function_is_counted_to_its_own_closing_brace() {
        let source = "trait T {\n    fn open(&self);\n}\nfn outer(a: [u8; 4]) -> fn(u8) {\n    fn inner() { '}'; }\n    \"}\";\n}\nfn last() {}\n";
        let found: Vec<(String, usize, usize)> =
            functions(&blank(source)).into_iter().map(|f| (f.name, f.line, f.lines)).collect();
        let wanted = [("outer", 4, 4), ("inner", 5, 1), ("last", 8, 1)];
        assert_eq!(found, wanted.map(|(name, line, lines)| (name.to_owned(), line, lines)));
    }

    #[test]
    fn tests_are_left_out_and_what_follows_them_is_not() {
        let source = "fn a() {}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n#[cfg(test)]\nuse x::y;\nfn c() {}\n#[test]\nfn d() {}\n";
        let names: Vec<String> =
            functions(&without_tests(&blank(source))).into_iter().map(|function| function.name).collect();
        assert_eq!(names, ["a", "c"]);
    }

    #[test]
    fn a_word_is_found_only_by_itself() {
        let text = "async fn a\nasynchronous\nstd::fs\nmystd::x\n";
        assert_eq!(lines_with(text, "async"), [1]);
        assert_eq!(lines_with(text, "std::"), [3]);
    }
}
