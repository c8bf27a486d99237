//! What happens to the things that may go wrong: every append to the journal and every call to the target has a number,
//! and a fate.

use std::collections::BTreeMap;

/// What becomes of one append.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum AppendFate {
    /// Written, synced, answered.
    Fine,
    /// The process dies before anything reaches the disk.
    Lost,
    /// The process dies while half of it is on the disk: the rest is rolled back when the journal is opened again.
    Torn,
    /// The process dies after writing and before syncing; the machine loses what was not synced.
    Unsynced,
    /// The process dies after syncing and before answering.
    Unanswered,
    /// The disk is full for a moment; nothing is kept, and the same append comes again.
    Full,
    /// Syncing fails: the journal takes nothing more until the process is started again, and this append was lost.
    BrokenLost,
    /// The same, but the append was kept.
    BrokenKept,
}

impl AppendFate {
    /// Every fate that is not fine.
    pub const BAD: [Self; 7] = [
        Self::Lost,
        Self::Torn,
        Self::Unsynced,
        Self::Unanswered,
        Self::Full,
        Self::BrokenLost,
        Self::BrokenKept,
    ];

    /// Whether the process dies of it, or has to be started again.
    pub const fn kills(self) -> bool {
        !matches!(self, Self::Fine | Self::Full)
    }
}

/// What becomes of one call to the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum CallFate {
    /// It acts and answers.
    Fine,
    /// The process dies before the target hears of it.
    KilledBefore,
    /// The target acts; the process dies before the answer.
    KilledAfter,
    /// The process dies at once, and the target acts only after the next owner has begun.
    KilledActsLate,
    /// Nothing happens, and the answer says so.
    Fails,
    /// Nothing happens, and the answer says that trying again is of no use.
    FailsForGood,
    /// It happens, but the answer says that it did not.
    FailsAfter,
    /// It happens, but no answer comes.
    Silent,
    /// It happens so late that the next try is on its way.
    ActsLate,
}

impl CallFate {
    /// Every fate that is not fine.
    pub const BAD: [Self; 8] = [
        Self::KilledBefore,
        Self::KilledAfter,
        Self::KilledActsLate,
        Self::Fails,
        Self::FailsForGood,
        Self::FailsAfter,
        Self::Silent,
        Self::ActsLate,
    ];

    /// Whether the process dies of it.
    pub const fn kills(self) -> bool {
        matches!(self, Self::KilledBefore | Self::KilledAfter | Self::KilledActsLate)
    }
}

/// How often what goes wrong, out of ten thousand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rates {
    pub(crate) append: u32,
    pub(crate) call: u32,
    pub(crate) reading: u32,
}

/// Where fates come from.
#[derive(Clone, Debug)]
pub(crate) enum Fates {
    /// These, by number; all others are fine.
    Forced { appends: BTreeMap<u64, AppendFate>, calls: BTreeMap<u64, CallFate> },
    /// Dice, until a true time; all is fine afterwards.
    Dice {
        rng: fastrand::Rng,
        rates: Rates,
        until: i64,
        /// The longest a call takes that is answered, in thousandths of its bound.
        slowest: u64,
    },
}

/// The fates of one run, and how many things had one.
#[derive(Clone, Debug)]
pub(crate) struct Course {
    fates: Fates,
    pub(crate) appends: u64,
    pub(crate) calls: u64,
    /// Fates that were not fine.
    pub(crate) faults: u64,
}

impl Course {
    pub(crate) const fn new(fates: Fates) -> Self {
        Self { fates, appends: 0, calls: 0, faults: 0 }
    }

    /// The fate of the next append.
    pub(crate) fn append(&mut self, now: i64) -> AppendFate {
        let number = self.appends;
        self.appends += 1;
        let fate = match &mut self.fates {
            Fates::Forced { appends, .. } => appends.get(&number).copied().unwrap_or(AppendFate::Fine),
            Fates::Dice { rng, rates, until, .. } => {
                let bad = now < *until && rng.u32(..10_000) < rates.append;
                let fate = if bad { rng.choice(AppendFate::BAD) } else { None };
                fate.unwrap_or(AppendFate::Fine)
            }
        };
        self.faults += u64::from(fate != AppendFate::Fine);
        fate
    }

    /// The fate of the next call, and how long it takes, in thousandths of its bound.
    pub(crate) fn call(&mut self, now: i64, reading: bool) -> (CallFate, u64) {
        let number = self.calls;
        self.calls += 1;
        let answer = match &mut self.fates {
            Fates::Forced { calls, .. } => (calls.get(&number).copied().unwrap_or(CallFate::Fine), 100),
            Fates::Dice { rng, rates, until, slowest } => {
                let rate = if reading { rates.reading } else { rates.call };
                let bad = now < *until && rng.u32(..10_000) < rate;
                let fate = if bad { rng.choice(CallFate::BAD) } else { None };
                (fate.unwrap_or(CallFate::Fine), rng.u64(1..=*slowest))
            }
        };
        self.faults += u64::from(answer.0 != CallFate::Fine);
        answer
    }
}
