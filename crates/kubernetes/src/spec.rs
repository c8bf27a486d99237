//! What a release says about itself: what a release's [`TargetSpec`] holds for the kind `kubernetes`.

use std::{path::PathBuf, sync::Arc};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tidegate_adapters::target_spec;
use tidegate_core::model::{Release, TargetSpec};

use crate::{
    belongings::Belongings,
    cluster::Address,
    kinds::Kind,
    manifest::ROLLOUTS_HASH,
    pin::{End, Seat},
    traffic::TesterMatch,
};

/// The target kind that this is.
pub const KIND: &str = "kubernetes";

/// Labels that we put on everything of a release, and select its pods by.
pub(crate) const SERVICE: &str = "tidegate.dev/service";
/// See [`SERVICE`].
pub(crate) const RELEASE: &str = "tidegate.dev/release";

/// Longest name of a Service (RFC 1035 label), and longest value of a label.
const NAME_MAX: usize = 63;

/// A release's own description, stored with it for good.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct KubernetesSpec {
    /// The kubeconfig; `None` is `KUBECONFIG`, the user's own, or the pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// The context in it; `None` is the current one.
    pub context: Option<String>,
    /// Where everything is.
    pub namespace: String,
    /// Pods that carry all traffic.
    pub replicas: u32,
    /// The pod template, with every image by digest.
    pub template: Template,
    /// What was there before Tidegate, when this release is that; `None` is one of ours.
    pub adopted: Option<Adopted>,
    /// The Rollout of Argo Rollouts that serves before Tidegate does, by name: where no release of the service is known, its
    /// pods become the stable one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub adopt_rollout: Option<String>,
    /// The Service that users come in by.
    pub service: String,
    /// Its port, for routes.
    pub port: u16,
    /// The Service that reaches the release under way and nobody else: a route's second backend, and where it can be tried before
    /// users get it. Empty is the service's name with `-preview`.
    #[serde(default)]
    pub preview: String,
    /// What moves traffic.
    pub traffic: Traffic,
    /// Whose requests always reach the new release, while there is one and the route can tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub testers: Vec<TesterMatch>,
    /// Pods above `replicas` while both releases share them.
    pub surge: Bound,
    /// Pods below `replicas` that may be missing meanwhile.
    pub unavailable: Bound,
    /// A start in which no further pod has become ready for so long has failed, milliseconds.
    pub progress_ms: u64,
    /// Smallest part of the stable release's pods that has to be ready for all traffic to return at once, percent, 1 to 100.
    /// With fewer, the share returns that they can carry.
    pub back_percent: u8,
    /// Releases of the service whose Deployments are kept without pods.
    pub keep_releases: u32,
    /// What the release's Deployment says that it was made from, where that is not known otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<String>,
    /// What belongs to the release beside its Deployment.
    #[serde(default)]
    pub belongings: Belongings,
    /// Where everything is, when it is in several places: each has all of it, and what is said here stands for what is said above.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<Cell>,
    /// The API server's address, once kubeconfig and context are named for good ([`crate::pin()`]): all three are then kept apart
    /// from the description.
    #[serde(skip)]
    pub server: Option<String>,
}

/// A pod template. Kept as JSON text: a tree takes ten times as much, for as long as a deployment is under way, and is needed a
/// few times in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Value", into = "Value")]
pub struct Template(Box<str>);

impl Template {
    /// The template as a tree.
    pub fn value(&self) -> Value {
        serde_json::from_str(&self.0).unwrap_or_default()
    }

    /// Its JSON text; keys are sorted.
    pub(crate) fn text(&self) -> &str {
        &self.0
    }
}

impl From<Value> for Template {
    fn from(value: Value) -> Self {
        Self(value.to_string().into())
    }
}

impl From<Template> for Value {
    fn from(template: Template) -> Self {
        template.value()
    }
}

/// One of several places that a release runs in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cell {
    /// Its name.
    pub name: String,
    /// Its kubeconfig, as above.
    pub kubeconfig: Option<PathBuf>,
    /// Its context, as above.
    pub context: Option<String>,
    /// Its namespace.
    pub namespace: String,
    /// Its wave, from 0.
    pub wave: u16,
    /// What this release is there.
    #[serde(default)]
    pub here: Here,
    /// The API server's address, as above.
    #[serde(skip)]
    pub server: Option<String>,
}

/// What a release is in a cell.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Here {
    /// A Deployment of ours.
    #[default]
    Ours,
    /// The one that was there before.
    Adopted(Adopted),
    /// Nothing ran there.
    Nothing,
}

/// A Deployment, or a Rollout of Argo Rollouts, that was there before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Adopted {
    /// Its name.
    #[serde(rename = "deployment")]
    pub name: String,
    /// Which of the two it is.
    #[serde(default, skip_serializing_if = "Former::is_deployment")]
    pub kind: Former,
    /// What tells its present pods from all others: the value of their label `pod-template-hash`, or
    /// `rollouts-pod-template-hash` for a Rollout's.
    pub hash: String,
    /// A Deployment's revision then, as its controller counts: while it is this one, its pods are these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<String>,
    /// The labels that it selects its pods by.
    pub selector: Map<String, Value>,
}

/// What something that was there before is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Former {
    /// A Deployment.
    #[default]
    Deployment,
    /// A Rollout of Argo Rollouts.
    Rollout,
}

impl Former {
    /// Whether it is a Deployment.
    pub const fn is_deployment(&self) -> bool {
        matches!(self, Self::Deployment)
    }
}

impl Adopted {
    /// The `ReplicaSet` of its pods: both controllers call it so.
    pub(crate) fn set(&self) -> String {
        format!("{}-{}", self.name, self.hash)
    }
}

/// What moves traffic.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Traffic {
    /// The Service's selector; shares are shares of the pods.
    Service,
    /// Weights of a Gateway API `HTTPRoute`.
    HttpRoute {
        /// Its name.
        name: String,
    },
    /// Weights of an Istio `VirtualService`.
    VirtualService {
        /// Its name.
        name: String,
        /// The `DestinationRule` of the users' Service, by name: releases are then told apart by subsets of that host and not by
        /// hosts of their own. Journals of before know none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        destination_rule: Option<String>,
    },
    /// Annotations of a second Ingress for ingress-nginx.
    Ingress {
        /// The users' Ingress.
        name: String,
    },
}

/// A number of pods, or a share of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// So many.
    Count(u32),
    /// So many in a hundred.
    Percent(u32),
}

/// Why a stored description is of no use.
#[derive(Debug, thiserror::Error)]
pub enum SpecError {
    /// Not a description for this target.
    #[error(transparent)]
    Description(#[from] target_spec::SpecError),
    /// Names of objects have a limit.
    #[error("`{name}` has {} characters, and a Service's name may have {NAME_MAX}: shorten the service's name by {}", name.len(), name.len() - NAME_MAX)]
    NameTooLong {
        /// The name.
        name: String,
    },
}

/// Why a manifest's pod template is of no use.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// Not a Deployment.
    #[error("expected a Deployment (`apps/v1`), found {0}")]
    NotADeployment(String),
    /// Without containers.
    #[error("`spec.template.spec.containers` is missing or empty")]
    NoContainer,
    /// The image belongs to one of several.
    #[error("the manifest has several containers ({}): name the one that `image` is for with `container`", names.join(", "))]
    SeveralContainers {
        /// Their names.
        names: Vec<String>,
    },
    /// No such container.
    #[error("the manifest has no container `{name}`; it has {}", names.join(", "))]
    UnknownContainer {
        /// What was asked for.
        name: String,
        /// What is there.
        names: Vec<String>,
    },
    /// A tag can be moved to another image.
    #[error(
        "container `{container}` runs `{image}`, which may be another image tomorrow: name it by digest, `name@sha256:…`"
    )]
    Moving {
        /// The container.
        container: String,
        /// Its image.
        image: String,
    },
}

impl KubernetesSpec {
    /// Reads a release's description.
    pub fn of(release: &Release) -> Result<Self, SpecError> {
        let mut spec: Self = target_spec::read(release, KIND)?;
        if let Some(place) = &release.spec.place {
            let seats: Vec<Option<Seat>> = serde_json::from_str(place).map_err(|source| {
                target_spec::SpecError::Malformed { release: release.tag.clone(), source }
            })?;
            spec.ends().into_iter().zip(seats).for_each(|(end, seat)| end.sit(seat));
        }
        Ok(spec)
    }

    /// The description as a release keeps it.
    pub fn target_spec(&self) -> Result<TargetSpec, serde_json::Error> {
        let mut plain = self.clone();
        let seats: Vec<Option<Seat>> = plain.ends().into_iter().map(End::rise).collect();
        let mut spec = target_spec::write(&plain, KIND)?;
        if seats.iter().any(Option::is_some) {
            spec.place = Some(serde_json::to_string(&seats)?);
        }
        Ok(spec)
    }

    /// How each place is reached, in the order of the cells where there are some.
    pub(crate) fn ends(&mut self) -> Vec<End<'_>> {
        if self.cells.is_empty() {
            let Self { kubeconfig, context, server, .. } = self;
            return vec![End { kubeconfig, context, server }];
        }
        let cells = self.cells.iter_mut().map(|cell| {
            let Cell { kubeconfig, context, server, .. } = cell;
            End { kubeconfig, context, server }
        });
        cells.collect()
    }

    /// The same for each place that it runs in, with the cell's name and wave where there are several.
    pub(crate) fn places(&self) -> Vec<Place> {
        if self.cells.is_empty() {
            return vec![Place { cell: String::new(), wave: 0, spec: Some(Arc::new(self.clone())) }];
        }
        let place = |cell: &Cell| {
            let spec = |adopted: Option<&Adopted>| Self {
                kubeconfig: cell.kubeconfig.clone(),
                context: cell.context.clone(),
                server: cell.server.clone(),
                namespace: cell.namespace.clone(),
                adopted: adopted.cloned(),
                cells: Vec::new(),
                ..self.clone()
            };
            let spec = match &cell.here {
                Here::Ours => Some(spec(None)),
                Here::Adopted(adopted) => Some(spec(Some(adopted))),
                Here::Nothing => None,
            };
            Place { cell: cell.name.clone(), wave: cell.wave, spec: spec.map(Arc::new) }
        };
        self.cells.iter().map(place).collect()
    }

    pub(crate) fn address(&self) -> Address {
        Address { kubeconfig: self.kubeconfig.clone(), context: self.context.clone() }
    }
}

/// What a release is in one place.
#[derive(Clone, Debug)]
pub(crate) struct Place {
    /// The cell's name; empty where there is only one place.
    pub(crate) cell: String,
    pub(crate) wave: u16,
    /// `None`: nothing of the release is there.
    pub(crate) spec: Option<Arc<KubernetesSpec>>,
}

/// A release with its description: what objects it has and how its pods are told from others.
#[derive(Clone, Debug)]
pub(crate) struct Known<'a> {
    pub(crate) service: &'a str,
    pub(crate) release: &'a Release,
    pub(crate) spec: Arc<KubernetesSpec>,
    /// The name of its Deployment unless that was there before.
    pub(crate) name: String,
    /// See [`Known::workload`].
    workload: String,
}

impl<'a> Known<'a> {
    pub(crate) fn new(
        service: &'a str,
        release: &'a Release,
        spec: Arc<KubernetesSpec>,
    ) -> Result<Self, SpecError> {
        let name = format!("{service}-{}", release.tag);
        if name.len() > NAME_MAX {
            return Err(SpecError::NameTooLong { name });
        }
        let workload = match &spec.adopted {
            None => name.clone(),
            Some(adopted) if adopted.kind.is_deployment() => adopted.name.clone(),
            Some(adopted) => adopted.set(),
        };
        Ok(Self { service, release, spec, name, workload })
    }

    /// The same of what was adopted, with other pods: its owner rolled it out since.
    pub(crate) fn with_hash(&self, hash: &str) -> Self {
        let adopted = self.spec.adopted.clone().map(|adopted| Adopted { hash: hash.to_owned(), ..adopted });
        let workload = match adopted.as_ref().filter(|_| self.is_rollout()) {
            Some(adopted) => adopted.set(),
            None => self.workload.clone(),
        };
        let spec = Arc::new(KubernetesSpec { adopted, ..KubernetesSpec::clone(&self.spec) });
        Self { spec, workload, ..self.clone() }
    }

    /// Whether it is an adopted Rollout of Argo Rollouts.
    pub(crate) fn is_rollout(&self) -> bool {
        self.spec.adopted.as_ref().is_some_and(|adopted| !adopted.kind.is_deployment())
    }

    /// The name of the Service that reaches the release under way.
    pub(crate) fn preview(&self) -> String {
        let named = &self.spec.preview;
        if named.is_empty() { format!("{}-preview", self.service) } else { named.clone() }
    }

    /// What its number of pods is written into: its Deployment, or the `ReplicaSet` of an adopted Rollout, which nobody else
    /// writes while that is held.
    pub(crate) fn workload(&self) -> (Kind, &str) {
        let kind = if self.is_rollout() { Kind::ReplicaSet } else { Kind::Deployment };
        (kind, &self.workload)
    }

    /// The same for people: `Deployment web/shop`.
    pub(crate) fn title(&self) -> String {
        let (kind, name) = self.workload();
        format!("{} {}/{name}", kind.name(), self.spec.namespace)
    }

    /// A regular expression for the names of its pods, those that are gone too.
    pub(crate) fn pods(&self) -> String {
        match &self.spec.adopted {
            Some(adopted) => format!("{}-[a-z0-9]+", adopted.set()),
            None => format!("{}-[a-z0-9]+-[a-z0-9]+", self.name),
        }
    }

    /// The label that only its pods have.
    pub(crate) fn mark(&self) -> (&'static str, &str) {
        match &self.spec.adopted {
            Some(adopted) if adopted.kind.is_deployment() => ("pod-template-hash", &adopted.hash),
            Some(adopted) => (ROLLOUTS_HASH, &adopted.hash),
            None => (RELEASE, &self.release.tag),
        }
    }

    /// The labels that its pods have.
    pub(crate) fn labels(&self) -> Map<String, Value> {
        let template = self.spec.template.value();
        let own = template.pointer("/metadata/labels").and_then(Value::as_object);
        let mut labels = own.cloned().unwrap_or_default();
        labels.extend(self.selector());
        labels
    }

    /// The labels that its pods are selected by.
    pub(crate) fn selector(&self) -> Map<String, Value> {
        let mut selector = match &self.spec.adopted {
            Some(adopted) => adopted.selector.clone(),
            None => Map::from_iter([(SERVICE.to_owned(), json!(self.service))]),
        };
        let (key, value) = self.mark();
        selector.insert(key.to_owned(), json!(value));
        selector
    }
}

/// The pod template of a Deployment manifest with this image in the named container, or in the only one. Every image has to
/// be named by digest.
pub fn pinned(
    manifest: &Value,
    container: Option<&str>,
    image: Option<&str>,
) -> Result<Value, TemplateError> {
    let word = |key: &str| manifest.get(key).and_then(Value::as_str).unwrap_or("nothing");
    if word("kind") != "Deployment" || word("apiVersion") != "apps/v1" {
        return Err(TemplateError::NotADeployment(format!("{} ({})", word("kind"), word("apiVersion"))));
    }
    let mut template = manifest.pointer("/spec/template").cloned().unwrap_or_default();
    let containers = template.pointer_mut("/spec/containers").and_then(Value::as_array_mut);
    let Some(containers) = containers.filter(|containers| !containers.is_empty()) else {
        return Err(TemplateError::NoContainer);
    };
    if let Some(image) = image {
        let names: Vec<String> = containers.iter().map(|one| text(one, "name").to_owned()).collect();
        let position = match container {
            Some(name) => names.iter().position(|one| one == name).ok_or_else(|| {
                TemplateError::UnknownContainer { name: name.to_owned(), names: names.clone() }
            })?,
            None if names.len() == 1 => 0,
            None => return Err(TemplateError::SeveralContainers { names }),
        };
        if let Some(one) = containers.get_mut(position).and_then(Value::as_object_mut) {
            one.insert("image".to_owned(), json!(image));
        }
    }
    for part in ["/spec/containers", "/spec/initContainers"] {
        for one in template.pointer(part).and_then(Value::as_array).into_iter().flatten() {
            if !text(one, "image").contains("@sha256:") {
                let (container, image) = (text(one, "name").to_owned(), text(one, "image").to_owned());
                return Err(TemplateError::Moving { container, image });
            }
        }
    }
    Ok(template)
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(containers: &Value) -> Value {
        json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"template": {"spec": {"containers": containers}}}})
    }

    #[test]
    fn a_release_of_an_older_journal_has_no_belongings_and_is_read() {
        let old = json!({
            "kubeconfig": null, "context": null, "namespace": "shop", "replicas": 2, "template": {}, "adopted": null,
            "service": "shop", "port": 80, "traffic": "service", "surge": {"percent": 25}, "unavailable": {"count": 0},
            "progress_ms": 1_000, "back_percent": 50, "keep_releases": 3,
        });
        let spec: KubernetesSpec = serde_json::from_value(old).unwrap();
        assert_eq!(spec.belongings, Belongings::default());
        let by_hosts = Traffic::VirtualService { name: "shop".to_owned(), destination_rule: None };
        let old = json!({"virtual_service": {"name": "shop"}});
        assert_eq!(serde_json::to_value(&by_hosts).unwrap(), old, "and an older one reads it");
        assert_eq!(serde_json::from_value::<Traffic>(old).unwrap(), by_hosts);
    }

    #[test]
    fn the_image_goes_into_the_only_container_or_the_named_one_and_must_not_be_able_to_move() {
        let image = format!("shop@sha256:{}", "a".repeat(64));
        let one = manifest(&json!([{"name": "web", "image": "shop:1"}]));
        let two = manifest(&json!([{"name": "web", "image": "shop:1"}, {"name": "log", "image": image}]));
        let seen = |template: Value, at: usize| template["spec"]["containers"][at]["image"].clone();
        assert_eq!(seen(pinned(&one, None, Some(&image)).unwrap(), 0), json!(image));
        assert_eq!(seen(pinned(&two, Some("web"), Some(&image)).unwrap(), 0), json!(image));
        let refused = |manifest: &Value, container: Option<&str>, image: Option<&str>| {
            pinned(manifest, container, image).unwrap_err().to_string()
        };
        assert!(refused(&two, None, Some(&image)).contains("several containers (web, log)"));
        assert!(refused(&two, Some("wbe"), Some(&image)).contains("no container `wbe`; it has web, log"));
        assert!(refused(&one, None, None).contains("container `web` runs `shop:1`"));
        assert!(refused(&json!({"kind": "Pod", "apiVersion": "v1"}), None, None).contains("found Pod (v1)"));
        assert!(refused(&manifest(&json!([])), None, None).contains("containers"));
    }
}
