//! What a person types, and what comes back: names, slips, and an output that cannot be written.

use std::{fs, fs::File, process::Stdio};

use crate::support::Project;

#[test]
fn a_service_stands_for_its_newest_deployment_and_a_slip_is_named() {
    let shop = Project::new();
    shop.deploy().code(0);
    for verb in ["why", "history", "replay", "confidence", "status"] {
        shop.run(&[verb, "shop"]).code(0);
        shop.run(&[verb, "shpo"]).code(2).complains("did you mean `shop`?");
        shop.run(&[verb, "shpo-1"]).code(2).complains("did you mean `shop-1`?");
        shop.run(&[verb, "shop-2"]).code(2).complains("`shop-2`: see `tidegate history`");
    }
    for verb in ["pause", "approve", "abort", "plot", "watch", "artifacts"] {
        shop.run(&[verb, "sh op/../x?y"]).code(2).complains("there is no deployment `sh op/../x?y`");
    }
    shop.run(&["label", "shop", "bad", "--reason", "lost orders"]).code(2).complains("as `shop-1`");
    shop.run(&["logs", "sh op"]).code(2).complains("runs no service `sh op`; it runs shop");
    shop.run(&["history", "--service", "blog"]).code(0).says("no deployment of `blog`");
    shop.run(&["history", "--limit", "0"]).code(2);
    shop.run(&["audit", "shop-2"]).code(2).complains("there is no deployment `shop-2`");
    shop.run(&["audit", "shop"]).code(0).says("intact");
    shop.run(&["confidence", "--calibration", "--service", "shpo"]).code(2).complains("did you mean `shop`?");
    shop.run(&["backtest", "--service", "shpo"]).code(2).complains("did you mean `shop`?");
}

#[test]
fn an_output_that_cannot_be_written_is_said_and_breaks_nothing_down() {
    let shop = Project::new();
    shop.write();
    for arguments in
        [&["plan"][..], &["plan", "--json"], &["validate"], &["states"], &["completions", "bash"]]
    {
        let full = File::options().write(true).open("/dev/full").expect("a full device");
        let ran = shop.command(arguments).stdin(Stdio::null()).stdout(full).output().expect("it runs");
        let said = String::from_utf8_lossy(&ran.stderr).into_owned();
        assert_eq!(ran.status.code(), Some(3), "{arguments:?}: {said}");
        assert!(said.contains("cannot write to standard output"), "{arguments:?}: {said}");
        // Nobody reads it any more: the verb has done its work all the same.
        let mut child = shop.command(arguments).stdout(Stdio::piped()).spawn().expect("it starts");
        drop(child.stdout.take());
        assert_eq!(child.wait().expect("it ends").code(), Some(0), "{arguments:?}");
    }
}

#[test]
fn a_judge_without_a_question_or_with_a_directory_for_batches_is_refused() {
    let shop = Project::new();
    let gates = shop.root().join("gates.yaml");
    let (gates, here) = (gates.to_string_lossy().into_owned(), shop.root().to_string_lossy().into_owned());
    let off = "error_rate: off, latency_shift: off, latency_p95: off, latency_p99: off, cpu: off, memory: off, request_rate: off";
    fs::write(&gates, format!("gates: {{{off}}}\n")).expect("a file");
    shop.run(&["judge", "--gates", &gates]).code(2).complains("every gate is off");
    shop.run(&["backtest", "--gates", &gates]).code(2).complains("every gate is off");
    fs::write(&gates, "criticality: low\n").expect("a file");
    shop.run(&["judge", "--gates", &gates, "--batches", &here]).code(2).complains("it is a directory");
    shop.run(&["judge", "--gates", &gates]).code(5).says("no batch has come");
}

#[test]
fn a_backtest_asks_a_prometheus_for_raw_counters_only() {
    let shop = Project::new();
    let asked = |requests: &str| {
        shop.run(&[
            "backtest",
            "--prometheus",
            "http://127.0.0.1:1",
            "--requests",
            requests,
            "--failures",
            "f",
        ])
    };
    asked("rate(r_total[5m])").code(2).complains("the difference is taken here");
    asked("r_total{").code(2).complains("r_total{");
    asked("r_total").code(3).complains("no connection could be made");
}
