//! The goal of an A/B comparison: a count that users bring about, per request of each side.

use alloc::{format, string::String};

use tidegate_statistics::{Bounds, Pair, RatioInterval};

use super::{
    seat::{Answer, Interval, Standing},
    settings::Settings,
    words,
};

/// Error probability of the interval, over all looks together.
const ALPHA: f64 = 0.05;

/// The goal's ratio between both sides, known at all times at once: it may be read whenever one likes.
#[derive(Clone, Debug)]
pub(super) struct Goal {
    least: f64,
    interval: RatioInterval,
    total: Pair,
}

impl Goal {
    /// Nothing when the ratio is none that can be asked about.
    pub(super) fn new(settings: &Settings, ratio_min_bp: u32) -> Option<Self> {
        let least = f64::from(ratio_min_bp) / 10_000.0;
        let interval = RatioInterval::around(least, settings.dispersion()).ok()?;
        Some(Self { least, interval, total: Pair::default() })
    }

    /// Takes an interval whose "failures" are goals reached.
    pub(super) fn take(&mut self, seen: &Interval<'_>) {
        if seen.share.is_all() {
            return;
        }
        let pair = seen.pair(|arm| arm.failures);
        self.interval.observe(pair);
        self.total = self.total.plus(pair);
    }

    fn bounds(&self) -> Option<Bounds> {
        self.interval.bounds(ALPHA).ok()
    }

    /// Surely worse than the least that is asked.
    pub(super) fn fails(&self) -> bool {
        self.bounds().and_then(|bounds| bounds.upper).is_some_and(|upper| upper < self.least)
    }

    pub(super) fn answer(&self) -> Answer {
        let bounds = self.bounds();
        let standing = match bounds {
            Some(bounds) if bounds.lower >= self.least => Standing::Passed,
            _ if self.total.new.requests() == 0 => Standing::Absent,
            _ => Standing::Undecided,
        };
        Answer {
            value: self.total.new.rate(),
            baseline: self.total.stable.rate(),
            bounds,
            ..Answer::plain(standing, self.said(bounds))
        }
    }

    pub(super) fn fault(&self) -> String {
        format!("{}; surely less than {} x", self.said(self.bounds()), words::times(self.least))
    }

    fn said(&self, bounds: Option<Bounds>) -> String {
        let known = bounds.map_or_else(String::new, words::plausible);
        format!("{}; {known}", words::counted(self.total, "reached the goal"))
    }
}
