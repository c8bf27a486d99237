//! A Deployment that was adopted once, as its owner has it now: between two rollouts of ours it is his, and he rolls it out.
//!
//! Where what he has there is whole, it is adopted afresh: that is what users have, so that is what is returned to.

use std::time::Duration;

use serde_json::Value;
use tidegate_core::model::Release;
use tidegate_engine::{Successor, journal::BoxFuture};

use super::{EffectError, Found, KubernetesTarget, adopted, present_set, released, revision};
use crate::{
    cluster::Lane,
    fence::annotation,
    kinds::Kind,
    spec::{Adopted, Cell, Former, Here, KubernetesSpec},
    view::Workload,
};

/// Looks that wait for a Deployment's controller; it may be dead, so not for ever.
const LOOKS: u32 = 20;

/// Time between two of them.
const LOOK: Duration = Duration::from_millis(250);

impl KubernetesTarget {
    /// What has taken the place of an adopted Deployment that is the last good release; see
    /// [`tidegate_engine::World::successor`]. `None` where no Deployment of somebody else's is concerned.
    pub fn successor(&self, good: &Release) -> Option<BoxFuture<Result<Option<Successor>, String>>> {
        // What cannot be read is said by whoever does something with it.
        let spec = KubernetesSpec::of(good).ok()?;
        let places = spec.places();
        places.iter().any(|place| place.spec.as_deref().is_some_and(is_theirs)).then_some(())?;
        let (target, good) = (self.clone(), good.clone());
        Some(Box::pin(async move {
            target.since(&spec, &good).await.map_err(|why| tidegate_adapters::chain(&why))
        }))
    }

    async fn since(&self, spec: &KubernetesSpec, good: &Release) -> Result<Option<Successor>, EffectError> {
        let mut found = Vec::new();
        for place in spec.places() {
            found.push(match place.spec.filter(|there| is_theirs(there)) {
                Some(there) => self.taken_afresh(&there).await?.map(|found| (place.cell, found)),
                None => None,
            });
        }
        if found.iter().all(Option::is_none) {
            return Ok(None);
        }
        let note = found.iter().flatten().map(|(cell, found)| said(cell, found));
        let note = note.collect::<Vec<_>>().join("; ");
        Ok(Some(Successor { release: renewed(spec, good, found)?, note }))
    }

    /// The Deployment as it is now; nothing when its pods are still those that were adopted, or when it is gone. An error says
    /// why it cannot be returned to just now.
    async fn taken_afresh(&self, spec: &KubernetesSpec) -> Result<Option<Found>, EffectError> {
        let Some(before) = &spec.adopted else { return Ok(None) };
        let cluster = self.cluster(&spec.address()).await?;
        let lane = cluster.forward();
        let Some(object) = settled(lane, &spec.namespace, &before.name).await? else {
            return Ok(None);
        };
        if stands(lane, &spec.namespace, &object, before).await? {
            return Ok(None);
        }
        let set = present_set(lane, &object).await?;
        let found = adopted(spec, &object, set.as_ref())?;
        if found.spec.adopted.as_ref().is_some_and(|now| now.hash == before.hash) {
            return Ok(None);
        }
        is_whole(&object, spec, before)?;
        Ok(Some(found))
    }
}

/// The Deployment once its controller has seen what was changed last: a rollout of ours that has just let go of it changed it, too.
async fn settled(lane: &Lane, namespace: &str, name: &str) -> Result<Option<Value>, EffectError> {
    let mut looks = 0;
    loop {
        let object = lane.get(Kind::Deployment, namespace, name).await?;
        let is_seen = |object: &Value| {
            object.pointer("/metadata/generation") == object.pointer("/status/observedGeneration")
        };
        looks += 1;
        if looks == LOOKS || object.as_ref().is_none_or(is_seen) {
            return Ok(object);
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn is_theirs(spec: &KubernetesSpec) -> bool {
    spec.adopted.as_ref().is_some_and(|adopted| adopted.kind == Former::Deployment)
}

/// Whether the Deployment asks for the pods that were adopted: nobody rolled it out since, or somebody put them back.
pub(in crate::target) async fn stands(
    lane: &Lane,
    namespace: &str,
    object: &Value,
    adopted: &Adopted,
) -> Result<bool, EffectError> {
    let Some(now) = revision(object) else { return Ok(false) };
    if adopted.revision.as_deref() == Some(now) {
        return Ok(true);
    }
    let set = lane.get(Kind::ReplicaSet, namespace, &adopted.set()).await?;
    Ok(set.is_some_and(|set| annotation(&set, "deployment.kubernetes.io/revision") == Some(now)))
}

/// All its pods are ready.
fn is_whole(object: &Value, spec: &KubernetesSpec, before: &Adopted) -> Result<(), EffectError> {
    let Workload { ready, wanted, .. } = Workload::of(object);
    if wanted > 0 && ready >= wanted {
        return Ok(());
    }
    let (namespace, name) = (&spec.namespace, &before.name);
    Err(EffectError::Wrong(format!(
        "Deployment {namespace}/{name} was rolled out by its owner since it was adopted, and {ready} of {wanted} pods are ready: \
         there is nothing whole to return to; wait until they are, or put the revision before back (`kubectl rollout undo \
         deployment/{name} -n {namespace}`)"
    )))
}

fn said(cell: &str, found: &Found) -> String {
    let adopted = found.spec.adopted.as_ref();
    let name = adopted.map_or("", |adopted| &adopted.name);
    let what = match adopted.and_then(|adopted| adopted.revision.as_ref()) {
        Some(revision) => format!("revision {revision}"),
        None => format!("what runs there now ({})", found.tag),
    };
    let cell = if cell.is_empty() { String::new() } else { format!(" in cell {cell}") };
    format!(
        "Deployment {}/{name}{cell} was rolled out by its owner since: {what} is what is returned to",
        found.spec.namespace
    )
}

/// The release with what is in its places now. Where some of it is ours, it keeps its name: that is in those objects.
fn renewed(
    spec: &KubernetesSpec,
    good: &Release,
    mut found: Vec<Option<(String, Found)>>,
) -> Result<Release, EffectError> {
    // Of several cells' templates the release has the first that is not ours, as when it was adopted.
    let named = spec.cells.iter().position(|cell| cell.here != Here::Nothing).unwrap_or_default();
    let ours = spec.cells.iter().any(|cell| cell.here == Here::Ours);
    let cells = spec.cells.iter().zip(&found).map(|(cell, found)| {
        let adopted = found.as_ref().and_then(|(_, found)| found.spec.adopted.clone());
        Cell { here: adopted.map_or_else(|| cell.here.clone(), Here::Adopted), ..cell.clone() }
    });
    let cells: Vec<Cell> = cells.collect();
    let first = found.get_mut(named).and_then(Option::take).filter(|_| !ours);
    let (tag, spec) = match first {
        Some((_, Found { tag, spec: now })) => (tag, place_of(spec, now)),
        None => (good.tag.clone(), spec.clone()),
    };
    let spec = KubernetesSpec { cells, ..spec };
    released(tag, good.commit.clone().filter(|_| ours), &spec)
}

/// What was found in one of the places, as the whole release says it.
fn place_of(whole: &KubernetesSpec, now: KubernetesSpec) -> KubernetesSpec {
    KubernetesSpec {
        kubeconfig: whole.kubeconfig.clone(),
        context: whole.context.clone(),
        server: whole.server.clone(),
        namespace: whole.namespace.clone(),
        ..now
    }
}
