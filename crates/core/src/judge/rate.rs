//! The request-rate gate: does the new release get the requests that its share should bring?

use alloc::{format, string::String};

use tidegate_statistics::{Bounds, Dispersion, RateReading, RateRule, SplitTest};

use super::{
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
    min: Share,
    last: u64,
}

impl Rate {
    pub(super) fn new(min: Share, dispersion: Dispersion) -> Option<Self> {
        let limit = f64::from(min.basis_points()) / 10_000.0;
        let split = SplitTest::new(dispersion).ok()?;
        Some(Self { rule: RateRule::new(limit).ok()?, split, min, last: 0 })
    }

    pub(super) fn take(&mut self, seen: &Interval<'_>) {
        let share = f64::from(seen.share.basis_points()) / 10_000.0;
        let Some(stable) = seen.stable else { return };
        // With all traffic, or none, there is nothing that a share could promise.
        if self.rule.observe(seen.new.requests, stable.requests, share).is_ok() {
            self.last = self.last.saturating_add(seen.new.requests);
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
                "{} of the requests that the share promises{}; more than {} is asked; {}",
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
        if all && !self.fails() {
            let reason = "all traffic goes to the release: there is no share to compare".into();
            return Answer::plain(Standing::Passed, reason);
        }
        match self.rule.reading() {
            RateReading::Enough { part } => of(Standing::Passed, part),
            RateReading::Doubtful { part } | RateReading::TooFew { part } => of(Standing::Undecided, part),
            RateReading::Unknown => Answer::plain(
                Standing::Undecided,
                format!(
                    "{} requests so far: too few to tell what the share brings",
                    words::grouped(self.last)
                ),
            ),
        }
    }

    pub(super) fn fault(&self) -> String {
        match self.rule.reading() {
            RateReading::TooFew { part } => format!(
                "twice in a row the release got only {} of the requests that its share promises{}; more than {} is asked; {}",
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
