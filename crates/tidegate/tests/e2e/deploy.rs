//! A release goes out, or comes back.

use std::fs;

use serde_json::Value;

use crate::support::{ERRORS, Project, until};

#[test]
fn a_good_release_serves_everybody_and_leaves_its_artifacts() {
    let mut shop = Project::new();
    shop.deploy().code(0).says("Ended well");
    assert_eq!(shop.asks().as_deref(), Some("v1"));
    shop.version("v2").deploy().code(0).says("Ended well");
    assert_eq!(shop.asks().as_deref(), Some("v2"));

    let read = |name: &str| -> Value {
        let path = shop.data().join("artifacts").join(name);
        let text = fs::read_to_string(&path).unwrap_or_else(|why| panic!("{}: {why}", path.display()));
        serde_json::from_str(&text).expect("JSON")
    };
    let artifact = read("deployment_artifact_shop-2.json");
    for field in [
        "deployment_id",
        "incident_id",
        "service_name",
        "environment",
        "image_tag",
        "commit_hash",
        "confidence_score",
        "confidence_decision",
        "state_transitions",
        "deployment_strategy",
        "immutable_deployment",
        "blast_radius_control",
        "plan_digest",
    ] {
        assert!(artifact.get(field).is_some(), "{field} is missing in {artifact:#}");
    }
    assert_eq!(artifact["deployment_id"], "shop-2");
    assert_eq!(artifact["service_name"], "shop");
    assert_eq!(artifact["state"], "verified");
    assert_eq!(artifact["deployment_strategy"], "canary");
    assert_eq!(artifact["immutable_deployment"], true);
    let log = read("deployment_shop-2.json");
    assert_eq!(log["current_state"], "verified");
    let walked: Vec<_> =
        log["transitions"].as_array().expect("transitions").iter().map(|one| &one["to_state"]).collect();
    assert_eq!(walked.first().and_then(|state| state.as_str()), Some("checking"));
    assert_eq!(walked.last().and_then(|state| state.as_str()), Some("verified"));
    assert!(read("evidence_shop-2.json")["looks"].as_array().is_some_and(|looks| !looks.is_empty()));
    assert_eq!(read("manifest_shop-2.json")["plan"]["service"], "shop");
}

#[test]
fn a_release_that_fails_its_users_is_turned_back_and_why_says_so() {
    let mut shop = Project::new();
    shop.deploy().code(0);
    let users = shop.users(100);
    shop.version("v2").faults(&["--error-percent", "60"]).with("gates", ERRORS).bake("50%", "20s");
    shop.deploy().code(4).says("error_rate").says("All traffic is back on");
    shop.run(&["why"]).code(0).says("Rolled back").says("error_rate");
    until(|| shop.weights().values().any(|weight| *weight == 10_000), || format!("{:?}", shop.weights()));
    for _ in 0..10 {
        assert_eq!(shop.asks().as_deref(), Some("v1"));
    }
    let report = users.leave();
    assert!(report["failed"].as_u64() > Some(0), "the users saw nothing of it: {report}");
    // Nothing failed but what the bad release answered itself.
    assert_eq!(report["failed"], report["failed_by_class"]["status_5xx"], "{report}");
}

#[test]
fn the_release_that_runs_already_is_refused_and_again_insists() {
    let shop = Project::new();
    shop.deploy().code(0);
    shop.deploy().code(2).complains("already runs");
    shop.run(&["deploy", "--again"]).code(0);
}

#[test]
fn every_strategy_brings_the_release_to_everybody() {
    let mut shop = Project::new();
    shop.with("instances", "2");
    shop.deploy().code(0);
    for (version, strategy) in [
        ("v2", "{blue_green: {bake: 200ms, preview: true}}"),
        ("v3", "{rolling: {batch: 1, bake: 200ms}}"),
        ("v4", "{all_at_once: {bake: 200ms}}"),
    ] {
        shop.version(version).with("strategy", strategy).deploy().code(0);
        assert_eq!(shop.asks().as_deref(), Some(version));
    }
}
