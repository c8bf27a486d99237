//! Why a source gave no usable answer.

use tidegate_core::model::{Millis, Timestamp};

/// Longest part of a query that a message shows, characters.
const QUERY_SHOWN_MAX: usize = 200;
/// Longest part of a provider's own words that a message shows, characters.
const WORDS_SHOWN_MAX: usize = 120;

/// A question that has no usable answer: who was asked, what, what went wrong, what to do.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{source_name} gave no usable answer to `{query}`: {kind}; {}", kind.advice())]
pub struct Fault {
    /// The source, in words, without secrets: `Prometheus at http://prometheus:9090`.
    pub source_name: String,
    /// What was asked, shortened to 200 characters.
    pub query: String,
    /// What went wrong.
    pub kind: FaultKind,
}

impl Fault {
    /// A fault of this source on this question.
    pub fn new(source: &str, query: &str, kind: FaultKind) -> Self {
        Self { source_name: source.to_owned(), query: shortened(query, QUERY_SHOWN_MAX), kind }
    }
}

/// What went wrong. None of these is a value, and none may be read as one.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum FaultKind {
    /// No connection: nobody listens, the name is unknown, the network is down.
    #[error("no connection could be made ({0})")]
    Refused(String),
    /// TLS could not be agreed on: unknown authority, wrong name, expired, no client certificate.
    #[error("the secure connection could not be made ({0})")]
    Tls(String),
    /// No complete answer in time.
    #[error("no complete answer within {0}")]
    TimedOut(Millis),
    /// The connection broke before the answer was complete.
    #[error("the answer was cut short ({0})")]
    Truncated(String),
    /// The source wants other credentials: 401, 403, 407.
    #[error("it refuses the credentials (status {0})")]
    Authentication(u16),
    /// The answer points elsewhere.
    #[error("it answered with status {status}, a redirect to {location}")]
    Redirected {
        /// The status.
        status: u16,
        /// Where to.
        location: String,
    },
    /// Another status than success.
    #[error("it answered with status {status}: {said}")]
    Status {
        /// The status.
        status: u16,
        /// What it said, shortened.
        said: String,
    },
    /// The source understood, and says that the question fails.
    #[error("it reports an error ({kind}): {said}")]
    Reported {
        /// The kind of error, in its words.
        kind: String,
        /// What it said, shortened.
        said: String,
    },
    /// The body is longer than the bound.
    #[error("the answer is longer than {bytes_max} bytes")]
    TooLarge {
        /// The bound.
        bytes_max: usize,
    },
    /// The body unpacks to more than the bound.
    #[error("the compressed answer unpacks to more than {bytes_max} bytes")]
    GzipBomb {
        /// The bound.
        bytes_max: usize,
    },
    /// A compression that is unknown, or broken.
    #[error("the answer's compression is unknown or broken ({0})")]
    Encoding(String),
    /// A web page where data was expected.
    #[error("the answer is a web page, not data")]
    Html,
    /// Not JSON.
    #[error("the answer is not JSON ({0})")]
    NotJson(String),
    /// Not in the exposition format.
    #[error("line {line} of the answer can not be read ({why})")]
    NotMetrics {
        /// The line, from 1; for protobuf the number of the family.
        line: usize,
        /// Why.
        why: String,
    },
    /// JSON or metrics, but not in the shape that was expected.
    #[error("the answer has another shape than expected ({0})")]
    WrongShape(String),
    /// The answer covers only a part of the data.
    #[error("the answer is partial: {0}")]
    Partial(String),
    /// The question matched nothing.
    #[error("there is no data: the query matched nothing")]
    NoData,
    /// Several series where one is meant.
    #[error("{count} series were found where one is meant; they differ in {labels}")]
    ManySeries {
        /// How many.
        count: usize,
        /// The labels whose values differ.
        labels: String,
    },
    /// More series, samples or elements than are read.
    #[error("the answer has more than {0} series or samples")]
    TooMany(usize),
    /// NaN.
    #[error("the value of {0} is NaN, not a number")]
    NotANumber(String),
    /// Plus or minus infinity.
    #[error("the value of {0} is infinite")]
    Infinite(String),
    /// A text where a number is meant.
    #[error("the value of {what} is `{text}`, not a number")]
    NotNumeric {
        /// Of what.
        what: String,
        /// The text, shortened.
        text: String,
    },
    /// A counter below zero.
    #[error("the counter {0} is negative")]
    Negative(String),
    /// Too large to be counted exactly, or to be a measurement at all.
    #[error("the value of {0} is too large to be right")]
    Huge(String),
    /// A count that is not whole.
    #[error("the count of {0} is not a whole number")]
    NotWhole(String),
    /// The newest sample is too old.
    #[error("the newest sample is {age} old, and may be {age_max} old at most")]
    Stale {
        /// How old.
        age: Millis,
        /// How old it may be.
        age_max: Millis,
    },
    /// A sample from the future.
    #[error("a sample is dated {0} in the future")]
    Future(Millis),
    /// A time that is none.
    #[error("a sample's time is `{0}`, which is no time")]
    BadTime(String),
    /// The program could not be started.
    #[error("the program could not be started ({0})")]
    NotStarted(String),
    /// The program ended without success.
    #[error("the program ended with {status}: {said}")]
    Ended {
        /// Exit status or signal.
        status: String,
        /// The end of what it said on standard error, shortened.
        said: String,
    },
    /// The secret, the certificate or the address is not usable.
    #[error("it can not be asked as configured ({0})")]
    Configuration(String),
}

impl FaultKind {
    /// Its stable word, for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::Tls(_) => "tls",
            Self::TimedOut(_) => "timed_out",
            Self::Truncated(_) => "truncated",
            Self::Authentication(_) => "authentication",
            Self::Redirected { .. } => "redirected",
            Self::Status { .. } => "status",
            Self::Reported { .. } => "reported",
            Self::TooLarge { .. } => "too_large",
            Self::GzipBomb { .. } => "gzip_bomb",
            Self::Encoding(_) => "encoding",
            Self::Html => "html",
            Self::NotJson(_) => "not_json",
            Self::NotMetrics { .. } => "not_metrics",
            Self::WrongShape(_) => "wrong_shape",
            Self::Partial(_) => "partial",
            Self::NoData => "no_data",
            Self::ManySeries { .. } => "many_series",
            Self::TooMany(_) => "too_many",
            Self::NotANumber(_) => "not_a_number",
            Self::Infinite(_) => "infinite",
            Self::NotNumeric { .. } => "not_numeric",
            Self::Negative(_) => "negative",
            Self::Huge(_) => "huge",
            Self::NotWhole(_) => "not_whole",
            Self::Stale { .. } => "stale",
            Self::Future(_) => "future",
            Self::BadTime(_) => "bad_time",
            Self::NotStarted(_) => "not_started",
            Self::Ended { .. } => "ended",
            Self::Configuration(_) => "configuration",
        }
    }

    /// What to do about it.
    pub fn advice(&self) -> &'static str {
        match self {
            Self::Refused(_) => {
                "check the address, and that the source runs and can be reached from the server"
            }
            Self::Tls(_) => "check the CA file, the name in the address and the client certificate",
            Self::TimedOut(_) => "make the query cheaper, or give it more time",
            Self::Truncated(_) => "look for a proxy or a restart between here and the source",
            Self::Authentication(_) => "check user, password or token, and what they may read",
            Self::Redirected { .. } => {
                "configure the address it points to, if it is right: redirects are not followed"
            }
            Self::Status { .. } | Self::Reported { .. } => "try the query by hand and read the source's log",
            Self::TooLarge { .. } | Self::GzipBomb { .. } | Self::TooMany(_) => {
                "narrow the query down, for example with label matchers or sum()"
            }
            Self::Encoding(_) => "let the source answer plainly or with gzip",
            Self::Html => "check the address: a login page or a proxy answers in the source's place",
            Self::NotJson(_) | Self::NotMetrics { .. } => "check the address and what answers there",
            Self::WrongShape(_) => {
                "check that the source is what it is configured as, and the query's result"
            }
            Self::Partial(_) => {
                "find the part of the source that is down, or accept partial answers for this gate"
            }
            Self::NoData => "check the metric's name and labels, and that the release exposes it",
            Self::ManySeries { .. } => "sum over those labels, or match one value of each",
            Self::NotANumber(_) => {
                "look for a division by zero in the query: without traffic a ratio has no value"
            }
            Self::Infinite(_) => "look for a division by zero in the query",
            Self::NotNumeric { .. } => "ask for the number itself",
            Self::Negative(_) => "ask for a counter; what falls below zero is a gauge or a difference",
            Self::Huge(_) => "check the metric's unit, and that it is what it is named",
            Self::NotWhole(_) => "ask for a counter of requests, not for a rate",
            Self::Stale { .. } => "check that the metric is still being scraped",
            Self::Future(_) => "compare the clocks of the server, the source and the instances",
            Self::BadTime(_) => "check what answers there",
            Self::NotStarted(_) => "give the program's full path, and check that it may be run",
            Self::Ended { .. } => "run it by hand with the same environment",
            Self::Configuration(_) => "correct the source's settings",
        }
    }
}

/// How old a moment is when seen from another; a fault when that is more than allowed or lies in the future.
pub(super) fn fresh(at: Timestamp, now: Timestamp, age_max: Millis) -> Result<(), FaultKind> {
    let ahead = at.since(now);
    if ahead > SKEW_MAX {
        return Err(FaultKind::Future(ahead));
    }
    let age = now.since(at);
    if age > age_max { Err(FaultKind::Stale { age, age_max }) } else { Ok(()) }
}

/// How far ahead another machine's clock may be.
const SKEW_MAX: Millis = Millis(5_000);

/// The fault of a body that `serde_json` does not read.
pub(super) fn not_json(why: &serde_json::Error, body: &[u8]) -> FaultKind {
    let said = words(&why.to_string());
    match why.classify() {
        serde_json::error::Category::Eof if !body.is_empty() => FaultKind::Truncated(said),
        serde_json::error::Category::Data => FaultKind::WrongShape(said),
        serde_json::error::Category::Eof
        | serde_json::error::Category::Syntax
        | serde_json::error::Category::Io => FaultKind::NotJson(said),
    }
}

/// A provider's own words: one line, no control characters, not long.
pub(super) fn words(text: &str) -> String {
    let line: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    shortened(line.trim(), WORDS_SHOWN_MAX)
}

fn shortened(text: &str, characters_max: usize) -> String {
    let mut shown: String = text.chars().take(characters_max).collect();
    if shown.len() < text.len() {
        shown.push('…');
    }
    shown
}
