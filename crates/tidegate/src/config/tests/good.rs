//! Files that are right.

use std::{fs, path::Path};

use tidegate_core::{
    gate::{Mode, OnFailure, OnInconclusive, OnNoEvidence},
    judge::Settings,
};

use super::super::{
    Batch, Code, Criticality, EnvValue, Probe, Queue, RunKind, Step, Strategy, fields, find, load, reader,
    routing::{Condition, Side, Sticky},
    table::{Absent, Block},
};
use super::{parse, run, service};

#[test]
fn the_shortest_file_gets_every_default() {
    let config =
        parse("version: 1\nservices:\n  shop:\n    listen: 8080\n    run: {command: [./server]}\n").unwrap();
    let shop = &config.services["shop"];
    assert_eq!(shop.criticality, Criticality::Medium);
    assert_eq!(shop.environment, "production");
    assert_eq!(shop.listen, ["127.0.0.1:8080".parse().unwrap()]);
    let Strategy::Canary(canary) = &shop.strategy else { panic!("{:?}", shop.strategy) };
    let step = |share_bp| Step { share_bp, bake_ms: 60_000, approval: false };
    assert_eq!(canary.steps, [step(500), step(2_500), step(5_000), step(10_000)]);
    assert_eq!(shop.run.ready.probe, Probe::Tcp);
    assert_eq!(
        (shop.run.ready.interval_ms, shop.run.ready.deadline_ms, shop.run.instances),
        (250, 30_000, 1)
    );
    let RunKind::Command(command) = &shop.run.kind else { panic!("{:?}", shop.run) };
    assert_eq!((command.files.as_slice(), command.directory.as_str()), (&[".".to_owned()][..], "."));
    let gates = &shop.gates;
    let error_rate = gates.error_rate.as_ref().unwrap();
    let policy = &error_rate.policy;
    assert_eq!((error_rate.ratio_max_milli, error_rate.floor_bp, policy.min_requests), (1_100, 1, 20));
    assert_eq!((policy.on_failure, policy.on_no_evidence), (OnFailure::RollBack, OnNoEvidence::Hold));
    assert_eq!((policy.mode, policy.on_inconclusive), (Mode::Sequential, OnInconclusive::Promote));
    assert_eq!((policy.hold_max_ms, &policy.metric), (180_000, &None));
    assert_eq!(gates.latency_shift.as_ref().unwrap().ratio_max_milli, 1_250);
    assert_eq!(shop.judgement.settings(), Settings::default());
    assert!(shop.metrics.is_empty() && gates.custom.is_empty() && !shop.judgement.observe);
    let latencies = [&gates.latency_p95, &gates.latency_p99].map(|gate| gate.as_ref().unwrap().limit_ms);
    let levels = [&gates.cpu, &gates.memory].map(|gate| gate.as_ref().unwrap().limit_bp);
    assert_eq!(
        (latencies, levels, gates.request_rate.as_ref().unwrap().min_bp),
        ([500, 1_000], [8_000, 9_000], 5_000)
    );
    assert_eq!((shop.watch_ms, shop.lease_ms, shop.queue), (300_000, Some(600_000), Queue::Wait));
    assert_eq!((shop.pause_max_ms, shop.keep_releases), (86_400_000, 5));
    assert_eq!(shop.routing.limits.in_flight, 10_000);
    assert_eq!(shop.routing.maintenance.body, "Down for maintenance. Please try again soon.\n");
    assert!(shop.tls.is_none() && shop.shadow.is_none() && shop.routing.sticky.is_none());
}

#[test]
fn what_is_written_arrives_in_its_unit() {
    let text = service(
        "criticality: critical\nlease: off\nwatch: 1h30m\nqueue: supersede\n\
         strategy: {canary: {bake: 2m, steps: [{share: 0.5%, approval: true}, {share: 12.25%, bake: 1500ms}, 100%]}}\n\
         shadow: {share: 100%, body_max: 1MB, methods: [GET, POST], json_ignore: [/time, /items/*/id]}\n\
         gates: {cpu: off, error_rate: {ratio_max: 1.25, floor: 0.1%, on_failure: alert}}\n\
         routing:\n  sticky: {cookie: tg}\n  rules: [{when: [{header: x-tester, value: \"yes\"}, {path: /beta}], to: new}]\n  \
         health: {http: /up, slow_start: 5s}\n",
    );
    let config = parse(&text).unwrap();
    let shop = &config.services["shop"];
    assert_eq!((shop.lease_ms, shop.watch_ms, shop.queue), (None, 5_400_000, Queue::Supersede));
    let Strategy::Canary(canary) = &shop.strategy else { panic!("{:?}", shop.strategy) };
    let steps: Vec<_> =
        canary.steps.iter().map(|step| (step.share_bp, step.bake_ms, step.approval)).collect();
    assert_eq!(steps, [(50, 120_000, true), (1_225, 1_500, false), (10_000, 120_000, false)]);
    let shadow = shop.shadow.as_ref().unwrap();
    assert_eq!((shadow.share_bp, shadow.body_max_bytes, shadow.bake_ms), (10_000, 1_000_000, 60_000));
    assert_eq!(shadow.json_ignore.as_ref().unwrap(), &["/time", "/items/*/id"]);
    assert!(shop.gates.cpu.is_none());
    let error_rate = shop.gates.error_rate.as_ref().unwrap();
    assert_eq!(
        (error_rate.ratio_max_milli, error_rate.floor_bp, error_rate.policy.on_failure),
        (1_250, 10, OnFailure::Alert)
    );
    assert_eq!(shop.routing.sticky, Some(Sticky::Cookie("tg".to_owned())));
    assert_eq!(shop.routing.rules[0].to, Side::New);
    assert_eq!(shop.routing.rules[0].when[1], Condition::PathPrefix("/beta".to_owned()));
    assert_eq!(shop.routing.health.active.as_ref().unwrap().interval_ms, 1_000);
    assert_eq!(shop.routing.health.slow_start_ms, 5_000);
}

#[test]
fn a_container_brings_its_own_keys() {
    let text = "version: 1\nservices:\n  shop:\n    listen: [8080, \"[::1]:8080\"]\n    run:\n      container:\n        \
                image: registry.example:5000/team/shop:1.2\n        port: 3000\n        memory: 256MiB\n        \
                instances: 3\n        env: {A: \"1\", B: {file: /run/secret}}\n    strategy: {rolling: {batch: 3}}\n";
    let config = parse(text).unwrap();
    let shop = &config.services["shop"];
    let RunKind::Container(container) = &shop.run.kind else { panic!("{:?}", shop.run) };
    assert_eq!((container.port, container.memory_bytes, shop.run.instances), (3_000, Some(256 << 20), 3));
    assert_eq!(container.env["B"], EnvValue::File("/run/secret".to_owned()));
    assert_eq!(shop.listen.len(), 2);
    let Strategy::Rolling(rolling) = &shop.strategy else { panic!("{:?}", shop.strategy) };
    assert_eq!(rolling.batch, Batch::Instances(3));
}

#[test]
fn the_lease_is_twice_the_longest_bake_when_that_is_more_than_ten_minutes() {
    let lease =
        |strategy: &str| parse(&service(&format!("strategy: {strategy}"))).unwrap().services["shop"].lease_ms;
    assert_eq!(lease("{blue_green: {bake: 1h}}"), Some(7_200_000));
    assert_eq!(lease("{canary: {steps: [5%, {share: 50%, bake: 20m}]}}"), Some(2_400_000));
    assert_eq!(lease("{all_at_once: {}}"), Some(600_000));
}

#[test]
fn an_alias_repeats_a_value() {
    let text = "version: 1\nservices:\n  shop: {listen: 1, run: &run {command: [a]}}\n  blog: {listen: 2, run: *run}\n";
    let config = parse(text).unwrap();
    assert_eq!(config.services["shop"].run, config.services["blog"].run);
}

#[test]
fn a_byte_order_mark_carriage_returns_and_comments_do_no_harm() {
    let text = format!("\u{feff}# what we run\r\n{}", run("# none\nenv: {}\n").replace('\n', "\r\n"));
    assert!(parse(&text).is_ok());
    let wrong = text.replace("8080", "0");
    assert_eq!(super::findings(&wrong)[0].place.line, 5);
    let old = wrong.replace("\r\n", "\r");
    assert_eq!(super::findings(&old)[0].place.line, 5);
}

#[test]
fn later_findings_know_where_a_value_was_written() {
    let config = parse(&service("watch: 1m\n")).unwrap();
    let finding =
        config.finding("services.shop.listen", "port 8080 is taken", Some("stop what listens there"));
    assert_eq!((finding.place.line, finding.place.column, finding.place.length), (4, 13, 4));
    assert_eq!(config.place("services.shop").line, 3);
    assert!(super::super::render(&[finding], &config.source).contains("4 |     listen: 8080"));
    assert_eq!(config.directory(), Path::new("."));
    // Left to its default: the nearest thing that was written.
    assert_eq!(config.place("services.shop.run.ready.deadline").line, 5);
}

#[test]
fn the_file_is_found_from_a_directory_below() {
    let root = tempfile::tempdir().unwrap();
    let below = root.path().join("a/b");
    fs::create_dir_all(&below).unwrap();
    assert!(find(&below).is_none_or(|path| !path.starts_with(root.path())));
    fs::write(root.path().join("tidegate.yaml"), service("")).unwrap();
    assert_eq!(find(&below).unwrap(), root.path().join("tidegate.yaml"));
    assert!(load(&find(&below).unwrap()).is_ok());
}

#[test]
fn a_file_that_cannot_be_read_says_why() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("tidegate.yaml");
    let refused = |path: &Path| load(path).unwrap_err().findings.remove(0);
    let missing = refused(&path);
    assert_eq!(missing.code, Code::Unreadable);
    assert!(missing.help.unwrap().contains("tidegate init"));
    assert!(refused(root.path()).message.contains("is a directory"));
    assert!(refused(Path::new("/dev/zero")).message.contains("not a regular file"));
    for (bytes, code, line) in [
        (&b""[..], Code::Empty, 0),
        (b"\n# nothing\n", Code::Empty, 0),
        (b"---\n", Code::Empty, 0),
        (b"version: 1\nab\xff", Code::NotText, 2),
    ] {
        fs::write(&path, bytes).unwrap();
        let finding = refused(&path);
        assert_eq!((finding.code, finding.place.line), (code, line), "{bytes:?}");
    }
    fs::write(&path, vec![b'#'; 1024 * 1024 + 1]).unwrap();
    assert_eq!(refused(&path).code, Code::TooLarge);
}

#[test]
fn every_default_of_the_table_can_be_read() {
    fn walk(block: &'static Block, checked: &mut usize) {
        for field in block.fields {
            if let Absent::Default(yaml) = field.absent {
                assert!(reader::default_value(yaml, &field.kind).is_some(), "`{}: {yaml}`", field.key);
                *checked += 1;
            }
            assert!(field.doc.ends_with('.') || field.doc.ends_with("`."), "`{}`: {}", field.key, field.doc);
            if let Some((_, inner)) = field.kind.below() {
                walk(inner, checked);
            }
        }
    }
    let mut checked = 0;
    walk(&fields::FILE, &mut checked);
    assert!(checked > 80, "{checked}");
}
