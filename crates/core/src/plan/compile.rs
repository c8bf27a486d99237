//! The plan compiler: every strategy is a function that makes the same list of stages.

use alloc::{
    format,
    string::{String, ToString},
    vec,
    vec::Vec,
};

use serde::{Deserialize, Serialize};

use super::{Back, Known, Limits, PLAN_VERSION, Plan, Stage, assess::assess};
use crate::{
    gate::{Conditions, Gate, OnInconclusive, OnNoEvidence, Rule},
    judge,
    model::{Criticality, Millis, Release, Share, Strategy},
};

/// What is asked for, with every fact the compiler needs. Kept beside the plan, so that a deployment that had to wait can
/// be planned again when the stable release has changed meanwhile.
#[expect(clippy::struct_excessive_bools, reason = "each is a wish of its own that may go with any other")]
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The deployment's id.
    pub deployment: String,
    /// The service.
    pub service: String,
    /// The environment.
    pub environment: String,
    /// How much harm a failure does.
    pub criticality: Criticality,
    /// The service's how-many-eth deployment, from 1.
    pub turn: u64,
    /// What is rolled out.
    pub release: Release,
    /// The last good release.
    pub stable: Option<Release>,
    /// What is to be said of it: what took the place of the one that the journal has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stable_note: Option<String>,
    /// The strategy.
    pub strategy: StrategySpec,
    /// A shadow phase before the first exposure.
    pub shadow: Option<Shadow>,
    /// The gates of every stage and of the watch.
    pub gates: Vec<Gate>,
    /// Instances that carry all traffic.
    pub instances: u32,
    /// The watch period.
    pub watch: Millis,
    /// The canary lease.
    pub lease: Option<Millis>,
    /// Bounds.
    pub limits: Limits,
    /// What the sequential gates share.
    #[serde(default)]
    pub judge: judge::Settings,
    /// Metrics of other sources.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub metrics: Vec<judge::Metric>,
    /// The incident that the release is to fix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub incident: Option<Incident>,
    /// What is known of the release beforehand; nothing when nobody looked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<Known>,
    /// Whether this is a way back.
    pub way_back: bool,
    /// Whether a release that is identical to the running one is rolled out all the same.
    pub again: bool,
    /// Whether a person wants it although its content was turned back by a gate before.
    #[serde(default)]
    pub lifted: bool,
    /// Whether whatever is under way for the service has to make room. Kept here so that an engine that dies between
    /// taking the request and asking the others asks them after its restart.
    #[serde(default)]
    pub supersedes: bool,
    /// Waves that the target's cells are in; nothing and one are the same. Each goes through all steps before the next.
    #[serde(default, skip_serializing_if = "Waves::is_one")]
    pub waves: Waves,
    /// What the target says of the release beforehand: exceptions from its rules, and the like.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// What it says of shares that it can only come near to; without a stable release there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub share_notes: Vec<String>,
}

impl Request {
    /// A request with what cannot be left out: to production, criticality medium, one instance, without gates, watch and
    /// lease, as a service's first deployment.
    pub fn new(service: &str, release: Release, strategy: StrategySpec) -> Self {
        Self {
            deployment: String::new(),
            service: service.to_string(),
            environment: "production".to_string(),
            criticality: Criticality::Medium,
            turn: 1,
            release,
            stable: None,
            stable_note: None,
            strategy,
            shadow: None,
            gates: Vec::new(),
            instances: 1,
            watch: Millis::ZERO,
            lease: None,
            limits: Limits::default(),
            judge: judge::Settings::default(),
            metrics: Vec::new(),
            incident: None,
            confidence: None,
            way_back: false,
            again: false,
            lifted: false,
            supersedes: false,
            waves: Waves::default(),
            notes: Vec::new(),
            share_notes: Vec::new(),
        }
    }
}

/// The waves in which a target's cells are rolled out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waves {
    /// How many; 0 counts as 1.
    pub count: u16,
    /// What turns back when a stage fails.
    pub back: Back,
}

impl Waves {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    const fn is_one(&self) -> bool {
        self.count <= 1
    }
}

/// An incident that a release is to fix: at the end of the watch it is fixed, or the release goes back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Incident {
    /// Its id in the incident system.
    pub id: String,
    /// The metric that shows it.
    pub metric: String,
    /// When it is fixed.
    pub fixed: Conditions,
}

impl Incident {
    /// The gate of the watch: bad values turn nothing back before its end, where the last one has to be good.
    fn gate(&self) -> Gate {
        Gate {
            metric: Some(self.metric.clone()),
            on_no_evidence: OnNoEvidence::RollBack,
            on_inconclusive: OnInconclusive::RollBack,
            ..Gate::new(
                &format!("incident {}", self.id),
                Rule::Metric(Conditions { failures_max: Conditions::AT_THE_END, ..self.fixed.clone() }),
            )
        }
    }
}

/// A strategy with its settings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StrategySpec {
    /// Shares in order; a last step of 100 % is added when it is missing.
    Canary {
        /// The steps.
        steps: Vec<Step>,
    },
    /// All instances beside the old ones, then one switch.
    BlueGreen {
        /// Time the switched release is watched.
        bake: Millis,
        /// Time all new instances must stay ready before the switch.
        preview: Millis,
        /// Whether a person must agree to the switch.
        approval: bool,
    },
    /// Instances in batches, traffic in proportion.
    Rolling {
        /// Size of a batch.
        batch: Batch,
        /// Time each batch is watched.
        bake: Millis,
    },
    /// One switch, as soon as the release is ready.
    AllAtOnce {
        /// Time the switched release is watched.
        bake: Millis,
    },
}

/// One step of a canary.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Share of traffic.
    pub share: Share,
    /// How long it is watched.
    pub bake: Millis,
    /// Whether a person must agree first.
    pub approval: bool,
}

/// Size of a batch of instances; at least one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Batch {
    /// So many instances.
    Count(u32),
    /// This share of them, rounded up.
    Share(Share),
}

/// A shadow phase.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shadow {
    /// Share of requests that are copied.
    pub share: Share,
    /// How long.
    pub bake: Millis,
    /// Share of the copies that may fail or be answered with another status.
    #[serde(default = "Shadow::usual")]
    pub status_max: Share,
    /// Share of the copies with the same status that may have another body.
    #[serde(default = "Shadow::usual")]
    pub body_max: Share,
    /// Share of the copies that may take more than twice as long, and 10 ms more.
    #[serde(default = "Shadow::slow")]
    pub slower_max: Share,
}

impl Shadow {
    /// A phase with the usual limits.
    pub const fn new(share: Share, bake: Millis) -> Self {
        Self { share, bake, status_max: Self::usual(), body_max: Self::usual(), slower_max: Self::slow() }
    }

    /// 1 %: what is allowed to differ when nothing is said.
    pub const fn usual() -> Share {
        Share::percent(1)
    }

    /// 5 %: what is allowed to be slower when nothing is said.
    pub const fn slow() -> Share {
        Share::percent(5)
    }

    fn gate(self) -> Gate {
        let Self { status_max, body_max, slower_max, .. } = self;
        Gate {
            on_no_evidence: OnNoEvidence::Continue,
            ..Gate::new("shadow", Rule::Shadow { status_max, body_max, slower_max })
        }
    }
}

impl StrategySpec {
    /// The seed's canary: 5 %, 25 %, 50 %, 100 %, 60 s each.
    pub fn standard_canary() -> Self {
        let step = |percent| Step { share: Share::percent(percent), bake: Millis::secs(60), approval: false };
        Self::Canary { steps: [5, 25, 50, 100].map(step).to_vec() }
    }

    const fn name(&self) -> Strategy {
        match self {
            Self::Canary { .. } => Strategy::Canary,
            Self::BlueGreen { .. } => Strategy::BlueGreen,
            Self::Rolling { .. } => Strategy::Rolling,
            Self::AllAtOnce { .. } => Strategy::AllAtOnce,
        }
    }
}

/// Why no plan could be made.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The release is the one that is running.
    #[error(
        "release {tag} is what `{service}` already runs ({artifact}); change something, or use `tidegate deploy --again`"
    )]
    Unchanged {
        /// The service.
        service: String,
        /// The running release's tag.
        tag: String,
        /// What it is made of.
        artifact: String,
    },
    /// Shares must rise from step to step.
    #[error(
        "canary step {step} has {share} after {before}: shares must rise; remove the step or give it more"
    )]
    NotRising {
        /// Number of the step, from 1.
        step: usize,
        /// Its share.
        share: Share,
        /// The share before.
        before: Share,
    },
    /// The safety gates say no.
    #[error(
        "release {tag} of `{service}` is refused: {why}; settle that, then write the safety report again"
    )]
    Refused {
        /// The service.
        service: String,
        /// The release.
        tag: String,
        /// What they say.
        why: String,
    },
    /// Confidence is too low to start, and it decides.
    #[error(
        "release {tag} of `{service}` does not start: {why}, 60 are needed ({factors}); see `tidegate plan`"
    )]
    LowConfidence {
        /// The service.
        service: String,
        /// The release.
        tag: String,
        /// The score.
        why: String,
        /// What it was worked out from.
        factors: String,
    },
    /// No step, no instance or no batch.
    #[error("{what} must be at least 1")]
    Nothing {
        /// What is missing.
        what: &'static str,
    },
}

/// Works a strategy out into stages. A service's first deployment has nothing to compare with or to return to: it is one
/// switch, whatever the strategy, and its gates ask only what needs no baseline.
pub fn compile(request: Request) -> Result<Plan, PlanError> {
    if request.instances == 0 {
        return Err(PlanError::Nothing { what: "the number of instances" });
    }
    if let Some(running) =
        request.stable.as_ref().filter(|old| !request.again && old.same_content(&request.release))
    {
        return Err(PlanError::Unchanged {
            service: request.service,
            tag: running.tag.clone(),
            artifact: running.artifact.to_string(),
        });
    }
    let mut notes = if request.stable.is_some() { request.share_notes.clone() } else { Vec::new() };
    if !request.way_back {
        notes.extend(request.notes.iter().cloned());
    }
    if request.release.is_dirty() && !request.way_back {
        notes.push("uncommitted changes are in the release: no commit holds what is rolled out".to_string());
    }
    if request.judge.observe {
        notes
            .push("the gates only observe: what they find is said, and nothing is done about it".to_string());
    }
    let strategy = request.strategy.name();
    let mut stages = match (&request.stable, request.way_back) {
        (None, _) => {
            notes.push(format!(
                "first deployment of `{}`: nothing to compare with, so it is one switch without comparing gates",
                request.service
            ));
            first(&request)
        }
        (Some(_), true) => vec![way_back(&request)],
        (Some(_), false) => {
            in_waves(request.waves.count, with_shadow(&request, stages(&request)?), &mut notes)
        }
    };
    let waves = stages.last().map_or(0, |stage| usize::from(stage.wave)) + 1;
    at_their_steps(&mut stages, waves, request.shadow.is_some() && !request.way_back);
    let (watch, watch_gates) = watch(&request, &mut notes);
    let confidence = assess(&request, &mut stages, &mut notes)?;
    Ok(Plan {
        version: PLAN_VERSION,
        deployment: request.deployment,
        service: request.service,
        environment: request.environment,
        criticality: request.criticality,
        turn: request.turn,
        release: request.release,
        stable: request.stable,
        stable_note: request.stable_note,
        strategy,
        stages,
        back: request.waves.back,
        watch,
        watch_gates,
        lease: request.lease,
        limits: request.limits,
        judge: request.judge,
        metrics: request.metrics,
        confidence,
        way_back: request.way_back,
        notes,
    })
}

fn stages(request: &Request) -> Result<Vec<Stage>, PlanError> {
    match &request.strategy {
        StrategySpec::Canary { steps } => canary(request, steps),
        StrategySpec::BlueGreen { bake, preview, approval } => {
            Ok(blue_green(request, *bake, *preview, *approval))
        }
        StrategySpec::Rolling { batch, bake } => rolling(request, *batch, *bake),
        StrategySpec::AllAtOnce { bake } => {
            Ok(vec![stage(request, "switch".to_string(), Share::ALL, request.instances, *bake)])
        }
    }
}

/// The same stages for each wave. What is counted is counted in all cells together, so no number of requests is expected of a
/// share that only some of them have.
fn in_waves(count: u16, mut stages: Vec<Stage>, notes: &mut Vec<String>) -> Vec<Stage> {
    if count <= 1 {
        return stages;
    }
    let rate = |gate: &Gate| matches!(gate.rule, Rule::RequestRate { .. });
    if stages.iter().flat_map(|stage| &stage.gates).any(rate) {
        notes.push(
            "`request_rate` is not asked: the share is that of a wave, requests are counted in all; a step's share is what was read \
             back"
                .to_string(),
        );
    }
    for stage in &mut stages {
        stage.gates.retain(|gate| !rate(gate));
    }
    let named = |wave: u16, stage: &Stage| Stage {
        name: format!("wave {} of {count}: {}", wave + 1, stage.name),
        wave,
        ..stage.clone()
    };
    (0..count).flat_map(|wave| stages.iter().map(move |stage| named(wave, stage))).collect()
}

fn canary(request: &Request, steps: &[Step]) -> Result<Vec<Stage>, PlanError> {
    let Some(last) = steps.last() else {
        return Err(PlanError::Nothing { what: "the number of canary steps" });
    };
    let missing = (!last.share.is_all()).then_some(Step { share: Share::ALL, approval: false, ..*last });
    let mut before = Share::NONE;
    let mut stages = Vec::new();
    for (number, step) in steps.iter().chain(missing.iter()).enumerate() {
        if step.share <= before {
            return Err(PlanError::NotRising { step: number + 1, share: step.share, before });
        }
        before = step.share;
        let instances = needed(request.instances, step.share);
        let name = format!("canary {}", step.share);
        stages.push(Stage {
            approval: step.approval,
            ..stage(request, name, step.share, instances, step.bake)
        });
    }
    Ok(stages)
}

fn blue_green(request: &Request, bake: Millis, preview: Millis, approval: bool) -> Vec<Stage> {
    let all = request.instances;
    let before = Stage {
        gates: of_preview(request),
        ..stage(request, "preview".to_string(), Share::NONE, all, preview)
    };
    let switch = Stage { approval, ..stage(request, "switch".to_string(), Share::ALL, all, bake) };
    vec![before, switch]
}

/// Whether the instances live, and what names this step.
fn of_preview(request: &Request) -> Vec<Gate> {
    gates_of(request)
        .into_iter()
        .filter(|gate| gate.rule == Rule::Instances || !gate.steps.is_empty())
        .collect()
}

/// Gates that name their steps are asked at them only. Here they get the numbers of the plan's stages: a phase of copies
/// stands before the first step, and each wave has all of them.
fn at_their_steps(stages: &mut [Stage], waves: usize, shadowed: bool) {
    let in_wave = stages.len() / waves;
    for (number, stage) in stages.iter_mut().enumerate() {
        for gate in &mut stage.gates {
            let of_wave = |wave: usize| {
                gate.steps.iter().map(move |step| step + usize::from(shadowed) + wave * in_wave)
            };
            gate.steps = (0..waves).flat_map(of_wave).collect();
        }
        stage.gates.retain(|gate| gate.is_asked_at(Some(number)));
    }
}

fn rolling(request: &Request, batch: Batch, bake: Millis) -> Result<Vec<Stage>, PlanError> {
    let all = request.instances;
    let size = match batch {
        Batch::Count(0) => return Err(PlanError::Nothing { what: "the batch" }),
        Batch::Count(count) => count,
        Batch::Share(share) => needed(all, share),
    };
    let batches = all.div_ceil(size.max(1));
    Ok((1..=batches)
        .map(|number| {
            let instances = number.saturating_mul(size).min(all);
            let name = format!("batch {number} of {batches}");
            stage(request, name, Share::ratio(instances, all), instances, bake)
        })
        .collect())
}

/// One switch with the gates that need no baseline, none of which waits for traffic.
fn first(request: &Request) -> Vec<Stage> {
    let bake = match &request.strategy {
        StrategySpec::Canary { steps } => steps.first().map_or(Millis::ZERO, |step| step.bake),
        StrategySpec::BlueGreen { bake, .. }
        | StrategySpec::Rolling { bake, .. }
        | StrategySpec::AllAtOnce { bake } => *bake,
    };
    let mut only =
        stage(request, "first".to_string(), Share::ALL, request.instances, bake.min(Millis::secs(10)));
    only.gates.retain(|gate| gate.steps.is_empty() && !compares(gate));
    for gate in &mut only.gates {
        gate.on_no_evidence = OnNoEvidence::Continue;
    }
    vec![only]
}

/// A way back is one switch, at once: the release was good before, and nothing may hold it up.
fn way_back(request: &Request) -> Stage {
    Stage {
        gates: vec![Gate { on_no_evidence: OnNoEvidence::Continue, ..instances_gate() }],
        ..stage(request, "way back".to_string(), Share::ALL, request.instances, Millis::ZERO)
    }
}

fn with_shadow(request: &Request, mut stages: Vec<Stage>) -> Vec<Stage> {
    if let Some(shadow) = request.shadow {
        let instances = needed(request.instances, shadow.share);
        let phase = Stage {
            mirror: shadow.share,
            gates: of_copies(request, shadow),
            ..stage(request, format!("shadow {}", shadow.share), Share::NONE, instances, shadow.bake)
        };
        // Instances are never stopped between stages: what the shadow needed stays.
        for stage in &mut stages {
            stage.instances = stage.instances.max(phase.instances);
        }
        stages.insert(0, phase);
    }
    stages
}

/// What is asked of answers that nobody gets: how they differ from those that users got, and what the release's own metrics say,
/// which count copies like any other request. A metric of the users' own may mean something else without users.
fn of_copies(request: &Request, shadow: Shadow) -> Vec<Gate> {
    let counts = |gate: &&Gate| {
        let of_requests =
            matches!(gate.rule, Rule::ErrorRate { .. } | Rule::Latency { .. } | Rule::LatencyShift { .. });
        of_requests && gate.metric.is_some() && gate.asks_batches() && gate.steps.is_empty()
    };
    let metrics = request.gates.iter().filter(counts).cloned();
    // Nobody waits for a shadow: with too few copies the exposure that follows will tell.
    let (on_no_evidence, on_inconclusive) = (OnNoEvidence::Continue, OnInconclusive::Promote);
    let metrics = metrics.map(|gate| Gate { on_no_evidence, on_inconclusive, ..gate });
    [instances_gate(), acting(request, shadow.gate())].into_iter().chain(metrics).collect()
}

/// The watch after promotion: what compares is compared with the stable release's last traffic. It never waits for
/// traffic: the release is promoted already, and a quiet night is no reason to turn back.
fn watch(request: &Request, notes: &mut Vec<String>) -> (Millis, Vec<Gate>) {
    let first = request.stable.is_none();
    let gates = gates_of(request)
        .into_iter()
        .filter(|gate| gate.steps.is_empty() && !(first && compares(gate)))
        .map(|gate| Gate { on_no_evidence: OnNoEvidence::Continue, ..gate })
        .collect();
    if request.way_back || first {
        return (Millis::ZERO, gates);
    }
    let mut gates: Vec<Gate> = gates;
    match &request.incident {
        Some(incident) if request.watch == Millis::ZERO => notes.push(format!(
            "incident {} cannot be checked: there is no watch period; give `watch` a length",
            incident.id
        )),
        Some(incident) => {
            let otherwise =
                if request.judge.observe { "or that is said" } else { "or the release goes back" };
            notes.push(format!("at the end of the watch incident {} is fixed, {otherwise}", incident.id));
            gates.push(acting(request, incident.gate()));
        }
        None => {}
    }
    if request.watch == Millis::ZERO {
        notes.push("no watch period: the last good release is stopped right after promotion".to_string());
    }
    (request.watch, gates)
}

fn stage(request: &Request, name: String, share: Share, instances: u32, bake: Millis) -> Stage {
    let gates = gates_of(request);
    Stage { name, share, mirror: Share::NONE, instances, bake, gates, approval: false, wave: 0 }
}

fn gates_of(request: &Request) -> Vec<Gate> {
    let mut gates = vec![instances_gate()];
    gates.extend(request.gates.iter().cloned());
    gates
}

/// A gate of the compiler's own; where the configured ones only observe, so does it.
fn acting(request: &Request, gate: Gate) -> Gate {
    if request.judge.observe { gate.observing() } else { gate }
}

/// Whether the instances live: asked in every stage, whatever is configured.
fn instances_gate() -> Gate {
    Gate { min_requests: 0, ..Gate::new("instances", Rule::Instances) }
}

const fn compares(gate: &Gate) -> bool {
    match gate.rule {
        Rule::ErrorRate { .. } | Rule::RequestRate { .. } | Rule::LatencyShift { .. } | Rule::Goal { .. } => {
            true
        }
        Rule::Latency { .. }
        | Rule::Cpu { .. }
        | Rule::Memory { .. }
        | Rule::Instances
        | Rule::Shadow { .. }
        | Rule::Metric(_)
        | Rule::Analysis(_) => false,
    }
}

/// Instances that carry this share of what `all` carry, at least one.
fn needed(all: u32, share: Share) -> u32 {
    let exact = (u64::from(all) * u64::from(share.basis_points())).div_ceil(10_000);
    u32::try_from(exact).unwrap_or(all).clamp(1, all)
}

#[cfg(test)]
pub(crate) mod tests;
