//! `run.kubernetes`: which Deployment a release becomes, and what moves its traffic.

use super::{Block, Form, HOUR, Kind, SECOND, field, optional, required};

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
        field("namespace", Kind::Text(Form::Object), "default", "The namespace."),
        optional("context", Kind::Text(Form::Any), "the current one", "The context of the kubeconfig."),
        optional(
            "kubeconfig",
            Kind::Text(Form::File),
            "`KUBECONFIG`, else `~/.kube/config`, else the service account of the pod that Tidegate runs in",
            "The kubeconfig.",
        ),
        field("replicas", Kind::Whole { min: 1, max: PODS_MAX }, "1", "Pods that carry all traffic."),
        field("traffic", Kind::Block(&TRAFFIC), "{}", "What moves traffic from one release to the next."),
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
    ],
);

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
            "ingress",
            Kind::Text(Form::Object),
            "none",
            "An Ingress of ingress-nginx, by name: a second one with canary annotations stands beside it.",
        ),
    ],
);
