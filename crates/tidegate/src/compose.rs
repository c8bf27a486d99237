//! From a configuration to a request for a deployment: the one place that knows both sides' words.

use std::{collections::BTreeMap, path::Path};

use tidegate_adapters::local::{LocalSpec, Manifest, Program, Routing, Source};
use tidegate_core::{
    gate::{Analysis, Conditions, Gate, Mode, OnFailure, OnInconclusive, OnNoEvidence, Rule},
    judge::Metric,
    model::{Artifact, Millis, Release, Share},
    plan::{Batch, Limits, Request, Shadow, Step, StrategySpec, Waves},
};
use tidegate_engine::QueuePolicy;
use tidegate_proxy::protocol as wire;

mod blast;
pub(crate) mod kubernetes;
pub(crate) mod manifest;

use crate::{
    config::{
        self,
        gates::{ErrorRateGate, Gates, LatencyGate, LatencyShiftGate, LevelGate, Policy, RequestRateGate},
        judgement::Judgement,
        metrics::CustomGate,
        routing,
    },
    fault::Fault,
};

/// The parts of a request that the configuration decides. The engine adds id, turn and stable release.
/// Paths in it start from `root`.
pub(crate) fn request(
    root: &Path,
    name: &str,
    service: &config::Service,
    release: Release,
) -> Result<Request, Fault> {
    request_of(root, name, service, release, None)
}

/// The same for a release on Kubernetes whose manifest was read already.
pub(crate) fn request_of(
    root: &Path,
    name: &str,
    service: &config::Service,
    release: Release,
    made: Option<kubernetes::Made<'_>>,
) -> Result<Request, Fault> {
    let strategy = strategy(&service.strategy)?;
    let (share_notes, notes, waves) = match &service.run.kind {
        config::RunKind::Kubernetes(asked) => (
            [kubernetes::notes(asked, &strategy), kubernetes::uncounted(service, &strategy)].concat(),
            blast::notes(root, service, asked, made),
            kubernetes::waves(asked),
        ),
        config::RunKind::Command(_) | config::RunKind::Container(_) => {
            (Vec::new(), Vec::new(), Waves::default())
        }
    };
    Ok(Request {
        environment: service.environment.clone(),
        criticality: service.criticality,
        turn: 0,
        shadow: match &service.shadow {
            Some(shadow) => Some(Shadow {
                status_max: share(shadow.status_max_bp)?,
                body_max: share(shadow.differing_max_bp)?,
                slower_max: share(shadow.slower_max_bp)?,
                ..Shadow::new(share(shadow.share_bp)?, Millis(shadow.bake_ms))
            }),
            None => None,
        },
        gates: marked(gates(&service.gates, &service.judgement)?, service),
        instances: service.run.instances,
        watch: Millis(service.watch_ms),
        lease: service.lease_ms.map(Millis),
        limits: limits(service),
        judge: service.judgement.settings(),
        metrics: metrics(root, service)?,
        waves,
        notes,
        share_notes,
        ..Request::new(name, release, strategy)
    })
}

fn limits(service: &config::Service) -> Limits {
    let limits = Limits { pause_max: Millis(service.pause_max_ms), ..Limits::default() };
    if let config::RunKind::Kubernetes(asked) = &service.run.kind {
        // The target itself ends a start without progress; this bounds what it could have overlooked.
        let pods = asked.replicas.max(asked.autoscale.max.unwrap_or(0));
        let longest = asked.progress_ms.saturating_mul(u64::from(pods)).saturating_add(60_000);
        return Limits {
            scale_max: Millis(longest.min(24 * 3_600_000)),
            call_max: Millis::secs(30),
            ..limits
        };
    }
    let drain = service.routing.limits.drain_websocket_ms;
    Limits {
        scale_max: Millis(service.run.ready.deadline_ms.saturating_add(30_000)),
        retire_max: Millis(drain.saturating_add(service.run.stop.grace_ms).saturating_add(30_000)),
        ..limits
    }
}

/// The Role that a service on Kubernetes needs; nothing for one on this machine.
pub(crate) fn role(root: &Path, service: &config::Service) -> Option<serde_json::Value> {
    match &service.run.kind {
        config::RunKind::Kubernetes(asked) => Some(kubernetes::role(root, asked)),
        config::RunKind::Command(_) | config::RunKind::Container(_) => None,
    }
}

/// What happens to a second deployment.
pub(crate) const fn queue(service: &config::Service) -> QueuePolicy {
    match service.queue {
        config::Queue::Wait => QueuePolicy::Wait,
        config::Queue::Supersede => QueuePolicy::Supersede,
        config::Queue::Reject => QueuePolicy::Reject,
    }
}

/// The release that the project's files make now. `image` is the container image's digest reference, when it is one.
pub(crate) fn release(
    root: &Path,
    service: &config::Service,
    commit: Option<&str>,
    image: Option<String>,
    at_secs: i64,
) -> Result<Release, Fault> {
    let program = match &service.run.kind {
        config::RunKind::Kubernetes(asked) => {
            return kubernetes::release(root, service, asked, commit, image.as_deref(), at_secs);
        }
        config::RunKind::Command(command) => Program::Command {
            argv: command.argv.clone(),
            env: env(root, &command.env),
            directory: command.directory.clone(),
            user: command.user.clone(),
            source: Source {
                root: root.to_owned(),
                files: command.files.clone(),
                exclude: command.exclude.clone(),
            },
        },
        config::RunKind::Container(container) => Program::Container(wire::Container {
            env: env(root, &container.env),
            socket: container.socket.as_deref().map(|socket| absolute(root, socket)),
            ..container.clone()
        }),
    };
    let mut spec = spec(root, service, program);
    let artifact = match (&mut spec.program, image) {
        (Program::Container(container), Some(reference)) => {
            container.image.clone_from(&reference);
            Artifact::Image { reference }
        }
        (Program::Container(container), None) => Artifact::Image { reference: container.image.clone() },
        (Program::Command { source, .. }, _) => {
            Artifact::Files { sha256: Manifest::read(source).map_err(Fault::caller)?.sha256 }
        }
    };
    let spec = spec.target_spec().map_err(Fault::internal)?;
    Ok(Release {
        tag: Release::tag_for(commit, &artifact, at_secs),
        commit: commit.map(str::to_owned),
        artifact,
        spec,
    })
}

fn spec(root: &Path, service: &config::Service, program: Program) -> LocalSpec {
    let run = &service.run;
    LocalSpec {
        program,
        instances: run.instances,
        ready: run.ready.clone(),
        restart: wire::RestartPolicy {
            backoff_ms: run.restart.backoff_ms,
            backoff_max_ms: run.restart.backoff_max_ms,
            crash_loop_count: run.restart.crash_loop,
            crash_loop_window_ms: run.restart.crash_loop_window_ms,
        },
        stop: run.stop.clone(),
        log: wire::LogPolicy { size_max: run.log.size_max_bytes, files_max: run.log.files_max },
        resources: run.resources.clone(),
        routing: routing(root, service),
        keep_releases: service.keep_releases,
    }
}

/// A path of the configuration, which may be relative to it.
fn absolute(root: &Path, path: &str) -> String {
    root.join(path).to_string_lossy().into_owned()
}

fn env(root: &Path, env: &BTreeMap<String, wire::EnvValue>) -> BTreeMap<String, wire::EnvValue> {
    let value = |value: &wire::EnvValue| match value {
        wire::EnvValue::Value(text) => wire::EnvValue::Value(text.clone()),
        wire::EnvValue::File(path) => wire::EnvValue::File(absolute(root, path)),
    };
    env.iter().map(|(name, given)| (name.clone(), value(given))).collect()
}

fn routing(root: &Path, service: &config::Service) -> Routing {
    let tls = service.tls.as_ref().map(|tls| wire::TlsFiles {
        certificate: absolute(root, &tls.certificate),
        key: absolute(root, &tls.key),
    });
    let routing::Routing { sticky, rules, health, limits, maintenance } = &service.routing;
    let shadow = service.shadow.as_ref();
    Routing {
        listen: service
            .listen
            .iter()
            .map(|address| wire::ListenAddress { address: address.to_string(), tls: tls.clone() })
            .collect(),
        sticky: sticky.clone(),
        rules: rules.clone(),
        health: health.clone(),
        limits: wire::Limits {
            connect_ms: limits.connect_ms,
            response_ms: limits.response_ms,
            idle_ms: limits.idle_ms,
            header_read_ms: limits.header_read_ms,
            in_flight_max: limits.in_flight,
            drain_ms: limits.drain_ms,
            drain_upgraded_ms: limits.drain_websocket_ms,
        },
        maintenance: Some(wire::Mode::Maintenance {
            status: maintenance.status,
            body: maintenance.body.clone(),
            retry_after_s: u32::try_from(maintenance.retry_after_ms / 1_000).ok(),
        }),
        mirror_methods: shadow.map(|shadow| shadow.methods.clone()).unwrap_or_default(),
        mirror_body_max: shadow.map_or(0, |shadow| shadow.body_max_bytes),
        mirror_ignore: shadow.and_then(|shadow| shadow.json_ignore.clone()),
    }
}

fn strategy(strategy: &config::Strategy) -> Result<StrategySpec, Fault> {
    Ok(match strategy {
        config::Strategy::Canary(canary) => StrategySpec::Canary {
            steps: canary
                .steps
                .iter()
                .map(|step| {
                    Ok(Step {
                        share: share(step.share_bp)?,
                        bake: Millis(step.bake_ms),
                        approval: step.approval,
                    })
                })
                .collect::<Result<_, Fault>>()?,
        },
        config::Strategy::BlueGreen(green) => StrategySpec::BlueGreen {
            bake: Millis(green.bake_ms),
            // All instances stay ready this long before the switch.
            preview: if green.preview { Millis(green.preview_bake_ms) } else { Millis::ZERO },
            approval: green.approval,
        },
        config::Strategy::Rolling(rolling) => StrategySpec::Rolling {
            batch: match rolling.batch {
                config::Batch::Share(points) => Batch::Share(share(points)?),
                config::Batch::Instances(count) => Batch::Count(count),
            },
            bake: Millis(rolling.bake_ms),
        },
        config::Strategy::AllAtOnce(once) => StrategySpec::AllAtOnce { bake: Millis(once.bake_ms) },
    })
}

/// What to ask other sources.
pub(crate) fn metrics(root: &Path, service: &config::Service) -> Result<Vec<Metric>, Fault> {
    let metric = |(name, metric): (&String, &config::metrics::Metric)| {
        Ok(Metric {
            name: name.clone(),
            source: metric.source().to_owned(),
            query: serde_json::to_string(&metric.spec(root)).map_err(Fault::internal)?,
            every: Millis(metric.every_ms),
            fresh: Millis(metric.fresh_ms),
        })
    };
    service.metrics.iter().map(metric).collect()
}

/// The gates of a service; where it only observes, none of them acts.
pub(crate) fn gates(gates: &Gates, judgement: &Judgement) -> Result<Vec<Gate>, Fault> {
    let mut all = standard(gates)?;
    all.extend(gates.custom.iter().map(|(name, gate)| custom(name, gate)));
    if judgement.observe {
        for gate in &mut all {
            gate.on_failure = OnFailure::Alert;
            gate.on_no_evidence = OnNoEvidence::Continue;
            gate.on_inconclusive = OnInconclusive::Promote;
        }
    }
    Ok(all)
}

/// Where requests with a mark reach the new release whatever its share is, it may get more than that.
fn marked(mut gates: Vec<Gate>, service: &config::Service) -> Vec<Gate> {
    let some = match &service.run.kind {
        config::RunKind::Kubernetes(asked) => !asked.testers.is_empty(),
        config::RunKind::Command(_) | config::RunKind::Container(_) => !service.routing.rules.is_empty(),
    };
    for gate in &mut gates {
        if let Rule::RequestRate { marked, .. } = &mut gate.rule {
            *marked = some;
        }
    }
    gates
}

fn standard(gates: &Gates) -> Result<Vec<Gate>, Fault> {
    let mut all = Vec::new();
    let mut add = |name: &str, policy: &Policy, rule| all.push(gate(name, policy, rule));
    if let Some(ErrorRateGate { ratio_max_milli, floor_bp, policy }) = &gates.error_rate {
        let floor = share(*floor_bp)?;
        add(
            "error_rate",
            policy,
            Rule::ErrorRate { ratio_max_bp: ratio_max_milli.saturating_mul(10), floor },
        );
    }
    if let Some(LatencyShiftGate { ratio_max_milli, policy }) = &gates.latency_shift {
        add("latency_shift", policy, Rule::LatencyShift { ratio_max_bp: ratio_max_milli.saturating_mul(10) });
    }
    for (name, gate, quantile_bp) in
        [("latency_p95", &gates.latency_p95, 9_500), ("latency_p99", &gates.latency_p99, 9_900)]
    {
        if let Some(LatencyGate { limit_ms, policy }) = gate {
            add(name, policy, Rule::Latency { quantile_bp, limit: Millis(*limit_ms) });
        }
    }
    if let Some(LevelGate { limit_bp, policy }) = &gates.cpu {
        add("cpu", policy, Rule::Cpu { limit: share(*limit_bp)? });
    }
    if let Some(LevelGate { limit_bp, policy }) = &gates.memory {
        add("memory", policy, Rule::Memory { limit: share(*limit_bp)? });
    }
    if let Some(RequestRateGate { min_bp, policy }) = &gates.request_rate {
        add("request_rate", policy, Rule::RequestRate { min: share(*min_bp)?, marked: false });
    }
    Ok(all)
}

fn custom(name: &str, gate: &CustomGate) -> Gate {
    let conditions = Conditions {
        success: gate.success.clone(),
        failure: gate.failure.clone(),
        failures_max: gate.failures_max,
        unit: gate.unit.clone(),
    };
    let rule = match (gate.goal_milli, &gate.analysis) {
        (Some(least), _) => Rule::Goal { ratio_min_bp: least.saturating_mul(10) },
        (None, Some(run)) => Rule::Analysis(analysis(conditions, run)),
        (None, None) => Rule::Metric(conditions),
    };
    Gate {
        mode: Mode::Sequential,
        metric: Some(gate.metric.clone()),
        min_requests: 0,
        on_failure: gate.on_failure,
        on_no_evidence: gate.on_no_evidence,
        hold_max: Millis(gate.hold_max_ms),
        on_inconclusive: gate.on_inconclusive,
        steps: gate.steps.clone(),
        ..Gate::new(name, rule)
    }
}

fn analysis(conditions: Conditions, run: &config::metrics::Analysis) -> Analysis {
    let Conditions { success, failure, unit, .. } = conditions;
    Analysis {
        success,
        failure,
        unit,
        count: run.count,
        interval: Millis(run.interval_ms),
        initial_delay: Millis(run.initial_delay_ms),
        failure_limit: run.failure_limit,
        inconclusive_limit: run.inconclusive_limit,
        consecutive_error_limit: run.consecutive_error_limit,
        consecutive_success_limit: run.consecutive_success_limit,
        background: run.background,
    }
}

fn gate(name: &str, policy: &Policy, rule: Rule) -> Gate {
    Gate {
        name: name.to_owned(),
        rule,
        mode: policy.mode,
        metric: policy.metric.clone(),
        min_requests: policy.min_requests,
        on_failure: policy.on_failure,
        on_no_evidence: policy.on_no_evidence,
        hold_max: Millis(policy.hold_max_ms),
        on_inconclusive: policy.on_inconclusive,
        steps: Vec::new(),
    }
}

fn share(points: u16) -> Result<Share, Fault> {
    Share::from_basis_points(points).map_err(Fault::caller)
}
