//! Every field of the manifests that are read: what it takes, and what is said of it where nothing else says it. One table
//! finds unknown fields and drops none in silence.

mod analysis;
mod flagger;
mod meta;
mod neighbour;
mod provider;
mod rollout;
mod router;

use tidegate_yaml::{near::nearest, tree::Content};

use crate::{
    difference::{Level, Report},
    field::Field,
    moment,
    objects::Object,
};

/// What a field takes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// Anything: looked at elsewhere, or not at all.
    Free,
    Text,
    Whole,
    /// A number, in quotes where it comes from an argument.
    Count,
    Truth,
    /// A number, or a text: `3`, `25%`.
    Amount,
    /// Known keys.
    Keys(&'static [Known]),
    /// A list of known keys.
    List(&'static [Known]),
    /// A list of texts.
    Texts,
    /// Keys of anybody's choice, each with a scalar: labels.
    Words,
    /// Keys of anybody's choice, each with known keys.
    Each(&'static [Known]),
    /// Keys of anybody's choice with anything.
    Open,
    /// A moment (RFC 3339).
    Time,
}

/// What is said of a field wherever it is written.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Saying {
    level: Level,
    theirs: &'static str,
    ours: &'static str,
}

/// A field.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    pub(crate) key: &'static str,
    pub(crate) shape: Shape,
    pub(crate) required: bool,
    saying: Option<Saying>,
}

const fn known(key: &'static str, shape: Shape) -> Known {
    Known { key, shape, required: false, saying: None }
}

/// The fields of an object with these under `spec`.
const fn object(spec: &'static [Known]) -> [Known; 5] {
    [
        known("apiVersion", Shape::Text).required(),
        known("kind", Shape::Text).required(),
        known("metadata", Shape::Keys(meta::METADATA)).required(),
        known("spec", Shape::Keys(spec)).required(),
        known("status", Shape::Free),
    ]
}

impl Known {
    const fn required(mut self) -> Self {
        self.required = true;
        self
    }

    const fn note(self, theirs: &'static str, ours: &'static str) -> Self {
        self.says(Level::Note, theirs, ours)
    }

    const fn warning(self, theirs: &'static str, ours: &'static str) -> Self {
        self.says(Level::Warning, theirs, ours)
    }

    const fn error(self, theirs: &'static str, ours: &'static str) -> Self {
        self.says(Level::Error, theirs, ours)
    }

    const fn says(mut self, level: Level, theirs: &'static str, ours: &'static str) -> Self {
        self.saying = Some(Saying { level, theirs, ours });
        self
    }
}

/// The fields of an object of this kind; nothing for kinds that are only looked at.
pub(crate) fn fields_of(kind: &str) -> Option<&'static [Known]> {
    match kind {
        "Rollout" => Some(&rollout::ROLLOUT),
        "AnalysisTemplate" | "ClusterAnalysisTemplate" => Some(&analysis::TEMPLATE),
        "Canary" => Some(&flagger::CANARY),
        "MetricTemplate" => Some(&flagger::METRIC_TEMPLATE),
        "Service" => Some(&neighbour::SERVICE),
        "Ingress" => Some(&neighbour::INGRESS),
        _ => None,
    }
}

/// Says what the table has to say of every field that an object has, and names those that it does not know.
pub(crate) fn say(object: &Object<'_>, report: &mut Report) {
    if let Some(fields) = fields_of(object.kind) {
        walk(&object.field, fields, report);
    }
}

fn walk(field: &Field<'_>, fields: &'static [Known], report: &mut Report) {
    for (key, value) in field.entries() {
        let Some(known) = fields.iter().find(|known| known.key == key) else {
            let (theirs, ours) = unknown(key, fields);
            report.warn(&value, theirs, ours);
            continue;
        };
        if value.is_null() {
            continue;
        }
        if let Some(Saying { level, theirs, ours }) = known.saying {
            report.add(level, &value, theirs, ours);
        }
        match known.shape {
            Shape::Keys(inner) => walk(&value, inner, report),
            Shape::List(inner) => value.items().iter().for_each(|item| walk(item, inner, report)),
            Shape::Free
            | Shape::Text
            | Shape::Whole
            | Shape::Count
            | Shape::Truth
            | Shape::Amount
            | Shape::Texts
            | Shape::Words
            | Shape::Open
            | Shape::Time => {}
            Shape::Each(inner) => value.entries().iter().for_each(|(_, item)| walk(item, inner, report)),
        }
    }
}

/// What is said of a field that is not known here, and of what was perhaps meant.
pub(crate) fn unknown(key: &str, fields: &'static [Known]) -> (String, String) {
    let keys = || fields.iter().map(|known| known.key);
    let key = tidegate_yaml::finding::shown(key);
    let ours = nearest(&key, keys()).map_or_else(
        || format!("left out; known here: {}", keys().collect::<Vec<_>>().join(", ")),
        |near| format!("left out; did you mean `{near}`?"),
    );
    (format!("`{key}` is not a field here"), ours)
}

impl Shape {
    /// What it takes, in words; nothing when this is it.
    pub(crate) fn refuses(self, field: &Field<'_>) -> Option<&'static str> {
        // Of 32 bits, as all of theirs that matter.
        let whole = || field.is_plain() && field.whole().is_some_and(|number| i32::try_from(number).is_ok());
        let fits = match self {
            Self::Free => true,
            Self::Text => field.text().is_some() && !(field.is_plain() && is_other(field)),
            Self::Whole => whole(),
            Self::Count => {
                whole() || field.text().is_some_and(|text| !field.is_plain() || text.contains("{{"))
            }
            Self::Truth => field.is_plain() && field.truth().is_some(),
            Self::Amount => field.text().is_some(),
            Self::Keys(_) | Self::Each(_) | Self::Open => field.is_map(),
            Self::Words => field.entries().iter().all(|(_, word)| word.text().is_some()) && field.is_map(),
            Self::Time => field.text().is_some_and(moment::is_moment),
            Self::List(_) | Self::Texts => field.is_list(),
        };
        (!fits).then_some(self.words())
    }

    /// What it takes, in words.
    pub(crate) const fn words(self) -> &'static str {
        match self {
            Self::Free => "a value",
            Self::Text => "a text",
            Self::Whole | Self::Count => "a whole number",
            Self::Truth => "`true` or `false`",
            Self::Amount => "a whole number or a percentage",
            Self::Keys(_) | Self::Each(_) | Self::Open => "keys",
            Self::Words => "keys with texts",
            Self::Time => "a time such as `2026-01-31T09:00:00Z` (RFC 3339)",
            Self::List(_) | Self::Texts => "a list",
        }
    }
}

/// Whether a scalar without quotes is a number or a truth, which is no text.
fn is_other(field: &Field<'_>) -> bool {
    let Content::Scalar(scalar) = &field.node.content else { return false };
    let digits = |c: char| c.is_ascii_digit() || "+-.eE".contains(c);
    field.truth().is_some() || (scalar.text.parse::<f64>().is_ok() && scalar.text.chars().all(digits))
}
