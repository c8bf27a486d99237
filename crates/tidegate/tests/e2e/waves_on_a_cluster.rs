//! Waves of cells, by the command line, on a real control plane.
//!
//! `cargo xtask test kube` runs these; the other suites leave them out by the name of this module.

use std::fs;

use serde_json::{Value, json};
use tidegate_bed::{Access, ControlPlane};

use crate::support::{Project, until};

/// A service in two cells of two waves, which turns back the wave that failed.
struct Shop {
    project: Project,
    admin: &'static Access,
    cells: [String; 2],
}

impl Shop {
    fn new() -> Self {
        let plane = ControlPlane::shared().expect("a control plane");
        plane.install_gateway_api().expect("Gateway API");
        let mut project = Project::new();
        project.environment("KUBECONFIG", &plane.kubeconfig().to_string_lossy());
        let cells = ["first", "second"].map(|prefix| plane.namespace(prefix).expect("a namespace"));
        let shop = Self { project, admin: plane.admin(), cells };
        shop.cells.iter().for_each(|cell| shop.users_objects(cell));
        shop.configure();
        shop
    }

    fn users_objects(&self, cell: &str) {
        let template = json!({
            "metadata": {"labels": {"app": "shop"}},
            "spec": {"containers": [{"name": "web", "image": image('a'), "ports": [{"containerPort": 8080}]}]},
        });
        let deployment = json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"},
            "spec": {"replicas": 2, "selector": {"matchLabels": {"app": "shop"}}, "template": template},
        });
        fs::write(self.project.root().join("deploy.yaml"), deployment.to_string()).expect("a manifest");
        let service = json!({
            "metadata": {"name": "shop"},
            "spec": {"selector": {"app": "shop"}, "ports": [{"port": 80, "targetPort": 8080}]},
        });
        let route = json!({
            "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": "shop"},
            "spec": {"rules": [{"backendRefs": [{"name": "shop", "port": 80}]}]},
        });
        for (group, plural, object) in [
            ("/api/v1", "services", &service),
            ("/apis/apps/v1", "deployments", &deployment),
            (ROUTES, "httproutes", &route),
        ] {
            self.admin.create(&format!("{group}/namespaces/{cell}/{plural}"), object).expect("made");
        }
        until(|| self.ready(cell, "shop") == 2, || "no ready pods".to_owned());
    }

    fn configure(&self) {
        let [first, second] = &self.cells;
        let text = format!(
            "version: 1
services:
  shop:
    run:
      kubernetes:
        manifest: deploy.yaml
        service: shop
        replicas: 2
        traffic: {{http_route: shop}}
        cells:
          first: {{namespace: {first}, wave: 1}}
          second: {{namespace: {second}, wave: 2}}
        turn_back: wave
    strategy: {{canary: {{steps: [{{share: 50%, bake: 2s}}, {{share: 100%, bake: 300ms}}]}}}}
    watch: 300ms
"
        );
        fs::write(self.project.config(), text).expect("a configuration");
    }

    fn ready(&self, cell: &str, deployment: &str) -> u64 {
        let path = format!("/apis/apps/v1/namespaces/{cell}/deployments/{deployment}");
        self.admin.get(&path).map_or(0, |object| object["status"]["readyReplicas"].as_u64().unwrap_or(0))
    }

    fn rules(&self, cell: &str) -> Value {
        let route = self.admin.get(&format!("{ROUTES}/namespaces/{cell}/httproutes/shop")).expect("a route");
        route["spec"]["rules"].clone()
    }

    /// The percent of the new release's traffic.
    fn percent(&self, cell: &str) -> u64 {
        let rules = self.rules(cell);
        let weight = |name: &str| -> u64 {
            let backends = rules[0]["backendRefs"].as_array().into_iter().flatten();
            backends.filter(|one| one["name"] == name).filter_map(|one| one["weight"].as_u64()).sum()
        };
        weight("shop-preview") * 100 / (weight("shop-preview") + weight("shop")).max(1)
    }

    fn deploy(&self, letter: char, more: &[&str]) -> crate::support::Ran {
        let image = image(letter);
        self.project.run(&[&["deploy", "--image", &image][..], more].concat())
    }

    /// The pods of releases of ours with this image.
    fn pods(&self, cell: &str, letter: char) -> Vec<String> {
        let list = self.admin.get(&format!("/api/v1/namespaces/{cell}/pods")).expect("pods");
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let its = items.iter().filter(|pod| pod["spec"]["containers"][0]["image"] == image(letter));
        its.map(|pod| pod["metadata"]["name"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

const ROUTES: &str = "/apis/gateway.networking.k8s.io/v1";

fn image(letter: char) -> String {
    format!("registry.example/shop@sha256:{}", letter.to_string().repeat(64))
}

#[test]
fn the_wave_that_fails_is_turned_back_and_the_earlier_one_keeps_the_release_until_the_next_deployment() {
    let shop = Shop::new();
    let [first, second] = &shop.cells;
    let before = [shop.rules(first), shop.rules(second)];
    let id = shop.deploy('b', &["--detach", "--json"]).code(0).json()["deployment"]
        .as_str()
        .expect("an id")
        .to_owned();
    until(|| shop.percent(second) > 0, || shop.project.run(&["history", &id]).stdout);
    assert_eq!(shop.percent(first), 100, "the first wave is through");
    for pod in shop.pods(second, 'b') {
        shop.admin.set_ready(second, &pod, false).expect("unready");
    }
    shop.project.run(&["watch", &id]).code(4).says("Rolled back");
    assert_eq!((shop.percent(first), shop.percent(second)), (100, 0));
    shop.project.run(&["why", &id]).code(0).says("instances");
    assert_eq!((shop.pods(first, 'b').len(), shop.pods(second, 'b').len()), (2, 0), "what users reach stays");
    assert_eq!((shop.ready(first, "shop"), shop.ready(second, "shop")), (2, 2), "and the way back too");

    shop.deploy('c', &[]).code(0);
    assert_eq!([shop.rules(first), shop.rules(second)], before, "as their owner wrote them");
    for cell in [first, second] {
        let selector =
            shop.admin.get(&format!("/api/v1/namespaces/{cell}/services/shop")).expect("it is there");
        assert!(selector["spec"]["selector"]["tidegate.dev/release"].is_string(), "{selector}");
        let pods = || ['a', 'b', 'c'].map(|letter| shop.pods(cell, letter).len());
        until(|| pods() == [0, 0, 2], || format!("not one release everywhere: {:?}", pods()));
    }
}
