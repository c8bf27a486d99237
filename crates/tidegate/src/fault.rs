//! How the binary says no, and with which exit code.

use std::{fmt, process::ExitCode};
use tidegate_core::deployment::StateName;

pub(crate) use tidegate_adapters::chain;

/// Whose move it is after an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blame {
    /// Whoever called: change the input.
    Caller,
    /// The world: try again, or mend it.
    World,
    /// Tidegate: report it.
    Us,
}

/// An error at the edge: a sentence for a person, and whose move it is.
#[derive(Debug)]
pub(crate) struct Fault {
    pub(crate) blame: Blame,
    pub(crate) message: String,
}

impl Fault {
    /// The input is wrong.
    pub(crate) fn caller(error: impl std::error::Error) -> Self {
        Self { blame: Blame::Caller, message: chain(&error) }
    }

    /// The world is not as it should be.
    pub(crate) fn world(error: impl std::error::Error) -> Self {
        Self { blame: Blame::World, message: chain(&error) }
    }

    /// Tidegate has a defect.
    pub(crate) fn internal(error: impl std::error::Error) -> Self {
        Self {
            blame: Blame::Us,
            message: format!("{}; this is a defect of Tidegate, please report it", chain(&error)),
        }
    }

    /// The input is wrong, in words.
    pub(crate) fn refuse(message: impl Into<String>) -> Self {
        Self { blame: Blame::Caller, message: message.into() }
    }

    /// The world is not as it should be, in words.
    pub(crate) fn trouble(message: impl Into<String>) -> Self {
        Self { blame: Blame::World, message: message.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

/// The exit codes, documented in `tidegate help` and the reference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// What was asked for is so.
    Success,
    /// The input was refused; nothing was changed.
    Refused,
    /// The world did not let it happen.
    World,
    /// The deployment ended on the stable release, failed or was cancelled.
    RolledBack,
    /// The deployment is held: paused, waiting for an approval, or stuck.
    Held,
    /// A defect of Tidegate.
    Internal,
}

impl Exit {
    /// The exit of a deployment that is followed no further in this state; `None` where it is. With `asks_nobody`, what waits for a
    /// person is the end.
    pub(crate) const fn at(state: StateName, asks_nobody: bool) -> Option<Self> {
        match state {
            StateName::Verified => Some(Self::Success),
            StateName::RolledBack | StateName::Failed | StateName::Cancelled => Some(Self::RolledBack),
            StateName::Stuck => Some(Self::Held),
            StateName::AwaitingApproval | StateName::Paused if asks_nobody => Some(Self::Held),
            StateName::Queued
            | StateName::Checking
            | StateName::Init
            | StateName::Building
            | StateName::Deploying
            | StateName::AwaitingApproval
            | StateName::Canary
            | StateName::CanaryWaiting
            | StateName::CanaryEvaluating
            | StateName::Promoting
            | StateName::Promoted
            | StateName::Verifying
            | StateName::Paused
            | StateName::RollingBack => None,
        }
    }

    /// Every exit with its code and meaning: what the reference page prints.
    pub(crate) const TABLE: [(Self, u8, &'static str); 6] = [
        (Self::Success, 0, "what was asked for is so: promoted and verified, or the command did its work"),
        (
            Self::Refused,
            2,
            "refused input: a wrong argument, an invalid file, a verb that makes no sense now; nothing was changed",
        ),
        (
            Self::World,
            3,
            "world trouble: something outside could not be reached or would not do it; trying again may help",
        ),
        (
            Self::RolledBack,
            4,
            "the deployment was rolled back, failed or was cancelled; the stable release serves",
        ),
        (Self::Held, 5, "the deployment is held: paused, awaiting an approval, or stuck; a person is needed"),
        (Self::Internal, 70, "a defect of Tidegate; please report it"),
    ];

    pub(crate) fn code(self) -> u8 {
        Self::TABLE.iter().find(|(exit, ..)| *exit == self).map_or(70, |(_, code, _)| *code)
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        exit.code().into()
    }
}

impl From<Blame> for Exit {
    fn from(blame: Blame) -> Self {
        match blame {
            Blame::Caller => Self::Refused,
            Blame::World => Self::World,
            Blame::Us => Self::Internal,
        }
    }
}
