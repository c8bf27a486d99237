//! Confidence: facts read from a real repository, what the score decides, and what it leaves behind.

use std::{fs, process::Command};

use crate::support::Project;

/// A project under version control, with a good safety report.
fn versioned() -> Project {
    let shop = Project::new();
    git(&shop, &["init", "--quiet"]);
    fs::write(shop.root().join(".gitignore"), ".tidegate\n*.json\n*.info\n").expect("a file");
    safety(&shop, true, "DEPLOY");
    shop
}

fn git(shop: &Project, arguments: &[&str]) {
    let ran = Command::new("git")
        .current_dir(shop.root())
        .args(["-c", "user.name=tester", "-c", "user.email=tester@example.invalid"])
        .args(arguments)
        .env_remove("GIT_DIR")
        .output()
        .expect("git");
    assert!(ran.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&ran.stderr));
}

/// Writes the source of a version and commits everything.
fn commit(shop: &Project, source: &str) {
    fs::write(shop.root().join("shop.rs"), source).expect("a source file");
    shop.write();
    git(shop, &["add", "--all"]);
    git(shop, &["commit", "--quiet", "--message", "a version"]);
}

fn safety(shop: &Project, passed: bool, recommendation: &str) {
    let report = format!("{{\"passed\": {passed}, \"recommendation\": \"{recommendation}\"}}");
    fs::write(shop.root().join("safety.json"), report).expect("a report");
}

/// A coverage report in which these lines of `shop.rs` ran, or did not.
fn covered(shop: &Project, lines: &[(u32, u32)]) {
    let lines: Vec<String> = lines.iter().map(|(line, hits)| format!("DA:{line},{hits}\n")).collect();
    let lines = lines.concat();
    let text = format!("SF:shop.rs\n{lines}end_of_record\n");
    fs::write(shop.root().join("lcov.info"), text).expect("a report");
}

/// Only the block of confidence; the service's other parts stay.
fn confident(shop: &mut Project, enforce: bool) {
    let block = format!(
        "confidence: {{enforce: {enforce}, safety_report: safety.json, coverage: lcov.info, dependents: 2}}"
    );
    shop.with("shadow", &block);
}

fn first(shop: &mut Project) {
    confident(shop, false);
    commit(shop, "one\n");
    shop.run(&["deploy"]).code(0);
}

#[test]
fn six_factors_are_read_where_the_project_is_and_left_behind_with_their_evidence() {
    let mut shop = versioned();
    first(&mut shop);
    shop.version("v2");
    commit(&shop, "one\ntwo\nthree\n");
    covered(&shop, &[(1, 1), (2, 1), (3, 1)]);
    shop.run(&["plan"]).code(0).says("Confidence").says("of 100 before any traffic").says("only shown");
    let users = shop.users(150);
    shop.run(&["deploy"]).code(0).says("confidence");
    users.leave();
    let path = shop.data().join("artifacts/confidence_shop-2.json");
    let text = fs::read_to_string(&path).expect("the report");
    let report: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    for factor in [
        "safety_score",
        "canary_health",
        "blast_radius",
        "historical_success",
        "change_complexity",
        "test_coverage",
    ] {
        assert!(report["factors"][factor].is_number(), "{factor}: {report}");
    }
    assert_eq!(report["factors"]["test_coverage"], 1.0);
    let details = report["details"].as_array().expect("details");
    assert_eq!(details.len(), 6);
    assert!(details.iter().all(|one| one["reason"].is_string() && one["evidence"].is_array()), "{report}");
    assert!(report["final"]["decision"].is_string() && report["posterior"]["bad"].is_number(), "{report}");
    let artifact = fs::read_to_string(shop.data().join("artifacts/deployment_artifact_shop-2.json"));
    let artifact: serde_json::Value = serde_json::from_str(&artifact.expect("the artifact")).expect("JSON");
    assert_eq!(artifact["confidence_score"], report["overall_score"]);
    shop.run(&["confidence", "shop-2"]).code(0).says("canary health").says("uncalibrated");
}

#[test]
fn a_middling_score_that_decides_asks_for_one_approval_before_the_first_exposure() {
    let mut shop = versioned();
    first(&mut shop);
    shop.version("v2");
    confident(&mut shop, true);
    commit(&shop, "one\ntwo\n");
    covered(&shop, &[(2, 0)]);
    safety(&shop, true, "REVIEW");
    let plan = shop.run(&["plan", "--json"]).code(0).json();
    assert_eq!(plan["confidence"]["preflight"]["decision"], "guarded", "{plan}");
    let id = shop.run(&["deploy", "--detach", "--json"]).code(0).json()["deployment"].clone();
    let id = id.as_str().expect("an id").to_owned();
    shop.reaches(&id, "awaiting_approval");
    shop.run(&["approve", &id]).code(0);
    // The safety gates' wish for a review holds for the promotion too.
    crate::support::until(
        || shop.events(&id).iter().filter(|kind| *kind == "approval_asked").count() == 2,
        || shop.run(&["history", &id]).stdout,
    );
    shop.run(&["why", &id]).code(0).says("confidence").says("ask for a review");
    shop.run(&["approve", &id]).code(0);
    shop.reaches(&id, "verified");
}

#[test]
fn a_safety_report_that_says_no_or_contradicts_itself_refuses_the_deployment() {
    let mut shop = versioned();
    first(&mut shop);
    shop.version("v2");
    commit(&shop, "one\ntwo\n");
    safety(&shop, false, "DO_NOT_DEPLOY");
    shop.run(&["plan"]).code(2).complains("recommend not to deploy");
    shop.run(&["deploy"]).code(2).complains("recommend not to deploy");
    safety(&shop, true, "DO_NOT_DEPLOY");
    shop.run(&["deploy"]).code(2).complains("contradicts itself");
    fs::write(shop.root().join("safety.json"), "{\"passed\": true}").expect("a report");
    shop.run(&["deploy"]).code(2).complains("recommendation");
    shop.run(&["status", "shop-2"]).code(2);
}

#[test]
fn a_label_by_hand_counts_at_once_and_is_kept_with_who_said_it() {
    let mut shop = versioned();
    first(&mut shop);
    shop.run(&["confidence", "--calibration"]).code(0).says("uncalibrated").says("1 without a label");
    shop.run(&["label", "shop-1", "bad", "--reason", "lost orders"]).code(0);
    shop.run(&["label", "shop-9", "bad", "--reason", "lost orders"]).code(2);
    shop.run(&["label", "shop-1", "bad", "--reason", " "]).code(2);
    let calibration = shop.run(&["confidence", "--calibration", "--json"]).code(0).json();
    assert_eq!((&calibration["bad"], &calibration["unlabelled"]), (&1.into(), &0.into()), "{calibration}");
    shop.run(&["confidence", "shop-1"]).code(0).says("tester").says("lost orders");
    // The next release's history has it.
    shop.version("v2");
    commit(&shop, "one\ntwo\n");
    shop.run(&["plan"]).code(0).says("0 of the last 1 labelled releases were good");
    // Who goes back says something of the release that is left.
    shop.run(&["deploy"]).code(0);
    shop.run(&["rollback"]).code(0);
    shop.run(&["confidence", "shop-3"]).code(2).complains("ways back have none");
    let calibration = shop.run(&["confidence", "--calibration", "--json"]).code(0).json();
    assert_eq!((&calibration["bad"], &calibration["good"]), (&2.into(), &0.into()), "{calibration}");
    shop.run(&["confidence", "--calibration"]).code(0).says("2 of 30 confirmed failures").says("predicted");
}
