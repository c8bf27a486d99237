//! Manifests of Argo Rollouts and Flagger, read and said in Tidegate's words.
//!
//! [`import`] makes a `tidegate.yaml` and Deployments of them, and lists every difference of meaning. [`check()`] accepts and
//! rejects them as Argo's own linter does. Both are pure: trees in, texts and findings out; reading and writing files is left
//! to the caller.

mod analysis;
mod blue_green;
mod canary;
mod check;
mod condition;
mod difference;
mod duration;
mod field;
mod flagger;
mod form;
mod gate;
mod header;
mod known;
mod manifest;
mod member;
mod moment;
mod objects;
mod out;
mod provider;
mod rollout;
mod service;
mod strategy;
mod testers;
mod traffic;

use tidegate_yaml::tree::Node;

pub use check::check;
pub use difference::{Difference, Level};
use objects::Objects;

/// Documents of one file.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file, as it was named.
    pub file: String,
    /// What is in it, in order.
    pub documents: Vec<Node>,
}

/// How to import.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Keep the other tool's analysis as it is, instead of asking the way Tidegate does.
    pub compat: bool,
    /// The Prometheus that metrics ask which name none.
    pub prometheus: Option<String>,
}

/// A file to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its name, without a directory.
    pub name: String,
    /// What stands in it.
    pub text: String,
}

/// What an import made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// The files, `tidegate.yaml` first; none when nothing could be imported.
    pub files: Vec<Written>,
    /// The services, by name.
    pub services: Vec<String>,
    /// Every difference of meaning, in the order of the files.
    pub differences: Vec<Difference>,
}

/// Whether a document is one that [`import`] makes a service of, or that belongs to one.
pub fn recognises(document: &Node) -> bool {
    objects::kind_of(document).is_some_and(objects::is_foreign)
}

/// The kind of an object that is read by nobody here, when a document is one: `Service`.
pub fn stranger(document: &Node) -> Option<&str> {
    objects::kind_of(document).filter(|kind| !objects::is_foreign(*kind)).map(|(kind, _)| kind)
}

/// The kinds that [`recognises`] takes, for people.
pub fn kinds() -> String {
    objects::kinds()
}

/// `Rollout shop`, for a document that [`recognises`] takes.
pub fn name_of(document: &Node) -> Option<String> {
    let (kind, _) = objects::kind_of(document).filter(|kind| objects::is_foreign(*kind))?;
    let name = field::Field::root("", document).text_at("metadata.name").unwrap_or_default();
    Some(format!("{kind} {}", tidegate_yaml::finding::shown(name)))
}

/// Images of these manifests that are named by a tag: their own tools take them, and a release of ours needs a digest.
pub fn tags(sources: &[Source]) -> Vec<Difference> {
    let objects = Objects::of(sources);
    let mut report = difference::Report::default();
    for kind in ["Rollout", "Deployment"] {
        for template in objects.of_kind(kind).filter_map(|object| object.field.at("spec.template")) {
            manifest::say_images(&template, &mut report);
        }
    }
    report.sorted()
}

/// Says the Rollouts and Canaries of these files in Tidegate's words.
pub fn import(sources: &[Source], options: &Options) -> Imported {
    let objects = Objects::of(sources);
    let mut report = difference::Report::default();
    objects.say_left_out(&mut report);
    let mut drafts = Vec::new();
    for object in objects.of_kind("Rollout") {
        drafts.extend(rollout::draft(object, &objects, options, &mut report));
    }
    for object in objects.of_kind("Canary") {
        drafts.extend(flagger::draft(object, &objects, options, &mut report));
    }
    if drafts.is_empty() {
        if objects.of_kind("Rollout").chain(objects.of_kind("Canary")).next().is_none() {
            report.nothing(sources);
        }
        return Imported { differences: report.sorted(), ..Imported::default() };
    }
    service::distinct(&mut drafts);
    let differences = report.sorted();
    let services = drafts.iter().map(|draft| draft.name.clone()).collect();
    Imported { files: service::files(&drafts, &differences, options), services, differences }
}
