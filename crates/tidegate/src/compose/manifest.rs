//! Whether the manifests that a configuration names can become releases.

use std::path::Path;

use serde_json::Value;
use tidegate_kubernetes::{TemplateError, pinned};
use tidegate_yaml::finding::{Code, Complaint, shown};

use super::blast;
use crate::config::{self, Config, Kubernetes, Rejected};

const KIND: &str = "Deployment";

/// What was found of the manifests.
#[derive(Debug, Default)]
pub(crate) struct Looked {
    /// Those that no release can be made of, each with what is wrong.
    pub(crate) wrong: Vec<Rejected>,
    /// Those that are not there yet.
    pub(crate) missing: Vec<String>,
}

/// Reads every manifest as a deployment would. `image` is what `deploy --image` will say.
pub(crate) fn look(config: &Config, image: Option<&str>) -> Looked {
    let mut looked = Looked::default();
    for service in config.services.values() {
        let config::RunKind::Kubernetes(kubernetes) = &service.run.kind else { continue };
        let path = config.directory().join(&kubernetes.manifest);
        // One that is made later, by a build, is no mistake of the configuration.
        if !path.try_exists().unwrap_or(true) {
            looked.missing.push(path.display().to_string());
            continue;
        }
        let found = config::manifest(&path, KIND)
            .and_then(|manifest| template(&path, &manifest, kubernetes, image))
            .and_then(|template| {
                let from = path.display().to_string();
                blast::ready(config.directory(), service, kubernetes, &from, &template).map_err(|why| {
                    config::rejected(
                        &path,
                        KIND,
                        vec![(String::new(), Complaint::new(Code::Conflict, why.message))],
                    )
                })
            });
        looked.wrong.extend(found.err());
    }
    looked
}

/// The pod template of a release, or what is wrong with the manifest and where.
pub(super) fn template(
    path: &Path,
    manifest: &Value,
    kubernetes: &Kubernetes,
    image: Option<&str>,
) -> Result<Value, Rejected> {
    let image = image.or(kubernetes.image.as_deref());
    let container = kubernetes.container.as_deref();
    pinned(manifest, container, image).map_err(|why| {
        let containers = "spec.template.spec.containers".to_owned();
        let whole = |code, field, help: &str| vec![(field, Complaint::new(code, why.to_string()).help(help))];
        let wrong = match &why {
            TemplateError::NotADeployment(_) => {
                whole(Code::UnknownWord, "apiVersion".to_owned(), "write `apiVersion: apps/v1`")
            }
            TemplateError::NoContainer => whole(Code::MissingKey, containers, "write at least one container"),
            TemplateError::SeveralContainers { .. } => {
                whole(Code::Conflict, containers, "write `container: NAME` under `run.kubernetes`")
            }
            TemplateError::UnknownContainer { .. } => {
                whole(Code::UnknownWord, containers, "correct `container` under `run.kubernetes`")
            }
            TemplateError::Moving { .. } => moving(manifest, container, image.is_some()),
        };
        config::rejected(path, KIND, wrong)
    })
}

/// Every image that a tag names, but for that of the container whose image is said elsewhere.
fn moving(manifest: &Value, container: Option<&str>, is_said: bool) -> Vec<(String, Complaint)> {
    let mut wrong = Vec::new();
    for part in ["containers", "initContainers"] {
        let all = manifest.pointer(&format!("/spec/template/spec/{part}")).and_then(Value::as_array);
        for (index, one) in all.into_iter().flatten().enumerate() {
            let word = |key: &str| one.get(key).and_then(Value::as_str).unwrap_or_default();
            let replaced = is_said
                && part == "containers"
                && container.is_none_or(|container| container == word("name"));
            if replaced || word("image").contains("@sha256:") {
                continue;
            }
            let message = format!(
                "container `{}` runs `{}`, which may be another image tomorrow",
                shown(word("name")),
                shown(word("image"))
            );
            let help = if part == "containers" && !is_said {
                "name it by digest, `name@sha256:…`, here or with `image` under `run.kubernetes`; where the pipeline says it, \
                 give the same `--image name@sha256:…` here as to `tidegate deploy`"
            } else {
                "name it by digest, `name@sha256:…`"
            };
            let field = if one.get("image").is_some() { ".image" } else { "" };
            wrong.push((
                format!("spec.template.spec.{part}[{index}]{field}"),
                Complaint::new(Code::BadText, message).help(help),
            ));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looked(containers: &str, run: &str, image: Option<&str>) -> Looked {
        let folder = tempfile::tempdir().unwrap();
        let manifest = format!(
            "apiVersion: v1\nkind: Service\nmetadata: {{name: shop}}\n---\napiVersion: apps/v1\nkind: Deployment\n\
             metadata: {{name: shop}}\nspec:\n  template:\n    metadata: {{labels: {{app: shop}}}}\n    spec:\n{containers}"
        );
        std::fs::write(folder.path().join("deploy.yaml"), manifest).unwrap();
        let file = if run.contains("manifest:") { "" } else { "manifest: deploy.yaml, " };
        let text = format!(
            "version: 1\nservices:\n  shop:\n    run: {{kubernetes: {{{file}service: shop, namespace: shop{run}}}}}\n"
        );
        let path = folder.path().join("tidegate.yaml");
        std::fs::write(&path, text).unwrap();
        look(&config::load(&path).unwrap(), image)
    }

    #[test]
    fn a_manifest_that_no_release_can_be_made_of_is_wrong_by_line_and_field() {
        let digest = format!("shop@sha256:{}", "a".repeat(64));
        let web = "      containers:\n      - name: web\n        image: shop:1.2\n";
        let both = format!("{web}      initContainers:\n      - {{name: first, image: busybox}}\n");
        let said = |containers: &str, run: &str, image: Option<&str>| -> Vec<(usize, String)> {
            let wrong = looked(containers, run, image).wrong;
            wrong.iter().flat_map(|one| &one.findings).map(|one| (one.place.line, one.path.clone())).collect()
        };
        let field = |part: &str| format!("spec.template.spec.{part}[0].image");
        assert_eq!(said(web, "", None), [(14, field("containers"))]);
        assert_eq!(said(&both, "", None), [(14, field("containers")), (16, field("initContainers"))]);
        assert_eq!(
            said(&both, "", Some(&digest)),
            [(16, field("initContainers"))],
            "`--image` is for the other"
        );
        assert_eq!(said(web, &format!(", image: \"{digest}\""), None), []);
        assert_eq!(
            said("      containers: []\n", "", None),
            [(12, "spec.template.spec.containers".to_owned())]
        );
        let privileged = format!("{web}        securityContext: {{privileged: true}}\n");
        let refused = looked(&privileged, "", Some(&digest)).wrong.remove(0).to_string();
        assert!(refused.contains("deploy.yaml:15"), "{refused}");
        let text = looked(web, "", None).wrong.remove(0).to_string();
        for words in
            ["deploy.yaml:14:16", "`shop:1.2`, which may be another image tomorrow", "tidegate deploy"]
        {
            assert!(text.contains(words), "{words} is missing:\n{text}");
        }
    }

    #[test]
    fn a_manifest_that_is_made_later_is_said_and_no_mistake() {
        let Looked { wrong, missing } = looked("", ", manifest: built.yaml", None);
        assert!(wrong.is_empty() && missing.len() == 1 && missing[0].ends_with("built.yaml"), "{missing:?}");
    }
}
