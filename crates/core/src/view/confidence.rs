//! How much spoke for a release: before it started, and under traffic.

use super::scene::Story;
use crate::{
    confidence::{FactorValues, Prediction, Report, ReportSubject},
    deployment::{Event, Recorded, review},
    model::Timestamp,
};

/// What `confidence_{id}.json` holds; `None` when the history does not begin with a plan, or when the plan was made
/// without confidence, as a way back is.
pub fn confidence(history: &[Recorded]) -> Option<Report> {
    let story = Story::of(history)?;
    let plan = story.plan;
    let before = plan.confidence.as_ref()?;
    let review = review(plan, &story.state)?;
    let subject = ReportSubject {
        deployment_id: plan.deployment.clone(),
        service_name: plan.service.clone(),
        image_tag: plan.release.tag.clone(),
        at: looked_at(history).unwrap_or(story.first.at),
    };
    Some(Report::new(subject, &review.factors, before.preflight.clone(), review.last, Some(review.posterior)))
}

/// What was predicted of the release with what was known when it was decided about; `None` as for [`confidence()`].
pub fn prediction(history: &[Recorded]) -> Option<Prediction> {
    let story = Story::of(history)?;
    let plan = story.plan;
    let before = plan.confidence.as_ref()?;
    let review = review(plan, &story.state)?;
    Some(Prediction {
        deployment: plan.deployment.clone(),
        service: plan.service.clone(),
        at: looked_at(history).unwrap_or(story.first.at),
        values: FactorValues::of(&review.factors),
        preflight: before.preflight.weighed.score,
        final_score: review.last.as_ref().and_then(|last| last.weighed.score),
        decision: review.last.as_ref().map(|last| last.decision),
        bad: review.posterior.bad,
        calibrated: review.posterior.calibrated,
    })
}

/// The last look at a stage's gates.
fn looked_at(history: &[Recorded]) -> Option<Timestamp> {
    let look = |recorded: &&Recorded| matches!(recorded.event, Event::Judged { stage: Some(_), .. });
    history.iter().rev().find(look).map(|recorded| recorded.at)
}
