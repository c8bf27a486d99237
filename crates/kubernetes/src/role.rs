//! The Role that a service account needs for this to work: one namespace, no wildcard, and no Secret but by its name.

use serde_json::{Value, json};

use crate::{
    belongings::Autoscaling,
    kinds::Kind,
    rights::Need,
    spec::{KubernetesSpec, Traffic},
};

/// What is asked of every cluster: resource and verbs.
const ALWAYS: [(Kind, &[&str]); 4] = [
    (Kind::Deployment, &["get", "list", "watch", "create", "patch", "delete"]),
    (Kind::ReplicaSet, &["get", "list"]),
    (Kind::Pod, &["list", "watch"]),
    // The users' Service, and the preview, which is made where there is none.
    (Kind::Service, &["get", "list", "watch", "create", "patch"]),
];

/// What a service brings with its releases that needs a right of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Belonging {
    /// A `PodDisruptionBudget`.
    Budget,
    /// `NetworkPolicies`.
    Network,
    /// `HorizontalPodAutoscalers`, its own or followed ones.
    Autoscaler,
    /// `ConfigMaps`.
    ConfigMap,
    /// A Rollout of Argo Rollouts that is adopted.
    Rollout,
    /// Secrets. Whoever may get one by its name may get any whose name it knows; nobody who only does this can find out names.
    Secret,
}

impl Belonging {
    /// What a release brings. What was adopted is not in it.
    pub(crate) fn of(spec: &KubernetesSpec) -> Vec<Self> {
        let brought = &spec.belongings;
        let holds = |kind| brought.configs.iter().any(|config| config.kind.kind() == kind);
        [
            (brought.wants_budget(spec.replicas), Self::Budget),
            (brought.network.is_some(), Self::Network),
            (brought.autoscaling != Autoscaling::Off, Self::Autoscaler),
            (holds(Kind::ConfigMap), Self::ConfigMap),
            (holds(Kind::Secret), Self::Secret),
        ]
        .into_iter()
        .filter_map(|(needed, belonging)| needed.then_some(belonging))
        .collect()
    }

    const fn rules(self) -> &'static [(Kind, &'static [&'static str])] {
        match self {
            Self::Budget => &[(Kind::PodDisruptionBudget, &["get", "list", "create", "patch", "delete"])],
            Self::Network => &[(Kind::NetworkPolicy, &["get", "create", "patch", "delete"])],
            Self::Autoscaler => {
                &[(Kind::HorizontalPodAutoscaler, &["get", "list", "create", "patch", "delete"])]
            }
            Self::ConfigMap => &[(Kind::ConfigMap, &["get", "create", "delete"])],
            // Its pods are the ReplicaSet's, whose number is then written.
            Self::Rollout => &[
                (Kind::ArgoRollout, &["get", "list", "watch", "patch"]),
                (Kind::ReplicaSet, &["watch", "patch"]),
            ],
            Self::Secret => &[(Kind::Secret, &["get", "create", "delete"])],
        }
    }
}

/// What guarding a plain Deployment asks for.
const GUARD: [(Kind, &[&str]); 3] = [
    (Kind::Deployment, &["get", "list", "watch", "patch"]),
    (Kind::ReplicaSet, &["list"]),
    (Kind::Pod, &["list", "watch"]),
];

/// The Role `tidegate-guard` for one namespace, as it is applied: all that guarding the Deployments there, their history and
/// their way back ask for. Nothing is created or deleted, and no secret can be read.
pub fn guard_role(namespace: &str) -> Value {
    named("tidegate-guard", namespace, &GUARD.map(|(kind, verbs)| rule(kind, verbs)))
}

/// The Role `tidegate` for one namespace, as it is applied: all that checking, rolling out, turning back and tidying up ask
/// for, for services whose traffic is moved so and who bring these. Nothing in it reaches beyond the namespace, and no
/// Secret can be listed.
pub fn role(namespace: &str, traffic: &Traffic, belongings: &[Belonging]) -> Value {
    let rules: Vec<Value> = table(traffic, belongings).map(|(kind, verbs)| rule(kind, verbs)).collect();
    named("tidegate", namespace, &rules)
}

/// What such a service cannot be rolled out without: the same table, but for what is asked for in another way where it is not
/// allowed, or left.
pub(crate) fn needs(traffic: &Traffic, belongings: &[Belonging]) -> Vec<Need> {
    spread(table(traffic, belongings)).filter(|need| !is_spared(*need)).collect()
}

/// What no Deployment can be guarded without. Without a watch, what is there is asked for.
pub(crate) fn guard_needs() -> Vec<Need> {
    let watches = |(kind, verb): Need| verb == "watch" || (kind, verb) == (Kind::Deployment, "list");
    spread(GUARD.into_iter()).filter(|need| !watches(*need)).collect()
}

fn table<'a>(
    traffic: &Traffic,
    belongings: &'a [Belonging],
) -> impl Iterator<Item = (Kind, &'static [&'static str])> + use<'a> {
    let brought = belongings.iter().flat_map(|belonging| belonging.rules()).copied();
    ALWAYS.into_iter().chain(rules(traffic)).chain(brought)
}

fn spread(table: impl Iterator<Item = (Kind, &'static [&'static str])>) -> impl Iterator<Item = Need> {
    table.flat_map(|(kind, verbs)| verbs.iter().map(move |verb| (kind, *verb)))
}

/// Whether it goes on without: what cannot be watched is asked for, one by one, and what an old release leaves behind harms
/// nobody.
const fn is_spared((kind, verb): Need) -> bool {
    use Kind::{
        ArgoRollout, ConfigMap, DestinationRule, HttpRoute, Ingress, NetworkPolicy, ReplicaSet, Secret,
        Service, VirtualService,
    };
    match verb.as_bytes() {
        b"list" if matches!(kind, ReplicaSet) => true,
        b"list" | b"watch" => {
            matches!(kind, Service | HttpRoute | VirtualService | DestinationRule | Ingress | ArgoRollout)
        }
        b"delete" => matches!(kind, NetworkPolicy | ConfigMap | Secret),
        _ => false,
    }
}

fn named(name: &str, namespace: &str, rules: &[Value]) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": name, "namespace": namespace},
        "rules": rules,
    })
}

fn rules(traffic: &Traffic) -> Vec<(Kind, &'static [&'static str])> {
    match traffic {
        Traffic::Service => Vec::new(),
        Traffic::HttpRoute { .. } => vec![(Kind::HttpRoute, &["get", "list", "watch", "patch"])],
        Traffic::VirtualService { destination_rule, .. } => {
            let all: &[Kind] = if destination_rule.is_some() {
                &[Kind::VirtualService, Kind::DestinationRule]
            } else {
                &[Kind::VirtualService]
            };
            all.iter().map(|kind| (*kind, &["get", "list", "watch", "patch"][..])).collect()
        }
        Traffic::Ingress { .. } => {
            vec![(Kind::Ingress, &["get", "list", "watch", "create", "patch", "delete"])]
        }
    }
}

fn rule(kind: Kind, verbs: &[&str]) -> Value {
    let resource = kind.resource();
    json!({"apiGroups": [resource.group], "resources": [resource.plural], "verbs": verbs})
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_is_known_by_a_watch_may_be_watched_and_nothing_else_may() {
        let traffic = [
            Traffic::HttpRoute { name: String::new() },
            Traffic::VirtualService { name: String::new(), destination_rule: Some(String::new()) },
            Traffic::Ingress { name: String::new() },
        ];
        let brought = [
            Belonging::Budget,
            Belonging::Network,
            Belonging::Autoscaler,
            Belonging::ConfigMap,
            Belonging::Rollout,
            Belonging::Secret,
        ];
        let all: Vec<_> = ALWAYS
            .into_iter()
            .chain(traffic.iter().flat_map(rules))
            .chain(brought.iter().flat_map(|belonging| belonging.rules()).copied())
            .collect();
        for (kind, _) in &all {
            let may = all.iter().any(|(of, verbs)| of == kind && verbs.contains(&"watch"));
            assert_eq!(kind.is_watched(), may, "{}", kind.rule());
        }
    }
}
