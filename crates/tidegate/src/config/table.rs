//! The words that the table of fields is written in. One table drives the reader, the suggestions for unknown keys, the
//! JSON Schema for editors and the reference page.

/// A mapping with known keys.
#[derive(Debug)]
pub(super) struct Block {
    /// What it is for.
    pub(super) doc: &'static str,
    /// Its keys, in the order the reference shows them.
    pub(super) fields: &'static [Field],
    /// Keys of which exactly one is written.
    pub(super) choice: Option<Choice>,
}

/// Keys that exclude each other.
#[derive(Debug)]
pub(super) struct Choice {
    pub(super) keys: &'static [&'static str],
    /// The one that is taken, with its default value, when none is written; `None` makes writing one an obligation.
    pub(super) otherwise: Option<&'static str>,
}

impl Block {
    /// A block without a choice.
    pub(super) const fn of(doc: &'static str, fields: &'static [Field]) -> Self {
        Self { doc, fields, choice: None }
    }

    /// The same with exactly one of `keys`.
    pub(super) const fn one_of(
        mut self,
        keys: &'static [&'static str],
        otherwise: Option<&'static str>,
    ) -> Self {
        self.choice = Some(Choice { keys, otherwise });
        self
    }

    /// Whether `key` is one of those that exclude each other.
    pub(super) fn chooses(&self, key: &str) -> bool {
        self.choice.as_ref().is_some_and(|choice| choice.keys.contains(&key))
    }

    pub(super) fn field(&self, key: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.key == key)
    }
}

/// One key of a block.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) key: &'static str,
    pub(super) doc: &'static str,
    pub(super) kind: Kind,
    pub(super) absent: Absent,
    /// The key only means something beside one of these; empty is always.
    pub(super) beside: &'static [&'static str],
}

/// What holds when a key is not written.
#[derive(Debug)]
pub(super) enum Absent {
    /// It must be written.
    Required,
    /// This value, in YAML.
    Default(&'static str),
    /// What these words say.
    Means(&'static str),
}

/// A key that must be written.
pub(super) const fn required(key: &'static str, kind: Kind, doc: &'static str) -> Field {
    Field { key, doc, kind, absent: Absent::Required, beside: &[] }
}

/// A key with a default.
pub(super) const fn field(key: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Field {
    Field { key, doc, kind, absent: Absent::Default(default), beside: &[] }
}

/// A key without a default; `means` says what its absence means.
pub(super) const fn optional(key: &'static str, kind: Kind, means: &'static str, doc: &'static str) -> Field {
    Field { key, doc, kind, absent: Absent::Means(means), beside: &[] }
}

impl Field {
    /// The same, allowed only beside one of these keys.
    pub(super) const fn beside(mut self, keys: &'static [&'static str]) -> Self {
        self.beside = keys;
        self
    }
}

/// What a value is.
#[derive(Debug)]
pub(super) enum Kind {
    /// A text of some form.
    Text(Form),
    /// One of a closed list.
    Word(&'static [Word]),
    /// Only `true`: leaving the key out is the other answer.
    Flag,
    /// `true` or `false`.
    Bool,
    /// A number without a fraction.
    Whole { min: u64, max: u64 },
    /// A number with up to three decimals, kept in thousandths.
    Decimal { what: &'static str, example: &'static str, min: u32, max: u32 },
    /// `90s`, `1m30s`; in milliseconds.
    Duration { min: u64, max: u64 },
    /// `5%`; in basis points.
    Share { min: u16, max: u16 },
    /// `10MiB`; in bytes.
    Size { min: u64, max: u64 },
    /// `IP:port`, or a port alone.
    Listen,
    /// A share of the instances, or so many of them.
    Batch { min: u32, max: u32 },
    /// Several of one kind.
    List { of: &'static Kind, min: usize, max: usize },
    /// One, or a list of several.
    OneOrMany { of: &'static Kind, max: usize },
    /// Names chosen by the writer, each with a value of one kind.
    Map { key: Form, of: &'static Kind, min: usize, max: usize },
    /// Known keys.
    Block(&'static Block),
    /// Known keys, or one value alone that stands for the block with only `key`.
    Short { key: &'static str, block: &'static Block },
    /// One word, or another kind.
    Or { word: Word, nothing: bool, other: &'static Kind },
}

impl Kind {
    /// The normalised key carries its unit, so that no reader can mistake it: `bake` is kept as `bake_ms`.
    pub(super) fn unit(&self) -> &'static str {
        match self {
            Self::Duration { .. } => "_ms",
            Self::Share { .. } => "_bp",
            Self::Size { .. } => "_bytes",
            Self::Decimal { .. } => "_milli",
            Self::Or { other, .. } => other.unit(),
            Self::Text(_)
            | Self::Word(_)
            | Self::Flag
            | Self::Bool
            | Self::Whole { .. }
            | Self::Listen
            | Self::Batch { .. }
            | Self::List { .. }
            | Self::OneOrMany { .. }
            | Self::Map { .. }
            | Self::Block(_)
            | Self::Short { .. } => "",
        }
    }

    /// The block below, if this is one in some form; with the addition that the path to it needs.
    pub(super) fn below(&self) -> Option<(&'static str, &'static Block)> {
        match self {
            Self::Block(block) | Self::Short { block, .. } => Some(("", block)),
            Self::Or { other, .. } => other.below(),
            Self::List { of, .. } | Self::OneOrMany { of, .. } => of.below().map(|(_, block)| ("[]", block)),
            Self::Map { of, .. } => of.below().map(|(_, block)| (".<name>", block)),
            Self::Text(_)
            | Self::Word(_)
            | Self::Flag
            | Self::Bool
            | Self::Whole { .. }
            | Self::Decimal { .. }
            | Self::Duration { .. }
            | Self::Share { .. }
            | Self::Size { .. }
            | Self::Listen
            | Self::Batch { .. } => None,
        }
    }
}

/// One of a closed list, and what it means.
#[derive(Clone, Copy, Debug)]
pub(super) struct Word {
    pub(super) word: &'static str,
    pub(super) doc: &'static str,
}

/// Shorthand for a [`Word`].
pub(super) const fn word(word: &'static str, doc: &'static str) -> Word {
    Word { word, doc }
}

/// The form a text must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Anything but nothing.
    Any,
    /// Anything, the empty text too.
    Free,
    /// A service or an environment.
    Name,
    /// An object of Kubernetes.
    Object,
    /// A metric or a gate.
    Key,
    /// An environment variable.
    Variable,
    /// A file anywhere.
    File,
    /// A file or folder inside the project.
    Inside,
    /// A pattern for paths inside the project.
    Glob,
    /// The path of a URL.
    HttpPath,
    /// The name of a header or a cookie.
    Token,
    /// RFC 6901, with `*` for any segment.
    Pointer,
    /// A container image.
    Image,
    /// A user's name or number.
    User,
    /// The address of a web server, without user and password.
    Url,
    /// A name of series with conditions on their labels.
    Series,
    /// Where in a JSON value something lies.
    JsonPath,
    /// A condition on a value; what it means is looked at where its unit is known.
    Condition,
    /// What a value counts.
    Unit,
}
