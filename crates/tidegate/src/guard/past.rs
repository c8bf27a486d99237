//! What became of earlier rollouts of a Deployment: read from the journal, never kept elsewhere.

use tidegate_core::{
    deployment::{Cause, Recorded, StateName, fold},
    model::Timestamp,
    view,
};
use tidegate_kubernetes::guard::GuardSpec;

use super::Desk;
use crate::fault::Fault;

/// Deployments that are looked through. Twice the same undone in a row is found in far fewer.
const LOOKED_AT: usize = 20;

/// Where a rollout stands, as far as a guard has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stand {
    /// On its way.
    UnderWay,
    /// On its way back.
    TurningBack,
    /// Its way back failed.
    Stuck,
    /// It ended well.
    Good,
    /// It was turned back.
    Back,
    /// It ended before anything was touched, or a person gave it up.
    Failed,
    /// It was called off before anything was touched.
    CalledOff,
}

/// One guarded rollout, or a person's way back.
#[derive(Clone, Debug)]
pub(crate) struct Past {
    /// Its id.
    pub(crate) deployment: String,
    /// Where it is.
    pub(crate) state: StateName,
    /// Whether it is a person's way back.
    pub(crate) way_back: bool,
    /// The revision that it was about.
    pub(crate) spec: GuardSpec,
    /// The revision to return to, as it was known then.
    pub(crate) good: Option<GuardSpec>,
    /// When it last changed.
    pub(crate) at: Timestamp,
    /// Why it turned back, once it did.
    pub(crate) cause: Option<Cause>,
}

impl Past {
    /// Reads one; nothing where it is not of a guard.
    pub(crate) fn of(history: &[Recorded]) -> Option<Self> {
        let (plan, state) = fold(history)?;
        Some(Self {
            deployment: plan.deployment.clone(),
            state: state.name(),
            way_back: plan.way_back,
            spec: GuardSpec::of(&plan.release).ok()?,
            good: plan.stable.as_ref().and_then(|stable| GuardSpec::of(stable).ok()),
            at: history.last()?.at,
            cause: state.cause,
        })
    }

    /// Where it stands.
    pub(crate) const fn stand(&self) -> Stand {
        match self.state {
            StateName::Verified => Stand::Good,
            StateName::RolledBack => Stand::Back,
            StateName::Failed => Stand::Failed,
            StateName::Cancelled => Stand::CalledOff,
            StateName::Stuck => Stand::Stuck,
            StateName::RollingBack => Stand::TurningBack,
            StateName::Queued
            | StateName::Checking
            | StateName::Init
            | StateName::Building
            | StateName::Deploying
            | StateName::AwaitingApproval
            | StateName::Canary
            | StateName::CanaryWaiting
            | StateName::CanaryEvaluating
            | StateName::Promoting
            | StateName::Promoted
            | StateName::Verifying
            | StateName::Paused => Stand::UnderWay,
        }
    }

    /// What it left behind, when that is known to be good.
    pub(crate) fn left(&self) -> Option<&GuardSpec> {
        match self.stand() {
            Stand::Good => Some(&self.spec),
            Stand::Back if self.is_bad() => self.good.as_ref(),
            Stand::Back
            | Stand::UnderWay
            | Stand::TurningBack
            | Stand::Stuck
            | Stand::Failed
            | Stand::CalledOff => None,
        }
    }

    /// Whether nothing more happens to it by itself or by a person.
    pub(crate) const fn is_over(&self) -> bool {
        match self.stand() {
            Stand::Good | Stand::Back | Stand::Failed | Stand::CalledOff => true,
            Stand::UnderWay | Stand::TurningBack | Stand::Stuck => false,
        }
    }

    /// Whether its revision was found bad, and not only left because its owner wished something newer.
    pub(crate) fn is_bad(&self) -> bool {
        let superseded = self.cause.as_ref().is_some_and(view::is_superseded);
        self.stand() == Stand::Back && !superseded
    }
}

/// The newest rollouts, newest first. Those that are over are kept in `known`, so that they are read once.
pub(super) async fn newest<D: Desk>(
    desk: &D,
    service: &str,
    environment: &str,
    known: &mut Vec<Past>,
) -> Result<Vec<(Past, Vec<Recorded>)>, Fault> {
    let mut found = Vec::new();
    for kept in desk.newest(service, environment, LOOKED_AT).await? {
        if let Some(past) = known.iter().find(|past| past.deployment == kept.deployment && past.is_over()) {
            found.push((past.clone(), Vec::new()));
            continue;
        }
        let history = desk.history(&kept.deployment).await?;
        if let Some(past) = Past::of(&history) {
            found.push((past, history));
        }
    }
    *known = found.iter().map(|(past, _)| past.clone()).collect();
    Ok(found)
}
