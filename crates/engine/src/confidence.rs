//! What the journal knows of a service's past: the history factor, the changes to compare with, and how predictions came
//! out.

use serde::{Deserialize, Serialize};
use tidegate_core::{
    confidence::{
        ChangeSize, Ending, Label, LabelByHand, Outcome, Prediction, SuccessPrior, Trouble, TroubleKind,
        change_complexity, historical_success, label,
    },
    deployment::{Cause, Event, StateName},
    gate::Mode,
    model::{Actor, Share, Timestamp},
    plan::{Known, Plan, Request},
    view,
};

use crate::{
    journal::{AppendError, Filter, History, Journal, Kept, ReadError, Standing},
    record,
    run::{RunError, folded, history},
};

/// Ended deployments of a service that are looked at, newest first.
const PAST_MAX: usize = 200;

/// Longest reason of a label, characters.
const REASON_CHARS_MAX: usize = 1_000;

/// An ended deployment with what became of it.
#[derive(Clone, Debug)]
pub struct Past {
    /// Its id.
    pub deployment: String,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How large its change was, where it was measured.
    pub change: Option<ChangeSize>,
    /// What it turned out to be.
    pub label: Label,
}

/// Why no label was kept.
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// There is no such deployment.
    #[error("there is no deployment `{0}`: see `tidegate history`")]
    Unknown(String),
    /// It says nothing.
    #[error("a label needs a reason of 1 to {REASON_CHARS_MAX} characters: it is what others read later")]
    NoReason,
    /// The journal cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The journal does not take it.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// It cannot be written as JSON.
    #[error("the label cannot be written")]
    Encode(#[from] serde_json::Error),
}

/// A label by hand as the journal keeps it, beside the events.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Word {
    label: LabelByHand,
    at: Timestamp,
}

/// Keeps what a person says of a deployment; a later word replaces an earlier one.
pub async fn keep_label<J: Journal>(
    journal: &J,
    deployment: &str,
    (good, reason): (bool, &str),
    actor: &Actor,
    now: Timestamp,
) -> Result<(), LabelError> {
    let reason = reason.trim();
    if reason.is_empty() || reason.chars().count() > REASON_CHARS_MAX {
        return Err(LabelError::NoReason);
    }
    if journal.deployment(deployment).await?.is_none() {
        return Err(LabelError::Unknown(deployment.to_owned()));
    }
    let label = LabelByHand { good, by: actor.to_string(), reason: reason.to_owned() };
    let text = serde_json::to_string(&Word { label, at: now })?;
    Ok(journal.put_meta(&key(deployment), &text).await?)
}

/// What a person said of a deployment; nothing when nobody did, or when another version wrote it.
pub async fn label_by_hand<H: History>(
    journal: &H,
    deployment: &str,
) -> Result<Option<LabelByHand>, ReadError> {
    let kept = journal.meta(&key(deployment)).await?;
    Ok(kept.and_then(|text| serde_json::from_str::<Word>(&text).ok()).map(|kept| kept.label))
}

fn key(deployment: &str) -> String {
    format!("label/{deployment}")
}

/// Fills in what only the journal knows: the history factor, and change complexity beside the service's past changes.
/// Nothing for a request without confidence.
pub async fn complete<H: History>(
    journal: &H,
    request: &mut Request,
    now: Timestamp,
) -> Result<(), RunError> {
    if request.way_back {
        request.confidence = None;
    }
    if request.confidence.is_some() {
        let past = past(journal, &request.service, &request.environment, now).await?;
        weigh_past(request, &past, now);
    }
    Ok(())
}

/// The same with the past at hand, newest first.
pub fn weigh_past(request: &mut Request, past: &[Past], now: Timestamp) {
    let Some(known) = &mut request.confidence else { return };
    let outcome = |one: &Past| Some(Outcome { age: now.since(one.ended_at), good: !one.label.bad()? });
    let outcomes: Vec<Outcome> = past.iter().filter_map(outcome).collect();
    let prior = SuccessPrior { team: known.history_prior, organisation: None };
    put(known, historical_success(&outcomes, prior));
    if let Some(change) = &known.change {
        let before: Vec<ChangeSize> = past.iter().filter_map(|one| one.change.clone()).collect();
        let factor = change_complexity(change, &before);
        put(known, factor);
    }
}

/// One factor of each kind: asked for a second time after a wait in the queue, the newer one counts.
fn put(known: &mut Known, factor: tidegate_core::confidence::Factor) {
    known.factors.retain(|one| one.kind != factor.kind);
    known.factors.push(factor);
}

/// A service's ended deployments, newest first, at most 200, without ways back. A way back within 72 hours counts against
/// the release that it left.
pub async fn past<H: History>(
    journal: &H,
    service: &str,
    environment: &str,
    now: Timestamp,
) -> Result<Vec<Past>, RunError> {
    let filter = Filter {
        standing: &[Standing::Ended],
        service: Some(service.to_owned()),
        environment: Some(environment.to_owned()),
        limit: Some(PAST_MAX),
        ..Filter::default()
    };
    let mut all = Vec::new();
    let mut left: Vec<(String, Trouble)> = Vec::new();
    for kept in journal.deployments(filter).await? {
        let Some((request, plan)) = first(journal, &kept.deployment).await? else { continue };
        if plan.way_back {
            left.extend(trouble(&kept, &plan));
            continue;
        }
        let troubles: Vec<Trouble> = left
            .iter()
            .filter(|(tag, _)| *tag == plan.release.tag)
            .map(|(_, trouble)| trouble.clone())
            .collect();
        let by_hand = label_by_hand(journal, &kept.deployment).await?;
        let ending = ending(journal, &kept).await?;
        all.push(Past {
            ended_at: Timestamp(kept.row.updated_unix_ms),
            change: request.confidence.and_then(|known| known.change),
            label: label(ending, &troubles, by_hand.as_ref(), now),
            deployment: kept.deployment,
        });
    }
    Ok(all)
}

/// Every prediction of a service's ended deployments with what it turned out to be.
pub async fn predictions<H: History>(
    journal: &H,
    service: &str,
    environment: &str,
    now: Timestamp,
) -> Result<Vec<(Prediction, Label)>, RunError> {
    let mut all = Vec::new();
    for one in past(journal, service, environment, now).await? {
        let events = history(journal, &one.deployment).await?;
        all.extend(view::prediction(&events).map(|prediction| (prediction, one.label)));
    }
    Ok(all)
}

/// What a deployment began with; only its first event is read.
pub(crate) async fn first<H: History>(
    journal: &H,
    deployment: &str,
) -> Result<Option<(Request, Plan)>, RunError> {
    let Some(first) = journal.read(deployment, 0, 1).await?.pop() else { return Ok(None) };
    let first = record::decode(&first)?;
    Ok(if let Event::Planned { request, plan, .. } = first.event { Some((*request, *plan)) } else { None })
}

/// A person went back from this release: somebody has looked and decided.
fn trouble(kept: &Kept, plan: &Plan) -> Option<(String, Trouble)> {
    let went = record::state_name(&kept.row) == Some(StateName::Verified);
    let from = plan.stable.as_ref().filter(|_| went)?;
    let at = Timestamp(kept.row.updated_unix_ms);
    let reference = kept.deployment.clone();
    Some((from.tag.clone(), Trouble { kind: TroubleKind::ConfirmedRollback, at, reference }))
}

/// How a deployment ended. Only one that turned back has to be read in full.
async fn ending<H: History>(journal: &H, kept: &Kept) -> Result<Ending, RunError> {
    let at = Timestamp(kept.row.updated_unix_ms);
    Ok(match record::state_name(&kept.row) {
        Some(StateName::Verified) => Ending::Promoted { at },
        Some(StateName::RolledBack) => {
            let events = history(journal, &kept.deployment).await?;
            let exposed = events.iter().any(|recorded| matches!(recorded.event, Event::Exposed { .. }));
            let (plan, state) = folded(&kept.deployment, &events)?;
            match &state.cause {
                _ if !exposed || all_in_shadow(&plan, &events) => Ending::NotExposed,
                Some(Cause::GateFailed { gate, .. }) if sequential(&plan, gate) => {
                    Ending::TurnedBackByEvidence { at }
                }
                Some(Cause::GateFailed { .. }) => Ending::TurnedBackByThreshold { at },
                _ => Ending::TurnedBackOtherwise { at },
            }
        }
        _ => Ending::NotExposed,
    })
}

fn all_in_shadow(plan: &Plan, events: &[tidegate_core::deployment::Recorded]) -> bool {
    let share = |event: &Event| {
        if let Event::Exposed { stage, .. } = event {
            plan.stage(*stage).map_or(Share::NONE, |stage| stage.share)
        } else {
            Share::NONE
        }
    };
    events.iter().all(|recorded| share(&recorded.event) == Share::NONE)
}

fn sequential(plan: &Plan, name: &str) -> bool {
    let gates = plan.stages.iter().flat_map(|stage| &stage.gates).chain(&plan.watch_gates);
    gates.into_iter().any(|gate| gate.name == name && gate.mode == Mode::Sequential)
}
