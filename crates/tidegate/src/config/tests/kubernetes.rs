//! Services on Kubernetes: what they take, what means nothing for them, and what is filled in.

use std::path::Path;

use super::super::{
    Batch, Config, Rejected, RunKind,
    blast::{AutoscaleMode, Profile},
    parse,
};

const METRIC: &str = r#"    metrics:
      requests:
        prometheus:
          address: http://127.0.0.1:9090
          requests: http_requests_total{pod=~"{{pods}}"}
          failures: http_requests_total{pod=~"{{pods}}",code=~"5.."}
"#;

fn read(more_of_run: &str, more: &str) -> Result<Config, Rejected> {
    let text = format!(
        "version: 1\nservices:\n  shop:\n    run: {{kubernetes: {{manifest: d.yaml, service: shop{more_of_run}}}}}\n{more}"
    );
    parse(Path::new("tidegate.yaml"), &text)
}

#[test]
fn a_service_on_kubernetes_needs_no_listen_has_no_lease_and_asks_only_what_somebody_counts() {
    let config = read("", "").unwrap();
    let shop = &config.services["shop"];
    assert!(shop.listen.is_empty() && shop.lease_ms.is_none());
    let gates = &shop.gates;
    assert!(gates.error_rate.is_none() && gates.latency_p95.is_none() && gates.latency_shift.is_none());
    assert!(gates.cpu.is_none() && gates.memory.is_none() && gates.request_rate.is_none());
    let RunKind::Kubernetes(run) = &shop.run.kind else { panic!("{:?}", shop.run) };
    assert_eq!((run.replicas, run.surge, run.unavailable), (1, Batch::Share(2_500), Batch::Instances(0)));
    assert_eq!((run.namespace.as_str(), run.progress_ms, run.way_back_bp), ("default", 120_000, 5_000));
}

#[test]
fn gates_on_requests_ask_the_only_metric_that_counts_them() {
    let config = read("", METRIC).unwrap();
    let gates = &config.services["shop"].gates;
    let asks = gates.error_rate.as_ref().and_then(|gate| gate.policy.metric.as_deref());
    assert_eq!(asks, Some("requests"));
    assert!(gates.latency_p95.is_none(), "it counts no latencies");
}

#[test]
fn nothing_is_capped_by_default_but_what_is_critical_and_every_strategy_that_is_no_canary_is_left_alone() {
    for (criticality, strategy) in [
        ("high", "canary: {steps: [100%]}"),
        ("critical", "canary: {}"),
        ("critical", "canary: {steps: [5%, 50%]}"),
        ("critical", "blue_green: {}"),
        ("critical", "all_at_once: {}"),
    ] {
        let more = format!("    criticality: {criticality}\n    strategy: {{{strategy}}}\n");
        if let Err(rejected) = read("", &more) {
            panic!("{more}: {rejected}");
        }
    }
    let RunKind::Kubernetes(run) =
        &read(", autoscale: off, pod_security: baseline", "").unwrap().services["shop"].run.kind.clone()
    else {
        panic!("no Kubernetes")
    };
    assert_eq!((run.autoscale.mode, run.pod_security.profile), (AutoscaleMode::Off, Profile::Baseline));
}

#[test]
fn what_cannot_hold_on_kubernetes_is_named_with_its_place() {
    for (run, more, message, help) in [
        ("", "    listen: 8080\n", "`listen` means nothing", "traffic"),
        ("", "    lease: 1h\n", "`lease` means nothing", "take it out"),
        ("", "    gates: {error_rate: {floor: 1%}}\n", "only a metric does", "metric: NAME"),
        ("", "    gates: {cpu: {limit: 50%}}\n", "`cpu` means nothing", "custom gate"),
        ("", "    shadow: {share: 10%}\n", "can copy requests", "http_route"),
        (
            ", traffic: {http_route: a}",
            "    shadow: {share: 10%, methods: [GET, POST]}\n",
            "copies requests of every method",
            "methods: [GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE]",
        ),
        (", traffic: {http_route: a}", "    shadow: {share: 10%}\n", "its work twice", "take `shadow` out"),
        (", image: \"shop:1\"", "", "another image tomorrow", "by digest"),
        (", traffic: {http_route: a, ingress: b}", "", "exclude each other", "keep one"),
        (
            ", traffic: {destination_rule: a}",
            "",
            "means nothing without `virtual_service`",
            "virtual_service: NAME",
        ),
        (", traffic: {http_rout: a}", "", "`http_rout` is not a key", "http_route"),
        (", testers: [{header: X-Beta, value: a}]", "", "need a route", "traffic"),
        (
            ", traffic: {http_route: a}, testers: [{header: X-Beta}]",
            "",
            "expected one of `value` and `matches`",
            "value: yes",
        ),
        (", cells: {eu: {wave: 0}}", "", "out of range", ""),
        (", namespace: Shop", "", "is not the name of an object", "small letters"),
        (", replicas: 0", "", "out of range", ""),
        (", container: web", "", "means nothing without `image`", ""),
        (", pod_security: restrict", "", "restrict", "did you mean `restricted`"),
        (", configs: [/etc/a.yaml]", "", "is not a path inside the project", "relative"),
        (", network_policy: {from: [A]}", "", "is not the name of an object", "small letters"),
        (", autoscale: {min: 0, max: 3, cpu: 70%}, traffic: {http_route: a}", "", "out of range", ""),
        (
            ", autoscale: {min: 4, max: 3, cpu: 70%}, traffic: {http_route: a}",
            "",
            "`min`, 4, is more than `max`, 3",
            "lower `min`",
        ),
        (", autoscale: {min: 2, max: 3}, traffic: {http_route: a}", "", "nothing says when", "cpu: 70%"),
        (", autoscale: {max: 3, cpu: 70%}, traffic: {http_route: a}", "", "`min` is missing", "min: 2"),
        (", autoscale: {min: 2, max: 3, cpu: 70%}", "", "these make the shares", "blue_green"),
        (
            ", caps: {share_step: 40%}",
            "",
            "rises from 50% to 100% in one step, and `caps.share_step` allows 40%",
            "a step between",
        ),
        (
            "",
            "    criticality: critical\n    strategy: {canary: {steps: [10%, 61%]}}\n",
            "from 10% to 61%",
            "share_step",
        ),
        (
            "",
            "    criticality: critical\n    strategy: {canary: {steps: [10%, 40%]}}\n",
            "from 40% to 100%",
            "share_step",
        ),
    ] {
        let rejected = read(run, more).unwrap_err();
        let text = rejected.to_string();
        assert_eq!(rejected.findings.len(), 1, "{text}");
        assert!(text.contains(message) && text.contains(help), "{message}: {text}");
    }
    let all = "    shadow: {methods: [GET, HEAD, OPTIONS, POST, PUT, PATCH, DELETE]}\n";
    assert!(read(", traffic: {virtual_service: a}", all).is_ok());
    let local = METRIC.replace("    metrics", "    listen: 1\n    metrics");
    let text = format!("version: 1\nservices:\n  shop:\n    run: {{command: [a]}}\n{local}");
    let rejected = parse(Path::new("tidegate.yaml"), &text).unwrap_err();
    assert!(rejected.to_string().contains("stands for nothing on this machine"), "{rejected}");
}
