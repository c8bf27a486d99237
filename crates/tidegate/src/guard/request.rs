//! From what is there to a request for a deployment.

use tidegate_core::{
    gate::Gate,
    judge::{Metric, Settings},
    model::{Actor, Criticality, Millis},
    plan::{Limits, Request, StrategySpec},
};
use tidegate_engine::QueuePolicy;
use tidegate_kubernetes::guard::{Guarded, Ran, Revision, Sight};

use super::before;
use crate::{fault::Fault, server::Submit};

/// What a rollout has to pass, and how long.
#[derive(Clone, Debug)]
pub(crate) struct Terms {
    /// How much harm a failure does.
    pub(crate) criticality: Criticality,
    /// The gates beside the one on the pods, which is always asked.
    pub(crate) gates: Vec<Gate>,
    /// What other sources are asked for them.
    pub(crate) metrics: Vec<Metric>,
    /// What the sequential gates share.
    pub(crate) judge: Settings,
    /// Time a complete rollout is watched before it counts as good.
    pub(crate) bake: Millis,
    /// Time it is watched after that, in which it still goes back by itself.
    pub(crate) watch: Millis,
    /// Longest time without a further ready pod; `None` is the Deployment's `progressDeadlineSeconds`.
    pub(crate) progress: Option<Millis>,
    /// Longest pause.
    pub(crate) pause_max: Millis,
    /// Who asks.
    pub(crate) actor: Actor,
}

impl Terms {
    /// Only the pods are looked at: for a minute, and two more.
    pub(crate) fn plain(actor: Actor) -> Self {
        Self {
            criticality: Criticality::default(),
            gates: Vec::new(),
            metrics: Vec::new(),
            judge: Settings::default(),
            bake: Millis::minutes(1),
            watch: Millis::minutes(2),
            progress: None,
            pause_max: Limits::default().pause_max,
            actor,
        }
    }
}

/// A request to judge the present revision. Whatever is under way for the Deployment makes room: its owner's newest wish is
/// what counts.
pub(super) fn judge(
    guarded: &Guarded,
    sight: &Sight,
    present: &Revision,
    terms: &Terms,
    tries: usize,
) -> Result<Submit, Fault> {
    let progress = terms.progress.map_or(sight.progress_ms, |progress| progress.0);
    let release = |revision| guarded.release(sight, revision, progress, None).map_err(super::fault);
    let good = sight.good().filter(|good| good.hash != present.hash).map(release).transpose()?;
    let strategy = StrategySpec::AllAtOnce { bake: terms.bake };
    let request = Request {
        environment: sight.environment(),
        criticality: terms.criticality,
        stable: good,
        gates: terms.gates.clone(),
        metrics: terms.metrics.clone(),
        judge: terms.judge.clone(),
        instances: sight.wanted.max(1),
        watch: terms.watch,
        limits: limits(progress, sight.wanted, terms.pause_max),
        // It is there already, whatever was made of it before: what is left to say is whether it stays.
        again: true,
        lifted: true,
        ..Request::new(guarded.name(), release(present)?, strategy)
    };
    let (uid, hash, number) = (&sight.uid, &present.hash, present.number);
    Ok(Submit {
        request,
        queue: QueuePolicy::Supersede,
        key: Some(format!("guard/{uid}/{hash}/{number}/{tries}")),
        actor: terms.actor.clone(),
        reason: present.change_cause.clone().unwrap_or_default(),
    })
}

/// The same request for a revision that has been ready for a bake already, and what it rests on.
pub(super) fn judged_before(submit: Submit, ran: &Ran, terms: &Terms) -> Submit {
    let reason = before::rests(ran, terms);
    Submit {
        request: before::without_bake(submit.request, terms, reason.clone()),
        // The same key is the same request, and this one says something else.
        key: submit.key.map(|key| format!("{key}/before")),
        reason,
        ..submit
    }
}

/// A request to go back to this revision, by a person's word.
pub(crate) fn undo(
    guarded: &Guarded,
    sight: &Sight,
    to: &Revision,
    actor: Actor,
    reason: String,
) -> Result<Submit, Fault> {
    let progress = sight.progress_ms;
    let release =
        |revision, replaces| guarded.release(sight, revision, progress, replaces).map_err(super::fault);
    let good = sight.good().map(|good| release(good, None)).transpose()?;
    let strategy = StrategySpec::AllAtOnce { bake: Millis::ZERO };
    let request = Request {
        environment: sight.environment(),
        stable: good,
        instances: sight.wanted.max(1),
        limits: limits(progress, sight.wanted, Limits::default().pause_max),
        way_back: true,
        again: true,
        lifted: true,
        ..Request::new(guarded.name(), release(to, sight.present.clone())?, strategy)
    };
    Ok(Submit { request, queue: QueuePolicy::Supersede, key: None, actor, reason })
}

/// An API server that is away for a while must neither leave a rollout unjudged nor a way back undone: tries are close to
/// each other, and many. A way back tries on by itself inside one call.
fn limits(progress_ms: u64, pods: u32, pause_max: Millis) -> Limits {
    let longest = progress_ms.saturating_mul(u64::from(pods.max(1))).saturating_add(60_000);
    Limits {
        attempts_max: 100,
        backoff_max: Millis::secs(2),
        look_every: Millis::secs(1),
        call_max: Millis(longest.min(24 * 3_600_000)),
        scale_max: Millis(longest.min(24 * 3_600_000)),
        pause_max,
        ..Limits::default()
    }
}
