//! The words for a rollout that somebody else makes and that is only guarded: no traffic is moved and no instance is started or
//! stopped there, so nothing of that is said.

use alloc::{format, string::String};

use super::{
    scene::{Scene, instances, placed},
    span::rough,
};
use crate::{
    deployment::{Cause, Event, Phase},
    model::Millis,
    plan::Plan,
};

/// What is said of a rollout that its owner ended by another one.
pub const SUPERSEDED: &str = "was rolled out again by its owner";

/// The target kind of such rollouts.
const KIND: &str = "kubernetes-guard";

/// Whether a newer wish than the one that was judged is the reason.
pub fn is_superseded(cause: &Cause) -> bool {
    match cause {
        Cause::Superseded { .. } => true,
        Cause::EffectFailed { reason, .. } | Cause::NoEvidence { reason, .. } | Cause::Aborted { reason } => {
            reason.contains(SUPERSEDED)
        }
        Cause::GateFailed { .. }
        | Cause::LowConfidence { .. }
        | Cause::WaitedTooLong { .. }
        | Cause::ReopenedTooOften { .. } => false,
    }
}

pub(super) fn is_guarded(plan: &Plan) -> bool {
    plan.release.spec.kind == KIND
}

/// What happened, where the usual words would be wrong.
#[expect(clippy::wildcard_enum_match_arm, reason = "the usual words are right for the other events")]
pub(super) fn sentence(scene: &Scene<'_>) -> Option<String> {
    let plan = scene.plan;
    if !is_guarded(plan) {
        return None;
    }
    let new = &plan.release.tag;
    let cause = scene.after.cause.as_ref();
    Some(match &scene.recorded.event {
        Event::Built if plan.way_back => format!("{new} is in the Deployment"),
        Event::Built => format!("{new} is in the Deployment, and is guarded from now on"),
        Event::Deployed { instances: count } => format!("{} of {new} ready", instances(*count)),
        Event::Exposed { stage, .. } => exposed(plan, *stage),
        Event::Promoted => format!("{new} is what is gone back to from now on"),
        Event::WatchOpened { until, .. } if is_first(scene) && plan.watch > Millis::ZERO => {
            format!("The watch began: {}", rough(until.since(scene.recorded.at)))
        }
        Event::WatchOpened { .. } if is_first(scene) => String::from("No watch is planned"),
        Event::Retired { release } => format!("The pods of {release} are Kubernetes' own matter"),
        Event::Verified => format!("Ended well: {new} is good"),
        Event::Restored => restored(plan, cause),
        Event::RolledBack => left(plan, cause),
        _ => return None,
    })
}

/// Why it ended, where it went back, behind what made it do so.
pub(super) fn went_back(plan: &Plan, cause: Option<&Cause>, turned: &str) -> String {
    let what = match (cause, &plan.stable) {
        (Some(cause), _) if is_superseded(cause) => "Ended",
        (_, None) => "Not undone",
        (_, Some(_)) => "Undone",
    };
    format!("{what}{turned}. {}", left(plan, cause))
}

fn is_first(scene: &Scene<'_>) -> bool {
    scene.before.as_ref().is_some_and(|before| matches!(before.phase, Phase::Promoted(_)))
}

fn exposed(plan: &Plan, number: usize) -> String {
    let bake = plan.stage(number).map_or(Millis::ZERO, |stage| stage.bake);
    let how = if bake == Millis::ZERO { String::from("looked at once") } else { format!("bakes for {bake}") };
    format!("{}: {how}", placed(plan, number))
}

fn restored(plan: &Plan, cause: Option<&Cause>) -> String {
    match (cause, &plan.stable) {
        (Some(cause), _) if is_superseded(cause) => {
            String::from("Nothing is undone: a newer rollout takes its place")
        }
        (_, Some(stable)) => {
            format!("{} is back, unless something newer was rolled out meanwhile", stable.tag)
        }
        (_, None) => String::from("Nothing good is known to go back to"),
    }
}

fn left(plan: &Plan, cause: Option<&Cause>) -> String {
    let new = &plan.release.tag;
    match (cause, &plan.stable) {
        (Some(cause), _) if is_superseded(cause) => String::from("The newer rollout is what counts"),
        (_, Some(stable)) => format!("{} takes the place of {new} again", stable.tag),
        (_, None) => format!("{new} stays, because nothing good is known to go back to"),
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::ToString;

    use super::*;
    use crate::deployment::{What, table::sample_plan};

    #[test]
    fn what_stays_what_is_undone_and_what_gave_way_to_something_newer_is_never_called_the_same() {
        let with = sample_plan();
        let without = Plan { stable: None, ..sample_plan() };
        let failed = |reason: &str| Cause::EffectFailed { what: What::Scale, reason: reason.to_string() };
        let (crash, newer) =
            (failed("crash loop"), failed("Deployment a/shop was rolled out again by its owner and"));
        let (old, new) = (&with.stable.as_ref().expect("a stable one").tag, &with.release.tag);
        for (plan, cause, said, restored_as) in [
            (&with, &crash, format!("Undone: x. {old} takes the place of {new} again"), "is back"),
            (
                &without,
                &crash,
                format!("Not undone: x. {new} stays, because nothing good is known to go back to"),
                "Nothing good",
            ),
            (&with, &newer, "Ended: x. The newer rollout is what counts".to_string(), "Nothing is undone"),
            (&without, &newer, "Ended: x. The newer rollout is what counts".to_string(), "Nothing is undone"),
        ] {
            assert_eq!(went_back(plan, Some(cause), ": x"), said);
            assert!(restored(plan, Some(cause)).contains(restored_as), "{said}");
        }
        assert!(!is_guarded(&with), "its traffic is moved");
    }
}
