//! A value of a manifest that knows where it stands.

use tidegate_yaml::{
    finding::{Place, shown},
    tree::{Content, Node},
};

/// A value, its path and its place.
#[derive(Clone, Debug)]
pub(crate) struct Field<'a> {
    pub(crate) node: &'a Node,
    pub(crate) file: &'a str,
    /// `spec.strategy.canary.steps[1].pause`; empty for the document.
    pub(crate) path: String,
    /// Its own place, or that of its key where it spans lines.
    pub(crate) place: Place,
}

impl<'a> Field<'a> {
    pub(crate) fn root(file: &'a str, node: &'a Node) -> Self {
        let place = match &node.content {
            Content::Map(entries) => entries.first().map_or(node.place, |(key, _)| key.place),
            Content::List(_) | Content::Scalar(_) => node.place,
        };
        Self { node, file, path: String::new(), place }
    }

    /// The value of a key; nothing when it is not written, or written as null.
    pub(crate) fn get(&self, key: &str) -> Option<Self> {
        let Content::Map(entries) = &self.node.content else { return None };
        let (key, node) = entries.iter().find(|(found, _)| found.text == key)?;
        let field = self.child(&key.text, key.place, node);
        (!field.is_null()).then_some(field)
    }

    /// The value behind several keys: `spec.strategy.canary`.
    pub(crate) fn at(&self, path: &str) -> Option<Self> {
        path.split('.').try_fold(self.clone(), |field, key| field.get(key))
    }

    /// All keys with their values, null or not.
    pub(crate) fn entries(&self) -> Vec<(&'a str, Self)> {
        let Content::Map(entries) = &self.node.content else { return Vec::new() };
        entries
            .iter()
            .map(|(key, node)| (key.text.as_str(), self.child(&key.text, key.place, node)))
            .collect()
    }

    /// The items of a list; none of anything else.
    pub(crate) fn items(&self) -> Vec<Self> {
        let Content::List(items) = &self.node.content else { return Vec::new() };
        let item = |(index, node): (usize, &'a Node)| {
            let path = format!("{}[{index}]", self.path);
            let first = Self::root(self.file, node);
            Self { path, ..first }
        };
        items.iter().enumerate().map(item).collect()
    }

    fn child(&self, key: &str, key_place: Place, node: &'a Node) -> Self {
        let dot = if self.path.is_empty() { "" } else { "." };
        let path = format!("{}{dot}{}", self.path, shown(key));
        let own = matches!(&node.content, Content::Scalar(_)) && node.place.length > 0;
        Self { node, file: self.file, path, place: if own { node.place } else { key_place } }
    }

    /// The text of a scalar, however it was quoted.
    pub(crate) fn text(&self) -> Option<&'a str> {
        match &self.node.content {
            Content::Scalar(scalar) => Some(scalar.text.as_str()),
            Content::List(_) | Content::Map(_) => None,
        }
    }

    /// The text behind a path, where there is one that is not empty.
    pub(crate) fn text_at(&self, path: &str) -> Option<&'a str> {
        self.at(path)?.text().filter(|text| !text.is_empty())
    }

    pub(crate) fn whole(&self) -> Option<i64> {
        self.text()?.trim().parse().ok()
    }

    pub(crate) fn truth(&self) -> Option<bool> {
        match self.text()? {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    pub(crate) fn is_null(&self) -> bool {
        matches!(&self.node.content, Content::Scalar(scalar) if scalar.is_null())
    }

    pub(crate) fn is_list(&self) -> bool {
        matches!(&self.node.content, Content::List(_))
    }

    pub(crate) fn is_map(&self) -> bool {
        matches!(&self.node.content, Content::Map(_))
    }

    /// Whether it is a scalar without quotes.
    pub(crate) fn is_plain(&self) -> bool {
        matches!(&self.node.content, Content::Scalar(scalar) if scalar.plain)
    }

    /// What it is, in words, for messages.
    pub(crate) fn found(&self) -> String {
        match &self.node.content {
            Content::Scalar(scalar) => format!("`{}`", shown(&scalar.text)),
            Content::List(_) => "a list".to_owned(),
            Content::Map(_) => "keys".to_owned(),
        }
    }
}
