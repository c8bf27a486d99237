//! The examples, the schema and the reference page agree with the reader.

use std::{fs, path::PathBuf};

use serde_json::{Value, json};

use super::super::{
    finding::Findings, load, parse, reader, reference::reference_markdown, schema::schema_json, tree,
};

fn examples() -> Vec<(PathBuf, String)> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples");
    let mut paths: Vec<PathBuf> = fs::read_dir(root)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("tidegate.yaml"))
        .filter(|path| path.is_file())
        .collect();
    paths.sort();
    assert!(paths.len() >= 5, "{paths:?}");
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

fn as_json(text: &str) -> Value {
    let mut findings = Findings::new("");
    let node = tree::grow(text, &mut findings).unwrap();
    reader::as_written(&node)
}

#[test]
fn every_example_loads() {
    for (path, _) in examples() {
        if let Err(rejected) = load(&path) {
            panic!("{rejected}");
        }
    }
}

#[test]
fn one_example_shows_every_key_with_its_default() {
    let text = examples().into_iter().find(|(path, _)| path.ends_with("everything/tidegate.yaml")).unwrap().1;
    for line in reference_markdown().lines().filter(|line| line.starts_with("| `")) {
        let key = line.split('`').nth(1).unwrap();
        assert!(text.contains(&format!("{key}:")), "`{key}` is not in the example");
    }
}

#[test]
fn damage_to_an_example_never_makes_the_reader_panic() {
    for (path, text) in examples() {
        let step = (text.len() / 200).max(1);
        for at in (0..text.len()).step_by(step).filter(|at| text.is_char_boundary(*at)) {
            let _ = parse(&path, &text[..at]);
            let mut flipped = text.clone().into_bytes();
            flipped[at] ^= 1 << (at % 7);
            if let Ok(flipped) = String::from_utf8(flipped) {
                let _ = parse(&path, &flipped);
            }
        }
    }
}

#[test]
fn the_schema_accepts_what_the_reader_accepts_and_refuses_what_it_refuses() {
    let schema = schema_json();
    for (path, text) in examples() {
        assert_eq!(check(&schema, &as_json(&text), ""), Vec::<String>::new(), "{}", path.display());
    }
    let good = || {
        as_json(&super::service("strategy: {canary: {steps: [5%, {share: 50%, bake: 1m30s}]}}\nlease: off\n"))
    };
    assert_eq!(check(&schema, &good(), ""), Vec::<String>::new());
    for (pointer, wrong) in [
        ("/services/shop/lease", json!(5)),
        ("/services/shop/listen", json!(0)),
        ("/services/shop/run", json!({ "command": ["a"], "container": { "image": "a:1", "port": 1 } })),
        ("/services/shop/run", json!({ "container": { "image": "a:1", "port": 1 }, "files": ["a"] })),
        ("/services/shop/strategy/canary/steps", json!([])),
        ("/services/shop/strategy/canary/steps/0", json!({ "bake": "1s" })),
        ("/services/shop/strategy/canary", json!({ "stesp": [] })),
        ("/services/shop/strategy", json!({ "canary": {}, "rolling": {} })),
        ("/version", json!(2)),
    ] {
        let mut file = good();
        *file.pointer_mut(pointer).unwrap() = wrong.clone();
        assert!(!check(&schema, &file, "").is_empty(), "{pointer} = {wrong}");
    }
}

#[test]
fn the_schema_and_the_page_are_the_same_every_time() {
    assert_eq!(schema_json().to_string(), schema_json().to_string());
    assert_eq!(
        schema_json().pointer("/properties/services/additionalProperties/properties/watch/default"),
        Some(&json!("5m"))
    );
    let page = reference_markdown();
    assert_eq!(page, reference_markdown());
    assert!(page.contains("## `services.<name>.strategy.canary.steps[]`"), "{page}");
    assert!(page.contains("| `watch` | duration, 0s to 1d | `5m` |"), "{page}");
    for line in page.lines().filter(|line| line.starts_with('|')) {
        assert_eq!(line.replace("\\|", "").matches('|').count(), 5, "{line}");
    }
}

/// As much of JSON Schema as the schema uses, without patterns: what is wrong with `value`.
fn check(schema: &Value, value: &Value, at: &str) -> Vec<String> {
    let mut wrong = Vec::new();
    let keys = || value.as_object().into_iter().flatten();
    for (word, rule) in schema.as_object().into_iter().flatten() {
        match word.as_str() {
            "properties" => {
                for (key, inner) in keys() {
                    wrong.extend(
                        rule.get(key)
                            .map(|rule| check(rule, inner, &format!("{at}.{key}")))
                            .unwrap_or_default(),
                    );
                }
            }
            "additionalProperties" => {
                let known = schema.get("properties");
                for (key, inner) in
                    keys().filter(|(key, _)| known.is_none_or(|known| known.get(key).is_none()))
                {
                    wrong.extend(check(
                        &if rule == false { json!({ "not": {} }) } else { rule.clone() },
                        inner,
                        &format!("{at}.{key}"),
                    ));
                }
            }
            "dependentSchemas" => {
                for (key, rule) in
                    rule.as_object().unwrap().iter().filter(|(key, _)| value.get(key).is_some())
                {
                    wrong.extend(check(rule, value, &format!("{at} with {key}")));
                }
            }
            "items" => {
                value.as_array().into_iter().flatten().for_each(|item| wrong.extend(check(rule, item, at)));
            }
            _ if holds(word, rule, value) => {}
            _ => wrong.push(format!("{at}: {word}: {value}")),
        }
    }
    wrong
}

fn holds(word: &str, rule: &Value, value: &Value) -> bool {
    let accepted = || rule.as_array().unwrap().iter().filter(|one| check(one, value, "").is_empty()).count();
    let (number, bound) = (value.as_f64(), rule.as_f64());
    let length = value.as_array().map(|list| list.len() as f64);
    match word {
        "type" => match rule.as_str().unwrap() {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_u64(),
            "number" => value.is_number(),
            other => panic!("type {other}"),
        },
        "const" => rule == value,
        "enum" => rule.as_array().unwrap().contains(value),
        "minimum" => number.is_none_or(|_| number >= bound),
        "maximum" => number.is_none_or(|_| number <= bound),
        "minItems" => length.is_none_or(|_| length >= bound),
        "maxItems" => length.is_none_or(|_| length <= bound),
        "required" => {
            let has = |key: &Value| value.get(key.as_str().unwrap()).is_some();
            !value.is_object() || rule.as_array().unwrap().iter().all(has)
        }
        "anyOf" => accepted() >= 1,
        "oneOf" => accepted() == 1,
        "not" => !check(rule, value, "").is_empty(),
        "$schema" | "title" | "description" | "default" | "examples" | "pattern" | "propertyNames"
        | "minProperties" | "maxProperties" => true,
        other => panic!("the schema uses `{other}`"),
    }
}
