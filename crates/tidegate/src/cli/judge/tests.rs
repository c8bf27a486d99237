//! Batches from outside: what is said of them, and what is refused.

use std::{fmt::Write as _, fs, io::BufReader};

use serde_json::{Value, json};

use super::{Bench, LINE_BYTES_MAX};
use crate::{
    config,
    fault::{Blame, Exit, Fault},
};

/// Only errors are asked, and every batch counts.
const ERRORS: &str = "shares: [5%, 25%]\njudgement: {warmup: 0s, risk: 0%, max_dwell: 2m}\ngates: {error_rate: {}, latency_shift: off, \
     latency_p95: off, latency_p99: off, cpu: off, memory: off, request_rate: off}\n";

struct Heard {
    exit: Result<Exit, Fault>,
    answers: Vec<Value>,
    complaints: String,
}

impl Heard {
    fn end(&self) -> &Value {
        self.answers.last().unwrap()
    }

    fn exit(&self) -> Exit {
        *self.exit.as_ref().unwrap_or_else(|fault| panic!("{fault}\n{}", self.complaints))
    }
}

fn hear(gates: &str, batches: &str, skip_bad: bool) -> Heard {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gates.yaml");
    fs::write(&path, gates).unwrap();
    let judged = config::load_judged(&path).unwrap_or_else(|rejected| panic!("{rejected}"));
    let (mut answers, mut complaints) = (Vec::new(), Vec::new());
    let mut bench = Bench::new(&judged, skip_bad).unwrap();
    let exit = bench.hear(BufReader::new(batches.as_bytes()), &mut answers, &mut complaints);
    let answers = String::from_utf8(answers).unwrap();
    Heard {
        exit,
        answers: answers.lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        complaints: String::from_utf8(complaints).unwrap(),
    }
}

/// Requests of both sides and their failures, a batch a line.
fn lines(stage: usize, requests: (u64, u64), failures: impl Iterator<Item = (u64, u64)>) -> String {
    failures.fold(String::new(), |mut text, (new, stable)| {
        let line = json!({
            "stage": stage,
            "new": { "requests": requests.0, "failures": new },
            "stable": { "requests": requests.1, "failures": stable },
        });
        writeln!(text, "{line}").unwrap();
        text
    })
}

/// Vector C of the reference: 1 % on both sides.
fn healthy() -> String {
    lines(0, (50, 950), (0..60).map(|i| ((i + 1) % 2, 9 + i % 2)))
}

/// Vector D of the reference: 2 % against 1 %, at 5 % of the traffic and then at 25 %.
fn worse() -> String {
    lines(0, (50, 950), (0..30).map(|_| (1, 10))) + &lines(1, (250, 750), (0..30).map(|i| (5, 7 + i % 2)))
}

#[test]
fn a_release_that_is_as_good_passes_with_the_evidence_of_the_reference() {
    let heard = hear(ERRORS, &healthy(), false);
    assert_eq!(heard.exit(), Exit::Success);
    assert_eq!((&heard.end()["decision"], &heard.end()["batches"]), (&json!("pass"), &json!(60)));
    let last = &heard.answers[heard.answers.len() - 2];
    assert_eq!(
        (&last["gate"], &last["verdict"], &last["state"]),
        (&json!("error_rate"), &json!("pass"), &json!("live"))
    );
    assert_eq!(last["evidence_for"], json!(8.229), "{last}");
    assert_eq!(last["ratio"], json!(1.0), "{last}");
    assert!(
        last["ratio_low"].as_f64().unwrap() < 1.0 && last["ratio_high"].as_f64().unwrap() < 2.0,
        "{last}"
    );
    assert!(last["budget"].as_f64().unwrap() < 0.1, "{last}");
    assert_eq!(heard.answers.len(), 60 + 1 + 1, "a line for each batch, the last look, and the decision");
}

#[test]
fn a_release_that_is_worse_is_turned_back_at_the_batch_that_shows_it() {
    let heard = hear(ERRORS, &worse(), false);
    assert_eq!(heard.exit(), Exit::RolledBack);
    let end = heard.end();
    assert_eq!((&end["decision"], &end["gate"]), (&json!("roll_back"), &json!("error_rate")));
    let batches = end["batches"].as_u64().unwrap();
    assert!((31..60).contains(&batches), "before everything was read: {end}");
    let last = &heard.answers[heard.answers.len() - 2];
    assert_eq!(
        (&last["verdict"], &last["batch"], &last["stage"]),
        (&json!("fail"), &json!(batches), &json!(1))
    );
    assert_eq!(last["budget"], json!(1.0), "{last}");
    assert!(end["reason"].as_str().unwrap().contains("1 of 100 is allowed"), "{end}");
}

#[test]
fn a_gate_with_a_threshold_is_asked_once_the_stage_is_over() {
    let gates = ERRORS
        .replace("warmup: 0s", "mode: threshold")
        .replace("{error_rate: {}", "{error_rate: {ratio_max: 1.5}");
    let heard = hear(&gates, &worse(), false);
    assert_eq!(heard.exit(), Exit::RolledBack);
    let last = &heard.answers[heard.answers.len() - 2];
    assert_eq!(
        (&last["final"], &last["batch"], &last["stage"]),
        (&json!(true), &json!(30), &json!(0)),
        "{last}"
    );
    assert_eq!(last["ratio"], json!(1.9), "{last}");
    let healthy = hear(&gates, &healthy(), false);
    assert_eq!(healthy.exit(), Exit::Success, "{}", healthy.end());
}

#[test]
fn input_that_ends_early_decides_nothing() {
    for (batches, reason) in
        [("", "no batch has come"), ("\n\n", "no batch has come"), (&healthy()[..300], "")]
    {
        let whole = batches.rfind('\n').map_or("", |end| &batches[..=end]);
        let heard = hear(ERRORS, whole, false);
        assert_eq!(heard.exit(), Exit::Held, "{whole}");
        assert_eq!(heard.end()["decision"], json!("undecided"));
        assert!(heard.end()["reason"].as_str().unwrap().contains(reason), "{}", heard.end());
    }
    let cut = hear(ERRORS, &healthy()[..300], false);
    assert_eq!(cut.exit.unwrap_err().blame, Blame::Caller);
    assert!(cut.complaints.contains("was it cut off?"), "{}", cut.complaints);
}

#[test]
fn every_bad_line_is_named_with_what_was_expected() {
    let new = r#""new":{"requests":5}"#;
    let cases = [
        ("nonsense".to_owned(), "this is no JSON"),
        ("[1]".to_owned(), "a list, expected an object"),
        (r#"{"new":[5,1]}"#.to_owned(), "a list, expected an object"),
        (r#"{"stage":0}"#.to_owned(), "missing field `new`"),
        (format!(r#"{{{new},"requets":1}}"#), "unknown field `requets`"),
        (r#"{"new":{"requests":5,"failures":6}}"#.to_owned(), "6 failures of 5 requests"),
        (r#"{"new":{"request":1}}"#.to_owned(), "unknown field `request`: did you mean `requests`?"),
        (r#"{"new":{"requests":-1}}"#.to_owned(), "integer `-1`, expected a whole number from 0 on"),
        (r#"{"new":{"requests":"many"}}"#.to_owned(), "expected a whole number"),
        (format!(r#"{{{new},"share":NaN}}"#), "this is no JSON"),
        (format!(r#"{{{new},"share":0.00001}}"#), "the smallest is 0.0001"),
        (format!(r#"{{{new},"at":-1}}"#), "up to the year 9999"),
        (format!(r#"{{{new},"at":1769853600000000000}}"#), "up to the year 9999"),
        (format!(r#"{{{new},"cpu":1e308}}"#), "found 1e308"),
        (
            r#"{"new":{"requests":5,"latency_ms":[[10,4],[50,5]]}}"#.to_owned(),
            "`latency_ms` has 9 of 5 requests",
        ),
        (format!(r#"{{{new},"seconds":0}}"#), "`seconds`"),
        (format!(r#"{{{new},"seconds":1e300}}"#), "`seconds`"),
        (format!(r#"{{{new},"share":5}}"#), "0.05 for 5 %"),
        (format!(r#"{{{new},"stage":7}}"#), "`share` is missing"),
        (format!(r#"{{{new},"state":"sleepy"}}"#), "unknown variant `sleepy`"),
        (format!(r#"{{{new},"at":"yesterday"}}"#), "such as 2026-01-31T10:00:00Z"),
        (format!(r#"{{{new},"at":true}}"#), "number of milliseconds"),
        (format!(r#"{{{new},"cpu":-0.1}}"#), "`cpu`"),
        (r#"{"new":{"requests":5,"latency_ms":[[50,1],[10,1]]}}"#.to_owned(), "edges of `latency_ms` rise"),
        (format!(r#"{{{new},"metrics":{{"m":{{}}}}}}"#), "metric `m` has either"),
        (
            format!(r#"{{{new},"metrics":{{"m":{{"new":1,"stable":{{"requests":1}}}}}}}}"#),
            "counts on one side",
        ),
        (format!(r#"{{{new},"metrics":{{"counts":{{"new":1}}}}}}"#), "another name"),
        (format!(r#"{{{new},"metrics":{{"m":{{"new":"a"}}}}}}"#), "a number, a list of numbers, or counts"),
        (format!("{{{new},\"state\":\"{}\"}}", "x".repeat(LINE_BYTES_MAX)), "longer than"),
    ];
    for cases in cases.chunks(10) {
        let lines: Vec<&str> = cases.iter().map(|(line, _)| line.as_str()).collect();
        let heard = hear(ERRORS, &lines.join("\n"), false);
        assert_eq!(heard.exit.unwrap_err().blame, Blame::Caller);
        let complaints: Vec<&str> = heard.complaints.lines().collect();
        assert_eq!(complaints.len(), cases.len(), "{}", heard.complaints);
        for (number, ((line, expected), complaint)) in cases.iter().zip(complaints).enumerate() {
            let start = format!("line {}: ", number + 1);
            assert!(complaint.starts_with(&start) && complaint.contains(expected), "{line}: {complaint}");
        }
        assert!(heard.answers.is_empty());
    }
}

#[test]
fn bad_lines_are_left_out_only_when_asked_and_counted() {
    let text = format!("oops\n{}oops\n", healthy());
    let heard = hear(ERRORS, &text, true);
    assert_eq!(heard.exit(), Exit::Success);
    assert_eq!((&heard.end()["skipped"], &heard.end()["batches"]), (&json!(2), &json!(60)));
    assert!(heard.complaints.starts_with("line 1: ") && heard.complaints.contains("line 62: "));
    let many = hear(ERRORS, &"oops\n".repeat(50), false);
    assert_eq!(many.complaints.lines().count(), 21, "named up to a bound");
    assert!(many.exit.unwrap_err().message.starts_with("50 of 50 lines"));
    let heard = hear(ERRORS, &text, false);
    assert!(heard.answers.is_empty(), "nothing is judged after a bad line");
}

#[test]
fn moments_rise_and_stages_too() {
    let line = |rest: &str| format!("{{\"new\":{{\"requests\":5}},{rest}}}\n");
    let good =
        line(r#""at":"2026-01-31T10:00:00Z""#) + &line(r#""at":"2026-01-31T11:00:01+01:00","stage":1"#);
    let heard = hear(ERRORS, &good, false);
    assert_eq!(heard.answers[0]["at"], json!(1_769_853_600_000_i64));
    let heard = hear(ERRORS, &(good + &line(r#""at":1"#) + &line(r#""stage":0"#)), false);
    assert!(heard.complaints.contains("line 3: `at` is not later"), "{}", heard.complaints);
    assert!(heard.complaints.contains("line 4: `stage` is 0, and was 1"), "{}", heard.complaints);
}

#[test]
fn custom_metrics_are_judged_by_their_conditions() {
    let gates = ERRORS.replace(
        "{error_rate: {}",
        "{error_rate: off, custom: {wait: {metric: wait, unit: ms, success: new < 200ms, failure: new > 1s, failures_max: 1}}",
    );
    let line = |value: &str| format!("{{\"new\":{{\"requests\":5}},\"metrics\":{{\"wait\":{value}}}}}\n");
    let bad = line("{\"new\":5000}");
    let heard = hear(
        &gates,
        &format!("{}{bad}{}{bad}", line("{\"new\":10}"), line("{\"fault\":\"refused\"}")),
        false,
    );
    assert_eq!(heard.exit(), Exit::RolledBack);
    let seen: Vec<_> =
        heard.answers.iter().map(|answer| answer["verdict"].as_str().unwrap_or_default()).collect();
    assert_eq!(seen, ["pass", "no_evidence", "no_evidence", "fail", ""], "{:?}", heard.answers);
    assert_eq!(heard.answers[2]["state"], json!("stale"));
}

/// A line with these requests, failures and latencies of the new release and the stable one.
fn timed(new: &str, stable: &str) -> String {
    let side = |latency: &str| format!("{{\"requests\":50{latency}}}");
    format!("{{\"new\":{},\"stable\":{}}}\n", side(new), side(stable))
}

#[test]
fn requests_without_latencies_are_no_evidence_that_they_were_fast() {
    const FAST: &str = ",\"latency_ms\":[[10,50],[5000,0]]";
    for mode in ["sequential", "threshold"] {
        for (gate, new, stable, reason) in [
            ("latency_p99: {}", "", FAST, "no `latency_ms` of the new release"),
            ("latency_shift: {mode: sequential}", FAST, "", "no `latency_ms` of the stable release"),
        ] {
            let gates = ERRORS.replace("warmup", &format!("mode: {mode}, warmup"));
            let off = gate.split_once(':').unwrap().0;
            let gates =
                gates.replace(&format!("{off}: off"), gate).replace("error_rate: {}", "error_rate: off");
            // Longer than `max_dwell`: what is only undecided would be promoted.
            let heard = hear(&gates, &timed(new, stable).repeat(200), false);
            assert_eq!(heard.exit(), Exit::Held, "{mode} {gate}: {}", heard.end());
            if mode == "sequential" {
                let answer = &heard.answers[0];
                assert!(answer["reason"].as_str().unwrap().contains(reason), "{answer}");
                assert_eq!(
                    (&answer["verdict"], &answer["undecided"]),
                    (&json!("no_evidence"), &json!(false))
                );
            }
        }
    }
}

#[test]
fn whole_numbers_of_a_metric_are_values_and_never_counts() {
    let gates = ERRORS.replace(
        "{error_rate: {}",
        "{error_rate: off, custom: {depth: {metric: depth, success: 'all(result, # < 5)', failure: 'any(result, # >= 5)'}}",
    );
    let line = |values: &str| {
        format!("{{\"new\":{{\"requests\":5}},\"metrics\":{{\"depth\":{{\"new\":{values}}}}}}}\n")
    };
    assert_eq!(hear(&gates, &line("[3, 1]"), false).exit(), Exit::Success);
    assert_eq!(hear(&gates, &line("[9, 1]"), false).exit(), Exit::RolledBack);
    assert_eq!(hear(&gates, &line("7"), false).exit(), Exit::RolledBack);
}

#[test]
fn batches_that_overlap_are_refused_because_they_would_count_twice() {
    let line = |at: i64| format!("{{\"at\":{at},\"new\":{{\"requests\":5}}}}\n");
    // Seconds where milliseconds are meant.
    let heard = hear(ERRORS, &(line(1_769_853_600) + &line(1_769_853_601)), false);
    assert!(heard.complaints.contains("line 2: `at` is 1 ms after"), "{}", heard.complaints);
    // A clock that wavers.
    assert!(hear(ERRORS, &(line(1_000) + &line(1_700)), false).exit.is_ok());
}

#[test]
fn without_a_gate_nothing_passes() {
    let gates = ERRORS.replace("error_rate: {}", "error_rate: off");
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gates.yaml");
    fs::write(&path, gates).unwrap();
    let judged = config::load_judged(&path).unwrap_or_else(|rejected| panic!("{rejected}"));
    let fault = Bench::new(&judged, false).err().unwrap();
    assert_eq!(fault.blame, Blame::Caller);
    assert!(fault.message.contains("every gate is off"), "{fault}");
}

#[test]
fn gates_that_only_observe_pass_and_say_what_they_found() {
    let heard = hear(&ERRORS.replace("warmup", "observe: true, warmup"), &worse(), false);
    assert_eq!(heard.exit(), Exit::Success);
    let reason = heard.end()["reason"].as_str().unwrap();
    assert!(
        reason.contains("`error_rate`, which only alerts, failed") && reason.contains("1 of 100"),
        "{reason}"
    );
}

#[test]
fn like_is_compared_with_like_where_a_line_tells_strata_apart() {
    // Searches fail in one of ten cases, and the release happens to get more of them.
    let line = json!({
        "new": { "requests": 180, "failures": 9 },
        "stable": { "requests": 1_690, "failures": 25 },
        "share": 0.1,
        "strata": {
            "/search": { "new": { "requests": 80, "failures": 8 }, "stable": { "requests": 90, "failures": 9 } },
            "/cart": { "new": { "requests": 100, "failures": 1 }, "stable": { "requests": 1_600, "failures": 16 } },
        },
    });
    let minute = |line: &Value| format!("{line}\n").repeat(60);
    let mut pooled = line.clone();
    pooled.as_object_mut().unwrap().remove("strata");
    assert_eq!(hear(ERRORS, &minute(&pooled), false).exit(), Exit::RolledBack);
    assert_eq!(hear(ERRORS, &minute(&line), false).exit(), Exit::Success);
    for (wrong, said) in [
        (json!({ "/cart": { "new": { "requests": 200 } } }), "each request belongs to one stratum at most"),
        (json!({ "/cart": { "new": { "requests": 1, "failures": 2 } } }), "more failures than requests"),
        (json!({ "/cart": { "new": { "request": 1 } } }), "did you mean `requests`?"),
        ((0..17).map(|n| (n.to_string(), json!({ "new": { "requests": 1 } }))).collect(), "16 at most"),
    ] {
        let mut bad = line.clone();
        bad["strata"] = wrong;
        let heard = hear(ERRORS, &minute(&bad), true);
        assert!(heard.complaints.contains(said), "{}", heard.complaints);
    }
}
