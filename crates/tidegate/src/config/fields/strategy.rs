//! `strategy` and `shadow`: how a new release takes over.

use super::{Block, DAY, Form, Kind, MIB, SECOND, Word, field, optional, required, word};

/// A longer bake than this is a mistake of units, not a plan.
const BAKE: Kind = Kind::Duration { min: 0, max: 7 * DAY };
const EXPOSURE: Kind = Kind::Share { min: 1, max: 10_000 };

pub(super) static STRATEGY: Block = Block::of(
    "How a new release takes over. Exactly one of the four.",
    &[
        field("canary", Kind::Block(&CANARY), "{}", "A small share of the traffic first, then more."),
        optional(
            "blue_green",
            Kind::Block(&BLUE_GREEN),
            "not used",
            "The new release runs beside the old one, then all traffic switches at once.",
        ),
        optional(
            "rolling",
            Kind::Block(&ROLLING),
            "not used",
            "Instances are replaced in batches, and traffic moves in proportion.",
        ),
        optional(
            "all_at_once",
            Kind::Block(&ALL_AT_ONCE),
            "not used",
            "One switch as soon as the new release is ready.",
        ),
    ],
)
.one_of(&["canary", "blue_green", "rolling", "all_at_once"], Some("canary"));

static CANARY: Block = Block::of(
    "Steps of traffic, each watched for a while.",
    &[
        field(
            "steps",
            Kind::List { of: &Kind::Short { key: "share", block: &STEP }, min: 1, max: 50 },
            "[5%, 25%, 50%, 100%]",
            "The steps; their shares rise. A share alone is a step with the default bake. A last step of 100 % is added when it \
             is missing.",
        ),
        field("bake", BAKE, "60s", "How long each step is watched, unless it says otherwise."),
    ],
);

static STEP: Block = Block::of(
    "One step of a canary.",
    &[
        required("share", EXPOSURE, "Share of the traffic that the new release gets."),
        optional("bake", BAKE, "the canary's `bake`", "How long this step is watched."),
        field("approval", Kind::Bool, "false", "Wait for a person's approval before this step."),
    ],
);

static BLUE_GREEN: Block = Block::of(
    "Both releases at full size, one switch.",
    &[
        field(
            "bake",
            BAKE,
            "60s",
            "How long the new release is watched after the switch, with the old one at hand.",
        ),
        field("preview", Kind::Bool, "true", "Smoke-test the new release before the switch."),
        field(
            "preview_bake",
            BAKE,
            "3s",
            "How long all its instances have to stay ready before the switch, and gates that name this step are asked.",
        ),
        field("approval", Kind::Bool, "false", "Wait for a person's approval before the switch."),
    ],
);

static ROLLING: Block = Block::of(
    "Batches of instances.",
    &[
        field(
            "batch",
            Kind::Batch { min: 1, max: 64 },
            "25%",
            "How many instances are replaced at a time: a share (`25%`) or a number (`1`).",
        ),
        field("bake", BAKE, "10s", "How long each batch is watched."),
    ],
);

static ALL_AT_ONCE: Block = Block::of(
    "One switch.",
    &[field(
        "bake",
        BAKE,
        "10s",
        "How long the new release is watched after the switch, with the old one at hand.",
    )],
);

pub(super) static SHADOW: Block = Block::of(
    "Copies of users' requests for the new release, before the first user sees it.",
    &[
        field("share", EXPOSURE, "10%", "Share of the requests that are copied."),
        field("bake", Kind::Duration { min: SECOND, max: 7 * DAY }, "60s", "How long the phase lasts."),
        field(
            "status_max",
            Kind::Share { min: 0, max: 10_000 },
            "1%",
            "Part of the copies that may fail, or be answered with another status than the users'.",
        ),
        field(
            "differing_max",
            Kind::Share { min: 0, max: 10_000 },
            "1%",
            "Part of the copies that may have another body with the same status. `100%` where the new release changes what it \
             answers.",
        ),
        field(
            "slower_max",
            Kind::Share { min: 0, max: 10_000 },
            "5%",
            "Part of the copies that may take more than twice as long, and 10 ms more, than the users' answer.",
        ),
        field(
            "methods",
            Kind::List { of: &Kind::Word(METHODS), min: 1, max: 7 },
            "[GET, HEAD, OPTIONS]",
            "Methods that may be copied. A copied `POST` does its work twice: allow it only where that does no harm. A route on \
             Kubernetes copies all of them, so there all seven have to be named.",
        ),
        field(
            "body_max",
            Kind::Size { min: 0, max: 16 * MIB },
            "64KiB",
            "Largest body that is copied and compared; larger ones are skipped and counted.",
        ),
        optional(
            "json_ignore",
            Kind::List { of: &Kind::Text(Form::Pointer), min: 0, max: 100 },
            "bodies are compared byte by byte",
            "Compare bodies as JSON without these parts: JSON pointers, `*` for any key or index. `[]` compares all of it.",
        ),
    ],
);

pub(super) const METHODS: &[Word] = &[
    word("GET", "safe"),
    word("HEAD", "safe"),
    word("OPTIONS", "safe"),
    word("POST", "not safe to repeat"),
    word("PUT", "changes state, safe to repeat"),
    word("PATCH", "not safe to repeat"),
    word("DELETE", "changes state, safe to repeat"),
];
