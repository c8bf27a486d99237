//! The `spec` of a Rollout: the same words, without those that reach into the machine.

use serde_json::{Value, json};

use super::super::{
    fields,
    rollout::{RolloutSpec, dropped, is_usable, rollout, spec_fields},
    schema,
    structural::rollout_spec,
};

fn read(more: &Value) -> Result<RolloutSpec, String> {
    let mut spec = json!({"service": "shop", "template": {}});
    for (key, value) in more.as_object().unwrap() {
        spec[key] = value.clone();
    }
    rollout("team-a", "shop", Some("/etc/config"), &spec)
}

#[test]
fn a_rollout_is_a_service_of_the_file_with_the_namespace_and_the_cluster_of_its_own() {
    let steps = json!(["5%", {"share": "50%", "bake": "2m"}]);
    let strategy = json!({"canary": {"steps": steps}});
    // As programs that read YAML by its older version hand it on.
    let gates = json!({"error_rate": false});
    let read = read(&json!({"replicas": 4, "strategy": strategy, "gates": gates, "watch": "1m"})).unwrap();
    assert_eq!(read.kubernetes.namespace, "team-a");
    assert_eq!(read.kubernetes.kubeconfig.as_deref(), Some("/etc/config"));
    assert_eq!((read.kubernetes.replicas, read.service.watch_ms), (4, 60_000));
    assert!(read.service.gates.error_rate.is_none());
}

#[test]
fn every_mistake_is_named_in_the_words_of_the_rollout() {
    let secret = json!({"bearer": {"file": "/var/run/secrets/token"}});
    let asked = |more: &Value| {
        let mut prometheus = json!({"address": "http://p:9090", "query": "up"});
        for (key, value) in more.as_object().unwrap() {
            prometheus[key] = value.clone();
        }
        json!({"metrics": {"m": {"prometheus": prometheus}}})
    };
    for (more, words) in [
        (json!({"replcas": 4}), "spec.replcas: a Rollout has no such field; did you mean `replicas`?"),
        (json!({"environment": "x"}), "spec.environment: a Rollout has no such field"),
        (json!({"replicas": 0}), "spec.replicas: "),
        (json!({"strategy": {"canary": {"stesp": []}}}), "did you mean `steps`?"),
        (
            json!({"workload": {"deployment": "x"}}),
            "spec.workload: `template` and `workload` exclude each other",
        ),
        (asked(&json!({"auth": secret})), "spec.metrics.m.prometheus.auth: a Rollout cannot use it"),
        (asked(&json!({"ca": "/etc/ca"})), "spec.metrics.m.prometheus.ca: a Rollout cannot use it"),
        (asked(&json!({"client": {}})), "spec.metrics.m.prometheus.client: a Rollout cannot use it"),
        (
            json!({"metrics": {"m": {"command": {"argv": ["id"]}}}}),
            "spec.metrics.m.command: a Rollout cannot use it",
        ),
    ] {
        let why = read(&more).unwrap_err();
        assert!(why.contains(words), "expected {words}, found {why}");
        assert!(!why.contains("services."), "{why}");
    }
    let written = json!({"spec": {"gates": {"instancse": {}}, "strategy": null, "template": {"a": 1}}});
    let kept = json!({"spec": {"gates": {}, "template": {}}});
    assert_eq!(dropped(&written, &kept).as_deref(), Some("spec.gates.instancse"));
    assert_eq!(dropped(&kept, &kept), None);
}

/// Everything in a schema, with its path.
fn walk(value: &Value, path: &str, look: &mut impl FnMut(&str, &Value)) {
    look(path, value);
    match value {
        Value::Object(keys) => {
            keys.iter().for_each(|(key, value)| walk(value, &format!("{path}/{key}"), look));
        }
        Value::Array(items) => items.iter().for_each(|item| walk(item, path, look)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_schema_of_rollouts_has_every_field_of_the_file_but_those_that_are_left_out_on_purpose() {
    let schema = rollout_spec();
    let has = |key: &str| schema["properties"].get(key).is_some();
    let all = fields::SERVICE.fields.iter().chain(fields::KUBERNETES.fields);
    // What names files of the machine is left out by its kind.
    let left_out: Vec<&str> =
        all.filter(|field| !has(field.key) && is_usable(field)).map(|field| field.key).collect();
    let on_purpose =
        ["confidence", "environment", "listen", "tls", "run", "routing", "lease", "namespace", "context"];
    for key in &left_out {
        assert!(on_purpose.contains(key), "`{key}` is not in the schema of Rollouts");
    }
    assert!(spec_fields().all(|(_, field)| has(field.key)));
    // What names the machine's own files is in the file's schema and nowhere in this one.
    let (mut whole, mut own) = (0, 0);
    let count = |number: &mut u32, value: &Value| {
        walk(value, "", &mut |path, _| *number += u32::from(path.ends_with("/properties/auth")));
    };
    count(&mut whole, &schema::schema_json());
    count(&mut own, &schema);
    assert!(whole > 0 && own == 0, "{whole} {own}");
    walk(&schema, "", &mut |path, value| {
        // Go's expressions know no look-around.
        let pattern = value.as_str().filter(|_| path.ends_with("/pattern"));
        assert!(pattern.is_none_or(|pattern| !pattern.contains("(?")), "{path}: {pattern:?}");
    });
}
