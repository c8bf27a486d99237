//! First releases that cannot run: nothing to return to, so the sentence matters all the more.

use crate::support::{PROGRAM, Project};

const HURRIED: &str =
    "{http: /healthz, interval: 50ms, timeout: 200ms, successes: 1, min_healthy: 0s, deadline: 1s}";

/// Deploys a service with this command, and expects the deployment to end without it and these words in the reason.
fn ends_without(command: &str, words: &[&str]) {
    let mut shop = Project::new();
    shop.with("command", command).with("ready", HURRIED);
    let ran = shop.deploy();
    ran.code(4);
    let why = shop.run(&["why"]);
    why.code(0);
    for word in words {
        why.says(word);
    }
    assert_eq!(shop.asks(), None, "{ran}");
}

#[test]
fn a_command_that_is_not_there_is_named() {
    ends_without("[no-such-program-anywhere]", &["no-such-program-anywhere", "not found"]);
}

#[test]
fn a_command_that_may_not_be_executed_is_named() {
    ends_without("[/etc/passwd]", &["/etc/passwd", "executable"]);
}

#[test]
fn a_command_that_exits_at_once_is_shown_with_its_last_words() {
    ends_without("[sh, -c, \"echo the disk is on fire; exit 7\"]", &["exit code 7", "the disk is on fire"]);
}

#[test]
fn a_release_that_is_never_ready_says_what_was_waited_for() {
    ends_without(&format!("[{PROGRAM:?}, sample, --never-ready]"), &["not ready within"]);
}

#[test]
fn a_release_that_is_ready_and_then_dies_again_and_again_is_stopped() {
    let mut shop = Project::new();
    // Long: a busy machine needs more time to start it so often.
    shop.faults(&["--crash-after-ms", "700"]).bake("50%", "30s");
    shop.deploy().code(4);
    shop.run(&["why"]).code(0).says("exit code 3");
}
