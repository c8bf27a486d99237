//! Batches: what happened between two readings, as raw counts of both arms over the same interval.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use super::strata::Stratum;
use crate::{
    gate::{
        Arm, Counters, MetricAnswer, MetricReading, Mirrored, Number, Reading, ReleaseReading, cpu_ppm,
        memory_ppm,
    },
    model::{Millis, Share, Timestamp},
};

/// Requests that the new release should have seen before silence means anything.
const EXPECTED_MIN: u64 = 10;

/// What was in force over an interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exposure {
    /// The new release's share of traffic.
    pub share: Share,
    /// The stage, from 0; `None` is the watch after promotion.
    pub stage: Option<usize>,
}

/// One interval of raw counts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Its number within the deployment, from 1: a batch that comes twice is taken once.
    pub number: u64,
    /// When the interval ended.
    pub at: Timestamp,
    /// The stage, from 0; `None` is the watch after promotion.
    pub stage: Option<usize>,
    /// What is known of the interval.
    pub state: DataState,
    /// The release being rolled out.
    pub new: Arm,
    /// The stable release over the same interval, where it had traffic.
    pub stable: Option<Arm>,
    /// Mean CPU of the new release's instances, parts per million of the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_ppm: Option<u64>,
    /// Memory of its largest instance, parts per million of the limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_ppm: Option<u64>,
    /// Mean CPU of the stable release's instances: what the noise of the gauge is learned from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_cpu_ppm: Option<u64>,
    /// Instances of the new release that are wanted; more of them than before are cold.
    #[serde(default)]
    pub wanted: u32,
    /// Times that the new release's instances ended by themselves, so far.
    #[serde(default)]
    pub ends: u32,
    /// Copies that were compared in the interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirrored>,
    /// Metrics read at the interval's end.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricBatch>,
}

/// What is known of an interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DataState {
    /// Both arms were counted.
    #[default]
    Live,
    /// The new release should have seen traffic, and saw none.
    NoTraffic,
    /// The newest sample is too old: the clock of the stage stands still.
    Stale,
    /// One arm is missing: the interval counts for neither.
    OneSided,
    /// A counter began again from zero: its new value is the increment.
    Reset,
    /// The counters were never seen.
    NoSeries,
}

impl DataState {
    /// What the counts of an interval say: whether the new release is silent where it should have been asked.
    pub fn of(new: &Arm, stable: Option<&Arm>) -> Self {
        let rest = u64::from(new.share.rest().basis_points());
        let expected = stable
            .and_then(|stable| {
                stable.requests.saturating_mul(u64::from(new.share.basis_points())).checked_div(rest)
            })
            .unwrap_or(0);
        if new.requests == 0 && expected >= EXPECTED_MIN { Self::NoTraffic } else { Self::Live }
    }
}

/// What a metric said over an interval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricBatch {
    /// The metric.
    pub metric: String,
    /// What it said, or why nothing.
    pub said: Said,
}

/// What a metric said.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Said {
    /// Counts over the interval.
    Counts {
        /// The new release.
        new: Arm,
        /// The stable release.
        stable: Option<Arm>,
        /// Both by route, zone or method, where the source tells them apart; at most [`STRATA_MAX`](super::STRATA_MAX).
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        strata: Vec<Stratum>,
    },
    /// One value for each side.
    Values {
        /// The new release's.
        new: Vec<Number>,
        /// The stable release's.
        stable: Vec<Number>,
    },
    /// Nothing that may be used, and why.
    Nothing {
        /// The state that it puts the gate into.
        state: DataState,
        /// Why, naming the query.
        reason: String,
    },
}

impl Batch {
    /// What happened from `last` to `now` under one exposure.
    pub fn between(last: &Reading, now: &Reading, exposure: Exposure, number: u64) -> Self {
        let Exposure { share, stage } = exposure;
        let length = now.at.since(last.at);
        let rebooted = last.boot != now.boot;
        let (new, reset) = rise(&counters(&last.new), &counters(&now.new), rebooted);
        // What was not counted at the beginning opens its window now; counters that began anew began at nothing.
        let opened = last.stable.as_ref().map(counters).or_else(|| rebooted.then(Counters::default));
        let one_sided = now.stable.is_some() && opened.is_none();
        let stable =
            now.stable.as_ref().zip(opened).map(|(now, before)| rise(&before, &counters(now), rebooted));
        let reset = reset || stable.as_ref().is_some_and(|(_, reset)| *reset);
        let new = Arm { length, share, ..new };
        let stable = stable.map(|(arm, _)| Arm { length, share: share.rest(), ..arm });
        let stable_instances =
            |reading: &Reading| reading.stable.as_ref().map(|stable| stable.instances.clone());
        Self {
            number,
            at: now.at,
            stage,
            state: match (one_sided, reset) {
                (true, _) => DataState::OneSided,
                (false, true) => DataState::Reset,
                (false, false) => DataState::of(&new, stable.as_ref()),
            },
            cpu_ppm: cpu_ppm(&last.new.instances, &now.new.instances, length),
            memory_ppm: memory_ppm(&now.new.instances),
            stable_cpu_ppm: stable_instances(last)
                .zip(stable_instances(now))
                .and_then(|(from, to)| cpu_ppm(&from, &to, length)),
            wanted: now.new.wanted,
            ends: now.new.instances.iter().fold(0, |sum, instance| sum.saturating_add(instance.ends)),
            mirror: mirrored(last.mirror.as_ref(), now.mirror.as_ref(), rebooted),
            metrics: now.metrics.iter().map(|one| metric(one, last, length, share)).collect(),
            new,
            stable,
        }
    }
}

/// What came on top; everything when the counters began again.
fn mirrored(before: Option<&Mirrored>, now: Option<&Mirrored>, rebooted: bool) -> Option<Mirrored> {
    let now = now?;
    let nothing = Mirrored::default();
    let before = before.filter(|before| !rebooted && before.copies <= now.copies).unwrap_or(&nothing);
    Some(Mirrored {
        copies: now.copies.saturating_sub(before.copies),
        failed: now.failed.saturating_sub(before.failed),
        status_differs: now.status_differs.saturating_sub(before.status_differs),
        body_differs: now.body_differs.saturating_sub(before.body_differs),
        slower: now.slower.saturating_sub(before.slower),
        examples: if now.examples == before.examples { Vec::new() } else { now.examples.clone() },
    })
}

fn counters(reading: &ReleaseReading) -> Counters {
    Counters {
        requests: reading.requests,
        failures: reading.failures,
        latency_us: reading.latency_us.clone(),
    }
}

/// What came on top, and whether a counter began again from zero: then its new value is what came.
fn rise(before: &Counters, now: &Counters, rebooted: bool) -> (Arm, bool) {
    let of = |before: &Counters| {
        let minus = |later: u64, earlier: u64| later.checked_sub(earlier);
        let mut latency_us = Vec::with_capacity(now.latency_us.len());
        let mut earlier = before.latency_us.iter().peekable();
        for &(edge, count) in &now.latency_us {
            // Native histograms may become coarser: an edge that is gone was inside the next one.
            let mut was = 0_u64;
            while let Some((_, count)) = earlier.next_if(|(before, _)| *before <= edge) {
                was = was.saturating_add(*count);
            }
            latency_us.push((edge, minus(count, was)?));
        }
        Some(Arm {
            length: Millis::ZERO,
            share: Share::NONE,
            requests: minus(now.requests, before.requests)?,
            failures: minus(now.failures, before.failures)?,
            latency_us,
        })
    };
    let risen = if rebooted { None } else { of(before) };
    match risen {
        Some(arm) => (arm, false),
        None => (of(&Counters::default()).unwrap_or_default(), true),
    }
}

fn metric(reading: &MetricReading, last: &Reading, length: Millis, share: Share) -> MetricBatch {
    let before = last.metrics.iter().find(|one| one.metric == reading.metric).map(|one| &one.answer);
    let nothing = |state, reason: &str| Said::Nothing { state, reason: reason.into() };
    let said = match (&reading.answer, before) {
        (MetricAnswer::Awaited { reason }, _) => nothing(DataState::NoSeries, reason),
        (MetricAnswer::Fault { reason }, _) => nothing(DataState::Stale, reason),
        // One answer is one value, however often it is looked at before the next one comes.
        (MetricAnswer::Values { at, .. }, Some(MetricAnswer::Values { at: then, .. })) if at <= then => {
            nothing(DataState::Live, "no newer value yet")
        }
        (MetricAnswer::Values { new, stable, .. }, _) => {
            Said::Values { new: new.clone(), stable: stable.clone() }
        }
        (
            MetricAnswer::Counters { at, new, stable },
            Some(MetricAnswer::Counters { at: then, new: n, stable: s }),
        ) => {
            if at <= then {
                return MetricBatch {
                    metric: reading.metric.clone(),
                    said: nothing(DataState::Live, "no newer sample yet"),
                };
            }
            let length = at.since(*then).max(length);
            let (new, _) = rise(n, new, false);
            let stable = stable.as_ref().zip(s.as_ref()).map(|(stable, s)| rise(s, stable, false).0);
            Said::Counts {
                new: Arm { length, share, ..new },
                stable: stable.map(|arm| Arm { length, share: share.rest(), ..arm }),
                strata: Vec::new(),
            }
        }
        (MetricAnswer::Counters { .. }, _) => nothing(DataState::Live, "the first sample opens the window"),
    };
    MetricBatch { metric: reading.metric.clone(), said }
}
