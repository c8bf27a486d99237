//! What users of a real gateway see of a rollout, by each kind of route.

use std::cell::RefCell;

use tidegate_bed::in_a_network_of_its_own;

use super::evidence::{Shop, Way};
use crate::support::until;

/// Each step lasts until somebody has seen enough of it.
const STRATEGY: &str = "{canary: {steps: [20%, 50%, 100%], bake: 10m}}";
const TESTERS: &str = ", testers: [{header: x-tester, value: 'yes'}, {cookie: beta, value: '1'}]";
/// Whether the pods are ready is asked, and nothing else.
const GATES: &str =
    "latency_p95: off, latency_p99: off, latency_shift: off, error_rate: off, request_rate: off";

/// A release from the first step to the end of the one before it, another that is turned back in the middle, and one more.
fn users_lose_nothing(way: Way) {
    let shop = Shop::by(way, TESTERS, STRATEGY, GATES);
    let share = |id: &str, wanted: f64| {
        let release = shop.release(id);
        let seen = RefCell::new(Vec::new());
        let near = |share: f64| (share - wanted).abs() < 0.08;
        until(
            || {
                let share = shop.mesh.share(&release, 300);
                seen.borrow_mut().push(share);
                near(share)
            },
            || format!("{release} has had {:?} and never {wanted}: {}", seen.borrow(), shop.why(id)),
        );
    };
    let next = |id: &str| {
        shop.project.run(&["promote", id]).code(0);
    };
    let id = shop.begin('b');
    share(&id, 0.2);
    let release = shop.release(&id);
    for marked in ["x-tester: yes", "cookie: lang=en; beta=1"] {
        assert!((0..30).all(|_| shop.mesh.reaches(&release, marked)), "{marked} is a tester's");
    }
    for other in ["x-tester: no", "cookie: beta=10", "cookie: alphabeta=1"] {
        assert!((0..40).any(|_| !shop.mesh.reaches(&release, other)), "{other} is nobody's mark");
    }
    next(&id);
    share(&id, 0.5);
    next(&id);
    share(&id, 1.0);
    next(&id);
    shop.project.reaches(&id, "verified");
    share(&id, 1.0);
    shop.mesh.lost_none();

    let id = shop.begin('c');
    share(&id, 0.2);
    next(&id);
    share(&id, 0.5);
    shop.project.run(&["abort", &id, "--reason", "users complain"]).code(0);
    let release = shop.release(&id);
    until(|| shop.mesh.share(&release, 20) == 0.0, || "it still has users".to_owned());
    until(|| !shop.mesh.reaches(&release, "x-tester: yes"), || "it still has testers".to_owned());
    shop.project.reaches(&id, "rolled_back");
    shop.mesh.lost_none();

    let id = shop.begin('d');
    share(&id, 0.2);
    shop.project.run(&["promote", &id, "--full"]).code(0);
    shop.project.reaches(&id, "verified");
    share(&id, 1.0);
    shop.mesh.lost_none();
}

#[test]
fn users_of_an_http_route_lose_no_request_and_see_the_shares_that_were_asked() {
    if in_a_network_of_its_own(&users_of_an_http_route_lose_no_request_and_see_the_shares_that_were_asked) {
        users_lose_nothing(Way::HttpRoute);
    }
}

#[test]
fn users_of_a_virtual_service_lose_no_request_and_see_the_shares_that_were_asked() {
    if in_a_network_of_its_own(&users_of_a_virtual_service_lose_no_request_and_see_the_shares_that_were_asked)
    {
        users_lose_nothing(Way::Hosts);
    }
}

#[test]
fn users_of_subsets_lose_no_request_and_see_the_shares_that_were_asked() {
    if in_a_network_of_its_own(&users_of_subsets_lose_no_request_and_see_the_shares_that_were_asked) {
        users_lose_nothing(Way::Subsets);
    }
}
