//! The way back to a release that was good.

use std::fs;

use crate::support::{ERRORS, Project, until};

fn three_releases() -> (Project, Vec<String>) {
    let mut shop = Project::new();
    let mut tags = Vec::new();
    for version in ["v1", "v2", "v3"] {
        shop.version(version).deploy().code(0);
        let newest = shop.run(&["status", "shop", "--json"]).code(0).json();
        tags.push(newest[0]["release"].as_str().expect("a tag").to_owned());
    }
    (shop, tags)
}

#[test]
fn content_that_a_gate_turned_back_is_refused_until_a_person_lifts_that() {
    let mut shop = Project::new();
    shop.deploy().code(0);
    let _users = shop.users(100);
    shop.version("v2").faults(&["--error-percent", "60"]).with("gates", ERRORS).bake("50%", "20s");
    shop.deploy().code(4).says("error_rate");
    shop.deploy().code(2).complains("was turned back before").complains("--lift --reason");
    shop.run(&["deploy", "--lift"]).code(2).complains("--reason");
    shop.run(&["deploy", "--lift", "--reason", "the database is mended"]).code(4).says("error_rate");
    // Other content is not concerned.
    shop.version("v3").faults(&[]);
    shop.deploy().code(0);
}

#[test]
fn rollback_goes_to_the_release_before_or_to_the_one_that_is_named() {
    let (shop, tags) = three_releases();
    shop.run(&["rollback"]).code(0);
    assert_eq!(shop.asks().as_deref(), Some("v2"));
    shop.run(&["rollback", "--to", &tags[0], "--reason", "the last two were both bad"]).code(0);
    assert_eq!(shop.asks().as_deref(), Some("v1"));
    shop.run(&["rollback", "--to", &tags[0]]).code(2).complains("runs");
    shop.run(&["rollback", "--to", "nonsense"]).code(2).complains("`shop` was never good at nonsense");
}

#[test]
fn a_release_whose_files_are_gone_is_refused_with_advice() {
    let (shop, tags) = three_releases();
    let releases = shop.data().join("releases");
    for entry in fs::read_dir(&releases).expect("a store").flatten() {
        if fs::read_to_string(entry.path().join("version.txt")).is_ok_and(|text| text == "v1") {
            drop(std::process::Command::new("chmod").args(["-R", "u+w"]).arg(entry.path()).status());
            fs::remove_dir_all(entry.path()).expect("to prune");
        }
    }
    shop.run(&["rollback", "--to", &tags[0]]).code(2).complains("pruned");
    assert_eq!(shop.asks().as_deref(), Some("v3"));
}

#[test]
fn rollback_of_a_deployment_under_way_turns_it_back() {
    let mut shop = Project::new();
    shop.deploy().code(0);
    let id = shop.version("v2").bake("50%", "60s").begin();
    shop.reaches(&id, "canary_waiting");
    shop.run(&["rollback"]).code(0).says("All traffic is back on");
    assert_eq!(shop.asks().as_deref(), Some("v1"));
}

#[test]
fn there_is_nothing_to_go_back_to_after_the_first_release() {
    let shop = Project::new();
    shop.deploy().code(0);
    shop.run(&["rollback"]).code(2).complains("no release before");
}

#[test]
fn a_second_way_back_to_the_same_release_has_nothing_left_to_do() {
    let mut shop = Project::new();
    shop.deploy().code(0);
    let first = shop.run(&["status", "shop", "--json"]).code(0).json()[0]["release"].clone();
    let first = first.as_str().expect("a tag");
    shop.version("v2").deploy().code(0);
    for _ in 0..2 {
        shop.run(&["rollback", "--to", first, "--detach"]).code(0);
    }
    until(
        || ["verified", "cancelled"].contains(&&*shop.state("shop-4")),
        || shop.run(&["why", "shop-4"]).stdout,
    );
    assert_eq!(shop.asks().as_deref(), Some("v1"));
}
