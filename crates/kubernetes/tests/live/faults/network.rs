//! The network between, and the parts of the control plane themselves.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tidegate_bed::{Component, ControlPlane, Options};
use tidegate_core::deployment::{Effect, Outcome};
use tidegate_kubernetes::Traffic;

use super::{Case, Fault, HELD, Style, Sum, cases, meet};
use crate::{
    scene::Scene,
    tunnel::{Mode, Tunnel},
};

/// A case whose connections go through a tunnel.
fn through(plane: &'static ControlPlane, scene: &mut Scene) -> Tunnel {
    let tunnel = Tunnel::to(plane);
    scene.kubeconfig = tunnel.kubeconfig(plane, &scene.data);
    tunnel
}

async fn met(plane: &'static ControlPlane, mode: Mode) -> Sum {
    let cases = cases(plane, (Style::Canary, 1), through).await;
    let set = |cases: &[Arc<Case<Tunnel>>], on| {
        for case in cases {
            case.way.set(if on { mode } else { Mode::Open });
        }
    };
    let lasts = (mode != Mode::Slow).then_some(HELD);
    meet(
        &cases,
        &Fault { name: &format!("network {mode:?}"), set: &set, held: HELD, lasts, takes_pods: false },
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 16)]
async fn whatever_the_network_does_at_any_effect_users_are_safe_within_five_seconds_of_its_end() {
    let plane = ControlPlane::shared().expect("a control plane");
    plane.install_gateway_api().expect("Gateway API");
    let mut sum = Sum::default();
    for some in [[Mode::Refusing, Mode::Slow], [Mode::Cutting, Mode::Silent]] {
        for one in some.map(|mode| tokio::spawn(met(plane, mode))) {
            sum.add(&one.await.expect("met"));
        }
    }
    sum.all_well();
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
        let cases = cases(plane, (Style::Canary, 1), through).await;
        let set = |_: &[Arc<Case<Tunnel>>], on| {
            if on {
                plane.kill(component);
            } else {
                plane.revive(component).expect("revived");
                let ready = || {
                    Ok(plane
                        .admin()
                        .ask("GET", "/readyz", "", String::new())
                        .is_ok_and(|answer| answer.status == 200)
                        .then_some(()))
                };
                tidegate_bed::until("readiness", Duration::from_mins(1), ready).expect("ready");
            }
        };
        let lasts = matches!(component, Component::ApiServer | Component::Etcd).then_some(HELD);
        let name = format!("{component} killed");
        sum.add(&meet(&cases, &Fault { name: &name, set: &set, held: HELD, lasts, takes_pods: false }).await);
    }
    sum.all_well();
}

async fn a_kind_that_is_not_installed_is_named(plane: &'static ControlPlane) {
    let mut scene = Scene::on(plane, 1, Traffic::Service).await;
    let stable = scene.adopted().await;
    scene.traffic = Traffic::VirtualService { name: "shop".to_owned(), destination_rule: None };
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
    let case = Case::at(plane, (Style::Canary, 1), "scale", through).await;
    // The watches of before never hear anything again; new connections work.
    case.way.set(Mode::Silent);
    tokio::time::sleep(Duration::from_millis(50)).await;
    case.way.set(Mode::Open);
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
