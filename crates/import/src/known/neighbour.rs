//! The fields of a Service and an Ingress that stand beside a Rollout: Argo's linter reads all of them.

use super::{
    Known,
    Shape::{Amount, Free, Keys, List, Text, Texts, Truth, Whole, Words},
    known,
    meta::METADATA,
};

const fn beside(spec: &'static [Known]) -> [Known; 5] {
    [
        known("apiVersion", Text),
        known("kind", Text),
        known("metadata", Keys(METADATA)),
        known("spec", Keys(spec)),
        known("status", Free),
    ]
}

pub(super) static SERVICE: [Known; 5] = beside(&[
    known("selector", Words),
    known("ports", List(PORT)),
    known("type", Text),
    known("clusterIP", Text),
    known("clusterIPs", Texts),
    known("externalIPs", Texts),
    known("externalName", Text),
    known("externalTrafficPolicy", Text),
    known("internalTrafficPolicy", Text),
    known("healthCheckNodePort", Whole),
    known("ipFamilies", Texts),
    known("ipFamilyPolicy", Text),
    known("loadBalancerIP", Text),
    known("loadBalancerClass", Text),
    known("loadBalancerSourceRanges", Texts),
    known("allocateLoadBalancerNodePorts", Truth),
    known("publishNotReadyAddresses", Truth),
    known("sessionAffinity", Text),
    known("sessionAffinityConfig", Keys(&[known("clientIP", Keys(&[known("timeoutSeconds", Whole)]))])),
    known("trafficDistribution", Text),
]);

static PORT: &[Known] = &[
    known("name", Text),
    known("port", Whole),
    known("targetPort", Amount),
    known("protocol", Text),
    known("appProtocol", Text),
    known("nodePort", Whole),
];

pub(super) static INGRESS: [Known; 5] = beside(&[
    known("ingressClassName", Text),
    known("defaultBackend", Keys(BACKEND)),
    known("tls", List(&[known("hosts", Texts), known("secretName", Text)])),
    known("rules", List(&[known("host", Text), known("http", Keys(&[known("paths", List(PATH))]))])),
]);

static PATH: &[Known] = &[known("path", Text), known("pathType", Text), known("backend", Keys(BACKEND))];

static BACKEND: &[Known] = &[
    known(
        "service",
        Keys(&[known("name", Text), known("port", Keys(&[known("name", Text), known("number", Whole)]))]),
    ),
    known("resource", Keys(&[known("apiGroup", Text), known("kind", Text), known("name", Text)])),
];
