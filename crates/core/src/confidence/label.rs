//! What a deployment turned out to be: good, bad, or not to be known.

use alloc::string::String;

use serde::{Deserialize, Serialize};

use crate::model::{Millis, Timestamp};

/// A release that ended well is called good after so long without trouble.
pub const LABEL_AFTER: Millis = Millis::hours(72);

/// How the deployment ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ending {
    /// It has not ended.
    Running,
    /// The release got all traffic.
    Promoted {
        /// When.
        at: Timestamp,
    },
    /// A sequential gate turned it back, with evidence of at least `1/alpha`.
    TurnedBackByEvidence {
        /// When.
        at: Timestamp,
    },
    /// A plain threshold turned it back.
    TurnedBackByThreshold {
        /// When.
        at: Timestamp,
    },
    /// A person turned it back, or it was given up for another reason while it had traffic.
    TurnedBackOtherwise {
        /// When.
        at: Timestamp,
    },
    /// It never had traffic.
    NotExposed,
}

/// What was found out later, by somebody or something that attributes it to this release.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trouble {
    /// What.
    pub kind: TroubleKind,
    /// When it was noticed.
    pub at: Timestamp,
    /// Where to read about it: an incident's id, a commit.
    pub reference: String,
}

/// Kinds of trouble.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TroubleKind {
    /// The release was taken back, and somebody confirmed that it was its fault.
    ConfirmedRollback,
    /// It needed a hotfix.
    Hotfix,
    /// It caused an incident.
    Incident,
}

/// A label that a person gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LabelByHand {
    /// Whether the release was good.
    pub good: bool,
    /// Who says so.
    pub by: String,
    /// Why.
    pub reason: String,
}

/// The label.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Label {
    /// Neither is known: it counts nowhere.
    Unlabelled(Unlabelled),
    /// Good.
    Good(How),
    /// Bad.
    Bad(How),
}

/// Why there is no label.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Unlabelled {
    /// It has not ended.
    Running,
    /// It was promoted, and trouble may still show.
    Waiting {
        /// Until when.
        until: Timestamp,
    },
    /// It was turned back before anybody could know: there is no telling what it would have done.
    NoCounterfactual,
    /// It never had traffic.
    NotExposed,
}

/// How the label came about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum How {
    /// 72 hours without trouble.
    Quiet,
    /// A sequential gate's evidence.
    Evidence,
    /// Trouble within 72 hours of its end.
    Trouble(Trouble),
    /// A person.
    ByHand(LabelByHand),
}

/// The label as of `now`. A person's word counts first, then trouble up to 72 hours after the end, then the ending: evidence
/// of a sequential gate is bad; a plain threshold's rollback is not labelled, because most releases that such a gate turns
/// back are healthy; promoted and quiet for 72 hours is good. `troubles` are those attributed to this release.
pub fn label(ending: Ending, troubles: &[Trouble], by_hand: Option<&LabelByHand>, now: Timestamp) -> Label {
    if let Some(hand) = by_hand {
        let how = How::ByHand(hand.clone());
        return if hand.good { Label::Good(how) } else { Label::Bad(how) };
    }
    let ended_at = match ending {
        Ending::Running => return Label::Unlabelled(Unlabelled::Running),
        Ending::NotExposed => return Label::Unlabelled(Unlabelled::NotExposed),
        Ending::Promoted { at }
        | Ending::TurnedBackByEvidence { at }
        | Ending::TurnedBackByThreshold { at }
        | Ending::TurnedBackOtherwise { at } => at,
    };
    let until = ended_at.after(LABEL_AFTER);
    let first =
        troubles.iter().filter(|trouble| trouble.at <= until.min(now)).min_by_key(|trouble| trouble.at);
    if let Some(trouble) = first {
        return Label::Bad(How::Trouble(trouble.clone()));
    }
    match ending {
        Ending::TurnedBackByEvidence { .. } => Label::Bad(How::Evidence),
        Ending::Promoted { .. } if now >= until => Label::Good(How::Quiet),
        Ending::Promoted { .. } => Label::Unlabelled(Unlabelled::Waiting { until }),
        Ending::TurnedBackByThreshold { .. } | Ending::TurnedBackOtherwise { .. } => {
            Label::Unlabelled(Unlabelled::NoCounterfactual)
        }
        Ending::Running => Label::Unlabelled(Unlabelled::Running),
        Ending::NotExposed => Label::Unlabelled(Unlabelled::NotExposed),
    }
}

impl Label {
    /// Whether the release was bad; `None` when that is not known.
    pub const fn bad(&self) -> Option<bool> {
        match self {
            Self::Unlabelled(_) => None,
            Self::Good(_) => Some(false),
            Self::Bad(_) => Some(true),
        }
    }
}
