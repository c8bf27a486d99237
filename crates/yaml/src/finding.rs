//! What is wrong with a file, and where.

use std::collections::BTreeMap;

use serde::Serialize;

/// At most this many findings are kept; a file with more is better read after the first ones are mended.
pub const FINDINGS_MAX: usize = 200;

/// A stretch of one line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Place {
    /// From 1; 0 means the file as a whole.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// In characters; 0 points between two of them.
    pub length: usize,
}

/// What kind of mistake it is; part of the machine-readable form, so names stay as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// The file is missing or may not be read.
    Unreadable,
    /// The file is larger, deeper or has more in it than is read.
    TooLarge,
    /// The bytes are not UTF-8.
    NotText,
    /// There is nothing in the file.
    Empty,
    /// It is not YAML, or uses a part of YAML that is refused here.
    Yaml,
    /// A tab where YAML wants spaces.
    Tab,
    /// The same key twice in one place.
    DuplicateKey,
    /// A key that exists nowhere here.
    UnknownKey,
    /// A key that belongs somewhere else.
    MisplacedKey,
    /// A key that must be there.
    MissingKey,
    /// Another type of value was expected.
    WrongType,
    /// The unit is missing or unknown.
    WrongUnit,
    /// Right type, impossible value.
    OutOfRange,
    /// Not one of a closed list of words.
    UnknownWord,
    /// A text that does not have the form it needs.
    BadText,
    /// Two values that cannot both hold.
    Conflict,
    /// The tables of this program disagree with each other: a defect of ours, not of the file.
    Internal,
}

impl Code {
    /// The word for it in the machine-readable form.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::TooLarge => "too_large",
            Self::NotText => "not_text",
            Self::Empty => "empty",
            Self::Yaml => "yaml",
            Self::Tab => "tab",
            Self::DuplicateKey => "duplicate_key",
            Self::UnknownKey => "unknown_key",
            Self::MisplacedKey => "misplaced_key",
            Self::MissingKey => "missing_key",
            Self::WrongType => "wrong_type",
            Self::WrongUnit => "wrong_unit",
            Self::OutOfRange => "out_of_range",
            Self::UnknownWord => "unknown_word",
            Self::BadText => "bad_text",
            Self::Conflict => "conflict",
            Self::Internal => "internal",
        }
    }
}

/// One mistake, complete enough to be shown or handed to an editor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// The file, as it was named.
    pub file: String,
    /// Where in it.
    #[serde(flatten)]
    pub place: Place,
    /// Which value: `services.shop.strategy.canary.steps[1].share`; empty for the file itself.
    pub path: String,
    /// What is wrong, and what was expected.
    pub message: String,
    /// What to write instead, when that can be said.
    pub help: Option<String>,
    /// What kind of mistake it is.
    pub code: Code,
}

/// What is wrong with one value, before it is known where the value stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Complaint {
    /// What kind of mistake it is.
    pub code: Code,
    /// What is wrong, and what was expected.
    pub message: String,
    /// What to write instead, when that can be said.
    pub help: Option<String>,
}

impl Complaint {
    /// A complaint without help.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None }
    }

    /// The same with what to write instead.
    #[must_use]
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// All findings of one file, in the order they were made, up to [`FINDINGS_MAX`].
#[derive(Debug)]
pub struct Findings {
    file: String,
    list: Vec<Finding>,
}

impl Findings {
    /// None yet, of the file with this name.
    pub fn new(file: &str) -> Self {
        Self { file: file.to_owned(), list: Vec::new() }
    }

    /// One more, while there is room.
    pub fn add(&mut self, place: Place, path: &str, complaint: Complaint) {
        if self.list.len() < FINDINGS_MAX {
            let Complaint { code, message, help } = complaint;
            self.list.push(Finding {
                file: self.file.clone(),
                place,
                path: path.to_owned(),
                message,
                help,
                code,
            });
        }
    }

    /// Whether nothing is wrong so far.
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Whether there is no room for more.
    pub fn is_full(&self) -> bool {
        self.list.len() >= FINDINGS_MAX
    }

    /// The findings from the top of the file down.
    pub fn sorted(mut self) -> Vec<Finding> {
        self.list.sort_by(|a, b| (a.place, &a.path).cmp(&(b.place, &b.path)));
        self.list
    }
}

/// Where each value of a file stands, by its path.
#[derive(Clone, Debug, Default)]
pub struct Places(BTreeMap<String, Place>);

impl Places {
    /// Remembers one.
    pub fn set(&mut self, path: &str, place: Place) {
        self.0.insert(path.to_owned(), place);
    }

    /// Where exactly this value was written; `None` when it was left to its default.
    pub fn written(&self, path: &str) -> Option<Place> {
        self.0.get(path).copied()
    }

    /// Where this value, or the nearest thing around it, was written; the whole file when nothing of it was.
    pub fn nearest(&self, path: &str) -> Place {
        let mut path = path;
        loop {
            if let Some(place) = self.written(path) {
                return place;
            }
            match path.rfind(['.', '[']) {
                Some(cut) => path = path.get(..cut).unwrap_or_default(),
                None => return Place::default(),
            }
        }
    }
}

/// `text` as it may be shown in a message: short, and without anything that could move a terminal's cursor.
pub fn shown(text: &str) -> String {
    const CHARS_MAX: usize = 48;
    let mut out: String =
        text.chars().take(CHARS_MAX).map(|c| if c.is_control() { '·' } else { c }).collect();
    if text.chars().nth(CHARS_MAX).is_some() {
        out.push('…');
    }
    out
}
