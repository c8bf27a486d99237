//! What must hold when something ends: a deployment, a process, the whole run.
#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "a law speaks of the few events or states it is about; others are none of its business"
)]

use tidegate_core::{
    deployment::{Event, Phase, Recorded, fold},
    model::Share,
};
use tidegate_engine::{
    evidence::chunks,
    journal::MemoryJournal,
    record,
    replay::{Comparison, replay},
};

use futures_util::FutureExt as _;
use tidegate_engine::journal::History as _;

use super::{Oracle, Watched};
use crate::{law::Law, target::Target};

impl Oracle {
    /// Right after events that ended a deployment: where is the traffic.
    pub(super) fn ended_at_target(
        &mut self,
        id: &str,
        watched: &Watched,
        batch: &[Recorded],
        target: &Target,
    ) {
        let view = target.view();
        let tag = watched.plan.release.tag.as_str();
        let stable = watched.plan.stable.as_ref().map(|release| release.tag.as_str());
        let on_stable =
            view.weight(tag) == 0 && stable.is_none_or(|tag| view.weight(tag) == Share::ALL.basis_points());
        let given_up = batch.iter().any(|one| matches!(one.event, Event::RetireGivenUp { .. }));
        match watched.state.phase {
            Phase::RolledBack => {
                let idle = given_up || view.instances(tag) == 0;
                self.check(on_stable && idle, Law::EndedOnStable, || format!("{id}: {view:?}"));
            }
            Phase::Failed | Phase::Cancelled => {
                // Given up by a person on a stuck way back: that person has seen where traffic is.
                let abandoned = batch.iter().any(|one| matches!(one.event, Event::Abandoned { .. }));
                self.check(abandoned || !watched.touched(), Law::CancelledUntouched, || {
                    format!("{id}: {view:?}")
                });
            }
            Phase::Verified => {
                let all = view.weight(tag) == Share::ALL.basis_points();
                self.check(all, Law::EndedOnNew, || format!("{id}: {view:?}"));
            }
            Phase::RollingBack { step: tidegate_core::deployment::Step::Instances, .. } => {
                self.check(on_stable, Law::EndedOnStable, || format!("{id} restored: {view:?}"));
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
            | Phase::Retiring(_)
            | Phase::Paused { .. }
            | Phase::RollingBack { .. }
            | Phase::Stuck => {}
        }
    }

    /// A deployment's artifacts are written from this history.
    pub(crate) fn artifacts(&mut self, history: &[Recorded]) {
        let Some(Event::Planned { plan, .. }) = history.first().map(|first| &first.event) else {
            return self.broken(Law::ArtifactsWritten, "a history without a plan".to_owned());
        };
        let id = &plan.deployment;
        if self.past.contains(id) {
            return;
        }
        let Some(watched) = self.watched.get_mut(id) else {
            return self.broken(Law::ArtifactsWritten, format!("{id} is not in the journal"));
        };
        watched.artifacts += 1;
        let whole = watched.history == history && watched.state.is_terminal();
        self.check(whole, Law::ArtifactsWritten, || format!("{id}: {} events", history.len()));
    }

    /// A new owner has opened the journal: what it reads is what was synced, and folds to the same. Only unfinished
    /// deployments are read, unless all are wanted.
    pub(crate) fn reopened(&mut self, journal: &MemoryJournal, all: bool) {
        let mut broken = Vec::new();
        for (id, watched) in self.watched.iter().filter(|(_, watched)| all || !watched.state.is_terminal()) {
            let read =
                journal.read(id, 0, usize::MAX).now_or_never().and_then(Result::ok).unwrap_or_default();
            let kept: Result<Vec<Recorded>, _> = read.iter().map(record::decode).collect();
            let kept = kept.unwrap_or_default();
            if all && let Some(detail) = replayed_otherwise(journal, id, &kept) {
                broken.push((Law::VerdictsReplay, detail));
            }
            if kept != watched.history {
                broken.push((Law::HistoryStays, id.clone()));
            }
            let folded = fold(&kept).map(|(_, state)| state);
            if folded.as_ref() != Some(&watched.state) {
                broken.push((Law::NoGaps, format!("{id} folds to {folded:?}")));
            }
        }
        for (law, detail) in broken {
            self.broken(law, detail);
        }
    }

    /// A restarted engine holds these deployments.
    pub(crate) fn resumed(&mut self, held: &[String]) {
        for id in self.unfinished() {
            self.check(held.contains(&id), Law::RestartResumes, || id);
        }
    }

    /// A person was answered with these events.
    pub(crate) fn answered(&mut self, id: &str, events: &[Event]) {
        let kept = self.watched.get(id).is_some_and(|watched| {
            let mut history = watched.history.iter().map(|recorded| &recorded.event);
            events.iter().all(|event| history.any(|kept| kept == event))
        });
        self.check(kept, Law::AnsweredIsKept, || format!("{id}: {events:?}"));
    }

    /// The world has been well for long: everything must have ended.
    pub(crate) fn finished(&mut self) {
        let mut broken = Vec::new();
        for (id, watched) in &self.watched {
            if watched.poisoned {
                continue;
            }
            let name = watched.state.name();
            match watched.state.phase {
                Phase::Queued => broken.push((Law::QueueDrains, id.clone())),
                Phase::Stuck => broken.push((Law::EveryEnds, format!("{id} is stuck"))),
                _ if !watched.state.is_terminal() => {
                    broken.push((Law::EveryEnds, format!("{id} is {name}: {:?}", watched.state.phase)));
                }
                _ if watched.artifacts == 0 => {
                    broken.push((Law::ArtifactsWritten, format!("{id} is {name} without artifacts")));
                }
                _ => {}
            }
        }
        for (law, detail) in broken {
            self.broken(law, detail);
        }
    }
}

/// The first verdict that the kept batches do not lead to. One whose batches are gone is none: an engine may die, or find
/// no room, before it has written them.
fn replayed_otherwise(journal: &MemoryJournal, id: &str, history: &[Recorded]) -> Option<String> {
    let chunks = chunks(journal, id).now_or_never()?.ok()?;
    let differs = |outcome: &Comparison| matches!(outcome, Comparison::Differs { .. });
    let other = replay(history, &chunks).into_iter().find(|verdict| differs(&verdict.outcome))?;
    Some(format!("{id} event {}: {:?}", other.seq, other.outcome))
}
