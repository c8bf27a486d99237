//! What is wrong inside of JSON.

use super::{Codes, NOW};

/// Name, body, and the words for the fault that fit.
pub(super) type Body = (&'static str, String, Codes);

/// Seconds of [`NOW`], and moved by so many.
fn t(offset: i64) -> i64 {
    NOW.0 / 1_000 + offset
}

fn success(kind: &str, result: &str) -> String {
    format!("{{\"status\":\"success\",\"data\":{{\"resultType\":\"{kind}\",\"result\":{result}}}}}")
}

/// Answers to an instant query for one number.
pub(super) fn instants() -> Vec<Body> {
    let one =
        |at: &str, value: &str| success("vector", &format!("[{{\"metric\":{{}},\"value\":[{at},{value}]}}]"));
    let now = t(0).to_string();
    let value = |text: &str| one(&now, text);
    let series = |metric: &str| format!("{{\"metric\":{metric},\"value\":[{now},\"0.01\"]}}");
    let vector = |all: &[&str]| success("vector", &format!("[{}]", all.join(",")));
    let good = value("\"0.01\"");
    let deep = format!("{{\"status\":\"success\",\"data\":{}1{}}}", "[".repeat(500), "]".repeat(500));
    vec![
        ("NaN", value("\"NaN\""), &["not_a_number"]),
        ("NaN as a scalar", success("scalar", &format!("[{now},\"NaN\"]")), &["not_a_number"]),
        ("+Inf", value("\"+Inf\""), &["infinite"]),
        ("-Inf", value("\"-Inf\""), &["infinite"]),
        ("an overflow", value("\"1e999\""), &["infinite"]),
        ("huge", value("\"1e300\""), &["huge"]),
        ("minus huge", value("\"-1e300\""), &["huge"]),
        ("a word", value("\"healthy\""), &["not_numeric"]),
        ("an empty text", value("\"\""), &["not_numeric"]),
        ("a comma", value("\"0,01\""), &["not_numeric"]),
        ("a blank", value("\" 0.01\""), &["not_numeric"]),
        ("a percent sign", value("\"1%\""), &["not_numeric"]),
        ("hexadecimal", value("\"0x1p-2\""), &["not_numeric"]),
        ("a text of control characters", value("\"\\u0000\\u001b[31m\""), &["not_numeric"]),
        ("a number without quotes", value("0.01"), &["wrong_shape"]),
        ("NaN without quotes", value("NaN"), &["not_json"]),
        ("null", value("null"), &["wrong_shape"]),
        ("true", value("true"), &["wrong_shape"]),
        ("a list as value", value("[\"0.01\"]"), &["wrong_shape"]),
        ("three in a pair", value("\"0.01\",\"0.02\""), &["wrong_shape", "not_json"]),
        ("one in a pair", vector(&[&format!("{{\"metric\":{{}},\"value\":[{now}]}}")]), &["wrong_shape"]),
        ("no value", vector(&["{\"metric\":{}}"]), &["wrong_shape"]),
        ("no labels", vector(&[&format!("{{\"value\":[{now},\"0.01\"]}}")]), &["wrong_shape"]),
        ("labels that are a list", vector(&[&series("[]")]), &["wrong_shape"]),
        ("labels that are numbers", vector(&[&series("{\"code\":200}")]), &["wrong_shape"]),
        (
            "the value twice",
            vector(&[&format!("{{\"metric\":{{}},\"value\":[{now},\"9\"],\"value\":[{now},\"0.01\"]}}")]),
            &["wrong_shape"],
        ),
        (
            "a histogram",
            vector(&[&format!(
                "{{\"metric\":{{}},\"histogram\":[{now},{{\"count\":\"1\",\"sum\":\"1\"}}]}}"
            )]),
            &["wrong_shape"],
        ),
        ("an empty vector", vector(&[]), &["no_data"]),
        ("an empty matrix", success("matrix", "[]"), &["no_data"]),
        ("two series", vector(&[&series("{\"pod\":\"a\"}"), &series("{\"pod\":\"b\"}")]), &["many_series"]),
        ("a series and its part", vector(&[&series("{}"), &series("{\"pod\":\"b\"}")]), &["many_series"]),
        (
            "the same series twice",
            vector(&[&series("{\"pod\":\"a\"}"), &series("{\"pod\":\"a\"}")]),
            &["many_series"],
        ),
        ("too many series", vector(&vec!["{\"metric\":{}}"; 3_000]), &["wrong_shape"]),
        ("a text", success("string", &format!("[{now},\"0.01\"]")), &["not_numeric"]),
        ("an unknown type", success("tensor", "[]"), &["wrong_shape"]),
        (
            "a type that is a number",
            "{\"status\":\"success\",\"data\":{\"resultType\":5,\"result\":[]}}".into(),
            &["wrong_shape"],
        ),
        ("a vector that is an object", success("vector", "{}"), &["wrong_shape"]),
        ("a vector that is null", success("vector", "null"), &["wrong_shape"]),
        ("a scalar that is a vector", success("scalar", "[]"), &["wrong_shape"]),
        ("no data", "{\"status\":\"success\"}".into(), &["wrong_shape"]),
        ("data that is null", "{\"status\":\"success\",\"data\":null}".into(), &["wrong_shape"]),
        ("data nested without end", deep, &["not_json", "wrong_shape"]),
        ("no status", good.replace("\"status\":\"success\",", ""), &["wrong_shape"]),
        ("an unknown status", good.replace("success", "maybe"), &["wrong_shape"]),
        (
            "the status twice",
            good.replace("\"status\":\"success\",", "\"status\":\"error\",\"status\":\"success\","),
            &["wrong_shape"],
        ),
        ("the data twice", good.replace("\"data\":", "\"data\":null,\"data\":"), &["wrong_shape"]),
        (
            "an error with status 200",
            "{\"status\":\"error\",\"errorType\":\"execution\",\"error\":\"no\"}".into(),
            &["reported"],
        ),
        (
            "status 422 and a parse error",
            "{\"status\":\"error\",\"errorType\":\"bad_data\",\"error\":\"1:3: parse error\"}".into(),
            &["reported"],
        ),
        ("status 422 with a good body", good.clone(), &["status"]),
        (
            "a warning",
            good.replace("{\"status\"", "{\"warnings\":[\"a store is down\"],\"status\""),
            &["partial"],
        ),
        (
            "a warning behind",
            format!("{},\"warnings\":[\"partial response\"]}}", &good[..good.len() - 1]),
            &["partial"],
        ),
        (
            "warnings that are a text",
            good.replace("{\"status\"", "{\"warnings\":\"x\",\"status\""),
            &["wrong_shape"],
        ),
        ("a stale date", one(&t(-600).to_string(), "\"0.01\""), &["stale"]),
        ("a date of one hour ago", one(&t(-3_600).to_string(), "\"0.01\""), &["stale"]),
        ("a date in the future", one(&t(600).to_string(), "\"0.01\""), &["future"]),
        ("the date 0", one("0", "\"0.01\""), &["stale"]),
        ("a negative date", one("-1", "\"0.01\""), &["bad_time"]),
        ("a date in milliseconds", one(&NOW.0.to_string(), "\"0.01\""), &["bad_time"]),
        ("a date as text", one("\"2023-11-14\"", "\"0.01\""), &["wrong_shape"]),
        ("a date that is null", one("null", "\"0.01\""), &["wrong_shape"]),
        ("cut short", good[..good.len() - 4].to_owned(), &["truncated"]),
        ("something behind", format!("{good}{good}"), &["not_json"]),
        ("a byte order mark", format!("\u{feff}{good}"), &["not_json"]),
        ("single quotes", good.replace('"', "'"), &["not_json"]),
        ("a comment", format!("// ok\n{good}"), &["not_json"]),
        ("wrapped in a callback", format!("callback({good})"), &["not_json"]),
        ("the old API", "{\"type\":\"vector\",\"value\":[]}".into(), &["wrong_shape"]),
    ]
}

fn samples(all: &[(i64, &str)]) -> String {
    let pairs: Vec<String> =
        all.iter().map(|(offset, value)| format!("[{},\"{value}\"]", t(*offset))).collect();
    format!("[{}]", pairs.join(","))
}

fn matrix(metric: &str, values: &str) -> String {
    success("matrix", &format!("[{{\"metric\":{metric},\"values\":{values}}}]"))
}

/// What is wrong with several samples, whatever they are asked for.
fn many() -> Vec<Body> {
    vec![
        ("an empty result", success("matrix", "[]"), &["no_data"]),
        (
            "a vector",
            success("vector", &format!("[{{\"metric\":{{}},\"value\":[{},\"1\"]}}]", t(0))),
            &["wrong_shape"],
        ),
        ("a scalar", success("scalar", &format!("[{},\"1\"]", t(0))), &["wrong_shape"]),
        ("values that are an object", matrix("{}", "{}"), &["wrong_shape"]),
        ("NaN among the samples", matrix("{}", &samples(&[(-15, "1"), (0, "NaN")])), &["not_a_number"]),
        ("infinity among the samples", matrix("{}", &samples(&[(-15, "+Inf"), (0, "1")])), &["infinite"]),
        ("a word among the samples", matrix("{}", &samples(&[(-15, "one"), (0, "1")])), &["not_numeric"]),
        ("stale samples", matrix("{}", &samples(&[(-700, "1"), (-600, "2")])), &["stale"]),
        ("samples in the future", matrix("{}", &samples(&[(0, "1"), (600, "2")])), &["future"]),
        ("a date that is none", matrix("{}", "[[1e300,\"1\"]]"), &["bad_time"]),
        (
            "a warning",
            matrix("{}", &samples(&[(0, "1")]))
                .replace("{\"status\"", "{\"warnings\":[\"a store is down\"],\"status\""),
            &["partial"],
        ),
        ("cut short", matrix("{}", &samples(&[(0, "1")])).replace("}]}}", ""), &["truncated"]),
    ]
}

pub(super) fn ranges() -> Vec<Body> {
    let mut all = many();
    all.extend(series_shapes());
    all
}

pub(super) fn raws() -> Vec<Body> {
    let mut all = many();
    all.extend(series_shapes());
    all.extend([
        ("a negative counter", matrix("{}", &samples(&[(-15, "5"), (0, "-1")])), &["negative"] as &[&str]),
        ("a counter beyond 2^53", matrix("{}", &samples(&[(0, "1e17")])), &["huge"]),
    ]);
    all
}

fn series_shapes() -> Vec<Body> {
    vec![
        ("a series without samples", matrix("{}", "[]"), &["wrong_shape"]),
        ("times that fall", matrix("{}", &samples(&[(0, "1"), (-15, "2")])), &["wrong_shape"]),
        ("the same time twice", matrix("{}", &samples(&[(0, "1"), (0, "2")])), &["wrong_shape"]),
        (
            "the same series twice",
            success(
                "matrix",
                &format!(
                    "[{0},{0}]",
                    format_args!("{{\"metric\":{{}},\"values\":{}}}", samples(&[(0, "1")]))
                ),
            ),
            &["many_series"],
        ),
        (
            "a native histogram",
            success(
                "matrix",
                &format!(
                    "[{{\"metric\":{{}},\"histograms\":[[{},{{\"count\":\"1\",\"sum\":\"1\"}}]]}}]",
                    t(0)
                ),
            ),
            &["wrong_shape"],
        ),
    ]
}

/// Answers to a question for histograms.
pub(super) fn buckets() -> Vec<Body> {
    let classic = |all: &[(&str, &str)]| {
        let series: Vec<String> = all
            .iter()
            .map(|(le, v)| format!("{{\"metric\":{{\"le\":\"{le}\"}},\"values\":{}}}", samples(&[(0, v)])))
            .collect();
        success("matrix", &format!("[{}]", series.join(",")))
    };
    let native = |histogram: &str| {
        success("matrix", &format!("[{{\"metric\":{{}},\"histograms\":[[{},{histogram}]]}}]", t(0)))
    };
    let mut all: Vec<Body> = many()
        .into_iter()
        .map(|(name, body, codes)| {
            (name, body.replace("\"metric\":{}", "\"metric\":{\"le\":\"+Inf\"}"), codes)
        })
        .collect();
    all.extend([
        (
            "buckets that fall",
            classic(&[("0.1", "9"), ("0.5", "5"), ("+Inf", "9")]),
            &["wrong_shape"] as &[&str],
        ),
        ("no infinite bucket", classic(&[("0.1", "5"), ("0.5", "9")]), &["wrong_shape"]),
        ("a bucket twice", classic(&[("0.5", "5"), ("0.50", "5"), ("+Inf", "9")]), &["wrong_shape"]),
        ("an edge that is a word", classic(&[("fast", "5"), ("+Inf", "9")]), &["wrong_shape"]),
        ("an edge that is NaN", classic(&[("NaN", "5"), ("+Inf", "9")]), &["wrong_shape"]),
        ("half a request", classic(&[("+Inf", "0.5")]), &["not_whole"]),
        ("a negative bucket", classic(&[("+Inf", "-1")]), &["negative"]),
        ("a bucket beyond 2^53", classic(&[("+Inf", "1e18")]), &["huge"]),
        ("no label le", matrix("{}", &samples(&[(0, "1")])), &["wrong_shape"]),
        (
            "a native one that does not add up",
            native("{\"count\":\"9\",\"sum\":\"1\",\"buckets\":[[0,\"1\",\"2\",\"3\"]]}"),
            &["wrong_shape"],
        ),
        ("a native one without a count", native("{\"sum\":\"1\"}"), &["wrong_shape"]),
        ("a native one with a NaN count", native("{\"count\":\"NaN\",\"sum\":\"1\"}"), &["not_a_number"]),
        ("a native one of fractions", native("{\"count\":\"1.5\",\"sum\":\"1\"}"), &["not_whole"]),
        (
            "a native one with a NaN edge",
            native("{\"count\":\"3\",\"sum\":\"1\",\"buckets\":[[0,\"1\",\"NaN\",\"3\"]]}"),
            &["wrong_shape"],
        ),
    ]);
    all
}

pub(super) fn webs() -> Vec<Body> {
    let of = |value: &str| format!("{{\"value\": {value}}}");
    vec![
        ("a text", of("\"0.01\""), &["not_numeric"]),
        ("null", of("null"), &["no_data"]),
        ("true", of("true"), &["wrong_shape"]),
        ("a list", of("[0.01]"), &["wrong_shape"]),
        ("an object", of("{\"value\": 0.01}"), &["wrong_shape"]),
        ("NaN", of("NaN"), &["not_json"]),
        ("Infinity", of("Infinity"), &["not_json"]),
        ("an overflow", of("1e999"), &["not_json"]),
        ("huge", of("1e300"), &["huge"]),
        ("a huge integer", of(&"9".repeat(60)), &["huge", "not_json"]),
        ("a leading plus", of("+0.01"), &["not_json"]),
        ("a leading zero", of("00.01"), &["not_json"]),
        ("the value twice", "{\"value\": 9, \"value\": 0.01}".into(), &["wrong_shape"]),
        ("another name", "{\"Value\": 0.01}".into(), &["wrong_shape"]),
        ("an error", "{\"error\": \"no\"}".into(), &["wrong_shape"]),
        ("a list around it", "[{\"value\": 0.01}]".into(), &["wrong_shape"]),
        ("cut short", "{\"value\": 0.0".into(), &["truncated", "not_json"]),
        ("two answers", "{\"value\": 0.01}\n{\"value\": 0.01}".into(), &["not_json"]),
        ("a trailing comma", "{\"value\": 0.01,}".into(), &["not_json"]),
        ("a comment", "{\"value\": 0.01} // fine".into(), &["not_json"]),
    ]
}
