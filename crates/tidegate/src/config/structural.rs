//! The table of fields as a structural schema (`OpenAPI` v3), as the API server takes it for a custom resource.
//!
//! What such a schema cannot say is left to whoever reads the Rollout: a value that is a word or keys has no type here, so
//! that keys below it which are not known are kept and can be named.

use serde_json::{Map, Value, json};

use super::{
    rollout::{has_off, is_usable, spec_fields},
    schema::{in_words, share, thousandths, word_list},
    table::{Absent, Block, Choice, Field, Form, Kind},
};

/// The schema of a Rollout's `spec`.
pub(crate) fn rollout_spec() -> Value {
    let fields: Vec<&'static Field> = spec_fields().map(|(_, field)| field).collect();
    let mut schema = keys("What is rolled out and how; the words of `tidegate.yaml`.", &fields, None, true);
    let own = json!({
        "template": {
            "type": "object",
            "description": "The pod template that every release gets: `metadata` and `spec`, as in a Deployment. Every image \
                            by digest. Or `workload`.",
            "x-kubernetes-preserve-unknown-fields": true,
        },
        "workload": {
            "type": "object",
            "description": "The Deployment whose pod template every release gets. Its name and number of pods are not used. \
                            Or `template`.",
            "required": ["deployment"],
            "properties": {"deployment": text(Form::Object)},
        },
    });
    if let (Some(properties), Value::Object(own)) =
        (schema.pointer_mut("/properties").and_then(Value::as_object_mut), own)
    {
        properties.extend(own);
    }
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("oneOf".to_owned(), json!([{"required": ["template"]}, {"required": ["workload"]}]));
    }
    schema
}

/// An object with these keys. Without a type it may be something else than an object.
fn keys(doc: &str, fields: &[&'static Field], choice: Option<&Choice>, typed: bool) -> Value {
    let properties: Map<String, Value> =
        fields.iter().map(|field| (field.key.to_owned(), property(field))).collect();
    let required: Vec<&str> = fields
        .iter()
        .filter(|field| matches!(field.absent, Absent::Required))
        .map(|field| field.key)
        .collect();
    let mut out = Map::new();
    out.insert("description".to_owned(), json!(doc));
    out.insert("properties".to_owned(), Value::Object(properties));
    if !typed {
        // `required` would be asked of an object alone, but a reader of the whole says it better.
        out.insert("x-kubernetes-preserve-unknown-fields".to_owned(), json!(true));
        return Value::Object(out);
    }
    out.insert("type".to_owned(), json!("object"));
    if !required.is_empty() {
        out.insert("required".to_owned(), json!(required));
    }
    if let Some(choice) = choice {
        let known = |key: &&&str| fields.iter().any(|field| field.key == **key);
        let mut one_of: Vec<Value> =
            choice.keys.iter().filter(known).map(|key| json!({"required": [key]})).collect();
        if choice.otherwise.is_some() {
            one_of.push(json!({"not": {"anyOf": one_of.clone()}}));
        }
        out.insert("oneOf".to_owned(), json!(one_of));
    }
    let rules: Vec<Value> = fields.iter().filter_map(|field| near(field)).collect();
    if !rules.is_empty() {
        out.insert("x-kubernetes-validations".to_owned(), json!(rules));
    }
    Value::Object(out)
}

/// A key that only means something beside others, as a rule in CEL.
fn near(field: &Field) -> Option<Value> {
    let others: Vec<String> = field.beside.iter().map(|key| format!("has(self.{key})")).collect();
    if others.is_empty() {
        return None;
    }
    let beside = field.beside.iter().map(|key| format!("`{key}`")).collect::<Vec<_>>().join(" or ");
    Some(json!({
        "rule": format!("!has(self.{}) || {}", field.key, others.join(" || ")),
        "message": format!("`{}` means nothing without {beside} beside it", field.key),
    }))
}

fn property(field: &'static Field) -> Value {
    let mut schema = kind(&field.kind);
    let Some(object) = schema.as_object_mut() else { return schema };
    // Defaults are said and not set: what the API server fills in would be somebody's change of the spec.
    let absent = match field.absent {
        Absent::Required | Absent::Default("{}") => String::new(),
        Absent::Default(yaml) => format!(" Default: `{yaml}`."),
        Absent::Means(means) => format!(" Without it: {means}."),
    };
    let words = if matches!(field.kind, Kind::Block(_)) {
        String::new()
    } else {
        format!(" ({})", in_words(&field.kind))
    };
    object.insert("description".to_owned(), json!(format!("{}{absent}{words}", field.doc)));
    schema
}

fn block(block: &'static Block, typed: bool) -> Value {
    let fields: Vec<&'static Field> = block.fields.iter().filter(|field| is_usable(field)).collect();
    keys(block.doc, &fields, block.choice.as_ref(), typed)
}

fn kind(kind_: &'static Kind) -> Value {
    match kind_ {
        Kind::Text(form) => text(*form),
        Kind::Word(words) if has_off(words) => json!({"x-kubernetes-preserve-unknown-fields": true}),
        Kind::Word(words) => word_list(words),
        Kind::Flag => json!({"type": "boolean", "enum": [true]}),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Whole { min, max } => {
            json!({"type": "integer", "format": "int64", "minimum": min, "maximum": max})
        }
        Kind::Decimal { min, max, .. } => {
            json!({"type": "number", "minimum": thousandths(*min), "maximum": thousandths(*max)})
        }
        Kind::Duration { .. } => {
            json!({"type": "string", "minLength": 1, "pattern": r"^(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$"})
        }
        Kind::Share { .. } => {
            let mut schema = share();
            if let Some(schema) = schema.as_object_mut() {
                schema.remove("examples");
            }
            schema
        }
        Kind::Size { .. } => json!({"type": "string", "pattern": r"^\d+(B|KiB|MiB|GiB|KB|MB|GB)$"}),
        Kind::Listen | Kind::Batch { .. } => {
            json!({"x-kubernetes-int-or-string": true, "anyOf": [{"type": "integer"}, {"type": "string"}]})
        }
        Kind::List { of, min, max } => {
            json!({"type": "array", "items": kind(of), "minItems": min, "maxItems": max, "x-kubernetes-list-type": "atomic"})
        }
        Kind::Map { of, min, max, .. } => json!({
            "type": "object", "additionalProperties": kind(of), "minProperties": min, "maxProperties": max,
        }),
        Kind::Block(inner) => block(inner, true),
        Kind::Short { block: inner, .. } => block(inner, false),
        Kind::Or { other, .. } => match other.below() {
            Some((_, inner)) => block(inner, false),
            None => json!({"x-kubernetes-preserve-unknown-fields": true}),
        },
        Kind::OneOrMany { .. } => json!({"x-kubernetes-preserve-unknown-fields": true}),
    }
}

fn text(form: Form) -> Value {
    match form.pattern() {
        Some(pattern) => json!({"type": "string", "pattern": pattern}),
        None => json!({"type": "string"}),
    }
}
