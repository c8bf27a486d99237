//! `routing`: how users' requests are carried.

use super::{Block, DAY, Form, HOUR, Kind, MINUTE, Word, field, optional, required, word};

pub(super) static ROUTING: Block = Block::of(
    "How users' requests are carried.",
    &[
        optional(
            "sticky",
            Kind::Or {
                word: word("client_address", "users are told apart by their IP address"),
                nothing: false,
                other: &Kind::Block(&STICKY),
            },
            "each request is drawn anew",
            "What keeps one user on one release; with it a user only ever moves towards the new release while its share rises.",
        ),
        field(
            "rules",
            Kind::List { of: &Kind::Block(&RULE), min: 0, max: 100 },
            "[]",
            "Rules looked at before the shares; the first that matches wins (A/B tests, testers).",
        ),
        field(
            "health",
            Kind::Block(&HEALTH),
            "{}",
            "How instances are found healthy or not while they serve.",
        ),
        field("limits", Kind::Block(&LIMITS), "{}", "Bounds on time and number."),
        field(
            "maintenance",
            Kind::Block(&MAINTENANCE),
            "{}",
            "What users get while the service is in maintenance.",
        ),
    ],
);

static STICKY: Block = Block::of(
    "What tells users apart. Exactly one of the two, or `client_address`.",
    &[
        optional(
            "cookie",
            Kind::Text(Form::Token),
            "not used",
            "A cookie of this name; the proxy sets it when a user has none.",
        ),
        optional("header", Kind::Text(Form::Token), "not used", "A request header of this name."),
    ],
)
.one_of(&["cookie", "header"], None);

static RULE: Block = Block::of(
    "Sends the requests that match to one release, whatever the shares.",
    &[
        required(
            "when",
            Kind::List { of: &Kind::Block(&CONDITION), min: 1, max: 16 },
            "Conditions; all of them must hold.",
        ),
        required("to", Kind::Word(SIDES), "Which release."),
    ],
);

static CONDITION: Block = Block::of(
    "One condition on a request. Exactly one of `header`, `cookie` and `path`.",
    &[
        optional("header", Kind::Text(Form::Token), "not looked at", "A header of this name is there."),
        optional("cookie", Kind::Text(Form::Token), "not looked at", "A cookie of this name is there."),
        optional("path", Kind::Text(Form::HttpPath), "not looked at", "The path is this, or lies below it."),
        optional(
            "value",
            Kind::Text(Form::Free),
            "any value",
            "The header or cookie has exactly this value.",
        )
        .beside(&["header", "cookie"]),
    ],
)
.one_of(&["header", "cookie", "path"], None);

const SIDES: &[Word] = &[
    word("new", "the release that is being rolled out, while there is one"),
    word("stable", "the last good release"),
];

const PROBE: &[&str] = &["http"];

static HEALTH: Block = Block::of(
    "Which instances get traffic.",
    &[
        optional(
            "http",
            Kind::Text(Form::HttpPath),
            "no regular probes",
            "Path that is asked for with GET at regular times; 2xx and 3xx are healthy.",
        ),
        field("interval", Kind::Duration { min: 50, max: HOUR }, "1s", "Time between two probes.")
            .beside(PROBE),
        field(
            "timeout",
            Kind::Duration { min: 10, max: 5 * MINUTE },
            "1s",
            "A probe that takes longer has failed.",
        )
        .beside(PROBE),
        field(
            "rise",
            Kind::Whole { min: 1, max: 100 },
            "2",
            "Successes in a row that make an instance healthy.",
        )
        .beside(PROBE),
        field("fall", Kind::Whole { min: 1, max: 100 }, "3", "Failures in a row that make it unhealthy.")
            .beside(PROBE),
        field(
            "slow_start",
            Kind::Duration { min: 0, max: HOUR },
            "0s",
            "A new instance's part of the traffic rises from a tenth to full over this time.",
        ),
        field("passive", Kind::Block(&PASSIVE), "{}", "What users' own requests tell."),
    ],
);

static PASSIVE: Block = Block::of(
    "Connect errors, resets and time-outs of users' own requests take an instance out for a while; the last one stays.",
    &[
        field(
            "failures",
            Kind::Whole { min: 0, max: 1_000 },
            "5",
            "Failures in a row that take it out; `0` never does.",
        ),
        field("eject", Kind::Duration { min: 100, max: HOUR }, "2s", "How long it stays out."),
    ],
);

static LIMITS: Block = Block::of(
    "Bounds on time and number.",
    &[
        field("connect", Kind::Duration { min: 1, max: 5 * MINUTE }, "1s", "Connecting to an instance."),
        field(
            "response",
            Kind::Duration { min: 1, max: DAY },
            "30s",
            "From the end of a request to the head of its answer.",
        ),
        field(
            "idle",
            Kind::Duration { min: 1, max: DAY },
            "60s",
            "Longest silence inside a body, in either direction.",
        ),
        field("header_read", Kind::Duration { min: 1, max: HOUR }, "10s", "Reading a request's head."),
        field(
            "in_flight",
            Kind::Whole { min: 1, max: 1_000_000 },
            "10000",
            "Requests under way at once; beyond it the answer is 503 with `Retry-After`.",
        ),
        field(
            "drain",
            Kind::Duration { min: 0, max: HOUR },
            "10s",
            "Time that requests get to finish before they are cut.",
        ),
        field(
            "drain_websocket",
            Kind::Duration { min: 0, max: DAY },
            "30s",
            "The same for upgraded connections.",
        ),
    ],
);

static MAINTENANCE: Block = Block::of(
    "The answer to every request while the service is in maintenance; requests that a rule matches still pass.",
    &[
        field("status", Kind::Whole { min: 400, max: 599 }, "503", "Status."),
        field(
            "body",
            Kind::Text(Form::Free),
            "\"Down for maintenance. Please try again soon.\\n\"",
            "Body, text or HTML.",
        ),
        field(
            "retry_after",
            Kind::Duration { min: 1_000, max: DAY },
            "30s",
            "`Retry-After`, in whole seconds.",
        ),
    ],
);
