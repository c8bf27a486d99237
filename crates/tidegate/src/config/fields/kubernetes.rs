//! `run.kubernetes`: which Deployment a release becomes, and what moves its traffic.

use super::{Block, Form, HOUR, Kind, SECOND, Word, blast, field, optional, required, word};

const PODS_MAX: u64 = 10_000;
const PODS: Kind = Kind::Batch { min: 0, max: 10_000 };

pub(in crate::config) static KUBERNETES: Block = Block::of(
    "A Deployment on Kubernetes. Every release is a Deployment of its own; what moves is traffic. What runs there already \
     becomes the first stable release, and its pods stay as they are.",
    &[
        required(
            "manifest",
            Kind::Text(Form::Inside),
            "A Deployment manifest (YAML) whose pod template every release gets. Its name and number of replicas are not used.",
        ),
        optional(
            "image",
            Kind::Text(Form::Image),
            "the manifest's own",
            "The image by digest, `name@sha256:…`; `deploy --image` says it too. A tag alone is refused: it may be another image tomorrow.",
        ),
        optional(
            "container",
            Kind::Text(Form::Object),
            "the only container",
            "The container of the manifest that `image` is for.",
        )
        .beside(&["image"]),
        required("service", Kind::Text(Form::Object), "The Service that users come in by."),
        field("port", Kind::Whole { min: 1, max: 65_535 }, "80", "Its port that routes point to."),
        optional(
            "preview",
            Kind::Text(Form::Object),
            "the service's name with `-preview`, made where there is none",
            "The Service that reaches the release under way and nobody else: a route's second backend, and where it can be tried \
             before users get it. One that is named here may be there already; its selector is then changed.",
        ),
        optional(
            "adopt_rollout",
            Kind::Text(Form::Object),
            "what serves is a Deployment, or nothing",
            "A Rollout of Argo Rollouts that serves now: where no release of the service is known, its pods become the stable one \
             as they are, and its controller leaves it alone from then on. Means nothing afterwards.",
        ),
        field("namespace", Kind::Text(Form::Object), "default", "The namespace."),
        optional("context", Kind::Text(Form::Any), "the current one", "The context of the kubeconfig."),
        optional(
            "kubeconfig",
            Kind::Text(Form::File),
            "`KUBECONFIG`, else `~/.kube/config`, else the service account of the pod that Tidegate runs in",
            "The kubeconfig.",
        ),
        field(
            "cells",
            Kind::Map { key: Form::Name, of: &Kind::Block(&CELL), min: 0, max: 50 },
            "{}",
            "Several clusters, regions or namespaces by name, each with all of the release: one plan, one verdict. Without any there is \
             one, named beside this.",
        ),
        field("turn_back", Kind::Word(TURN_BACK), "all", "What goes back when a step fails in a later wave."),
        field("replicas", Kind::Whole { min: 1, max: PODS_MAX }, "1", "Pods that carry all traffic."),
        field("traffic", Kind::Block(&TRAFFIC), "{}", "What moves traffic from one release to the next."),
        field(
            "testers",
            Kind::List { of: &Kind::Block(&TESTER), min: 0, max: 16 },
            "[]",
            "Whose requests always reach the new release while there is one, whatever the share (A/B tests, testers); any of them is \
             enough. Needs a route.",
        ),
        field(
            "surge",
            PODS,
            "25%",
            "Pods above `replicas` while two releases share them: a number, or a share rounded up.",
        ),
        field(
            "unavailable",
            PODS,
            "0",
            "Pods below `replicas` that may be missing meanwhile: a number, or a share rounded down.",
        ),
        field(
            "progress",
            Kind::Duration { min: SECOND, max: 24 * HOUR },
            "2m",
            "A start in which no further pod has become ready for so long has failed; a crash loop does not begin it anew.",
        ),
        field(
            "way_back",
            Kind::Share { min: 100, max: 10_000 },
            "50%",
            "Smallest part of the stable release's pods that has to be ready for all traffic to return at once. With fewer, as \
             much returns as they can carry, and more as they come.",
        ),
        field(
            "pod_security",
            blast::SECURITY,
            "restricted",
            "What pods may do: a profile of the Pod Security Standards, with exceptions.",
        ),
        field(
            "service_account_token",
            Kind::Bool,
            "false",
            "Whether pods get the token of their service account although the manifest does not say so.",
        ),
        field(
            "resources",
            Kind::Word(blast::SIZES),
            "by_criticality",
            "Requests and the memory limit of a container whose manifest has none. What the manifest says always holds.",
        ),
        field(
            "disruption_budget",
            Kind::Bool,
            "true",
            "A PodDisruptionBudget for the service while it has more than one pod: one of them stays when nodes are emptied. Not \
             where somebody else's finds its pods.",
        ),
        optional(
            "network_policy",
            Kind::Block(&blast::NETWORK),
            "none: whoever reaches pods now goes on reaching them",
            "A NetworkPolicy for each release, there before its first pod.",
        ),
        field(
            "configs",
            blast::CONFIGS,
            "[]",
            "Manifests of ConfigMaps and Secrets that the pod template refers to by name. Each is written under a name with the \
             hash of its content and never changes, so that configuration is rolled out and turned back with the release.",
        ),
        field("autoscale", blast::AUTOSCALES, "follow", "What changes the number of pods."),
        field("caps", Kind::Block(&blast::CAPS), "{}", "Bounds on what a strategy may do."),
    ],
);

static CELL: Block = Block::of(
    "One place of several. What is not said here is as it is said beside `cells`.",
    &[
        optional("context", Kind::Text(Form::Any), "the service's", "The context of the kubeconfig."),
        optional("kubeconfig", Kind::Text(Form::File), "the service's", "The kubeconfig."),
        optional("namespace", Kind::Text(Form::Object), "the service's", "The namespace."),
        optional("region", Kind::Text(Form::Any), "not said", "Where it is, for people."),
        field(
            "wave",
            Kind::Whole { min: 1, max: 100 },
            "1",
            "Its wave: the cells of a wave go through all steps of the strategy together, and then those of the next.",
        ),
    ],
);

static TESTER: Block = Block::of(
    "A mark by which requests are told from others. Exactly one of `header` and `cookie`.",
    &[
        optional("header", Kind::Text(Form::Token), "not looked at", "A header of this name."),
        optional("cookie", Kind::Text(Form::Token), "not looked at", "A cookie of this name, with `value`."),
        optional("value", Kind::Text(Form::Any), "see `matches`", "Its whole value.")
            .beside(&["header", "cookie"]),
        optional(
            "matches",
            Kind::Text(Form::Any),
            "see `value`",
            "A regular expression for the header's value, in the router's dialect.",
        )
        .beside(&["header"]),
    ],
)
.one_of(&["header", "cookie"], None);

const TURN_BACK: &[Word] = &[
    word("all", "every cell goes back to the stable release"),
    word(
        "wave",
        "the wave that failed goes back; earlier ones keep the new release until the next deployment",
    ),
];

static TRAFFIC: Block = Block::of(
    "What moves traffic. Without any: the Service's selector, where shares are made by numbers of pods and the achieved \
     share is said.",
    &[
        optional(
            "http_route",
            Kind::Text(Form::Object),
            "none",
            "A Gateway API HTTPRoute, by name: weights.",
        ),
        optional(
            "virtual_service",
            Kind::Text(Form::Object),
            "none",
            "An Istio VirtualService, by name: weights.",
        ),
        optional(
            "destination_rule",
            Kind::Text(Form::Object),
            "none",
            "The DestinationRule of the Service as host, by name: the VirtualService then names subsets of it, and no second \
             Service.",
        ),
        optional(
            "ingress",
            Kind::Text(Form::Object),
            "none",
            "An Ingress of ingress-nginx, by name: a second one with canary annotations stands beside it.",
        ),
    ],
);
