//! The way back: the good revision's template in the place of the judged one's, and of nothing else.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tidegate_core::deployment::Outcome;

use super::{
    effects::{Guard, Start, good_is, guarded_patch},
    looks::LOOK,
    sight::Sight,
    spec::GuardSpec,
    template::{
        CHANGE_CAUSE, CHANGE_CAUSE_PATH, GOOD_PATH, REVISION, is_complete, runs, selector, template, uid,
        wanted,
    },
};
use crate::{
    cluster::Lane,
    fence::{Fence, annotation},
    kinds::Kind,
    start,
    target::{EffectError, query},
    view::Workload,
};

/// First and longest time between two tries while the API server has trouble.
const TRY_AGAIN: [Duration; 2] = [Duration::from_millis(250), Duration::from_secs(1)];

impl Guard<'_> {
    /// Users are on the good revision's pods. Where its owner has rolled the Deployment out again meanwhile, nothing is done:
    /// his newest wish is not ours to overwrite.
    pub(super) async fn restore(&self, generation: u64) -> Result<Outcome, EffectError> {
        let Some(good) = &self.good else {
            tracing::warn!(
                deployment = self.plan.deployment,
                "no good revision is known: nothing to return to"
            );
            return Ok(Outcome::Done);
        };
        let (lane, fence) = (self.cluster.back(), self.fence(generation));
        let [mut pause, longest] = TRY_AGAIN;
        loop {
            match self.returned(lane, good, fence).await {
                Err(why) if !why.is_permanent() => {
                    tracing::warn!(deployment = self.plan.deployment, %why, "the undo is tried again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(longest);
                }
                answer => return answer.map(|()| Outcome::Done),
            }
        }
    }

    async fn returned(&self, lane: &Lane, good: &GuardSpec, fence: Fence<'_>) -> Result<(), EffectError> {
        let object = self.put(lane, good, &|object| runs(object, &self.new), fence).await?;
        if !runs(&object, good) {
            let deployment = &self.plan.deployment;
            tracing::warn!(deployment, "its owner has rolled it out again: nothing is undone");
            return Ok(());
        }
        let now = self.is_back(lane, good).await?;
        if now.hash != good.hash
            && let Err(why) = self.edit(lane, None, |object| Ok(good_is(object, &now, fence))).await
        {
            tracing::warn!(deployment = self.plan.deployment, %why, "the new name of the good revision is not noted");
        }
        Ok(())
    }

    /// Puts a revision's template into the Deployment when what is there may be overwritten; answers with what is there then.
    async fn put(
        &self,
        lane: &Lane,
        what: &GuardSpec,
        over: &(dyn Fn(&Value) -> bool + Send + Sync),
        fence: Fence<'_>,
    ) -> Result<Arc<Value>, EffectError> {
        // What decides that nothing is to be undone is not what was known a moment ago.
        self.edit(lane, None, |object| {
            if uid(object) != what.uid {
                return Ok(Vec::new());
            }
            let admitted = fence.admits(object, &self.what());
            if runs(object, what) {
                // So it is already; only the note is left, and somebody newer may have written it.
                return Ok(if admitted.is_ok() { good_is(object, what, fence) } else { Vec::new() });
            }
            if !over(object) {
                return Ok(Vec::new());
            }
            admitted?;
            Ok(guarded_patch(object, fence, replaced(object, what)))
        })
        .await
    }

    /// Waits until the good revision's pods have taken over, or surely do not; answers with the name it has now.
    async fn is_back(&self, lane: &Lane, good: &GuardSpec) -> Result<GuardSpec, EffectError> {
        let (mut start, mut news) = (Start::new(good.progress_ms), self.view.follow());
        let mut named = Named::default();
        loop {
            let seen = self.look(lane).await?;
            let object = &*seen.object;
            let good = self.renamed(lane, object, good, &mut named).await?;
            if !runs(object, &good) || is_complete(object) {
                return Ok(good);
            }
            // Where somebody writes to the Deployment all the time its status is always an old one. Pods are not.
            let pods = seen.pods(&good.set());
            let ready = pods.values().filter(|pod| pod.ready).count() as u64;
            if ready >= wanted(object) && seen.others(&good.set()) == 0 {
                return Ok(good);
            }
            start::not_broken(&pods, &good.namespace)?;
            start.look(object, (&self.new.namespace, &pods), &good.called())?;
            self.rest(&mut news).await;
        }
    }

    /// The revision under the hash that it has now: a `ReplicaSet` that is made again just after it was removed gets another
    /// one for the same template.
    async fn renamed(
        &self,
        lane: &Lane,
        object: &Value,
        spec: &GuardSpec,
        named: &mut Named,
    ) -> Result<GuardSpec, EffectError> {
        let number = annotation(object, REVISION);
        if !named.is_known(number) {
            let sets = lane.list(Kind::ReplicaSet, &spec.namespace, &query(&selector(object))).await?;
            let sight = Sight::of(object, &sets);
            let now = sight.present().filter(|present| present.template == spec.template);
            let hash = now.map(|now| now.hash.clone());
            *named = Named { number: number.map(str::to_owned), hash, asked: Some(Instant::now()) };
        }
        Ok(GuardSpec { hash: named.hash.clone().unwrap_or_else(|| spec.hash.clone()), ..spec.clone() })
    }

    /// A person's way back: this revision's template, in the place of what he saw there or of what was good.
    pub(super) async fn go_back(&self, fence: Fence<'_>) -> Result<Outcome, EffectError> {
        let lane = self.cluster.back();
        let object = self.object(lane).await?;
        if !runs(&object, &self.new) {
            self.is_as_seen(lane, &object).await?;
        }
        let seen = template(&object);
        let object = self.put(lane, &self.new, &|object| template(object) == seen, fence).await?;
        if runs(&object, &self.new) {
            return Ok(Outcome::Done);
        }
        Err(EffectError::Unread(format!("{} is just being rolled out by somebody else", self.what())))
    }

    /// What is there is what the person saw when he asked, or what a deployment that made room for this one left.
    async fn is_as_seen(&self, lane: &Lane, object: &Value) -> Result<(), EffectError> {
        let Some(replaces) = &self.new.replaces else { return Ok(()) };
        if self.good.as_ref().is_some_and(|good| runs(object, good)) {
            return Ok(());
        }
        let sets = lane.list(Kind::ReplicaSet, &self.new.namespace, &query(&selector(object))).await?;
        match Sight::of(object, &sets).present() {
            None => Err(EffectError::Unread(format!(
                "the Deployment's controller has not seen the newest {} yet",
                self.what()
            ))),
            Some(present) if present.hash == *replaces => Ok(()),
            Some(present) => Err(EffectError::Wrong(format!(
                "{} was rolled out again meanwhile and runs {} now: nothing was undone; look at it, then ask again",
                self.what(),
                present.called()
            ))),
        }
    }
}

/// Which hash a revision has, as it was asked for last.
#[derive(Default)]
struct Named {
    /// Of this number.
    number: Option<String>,
    hash: Option<String>,
    asked: Option<Instant>,
}

impl Named {
    /// Whether it need not be asked for: it is known, or it was not a moment ago.
    fn is_known(&self, number: Option<&str>) -> bool {
        let lately = self.asked.is_some_and(|at| at.elapsed() < LOOK);
        self.number.as_deref() == number && (self.hash.is_some() || lately)
    }
}

/// The changes that make a Deployment run this revision, as `kubectl rollout undo` does. It is good by our word or by a
/// person's. A rollout that its owner holds goes on: users are not to wait for somebody who is not there.
fn replaced(object: &Value, what: &GuardSpec) -> Vec<Value> {
    let mut changes = vec![
        json!({"op": "replace", "path": "/spec/template", "value": what.template}),
        json!({"op": "add", "path": GOOD_PATH, "value": what.hash}),
    ];
    match &what.change_cause {
        Some(cause) => changes.push(json!({"op": "add", "path": CHANGE_CAUSE_PATH, "value": cause})),
        None if annotation(object, CHANGE_CAUSE).is_some() => {
            changes.push(json!({"op": "remove", "path": CHANGE_CAUSE_PATH}));
        }
        None => {}
    }
    if Workload::of(object).paused {
        changes.push(json!({"op": "remove", "path": "/spec/paused"}));
    }
    changes
}
