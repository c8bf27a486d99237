//! What must hold of every order, and of every change at a target.

use tidegate_core::{
    deployment::{Effect, What, owed},
    model::Share,
};
use tidegate_engine::Order;

use super::{Oracle, Watched};
use crate::{
    law::Law,
    target::{Acted, View, generation},
};

/// A change at a target, or an order that changed nothing.
pub(crate) struct Deed<'a> {
    pub(crate) order: &'a Order,
    /// Whether the newest owner gave the order.
    pub(crate) by_owner: bool,
    pub(crate) acted: Acted,
    pub(crate) before: &'a View,
    pub(crate) after: &'a View,
    /// Instances that carry all traffic of the service.
    pub(crate) instances: u32,
}

impl Oracle {
    /// The engine of the newest owner, or an old one, gives an order.
    pub(crate) fn ordered(&mut self, order: &Order, epoch: u64, by_owner: bool) {
        let id = &order.plan.deployment;
        self.check(order.epoch == epoch, Law::OwnEpoch, || {
            format!("{}: {} instead of {epoch}", order.key, order.epoch)
        });
        let Some(watched) = self.watched.get(id) else {
            return self.broken(Law::IntentFirst, format!("{id} is not in the journal"));
        };
        let debts = owed(&watched.plan, &watched.state);
        let same = debts.iter().find(|debt| debt.effect == order.effect);
        let (planned, known) = (watched.plan == order.plan, watched.intents.contains_key(&order.key));
        let limits = &order.plan.limits;
        let most = match order.key.rsplit('/').next() {
            Some("restore") => limits.restore_attempts_max,
            Some("retire") => limits.back_attempts_max,
            _ => limits.attempts_max,
        };
        let (implied, key) = match same {
            Some(debt) if by_owner => {
                (debt.attempt == order.attempt && planned, debt.key.text(id) == order.key)
            }
            _ => (!by_owner && known, true),
        };
        self.check(implied, Law::IntentFirst, || {
            format!("{} try {} of {:?} is not owed", order.key, order.attempt, order.effect)
        });
        self.check(key, Law::SameKey, || format!("{} is not the intention's key", order.key));
        self.check(order.attempt < most, Law::AttemptsBounded, || {
            format!("{} try {} of {most}", order.key, order.attempt)
        });
    }

    /// A target heard an order.
    pub(crate) fn acted(&mut self, deed: &Deed<'_>) {
        let Deed { order, acted, before, after, .. } = deed;
        let (fell, text) = (after.epoch < before.epoch || after.generation < before.generation, &order.key);
        self.check(!fell, Law::FenceHolds, || text.clone());
        let owed_now = self.watched.get(&order.plan.deployment).is_some_and(|watched| {
            owed(&watched.plan, &watched.state)
                .iter()
                .any(|debt| debt.effect == order.effect && debt.attempt == order.attempt)
        });
        let refused = *acted == Acted::Refused && deed.by_owner && owed_now;
        self.check(!refused, Law::OwnerNotFenced, || text.clone());
        if *acted != Acted::Changed {
            return;
        }
        self.check(order.epoch >= before.epoch, Law::FenceHolds, || text.clone());
        self.changed_once(order);
        if let Some(watched) = self.watched.remove(&order.plan.deployment) {
            self.shares(&watched, deed);
            self.capacity(&watched, deed);
            self.watched.insert(order.plan.deployment.clone(), watched);
        }
    }

    fn changed_once(&mut self, order: &Order) {
        let Some(watched) = self.watched.get_mut(&order.plan.deployment) else { return };
        let wanted = generation(&order.effect);
        let intent = watched.intents.values_mut().find(|intent| generation(&intent.effect) == wanted);
        let changes = intent.map_or(0, |intent| {
            intent.changes += 1;
            intent.changes
        });
        self.check(changes <= 1, Law::ActsOnce, || format!("{} {changes} times", order.key));
    }

    fn shares(&mut self, watched: &Watched, deed: &Deed<'_>) {
        let (order, tag) = (deed.order, &watched.plan.release.tag);
        let (was, is) = (deed.before.weight(tag), deed.after.weight(tag));
        let planned = is == 0
            || is == Share::ALL.basis_points()
            || watched.plan.stages.iter().any(|stage| stage.share.basis_points() == is);
        self.check(planned, Law::PlannedShares, || format!("{}: {is} basis points", order.key));
        let stage = watched.intents.get(&order.key).and_then(|intent| intent.stage);
        if let (Some(stage), Effect::Shift { .. }) = (stage, &order.effect) {
            let asks = watched.plan.stage(stage).is_some_and(|stage| stage.approval);
            let given = !asks || watched.approved(stage) || watched.hurried();
            self.check(given, Law::ApprovalsKept, || order.key.clone());
        }
        if is <= was {
            return;
        }
        let before = match (stage, order.effect.clone()) {
            (Some(stage), Effect::Shift { .. }) => stage.checked_sub(1),
            _ => watched.plan.stages.len().checked_sub(1),
        };
        let earned = before.is_none_or(|stage| watched.passed(stage)) || watched.hurried();
        self.check(earned, Law::RisesAfterPass, || format!("{}: {was} to {is} basis points", order.key));
    }

    fn capacity(&mut self, watched: &Watched, deed: &Deed<'_>) {
        let view = deed.after;
        let stable = watched.plan.stable.as_ref().map(|release| release.tag.as_str());
        for tag in [Some(watched.plan.release.tag.as_str()), stable].into_iter().flatten() {
            // A share that stands for whole instances was rounded up to a basis point.
            let share = u64::from(view.weight(tag).saturating_sub(1));
            let needed = (u64::from(deed.instances) * share).div_ceil(10_000);
            self.check(u64::from(view.instances(tag)) >= needed, Law::InstancesForTraffic, || {
                format!("{}: {tag} has {} of {needed}", deed.order.key, view.instances(tag))
            });
        }
        let final_now = watched
            .history
            .iter()
            .any(|one| matches!(one.event, tidegate_core::deployment::Event::WatchPassed { .. }));
        if let Some(tag) = stable.filter(|_| !final_now) {
            self.check(view.instances(tag) >= deed.instances, Law::StableCapacity, || {
                format!("{}: {tag} has {}", deed.order.key, view.instances(tag))
            });
        }
        if let Effect::Retire { new, .. } = deed.order.effect {
            let tag = if new { Some(watched.plan.release.tag.as_str()) } else { stable };
            let idle = tag.is_none_or(|tag| view.weight(tag) == 0);
            self.check(idle, Law::RetireWithoutTraffic, || deed.order.key.clone());
        }
    }
}

impl Watched {
    /// Whether any of its orders ever changed the target.
    pub(super) fn touched(&self) -> bool {
        self.intents.values().any(|intent| intent.changes > 0 && intent.key.what != What::Build)
    }
}
