//! The request-rate gate: does the new release get the requests that its share should bring?

use alloc::{format, string::String};

use tidegate_statistics::{Bounds, Dispersion, RateReading, RateRule, SplitTest};

use super::{
    reach::Reach,
    seat::{Answer, Interval, Standing},
    words,
};
use crate::model::Share;

/// The rule with what was counted.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    rule: RateRule,
    /// How rare what came is where requests are split as the share says.
    split: SplitTest,
    /// Whether the share is there at all: until it is, or should be, nothing is held against the release.
    reach: Reach,
    min: Share,
}

impl Rate {
    /// `reach` as [`Reach::new`] makes it.
    pub(super) fn new(min: Share, dispersion: Dispersion, reach: Reach) -> Option<Self> {
        let limit = f64::from(min.basis_points()) / 10_000.0;
        let (rule, split) = (RateRule::new(limit).ok()?, SplitTest::new(dispersion).ok()?);
        Some(Self { rule, split, reach, min })
    }

    pub(super) fn take(&mut self, seen: &Interval<'_>) {
        let share = f64::from(seen.share.basis_points()) / 10_000.0;
        self.reach.take(seen);
        let Some(stable) = seen.stable.filter(|_| self.reach.is_settled()) else { return };
        // With all traffic, or none, there is nothing that a share could promise.
        if self.rule.observe(seen.new.requests, stable.requests, share).is_ok() {
            // What the rule took, this takes as well.
            let _ = self.split.observe(seen.new.requests, stable.requests, share);
        }
    }

    pub(super) fn fails(&self) -> bool {
        matches!(self.rule.reading(), RateReading::TooFew { .. })
    }

    pub(super) fn answer(&self, all: bool) -> Answer {
        let said = |part: f64| {
            format!(
                "{}; {} of the requests that the share promises{}; more than {} is asked; {}",
                self.reach.said(),
                words::percent(Some(part)),
                self.plausible(),
                self.min,
                words::rarity_so_far(self.split.ln_evidence())
            )
        };
        let of = |standing, part| Answer {
            value: Some(part),
            bounds: self.rule.plausible().map(|(lower, upper)| Bounds { lower, upper: Some(upper) }),
            ..Answer::plain(standing, said(part))
        };
        if let Some(missed) = self.reach.missed().filter(|_| !self.fails()) {
            // Not undecided: it is waited for, for a bounded time, and does not pass.
            let value = Some(missed.observed());
            return Answer { value, ..Answer::plain(Standing::Absent, self.reach.said()) };
        }
        if all && !self.fails() {
            return Answer::plain(Standing::Passed, self.reach.said());
        }
        match self.rule.reading() {
            RateReading::Enough { part } => of(Standing::Passed, part),
            RateReading::Doubtful { part } | RateReading::TooFew { part } => of(Standing::Undecided, part),
            RateReading::Unknown => Answer::plain(Standing::Undecided, self.reach.said()),
        }
    }

    pub(super) fn fault(&self) -> String {
        match self.rule.reading() {
            RateReading::TooFew { part } => format!(
                "{}; twice in a row the release got only {} of the requests that its share promises{}; more than {} is asked; {}",
                self.reach.said(),
                words::percent(Some(part)),
                self.plausible(),
                self.min,
                words::rarity_so_far(self.split.ln_evidence())
            ),
            RateReading::Unknown | RateReading::Enough { .. } | RateReading::Doubtful { .. } => String::new(),
        }
    }

    fn plausible(&self) -> String {
        self.rule.plausible().map_or_else(String::new, |ends| format!(" ({})", words::between(ends)))
    }
}
