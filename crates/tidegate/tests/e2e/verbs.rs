//! What a person asks of a deployment under way.

use std::process::Stdio;

use crate::support::{Project, until};

/// A second release in its first, long bake.
fn baking() -> (Project, String) {
    let mut shop = Project::new();
    shop.deploy().code(0);
    let id = shop.version("v2").bake("50%", "60s").begin();
    shop.reaches(&id, "canary_waiting");
    (shop, id)
}

#[test]
fn a_pause_holds_the_share_until_it_is_resumed_or_promoted_by_hand() {
    let (shop, id) = baking();
    shop.run(&["pause", "--reason", "lunch"]).code(0);
    assert_eq!(shop.state(&id), "paused");
    shop.run(&["why"]).code(0).says("lunch").says("tidegate resume");
    shop.run(&["watch"]).code(5);
    shop.run(&["pause"]).code(2).complains("stands still already");
    assert!(shop.weights().values().all(|weight| *weight == 5_000), "{:?}", shop.weights());
    shop.run(&["resume"]).code(0);
    assert_eq!(shop.state(&id), "canary_waiting");
    shop.run(&["resume"]).code(2).complains("it is not paused");
    shop.run(&["promote", "--reason", "looks good"]).code(0);
    shop.run(&["watch"]).code(0);
    assert_eq!(shop.asks().as_deref(), Some("v2"));
}

#[test]
fn full_promotion_leaves_out_all_further_bakes_and_approvals() {
    let mut shop = Project::new();
    shop.deploy().code(0);
    let steps = "{canary: {steps: [{share: 10%, bake: 60s}, {share: 50%, bake: 60s, approval: true}, {share: 100%, bake: 60s}]}}";
    let id = shop.version("v2").with("strategy", steps).begin();
    shop.reaches(&id, "canary_waiting");
    shop.run(&["promote", "--full"]).code(0);
    shop.run(&["watch"]).code(0);
    assert_eq!(shop.asks().as_deref(), Some("v2"));
}

#[test]
fn an_abort_returns_all_traffic_and_nothing_can_be_asked_of_it_afterwards() {
    let (shop, id) = baking();
    shop.run(&["retry"]).code(2).complains("only a stuck way back");
    shop.run(&["abort", "--reason", "wrong branch"]).code(0);
    shop.run(&["watch"]).code(4);
    shop.run(&["why"]).code(0).says("wrong branch").says("tester");
    assert_eq!(shop.asks().as_deref(), Some("v1"));
    for verb in ["pause", "resume", "promote", "approve", "abort", "retry"] {
        shop.run(&[verb, &id]).code(2);
        shop.run(&[verb, "shop-99"]).code(2).complains("shop-99");
    }
}

#[test]
fn an_approval_is_waited_for_and_given() {
    let mut shop = Project::new();
    shop.deploy().code(0);
    let steps = "{canary: {steps: [{share: 50%, bake: 100ms, approval: true}, {share: 100%, bake: 100ms}]}}";
    // Whoever follows from where nobody can be asked is told that a person is needed.
    shop.version("v2").with("strategy", steps).deploy().code(5).says("needs a person's approval");
    assert_eq!(shop.asks().as_deref(), Some("v1"));
    shop.run(&["why"]).code(0).says("tidegate approve");
    shop.run(&["approve"]).code(0);
    shop.run(&["watch"]).code(0);
    assert_eq!(shop.asks().as_deref(), Some("v2"));
}

#[test]
fn an_interrupt_away_from_a_terminal_detaches_and_the_work_goes_on() {
    let mut shop = Project::new();
    shop.deploy().code(0);
    shop.version("v2").bake("50%", "2s").write();
    let deploy = shop
        .command(&["deploy"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("a deployment");
    until(
        || shop.run(&["status", "shop-2", "--json"]).stdout.contains("canary_waiting"),
        || "no canary".to_owned(),
    );
    let pid = i32::try_from(deploy.id()).ok().and_then(rustix::process::Pid::from_raw).expect("a process");
    rustix::process::kill_process(pid, rustix::process::Signal::INT).expect("to interrupt");
    let ended = deploy.wait_with_output().expect("its end");
    let said = String::from_utf8_lossy(&ended.stderr);
    assert_eq!(ended.status.code(), Some(5), "{said}");
    assert!(said.contains("goes on by itself"), "{said}");
    shop.reaches("shop-2", "verified");
    assert_eq!(shop.asks().as_deref(), Some("v2"));
}
