//! What is said about keys and values that do not fit the table of fields.

use super::{
    finding::{Code, Complaint, shown},
    scalar, suggest,
    table::{Block, Field, Form, Kind},
    tree::{Content, Node, Scalar},
};

/// A key that the block does not have; `unused` are those of the block that are not written yet, `root` is the whole file's
/// block.
pub(super) fn unknown<'a>(
    key: &str,
    path: &str,
    block: &Block,
    unused: impl Iterator<Item = &'a str> + Clone,
    root: Option<&'static Block>,
) -> Complaint {
    let around = if path.is_empty() { "at the top of the file".to_owned() } else { format!("in `{path}`") };
    let name = shown(key);
    let stranger = || Complaint::new(Code::UnknownKey, format!("`{name}` is not a key {around}"));
    if path.is_empty() && key == "services" {
        return stranger()
            .help("this file is about one service: move its `gates` and `judgement` to the top");
    }
    if let Some(slip) = suggest::slip(key, unused.clone()) {
        return stranger().help(format!("did you mean `{slip}`?"));
    }
    let homes = root.map(|root| suggest::homes(key, root)).unwrap_or_default();
    if !homes.is_empty() {
        let complaint = Complaint::new(Code::MisplacedKey, format!("`{name}` does not belong {around}"));
        return complaint.help(format!("it belongs in {}", places(&homes)));
    }
    if let Some(near) = suggest::nearest(key, unused) {
        return stranger().help(format!("did you mean `{near}`?"));
    }
    match suggest::slip(key, block.fields.iter().map(|field| field.key)) {
        Some(near) => stranger().help(format!("did you mean `{near}`, which is there already?")),
        None => stranger().help(format!("known here: {}", known(block))),
    }
}

/// A key that only means something beside others, none of which is there.
pub(super) fn alone(field: &Field, container: bool) -> Complaint {
    let near = alternatives(field.beside);
    let message = format!("`{}` means nothing without {near} beside it", field.key);
    let complaint = Complaint::new(Code::MisplacedKey, message);
    let moves = container && ["env", "instances"].contains(&field.key);
    if moves { complaint.help("move it into `container`") } else { complaint }
}

/// A key that must be there and is not.
pub(super) fn missing(field: &Field) -> Complaint {
    let message = format!("`{}` is missing: expected {}", field.key, scalar::expected(&field.kind));
    Complaint::new(Code::MissingKey, message).help(field.doc)
}

/// Another type of value than expected.
pub(super) fn wrong_type(node: &Node, kind: &Kind) -> Complaint {
    let other = |found: &str| {
        Complaint::new(Code::WrongType, format!("expected {}, found {found}", scalar::expected(kind)))
    };
    match &node.content {
        Content::Scalar(text) => {
            let complaint = scalar::mismatch(text, kind);
            match help_for_block(kind, text) {
                Some(help) => complaint.help(help),
                None => complaint,
            }
        }
        Content::List(_) => other("a list"),
        Content::Map(_) => other("keys"),
    }
}

/// What to write where a list, a mapping or nothing was meant otherwise.
fn help_for_block(kind: &Kind, scalar: &Scalar) -> Option<String> {
    match kind {
        Kind::List { .. } if scalar.is_null() => Some("write a list: `[a, b]`".to_owned()),
        Kind::List { of: Kind::Text(Form::Free), .. } => {
            Some(format!("write one item for each part: `[{}]`", split(&scalar.text)))
        }
        Kind::List { .. } => Some(format!("write `[{}]`", shown(&scalar.text))),
        Kind::Block(_) | Kind::Map { .. } if scalar.is_null() => Some("indent its keys below it".to_owned()),
        Kind::Block(block) if block.chooses(&scalar.text) => {
            Some(format!("write `{{{}: {{}}}}`", scalar.text))
        }
        Kind::Text(_)
        | Kind::Word(_)
        | Kind::Flag
        | Kind::Bool
        | Kind::Whole { .. }
        | Kind::Decimal { .. }
        | Kind::Duration { .. }
        | Kind::Share { .. }
        | Kind::Size { .. }
        | Kind::Listen
        | Kind::Batch { .. }
        | Kind::OneOrMany { .. }
        | Kind::Map { .. }
        | Kind::Block(_)
        | Kind::Short { .. }
        | Kind::Or { .. } => None,
    }
}

/// `./server --port $PORT` as `"./server", "--port", "$PORT"`; quotes keep words together as a shell would.
fn split(command: &str) -> String {
    const WORDS_MAX: usize = 12;
    let mut words: Vec<String> = vec![String::new()];
    let mut quote: Option<char> = None;
    for c in command.chars() {
        match (quote, c) {
            (Some(open), _) if c == open => quote = None,
            (None, '"' | '\'') => quote = Some(c),
            (None, _) if c.is_whitespace() => words.push(String::new()),
            _ => {
                if let Some(word) = words.last_mut() {
                    word.push(c);
                }
            }
        }
    }
    words.retain(|word| !word.is_empty());
    let quoted: Vec<String> = words.iter().take(WORDS_MAX).map(|word| format!("{:?}", shown(word))).collect();
    quoted.join(", ")
}

fn known(block: &Block) -> String {
    block.fields.iter().map(|field| format!("`{}`", field.key)).collect::<Vec<_>>().join(", ")
}

/// `a`, or one of several.
pub(super) fn alternatives(keys: &[&str]) -> String {
    let quoted: Vec<String> = keys.iter().map(|key| format!("`{key}`")).collect();
    match quoted.as_slice() {
        [only] => only.clone(),
        _ => format!("one of {}", quoted.join(", ")),
    }
}

fn places(homes: &[String]) -> String {
    let quoted: Vec<String> = homes
        .iter()
        .map(|home| if home.is_empty() { "the top of the file".to_owned() } else { format!("`{home}`") })
        .collect();
    quoted.join(" or ")
}
