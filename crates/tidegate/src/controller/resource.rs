//! The custom resource: its definition, and the words that annotate one.

use serde_json::{Value, json};

use crate::config::structural;

/// The API group.
pub(crate) const GROUP: &str = "tidegate.dev";
/// The plural, as paths and roles have it.
pub(crate) const PLURAL: &str = "rollouts";

/// A release's objects are called after the Rollout, with a tag of 23 characters behind, and names of Services have 63.
const NAME_PATTERN: &str = "^[a-z][a-z0-9-]{0,38}$";

/// The `CustomResourceDefinition`, generated from the table of fields of `tidegate.yaml`.
pub(crate) fn definition() -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{PLURAL}.{GROUP}")},
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": "Rollout",
                "listKind": "RolloutList",
                "plural": PLURAL,
                "singular": "rollout",
                "shortNames": ["tgr"],
                "categories": ["all"],
            },
            "versions": [{
                "name": "v1",
                "served": true,
                "storage": true,
                "subresources": {"status": {}},
                "additionalPrinterColumns": columns(),
                "schema": {"openAPIV3Schema": schema()},
            }],
        },
    })
}

fn columns() -> Value {
    json!([
        {"name": "State", "type": "string", "jsonPath": ".status.state"},
        {"name": "Stage", "type": "string", "jsonPath": ".status.stage"},
        {"name": "Share", "type": "string", "jsonPath": ".status.share"},
        {"name": "Release", "type": "string", "jsonPath": ".status.release"},
        {"name": "Message", "type": "string", "jsonPath": ".status.message", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
    ])
}

fn schema() -> Value {
    json!({
        "type": "object",
        "description": "A service that Tidegate rolls out: what is to run, how it takes over, and what has to hold at every step.",
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural::rollout_spec(),
            "status": status(),
        },
        "x-kubernetes-validations": [{
            "rule": format!("self.metadata.name.matches('{NAME_PATTERN}')"),
            "message": "the name is also that of the service: small letters, digits and `-`, a letter first, at most 39 characters",
        }],
    })
}

fn status() -> Value {
    let text = |doc: &str| json!({"type": "string", "description": doc});
    let number = |doc: &str| json!({"type": "integer", "format": "int64", "description": doc});
    json!({
        "type": "object",
        "description": "How far it is; written by Tidegate alone.",
        "properties": {
            "observedGeneration": number("The generation of the spec that this is about."),
            "owner": text("Which Tidegate looks after it."),
            "epoch": number("The epoch of the leader that wrote this."),
            "request": text("What was asked of the engine for this generation."),
            "state": text("The deployment's state, or `refused`."),
            "deployment": text("The deployment's id."),
            "release": text("The tag of the release that is rolled out."),
            "stable": text("The tag of the release that traffic returns to."),
            "stage": text("The stage, and how many there are."),
            "share": text("The new release's share of the traffic."),
            "message": text("What it waits for and until when, or why it ended."),
            "transitions": number("Changes of state so far."),
            "requests": {
                "type": "object",
                "description": "What was asked by annotation, and what came of it; by verb.",
                "maxProperties": 16,
                "additionalProperties": {
                    "type": "object",
                    "required": ["id"],
                    "properties": {
                        "id": text("The annotation's value: each is heard once."),
                        "answer": text("What came of it."),
                    },
                },
            },
            "conditions": {
                "type": "array",
                "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["type"],
                "items": {
                    "type": "object",
                    "required": ["type", "status", "reason", "message", "lastTransitionTime"],
                    "properties": {
                        "type": {"type": "string", "maxLength": 316},
                        "status": {"type": "string", "enum": ["True", "False", "Unknown"]},
                        "reason": {"type": "string", "maxLength": 1024, "minLength": 1},
                        "message": {"type": "string", "maxLength": 32768},
                        "lastTransitionTime": {"type": "string", "format": "date-time"},
                        "observedGeneration": {"type": "integer", "format": "int64", "minimum": 0},
                    },
                },
            },
        },
    })
}
