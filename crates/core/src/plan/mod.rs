//! The plan: a strategy worked out for one release into an ordered list of stages. Compiled once, stored, digested,
//! never edited.

mod assess;
mod compile;

use alloc::{string::String, vec::Vec};

use serde::{Deserialize, Serialize};

pub use assess::{Assessment, Known};
pub use compile::{Batch, Incident, PlanError, Request, Shadow, Step, StrategySpec, Waves, compile};

use crate::{
    gate::Gate,
    judge,
    model::{Criticality, Millis, Release, Share, Strategy},
};

/// Version of the stored plan's format.
pub const PLAN_VERSION: u32 = 1;

/// Everything a deployment will do, decided before it starts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// [`PLAN_VERSION`] when it was made.
    pub version: u32,
    /// The deployment's id.
    pub deployment: String,
    /// The service.
    pub service: String,
    /// The environment.
    pub environment: String,
    /// How much harm a failure does.
    pub criticality: Criticality,
    /// The service's how-many-eth deployment, from 1: orders generations at the target over deployments.
    pub turn: u64,
    /// What is rolled out.
    pub release: Release,
    /// What all traffic returns to; `None` on a service's first deployment.
    pub stable: Option<Release>,
    /// What is to be said of it: what took the place of the one that the journal has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_note: Option<String>,
    /// Which strategy the stages come from.
    pub strategy: Strategy,
    /// The stages, in order; at least one, shares rising within a wave, the last one of each everything.
    pub stages: Vec<Stage>,
    /// What turns back when a stage fails, where there are several waves.
    #[serde(default, skip_serializing_if = "Back::is_all")]
    pub back: Back,
    /// How long the release is watched after promotion, with the last good release kept warm.
    pub watch: Millis,
    /// Gates of the watch.
    pub watch_gates: Vec<Gate>,
    /// When set, traffic returns to stable by itself once the control plane was silent this long.
    pub lease: Option<Millis>,
    /// Bounds on everything that may take long.
    pub limits: Limits,
    /// What the sequential gates share.
    #[serde(default)]
    pub judge: judge::Settings,
    /// Metrics of other sources that the gates ask.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<judge::Metric>,
    /// Confidence in the release before it starts; nothing for a way back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Assessment>,
    /// Whether this is a way back: it is admitted before everything else and passes no gate.
    pub way_back: bool,
    /// What a reader of the plan should know: what was left out, and why.
    pub notes: Vec<String>,
}

/// One step of a plan: an exposure, a bake, gates, perhaps an approval.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stage {
    /// Short name: `canary 5 %`, `shadow`, `switch`.
    pub name: String,
    /// The new release's share of users' traffic.
    pub share: Share,
    /// Share of requests copied to the new release, which answers nobody.
    pub mirror: Share,
    /// Instances of the new release that must be ready first.
    pub instances: u32,
    /// How long the share is watched before the final look.
    pub bake: Millis,
    /// What is asked.
    pub gates: Vec<Gate>,
    /// Whether a person must agree before the stage starts.
    pub approval: bool,
    /// The wave of cells that the stage is of, from 0: its share is theirs. Waves before it have everything, those after it nothing.
    #[serde(default, skip_serializing_if = "is_first")]
    pub wave: u16,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
const fn is_first(wave: &u16) -> bool {
    *wave == 0
}

/// What turns back when a stage fails, where a target has several waves of cells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Back {
    /// Every cell.
    #[default]
    All,
    /// The cells of the wave that failed, and those after it. Waves before it, which were good, keep the new release until the
    /// next deployment.
    Wave,
}

impl Back {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    const fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }
}

/// Bounds on everything that may take long; each says what happens at its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Tries of a forward effect; then the deployment turns back.
    pub attempts_max: u32,
    /// Tries of an effect of the way back but for the first, which returns the traffic; then it is given up and noted.
    pub back_attempts_max: u32,
    /// Tries of returning the traffic; then the deployment is stuck and says so.
    #[serde(default = "restore_attempts_max")]
    pub restore_attempts_max: u32,
    /// First wait between tries; doubled each time up to `backoff_max`.
    pub backoff: Millis,
    /// Longest wait between tries.
    pub backoff_max: Millis,
    /// Longest wait between tries of returning the traffic: nobody is to wait longer once it is possible again.
    #[serde(default = "restore_backoff_max")]
    pub restore_backoff_max: Millis,
    /// Longest pause or wait for approval; then it turns back.
    pub pause_max: Millis,
    /// Time between two early looks at the gates.
    pub look_every: Millis,
    /// Times a stage starts again because the lease ended or a window was lost; then it turns back.
    pub reopen_max: u32,
    /// Longest building of a release; then the try has failed.
    pub build_max: Millis,
    /// Longest start of instances, readiness included; then the try has failed.
    pub scale_max: Millis,
    /// Longest single request to the target; then the try has failed.
    pub call_max: Millis,
    /// Longest drain and stop of a release; then it is left to the supervisor and noted.
    pub retire_max: Millis,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            attempts_max: 5,
            back_attempts_max: 10,
            restore_attempts_max: restore_attempts_max(),
            backoff: Millis(250),
            backoff_max: Millis::secs(10),
            restore_backoff_max: restore_backoff_max(),
            pause_max: Millis::hours(24),
            look_every: Millis(500),
            reopen_max: 3,
            build_max: Millis::minutes(10),
            scale_max: Millis::minutes(5),
            call_max: Millis::secs(10),
            retire_max: Millis::minutes(2),
        }
    }
}

/// Of plans that were stored before there was this limit, too.
const fn restore_attempts_max() -> u32 {
    30
}

/// Of plans that were stored before there was this limit, too.
const fn restore_backoff_max() -> Millis {
    Millis::secs(2)
}

impl Limits {
    /// The wait before try number `attempt` (from 0) of returning the traffic.
    pub fn restore_backoff_before(&self, attempt: u32) -> Millis {
        self.backoff_before(attempt).min(self.restore_backoff_max)
    }

    /// The wait before try number `attempt` (from 0): none before the first.
    pub fn backoff_before(&self, attempt: u32) -> Millis {
        match attempt.checked_sub(1) {
            None => Millis::ZERO,
            Some(doublings) => self.backoff.times(1 << doublings.min(20)).min(self.backoff_max),
        }
    }
}

impl Plan {
    /// The stage with this number, from 0.
    pub fn stage(&self, number: usize) -> Option<&Stage> {
        self.stages.get(number)
    }

    /// The generation at the target for the intention that event number `seq` of this deployment made: rises within a
    /// deployment and over a service's deployments (each has fewer than 100,000 events).
    pub const fn generation(&self, seq: u64) -> u64 {
        self.turn.saturating_mul(100_000).saturating_add(seq)
    }
}
