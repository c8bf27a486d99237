//! A service under a new release, as batches of one second for the judge and as minutes for its peers.

use tidegate_core::{
    gate::{Arm, Gate, Look, Mode, Rule, Verdict, Window, standard_gates},
    judge::{Batch, Judge, Settings},
    model::{Millis, Share, Timestamp},
};

use crate::chance::{Dice, whole};

/// Shares of the stages, per cent.
pub(crate) const SHARES: [u8; 3] = [5, 25, 50];

/// Latencies of every request, whatever the release and whether it fails: upper edges of buckets in microseconds, and the part
/// of the requests in or above the bucket. Log-normal with a median of 120 ms and a P95 of 385 ms, so that both quantiles are
/// well below their limits of 500 ms and 1 s.
const LATENCY: [(u64, f64); 7] = [
    (122_880, 1.0),
    (245_760, 0.487),
    (393_216, 0.156),
    (524_288, 0.047),
    (786_432, 0.0188),
    (1_048_576, 0.0040),
    (1_572_864, 0.0011),
];

/// CPU of the new release: 70 % on average, 6 points of noise with a correlation of 0.9 every 5 s; the limit is 80 %.
const CPU: (f64, f64, f64) = (0.70, 0.06, 0.9);
/// Memory of the new release; the limit is 90 %.
const MEMORY_PPM: u64 = 600_000;

/// Traffic and failed shares.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Service {
    /// Requests per second of all users.
    pub(crate) rps: f64,
    /// Failed share of the stable release.
    pub(crate) stable: f64,
    /// Failed share of the new release.
    pub(crate) new: f64,
}

/// How requests are split between the releases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Split {
    /// Every request by its own lot, and requests come at random.
    Random,
    /// Exactly the share of exactly the rate, as in the reference's table 3.5, after so many intervals of the same length:
    /// where an interval has two and a half requests, they have two and three in turn.
    Exact(u64),
}

impl Split {
    /// That of the interval after so many.
    pub(crate) const fn after(self, intervals: u64) -> Self {
        match self {
            Self::Random => Self::Random,
            Self::Exact(_) => Self::Exact(intervals),
        }
    }
}

/// How many of a steady stream of `expected` in an interval come in the one after `before`.
fn steady(expected: f64, before: u64) -> u64 {
    let until = |intervals: u64| whole(expected * intervals as f64);
    until(before + 1) - until(before)
}

/// Requests and failures of both releases over some time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) new: (u64, u64),
    pub(crate) stable: (u64, u64),
}

impl Service {
    /// With these failed shares instead.
    pub(crate) const fn failing(self, new: f64, stable: f64) -> Self {
        Self { stable, new, ..self }
    }

    /// What happens in some seconds when failures come in bursts of this mean size. Failures and successes of a random
    /// stream are independent Poisson streams.
    pub(crate) fn counts(
        self,
        dice: &mut Dice,
        share: f64,
        seconds: f64,
        split: Split,
        burst: f64,
    ) -> Counts {
        let mut arm = |part: f64, failing: f64| {
            let expected = self.rps * part * seconds;
            if let Split::Exact(before) = split {
                let requests = steady(expected, before);
                return (requests, dice.binomial(requests, failing));
            }
            let begun = dice.poisson(expected * failing / burst);
            let failed = if burst > 1.0 { (0..begun).map(|_| dice.cluster(burst)).sum() } else { begun };
            (failed + dice.poisson(expected * (1.0 - failing)), failed)
        };
        Counts { new: arm(share, self.new), stable: arm(1.0 - share, self.stable) }
    }
}

/// The gates that a service has when its file says nothing, all asked by evidence.
pub(crate) fn gates() -> Vec<Gate> {
    let sequential = |gate| Gate { mode: Mode::Sequential, ..gate };
    let shift = Gate::new("latency_shift", Rule::LatencyShift { ratio_max_bp: 12_500 });
    standard_gates().into_iter().chain([shift]).map(sequential).collect()
}

/// The judge of the default gates over three stages of ten minutes of one-second batches.
pub(crate) fn judge(settings: &Settings, gates: &[Gate], instances: u32) -> Judge {
    Judge::with(settings, gates, &SHARES.map(Share::percent), instances, 1_800)
}

/// The gate that has failed, if one has. Once failed it stays failed, so asking late misses nothing.
pub(crate) fn failed<'a>(judge: &Judge, gates: &'a [Gate], stage: usize) -> Option<&'a str> {
    let fails =
        |gate: &&Gate| judge.ask(gate, &Window::default(), Some(stage), Look::Early).verdict == Verdict::Fail;
    gates.iter().find(fails).map(|gate| gate.name.as_str())
}

/// The stream of batches of one rollout.
pub(crate) struct Stream {
    pub(crate) dice: Dice,
    batch: Batch,
    /// The noise of the CPU gauge, in parts of 1.
    cpu: f64,
    length: Millis,
}

impl Stream {
    pub(crate) fn new(dice: Dice, length: Millis) -> Self {
        let batch = Batch {
            stable: Some(Arm::default()),
            memory_ppm: Some(MEMORY_PPM),
            wanted: 1,
            ..Batch::default()
        };
        Self { dice, batch, cpu: 0.0, length }
    }

    /// The next interval of `service` in this stage, with failures in bursts of this mean size.
    pub(crate) fn next(&mut self, service: Service, stage: usize, split: Split, burst: f64) -> &Batch {
        let share = Share::percent(SHARES.get(stage).copied().unwrap_or(100));
        let expected = service.rps * self.length.0 as f64 / 1_000.0;
        let part = f64::from(share.basis_points()) / 10_000.0;
        let new = self.arm(expected * part, service.new, split, burst);
        let stable = self.arm(expected * (1.0 - part), service.stable, split, burst);
        self.batch.number += 1;
        self.batch.at = Timestamp(self.batch.at.0 + i64::try_from(self.length.0).unwrap_or(0));
        self.batch.stage = Some(stage);
        // Every stage brings instances, as a plan of four does.
        self.batch.wanted = u32::try_from(stage).unwrap_or(0) + 1;
        self.batch.new = Arm { share, ..new };
        self.batch.stable = Some(Arm { share: share.rest(), ..stable });
        if self.batch.at.0 % 5_000 < i64::try_from(self.length.0).unwrap_or(0) {
            let (mean, deviation, lag) = CPU;
            self.cpu = lag * self.cpu + deviation * (1.0 - lag * lag).sqrt() * self.dice.normal();
            self.batch.cpu_ppm = Some(whole((mean + self.cpu) * 1e6));
        }
        &self.batch
    }

    /// One release: a random stream is a stream of each bucket by itself.
    fn arm(&mut self, expected: f64, failing: f64, split: Split, burst: f64) -> Arm {
        let mut latency_us = Vec::with_capacity(LATENCY.len());
        let before = if let Split::Exact(before) = split { before } else { 0 };
        let (mut left, mut above) = (steady(expected, before), 1.0);
        for (at, (edge, _)) in LATENCY.into_iter().enumerate() {
            let next = LATENCY.get(at + 1).map_or(0.0, |(_, part)| *part);
            let count = if matches!(split, Split::Exact(_)) {
                left - self.dice.binomial(left, next / above)
            } else {
                self.dice.poisson(expected * (above - next))
            };
            (left, above) = (left.saturating_sub(count), next);
            if count > 0 {
                latency_us.push((edge, count));
            }
        }
        let requests = latency_us.iter().map(|(_, count)| count).sum();
        let begun = self.dice.binomial(requests, failing / burst);
        let failures = (0..begun).map(|_| self.dice.cluster(burst)).sum::<u64>().min(requests);
        Arm { length: self.length, share: Share::NONE, requests, failures, latency_us }
    }
}

/// The default settings with instances that are warm already.
pub(crate) fn warm() -> Settings {
    Settings { warmup: Millis::ZERO, ..Settings::default() }
}
