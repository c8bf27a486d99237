//! What an adopted Deployment's owner does with it between two rollouts of ours.

use serde_json::json;
use tidegate_core::{deployment::Effect, model::Release};
use tidegate_engine::Successor;
use tidegate_kubernetes::{KubernetesSpec, Traffic};

use crate::scene::{Scene, image};

impl Scene {
    async fn successor(&self, good: &Release) -> Result<Option<Successor>, String> {
        self.target.successor(good).expect("a Deployment of somebody else's").await
    }

    fn shop_runs(&self, tag: &str, sim: Option<&str>) {
        let change = json!({"spec": {"template": {
            "metadata": {"labels": {"sim": sim}},
            "spec": {"containers": [{"name": "web", "image": image(tag)}]},
        }}});
        let content = "application/strategic-merge-patch+json";
        let shop = self.path("/apis/apps/v1", "deployments", "shop");
        let answer = self.admin().ask("PATCH", &shop, content, change.to_string()).expect("an answer");
        assert_eq!(answer.status, 200, "{}", answer.body);
    }

    async fn shop_rests(&self) {
        self.until("their rollout", |scene| {
            let shop = scene.deployment("shop");
            let status = &shop["status"];
            let all = ["replicas", "updatedReplicas", "readyReplicas"].map(|key| status[key].as_u64());
            status["observedGeneration"] == shop["metadata"]["generation"]
                && all == [Some(u64::from(scene.replicas)); 3]
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_owner_has_rolled_out_since_is_adopted_afresh_once_it_is_whole() {
    let scene = Scene::with(2, Traffic::Service).await;
    let good = scene.adopted().await;
    assert!(scene.target.successor(&scene.release("own-1", None)).is_none(), "ours is asked of nobody");
    assert_eq!(scene.successor(&good).await, Ok(None));

    scene.shop_runs("mending", Some("unready"));
    scene.until("a pod of it", |scene| scene.deployment("shop")["status"]["updatedReplicas"] == 1).await;
    let why = scene.successor(&good).await.expect_err("in the middle of it");
    assert!(why.contains("is being rolled out by somebody else: wait"), "{why}");
    scene.shop_runs("mended", None);
    scene.shop_rests().await;
    let since = scene.successor(&good).await.expect("an answer").expect("another one");
    let revision =
        scene.deployment("shop")["metadata"]["annotations"]["deployment.kubernetes.io/revision"].clone();
    let said = format!("revision {} is what is returned to", revision.as_str().expect("a revision"));
    assert!(
        since.note.contains("was rolled out by its owner since") && since.note.contains(&said),
        "{}",
        since.note
    );
    assert_eq!(since.release, scene.adopted().await, "as if it were adopted for the first time");
    assert!(since.release.artifact.to_string().contains(&image("mended")), "{}", since.release.artifact);
    let plan = scene.plan(scene.release("new-1", None), Some(good.clone()));
    let why = scene.fails(&plan, Effect::Check).await;
    assert!(why.contains("was rolled out by somebody else"), "{why}");
    let plan = scene.plan(scene.release("new-1", None), Some(since.release));
    scene.must(&plan, Effect::Check).await;
    let back = scene.plan(good.clone(), Some(scene.release("new-1", None)));
    let why = scene.fails(&back, Effect::Check).await;
    assert!(
        why.contains("put that revision back first (`kubectl rollout undo deployment/shop --to-revision=1`)"),
        "{why}"
    );

    // Its owner goes back by himself: another revision, and the very same pods.
    scene.shop_runs("old", None);
    scene.shop_rests().await;
    assert_eq!(scene.successor(&good).await, Ok(None));
    let spec = KubernetesSpec::of(&good).expect("a description");
    assert_ne!(spec.adopted.and_then(|adopted| adopted.revision).as_deref(), Some("3"));

    scene.shop_runs("mended", None);
    scene.shop_rests().await;
    let pods = scene.pods();
    scene.plane.admin().set_ready(&scene.namespace, &pods[0].0, false).expect("set");
    scene.until("news of it", |scene| scene.deployment("shop")["status"]["readyReplicas"] == 1).await;
    let why = scene.successor(&good).await.expect_err("not whole");
    assert!(why.contains("1 of 2 pods are ready") && why.contains("kubectl rollout undo"), "{why}");
}
