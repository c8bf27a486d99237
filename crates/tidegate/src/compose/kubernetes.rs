//! From a configuration to a release on Kubernetes.

use std::{collections::BTreeSet, path::Path};

use tidegate_core::{
    model::{Artifact, Release, Share},
    plan::{Batch as PlanBatch, StrategySpec, Waves},
};
use tidegate_kubernetes::{Bound, Cell, Here, KubernetesSpec, Traffic, achieved, pinned};

use super::blast::{self, Ready};
use crate::{
    config::{self, Kubernetes},
    fault::Fault,
};

/// The release that the manifest and the image make now.
pub(super) fn release(
    root: &Path,
    service: &config::Service,
    kubernetes: &Kubernetes,
    commit: Option<&str>,
    image: Option<&str>,
    at_secs: i64,
) -> Result<Release, Fault> {
    let path = root.join(&kubernetes.manifest);
    let manifest = config::manifest(&path, "Deployment").map_err(|why| Fault::refuse(why.to_string()))?;
    super::manifest::template(&path, &manifest, kubernetes, image)
        .map_err(|why| Fault::refuse(format!("no release can be made of the manifest\n\n{why}")))?;
    let made = Made { manifest: &manifest, from: &path.display().to_string() };
    release_of(root, service, kubernetes, made, commit, image, at_secs)
}

/// A Deployment's manifest, and where it is from.
#[derive(Clone, Copy)]
pub(crate) struct Made<'a> {
    pub(crate) manifest: &'a serde_json::Value,
    pub(crate) from: &'a str,
}

/// The same from a manifest that was read already.
pub(crate) fn release_of(
    root: &Path,
    service: &config::Service,
    kubernetes: &Kubernetes,
    made: Made<'_>,
    commit: Option<&str>,
    image: Option<&str>,
    at_secs: i64,
) -> Result<Release, Fault> {
    let image = image.or(kubernetes.image.as_deref());
    let template = pinned(made.manifest, kubernetes.container.as_deref(), image)
        .map_err(|why| Fault::refuse(format!("{}: {why}", made.from)))?;
    let first = template.pointer("/spec/containers/0/image").and_then(serde_json::Value::as_str);
    let reference = image.or(first).unwrap_or_default().to_owned();
    let Ready { template, belongings, .. } = blast::ready(root, service, kubernetes, made.from, &template)?;
    let spec = KubernetesSpec {
        kubeconfig: kubernetes.kubeconfig.as_ref().map(|file| root.join(file)),
        context: kubernetes.context.clone(),
        namespace: kubernetes.namespace.clone(),
        replicas: kubernetes.replicas,
        template: template.into(),
        adopted: None,
        adopt_rollout: kubernetes.adopt_rollout.clone(),
        service: kubernetes.service.clone(),
        port: kubernetes.port,
        preview: kubernetes.preview.clone().unwrap_or_default(),
        traffic: traffic(&kubernetes.traffic),
        testers: kubernetes.testers.clone(),
        surge: bound(kubernetes.surge),
        unavailable: bound(kubernetes.unavailable),
        progress_ms: kubernetes.progress_ms,
        back_percent: u8::try_from(kubernetes.way_back_bp.div_ceil(100)).unwrap_or(100),
        keep_releases: service.keep_releases,
        cells: cells(root, kubernetes),
        belongings,
        content: None,
        server: None,
    };
    let artifact = Artifact::Image { reference };
    Ok(Release {
        tag: Release::tag_for(commit, &artifact, at_secs),
        commit: commit.map(str::to_owned),
        artifact,
        spec: spec.target_spec().map_err(Fault::internal)?,
    })
}

/// The places that the service is in, their waves without gaps from 0.
fn cells(root: &Path, kubernetes: &Kubernetes) -> Vec<Cell> {
    let waves = waves_of(kubernetes);
    let cell = |(name, cell): (&String, &config::Cell)| Cell {
        name: name.clone(),
        kubeconfig: cell.kubeconfig.as_ref().or(kubernetes.kubeconfig.as_ref()).map(|file| root.join(file)),
        context: cell.context.clone().or_else(|| kubernetes.context.clone()),
        namespace: cell.namespace.clone().unwrap_or_else(|| kubernetes.namespace.clone()),
        wave: waves
            .iter()
            .position(|wave| *wave == cell.wave)
            .map_or(0, |at| u16::try_from(at).unwrap_or(u16::MAX)),
        here: Here::Ours,
        server: None,
    };
    kubernetes.cells.iter().map(cell).collect()
}

/// The numbers of the waves that have cells, in order.
fn waves_of(kubernetes: &Kubernetes) -> Vec<u16> {
    let waves: BTreeSet<u16> = kubernetes.cells.values().map(|cell| cell.wave).collect();
    waves.into_iter().collect()
}

/// In how many waves the plan goes, and what turns back.
pub(super) fn waves(kubernetes: &Kubernetes) -> Waves {
    Waves { count: u16::try_from(waves_of(kubernetes).len()).unwrap_or(u16::MAX), back: kubernetes.turn_back }
}

/// The Role that is needed in the service's namespace.
pub(super) fn role(root: &Path, kubernetes: &Kubernetes) -> serde_json::Value {
    tidegate_kubernetes::role(
        &kubernetes.namespace,
        &traffic(&kubernetes.traffic),
        &blast::needs(root, kubernetes),
    )
}

fn traffic(traffic: &config::Traffic) -> Traffic {
    match (&traffic.http_route, &traffic.virtual_service, &traffic.ingress) {
        (Some(name), _, _) => Traffic::HttpRoute { name: name.clone() },
        (None, Some(name), _) => {
            Traffic::VirtualService { name: name.clone(), destination_rule: traffic.destination_rule.clone() }
        }
        (None, None, Some(name)) => Traffic::Ingress { name: name.clone() },
        (None, None, None) => Traffic::Service,
    }
}

/// Shares of pods are whole percents, rounded up: more room, never less.
fn bound(batch: config::Batch) -> Bound {
    match batch {
        config::Batch::Share(points) => Bound::Percent(u32::from(points.div_ceil(100))),
        config::Batch::Instances(count) => Bound::Count(count),
    }
}

/// What a reader of the plan should know where shares are made by numbers of pods.
pub(super) fn notes(kubernetes: &Kubernetes, strategy: &StrategySpec) -> Vec<String> {
    let waves = waves_of(kubernetes).into_iter().enumerate();
    let wave = |(at, wave): (usize, u16)| {
        let cells = kubernetes.cells.iter().filter(|(_, cell)| cell.wave == wave);
        let name = |(name, cell): (&String, &config::Cell)| match &cell.region {
            Some(region) => format!("{name} ({region})"),
            None => name.clone(),
        };
        format!("wave {}: {}", at + 1, cells.map(name).collect::<Vec<_>>().join(", "))
    };
    waves.map(wave).chain(shares(kubernetes, strategy)).collect()
}

/// What the steps rest on where no metric counts requests.
pub(super) fn uncounted(service: &config::Service, strategy: &StrategySpec) -> Vec<String> {
    let partly = match strategy {
        StrategySpec::Canary { steps } => steps.iter().any(|step| !step.share.is_all()),
        StrategySpec::Rolling { .. } => true,
        StrategySpec::BlueGreen { .. } | StrategySpec::AllAtOnce { .. } => false,
    };
    let counted = service.metrics.values().any(config::metrics::Metric::counts);
    let shares = (partly && service.gates.request_rate.is_none()).then_some(
        "a step's share is what was read back: `request_rate`, which compares it with the requests of both releases, is not asked",
    );
    let copies = service.shadow.is_some().then_some(if counted {
        "what sends the copies compares no answers: the new release's own metrics are judged"
    } else {
        "nobody judges the answers to copies: no metric counts the new release's requests"
    });
    shares.into_iter().chain(copies).map(str::to_owned).collect()
}

/// What shares of pods really are, where they make the shares of traffic.
fn shares(kubernetes: &Kubernetes, strategy: &StrategySpec) -> Vec<String> {
    if traffic(&kubernetes.traffic) != Traffic::Service {
        return Vec::new();
    }
    let shares: Vec<Share> = match strategy {
        StrategySpec::Canary { steps } => {
            steps.iter().map(|step| step.share).filter(|share| !share.is_all()).collect()
        }
        StrategySpec::Rolling { batch: PlanBatch::Share(share), .. } if !share.is_all() => vec![*share],
        StrategySpec::Rolling { .. } | StrategySpec::BlueGreen { .. } | StrategySpec::AllAtOnce { .. } => {
            Vec::new()
        }
    };
    let note = |share: &Share| {
        let (pods, really) =
            achieved(kubernetes.replicas, *share, bound(kubernetes.surge), bound(kubernetes.unavailable));
        (really != *share).then(|| {
            format!(
                "{share} of {} pods is {} of {}: {really} of the traffic",
                kubernetes.replicas,
                pods.new,
                pods.new + pods.stable
            )
        })
    };
    shares.iter().filter_map(note).collect()
}
