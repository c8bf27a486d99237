//! One service in a namespace of its own on a real control plane, and the orders of a deployment.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use serde_json::{Value, json};
use tidegate_adapters::clock::Clock;
use tidegate_bed::{Access, ControlPlane};
use tidegate_core::{
    deployment::{Effect, Outcome, Reach},
    gate::{Gate, Reading, Rule},
    model::{Artifact, Millis, Release, Share},
    plan::{Plan, Request, Step, StrategySpec, compile},
};
use tidegate_engine::Order;
use tidegate_kubernetes::{
    Bound, Cell, KubernetesSpec, KubernetesTarget, Traffic,
    belongings::{Autoscaling, Belongings},
    pinned,
    traffic::TesterMatch,
};

/// Longest wait of a test for anything.
pub(crate) const SOON: Duration = Duration::from_mins(1);

pub(crate) struct Scene {
    pub(crate) plane: &'static ControlPlane,
    pub(crate) namespace: String,
    pub(crate) target: KubernetesTarget,
    pub(crate) traffic: Traffic,
    pub(crate) replicas: u32,
    pub(crate) kubeconfig: PathBuf,
    pub(crate) strategy: StrategySpec,
    pub(crate) turn: u64,
    pub(crate) context: Option<String>,
    pub(crate) keep: u32,
    /// Where the release is, when it is in several places.
    pub(crate) cells: Vec<Cell>,
    /// The part of them that an order concerns.
    pub(crate) reach: Reach,
    pub(crate) belongings: Belongings,
    /// Whose requests always reach the new release.
    pub(crate) testers: Vec<TesterMatch>,
    /// The Rollout to be adopted.
    pub(crate) adopt: Option<String>,
    /// Kept for as long as the scene.
    pub(crate) data: tempfile::TempDir,
}

impl Scene {
    /// A namespace with a Service `shop` (`app=shop`) and a Deployment `shop` with so many ready pods.
    pub(crate) async fn with(replicas: u32, traffic: Traffic) -> Self {
        let plane = ControlPlane::shared().expect("a control plane");
        plane.install_gateway_api().expect("Gateway API");
        plane.install_istio().expect("Istio's definitions");
        Self::on(plane, replicas, traffic).await
    }

    /// The same on this control plane, as it is.
    pub(crate) async fn on(plane: &'static ControlPlane, replicas: u32, traffic: Traffic) -> Self {
        let scene = Self::empty(plane, replicas, traffic);
        scene.users_objects();
        scene.ready("shop", replicas).await;
        scene
    }

    /// A namespace with nothing in it.
    pub(crate) fn empty(plane: &'static ControlPlane, replicas: u32, traffic: Traffic) -> Self {
        let namespace = plane.namespace("shop").expect("a namespace");
        let data = tempfile::tempdir().expect("a data directory");
        let step = |percent| Step { share: Share::percent(percent), bake: Millis::secs(1), approval: false };
        Self {
            plane,
            target: target("here", &data),
            namespace,
            traffic,
            replicas,
            kubeconfig: plane.kubeconfig().to_owned(),
            strategy: StrategySpec::Canary { steps: [5, 25, 50, 100].map(step).to_vec() },
            turn: 1,
            context: None,
            keep: 3,
            cells: Vec::new(),
            reach: Reach::All,
            belongings: Belongings::default(),
            adopt: None,
            testers: Vec::new(),
            data,
        }
    }

    fn users_objects(&self) {
        self.create("/api/v1", "services", &users_service());
        self.create("/apis/apps/v1", "deployments", &users_deployment(self.replicas));
        match &self.traffic {
            Traffic::Service => {}
            Traffic::HttpRoute { name } => {
                self.create("/apis/gateway.networking.k8s.io/v1", "httproutes", &users_route(name));
            }
            Traffic::VirtualService { name, .. } => self.create("/apis/networking.istio.io/v1", "virtualservices", &json!({
                "apiVersion": "networking.istio.io/v1", "kind": "VirtualService", "metadata": {"name": name},
                "spec": {"hosts": ["shop"], "http": [{"route": [{"destination": {"host": "shop"}}]}]},
            })),
            Traffic::Ingress { name } => self.create("/apis/networking.k8s.io/v1", "ingresses", &json!({
                "apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": name},
                "spec": {"ingressClassName": "nginx", "rules": [{"host": "shop.example", "http": {"paths": [
                    {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "shop", "port": {"number": 80}}}},
                ]}}]},
            })),
        }
    }

    pub(crate) fn admin(&self) -> &Access {
        self.plane.admin()
    }

    pub(crate) fn path(&self, group: &str, plural: &str, name: &str) -> String {
        format!("{group}/namespaces/{}/{plural}/{name}", self.namespace)
    }

    pub(crate) fn create(&self, group: &str, plural: &str, object: &Value) {
        let collection = format!("{group}/namespaces/{}/{plural}", self.namespace);
        self.admin().create(&collection, object).expect("made");
    }

    /// Whether any field of the object is noted as ours.
    pub(crate) fn is_ours(&self, group: &str, plural: &str) -> bool {
        let object = self.admin().get(&self.path(group, plural, "shop")).expect("an object");
        let mut managers = object["metadata"]["managedFields"].as_array().into_iter().flatten();
        managers.any(|entry| entry["manager"] == "tidegate")
    }

    pub(crate) fn deployment(&self, name: &str) -> Value {
        self.admin().get(&self.path("/apis/apps/v1", "deployments", name)).expect("a Deployment")
    }

    pub(crate) fn selector(&self) -> Value {
        let root = self.admin().get(&self.path("/api/v1", "services", "shop")).expect("the Service");
        root["spec"]["selector"].clone()
    }

    pub(crate) fn route(&self) -> Value {
        match &self.traffic {
            Traffic::HttpRoute { name } => {
                self.admin().get(&self.path("/apis/gateway.networking.k8s.io/v1", "httproutes", name))
            }
            Traffic::VirtualService { name, .. } => {
                self.admin().get(&self.path("/apis/networking.istio.io/v1", "virtualservices", name))
            }
            Traffic::Ingress { name } => self.admin().get(&self.path(
                "/apis/networking.k8s.io/v1",
                "ingresses",
                &format!("{name}-tidegate"),
            )),
            Traffic::Service => Ok(Value::Null),
        }
        .unwrap_or_default()
    }

    /// Pods of the namespace: name, and how often each was started.
    pub(crate) fn pods(&self) -> Vec<(String, u64)> {
        let list = self.admin().get(&format!("/api/v1/namespaces/{}/pods", self.namespace)).expect("pods");
        let items = list["items"].as_array().cloned().unwrap_or_default();
        let restarts =
            |pod: &Value| pod["status"]["containerStatuses"][0]["restartCount"].as_u64().unwrap_or(0);
        items
            .iter()
            .map(|pod| (pod["metadata"]["name"].as_str().unwrap_or_default().to_owned(), restarts(pod)))
            .collect()
    }

    pub(crate) async fn ready(&self, deployment: &str, replicas: u32) {
        self.until(&format!("{replicas} ready pods of {deployment}"), |scene| {
            let status = scene.deployment(deployment)["status"].clone();
            status["readyReplicas"].as_u64().unwrap_or(0) == u64::from(replicas)
                && status["replicas"].as_u64().unwrap_or(0) == u64::from(replicas)
        })
        .await;
    }

    pub(crate) async fn until(&self, what: &str, so: impl Fn(&Self) -> bool) {
        let started = std::time::Instant::now();
        while !so(self) {
            assert!(started.elapsed() < SOON, "no {what} in {SOON:?}");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    /// The new release, as `tag`; its pods do what the label `sim` says.
    pub(crate) fn release(&self, tag: &str, sim: Option<&str>) -> Release {
        let manifest =
            json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": template(tag, sim)}});
        let image = image(tag);
        let spec = KubernetesSpec {
            kubeconfig: Some(self.kubeconfig.clone()),
            context: self.context.clone(),
            namespace: self.namespace.clone(),
            replicas: self.replicas,
            template: pinned(&manifest, None, Some(&image)).expect("a template").into(),
            adopted: None,
            adopt_rollout: self.adopt.clone(),
            service: "shop".to_owned(),
            port: 80,
            preview: String::new(),
            traffic: self.traffic.clone(),
            testers: self.testers.clone(),
            surge: Bound::Percent(25),
            unavailable: Bound::Count(0),
            progress_ms: 10_000,
            back_percent: 50,
            keep_releases: self.keep,
            cells: self.cells.clone(),
            belongings: self.belongings.clone(),
            content: None,
            server: None,
        };
        Release {
            tag: tag.to_owned(),
            commit: None,
            artifact: Artifact::Image { reference: image },
            spec: spec.target_spec().expect("a description"),
        }
    }

    /// What serves now, as the first stable release.
    pub(crate) async fn adopted(&self) -> Release {
        let found = self.target.found("shop", &self.release("any-1", None)).await.expect("it can be told");
        found.expect("a Deployment serves")
    }

    pub(crate) fn plan(&self, release: Release, stable: Option<Release>) -> Arc<Plan> {
        let request = Request {
            deployment: format!("shop-{}", self.turn),
            turn: self.turn,
            stable,
            gates: vec![Gate::new("instances", Rule::Instances)],
            instances: self.replicas,
            watch: Millis::secs(1),
            ..Request::new("shop", release, self.strategy.clone())
        };
        Arc::new(compile(request).expect("a plan"))
    }

    /// The same plan as another engine has it, which reaches the cluster by another kubeconfig.
    pub(crate) fn plan_by(&self, kubeconfig: &Path, plan: &Plan) -> Arc<Plan> {
        let by = |release: &Release| {
            let (own, other) = (self.kubeconfig.display().to_string(), kubeconfig.display().to_string());
            let mut release = release.clone();
            let text = serde_json::to_string(&release.spec).expect("JSON").replace(&own, &other);
            release.spec = serde_json::from_str(&text).expect("a description");
            release
        };
        Arc::new(Plan { release: by(&plan.release), stable: plan.stable.as_ref().map(by), ..plan.clone() })
    }

    pub(crate) async fn order(&self, plan: &Arc<Plan>, epoch: u64, effect: Effect) -> Outcome {
        self.order_to(&self.target, plan, epoch, effect).await
    }

    /// Orders something of another target than this scene's.
    pub(crate) async fn order_to(
        &self,
        target: &KubernetesTarget,
        plan: &Arc<Plan>,
        epoch: u64,
        effect: Effect,
    ) -> Outcome {
        self.ask(target, (plan, epoch, None), effect).await
    }

    async fn ask(
        &self,
        target: &KubernetesTarget,
        (plan, epoch, given): (&Arc<Plan>, u64, Option<usize>),
        effect: Effect,
    ) -> Outcome {
        let order = Order {
            key: "test".to_owned(),
            attempt: 0,
            epoch,
            plan: Arc::clone(plan),
            given,
            reach: self.reach,
            effect,
        };
        tokio::time::timeout(SOON, target.perform(order)).await.expect("an answer")
    }

    /// Performs the effect, which has to succeed.
    pub(crate) async fn must(&self, plan: &Arc<Plan>, effect: Effect) -> Option<Reading> {
        match self.order(plan, 1, effect.clone()).await {
            Outcome::Done => None,
            Outcome::Read(reading) => Some(reading),
            other @ (Outcome::LeaseEnded | Outcome::Failed { .. }) => panic!("{effect:?}: {other:?}"),
        }
    }

    /// Performs the effect, which has to fail; answers why.
    pub(crate) async fn fails(&self, plan: &Arc<Plan>, effect: Effect) -> String {
        match self.order(plan, 1, effect.clone()).await {
            Outcome::Failed { reason, .. } => reason,
            other @ (Outcome::Done | Outcome::Read(_) | Outcome::LeaseEnded) => {
                panic!("{effect:?}: {other:?}")
            }
        }
    }

    /// Checks and builds.
    pub(crate) async fn begin(&self, plan: &Arc<Plan>) {
        self.must(plan, Effect::Check).await;
        self.must(plan, Effect::Build).await;
    }

    /// Starts the instances of a share and gives it to them, who then have it; generations rise with `step`.
    pub(crate) async fn expose(&self, plan: &Arc<Plan>, share: Share, step: u64) -> Reading {
        let given = plan.stages.iter().position(|stage| stage.share == share).expect("a stage");
        let stage = &plan.stages[given];
        let generation = plan.generation(step * 10);
        self.must(plan, Effect::Scale { instances: stage.instances, generation, share }).await;
        let shift = Effect::Shift { share, mirror: Share::NONE, generation: generation + 1 };
        let reading = self.must(plan, shift).await.expect("a reading");
        // The demand is looked at now and then, and the waves of these tests are not the plan's.
        if self.belongings.autoscaling != Autoscaling::Off || !self.cells.is_empty() {
            return reading;
        }
        let looked = self.looked(plan, given).await;
        assert_eq!(looked.astray, None, "{share}");
        let ready = looked.new.instances.iter().filter(|one| one.ready).count();
        assert!(ready >= usize::try_from(looked.new.wanted).expect("few"), "{share}: {:?}", looked.new);
        reading
    }

    /// What is seen of a stage whose share was given.
    pub(crate) async fn looked(&self, plan: &Arc<Plan>, given: usize) -> Reading {
        let measure = Effect::Measure { every: Millis::ZERO };
        match self.ask(&self.target, (plan, 1, Some(given)), measure).await {
            Outcome::Read(reading) => reading,
            other @ (Outcome::Done | Outcome::LeaseEnded | Outcome::Failed { .. }) => panic!("{other:?}"),
        }
    }
}

pub(crate) fn target(owner: &str, data: &tempfile::TempDir) -> KubernetesTarget {
    KubernetesTarget::new(owner, Arc::new(Clock::new(data.path()))).with_manifests(|path| {
        let text = std::fs::read_to_string(path).map_err(|why| format!("{}: {why}", path.display()))?;
        serde_json::from_str(&text).map_err(|_| format!("{}: not JSON", path.display()))
    })
}

pub(crate) fn image(tag: &str) -> String {
    let hex = tag.bytes().fold(0_u128, |hash, byte| hash.wrapping_mul(257).wrapping_add(u128::from(byte)));
    format!("registry.example/shop@sha256:{hex:0>64x}")
}

/// The Service that users come in by, as its owner wrote it.
pub(crate) fn users_service() -> Value {
    json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "shop"},
        "spec": {"selector": {"app": "shop"}, "ports": [{"port": 80, "targetPort": 8080}]},
    })
}

/// The Deployment that was there before, as its owner wrote it.
pub(crate) fn users_deployment(replicas: u32) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "shop"},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": "shop"}},
            "template": template("old", None),
        },
    })
}

/// The route, as its owner wrote it: a rule to somebody else, and one to the Service.
pub(crate) fn users_route(name: &str) -> Value {
    json!({
        "apiVersion": "gateway.networking.k8s.io/v1", "kind": "HTTPRoute", "metadata": {"name": name},
        "spec": {"rules": [
            {"matches": [{"path": {"type": "PathPrefix", "value": "/other"}}], "backendRefs": [{"name": "other", "port": 81}]},
            {"backendRefs": [{"name": "shop", "port": 80}]},
        ]},
    })
}

pub(crate) fn template(tag: &str, sim: Option<&str>) -> Value {
    let mut labels = json!({"app": "shop"});
    if let Some(sim) = sim {
        labels["sim"] = json!(sim);
    }
    json!({
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "web", "image": image(tag), "ports": [{"containerPort": 8080}]}]},
    })
}
