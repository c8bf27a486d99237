//! What must hold in every universe, one sentence each.

/// What a broken law means for the people who rely on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Something that was promised is gone.
    Lost,
    /// Something happened twice.
    Duplicated,
    /// Something happened that must not, or something that must did not.
    Illegal,
}

/// A law of every universe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Law {
    /// What a person was told is in the journal.
    AnsweredIsKept,
    /// A deployment that was accepted is there after every crash.
    AcceptedIsKept,
    /// Events that were synced stay as they were.
    HistoryStays,
    /// Every verdict follows bit by bit from the batches that were kept.
    VerdictsReplay,
    /// Every deployment that ended has its artifacts, with its whole history.
    ArtifactsWritten,
    /// One request makes one deployment, however often it is sent.
    OneDeploymentPerKey,
    /// An intention changes the target at most once.
    ActsOnce,
    /// Every try of an intention carries the same key.
    SameKey,
    /// Events are numbered from 1 without gaps, and their time does not go back.
    NoGaps,
    /// Every transition is in the golden table.
    GoldenTable,
    /// An effect runs only if the journal implies it.
    IntentFirst,
    /// An intention is tried no more often than the plan allows.
    AttemptsBounded,
    /// An order carries its owner's epoch.
    OwnEpoch,
    /// The target's epoch and generation never fall.
    FenceHolds,
    /// The rightful owner is never refused as old.
    OwnerNotFenced,
    /// The share in force is nothing, a stage's or everything.
    PlannedShares,
    /// The share rises only after the stage before passed, or by hand.
    RisesAfterPass,
    /// A stage that asks for an approval starts only after it was given, or by hand.
    ApprovalsKept,
    /// A stage passes with every gate's evidence, or by hand.
    EvidencePasses,
    /// A stage passes, by its gates or by hand, only while its share is in force.
    PassesInForce,
    /// A release that fails under a gate's eyes does not pass it.
    IllNeverPasses,
    /// A stage that passes by its gates was watched for its whole bake.
    WholeBake,
    /// A watch that passes by itself lasted its whole length.
    WholeWatch,
    /// A deployment that turned back leaves all traffic on the stable release.
    EndedOnStable,
    /// A verified deployment leaves all traffic on its release.
    EndedOnNew,
    /// A deployment that was cancelled or failed early has touched nothing.
    CancelledUntouched,
    /// A release with traffic has the instances that carry it.
    InstancesForTraffic,
    /// The stable release keeps its instances until the watch has passed.
    StableCapacity,
    /// A release is stopped only without traffic.
    RetireWithoutTraffic,
    /// A service has one running deployment.
    OneRunning,
    /// The queue is served in the order of turns, and what is paused is passed over.
    TurnOrder,
    /// A deployment starts from the release that is really stable.
    FreshBaseline,
    /// A deployment has fewer than 300 events.
    EventsBounded,
    /// Late and repeated answers move nothing.
    LateNewsMovesNothing,
    /// Nothing happens before it is due.
    NothingEarly,
    /// A person can turn every unfinished deployment back.
    WayBackOpen,
    /// A failed measurement never passes a stage.
    BlindNeverPasses,
    /// A turn back for a gate follows that gate's failure.
    JustifiedTurnBack,
    /// Every deployment ends once the world is well again.
    EveryEnds,
    /// The queue is empty in the end.
    QueueDrains,
    /// A good release in a calm world is verified.
    GoodArrives,
    /// A bad release in a calm world ends on the stable one.
    BadReturns,
    /// A restarted engine holds every unfinished deployment.
    RestartResumes,
    /// A poisoned deployment is set aside and named, and the others go on.
    OthersGoOn,
    /// Every request is answered.
    Answers,
    /// Time goes on: nothing is done again and again at one moment.
    NoSpin,
    /// A crash or one failed call does not change how a deployment ends.
    SameEnd,
}

impl Law {
    /// All of them: first what must never happen, then what must happen in the end.
    pub const ALL: [Self; 47] = [
        Self::AnsweredIsKept,
        Self::AcceptedIsKept,
        Self::HistoryStays,
        Self::OneDeploymentPerKey,
        Self::ActsOnce,
        Self::SameKey,
        Self::NoGaps,
        Self::GoldenTable,
        Self::IntentFirst,
        Self::AttemptsBounded,
        Self::OwnEpoch,
        Self::FenceHolds,
        Self::OwnerNotFenced,
        Self::PlannedShares,
        Self::RisesAfterPass,
        Self::ApprovalsKept,
        Self::EvidencePasses,
        Self::PassesInForce,
        Self::IllNeverPasses,
        Self::WholeBake,
        Self::WholeWatch,
        Self::EndedOnStable,
        Self::EndedOnNew,
        Self::CancelledUntouched,
        Self::InstancesForTraffic,
        Self::StableCapacity,
        Self::RetireWithoutTraffic,
        Self::OneRunning,
        Self::TurnOrder,
        Self::FreshBaseline,
        Self::EventsBounded,
        Self::LateNewsMovesNothing,
        Self::NothingEarly,
        Self::WayBackOpen,
        Self::BlindNeverPasses,
        Self::JustifiedTurnBack,
        Self::VerdictsReplay,
        Self::ArtifactsWritten,
        Self::EveryEnds,
        Self::QueueDrains,
        Self::GoodArrives,
        Self::BadReturns,
        Self::RestartResumes,
        Self::OthersGoOn,
        Self::Answers,
        Self::NoSpin,
        Self::SameEnd,
    ];

    /// The law, in words.
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::AnsweredIsKept => "what a person was told is in the journal",
            Self::AcceptedIsKept => "a deployment that was accepted is there after every crash",
            Self::HistoryStays => "events that were synced stay as they were",
            Self::VerdictsReplay => "every verdict follows bit by bit from the batches that were kept",
            Self::ArtifactsWritten => "every deployment that ended has its artifacts, with its whole history",
            Self::OneDeploymentPerKey => "one request makes one deployment, however often it is sent",
            Self::ActsOnce => "an intention changes the target at most once",
            Self::SameKey => "every try of an intention carries the same key",
            Self::NoGaps => "events are numbered from 1 without gaps, and their time does not go back",
            Self::GoldenTable => "every transition is in the golden table",
            Self::IntentFirst => "an effect runs only if the journal implies it",
            Self::AttemptsBounded => "an intention is tried no more often than the plan allows",
            Self::OwnEpoch => "an order carries its owner's epoch",
            Self::FenceHolds => "the target's epoch and generation never fall",
            Self::OwnerNotFenced => "the rightful owner is never refused as old",
            Self::PlannedShares => "the share in force is nothing, a stage's or everything",
            Self::RisesAfterPass => "the share rises only after the stage before passed, or by hand",
            Self::ApprovalsKept => {
                "a stage that asks for an approval starts only after it was given, or by hand"
            }
            Self::EvidencePasses => "a stage passes with every gate's evidence, or by hand",
            Self::PassesInForce => {
                "a stage passes, by its gates or by hand, only while its share is in force"
            }
            Self::IllNeverPasses => "a release that fails under a gate's eyes does not pass it",
            Self::WholeBake => "a stage that passes by its gates was watched for its whole bake",
            Self::WholeWatch => "a watch that passes by itself lasted its whole length",
            Self::EndedOnStable => "a deployment that turned back leaves all traffic on the stable release",
            Self::EndedOnNew => "a verified deployment leaves all traffic on its release",
            Self::CancelledUntouched => "a deployment that was cancelled or failed early has touched nothing",
            Self::InstancesForTraffic => "a release with traffic has the instances that carry it",
            Self::StableCapacity => "the stable release keeps its instances until the watch has passed",
            Self::RetireWithoutTraffic => "a release is stopped only without traffic",
            Self::OneRunning => "a service has one running deployment",
            Self::TurnOrder => "the queue is served in the order of turns, and what is paused is passed over",
            Self::FreshBaseline => "a deployment starts from the release that is really stable",
            Self::EventsBounded => "a deployment has fewer than 300 events",
            Self::LateNewsMovesNothing => "late and repeated answers move nothing",
            Self::NothingEarly => "nothing happens before it is due",
            Self::WayBackOpen => "a person can turn every unfinished deployment back",
            Self::BlindNeverPasses => "a failed measurement never passes a stage",
            Self::JustifiedTurnBack => "a turn back for a gate follows that gate's failure",
            Self::EveryEnds => "every deployment ends once the world is well again",
            Self::QueueDrains => "the queue is empty in the end",
            Self::GoodArrives => "a good release in a calm world is verified",
            Self::BadReturns => "a bad release in a calm world ends on the stable one",
            Self::RestartResumes => "a restarted engine holds every unfinished deployment",
            Self::OthersGoOn => "a poisoned deployment is set aside and named, and the others go on",
            Self::Answers => "every request is answered",
            Self::NoSpin => "time goes on: nothing is done again and again at one moment",
            Self::SameEnd => "a crash or one failed call does not change how a deployment ends",
        }
    }

    /// What breaking it means.
    pub const fn kind(self) -> Kind {
        match self {
            Self::AnsweredIsKept | Self::AcceptedIsKept | Self::HistoryStays | Self::ArtifactsWritten => {
                Kind::Lost
            }
            Self::OneDeploymentPerKey | Self::ActsOnce | Self::SameKey => Kind::Duplicated,
            Self::NoGaps
            | Self::GoldenTable
            | Self::IntentFirst
            | Self::AttemptsBounded
            | Self::OwnEpoch
            | Self::FenceHolds
            | Self::OwnerNotFenced
            | Self::PlannedShares
            | Self::RisesAfterPass
            | Self::ApprovalsKept
            | Self::EvidencePasses
            | Self::PassesInForce
            | Self::IllNeverPasses
            | Self::WholeBake
            | Self::WholeWatch
            | Self::EndedOnStable
            | Self::EndedOnNew
            | Self::CancelledUntouched
            | Self::InstancesForTraffic
            | Self::StableCapacity
            | Self::RetireWithoutTraffic
            | Self::OneRunning
            | Self::TurnOrder
            | Self::FreshBaseline
            | Self::EventsBounded
            | Self::LateNewsMovesNothing
            | Self::NothingEarly
            | Self::WayBackOpen
            | Self::BlindNeverPasses
            | Self::JustifiedTurnBack
            | Self::VerdictsReplay
            | Self::EveryEnds
            | Self::QueueDrains
            | Self::GoodArrives
            | Self::BadReturns
            | Self::RestartResumes
            | Self::OthersGoOn
            | Self::Answers
            | Self::NoSpin
            | Self::SameEnd => Kind::Illegal,
        }
    }

    /// Whether it says what must happen in the end, rather than what must never happen.
    pub const fn is_liveness(self) -> bool {
        matches!(
            self,
            Self::ArtifactsWritten
                | Self::EveryEnds
                | Self::QueueDrains
                | Self::GoodArrives
                | Self::BadReturns
                | Self::RestartResumes
                | Self::OthersGoOn
                | Self::Answers
                | Self::NoSpin
                | Self::SameEnd
        )
    }
}

/// A law that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The law.
    pub law: Law,
    /// Where and how.
    pub detail: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "broken: {} ({})", self.law.sentence(), self.detail)
    }
}
