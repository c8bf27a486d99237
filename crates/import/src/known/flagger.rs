//! The fields of Flagger's Canary and `MetricTemplate`.

use super::{
    Known,
    Shape::{Amount, Free, Keys, List, Text, Texts, Truth, Whole},
    known, object,
};

pub(super) static CANARY: [Known; 5] = object(SPEC);

static SPEC: &[Known] = &[
    known("provider", Text),
    known("metricsServer", Text),
    known(
        "targetRef",
        Keys(&[known("apiVersion", Text), known("kind", Text).required(), known("name", Text).required()]),
    )
    .required(),
    known("autoscalerRef", Free).warning(
        "the autoscaler is copied for the primary",
        "an autoscaler that names the Deployment does not follow the releases: see the guide to Kubernetes",
    ),
    known("ingressRef", Keys(&[known("apiVersion", Text), known("kind", Text), known("name", Text)])),
    known("routeRef", Free).error("shares are weights of this route", "not one of Tidegate's routers"),
    known("upstreamRef", Free).error("shares are weights of this upstream", "not one of Tidegate's routers"),
    known("service", Keys(SERVICE)).required(),
    known("progressDeadlineSeconds", Whole),
    known("skipAnalysis", Truth),
    known("suspend", Truth).note(
        "stops the canary, its rollback too",
        "nothing is stopped in a file: `tidegate pause` stops one deployment, and never its way back",
    ),
    known("revertOnDeletion", Truth).note(
        "the Deployment is put back when the Canary is deleted",
        "what Tidegate leaves is an ordinary Deployment",
    ),
    known("analysis", Keys(ANALYSIS)),
    known("canaryAnalysis", Keys(ANALYSIS)),
];

static SERVICE: &[Known] = &[
    known("name", Text),
    known("port", Whole).required(),
    known("targetPort", Amount).note("the port of the pods", "the Service that is there says it"),
    known("portName", Text).note("the name of the port", "the Service that is there says it"),
    known("portDiscovery", Truth)
        .note("further ports of the pods are served", "the Service that is there says it"),
    known("appProtocol", Text).note("the protocol of the port", "the Service that is there says it"),
    known("hosts", Texts).note(HOSTS, ROUTE),
    known("gateways", Texts).note(HOSTS, ROUTE),
    known("gatewayRefs", Free).note(HOSTS, ROUTE),
    known("delegation", Truth).note(HOSTS, ROUTE),
    known("match", Free).note(HOSTS, ROUTE),
    known("rewrite", Free).note(HOSTS, ROUTE),
    known("headers", Free).note(HOSTS, ROUTE),
    known("corsPolicy", Free).note(HOSTS, ROUTE),
    known("timeout", Text).note(HOSTS, ROUTE),
    known("retries", Free).note(HOSTS, ROUTE),
    known("trafficPolicy", Free).note(HOSTS, ROUTE),
    known("apex", Free).note(HOSTS, ROUTE),
    known("primary", Free).note(HOSTS, ROUTE),
    known("canary", Free).note(HOSTS, ROUTE),
    known("mirror", Free).note(HOSTS, ROUTE),
    known("backends", Free).note(HOSTS, ROUTE),
];

const HOSTS: &str = "a route is generated with it";
const ROUTE: &str =
    "the route that is there is used, and only the weights of the rules that point to the Service are moved";

static ANALYSIS: &[Known] = &[
    known("interval", Text),
    known("threshold", Whole),
    known("maxWeight", Whole),
    known("stepWeight", Whole),
    known("stepWeights", Free),
    known("stepWeightPromotion", Whole).note(
        "after the analysis traffic moves back to the primary in steps",
        "the release itself becomes the stable one: nothing moves back",
    ),
    known("iterations", Whole),
    known("primaryReadyThreshold", Whole).warning(
        "a step goes on with so many primary pods ready",
        "a step begins when all its pods are ready",
    ),
    known("canaryReadyThreshold", Whole).warning(
        "a step goes on with so many canary pods ready",
        "a step begins when all its pods are ready",
    ),
    known("match", Free),
    known("mirror", Truth),
    known("mirrorWeight", Whole),
    known("sessionAffinity", Free).warning(
        "a cookie keeps users on the release that they got",
        "not written: the route decides for each request",
    ),
    known("alerts", Free)
        .warning("messages are sent", "not written: `tidegate watch --json` has every event"),
    known(
        "webhooks",
        List(&[
            known("name", Text).required(),
            known("type", Text),
            known("url", Text),
            known("timeout", Text),
            known("muteAlert", Truth),
            known("disableTLS", Truth),
            known("retries", Whole),
            known("metadata", Free),
        ]),
    ),
    known(
        "metrics",
        List(&[
            known("name", Text).required(),
            known("interval", Text),
            known("threshold", Amount),
            known("thresholdRange", Keys(&[known("min", Amount), known("max", Amount)])),
            known("query", Text),
            known("templateRef", Keys(&[known("name", Text).required(), known("namespace", Text)])),
            known("templateVariables", Free),
        ]),
    ),
];

pub(super) static METRIC_TEMPLATE: [Known; 5] = object(&[
    known(
        "provider",
        Keys(&[
            known("type", Text).required(),
            known("address", Text),
            known("region", Text),
            known("secretRef", Free).error(
                "a Secret to sign in with",
                "not written: name where the secret is, `auth: {basic: …}` or `bearer` of the metric",
            ),
            known("insecureSkipVerify", Truth)
                .error("any certificate is accepted", "not written: name the authority by `ca`"),
            known("headers", Free)
                .error("headers for the server", "not written: write `headers` of the metric"),
        ]),
    )
    .required(),
    known("query", Text).required(),
]);
