//! What an API server may answer instead of doing what it is asked, and what a watch may say.

use std::time::Duration;

use tidegate_bed::{ControlPlane, Middleman, Rule, Spoil, Verb};

use super::{Case, EFFECTS, Fault, HELD, Style, Sum, cases, meet};
use crate::scene::Scene;

/// As long as makes the engine wait longest between two tries that fail at once, and some more.
const LONG: Duration = Duration::from_secs(8);
/// Long enough that the way back has met it.
const SHORT: Duration = Duration::from_millis(700);

/// Its name, what is spoiled, and how long it lasts once the way back is asked for.
type Answer = (&'static str, fn() -> Vec<Rule>, Option<Duration>);

const ANSWERS: [Answer; 16] = [
    ("409 to every write", || vec![Rule::every(CONFLICT).of(&Verb::WRITES)], Some(LONG)),
    ("500 to everything", || vec![Rule::every(BROKEN)], Some(LONG)),
    ("403 to everything", || vec![Rule::every(FORBIDDEN)], Some(LONG)),
    ("401 to everything", || vec![Rule::every(UNAUTHORIZED)], Some(SHORT)),
    ("409 to three writes", || vec![Rule::every(CONFLICT).of(&Verb::WRITES).times(3)], None),
    ("429 with Retry-After 1 to everything", || vec![Rule::every(busy(1))], Some(SHORT)),
    ("429 with Retry-After 60 to everything", || vec![Rule::every(busy(60))], Some(SHORT)),
    ("500 to four looks", || vec![Rule::every(BROKEN).of(&[Verb::Get, Verb::List]).times(4)], None),
    ("503 to everything", || vec![Rule::every(UNAVAILABLE)], Some(SHORT)),
    ("no answer, nothing done", || vec![Rule::every(Spoil::Unheard)], Some(SHORT)),
    ("writes done, answers lost", || vec![Rule::every(Spoil::Unanswered).of(&Verb::WRITES)], None),
    ("writes late", || vec![Rule::every(Spoil::Held).of(&Verb::WRITES)], Some(SHORT)),
    ("a webhook for Deployments is down", webhook_down, None),
    ("watches cut", || vec![Rule::every(Spoil::WatchCut)], None),
    ("watches gone (410)", || vec![Rule::every(Spoil::WatchGone)], None),
    ("watches silent", || vec![Rule::every(Spoil::WatchSilent)], None),
];

fn webhook_down() -> Vec<Rule> {
    vec![Rule::every(Spoil::Unheard).of(&Verb::WRITES).on(&["deployments"])]
}

/// So many faults at once: each has a deployment at every effect.
const AT_ONCE: usize = 3;

pub(super) const CONFLICT: Spoil = answered(
    409,
    "Conflict",
    "Operation cannot be fulfilled: the object has been modified; please apply your changes to the latest version and try again",
);
pub(super) const BROKEN: Spoil =
    answered(500, "InternalError", "an error on the server has prevented the request from succeeding");
const UNAVAILABLE: Spoil = answered(503, "ServiceUnavailable", "apiserver is shutting down");
const UNAUTHORIZED: Spoil = answered(401, "Unauthorized", "Unauthorized");
const FORBIDDEN: Spoil = answered(
    403,
    "Forbidden",
    r#"objects "shop" is forbidden: User "tidegate" cannot patch resource "objects" in API group "" in the namespace "shop""#,
);

const fn answered(status: u16, reason: &'static str, message: &'static str) -> Spoil {
    Spoil::Answered { status, reason, message, retry_after_s: None }
}

pub(super) const fn busy(seconds: u32) -> Spoil {
    let message = "too many requests, please try again later";
    Spoil::Answered { status: 429, reason: "TooManyRequests", message, retry_after_s: Some(seconds) }
}

/// A case whose requests go through somebody.
pub(super) fn between(plane: &'static ControlPlane, scene: &mut Scene) -> Middleman {
    let middleman = plane.middleman(plane.admin()).expect("a middleman");
    middleman.kubeconfig().clone_into(&mut scene.kubeconfig);
    middleman
}

async fn met(plane: &'static ControlPlane, (name, rules, lasts): Answer) -> Sum {
    let cases = cases(plane, (Style::Canary, 1), between).await;
    let set = |cases: &[std::sync::Arc<Case<Middleman>>], on| {
        for case in cases {
            if on { case.way.spoil(rules()) } else { case.way.relent() }
        }
    };
    meet(&cases, &Fault { name, set: &set, held: HELD, lasts, takes_pods: false }).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 16)]
async fn whatever_the_api_server_answers_at_any_effect_users_are_safe_within_five_seconds_of_its_end() {
    let plane = ControlPlane::shared().expect("a control plane");
    plane.install_gateway_api().expect("Gateway API");
    let mut sum = Sum::default();
    for some in ANSWERS.chunks(AT_ONCE) {
        let met: Vec<_> = some.iter().map(|answer| tokio::spawn(met(plane, *answer))).collect();
        for one in met {
            sum.add(&one.await.expect("met"));
        }
    }
    assert_eq!(usize::try_from(sum.cases), Ok(ANSWERS.len() * EFFECTS.len()));
    sum.all_well();
}
