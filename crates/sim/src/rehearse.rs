//! A deployment, rehearsed: the real core and engine run the given request against an imagined world, in no time.

use std::fmt;

use tidegate_core::{
    deployment::{Event, Recorded, State, StateName},
    model::{Millis, Share},
    plan::{self, PlanError, Request},
};
use tidegate_engine::QueuePolicy;

use crate::{
    fate::{Fates, Rates},
    law::Violation,
    play::{DAWN, Play},
    scenario::{Happening, Scenario, Service},
    target::Health,
};

/// Requests per second that the imagined service gets.
const RATE: u64 = 50;

/// What goes wrong in a rehearsal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The release fails requests from this stage on, counted from 0.
    ErrorsFrom(usize),
    /// The release is slow from this stage on, counted from 0.
    SlowFrom(usize),
    /// The release's instances crash from this stage on, counted from 0.
    CrashLoopFrom(usize),
    /// The control plane is killed in the middle, and comes back after this long.
    ControlPlaneKilled {
        /// How long it is away.
        away: Millis,
    },
}

/// One line of a rehearsal: what happened, and where the deployment was then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Time since the request.
    pub at: Millis,
    /// The deployment.
    pub deployment: String,
    /// Where it was after the event.
    pub state: StateName,
    /// The event's name in the journal.
    pub event: &'static str,
    /// The event's own words; may be empty.
    pub detail: String,
}

impl Line {
    pub(crate) fn new((now, deployment, recorded, state): (i64, String, Recorded, State)) -> Self {
        let at = Millis(u64::try_from(now - DAWN).unwrap_or(0));
        let (state, event) = (state.name(), recorded.event.name());
        Self { at, deployment, state, event, detail: detail(&recorded.event) }
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (at, state) = (self.at.to_string(), self.state.as_str());
        write!(f, "{at:>12}  {state:18} {:16} {}", self.event, self.detail)
    }
}

/// What a rehearsal showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transcript {
    /// Everything that happened, in order.
    pub lines: Vec<Line>,
    /// How the deployment ended; `None` when it did not begin.
    pub outcome: Option<StateName>,
    /// Times the control plane was started.
    pub lives: u64,
    /// Laws that were broken: a defect of this program, never of the plan.
    pub violations: Vec<Violation>,
}

impl fmt::Display for Transcript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.lines.iter().try_for_each(|line| writeln!(f, "{}", line.to_string().trim_end()))
    }
}

/// Rehearses a request. `deployment` and `turn` are given anew; `stable` is what runs in the imagined world.
///
/// The same request, faults and seed give the same transcript. Approvals are given, and pauses ended, within ten minutes.
///
/// # Errors
/// When no plan can be made of the request.
pub fn rehearse(request: Request, faults: &[Fault], seed: u64) -> Result<Transcript, PlanError> {
    let plan = plan::compile(request.clone())?;
    let share_of = |stage: usize| {
        let stage = plan.stages.get(stage).or(plan.stages.last());
        stage.map_or(Share::ALL, |stage| stage.share).basis_points()
    };
    let health = faults.iter().find_map(|fault| match *fault {
        Fault::ErrorsFrom(stage) => Some(Health::Errors { from_bp: share_of(stage) }),
        Fault::SlowFrom(stage) => Some(Health::Slow { from_bp: share_of(stage) }),
        Fault::CrashLoopFrom(stage) => Some(Health::CrashLoop { from_bp: share_of(stage) }),
        Fault::ControlPlaneKilled { .. } => None,
    });
    let bakes: u64 = plan.stages.iter().map(|stage| stage.bake.0).sum();
    let middle = i64::try_from(bakes / 2).unwrap_or(0) + 20_000;
    let kills = faults.iter().filter_map(|fault| match *fault {
        Fault::ControlPlaneKilled { away } => {
            let down = i64::try_from(away.0).unwrap_or(i64::MAX / 4);
            Some((middle, Happening::Kill { down, survivors: 0, set_back: 0 }))
        }
        Fault::ErrorsFrom(_) | Fault::SlowFrom(_) | Fault::CrashLoopFrom(_) => None,
    });
    let service = Service {
        name: request.service.clone(),
        instances: request.instances,
        rate: RATE,
        stable: request.stable.clone().map(|release| Request {
            deployment: "before".to_owned(),
            turn: request.turn.saturating_sub(1).max(1),
            stable: None,
            release,
            ..request.clone()
        }),
    };
    let submit = Happening::Submit {
        key: "rehearsal".to_owned(),
        request: Box::new(request),
        queue: QueuePolicy::Wait,
        health: health.unwrap_or_default(),
        sends: 0,
    };
    let rates = Rates { append: 0, call: 0, reading: 0 };
    let scenario = Scenario {
        services: vec![service],
        agenda: [(0, submit)].into_iter().chain(kills).collect(),
        weather: Vec::new(),
        fates: Fates::Dice { rng: fastrand::Rng::with_seed(seed), rates, until: DAWN, slowest: 20 },
        well_at: 0,
        keeps_lines: true,
    };
    let report = Play::new(scenario).run();
    let outcome = report.ends.get("rehearsal").map(|(state, _)| *state);
    Ok(Transcript { lines: report.lines, outcome, lives: report.restarts, violations: report.violations })
}

fn detail(event: &Event) -> String {
    match event {
        Event::Planned { plan, .. } => {
            format!("{} in {} stages ({})", plan.release.tag, plan.stages.len(), plan.strategy)
        }
        Event::Deployed { instances } | Event::Scaled { instances, .. } => {
            format!("{instances} instances ready")
        }
        Event::Judged { judgements, .. } => {
            let said = judgements.iter().map(|one| format!("{} {}", one.gate, one.verdict));
            said.collect::<Vec<_>>().join(", ")
        }
        Event::Exposed { stage, .. }
        | Event::StagePassed { stage, by_hand: false }
        | Event::ApprovalAsked { stage, .. }
        | Event::Approved { stage } => format!("stage {}", stage + 1),
        Event::StagePassed { stage, by_hand: true } => format!("stage {}, by hand", stage + 1),
        Event::Tried { what, attempt, reason, .. } => format!("{what}, try {}: {reason}", attempt + 1),
        Event::Reopened { why, .. } => why.clone(),
        Event::RollbackBegan { cause } => cause.to_string(),
        Event::Retired { release } => release.clone(),
        Event::RetireGivenUp { release, reason } => format!("{release}: {reason}"),
        Event::Stuck { reason }
        | Event::Failed { reason, .. }
        | Event::Cancelled { reason }
        | Event::Abandoned { reason }
        | Event::Paused { reason, .. }
        | Event::PauseAsked { reason } => reason.clone(),
        Event::Replanned { .. }
        | Event::Admitted
        | Event::Checked
        | Event::Initialised { .. }
        | Event::Built
        | Event::Baked { .. }
        | Event::Held { .. }
        | Event::Hurried { .. }
        | Event::Promoted
        | Event::WatchOpened { .. }
        | Event::WatchPassed { .. }
        | Event::Verified
        | Event::Resumed
        | Event::Restored
        | Event::RolledBack
        | Event::Unstuck => String::new(),
    }
}
