//! The request-rate gate: does the new release get the requests that its share should bring?

use alloc::{format, string::String};

use tidegate_statistics::{RateReading, RateRule};

use super::{
    panel::{Answer, Interval, Standing},
    words,
};
use crate::model::Share;

/// The rule with what was counted.
#[derive(Clone, Debug)]
pub(super) struct Rate {
    rule: RateRule,
    min: Share,
    last: u64,
}

impl Rate {
    pub(super) fn new(min: Share) -> Option<Self> {
        let limit = f64::from(min.basis_points()) / 10_000.0;
        Some(Self { rule: RateRule::new(limit).ok()?, min, last: 0 })
    }

    pub(super) fn take(&mut self, seen: &Interval<'_>) {
        let share = f64::from(seen.share.basis_points()) / 10_000.0;
        let Some(stable) = seen.stable else { return };
        // With all traffic, or none, there is nothing that a share could promise.
        if self.rule.observe(seen.new.requests, stable.requests, share).is_ok() {
            self.last = self.last.saturating_add(seen.new.requests);
        }
    }

    pub(super) fn fails(&self) -> bool {
        matches!(self.rule.reading(), RateReading::TooFew { .. })
    }

    pub(super) fn answer(&self, all: bool) -> Answer {
        let said = |part: f64| {
            format!(
                "{} of the requests that the share promises; more than {} is asked",
                words::percent(Some(part)),
                self.min
            )
        };
        match self.rule.reading() {
            RateReading::Enough { part } => {
                Answer { value: Some(part), ..Answer::plain(Standing::Passed, said(part)) }
            }
            RateReading::Doubtful { part } | RateReading::TooFew { part } => {
                Answer { value: Some(part), ..Answer::plain(Standing::Undecided, said(part)) }
            }
            RateReading::Unknown if all => Answer::plain(
                Standing::Passed,
                "all traffic goes to the release: there is no share to compare".into(),
            ),
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
                "twice in a row the release got only {} of the requests that its share promises; more than {} is asked",
                words::percent(Some(part)),
                self.min
            ),
            RateReading::Unknown | RateReading::Enough { .. } | RateReading::Doubtful { .. } => String::new(),
        }
    }
}
