//! How gates judge, metrics of other sources, and custom gates: what is right, and what is wrong where.

use std::{collections::BTreeMap, path::Path};

use tidegate_adapters::metrics::{AuthenticationSpec, EndpointSpec, MetricSpec, Question, SecretSpec};
use tidegate_core::{
    gate::{Mode, OnFailure, OnInconclusive, OnNoEvidence, Rule},
    judge::Settings,
    model::{Criticality, Millis},
};

use super::{findings, marked, parse, service};
use crate::compose;

#[test]
fn the_defaults_follow_the_criticality() {
    for criticality in ["low", "medium", "high", "critical"] {
        let config = parse(&service(&format!("criticality: {criticality}"))).unwrap();
        let shop = &config.services["shop"];
        let word: Criticality = criticality.parse().unwrap();
        assert_eq!(shop.judgement.settings(), Settings::for_criticality(word), "{criticality}");
        let undecided =
            if word == Criticality::Critical { OnInconclusive::Hold } else { OnInconclusive::Promote };
        for gate in compose::gates(&shop.gates, &shop.judgement).unwrap() {
            assert_eq!((gate.mode, gate.on_inconclusive), (Mode::Sequential, undecided), "{gate:?}");
        }
    }
    let written = "criticality: critical\njudgement: {miss: 3%, bad: 4, false_rollback: 0.5%, warmup: 0s, max_dwell: 1h}";
    let settings = parse(&service(written)).unwrap().services["shop"].judgement.settings();
    let expected = Settings {
        miss_ppm: 30_000,
        bad_bp: 40_000,
        false_rollback_ppm: 5_000,
        warmup: Millis::ZERO,
        max_dwell: Millis::hours(1),
        ..Settings::default()
    };
    assert_eq!(settings, expected);
}

#[test]
fn a_mode_is_each_gates_own_or_that_of_the_service() {
    let text = service("judgement: {mode: threshold}\ngates: {cpu: {mode: sequential}, memory: off}");
    let config = parse(&text).unwrap();
    let shop = &config.services["shop"];
    let gates = compose::gates(&shop.gates, &shop.judgement).unwrap();
    let asked: Vec<_> = gates.iter().map(|gate| (gate.name.as_str(), gate.mode)).collect();
    let threshold = |name| (name, Mode::Threshold);
    let expected = [
        threshold("error_rate"),
        threshold("latency_p95"),
        threshold("latency_p99"),
        ("cpu", Mode::Sequential),
        threshold("request_rate"),
    ];
    assert_eq!(asked, expected, "and the whole distribution is not compared");
    let Rule::ErrorRate { floor, .. } = &gates[0].rule else { panic!("{gates:?}") };
    assert_eq!(floor.basis_points(), 0, "the rule exactly as it was first written");
    let text = service("judgement: {mode: threshold}\ngates: {latency_shift: {mode: sequential}}");
    assert!(parse(&text).unwrap().services["shop"].gates.latency_shift.is_some());
}

#[test]
fn a_service_that_observes_has_no_gate_that_acts() {
    let text = service(
        "criticality: critical\njudgement: {observe: true}\nmetrics: {queue: {command: {argv: [./depth]}}}\n\
         gates: {error_rate: {on_failure: hold}, custom: {queue: {metric: queue, failure: result > 5, on_no_evidence: roll_back}}}",
    );
    let config = parse(&text).unwrap();
    let shop = &config.services["shop"];
    let gates = compose::gates(&shop.gates, &shop.judgement).unwrap();
    assert_eq!(gates.len(), 8);
    for gate in gates {
        let acts = (gate.on_failure, gate.on_no_evidence, gate.on_inconclusive);
        assert_eq!(
            acts,
            (OnFailure::Alert, OnNoEvidence::Continue, OnInconclusive::Promote),
            "{}",
            gate.name
        );
    }
    assert!(shop.judgement.settings().observe);
}

#[test]
fn a_metric_arrives_with_its_defaults_and_absolute_paths() {
    let text = service(
        "metrics:\n  errors:\n    every: 15s\n    prometheus:\n      address: https://prometheus:9090\n      \
         auth: {bearer: {file: secrets/token}}\n      headers: {x-scope-orgid: shop}\n      \
         requests: http_requests_total{release=\"{{release}}\"}\n      failures: http_requests_total{release=\"{{release}}\",code=~\"5..\"}\n  \
         depth: {command: {argv: [./depth]}}\ngates: {custom: {depth: {metric: depth, success: isNaN(result)}}}",
    );
    let config = parse(&text).unwrap();
    let metrics = compose::metrics(Path::new("/srv/shop"), &config.services["shop"]).unwrap();
    let spec = |at: usize| serde_json::from_str::<MetricSpec>(&metrics[at].query).unwrap();
    assert_eq!((metrics[1].name.as_str(), metrics[1].source.as_str()), ("errors", "prometheus"));
    assert_eq!((metrics[1].every, metrics[1].fresh), (Millis::secs(15), Millis::secs(45)));
    let expected = MetricSpec::Prometheus {
        endpoint: EndpointSpec {
            url: "https://prometheus:9090".to_owned(),
            authentication: AuthenticationSpec::Bearer(SecretSpec::File("/srv/shop/secrets/token".into())),
            headers: vec![("x-scope-orgid".to_owned(), "shop".to_owned())],
            within_ms: 10_000,
            ..EndpointSpec::default()
        },
        accept_warnings: false,
        lookback_ms: 120_000,
        ask: Question::Counters {
            requests: "http_requests_total{release=\"{{release}}\"}".to_owned(),
            failures: "http_requests_total{release=\"{{release}}\",code=~\"5..\"}".to_owned(),
            latency: None,
            latency_unit: "s".to_owned(),
            instance_labels: vec!["instance".to_owned()],
        },
    };
    assert_eq!(spec(1), expected);
    let expected = MetricSpec::Command {
        program: "/srv/shop/./depth".into(),
        arguments: Vec::new(),
        environment: BTreeMap::new(),
        inherit: Vec::new(),
        directory: Some("/srv/shop/.".into()),
        path: "$".to_owned(),
        within_ms: 10_000,
    };
    assert_eq!((metrics[0].source.as_str(), spec(0)), ("command", expected));
}

const METRICS: &str = "metrics:\n  counted: {scrape: {requests: r_total, failures: f_total}}\n  depth: {web: {address: \"http://a\"}}\n";

#[test]
fn a_mistake_in_how_gates_judge_is_named_where_it_stands() {
    let custom = |gate: &str| format!("{METRICS}gates: {{custom: {{slow: {gate}}}}}");
    let source = |source: &str| format!("metrics: {{m: {{{source}}}}}");
    for (lines, message, help) in [
        ("judgement: {mode: «tresholds»}".to_owned(), "not one of `sequential`", "did you mean `threshold`?"),
        ("judgement: {«obsrve»: true}".into(), "not a key in", "did you mean `observe`?"),
        ("judgement: {false_rollback: «0.01»}".into(), "it has no `%`", "write `1%`"),
        (
            "judgement: {bad: «1.05»}".into(),
            "a ratio of 1.05 is to be ruled out as bad, and 1.1 is tolerated",
            "raise `bad`",
        ),
        (
            "gates: {latency_shift: {mode: «threshold»}}".into(),
            "`latency_shift` cannot be asked in `threshold` mode",
            "write `mode: sequential`",
        ),
        (
            "judgement: {mode: threshold}\ngates: {«latency_shift»: {}}".into(),
            "cannot be asked in `threshold` mode",
            "",
        ),
        (
            format!("{METRICS}gates: {{error_rate: {{metric: «conted»}}}}"),
            "no metric `conted`",
            "did you mean `counted`?",
        ),
        (
            format!("{METRICS}gates: {{error_rate: {{metric: «depth»}}}}"),
            "has no `requests`",
            "a custom gate",
        ),
        (
            format!("{METRICS}gates: {{latency_p95: {{metric: «counted»}}}}"),
            "has no `latency`",
            "add the histogram",
        ),
        (
            format!("{METRICS}gates: {{error_rate: {{metric: «counted», mode: threshold}}}}"),
            "only asked in `sequential` mode",
            "",
        ),
        (format!("{METRICS}gates: {{cpu: {{«metric»: counted}}}}"), "does not belong", ""),
        (custom("{metric: «counted», success: result < 5}"), "has counters", ""),
        (
            format!("{METRICS}gates: {{custom: {{«cpu»: {{metric: depth, success: result < 5}}}}}}"),
            "name of a standard gate",
            "",
        ),
        (
            format!("{METRICS}gates: {{custom: {{«shadow»: {{metric: depth, success: result < 5}}}}}}"),
            "`shadow` is the name of a standard gate",
            "give it another name",
        ),
        (
            format!("{METRICS}gates: {{custom: {{«slow»: {{metric: depth}}}}}}"),
            "expected `success`, `failure`, or both",
            "",
        ),
        (custom("{metric: depth, unit: «parsec», success: result < 5}"), "not a unit", "units are number"),
        (custom("{metric: depth, success: «result < 500ms»}"), "do not go together", ""),
        (custom("{metric: depth, unit: ms, success: «result < 500»}"), "do not go together", ""),
        (custom("{metric: depth, failure: \"new > 1 && «resul» > 2\"}"), "unknown name", ""),
        (custom("{metric: depth, success: result «=» 5}"), "in the condition", ""),
        (source("«prometheus»: {address: \"http://p\"}"), "expected one of `query`, `requests`", ""),
        (source("web: {address: «p:9090»}"), "not a web address", "write `http://host:port`"),
        (source("web: {address: «\"http://u:secret@p\"»}"), "cannot hold a user or a password", "auth"),
        (
            source("scrape: {requests: «\"rate(r_total[5m])\"», failures: f}"),
            "not the name of series",
            "the difference is taken here",
        ),
        (
            source(
                "prometheus: {address: \"http://p\", requests: «r_total», failures: \"f{a=\\\"{{release}}\\\"}\"}",
            ),
            "both releases together",
            "version=",
        ),
        (source("scrape: {requests: «r_total»}"), "`failures` is missing beside `requests`", ""),
        (source("scrape: {value: v, «failures»: f}"), "means nothing without `requests`", ""),
        (source("scrape: {value: v}, «web»: {address: \"http://a\"}"), "exclude each other", ""),
        (source("web: {address: \"http://a\", path: «\"$[\"»}"), "not a JSON path", ""),
        (
            source("web: {address: \"http://a\", auth: {bearer: «hunter2»}}"),
            "expected keys (`variable`, `file`)",
            "",
        ),
    ] {
        let (plain, places) = marked(&service(&lines));
        let found = findings(&plain);
        let shown = super::super::render(&found, &plain);
        assert_eq!(found.len(), 1, "{shown}");
        assert!(found[0].message.contains(message), "{message}\n{shown}");
        assert!(found[0].help.as_deref().unwrap_or_default().contains(help), "{help}\n{shown}");
        assert_eq!(found[0].place, places[0], "{shown}");
        assert!(
            !shown.contains("secret@") || shown.matches("secret@").count() == 1,
            "only the excerpt: {shown}"
        );
    }
}
