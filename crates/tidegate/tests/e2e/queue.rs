//! A second deployment of a service while one is under way.

use crate::support::Project;

/// A second release in a bake of this length.
fn baking(bake: &str) -> (Project, String) {
    let mut shop = Project::new();
    shop.deploy().code(0);
    let id = shop.version("v2").bake("50%", bake).begin();
    shop.reaches(&id, "canary_waiting");
    (shop, id)
}

#[test]
fn it_waits_for_its_turn_and_starts_from_what_is_stable_then() {
    let (mut shop, first) = baking("3s");
    let second = shop.version("v3").bake("50%", "200ms").begin();
    assert_eq!(shop.state(&second), "queued");
    shop.run(&["why", &second]).code(0).says("its turn").says(&format!("{first} is before it"));
    shop.run(&["why", &first]).code(0);
    shop.run(&["promote"]).code(2).complains("several deployments are under way");
    shop.reaches(&second, "verified");
    assert_eq!(shop.state(&first), "verified");
    assert_eq!(shop.asks().as_deref(), Some("v3"));
    assert!(shop.events(&second).contains(&"replanned".to_owned()), "{:?}", shop.events(&second));
}

#[test]
fn it_takes_the_place_of_the_running_one_when_it_supersedes() {
    let (mut shop, first) = baking("60s");
    shop.version("v3").bake("50%", "200ms").write();
    shop.run(&["deploy", "--queue", "supersede"]).code(0);
    assert_eq!(shop.state(&first), "rolled_back");
    shop.run(&["why", &first]).code(0).says("superseded by shop-3");
    assert_eq!(shop.asks().as_deref(), Some("v3"));
}

#[test]
fn it_is_refused_by_name_when_the_policy_is_reject() {
    let (mut shop, first) = baking("60s");
    shop.version("v3").with("queue", "reject").write();
    shop.run(&["deploy"]).code(2).complains(&first).complains("still running");
    assert_eq!(shop.state(&first), "canary_waiting");
}

#[test]
fn a_queued_one_can_be_paused_resumed_and_called_off() {
    let (mut shop, first) = baking("60s");
    let second = shop.version("v3").begin();
    shop.run(&["pause", &second]).code(0);
    assert_eq!(shop.state(&second), "paused");
    shop.run(&["resume", &second]).code(0);
    assert_eq!(shop.state(&second), "queued");
    shop.run(&["abort", &second]).code(0);
    shop.reaches(&second, "cancelled");
    assert_eq!(shop.state(&first), "canary_waiting");
}

#[test]
fn the_same_key_answers_with_the_same_deployment_and_another_request_with_it_is_refused() {
    let mut shop = Project::new();
    shop.write();
    let ask = |shop: &Project| shop.run(&["deploy", "--detach", "--json", "--key", "monday"]);
    let first = ask(&shop).code(0).json();
    assert_eq!(ask(&shop).code(0).json()["deployment"], first["deployment"]);
    shop.reaches("shop-1", "verified");
    assert_eq!(ask(&shop).code(0).json()["deployment"], first["deployment"]);
    shop.version("v2").write();
    ask(&shop).code(2).complains("monday").complains("new key");
    assert_eq!(shop.run(&["history", "--json"]).code(0).json().as_array().map(Vec::len), Some(1));
}

#[test]
fn commands_that_come_at_once_to_a_directory_without_an_engine_start_one_engine() {
    let shop = Project::new();
    shop.write();
    let asked = std::thread::scope(|scope| {
        let ask = || shop.run(&["deploy", "--detach", "--json", "--key", "rush"]);
        let running: Vec<_> = (0..6).map(|_| scope.spawn(ask)).collect();
        running.into_iter().map(|one| one.join().expect("an answer")).collect::<Vec<_>>()
    });
    for ran in asked {
        assert_eq!(ran.code(0).json()["deployment"], "shop-1");
    }
    shop.reaches("shop-1", "verified");
}
