//! What is seen of both releases at one moment.

use std::sync::Arc;

use tidegate_adapters::metrics::{InstanceAddress, Instances};
use tidegate_core::gate::{Instance, Reading, ReleaseReading};

use super::{EffectError, KubernetesTarget, Rollout};
use crate::{
    spec::Known,
    view::{Pod, Pods, Workload},
};

impl KubernetesTarget {
    /// Pods as the watches have them, and what the plan's metrics say. The cluster counts no requests: metrics do.
    pub(super) fn reading(&self, rollout: &Rollout<'_>) -> Result<Reading, EffectError> {
        let at = self.clock.now();
        let (new, new_addresses) = rollout.seen_of(&rollout.new)?;
        let stable = rollout.stable.as_ref().map(|stable| rollout.seen_of(stable)).transpose()?;
        let (stable, stable_addresses) = stable.unzip();
        let instances = Instances {
            new: new_addresses,
            stable: stable_addresses.unwrap_or_default(),
            pods: [rollout.new.pods(), rollout.stable.as_ref().map_or_else(String::new, Known::pods)],
        };
        Ok(Reading {
            at,
            boot: "kubernetes".to_owned(),
            new,
            stable,
            mirror: None,
            metrics: self.metrics.read(rollout.plan, &instances, at),
        })
    }
}

impl Rollout<'_> {
    fn seen_of(&self, known: &Known<'_>) -> Result<(ReleaseReading, Vec<InstanceAddress>), EffectError> {
        let view = self.cluster.view(self.namespace());
        let workload = view.deployment(known.deployment())?.unwrap_or_default();
        let pods = match &known.spec.adopted {
            Some(_) => Pods::new(),
            None => view.pods(known.service, &known.release.tag)?,
        };
        let instances = match &known.spec.adopted {
            Some(_) => counted(known, &workload),
            None => pods.iter().map(|(name, pod)| pod.instance(name)).collect(),
        };
        let address = |(name, pod): (&String, &Arc<Pod>)| {
            Some(InstanceAddress { id: name.clone(), address: pod.address.clone()? })
        };
        let addresses = pods.iter().filter(|(_, pod)| pod.ready).filter_map(address).collect();
        Ok((ReleaseReading { wanted: workload.wanted, instances, ..ReleaseReading::default() }, addresses))
    }
}

/// The pods of an adopted Deployment are only counted.
fn counted(known: &Known<'_>, workload: &Workload) -> Vec<Instance> {
    let instance = |number| Instance {
        id: format!("{}/{number}", known.deployment()),
        ready: number < workload.ready,
        broken: false,
        ends: 0,
        last_end: None,
        cpu_ms: 0,
        cpu_limit_milli: 0,
        rss_bytes: 0,
        memory_limit_bytes: 0,
    };
    (0..workload.present.min(10_000)).map(instance).collect()
}
