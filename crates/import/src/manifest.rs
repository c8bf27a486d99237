//! The Deployment that the pod template is taken from.

use crate::{
    Written,
    difference::Report,
    field::Field,
    objects::{Object, Objects},
    out::{self, Value, map, plain, text},
};

/// What pods are made of.
pub(crate) struct Workload<'a> {
    pub(crate) template: Field<'a>,
    selector: Option<Field<'a>>,
    replicas: Option<Field<'a>>,
}

impl Workload<'_> {
    /// Pods of the Deployment that was named; 1 when it does not say.
    pub(crate) fn replicas(&self) -> u32 {
        let written =
            self.replicas.as_ref().and_then(Field::whole).and_then(|count| u32::try_from(count).ok());
        written.unwrap_or(1).clamp(1, 10_000)
    }
}

/// The pods of an object, its own or those of the workload that it names.
pub(crate) fn workload<'a>(
    owner: &Object<'a>,
    reference: &str,
    objects: &'a Objects<'a>,
    report: &mut Report,
) -> Option<Workload<'a>> {
    let own = owner.field.at("spec.template").filter(|template| template.get("spec").is_some());
    if let Some(template) = own {
        let of = |key: &str| owner.field.at(&format!("spec.{key}"));
        return Some(Workload { template, selector: of("selector"), replicas: of("replicas") });
    }
    let Some(named) = owner.field.at(&format!("spec.{reference}")) else {
        report.error(&owner.field, "has no pod template", "nothing is written for it");
        return None;
    };
    let (kind, name) = (named.text_at("kind").unwrap_or_default(), named.text_at("name").unwrap_or_default());
    let found = objects.named(kind, name, owner.namespace).filter(|_| kind == "Deployment");
    let of = |key: &str| found.and_then(|found| found.field.at(&format!("spec.{key}")));
    let Some(template) = of("template") else {
        let ours = "name the file that has it: only a Deployment's pod template can be rolled out; nothing is written for it";
        report.error(&named, format!("takes the pod template of the {kind} `{name}`"), ours);
        return None;
    };
    Some(Workload { template, selector: of("selector"), replicas: of("replicas") })
}

/// The Deployment manifest with this template.
pub(crate) fn deployment(owner: &Object<'_>, name: &str, replicas: u32, workload: &Workload<'_>) -> Written {
    let Workload { template, selector, .. } = workload;
    let labels = template.at("metadata.labels").map_or_else(|| map([]), |labels| Value::of(labels.node));
    let selector =
        selector.as_ref().map_or_else(|| map([("matchLabels", labels)]), |selector| Value::of(selector.node));
    let mut metadata = map([("name", text(name))]);
    if !owner.namespace.is_empty() {
        metadata.put("namespace", text(owner.namespace));
    }
    if let Some(labels) = owner.field.at("metadata.labels").filter(|labels| !labels.entries().is_empty()) {
        metadata.put("labels", Value::of(labels.node));
    }
    let manifest = map([
        ("apiVersion", text("apps/v1")),
        ("kind", text("Deployment")),
        ("metadata", metadata),
        (
            "spec",
            map([
                ("replicas", plain(replicas)),
                ("selector", selector),
                ("template", Value::of(template.node)),
            ]),
        ),
    ]);
    Written { name: format!("{name}.deployment.yaml"), text: out::document(&manifest) }
}

/// Says what an image without a digest means.
pub(crate) fn say_images(template: &Field<'_>, report: &mut Report) {
    let containers = template.at("spec.containers").map(|list| list.items()).unwrap_or_default();
    for container in &containers {
        let Some(image) = container.get("image") else { continue };
        if !image.text().unwrap_or_default().contains("@sha256:") {
            let ours = if containers.len() > 1 {
                "an image is named by digest: write `name@sha256:…` into the manifest, or `image` and `container` under `run.kubernetes`"
            } else {
                "an image is named by digest: write `name@sha256:…` into the manifest, or say it with `tidegate deploy --image`"
            };
            report.warn(&image, format!("the image {} is named by a tag", image.found()), ours);
        }
    }
}
