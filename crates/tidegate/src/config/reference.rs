//! The table of fields as a page of Markdown.

use super::{
    fields,
    schema::in_words,
    table::{Absent, Block, Field, Kind, Word},
};

const HEAD: &str = "# `tidegate.yaml`

One file says what runs, how a new release takes over, and what has to hold for it to go on. It is read strictly: a key
or unit that is not known here is a mistake, and all mistakes are reported at once (`tidegate validate`).

- Durations are whole numbers with `ms`, `s`, `m`, `h` or `d`, also together: `1m30s`.
- Shares are numbers with `%`, at most two decimals: `5%`, `12.5%`.
- Sizes are whole numbers with `B`, `KiB`, `MiB`, `GiB`, or `KB`, `MB`, `GB` for powers of ten.
- Texts that look like a number, `true`, `false` or `null` need quotes.
- Paths start from the directory of the file.
- The file is UTF-8, one document, at most 1 MiB. Anchors and aliases work; tags, directives and `<<` do not.
";

const TABLE_HEAD: &str = "| key | value | default | meaning |\n|---|---|---|---|\n";

/// The page. The same table gives the same text, byte for byte.
pub(crate) fn reference_markdown() -> String {
    format!("{HEAD}{}", section("The file", "", &fields::FILE))
}

/// The keys of a file that holds gates alone; those below `gates` and `judgement` are on the page.
pub(crate) fn judged_markdown() -> String {
    let rows: String = fields::JUDGED.fields.iter().map(|field| row(field, &fields::JUDGED)).collect();
    format!("{}\n\n{TABLE_HEAD}{rows}", fields::JUDGED.doc)
}

/// A block and, after it, the blocks below it. Recursion is as deep as the table of fields.
fn section(title: &str, path: &str, block: &'static Block) -> String {
    let rows: String = block.fields.iter().map(|field| row(field, block)).collect();
    let below = block.fields.iter().filter_map(|field| {
        let (step, inner) = field.kind.below()?;
        let dot = if path.is_empty() { "" } else { "." };
        let path = format!("{path}{dot}{}{step}", field.key);
        Some(section(&format!("`{path}`"), &path, inner))
    });
    format!("\n## {title}\n\n{}\n\n{TABLE_HEAD}{rows}{}", block.doc, below.collect::<String>())
}

fn row(field: &'static Field, block: &Block) -> String {
    let (value, default, meaning) = (in_words(&field.kind), default(field, block), meaning(field));
    format!("| `{}` | {} | {} | {} |\n", field.key, cell(&value), cell(&default), cell(&meaning))
}

fn default(field: &Field, block: &Block) -> String {
    let written = match field.absent {
        Absent::Required => "**required**".to_owned(),
        Absent::Default("{}") if matches!(field.kind, Kind::Map { .. }) => "none".to_owned(),
        Absent::Default("{}") => "its keys' defaults".to_owned(),
        Absent::Default(yaml) => format!("`{yaml}`"),
        Absent::Means(means) => means.to_owned(),
    };
    match block.choice.as_ref().filter(|choice| choice.keys.contains(&field.key)) {
        Some(choice) if choice.otherwise == Some(field.key) => format!("{written}, when none is chosen"),
        Some(_) | None => written,
    }
}

fn meaning(field: &'static Field) -> String {
    let words: Vec<String> =
        words(&field.kind).iter().map(|word| format!(" `{}`: {}.", word.word, word.doc)).collect();
    let words = words.concat();
    let beside: Vec<String> = field.beside.iter().map(|key| format!("`{key}`")).collect();
    let beside =
        if beside.is_empty() { String::new() } else { format!(" Only with {}.", beside.join(" or ")) };
    format!("{}{words}{beside}", field.doc)
}

fn words(kind: &'static Kind) -> &'static [Word] {
    match kind {
        Kind::Word(words) => words,
        Kind::Or { word, .. } => std::slice::from_ref(word),
        Kind::List { of, .. } | Kind::OneOrMany { of, .. } => words(of),
        Kind::Text(_)
        | Kind::Flag
        | Kind::Bool
        | Kind::Whole { .. }
        | Kind::Decimal { .. }
        | Kind::Duration { .. }
        | Kind::Share { .. }
        | Kind::Size { .. }
        | Kind::Listen
        | Kind::Batch { .. }
        | Kind::Map { .. }
        | Kind::Block(_)
        | Kind::Short { .. } => &[],
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}
