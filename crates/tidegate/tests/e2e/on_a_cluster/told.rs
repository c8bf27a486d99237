//! What whoever is woken at night is told: what runs, and not what he would like to hear.

use serde_json::json;

use super::{SHORT, Shop};
use crate::support::{Project, until};

#[test]
fn a_bad_revision_that_nothing_good_is_known_for_stays_and_that_is_said_and_no_success() {
    let shop = Shop::new();
    shop.apply("shop:0", Some("crash"));
    until(|| shop.status()["revisions"][0]["images"] == json!(["shop:0"]), || "no revision".to_owned());
    let ran = shop.once();
    ran.code(5);
    assert!(ran.stdout.contains("stays, because nothing good is known to go back to"), "{}", ran.stdout);
    assert!(!ran.stdout.contains("of traffic") && !ran.stdout.contains("drained"), "{}", ran.stdout);
    let history = shop.project.run(&["history", "deployment/shop", "-n", &shop.namespace]);
    history.code(0).says("bad");
    assert!(!history.stdout.contains("undone"), "{}", history.stdout);
    let status = shop.project.run(&["status", "deployment/shop", "-n", &shop.namespace]);
    status.code(0).says("0 of 2 pods ready");

    // A person knows better, and what he names is good from then on.
    let back = shop.project.run(&shop.here(&["undo", "deployment/shop"]));
    back.code(2);
    assert!(back.stderr.contains("of shop:1") && back.stderr.contains(", which runs"), "{}", back.stderr);
    let number = shop.status()["revisions"][1]["number"].to_string();
    shop.project
        .run(&shop.here(&["undo", "deployment/shop", "--to-revision", &number]))
        .code(0)
        .says("is good");
    assert_eq!(shop.image(), "shop:1");
    shop.apply("shop:2", Some("crash"));
    until(|| shop.status()["revisions"][0]["images"] == json!(["shop:2"]), || "no revision".to_owned());
    let ran = shop.once();
    ran.code(4).says("Undone: scale failed");
    assert_eq!(shop.image(), "shop:1");
    shop.project.run(&shop.here(&["history", "deployment/shop"])).code(0).says("bad, undone");
}

#[test]
fn a_second_tidegate_does_not_claim_to_guard_what_it_could_not_undo() {
    let shop = Shop::new();
    shop.once().code(0);
    let mut other = Project::new();
    let file = tidegate_bed::ControlPlane::shared().expect("a control plane").kubeconfig();
    other.environment("KUBECONFIG", &file.to_string_lossy());
    let ran = other.run(&[&shop.here(&["guard", "deployment/shop", "--once"])[..], &SHORT].concat());
    ran.code(5);
    let owner = shop.status()["owner"].as_str().expect("an owner").to_owned();
    assert!(ran.stderr.contains(&format!("another Tidegate (`{owner}`) guards")), "{}", ran.stderr);
    shop.apply("shop:2", None);
    until(|| shop.status()["present"].is_string(), || "no revision".to_owned());
    let ran = other.run(&shop.here(&["undo", "deployment/shop"]));
    ran.code(2);
    assert!(ran.stderr.contains("guard.tidegate.dev/owner-"), "{}", ran.stderr);
}
