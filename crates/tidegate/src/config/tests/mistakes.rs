//! One row for each rule: the text with the offending part marked `«…»`, and what must be said about it.

use super::{findings, marked, run, service};

/// Checks every row: exactly one finding, exactly there, with both fragments in message and help.
fn check(rows: &[(String, &str, &str)]) {
    let mut wrong = Vec::new();
    for (text, message, help) in rows {
        let (plain, places) = marked(text);
        let found = findings(&plain);
        let good = matches!(found.as_slice(), [one] if Some(&one.place) == places.first()
            && one.message.contains(message)
            && one.help.as_deref().unwrap_or_default().contains(help));
        if !good {
            let shown = super::super::render(&found, &plain);
            wrong.push(format!("expected `{message}` with `{help}` for\n{text}\n{shown}\n"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

fn top(text: &str) -> String {
    text.to_owned()
}

#[test]
fn the_frame_of_the_file_is_checked() {
    check(&[
        (top("«services»: {shop: {listen: 1, run: {command: [a]}}}"), "`version` is missing", "Version"),
        (top("version: «2»\nservices: {shop: {listen: 1, run: {command: [a]}}}"), "only 1", ""),
        (
            top("version: «\"1\"»\nservices: {shop: {listen: 1, run: {command: [a]}}}"),
            "expected a whole number",
            "without quotes",
        ),
        (top("«version»: 1"), "`services` is missing", ""),
        (top("version: 1\n«services»: {}"), "at least 1", ""),
        (top("version: 1\n«services»:"), "found nothing", ""),
        (top("version: 1\n«services»: [a]"), "found a list", ""),
        (top("version: 1\nservices: «shop»"), "found the text `shop`", ""),
        (
            top("version: 1\nservices:\n  «Shop»: {listen: 1, run: {command: [a]}}"),
            "not a name",
            "small letters",
        ),
        (
            top("version: 1\nservices:\n  «9shop»: {listen: 1, run: {command: [a]}}"),
            "not a name",
            "a letter first",
        ),
        (
            top(&format!(
                "version: 1\nservices:\n  «{}»: {{listen: 1, run: {{command: [a]}}}}",
                "s".repeat(42)
            )),
            "not a name",
            "at most 41",
        ),
        (
            top("version: 1\nservices:\n  «shop»: {listen: 1}"),
            "`run` is missing",
            "a command or a container on this machine",
        ),
        (top("version: 1\nservices:\n  «shop»: {run: {command: [a]}}"), "`listen` is missing", "IP:port"),
        (top("version: 1\nservices:\n  «shop»:"), "found nothing", "indent its keys"),
        (top("version: 1\nservices:\n  shop: «./server»"), "expected keys", ""),
        (top("«»- a"), "expected keys", ""),
        (top("«hello»"), "expected keys", ""),
    ]);
}

#[test]
fn unknown_and_misplaced_keys_are_named_with_what_was_meant() {
    check(&[
        (service("«critcality»: high"), "not a key in `services.shop`", "did you mean `criticality`?"),
        (service("«keepReleases»: 5"), "not a key", "did you mean `keep_releases`?"),
        (service("«Shadow-»: {}"), "not a key", "did you mean `shadow`?"),
        (service("«zzzzzzzz»: 1"), "not a key", "known here: `criticality`"),
        (service("«bake»: 60s"), "does not belong in `services.shop`", "services.<name>.strategy.canary"),
        (service("«command»: [a]"), "does not belong", "`services.<name>.run`"),
        (
            top("version: 1\n«strategy»: {}\nservices: {shop: {listen: 1, run: {command: [a]}}}"),
            "does not belong at the top of the file",
            "`services.<name>`",
        ),
        (
            service("gates: {«eror_rate»: off}"),
            "not a key in `services.shop.gates`",
            "did you mean `error_rate`?",
        ),
        (
            service("gates: {error_rate: off, «eror_rate»: off}"),
            "not a key",
            "did you mean `error_rate`, which is there already?",
        ),
        // One slip from a key of this place comes before the place where a key of that very name is.
        (run("«file»: [b]"), "not a key in `services.shop.run`", "did you mean `files`?"),
        (service("gates: {«lattency»: off}"), "not a key", "did you mean `latency_p95`?"),
        (
            service("gates: {cpu: {«min_requests»: 5}}"),
            "does not belong in `services.shop.gates.cpu`",
            "error_rate",
        ),
        (service("strategy: {«blue-green»: {}}"), "not a key", "did you mean `blue_green`?"),
        (
            service("strategy: {canary: {steps: [{share: 5%, «bakes»: 5s}]}}"),
            "not a key in `services.shop.strategy.canary.steps[0]`",
            "did you mean `bake`?",
        ),
        (service("«<<»: {watch: 5m}"), "merge keys", "alias"),
        (service("watch: 5m\n«watch»: 6m"), "already there on line 6", "keep one"),
    ]);
}

#[test]
fn choices_are_made_exactly_once() {
    check(&[
        (
            top("version: 1\nservices:\n  shop:\n    listen: 1\n    «run»: {}"),
            "expected one of `command`, `container`",
            "",
        ),
        (run("«container»: {image: \"a:1\", port: 80}"), "exclude each other", "keep one"),
        (
            top(
                "version: 1\nservices:\n  shop:\n    listen: 1\n    run: {container: {image: \"a:1\", port: 80}, «instances»: 2}",
            ),
            "means nothing without `command`",
            "move it into `container`",
        ),
        (
            top(
                "version: 1\nservices:\n  shop:\n    listen: 1\n    run: {container: {image: \"a:1\", port: 80}, «files»: [a]}",
            ),
            "means nothing without `command`",
            "",
        ),
        (run("ready: {http: /healthz, «tcp»: true}"), "exclude each other", ""),
        (run("ready: {tcp: «false»}"), "only `true`", "leave the key out"),
        (run("env: {A: {value: x, «file»: /y}}"), "exclude each other", ""),
        (run("env: {«A»: {}}"), "expected one of `value`, `file`", ""),
        (service("strategy: {canary: {}, «rolling»: {}}"), "exclude each other", ""),
        (service("routing: {«sticky»: {}}"), "expected one of `cookie`, `header`", ""),
        (
            service("routing: {rules: [{when: [{path: /beta, «value»: x}], to: new}]}"),
            "means nothing without one of `header`, `cookie`",
            "",
        ),
        (
            service("routing: {rules: [{when: [{header: a, «path»: /beta}], to: new}]}"),
            "exclude each other",
            "",
        ),
        (service("routing: {health: {«interval»: 5s}}"), "means nothing without `http`", ""),
    ]);
}

#[test]
fn durations_shares_and_sizes_need_their_units() {
    check(&[
        (service("watch: «60»"), "it has no unit", "write `60s`"),
        (service("watch: «60 sec»"), "not a duration", "write `1m`"),
        (service("watch: «1.5s»"), "not a duration", "write `1s500ms`"),
        (service("watch: «soon»"), "not a duration", "a whole number and a unit"),
        (service("watch: «30s1m»"), "not a duration", ""),
        (service("watch: «-5s»"), "cannot be negative", ""),
        (service("watch: «2d»"), "out of range: 0s to 1d", ""),
        (service("watch: «99999999999999999999d»"), "not a duration", ""),
        (service("«watch»:"), "expected a duration", ""),
        (service("«watch»: [5m]"), "expected a duration such as `60s`, found a list", ""),
        (service("«watch»: {a: 5m}"), "expected a duration such as `60s`, found keys", ""),
        (service("lease: «false»"), "expected `off`", "write `off`"),
        (service("lease: «10»"), "it has no unit", "write `10s`"),
        (service("strategy: {canary: {steps: [«5»]}}"), "it has no `%`", "write `5%`"),
        (service("strategy: {canary: {steps: [«0.05»]}}"), "it has no `%`", "write `5%`"),
        (service("strategy: {canary: {steps: [«5 %»]}}"), "not a share", "without the space"),
        (service("strategy: {canary: {steps: [«five»]}}"), "not a share", "`5%`"),
        (service("strategy: {canary: {steps: [{share: «120%»}]}}"), "out of range: 0.01% to 100%", ""),
        (service("strategy: {canary: {steps: [{share: «0%»}]}}"), "out of range: 0.01% to 100%", ""),
        (service("strategy: {canary: {steps: [«-5%»]}}"), "cannot be negative", ""),
        (service("strategy: {canary: {steps: [«5.125%»]}}"), "at most two decimals", ""),
        (run("log: {size_max: «10»}"), "it has no unit", "`10MiB`"),
        (run("log: {size_max: «10M»}"), "not a size", "write `10MiB`"),
        (run("log: {size_max: «1B»}"), "out of range: 4KiB to 10GiB", ""),
        (run("log: {size_max: «-1MiB»}"), "cannot be negative", ""),
        (run("resources: {cpu: «500m»}"), "not a number of cores", "write `0.5`"),
        (run("resources: {cpu: «0»}"), "out of range: 0.001 to 1024", ""),
        (run("resources: {cpu: «all»}"), "not a number of cores", "1.5"),
        (run("resources: {cpu: «\"2\"»}"), "a number of cores", "without quotes"),
    ]);
}

#[test]
fn every_type_is_checked() {
    check(&[
        (service("criticality: «urgent»"), "not one of `low`", ""),
        (service("criticality: «hihg»"), "not one of `low`", "did you mean `high`?"),
        (service("criticality: «3»"), "found the number `3`", ""),
        (service("queue: «yes»"), "not one of `wait`", ""),
        (service("environment: «true»"), "expected a name, found `true`", "in quotes"),
        (service("keep_releases: «five»"), "expected a whole number, found the text `five`", ""),
        (service("keep_releases: «1»"), "out of range: 2 to 100", ""),
        (service("keep_releases: «2.5»"), "expected a whole number", ""),
        (run("instances: «0»"), "out of range: 1 to 64", ""),
        (run("instances: «-1»"), "out of range: 1 to 64", ""),
        (
            service("strategy: {canary: {steps: [{share: 5%, approval: «yes»}]}}"),
            "expected `true` or `false`",
            "write `true`",
        ),
        (service("strategy: «rolling»"), "expected keys (`canary`, `blue_green`", "write `{rolling: {}}`"),
        (service("«strategy»: [canary]"), "found a list", ""),
        (service("strategy: {canary: {«steps»: []}}"), "expected at least 1 item, found 0", ""),
        (service("strategy: {canary: {steps: «5%»}}"), "expected a list", "write `[5%]`"),
        (service("strategy: {rolling: {batch: «0»}}"), "out of range: 1 to 64", ""),
        (
            service("strategy: {rolling: {batch: «some»}}"),
            "expected a share such as `25%` or a number of instances",
            "",
        ),
        (service("gates: «off»"), "expected keys (`error_rate`", ""),
        (service("gates: {cpu: «of»}"), "expected `off` or keys", "did you mean `off`?"),
        (service("gates: {error_rate: {ratio_max: «0.5»}}"), "out of range: 1 to 100", ""),
        (
            service("gates: {error_rate: {on_failure: «rollback»}}"),
            "not one of `roll_back`",
            "did you mean `roll_back`?",
        ),
        (service("shadow: {methods: [«FETCH»]}"), "not one of `GET`", ""),
        (service("shadow: {methods: [«get»]}"), "not one of `GET`", "did you mean `GET`?"),
        (service("shadow: {json_ignore: [«$.time»]}"), "not a JSON pointer", "write `/time`"),
        (service("tls: {«certificate»: {a: b}, key: k.pem}"), "expected the path of a file, found keys", ""),
        (service("«tls»: {certificate: c.pem}"), "`key` is missing", ""),
        (run("stop: {signal: «SIGTERM»}"), "not one of `TERM`", "did you mean `TERM`?"),
        (run("restart: {crash_loop: «many»}"), "expected a whole number", ""),
        (service("routing: {sticky: «cookie»}"), "expected `client_address` or keys", ""),
        (service("routing: {sticky: {cookie: «a b»}}"), "not the name of a header or cookie", ""),
        (service("routing: {rules: [{when: [], to: new}]}").replace("when", "«when»"), "at least 1", ""),
        (
            service("routing: {rules: [{when: [{cookie: beta}], to: «old»}]}"),
            "not one of `new`, `stable`",
            "",
        ),
        (service("routing: {maintenance: {status: «200»}}"), "out of range: 400 to 599", ""),
        (service("routing: {limits: {in_flight: «0»}}"), "out of range: 1 to 1000000", ""),
        (service("pause_max: «1s»"), "out of range: 1m to 30d", ""),
    ]);
}

#[test]
fn texts_have_the_form_they_need() {
    let with = |run: &str| format!("version: 1\nservices:\n  shop:\n    listen: 1\n    run: {run}");
    let image = |image: &str| with(&format!("{{container: {{image: {image}, port: 80}}}}"));
    check(&[
        (with("{command: «./server --port 80»}"), "expected a list", "[\"./server\", \"--port\", \"80\"]"),
        (
            with("{command: [./server, «8080»]}"),
            "expected a text, found the number",
            "write `\"8080\"` in quotes",
        ),
        (with("{command: [./server, «null»]}"), "expected a text, found nothing", ""),
        (run("files: [«/etc/passwd»]"), "not a path inside the project", "relative"),
        (run("files: [«../secret»]"), "not a path inside the project", "lead out"),
        (run("directory: «a/../../b»"), "not a path inside the project", "lead out"),
        (run("exclude: [«\"[a\"»]"), "not a pattern", "`]`"),
        (run("env: {«1A»: x}"), "not the name of an environment variable", ""),
        (run("env: {«PORT»: x}"), "`PORT` is set by Tidegate", ""),
        (run("env: {A: «1.10»}"), "found the number `1.10`", "`\"1.10\"` in quotes"),
        (run("ready: {http: «healthz»}"), "not the path of a URL", "write `/healthz`"),
        (run("ready: {http: «http://localhost/healthz»}"), "not the path of a URL", "`/healthz`"),
        (run("user: «a b»"), "not a user", ""),
        (image("«shop»"), "not a container image", "`shop:1.0`"),
        (image("«\"shop@sha256:12\"»"), "not a container image", "64 hexadecimal digits"),
        (image("«\"Shop:1\"»"), "not a container image", "no capitals"),
        (image("«\"shop: 1\"»"), "not a container image", ""),
    ]);
}

#[test]
fn addresses_are_checked() {
    let listen = |listen: &str| {
        format!("version: 1\nservices:\n  shop:\n    listen: {listen}\n    run: {{command: [a]}}\n")
    };
    check(&[
        (listen("«0»"), "a port is 1 to 65535", ""),
        (listen("«99999»"), "a port is 1 to 65535", ""),
        (listen("«127.0.0.1:0»"), "a port is 1 to 65535", ""),
        (listen("«127.0.0.1:99999»"), "a port is 1 to 65535", ""),
        (listen("«localhost:8080»"), "must be an IP address", "write `127.0.0.1:8080`"),
        (listen("«\":8080\"»"), "must be an IP address", "0.0.0.0:8080"),
        (listen("«example.org»"), "not an address", "IP:port"),
        (listen("«-1»"), "not an address", ""),
        (listen("[8080, «8080»]"), "already taken by `services.shop.listen[0]` on line 4", "its own port"),
        (listen("[8080, «\"0.0.0.0:8080\"»]"), "already taken", ""),
        (
            format!("{}  blog:\n    listen: «127.0.0.1:8080»\n    run: {{command: [a]}}", listen("8080")),
            "`127.0.0.1:8080` is already taken by `services.shop.listen` on line 4",
            "its own port",
        ),
    ]);
}

#[test]
fn values_that_cannot_hold_together_are_found() {
    check(&[
        (
            service("strategy: {canary: {steps: [5%, 50%, «25%»]}}"),
            "25% does not rise above the step before it, 50%",
            "",
        ),
        (service("strategy: {canary: {steps: [{share: 5%}, {share: «5%», bake: 1s}]}}"), "does not rise", ""),
        (run("ready: {deadline: «400ms»}"), "never be ready in time: it needs 500ms", ""),
        (run("ready: {successes: «100», interval: 1s}"), "needs 1m39s at the least, and has 30s", ""),
        (run("restart: {backoff: «1m»}"), "longer than the longest, 30s", ""),
        (run("restart: {backoff_max: «100ms»}"), "the first wait, 200ms, is longer", ""),
        (service("strategy: {rolling: {batch: «4»}}"), "more than there are instances, 1", ""),
        (service("shadow: {methods: [GET, «GET»]}"), "already in the list", ""),
    ]);
}

#[test]
fn all_mistakes_of_a_file_are_reported_in_one_go() {
    let text = "«version»: 1\n«sevrices»: {}\n";
    let (plain, _) = marked(text);
    assert_eq!(findings(&plain).len(), 2);
    let text = "version: 1
services:
  shop:
    listen: [«99999», 8080]
    criticality: «urgent»
    run:
      command: «./server»
      files: [«/etc»]
      «instance»: 2
      ready: {http: /, timeout: «5»}
    strategy:
      canary:
        steps: [50%, «25%», {share: «120%», «bkae»: 1s}]
    gates:
      latency_p95: {limit: «500»}
      «lattency»: off
    «environments»: x
  blog:
    listen: «0.0.0.0:8080»
    run: {container: {image: «\"Blog:1\"», port: «0»}}
";
    let (plain, places) = marked(text);
    let found = findings(&plain);
    let shown = super::super::render(&found, &plain);
    assert_eq!(found.iter().map(|finding| finding.place).collect::<Vec<_>>(), places, "{shown}");
    assert_eq!(shown.matches("error[").count(), places.len(), "{shown}");
}

#[test]
fn a_finding_is_rendered_with_its_line_underlined() {
    let (plain, _) = marked(&service("strategy:\n  canary:\n    steps: [5%, «25»]"));
    let found = findings(&plain);
    let expected = "\
error[wrong_unit]: `25` is not a share: it has no `%`
 --> tidegate.yaml:8:21  (services.shop.strategy.canary.steps[1].share)
  |
8 |         steps: [5%, 25]
  |                     ^^
  = help: write `25%`

";
    assert_eq!(super::super::render(&found, &plain), expected);
    let json = serde_json::to_value(&found).unwrap();
    let expected = serde_json::json!([{
        "file": "tidegate.yaml", "line": 8, "column": 21, "length": 2, "code": "wrong_unit",
        "path": "services.shop.strategy.canary.steps[1].share",
        "message": "`25` is not a share: it has no `%`", "help": "write `25%`",
    }]);
    assert_eq!(json, expected);
    assert!(super::super::render::render_coloured(&found, &plain).contains("\u{1b}["));
}

#[test]
fn the_gates_file_of_the_judge_is_helped_in_its_own_words() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("gates.yaml");
    let missing = super::super::load_judged(&path).unwrap_err().to_string();
    assert!(missing.contains("cannot read") && missing.contains("`gates`, `judgement`"), "{missing}");
    for (text, help) in [
        ("share: [5%]\n", "did you mean `shares`?"),
        ("version: 1\n", "known here: `criticality`, `shares`, `gates`, `judgement`"),
        ("services: {}\n", "move its `gates` and `judgement` to the top"),
        ("mode: threshold\n", "it belongs in `judgement`"),
    ] {
        std::fs::write(&path, text).unwrap();
        let rejected = super::super::load_judged(&path).unwrap_err().to_string();
        assert!(rejected.contains(help), "{text}: {rejected}");
    }
}
