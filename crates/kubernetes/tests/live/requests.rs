//! What a rollout asks of the API server: so much and no more.

use std::{collections::BTreeMap, time::Duration};

use tidegate_bed::{ControlPlane, Counts, Middleman, Verb};
use tidegate_core::{
    deployment::Effect,
    model::{Millis, Share},
    plan::{Plan, Step, StrategySpec},
};
use tidegate_kubernetes::Traffic;

use crate::scene::Scene;

/// Most requests of each part of a canary in four steps behind an `HTTPRoute`, but for the watches and what they list at first:
/// four kinds of objects, once for a namespace. In words of the guide, with room for two writes that met a status which its
/// controller had just changed: each is read and written once more.
const BOUNDS: [(&str, u32); 9] = [
    ("check", 5),
    ("build", 8),
    ("first step", 3),
    ("further step", 4),
    ("minute of bake", 0),
    ("promotion", 2),
    ("end of the watch", 8),
    ("turning back", 4),
    ("end of turning back", 14),
];

/// Most requests of a whole rollout in four steps, and of one that is turned back at the second.
const WHOLE: [(&str, u32); 2] = [("rollout", 22), ("turned back", 30)];

/// Looks in a minute of bake.
const LOOKS: u64 = 120;

/// As long as nothing is to be asked while nothing is rolled out.
const IDLE: Duration = Duration::from_secs(10);

/// Requests by part.
#[derive(Default)]
struct Table {
    parts: Vec<(&'static str, u32)>,
    whole: u32,
}

impl Table {
    /// Takes what was counted since the last part.
    fn add(&mut self, part: &'static str, middleman: &Middleman) {
        let counted = middleman.counted();
        let requests = requests(&counted);
        println!("  {part:20} {requests:3}  {}", words(&counted));
        self.parts.push((part, requests));
        self.whole += requests;
    }

    fn is_within(&self, whole: &str) {
        for (part, requests) in &self.parts {
            let bound = BOUNDS.iter().find(|(name, _)| name == part).expect("a bound").1;
            assert!(*requests <= bound, "{part}: {requests} requests, at most {bound} are meant");
        }
        let bound = WHOLE.iter().find(|(name, _)| *name == whole).expect("a bound").1;
        println!("  {whole:20} {:3}", self.whole);
        assert!(self.whole <= bound, "{whole}: {} requests, at most {bound} are meant", self.whole);
    }
}

/// Watches are no requests that something waits for, and neither are the lists that they begin with.
fn requests(counted: &Counts) -> u32 {
    let watched =
        |resource: &str| counted.keys().any(|one| one.verb == Verb::Watch && one.resource == resource);
    counted
        .iter()
        .filter(|(asked, _)| asked.verb != Verb::Watch)
        .filter(|(asked, _)| asked.verb != Verb::List || !watched(&asked.resource))
        .map(|(_, times)| times)
        .sum()
}

/// `patch httproutes 1, get services 2`.
fn words(counted: &Counts) -> String {
    let mut by = BTreeMap::<String, u32>::new();
    for (asked, times) in counted {
        *by.entry(format!("{} {}", asked.verb, asked.resource)).or_default() += times;
    }
    by.iter().map(|(what, times)| format!("{what} {times}")).collect::<Vec<_>>().join(", ")
}

async fn stage(scene: &Scene, plan: &std::sync::Arc<Plan>, number: u64, share: Share) {
    let instances = plan.stages.iter().find(|stage| stage.share == share).expect("a stage").instances;
    let at = |step: u64| plan.generation(number * 10 + step);
    scene.must(plan, Effect::Scale { instances, generation: at(1), share }).await;
    scene.must(plan, Effect::Shift { share, mirror: Share::NONE, generation: at(2) }).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_asks_so_much_of_the_api_server_and_no_more_and_a_bake_asks_nothing() {
    let plane = ControlPlane::shared().expect("a control plane");
    plane.install_gateway_api().expect("Gateway API");
    let mut scene = Scene::on(plane, 4, Traffic::HttpRoute { name: "shop".to_owned() }).await;
    let middleman = plane.middleman(plane.admin()).expect("a middleman");
    middleman.kubeconfig().clone_into(&mut scene.kubeconfig);
    let step = |percent| Step { share: Share::percent(percent), bake: Millis::secs(1), approval: false };
    scene.strategy = StrategySpec::Canary { steps: [5, 25, 50, 100].map(step).to_vec() };
    let shares = [5, 25, 50, 100].map(Share::percent);
    let stable = scene.adopted().await;

    let mut back = Table::default();
    let plan = scene.plan(scene.release("one-1", None), Some(stable.clone()));
    drop(middleman.counted());
    scene.must(&plan, Effect::Check).await;
    back.add("check", &middleman);
    scene.must(&plan, Effect::Build).await;
    back.add("build", &middleman);
    stage(&scene, &plan, 1, shares[0]).await;
    back.add("first step", &middleman);
    stage(&scene, &plan, 2, shares[1]).await;
    back.add("further step", &middleman);
    for _ in 0..LOOKS {
        assert_eq!(scene.looked(&plan, 1).await.astray, None);
    }
    back.add("minute of bake", &middleman);
    scene.must(&plan, Effect::Restore { generation: plan.generation(100) }).await;
    back.add("turning back", &middleman);
    scene.must(&plan, Effect::Retire { new: true, generation: plan.generation(200) }).await;
    back.add("end of turning back", &middleman);
    back.is_within("turned back");

    let mut whole = Table::default();
    scene.turn = 2;
    let plan = scene.plan(scene.release("two-1", None), Some(stable));
    scene.must(&plan, Effect::Check).await;
    whole.add("check", &middleman);
    scene.must(&plan, Effect::Build).await;
    whole.add("build", &middleman);
    for (number, share) in (1..).zip(shares) {
        stage(&scene, &plan, number, share).await;
        whole.add(if number == 1 { "first step" } else { "further step" }, &middleman);
    }
    for _ in 0..LOOKS {
        assert_eq!(scene.looked(&plan, 3).await.astray, None);
    }
    whole.add("minute of bake", &middleman);
    scene.must(&plan, Effect::Promote { generation: plan.generation(100) }).await;
    whole.add("promotion", &middleman);
    scene.must(&plan, Effect::Retire { new: false, generation: plan.generation(200) }).await;
    whole.add("end of the watch", &middleman);
    whole.is_within("rollout");

    tokio::time::sleep(IDLE).await;
    let idle = middleman.counted();
    assert!(idle.is_empty(), "while nothing was rolled out: {}", words(&idle));
}
