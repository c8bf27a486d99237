//! From a configuration to what belongs to a release on Kubernetes, and to a pod template that keeps the rules.

use std::path::Path;

use serde_json::{Value, json};
use tidegate_kubernetes::{
    Belonging,
    belongings::{
        Autoscale, Autoscaling, Belongings, ConfigRef, Configuration, Network, configured,
        resources::sized,
        security::{self, Profile, SecurityError, Violation, secured},
    },
};

use super::kubernetes::Made;
use crate::{
    config::{
        self, Kubernetes,
        blast::{self, AutoscaleMode, Sizes},
    },
    fault::Fault,
};

/// A pod template as it is rolled out, what belongs to its release, and what a reader of the plan should know of both.
pub(super) struct Ready {
    pub(super) template: Value,
    pub(super) belongings: Belongings,
    pub(super) notes: Vec<String>,
}

/// Fills in what the template, which is `from` there, does not say, and refuses what it says against the service's rules.
pub(super) fn ready(
    root: &Path,
    service: &config::Service,
    kubernetes: &Kubernetes,
    from: &str,
    template: &Value,
) -> Result<Ready, Fault> {
    let (mut template, mut notes) =
        secured(template, &security(kubernetes)).map_err(|why| refused(Path::new(from), &why))?;
    if kubernetes.resources == Sizes::ByCriticality {
        notes.extend(sized(&mut template, service.criticality));
    }
    let (template, configs) = with_configs(root, kubernetes, &template, &mut notes)?;
    let belongings = Belongings {
        disruption_budget: kubernetes.disruption_budget,
        network: kubernetes.network_policy.as_ref().map(|network| Network {
            from: network.from.clone(),
            addresses: network.addresses.clone(),
            ports: network.ports.clone(),
        }),
        configs,
        autoscaling: autoscaling(&kubernetes.autoscale),
    };
    notes.extend(said(kubernetes));
    Ok(Ready { template, belongings, notes })
}

/// What a reader of the plan should know of what a release on Kubernetes may do, use and bring with it. `made` is its manifest
/// where that is no file.
pub(super) fn notes(
    root: &Path,
    service: &config::Service,
    kubernetes: &Kubernetes,
    made: Option<Made<'_>>,
) -> Vec<String> {
    let of = |manifest: &Value, from: &str| {
        let template = manifest.pointer("/spec/template").cloned().unwrap_or_default();
        // What is wrong with it was said when the release was made.
        ready(root, service, kubernetes, from, &template).map(|ready| ready.notes).unwrap_or_default()
    };
    if let Some(Made { manifest, from }) = made {
        return of(manifest, from);
    }
    let from = root.join(&kubernetes.manifest);
    of(&config::manifest(&from, "Deployment").unwrap_or_default(), &from.display().to_string())
}

/// What a service brings with its releases that the Role has to allow.
pub(super) fn needs(root: &Path, kubernetes: &Kubernetes) -> Vec<Belonging> {
    let objects: Vec<Option<Vec<_>>> =
        kubernetes.configs.iter().map(|file| config::objects(&root.join(file)).ok()).collect();
    // A file that cannot be read may hold either.
    let holds = |kind: &str| {
        objects.iter().any(|objects| {
            objects.as_ref().is_none_or(|objects| {
                objects.iter().any(|(_, object)| object.get("kind").and_then(Value::as_str) == Some(kind))
            })
        })
    };
    let pods = kubernetes.replicas.max(kubernetes.autoscale.min.unwrap_or(0));
    [
        (kubernetes.disruption_budget && pods > 1, Belonging::Budget),
        (kubernetes.network_policy.is_some(), Belonging::Network),
        (kubernetes.autoscale.mode != AutoscaleMode::Off, Belonging::Autoscaler),
        (holds("ConfigMap"), Belonging::ConfigMap),
        (kubernetes.adopt_rollout.is_some(), Belonging::Rollout),
        (holds("Secret"), Belonging::Secret),
    ]
    .into_iter()
    .filter_map(|(needed, belonging)| needed.then_some(belonging))
    .collect()
}

fn security(kubernetes: &Kubernetes) -> security::PodSecurity {
    let asked = &kubernetes.pod_security;
    security::PodSecurity {
        profile: match asked.profile {
            blast::Profile::Restricted => Profile::Restricted,
            blast::Profile::Baseline => Profile::Baseline,
            blast::Profile::Privileged => Profile::Privileged,
        },
        allow: asked.allow.clone(),
        service_account_token: kubernetes.service_account_token,
    }
}

/// With the line of every field.
fn refused(manifest: &Path, why: &SecurityError) -> Fault {
    let SecurityError::Breaks { violations, .. } = why else {
        return Fault::refuse(why.to_string());
    };
    let lines: Vec<String> = violations
        .iter()
        .map(|Violation { rule, path, found, write }| {
            let line = config::line_of(manifest, "Deployment", path);
            let line = line.map(|line| format!(":{line}")).unwrap_or_default();
            format!("{}{line}: `{path}` is {found}: {write} (`{}`)", manifest.display(), rule.name())
        })
        .collect();
    let profile = if let SecurityError::Breaks { profile, .. } = why { profile.name() } else { "" };
    Fault::refuse(format!(
        "the pod template breaks Pod Security `{profile}`; where that has to be, `run.kubernetes.pod_security: {{allow: [{}]}}` \
         says so\n{}",
        violations.first().map(|one| one.rule.name()).unwrap_or_default(),
        lines.join("\n")
    ))
}

fn with_configs(
    root: &Path,
    kubernetes: &Kubernetes,
    template: &Value,
    notes: &mut Vec<String>,
) -> Result<(Value, Vec<ConfigRef>), Fault> {
    if kubernetes.configs.is_empty() {
        return Ok((template.clone(), Vec::new()));
    }
    let (mut contents, mut refs) = (Vec::new(), Vec::new());
    for name in &kubernetes.configs {
        let file = root.join(name);
        for (line, object) in config::objects(&file).map_err(|why| Fault::refuse(why.to_string()))? {
            let content = Configuration::of(&object, &kubernetes.namespace)
                .map_err(|why| Fault::refuse(format!("{}:{line}: {why}", file.display())))?;
            refs.push(content.at(std::path::absolute(&file).unwrap_or_else(|_| file.clone())));
            contents.push(content);
        }
    }
    let manifest = root.join(&kubernetes.manifest);
    let (template, more) = configured(template, &contents)
        .map_err(|why| Fault::refuse(format!("{}: {why}", manifest.display())))?;
    let names: Vec<String> = refs.iter().map(ConfigRef::object).collect();
    notes.push(format!("configuration of this release: {}", names.join(", ")));
    notes.extend(more);
    Ok((template, refs))
}

fn autoscaling(asked: &blast::Autoscale) -> Autoscaling {
    match asked.mode {
        AutoscaleMode::Off => Autoscaling::Off,
        AutoscaleMode::Follow => Autoscaling::Follow,
        AutoscaleMode::Own => {
            let resource = |name: &str, points: Option<u16>| {
                let percent = points?.div_ceil(100);
                let target = json!({"type": "Utilization", "averageUtilization": percent});
                Some(json!({"type": "Resource", "resource": {"name": name, "target": target}}))
            };
            let metric = |kind: &str, key: &str, (name, value): (&String, &String)| {
                let target = json!({"type": "AverageValue", "averageValue": value});
                json!({"type": kind, (key): {"metric": {"name": name}, "target": target}})
            };
            let own = [resource("cpu", asked.cpu_bp), resource("memory", asked.memory_bp)];
            let pods = asked.pods.iter().map(|one| metric("Pods", "pods", one));
            let external = asked.external.iter().map(|one| metric("External", "external", one));
            let min = asked.min.unwrap_or(1);
            Autoscaling::Own(Autoscale {
                min,
                max: asked.max.unwrap_or(min).max(min),
                metrics: own.into_iter().flatten().chain(pods).chain(external).collect(),
                behavior: None,
            })
        }
    }
}

/// What is not as it is by itself, or as a reader may take it to be.
fn said(kubernetes: &Kubernetes) -> Vec<String> {
    let mut notes = Vec::new();
    if kubernetes.resources == Sizes::Manifest {
        notes.push("resources: containers have what the manifest gives them, and no more".to_owned());
    }
    if !kubernetes.disruption_budget {
        notes.push("no PodDisruptionBudget: all pods may be evicted at once".to_owned());
    }
    match &kubernetes.network_policy {
        None => notes.push("no NetworkPolicy: whoever can reach the namespace can reach the pods".to_owned()),
        Some(policy) => {
            let from: Vec<&str> = std::iter::once(&kubernetes.namespace)
                .chain(&policy.from)
                .chain(&policy.addresses)
                .map(String::as_str)
                .collect();
            notes.push(format!("NetworkPolicy: pods are reached from {} only", from.join(", ")));
        }
    }
    if let Autoscaling::Own(own) = autoscaling(&kubernetes.autoscale) {
        notes.push(format!("autoscaling: {} to {} pods for each release", own.min, own.max));
    }
    notes
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use tidegate_kubernetes::KubernetesSpec;

    use super::*;
    use crate::compose;

    const POD: &str = "spec:\n  template:\n    spec:\n      containers:\n        - name: web\n          image: \
                       a@sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae\n";

    const CONFIG: &str = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: shop}\ndata: {a: \"1\"}\n---\napiVersion: v1\n\
                          kind: Secret\nmetadata: {name: login}\nstringData:\n  password: hunter2\n";

    const REFERS: &str = "          envFrom:\n            - configMapRef: {name: shop}\n            - secretRef: {name: login}\n";

    struct Project(tempfile::TempDir);

    impl Project {
        fn new(more_of_pod: &str, config: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let text = format!("apiVersion: apps/v1\nkind: Deployment\n{POD}{more_of_pod}");
            std::fs::write(folder.path().join("deploy.yaml"), text).unwrap();
            std::fs::write(folder.path().join("config.yaml"), config).unwrap();
            Self(folder)
        }

        fn root(&self) -> PathBuf {
            self.0.path().to_owned()
        }

        fn service(more_of_run: &str) -> config::Service {
            let text = format!(
                "version: 1\nservices:\n  shop:\n    run: {{kubernetes: {{manifest: deploy.yaml, service: shop{more_of_run}}}}}\n"
            );
            config::parse(Path::new("tidegate.yaml"), &text).unwrap().services.remove("shop").unwrap()
        }

        /// The release's description and the plan's notes.
        fn made(&self, more_of_run: &str) -> Result<(KubernetesSpec, String, Vec<String>), String> {
            let service = Self::service(more_of_run);
            let release =
                compose::release(&self.root(), &service, None, None, 7).map_err(|why| why.to_string())?;
            let request = compose::request(&self.root(), "shop", &service, release.clone()).unwrap();
            Ok((KubernetesSpec::of(&release).unwrap(), format!("{request:?}"), request.notes))
        }
    }

    fn has(notes: &[String], words: &str) -> bool {
        notes.iter().any(|note| note.contains(words))
    }

    #[test]
    fn a_release_keeps_the_rules_and_the_plan_says_what_was_filled_in_and_what_was_opted_out_of() {
        let project = Project::new("", CONFIG);
        let (spec, _, notes) = project.made("").unwrap();
        let template = spec.template.value();
        let pod = &template["spec"];
        assert_eq!(pod["securityContext"]["runAsNonRoot"], json!(true));
        assert_eq!(pod["automountServiceAccountToken"], json!(false));
        assert_eq!(pod["containers"][0]["resources"]["limits"], json!({"memory": "256Mi"}));
        assert!(spec.belongings.disruption_budget && spec.belongings.autoscaling == Autoscaling::Follow);
        assert!(has(&notes, "`runAsNonRoot`") && has(&notes, "no NetworkPolicy"), "{notes:#?}");
        let (spec, _, notes) = project
            .made(
                ", pod_security: {profile: baseline, allow: [host_ports]}, resources: manifest, disruption_budget: false, \
                 service_account_token: true, network_policy: {from: [ingress]}",
            )
            .unwrap();
        assert!(spec.template.value()["spec"].get("securityContext").is_none());
        for words in [
            "`baseline` in place of `restricted`",
            "`host_ports` is allowed",
            "resources: containers have what the manifest gives",
            "no PodDisruptionBudget",
            "`service_account_token: true`",
            "from default, ingress only",
        ] {
            assert!(has(&notes, words), "{words}: {notes:#?}");
        }
    }

    #[test]
    fn a_field_against_the_profile_is_refused_with_file_and_line() {
        let project = Project::new("          securityContext:\n            privileged: true\n", CONFIG);
        let why = project.made("").unwrap_err();
        assert!(why.contains("deploy.yaml:10: `spec.template.spec.containers[0].securityContext.privileged` is true: take it out"), "{why}");
        assert!(project.made(", pod_security: {allow: [privileged]}").is_ok());
        let why = project.made(", pod_security: {allow: [privilege]}").unwrap_err();
        assert!(why.contains("`privilege` is neither a rule"), "{why}");
    }

    #[test]
    fn configuration_goes_by_its_hash_and_a_secrets_content_is_nowhere_but_in_its_file() {
        let project = Project::new(REFERS, CONFIG);
        let (spec, request, notes) = project.made(", configs: [config.yaml]").unwrap();
        let names: Vec<String> = spec.belongings.configs.iter().map(ConfigRef::object).collect();
        assert!(names[0].starts_with("shop-") && names[1].starts_with("login-"), "{names:?}");
        let template = spec.template.value();
        let from = &template["spec"]["containers"][0]["envFrom"];
        assert_eq!(
            (&from[0]["configMapRef"]["name"], &from[1]["secretRef"]["name"]),
            (&json!(names[0]), &json!(names[1]))
        );
        assert!(has(&notes, &names[1]), "{notes:#?}");
        assert!(
            !request.contains("hunter2") && !request.contains("aHVudGVyMg"),
            "a Secret is in the request"
        );
        let service = Project::service(", configs: [config.yaml], autoscale: off");
        let config::RunKind::Kubernetes(run) = &service.run.kind else { panic!("no Kubernetes") };
        assert_eq!(needs(&project.root(), run), [Belonging::ConfigMap, Belonging::Secret]);
        for (config, words) in [
            (
                &CONFIG.replace("kind: Secret", "kind: Service"),
                "config.yaml:6: expected a ConfigMap or a Secret (`v1`), found Service",
            ),
            (&CONFIG.replace("name: shop", "name: shp"), "refers to ConfigMap `shp` (it refers to `shop`)"),
            (
                &CONFIG.replace("hunter2", "7"),
                "config.yaml:6: Secret `login`: `stringData.password` is not a text",
            ),
            (&CONFIG.replace("  password", "  - password"), "`stringData` is not a mapping"),
            (&CONFIG.replace("  password", "  a: b\n password"), "config.yaml"),
        ] {
            let project = Project::new(REFERS, config);
            let why = project.made(", configs: [config.yaml]").unwrap_err();
            assert!(why.contains(words) && !why.contains("hunter2"), "{words}: {why}");
        }
        let why = project.made(", configs: [confg.yaml]").unwrap_err();
        assert!(why.contains("confg.yaml") && why.contains("write it, or name"), "{why}");
    }
}
