//! Configuration as a part of a release: `ConfigMaps` and Secrets that are named by the hash of their content and never change,
//! and the references of a pod template to them.
//!
//! What a Secret holds is in the cluster and in the file that it was read from, and nowhere else: a release knows its hash.

use std::{collections::BTreeMap, fmt::Write as _, path::PathBuf};

use k8s_openapi::ByteString;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};
use tidegate_adapters::evidence::Secret;

use crate::kinds::Kind;

/// Digits of the hash that a name has.
const DIGITS: usize = 10;

/// Longest name of an object.
const NAME_MAX: usize = 253;

/// A `ConfigMap` or a Secret of a release: its name, its hash and where its content is read from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigRef {
    /// Which of the two.
    pub kind: ConfigKind,
    /// The name that the file gives it.
    pub name: String,
    /// SHA-256 of its content, hexadecimal.
    pub sha256: String,
    /// The file with its manifest, absolute.
    pub file: PathBuf,
}

/// What configures pods.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigKind {
    /// A `ConfigMap`.
    ConfigMap,
    /// A `Secret`.
    Secret,
}

impl ConfigKind {
    pub(crate) const fn kind(self) -> Kind {
        match self {
            Self::ConfigMap => Kind::ConfigMap,
            Self::Secret => Kind::Secret,
        }
    }
}

impl ConfigRef {
    /// The name of the object in the cluster.
    pub fn object(&self) -> String {
        versioned(&self.name, &self.sha256)
    }
}

fn versioned(name: &str, sha256: &str) -> String {
    format!("{name}-{}", sha256.chars().take(DIGITS).collect::<String>())
}

/// A `ConfigMap`'s or a Secret's content as its manifest has it. Its values cannot be printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    kind: ConfigKind,
    name: String,
    /// A Secret's `type`.
    class: Option<String>,
    /// A Secret's values are in base64, as the API server has them.
    data: BTreeMap<String, Secret>,
    /// A `ConfigMap`'s bytes, in base64.
    binary: BTreeMap<String, Secret>,
}

/// Why configuration is refused. Says keys, never values.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// Neither of the two.
    #[error("expected a ConfigMap or a Secret (`v1`), found {found}; take it out of the file")]
    Kind {
        /// Kind and API version.
        found: String,
    },
    /// Without a name.
    #[error("{kind} without a name: write `metadata: {{name: …}}`")]
    Unnamed {
        /// Which.
        kind: &'static str,
    },
    /// With its hash the name is longer than names may be.
    #[error("the name of {kind} `{name}` may have {} characters at most, because `-` and {DIGITS} digits of its content's hash follow", NAME_MAX - DIGITS - 1)]
    NameTooLong {
        /// Which.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// In another namespace.
    #[error(
        "{what} is in namespace `{namespace}`, and the release is in `{release}`: take `metadata.namespace` out"
    )]
    Namespace {
        /// The object.
        what: String,
        /// Its namespace.
        namespace: String,
        /// The release's.
        release: String,
    },
    /// Not keys with values.
    #[error("{what}: `{field}` is not a mapping: write `KEY: VALUE` lines below it")]
    Values {
        /// The object.
        what: String,
        /// `data`, `stringData`, `binaryData`.
        field: &'static str,
    },
    /// A value is of no use.
    #[error("{what}: `{field}.{key}` {why}")]
    Value {
        /// The object.
        what: String,
        /// `data`, `stringData`, `binaryData`.
        field: &'static str,
        /// The key.
        key: String,
        /// What is wrong, and what to do.
        why: &'static str,
    },
    /// Twice under one name.
    #[error("{what} is there twice: keep one of the two")]
    Twice {
        /// The object.
        what: String,
    },
    /// Nothing refers to it.
    #[error(
        "nothing in the pod template refers to {what}{}: correct the name, or take it out of `configs`",
        named(referred)
    )]
    Unused {
        /// The object.
        what: String,
        /// Objects of its kind that are referred to.
        referred: Vec<String>,
    },
    /// A key that it does not have.
    #[error("{path} asks {what} for `{key}`, and it has {}", list(known))]
    Key {
        /// Where in the manifest.
        path: String,
        /// The object.
        what: String,
        /// The key.
        key: String,
        /// Those there are.
        known: Vec<String>,
    },
}

fn named(referred: &[String]) -> String {
    if referred.is_empty() { String::new() } else { format!(" (it refers to {})", referred.join(", ")) }
}

fn list(known: &[String]) -> String {
    if known.is_empty() { "no keys".to_owned() } else { known.join(", ") }
}

impl Configuration {
    /// Reads a manifest, or an object of the API server.
    pub fn of(object: &Value, namespace: &str) -> Result<Self, ConfigError> {
        let word = |path: &str| object.pointer(path).and_then(Value::as_str);
        let kind = match (word("/apiVersion"), word("/kind")) {
            (Some("v1"), Some("ConfigMap")) => ConfigKind::ConfigMap,
            (Some("v1"), Some("Secret")) => ConfigKind::Secret,
            (version, kind) => {
                let (kind, version) = (kind.unwrap_or("nothing"), version.unwrap_or("no apiVersion"));
                return Err(ConfigError::Kind { found: format!("{kind} ({version})") });
            }
        };
        let called = kind.kind().name();
        let Some(name) = word("/metadata/name").filter(|name| !name.is_empty()) else {
            return Err(ConfigError::Unnamed { kind: called });
        };
        if name.len() > NAME_MAX - DIGITS - 1 {
            return Err(ConfigError::NameTooLong { kind: called, name: name.to_owned() });
        }
        let what = format!("{called} `{name}`");
        if let Some(other) = word("/metadata/namespace").filter(|other| *other != namespace) {
            let (namespace, release) = (other.to_owned(), namespace.to_owned());
            return Err(ConfigError::Namespace { what, namespace, release });
        }
        let read = |field, form| values(object, &what, field, form);
        let (data, binary) = match kind {
            ConfigKind::ConfigMap => (read("data", Form::Text)?, read("binaryData", Form::Base64)?),
            ConfigKind::Secret => {
                let mut data = read("data", Form::Base64)?;
                data.extend(read("stringData", Form::Plain)?);
                (data, BTreeMap::new())
            }
        };
        let class = (kind == ConfigKind::Secret).then(|| word("/type").unwrap_or("Opaque").to_owned());
        Ok(Self { kind, name: name.to_owned(), class, data, binary })
    }

    /// SHA-256 of kind, type and content, hexadecimal. The order of keys and a Secret's way to write a value mean nothing.
    pub fn sha256(&self) -> String {
        let whole = json!([self.kind.kind().name(), self.class, pairs(&self.data), pairs(&self.binary)]);
        Sha256::digest(whole.to_string()).iter().fold(String::new(), |mut text, byte| {
            // Writing into a text never fails.
            let _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// What a release keeps of it.
    pub fn at(&self, file: PathBuf) -> ConfigRef {
        ConfigRef { kind: self.kind, name: self.name.clone(), sha256: self.sha256(), file }
    }

    /// Whether it is what a release refers to.
    pub(crate) fn is(&self, asked: &ConfigRef) -> bool {
        self.kind == asked.kind && self.name == asked.name
    }

    /// What it holds, for an object of the API server.
    pub(crate) fn content(&self) -> Map<String, Value> {
        let mut content = Map::from_iter([("immutable".to_owned(), json!(true))]);
        if let Some(class) = &self.class {
            content.insert("type".to_owned(), json!(class));
        }
        for (key, values) in [("data", &self.data), ("binaryData", &self.binary)] {
            if !values.is_empty() {
                let values = values.iter().map(|(key, value)| (key.clone(), json!(value.expose())));
                content.insert(key.to_owned(), Value::Object(values.collect()));
            }
        }
        content
    }

    /// A text without any of a Secret's values, for errors of others.
    pub(crate) fn hushed(&self, text: &str) -> String {
        if self.kind == ConfigKind::ConfigMap {
            return text.to_owned();
        }
        let plain = |value: &str| {
            let bytes = serde_json::from_value::<ByteString>(json!(value)).ok()?;
            String::from_utf8(bytes.0).ok()
        };
        let coded = self.data.values().map(Secret::expose);
        let values = coded.flat_map(|value| [Some(value.to_owned()), plain(value)]).flatten();
        values
            .filter(|value| !value.is_empty())
            .fold(text.to_owned(), |text, value| text.replace(&value, "***"))
    }

    fn what(&self) -> String {
        format!("{} `{}`", self.kind.kind().name(), self.name)
    }
}

fn pairs(values: &BTreeMap<String, Secret>) -> Vec<(&String, &str)> {
    values.iter().map(|(key, value)| (key, value.expose())).collect()
}

/// How values are written.
#[derive(Clone, Copy)]
enum Form {
    /// A text that is kept as one.
    Text,
    /// A text that is kept in base64.
    Plain,
    /// Base64.
    Base64,
}

fn values(
    object: &Value,
    what: &str,
    field: &'static str,
    form: Form,
) -> Result<BTreeMap<String, Secret>, ConfigError> {
    let of = object.get(field).filter(|of| !of.is_null());
    if of.is_some_and(|of| !of.is_object()) {
        return Err(ConfigError::Values { what: what.to_owned(), field });
    }
    let of = of.and_then(Value::as_object);
    let value = |(key, value): (&String, &Value)| {
        let wrong = |why| ConfigError::Value { what: what.to_owned(), field, key: key.clone(), why };
        let text = value.as_str().ok_or_else(|| wrong("is not a text: write it in quotes"))?;
        let kept = match form {
            Form::Text => text.to_owned(),
            Form::Plain => in_base64(ByteString(text.as_bytes().to_vec())),
            Form::Base64 => {
                let lines = text.split_ascii_whitespace().collect::<String>();
                let bytes = serde_json::from_value::<ByteString>(json!(lines));
                in_base64(
                    bytes.map_err(|_| wrong("is not base64: encode it, or use `stringData` of a Secret"))?,
                )
            }
        };
        Ok((key.clone(), Secret::new(kept)))
    };
    of.into_iter().flatten().map(value).collect()
}

fn in_base64(bytes: ByteString) -> String {
    serde_json::to_value(bytes).ok().and_then(|text| Some(text.as_str()?.to_owned())).unwrap_or_default()
}

/// The template with every reference to one of these by its name in the cluster, and what a reader of the plan should know:
/// references to configuration that is no part of the release.
pub fn configured(template: &Value, configs: &[Configuration]) -> Result<(Value, Vec<String>), ConfigError> {
    for (at, config) in configs.iter().enumerate() {
        if configs.iter().take(at).any(|other| (other.kind, &other.name) == (config.kind, &config.name)) {
            return Err(ConfigError::Twice { what: config.what() });
        }
    }
    let mut template = template.clone();
    let mut seen = Vec::new();
    let mut wrong = None;
    references(&mut template, &mut |reference| {
        let found =
            configs.iter().find(|config| config.kind == reference.kind && config.name == *reference.name);
        if let (Some(config), Some(key)) = (found, &reference.key)
            && !config.data.contains_key(key)
            && !config.binary.contains_key(key)
        {
            let known = config.data.keys().chain(config.binary.keys()).cloned().collect();
            let path = reference.path.clone();
            wrong = Some(ConfigError::Key { path, what: config.what(), key: key.clone(), known });
        }
        seen.push((reference.kind, reference.name.clone(), found.is_some()));
        if let Some(config) = found {
            *reference.name = versioned(&config.name, &config.sha256());
        }
    });
    if let Some(wrong) = wrong {
        return Err(wrong);
    }
    let of_kind = |kind: ConfigKind| seen.iter().filter(move |(other, _, _)| *other == kind);
    for config in configs {
        if !of_kind(config.kind).any(|(_, name, _)| *name == config.name) {
            let referred = of_kind(config.kind).map(|(_, name, _)| format!("`{name}`")).collect();
            return Err(ConfigError::Unused { what: config.what(), referred });
        }
    }
    let mut outside: Vec<String> = seen
        .iter()
        .filter(|(_, _, ours)| !ours)
        .map(|(kind, name, _)| {
            format!(
                "{} `{name}` is no part of the release: what changes in it is not turned back",
                kind.kind().name()
            )
        })
        .collect();
    outside.sort();
    outside.dedup();
    Ok((template, outside))
}

/// A reference of a pod template.
struct Reference<'v> {
    kind: ConfigKind,
    name: &'v mut String,
    /// A key that has to be there.
    key: Option<String>,
    path: String,
}

/// Shows every reference to a `ConfigMap` or a Secret.
fn references(template: &mut Value, look: &mut dyn FnMut(Reference<'_>)) {
    const CONFIG: ConfigKind = ConfigKind::ConfigMap;
    const SECRET: ConfigKind = ConfigKind::Secret;
    for list in ["initContainers", "containers"] {
        for (at, container) in items(template, &format!("/spec/{list}")) {
            let container_path = format!("spec.template.spec.{list}[{at}]");
            for (at, variable) in items(container, "/env") {
                for (key, kind) in [("configMapKeyRef", CONFIG), ("secretKeyRef", SECRET)] {
                    let path = format!("{container_path}.env[{at}].valueFrom.{key}");
                    refers(variable.pointer_mut(&format!("/valueFrom/{key}")), "name", kind, path, look);
                }
            }
            for (at, source) in items(container, "/envFrom") {
                for (key, kind) in [("configMapRef", CONFIG), ("secretRef", SECRET)] {
                    let path = format!("{container_path}.envFrom[{at}].{key}");
                    refers(source.get_mut(key), "name", kind, path, look);
                }
            }
        }
    }
    for (at, volume) in items(template, "/spec/volumes") {
        let path = format!("spec.template.spec.volumes[{at}]");
        refers(volume.get_mut("configMap"), "name", CONFIG, format!("{path}.configMap"), look);
        refers(volume.get_mut("secret"), "secretName", SECRET, format!("{path}.secret"), look);
        for (at, source) in items(volume, "/projected/sources") {
            let path = format!("{path}.projected.sources[{at}]");
            refers(source.get_mut("configMap"), "name", CONFIG, format!("{path}.configMap"), look);
            refers(source.get_mut("secret"), "name", SECRET, format!("{path}.secret"), look);
        }
    }
    for (at, secret) in items(template, "/spec/imagePullSecrets") {
        refers(Some(secret), "name", SECRET, format!("spec.template.spec.imagePullSecrets[{at}]"), look);
    }
}

fn items<'v>(of: &'v mut Value, path: &str) -> impl Iterator<Item = (usize, &'v mut Value)> {
    of.pointer_mut(path).and_then(Value::as_array_mut).into_iter().flatten().enumerate()
}

fn refers(
    at: Option<&mut Value>,
    field: &str,
    kind: ConfigKind,
    path: String,
    look: &mut dyn FnMut(Reference<'_>),
) {
    let Some(at) = at.and_then(Value::as_object_mut) else { return };
    let optional = at.get("optional").and_then(Value::as_bool).unwrap_or_default();
    let key = at.get("key").and_then(Value::as_str).filter(|_| !optional).map(str::to_owned);
    if let Some(Value::String(name)) = at.get_mut(field) {
        look(Reference { kind, name, key, path });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(name: &str, data: &Value) -> Configuration {
        let object =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data});
        Configuration::of(&object, "shop").unwrap()
    }

    fn secret(more: &Value) -> Result<Configuration, ConfigError> {
        let mut object = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login"}});
        object.as_object_mut().unwrap().extend(more.as_object().cloned().unwrap());
        Configuration::of(&object, "shop")
    }

    #[test]
    fn every_reference_is_rewritten_to_the_name_with_the_hash_and_the_rest_is_left_and_said() {
        let (config, login) =
            (map("shop", &json!({"A": "1"})), secret(&json!({"stringData": {"p": "w"}})).unwrap());
        let (one, two) = (config.at("a".into()).object(), login.at("b".into()).object());
        assert!(one.starts_with("shop-") && one.len() == 15, "{one}");
        let template = json!({"spec": {
            "imagePullSecrets": [{"name": "login"}],
            "initContainers": [{"envFrom": [{"configMapRef": {"name": "shop"}}, {"secretRef": {"name": "other"}}]}],
            "containers": [{"env": [
                {"name": "A", "valueFrom": {"configMapKeyRef": {"name": "shop", "key": "A"}}},
                {"name": "B", "valueFrom": {"secretKeyRef": {"name": "login", "key": "p"}}},
                {"name": "C", "valueFrom": {"secretKeyRef": {"name": "login", "key": "q", "optional": true}}},
            ]}],
            "volumes": [
                {"name": "a", "configMap": {"name": "shop"}}, {"name": "b", "secret": {"secretName": "login"}},
                {"name": "c", "projected": {"sources": [{"secret": {"name": "login"}}, {"configMap": {"name": "shop"}}]}},
            ],
        }});
        let (written, notes) = configured(&template, &[config, login]).unwrap();
        let text = written.to_string();
        assert_eq!(text.matches(&format!("\"{one}\"")).count(), 4, "{text}");
        assert_eq!(text.matches(&format!("\"{two}\"")).count(), 5, "{text}");
        assert!(!text.contains("\"shop\"") && !text.contains("\"login\""), "{text}");
        assert_eq!(
            notes,
            ["Secret `other` is no part of the release: what changes in it is not turned back"]
        );
    }

    #[test]
    fn a_secrets_hash_is_that_of_its_content_however_it_is_written_and_nothing_shows_its_values() {
        let plain = secret(&json!({"stringData": {"password": "hunter2"}})).unwrap();
        let coded = secret(&json!({"data": {"password": "aHVudGVy\nMg==\n"}, "type": "Opaque"})).unwrap();
        assert_eq!(plain.sha256(), coded.sha256());
        assert_ne!(plain.sha256(), secret(&json!({"data": {"password": "aHVudGVyMw=="}})).unwrap().sha256());
        assert_eq!(Value::Object(plain.content())["data"]["password"], json!("aHVudGVyMg=="));
        let shown = format!("{plain:?} {:?}", plain.at("f".into()));
        assert!(!shown.contains("hunter2") && !shown.contains("aHVudGVyMg"), "{shown}");
        assert_eq!(plain.hushed("bad value hunter2 or aHVudGVyMg=="), "bad value *** or ***");
    }

    #[test]
    fn what_cannot_be_configuration_is_refused_by_key_and_never_by_value() {
        let wrong = |more: &Value| secret(more).unwrap_err().to_string();
        let text = wrong(&json!({"data": {"p": "no base64!"}}));
        assert!(
            text.contains("Secret `login`: `data.p` is not base64") && !text.contains("no base64!"),
            "{text}"
        );
        assert!(
            wrong(&json!({"stringData": {"p": 7}}))
                .contains("`stringData.p` is not a text: write it in quotes")
        );
        assert!(
            wrong(&json!({"kind": "Deployment", "apiVersion": "apps/v1"}))
                .contains("found Deployment (apps/v1)")
        );
        assert!(wrong(&json!({"metadata": {}})).contains("Secret without a name"));
        assert!(wrong(&json!({"metadata": {"name": "a".repeat(243)}})).contains("may have 242 characters"));
        assert!(
            wrong(&json!({"metadata": {"name": "a", "namespace": "b"}})).contains("the release is in `shop`")
        );
        let template = json!({"spec": {"containers": [
            {"env": [{"name": "A", "valueFrom": {"configMapKeyRef": {"name": "shop", "key": "B"}}}]},
        ]}});
        let of = |configs: &[Configuration]| configured(&template, configs).unwrap_err().to_string();
        let text = of(&[map("shp", &json!({}))]);
        assert!(text.contains("refers to ConfigMap `shp` (it refers to `shop`)"), "{text}");
        let text = of(&[map("shop", &json!({"A": "1"}))]);
        assert!(
            text.contains("spec.template.spec.containers[0].env[0].valueFrom.configMapKeyRef asks"),
            "{text}"
        );
        assert!(text.contains("for `B`, and it has A"), "{text}");
        assert!(of(&[map("shop", &json!({})), map("shop", &json!({}))]).contains("there twice"));
    }
}
