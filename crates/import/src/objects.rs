//! The objects of all files, by kind and name.

use tidegate_yaml::tree::{Content, Node};

use crate::{Source, difference::Report, field::Field};

/// Kinds of Argo Rollouts.
const ARGO: [&str; 3] = ["Rollout", "AnalysisTemplate", "ClusterAnalysisTemplate"];
/// Kinds of Flagger.
const FLAGGER: [&str; 2] = ["Canary", "MetricTemplate"];
/// Kinds that are looked at when they are there.
const BESIDE: [&str; 6] =
    ["Deployment", "Service", "Ingress", "VirtualService", "DestinationRule", "HTTPRoute"];

/// An object of Kubernetes.
#[derive(Clone, Debug)]
pub(crate) struct Object<'a> {
    pub(crate) field: Field<'a>,
    pub(crate) kind: &'a str,
    /// `apiVersion`.
    pub(crate) version: &'a str,
    pub(crate) name: &'a str,
    /// Empty when it says none.
    pub(crate) namespace: &'a str,
}

/// Everything that was handed in.
#[derive(Debug)]
pub(crate) struct Objects<'a> {
    all: Vec<Object<'a>>,
}

/// The kind of a document with the group of its API: `Rollout` of `argoproj.io`.
pub(crate) fn kind_of(document: &Node) -> Option<(&str, &str)> {
    let Content::Map(entries) = &document.content else { return None };
    let of = |key: &str| {
        entries.iter().find(|(found, _)| found.text == key).and_then(|(_, node)| match &node.content {
            Content::Scalar(scalar) => Some(scalar.text.as_str()),
            Content::List(_) | Content::Map(_) => None,
        })
    };
    let version = of("apiVersion")?;
    Some((of("kind")?, version.split_once('/').map_or("", |(group, _)| group)))
}

/// Whether it is a kind of the tools that are imported from.
pub(crate) fn is_foreign((kind, group): (&str, &str)) -> bool {
    (group == "argoproj.io" && ARGO.contains(&kind)) || (group == "flagger.app" && FLAGGER.contains(&kind))
}

/// Those kinds, for people.
pub(crate) fn kinds() -> String {
    format!("{} of argoproj.io, {} of flagger.app", ARGO.join(", "), FLAGGER.join(", "))
}

impl<'a> Objects<'a> {
    pub(crate) fn of(sources: &'a [Source]) -> Self {
        let of_source = |source: &'a Source| {
            source.documents.iter().flat_map(|node| parts(Field::root(&source.file, node))).map(object)
        };
        Self { all: sources.iter().flat_map(of_source).collect() }
    }

    pub(crate) fn of_kind(&self, kind: &str) -> impl Iterator<Item = &Object<'a>> {
        self.all.iter().filter(move |object| object.kind == kind && object.is_of_its_group())
    }

    /// The object of this kind and name in a namespace; one that says no namespace is in all of them.
    pub(crate) fn named(&self, kind: &str, name: &str, namespace: &str) -> Option<&Object<'a>> {
        let near = |one: &&Object<'a>| {
            one.namespace == namespace || one.namespace.is_empty() || namespace.is_empty()
        };
        self.of_kind(kind).filter(|object| object.name == name).find(near)
    }

    /// Says which objects nothing is made of.
    pub(crate) fn say_left_out(&self, report: &mut Report) {
        for object in &self.all {
            let known = ARGO.iter().chain(&FLAGGER).chain(&BESIDE).any(|kind| *kind == object.kind);
            if !known {
                let kind = if object.kind.is_empty() { "a document without a kind" } else { object.kind };
                report.note(
                    &object.field,
                    format!("{kind} `{}`", object.name),
                    "left as it is: keep applying it yourself",
                );
            }
        }
    }
}

impl Object<'_> {
    /// Others have a `Rollout` and a `Service`, too.
    fn is_of_its_group(&self) -> bool {
        let group = self.version.split_once('/').map_or("", |(group, _)| group);
        if ARGO.contains(&self.kind) || FLAGGER.contains(&self.kind) {
            return is_foreign((self.kind, group));
        }
        self.kind != "Service" || group.is_empty()
    }
}

/// A List's items, or the document itself.
fn parts(root: Field<'_>) -> Vec<Field<'_>> {
    match root.get("items") {
        Some(items) if root.text_at("kind") == Some("List") => items.items(),
        _ => vec![root],
    }
}

fn object(field: Field<'_>) -> Object<'_> {
    Object {
        kind: field.text_at("kind").unwrap_or_default(),
        version: field.text_at("apiVersion").unwrap_or_default(),
        name: field.text_at("metadata.name").unwrap_or_default(),
        namespace: field.text_at("metadata.namespace").unwrap_or_default(),
        field,
    }
}
