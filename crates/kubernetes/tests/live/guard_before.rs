//! What a plain Deployment has shown before anybody judged it.

use std::time::{Duration, Instant};

use k8s_openapi::jiff;
use serde_json::{Value, json};
use tidegate_core::{
    deployment::Effect,
    model::{Millis, Share},
};
use tidegate_kubernetes::guard::Ran;

use crate::guard::{Plain, scale};

/// Before anything here was made.
const LONG_AGO: &str = "2020-01-01T00:00:00Z";

impl Plain {
    async fn ran(&self) -> Option<Ran> {
        let sight = self.complete().await;
        self.guarded().await.ran(&sight).await.expect("it can be asked")
    }

    /// Writes into the status of one of its pods, as a kubelet would.
    fn report(&self, status: &Value) {
        let pods = self.scene.pods();
        let (name, _) = pods.first().expect("a pod");
        let path = format!("{}/status", self.scene.path("/api/v1", "pods", name));
        let patch = json!({"status": status}).to_string();
        let answer = self.scene.admin().ask("PATCH", &path, "application/strategic-merge-patch+json", patch);
        assert_eq!(answer.expect("an answer").status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ran_before_is_as_old_as_its_youngest_pod_by_the_api_servers_clock_and_a_restart_makes_it_none()
{
    let plain = Plain::new(2).await;
    let begun = Instant::now();
    let first = loop {
        match plain.ran().await {
            Some(ran) if ran.lasted >= Millis::secs(2) => break ran,
            _ => tokio::time::sleep(Duration::from_millis(200)).await,
        }
        assert!(begun.elapsed() < Duration::from_secs(20), "two seconds and the one that is cut off");
    };
    assert_eq!(first.pods, 2);
    assert!(begun.elapsed() >= Duration::from_secs(1), "it is not that old: {first:?}");

    // A kubelet whose clock is far behind makes no pod older than the API server saw it made.
    let ready = |status: &str, since: &str| json!({"conditions": [{"type": "Ready", "status": status, "lastTransitionTime": since}]});
    plain.report(&ready("True", LONG_AGO));
    let ran = plain.ran().await.expect("still ready");
    assert!(ran.lasted < Millis::secs(120), "{ran:?}");
    // One whose clock is ahead makes none that could be believed.
    plain.report(&ready("True", "2999-01-01T00:00:00Z"));
    assert_eq!(plain.ran().await, None);
    plain.report(&ready("True", LONG_AGO));
    assert!(plain.ran().await.is_some());

    plain.report(&json!({"containerStatuses": [{
        "name": "web", "restartCount": 1,
        "lastState": {"terminated": {"exitCode": 1, "finishedAt": jiff::Timestamp::now().to_string()}},
    }]}));
    assert_eq!(plain.ran().await, None, "it has just restarted");

    let seen = plain.complete().await;
    plain.apply("two", None).await;
    let guarded = plain.guarded().await;
    assert_eq!(guarded.ran(&seen).await.expect("asked"), None, "it is not what was seen any more");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pod_that_its_node_has_evicted_and_that_was_replaced_makes_no_revision_bad() {
    let mut plain = Plain::new(2).await;
    let before = plain.scene.pods();
    plain.report(
        &json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on resource: memory."}),
    );
    plain
        .scene
        .until("pod in its place", |scene| {
            scene.pods().len() == 3 && scene.deployment("shop")["status"]["readyReplicas"] == 2
        })
        .await;
    assert!(before.iter().all(|pod| plain.scene.pods().contains(pod)), "it stays in the list");
    let sight = plain.complete().await;
    let plan = plain.plan(&sight, None).await;
    plain.scene.must(&plan, Effect::Check).await;
    plain.scene.must(&plan, Effect::Build).await;
    plain.scene.must(&plan, scale(&plan)).await;
    let at = plan.generation(6);
    let shift = Effect::Shift { share: Share::ALL, mirror: Share::NONE, generation: at };
    let seen = plain.scene.must(&plan, shift).await.expect("a reading");
    assert_eq!(seen.new.instances.len(), 2, "{seen:?}");
    assert!(seen.new.instances.iter().all(|one| one.ready && !one.broken), "{seen:?}");
}
