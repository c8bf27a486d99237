//! Readings of raw counters, and the window between two of them.

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

use crate::model::{Millis, Share, Timestamp};

/// What was read at one moment: cumulative counters of both releases.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// When.
    pub at: Timestamp,
    /// Names the life of the counting process: counters restart from zero when it changes.
    pub boot: String,
    /// The release being rolled out.
    pub new: ReleaseReading,
    /// The stable release, when there is one.
    pub stable: Option<ReleaseReading>,
    /// What the new release did with copies of users' requests, when it got any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mirror: Option<Mirrored>,
    /// Why the new release does not have what its stage gave it, in words for a person: somebody else changed the target. What
    /// such a reading says is true, but no stage passes on it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub astray: Option<String>,
    /// What other sources say: one answer for each metric that the plan names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<MetricReading>,
}

/// Copies of users' requests and how their answers compare with what the users got. Cumulative in a reading.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mirrored {
    /// Copies that were answered, or failed.
    pub copies: u64,
    /// Copies that failed (connection, reset, time-out).
    pub failed: u64,
    /// Answers with another status than the users'.
    pub status_differs: u64,
    /// Answers with the same status and another body.
    pub body_differs: u64,
    /// Answers that took more than twice as long, and 10 ms more.
    pub slower: u64,
    /// Some of the pairs that differed, without bodies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub examples: Vec<String>,
}

/// What a source said about one metric: facts, never a verdict.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetricReading {
    /// The metric's name in the plan.
    pub metric: String,
    /// The answer.
    pub answer: MetricAnswer,
}

/// An answer of a source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MetricAnswer {
    /// Cumulative counters of both releases.
    Counters {
        /// When the newest of them was sampled, by the source's own clock.
        at: Timestamp,
        /// The new release's.
        new: Counters,
        /// The stable release's, where it has any.
        stable: Option<Counters>,
    },
    /// A number, or several, for each side.
    Values {
        /// When they were sampled.
        at: Timestamp,
        /// The new release's; the only ones where the query does not tell releases apart.
        new: Vec<Number>,
        /// The stable release's.
        stable: Vec<Number>,
    },
    /// Nothing yet: the first question is on its way.
    Awaited {
        /// What is asked.
        reason: String,
    },
    /// Nothing that may be used.
    Fault {
        /// Why, naming the source and the query.
        reason: String,
    },
}

/// Cumulative counters of one release from a source that is not the proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Requests.
    pub requests: u64,
    /// Of those, failed.
    pub failures: u64,
    /// Latency as in [`ReleaseReading::latency_us`], but with every edge of the source's histogram, empty ones too.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub latency_us: Vec<(u64, u64)>,
}

/// A number from outside: any float, compared bit by bit so that what is stored can be compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Number(pub f64);

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits()
    }
}

impl Eq for Number {}

impl Serialize for Number {
    /// A JSON number; what JSON cannot write is its name in a string.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.is_finite() { serializer.serialize_f64(self.0) } else { serializer.collect_str(&self.0) }
    }
}

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(f64),
            Name(String),
        }
        match Form::deserialize(deserializer)? {
            Form::Number(number) => Ok(Self(number)),
            Form::Name(name) => name.parse().map(Self).map_err(serde::de::Error::custom),
        }
    }
}

/// Cumulative counters of one release.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReleaseReading {
    /// Requests ended.
    pub requests: u64,
    /// Of those, failed (5xx answers, refused or broken connections, time-outs, no healthy instance).
    pub failures: u64,
    /// Latency of answered requests: `(upper edge in microseconds, count)`, edges rising, at most a sixteenth apart,
    /// counts not cumulative, empty buckets left out.
    pub latency_us: Vec<(u64, u64)>,
    /// Instances wanted.
    pub wanted: u32,
    /// The instances.
    pub instances: Vec<Instance>,
}

/// One instance as it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instance {
    /// Its name.
    pub id: String,
    /// Whether it may take traffic.
    pub ready: bool,
    /// Whether the supervisor calls it a crash loop, or it cannot be started at all.
    pub broken: bool,
    /// Times it ended by itself, within the supervisor's window.
    pub ends: u32,
    /// Times it ended by itself since it is there, which never falls; `None` where nobody counts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ends_total: Option<u32>,
    /// Why it ended last.
    pub last_end: Option<String>,
    /// CPU time since its start, milliseconds; falls back to zero on restart.
    pub cpu_ms: u64,
    /// What 100 % of CPU is, thousandths of a core.
    pub cpu_limit_milli: u32,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// What 100 % of memory is, bytes.
    pub memory_limit_bytes: u64,
}

/// One release over one window.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Arm {
    /// Length of the window.
    pub length: Millis,
    /// Share of traffic it had.
    pub share: Share,
    /// Requests ended in the window.
    pub requests: u64,
    /// Of those, failed.
    pub failures: u64,
    /// Latency of requests answered in the window, as in [`ReleaseReading::latency_us`].
    pub latency_us: Vec<(u64, u64)>,
}

/// What happened between two readings.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Window {
    /// The release being rolled out.
    pub new: Arm,
    /// The stable release in the same window, or the period before when it had no traffic in it.
    pub baseline: Option<Arm>,
    /// Mean CPU of the new release's instances over the window, parts per million of the limit.
    pub cpu_ppm: Option<u64>,
    /// Memory of its largest instance at the end of the window, parts per million of the limit.
    pub memory_ppm: Option<u64>,
    /// Its instances at the end of the window.
    pub instances: Vec<Instance>,
    /// Instances wanted.
    pub wanted: u32,
    /// Those of its instances that ended by themselves in the window.
    pub ended: Vec<Ended>,
    /// See [`Reading::astray`], at the end of the window.
    pub astray: Option<String>,
}

/// An instance that ended by itself within a window.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its name.
    pub id: String,
    /// How often, at least once.
    pub times: u32,
    /// Why the last time.
    pub why: Option<String>,
}

/// Why two readings make no window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NoWindow {
    /// The counting process was replaced in between, or a counter fell: the window must be opened again.
    Reset,
    /// The later reading is not later.
    Backwards,
}

impl Window {
    /// What happened from `opening` to `closing`, while the new release had `share` of the traffic. `kept` is the
    /// stable release's arm from before, used where stable had no traffic in this window.
    pub fn between(
        opening: &Reading,
        closing: &Reading,
        share: Share,
        kept: Option<&Arm>,
    ) -> Result<Self, NoWindow> {
        if closing.at <= opening.at {
            return Err(NoWindow::Backwards);
        }
        if opening.boot != closing.boot {
            return Err(NoWindow::Reset);
        }
        let length = closing.at.since(opening.at);
        let new = Arm::between(&opening.new, &closing.new, length, share)?;
        let same_window = match (&opening.stable, &closing.stable) {
            (Some(from), Some(to)) => Some(Arm::between(from, to, length, share.rest())?),
            _ => None,
        };
        let baseline = if share.is_all() { kept.cloned() } else { same_window };
        Ok(Self {
            new,
            baseline,
            cpu_ppm: cpu_ppm(&opening.new.instances, &closing.new.instances, length),
            memory_ppm: memory_ppm(&closing.new.instances),
            instances: closing.new.instances.clone(),
            wanted: closing.new.wanted,
            ended: ended(&opening.new.instances, &closing.new.instances),
            astray: closing.astray.clone(),
        })
    }
}

impl Arm {
    /// The difference of two readings of one release.
    pub fn between(
        from: &ReleaseReading,
        to: &ReleaseReading,
        length: Millis,
        share: Share,
    ) -> Result<Self, NoWindow> {
        let minus = |later: u64, earlier: u64| later.checked_sub(earlier).ok_or(NoWindow::Reset);
        let mut latency_us = Vec::with_capacity(to.latency_us.len());
        for &(edge, count) in &to.latency_us {
            let before = from.latency_us.iter().find(|(e, _)| *e == edge).map_or(0, |(_, c)| *c);
            let rise = minus(count, before)?;
            if rise > 0 {
                latency_us.push((edge, rise));
            }
        }
        Ok(Self {
            length,
            share,
            requests: minus(to.requests, from.requests)?,
            failures: minus(to.failures, from.failures)?,
            latency_us,
        })
    }

    /// Requests that were timed.
    pub fn timed(&self) -> u64 {
        self.latency_us.iter().fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }

    /// The latency that `quantile_bp` basis points of the timed requests did not exceed, microseconds, interpolated
    /// inside its bucket. `None` without timed requests.
    pub fn quantile_us(&self, quantile_bp: u16) -> Option<u64> {
        let timed = self.timed();
        if timed == 0 {
            return None;
        }
        let rank = (timed.saturating_mul(u64::from(quantile_bp))).div_ceil(10_000).max(1);
        let mut below = 0_u64;
        for &(edge, count) in &self.latency_us {
            let up_to = below.saturating_add(count);
            if up_to >= rank {
                let low = lower_edge(edge);
                return Some(low + (edge - low).saturating_mul(rank - below) / count.max(1));
            }
            below = up_to;
        }
        self.latency_us.last().map(|(edge, _)| *edge)
    }

    /// Timed requests that surely took longer than `limit_us`: whole buckets above it.
    pub fn slower_than(&self, limit_us: u64) -> u64 {
        let slower = self.latency_us.iter().filter(|(edge, _)| lower_edge(*edge) >= limit_us);
        slower.fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }
}

/// The lowest value that a bucket with this upper edge may hold: edges are at most a sixteenth apart.
const fn lower_edge(edge: u64) -> u64 {
    edge - edge.div_ceil(16)
}

/// One that was not there at the opening has ended as often as it says.
fn ended(from: &[Instance], to: &[Instance]) -> Vec<Ended> {
    let of = |instance: &Instance| {
        let before = from.iter().find(|before| before.id == instance.id);
        let before = before.map_or(Some(0), |before| before.ends_total)?;
        let times = instance.ends_total?.checked_sub(before).filter(|times| *times > 0)?;
        Some(Ended { id: instance.id.clone(), times, why: instance.last_end.clone() })
    };
    to.iter().filter_map(of).collect()
}

pub(crate) fn cpu_ppm(from: &[Instance], to: &[Instance], length: Millis) -> Option<u64> {
    let mut sum = 0_u64;
    let mut counted = 0_u64;
    for instance in to.iter().filter(|i| i.cpu_limit_milli > 0) {
        let before = from.iter().find(|i| i.id == instance.id).map_or(0, |i| i.cpu_ms);
        // A restarted instance counts from zero again: what it used since is all that is known.
        let used = instance.cpu_ms.checked_sub(before).unwrap_or(instance.cpu_ms);
        let allowed_micro = length.0.saturating_mul(u64::from(instance.cpu_limit_milli)).max(1);
        sum = sum.saturating_add(used.saturating_mul(1_000_000_000) / allowed_micro);
        counted += 1;
    }
    sum.checked_div(counted)
}

pub(crate) fn memory_ppm(instances: &[Instance]) -> Option<u64> {
    instances
        .iter()
        .filter(|i| i.memory_limit_bytes > 0)
        .map(|i| {
            let ppm = u128::from(i.rss_bytes) * 1_000_000 / u128::from(i.memory_limit_bytes);
            u64::try_from(ppm).unwrap_or(u64::MAX)
        })
        .max()
}

#[cfg(test)]
pub(crate) mod tests {
    use alloc::{borrow::ToOwned, vec};

    use super::*;

    pub(crate) fn reading(at: i64, new: (u64, u64), stable: (u64, u64)) -> Reading {
        let release = |(requests, failures): (u64, u64)| ReleaseReading {
            requests,
            failures,
            latency_us: vec![(10_000, requests)],
            wanted: 1,
            instances: vec![Instance {
                id: "i".to_owned(),
                ready: true,
                broken: false,
                ends: 0,
                ends_total: Some(0),
                last_end: None,
                cpu_ms: u64::try_from(at / 10).unwrap(),
                cpu_limit_milli: 1_000,
                rss_bytes: 10,
                memory_limit_bytes: 100,
            }],
        };
        Reading {
            at: Timestamp(at),
            boot: "b".to_owned(),
            new: release(new),
            stable: Some(release(stable)),
            mirror: None,
            astray: None,
            metrics: Vec::new(),
        }
    }

    #[test]
    fn a_window_is_the_difference_of_two_readings() {
        let share = Share::percent(5);
        let window = Window::between(
            &reading(1_000, (5, 1), (95, 0)),
            &reading(3_000, (15, 2), (295, 3)),
            share,
            None,
        )
        .unwrap();
        assert_eq!((window.new.requests, window.new.failures, window.new.length), (10, 1, Millis(2_000)));
        assert_eq!(window.baseline.map(|b| (b.requests, b.failures)), Some((200, 3)));
        assert_eq!(window.cpu_ppm, Some(100_000));
        assert_eq!(window.memory_ppm, Some(100_000));
    }

    #[test]
    fn counters_that_fell_or_another_boot_make_no_window() {
        let mut later = reading(2_000, (1, 0), (5, 0));
        let opening = reading(1_000, (5, 0), (5, 0));
        assert_eq!(Window::between(&opening, &later, Share::NONE, None), Err(NoWindow::Reset));
        later = reading(2_000, (9, 0), (9, 0));
        later.boot = "c".to_owned();
        assert_eq!(Window::between(&opening, &later, Share::NONE, None), Err(NoWindow::Reset));
        assert_eq!(Window::between(&opening, &opening, Share::NONE, None), Err(NoWindow::Backwards));
    }

    #[test]
    fn counts_beyond_what_can_be_summed_are_many_and_nothing_worse() {
        let arm = Arm { latency_us: vec![(1_600, u64::MAX), (16_000, u64::MAX)], ..Arm::default() };
        assert!(arm.quantile_us(9_900).is_some_and(|us| us <= 16_000));
        assert_eq!(arm.slower_than(1_000), u64::MAX);
    }

    #[test]
    fn a_quantile_lies_inside_the_bucket_that_holds_it() {
        let arm = Arm { latency_us: vec![(1_600, 90), (16_000, 10)], ..Arm::default() };
        assert!((1_500..=1_600).contains(&arm.quantile_us(5_000).unwrap()));
        assert!((15_000..=16_000).contains(&arm.quantile_us(9_500).unwrap()));
        assert_eq!(arm.slower_than(15_000), 10);
        assert_eq!(arm.slower_than(15_500), 0, "only whole buckets count as surely slower");
        assert_eq!(Arm::default().quantile_us(9_900), None);
    }
}
