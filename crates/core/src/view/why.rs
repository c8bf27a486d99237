//! What a deployment waits for and until when, or why it ended: one sentence, and what has to be known beside it.

use alloc::{
    format,
    string::{String, ToString},
    vec::Vec,
};

use super::{
    guarded,
    scene::{Story, placed},
    sentence::{because, tries_max},
    span::rough,
    summary::{paused_in, waits},
};
use crate::{
    deployment::{ApprovalReason, Cause, Event, Phase, Recorded, Resume, Try},
    gate::{Judgement, Verdict},
    model::Timestamp,
};

/// What the deployment waits for and until when, or why it ended. `clock` writes a moment as the reader wants to see it
/// (the core knows no time zone). `None` when the history does not begin with a plan.
pub fn why(history: &[Recorded], now: Timestamp, clock: &dyn Fn(Timestamp) -> String) -> Option<String> {
    let story = Story::of(history)?;
    let teller = Teller { story: &story, now, clock };
    let more = [story.unanswered.clone(), teller.observed()];
    let text = core::iter::once(teller.tell()).chain(more.into_iter().flatten());
    // A reason from outside may bring its own full stop.
    let sentences: Vec<_> = text.map(|text| format!("{}.", text.trim_end().trim_end_matches('.'))).collect();
    Some(sentences.join(" "))
}

fn then_back(left: &str) -> String {
    if left == DUE { "it turns back now".to_string() } else { format!("{left}, then it turns back") }
}

const DUE: &str = "due now";

struct Teller<'a> {
    story: &'a Story<'a>,
    now: Timestamp,
    clock: &'a dyn Fn(Timestamp) -> String,
}

impl Teller<'_> {
    fn tell(&self) -> String {
        let plan = self.story.plan;
        let new = format!("{} {}", plan.service, plan.release.tag);
        let turned = || self.turned().unwrap_or_default();
        match &self.story.state.phase {
            Phase::Queued => {
                let since = (self.clock)(self.story.state.since);
                format!("Waiting since {since} for {}", self.what())
            }
            Phase::Checking(tries)
            | Phase::Init(tries)
            | Phase::Building(tries)
            | Phase::Deploying(tries)
            | Phase::Canary { tries, .. }
            | Phase::Promoting(tries)
            | Phase::Promoted(tries)
            | Phase::Retiring(tries) => self.effect(*tries),
            Phase::CanaryWaiting { .. } | Phase::Verifying { .. } => self.bake(),
            Phase::CanaryEvaluating { stage, held_until } => self.last_look(*stage, held_until.is_some()),
            Phase::AwaitingApproval { stage, why, .. } => self.approval(*stage, why),
            Phase::Paused { resume, .. } => self.paused(resume),
            Phase::RollingBack { tries, .. } => format!("Rolling back{}. {}", turned(), self.effect(*tries)),
            Phase::Verified => {
                let took = rough(self.story.state.since.since(self.story.first.at));
                let now = if guarded::is_guarded(plan) {
                    format!("{new} is good")
                } else {
                    format!("all traffic is on {new}")
                };
                format!("Verified at {} after {took}: {now}", self.ended())
            }
            Phase::RolledBack if guarded::is_guarded(plan) => {
                guarded::went_back(plan, self.story.state.cause.as_ref(), &turned())
            }
            Phase::RolledBack => format!("Rolled back{}. 0 % of traffic is on {new} now", turned()),
            Phase::Stuck => self.stuck(),
            Phase::Failed | Phase::Cancelled => self.stopped(),
        }
    }

    /// What the gates would have done, where they only observe.
    fn observed(&self) -> Option<String> {
        if let Some(failed) = self.story.observed {
            return Some(format!(
                "It was only observed: gate {} would have turned it back: {}",
                failed.gate, failed.reason
            ));
        }
        let quiet = self.story.plan.judge.observe && self.story.state.phase == Phase::Verified;
        quiet.then(|| "It was only observed: no gate would have turned it back".to_string())
    }

    fn ended(&self) -> String {
        (self.clock)(self.story.state.since)
    }

    fn what(&self) -> String {
        waits(self.story.plan, &self.story.state).map_or_else(String::new, |waits| waits.what)
    }

    /// `until 10:31:04`, and what is left.
    fn until(&self) -> (String, String) {
        let until = waits(self.story.plan, &self.story.state).and_then(|waits| waits.until);
        let until = until.unwrap_or(self.now);
        let left =
            if until > self.now { format!("{} left", rough(until.since(self.now))) } else { DUE.to_string() };
        ((self.clock)(until), left)
    }

    /// An effect is on its way, or waits for its next try.
    fn effect(&self, tries: Try) -> String {
        let (until, left) = self.until();
        let what = self.what();
        let Some(Event::Tried { reason, .. }) = self.story.tried.map(|recorded| &recorded.event) else {
            return format!("Waiting for {what}, until {until} at most; {left}");
        };
        let number = tries.attempt.saturating_add(1);
        let most = tries_max(self.story.plan, &self.story.state.phase);
        if tries.not_before > self.now {
            let next = (self.clock)(tries.not_before);
            let wait = rough(tries.not_before.since(self.now));
            return format!(
                "Waiting until {next} for try {number} of {most}; {wait} left. It waits for {what}; the try before failed: {reason}"
            );
        }
        format!(
            "Waiting for {what}, until {until} at most (try {number} of {most}); {left}; the try before failed: {reason}"
        )
    }

    fn bake(&self) -> String {
        let (until, left) = self.until();
        let kept = match (&self.story.state.phase, &self.story.plan.stable) {
            (Phase::Verifying { .. }, Some(stable)) => format!("; {} is kept warm", stable.tag),
            _ => String::new(),
        };
        format!("Waiting until {until} for {}; {left}{kept}", self.what())
    }

    fn last_look(&self, stage: usize, held: bool) -> String {
        let (until, left) = self.until();
        if !held {
            return format!("Waiting for {}, until {until} at most; {left}", self.what());
        }
        let missing = self.judgements().iter().find(|judgement| judgement.verdict == Verdict::NoEvidence);
        let missing = missing.map_or_else(String::new, |j| format!(": gate {}: {}", j.gate, j.reason));
        let stage = placed(self.story.plan, stage);
        format!("Waiting until {until} for evidence in {stage}{missing}; {}", then_back(&left))
    }

    fn judgements(&self) -> &[Judgement] {
        match self.story.judged.map(|recorded| &recorded.event) {
            Some(Event::Judged { judgements, .. }) => judgements,
            _ => &[],
        }
    }

    fn approval(&self, stage: usize, why: &ApprovalReason) -> String {
        let (until, left) = self.until();
        let said = match why {
            ApprovalReason::Planned => String::new(),
            ApprovalReason::GateFailed { reason, .. }
            | ApprovalReason::Undecided { reason, .. }
            | ApprovalReason::Review { reason, .. } => {
                format!(" ({reason})")
            }
        };
        let what = match why {
            ApprovalReason::Planned => format!("{}: `tidegate approve`", self.what()),
            ApprovalReason::GateFailed { gate, .. } => format!(
                "a person: gate {gate} failed in {}{said}: `tidegate approve` or `tidegate abort`",
                placed(self.story.plan, stage)
            ),
            ApprovalReason::Review { score, .. } => format!(
                "a person: confidence is {score} of 100 in {}{said}: `tidegate approve` or `tidegate abort`",
                placed(self.story.plan, stage)
            ),
            ApprovalReason::Undecided { gate, .. } => format!(
                "a person: gate {gate} could not decide in {}{said}: `tidegate approve` or `tidegate abort`",
                placed(self.story.plan, stage)
            ),
        };
        format!("Waiting until {until} for {what}; {}", then_back(&left))
    }

    fn paused(&self, resume: &Resume) -> String {
        let (until, left) = self.until();
        let (by, reason) = match self.story.paused {
            Some(Recorded {
                actor,
                event: Event::Paused { reason, .. } | Event::PauseAsked { reason },
                ..
            }) => (format!(" by {actor}"), because(reason)),
            _ => (String::new(), String::new()),
        };
        let then = match resume {
            Resume::Queued => "is called off",
            Resume::Waiting { .. } | Resume::Evaluating { .. } | Resume::Watching { .. } => "turns back",
        };
        let rest = match resume {
            Resume::Waiting { left, .. } => format!(" with {} of the bake left", rough(*left)),
            Resume::Watching { left } => format!(" with {} of the watch left", rough(*left)),
            Resume::Queued | Resume::Evaluating { .. } => String::new(),
        };
        let place = paused_in(self.story.plan, resume);
        format!(
            "Paused{by} {place}{reason}; `tidegate resume` goes on{rest}; at {until} it {then} by itself ({left})"
        )
    }

    /// Where and why it turned back: ` after 3.2 s of canary 5 %: gate error_rate failed: …`.
    fn turned(&self) -> Option<String> {
        let cause = self.story.state.cause.as_ref()?;
        Some(match cause {
            Cause::GateFailed { stage, gate, reason, after } => {
                format!(" after {} of {stage}: gate {gate} failed: {reason}", rough(*after))
            }
            Cause::NoEvidence { stage, gate, reason } => {
                format!(" from {stage}: gate {gate} had no evidence: {reason}")
            }
            Cause::Aborted { reason } => {
                let by = self.story.turned.as_ref().map(|turned| &turned.recorded.actor);
                let by = by.map_or_else(String::new, |actor| format!(" by {actor}"));
                format!("{}: aborted{by}{}", self.from(), because(reason))
            }
            Cause::LowConfidence { .. }
            | Cause::Superseded { .. }
            | Cause::EffectFailed { .. }
            | Cause::WaitedTooLong { .. }
            | Cause::ReopenedTooOften { .. } => format!("{}: {cause}", self.from()),
        })
    }

    /// ` from canary 5 % (stage 1 of 4)`: the place where it turned back.
    fn from(&self) -> String {
        let place = self.story.turned.as_ref().and_then(|turned| turned.place.as_ref());
        place.map_or_else(String::new, |place| format!(" from {place}"))
    }

    fn stuck(&self) -> String {
        let plan = self.story.plan;
        let reason = match self.story.stopped.map(|recorded| &recorded.event) {
            Some(Event::Stuck { reason }) => reason.as_str(),
            _ => "",
        };
        let to = plan.stable.as_ref().map_or_else(String::new, |stable| format!(" to {}", stable.tag));
        let share = self.story.turned.as_ref().map_or(self.story.state.share, |turned| turned.share);
        format!(
            "Stuck since {}: traffic could not be moved back{to}{}; up to {share} may still be on {} {}. It turned back{}. Look at the target, then use `tidegate retry`",
            self.ended(),
            because(reason),
            plan.service,
            plan.release.tag,
            self.turned().unwrap_or_default(),
        )
    }

    fn stopped(&self) -> String {
        let Some(stopped) = self.story.stopped else { return self.story.state.name().to_string() };
        let (at, by) = ((self.clock)(stopped.at), &stopped.actor);
        if let Event::Cancelled { reason } = &stopped.event {
            return format!("Called off by {by} at {at} before anything was touched{}", because(reason));
        }
        if let Event::Abandoned { reason } = &stopped.event {
            return format!(
                "Given up by {by} at {at} while the way back was stuck{}. It had turned back{}; only the target knows where traffic is",
                because(reason),
                self.turned().unwrap_or_default()
            );
        }
        let cause = self.story.cause().unwrap_or_default();
        format!("Failed at {at} before anything was touched: {cause}")
    }
}
