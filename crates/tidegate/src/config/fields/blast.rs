//! The part of `run.kubernetes` about what a bad release could harm, and how many pods there are.

use super::{Block, Form, Kind, Word, field, optional, word};

const LIST_MAX: usize = 64;

pub(super) const SECURITY: Kind = Kind::Short { key: "profile", block: &POD_SECURITY };
pub(super) const AUTOSCALES: Kind = Kind::Short { key: "mode", block: &AUTOSCALE };
pub(super) const CONFIGS: Kind = Kind::List { of: &Kind::Text(Form::Inside), min: 0, max: LIST_MAX };

static POD_SECURITY: Block = Block::of(
    "What pods may do, by the Pod Security Standards of Kubernetes. A profile alone stands for the block with only `profile`.",
    &[
        field("profile", Kind::Word(PROFILES), "restricted", "The profile."),
        field(
            "allow",
            Kind::List { of: &Kind::Text(Form::Any), min: 0, max: LIST_MAX },
            "[]",
            "Rules (`host_path`), or paths of fields in the manifest, that need not keep the profile. The plan and the record \
             name them.",
        ),
    ],
);

const PROFILES: &[Word] = &[
    word(
        "restricted",
        "what the manifest does not say is filled in, what it says against the profile is refused",
    ),
    word("baseline", "only what is known to reach the node is refused"),
    word("privileged", "nothing is looked at"),
];

pub(super) const SIZES: &[Word] = &[
    word("by_criticality", "a container without any gets those of the service's criticality"),
    word("manifest", "a container without any has none"),
];

pub(super) static NETWORK: Block = Block::of(
    "Who may reach the pods of a release: nobody but pods of its own namespace and of these, by the Service's ports and these. \
     Needs a network plug-in that knows NetworkPolicy.",
    &[
        field(
            "from",
            Kind::List { of: &Kind::Text(Form::Object), min: 0, max: LIST_MAX },
            "[]",
            "Further namespaces, by name: that of the ingress controller, of the monitoring.",
        ),
        field(
            "addresses",
            Kind::List { of: &Kind::Text(Form::Any), min: 0, max: LIST_MAX },
            "[]",
            "Ranges of addresses (`10.0.0.0/8`) that are no pods': of the nodes, of a load balancer.",
        ),
        field(
            "ports",
            Kind::List { of: &Kind::Whole { min: 1, max: 65_535 }, min: 0, max: LIST_MAX },
            "[]",
            "Further ports of the pods: that of their metrics.",
        ),
    ],
);

static AUTOSCALE: Block = Block::of(
    "What changes the number of pods: each release gets a HorizontalPodAutoscaler that never goes below what the rollout needs. \
     A mode alone stands for the block with only `mode`.",
    &[
        field("mode", Kind::Word(MODES), "own", "Who says how."),
        optional("min", Kind::Whole { min: 1, max: 10_000 }, "none", "Fewest pods; mode `own` needs it."),
        optional("max", Kind::Whole { min: 1, max: 10_000 }, "none", "Most pods; mode `own` needs it."),
        optional(
            "cpu",
            Kind::Share { min: 100, max: 10_000 },
            "not looked at",
            "CPU that pods should use of what they request.",
        ),
        optional(
            "memory",
            Kind::Share { min: 100, max: 10_000 },
            "not looked at",
            "Memory that pods should use of what they request.",
        ),
        field(
            "pods",
            METRICS,
            "{}",
            "Metrics of the pods (`custom.metrics.k8s.io`), each with the average that a pod should have: `\"100\"`, `500m`.",
        ),
        field(
            "external",
            METRICS,
            "{}",
            "Metrics of elsewhere (`external.metrics.k8s.io`), each with the part of it that a pod should have.",
        ),
    ],
);

const METRICS: Kind = Kind::Map { key: Form::Any, of: &Kind::Text(Form::Any), min: 0, max: LIST_MAX };

const MODES: &[Word] = &[
    word("own", "this block: `min`, `max` and what is looked at"),
    word("follow", "the autoscaler that the stable release has, where it has one"),
    word("off", "nobody; an autoscaler of the adopted Deployment is not looked at"),
];

pub(super) static CAPS: Block = Block::of(
    "Bounds on what a strategy may do.",
    &[optional(
        "share_step",
        Kind::Share { min: 1, max: 10_000 },
        "`50%` with criticality `critical`, `100%` otherwise",
        "Largest rise of a canary's share from one step to the next, and so before the next gate.",
    )],
);
