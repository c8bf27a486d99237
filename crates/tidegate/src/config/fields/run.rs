//! `run`: what an instance is, when it is ready, and how it is kept and stopped.

use super::{
    Block, Form, GIB, HOUR, KIB, Kind, MIB, MINUTE, NAMES_MAX, SECOND, Word, field, kubernetes::KUBERNETES,
    optional, required, word,
};

const ARGUMENTS_MAX: usize = 256;
const PATHS_MAX: usize = 1_000;
const TIB: u64 = 1_024 * GIB;

pub(super) static RUN: Block = Block::of(
    "What runs. Exactly one of `command`, `container` and `kubernetes`.",
    &[
        optional(
            "command",
            Kind::List { of: &Kind::Text(Form::Free), min: 1, max: ARGUMENTS_MAX },
            "`container` says what runs",
            "Program and arguments, one item each; no shell is involved. `$PORT` becomes the instance's port, which is also \
             in the environment. A program without `/` is looked up in the release first, then in `PATH`.",
        ),
        optional("container", Kind::Block(&CONTAINER), "`command` says what runs", "A container on a Docker Engine."),
        optional("kubernetes", Kind::Block(&KUBERNETES), "it runs on this machine", "A Deployment on Kubernetes."),
        field(
            "files",
            Kind::List { of: &Kind::Text(Form::Inside), min: 1, max: PATHS_MAX },
            "[\".\"]",
            "Files and folders of the project that are copied into the release.",
        )
        .beside(COMMAND),
        field(
            "exclude",
            Kind::List { of: &Kind::Text(Form::Glob), min: 0, max: PATHS_MAX },
            "[]",
            "Patterns of paths that are not copied; `.git` and `.tidegate` never are.",
        )
        .beside(COMMAND),
        field("directory", Kind::Text(Form::Inside), ".", "Working directory, inside the release.").beside(COMMAND),
        optional(
            "user",
            Kind::Text(Form::User),
            "the user that the proxy runs as",
            "User to run as, by name or number; needs a proxy that runs as root.",
        )
        .beside(COMMAND),
        field(
            "env",
            Kind::Map { key: Form::Variable, of: &ENV_VALUE_KIND, min: 0, max: NAMES_MAX },
            "{}",
            "Environment variables, beside `PORT` and a few of the proxy's own (`PATH`, `HOME`, `LANG`, `TZ`).",
        )
        .beside(COMMAND),
        field("instances", Kind::Whole { min: 1, max: 64 }, "1", "How many run at once.").beside(COMMAND),
        field("ready", Kind::Block(&READY), "{}", "When an instance may take traffic."),
        field("restart", Kind::Block(&RESTART), "{}", "What happens when an instance ends by itself."),
        field("stop", Kind::Block(&STOP), "{}", "How an instance is stopped, once it is out of traffic and drained."),
        field("log", Kind::Block(&LOG), "{}", "What is kept of an instance's output."),
        field("resources", Kind::Block(&RESOURCES), "{}", "What 100 % means for the `cpu` and `memory` gates."),
    ],
)
.one_of(&["command", "container", "kubernetes"], None);

const COMMAND: &[&str] = &["command"];
const ENV_VALUE_KIND: Kind = Kind::Short { key: "value", block: &ENV_VALUE };

static ENV_VALUE: Block = Block::of(
    "Where a variable's value comes from. A text alone is the value.",
    &[
        optional("value", Kind::Text(Form::Free), "`file` says where it is", "The value itself."),
        optional(
            "file",
            Kind::Text(Form::File),
            "`value` says what it is",
            "The content of this file when the instance starts, without a trailing newline; it never enters a journal or \
             a log.",
        ),
    ],
)
.one_of(&["value", "file"], None);

static CONTAINER: Block = Block::of(
    "A container on a Docker Engine; its port is published on loopback.",
    &[
        required(
            "image",
            Kind::Text(Form::Image),
            "Image: `name:tag`, `name@sha256:…` or both. A tag alone is resolved to a digest when the release is made.",
        ),
        required(
            "port",
            Kind::Whole { min: 1, max: 65_535 },
            "The port that the program in the container listens on; also its `PORT`.",
        ),
        field(
            "argv",
            Kind::List { of: &Kind::Text(Form::Free), min: 0, max: ARGUMENTS_MAX },
            "[]",
            "Arguments, when the image's own are not wanted.",
        ),
        field(
            "env",
            Kind::Map { key: Form::Variable, of: &ENV_VALUE_KIND, min: 0, max: NAMES_MAX },
            "{}",
            "Environment variables beside `PORT`.",
        ),
        optional(
            "socket",
            Kind::Text(Form::File),
            "`DOCKER_HOST`, else `/var/run/docker.sock`",
            "The engine's socket.",
        ),
        optional(
            "memory",
            Kind::Size { min: 6 * MIB, max: TIB },
            "no limit",
            "Memory limit given to the engine.",
        ),
        field("instances", Kind::Whole { min: 1, max: 64 }, "1", "How many run at once."),
    ],
);

static READY: Block = Block::of(
    "When an instance counts as ready: so many successful probes in a row, and healthy for a while.",
    &[
        optional(
            "http",
            Kind::Text(Form::HttpPath),
            "`tcp` is probed",
            "Path that is asked for with GET on the instance's port; 2xx and 3xx are a success.",
        ),
        field("tcp", Kind::Flag, "true", "The port accepts a connection."),
        field("interval", Kind::Duration { min: 50, max: 5 * MINUTE }, "250ms", "Time between two probes."),
        field(
            "timeout",
            Kind::Duration { min: 50, max: 5 * MINUTE },
            "1s",
            "A probe that takes longer has failed.",
        ),
        field("successes", Kind::Whole { min: 1, max: 100 }, "2", "Successes in a row that are needed."),
        field(
            "min_healthy",
            Kind::Duration { min: 0, max: HOUR },
            "500ms",
            "Time from the first success for which it has to stay healthy.",
        ),
        field(
            "deadline",
            Kind::Duration { min: 100, max: HOUR },
            "30s",
            "An instance that is not ready this long after its start has failed.",
        ),
    ],
)
.one_of(&["http", "tcp"], Some("tcp"));

static RESTART: Block = Block::of(
    "An instance that ends by itself is started again, later each time.",
    &[
        field("backoff", Kind::Duration { min: 10, max: HOUR }, "200ms", "First wait; doubled each time."),
        field("backoff_max", Kind::Duration { min: 10, max: HOUR }, "30s", "Longest wait."),
        field(
            "crash_loop",
            Kind::Whole { min: 1, max: 1_000 },
            "3",
            "Ends within the window that make a crash loop. Fewer of them in a bake let that bake begin anew.",
        ),
        field(
            "crash_loop_window",
            Kind::Duration { min: SECOND, max: 24 * HOUR },
            "60s",
            "The window they are counted in; one window without an end starts the count anew.",
        ),
    ],
);

static STOP: Block = Block::of(
    "A signal first, then a kill of the whole process group.",
    &[
        field("signal", Kind::Word(SIGNALS), "TERM", "The signal that asks it to end."),
        field("grace", Kind::Duration { min: 0, max: HOUR }, "10s", "Time between the signal and the kill."),
    ],
);

const SIGNALS: &[Word] = &[
    word("TERM", "the usual request to end"),
    word("INT", "what Ctrl-C sends"),
    word("QUIT", "a graceful end for some servers, nginx among them"),
    word("HUP", "the terminal is gone"),
];

static LOG: Block = Block::of(
    "One file per instance, rotated.",
    &[
        field(
            "size_max",
            Kind::Size { min: 4 * KIB, max: 10 * GIB },
            "10MiB",
            "A file larger than this is rotated.",
        ),
        field("files_max", Kind::Whole { min: 1, max: 100 }, "3", "Rotated files kept."),
    ],
);

static RESOURCES: Block = Block::of(
    "What 100 % is for one instance. It is a measure for the gates, not a limit that is enforced.",
    &[
        optional(
            "cpu",
            Kind::Decimal { what: "a number of cores", example: "1.5", min: 1, max: 1_024_000 },
            "all cores of the machine",
            "Cores.",
        ),
        optional("memory", Kind::Size { min: MIB, max: TIB }, "the machine's memory", "Memory."),
    ],
);
