//! What is applied to a cluster so that a controller runs there: generated, so that the roles are those that the code needs.

use serde_json::{Map, Value, json};
use tidegate_kubernetes::{Traffic, control::Scope};

use super::resource::{self, GROUP, PLURAL};

/// Who the controller's pod runs as; any number but 0 does.
const USER: u32 = 65_532;

/// The port of the probes and the metrics in the pod.
const PORT: u16 = 8_080;

/// Where the journal is in the pod.
const DATA: &str = "/var/lib/tidegate";

/// What is installed.
pub(crate) struct Installed<'a> {
    /// Where the controller itself runs, and its Lease is.
    pub(crate) namespace: &'a str,
    /// The installation's name.
    pub(crate) name: &'a str,
    /// What it looks after.
    pub(crate) scope: &'a Scope,
    /// Its image by digest.
    pub(crate) image: &'a str,
}

/// Everything, in the order in which it is applied.
pub(crate) fn all(installed: &Installed<'_>) -> Vec<Value> {
    let mut all = vec![resource::definition(), installed.account()];
    all.extend(installed.roles());
    all.extend([installed.claim(), installed.deployment()]);
    all
}

/// What the controller may do where Rollouts are: what rolling out needs by any kind of traffic, and the Rollouts themselves.
pub(crate) fn rules() -> Vec<Value> {
    let name = || "any".to_owned();
    let traffics = [
        Traffic::Service,
        Traffic::HttpRoute { name: name() },
        Traffic::VirtualService { name: name() },
        Traffic::Ingress { name: name() },
    ];
    let mut merged: Map<String, Value> = Map::new();
    for traffic in &traffics {
        let role = tidegate_kubernetes::role("any", traffic);
        for rule in role.get("rules").and_then(Value::as_array).into_iter().flatten() {
            let what = format!("{}{}", rule["apiGroups"], rule["resources"]);
            match merged.get_mut(&what).and_then(|known| known.get_mut("verbs")).and_then(Value::as_array_mut)
            {
                Some(known) => {
                    let verbs = rule.get("verbs").and_then(Value::as_array).into_iter().flatten();
                    let new: Vec<Value> = verbs.filter(|verb| !known.contains(verb)).cloned().collect();
                    known.extend(new);
                }
                None => drop(merged.insert(what, rule.clone())),
            }
        }
    }
    let own = [
        json!({"apiGroups": [GROUP], "resources": [PLURAL], "verbs": ["get", "list", "watch"]}),
        json!({"apiGroups": [GROUP], "resources": [format!("{PLURAL}/status")], "verbs": ["patch"]}),
        json!({"apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create"]}),
    ];
    own.into_iter().chain(merged.into_iter().map(|(_, rule)| rule)).collect()
}

/// What the controller may do where its Lease is.
pub(crate) fn lease_rules(name: &str) -> Vec<Value> {
    let group = "coordination.k8s.io";
    vec![
        json!({"apiGroups": [group], "resources": ["leases"], "resourceNames": [name], "verbs": ["get", "update"]}),
        // What is not there yet has no name that a rule could ask for.
        json!({"apiGroups": [group], "resources": ["leases"], "verbs": ["create"]}),
    ]
}

impl Installed<'_> {
    fn metadata(&self, suffix: &str, namespace: Option<&str>) -> Value {
        let mut metadata = json!({"name": format!("{}{suffix}", self.name), "labels": self.labels()});
        if let (Some(metadata), Some(namespace)) = (metadata.as_object_mut(), namespace) {
            metadata.insert("namespace".to_owned(), json!(namespace));
        }
        metadata
    }

    fn labels(&self) -> Value {
        json!({"app.kubernetes.io/name": "tidegate-controller", "app.kubernetes.io/instance": self.name})
    }

    fn account(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": self.metadata("", Some(self.namespace)),
            "automountServiceAccountToken": false,
        })
    }

    fn roles(&self) -> Vec<Value> {
        let lease = self.role("Role", "-lease", Some(self.namespace), &lease_rules(self.name));
        let rollouts = match self.scope {
            Scope::All => self.role("ClusterRole", "", None, &rules()),
            Scope::Namespaces(all) => {
                all.iter().flat_map(|one| self.role("Role", "", Some(one), &rules())).collect()
            }
        };
        lease.into_iter().chain(rollouts).collect()
    }

    /// A role and who has it.
    fn role(&self, kind: &str, suffix: &str, namespace: Option<&str>, rules: &[Value]) -> Vec<Value> {
        let rbac = "rbac.authorization.k8s.io";
        let metadata = self.metadata(suffix, namespace);
        let role = json!({
            "apiVersion": format!("{rbac}/v1"), "kind": kind, "metadata": metadata, "rules": rules,
        });
        let binding = json!({
            "apiVersion": format!("{rbac}/v1"),
            "kind": format!("{kind}Binding"),
            "metadata": metadata,
            "roleRef": {"apiGroup": rbac, "kind": kind, "name": format!("{}{suffix}", self.name)},
            "subjects": [{"kind": "ServiceAccount", "name": self.name, "namespace": self.namespace}],
        });
        vec![role, binding]
    }

    fn claim(&self) -> Value {
        json!({
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": self.metadata("-journal", Some(self.namespace)),
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}},
        })
    }

    fn deployment(&self) -> Value {
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": self.metadata("", Some(self.namespace)),
            "spec": {
                "replicas": 1,
                // Two could not have the journal's volume at once.
                "strategy": {"type": "Recreate"},
                "selector": {"matchLabels": self.labels()},
                "template": {"metadata": {"labels": self.labels()}, "spec": self.pod()},
            },
        })
    }

    fn pod(&self) -> Value {
        let probe = |path: &str| json!({"httpGet": {"path": path, "port": "health"}, "periodSeconds": 5});
        json!({
            "serviceAccountName": self.name,
            "automountServiceAccountToken": true,
            "terminationGracePeriodSeconds": 15,
            "securityContext": {
                "runAsNonRoot": true,
                "runAsUser": USER,
                "runAsGroup": USER,
                "fsGroup": USER,
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            "containers": [{
                "name": "controller",
                "image": self.image,
                "args": self.arguments(),
                "ports": [{"name": "health", "containerPort": PORT}],
                "livenessProbe": probe("/healthz"),
                "readinessProbe": probe("/readyz"),
                "resources": {
                    "requests": {"cpu": "100m", "memory": "128Mi"},
                    "limits": {"memory": "1Gi"},
                },
                "securityContext": {
                    "allowPrivilegeEscalation": false,
                    "readOnlyRootFilesystem": true,
                    "capabilities": {"drop": ["ALL"]},
                },
                "volumeMounts": [{"name": "journal", "mountPath": DATA}, {"name": "tmp", "mountPath": "/tmp"}],
            }],
            "volumes": [
                {"name": "journal", "persistentVolumeClaim": {"claimName": format!("{}-journal", self.name)}},
                {"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}},
            ],
        })
    }

    fn arguments(&self) -> Vec<String> {
        let fixed = [
            "controller",
            "--data",
            DATA,
            "--lease-namespace",
            self.namespace,
            "--name",
            self.name,
            "--listen",
            &format!("0.0.0.0:{PORT}"),
        ];
        let mut arguments: Vec<String> = fixed.iter().map(|part| (*part).to_owned()).collect();
        match self.scope {
            Scope::All => arguments.push("--all-namespaces".to_owned()),
            Scope::Namespaces(all) => {
                arguments.extend(all.iter().flat_map(|one| ["--namespace".to_owned(), one.clone()]));
            }
        }
        arguments
    }
}
