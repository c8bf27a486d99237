//! `gates`: the standard gates, and `judgement`: what they share.

use super::{
    Block, DAY, Field, Form, HOUR, Kind, SECOND, Word, field,
    metrics::{CUSTOM, METRICS_MAX},
    optional, word,
};

const OFF: Word = word("off", "the gate is not asked");
const LIMIT: Kind = Kind::Duration { min: 1, max: 3_600_000 };
const LEVEL: Kind = Kind::Share { min: 1, max: 10_000 };

const fn gate(block: &'static Kind) -> Kind {
    Kind::Or { word: OFF, nothing: true, other: block }
}

/// Sequential only.
pub(in crate::config) const LATENCY_SHIFT: Kind =
    Kind::Or { word: OFF, nothing: true, other: &Kind::Block(&SHIFT) };

pub(super) static JUDGEMENT: Block = Block::of(
    "How the gates judge, and what they share.",
    &[
        field("mode", Kind::Word(MODES), "sequential", "How gates are asked that do not say themselves."),
        field(
            "observe",
            Kind::Bool,
            "false",
            "Judge and say so, but never act on it: no gate turns back or holds. Only instances that crash still do.",
        ),
        field(
            "false_rollback",
            Kind::Share { min: 1, max: 5_000 },
            "1%",
            "How many of 100 healthy releases may be turned back: all gates and all steps of a deployment together.",
        ),
        optional(
            "miss",
            Kind::Share { min: 1, max: 5_000 },
            "5%; 1% when `criticality` is `critical`",
            "How many of 100 releases as bad as `bad` may pass a gate.",
        ),
        optional(
            "bad",
            Kind::Decimal { what: "a ratio", example: "2.0", min: 1_010, max: 100_000 },
            "2; 1.5 when `criticality` is `critical`, 3 when it is `low`",
            "A step passes once this many times the stable release's failures are ruled out.",
        ),
        field(
            "warmup",
            Kind::Duration { min: 0, max: HOUR },
            "30s",
            "For so long after an exposure that brought new instances only a plain outage counts: caches are cold.",
        ),
        field(
            "warmup_requests",
            Kind::Whole { min: 1, max: 10_000_000 },
            "10000",
            "The warm-up is over after so many requests, too.",
        ),
        field(
            "warmup_failures",
            Kind::Share { min: 10, max: 9_000 },
            "10%",
            "A release that surely fails more often than this turns back even while it warms up.",
        ),
        field(
            "max_dwell",
            Kind::Duration { min: SECOND, max: 7 * DAY },
            "10m",
            "The longest that a step lasts while the evidence decides nothing.",
        ),
        field(
            "objective",
            Kind::Share { min: 5_000, max: 9_999 },
            "99.9%",
            "The service's objective: how many of 100 requests have to succeed over 30 days.",
        ),
        field(
            "risk",
            Kind::Share { min: 0, max: 10_000 },
            "0.1%",
            "How much of 30 days' tolerated failures may be put at risk by going on before `bad` is ruled out.",
        ),
    ],
);

pub(super) static GATES: Block = Block::of(
    "The standard gates. Each is answered at every step, over the same time for the new release and the one it replaces.",
    &[
        field(
            "error_rate",
            gate(&Kind::Block(&ERROR_RATE)),
            "{}",
            "Failed requests, compared with the stable release.",
        ),
        field(
            "latency_p95",
            gate(&Kind::Block(&LATENCY_P95)),
            "{}",
            "95th percentile of the time to answer.",
        ),
        field(
            "latency_p99",
            gate(&Kind::Block(&LATENCY_P99)),
            "{}",
            "99th percentile of the time to answer.",
        ),
        optional(
            "latency_shift",
            LATENCY_SHIFT,
            "asked when `judgement.mode` is `sequential`",
            "Slow requests, compared with the stable release at every duration. Only in `sequential` mode.",
        ),
        field("cpu", gate(&Kind::Block(&CPU)), "{}", "CPU in use, of what `run.resources` calls all."),
        field(
            "memory",
            gate(&Kind::Block(&MEMORY)),
            "{}",
            "Memory in use, of what `run.resources` calls all.",
        ),
        field(
            "request_rate",
            gate(&Kind::Block(&REQUEST_RATE)),
            "{}",
            "Requests that arrive, compared with what the share should bring: a step passes only with the share that they show.",
        ),
        field(
            "custom",
            Kind::Map { key: Form::Key, of: &Kind::Block(&CUSTOM), min: 0, max: METRICS_MAX },
            "{}",
            "Gates of your own, each under its name: conditions for a metric's value.",
        ),
    ],
);

static ERROR_RATE: Block = Block::of(
    "The new release's share of failed requests against the stable one's.",
    &[
        field(
            "ratio_max",
            Kind::Decimal { what: "a ratio", example: "1.1", min: 1_000, max: 100_000 },
            "1.1",
            "Largest ratio to the stable release's rate.",
        ),
        optional(
            "floor",
            Kind::Share { min: 0, max: 10_000 },
            "0.01% in `sequential` mode, 0% in `threshold` mode",
            "A rate up to this passes, whatever the stable release's is.",
        ),
        MIN_REQUESTS,
        MODE,
        METRIC,
        ON_FAILURE,
        ON_NO_EVIDENCE,
        HOLD_MAX,
        ON_INCONCLUSIVE,
    ],
);

static LATENCY_P95: Block = Block::of(
    "95 of 100 requests are answered within the limit.",
    &[
        field("limit", LIMIT, "500ms", "Largest 95th percentile."),
        MIN_REQUESTS,
        MODE,
        METRIC,
        ON_FAILURE,
        ON_NO_EVIDENCE,
        HOLD_MAX,
        ON_INCONCLUSIVE,
    ],
);

static LATENCY_P99: Block = Block::of(
    "99 of 100 requests are answered within the limit.",
    &[
        field("limit", LIMIT, "1s", "Largest 99th percentile."),
        MIN_REQUESTS,
        MODE,
        METRIC,
        ON_FAILURE,
        ON_NO_EVIDENCE,
        HOLD_MAX,
        ON_INCONCLUSIVE,
    ],
);

static SHIFT: Block = Block::of(
    "However slow is meant: the share of requests slower than that, against the stable release's.",
    &[
        field(
            "ratio_max",
            Kind::Decimal { what: "a ratio", example: "1.25", min: 1_000, max: 100_000 },
            "1.25",
            "Largest ratio to the stable release's share of slow requests.",
        ),
        MIN_REQUESTS,
        MODE,
        METRIC,
        ON_FAILURE,
        ON_NO_EVIDENCE,
        HOLD_MAX,
        ON_INCONCLUSIVE,
    ],
);

static CPU: Block = Block::of(
    "CPU in use stays below the limit.",
    &[
        field("limit", LEVEL, "80%", "Largest use."),
        MODE,
        ON_FAILURE,
        ON_NO_EVIDENCE,
        HOLD_MAX,
        ON_INCONCLUSIVE,
    ],
);

static MEMORY: Block = Block::of(
    "Memory in use stays below the limit.",
    &[
        field("limit", LEVEL, "90%", "Largest use."),
        MODE,
        ON_FAILURE,
        ON_NO_EVIDENCE,
        HOLD_MAX,
        ON_INCONCLUSIVE,
    ],
);

static REQUEST_RATE: Block = Block::of(
    "The new release gets the requests that its share should bring, and the stable one the others.",
    &[
        field("min", LEVEL, "50%", "Smallest part of what the share promises either release."),
        MIN_REQUESTS,
        MODE,
        METRIC,
        ON_FAILURE,
        ON_NO_EVIDENCE,
        HOLD_MAX,
        ON_INCONCLUSIVE,
    ],
);

const MIN_REQUESTS: Field = field(
    "min_requests",
    Kind::Whole { min: 1, max: 10_000_000 },
    "20",
    "With fewer requests than this in the window there is no evidence.",
);
pub(super) const ON_FAILURE: Field =
    field("on_failure", Kind::Word(FAILURE), "roll_back", "What a failed gate does.");
pub(super) const ON_NO_EVIDENCE: Field = field(
    "on_no_evidence",
    Kind::Word(NO_EVIDENCE),
    "hold",
    "What happens while there is too little to judge by.",
);
pub(super) const HOLD_MAX: Field = field(
    "hold_max",
    Kind::Duration { min: 1_000, max: 7 * DAY },
    "180s",
    "Evidence that is awaited longer than this turns back.",
);

const MODE: Field = optional("mode", Kind::Word(MODES), "`mode` of `judgement`", "How this gate is asked.");
const METRIC: Field = optional(
    "metric",
    Kind::Text(Form::Key),
    "what the proxy counts",
    "A metric of `metrics` whose counters are asked instead of the proxy's.",
);
pub(super) const ON_INCONCLUSIVE: Field = optional(
    "on_inconclusive",
    Kind::Word(INCONCLUSIVE),
    "`promote`; `hold` when `criticality` is `critical`",
    "What happens when there is evidence, and it decides nothing in the longest time that a stage may last (`max_dwell` of \
     `judgement`).",
);

const MODES: &[Word] = &[
    word(
        "sequential",
        "after every sample, by a test that may be asked as often as wanted; it ends early both ways",
    ),
    word("threshold", "exactly as written, at the end of each step, over one window"),
];

const INCONCLUSIVE: &[Word] = &[
    word("promote", "the deployment goes on: nothing speaks against the release"),
    word("hold", "the share stays where it is and a person is asked"),
    word("roll_back", "all traffic returns to the last good release"),
];

const FAILURE: &[Word] = &[
    word("roll_back", "all traffic returns to the last good release"),
    word("hold", "the share stays where it is and a person is asked"),
    word("alert", "it is said, and the deployment goes on"),
];

const NO_EVIDENCE: &[Word] = &[
    word("hold", "the share stays where it is until there is evidence or `hold_max` is over"),
    word("continue", "the deployment goes on without an answer"),
    word("roll_back", "all traffic returns to the last good release"),
];
