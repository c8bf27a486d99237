//! Plain Deployments that somebody else rolls out.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tidegate_core::{
    deployment::{Effect, Outcome},
    model::{Millis, Release, Share},
    plan::{Plan, Request, StrategySpec, compile},
    view::SUPERSEDED,
};
use tidegate_kubernetes::{
    Traffic,
    guard::{GuardSpec, Guarded, Sight},
    guard_role,
};

use crate::{
    permission,
    scene::{self, Scene},
    tunnel::{Mode, Tunnel},
};

const ADMISSION: &str = "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations";

/// Longest time from the end of a fault to users being back.
const SAFE_WITHIN: Duration = Duration::from_secs(5);

/// Longest wait for a rollout that a quota refused pods for: the cluster's controller doubles its pause after each refusal, to
/// more than a minute.
const AFTER_QUOTA: Duration = Duration::from_mins(4);

/// The Deployment `shop`, in a namespace of its own.
pub(crate) struct Plain {
    pub(crate) scene: Scene,
    turn: u64,
}

impl Plain {
    pub(crate) async fn new(replicas: u32) -> Self {
        let plane = tidegate_bed::ControlPlane::shared().expect("a control plane");
        Self { scene: Scene::on(plane, replicas, Traffic::Service).await, turn: 0 }
    }

    pub(crate) async fn guarded(&self) -> Guarded {
        let (file, namespace) = (self.scene.kubeconfig.clone(), self.scene.namespace.clone());
        Guarded::new(Some(file), None, Some(namespace), "shop").await.expect("a cluster")
    }

    fn shop(&self) -> String {
        self.scene.path("/apis/apps/v1", "deployments", "shop")
    }

    fn change(&self, change: &Value) {
        self.scene.admin().merge(&self.shop(), change).expect("changed");
    }

    /// Rolls this out as CI would, and waits until the controller has seen it.
    pub(crate) async fn apply(&self, tag: &str, sim: Option<&str>) -> Sight {
        self.change(&json!({
            "metadata": {"annotations": {"kubernetes.io/change-cause": tag}},
            "spec": {"template": {
                "metadata": {"labels": {"sim": sim}},
                "spec": {"containers": [{"name": "web", "image": scene::image(tag), "ports": [{"containerPort": 8080}]}]},
            }},
        }));
        self.sight(|sight| sight.present().is_some_and(|present| present.images == [scene::image(tag)])).await
    }

    async fn sight(&self, so: impl Fn(&Sight) -> bool) -> Sight {
        let (guarded, started) = (self.guarded().await, Instant::now());
        loop {
            let sight = guarded.look().await.expect("it is there");
            if so(&sight) {
                return sight;
            }
            assert!(started.elapsed() < AFTER_QUOTA, "{sight:?}");
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    }

    pub(crate) async fn complete(&self) -> Sight {
        self.sight(|sight| sight.complete && sight.present.is_some()).await
    }

    /// A plan for what is there now, or for a person's way back to `to`.
    pub(crate) async fn plan(&mut self, sight: &Sight, to: Option<u64>) -> Arc<Plan> {
        self.turn += 1;
        let guarded = self.guarded().await;
        let release =
            |revision, replaces| guarded.release(sight, revision, 10_000, replaces).expect("a release");
        let revision = |number| sight.revisions.iter().find(|one| one.number == number).expect("a revision");
        let (new, replaces) = match to {
            Some(number) => (revision(number), sight.present.clone()),
            None => (sight.present().expect("a revision"), None),
        };
        let good = sight.good().filter(|good| to.is_some() || good.hash != new.hash);
        let request = Request {
            deployment: format!("shop-{}", self.turn),
            environment: sight.environment(),
            turn: self.turn,
            stable: good.map(|good| release(good, None)),
            instances: sight.wanted,
            watch: Millis::secs(1),
            way_back: to.is_some(),
            again: true,
            ..Request::new("shop", release(new, replaces), StrategySpec::AllAtOnce { bake: Millis::secs(1) })
        };
        Arc::new(compile(request).expect("a plan"))
    }

    /// Performs the effects of a rollout that is good.
    pub(crate) async fn passes(&self, plan: &Arc<Plan>) {
        let at = |step| plan.generation(step);
        let effects = [
            Effect::Check,
            Effect::Build,
            Effect::Scale { instances: 1, generation: at(5), share: Share::ALL },
            Effect::Shift { share: Share::ALL, mirror: Share::NONE, generation: at(6) },
            Effect::Promote { generation: at(7) },
            Effect::Retire { new: false, generation: at(8) },
        ];
        for effect in effects {
            self.scene.must(plan, effect).await;
        }
    }

    /// What is there is good from now on.
    pub(crate) async fn recorded(&mut self) -> Sight {
        let sight = self.complete().await;
        let plan = self.plan(&sight, None).await;
        self.passes(&plan).await;
        self.sight(|sight| sight.good.is_some() && sight.good == sight.present).await
    }

    pub(crate) async fn bad(&self, plan: &Arc<Plan>) -> String {
        self.scene.must(plan, Effect::Check).await;
        self.scene.must(plan, Effect::Build).await;
        self.scene.fails(plan, scale(plan)).await
    }

    pub(crate) async fn restore(&self, plan: &Arc<Plan>) {
        self.scene.must(plan, Effect::Restore { generation: plan.generation(50) }).await;
        self.scene.must(plan, Effect::Retire { new: true, generation: plan.generation(51) }).await;
    }
}

pub(crate) fn scale(plan: &Plan) -> Effect {
    Effect::Scale { instances: 1, generation: plan.generation(5), share: Share::ALL }
}

fn hash(release: &Release) -> String {
    GuardSpec::of(release).expect("a description").hash
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_rollout_is_recorded_and_none_of_its_pods_is_touched() {
    let mut plain = Plain::new(3).await;
    let first = plain.recorded().await;
    assert_eq!((first.revisions.len(), first.good), (1, first.present));
    let second = plain.apply("two", None).await;
    let plan = plain.plan(&second, None).await;
    plain.scene.must(&plan, Effect::Check).await;
    plain.scene.must(&plan, Effect::Build).await;
    plain.scene.must(&plan, scale(&plan)).await;
    let pods = plain.scene.pods();
    let reading = plain.scene.must(&plan, Effect::Measure { every: Millis::ZERO }).await.expect("a reading");
    assert_eq!((reading.new.wanted, reading.new.instances.len()), (3, 3), "{reading:?}");
    assert!(reading.new.instances.iter().all(|one| one.ready), "{reading:?}");
    plain.passes(&plan).await;
    let now = plain.complete().await;
    assert_eq!((&now.good, plain.scene.pods()), (&second.present, pods), "a note restarts nothing");
    assert_eq!(now.present().map(|one| one.number), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_that_does_not_come_up_is_undone_and_every_good_pod_that_is_left_stays() {
    for (sim, word) in
        [("crash", "CrashLoopBackOff"), ("pull", "ImagePullBackOff"), ("unready", "no further one in 10 s")]
    {
        let mut plain = Plain::new(4).await;
        let before = plain.recorded().await;
        let template = plain.scene.deployment("shop")["spec"]["template"].clone();
        let sight = plain.apply("bad", Some(sim)).await;
        let plan = plain.plan(&sight, None).await;
        let why = plain.bad(&plan).await;
        assert!(why.contains(word), "{why}");
        let good = format!("shop-{}-", before.good.as_deref().expect("recorded"));
        let left: Vec<_> =
            plain.scene.pods().into_iter().filter(|(name, _)| name.starts_with(&good)).collect();
        assert!(left.len() >= 3, "three quarters is what Kubernetes keeps: {left:?}");
        plain.restore(&plan).await;
        let now = plain.complete().await;
        assert_eq!((now.present, now.good), (before.present.clone(), before.good));
        let shop = plain.scene.deployment("shop");
        assert_eq!(shop["spec"]["template"], template, "exactly what it was");
        assert!(shop["metadata"]["annotations"]["kubernetes.io/change-cause"].is_null(), "{shop}");
        let pods = plain.scene.pods();
        assert!(left.iter().all(|pod| pods.contains(pod)), "{left:?} {pods:?}");
        assert_eq!(shop["status"]["readyReplicas"], 4);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_quota_that_old_pods_make_room_in_stops_nothing_and_one_that_refuses_for_good_is_named() {
    let mut plain = Plain::new(4).await;
    plain.recorded().await;
    let quota = |pods: &str| json!({"metadata": {"name": "pods"}, "spec": {"hard": {"pods": pods}}});
    plain.scene.create("/api/v1", "resourcequotas", &quota("4"));
    let path = plain.scene.path("/api/v1", "resourcequotas", "pods");
    let is = |pods: &str| {
        let seen = plain.scene.admin().get(&path);
        seen.is_ok_and(|quota| quota["status"]["hard"]["pods"] == pods)
    };
    plain.scene.until("quota in force", |_| is("4")).await;
    plain.apply("two", None).await;
    plain.recorded().await;
    plain.scene.admin().merge(&path, &quota("1")).expect("a smaller quota");
    plain
        .scene
        .until("quota in force", |scene| {
            scene.admin().get(&path).is_ok_and(|quota| quota["status"]["hard"]["pods"] == "1")
        })
        .await;
    let sight = plain.apply("three", None).await;
    let plan = plain.plan(&sight, None).await;
    let why = plain.bad(&plan).await;
    assert!(why.contains("no further pods of revision 3") && why.contains("exceeded quota"), "{why}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_its_owner_rolls_out_meanwhile_is_neither_overwritten_nor_judged_in_the_name_of_the_older() {
    let mut plain = Plain::new(2).await;
    plain.recorded().await;
    let second = plain.apply("two", None).await;
    let plan = plain.plan(&second, None).await;
    plain.scene.must(&plan, Effect::Check).await;
    plain.scene.must(&plan, Effect::Build).await;
    let third = plain.apply("three", None).await;
    let at = |step| plan.generation(step);
    let effects = [
        Effect::Check,
        Effect::Build,
        scale(&plan),
        Effect::Shift { share: Share::ALL, mirror: Share::NONE, generation: at(6) },
        Effect::Measure { every: Millis::ZERO },
        Effect::Promote { generation: at(7) },
    ];
    for effect in effects {
        let why = plain.scene.fails(&plan, effect.clone()).await;
        assert!(why.contains(SUPERSEDED), "{effect:?}: {why}");
    }
    plain.restore(&plan).await;
    let now = plain.complete().await;
    assert_eq!((&now.present, &now.good), (&third.present, &second.good), "the newest wish stands");
    // The newest wish is judged next, by its own name.
    let plan = plain.plan(&now, None).await;
    plain.passes(&plan).await;
    assert_eq!(plain.complete().await.good, third.present);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_goes_back_to_the_revision_he_names_and_not_over_what_he_has_not_seen() {
    let mut plain = Plain::new(2).await;
    let first = plain.recorded().await;
    for tag in ["two", "three"] {
        plain.apply(tag, None).await;
        plain.recorded().await;
    }
    let seen = plain.complete().await;
    let plan = plain.plan(&seen, Some(1)).await;
    plain.apply("four", None).await;
    plain.scene.must(&plan, Effect::Check).await;
    let why = plain.scene.fails(&plan, Effect::Build).await;
    assert!(why.contains("runs revision 4") && why.contains("nothing was undone"), "{why}");
    let seen = plain.complete().await;
    let plan = plain.plan(&seen, Some(1)).await;
    plain.passes(&plan).await;
    let now = plain.complete().await;
    assert_eq!((&now.present, &now.good), (&first.present, &first.present));
    assert_eq!(now.present().map(|one| one.number), Some(5), "an old template under a new number");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_good_revision_is_gone_back_to_even_when_kubernetes_has_forgotten_it() {
    let mut plain = Plain::new(1).await;
    plain.change(&json!({"spec": {"revisionHistoryLimit": 0}}));
    let good = plain.recorded().await;
    let mut sight = plain.apply("two", None).await;
    if sight.good().is_none() {
        // It is forgotten already; who guards has it in his journal.
        sight.revisions.extend(good.revisions.iter().cloned());
    }
    let plan = plain.plan(&sight, None).await;
    plain.scene.must(&plan, Effect::Check).await;
    plain.scene.must(&plan, Effect::Build).await;
    plain.scene.must(&plan, scale(&plan)).await;
    plain.sight(|sight| sight.revisions.len() == 1).await;
    plain.restore(&plan).await;
    // Made again so soon after it was removed, the ReplicaSet may have another name for the same template.
    let now = plain.complete().await;
    let template = |sight: &Sight| sight.present().map(|present| present.template.clone());
    assert_eq!((template(&now), &now.good), (template(&good), &now.present), "{now:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_ours_to_guard_is_refused_by_name() {
    let mut plain = Plain::new(1).await;
    let sight = plain.recorded().await;
    let plan = plain.plan(&sight, None).await;
    let data = tempfile::tempdir().expect("a directory");
    let ours = std::mem::replace(&mut plain.scene.target, scene::target("there", &data));
    let why = plain.scene.fails(&plan, Effect::Check).await;
    assert!(why.contains("another Tidegate (`here`)") && why.contains("guard.tidegate.dev/owner"), "{why}");
    plain.scene.target = ours;
    plain.change(&json!({"metadata": {"annotations": {"web.tidegate.dev/owner": "here"}}}));
    let why = plain.scene.fails(&plan, Effect::Check).await;
    assert!(why.contains("rolls service `web` out by releases"), "{why}");
    let guarded = plain.guarded().await;
    let why = guarded.look_to_guard().await.expect_err("refused").to_string();
    assert!(why.contains("rolls service `web` out by releases"), "{why}");
    plain.scene.admin().delete(&plain.shop()).expect("deleted");
    let why = guarded.look().await.expect_err("gone").to_string();
    assert!(why.contains("there is no Deployment"), "{why}");
}

/// A bad rollout at the door of its undo, with its good pods counted.
struct Case {
    plain: Plain,
    plan: Arc<Plan>,
    good: Option<String>,
}

impl Case {
    async fn new() -> Self {
        let mut plain = Plain::new(2).await;
        let good = plain.recorded().await.good;
        let sight = plain.apply("bad", Some("crash")).await;
        let plan = plain.plan(&sight, None).await;
        plain.bad(&plan).await;
        Self { plain, plan, good }
    }

    /// Asks for the undo until it is so, as the engine does; says when that was.
    async fn back(&self) -> Instant {
        loop {
            let restore = Effect::Restore { generation: self.plan.generation(50) };
            match self.plain.scene.order(&self.plan, 1, restore).await {
                Outcome::Done => return Instant::now(),
                Outcome::Failed { .. } => tokio::time::sleep(Duration::from_millis(250)).await,
                other @ (Outcome::Read(_) | Outcome::LeaseEnded) => panic!("{other:?}"),
            }
        }
    }

    async fn is_safe(&self) {
        let now = self.plain.complete().await;
        assert_eq!((now.present.as_ref(), now.ready), (self.good.as_ref(), 2), "{now:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_the_network_does_at_the_undo_users_are_back_within_five_seconds_of_its_end() {
    for mode in [Mode::Refusing, Mode::Slow, Mode::Cutting, Mode::Silent] {
        let mut case = Case::new().await;
        let plane = case.plain.scene.plane;
        let tunnel = Tunnel::to(plane);
        // The release says where its cluster is.
        let file = tunnel.kubeconfig(plane, &case.plain.scene.data);
        let mut plan = Plan::clone(&case.plan);
        for release in [Some(&mut plan.release), plan.stable.as_mut()].into_iter().flatten() {
            let spec = GuardSpec {
                kubeconfig: Some(file.clone()),
                ..GuardSpec::of(release).expect("a description")
            };
            release.spec = spec.target_spec().expect("a description");
        }
        case.plan = Arc::new(plan);
        tunnel.set(mode);
        let case = Arc::new(case);
        let back = tokio::spawn({
            let case = Arc::clone(&case);
            async move { case.back().await }
        });
        let mut allowed = Instant::now();
        if mode != Mode::Slow {
            tokio::time::sleep(Duration::from_millis(1_500)).await;
            tunnel.set(Mode::Open);
            allowed = Instant::now();
        }
        let took = back.await.expect("back").saturating_duration_since(allowed);
        assert!(took <= SAFE_WITHIN, "{mode:?}: {took:?}");
        case.is_safe().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn neither_others_writes_nor_a_server_that_fails_keep_the_undo_from_happening() {
    // 409: somebody else writes all the time.
    let case = Case::new().await;
    let ended = Arc::new(AtomicBool::new(false));
    let writer = std::thread::spawn({
        let (ended, shop) = (Arc::clone(&ended), case.plain.shop());
        let admin = case.plain.scene.plane.admin();
        move || {
            let mut count = 0_u32;
            while !ended.load(Ordering::Relaxed) {
                count += 1;
                let note = json!({"metadata": {"annotations": {"note": count.to_string()}}});
                admin.merge(&shop, &note).expect("written");
            }
        }
    });
    let begun = Instant::now();
    let took = case.back().await.saturating_duration_since(begun);
    ended.store(true, Ordering::Relaxed);
    writer.join().expect("it wrote");
    assert!(took <= SAFE_WITHIN, "{took:?}");
    case.is_safe().await;

    // 500: a webhook that is not there has to be asked for every change.
    let case = Case::new().await;
    let namespace = case.plain.scene.namespace.clone();
    let admin = case.plain.scene.plane.admin();
    admin
        .create(
            ADMISSION,
            &json!({
                "metadata": {"name": namespace},
                "webhooks": [{
                    "name": "nobody.example.org", "sideEffects": "None", "admissionReviewVersions": ["v1"],
                    "failurePolicy": "Fail", "timeoutSeconds": 1, "clientConfig": {"url": "https://127.0.0.1:1/"},
                    "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}},
                    "rules": [{"apiGroups": ["apps"], "apiVersions": ["v1"], "resources": ["deployments"], "operations": ["UPDATE"]}],
                }],
            }),
        )
        .expect("a webhook");
    case.plain
        .scene
        .until("webhook in force", |_| {
            admin.merge(&case.plain.shop(), &json!({"metadata": {"labels": {"x": "y"}}})).is_err()
        })
        .await;
    let case = Arc::new(case);
    let back = tokio::spawn({
        let case = Arc::clone(&case);
        async move { case.back().await }
    });
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    assert!(!back.is_finished(), "the webhook refuses");
    admin.delete(&format!("{ADMISSION}/{namespace}")).expect("no webhook");
    let allowed = Instant::now();
    let took = back.await.expect("back").saturating_duration_since(allowed);
    assert!(took <= SAFE_WITHIN, "{took:?}");
    case.is_safe().await;
}

/// A rollout that is recorded, and one that is undone, by an account with this Role; the first refusal, if there is one.
async fn whole(plain: &mut Plain, role: Value) -> Result<(), String> {
    plain.complete().await;
    plain.scene.kubeconfig = permission::account(&plain.scene, role).await;
    let guarded = plain.guarded().await;
    let seen =
        |seen: Result<Sight, tidegate_kubernetes::guard::GuardError>| seen.map_err(|why| why.to_string());
    let sight = seen(guarded.first_look_to_guard().await)?;
    let plan = plain.plan(&sight, None).await;
    let at = |step| plan.generation(step);
    let effects = [
        Effect::Check,
        Effect::Build,
        scale(&plan),
        Effect::Shift { share: Share::ALL, mirror: Share::NONE, generation: at(6) },
        Effect::Promote { generation: at(7) },
        Effect::Restore { generation: at(8) },
    ];
    for effect in effects {
        if let Outcome::Failed { reason, .. } = plain.scene.order(&plan, 1, effect).await {
            return Err(reason);
        }
    }
    assert_eq!(seen(guarded.look_to_guard().await)?.good, Some(hash(&plan.release)));
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_guards_role_is_enough_and_each_verb_that_is_taken_away_is_named() {
    let mut plain = Plain::new(1).await;
    let role = guard_role("");
    whole(&mut plain, role.clone()).await.expect("the role is enough");
    for word in ["secret", "*", "create", "delete", "update"] {
        assert!(!role.to_string().contains(word), "{word}: {role}");
    }
    // Who may not watch is not cut off: everything is asked for then.
    let mut plain = Plain::new(1).await;
    let mut blind = role.clone();
    for rule in 0..3 {
        blind["rules"][rule]["verbs"].as_array_mut().expect("verbs").retain(|one| one != "watch");
    }
    whole(&mut plain, blind).await.expect("it is enough, too");
    for (rule, verb, full) in [
        (0, "get", "deployments.apps"),
        (0, "patch", "deployments.apps"),
        (1, "list", "replicasets.apps"),
        (2, "list", "pods"),
    ] {
        let mut plain = Plain::new(1).await;
        let mut less = role.clone();
        let verbs = less["rules"][rule]["verbs"].as_array_mut().expect("verbs");
        verbs.retain(|one| one != verb);
        // A rule without verbs is none.
        if verbs.is_empty() {
            verbs.push(json!("watch"));
        }
        let why = whole(&mut plain, less).await.expect_err(full);
        assert!(why.contains(&format!("not allowed to {verb} {full}")), "{why}");
    }
}
