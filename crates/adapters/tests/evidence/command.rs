//! Real programs.

use std::{
    collections::BTreeMap,
    path::Path,
    time::{Duration, Instant},
};

use tidegate_adapters::evidence::{Command, Secret};
use tidegate_core::{expression::Value, model::Timestamp};

fn shell(script: &str) -> Command {
    Command {
        program: "sh".into(),
        arguments: vec!["-c".into(), script.into()],
        environment: BTreeMap::from([("NAMED".to_owned(), Secret::new("a b"))]),
        inherit: vec!["HOME".into()],
        directory: None,
        within: Duration::from_secs(10),
        path: "$".parse().unwrap(),
    }
}

#[tokio::test]
async fn a_command_prints_a_number_or_json_and_sees_only_the_environment_it_is_given() {
    let at = Timestamp(5);
    let number = shell("echo ' 0.25 '");
    assert!(format!("{number:?}").contains("NAMED") && !format!("{number:?}").contains("a b"));
    let sample = number.one(at).await.unwrap();
    assert_eq!((sample.value, sample.at), (0.25, at));
    let mut json = shell("echo '{\"errors\": [1, {\"share\": 0.5}]}'");
    json.path = "$.errors[1].share".parse().unwrap();
    assert_eq!(json.one(at).await.unwrap().value, 0.5);
    json.path = "$.errors[1]".parse().unwrap();
    let Value::Record(members) = json.read(at).await.unwrap().value() else { panic!("an object") };
    assert_eq!(members["share"], Value::Number(0.5));
    let names = shell(
        "env | sed 's/=.*//' | grep -v -e '^_$' -e PWD -e SHLVL | sort | tr '\\n' ' ' | sed 's/.*/\"&\"/'",
    );
    let answer = names.read(at).await.unwrap();
    assert_eq!(answer.value(), Value::Text("HOME NAMED PATH ".into()));
    let named = shell("printf '\"%s\"' \"$NAMED $0 $1\"");
    let arguments = vec!["-c".into(), named.arguments[1].clone(), "; exit 1".into(), "$(exit 1)".into()];
    let answer = Command { arguments, ..named }.read(at).await.unwrap();
    assert_eq!(answer.value(), Value::Text("a b ; exit 1 $(exit 1)".into()), "no shell reads the arguments");
}

#[tokio::test]
async fn a_command_that_takes_too_long_ends_with_everything_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("pid");
    let script = format!("sleep 600 & echo $! > {}; wait", file.display());
    // Time enough to write the file on a busy machine: it ends by itself only after ten minutes.
    let slow = Command { within: Duration::from_secs(2), ..shell(&script) };
    let fault = slow.one(Timestamp(5)).await.unwrap_err();
    assert!(fault.to_string().contains("no complete answer within 2 s"), "{fault}");
    let pid = std::fs::read_to_string(&file).unwrap();
    let begun = Instant::now();
    while running(pid.trim()) {
        assert!(begun.elapsed().as_secs() < 10, "process {pid} outlives the command");
        tokio::task::yield_now().await;
    }
}

/// Whether a process is there and no zombie.
fn running(pid: &str) -> bool {
    let stat = std::fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
