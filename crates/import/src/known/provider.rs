//! The fields of a metric's provider.

use super::{
    Known,
    Shape::{Free, Keys, List, Text, Truth, Whole},
    known,
};

const OTHER: &str = "asks this provider";
const ASK: &str = "no source of Tidegate's: ask it by `web` where it has an HTTP API, or by a `command` that prints a number; the gate is not written";

pub(super) static PROVIDER: &[Known] = &[
    known("prometheus", Keys(PROMETHEUS)),
    known("web", Keys(WEB)),
    known("job", Free).error(
        "runs a Job; its exit code is the measurement",
        "the gate is not written: a `command` metric that prints a number, or a check in the pipeline before `tidegate deploy`",
    ),
    known("datadog", Free).error(OTHER, ASK),
    known("newRelic", Free).error(OTHER, ASK),
    known("wavefront", Free).error(OTHER, ASK),
    known("kayenta", Free).error(
        "asks Kayenta to compare both releases",
        "the gate is not written: Tidegate compares both releases itself (`gates.error_rate`, `latency_p95`, `latency_shift`) when a metric has counters",
    ),
    known("cloudWatch", Free).error(OTHER, ASK),
    known("graphite", Free).error(OTHER, ASK),
    known("influxdb", Free).error(OTHER, ASK),
    known("skywalking", Free).error(OTHER, ASK),
    known("plugin", Free).error(OTHER, ASK),
];

static AUTHENTICATION: &[Known] = &[known("sigv4", Free), known("oauth2", Free), known("basic", Free)];

static PROMETHEUS: &[Known] = &[
    known("address", Text),
    known("query", Text),
    known("timeout", Whole),
    known("insecure", Truth),
    known("headers", List(HEADERS)),
    known("authentication", Keys(AUTHENTICATION)).error(
        "signs in to the server",
        "not written: name where the secret is, `auth: {bearer: {variable: NAME}}` or `basic`; SigV4 and OAuth2 need a proxy in front",
    ),
    known("rangeQuery", Free).error(
        "asks for a range of values",
        "not written: ask for one value, with a subquery such as `max_over_time((QUERY)[5m:])`",
    ),
];

static HEADERS: &[Known] = &[known("key", Text).required(), known("value", Text)];

static WEB: &[Known] = &[
    known("url", Text).required(),
    known("method", Text),
    known("headers", List(HEADERS)),
    known("body", Text),
    known("jsonBody", Free),
    known("timeoutSeconds", Whole),
    known("jsonPath", Text),
    known("insecure", Truth),
    known("authentication", Keys(AUTHENTICATION)).error(
        "signs in to the server",
        "not written: name where the secret is, `auth: {bearer: {variable: NAME}}` or `basic`",
    ),
];
