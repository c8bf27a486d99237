//! The table of fields as a JSON Schema (draft 2020-12) for editors.

use serde_json::{Map, Value, json};

use super::{
    fields,
    form::LISTEN_PATTERN,
    reader,
    table::{Absent, Block, Field, Kind, Word},
    units,
};

/// The schema. The same table gives the same text, byte for byte.
pub(crate) fn schema_json() -> Value {
    let mut schema = block(&fields::FILE);
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("$schema".to_owned(), json!("https://json-schema.org/draft/2020-12/schema"));
        schema.insert("title".to_owned(), json!("tidegate.yaml, version 1"));
    }
    schema
}

fn block(block: &'static Block) -> Value {
    let properties: Map<String, Value> =
        block.fields.iter().map(|field| (field.key.to_owned(), property(field))).collect();
    let required: Vec<&str> = block
        .fields
        .iter()
        .filter(|field| matches!(field.absent, Absent::Required))
        .map(|field| field.key)
        .collect();
    let mut out = Map::new();
    out.insert("type".to_owned(), json!("object"));
    out.insert("description".to_owned(), json!(block.doc));
    out.insert("properties".to_owned(), Value::Object(properties));
    out.insert("additionalProperties".to_owned(), json!(false));
    if !required.is_empty() {
        out.insert("required".to_owned(), json!(required));
    }
    if let Some(choice) = &block.choice {
        let mut one_of: Vec<Value> = choice.keys.iter().map(|key| json!({ "required": [key] })).collect();
        if choice.otherwise.is_some() {
            let any: Vec<Value> = one_of.clone();
            one_of.push(json!({ "not": { "anyOf": any } }));
        }
        out.insert("oneOf".to_owned(), json!(one_of));
    }
    let beside: Map<String, Value> = block
        .fields
        .iter()
        .filter(|field| !field.beside.is_empty())
        .map(|field| (field.key.to_owned(), near(field)))
        .collect();
    if !beside.is_empty() {
        out.insert("dependentSchemas".to_owned(), Value::Object(beside));
    }
    Value::Object(out)
}

fn near(field: &Field) -> Value {
    let any: Vec<Value> = field.beside.iter().map(|key| json!({ "required": [key] })).collect();
    json!({ "anyOf": any })
}

fn property(field: &'static Field) -> Value {
    let mut schema = kind(&field.kind);
    let Some(object) = schema.as_object_mut() else { return schema };
    let doc = match field.absent {
        Absent::Required => field.doc.to_owned(),
        Absent::Default(yaml) => {
            // A block's own defaults are shown at its keys.
            if let Some(value) = reader::default_as_written(yaml).filter(|value| *value != json!({})) {
                object.insert("default".to_owned(), value);
            }
            field.doc.to_owned()
        }
        Absent::Means(means) => format!("{} Without it: {means}.", field.doc),
    };
    object.insert("description".to_owned(), json!(doc));
    schema
}

fn kind(kind_: &'static Kind) -> Value {
    match kind_ {
        Kind::Text(form) => match form.pattern() {
            Some(pattern) => json!({ "type": "string", "pattern": pattern }),
            None => json!({ "type": "string" }),
        },
        Kind::Word(words) => word_list(words),
        Kind::Flag => json!({ "const": true }),
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Whole { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Decimal { min, max, .. } => {
            json!({ "type": "number", "minimum": thousandths(*min), "maximum": thousandths(*max) })
        }
        Kind::Duration { .. } => json!({
            "type": "string",
            "pattern": r"^(?=.)(\d+d)?(\d+h)?(\d+m(?!s))?(\d+s)?(\d+ms)?$",
            "examples": ["250ms", "60s", "1h30m"],
        }),
        Kind::Share { .. } => share(),
        Kind::Size { .. } => {
            json!({ "type": "string", "pattern": r"^\d+(B|KiB|MiB|GiB|KB|MB|GB)$", "examples": ["64KiB", "10MiB"] })
        }
        Kind::Listen => json!({
            "anyOf": [
                { "type": "string", "pattern": LISTEN_PATTERN },
                { "type": "integer", "minimum": 1, "maximum": 65_535 },
            ],
        }),
        Kind::Batch { min, max } => {
            json!({ "anyOf": [share(), { "type": "integer", "minimum": min, "maximum": max }] })
        }
        Kind::List { of, min, max } => {
            json!({ "type": "array", "items": kind(of), "minItems": min, "maxItems": max })
        }
        Kind::OneOrMany { of, max } => {
            json!({ "anyOf": [kind(of), { "type": "array", "items": kind(of), "minItems": 1, "maxItems": max }] })
        }
        Kind::Map { key, of, min, max } => json!({
            "type": "object",
            "propertyNames": { "pattern": key.pattern().unwrap_or("") },
            "additionalProperties": kind(of),
            "minProperties": min,
            "maxProperties": max,
        }),
        Kind::Block(inner) => block(inner),
        Kind::Short { key, block: inner } => {
            let alone = inner.field(key).map_or(Value::Bool(false), |field| kind(&field.kind));
            json!({ "anyOf": [alone, block(inner)] })
        }
        Kind::Or { word, other, .. } => {
            json!({ "anyOf": [{ "const": word.word, "description": word.doc }, kind(other)] })
        }
    }
}

pub(super) fn word_list(words: &[Word]) -> Value {
    let names: Vec<&str> = words.iter().map(|word| word.word).collect();
    json!({ "type": "string", "enum": names })
}

pub(super) fn share() -> Value {
    json!({ "type": "string", "pattern": r"^\d+(\.\d{1,2})?%$", "examples": ["5%", "12.5%"] })
}

/// Whole numbers stay whole, for a text that people can read.
pub(super) fn thousandths(value: u32) -> Value {
    if value.is_multiple_of(1_000) { json!(value / 1_000) } else { json!(f64::from(value) / 1_000.0) }
}

/// The type and bounds of `kind` in a few words, for the reference page.
pub(super) fn in_words(kind_: &Kind) -> String {
    match kind_ {
        Kind::Text(form) => form.what().to_owned(),
        Kind::Word(words) => {
            words.iter().map(|word| format!("`{}`", word.word)).collect::<Vec<_>>().join(", ")
        }
        Kind::Flag => "`true`".to_owned(),
        Kind::Bool => "`true` or `false`".to_owned(),
        Kind::Whole { min, max } if min == max => format!("`{min}`"),
        Kind::Whole { min, max } => format!("whole number, {min} to {max}"),
        Kind::Decimal { what, min, max, .. } => {
            let (min, max) = (units::decimal_text(u64::from(*min)), units::decimal_text(u64::from(*max)));
            format!("{what}, {min} to {max}")
        }
        Kind::Duration { min, max } => {
            format!("duration, {} to {}", units::duration_text(*min), units::duration_text(*max))
        }
        Kind::Share { min, max } => {
            format!("share, {} to {}", units::share_text(*min), units::share_text(*max))
        }
        Kind::Size { min, max } => format!("size, {} to {}", units::size_text(*min), units::size_text(*max)),
        Kind::Listen => "`IP:port` or port".to_owned(),
        Kind::Batch { min, max } => format!("share, or whole number, {min} to {max}"),
        Kind::List { of, min, max } => format!("list of {min} to {max}: {}", in_words(of)),
        Kind::OneOrMany { of, max } => format!("{}, or a list of up to {max}", in_words(of)),
        Kind::Map { key, of, .. } => format!("{} → {}", key.what(), in_words(of)),
        Kind::Block(_) => "keys".to_owned(),
        Kind::Short { key, block: inner } => match inner.field(key) {
            Some(field) => format!("{}, or keys", in_words(&field.kind)),
            None => "keys".to_owned(),
        },
        Kind::Or { word, other, .. } => format!("`{}`, or {}", word.word, in_words(other)),
    }
}
