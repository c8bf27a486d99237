//! `metrics`: what other sources say, and `gates.custom`: conditions on it.

use super::{
    Block, DAY, Field, Form, HOUR, Kind, MINUTE, SECOND, Word, field,
    gates::{HOLD_MAX, ON_FAILURE, ON_INCONCLUSIVE, ON_NO_EVIDENCE},
    optional, required, word,
};

/// Metrics of a service, and custom gates on them.
pub(super) const METRICS_MAX: usize = 32;
/// Time for one answer.
const PATIENCE: Kind = Kind::Duration { min: 100, max: MINUTE };

pub(super) static METRIC: Block = Block::of(
    "One metric. It has either counters (`requests`, `failures`, `latency`), which standard gates can ask instead of the \
     proxy's, or a value, which custom gates set conditions for. `{{release}}` in a query stands for a release's tag, and \
     `{{service}}` for the service's name: a query with the first is asked once for the new release and once for the \
     stable one.",
    &[
        optional("prometheus", Kind::Block(&PROMETHEUS), "another source", "A Prometheus server, or what answers like one."),
        optional("scrape", Kind::Block(&SCRAPE), "another source", "The instances' own metrics page."),
        optional("web", Kind::Block(&WEB), "another source", "A web endpoint that answers JSON."),
        optional("command", Kind::Block(&COMMAND), "another source", "A program that prints a number or JSON."),
        field("every", Kind::Duration { min: 500, max: HOUR }, "5s", "Time between two questions."),
        field("fresh", Kind::Duration { min: SECOND, max: DAY }, "45s", "An older answer is no evidence."),
    ],
)
.one_of(&["prometheus", "scrape", "web", "command"], None);

static PROMETHEUS: Block = Block::of(
    "Raw counters or a query. Counters are differenced here: write the counter itself, never a rate of it.",
    &[
        ADDRESS,
        AUTH,
        HEADERS,
        CA,
        CLIENT,
        TIMEOUT,
        field(
            "accept_warnings",
            Kind::Bool,
            "false",
            "Take answers that come with warnings, though a part of the data may be missing.",
        ),
        field(
            "lookback",
            Kind::Duration { min: SECOND, max: DAY },
            "2m",
            "How far back a sample is looked for: at least three of its scrape intervals.",
        ),
        optional("query", Kind::Text(Form::Any), "counters", "The value: a query in PromQL."),
        optional("requests", Kind::Text(Form::Series), "a value", "Counter of all requests."),
        FAILURES,
        LATENCY,
        LATENCY_UNIT,
        field(
            "instance_labels",
            Kind::List { of: &Kind::Text(Form::Variable), min: 1, max: 8 },
            "[instance]",
            "Labels that together name an instance.",
        )
        .beside(&["requests"]),
    ],
)
.one_of(&["query", "requests"], None);

static SCRAPE: Block = Block::of(
    "Read from every instance, as often as once a second. Which release an instance belongs to is known.",
    &[
        field("path", Kind::Text(Form::HttpPath), "/metrics", "The page, on the instance's own port."),
        optional("value", Kind::Text(Form::Series), "counters", "The value: one series of each instance."),
        optional("requests", Kind::Text(Form::Series), "a value", "Counter of all requests."),
        FAILURES,
        LATENCY,
        LATENCY_UNIT,
    ],
)
.one_of(&["value", "requests"], None);

static WEB: Block = Block::of(
    "Asked with GET, or with POST when there is a body.",
    &[
        ADDRESS,
        AUTH,
        HEADERS,
        CA,
        CLIENT,
        TIMEOUT,
        optional("body", Kind::Text(Form::Any), "GET", "JSON that is sent with POST."),
        WHERE,
    ],
);

static COMMAND: Block = Block::of(
    "Run without a shell; an exit code other than 0 is no evidence.",
    &[
        required(
            "argv",
            Kind::List { of: &Kind::Text(Form::Free), min: 1, max: 256 },
            "The program and its arguments, one item each.",
        ),
        field(
            "env",
            Kind::Map { key: Form::Variable, of: &Kind::Text(Form::Free), min: 0, max: 64 },
            "{}",
            "Its environment, besides `PATH`.",
        ),
        field(
            "inherit",
            Kind::List { of: &Kind::Text(Form::Variable), min: 0, max: 64 },
            "[]",
            "Environment variables of the server's process that it is given too: secrets go this way.",
        ),
        field("directory", Kind::Text(Form::File), ".", "Where it runs."),
        TIMEOUT,
        WHERE,
    ],
);

const ADDRESS: Field =
    required("address", Kind::Text(Form::Url), "Where it is: `http://host:port/path`, or `https://…`.");
const AUTH: Field = optional("auth", Kind::Block(&AUTH_BLOCK), "asked without a name", "Who asks.");
const HEADERS: Field = field(
    "headers",
    Kind::Map { key: Form::Token, of: &Kind::Text(Form::Any), min: 0, max: 32 },
    "{}",
    "Headers to send, such as a tenant's name.",
);
const CA: Field = optional(
    "ca",
    Kind::Text(Form::File),
    "the machine's own authorities",
    "Authorities to trust instead, PEM.",
);
const CLIENT: Field = optional(
    "client",
    Kind::Block(&super::TLS),
    "no certificate",
    "Certificate and key that are shown to the server.",
);
const TIMEOUT: Field = field("timeout", PATIENCE, "10s", "Longest wait for the whole answer.");
const FAILURES: Field = optional(
    "failures",
    Kind::Text(Form::Series),
    "must be written beside `requests`",
    "Counter of those of them that failed.",
)
.beside(&["requests"]);
const LATENCY: Field = optional(
    "latency",
    Kind::Text(Form::Series),
    "latency gates cannot ask this metric",
    "Histogram of the time to answer, classic or native; without `_bucket`.",
)
.beside(&["requests"]);
const LATENCY_UNIT: Field =
    field("latency_unit", Kind::Word(TIMES), "s", "What the histogram counts in.").beside(&["requests"]);
const WHERE: Field = field(
    "path",
    Kind::Text(Form::JsonPath),
    "$",
    "Where in the answer the number lies, or a list of numbers.",
);

static AUTH_BLOCK: Block = Block::of(
    "The file names where a secret is; it never holds one.",
    &[
        optional("basic", Kind::Block(&BASIC), "`bearer`", "A user and a password."),
        optional("bearer", Kind::Block(&SECRET), "`basic`", "A token."),
    ],
)
.one_of(&["basic", "bearer"], None);

static BASIC: Block = Block::of(
    "A user and a password.",
    &[
        required("user", Kind::Text(Form::Any), "The user."),
        required("password", Kind::Block(&SECRET), "Where the password is."),
    ],
);

static SECRET: Block = Block::of(
    "Where a secret is. It is read again for each question.",
    &[
        optional(
            "variable",
            Kind::Text(Form::Variable),
            "`file`",
            "An environment variable of the server's process.",
        ),
        optional("file", Kind::Text(Form::File), "`variable`", "A file that the server's user can read."),
    ],
)
.one_of(&["variable", "file"], None);

pub(super) static CUSTOM: Block = Block::of(
    "Conditions for a metric's value. A value that meets `failure` is bad; one that meets neither decides nothing.",
    &[
        required(
            "metric",
            Kind::Text(Form::Key),
            "A metric of `metrics`: one with a value, or for a `goal` one with counters.",
        ),
        optional(
            "goal",
            Kind::Decimal { what: "a ratio", example: "1.0", min: 1, max: 100_000 },
            "conditions for a value",
            "The metric's `failures` counter counts something wanted (orders, sign-ups) among its `requests`: fails when the \
             new release surely brings less than this many times the stable one's, passes when it surely does not.",
        ),
        optional(
            "success",
            Kind::Text(Form::Condition),
            "what is not bad is good",
            "True for a good value: `result < 5%`. The names are `result` (the new release's values), `new`, `stable` and \
             `ratio` (new to stable).",
        ),
        optional("failure", Kind::Text(Form::Condition), "what is not good is bad", "True for a bad value."),
        field(
            "unit",
            Kind::Text(Form::Unit),
            "number",
            "What the value counts, so that conditions can be written with units: `%`, `ms`, `MiB`, `rps` and so on.",
        ),
        field(
            "failures_max",
            Kind::Whole { min: 0, max: 10_000 },
            "0",
            "Bad values within a step that do not fail it yet.",
        ),
        optional(
            "analysis",
            Kind::Block(&ANALYSIS),
            "every value is looked at, and bad ones are counted",
            "Take measurements and count them as Argo Rollouts does, instead of looking at every value.",
        ),
        optional(
            "steps",
            Kind::List { of: &Kind::Whole { min: 1, max: 51 }, min: 1, max: 51 },
            "every step with users, and the watch",
            "The steps of the strategy at which it is asked, from 1: those of a canary, or 1 for the preview and 2 for the \
             switch of `blue_green`. It is not asked in the watch then.",
        ),
        ON_FAILURE,
        ON_NO_EVIDENCE,
        HOLD_MAX,
        ON_INCONCLUSIVE,
    ],
);

/// More than any run needs.
const MANY: u64 = 100_000;

static ANALYSIS: Block = Block::of(
    "A run of measurements, as Argo Rollouts has it. It fails by too many measurements that failed, or that could not be \
     taken; it decides nothing by too many that were inconclusive; it passes when enough were taken.",
    &[
        optional(
            "count",
            Kind::Whole { min: 1, max: MANY },
            "it runs for as long as it is asked",
            "Measurements after which it ends.",
        ),
        field(
            "interval",
            Kind::Duration { min: 0, max: 7 * DAY },
            "0s",
            "From the end of one measurement to the next.",
        ),
        field(
            "initial_delay",
            Kind::Duration { min: 0, max: 7 * DAY },
            "0s",
            "From the beginning to the first measurement.",
        ),
        field(
            "failure_limit",
            Kind::Or {
                word: word("off", "any number of them may"),
                nothing: true,
                other: &Kind::Whole { min: 0, max: MANY },
            },
            "0",
            "Measurements that may fail.",
        ),
        field(
            "inconclusive_limit",
            Kind::Whole { min: 0, max: MANY },
            "0",
            "Measurements that may be neither good nor bad.",
        ),
        field(
            "consecutive_error_limit",
            Kind::Whole { min: 0, max: MANY },
            "4",
            "Measurements in a row that may not be taken; each is tried again after 10 seconds.",
        ),
        field(
            "consecutive_success_limit",
            Kind::Whole { min: 0, max: MANY },
            "0",
            "Good measurements in a row that end it well; 0 for none.",
        ),
        field(
            "background",
            Kind::Bool,
            "false",
            "One run over all its steps, which go on beside it; otherwise each step has its own and waits for its end.",
        ),
    ],
);

const TIMES: &[Word] = &[word("s", "seconds"), word("ms", "milliseconds"), word("us", "microseconds")];
