//! What serves users before Tidegate does: the Deployment or the Rollout that becomes the first stable release, as it is.

mod rollout;
mod since;

use std::sync::Arc;

use serde_json::{Map, Value};
use tidegate_core::model::{Artifact, Release};

use super::{EffectError, KubernetesTarget, root, steady::HELD};
use crate::{
    belongings::Belongings,
    cluster::Lane,
    fence::annotation,
    kinds::Kind,
    manifest::{CONTENT, label, name},
    spec::{Adopted, Cell, Former, Here, Known, KubernetesSpec, RELEASE, SERVICE},
    view::{Remembered, Workload},
};

pub(super) use self::{
    rollout::{rests, stable_hash, wants},
    since::stands,
};

/// Why it cannot be told what serves.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{why}")]
pub struct Untold {
    /// Why, in words.
    pub why: String,
    /// Whether asking again cannot help until a person has done something.
    pub permanent: bool,
}

impl KubernetesTarget {
    /// The release that serves this service now, where no journal knows it: the one Deployment whose pods the users' Service
    /// reaches, one of ours too, or the Rollout that the service names. Nothing is changed. An error says why it cannot be told.
    pub async fn found(&self, service: &str, release: &Release) -> Result<Option<Release>, Untold> {
        let untold =
            |why: EffectError| Untold { why: tidegate_adapters::chain(&why), permanent: why.is_permanent() };
        self.adoptable(service, release).await.map_err(untold)
    }

    /// Each place for itself; what serves in none of them is nothing.
    async fn adoptable(&self, service: &str, release: &Release) -> Result<Option<Release>, EffectError> {
        let spec = KubernetesSpec::of(release)?;
        let mut found = Vec::new();
        for place in spec.places() {
            let Some(like) = place.spec else { continue };
            let new = Known::new(service, release, like)?;
            match self.serving(&new).await {
                Ok(serving) => found.push(serving),
                Err(why) => return Err(self.with_all_refused(&new.spec, why).await),
            }
        }
        // One of ours has its name for good; another is only called by what it is.
        let ours = |found: &&Found| found.spec.adopted.is_none();
        let serving = || found.iter().flatten();
        let Some(first) = serving().find(ours).or_else(|| serving().next()).cloned() else { return Ok(None) };
        let cells = spec.cells.iter().zip(found).map(|(cell, found)| {
            let here = match found.map(|found| found.spec.adopted) {
                None => Here::Nothing,
                Some(None) => Here::Ours,
                Some(Some(adopted)) => Here::Adopted(adopted),
            };
            Cell { here, ..cell.clone() }
        });
        let spec = KubernetesSpec { cells: cells.collect(), ..first.spec };
        released(first.tag, None, &spec).map(Some)
    }

    /// What the pods are of that the users' Service reaches in one place.
    async fn serving(&self, new: &Known<'_>) -> Result<Option<Found>, EffectError> {
        let spec = &new.spec;
        let cluster = self.cluster(&spec.address()).await?;
        let lane = cluster.forward();
        let view = cluster.view(&spec.namespace);
        view.listed().await;
        let root = match view.object(Kind::Service, &spec.service) {
            Remembered::Object(object) => Some(object),
            Remembered::Nothing => None,
            Remembered::Unsure => {
                lane.get(Kind::Service, &spec.namespace, &spec.service).await?.map(Arc::new)
            }
        };
        let base = root.map(|root| root::base(&root)).unwrap_or_default();
        if base.is_empty() {
            return Ok(None);
        }
        // A release that was on its way when its journal was lost is not what it would replace.
        let mut serving = view.reached(&base)?;
        serving.retain(|object| name(object) != new.name);
        let ours = |object: &Value| label(object, SERVICE) == Some(new.service);
        let theirs = if serving.iter().any(|object| ours(object)) {
            None
        } else {
            rollout::serving(lane, spec, &base).await?
        };
        // A rollout that was turned back in some cells only left its release in the others, beside the one that it was to replace.
        let held: Vec<_> = serving.iter().filter(|object| annotation(object, HELD).is_some()).collect();
        let name = match (serving.as_slice(), held.as_slice()) {
            ([], _) => return Ok(theirs),
            ([only], _) if theirs.is_none() => name(only),
            (_, [stable]) if theirs.is_none() => name(stable),
            (several, _) => {
                return Err(EffectError::Wrong(format!(
                    "Service {}/{} reaches the pods of {}: which of them is the stable release cannot be told; make its \
                     selector find one",
                    spec.namespace,
                    spec.service,
                    named(several, theirs.as_ref())
                )));
            }
        };
        // What is known of it is without its template.
        let Some(object) = lane.get(Kind::Deployment, &spec.namespace, name).await? else { return Ok(None) };
        if let Some(own) = own(new, &object) {
            return Ok(Some(own));
        }
        let set = present_set(lane, &object).await?;
        adopted(spec, &object, set.as_ref()).map(Some)
    }
}

/// `2 Deployments (a, b) and Rollout c`, as far as they are there.
fn named(deployments: &[Arc<Value>], rollout: Option<&Found>) -> String {
    let names = deployments.iter().map(|object| name(object)).collect::<Vec<_>>().join(", ");
    let many = if deployments.len() == 1 { "Deployment" } else { "Deployments" };
    let rollout = rollout.and_then(|found| found.spec.adopted.as_ref());
    let rollout = rollout.map(|adopted| format!(" and Rollout {}", adopted.name)).unwrap_or_default();
    format!("{} {many} ({names}){rollout}", deployments.len())
}

/// The release that the Deployment was made for, when it is one of ours whose journal was lost.
fn own(new: &Known<'_>, object: &Value) -> Option<Found> {
    let tag = label(object, RELEASE).filter(|_| label(object, SERVICE) == Some(new.service))?;
    if name(object) != format!("{}-{tag}", new.service) {
        return None;
    }
    let template = object.pointer("/spec/template").cloned().unwrap_or_default();
    let spec = KubernetesSpec {
        replicas: Workload::of(object).wanted.max(1),
        template: template.into(),
        adopted: None,
        // What the API server filled in since is no part of it.
        content: annotation(object, CONTENT).map(str::to_owned),
        ..KubernetesSpec::clone(&new.spec)
    };
    Some(Found { tag: tag.to_owned(), spec })
}

/// The `ReplicaSet` of the Deployment's present pods, when they are of one template only.
async fn present_set(lane: &Lane, object: &Value) -> Result<Option<Value>, EffectError> {
    let namespace = object.pointer("/metadata/namespace").and_then(Value::as_str).unwrap_or_default();
    let is_its = |set: &Value| owner(set, "Deployment") == Some(name(object));
    let mut sets = Vec::new();
    // Its controller says which ReplicaSet it last brought up; to list them all is dear where there are thousands.
    if let Some(said) = last_set(object) {
        sets.extend(lane.get(Kind::ReplicaSet, namespace, said).await?.filter(is_its));
    }
    let all = |sets: &[Value]| sets.iter().map(|set| Workload::of(set).present).sum::<u32>();
    if all(&sets) != Workload::of(object).present {
        let selector = object.pointer("/spec/selector/matchLabels").and_then(Value::as_object);
        let selector = selector.map(query).unwrap_or_default();
        sets = lane.list(Kind::ReplicaSet, namespace, &selector).await?;
        sets.retain(|set| is_its(set) && Workload::of(set).present > 0);
    }
    Ok(if sets.len() == 1 { sets.pop() } else { None })
}

/// The `ReplicaSet` that the Deployment's condition `Progressing` names.
fn last_set(object: &Value) -> Option<&str> {
    let conditions = object.pointer("/status/conditions").and_then(Value::as_array)?;
    let text = |condition: &Value, key: &str| condition.get(key).and_then(Value::as_str).map(str::to_owned);
    let progressing = conditions.iter().find(|one| text(one, "type").as_deref() == Some("Progressing"))?;
    progressing.get("message").and_then(Value::as_str)?.split('"').nth(1)
}

/// Which of its templates the Deployment's controller has brought up last, once it has seen the present one.
pub(super) fn revision(object: &Value) -> Option<&str> {
    let observed = object.pointer("/metadata/generation") == object.pointer("/status/observedGeneration");
    annotation(object, "deployment.kubernetes.io/revision").filter(|_| observed)
}

/// What serves.
#[derive(Clone)]
struct Found {
    /// Its release's tag.
    tag: String,
    /// It as a release's description.
    spec: KubernetesSpec,
}

/// The Deployment as a release. Its pods stay what they are.
fn adopted(like: &KubernetesSpec, object: &Value, set: Option<&Value>) -> Result<Found, EffectError> {
    let (name, namespace) = (name(object), &like.namespace);
    let number = |path: &str| object.pointer(path).and_then(Value::as_u64).unwrap_or_default();
    // What waits in a paused Deployment is not what runs.
    let paused = Workload::of(object).paused;
    let moving = number("/metadata/generation") != number("/status/observedGeneration")
        || (!paused && number("/status/updatedReplicas") != number("/status/replicas"));
    let hash = set.and_then(|set| set.pointer("/metadata/labels/pod-template-hash")?.as_str());
    let Some(hash) = hash.filter(|_| !moving).map(str::to_owned) else {
        return Err(EffectError::Wrong(format!(
            "Deployment {namespace}/{name} is being rolled out by somebody else: wait until that has ended"
        )));
    };
    let revision = revision(object).map(str::to_owned);
    let selector =
        object.pointer("/spec/selector/matchLabels").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut template = set.and_then(|set| set.pointer("/spec/template")).cloned().unwrap_or_default();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove("pod-template-hash");
    }
    let wanted = Workload::of(object).wanted;
    let spec = KubernetesSpec {
        replicas: wanted,
        template: template.into(),
        adopted: Some(Adopted {
            name: name.to_owned(),
            kind: Former::Deployment,
            hash: hash.clone(),
            revision,
            selector,
        }),
        adopt_rollout: None,
        belongings: Belongings::default(),
        ..like.clone()
    };
    // Its own moment is not known; the hash tells it from everything else, and a tag needs seconds.
    Ok(Found { tag: format!("{hash}-0"), spec })
}

/// What was found as a release.
fn released(tag: String, commit: Option<String>, spec: &KubernetesSpec) -> Result<Release, EffectError> {
    let template = spec.template.value();
    let image = template.pointer("/spec/containers/0/image").and_then(Value::as_str);
    let artifact = Artifact::Image { reference: image.unwrap_or_default().to_owned() };
    let spec = spec.target_spec().map_err(|why| EffectError::Wrong(why.to_string()))?;
    Ok(Release { tag, commit, artifact, spec })
}

/// `a=b,c=d`, as lists are asked for.
pub(crate) fn query(labels: &Map<String, Value>) -> String {
    let label = |(key, value): (&String, &Value)| format!("{key}={}", value.as_str().unwrap_or_default());
    labels.iter().map(label).collect::<Vec<_>>().join(",")
}

/// The name of the object of this kind that controls another.
pub(crate) fn owner<'v>(object: &'v Value, kind: &str) -> Option<&'v str> {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array)?;
    let owner = owners.iter().find(|owner| owner.get("kind").and_then(Value::as_str) == Some(kind))?;
    owner.get("name").and_then(Value::as_str)
}
