//! One release in several places: waves, and what turns back.

use serde_json::{Value, json};
use tidegate_core::{
    deployment::{Effect, Reach},
    model::Share,
    plan::Stage,
};
use tidegate_kubernetes::{Cell, Here, Traffic};

use crate::scene::Scene;

fn route() -> Traffic {
    Traffic::HttpRoute { name: "shop".to_owned() }
}

fn cell(name: &str, scene: &Scene, wave: u16) -> Cell {
    Cell {
        name: name.to_owned(),
        kubeconfig: Some(scene.kubeconfig.clone()),
        context: None,
        namespace: scene.namespace.clone(),
        wave,
        here: Here::Ours,
        server: None,
    }
}

/// The percent that the preview has of what it and the users' Service have.
fn percent(scene: &Scene) -> u64 {
    let backends = scene.route()["spec"]["rules"][1]["backendRefs"].as_array().cloned().unwrap_or_default();
    let of = |name: &str| -> u64 {
        let own = backends.iter().filter(|one| one["name"].as_str() == Some(name));
        own.map(|one| one["weight"].as_u64().unwrap_or(1)).sum()
    };
    of("shop-preview") * 100 / (of("shop-preview") + of("shop"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wave_gets_the_release_before_the_next_one_and_turns_back_alone_or_with_all() {
    let (mut here, there) = (Scene::with(2, route()).await, Scene::with(2, route()).await);
    here.cells = vec![cell("here", &here, 0), cell("there", &there, 1)];
    let before = (here.pods(), there.pods(), there.route()["spec"].clone());
    let mut plan = here.plan(here.release("new-1", None), Some(here.adopted().await)).as_ref().clone();
    let second: Vec<_> = plan.stages.iter().map(|stage| Stage { wave: 1, ..stage.clone() }).collect();
    plan.stages.extend(second);
    let plan = std::sync::Arc::new(plan);
    here.begin(&plan).await;
    here.reach = Reach::Wave(0);
    here.expose(&plan, Share::percent(50), 1).await;
    assert_eq!(here.looked(&plan, 2).await.astray, None, "what the other cell has not is not asked of it");
    assert_eq!((percent(&here), there.route()["spec"].clone()), (50, before.2.clone()));
    assert_eq!(there.deployment("shop-new-1")["spec"]["replicas"], 0, "not its turn");
    here.expose(&plan, Share::ALL, 2).await;
    here.reach = Reach::Wave(1);
    let reading = here.expose(&plan, Share::percent(25), 3).await;
    assert_eq!((percent(&here), percent(&there)), (100, 25));
    let of = |cell: &str| reading.new.instances.iter().filter(|one| one.id.starts_with(cell)).count();
    assert_eq!((of("here/"), of("there/")), (2, 1), "one verdict on all: {reading:?}");
    assert_eq!(reading.stable.map(|stable| stable.instances.len()), Some(4));
    let looked = here.looked(&plan, 5).await;
    assert_eq!((looked.astray, looked.new.wanted), (None, 3));
    let other = here.looked(&plan, 6).await.astray.unwrap_or_default();
    assert!(other.starts_with("cell there: HTTPRoute") && other.contains("25 % and not 50 %"), "{other}");

    here.reach = Reach::From(1);
    here.must(&plan, Effect::Restore { generation: plan.generation(50) }).await;
    assert_eq!((percent(&here), percent(&there)), (100, 0), "the wave that failed");
    here.reach = Reach::All;
    here.must(&plan, Effect::Restore { generation: plan.generation(60) }).await;
    assert_eq!((percent(&here), percent(&there)), (0, 0), "all of it");
    here.must(&plan, Effect::Retire { new: true, generation: plan.generation(70) }).await;
    assert_eq!((here.pods(), there.pods(), there.route()["spec"].clone()), before, "as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cell_that_cannot_be_reached_is_named_and_keeps_no_other_from_turning_back() {
    let (mut here, there) = (Scene::with(1, route()).await, Scene::with(1, route()).await);
    here.cells = vec![cell("here", &here, 0), cell("there", &there, 0)];
    let stable = here.adopted().await;
    let plan = here.plan(here.release("new-1", None), Some(stable.clone()));
    here.begin(&plan).await;
    here.expose(&plan, Share::percent(50), 1).await;
    assert_eq!((percent(&here), percent(&there)), (50, 50));

    // The same deployment, by an engine for which one of the two clusters is gone.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let text = std::fs::read_to_string(&here.kubeconfig).unwrap();
    let mut config: Value = serde_json::from_str(&text).expect("JSON is YAML");
    config["clusters"][0]["cluster"]["server"] = json!(format!("https://{closed}"));
    let gone = here.data.path().join("gone");
    std::fs::write(&gone, config.to_string()).unwrap();
    here.cells[1].kubeconfig = Some(gone);
    let plan = here.plan(here.release("new-1", None), Some(stable));
    let why = here.fails(&plan, Effect::Restore { generation: plan.generation(50) }).await;
    assert!(why.contains("cell there") && !why.contains("cell here"), "{why}");
    assert_eq!((percent(&here), percent(&there)), (0, 50));
}
