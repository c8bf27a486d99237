//! A detected project as a commented file. Prose stands after `# `; a setting that is not switched on stands after a bare
//! `#`, so that taking the `#` away is all it takes.

use super::{Detected, Guess};

/// The file for a detected project; it is read without findings.
pub(crate) fn commented_yaml(detected: &Detected) -> String {
    let Detected { name, reason, build, .. } = detected;
    let build = match build {
        Some(build) => format!("    # Before a release is made, run: {}\n", clean(build)),
        None => String::new(),
    };
    let (run, ready) = (run(&detected.run), ready(detected.health.as_deref()));
    format!(
        "{HEAD}version: 1\n\nservices:\n  {name}:\n{LISTEN}\n    # What runs. This was guessed: {}.\n{build}    run:\n{run}{ready}{REST}",
        clean(reason)
    )
}

const HEAD: &str = "\
# What runs here, how a new release takes over, and what has to hold for it to go on.
#
#   tidegate validate   checks this file, all of it at once
#   tidegate plan       shows what a deployment would do
#   tidegate deploy     makes a release of the project as it is and rolls it out
#
# Lines that begin with `#` and no space are settings with their usual values: take the `#` away to change them.
";

const LISTEN: &str = "    # Where users come in: `IP:port`. 0.0.0.0 is every interface of this machine.
    listen: 127.0.0.1:8080

    # How much harm a failure does: low, medium, high or critical.
    #criticality: medium
";

const REST: &str = "
    # How a new release takes over: canary, blue_green, rolling or all_at_once.
    strategy:
      canary:
        # Share of the traffic at each step, and how long each is watched.
        steps: [5%, 25%, 50%, 100%]
        bake: 60s

    # Copies of users' requests for the new release before the first user sees it; its answers are compared and dropped.
    #shadow: {share: 10%, bake: 60s, methods: [GET, HEAD, OPTIONS]}

    # What has to hold at every step. A gate that fails returns all traffic to the release before; each may be `off`.
    #gates:
    #  error_rate: {ratio_max: 1.1, floor: 0.01%, min_requests: 20}
    #  latency_p95: {limit: 500ms}
    #  latency_p99: {limit: 1s}
    #  cpu: {limit: 80%}
    #  memory: {limit: 90%}
    #  request_rate: {min: 50%}
    # How sure they are before they act: 1 of 100 healthy releases may be turned back. `observe: true` only says what it
    # would have done.
    #judgement: {mode: sequential, observe: false, false_rollback: 1%}

    # One user stays on one release (sticky); testers go to the new one whatever the share is (rules).
    #routing:
    #  sticky: {cookie: tidegate}
    #  rules:
    #    - {when: [{header: x-tester, value: \"yes\"}], to: new}

    # Time after the promotion in which the release before stays warm for an instant way back.
    #watch: 5m
    # What a second deployment does while one is under way: wait, supersede or reject.
    #queue: wait
    # Old releases kept to go back to.
    #keep_releases: 5
";

fn run(guess: &Guess) -> String {
    match guess {
        Guess::Command { argv, files, exclude } => {
            let (switch, exclude) =
                if exclude.is_empty() { ("#", "\"*.log\"".to_owned()) } else { ("", list(exclude)) };
            let (argv, files) = (list(argv), list(files));
            format!(
                "      # One item for each part, no shell. The program has to listen on $PORT, which is also in its
      # environment.
      command: [{argv}]
      # What is copied into each release; .git and .tidegate never are.
      files: [{files}]
      {switch}exclude: [{exclude}]
      # A value from a file never enters a log or a record.
      #env: {{LOG_LEVEL: info, SECRET: {{file: /run/secrets/shop}}}}
      #instances: 1
"
            )
        }
        Guess::Container { image, port } => {
            let image = quoted(image);
            format!(
                "      container:
        # A tag is resolved to a digest when a release is made.
        image: {image}
        port: {port}
        # A value from a file never enters a log or a record.
        #env: {{LOG_LEVEL: info, SECRET: {{file: /run/secrets/shop}}}}
        #memory: 256MiB
        #instances: 1
"
            )
        }
    }
}

fn ready(health: Option<&str>) -> String {
    let probe = match health {
        Some(path) => format!("http: {}", quoted(path)),
        None => "# Better: a path that answers 200 when the service is well, as `http: /healthz`.\n        tcp: true".to_owned(),
    };
    format!(
        "      # An instance takes traffic once this succeeds twice in a row.
      ready:
        {probe}
        #interval: 250ms
        #timeout: 1s
        #deadline: 30s
"
    )
}

fn list(items: &[String]) -> String {
    items.iter().map(|item| quoted(item)).collect::<Vec<_>>().join(", ")
}

/// In double quotes, as JSON has it, which YAML reads the same way; without characters that YAML refuses.
fn quoted(text: &str) -> String {
    serde_json::Value::String(clean(text)).to_string()
}

fn clean(text: &str) -> String {
    let printable = |c: &char| {
        !c.is_control() && !matches!(c, '\u{feff}' | '\u{fffe}' | '\u{ffff}' | '\u{2028}' | '\u{2029}')
    };
    text.chars().filter(printable).collect()
}
