//! Walks a tree along the table of fields: everything wrong is reported, everything right comes out in its normal form,
//! with defaults filled in.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::{
    complaint,
    finding::{Code, Complaint, Findings, Place, Places, shown},
    scalar, suggest,
    table::{Absent, Block, Field, Form, Kind, Word},
    tree::{self, Content, Key, Node},
};

/// What is read so far.
pub(super) struct Reader<'a> {
    findings: &'a mut Findings,
    places: Places,
    /// What the whole file is.
    root: Option<&'static Block>,
}

/// The normal form of `node` as `kind`, as far as it is right, and where its values stand.
pub(super) fn read(node: &Node, kind: &Kind, findings: &mut Findings) -> (Option<Value>, Places) {
    let root = if let Kind::Block(root) = kind { Some(*root) } else { None };
    let mut reader = Reader { findings, places: Places::default(), root };
    let first = match &node.content {
        Content::Map(entries) => entries.first().map(|(key, _)| key.place),
        Content::Scalar(_) | Content::List(_) => None,
    };
    let value = reader.node(node, kind, &At { path: String::new(), key: first.unwrap_or(node.place) });
    (value, reader.places)
}

/// The normal form of a default value of the table; `None` when the table itself is wrong, which a test rules out.
pub(super) fn default_value(yaml: &str, kind: &Kind) -> Option<Value> {
    let mut findings = Findings::new("");
    let node = tree::grow(yaml, &mut findings)?;
    read(&node, kind, &mut findings).0.filter(|_| findings.is_empty())
}

/// A default value of the table as JSON, in the units that people write; `None` when the table itself is wrong.
pub(super) fn default_as_written(yaml: &str) -> Option<Value> {
    let mut findings = Findings::new("");
    tree::grow(yaml, &mut findings).map(|node| as_written(&node)).filter(|_| findings.is_empty())
}

/// A tree as JSON by YAML's core schema.
pub(super) fn as_written(node: &Node) -> Value {
    match &node.content {
        Content::Scalar(text) => match scalar::Looks::like(text) {
            scalar::Looks::Nothing => Value::Null,
            scalar::Looks::Truth => Value::Bool(text.text.eq_ignore_ascii_case("true")),
            scalar::Looks::Number => {
                serde_json::from_str(&text.text).unwrap_or_else(|_| Value::String(text.text.clone()))
            }
            scalar::Looks::Text => Value::String(text.text.clone()),
        },
        Content::List(items) => Value::Array(items.iter().map(as_written).collect()),
        Content::Map(entries) => {
            Value::Object(entries.iter().map(|(key, node)| (key.text.clone(), as_written(node))).collect())
        }
    }
}

/// Which value is being read.
struct At {
    path: String,
    /// Where its key stands, for values that are empty or span many lines.
    key: Place,
}

impl At {
    fn key(&self, key: &str, place: Place) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        Self { path: format!("{}{dot}{}", self.path, shown(key)), key: place }
    }

    fn item(&self, index: usize, place: Place) -> Self {
        Self { path: format!("{}[{index}]", self.path), key: place }
    }
}

type Entries = [(Key, Node)];

impl Reader<'_> {
    fn add(&mut self, place: Place, at: &At, complaint: Complaint) {
        self.findings.add(place, &at.path, complaint);
    }

    fn node(&mut self, node: &Node, kind: &Kind, at: &At) -> Option<Value> {
        if self.findings.is_full() {
            return None;
        }
        let place = best_place(node, at);
        self.places.set(&at.path, place);
        match kind {
            Kind::Or { word, nothing, other } => self.or(node, word, *nothing, other, at),
            Kind::Block(block) => self.entries(node, kind, at).map(|entries| self.block(entries, block, at)),
            Kind::Short { key, block } => self.short(node, kind, key, block, at),
            Kind::List { of, min, max } => self.list(node, kind, of, (*min, *max), at),
            Kind::OneOrMany { of, max } => match &node.content {
                Content::List(_) => self.list(node, kind, of, (1, *max), at),
                Content::Scalar(_) | Content::Map(_) => {
                    self.node(node, of, at).map(|value| Value::Array(vec![value]))
                }
            },
            Kind::Map { key, of, min, max } => self.map(node, kind, (*key, of), (*min, *max), at),
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
            | Kind::Batch { .. } => self.scalar(node, kind, at),
        }
    }

    fn scalar(&mut self, node: &Node, kind: &Kind, at: &At) -> Option<Value> {
        let Content::Scalar(text) = &node.content else {
            self.wrong_type(node, kind, at);
            return None;
        };
        match scalar::read(text, kind) {
            Ok(value) => Some(value),
            Err(complaint) => {
                self.add(best_place(node, at), at, complaint);
                None
            }
        }
    }

    fn wrong_type(&mut self, node: &Node, kind: &Kind, at: &At) {
        let complaint = complaint::wrong_type(node, kind);
        self.add(best_place(node, at), at, complaint);
    }

    fn or(&mut self, node: &Node, word: &Word, nothing: bool, other: &Kind, at: &At) -> Option<Value> {
        let Content::Scalar(text) = &node.content else { return self.node(node, other, at) };
        if text.text == word.word {
            return Some(if nothing { Value::Null } else { Value::String(word.word.to_owned()) });
        }
        if word.word == "off" && text.plain && matches!(text.text.as_str(), "false" | "no" | "none" | "never")
        {
            let both = Kind::Or { word: *word, nothing, other: &OTHER };
            let complaint = scalar::mismatch(text, &both).help("write `off`");
            self.add(best_place(node, at), at, complaint);
            return None;
        }
        if other.below().is_some() {
            let complaint = Complaint::new(
                Code::WrongType,
                format!(
                    "expected `{}` or {}, found {}",
                    word.word,
                    scalar::expected(other),
                    scalar::found(text)
                ),
            );
            let near = suggest::nearest(&text.text, std::iter::once(word.word));
            let complaint = match near {
                Some(near) => complaint.help(format!("did you mean `{near}`?")),
                None => complaint,
            };
            self.add(best_place(node, at), at, complaint);
            return None;
        }
        self.node(node, other, at)
    }

    fn short(
        &mut self,
        node: &Node,
        kind: &Kind,
        key: &str,
        block: &'static Block,
        at: &At,
    ) -> Option<Value> {
        match &node.content {
            Content::Map(entries) => Some(self.block(entries, block, at)),
            Content::List(_) => {
                self.wrong_type(node, kind, at);
                None
            }
            Content::Scalar(_) => {
                let name = Key { text: key.to_owned(), place: node.place };
                Some(self.block(&[(name, node.clone())], block, at))
            }
        }
    }

    fn entries<'n>(&mut self, node: &'n Node, kind: &Kind, at: &At) -> Option<&'n Entries> {
        match &node.content {
            Content::Map(entries) => Some(entries),
            Content::Scalar(_) | Content::List(_) => {
                self.wrong_type(node, kind, at);
                None
            }
        }
    }

    fn list(
        &mut self,
        node: &Node,
        kind: &Kind,
        of: &Kind,
        (min, max): (usize, usize),
        at: &At,
    ) -> Option<Value> {
        let Content::List(items) = &node.content else {
            self.wrong_type(node, kind, at);
            return None;
        };
        self.count(items.len(), (min, max), "item", at);
        let read = |(index, item): (usize, &Node)| {
            self.node(item, of, &at.item(index, item.place)).unwrap_or(Value::Null)
        };
        // A wrong item leaves a gap, so that the others keep their number.
        let values = items.iter().take(max).enumerate().map(read).collect();
        Some(Value::Array(values))
    }

    fn count(&mut self, count: usize, (min, max): (usize, usize), what: &str, at: &At) {
        let (word, bound) = if count < min {
            ("least", min)
        } else if count > max {
            ("most", max)
        } else {
            return;
        };
        let many = if bound == 1 { "" } else { "s" };
        let message = format!("expected at {word} {bound} {what}{many}, found {count}");
        let complaint = Complaint::new(Code::OutOfRange, message);
        self.add(at.key, at, complaint);
    }

    fn map(
        &mut self,
        node: &Node,
        kind: &Kind,
        (form, of): (Form, &Kind),
        bounds: (usize, usize),
        at: &At,
    ) -> Option<Value> {
        let entries = self.entries(node, kind, at)?;
        self.count(entries.len(), bounds, "name", at);
        let mut out = Map::new();
        for (key, value) in entries.iter().take(bounds.1) {
            let inner = at.key(&key.text, key.place);
            if let Err(complaint) = form.check(&key.text) {
                self.add(key.place, &inner, complaint);
            }
            if let Some(value) = self.node(value, of, &inner) {
                out.insert(key.text.clone(), value);
            }
        }
        Some(Value::Object(out))
    }

    fn block(&mut self, entries: &Entries, block: &'static Block, at: &At) -> Value {
        let given: BTreeMap<&str, &(Key, Node)> =
            entries.iter().map(|entry| (entry.0.text.as_str(), entry)).collect();
        for (key, value) in entries {
            if block.field(&key.text).is_none() {
                self.unknown(key, value, block, &given, at);
            }
        }
        let chosen = self.choose(block, entries, at);
        let mut out = Map::new();
        for field in block.fields {
            let value = match given.get(field.key) {
                Some((key, node)) => {
                    self.check_beside(field, &given, key, at);
                    self.node(node, &field.kind, &at.key(&key.text, key.place))
                }
                None if block.chooses(field.key) => {
                    (chosen == Some(field.key)).then(|| written_default(field)).flatten()
                }
                None => self.absent(field, &given, at),
            };
            if let Some(value) = value {
                out.insert(format!("{}{}", field.key, field.kind.unit()), value);
            }
        }
        Value::Object(out)
    }

    /// Reports a choice not made or made twice; the answer is the member that is filled with its default.
    fn choose(&mut self, block: &'static Block, entries: &Entries, at: &At) -> Option<&'static str> {
        let choice = block.choice.as_ref()?;
        let mut taken =
            entries.iter().map(|(key, _)| key).filter(|key| choice.keys.contains(&key.text.as_str()));
        let Some(first) = taken.next() else {
            if choice.otherwise.is_none() {
                let complaint = Complaint::new(
                    Code::MissingKey,
                    format!("expected {}", complaint::alternatives(choice.keys)),
                );
                self.add(at.key, at, complaint);
            }
            return choice.otherwise;
        };
        for other in taken {
            let message = format!("`{}` and `{}` exclude each other", first.text, other.text);
            let complaint = Complaint::new(Code::Conflict, message).help("keep one of the two");
            self.add(other.place, &at.key(&other.text, other.place), complaint);
        }
        None
    }

    fn check_beside(&mut self, field: &Field, given: &BTreeMap<&str, &(Key, Node)>, key: &Key, at: &At) {
        if is_beside(field, given) {
            return;
        }
        let complaint = complaint::alone(field, given.contains_key("container"));
        let inner = at.key(&key.text, key.place);
        self.add(key.place, &inner, complaint);
    }

    fn absent(&mut self, field: &Field, given: &BTreeMap<&str, &(Key, Node)>, at: &At) -> Option<Value> {
        match field.absent {
            Absent::Required => {
                let complaint = complaint::missing(field);
                self.add(at.key, at, complaint);
                None
            }
            Absent::Default(_) if is_beside(field, given) => written_default(field),
            Absent::Default(_) | Absent::Means(_) => None,
        }
    }

    fn unknown(
        &mut self,
        key: &Key,
        value: &Node,
        block: &'static Block,
        given: &BTreeMap<&str, &(Key, Node)>,
        at: &At,
    ) {
        let inner = at.key(&key.text, key.place);
        let unused = block.fields.iter().map(|field| field.key).filter(|key| !given.contains_key(key));
        let complaint = complaint::unknown(&key.text, &at.path, block, unused, self.root);
        self.places.set(&inner.path, best_place(value, &inner));
        self.add(key.place, &inner, complaint);
    }
}

/// Stands for "another kind" where the message only needs the word.
static OTHER: Kind = Kind::Text(Form::Any);

fn is_beside(field: &Field, given: &BTreeMap<&str, &(Key, Node)>) -> bool {
    field.beside.is_empty() || field.beside.iter().any(|key| given.contains_key(key))
}

fn written_default(field: &Field) -> Option<Value> {
    match field.absent {
        Absent::Default(yaml) => default_value(yaml, &field.kind),
        Absent::Required | Absent::Means(_) => None,
    }
}

/// The value's own place, or its key's when the value is empty or a block over many lines.
fn best_place(node: &Node, at: &At) -> Place {
    match &node.content {
        Content::Scalar(_) if node.place.length > 0 => node.place,
        Content::Scalar(_) | Content::List(_) | Content::Map(_) => at.key,
    }
}
