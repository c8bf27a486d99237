//! The fields of a Rollout.

use super::{
    Known,
    Shape::{Amount, Each, Free, Keys, List, Open, Text, Texts, Time, Truth, Whole, Words},
    analysis::{DRY_RUN, RETENTION, RUN_ARGS, TEMPLATES},
    known,
    meta::{MARKS, SELECTOR},
    object, router,
};

pub(super) static ROLLOUT: [Known; 5] = object(SPEC);

static SPEC: &[Known] = &[
    known("replicas", Whole),
    known("selector", Keys(SELECTOR)),
    known("template", Free),
    known("workloadRef", Keys(WORKLOAD_REF)),
    known("minReadySeconds", Whole).warning(
        "a pod is available only when it was ready for so long",
        "a pod counts when it is ready; write a readiness probe that waits (`initialDelaySeconds`), or a longer bake",
    ),
    known("revisionHistoryLimit", Whole),
    known("progressDeadlineSeconds", Whole),
    known("progressDeadlineAbort", Truth),
    known("paused", Truth).note(
        "the Rollout is stopped by hand",
        "nothing is stopped in a file: `tidegate pause` stops one deployment",
    ),
    known("restartAt", Time).note("pods older than this are replaced", "`kubectl rollout restart` is a new release here: `tidegate deploy --again`"),
    known("rollbackWindow", Keys(&[known("revisions", Whole)])).note(
        "a return to one of the last revisions skips the steps",
        "`tidegate rollback` is always one switch to a release that was good, whichever it is",
    ),
    known(
        "analysis",
        Keys(&[
            runs_kept("successfulRunHistoryLimit"),
            runs_kept("unsuccessfulRunHistoryLimit"),
        ]),
    ),
    known("strategy", Keys(&[known("canary", Keys(CANARY)), known("blueGreen", Keys(BLUE_GREEN))])).required(),
];

static WORKLOAD_REF: &[Known] = &[
    known("apiVersion", Text),
    known("kind", Text).required(),
    known("name", Text).required(),
    known("scaleDown", Text).note(
        "the Deployment that is named is scaled down when the Rollout has taken over",
        "the Deployment is left as it is: the Rollout's pods become the stable release (`adopt_rollout`), and every release is a Deployment of its own",
    ),
];

const fn runs_kept(key: &'static str) -> Known {
    known(key, Whole).note(
        "so many AnalysisRuns are kept",
        "there are no objects to keep: `tidegate history`, `why` and `replay` have every verdict",
    )
}

const fn labels(key: &'static str, theirs: &'static str) -> Known {
    known(key, Keys(MARKS)).warning(
        theirs,
        "pods are never edited; what selects by these labels can select `tidegate.dev/release` instead",
    )
}

static ANTI_AFFINITY: &[Known] = &[
    known("preferredDuringSchedulingIgnoredDuringExecution", Keys(&[known("weight", Whole)])),
    known("requiredDuringSchedulingIgnoredDuringExecution", Keys(&[])),
];

const APART: Known = known("antiAffinity", Keys(ANTI_AFFINITY)).warning(
    "pods of two revisions are kept off the same node",
    "write a `podAntiAffinity` into the pod template; no term for it is added",
);

const OLD_REVISIONS: Known = known("scaleDownDelayRevisionLimit", Whole).note(
    "so many old revisions keep their pods until their delay is over",
    "only the last good release keeps its pods, until the watch is over",
);

static CANARY: &[Known] = &[
    known("canaryService", Text).note(
        "a Service that always selects the canary's pods",
        "every release has a Service of its own while a route needs one; this one is not touched and may be deleted when nothing else uses it",
    ),
    known("stableService", Text),
    known("steps", List(STEP)),
    known("trafficRouting", Keys(ROUTING)),
    known("maxSurge", Amount),
    known("maxUnavailable", Amount),
    known("analysis", Keys(BACKGROUND)),
    APART,
    labels("canaryMetadata", "labels and annotations for the canary's pods while they are the canary"),
    labels("stableMetadata", "labels and annotations for the stable pods"),
    known("scaleDownDelaySeconds", Whole),
    OLD_REVISIONS,
    known("abortScaleDownDelaySeconds", Whole).note(
        "after an abort the canary's pods stay so long; 0 keeps them for ever",
        "after a way back the release's pods are stopped once traffic has left them",
    ),
    known("dynamicStableScale", Truth).warning(
        "stable pods are taken away while the canary's share rises",
        "the stable release keeps the capacity for all traffic until the promotion is final: more pods meanwhile, and a way back that needs none to start",
    ),
    known("minPodsPerReplicaSet", Whole).warning(
        "no fewer pods than this for a share above zero",
        "ceil(replicas × share) pods, at least 1; make the first share larger where more are needed",
    ),
    known("replicaProgressThreshold", Keys(&[known("type", Text), known("value", Whole)])).warning(
        "a step goes on when so many of the pods are available",
        "a step begins when all its pods are ready",
    ),
    known("pingPong", Keys(&[known("pingService", Text), known("pongService", Text)])).error(
        "two Services take turns as stable and canary",
        "not written: name the Service that users come in by as `service`",
    ),
];

static STEP: &[Known] = &[
    known("setWeight", Whole),
    known("pause", Keys(&[known("duration", Amount)])),
    known(
        "setCanaryScale",
        Keys(&[known("replicas", Whole), known("weight", Whole), known("matchTrafficWeight", Truth)]),
    ),
    known("experiment", Keys(EXPERIMENT)),
    known("analysis", Keys(ANALYSIS)),
    known(
        "setHeaderRoute",
        Keys(&[
            known("name", Text),
            known("match", List(&[known("headerName", Text), known("headerValue", Keys(STRING_MATCH))])),
        ]),
    ),
    known("setMirrorRoute", Keys(MIRROR)),
    known("plugin", Keys(&[known("name", Text), known("config", Free)])),
];

static EXPERIMENT: &[Known] = &[
    known("templates", List(SIDES)),
    known("duration", Text),
    known("scaleDownDelaySeconds", Whole),
    known(
        "analyses",
        List(&[
            known("name", Text),
            known("templateName", Text),
            known("clusterScope", Truth),
            known("args", List(RUN_ARGS)),
            known("requiredForCompletion", Truth),
        ]),
    ),
    known("dryRun", List(DRY_RUN)),
    known("analysisRunMetadata", Keys(MARKS)),
];

static SIDES: &[Known] = &[
    known("name", Text),
    known("specRef", Text),
    known("replicas", Whole),
    known("weight", Whole),
    known("metadata", Keys(MARKS)),
    known("selector", Keys(SELECTOR)),
    known("service", Keys(&[known("name", Text)])),
];

static MIRROR: &[Known] = &[
    known("name", Text),
    known("percentage", Whole),
    known(
        "match",
        List(&[
            known("method", Keys(STRING_MATCH)),
            known("path", Keys(STRING_MATCH)),
            known("headers", Each(STRING_MATCH)),
        ]),
    ),
];

static STRING_MATCH: &[Known] = &[known("exact", Text), known("regex", Text), known("prefix", Text)];

static ANALYSIS: &[Known] = &[
    known("templates", List(TEMPLATES)),
    known("args", List(RUN_ARGS)),
    known("dryRun", List(DRY_RUN)),
    known("measurementRetention", List(RETENTION))
        .note("so many measurements of a run are kept", "every measurement is in the journal"),
    known("analysisRunMetadata", Keys(MARKS))
        .note("labels for the AnalysisRun object", "there is no such object"),
];

static BACKGROUND: &[Known] = &[
    known("templates", List(TEMPLATES)),
    known("args", List(RUN_ARGS)),
    known("dryRun", List(DRY_RUN)),
    known("measurementRetention", List(RETENTION))
        .note("so many measurements of a run are kept", "every measurement is in the journal"),
    known("analysisRunMetadata", Keys(MARKS))
        .note("labels for the AnalysisRun object", "there is no such object"),
    known("startingStep", Whole),
];

static ROUTING: &[Known] = &[
    known("istio", Keys(ISTIO)),
    known(
        "nginx",
        Keys(&[
            known("stableIngress", Text),
            known("stableIngresses", Texts),
            known("annotationPrefix", Text).warning(
                "another prefix for the canary annotations",
                "annotations are written with `nginx.ingress.kubernetes.io`",
            ),
            known("additionalIngressAnnotations", Words),
            known("canaryIngressAnnotations", Words),
        ]),
    ),
    known("plugins", Open),
    known("managedRoutes", List(&[known("name", Text)])),
    known("maxTrafficWeight", Whole),
    known("alb", Keys(router::ALB)).error(OTHER_ROUTER, USE),
    known("smi", Keys(router::SMI)).error(OTHER_ROUTER, USE),
    known("ambassador", Keys(router::AMBASSADOR)).error(OTHER_ROUTER, USE),
    known("appMesh", Keys(router::APP_MESH)).error(OTHER_ROUTER, USE),
    known("traefik", Keys(router::TRAEFIK)).error(OTHER_ROUTER, USE),
    known("apisix", Keys(router::APISIX)).error(OTHER_ROUTER, USE),
];

const OTHER_ROUTER: &str = "shares are weights of this router";
const USE: &str = "not one of Tidegate's routers: point it to the Service, whose selector Tidegate moves (shares by numbers of pods), or name a Gateway API HTTPRoute, an Istio VirtualService or an ingress-nginx Ingress under `run.kubernetes.traffic`";

static ISTIO: &[Known] = &[
    known("virtualService", Keys(VIRTUAL_SERVICE)),
    known("virtualServices", List(VIRTUAL_SERVICE)),
    known(
        "destinationRule",
        Keys(&[known("name", Text), known("canarySubsetName", Text), known("stableSubsetName", Text)]),
    ),
];

static VIRTUAL_SERVICE: &[Known] = &[
    known("name", Text).required(),
    known("routes", Texts).note(
        "only the routes with these names get weights",
        "every rule of the VirtualService that points to the Service gets them, and no other",
    ),
    known("tlsRoutes", List(&[known("port", Whole), known("sniHosts", Texts)]))
        .warning("weights for TLS routes", "only HTTP routes are moved; TLS routes stay as they are"),
    known("tcpRoutes", List(&[known("port", Whole)]))
        .warning("weights for TCP routes", "only HTTP routes are moved; TCP routes stay as they are"),
];

static BLUE_GREEN: &[Known] = &[
    known("activeService", Text).required(),
    known("previewService", Text),
    known("previewReplicaCount", Whole).warning(
        "fewer pods before the switch",
        "the new release has all its pods before the switch: it is judged at the size that it will have",
    ),
    known("autoPromotionEnabled", Truth),
    known("autoPromotionSeconds", Whole),
    known("maxUnavailable", Amount)
        .note("applied only where pods are restarted", "pods of a release are never restarted in place"),
    known("scaleDownDelaySeconds", Whole),
    OLD_REVISIONS,
    known("abortScaleDownDelaySeconds", Whole).note(
        "after an abort the new pods stay so long; 0 keeps them for ever",
        "after a way back the release's pods are stopped once traffic has left them",
    ),
    APART,
    known("prePromotionAnalysis", Keys(ANALYSIS)),
    known("postPromotionAnalysis", Keys(ANALYSIS)),
    labels("previewMetadata", "labels and annotations for the pods before the switch"),
    labels("activeMetadata", "labels and annotations for the pods after the switch"),
];
