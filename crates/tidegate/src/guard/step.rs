//! What a guard does next: decided from what is there and what became of earlier rollouts, without IO.

use tidegate_core::model::{Millis, Timestamp};
use tidegate_kubernetes::guard::{Revision, Sight};

use super::{Past, past::Stand};

/// Times the same pod template is undone in a row; whoever applies it once more has to stop first.
const UNDONE_MAX: usize = 2;

/// First and longest wait before a rollout that could not even be looked at is judged anew.
const ANEW: [Millis; 2] = [Millis::secs(30), Millis::minutes(10)];

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing can be said yet.
    Wait(String),
    /// The good revision runs.
    Good,
    /// The rollout is being judged by this deployment.
    Follow(String),
    /// The good revision runs again by its owner's own hand, and this deployment still judges the one before: it has to end.
    Leave(String),
    /// The rollout is to be judged; so many tries came to nothing before.
    Judge { tries: usize },
    /// The same, not before then; with `bad` it was found bad before, and nothing good is known to go back to.
    Later { at: Timestamp, bad: bool },
    /// A person is needed.
    Hold(String),
}

/// What keeps us from guarding it: somebody else does, and would not be let by what we write, nor we by what he wrote.
/// `owner` is our name there.
pub(crate) fn of_another(sight: &Sight, owner: &str) -> Option<String> {
    let other = sight.owner.as_deref().filter(|other| *other != owner && !owner.is_empty())?;
    Some(format!(
        "another Tidegate (`{other}`) guards deployment/{name} in namespace {namespace}, and this one (`{owner}`) could undo \
         nothing: guard it from there, or, when that one is gone for good, `kubectl -n {namespace} annotate \
         deployment/{name} guard.tidegate.dev/owner-`",
        name = sight.deployment,
        namespace = sight.namespace,
    ))
}

/// The next step. `past` is newest first.
pub(super) fn step(sight: &Sight, past: &[Past], now: Timestamp) -> Step {
    let Some(present) = sight.present() else { return unseen(sight) };
    let past: Vec<&Past> = past.iter().filter(|past| past.spec.uid == sight.uid).collect();
    let under_way: Vec<&&Past> = past.iter().filter(|past| !past.is_over()).collect();
    if let Some(one) = under_way.iter().find(|past| past.spec.hash == present.hash) {
        return followed(one, present);
    }
    if let Some(back) = under_way.iter().find(|past| past.way_back) {
        return Step::Wait(format!("{} is a person's way back, and goes first", back.deployment));
    }
    if sight.good.as_ref() == Some(&present.hash) || was_good_last(&past, present) {
        let left = under_way.iter().find(|past| past.stand() == Stand::UnderWay);
        return left.map_or(Step::Good, |left| Step::Leave(left.deployment.clone()));
    }
    if let Some(step) = tried(&past, sight, present, now) {
        return step;
    }
    if sight.wanted == 0 {
        return Step::Wait(format!(
            "{} has no pods (`spec.replicas: 0`): there is nothing to judge",
            present.called()
        ));
    }
    if undone_in_a_row(&past, present) >= UNDONE_MAX {
        return Step::Hold(format!(
            "{} was undone {UNDONE_MAX} times in a row and was applied again: Tidegate leaves it where it is. Stop whatever \
             applies it (CI, Argo CD, Flux), then `tidegate undo deployment/{} --namespace {}`, or roll something else out",
            present.called(),
            sight.deployment,
            sight.namespace,
        ));
    }
    Step::Judge { tries: 0 }
}

/// What is there is not known yet.
fn unseen(sight: &Sight) -> Step {
    let why = if sight.paused {
        "its owner holds the rollout (`spec.paused`): it is judged when it goes on"
    } else {
        "its controller has not seen the newest pod template yet"
    };
    Step::Wait(why.to_owned())
}

/// The present template is being judged, or is what a person goes back to.
fn followed(one: &Past, present: &Revision) -> Step {
    let id = &one.deployment;
    match one.stand() {
        // It was applied again before the older rollout of it has ended.
        Stand::TurningBack if one.spec.revision != present.number => {
            Step::Wait(format!("{id} is still on its way back"))
        }
        Stand::Stuck => Step::Hold(format!(
            "the way back of {id} failed: see `tidegate why {id}`, then `tidegate retry {id}` or `tidegate abort {id}`"
        )),
        Stand::UnderWay
        | Stand::TurningBack
        | Stand::Good
        | Stand::Back
        | Stand::Failed
        | Stand::CalledOff => Step::Follow(id.clone()),
    }
}

/// Whether the last one that came to an end of its own left this very template as a good one. The annotation that says so may
/// have been taken away since, and the same template may have got another hash.
fn was_good_last(past: &[&Past], present: &Revision) -> bool {
    let last = past.iter().find(|past| matches!(past.stand(), Stand::Good | Stand::Back));
    let left = last.and_then(|last| last.left());
    left.is_some_and(|left| left.hash == present.hash || left.template == present.template)
}

/// What became of this very rollout before; nothing where it is new.
fn tried(past: &[&Past], sight: &Sight, present: &Revision, now: Timestamp) -> Option<Step> {
    let same = |past: &&&Past| {
        past.is_over() && past.spec.hash == present.hash && past.spec.revision == present.number
    };
    let last = past.iter().find(same)?;
    let (id, called) = (&last.deployment, present.called());
    let hold = |why: String| Some(Step::Hold(why));
    // Nothing was touched, and with nothing to go back to nothing will be: what heals by itself is found good in the end.
    let untouched = match last.stand() {
        Stand::Failed => last.cause.is_none(),
        Stand::Back => last.good.is_none() && sight.good().is_none(),
        Stand::Good | Stand::CalledOff | Stand::UnderWay | Stand::TurningBack | Stand::Stuck => false,
    };
    match last.stand() {
        _ if untouched => {
            let tries = past.iter().filter(same).count();
            let [first, longest] = ANEW;
            let doublings = u32::try_from(tries.saturating_sub(1)).unwrap_or(u32::MAX).min(10);
            let at = last.at.after(first.times(1 << doublings).min(longest));
            let bad = last.stand() == Stand::Back;
            Some(if now >= at { Step::Judge { tries } } else { Step::Later { at, bad } })
        }
        Stand::Back => {
            hold(format!("{called} was turned back by {id} and is still there: see `tidegate why {id}`"))
        }
        Stand::CalledOff => hold(format!("{id} was called off before {called} was judged")),
        Stand::Failed => hold(format!("a person gave up the way back of {id}: {called} stays")),
        Stand::Good | Stand::UnderWay | Stand::TurningBack | Stand::Stuck => None,
    }
}

/// How often this template was undone since anything else was good or undone.
fn undone_in_a_row(past: &[&Past], present: &Revision) -> usize {
    let counts = |past: &&&Past| past.is_bad() || past.stand() == Stand::Good;
    past.iter().filter(counts).take_while(|past| past.is_bad() && past.spec.hash == present.hash).count()
}

#[cfg(test)]
mod tests;
