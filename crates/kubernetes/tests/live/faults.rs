//! Every fault at every effect: users are where it is safe within seconds of the fault allowing it.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    scene::Scene,
    tunnel::{Mode, Tunnel},
};
use serde_json::Value;
use tidegate_bed::{Component, ControlPlane, Options};
use tidegate_core::{
    deployment::{Effect, Outcome},
    model::Share,
    plan::Plan,
};
use tidegate_kubernetes::Traffic;

/// Longest time from when the fault allows it to users being where it is safe.
const SAFE_WITHIN: Duration = Duration::from_secs(5);

/// How long the fault lasts while the effect is on its way, before the way back is asked for; and after.
const HELD: Duration = Duration::from_millis(700);

/// What the fault meets.
const EFFECTS: [&str; 7] = ["check", "build", "scale", "shift", "promote", "restore", "retire"];

/// One deployment at the door of one effect.
struct Case {
    effect: &'static str,
    scene: Scene,
    plan: Arc<Plan>,
    tunnel: Tunnel,
    pods: Vec<(String, u64)>,
    foreign: Value,
}

/// What became of it.
#[derive(Debug, Default)]
struct Sum {
    cases: u32,
    unsafe_: u32,
    restarted_pods: usize,
    foreign_rules_touched: u32,
    slowest: Duration,
}

impl Case {
    async fn at(plane: &'static ControlPlane, effect: &'static str) -> Self {
        let mut scene = Scene::on(plane, 1, Traffic::HttpRoute { name: "shop".to_owned() }).await;
        let tunnel = Tunnel::to(plane).await;
        scene.kubeconfig = tunnel.kubeconfig(plane, &scene.data);
        let plan = scene.plan(scene.release("new-1", None), Some(scene.adopted().await));
        let (pods, foreign) = (scene.pods(), scene.route()["spec"]["rules"][0].clone());
        let half = Share::percent(50);
        let scale = Effect::Scale { instances: 1, generation: plan.generation(10), share: half };
        match effect {
            "check" => {}
            "build" => drop(scene.must(&plan, Effect::Check).await),
            "scale" => scene.begin(&plan).await,
            "shift" => {
                scene.begin(&plan).await;
                scene.must(&plan, scale).await;
            }
            other => {
                scene.begin(&plan).await;
                scene.expose(&plan, if other == "promote" { Share::ALL } else { half }, 1).await;
                if other == "retire" {
                    scene.must(&plan, Effect::Restore { generation: plan.generation(20) }).await;
                }
            }
        }
        Self { effect, scene, plan, tunnel, pods, foreign }
    }

    fn effect(&self) -> Effect {
        let (half, at) = (Share::percent(50), |step| self.plan.generation(step));
        match self.effect {
            "check" => Effect::Check,
            "build" => Effect::Build,
            "scale" => Effect::Scale { instances: 1, generation: at(10), share: half },
            "shift" => Effect::Shift { share: half, mirror: Share::NONE, generation: at(11) },
            "promote" => Effect::Promote { generation: at(30) },
            "restore" => Effect::Restore { generation: at(30) },
            _ => Effect::Retire { new: true, generation: at(30) },
        }
    }

    /// Asks for the way back until it has been gone, as the engine does, and says when that was.
    async fn back(&self) -> Instant {
        loop {
            let restore = Effect::Restore { generation: self.plan.generation(100) };
            if self.scene.order(&self.plan, 1, restore).await == Outcome::Done {
                return Instant::now();
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Whether users are on the stable release, with pods that answer.
    fn is_safe(&self) -> bool {
        let route = self.scene.route();
        let backends = route["spec"]["rules"][1]["backendRefs"].as_array().cloned().unwrap_or_default();
        let to_new = backends.iter().any(|one| one["name"] == "shop-preview" && one["weight"] != 0);
        let selector = self.scene.selector();
        !to_new
            && !backends.is_empty()
            && selector["tidegate.dev/release"].is_null()
            && self.scene.endpoints() == 1
    }

    fn judge(&self, took: Duration, sum: &mut Sum, fault: &str) {
        let now = self.scene.pods();
        let safe = took <= SAFE_WITHIN && self.is_safe();
        sum.cases += 1;
        sum.unsafe_ += u32::from(!safe);
        sum.restarted_pods += self.pods.iter().filter(|pod| !now.contains(pod)).count();
        sum.foreign_rules_touched += u32::from(self.scene.route()["spec"]["rules"][0] != self.foreign);
        sum.slowest = sum.slowest.max(took);
        if !safe {
            eprintln!(
                "UNSAFE {fault} at {}: {took:?}, {}, {}",
                self.effect,
                self.scene.selector(),
                self.scene.route()["spec"]
            );
        }
    }
}

async fn cases(plane: &'static ControlPlane) -> Vec<Arc<Case>> {
    let begun: Vec<_> = EFFECTS.map(|effect| tokio::spawn(Case::at(plane, effect))).into_iter().collect();
    let mut cases = Vec::new();
    for case in begun {
        cases.push(Arc::new(case.await.expect("a case")));
    }
    cases
}

/// The effects run into the fault, then the ways back do, then it passes.
async fn meet(cases: &[Arc<Case>], fault: &str, set: impl Fn(bool), passes: bool, sum: &mut Sum) {
    let effects: Vec<_> = cases
        .iter()
        .cloned()
        .map(|case| tokio::spawn(async move { drop(case.scene.order(&case.plan, 1, case.effect()).await) }))
        .collect();
    set(true);
    tokio::time::sleep(HELD).await;
    // The engine drops what it no longer wants.
    effects.iter().for_each(tokio::task::JoinHandle::abort);
    let mut allowed = Instant::now();
    let backs: Vec<_> =
        cases.iter().cloned().map(|case| tokio::spawn(async move { case.back().await })).collect();
    if passes {
        tokio::time::sleep(HELD).await;
        set(false);
        allowed = Instant::now();
    }
    for (case, back) in cases.iter().zip(backs) {
        let took = back.await.expect("back").saturating_duration_since(allowed);
        case.judge(took, sum, fault);
    }
    if !passes {
        set(false);
    }
}

fn all_well(sum: &Sum) {
    println!(
        "cases {}, unsafe {}, restarted_pods {}, foreign_rules_touched {}, slowest {:?}",
        sum.cases, sum.unsafe_, sum.restarted_pods, sum.foreign_rules_touched, sum.slowest
    );
    assert!(sum.cases >= 28);
    assert_eq!((sum.unsafe_, sum.restarted_pods, sum.foreign_rules_touched), (0, 0, 0), "{sum:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn whatever_the_network_does_at_any_effect_users_are_safe_within_five_seconds_of_its_end() {
    let plane = ControlPlane::shared().expect("a control plane");
    plane.install_gateway_api().expect("Gateway API");
    let mut sum = Sum::default();
    for mode in [Mode::Refusing, Mode::Slow, Mode::Cutting, Mode::Silent] {
        let cases = cases(plane).await;
        let set = |on| cases.iter().for_each(|case| case.tunnel.set(if on { mode } else { Mode::Open }));
        meet(&cases, &format!("{mode:?}"), set, mode != Mode::Slow, &mut sum).await;
    }
    all_well(&sum);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn whatever_of_the_control_plane_is_killed_at_any_effect_users_are_safe_within_five_seconds_of_its_return()
 {
    let options = Options::default();
    let plane = ControlPlane::start(&options).expect("a control plane");
    let plane: &'static ControlPlane = Box::leak(Box::new(plane));
    plane.install_gateway_api().expect("Gateway API");
    a_kind_that_is_not_installed_is_named(plane).await;
    let mut sum = Sum::default();
    let components =
        [Component::Scheduler, Component::ControllerManager, Component::ApiServer, Component::Etcd];
    for component in components {
        let cases = cases(plane).await;
        let set = |on| {
            if on {
                plane.kill(component);
            } else {
                tokio::task::block_in_place(|| plane.revive(component)).expect("revived");
                let ready = || {
                    Ok(plane
                        .admin()
                        .ask("GET", "/readyz", "", String::new())
                        .is_ok_and(|answer| answer.status == 200)
                        .then_some(()))
                };
                tokio::task::block_in_place(|| {
                    tidegate_bed::until("readiness", Duration::from_mins(1), ready)
                })
                .expect("ready");
            }
        };
        let passes = matches!(component, Component::ApiServer | Component::Etcd);
        meet(&cases, &component.to_string(), set, passes, &mut sum).await;
    }
    all_well(&sum);
}

async fn a_kind_that_is_not_installed_is_named(plane: &'static ControlPlane) {
    let mut scene = Scene::on(plane, 1, Traffic::Service).await;
    let stable = scene.adopted().await;
    scene.traffic = Traffic::VirtualService { name: "shop".to_owned() };
    let plan = scene.plan(scene.release("new-1", None), Some(stable));
    let why = scene.fails(&plan, Effect::Check).await;
    assert!(
        why.contains(
            "does not know virtualservices.networking.istio.io: install its CustomResourceDefinition"
        ),
        "{why}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watch_that_falls_silent_neither_stops_a_rollout_nor_fails_it() {
    let plane = ControlPlane::shared().expect("a control plane");
    plane.install_gateway_api().expect("Gateway API");
    let case = Case::at(plane, "scale").await;
    // The watches of before never hear anything again; new connections work.
    case.tunnel.set(Mode::Silent);
    tokio::time::sleep(Duration::from_millis(50)).await;
    case.tunnel.set(Mode::Open);
    let deadline = Instant::now() + Duration::from_secs(45);
    loop {
        match case.scene.order(&case.plan, 1, case.effect()).await {
            Outcome::Done => break,
            Outcome::Failed { permanent: false, .. } if Instant::now() < deadline => {}
            other @ (Outcome::Failed { .. } | Outcome::Read(_) | Outcome::LeaseEnded) => panic!("{other:?}"),
        }
    }
    case.scene.ready("shop-new-1", 1).await;
}
