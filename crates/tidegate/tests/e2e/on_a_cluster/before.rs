//! What a Deployment has shown before it was guarded.

use serde_json::Value;

use super::Shop;
use crate::support::{kill, until};

/// A bake that is longer than anything here takes but for the wait that is meant, and the longest of a first deployment.
const BAKE_SECS: i64 = 10;

impl Shop {
    /// Seconds since the last rollout was complete, as its controller noted it.
    fn complete_for(&self) -> i64 {
        let object = self.object();
        let conditions = object["status"]["conditions"].as_array().cloned().unwrap_or_default();
        let done = |one: &&Value| one["reason"] == "NewReplicaSetAvailable";
        let Some(done) = conditions.iter().find(done) else { return -1 };
        let at: jiff::Timestamp =
            done["lastUpdateTime"].as_str().unwrap_or_default().parse().expect("a moment");
        jiff::Timestamp::now().as_second() - at.as_second()
    }
}

#[test]
fn what_ran_well_before_is_good_at_once_so_that_a_bad_rollout_right_after_the_guards_start_is_undone() {
    let shop = Shop::new();
    until(|| shop.complete_for() > BAKE_SECS + 2, || "nothing runs".to_owned());
    let mut guard = shop.guard("said", &format!("{BAKE_SECS}s"));
    until(|| shop.status()["good"].is_string(), || shop.said("said"));
    // A first bake would have lasted far longer.
    shop.apply("shop:2", Some("crash"));
    shop.until_said("said", &shop.deployment(2));
    until(|| shop.image() == "shop:1", || shop.said("said"));
    until(|| shop.status()["under_way"] == serde_json::json!([]), || shop.said("said"));
    kill(guard.id());
    guard.wait().expect("it ends");
    let why = shop.project.run(&["history", &shop.deployment(1), "--json"]);
    why.code(0);
    let said = "it ran well before it was guarded: all its 2 pods have been ready since";
    assert!(why.stdout.contains(said), "{}", why.stdout);
    assert!(shop.said("said").contains(said), "{}", shop.said("said"));
    let (first, second) = (shop.deployment(1), shop.deployment(2));
    assert!(!shop.said("said").contains(&format!("{first}: Cancelled")), "{}", shop.said("said"));
    shop.project.run(&["why", &second]).code(0).says("CrashLoopBackOff");
}

#[test]
fn what_has_not_been_ready_for_a_bake_is_watched_like_any_other_rollout() {
    let shop = Shop::new();
    until(|| shop.complete_for() >= 0, || "nothing runs".to_owned());
    let mut guard = shop.guard("said", "1h");
    shop.until_said("said", "canary_waiting");
    assert!(shop.status()["good"].is_null(), "{}", shop.said("said"));
    kill(guard.id());
    guard.wait().expect("it ends");
    let said = shop.said("said");
    assert!(said.contains("nothing was good before it") && !said.contains("ran well before"), "{said}");
}

#[test]
fn a_gate_is_asked_once_of_what_ran_before_and_its_failure_keeps_it_from_being_recorded() {
    let shop = Shop::new();
    let failing = shop.gated();
    until(|| shop.complete_for() > 4, || "nothing runs".to_owned());
    std::fs::write(&failing, "0.9").expect("written");
    let said = "its gates are asked once, and need not answer";
    let ran = shop.once_by_gate();
    ran.code(5).says(said).says("gate orders failed");
    assert!(shop.status()["good"].is_null(), "{}", ran.stdout);

    let shop = Shop::new();
    shop.gated();
    until(|| shop.complete_for() > 4, || "nothing runs".to_owned());
    let ran = shop.once_by_gate();
    ran.code(0).says(said);
    let status = shop.status();
    assert_eq!(status["good"], status["present"], "{status}");
}
