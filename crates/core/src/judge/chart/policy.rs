//! What other ways of deciding would have done with the same numbers.
//!
//! Models of their documented rules with the usual settings, looked at once a minute, as they look: over what really
//! happened and no longer. What a policy would have done after the release was already turned back, nobody knows.

use alloc::vec::Vec;

use serde::Serialize;

use crate::{
    judge::{Batch, FailedAt},
    model::{Millis, Timestamp},
};

/// Time between two of their looks.
const LOOK: Millis = Millis::secs(60);

/// The plain rule tolerates this many hundredths of the stable release's failed share.
const TOLERATED_PERCENT: u128 = 110;

/// A way of deciding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Policy {
    /// Failed share below 1.1 times the stable one's in the last minute, or none at all; the first failure turns back.
    PlainRatio,
    /// As Flagger: at least 99 % of requests succeed, asked every minute; the fifth failure of the run turns back.
    Flagger,
    /// As Argo Rollouts: at least 95 % of requests succeed, asked every minute; the fourth failure turns back.
    Argo,
    /// These gates.
    Gates,
}

/// One policy's looks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Timeline {
    /// The policy.
    pub policy: Policy,
    /// What each look found. These gates look at every batch: they have none.
    pub checks: Vec<Check>,
    /// When it would have turned back.
    pub turned_back: Option<Millis>,
    /// Failed requests of the new release until then, or in all.
    pub failed_requests: u64,
}

/// One look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Time from the beginning.
    pub after: Millis,
    /// Whether it found fault.
    pub failed: bool,
}

impl Policy {
    /// Failed looks that turn back.
    const fn limit(self) -> usize {
        match self {
            Self::PlainRatio | Self::Gates => 1,
            Self::Argo => 4,
            Self::Flagger => 5,
        }
    }

    /// Whether the last minute fails it.
    fn fails(self, last: &Minute) -> bool {
        let (failed, all) = (u128::from(last.new.1), u128::from(last.new.0));
        match self {
            Self::PlainRatio => {
                let (base, of) = (u128::from(last.stable.1), u128::from(last.stable.0));
                failed > 0 && of > 0 && failed * of * 100 >= base * all * TOLERATED_PERCENT
            }
            // Nothing measured is a failed look for the one, and an error that it forgives for the other.
            Self::Flagger => all == 0 || failed * 100 > all,
            Self::Argo => failed * 20 > all,
            Self::Gates => false,
        }
    }
}

impl core::fmt::Display for Policy {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::PlainRatio => "plain 1.1 x rule",
            Self::Flagger => "as Flagger",
            Self::Argo => "as Argo Rollouts",
            Self::Gates => "these gates",
        })
    }
}

/// What came since the last look: requests and failures of both.
#[derive(Default)]
struct Minute {
    new: (u64, u64),
    stable: (u64, u64),
    length: Millis,
}

/// All policies over the batches.
pub(super) fn timelines(batches: &[Batch], from: Timestamp, failed: Option<&FailedAt>) -> Vec<Timeline> {
    let turned_back = failed.map(|failed| failed.at.since(from));
    let ours = Timeline {
        policy: Policy::Gates,
        checks: Vec::new(),
        turned_back,
        failed_requests: failures(batches, from, turned_back),
    };
    let theirs = [Policy::PlainRatio, Policy::Flagger, Policy::Argo];
    theirs.into_iter().map(|policy| timeline(policy, batches, from)).chain([ours]).collect()
}

fn timeline(policy: Policy, batches: &[Batch], from: Timestamp) -> Timeline {
    let (mut checks, mut turned_back, mut minute) = (Vec::new(), None, Minute::default());
    let mut stage = None;
    for batch in batches.iter().filter(|batch| batch.new.share.basis_points() > 0) {
        // A look never mixes two shares.
        if stage != Some(batch.stage) {
            (stage, minute) = (Some(batch.stage), Minute::default());
        }
        minute.add(batch);
        if minute.length < LOOK {
            continue;
        }
        let failed = policy.fails(&minute);
        minute = Minute::default();
        let after = batch.at.since(from);
        checks.push(Check { after, failed });
        if checks.iter().filter(|check| check.failed).count() >= policy.limit() {
            turned_back = Some(after);
            break;
        }
    }
    Timeline { policy, checks, turned_back, failed_requests: failures(batches, from, turned_back) }
}

impl Minute {
    fn add(&mut self, batch: &Batch) {
        let stable = batch.stable.as_ref().map_or((0, 0), |arm| (arm.requests, arm.failures));
        let plus =
            |sum: (u64, u64), more: (u64, u64)| (sum.0.saturating_add(more.0), sum.1.saturating_add(more.1));
        self.new = plus(self.new, (batch.new.requests, batch.new.failures));
        self.stable = plus(self.stable, stable);
        self.length = Millis(self.length.0.saturating_add(batch.new.length.0));
    }
}

/// Failed requests of the new release up to a moment.
fn failures(batches: &[Batch], from: Timestamp, until: Option<Millis>) -> u64 {
    let counted = |batch: &&Batch| until.is_none_or(|until| batch.at.since(from) <= until);
    batches.iter().filter(counted).fold(0, |sum, batch| sum.saturating_add(batch.new.failures))
}
