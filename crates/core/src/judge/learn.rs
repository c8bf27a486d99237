//! What a service's past says of how it varies by itself: A/A learning (section 2.6 of the statistics).
//!
//! Only the stable release is learned from, never a release under test: a factor that was fitted on the release that it
//! judges would forgive it.
//!
//! Where every instance has counters of its own, instances are compared with each other in the same moments
//! ([`Learned::from_instances`]). The proxy counts per release only; from its batches the stable release is compared with
//! itself a moment later ([`learn`]). Whatever truly changes within some seconds is then taken for bursts too, so that
//! estimate is never too small and may be too large: gates get slower, not bolder. The spread of instances cannot be
//! learned that way and stays as it was.

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};
use tidegate_statistics::{Arm, Dispersion, InstanceSpread, Noise};

use super::{
    batch::{Batch, DataState},
    settings::{GaugeNoise, Settings},
    words,
};
use crate::model::{Millis, Timestamp};

/// Batches in one block: bursts may last longer than one batch.
const BLOCKS: [usize; 3] = [1, 4, 16];

/// Neighbouring blocks that are assumed to have one rate.
const NEIGHBOURS: usize = 4;

/// Fewest groups of neighbours for a block length to count: fewer say nothing but noise.
const GROUPS_MIN: usize = 12;

/// Fewest failures that say anything of how they come.
const FAILURES_MIN: f64 = 30.0;

/// Most that is believed, thousandths: beyond it no gate would ever fail.
const DISPERSION_MILLI_MAX: f64 = 1_000_000.0;

/// One sample of a gauge is the mean over this long, as the gates take it.
const SAMPLE: Millis = Millis::secs(5);

/// A gauge that never moved in a few minutes is still believed to move half a percent of its limit.
const DEVIATION_PPM_MIN: f64 = 5_000.0;

/// Part of a fresh estimate in what is remembered.
const MEMORY: f64 = 0.1;

/// What was learned of a service so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Learned {
    /// Variance of its error counts over that of independent requests, thousandths; 1,000 or more.
    pub dispersion_milli: u32,
    /// Spread of error rates between its instances, thousandths of a natural logarithm.
    pub spread_milli: u32,
    /// How its CPU moves by itself.
    pub cpu: GaugeNoise,
    /// How its memory moves by itself. No batch says it today: it stays as it was.
    pub memory: GaugeNoise,
    /// Batches of the stable release that were looked at so far.
    pub batches: u64,
    /// The newest of them.
    pub at: Timestamp,
}

impl Default for Learned {
    /// Nothing was learned: what the settings say by themselves.
    fn default() -> Self {
        let Settings { dispersion_milli, spread_milli, cpu, memory, .. } = Settings::default();
        Self { dispersion_milli, spread_milli, cpu, memory, batches: 0, at: Timestamp(0) }
    }
}

/// What is known of a service after the batches of one more deployment, oldest first. What they cannot say stays as it
/// was; the first estimate is taken as it is, every later one for a tenth.
pub fn learn(previous: Option<&Learned>, batches: &[Batch]) -> Learned {
    let before = previous.copied().unwrap_or_default();
    let stable = counted(batches);
    let known = previous.is_some_and(|previous| previous.batches > 0);
    let merged = |old: Dispersion, fresh: Dispersion| if known { old.merged(fresh) } else { fresh };
    let old = Dispersion::new(f64::from(before.dispersion_milli) / 1_000.0).unwrap_or(Dispersion::NONE);
    Learned {
        dispersion_milli: over_time(&stable)
            .map_or(before.dispersion_milli, |fresh| dispersion_milli(merged(old, fresh))),
        cpu: gauge(batches)
            .map_or(before.cpu, |fresh| if known { blended(before.cpu, fresh) } else { fresh }),
        batches: before.batches.saturating_add(stable.len() as u64),
        at: batches.iter().map(|batch| batch.at).fold(before.at, Timestamp::max),
        ..before
    }
}

impl Learned {
    /// The same from the instances of the stable release: every batch has requests and failures of the same instances in
    /// the same order. This is the better source: what all instances have in common is no burst. Nothing with fewer than 3
    /// instances or 20 batches.
    pub fn from_instances(
        previous: Option<&Self>,
        batches: &[Vec<(u64, u64)>],
        at: Timestamp,
    ) -> Option<Self> {
        let arm = |(requests, failures): &(u64, u64)| Arm::new(*requests, *failures).ok();
        let counted: Option<Vec<Vec<Arm>>> =
            batches.iter().map(|batch| batch.iter().map(arm).collect()).collect();
        let counted = counted?;
        let mut dispersion = Dispersion::estimate(&counted).ok()?;
        let mut spread = InstanceSpread::estimate(&counted, dispersion).ok()?;
        let before = previous.copied().unwrap_or_default();
        if before.batches > 0 {
            dispersion =
                Dispersion::new(f64::from(before.dispersion_milli) / 1_000.0).ok()?.merged(dispersion);
            spread = InstanceSpread::new(f64::from(before.spread_milli) / 1_000.0).ok()?.merged(spread);
        }
        Some(Self {
            dispersion_milli: dispersion_milli(dispersion),
            spread_milli: u32::try_from(words::whole(spread.tau() * 1_000.0)).unwrap_or(u32::MAX),
            batches: before.batches.saturating_add(batches.len() as u64),
            at: at.max(before.at),
            ..before
        })
    }
}

impl Settings {
    /// These settings for a service of which this was learned.
    #[must_use]
    pub fn with_learned(&self, learned: &Learned) -> Self {
        Self {
            dispersion_milli: learned.dispersion_milli,
            spread_milli: learned.spread_milli,
            cpu: learned.cpu,
            memory: learned.memory,
            ..self.clone()
        }
    }
}

/// The stable release's counts of the batches that may be used.
fn counted(batches: &[Batch]) -> Vec<Arm> {
    let live = batches.iter().filter(|batch| batch.state == DataState::Live);
    live.filter_map(|batch| batch.stable.as_ref())
        .filter(|arm| arm.requests > 0)
        .filter_map(|arm| Arm::new(arm.requests, arm.failures.min(arm.requests)).ok())
        .collect()
}

/// The largest dispersion over the block lengths that have enough of them; nothing when none has.
fn over_time(arms: &[Arm]) -> Option<Dispersion> {
    let failures: f64 = arms.iter().map(|arm| arm.failures() as f64).sum();
    if failures < FAILURES_MIN {
        return None;
    }
    let of_length = |length: usize| {
        let blocks: Vec<Arm> = arms
            .chunks_exact(length)
            .map(|block| block.iter().fold(Arm::EMPTY, |sum, arm| sum.plus(*arm)))
            .collect();
        let groups = blocks.chunks_exact(NEIGHBOURS);
        (groups.len() >= GROUPS_MIN).then(|| of_groups(groups)).flatten()
    };
    let largest = BLOCKS.into_iter().filter_map(of_length).reduce(f64::max)?;
    Dispersion::new(largest).ok()
}

/// Squared residuals against the pooled rate of each group, over their expectation.
fn of_groups<'a>(groups: impl Iterator<Item = &'a [Arm]>) -> Option<f64> {
    let (mut residual, mut expected_all) = (0.0, 0.0);
    for group in groups {
        let rate = group.iter().fold(Arm::EMPTY, |sum, arm| sum.plus(*arm)).rate()?;
        for arm in group {
            let expected = arm.requests() as f64 * rate;
            residual += (arm.failures() as f64 - expected) * (arm.failures() as f64 - expected);
            expected_all += expected * (1.0 - rate);
        }
    }
    let n = NEIGHBOURS as f64;
    (expected_all > 0.0).then(|| residual / expected_all * n / (n - 1.0))
}

fn dispersion_milli(dispersion: Dispersion) -> u32 {
    let milli = (dispersion.phi() * 1_000.0).min(DISPERSION_MILLI_MAX);
    u32::try_from(words::whole(milli)).unwrap_or(1_000)
}

/// The noise of the CPU gauge: one series of samples for every time in which nothing changed.
fn gauge(batches: &[Batch]) -> Option<GaugeNoise> {
    let mut series: Vec<Vec<f64>> = Vec::new();
    let mut present = Vec::new();
    let mut under = None;
    let (mut sum, mut count, mut length) = (0.0, 0_u32, Millis::ZERO);
    for batch in batches {
        let now = batch.stable_cpu_ppm.map(|_| (batch.stage, batch.new.share));
        if now != under {
            series.push(core::mem::take(&mut present));
            (under, sum, count, length) = (now, 0.0, 0, Millis::ZERO);
        }
        let Some(ppm) = batch.stable_cpu_ppm else { continue };
        sum += ppm as f64 / 1e6;
        count += 1;
        length = Millis(length.0.saturating_add(batch.new.length.0));
        if length >= SAMPLE {
            present.push(sum / f64::from(count));
            (sum, count, length) = (0.0, 0, Millis::ZERO);
        }
    }
    series.push(present);
    series.retain(|samples| samples.len() > 1);
    let noise = Noise::estimate(&series).ok()?;
    let ppm = (noise.deviation() * 1e6).max(DEVIATION_PPM_MIN);
    Some(GaugeNoise {
        deviation_ppm: u32::try_from(words::whole(ppm)).ok()?,
        correlation_milli: u32::try_from(words::whole(noise.lag() * 1_000.0)).ok()?,
    })
}

/// Nine parts old, one part fresh.
fn blended(old: GaugeNoise, fresh: GaugeNoise) -> GaugeNoise {
    let blend = |old: u32, fresh: u32| {
        let blended = f64::from(old) + MEMORY * (f64::from(fresh) - f64::from(old));
        u32::try_from(words::whole(blended)).unwrap_or(old)
    };
    GaugeNoise {
        deviation_ppm: blend(old.deviation_ppm, fresh.deviation_ppm),
        correlation_milli: blend(old.correlation_milli, fresh.correlation_milli),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Share;

    /// A small generator of even numbers below 1: the tests must not depend on luck.
    struct Dice(u64);

    impl Dice {
        fn roll(&mut self) -> f64 {
            self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 11) as f64 / (1_u64 << 53) as f64
        }
    }

    fn batch(number: usize, requests: u64, failures: u64, cpu_ppm: Option<u64>) -> Batch {
        let arm = |requests, failures| crate::gate::Arm {
            length: Millis::secs(1),
            share: Share::percent(50),
            requests,
            failures,
            latency_us: Vec::new(),
        };
        Batch {
            number: number as u64 + 1,
            at: Timestamp(i64::try_from(number).unwrap() * 1_000),
            stage: Some(0),
            // The release under test fails in its own way: nothing of it may be learned.
            new: arm(requests, requests / 2),
            stable: Some(arm(requests, failures)),
            stable_cpu_ppm: cpu_ppm,
            wanted: 1,
            ..Batch::default()
        }
    }

    /// Forty minutes of 200 requests a second, of which about 2 % fail in bursts of this size.
    fn bursts(size: u64, drift: bool) -> Vec<Batch> {
        let mut dice = Dice(7);
        (0..2_400)
            .map(|second| {
                let rate = if drift { 0.01 + 0.02 * second as f64 / 2_400.0 } else { 0.02 };
                let begins = (0..200).filter(|_| dice.roll() < rate / size as f64).count() as u64;
                batch(second, 200, (begins * size).min(200), None)
            })
            .collect()
    }

    fn phi(batches: &[Batch]) -> f64 {
        f64::from(learn(None, batches).dispersion_milli) / 1_000.0
    }

    #[test]
    fn independent_errors_are_nearly_one_and_bursts_have_their_size() {
        assert!(phi(&bursts(1, false)) < 1.25, "{}", phi(&bursts(1, false)));
        for size in [3, 10] {
            let seen = phi(&bursts(size, false));
            assert!((seen / size as f64 - 1.0).abs() < 0.35, "bursts of {size}: {seen}");
        }
    }

    #[test]
    fn a_slow_change_of_the_rate_is_no_burst() {
        assert!(phi(&bursts(1, true)) < 1.4, "{}", phi(&bursts(1, true)));
    }

    #[test]
    fn few_failures_say_nothing_and_later_estimates_move_it_slowly() {
        let quiet: Vec<Batch> = (0..600).map(|second| batch(second, 200, 0, None)).collect();
        let first = learn(None, &quiet);
        assert_eq!((first.dispersion_milli, first.batches, first.at), (1_000, 600, Timestamp(599_000)));
        let known = Learned { dispersion_milli: 3_000, ..first };
        assert_eq!(learn(Some(&known), &quiet).dispersion_milli, 3_000);
        let fresh = phi(&bursts(10, false));
        let later = learn(Some(&known), &bursts(10, false));
        let expected = 3.0 + 0.1 * (fresh - 3.0);
        assert!((f64::from(later.dispersion_milli) / 1_000.0 - expected).abs() < 0.01, "{later:?}");
        assert_eq!(learn(None, &[]), Learned::default());
    }

    #[test]
    fn the_noise_of_the_gauge_is_the_one_of_five_second_means() {
        let mut dice = Dice(3);
        let mut level = 0.0;
        let moving: Vec<Batch> = (0..600)
            .map(|second| {
                if second % 5 == 0 {
                    level = (0..12).map(|_| dice.roll()).sum::<f64>() - 6.0;
                }
                batch(second, 10, 0, Some(words::whole(400_000.0 + 20_000.0 * level)))
            })
            .collect();
        let cpu = learn(None, &moving).cpu;
        assert!((15_000..25_000).contains(&cpu.deviation_ppm) && cpu.correlation_milli < 250, "{cpu:?}");
        let still: Vec<Batch> =
            (0..600).map(|second| batch(second, 10, 0, Some(400_000 + second as u64 % 2))).collect();
        assert_eq!(learn(None, &still).cpu.deviation_ppm, 5_000);
        assert_eq!(learn(None, &moving[..60]).cpu, GaugeNoise::default(), "a minute is too short");
    }

    #[test]
    fn settings_take_over_what_was_learned_and_instances_say_how_they_differ() {
        let mut dice = Dice(11);
        let batches: Vec<Vec<(u64, u64)>> = (0..400)
            .map(|_| {
                [0.01, 0.02, 0.04]
                    .map(|rate| (500, (0..500).filter(|_| dice.roll() < rate).count() as u64))
                    .into()
            })
            .collect();
        let learned = Learned::from_instances(None, &batches, Timestamp(9)).unwrap();
        assert!(
            (300..900).contains(&learned.spread_milli) && learned.dispersion_milli < 1_500,
            "{learned:?}"
        );
        let settings = Settings::default().with_learned(&learned);
        assert_eq!(
            (settings.spread_milli, settings.bad_bp),
            (learned.spread_milli, Settings::default().bad_bp)
        );
        assert_eq!(Learned::from_instances(None, &batches[..10], Timestamp(9)), None);
    }
}
