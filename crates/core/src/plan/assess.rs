//! What is known of a release before it starts, and what the plan makes of it.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use serde::{Deserialize, Serialize};

use super::{PlanError, Request, Stage};
use crate::{
    confidence::{
        Absence, AtOnce, ChangeSize, Exposure, Factor, FactorKind, Factors, Points, Preflight, Start,
        VetoKind, blast_radius, preflight,
    },
    model::Share,
};

/// What is known of a release when it is asked for. The client reads it where the project is; the engine adds history.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Whether the score decides; otherwise it is only worked out and shown.
    pub enforce: bool,
    /// The factors that are known or whose absence has a reason. Blast radius and canary health come from elsewhere.
    pub factors: Vec<Factor>,
    /// The commit that the change was measured from; change complexity and coverage mean nothing beside another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// How large the change is: later releases are compared with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub change: Option<ChangeSize>,
    /// Services that depend on this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dependents: Option<u32>,
    /// The share of good releases that is assumed before there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_prior: Option<Points>,
}

/// What the plan was made with: every factor before traffic, and how to start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Assessment {
    /// Whether it decides; otherwise it is only shown.
    pub enforce: bool,
    /// The factors; canary health is absent.
    pub factors: Factors,
    /// The score and how to start.
    pub preflight: Preflight,
}

/// Works out how to start, and makes the stages wait for a person where that is the answer. A way back is never held up.
/// What the safety gates refuse is refused whether or not the score decides.
pub(super) fn assess(
    request: &Request,
    stages: &mut [Stage],
    notes: &mut Vec<String>,
) -> Result<Option<Assessment>, PlanError> {
    let Some(known) = request.confidence.as_ref().filter(|_| !request.way_back) else { return Ok(None) };
    let running = request.stable.as_ref().and_then(|stable| stable.commit.as_deref());
    let given = known.factors.iter().cloned().map(|factor| of_this_change(factor, known, running));
    let factors =
        Factors::new(given).with(blast_radius(&exposure(request, stages, known.dependents))).before_canary();
    let preflight = preflight(&factors);
    let refused = preflight.vetoes.iter().any(|veto| veto.kind == VetoKind::Refuse);
    if refused || (known.enforce && preflight.decision == Start::Blocked) {
        return Err(refusal(request, &factors, &preflight));
    }
    if known.enforce && preflight.decision == Start::Guarded {
        let first = stages.iter_mut().find(|stage| stage.share > Share::NONE);
        if let Some(stage) = first {
            stage.approval = true;
            notes.push(format!("{} starts after one approval: {}", stage.name, said(&preflight)));
        }
    }
    Ok(Some(Assessment { enforce: known.enforce, factors, preflight }))
}

/// What was measured from another commit than the running one says nothing about this rollout.
fn of_this_change(factor: Factor, known: &Known, running: Option<&str>) -> Factor {
    let about_change = matches!(factor.kind, FactorKind::Complexity | FactorKind::Coverage);
    if !about_change || factor.points().is_none() || known.since.as_deref() == running {
        return factor;
    }
    let reason = "the stable release changed after the change was measured; ask for it again";
    Factor::absent(factor.kind, Absence::OtherRelease, reason)
}

/// The share of the first exposure is what sees the release before any gate has looked at it under traffic.
fn exposure(request: &Request, stages: &[Stage], dependents: Option<u32>) -> Exposure {
    let first = stages.iter().find(|stage| stage.share > Share::NONE);
    let started = stages.iter().scan(0_u32, |before, stage| {
        let more = stage.instances.saturating_sub(*before);
        *before = stage.instances.max(*before);
        Some(more)
    });
    Exposure {
        criticality: request.criticality,
        largest_share: first.map_or(Share::ALL, |stage| stage.share),
        dependents,
        at_once: Some(AtOnce {
            max_surge: started.max().unwrap_or(0),
            max_unavailable: 0,
            replicas: request.instances,
        }),
    }
}

/// `confidence is 73.3 of 100` with what holds it down.
fn said(preflight: &Preflight) -> String {
    let score = preflight.weighed.score.map_or_else(
        || "nothing is known of it".to_string(),
        |score| format!("confidence is {score} of 100"),
    );
    let vetoes = preflight.vetoes.iter().map(|veto| veto.reason.as_str());
    core::iter::once(score.as_str()).chain(vetoes).collect::<Vec<_>>().join("; ")
}

fn refusal(request: &Request, factors: &Factors, preflight: &Preflight) -> PlanError {
    let refused: Vec<&str> = preflight
        .vetoes
        .iter()
        .filter(|veto| veto.kind == VetoKind::Refuse)
        .map(|veto| veto.reason.as_str())
        .collect();
    let (service, tag) = (request.service.clone(), request.release.tag.clone());
    if !refused.is_empty() {
        return PlanError::Refused { service, tag, why: refused.join("; ") };
    }
    let parts = factors.iter().filter_map(|factor| {
        factor.points().map(|points| format!("{} {points} ({})", factor.kind.words(), factor.reason))
    });
    PlanError::LowConfidence {
        service,
        tag,
        why: said(preflight),
        factors: parts.collect::<Vec<_>>().join("; "),
    }
}

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;
    use crate::plan::{
        Plan, StrategySpec, compile,
        compile::tests::{release, request},
    };

    fn known(points: u16, enforce: bool) -> Known {
        let factor = |kind| Factor::known(kind, Points::new(points), Vec::new(), String::new());
        let factors = [FactorKind::Safety, FactorKind::History, FactorKind::Complexity, FactorKind::Coverage]
            .map(factor);
        Known { enforce, factors: factors.to_vec(), ..Known::default() }
    }

    fn planned(known: Known) -> Result<Plan, PlanError> {
        compile(Request { confidence: Some(known), ..request(StrategySpec::standard_canary()) })
    }

    #[test]
    fn a_score_between_60_and_80_makes_the_first_exposure_wait_for_a_person() {
        let plan = planned(known(7_000, true)).unwrap();
        let approvals: Vec<bool> = plan.stages.iter().map(|stage| stage.approval).collect();
        assert_eq!(approvals, [true, false, false, false]);
        assert!(plan.notes.iter().any(|note| note.contains("starts after one approval")), "{:?}", plan.notes);
        let shown = planned(known(7_000, false)).unwrap();
        assert!(shown.stages.iter().all(|stage| !stage.approval));
        assert!(planned(known(9_000, true)).unwrap().stages.iter().all(|stage| !stage.approval));
    }

    #[test]
    fn a_score_below_60_does_not_start_where_it_decides() {
        let refused = planned(known(3_000, true)).unwrap_err();
        let text = alloc::string::ToString::to_string(&refused);
        assert!(text.contains("does not start") && text.contains("safety checks 30"), "{text}");
        assert!(planned(known(3_000, false)).is_ok());
    }

    #[test]
    fn what_the_safety_gates_refuse_is_refused_even_where_the_score_only_informs() {
        let mut known = known(10_000, false);
        let safety = Factor::known(FactorKind::Safety, Points::FULL, Vec::new(), String::new());
        known.factors = vec![safety.vetoed(VetoKind::Refuse, "the safety gates did not pass".into())];
        let refused = planned(known).unwrap_err();
        assert!(matches!(refused, PlanError::Refused { .. }), "{refused}");
    }

    #[test]
    fn a_change_from_another_commit_than_the_running_one_counts_for_nothing() {
        let known = Known { since: Some("older".into()), ..known(9_000, false) };
        let plan = planned(known).unwrap();
        let absent = plan.confidence.unwrap().preflight.weighed.absent;
        assert_eq!(absent, [FactorKind::Complexity, FactorKind::Coverage]);
    }

    #[test]
    fn a_way_back_is_never_held_up() {
        let back = Request {
            way_back: true,
            confidence: Some(known(0, true)),
            stable: Some(release("bad")),
            ..request(StrategySpec::standard_canary())
        };
        assert_eq!(compile(back).unwrap().confidence, None);
    }
}
