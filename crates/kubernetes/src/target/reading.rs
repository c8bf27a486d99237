//! What is seen of both releases at one moment.

use std::{collections::BTreeSet, sync::Arc};

use tidegate_adapters::metrics::{InstanceAddress, Instances};
use tidegate_core::{
    gate::{Instance, Reading, ReleaseReading},
    plan::Plan,
};

use super::{EffectError, KubernetesTarget, Rollout};
use crate::{
    spec::Known,
    view::{Pod, Pods, Workload},
};

impl KubernetesTarget {
    /// Pods as the watches have them, and what the plan's metrics say. The cluster counts no requests: metrics do.
    pub(super) fn reading(
        &self,
        plan: &Plan,
        rollouts: &[Rollout<'_>],
        given: Option<usize>,
    ) -> Result<Reading, EffectError> {
        let at = self.clock.now();
        let mut new = (ReleaseReading::default(), Vec::new());
        let mut stable: Option<(ReleaseReading, Vec<InstanceAddress>)> = None;
        let mut pods = [BTreeSet::new(), BTreeSet::new()];
        for rollout in rollouts {
            rollout.add(&rollout.new, rollout.least(given), &mut new)?;
            pods[0].insert(rollout.new.pods());
            if let Some(known) = &rollout.stable {
                rollout.add(known, 0, stable.get_or_insert_default())?;
                pods[1].insert(known.pods());
            }
        }
        let (stable, stable_addresses) = stable.unzip();
        let instances = Instances {
            new: new.1,
            stable: stable_addresses.unwrap_or_default(),
            pods: pods.map(|names| names.into_iter().collect::<Vec<_>>().join("|")),
        };
        Ok(Reading {
            at,
            boot: "kubernetes".to_owned(),
            new: new.0,
            stable,
            mirror: None,
            astray: None,
            metrics: self.metrics.read(plan, &instances, at),
        })
    }
}

impl Rollout<'_> {
    /// Adds what is seen of a release in this place, of which at least so many pods are wanted; where there are several places,
    /// its pods are named with the cell.
    fn add(
        &self,
        known: &Known<'_>,
        least: u32,
        to: &mut (ReleaseReading, Vec<InstanceAddress>),
    ) -> Result<(), EffectError> {
        let (reading, addresses) = self.seen_of(known)?;
        let name = |id: String| if self.cell.is_empty() { id } else { format!("{}/{id}", self.cell) };
        to.0.wanted += reading.wanted.max(least);
        to.0.instances.extend(reading.instances.into_iter().map(|one| Instance { id: name(one.id), ..one }));
        to.1.extend(addresses.into_iter().map(|one| InstanceAddress { id: name(one.id), ..one }));
        Ok(())
    }

    fn seen_of(&self, known: &Known<'_>) -> Result<(ReleaseReading, Vec<InstanceAddress>), EffectError> {
        let view = self.cluster.view(self.namespace());
        let workload = view.workload(known.workload())?.unwrap_or_default();
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

/// The pods of what was adopted are only counted.
fn counted(known: &Known<'_>, workload: &Workload) -> Vec<Instance> {
    let instance = |number| Instance {
        id: format!("{}/{number}", known.workload().1),
        ready: number < workload.ready,
        broken: false,
        ends: 0,
        ends_total: None,
        last_end: None,
        cpu_ms: 0,
        cpu_limit_milli: 0,
        rss_bytes: 0,
        memory_limit_bytes: 0,
    };
    (0..workload.present.min(10_000)).map(instance).collect()
}
