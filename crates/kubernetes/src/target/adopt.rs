//! What serves users before Tidegate does: the Deployment that becomes the first stable release, as it is.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use tidegate_core::model::{Artifact, Release};

use super::{EffectError, KubernetesTarget, root};
use crate::{
    kinds::Kind,
    manifest::name,
    spec::{Adopted, Known, KubernetesSpec},
    view::Workload,
};

impl KubernetesTarget {
    /// The release that serves this service now, when it is not one of ours: the one Deployment whose pods the users' Service
    /// reaches. Nothing is changed. An error says why it cannot be told.
    pub async fn found(&self, service: &str, release: &Release) -> Result<Option<Release>, String> {
        self.adoptable(service, release).await.map_err(|why| tidegate_adapters::chain(&why))
    }

    async fn adoptable(&self, service: &str, release: &Release) -> Result<Option<Release>, EffectError> {
        let new = Known::of(service, release)?;
        let spec = &new.spec;
        let cluster = self.cluster(&spec.address()).await?;
        let lane = cluster.forward();
        let Some(root) = lane.get(Kind::Service, &spec.namespace, &spec.service).await? else {
            return Ok(None);
        };
        let base = root::base(&root);
        if base.is_empty() {
            return Ok(None);
        }
        // From the pods that users reach to whom they belong: a namespace may have thousands of Deployments.
        let pods = lane.list(Kind::Pod, &spec.namespace, &query(&base)).await?;
        let sets: BTreeSet<&str> = pods.iter().filter_map(|pod| owner(pod, "ReplicaSet")).collect();
        let mut serving: BTreeMap<String, Vec<Value>> = BTreeMap::new();
        for set in sets {
            let Some(set) = lane.get(Kind::ReplicaSet, &spec.namespace, set).await? else { continue };
            if let Some(deployment) = owner(&set, "Deployment") {
                serving.entry(deployment.to_owned()).or_default().push(set);
            }
        }
        // A release that was on its way when its journal was lost is not what it would replace.
        serving.remove(&new.name);
        if serving.len() > 1 {
            return Err(EffectError::Wrong(format!(
                "Service {}/{} reaches the pods of {} Deployments ({}): which of them is the stable release cannot be told; \
                 make its selector find one",
                spec.namespace,
                spec.service,
                serving.len(),
                serving.into_keys().collect::<Vec<_>>().join(", ")
            )));
        }
        let Some((deployment, sets)) = serving.into_iter().next() else { return Ok(None) };
        let Some(object) = lane.get(Kind::Deployment, &spec.namespace, &deployment).await? else {
            return Ok(None);
        };
        adopted(spec, &object, &sets).map(Some)
    }
}

/// The Deployment as a release. Its pods stay what they are.
fn adopted(like: &KubernetesSpec, object: &Value, sets: &[Value]) -> Result<Release, EffectError> {
    let (name, namespace) = (name(object), &like.namespace);
    let number = |path: &str| object.pointer(path).and_then(Value::as_u64).unwrap_or_default();
    let hash = match sets {
        [only] => only.pointer("/metadata/labels/pod-template-hash").and_then(Value::as_str),
        _ => None,
    };
    // What waits in a paused Deployment is not what runs.
    let paused = Workload::of(object).paused;
    let moving = number("/metadata/generation") != number("/status/observedGeneration")
        || (!paused && number("/status/updatedReplicas") != number("/status/replicas"));
    let Some(hash) = hash.filter(|_| !moving) else {
        return Err(EffectError::Wrong(format!(
            "Deployment {namespace}/{name} is being rolled out by somebody else: wait until that has ended"
        )));
    };
    let hash = hash.to_owned();
    let selector =
        object.pointer("/spec/selector/matchLabels").and_then(Value::as_object).cloned().unwrap_or_default();
    let mut template =
        sets.first().and_then(|only| only.pointer("/spec/template")).cloned().unwrap_or_default();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove("pod-template-hash");
    }
    let image =
        template.pointer("/spec/containers/0/image").and_then(Value::as_str).unwrap_or_default().to_owned();
    let wanted = Workload::of(object).wanted;
    let spec = KubernetesSpec {
        replicas: wanted,
        template,
        adopted: Some(Adopted { deployment: name.to_owned(), hash: hash.clone(), selector }),
        ..like.clone()
    };
    let text = spec.target_spec().map_err(|why| EffectError::Wrong(why.to_string()))?;
    // Its own moment is not known; the hash tells it from everything else, and a tag needs seconds.
    Ok(Release {
        tag: format!("{hash}-0"),
        commit: None,
        artifact: Artifact::Image { reference: image },
        spec: text,
    })
}

/// `a=b,c=d`, as lists are asked for.
pub(super) fn query(labels: &Map<String, Value>) -> String {
    let label = |(key, value): (&String, &Value)| format!("{key}={}", value.as_str().unwrap_or_default());
    labels.iter().map(label).collect::<Vec<_>>().join(",")
}

/// The name of the object of this kind that controls another.
pub(super) fn owner<'v>(object: &'v Value, kind: &str) -> Option<&'v str> {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array)?;
    let owner = owners.iter().find(|owner| owner.get("kind").and_then(Value::as_str) == Some(kind))?;
    owner.get("name").and_then(Value::as_str)
}
