//! Controllers that die, and journals that are lost.

use serde_json::json;

use crate::scene::{Scene, condition, is};

#[test]
fn a_controller_that_is_killed_in_the_middle_goes_on_when_it_is_started_again() {
    let scene = Scene::new("killed");
    let controller = scene.controller("a");
    scene.apply('a', &json!({}));
    scene.until_state("verified");
    scene.apply('b', &json!({"strategy": {"canary": {"steps": ["50%"], "bake": "4s"}}}));
    let half = scene.until("half of the traffic", |status| status["share"] == "50%");
    controller.kill();
    let _controller = scene.controller("a");
    let done = scene.until_state("verified");
    assert_eq!(done["status"]["deployment"], half["status"]["deployment"], "the same deployment went on");
    assert!(done["status"]["epoch"].as_u64() > half["status"]["epoch"].as_u64());
    assert_eq!(scene.releases().len(), 2, "{:?}", scene.releases());
    let events = scene.events();
    let verified = events.iter().filter(|(reason, _)| reason == "Verified").count();
    assert_eq!(verified, 2, "each change is told once: {events:?}");
}

#[test]
fn without_the_journal_the_objects_and_the_status_are_enough() {
    let scene = Scene::new("lost");
    let controller = scene.controller("a");
    scene.apply('a', &json!({}));
    let before = scene.until_state("verified");
    controller.terminate();
    let (code, log) = controller.ended();
    assert_eq!(code, Some(0), "{log}");
    // Another disk, with nothing on it.
    let _controller = scene.controller("b");
    scene.apply('b', &json!({}));
    let after = scene.until_state("verified");
    assert_eq!(condition(&after, "Ready"), is("True", "Verified"));
    assert!(after["status"]["epoch"].as_u64() > before["status"]["epoch"].as_u64());
    assert_eq!(after["status"]["stable"], before["status"]["release"], "what serves was found: {after:#}");
    assert_eq!(scene.releases().len(), 2, "nothing was rolled out twice: {:?}", scene.releases());
}

#[test]
fn without_the_journal_in_the_middle_the_same_release_goes_on_and_the_route_is_put_back_at_the_end() {
    let scene = Scene::new("route");
    scene.plane.install_gateway_api().expect("Gateway API");
    let routes = format!("/apis/gateway.networking.k8s.io/v1/namespaces/{}/httproutes", scene.namespace);
    let rules = json!([{"backendRefs": [{"name": "shop", "port": 80}]}]);
    let route = json!({
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {"name": "shop"},
        "spec": {"parentRefs": [{"name": "gateway"}], "rules": rules},
    });
    scene.admin().create(&routes, &route).expect("a route");
    let backends = || {
        let route = scene.admin().get(&format!("{routes}/shop")).expect("a route");
        route["spec"]["rules"][0]["backendRefs"].clone()
    };
    let by_route = |bake: &str| json!({"traffic": {"http_route": "shop"}, "strategy": {"canary": {"steps": ["50%"], "bake": bake}}});
    let controller = scene.controller("a");
    scene.apply('a', &by_route("1s"));
    scene.until_state("verified");
    scene.apply('b', &by_route("3s"));
    let half = scene.until("half of the traffic", |status| status["share"] == "50%");
    controller.kill();
    let _controller = scene.controller("b");
    let done = scene.until_state("verified");
    assert_eq!(done["status"]["release"], half["status"]["release"]);
    let names: Vec<_> =
        backends().as_array().expect("backends").iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["shop"], "{:#}", backends());
    assert_eq!(scene.releases().len(), 2, "{:?}", scene.releases());
}
