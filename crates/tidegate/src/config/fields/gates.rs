//! `gates`: the six standard gates.

use super::{Block, DAY, Field, Kind, Word, field, word};

const OFF: Word = word("off", "the gate is not asked");
const LIMIT: Kind = Kind::Duration { min: 1, max: 3_600_000 };
const LEVEL: Kind = Kind::Share { min: 1, max: 10_000 };

const fn gate(block: &'static Kind) -> Kind {
    Kind::Or { word: OFF, nothing: true, other: block }
}

pub(super) static GATES: Block = Block::of(
    "The six standard gates. Each is answered at every step, over the same window for the new release and the one it replaces.",
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
            "Requests that arrive, compared with what the share should bring.",
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
        field(
            "floor",
            Kind::Share { min: 0, max: 10_000 },
            "0%",
            "A rate up to this passes, whatever the stable release's is.",
        ),
        MIN_REQUESTS,
        ON_FAILURE,
        ON_NO_EVIDENCE,
        HOLD_MAX,
    ],
);

static LATENCY_P95: Block = Block::of(
    "95 of 100 requests are answered within the limit.",
    &[
        field("limit", LIMIT, "500ms", "Largest 95th percentile."),
        MIN_REQUESTS,
        ON_FAILURE,
        ON_NO_EVIDENCE,
        HOLD_MAX,
    ],
);

static LATENCY_P99: Block = Block::of(
    "99 of 100 requests are answered within the limit.",
    &[
        field("limit", LIMIT, "1s", "Largest 99th percentile."),
        MIN_REQUESTS,
        ON_FAILURE,
        ON_NO_EVIDENCE,
        HOLD_MAX,
    ],
);

static CPU: Block = Block::of(
    "CPU in use stays below the limit.",
    &[field("limit", LEVEL, "80%", "Largest use."), ON_FAILURE, ON_NO_EVIDENCE, HOLD_MAX],
);

static MEMORY: Block = Block::of(
    "Memory in use stays below the limit.",
    &[field("limit", LEVEL, "90%", "Largest use."), ON_FAILURE, ON_NO_EVIDENCE, HOLD_MAX],
);

static REQUEST_RATE: Block = Block::of(
    "The new release gets the requests that its share should bring.",
    &[
        field("min", LEVEL, "50%", "Smallest part of the expected rate."),
        MIN_REQUESTS,
        ON_FAILURE,
        ON_NO_EVIDENCE,
        HOLD_MAX,
    ],
);

const MIN_REQUESTS: Field = field(
    "min_requests",
    Kind::Whole { min: 1, max: 10_000_000 },
    "20",
    "With fewer requests than this in the window there is no evidence.",
);
const ON_FAILURE: Field = field("on_failure", Kind::Word(FAILURE), "roll_back", "What a failed gate does.");
const ON_NO_EVIDENCE: Field = field(
    "on_no_evidence",
    Kind::Word(NO_EVIDENCE),
    "hold",
    "What happens while there is too little to judge by.",
);
const HOLD_MAX: Field = field(
    "hold_max",
    Kind::Duration { min: 1_000, max: 7 * DAY },
    "180s",
    "Evidence that is awaited longer than this turns back.",
);

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
