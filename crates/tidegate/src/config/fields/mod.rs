//! The table of fields, version 1: every key of `tidegate.yaml`, its type, bounds, default and meaning.

mod blast;
mod confidence;
mod gates;
mod kubernetes;
mod metrics;
mod routing;
mod run;
mod strategy;

pub(super) use gates::LATENCY_SHIFT;
pub(super) use kubernetes::KUBERNETES;

use super::table::{Block, Field, Form, Kind, Word, field, optional, required, word};

const SECOND: u64 = 1_000;
const MINUTE: u64 = 60 * SECOND;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;
const KIB: u64 = 1_024;
const MIB: u64 = 1_024 * KIB;
const GIB: u64 = 1_024 * MIB;

/// Services in one file; also the bound on the names in `env`.
const NAMES_MAX: usize = 256;

/// The whole file.
pub(super) static FILE: Block = Block::of(
    "What is run, how it is rolled out, and what has to hold for it to go on.",
    &[
        required(
            "version",
            Kind::Whole { min: 1, max: 1 },
            "Version of this file's format; `1` is the only one so far.",
        ),
        required(
            "services",
            Kind::Map { key: Form::Name, of: &Kind::Block(&SERVICE), min: 1, max: NAMES_MAX },
            "The services, each under its name.",
        ),
    ],
);

pub(super) static SERVICE: Block = Block::of(
    "One service: what users reach at `listen`, whichever release answers.",
    &[
        field(
            "criticality",
            Kind::Word(CRITICALITY),
            "medium",
            "How much harm a failure of the service does.",
        ),
        field("environment", Kind::Text(Form::Name), "production", "The environment that is deployed to."),
        optional(
            "listen",
            Kind::OneOrMany { of: &Kind::Listen, max: 16 },
            "needed, but on Kubernetes: there users come in by a Service",
            "Where users come in: `IP:port`, or several. A port alone is that port on `127.0.0.1`; `0.0.0.0:80` is every \
             interface. Quote IPv6: `\"[::1]:8080\"`.",
        ),
        optional(
            "tls",
            Kind::Block(&TLS),
            "plain HTTP",
            "Certificate and key for all addresses of `listen`.",
        ),
        required(
            "run",
            Kind::Block(&run::RUN),
            "What runs: a command or a container on this machine, or a Deployment on Kubernetes.",
        ),
        field(
            "strategy",
            Kind::Block(&strategy::STRATEGY),
            "{}",
            "How a new release takes over. Without it: a canary in four steps.",
        ),
        optional(
            "shadow",
            Kind::Block(&strategy::SHADOW),
            "no shadow phase",
            "A phase before users see the new release: it gets copies of their requests, and its answers are compared and \
             dropped.",
        ),
        field(
            "gates",
            Kind::Block(&gates::GATES),
            "{}",
            "The questions that every step has to answer well. Each may be `off`.",
        ),
        field(
            "judgement",
            Kind::Block(&gates::JUDGEMENT),
            "{}",
            "How the gates judge: how they are asked, how sure they have to be, and what is done while they are not.",
        ),
        field(
            "confidence",
            Kind::Block(&confidence::CONFIDENCE),
            "{}",
            "What is known of a release before it gets traffic, and what its confidence score decides.",
        ),
        field(
            "metrics",
            Kind::Map {
                key: Form::Key,
                of: &Kind::Block(&metrics::METRIC),
                min: 0,
                max: metrics::METRICS_MAX,
            },
            "{}",
            "What other sources say, each under its name: gates refer to it.",
        ),
        field("routing", Kind::Block(&routing::ROUTING), "{}", "How users' requests are carried."),
        field(
            "watch",
            Kind::Duration { min: 0, max: DAY },
            "5m",
            "Time after the promotion in which the gates still look, and the last good release stays warm for an instant \
             way back.",
        ),
        optional(
            "lease",
            Kind::Or {
                word: word("off", "traffic stays split however long the control plane is gone"),
                nothing: true,
                other: &Kind::Duration { min: SECOND, max: 7 * DAY },
            },
            "10 minutes, or twice the longest bake if that is more",
            "When the control plane is silent for longer than this in the middle of a deployment, the proxy returns all \
             traffic to the last good release by itself.",
        ),
        field(
            "queue",
            Kind::Word(QUEUE),
            "wait",
            "What a second deployment does while one of the service is under way.",
        ),
        field(
            "pause_max",
            Kind::Duration { min: MINUTE, max: 30 * DAY },
            "24h",
            "A pause or a wait for an approval that lasts longer than this turns back.",
        ),
        field("keep_releases", Kind::Whole { min: 2, max: 100 }, "5", "Releases kept on disk to go back to."),
    ],
);

/// What `tidegate judge` asks of batches.
pub(super) static JUDGED: Block = Block::of(
    "What `tidegate judge` asks: `gates` and `judgement` are those of a service in `tidegate.yaml`. A gate's `metric`, and \
     that of a custom gate, is one that the batches carry.",
    &[
        field(
            "criticality",
            Kind::Word(CRITICALITY),
            "medium",
            "How much harm a failure of the service does.",
        ),
        field(
            "shares",
            Kind::List { of: &Kind::Share { min: 1, max: 10_000 }, min: 0, max: 50 },
            "[]",
            "Shares of the traffic of the stages, in order: batches need not repeat them, and what the next stage would put \
             at risk is known.",
        ),
        field("gates", Kind::Block(&gates::GATES), "{}", "The questions. Each may be `off`."),
        field("judgement", Kind::Block(&gates::JUDGEMENT), "{}", "How the gates judge."),
    ],
);

/// Every method that a shadow phase may copy.
pub(super) fn methods() -> Vec<&'static str> {
    strategy::METHODS.iter().map(|method| method.word).collect()
}

/// Whether one of our own gates has this name.
pub(super) fn is_standard_gate(name: &str) -> bool {
    gates::GATES.field(name).is_some()
}

static TLS: Block = Block::of(
    "Certificate and key, PEM files; read again whenever a table is applied.",
    &[
        required("certificate", Kind::Text(Form::File), "Certificate chain, leaf first."),
        required("key", Kind::Text(Form::File), "Private key (PKCS#8, PKCS#1 or SEC1)."),
    ],
);

const CRITICALITY: &[Word] = &[
    word("low", "nobody would notice at once"),
    word("medium", "users notice"),
    word("high", "business stops for some"),
    word("critical", "business stops"),
];

const QUEUE: &[Word] = &[
    word("wait", "starts when the first has ended"),
    word("supersede", "turns the first one back and starts then"),
    word("reject", "is refused"),
];
