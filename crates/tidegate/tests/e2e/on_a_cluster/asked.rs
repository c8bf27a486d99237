//! What a guard asks of the API server while nothing is rolled out.

use std::time::Duration;

use tidegate_bed::Verb;

use super::Shop;
use crate::support::{kill, until};

/// As long as nothing happens.
const IDLE: Duration = Duration::from_secs(25);

/// One read of the Deployment every ten seconds, because a watch may be silent without a word.
const IDLE_REQUESTS: u32 = 3;

#[test]
fn an_idle_guard_asks_one_thing_every_ten_seconds() {
    let mut shop = Shop::new();
    let plane = tidegate_bed::ControlPlane::shared().expect("a control plane");
    let middleman = plane.middleman(plane.admin()).expect("a middleman");
    shop.project.environment("KUBECONFIG", &middleman.kubeconfig().to_string_lossy());
    let mut guard = shop.guard("said", "300ms");
    shop.until_said("said", "runs, and is good");
    until(|| shop.status()["under_way"] == serde_json::json!([]), || shop.said("said"));
    drop(middleman.counted());
    std::thread::sleep(IDLE);
    let counted = middleman.counted();
    let asked: u32 = counted.iter().filter(|(one, _)| one.verb != Verb::Watch).map(|(_, times)| times).sum();
    assert!((1..=IDLE_REQUESTS).contains(&asked), "{asked} requests in {IDLE:?}: {counted:?}");
    kill(guard.id());
    guard.wait().expect("it ends");
}
