//! The files that every deployment leaves behind, as the seed names their fields.

use alloc::{
    string::{String, ToString},
    vec::Vec,
};

use serde::Serialize;

use super::{
    date,
    period::{BeforeAndAfter, before_and_after},
    scene::{Story, named},
    timeline::{Transition, transitions},
};
use crate::{
    confidence::Score,
    deployment::{Event, Recorded, StateName},
    gate::Judgement,
    model::{Actor, Criticality, Millis, Share, Strategy, Timestamp},
    plan::{Limits, Plan},
};

/// What `deployment_artifact_{id}.json` holds.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DeploymentArtifact {
    /// The deployment.
    pub deployment_id: String,
    /// The incident it answers; null when there is none.
    pub incident_id: Option<String>,
    /// The service.
    pub service_name: String,
    /// The environment.
    pub environment: String,
    /// How much harm a failure does.
    pub criticality: Criticality,
    /// The release's tag.
    pub image_tag: String,
    /// The commit it was made from.
    pub commit_hash: Option<String>,
    /// Digest of what it is made of, hex digits.
    pub artifact_digest: String,
    /// Tag of the release that traffic returns to; null on a service's first deployment.
    pub stable_image_tag: Option<String>,
    /// 0 to 100; null when no score was worked out.
    pub confidence_score: Option<f64>,
    /// What the score said; null when no score was worked out.
    pub confidence_decision: Option<String>,
    /// Where it is.
    pub state: StateName,
    /// Why it did not end well; null when it did, or still may.
    pub cause: Option<String>,
    /// Who asked for it.
    pub requested_by: Actor,
    /// Why it was asked for.
    pub reason: String,
    /// When it was asked for.
    #[serde(serialize_with = "date::moment")]
    pub started_at: Timestamp,
    /// When it ended; null when it has not.
    #[serde(serialize_with = "date::perhaps")]
    pub ended_at: Option<Timestamp>,
    /// From being asked for to its end, or to its last event.
    pub duration_seconds: f64,
    /// Every change of state, oldest first.
    pub state_transitions: Vec<Transition>,
    /// The strategy.
    pub deployment_strategy: Strategy,
    /// Always true: a release is never changed after it was made.
    pub immutable_deployment: bool,
    /// How far a bad release could have reached.
    pub blast_radius_control: BlastRadius,
    /// What users got before and after.
    pub metrics: BeforeAndAfter,
    /// Digest of the plan; the caller's, because the core does not hash.
    pub plan_digest: Option<String>,
}

/// How far a bad release could have reached, and how far it did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BlastRadius {
    /// Every stage with the largest share that is possible before its gates have passed.
    pub stages: Vec<StageBound>,
    /// The largest share that ever was in force, basis points.
    pub largest_share_basis_points: Share,
    /// Instances of the stable release that may be missing until the new one is final: none.
    pub max_unavailable: u32,
    /// The canary lease: traffic returns to stable by itself once the control plane was silent this long; null without.
    pub lease_ms: Option<Millis>,
    /// How long the release is watched after promotion, with the last good one kept warm.
    pub watch_ms: Millis,
    /// Bounds on everything that may take long; times in milliseconds.
    pub limits: Limits,
}

/// What one stage may expose.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StageBound {
    /// The stage.
    pub name: String,
    /// Share of users' traffic, basis points: the most that sees the release before the stage's gates have passed.
    pub share_basis_points: Share,
    /// Share of requests copied to the release, basis points.
    pub mirror_basis_points: Share,
    /// Instances of the release.
    pub instances: u32,
    /// Length of the bake.
    pub bake_ms: Millis,
    /// The gates.
    pub gates: Vec<String>,
    /// Whether a person must agree first.
    pub approval: bool,
}

/// What `deployment_artifact_{id}.json` holds; `None` when the history does not begin with a plan. The plan's digest is
/// left open.
pub fn artifact(history: &[Recorded]) -> Option<DeploymentArtifact> {
    let story = Story::of(history)?;
    let plan = story.plan;
    let release = &plan.release;
    let confidence = super::confidence(history);
    let ended_at = story.ended_at();
    let took = ended_at.unwrap_or(story.last.at).since(story.first.at);
    Some(DeploymentArtifact {
        deployment_id: plan.deployment.clone(),
        incident_id: story.incident.map(|incident| incident.id.clone()),
        service_name: plan.service.clone(),
        environment: plan.environment.clone(),
        criticality: plan.criticality,
        image_tag: release.tag.clone(),
        commit_hash: release.commit.clone(),
        artifact_digest: release.artifact.hex().to_string(),
        stable_image_tag: plan.stable.as_ref().map(|stable| stable.tag.clone()),
        confidence_score: confidence.as_ref().and_then(|report| report.overall_score).map(Score::points),
        confidence_decision: confidence.map(|report| report.decision),
        state: story.state.name(),
        cause: story.cause(),
        requested_by: story.first.actor.clone(),
        reason: story.reason.to_string(),
        started_at: story.first.at,
        ended_at,
        duration_seconds: took.0 as f64 / 1_000.0,
        state_transitions: transitions(history),
        deployment_strategy: plan.strategy,
        immutable_deployment: true,
        blast_radius_control: blast_radius(plan, story.largest),
        metrics: before_and_after(history),
        plan_digest: None,
    })
}

fn blast_radius(plan: &Plan, largest: Share) -> BlastRadius {
    let stages = plan.stages.iter().map(|stage| StageBound {
        name: stage.name.clone(),
        share_basis_points: stage.share,
        mirror_basis_points: stage.mirror,
        instances: stage.instances,
        bake_ms: stage.bake,
        gates: stage.gates.iter().map(|gate| gate.name.clone()).collect(),
        approval: stage.approval,
    });
    BlastRadius {
        stages: stages.collect(),
        largest_share_basis_points: largest,
        max_unavailable: 0,
        lease_ms: plan.lease,
        watch_ms: plan.watch,
        limits: plan.limits,
    }
}

/// What `evidence_{id}.json` holds: everything that the gates were shown and said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Evidence {
    /// The deployment.
    pub deployment_id: String,
    /// The looks, oldest first.
    pub looks: Vec<Looked>,
}

/// One look at the gates.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Looked {
    /// Place of the event in the history.
    pub seq: u64,
    /// When.
    #[serde(serialize_with = "date::moment")]
    pub at: Timestamp,
    /// Number of the stage, from 1; null in the watch after promotion.
    pub stage: Option<usize>,
    /// The stage's name.
    pub name: String,
    /// The answers with what they are built on.
    pub judgements: Vec<Judgement>,
}

/// Every look at the gates that had a consequence; `None` when the history does not begin with a plan.
pub fn evidence(history: &[Recorded]) -> Option<Evidence> {
    let plan = Story::of(history)?.plan;
    let looks = history.iter().filter_map(|recorded| {
        let Event::Judged { stage, judgements } = &recorded.event else { return None };
        Some(Looked {
            seq: recorded.seq,
            at: recorded.at,
            stage: stage.map(|stage| stage + 1),
            name: stage.map_or("watch", |stage| named(plan, stage)).to_string(),
            judgements: judgements.clone(),
        })
    });
    Some(Evidence { deployment_id: plan.deployment.clone(), looks: looks.collect() })
}
