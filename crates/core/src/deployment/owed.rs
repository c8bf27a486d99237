//! What a state still owes the world: derived, never stored, so that a crash loses nothing.

use alloc::{format, string::String, vec, vec::Vec};
use core::fmt;

use serde::{Deserialize, Serialize};

use super::state::{Phase, Resume, State, Step, Try};
use crate::{
    model::{Millis, Share, Timestamp},
    plan::{Back, Plan},
};

/// One thing that must happen next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owed {
    /// The intention; survives retries.
    pub key: Key,
    /// The present try.
    pub attempt: u32,
    /// Not before then.
    pub not_before: Timestamp,
    /// A try without an answer for this long has failed.
    pub within: Millis,
    /// The part of the target that it concerns.
    pub reach: Reach,
    /// What.
    pub effect: Effect,
}

/// The part of a target that an effect concerns: a target of several cells is rolled out in waves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Everything.
    All,
    /// The cells of this wave.
    Wave(u16),
    /// The cells of this wave and of those after it.
    From(u16),
}

impl Reach {
    /// Whether the cells of a wave are concerned.
    pub const fn covers(self, wave: u16) -> bool {
        match self {
            Self::All => true,
            Self::Wave(only) => wave == only,
            Self::From(first) => wave >= first,
        }
    }
}

/// Names an intention inside a deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// Number of the event that made it; 0 for measuring, which is repeated and changes nothing.
    pub intent: u64,
    /// What it is.
    pub what: What,
}

impl Key {
    /// `deployment/intent/what`: the same for every try, different for every intention.
    pub fn text(&self, deployment: &str) -> String {
        format!("{deployment}/{}/{}", self.intent, self.what)
    }
}

/// Kinds of effects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// Ask the target whether it can do what the plan says.
    Check,
    /// Read counters once.
    Read,
    /// Bring the release to the target.
    Build,
    /// Start instances of the release.
    Scale,
    /// Move traffic forward.
    Shift,
    /// Read counters again and again.
    Measure,
    /// Make the release the stable one.
    Promote,
    /// Move all traffic to the stable release.
    Restore,
    /// Drain and stop a release's instances.
    Retire,
    /// Wake up at a moment.
    Wake,
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Check => "check",
            Self::Read => "read",
            Self::Build => "build",
            Self::Scale => "scale",
            Self::Shift => "shift",
            Self::Measure => "measure",
            Self::Promote => "promote",
            Self::Restore => "restore",
            Self::Retire => "retire",
            Self::Wake => "wake",
        })
    }
}

/// A desired state of the world; never a difference.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The target can do what the plan says.
    Check,
    /// The release lies at the target.
    Build,
    /// This many instances of the new release are ready. Answer: `Done`.
    Scale {
        /// How many.
        instances: u32,
        /// Order at the target.
        generation: u64,
        /// Users' traffic that they are to take: a target that gives traffic to every instance alike starts as many of each
        /// release as make this share.
        share: Share,
    },
    /// The new release has this share of users' traffic and this share of copies. Answer: `Read`, taken right after.
    Shift {
        /// Users' traffic.
        share: Share,
        /// Copies.
        mirror: Share,
        /// Order at the target.
        generation: u64,
    },
    /// Read the counters. Answer: `Read`, or `LeaseEnded`.
    Measure {
        /// Time from one answer to the next question; zero asks once.
        every: Millis,
    },
    /// All traffic belongs to the new release, which is now what traffic returns to.
    Promote {
        /// Order at the target.
        generation: u64,
    },
    /// All traffic belongs to the stable release.
    Restore {
        /// Order at the target.
        generation: u64,
    },
    /// No instance of this release runs.
    Retire {
        /// `true`: the release being rolled out; `false`: the one that was stable before.
        new: bool,
        /// Order at the target.
        generation: u64,
    },
    /// Give the deployment a tick at this moment.
    Wake {
        /// When.
        at: Timestamp,
    },
}

/// What this state still owes the world. Empty only in terminal states and in the queue, where the fleet is what is
/// waited for.
pub fn owed(plan: &Plan, state: &State) -> Vec<Owed> {
    let limits = &plan.limits;
    let once = |tries: Try, what, within, effect| {
        let key = Key { intent: tries.intent, what };
        let reach = reach(plan, state, what);
        vec![Owed { key, attempt: tries.attempt, not_before: tries.not_before, within, reach, effect }]
    };
    let generation = |tries: Try| plan.generation(tries.intent);
    match &state.phase {
        Phase::Checking(tries) => once(*tries, What::Check, limits.scale_max, Effect::Check),
        Phase::Init(tries) | Phase::Promoted(tries) => {
            once(*tries, What::Read, limits.call_max, Effect::Measure { every: Millis::ZERO })
        }
        Phase::Building(tries) => once(*tries, What::Build, limits.build_max, Effect::Build),
        Phase::Deploying(tries) => {
            let first = plan.stage(0).map(|stage| (stage.instances, stage.share));
            let (instances, share) = first.unwrap_or((1, Share::NONE));
            let effect = Effect::Scale { instances, generation: generation(*tries), share };
            once(*tries, What::Scale, limits.scale_max, effect)
        }
        Phase::Canary { stage, step, tries } => {
            let Some(stage) = plan.stage(*stage) else { return Vec::new() };
            match step {
                Step::Instances => {
                    let (generation, share) = (generation(*tries), stage.share);
                    let effect = Effect::Scale { instances: stage.instances, generation, share };
                    once(*tries, What::Scale, limits.scale_max, effect)
                }
                Step::Traffic => {
                    let (share, mirror, generation) = (stage.share, stage.mirror, generation(*tries));
                    once(*tries, What::Shift, limits.call_max, Effect::Shift { share, mirror, generation })
                }
            }
        }
        Phase::Paused { resume: Resume::Queued, until } => vec![wake(*until)],
        Phase::CanaryWaiting { until, .. }
        | Phase::AwaitingApproval { until, .. }
        | Phase::Paused { until, .. } => {
            vec![measure(plan), wake(*until)]
        }
        Phase::CanaryEvaluating { .. } | Phase::Verifying { .. } => vec![measure(plan)],
        Phase::Promoting(tries) => {
            once(*tries, What::Promote, limits.call_max, Effect::Promote { generation: generation(*tries) })
        }
        Phase::Retiring(tries) => {
            let effect = Effect::Retire { new: false, generation: generation(*tries) };
            once(*tries, What::Retire, limits.retire_max, effect)
        }
        Phase::RollingBack { step: Step::Traffic, tries } => {
            once(*tries, What::Restore, limits.call_max, Effect::Restore { generation: generation(*tries) })
        }
        Phase::RollingBack { step: Step::Instances, tries } => {
            let effect = Effect::Retire { new: true, generation: generation(*tries) };
            once(*tries, What::Retire, limits.retire_max, effect)
        }
        Phase::Queued
        | Phase::Verified
        | Phase::RolledBack
        | Phase::Stuck
        | Phase::Failed
        | Phase::Cancelled => Vec::new(),
    }
}

/// The kind of the effect whose outcome moves this phase on; `None` where only measuring and time do.
pub(super) const fn expected(phase: &Phase) -> Option<What> {
    match phase {
        Phase::Checking(_) => Some(What::Check),
        Phase::Init(_) | Phase::Promoted(_) => Some(What::Read),
        Phase::Building(_) => Some(What::Build),
        Phase::Deploying(_) | Phase::Canary { step: Step::Instances, .. } => Some(What::Scale),
        Phase::Canary { step: Step::Traffic, .. } => Some(What::Shift),
        Phase::Promoting(_) => Some(What::Promote),
        Phase::Retiring(_) | Phase::RollingBack { step: Step::Instances, .. } => Some(What::Retire),
        Phase::RollingBack { step: Step::Traffic, .. } => Some(What::Restore),
        Phase::Queued
        | Phase::AwaitingApproval { .. }
        | Phase::CanaryWaiting { .. }
        | Phase::CanaryEvaluating { .. }
        | Phase::Verifying { .. }
        | Phase::Paused { .. }
        | Phase::Verified
        | Phase::RolledBack
        | Phase::Stuck
        | Phase::Failed
        | Phase::Cancelled => None,
    }
}

/// What an effect concerns: forward the stage's wave, unless a person hurries; on the way back what the plan says. What is
/// measured is both releases wherever they are: one verdict.
fn reach(plan: &Plan, state: &State, what: What) -> Reach {
    let wave = |stage: usize| plan.stage(stage).map_or(0, |stage| stage.wave);
    match what {
        _ if state.hurried => Reach::All,
        What::Scale | What::Shift => Reach::Wave(wave(state.stage().unwrap_or(0))),
        What::Restore | What::Retire => match state.failed_in {
            Some(stage) if plan.back == Back::Wave => Reach::From(wave(stage)),
            Some(_) | None => Reach::All,
        },
        What::Check | What::Read | What::Build | What::Measure | What::Promote | What::Wake => Reach::All,
    }
}

/// One more look at the counters.
pub(super) fn measure(plan: &Plan) -> Owed {
    Owed {
        key: Key { intent: 0, what: What::Measure },
        attempt: 0,
        not_before: Timestamp(i64::MIN),
        within: plan.limits.call_max,
        reach: Reach::All,
        effect: Effect::Measure { every: plan.limits.look_every },
    }
}

const fn wake(at: Timestamp) -> Owed {
    Owed {
        key: Key { intent: 0, what: What::Wake },
        attempt: 0,
        not_before: at,
        within: Millis::ZERO,
        reach: Reach::All,
        effect: Effect::Wake { at },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        deployment::{
            event::{Cause, Event, Recorded},
            evolve::evolve,
            table::sample_plan,
        },
        model::Actor,
        plan::Stage,
    };

    /// The sample plan's three stages for each of two waves.
    fn two_waves(back: Back) -> Plan {
        let mut plan = sample_plan();
        let second: Vec<Stage> = plan.stages.iter().map(|stage| Stage { wave: 1, ..stage.clone() }).collect();
        plan.stages.extend(second);
        Plan { back, ..plan }
    }

    fn reach_of(plan: &Plan, state: &State) -> Option<Reach> {
        owed(plan, state).first().map(|owed| owed.reach)
    }

    #[test]
    fn a_new_wave_starts_its_own_instances_and_what_turns_back_is_what_the_plan_says() {
        let plan = two_waves(Back::Wave);
        let at = Timestamp(0);
        let evaluating = Phase::CanaryEvaluating { stage: 2, held_until: None };
        let passed = State { phase: evaluating, exposed: Some(2), instances: 4, ..State::planned(at) };
        let event = |event| Recorded { seq: 9, at, actor: Actor::engine(), event };
        let next = evolve(&plan, passed.clone(), &event(Event::StagePassed { stage: 2, by_hand: false }));
        let starts = matches!(next.phase, Phase::Canary { stage: 3, step: Step::Instances, .. });
        assert!(starts, "it has enough, but in other cells: {:?}", next.phase);
        assert_eq!(reach_of(&plan, &next), Some(Reach::Wave(1)));

        let began = event(Event::RollbackBegan { cause: Cause::Aborted { reason: String::new() } });
        let back = evolve(&plan, next.clone(), &began);
        assert_eq!(reach_of(&plan, &back), Some(Reach::From(1)), "the wave that failed");
        assert_eq!(reach_of(&two_waves(Back::All), &back), Some(Reach::All));
        let first = evolve(&plan, passed, &began);
        assert_eq!(reach_of(&plan, &first), Some(Reach::From(0)), "the first one: all of them");
        let verifying = State { phase: Phase::Verifying { until: at }, ..State::planned(at) };
        let late = evolve(&plan, verifying, &began);
        assert_eq!(reach_of(&plan, &late), Some(Reach::All), "after promotion no wave is good for itself");
        let hurried = State { hurried: true, ..next };
        assert_eq!(reach_of(&plan, &hurried), Some(Reach::All), "who hurries means everything");
    }
}
