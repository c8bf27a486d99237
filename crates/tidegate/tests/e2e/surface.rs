//! What scripts and people hold on to: JSON from every verb, exit codes in the help, drawings and completions.

use crate::support::Project;

#[test]
fn every_verb_answers_in_json() {
    let mut shop = Project::new();
    let listed = shop.run(&["init", "--json"]);
    assert_eq!(
        listed.code(0).json()["file"].as_str().map(|file| file.ends_with("tidegate.yaml")),
        Some(true)
    );
    shop.write();
    assert_eq!(shop.run(&["validate", "--json"]).code(0).json()["valid"], true);
    assert_eq!(shop.run(&["plan", "--json"]).code(0).json()["service"], "shop");
    let lines = shop.run(&["deploy", "--json"]).code(0).documents();
    assert_eq!(lines.first().expect("a line")["kind"], "planned");
    assert_eq!(lines.last().expect("a summary")["state"], "verified");
    assert_eq!(shop.run(&["status", "--json"]).code(0).json()[0]["deployment"], "shop-1");
    assert_eq!(shop.run(&["why", "--json"]).code(0).json()["deployment"], "shop-1");
    assert_eq!(shop.run(&["history", "--json"]).code(0).json()[0]["service"], "shop");
    assert_eq!(shop.run(&["history", "shop-1", "--json"]).code(0).json()[0]["seq"], 1);
    assert_eq!(shop.run(&["audit", "--json"]).code(0).json()["intact"], true);
    assert_eq!(shop.run(&["artifacts", "--json"]).code(0).json().as_array().map(Vec::len), Some(5));
    assert_eq!(shop.run(&["confidence", "--json"]).code(0).json()["deployment_id"], "shop-1");
    assert_eq!(shop.run(&["confidence", "--calibration", "--json"]).code(0).json()["predictions"], 1);
    assert!(shop.run(&["proxy", "status", "--json"]).code(0).json()["proxy"]["pid"].is_u64());
    assert_eq!(shop.run(&["watch", "--json"]).code(0).documents().last().expect("a summary")["over"], true);
    shop.run(&["logs", "--json"]).code(0).documents();
    shop.run(&["states", "--json"]).code(0).documents();
    shop.run(&["rehearse", "--json"]).code(0).documents();

    let steps =
        "{canary: {steps: [{share: 10%, bake: 60s}, {share: 50%, bake: 60s}, {share: 100%, bake: 60s}]}}";
    let id = shop.version("v2").with("strategy", steps).begin();
    shop.reaches(&id, "canary_waiting");
    for (verb, event) in
        [("pause", "paused"), ("resume", "resumed"), ("promote", "stage_passed"), ("abort", "rollback_began")]
    {
        let events = shop.run(&[verb, "--json"]).code(0).json()["events"].to_string();
        assert!(events.contains(event), "{verb}: {events}");
    }
    shop.run(&["watch"]).code(4);
    assert_eq!(shop.run(&["proxy", "upgrade", "--json"]).code(0).documents().len(), 1);
    shop.run(&["server", "--stop", "--json"]).code(0).documents();
}

#[test]
fn a_refusal_in_json_says_what_a_person_would_read() {
    let shop = Project::new();
    shop.run(&["validate", "--json"]).code(2);
    std::fs::write(shop.config(), "version: 1\nservices: {shop: {listen: 8080}}\n").expect("a configuration");
    let refused = shop.run(&["validate", "--json"]).code(2).json();
    assert_eq!(refused["valid"], false);
    assert!(
        refused["findings"][0]["message"].as_str().is_some_and(|message| message.contains("run")),
        "{refused:#}"
    );
}

#[test]
fn the_help_the_drawings_and_the_completions_are_there() {
    let shop = Project::new();
    shop.run(&["--help"]).code(0).says("Exit codes").says("deploy").says("rollback");
    shop.run(&["states"]).code(0).says("canary_waiting");
    shop.run(&["states", "--format", "mermaid"]).code(0).says("stateDiagram");
    shop.run(&["states", "--format", "svg"]).code(0).says("<svg");
    for shell in ["bash", "zsh", "fish"] {
        shop.run(&["completions", shell]).code(0).says("tidegate");
    }
    shop.run(&["--version"]).code(0).says("tidegate ");
}
