//! One plain sentence per event, without a full stop. Times are lengths, because the event has its moment beside it.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{
    guarded,
    scene::{Scene, instances, named, placed},
    span::rough,
    unanswered::unanswered,
};
use crate::{
    deployment::{ApprovalReason, Event, Phase, Step, What},
    gate::{Judgement, Verdict},
    model::{Millis, Share, Timestamp},
    plan::Plan,
};

/// What happened, for a person.
pub(super) fn sentence(scene: &Scene<'_>) -> String {
    guarded::sentence(scene).unwrap_or_else(|| usual(scene))
}

fn usual(scene: &Scene<'_>) -> String {
    let plan = scene.plan;
    let new = &plan.release.tag;
    let at = scene.recorded.at;
    match &scene.recorded.event {
        Event::Planned { plan, reason, .. } => planned(plan, reason),
        Event::Replanned { plan } => {
            format!("Planned again, because the stable release changed: {}", route(plan))
        }
        Event::Admitted => "Its turn came".to_string(),
        Event::Checked => "The target can do what the plan asks".to_string(),
        Event::Initialised { .. } => "The counters were read before anything was touched".to_string(),
        Event::Built => format!("{new} lies ready at the target"),
        Event::Deployed { instances: count } => {
            format!("{} of {new} ready, without traffic", instances(*count))
        }
        Event::Scaled { stage, instances: count } => {
            format!("{} of {new} ready for {}", instances(*count), named(plan, *stage))
        }
        Event::Exposed { stage, .. } => exposed(plan, *stage),
        Event::Baked { stage } => format!("The bake of {} is over", named(plan, *stage)),
        Event::Judged { stage, judgements } => judged(plan, *stage, judgements),
        Event::Held { stage, until } => {
            let stage = named(plan, *stage);
            format!("Evidence is missing in {stage}; waiting up to {} for it", left(at, *until))
        }
        Event::StagePassed { stage, by_hand: false } => passed(scene, *stage),
        Event::StagePassed { stage, by_hand: true } => format!("{} was passed by hand", placed(plan, *stage)),
        Event::Hurried { stage } => format!("Full promotion was asked for: on to {}", named(plan, *stage)),
        Event::ApprovalAsked { stage, why, until } => approval(plan, *stage, why, &left(at, *until)),
        Event::Approved { stage } => format!("{} was approved", placed(plan, *stage)),
        Event::Promoted => format!("{new} is the stable release now"),
        Event::WatchOpened { until, .. } => watch_opened(scene, *until),
        Event::WatchPassed { .. } => watch_passed(scene),
        Event::Retired { release } => format!("{release} was drained and stopped"),
        Event::RetireGivenUp { release, reason } => {
            format!("{release} could not be stopped in time ({reason}); the supervisor goes on with it")
        }
        Event::Verified => format!("Ended well: all traffic is on {new}"),
        Event::Tried { what, attempt, reason, retry_at } => {
            let tries = tries_max(plan, &scene.after.phase);
            let (number, wait) = (attempt.saturating_add(1), left(at, *retry_at));
            format!("Try {number} of {tries} of {} failed: {reason}; next try after {wait}", doing(*what))
        }
        Event::Reopened { stage, why } => format!("{} starts again: {why}", placed(plan, *stage)),
        Event::PauseAsked { reason } => {
            format!("A pause was asked for and takes hold as soon as it can{}", because(reason))
        }
        Event::Paused { reason, until } => {
            format!("Paused for at most {}{}", left(at, *until), because(reason))
        }
        Event::Resumed => "Goes on".to_string(),
        Event::RollbackBegan { cause } => format!("Turns back: {cause}"),
        Event::Restored => restored(plan),
        Event::RolledBack => format!("Rolled back: 0 % of traffic is on {new}"),
        Event::Stuck { reason } => format!("The way back failed and a person is needed: {reason}"),
        Event::Unstuck => "The way back is tried again".to_string(),
        Event::Abandoned { reason } => {
            format!(
                "The stuck way back was given up{}; only the target knows where traffic is",
                because(reason)
            )
        }
        Event::Failed { what, reason } => {
            format!("Failed before anything was touched: {} failed: {reason}", doing(*what))
        }
        Event::Cancelled { reason } => format!("Called off before anything was touched{}", because(reason)),
    }
}

fn passed(scene: &Scene<'_>, stage: usize) -> String {
    let open = unanswered(scene.plan, Some(stage), scene.judged);
    format!("{} passed{}", placed(scene.plan, stage), although(open))
}

fn although(open: Option<String>) -> String {
    open.map_or_else(String::new, |open| format!(", although {open}"))
}

/// `: reason`, or nothing.
pub(super) fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

/// Tries that the effect on its way has.
pub(super) const fn tries_max(plan: &Plan, phase: &Phase) -> u32 {
    match phase {
        Phase::RollingBack { step: Step::Traffic, .. } => plan.limits.restore_attempts_max,
        Phase::RollingBack { step: Step::Instances, .. } | Phase::Retiring(_) => {
            plan.limits.back_attempts_max
        }
        Phase::Queued
        | Phase::Checking(_)
        | Phase::Init(_)
        | Phase::Building(_)
        | Phase::Deploying(_)
        | Phase::AwaitingApproval { .. }
        | Phase::Canary { .. }
        | Phase::CanaryWaiting { .. }
        | Phase::CanaryEvaluating { .. }
        | Phase::Promoting(_)
        | Phase::Promoted(_)
        | Phase::Verifying { .. }
        | Phase::Paused { .. }
        | Phase::Verified
        | Phase::RolledBack
        | Phase::Stuck
        | Phase::Failed
        | Phase::Cancelled => plan.limits.attempts_max,
    }
}

const fn doing(what: What) -> &'static str {
    match what {
        What::Check => "checking the target",
        What::Read | What::Measure => "reading the counters",
        What::Build => "bringing the release to the target",
        What::Scale => "starting instances",
        What::Shift => "shifting traffic",
        What::Promote => "making the release the stable one",
        What::Restore => "moving traffic back",
        What::Retire => "stopping instances",
        What::Wake => "waking up",
    }
}

fn left(at: Timestamp, until: Timestamp) -> String {
    rough(until.since(at))
}

fn planned(plan: &Plan, reason: &str) -> String {
    let stages =
        if plan.stages.len() == 1 { "1 stage".to_string() } else { format!("{} stages", plan.stages.len()) };
    let how = if plan.way_back { "way back".to_string() } else { plan.strategy.to_string() };
    let confidence = plan.confidence.as_ref().and_then(|before| before.preflight.weighed.score);
    let confidence = confidence.map_or_else(String::new, |score| format!(", confidence {score} of 100"));
    format!("Planned as {how} in {stages}, {}{confidence}{}", route(plan), because(reason))
}

fn route(plan: &Plan) -> String {
    let note = plan.stable_note.as_ref().map_or_else(String::new, |note| format!(" ({note})"));
    match &plan.stable {
        Some(stable) => format!("from {} to {}{note}", stable.tag, plan.release.tag),
        None => format!("{} as the first release", plan.release.tag),
    }
}

fn exposed(plan: &Plan, number: usize) -> String {
    let Some(stage) = plan.stage(number) else { return placed(plan, number) };
    let new = &plan.release.tag;
    let what = if stage.mirror == Share::NONE {
        format!("{} of traffic on {new}", stage.share)
    } else {
        format!("{} of requests copied to {new}, which answers nobody", stage.mirror)
    };
    let bake = if stage.bake == Millis::ZERO { String::new() } else { format!("; bakes for {}", stage.bake) };
    format!("{}: {what}{bake}", placed(plan, number))
}

fn judged(plan: &Plan, stage: Option<usize>, judgements: &[Judgement]) -> String {
    let place = stage.map_or("the watch", |stage| named(plan, stage));
    let of = |verdict| -> Vec<&str> {
        judgements.iter().filter(|j| j.verdict == verdict).map(|j| j.gate.as_str()).collect()
    };
    let (failed, missing, passed) = (of(Verdict::Fail), of(Verdict::NoEvidence), of(Verdict::Pass));
    let mut parts = Vec::new();
    if !failed.is_empty() {
        parts.push(format!("{} failed", failed.join(", ")));
    }
    match (missing.len(), failed.is_empty()) {
        (0, _) => {}
        (_, true) => parts.push(format!("{} without an answer", missing.join(", "))),
        (count, false) => parts.push(format!("{count} without an answer")),
    }
    match passed.as_slice() {
        [] => {}
        [only] => parts.push(format!("{only} passed")),
        all if all.len() == judgements.len() => parts.push(format!("all {} passed", all.len())),
        some => parts.push(format!("{} passed", some.len())),
    }
    if parts.is_empty() {
        parts.push("none are asked".to_string());
    }
    format!("Gates of {place}: {}", parts.join("; "))
}

fn approval(plan: &Plan, stage: usize, why: &ApprovalReason, left: &str) -> String {
    match why {
        ApprovalReason::Planned => format!("{} needs a person's approval within {left}", placed(plan, stage)),
        ApprovalReason::GateFailed { gate, reason } => {
            format!("Gate {gate} failed in {}, a person decides within {left}: {reason}", placed(plan, stage))
        }
        ApprovalReason::Review { score, reason } => format!(
            "Confidence is {score} of 100 in {}, a person decides within {left}: {reason}",
            placed(plan, stage)
        ),
        ApprovalReason::Undecided { gate, reason } => format!(
            "Gate {gate} could not decide in {}, a person decides within {left}: {reason}",
            placed(plan, stage)
        ),
    }
}

fn watch_opened(scene: &Scene<'_>, until: Timestamp) -> String {
    let (plan, left) = (scene.plan, left(scene.recorded.at, until));
    let again = scene.before.as_ref().is_some_and(|before| !matches!(before.phase, Phase::Promoted(_)));
    match (&plan.stable, again) {
        (_, true) => {
            format!("The counters restarted from zero: the watch goes on for {left} with a new window")
        }
        (Some(_), false) if plan.watch == Millis::ZERO => "No watch is planned".to_string(),
        (Some(stable), false) => format!("The watch began: {left}, with {} kept warm", stable.tag),
        (None, false) => "There is no older release to keep warm".to_string(),
    }
}

fn watch_passed(scene: &Scene<'_>) -> String {
    let before = scene.before.as_ref().map(|before| &before.phase);
    let until = if let Some(Phase::Verifying { until } | Phase::Paused { until, .. }) = before {
        Some(*until)
    } else {
        None
    };
    match until {
        Some(until) if scene.recorded.at < until => {
            format!("The watch ended {} early to make room", left(scene.recorded.at, until))
        }
        _ if scene.plan.watch == Millis::ZERO => "Nothing is left to watch".to_string(),
        _ => format!("The watch passed{}", although(unanswered(scene.plan, None, scene.judged))),
    }
}

fn restored(plan: &Plan) -> String {
    match &plan.stable {
        Some(stable) => format!("All traffic is back on {}", stable.tag),
        None => format!("{} has no traffic any more; there is no older release", plan.release.tag),
    }
}
