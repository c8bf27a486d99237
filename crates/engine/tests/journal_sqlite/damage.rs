//! Changed bytes: found, named, and kept from spreading.

use std::fs;
use std::path::Path;

use fastrand::Rng;
use rusqlite::Connection;
use tempfile::{TempDir, tempdir};
use tidegate_engine::journal::conformance::after;
use tidegate_engine::journal::{
    Append, AppendError, Chain, History, Journal as _, OpenError, ReadError, Recorded, SqliteJournal,
    SqliteReader,
};

use super::{block_on, grow, quick_directory};

const DEPLOYMENTS: [&str; 4] = ["alpha", "hurt", "gamma", "delta"];
const EVENTS: u64 = 12;

/// A closed journal with a few deployments, and what was appended next in each.
fn sound() -> (TempDir, Vec<Append>) {
    let home = quick_directory();
    let (journal, _) = SqliteJournal::open(home.path()).unwrap();
    let next = DEPLOYMENTS.iter().map(|deployment| grow(&journal, deployment, EVENTS)).collect();
    (home, next)
}

fn database(home: &TempDir) -> std::path::PathBuf {
    home.path().join("journal.db")
}

fn change(home: &TempDir, sql: &str) {
    let changed = Connection::open(database(home)).unwrap().execute(sql, []).unwrap();
    assert_eq!(changed, 1);
}

#[test]
fn a_flipped_byte_in_a_payload_is_named_with_its_deployment_and_the_others_go_on() {
    let (home, next) = sound();
    let mut bytes = fs::read(database(&home)).unwrap();
    let needle = b"payload of hurt, event 7";
    let at = bytes.windows(needle.len()).position(|window| window == needle).unwrap();
    bytes[at + 3] ^= 0x20;
    fs::write(database(&home), bytes).unwrap();

    let (journal, epoch) = SqliteJournal::open(home.path()).unwrap();
    let broken = block_on(journal.read("hurt", 0, 100)).unwrap_err();
    assert!(
        matches!(&broken, ReadError::Broken { deployment, seq: 7, .. } if deployment == "hurt"),
        "{broken}"
    );
    assert!(broken.to_string().contains("deployment hurt is damaged at event 7"), "{broken}");
    // What comes before the damage can still be read.
    assert_eq!(block_on(journal.read("hurt", 0, 6)).unwrap().len(), 6);
    let found = block_on(journal.verify_all()).unwrap();
    assert!(
        matches!(&found[..], [Chain::Broken { deployment, seq: 7, .. }] if deployment == "hurt"),
        "{found:?}"
    );
    for append in next.iter().filter(|append| append.deployment != "hurt") {
        assert_eq!(block_on(journal.read(&append.deployment, 0, 100)).unwrap().len() as u64, EVENTS);
        block_on(journal.append(Append { epoch, ..append.clone() })).unwrap();
    }
}

#[test]
fn every_way_to_change_a_history_is_found() {
    let one = "(SELECT first_position FROM deployments WHERE id = 'hurt')";
    for (seq, sql) in [
        (5, "UPDATE events SET at_unix_ms = at_unix_ms + 1 WHERE deployment = ID AND seq = 5"),
        (5, "UPDATE events SET epoch = 9 WHERE deployment = ID AND seq = 5"),
        (5, "UPDATE events SET kind = 'stop' WHERE deployment = ID AND seq = 5"),
        (5, "UPDATE events SET payload = '' WHERE deployment = ID AND seq = 5"),
        (5, "UPDATE events SET payload = CAST(x'ff' AS TEXT) WHERE deployment = ID AND seq = 5"),
        (5, "UPDATE events SET hash = zeroblob(32) WHERE deployment = ID AND seq = 5"),
        (5, "UPDATE events SET seq = -5 WHERE deployment = ID AND seq = 5"),
        (5, "DELETE FROM events WHERE deployment = ID AND seq = 5"),
        (12, "DELETE FROM events WHERE deployment = ID AND seq = 12"),
        (1, "DELETE FROM events WHERE deployment = ID AND seq = 1"),
        (12, "UPDATE deployments SET seq = 11 WHERE id = 'hurt'"),
        (12, "UPDATE deployments SET state = 'verified' WHERE id = 'hurt'"),
        (12, "UPDATE deployments SET standing = 2 WHERE id = 'hurt'"),
        (12, "UPDATE deployments SET head = zeroblob(32) WHERE id = 'hurt'"),
        (12, "UPDATE deployments SET release = 'r2' WHERE id = 'hurt'"),
    ] {
        let (home, _) = sound();
        change(&home, &sql.replace("ID", one));
        let journal = SqliteReader::open(home.path()).unwrap();
        let found = block_on(journal.verify_all()).unwrap();
        let named = matches!(&found[..], [Chain::Broken { deployment, seq: at, .. }]
            if deployment == "hurt" && (*at == seq || sql.contains("deployments SET seq")));
        assert!(named, "{sql}: {found:?}");
        assert!(block_on(journal.read("hurt", 0, 100)).is_err(), "{sql}");
        assert!(block_on(journal.read("alpha", 0, 100)).is_ok(), "{sql}");
    }
}

#[test]
fn nothing_is_appended_to_a_record_whose_row_was_changed() {
    let (home, next) = sound();
    change(&home, "UPDATE deployments SET state = 'verified' WHERE id = 'hurt'");
    let (journal, epoch) = SqliteJournal::open(home.path()).unwrap();
    let hurt = next.into_iter().find(|append| append.deployment == "hurt").unwrap();
    let refused = block_on(journal.append(Append { epoch, ..hurt })).unwrap_err();
    assert!(
        matches!(&refused, AppendError::Damaged { deployment, seq: 12, .. } if deployment == "hurt"),
        "{refused}"
    );
    // The damaged row is still listed, so that somebody sees it.
    assert_eq!(block_on(journal.active()).unwrap().len(), DEPLOYMENTS.len());
}

#[test]
fn a_broken_page_after_an_unclean_end_is_found_at_the_start() {
    let (home, _) = sound();
    let mut bytes = fs::read(database(&home)).unwrap();
    // The headers of all pages but the first two, so that the list of deployments can still be read.
    let pages = bytes.len() / 4096;
    for page in 2..pages {
        bytes[page * 4096..][..8].fill(0xA5);
    }
    fs::write(database(&home), bytes).unwrap();
    fs::write(home.path().join("lock"), "pid 1\nstate open\n").unwrap();
    let refused = SqliteJournal::open(home.path()).unwrap_err();
    let OpenError::Damaged { deployments, .. } = &refused else { panic!("{refused:?}") };
    assert!(deployments.iter().any(|deployment| deployment == "hurt"), "{refused}");
}

#[test]
fn whatever_byte_is_flipped_what_is_read_is_what_was_written_or_an_error() {
    let (home, next) = sound();
    let good = fs::read(database(&home)).unwrap();
    let written = histories(&SqliteReader::open(home.path()).unwrap());
    let mut rng = Rng::with_seed(7);
    let (mut refused, mut hurt) = (0, 0);
    // Every byte of the file's header, and many others.
    let places: Vec<usize> = (0..100).chain((0..400).map(|_| rng.usize(..good.len()))).collect();
    for at in places {
        let home = quick_directory();
        let mut bytes = good.clone();
        bytes[at] ^= 1 << rng.u8(..8);
        fs::write(database(&home), bytes).unwrap();
        let Ok(reader) = SqliteReader::open(home.path()) else {
            refused += 1;
            continue;
        };
        for (found, written) in histories(&reader).iter().zip(&written) {
            match found {
                Ok(events) => assert_eq!(events, written.as_ref().unwrap(), "byte {at}"),
                Err(_) => hurt += 1,
            }
        }
    }
    assert!(refused > 0 && hurt > 20, "{refused} refused, {hurt} hurt");
    assert_eq!(next.len(), DEPLOYMENTS.len());
    owners_of_flipped_journals_never_write_wrong_histories(&good, &next, &mut rng);
}

/// The same with an owner that goes on writing: what it then acknowledged reads back, or reading says that it is damaged.
fn owners_of_flipped_journals_never_write_wrong_histories(good: &[u8], next: &[Append], rng: &mut Rng) {
    for _ in 0..60 {
        let home = quick_directory();
        let mut bytes = good.to_vec();
        let at = rng.usize(..bytes.len());
        bytes[at] ^= 1 << rng.u8(..8);
        fs::write(home.path().join("journal.db"), bytes).unwrap();
        let Ok((journal, epoch)) = SqliteJournal::open(home.path()) else { continue };
        for append in next {
            let append = Append { epoch, ..append.clone() };
            if block_on(journal.append(append.clone())).is_err() {
                continue;
            }
            let Ok(events) = block_on(journal.read(&append.deployment, append.expected_seq, 10)) else {
                continue;
            };
            let payloads: Vec<&str> = events.iter().map(|event| event.payload.as_str()).collect();
            assert_eq!(payloads, [append.events[0].payload.as_str()], "byte {at}");
            assert_eq!(after(&append).expected_seq, EVENTS + 1);
        }
    }
}

fn histories(journal: &impl History) -> Vec<Result<Vec<Recorded>, ReadError>> {
    DEPLOYMENTS.iter().map(|deployment| block_on(journal.read(deployment, 0, 100)).and_then(whole)).collect()
}

/// No history is no answer either: all these deployments were written.
fn whole(events: Vec<Recorded>) -> Result<Vec<Recorded>, ReadError> {
    if events.is_empty() {
        return Err(ReadError::Store {
            doing: "looking for a deployment",
            why: "it is not listed".to_owned(),
        });
    }
    Ok(events)
}

#[test]
fn a_database_cut_short_is_an_error_not_a_shorter_history() {
    let (home, _) = sound();
    let good = fs::read(database(&home)).unwrap();
    let written = histories(&SqliteReader::open(home.path()).unwrap());
    for length in [0, 1, 100, 4095, 4096, 8192, good.len() / 2, good.len() - 4096, good.len() - 1] {
        let cut = tempdir().unwrap();
        fs::write(database(&cut), &good[..length]).unwrap();
        check_cut(cut.path(), &written);
    }
}

fn check_cut(home: &Path, written: &[Result<Vec<Recorded>, ReadError>]) {
    let Ok(reader) = SqliteReader::open(home) else { return };
    for (found, written) in histories(&reader).iter().zip(written) {
        assert!(found.is_err() || found == written);
    }
}
