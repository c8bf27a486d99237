//! Whether a step's share is what the users' requests show, not only what the route says.

use alloc::{format, string::String};

use tidegate_statistics::{Dispersion, ShareReading, ShareRule, Split};

use super::{seat::Interval, words};
use crate::model::{Millis, Share};

/// So long after a share was asked for, what carries the requests may still follow the old one: a mesh is told of a route within
/// seconds, and a source that is asked every 15 s has said nothing yet.
const FOLLOWS_WITHIN: Millis = Millis::secs(15);

/// The asked share beside the observed one, over the newest requests of the step.
#[derive(Clone, Debug)]
pub(super) struct Reach {
    rule: ShareRule,
    share: Share,
    /// Whether the next counts began before the share was asked for: those of a source that is asked now and then do.
    begun_before: bool,
    of_metric: bool,
    /// How long the share is asked for.
    asked_for: Millis,
    was_there: bool,
}

impl Reach {
    /// `marked`: whether more than the share is no fault. `of_metric`: whether a source counts that is asked now and then.
    pub(super) fn new(min: Share, dispersion: Dispersion, marked: bool, of_metric: bool) -> Option<Self> {
        let part = f64::from(min.basis_points()) / 10_000.0;
        let rule = ShareRule::new(part, dispersion).ok()?;
        let rule = if marked { rule.or_more() } else { rule };
        let (share, asked_for) = (Share::NONE, Millis::ZERO);
        Some(Self { rule, share, begun_before: of_metric, of_metric, asked_for, was_there: false })
    }

    pub(super) fn take(&mut self, seen: &Interval<'_>) {
        if seen.share != self.share {
            (self.share, self.begun_before) = (seen.share, self.of_metric);
            (self.asked_for, self.was_there) = (Millis::ZERO, false);
        }
        self.asked_for = Millis(self.asked_for.0.saturating_add(seen.new.length.0));
        let Some(stable) = seen.stable else { return };
        if core::mem::take(&mut self.begun_before) {
            return;
        }
        let share = f64::from(seen.share.basis_points()) / 10_000.0;
        // Without users no share is asked for, and nothing is taken.
        if self.rule.observe(seen.new.requests, stable.requests, share).is_ok() {
            self.was_there |= matches!(self.rule.reading(), ShareReading::Reached(_));
        }
    }

    /// Whether what is missing now is the release's matter: the share was there, or there was time enough for it to come.
    pub(super) fn is_settled(&self) -> bool {
        self.was_there || self.asked_for >= FOLLOWS_WITHIN
    }

    /// The requests that show another share than was asked for, where they do.
    pub(super) fn missed(&self) -> Option<Split> {
        match self.rule.reading() {
            ShareReading::Missed(split) => Some(split),
            ShareReading::TooFew { .. } | ShareReading::Reached(_) => None,
        }
    }

    /// What the step's share rests on: what was observed, or what was read back where too little was.
    pub(super) fn said(&self) -> String {
        let of = |split: Split| {
            format!(
                "asked {}, observed {} of {} requests",
                self.share,
                words::percent(Some(split.observed())),
                words::grouped(split.all)
            )
        };
        match self.rule.reading() {
            ShareReading::Reached(split) => of(split),
            ShareReading::Missed(split) => format!(
                "{} (surely {} to {}): what carries the requests does not do what the route says",
                of(split),
                words::percent(Some(split.low)),
                words::percent(Some(split.high))
            ),
            ShareReading::TooFew { seen, needed } => format!(
                "asked {}, which was read back; {} requests so far, {} would show whether it is so",
                self.share,
                words::grouped(seen),
                words::grouped(needed)
            ),
        }
    }
}
