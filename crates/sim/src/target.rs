//! The imagined target of one service: instances, the split of traffic, the fence, the memory of what it did, the lease,
//! and counters that real-looking traffic moves.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_core::{
    deployment::{Effect, Outcome},
    gate::{Instance, Reading, ReleaseReading},
    model::{Share, Timestamp},
};
use tidegate_engine::Order;

/// How a release behaves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Health {
    /// Answers quickly and well.
    #[default]
    Good,
    /// Fails every third request as soon as it has this share of traffic, in basis points.
    Errors {
        /// The share.
        from_bp: u16,
    },
    /// Takes 900 ms for every request as soon as it has this share of traffic, in basis points.
    Slow {
        /// The share.
        from_bp: u16,
    },
    /// Its instances end again and again, once it has this share of traffic, in basis points.
    CrashLoop {
        /// The share.
        from_bp: u16,
    },
}

impl Health {
    const fn shows_at(self) -> Option<u16> {
        match self {
            Self::Good => None,
            Self::Errors { from_bp } | Self::Slow { from_bp } | Self::CrashLoop { from_bp } => Some(from_bp),
        }
    }
}

/// One release at the target.
#[derive(Clone, Debug, Default)]
struct Running {
    health: Health,
    /// Since when it shows, once it does.
    ill_since: Option<i64>,
    /// Instances started and not stopped.
    instances: u32,
    /// Requests, in ten-millionths.
    ticks: u64,
    failed: u64,
    slow: u64,
}

/// Requests are counted in ten-millionths, because a rate per second is multiplied with basis points and milliseconds.
const TICKS: u64 = 10_000_000;

/// The target of one service.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// Requests per second; 0 in a quiet night.
    pub(crate) rate: u64,
    releases: BTreeMap<String, Running>,
    /// What traffic returns to.
    stable: Option<String>,
    /// What is being rolled out, with its share.
    new: Option<(String, Share)>,
    epoch: u64,
    generation: u64,
    /// Keys of intentions that were brought about.
    done: BTreeSet<String>,
    lease: Option<Lease>,
    boot: u64,
    counted: i64,
}

#[derive(Clone, Copy, Debug)]
struct Lease {
    length: i64,
    heard: i64,
    ended: bool,
}

/// What an order came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Acted {
    /// Something at the target is different now.
    Changed,
    /// It was so already, or was done before.
    Same,
    /// The fence held: the caller is old.
    Refused,
}

/// What a checker may see of a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) stable: Option<String>,
    pub(crate) new: Option<(String, Share)>,
    pub(crate) instances: BTreeMap<String, u32>,
    pub(crate) epoch: u64,
    pub(crate) generation: u64,
    pub(crate) lease_ended: bool,
}

impl View {
    /// The share of traffic that a release has, in basis points.
    pub(crate) fn weight(&self, tag: &str) -> u16 {
        let share = match &self.new {
            Some((new, share)) if new == tag => share.basis_points(),
            _ => 0,
        };
        let rest = self.new.as_ref().map_or(Share::ALL, |(_, share)| share.rest());
        share + if self.stable.as_deref() == Some(tag) { rest.basis_points() } else { 0 }
    }

    /// Instances of a release that were started and not stopped.
    pub(crate) fn instances(&self, tag: &str) -> u32 {
        self.instances.get(tag).copied().unwrap_or(0)
    }
}

impl Target {
    /// A target that runs `stable` on so many instances, or nothing.
    pub(crate) fn new(stable: Option<(&str, u32)>, rate: u64, now: i64) -> Self {
        let releases =
            stable.map(|(tag, instances)| (tag.to_owned(), Running { instances, ..Running::default() }));
        Self {
            rate,
            releases: releases.into_iter().collect(),
            stable: stable.map(|(tag, _)| tag.to_owned()),
            new: None,
            epoch: 0,
            generation: 0,
            done: BTreeSet::new(),
            lease: None,
            boot: 1,
            counted: now,
        }
    }

    /// What a checker may see.
    pub(crate) fn view(&self) -> View {
        View {
            stable: self.stable.clone(),
            new: self.new.clone(),
            instances: self.releases.iter().map(|(tag, one)| (tag.clone(), one.instances)).collect(),
            epoch: self.epoch,
            generation: self.generation,
            lease_ended: self.lease.is_some_and(|lease| lease.ended),
        }
    }

    /// Since when a release's illness shows.
    pub(crate) fn ill_since(&self, tag: &str) -> Option<i64> {
        self.releases.get(tag).and_then(|one| one.ill_since)
    }

    /// Says how a release behaves.
    pub(crate) fn set_health(&mut self, tag: &str, health: Health) {
        self.releases.entry(tag.to_owned()).or_default().health = health;
    }

    /// The counting process is replaced: counters begin at zero.
    pub(crate) fn reset(&mut self, now: i64) {
        self.pass(now);
        self.boot += 1;
        for one in self.releases.values_mut() {
            (one.ticks, one.failed, one.slow) = (0, 0, 0);
        }
    }

    /// Time goes on: traffic is counted, and a lease that was not renewed ends.
    pub(crate) fn pass(&mut self, now: i64) {
        let ends = self.lease.filter(|lease| !lease.ended).map(|lease| lease.heard + lease.length);
        if let Some(ends) = ends.filter(|ends| *ends <= now) {
            self.count(ends);
            if let Some(lease) = &mut self.lease {
                lease.ended = true;
            }
            if let Some((_, share)) = &mut self.new {
                *share = Share::NONE;
            }
        }
        self.count(now);
    }

    fn count(&mut self, now: i64) {
        let passed = u64::try_from(now - self.counted).unwrap_or(0);
        self.counted = self.counted.max(now);
        let view = self.view();
        for (tag, one) in &mut self.releases {
            let share = view.weight(tag);
            if one.ill_since.is_none()
                && one.instances > 0
                && one.health.shows_at().is_some_and(|from| share >= from)
            {
                one.ill_since = Some(now);
                // What passed until now was still well.
            }
            let ticks = self.rate * u64::from(share) * passed;
            one.ticks += ticks;
            match one.health {
                _ if one.ill_since.is_none_or(|since| since >= now) => {}
                Health::Errors { .. } => one.failed += ticks / 3,
                Health::Slow { .. } => one.slow += ticks,
                Health::CrashLoop { .. } | Health::Good => {}
            }
        }
    }

    /// Carries an order out. Answers with what it came to and what the caller is told.
    pub(crate) fn act(&mut self, order: &Order, clock: Timestamp, now: i64) -> (Acted, Outcome) {
        self.pass(now);
        let Some(generation) = generation(&order.effect) else { return self.ask(order, clock, now) };
        let known = self.done.contains(&order.key);
        if order.epoch < self.epoch || (!known && generation < self.generation) {
            let reason = format!(
                "epoch {} generation {generation} is older than {}/{}",
                order.epoch, self.epoch, self.generation
            );
            return (Acted::Refused, Outcome::Failed { reason, permanent: true });
        }
        self.epoch = order.epoch;
        self.hear(now);
        if known {
            return (Acted::Same, self.answer(order, clock));
        }
        self.generation = generation;
        self.done.insert(order.key.clone());
        let before = self.view();
        self.bring_about(order, now);
        self.count(now);
        let changed =
            View { generation: 0, epoch: 0, ..before } != View { generation: 0, epoch: 0, ..self.view() };
        (if changed { Acted::Changed } else { Acted::Same }, self.answer(order, clock))
    }

    /// Questions, and what has no order among generations.
    fn ask(&mut self, order: &Order, clock: Timestamp, now: i64) -> (Acted, Outcome) {
        if order.epoch < self.epoch {
            let reason = format!("epoch {} is older than {}", order.epoch, self.epoch);
            return (Acted::Refused, Outcome::Failed { reason, permanent: true });
        }
        self.epoch = order.epoch;
        if matches!(order.effect, Effect::Measure { .. }) && self.lease.is_some_and(|lease| lease.ended) {
            return (Acted::Same, Outcome::LeaseEnded);
        }
        self.hear(now);
        (Acted::Same, self.answer(order, clock))
    }

    fn hear(&mut self, now: i64) {
        if let Some(lease) = self.lease.as_mut().filter(|lease| !lease.ended) {
            lease.heard = now;
        }
    }

    fn answer(&self, order: &Order, clock: Timestamp) -> Outcome {
        match order.effect {
            Effect::Shift { .. } | Effect::Measure { .. } => Outcome::Read(self.reading(order, clock)),
            Effect::Check
            | Effect::Build
            | Effect::Scale { .. }
            | Effect::Promote { .. }
            | Effect::Restore { .. }
            | Effect::Retire { .. }
            | Effect::Wake { .. } => Outcome::Done,
        }
    }

    fn bring_about(&mut self, order: &Order, now: i64) {
        let tag = &order.plan.release.tag;
        let old = order.plan.stable.as_ref().map(|release| release.tag.clone());
        match order.effect {
            Effect::Scale { instances, .. } => {
                self.releases.entry(tag.clone()).or_default().instances = instances;
            }
            Effect::Shift { share, .. } => {
                self.new = Some((tag.clone(), share));
                let lease = order.plan.lease.filter(|_| old.is_some());
                self.lease = lease.map(|length| Lease {
                    length: i64::try_from(length.0).unwrap_or(i64::MAX / 2),
                    heard: now,
                    ended: false,
                });
            }
            Effect::Promote { .. } => (self.stable, self.new, self.lease) = (Some(tag.clone()), None, None),
            Effect::Restore { .. } => (self.stable, self.new, self.lease) = (old, None, None),
            Effect::Retire { new, .. } => {
                let which = if new { Some(tag.clone()) } else { old };
                if let Some(one) = which.and_then(|which| self.releases.get_mut(&which)) {
                    one.instances = 0;
                }
            }
            Effect::Check | Effect::Build | Effect::Measure { .. } | Effect::Wake { .. } => {}
        }
    }

    fn reading(&self, order: &Order, clock: Timestamp) -> Reading {
        let read =
            |tag: &str| self.releases.get(tag).map_or_else(ReleaseReading::default, |one| one.read(tag));
        Reading {
            at: clock,
            boot: self.boot.to_string(),
            new: read(&order.plan.release.tag),
            stable: order.plan.stable.as_ref().map(|release| read(&release.tag)),
            mirror: None,
            astray: None,
            metrics: Vec::new(),
        }
    }
}

impl Running {
    fn read(&self, tag: &str) -> ReleaseReading {
        let broken = self.ill_since.is_some() && matches!(self.health, Health::CrashLoop { .. });
        let (requests, slow) = (self.ticks / TICKS, self.slow / TICKS);
        let buckets = [(10_000, requests.saturating_sub(slow)), (900_000, slow)];
        ReleaseReading {
            requests,
            failures: self.failed / TICKS,
            latency_us: buckets.into_iter().filter(|(_, count)| *count > 0).collect(),
            wanted: self.instances,
            instances: (0..self.instances)
                .map(|number| Instance {
                    id: format!("{tag}/{number}"),
                    ready: !broken,
                    broken,
                    ends: u32::from(broken) * 5,
                    ends_total: Some(u32::from(broken) * 5),
                    last_end: broken.then(|| "exit code 1".to_owned()),
                    cpu_ms: 0,
                    cpu_limit_milli: 1_000,
                    rss_bytes: 1,
                    memory_limit_bytes: 100,
                })
                .collect(),
        }
    }
}

/// The place of an order among the orders of its service; `None` for questions and for what is not ordered.
pub(crate) const fn generation(effect: &Effect) -> Option<u64> {
    match effect {
        Effect::Scale { generation, .. }
        | Effect::Shift { generation, .. }
        | Effect::Promote { generation }
        | Effect::Restore { generation }
        | Effect::Retire { generation, .. } => Some(*generation),
        Effect::Check | Effect::Build | Effect::Measure { .. } | Effect::Wake { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_core::{
        deployment::{Reach, table::sample_plan},
        model::Millis,
    };

    use super::*;

    fn order(epoch: u64, generation: u64, percent: u8) -> Order {
        Order {
            key: format!("sample/{generation}/shift"),
            attempt: 0,
            epoch,
            plan: Arc::new(sample_plan()),
            given: None,
            reach: Reach::All,
            effect: Effect::Shift { share: Share::percent(percent), mirror: Share::NONE, generation },
        }
    }

    fn acted(target: &mut Target, order: &Order, now: i64) -> Acted {
        target.act(order, Timestamp(now), now).0
    }

    #[test]
    fn an_older_epoch_or_generation_is_refused_and_a_known_key_changes_nothing() {
        let mut target = Target::new(Some(("old", 4)), 10, 0);
        assert_eq!(acted(&mut target, &order(2, 5, 50), 1), Acted::Changed);
        assert_eq!(acted(&mut target, &order(1, 9, 100), 2), Acted::Refused, "an older epoch");
        assert_eq!(acted(&mut target, &order(2, 4, 100), 3), Acted::Refused, "an older generation");
        assert_eq!(acted(&mut target, &order(2, 7, 100), 4), Acted::Changed);
        assert_eq!(acted(&mut target, &order(2, 5, 50), 5), Acted::Same, "a repeated key");
        assert_eq!(target.view().weight("new"), 10_000);
    }

    #[test]
    fn a_lease_that_is_not_renewed_returns_traffic_and_says_so() {
        let mut target = Target::new(Some(("old", 4)), 10, 0);
        let lease = i64::try_from(sample_plan().lease.unwrap_or(Millis::ZERO).0).unwrap();
        assert_eq!(acted(&mut target, &order(1, 5, 50), 0), Acted::Changed);
        target.pass(lease - 1);
        assert_eq!(target.view().weight("new"), 5_000);
        target.pass(lease);
        assert_eq!((target.view().weight("new"), target.view().weight("old")), (0, 10_000));
        let measure = Order { effect: Effect::Measure { every: Millis::ZERO }, ..order(1, 0, 0) };
        assert_eq!(target.act(&measure, Timestamp(lease), lease).1, Outcome::LeaseEnded);
    }
}
