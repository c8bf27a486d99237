//! Journals of every format that was ever released replay to the state that they ended in. Histories are only added.
#![expect(clippy::unwrap_used, reason = "a fixture that cannot be read is what this test is to show")]

use std::path::{Path, PathBuf};

use serde::Deserialize;
use tidegate_core::deployment::{Recorded, fold};
use tidegate_engine::{
    journal::{self, Digest, Epoch},
    record,
};

#[derive(Deserialize)]
struct Kept {
    seq: u64,
    at_unix_ms: i64,
    kind: String,
    payload: String,
}

fn fixtures() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/histories");
    let formats = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path());
    formats.flat_map(|format| std::fs::read_dir(format).unwrap().map(|entry| entry.unwrap().path())).collect()
}

fn read(path: &Path) -> Vec<Recorded> {
    let text = std::fs::read_to_string(path).unwrap();
    let one = |line: &str| {
        let Kept { seq, at_unix_ms, kind, payload } = serde_json::from_str(line).unwrap();
        let kept = journal::Recorded {
            position: seq,
            deployment: path.display().to_string(),
            seq,
            at_unix_ms,
            epoch: Epoch(1),
            kind: kind.clone(),
            payload,
            hash: Digest([0; 32]),
        };
        let recorded = record::decode(&kept).unwrap();
        assert_eq!(recorded.event.name(), kind, "{}", path.display());
        recorded
    };
    text.lines().map(one).collect()
}

#[test]
fn every_history_ever_released_replays_to_the_state_it_ended_in() {
    let fixtures = fixtures();
    assert!(fixtures.len() >= 6, "histories are only added");
    for path in fixtures {
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let (_, ended) = name.split_once('.').unwrap();
        let (plan, state) = fold(&read(&path)).unwrap();
        assert_eq!(state.name().as_str(), ended, "{name}");
        assert!(!plan.stages.is_empty());
    }
}

#[test]
fn an_event_of_a_newer_format_is_refused_by_name_and_a_broken_one_too() {
    let kept = |payload: &str| journal::Recorded {
        position: 1,
        deployment: "shop-1".to_owned(),
        seq: 7,
        at_unix_ms: 0,
        epoch: Epoch(1),
        kind: "admitted".to_owned(),
        payload: payload.to_owned(),
        hash: Digest([0; 32]),
    };
    let newer = record::decode(&kept(r#"{"v":99,"something":"else"}"#)).unwrap_err().to_string();
    assert!(newer.contains("event 7 of shop-1 has format 99"), "{newer}");
    for broken in [
        "",
        "{",
        "null",
        r#"{"v":1}"#,
        r#"{"v":1,"actor":{"kind":"engine","name":"x"},"event":{"type":"no_such"}}"#,
    ] {
        let said = record::decode(&kept(broken)).unwrap_err().to_string();
        assert!(said.contains("event 7 of shop-1 cannot be read"), "{broken}: {said}");
    }
}
