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

/// Fills in what the template does not say, and refuses what it says against the service's rules.
pub(super) fn ready(
    root: &Path,
    service: &config::Service,
    kubernetes: &Kubernetes,
    template: &Value,
) -> Result<Ready, Fault> {
    let manifest = root.join(&kubernetes.manifest);
    let (mut template, mut notes) =
        secured(template, &security(kubernetes)).map_err(|why| refused(&manifest, &why))?;
    if kubernetes.resources == Sizes::ByCriticality {
        notes.extend(sized(&mut template, service.criticality));
    }
    let (template, configs) = with_configs(root, kubernetes, &template, &mut notes)?;
    let belongings = Belongings {
        disruption_budget: kubernetes.disruption_budget,
        network: kubernetes
            .network_policy
            .as_ref()
            .map(|network| Network { from: network.from.clone(), ports: network.ports.clone() }),
        configs,
        autoscaling: autoscaling(&kubernetes.autoscale),
    };
    notes.extend(said(kubernetes));
    Ok(Ready { template, belongings, notes })
}

/// What a reader of the plan should know of what a release on Kubernetes may do, use and bring with it.
pub(super) fn notes(root: &Path, service: &config::Service, kubernetes: &Kubernetes) -> Vec<String> {
    // Read once more: what is wrong with it was said when the release was made.
    let manifest = config::manifest(&root.join(&kubernetes.manifest), "Deployment").unwrap_or_default();
    let template = manifest.pointer("/spec/template").cloned().unwrap_or_default();
    ready(root, service, kubernetes, &template).map(|ready| ready.notes).unwrap_or_default()
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
            let from = policy.from.iter().map(|name| format!(", {name}")).collect::<String>();
            notes.push(format!("NetworkPolicy: pods are reached from namespaces {}{from} only", kubernetes.namespace));
        }
    }
    if let Autoscaling::Own(own) = autoscaling(&kubernetes.autoscale) {
        notes.push(format!("autoscaling: {} to {} pods for each release", own.min, own.max));
    }
    notes
}
