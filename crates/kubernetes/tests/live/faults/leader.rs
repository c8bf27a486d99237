//! Another engine takes over while the first one's requests are still on their way.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tidegate_bed::{ControlPlane, Middleman, Rule, Spoil, Verb};
use tidegate_core::{
    deployment::{Effect, Outcome},
    model::Share,
};
use tidegate_kubernetes::control::Held;

use super::{Case, HELD, SAFE_WITHIN, Style, Sum, cases};
use crate::scene::{self, Scene};

/// The loser's way: somebody who holds its writes, and the right to act, where it has one that ends.
struct Loser {
    middleman: Middleman,
    held: Option<Held>,
}

fn loser(plane: &'static ControlPlane, scene: &mut Scene) -> Loser {
    let middleman = plane.middleman(plane.admin()).expect("a middleman");
    middleman.kubeconfig().clone_into(&mut scene.kubeconfig);
    Loser { middleman, held: None }
}

fn loser_with_a_lease(plane: &'static ControlPlane, scene: &mut Scene) -> Loser {
    let held = Held::default();
    held.extend(Instant::now() + scene::SOON);
    scene.target = scene.target.clone().while_held(held.clone());
    Loser { held: Some(held), ..loser(plane, scene) }
}

/// The effect is on its way when another engine turns the deployment back; then its requests arrive after all.
async fn lost(case: Arc<Case<Loser>>) -> Sum {
    let (scene, way) = (&case.scene, &case.way);
    way.middleman.spoil([Rule::every(Spoil::Held).of(&Verb::WRITES)]);
    let late = Arc::clone(&case);
    let late = tokio::spawn(async move { late.scene.order(&late.plan, 1, late.effect()).await });
    tokio::time::sleep(HELD).await;
    if let Some(held) = &way.held {
        held.end();
    }
    drop(way.middleman.counted());

    let began = Instant::now();
    let data = tempfile::tempdir().expect("a directory");
    let winner = scene::target("here", &data);
    let plan = scene.plan_by(scene.plane.kubeconfig(), &case.plan);
    let restore = Effect::Restore { generation: plan.generation(100) };
    let done = scene.order_to(&winner, &plan, 2, restore).await;
    assert_eq!(done, Outcome::Done, "the winner at {}", case.effect);
    let took = began.elapsed();

    // Longer than the way back waits for an answer before it asks again: who does not lead asks nothing again.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    way.middleman.relent();
    let late = late.await.expect("an answer");
    let shift =
        Effect::Shift { share: Share::percent(50), mirror: Share::NONE, generation: plan.generation(200) };
    let again = scene.order(&case.plan, 1, shift).await;
    let refused = matches!(again, Outcome::Failed { .. });
    let wrote = way.middleman.counted().into_iter().filter(|(asked, _)| Verb::WRITES.contains(&asked.verb));
    let wrote: Vec<_> = wrote.collect();
    let mut sum = Sum::default();
    let stopped = way.held.is_none() || wrote.is_empty();
    if !(refused && stopped) {
        eprintln!("UNSAFE at {}: late {late:?}, again {again:?}, wrote {wrote:?}", case.effect);
    }
    let took = (refused && stopped && took <= SAFE_WITHIN).then_some(took);
    case.judge(took, "leader lost", false, &mut sum);
    sum
}

#[tokio::test(flavor = "multi_thread", worker_threads = 16)]
async fn whatever_was_on_its_way_when_another_engine_took_over_changes_nothing_any_more() {
    let plane = ControlPlane::shared().expect("a control plane");
    plane.install_gateway_api().expect("Gateway API");
    let mut sum = Sum::default();
    for way in [loser, loser_with_a_lease] {
        let cases = cases(plane, (Style::Canary, 1), way).await;
        let lost: Vec<_> = cases.into_iter().map(|case| tokio::spawn(lost(case))).collect();
        for one in lost {
            sum.add(&one.await.expect("lost"));
        }
    }
    sum.all_well();
}
