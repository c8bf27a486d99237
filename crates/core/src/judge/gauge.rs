//! The resource gates: the mean of a gauge against a limit, with the noise that the stable release showed.

use alloc::{format, string::String};

use tidegate_statistics::{MeanTest, Noise};

use super::{
    seat::{Answer, Standing},
    settings::{GaugeNoise, Settings},
    words,
};
use crate::model::{Millis, Share};

/// One sample is the mean over this long: the interval at which the noise is learned.
const SAMPLE: Millis = Millis::secs(5);

/// The test is quickest after five minutes of samples.
const QUICKEST: u32 = 60;

/// The test has no form for a larger error probability.
const ALPHA_MAX: f64 = 0.3;

/// Error probability of the plausible means, over all looks together.
const PLAUSIBLE: f64 = 0.05;

/// Memory this full, in two samples in a row, is about to be killed.
const BRIM_PPM: u64 = 950_000;

/// A gauge's process.
#[derive(Clone, Debug)]
pub(super) struct Gauge {
    what: &'static str,
    test: MeanTest,
    sum_ppm: u64,
    count: u64,
    length: Millis,
    /// Only memory has a brim: CPU at its limit is slow, not dead.
    brim: bool,
    brimming: u32,
    last_ppm: Option<u64>,
}

impl Gauge {
    pub(super) fn new(
        what: &'static str,
        noise: GaugeNoise,
        limit: Share,
        settings: &Settings,
        brim: bool,
    ) -> Option<Self> {
        let deviation = f64::from(noise.deviation_ppm.max(1)) / 1e6;
        let lag = f64::from(noise.correlation_milli.min(999)) / 1_000.0;
        let alpha = settings.alpha().min(ALPHA_MAX);
        let limit = f64::from(limit.basis_points()) / 10_000.0;
        let test = MeanTest::new(limit, Noise::new(deviation, lag).ok()?, alpha, QUICKEST).ok()?;
        Some(Self {
            what,
            test,
            sum_ppm: 0,
            count: 0,
            length: Millis::ZERO,
            brim,
            brimming: 0,
            last_ppm: None,
        })
    }

    pub(super) fn take(&mut self, ppm: Option<u64>, length: Millis) {
        let Some(ppm) = ppm else { return };
        self.sum_ppm = self.sum_ppm.saturating_add(ppm);
        self.count += 1;
        self.length = Millis(self.length.0.saturating_add(length.0));
        if self.length < SAMPLE {
            return;
        }
        let mean = self.sum_ppm / self.count.max(1);
        // A gauge beyond what a float can sum says nothing; the counters of the platform do not reach it.
        let _ = self.test.observe(mean as f64 / 1e6);
        self.brimming = if self.brim && mean >= BRIM_PPM { self.brimming.saturating_add(1) } else { 0 };
        self.last_ppm = Some(mean);
        (self.sum_ppm, self.count, self.length) = (0, 0, Millis::ZERO);
    }

    pub(super) fn ln_against(&self) -> f64 {
        self.test.ln_above()
    }

    /// Whether it is about to be killed for memory: no statistics needed.
    pub(super) const fn brims(&self) -> bool {
        self.brimming >= 2
    }

    pub(super) fn answer(&self) -> Answer {
        let limit = self.test.limit();
        let Some(mean) = self.test.mean() else {
            let now = (self.count > 0).then(|| self.sum_ppm as f64 / 1e6 / self.count as f64);
            return match now {
                None => Answer::plain(
                    Standing::Absent,
                    format!("{} of the instances could not be read", self.what),
                ),
                Some(mean) => self.standing(mean, limit),
            };
        };
        self.standing(mean, limit)
    }

    fn standing(&self, mean: f64, limit: f64) -> Answer {
        let standing = if mean < limit { Standing::Passed } else { Standing::Undecided };
        let reason = format!(
            "{} was {} on average{}; below {} is asked",
            self.what,
            words::percent(Some(mean)),
            self.plausible(),
            words::percent(Some(limit))
        );
        Answer { value: Some(mean), limit: Some(limit), ..Answer::plain(standing, reason) }
    }

    /// The means that are plausible, as far as the noise is what was learned.
    fn plausible(&self) -> String {
        match self.test.plausible(PLAUSIBLE).ok().flatten() {
            Some(ends @ (low, _)) if low > 0.0 => format!(" ({})", words::between(ends)),
            Some(_) => " (too few samples to say how far off that may be)".into(),
            None => String::new(),
        }
    }

    pub(super) fn fault(&self, settings: &Settings, ln_against: f64) -> String {
        if self.brims() {
            let last = self.last_ppm.map(|ppm| ppm as f64 / 1e6);
            return format!(
                "{} is at {} of its limit: the next allocation may end the instance",
                self.what,
                words::percent(last)
            );
        }
        format!(
            "{} was {} on average over {} samples{}, below {} is asked; {} (calibrated, not exact)",
            self.what,
            words::percent(self.test.mean()),
            self.test.samples(),
            self.plausible(),
            words::percent(Some(self.test.limit())),
            words::rarity(ln_against, settings.false_rollback_ppm)
        )
    }
}
