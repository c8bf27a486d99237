//! Who may open a data directory, and what the files look like.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rusqlite::Connection;
use tempfile::tempdir;
use tidegate_engine::journal::{
    Epoch, History as _, Journal as _, NewSample, OpenError, SqliteJournal, SqliteReader, Start,
};

use super::{block_on, child, given_directory, grow, start};

fn refusal(directory: &Path) -> OpenError {
    SqliteJournal::open(directory).unwrap_err()
}

#[test]
fn a_second_owner_is_refused_with_the_number_of_the_first() {
    let home = tempdir().unwrap();
    let (journal, epoch) = SqliteJournal::open(home.path()).unwrap();
    let refused = refusal(home.path());
    let own = std::process::id();
    assert!(matches!(&refused, OpenError::Owned { pid: Some(pid), .. } if *pid == own), "{refused}");
    drop(journal);
    let (journal, next) = SqliteJournal::open(home.path()).unwrap();
    assert_eq!((next.0, journal.start()), (epoch.0 + 1, Start::Clean));
}

#[test]
fn an_epoch_that_others_count_too_is_never_below_theirs_and_goes_on_from_there() {
    let home = tempdir().unwrap();
    let opened = |least| SqliteJournal::open_from(home.path(), Epoch(least)).unwrap().1.0;
    assert_eq!([opened(0), opened(7), opened(3), opened(9)], [1, 7, 8, 9]);
}

#[test]
#[ignore = "started by another test"]
fn own_the_directory_until_killed() {
    let Some(home) = given_directory() else { return };
    let (journal, _) = SqliteJournal::open(&home).unwrap();
    grow(&journal, "kept", 5);
    println!("\nowned");
    std::io::stdout().flush().unwrap();
    let _ended = std::io::stdin().read(&mut [0]);
    std::process::abort();
}

#[test]
fn a_killed_owner_in_another_process_gives_way_and_loses_nothing_it_acknowledged() {
    let home = tempdir().unwrap();
    let (mut owner, mut lines) = start(child(&[], "ownership::own_the_directory_until_killed", home.path()));
    assert!(lines.any(|line| line.unwrap() == "owned"));
    let refused = refusal(home.path());
    let pid = owner.id();
    assert!(matches!(&refused, OpenError::Owned { pid: Some(found), .. } if *found == pid), "{refused}");
    // Readers need no lock, and see what was acknowledged although it is still in the write-ahead log.
    let reader = SqliteReader::open(home.path()).unwrap();
    assert_eq!(block_on(reader.read("kept", 0, 10)).unwrap().len(), 5);
    owner.kill().unwrap();
    owner.wait().unwrap();
    let (journal, epoch) = SqliteJournal::open(home.path()).unwrap();
    assert_eq!((epoch.0, journal.start()), (2, Start::Checked));
    assert_eq!(block_on(journal.read("kept", 0, 10)).unwrap().len(), 5);
    assert_eq!(block_on(reader.position()), Ok(5));
}

#[test]
fn files_are_for_their_owner_only_and_an_open_directory_is_closed_to_others() {
    let home = tempdir().unwrap();
    let directory = home.path().join("a/b");
    fs::create_dir_all(&directory).unwrap();
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o755)).unwrap();
    let (journal, _) = SqliteJournal::open(&directory).unwrap();
    grow(&journal, "d", 2);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    let names: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert!(names.len() >= 5, "database, log, index of the log, lock, ballast: {names:?}");
    for path in names {
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
    drop(journal);
    assert!(!directory.join("journal.db-wal").exists(), "a closed journal is one file");
}

#[test]
fn a_journal_of_a_newer_version_is_refused_and_left_alone() {
    let home = tempdir().unwrap();
    drop(SqliteJournal::open(home.path()).unwrap());
    let path = home.path().join("journal.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 2).unwrap();
    let before = fs::read(&path).unwrap();
    for refused in [refusal(home.path()), SqliteReader::open(home.path()).unwrap_err()] {
        assert!(matches!(refused, OpenError::Newer { found: 2, known: 1, .. }), "{refused}");
    }
    assert_eq!(fs::read(&path).unwrap(), before);
}

#[test]
fn files_of_other_programs_are_refused_and_left_alone() {
    let home = tempdir().unwrap();
    let path = home.path().join("journal.db");
    let other = Connection::open(&path).unwrap();
    other.execute_batch("CREATE TABLE photos (name)").unwrap();
    drop(other);
    for content in
        [fs::read(&path).unwrap(), b"just some notes, longer than a header of a database\n".repeat(30)]
    {
        fs::write(&path, &content).unwrap();
        for refused in [refusal(home.path()), SqliteReader::open(home.path()).unwrap_err()] {
            assert!(matches!(refused, OpenError::Foreign { .. }), "{refused:?}");
        }
        assert_eq!(fs::read(&path).unwrap(), content);
    }
}

#[test]
fn a_start_that_was_killed_before_it_made_its_tables_is_taken_up() {
    for content in [&b""[..], &empty_database()] {
        let home = tempdir().unwrap();
        fs::write(home.path().join("journal.db"), content).unwrap();
        assert!(matches!(SqliteReader::open(home.path()), Err(OpenError::NotFound { .. })));
        let (journal, _) = SqliteJournal::open(home.path()).unwrap();
        grow(&journal, "d", 1);
    }
}

/// What a database looks like between its first setting and its first table.
fn empty_database() -> Vec<u8> {
    let home = tempdir().unwrap();
    let path = home.path().join("empty.db");
    Connection::open(&path).unwrap().execute_batch("PRAGMA journal_mode = WAL").unwrap();
    fs::read(path).unwrap()
}

#[test]
fn a_path_that_cannot_be_a_directory_and_a_missing_journal_say_so() {
    let home = tempdir().unwrap();
    let file = home.path().join("file");
    fs::write(&file, "x").unwrap();
    let refused = refusal(&file);
    assert!(matches!(&refused, OpenError::Io { path, .. } if *path == file), "{refused:?}");
    let refused = SqliteReader::open(&home.path().join("nowhere")).unwrap_err();
    assert!(matches!(refused, OpenError::NotFound { .. }), "{refused}");
    assert!(!home.path().join("nowhere").exists(), "reading makes nothing");
}

#[test]
fn a_reader_follows_the_owner_and_stays_when_the_owner_goes() {
    let home = tempdir().unwrap();
    let (journal, _) = SqliteJournal::open(home.path()).unwrap();
    let reader = SqliteReader::open(home.path()).unwrap();
    assert_eq!(block_on(reader.position()), Ok(0));
    grow(&journal, "d", 3);
    assert_eq!(block_on(reader.read("d", 0, 9)), block_on(journal.read("d", 0, 9)));
    drop(journal);
    assert_eq!(block_on(reader.position()), Ok(3));
    let (journal, _) = SqliteJournal::open(home.path()).unwrap();
    grow(&journal, "e", 1);
    assert_eq!(block_on(reader.position()), Ok(4));
}

#[test]
fn one_commit_serves_many_and_a_refused_append_does_not_hurt_its_neighbours() {
    const MANY: u64 = 400;
    let home = tempdir().unwrap();
    let (journal, epoch) = SqliteJournal::open(home.path()).unwrap();
    let refused = block_on(async {
        let mut asked = tokio::task::JoinSet::new();
        for number in 0..MANY {
            let mut append = super::running(&format!("d{number}"), epoch);
            append.expected_seq = u64::from(number % 4 == 3);
            asked.spawn(journal.append(append));
        }
        asked.join_all().await.into_iter().filter(Result::is_err).count()
    });
    assert_eq!(refused as u64, MANY / 4);
    assert_eq!(block_on(journal.position()), Ok(MANY - MANY / 4));
    let figures = journal.figures();
    assert_eq!((figures.writes, figures.waiting), (MANY, 0));
    assert!(figures.groups < MANY / 4, "{figures:?}");
    assert_eq!(block_on(journal.verify_all()), Ok(Vec::new()));
}

#[test]
fn after_the_last_handle_is_gone_what_was_asked_for_is_still_written() {
    let home = tempdir().unwrap();
    let (journal, epoch) = SqliteJournal::open(home.path()).unwrap();
    block_on(async {
        let mut append = Box::pin(journal.append(super::running("d", epoch)));
        let polled =
            std::future::poll_fn(|context| std::task::Poll::Ready(append.as_mut().poll(context).is_ready()));
        let _answered_already = polled.await;
    });
    drop(journal);
    assert_eq!(block_on(SqliteReader::open(home.path()).unwrap().position()), Ok(1));
}

#[test]
fn dropped_samples_leave_the_disk_too() {
    let home = tempdir().unwrap();
    let (journal, _) = SqliteJournal::open(home.path()).unwrap();
    grow(&journal, "d", 1);
    let sample = NewSample { seq: 1, stage: 0, at_unix_ms: 1, payload: "{}".to_owned() };
    for _ in 0..10 {
        block_on(journal.put_samples("d", vec![sample.clone(); 250])).unwrap();
    }
    drop(journal);
    let connection = Connection::open(home.path().join("journal.db")).unwrap();
    let range = connection.query_row("SELECT count(*), min(number), max(number) FROM samples", [], |row| {
        Ok((row.get::<_, u32>(0)?, row.get::<_, u32>(1)?, row.get::<_, u32>(2)?))
    });
    assert_eq!(range, Ok((2_000, 501, 2_500)));
}
