//! An object of which there may be ten thousands: as text, and beside it what is looked for among all of them.
//!
//! A tree of JSON values takes ten times its text, most of it empty room in its maps; a rollout reads an object a few dozen
//! times, in microseconds each.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{MAKES_PODS, Workload};
use crate::{
    kinds::Kind,
    manifest::{MANAGED_BY, label},
    spec::SERVICE,
};

/// An object as text. Cheap to clone, so that nobody reads it while others wait for what is known. Equal is the very same version
/// of an object; each has a text of its own.
#[derive(Clone)]
pub(super) struct Text(Arc<str>);

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}

impl Text {
    /// The object.
    pub(super) fn object(&self) -> Arc<Value> {
        Arc::new(serde_json::from_str(&self.0).unwrap_or_default())
    }
}

/// What is kept of one object.
pub(super) struct Kept {
    text: Text,
    uid: Box<str>,
    /// Versions are numbers that rise, where they are numbers.
    version: Option<u128>,
    /// Of what makes pods only.
    maker: Option<Box<Maker>>,
}

/// What a Deployment or a `ReplicaSet` is found by and asked for most.
struct Maker {
    workload: Workload,
    /// The service whose release it is, where it is one of ours.
    service: Option<Box<str>>,
    /// The labels of its pods.
    labels: Box<[(Box<str>, Box<str>)]>,
}

impl Kept {
    /// Keeps an object.
    pub(super) fn of(kind: Kind, object: &Value) -> Self {
        let metadata = |key: &str| {
            let metadata = object.get("metadata");
            metadata.and_then(|metadata| metadata.get(key)).and_then(Value::as_str).unwrap_or_default()
        };
        Self {
            text: Text(object.to_string().into()),
            uid: metadata("uid").into(),
            version: metadata("resourceVersion").parse().ok(),
            maker: MAKES_PODS.contains(&kind).then(|| Box::new(Maker::of(object))),
        }
    }

    /// The object's text.
    pub(super) fn text(&self) -> Text {
        self.text.clone()
    }

    /// Whether this is an earlier version of the same object than another.
    pub(super) fn is_older(&self, than: &Self) -> bool {
        self.uid == than.uid && self.version.zip(than.version).is_some_and(|(one, other)| one < other)
    }

    /// The numbers of pods; of what makes none, none.
    pub(super) fn workload(&self) -> Workload {
        self.maker.as_ref().map(|maker| maker.workload.clone()).unwrap_or_default()
    }

    /// Whether it is a Deployment of ours of this service.
    pub(super) fn is_release_of(&self, service: &str) -> bool {
        self.maker.as_ref().is_some_and(|maker| maker.service.as_deref() == Some(service))
    }

    /// Whether it is a Deployment that has pods which this selector finds.
    pub(super) fn is_reached_by(&self, selector: &Map<String, Value>) -> bool {
        self.maker.as_ref().is_some_and(|maker| {
            let has = |(key, value): (&String, &Value)| {
                maker.labels.iter().any(|(name, label)| **name == **key && value.as_str() == Some(&**label))
            };
            maker.workload.present > 0 && selector.iter().all(has)
        })
    }
}

impl Maker {
    fn of(object: &Value) -> Self {
        let labels = object.pointer("/spec/template/metadata/labels").and_then(Value::as_object);
        let ours = label(object, MANAGED_BY) == Some("tidegate");
        Self {
            workload: Workload::of(object),
            service: label(object, SERVICE).filter(|_| ours).map(Into::into),
            labels: labels
                .into_iter()
                .flatten()
                .map(|(key, value)| (key.as_str().into(), value.as_str().unwrap_or_default().into()))
                .collect(),
        }
    }
}
