//! The kinds of objects that are read and written, as the API server names them.

use kube::core::{ApiResource, GroupVersionKind};

/// A kind of object.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Whether the account may do one thing.
    AccessReview,
    /// A Rollout of Argo Rollouts.
    ArgoRollout,
    ConfigMap,
    Deployment,
    DestinationRule,
    Event,
    HorizontalPodAutoscaler,
    HttpRoute,
    Ingress,
    Lease,
    Namespace,
    NetworkPolicy,
    Pod,
    PodDisruptionBudget,
    ReplicaSet,
    Rollout,
    /// What the account may do.
    RulesReview,
    Secret,
    Service,
    VirtualService,
}

impl Kind {
    /// Group, version, kind and plural.
    const fn words(self) -> (&'static str, &'static str, &'static str, &'static str) {
        match self {
            Self::AccessReview => {
                ("authorization.k8s.io", "v1", "SelfSubjectAccessReview", "selfsubjectaccessreviews")
            }
            Self::ArgoRollout => ("argoproj.io", "v1alpha1", "Rollout", "rollouts"),
            Self::ConfigMap => ("", "v1", "ConfigMap", "configmaps"),
            Self::Deployment => ("apps", "v1", "Deployment", "deployments"),
            Self::DestinationRule => ("networking.istio.io", "v1", "DestinationRule", "destinationrules"),
            Self::Event => ("events.k8s.io", "v1", "Event", "events"),
            Self::HorizontalPodAutoscaler => {
                ("autoscaling", "v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers")
            }
            Self::HttpRoute => ("gateway.networking.k8s.io", "v1", "HTTPRoute", "httproutes"),
            Self::Ingress => ("networking.k8s.io", "v1", "Ingress", "ingresses"),
            Self::Lease => ("coordination.k8s.io", "v1", "Lease", "leases"),
            Self::Namespace => ("", "v1", "Namespace", "namespaces"),
            Self::NetworkPolicy => ("networking.k8s.io", "v1", "NetworkPolicy", "networkpolicies"),
            Self::Pod => ("", "v1", "Pod", "pods"),
            Self::PodDisruptionBudget => ("policy", "v1", "PodDisruptionBudget", "poddisruptionbudgets"),
            Self::ReplicaSet => ("apps", "v1", "ReplicaSet", "replicasets"),
            Self::Rollout => ("tidegate.dev", "v1", "Rollout", "rollouts"),
            Self::RulesReview => {
                ("authorization.k8s.io", "v1", "SelfSubjectRulesReview", "selfsubjectrulesreviews")
            }
            Self::Secret => ("", "v1", "Secret", "secrets"),
            Self::Service => ("", "v1", "Service", "services"),
            Self::VirtualService => ("networking.istio.io", "v1", "VirtualService", "virtualservices"),
        }
    }

    /// The kind as a path of the API is made from it.
    pub(crate) fn resource(self) -> ApiResource {
        let (group, version, kind, plural) = self.words();
        ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(group, version, kind), plural)
    }

    /// `apps/v1`, `v1`.
    pub(crate) fn api_version(self) -> String {
        self.resource().api_version
    }

    /// `Deployment`.
    pub(crate) const fn name(self) -> &'static str {
        self.words().2
    }

    /// Whether objects of this kind are known by a watch. What a rollout reads once or twice is asked for, and no role of ours
    /// allows to watch it.
    pub(crate) const fn is_watched(self) -> bool {
        matches!(
            self,
            Self::ArgoRollout
                | Self::Deployment
                | Self::DestinationRule
                | Self::HttpRoute
                | Self::Ingress
                | Self::Pod
                | Self::ReplicaSet
                | Self::Service
                | Self::VirtualService
        )
    }

    /// Whether its objects are in no namespace.
    pub(crate) const fn is_of_the_cluster(self) -> bool {
        matches!(self, Self::AccessReview | Self::Namespace | Self::RulesReview)
    }

    /// `deployments.apps`, as roles name it.
    pub(crate) fn rule(self) -> String {
        let (group, _, _, plural) = self.words();
        if group.is_empty() { plural.to_owned() } else { format!("{plural}.{group}") }
    }
}
