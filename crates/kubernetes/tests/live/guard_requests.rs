//! What a guarded rollout asks of the API server: so much and no more.

use std::time::{Duration, Instant};

use tidegate_bed::{Counts, Middleman, Verb};
use tidegate_core::{
    deployment::Effect,
    model::{Millis, Share},
};
use tidegate_kubernetes::guard::Sight;

use crate::guard::{Plain, scale};

/// Most requests of each part, the lists that watches begin with among them, with room for a read and a write more that met a
/// status which its controller had just changed.
const BOUNDS: [(&str, u32); 8] = [
    ("check", 6),
    ("build", 4),
    ("coming up", 2),
    ("bake", 6),
    ("promotion", 2),
    ("bad one until its verdict", 12),
    ("undo", 8),
    ("end of the undo", 1),
];

/// As long as the bake is looked at twice a second: long enough for the watches to be doubted once.
const BAKE: Duration = Duration::from_secs(18);

/// Takes what was counted since the last part.
fn part(name: &str, middleman: &Middleman) {
    let counted = middleman.counted();
    let requests: u32 = asked(&counted).map(|(_, times)| times).sum();
    let words: Vec<String> =
        asked(&counted).map(|(one, times)| format!("{} {} {times}", one.verb, one.resource)).collect();
    println!("  {name:26} {requests:3}  {}", words.join(", "));
    let bound = BOUNDS.iter().find(|(of, _)| *of == name).expect("a bound").1;
    assert!(requests <= bound, "{name}: {requests} requests, at most {bound} are meant: {words:?}");
}

fn asked(counted: &Counts) -> impl Iterator<Item = (&tidegate_bed::Asked, &u32)> {
    counted.iter().filter(|(one, _)| one.verb != Verb::Watch)
}

/// What a guard does before it orders anything is its own: it goes by another way.
async fn unseen(
    plain: &mut Plain,
    middleman: &Middleman,
    look: impl AsyncFnOnce(&mut Plain) -> Sight,
) -> Sight {
    let own = std::mem::replace(&mut plain.scene.kubeconfig, plain.scene.plane.kubeconfig().to_owned());
    let sight = look(plain).await;
    plain.scene.kubeconfig = own;
    drop(middleman.counted());
    sight
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guarded_rollout_and_its_undo_ask_so_much_of_the_api_server_and_no_more_however_long_they_take() {
    let mut plain = Plain::new(4).await;
    let middleman = plain.scene.plane.middleman(plain.scene.admin()).expect("a middleman");
    middleman.kubeconfig().clone_into(&mut plain.scene.kubeconfig);
    let good = unseen(&mut plain, &middleman, async |plain| plain.complete().await).await;
    let plan = plain.plan(&good, None).await;
    let at = |step| plan.generation(step);
    drop(middleman.counted());
    plain.scene.must(&plan, Effect::Check).await;
    part("check", &middleman);
    plain.scene.must(&plan, Effect::Build).await;
    part("build", &middleman);
    plain.scene.must(&plan, scale(&plan)).await;
    plain
        .scene
        .must(&plan, Effect::Shift { share: Share::ALL, mirror: Share::NONE, generation: at(6) })
        .await;
    part("coming up", &middleman);
    let begun = Instant::now();
    while begun.elapsed() < BAKE {
        plain.scene.must(&plan, Effect::Measure { every: Millis::ZERO }).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    part("bake", &middleman);
    plain.scene.must(&plan, Effect::Promote { generation: at(7) }).await;
    part("promotion", &middleman);
    plain.scene.must(&plan, Effect::Retire { new: false, generation: at(8) }).await;

    let bad = unseen(&mut plain, &middleman, async |plain| plain.apply("bad", Some("unready")).await).await;
    let plan = plain.plan(&bad, None).await;
    drop(middleman.counted());
    // It is looked at for ten seconds without a further ready pod.
    plain.bad(&plan).await;
    part("bad one until its verdict", &middleman);
    plain.scene.must(&plan, Effect::Restore { generation: plan.generation(50) }).await;
    part("undo", &middleman);
    plain.scene.must(&plan, Effect::Retire { new: true, generation: plan.generation(51) }).await;
    part("end of the undo", &middleman);
    let back = unseen(&mut plain, &middleman, async |plain| plain.complete().await).await;
    assert_eq!(back.present, good.present);
}
