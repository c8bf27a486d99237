//! One scalar read as one kind of value.

use serde_json::{Value, json};

use super::{
    finding::{Code, Complaint, shown},
    form, suggest,
    table::{Kind, Word},
    tree::Scalar,
    units,
};

/// Keys of a block that are named where only its kind is to be told.
const KEYS_SHOWN: usize = 6;

/// What a plain scalar is in YAML 1.2's core schema; quoted ones are always text.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Looks {
    Nothing,
    Truth,
    Number,
    Text,
}

impl Looks {
    pub(super) fn like(scalar: &Scalar) -> Self {
        if !scalar.plain {
            return Self::Text;
        }
        if scalar.is_null() {
            return Self::Nothing;
        }
        match scalar.text.as_str() {
            "true" | "True" | "TRUE" | "false" | "False" | "FALSE" => Self::Truth,
            text if is_number(text) => Self::Number,
            _ => Self::Text,
        }
    }
}

fn is_number(text: &str) -> bool {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let digits = |prefix: &str, radix: u32| {
        text.strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix)))
    };
    matches!(unsigned, ".inf" | ".Inf" | ".INF")
        || matches!(text, ".nan" | ".NaN" | ".NAN")
        || digits("0x", 16)
        || digits("0o", 8)
        // Rust also reads words such as `inf`, which YAML does not: a digit or a point comes first there.
        || (unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.') && text.parse::<f64>().is_ok())
}

/// `scalar` as found, for the end of a message.
pub(super) fn found(scalar: &Scalar) -> String {
    let text = shown(&scalar.text);
    match Looks::like(scalar) {
        Looks::Nothing => "nothing".to_owned(),
        Looks::Truth => format!("`{text}`"),
        Looks::Number => format!("the number `{text}`"),
        Looks::Text if text.is_empty() => "an empty text".to_owned(),
        Looks::Text => format!("the text `{text}`"),
    }
}

/// `kind` in words, for `expected …`.
pub(super) fn expected(kind: &Kind) -> String {
    match kind {
        Kind::Text(form) => form.what().to_owned(),
        Kind::Word(words) => format!("one of {}", list(words)),
        Kind::Flag => "`true`".to_owned(),
        Kind::Bool => "`true` or `false`".to_owned(),
        Kind::Whole { .. } => "a whole number".to_owned(),
        Kind::Decimal { what, example, .. } => format!("{what} such as `{example}`"),
        Kind::Duration { .. } => "a duration such as `60s`".to_owned(),
        Kind::Share { .. } => "a share such as `5%`".to_owned(),
        Kind::Size { .. } => "a size such as `10MiB`".to_owned(),
        Kind::Listen => "an address such as `127.0.0.1:8080`".to_owned(),
        Kind::Batch { .. } => "a share such as `25%` or a number of instances".to_owned(),
        Kind::List { of, .. } => format!("a list, each item {}", expected(of)),
        Kind::OneOrMany { of, .. } => format!("{}, or a list of them", expected(of)),
        Kind::Map { of, .. } => format!("names, each with {}", expected(of)),
        Kind::Block(block) => {
            let keys: Vec<String> =
                block.fields.iter().take(KEYS_SHOWN).map(|field| format!("`{}`", field.key)).collect();
            let more = if block.fields.len() > KEYS_SHOWN { ", …" } else { "" };
            format!("keys ({}{more})", keys.join(", "))
        }
        Kind::Short { key, block } => match block.field(key) {
            Some(field) => format!("{} or {}", expected(&field.kind), expected(&Kind::Block(block))),
            None => expected(&Kind::Block(block)),
        },
        Kind::Or { word, other, .. } => format!("`{}` or {}", word.word, expected(other)),
    }
}

fn list(words: &[Word]) -> String {
    words.iter().map(|word| format!("`{}`", word.word)).collect::<Vec<_>>().join(", ")
}

/// The value of `scalar` as `kind`, in its normal form: milliseconds, basis points, bytes, thousandths.
/// Kinds that are not scalars refuse every scalar.
pub(super) fn read(scalar: &Scalar, kind: &Kind) -> Result<Value, Complaint> {
    if scalar.is_null() {
        return Err(mismatch(scalar, kind));
    }
    let text = scalar.text.as_str();
    match kind {
        Kind::Text(form) => {
            only_text(scalar, kind)?;
            form.check(text).map(|()| json!(text))
        }
        Kind::Word(words) => one_of(scalar, kind, words),
        Kind::Flag => truth(scalar, kind).and_then(|value| {
            let no = || {
                Complaint::new(Code::OutOfRange, "only `true` means something here")
                    .help("leave the key out instead")
            };
            if value { Ok(json!(true)) } else { Err(no()) }
        }),
        Kind::Bool => truth(scalar, kind).map(|value| json!(value)),
        Kind::Whole { min, max } => whole(scalar, kind, *min, *max),
        Kind::Decimal { what, example, min, max } => {
            unquoted(scalar, kind)?;
            units::decimal(text, what, example, *min, *max).map(|value| json!(value))
        }
        Kind::Duration { min, max } => units::duration(text, *min, *max).map(|value| json!(value)),
        Kind::Share { min, max } => units::share(text, *min, *max).map(|value| json!(value)),
        Kind::Size { min, max } => units::size(text, *min, *max).map(|value| json!(value)),
        Kind::Listen => form::listen(text).map(|value| json!(value)),
        Kind::Batch { min, max } => batch(scalar, kind, *min, *max),
        Kind::List { .. }
        | Kind::OneOrMany { .. }
        | Kind::Map { .. }
        | Kind::Block(_)
        | Kind::Short { .. }
        | Kind::Or { .. } => Err(mismatch(scalar, kind)),
    }
}

/// Expected this, found that.
pub(super) fn mismatch(scalar: &Scalar, kind: &Kind) -> Complaint {
    Complaint::new(Code::WrongType, format!("expected {}, found {}", expected(kind), found(scalar)))
}

fn only_text(scalar: &Scalar, kind: &Kind) -> Result<(), Complaint> {
    match Looks::like(scalar) {
        Looks::Text => Ok(()),
        Looks::Nothing => Err(mismatch(scalar, kind)),
        Looks::Truth | Looks::Number => {
            Err(mismatch(scalar, kind).help(format!("write `\"{}\"` in quotes", shown(&scalar.text))))
        }
    }
}

fn unquoted(scalar: &Scalar, kind: &Kind) -> Result<(), Complaint> {
    if scalar.plain {
        return Ok(());
    }
    let complaint = mismatch(scalar, kind);
    let number = Scalar { text: scalar.text.clone(), plain: true };
    let help = format!("write `{}` without quotes", shown(&scalar.text));
    Err(if Looks::like(&number) == Looks::Number { complaint.help(help) } else { complaint })
}

fn truth(scalar: &Scalar, kind: &Kind) -> Result<bool, Complaint> {
    match (scalar.text.as_str(), scalar.plain) {
        ("true", true) => Ok(true),
        ("false", true) => Ok(false),
        (text, _) => {
            let complaint = mismatch(scalar, kind);
            Err(match text.to_ascii_lowercase().as_str() {
                "yes" | "on" | "y" | "true" | "1" => complaint.help("write `true`"),
                "no" | "off" | "n" | "false" | "0" => complaint.help("write `false`"),
                _ => complaint,
            })
        }
    }
}

fn whole(scalar: &Scalar, kind: &Kind, min: u64, max: u64) -> Result<Value, Complaint> {
    unquoted(scalar, kind)?;
    let text = scalar.text.as_str();
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return Err(mismatch(scalar, kind));
    }
    match text.parse::<u64>() {
        Ok(value) if (min..=max).contains(&value) => Ok(json!(value)),
        _ if min == max => {
            Err(Complaint::new(Code::OutOfRange, format!("`{}` is out of range: only {min}", shown(text))))
        }
        _ => Err(Complaint::new(
            Code::OutOfRange,
            format!("`{}` is out of range: {min} to {max}", shown(text)),
        )),
    }
}

fn one_of(scalar: &Scalar, kind: &Kind, words: &[Word]) -> Result<Value, Complaint> {
    let text = scalar.text.as_str();
    if words.iter().any(|word| word.word == text) {
        return Ok(json!(text));
    }
    if Looks::like(scalar) != Looks::Text {
        return Err(mismatch(scalar, kind));
    }
    let complaint =
        Complaint::new(Code::UnknownWord, format!("`{}` is not one of {}", shown(text), list(words)));
    Err(match suggest::nearest(text, words.iter().map(|word| word.word)) {
        Some(near) => complaint.help(format!("did you mean `{near}`?")),
        None => complaint,
    })
}

/// `{"share": points}` or `{"instances": number}`. Where no instances are allowed, no share is too.
fn batch(scalar: &Scalar, kind: &Kind, min: u32, max: u32) -> Result<Value, Complaint> {
    if scalar.text.ends_with('%') {
        let least = u16::from(min > 0);
        return units::share(&scalar.text, least, 10_000).map(|points| json!({ "share": points }));
    }
    let (min, max) = (u64::from(min), u64::from(max));
    match whole(scalar, &Kind::Whole { min, max }, min, max) {
        Ok(value) => Ok(json!({ "instances": value })),
        Err(complaint) if complaint.code == Code::OutOfRange => Err(complaint),
        Err(_) => Err(mismatch(scalar, kind)),
    }
}
