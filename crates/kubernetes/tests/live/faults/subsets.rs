//! What an API server may do to each object that says where a request goes, while releases are told apart by subsets.

use std::{sync::Arc, time::Duration};

use tidegate_bed::{ControlPlane, Middleman, Rule, Spoil, Verb};

use super::{
    Case, Fault, Style, Sum,
    answers::{BROKEN, CONFLICT, between, busy},
    cases_at, meet,
};
use crate::subsets::{History, World, follow, is_whole, newest, rule, users_rule};

/// The effects that move subsets, the Service, or the route.
const EFFECTS: [&str; 4] = ["build", "shift", "restore", "retire"];

/// The longest of them, with its pauses.
const HELD: Duration = Duration::from_secs(9);

/// How long what keeps the route from moving lasts once the way back is asked for.
const SHORT: Duration = Duration::from_millis(700);

/// The objects, and whether turning back needs a write of it.
const OBJECTS: [(&str, bool); 3] =
    [("destinationrules", false), ("virtualservices", true), ("services", false)];

/// Its name, and what is spoiled of an object.
type Answer = (&'static str, fn(&str) -> Rule);

const ANSWERS: [Answer; 6] = [
    ("409 to writes", |of| Rule::every(CONFLICT).of(&Verb::WRITES).on(&[of])),
    ("429", |of| Rule::every(busy(1)).on(&[of])),
    ("500", |of| Rule::every(BROKEN).on(&[of])),
    ("no answer", |of| Rule::every(Spoil::Unheard).on(&[of])),
    ("writes done, answers lost", |of| Rule::every(Spoil::Unanswered).of(&Verb::WRITES).on(&[of])),
    ("watches cut", |of| Rule::every(Spoil::WatchCut).on(&[of])),
];

async fn met(plane: &'static ControlPlane, (said, rules): Answer, (of, needed): (&'static str, bool)) -> Sum {
    let from = tokio::task::block_in_place(|| newest(plane));
    let cases = cases_at(&EFFECTS, plane, (Style::Subsets, 1), between).await;
    let histories: Vec<_> = cases.iter().map(|case| follow(&case.scene, from, World::new())).collect();
    let set = |cases: &[Arc<Case<Middleman>>], on| {
        for case in cases {
            if on { case.way.spoil(vec![rules(of)]) } else { case.way.relent() }
        }
    };
    let name = format!("{said} of {of}");
    let lasts = needed.then_some(SHORT);
    let mut sum = meet(&cases, &Fault { name: &name, set: &set, held: HELD, lasts, takes_pods: false }).await;
    for (case, history) in cases.iter().zip(histories) {
        let left = ended(case, history).await;
        if let Err(why) = left {
            eprintln!("UNSAFE {name} at {}: {why}", case.effect);
            sum.unsafe_ += 1;
        }
    }
    sum
}

/// The deployment comes to its end, everything is as its owners had it, and nobody was ever sent to a subset that was not there.
async fn ended(case: &Arc<Case<Middleman>>, history: History) -> Result<(), String> {
    case.end().await.ok_or("it was given up")?;
    let (route, rule, selector) = (case.scene.route(), rule(&case.scene), case.scene.selector());
    if rule["spec"] != users_rule("shop")["spec"] {
        return Err(format!("the rule is {}", rule["spec"]));
    }
    if route["spec"].to_string().contains("tidegate") || selector != serde_json::json!({"app": "shop"}) {
        return Err(format!("left behind: {}, {selector}", route["spec"]));
    }
    let case = Arc::clone(case);
    let looked = tokio::spawn(async move { history.looked(&case.scene, is_whole).await });
    looked.await.map(drop).map_err(|why| format!("users were sent nowhere: {why}"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 16)]
async fn whatever_happens_to_the_objects_of_subsets_users_are_safe_within_five_seconds_and_nothing_is_left_behind()
 {
    let plane = ControlPlane::shared().expect("a control plane");
    plane.install_istio().expect("Istio's definitions");
    let mut sum = Sum::default();
    for answers in ANSWERS.chunks(2) {
        let all = answers.iter().flat_map(|answer| OBJECTS.map(|of| (*answer, of)));
        let met: Vec<_> = all.map(|(answer, of)| tokio::spawn(met(plane, answer, of))).collect();
        for one in met {
            sum.add(&one.await.expect("met"));
        }
    }
    assert_eq!(usize::try_from(sum.cases), Ok(ANSWERS.len() * OBJECTS.len() * EFFECTS.len()));
    sum.all_well();
}
