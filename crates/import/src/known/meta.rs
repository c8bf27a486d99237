//! The fields of any object's `metadata`, and of what selects by it.

use super::{
    Known,
    Shape::{Free, List, Text, Texts, Time, Words},
    known,
};

pub(super) const METADATA: &[Known] = &[
    known("name", Text),
    known("generateName", Text),
    known("namespace", Text),
    known("labels", Words),
    known("annotations", Words),
    known("finalizers", Texts),
    known("ownerReferences", Free),
    // What a cluster writes, and stands in what was read from one.
    known("creationTimestamp", Time),
    known("deletionGracePeriodSeconds", Free),
    known("deletionTimestamp", Time),
    known("generation", Free),
    known("managedFields", Free),
    known("resourceVersion", Text),
    known("selfLink", Text),
    known("uid", Text),
];

pub(super) const SELECTOR: &[Known] = &[
    known("matchLabels", Words),
    known("matchExpressions", List(&[known("key", Text), known("operator", Text), known("values", Texts)])),
];

/// Labels and annotations of what a tool makes.
pub(super) const MARKS: &[Known] = &[known("labels", Words), known("annotations", Words)];
