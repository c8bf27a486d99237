//! Every fault at every effect: users are where it is safe within seconds of the fault allowing it.

mod answers;
mod leader;
mod network;
mod subsets;
mod world;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::Value;
use tidegate_bed::ControlPlane;
use tidegate_core::{
    deployment::{Effect, Outcome},
    model::{Millis, Share},
    plan::{Plan, StrategySpec},
};
use tidegate_kubernetes::Traffic;

use crate::{
    scene::Scene,
    subsets::{by_subsets, is_reached, share_of_new},
};

/// Longest time from when the fault allows it to users being where it is safe.
const SAFE_WITHIN: Duration = Duration::from_secs(5);

/// How long the fault lasts while the effect is on its way, before the way back is asked for.
const HELD: Duration = Duration::from_millis(700);

/// Time between two looks at where users are.
const LOOK: Duration = Duration::from_millis(250);

/// What the fault meets.
const EFFECTS: [&str; 7] = ["check", "build", "scale", "shift", "promote", "restore", "retire"];

/// What stands between the target and the API server of a case.
type Way<W> = fn(&'static ControlPlane, &mut Scene) -> W;

/// One deployment at the door of one effect.
struct Case<W> {
    effect: &'static str,
    /// What the new release gets before the promotion.
    share: Share,
    scene: Scene,
    plan: Arc<Plan>,
    way: W,
    pods: Vec<(String, u64)>,
    foreign: Value,
    /// When the way back was gone.
    gone: tokio::sync::watch::Sender<Option<Instant>>,
    /// The new release lost its traffic while nothing of the stable one could take it.
    nobody: AtomicBool,
}

/// Begins a fault for these cases, or ends it.
type Set<'a, W> = dyn Fn(&[Arc<Case<W>>], bool) + Sync + 'a;

/// A fault.
struct Fault<'a, W> {
    name: &'a str,
    /// Begins or ends it for these cases.
    set: &'a Set<'a, W>,
    /// How long the effect may meet it before the way back is asked for; shorter when all effects have ended.
    held: Duration,
    /// How long it lasts once the way back is asked for; nothing is a fault that keeps nobody from turning back, and it ends
    /// only when everybody has.
    lasts: Option<Duration>,
    /// Whether it takes pods away itself.
    takes_pods: bool,
}

/// What became of the cases.
#[derive(Debug, Default)]
struct Sum {
    cases: u32,
    unsafe_: u32,
    restarted_pods: usize,
    foreign_rules_touched: u32,
    slowest: Duration,
}

/// How the traffic moves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Style {
    /// By weights of a route, at half of it.
    Canary,
    /// By the selector of the users' Service, all at once.
    BlueGreen,
    /// By weights of subsets of an Istio `DestinationRule`, at half of it.
    Subsets,
}

impl Style {
    /// The share of the new release between start and promotion.
    const fn share(self) -> Share {
        match self {
            Self::Canary | Self::Subsets => Share::percent(50),
            Self::BlueGreen => Share::ALL,
        }
    }

    async fn scene(self, plane: &'static ControlPlane, replicas: u32) -> Scene {
        match self {
            Self::Canary => Scene::on(plane, replicas, Traffic::HttpRoute { name: "shop".to_owned() }).await,
            Self::Subsets => by_subsets(plane, replicas).await,
            Self::BlueGreen => {
                let mut scene = Scene::on(plane, replicas, Traffic::Service).await;
                let (bake, preview) = (Millis::secs(1), Millis::ZERO);
                scene.strategy = StrategySpec::BlueGreen { bake, preview, approval: false };
                scene
            }
        }
    }
}

impl<W: Send + Sync + 'static> Case<W> {
    async fn at(
        plane: &'static ControlPlane,
        (style, replicas): (Style, u32),
        effect: &'static str,
        way: Way<W>,
    ) -> Self {
        let mut scene = style.scene(plane, replicas).await;
        let way = way(plane, &mut scene);
        let plan = scene.plan(scene.release("new-1", None), Some(scene.adopted().await));
        let (pods, foreign) = (scene.pods(), scene.route()["spec"]["rules"][0].clone());
        let some = style.share();
        let scale = Effect::Scale { instances: replicas, generation: plan.generation(10), share: some };
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
                scene.expose(&plan, if other == "promote" { Share::ALL } else { some }, 1).await;
                if other == "retire" {
                    scene.must(&plan, Effect::Restore { generation: plan.generation(20) }).await;
                }
            }
        }
        let (gone, nobody) = (tokio::sync::watch::Sender::new(None), AtomicBool::new(false));
        Self { effect, share: some, scene, plan, way, pods, foreign, gone, nobody }
    }

    fn effect(&self) -> Effect {
        let (share, at) = (self.share, |step| self.plan.generation(step));
        match self.effect {
            "check" => Effect::Check,
            "build" => Effect::Build,
            "scale" => Effect::Scale { instances: self.scene.replicas, generation: at(10), share },
            "shift" => Effect::Shift { share, mirror: Share::NONE, generation: at(11) },
            "promote" => Effect::Promote { generation: at(30) },
            "restore" => Effect::Restore { generation: at(30) },
            _ => Effect::Retire { new: true, generation: at(30) },
        }
    }

    /// The way back as the engine asks for it. When it was gone; nothing when the deployment would be stuck.
    async fn back(&self) -> Option<Instant> {
        let limits = &self.plan.limits;
        let restore = Effect::Restore { generation: self.plan.generation(100) };
        let wait = |attempt| limits.restore_backoff_before(attempt);
        let gone = self.tried(restore, limits.call_max, limits.restore_attempts_max, wait).await;
        self.gone.send_replace(gone);
        gone
    }

    /// The end of the way back as the engine asks for it: the new release loses its pods, nobody else does. When that was so;
    /// nothing when it would be given up.
    async fn end(&self) -> Option<Instant> {
        let limits = &self.plan.limits;
        let retire = Effect::Retire { new: true, generation: self.plan.generation(200) };
        let wait = |attempt| limits.backoff_before(attempt);
        self.tried(retire, limits.retire_max, limits.back_attempts_max, wait).await
    }

    /// An effect, each try with its bound, and its wait before.
    async fn tried(
        &self,
        effect: Effect,
        within: Millis,
        most: u32,
        wait: impl Fn(u32) -> Millis,
    ) -> Option<Instant> {
        let duration = |millis: Millis| Duration::from_millis(millis.0);
        for attempt in 0..most {
            tokio::time::sleep(duration(wait(attempt))).await;
            let order = self.scene.order(&self.plan, 1, effect.clone());
            if let Ok(Outcome::Done) = tokio::time::timeout(duration(within), order).await {
                return Some(Instant::now());
            }
        }
        None
    }

    /// The weight that the new release has of what users send, and that of everybody.
    fn weights(&self) -> Option<(u64, u64)> {
        if self.scene.traffic == Traffic::Service {
            let root = self.scene.admin().get(&self.scene.path("/api/v1", "services", "shop")).ok()?;
            let only = &root["spec"]["selector"]["tidegate.dev/release"];
            return Some((u64::from(only == "new-1"), 1));
        }
        let route = self.scene.route();
        if matches!(self.scene.traffic, Traffic::VirtualService { .. }) {
            return share_of_new(&route);
        }
        let backends = route["spec"]["rules"][1]["backendRefs"].as_array().cloned()?;
        let weight = |one: &Value| one["weight"].as_u64().unwrap_or(1);
        let new = backends.iter().filter(|one| one["name"] == "shop-preview").map(weight).sum();
        Some((new, backends.iter().map(weight).sum()))
    }

    /// Whether users are on the stable release, with pods that answer.
    fn is_safe(&self) -> bool {
        let root = self.scene.admin().get(&self.scene.path("/api/v1", "services", "shop"));
        let selector = root.map(|root| root["spec"]["selector"].clone()).unwrap_or_default();
        self.weights().is_some_and(|(new, all)| new == 0 && all > 0)
            && selector.is_object()
            && selector["tidegate.dev/release"].is_null()
            && self.scene.ready_with(&selector) > 0
            && (!matches!(self.scene.traffic, Traffic::VirtualService { .. }) || is_reached(&self.scene))
    }

    /// When users were safe, but looked at no longer than a little after it is too late. The way back says it first, and is
    /// checked: many cases that look all the time would be what is measured.
    async fn safe(&self) -> Option<Instant> {
        let until = Instant::now() + SAFE_WITHIN + SAFE_WITHIN;
        let mut gone = self.gone.subscribe();
        let mut said = *gone.borrow_and_update();
        while Instant::now() < until {
            if tokio::task::block_in_place(|| self.is_safe()) {
                return Some(said.unwrap_or_else(Instant::now));
            }
            // What was said and was not so counts as late.
            let was_said = said.take().is_some();
            if was_said || tokio::time::timeout(LOOK, gone.changed()).await.is_err() {
                tokio::time::sleep(LOOK).await;
            } else {
                said = *gone.borrow_and_update();
            }
        }
        None
    }

    fn judge(&self, took: Option<Duration>, fault: &str, takes_pods: bool, sum: &mut Sum) {
        let now = self.scene.pods();
        let safe = took.is_some_and(|took| took <= SAFE_WITHIN)
            && self.is_safe()
            && !self.nobody.load(Ordering::Relaxed);
        sum.cases += 1;
        sum.unsafe_ += u32::from(!safe);
        if !takes_pods {
            sum.restarted_pods += self.pods.iter().filter(|pod| !now.contains(pod)).count();
        }
        sum.foreign_rules_touched += u32::from(self.scene.route()["spec"]["rules"][0] != self.foreign);
        sum.slowest = sum.slowest.max(took.unwrap_or_default());
        if !safe {
            eprintln!(
                "UNSAFE {fault} at {}: {took:?}, nobody served: {}, {} endpoints, {}",
                self.effect,
                self.nobody.load(Ordering::Relaxed),
                self.scene.endpoints(),
                self.scene.route()["spec"]
            );
        }
    }
}

/// A case at the door of each of these effects.
async fn cases<W: Send + Sync + 'static>(
    plane: &'static ControlPlane,
    like: (Style, u32),
    way: Way<W>,
) -> Vec<Arc<Case<W>>> {
    cases_at(&EFFECTS, plane, like, way).await
}

async fn cases_at<W: Send + Sync + 'static>(
    effects: &[&'static str],
    plane: &'static ControlPlane,
    like: (Style, u32),
    way: Way<W>,
) -> Vec<Arc<Case<W>>> {
    let begun: Vec<_> =
        effects.iter().map(|effect| tokio::spawn(Case::at(plane, like, effect, way))).collect();
    let mut cases = Vec::new();
    for case in begun {
        cases.push(Arc::new(case.await.expect("a case")));
    }
    cases
}

/// The effects run into the fault, then the ways back do, then it passes.
async fn meet<W: Send + Sync + 'static>(cases: &[Arc<Case<W>>], fault: &Fault<'_, W>) -> Sum {
    let effects: Vec<_> = cases
        .iter()
        .cloned()
        .map(|case| tokio::spawn(async move { drop(case.scene.order(&case.plan, 1, case.effect()).await) }))
        .collect();
    tokio::task::block_in_place(|| (fault.set)(cases, true));
    let began = Instant::now();
    while began.elapsed() < fault.held
        && !(began.elapsed() > HELD && effects.iter().all(tokio::task::JoinHandle::is_finished))
    {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // The engine drops what it no longer wants.
    effects.iter().for_each(tokio::task::JoinHandle::abort);
    let mut allowed = Instant::now();
    let backs: Vec<_> =
        cases.iter().cloned().map(|case| tokio::spawn(async move { case.back().await })).collect();
    if let Some(lasts) = fault.lasts {
        tokio::time::sleep(lasts).await;
        tokio::task::block_in_place(|| (fault.set)(cases, false));
        allowed = Instant::now();
    }
    let looks: Vec<_> =
        cases.iter().cloned().map(|case| tokio::spawn(async move { case.safe().await })).collect();
    let mut safe = Vec::new();
    for look in looks {
        safe.push(look.await.expect("looked"));
    }
    let mut lifted = allowed;
    if fault.lasts.is_none() {
        tokio::task::block_in_place(|| (fault.set)(cases, false));
        lifted = Instant::now();
    }
    let mut sum = Sum::default();
    for ((case, back), safe) in cases.iter().zip(backs).zip(safe) {
        let back = back.await.expect("back").map(|at| at.saturating_duration_since(lifted));
        let safe = safe.map(|at| at.saturating_duration_since(allowed));
        let took = back.zip(safe).map(|(back, safe)| back.max(safe));
        if took.is_none_or(|took| took > SAFE_WITHIN) {
            eprintln!("{} at {}: back after {back:?}, users safe after {safe:?}", fault.name, case.effect);
        }
        case.judge(took, fault.name, fault.takes_pods, &mut sum);
    }
    println!("  {:40} {:2} cases, slowest {:?}", fault.name, sum.cases, sum.slowest);
    sum
}

impl Sum {
    fn add(&mut self, other: &Self) {
        self.cases += other.cases;
        self.unsafe_ += other.unsafe_;
        self.restarted_pods += other.restarted_pods;
        self.foreign_rules_touched += other.foreign_rules_touched;
        self.slowest = self.slowest.max(other.slowest);
    }

    /// Says it in the words that `torture kube` reads.
    fn all_well(&self) {
        println!(
            "cases {}, unsafe {}, restarted_pods {}, foreign_rules_touched {}, slowest {:?}",
            self.cases, self.unsafe_, self.restarted_pods, self.foreign_rules_touched, self.slowest
        );
        assert_ne!(self.cases, 0);
        assert_eq!((self.unsafe_, self.restarted_pods, self.foreign_rules_touched), (0, 0, 0), "{self:?}");
    }
}
