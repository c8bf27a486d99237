//! A way back that really fails: the proxy cannot be reached until its bound of tries is used up.

use std::{fs, thread};

use crate::support::{Project, until};

/// A second release in a bake whose way back is stuck: somebody has moved the proxy's directory away, and a file lies in
/// its place. The proxy itself runs on, and half the users with it.
fn stuck() -> (Project, String) {
    let mut shop = Project::new();
    shop.deploy().code(0);
    let id = shop.version("v2").bake("50%", "60s").begin();
    shop.reaches(&id, "canary_waiting");
    fs::rename(shop.data().join("proxy"), shop.data().join("elsewhere")).expect("to move it");
    fs::write(shop.data().join("proxy"), "in the way").expect("a file");
    shop.run(&["abort", "--reason", "looks odd"]).code(0);
    shop.reaches(&id, "rolling_back");
    shop.run(&["why"]).code(0).says("looks odd").says("the try before failed");
    let tries = || shop.events(&id).iter().filter(|event| *event == "tried").count();
    until(|| tries() >= 5, || format!("{:?}", shop.events(&id)));
    shop.run(&["watch"]).code(5).says("Stuck").says("tidegate retry");
    assert_eq!((shop.state(&id).as_str(), tries()), ("stuck", 29), "thirty tries in all");
    shop.run(&["why"]).code(0).says("cannot start the proxy").says("up to 50 %").says("tidegate retry");
    (shop, id)
}

/// What was in the way is gone.
fn repair(shop: &Project) {
    fs::remove_file(shop.data().join("proxy")).expect("to make room");
    fs::rename(shop.data().join("elsewhere"), shop.data().join("proxy")).expect("to bring it back");
}

fn retried() {
    let (mut shop, id) = stuck();
    // It keeps its place: nothing else may touch the service, and no other verb moves it.
    let next = shop.version("v3").bake("50%", "200ms").begin();
    assert_eq!(shop.state(&next), "queued");
    for asked in [["why", &next], ["status", &next]] {
        let ran = shop.run(&asked);
        ran.code(0).says(&format!("{id} is before it and stuck")).says(&format!("tidegate retry {id}"));
    }
    for verb in ["pause", "resume", "promote", "approve"] {
        shop.run(&[verb, &id]).code(2).complains("tidegate retry").complains("tidegate abort");
    }
    shop.kill_engine();
    assert_eq!(shop.state(&id), "stuck");
    repair(&shop);
    assert!(shop.weights().values().all(|weight| *weight == 5_000), "{:?}", shop.weights());
    shop.run(&["retry", &id]).code(0);
    shop.run(&["watch", &id]).code(4);
    assert_eq!(shop.state(&id), "rolled_back");
    shop.run(&["why", &id]).code(0).says("Rolled back").says("looks odd");
    shop.run(&["watch", &next]).code(0);
    assert_eq!(shop.asks().as_deref(), Some("v3"));
}

fn given_up() {
    let (mut shop, id) = stuck();
    shop.run(&["abort", "--reason", "moved by hand"]).code(0);
    shop.run(&["watch"]).code(4);
    assert_eq!(shop.state(&id), "failed");
    shop.run(&["why"]).code(0).says("Given up by tester").says("moved by hand");
    shop.run(&["retry", &id]).code(2);
    repair(&shop);
    shop.version("v3").bake("50%", "200ms").deploy().code(0);
    assert_eq!(shop.asks().as_deref(), Some("v3"));
    until(
        || shop.instances().len() == 1,
        || format!("the release that was given up runs on: {:?}", shop.run(&["proxy", "status"]).stdout),
    );
}

#[test]
fn a_stuck_way_back_says_so_and_ends_by_retry_or_by_being_given_up() {
    // Both wait most of a minute for the last try, so they do it together.
    thread::scope(|scope| {
        for one in [scope.spawn(retried), scope.spawn(given_up)] {
            if let Err(panicked) = one.join() {
                std::panic::resume_unwind(panicked);
            }
        }
    });
}
