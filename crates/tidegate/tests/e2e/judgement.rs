//! Gates that are asked after every batch, on real traffic.

use crate::support::Project;

/// Every gate as a project without a word about gates has it, with caches that are warm at once.
fn sequential() -> Project {
    let mut shop = Project::new();
    shop.with("gates", "{cpu: off, memory: off}").with("judgement", "{warmup: 0s, max_dwell: 3s}");
    shop
}

#[test]
fn an_outage_is_turned_back_in_seconds_and_its_verdict_can_be_computed_again() {
    let mut shop = sequential();
    shop.deploy().code(0);
    let users = shop.users(200);
    shop.version("v2").faults(&["--error-percent", "50"]).bake("10%", "20s");
    shop.deploy().code(4).says("error_rate").says("1 of 100 is allowed");
    let report = users.leave();
    let failed = report["failed"].as_u64().expect("a count");
    assert!((1..=40).contains(&failed), "{report}");
    shop.run(&["why"]).code(0).says("requests failed");
    let replayed = shop.run(&["replay", "--json"]).code(0).json();
    assert_eq!(replayed["identical"], true, "{replayed}");
    let verdicts = replayed["verdicts"].as_array().expect("verdicts");
    assert!(!verdicts.is_empty() && verdicts.iter().all(|one| one["outcome"] == "identical"), "{replayed}");
    shop.run(&["replay"]).code(0).says("bit by bit");
}

#[test]
fn evidence_survives_a_killed_engine() {
    let mut shop = sequential();
    shop.deploy().code(0);
    let _users = shop.users(200);
    let id = shop.version("v2").bake("20%", "4s").begin();
    shop.reaches(&id, "canary_waiting");
    shop.kill_engine();
    // Whatever asks for an engine starts one; this one is refused, because nothing is paused.
    shop.run(&["resume", &id]);
    shop.reaches(&id, "verified");
    let replayed = shop.run(&["replay", &id, "--json"]).code(0).json();
    assert_eq!(replayed["identical"], true, "{replayed}");
}

#[test]
fn an_observed_deployment_says_what_it_would_have_done_and_goes_on() {
    let mut shop = sequential();
    shop.deploy().code(0);
    let _users = shop.users(200);
    shop.with("judgement", "{observe: true, warmup: 0s, max_dwell: 2s}");
    shop.version("v2").faults(&["--error-percent", "50"]).bake("20%", "2s");
    shop.deploy().code(0).says("error_rate failed").says("gate error_rate would have turned it back");
    assert_eq!(shop.state("shop-2"), "verified");
    shop.run(&["why"]).code(0).says("It was only observed: gate error_rate would have turned it back");
}

#[test]
fn a_shadow_that_answers_otherwise_never_sees_a_user() {
    let mut shop = sequential();
    shop.deploy().code(0);
    let users = shop.users(200);
    shop.with("shadow", "shadow: {share: 50%, bake: 3s}");
    shop.version("v2").faults(&["--error-percent", "50"]).bake("20%", "2s");
    shop.deploy().code(4).says("shadow failed").says("had another status");
    let report = users.leave();
    assert_eq!(report["failed"], 0, "{report}");
}
