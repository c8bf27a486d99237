//! Disks that are full, small, or not to be written: real ones, made for the test.

use std::fs;
use std::path::Path;
use std::process::Command;

use tempfile::tempdir;
use tidegate_engine::journal::conformance::{after, event};
use tidegate_engine::journal::{
    Append, AppendError, History as _, Journal as _, OpenError, SqliteJournal, SqliteReader, Standing, Start,
};

use super::{block_on, child, given_directory, grow, running};

/// Runs a test of this binary in a mount namespace of its own, with a small memory disk at its directory. Fails
/// where the system does not let us make one: what was not tried is not a pass.
fn on_small_disk(test: &str, options: &str) {
    let home = tempdir().unwrap();
    let mount =
        format!("mount -t tmpfs -o {options} none \"${}\" || exit 77; exec \"$0\" \"$@\"", super::DIRECTORY);
    let allowed = |flags: &str| {
        Command::new("unshare").args([flags, "true"]).output().is_ok_and(|output| output.status.success())
    };
    let flags = ["-m", "-rm"].into_iter().find(|flags| allowed(flags));
    assert!(
        flags.is_some(),
        "no mount namespace to be had: run as root, or allow unprivileged user namespaces"
    );
    let flags = flags.unwrap();
    let output = child(&["unshare", flags, "sh", "-c", &mount], test, home.path()).output().unwrap();
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.code() != Some(77), "a small memory disk cannot be mounted: run as root: {said}");
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
fn a_full_disk_stops_new_deployments_and_lets_running_ones_end() {
    on_small_disk("disk::fill_the_disk", "size=16m");
}

#[test]
#[ignore = "started by another test"]
fn fill_the_disk() {
    let Some(home) = given_directory() else { return };
    let (journal, epoch) = SqliteJournal::open(&home).unwrap();
    let mut at_work = grow(&journal, "at-work", 3);
    let filler = home.join("filler");
    fs::write(&filler, vec![1; 8 << 20]).unwrap();
    let admitted = admit_until_full(&journal, 0);
    assert!(admitted > 0);
    assert!(journal.figures().scarce);

    // The way back of what runs can be written down, again and again; nothing new begins.
    for _ in 0..50 {
        block_on(journal.append(at_work.clone())).unwrap();
        at_work = after(&at_work);
        let refused = block_on(journal.append(running("new", epoch)));
        assert_eq!(refused, Err(AppendError::Full));
    }
    at_work.row.standing = Standing::Ended;
    block_on(journal.append(at_work)).unwrap();
    assert_eq!(block_on(journal.verify_all()), Ok(Vec::new()));

    fs::remove_file(&filler).unwrap();
    block_on(journal.append(running("new", epoch))).unwrap();
    assert!(!journal.figures().scarce, "the ballast is back");
    drop(journal);
    let (journal, _) = SqliteJournal::open(&home).unwrap();
    assert_eq!(block_on(journal.position()), Ok(3 + 51 + admitted + 1));
    assert_eq!(block_on(journal.verify_all()), Ok(Vec::new()));
}

/// Begins deployments until the journal says that the disk is full; says how many it took.
fn admit_until_full(journal: &SqliteJournal, from: u64) -> u64 {
    for number in from..from + 5_000 {
        let mut append = running(&format!("d{number}"), journal.epoch());
        append.events = vec![event("started", &"x".repeat(20_000))];
        match block_on(journal.append(append)) {
            Ok(_) => {}
            Err(AppendError::Full) => return number - from,
            Err(other) => panic!("{other}"),
        }
    }
    panic!("the disk never fills")
}

#[test]
fn a_disk_without_any_room_keeps_what_it_has_and_works_again_when_there_is_room() {
    on_small_disk("disk::fill_the_disk_to_the_last_byte", "size=16m");
}

#[test]
#[ignore = "started by another test"]
fn fill_the_disk_to_the_last_byte() {
    let Some(home) = given_directory() else { return };
    let (journal, _) = SqliteJournal::open(&home).unwrap();
    let mut append = grow(&journal, "d", 1);
    append.events = vec![event("step", &"x".repeat(20_000))];
    let filler = home.join("filler");
    fs::write(&filler, vec![1; 8 << 20]).unwrap();
    let kept = append_until(&journal, &mut append, &AppendError::Full);
    for _ in 0..20 {
        assert_eq!(block_on(journal.append(append.clone())), Err(AppendError::Full));
    }
    assert_eq!(block_on(journal.position()), Ok(kept));
    assert_eq!(block_on(journal.read("d", 0, 10_000)).unwrap().len() as u64, kept);
    drop(journal);
    let reader = SqliteReader::open(&home).map(|reader| block_on(reader.position()));
    assert!(matches!(reader, Ok(Ok(position)) if position == kept), "{reader:?}");
    let refused = SqliteJournal::open(&home).map(|(journal, _)| block_on(journal.position()));
    assert!(matches!(refused, Err(OpenError::Full { .. }) | Ok(Ok(_))), "{refused:?}");
    fs::remove_file(&filler).unwrap();
    let (journal, epoch) = SqliteJournal::open(&home).unwrap();
    block_on(journal.append(Append { epoch, ..append })).unwrap();
    assert_eq!(block_on(journal.position()), Ok(kept + 1));
    assert_eq!(block_on(journal.verify_all()), Ok(Vec::new()));
}

/// Appends until the journal refuses with this; says how many events the deployment has then.
fn append_until(journal: &SqliteJournal, append: &mut Append, wanted: &AppendError) -> u64 {
    for _ in 0..5_000 {
        match block_on(journal.append(append.clone())) {
            Ok(_) => *append = after(append),
            Err(refused) => {
                assert_eq!(std::mem::discriminant(&refused), std::mem::discriminant(wanted), "{refused}");
                return append.expected_seq;
            }
        }
    }
    panic!("the disk never fills")
}

#[test]
fn a_disk_that_may_not_be_written_is_refused_for_writing_and_read_all_the_same() {
    on_small_disk("disk::make_the_disk_read_only", "size=16m");
}

#[test]
#[ignore = "started by another test"]
fn make_the_disk_read_only() {
    let Some(home) = given_directory() else { return };
    let (journal, _) = SqliteJournal::open(&home).unwrap();
    grow(&journal, "d", 4);
    drop(journal);
    let remount = Command::new("mount").args(["-o", "remount,ro"]).arg(&home).status().unwrap();
    assert!(remount.success());
    let refused = SqliteJournal::open(&home).unwrap_err();
    assert!(matches!(refused, OpenError::ReadOnly { .. }), "{refused:?}");
    let refused = SqliteJournal::open(&home.join("new")).unwrap_err();
    assert!(matches!(refused, OpenError::ReadOnly { .. }), "{refused:?}");
    let reader = SqliteReader::open(&home).unwrap();
    assert_eq!(block_on(reader.read("d", 0, 10)).unwrap().len(), 4);
}

#[test]
fn after_a_failed_write_the_journal_stops_and_a_new_start_finds_all_that_was_acknowledged() {
    let home = tempdir().unwrap();
    // Files may grow to 1.5 MiB (in blocks of 512 bytes); beyond, writing fails with an error that is not "disk full".
    let limit = "trap '' XFSZ; ulimit -f 3072; exec \"$0\" \"$@\"";
    small_start(home.path());
    let output = child(&["sh", "-c", limit], "disk::write_until_it_fails", home.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let told: u64 = said.lines().find_map(|line| line.strip_prefix("kept ")).unwrap().parse().unwrap();
    let (journal, _) = SqliteJournal::open(home.path()).unwrap();
    assert_eq!(journal.start(), Start::Checked);
    let found = block_on(journal.position()).unwrap();
    assert!((told..=told + 1).contains(&found), "{found} found, {told} acknowledged");
    assert_eq!(block_on(journal.verify_all()), Ok(Vec::new()));
}

/// Makes the ballast and the tables before the limit is set.
fn small_start(home: &Path) {
    let (journal, _) = SqliteJournal::open(home).unwrap();
    grow(&journal, "d", 1);
}

#[test]
#[ignore = "started by another test"]
fn write_until_it_fails() {
    let Some(home) = given_directory() else { return };
    let (journal, epoch) = SqliteJournal::open(&home).unwrap();
    let mut append = Append { expected_seq: 1, epoch, ..running("d", epoch) };
    append.events = vec![event("step", &"x".repeat(20_000))];
    let broken = AppendError::Broken { why: String::new() };
    let kept = append_until(&journal, &mut append, &broken);
    // It never recovers by itself, not even for a write that would fit; reading goes on.
    append.events = vec![event("step", "")];
    for _ in 0..3 {
        let refused = block_on(journal.append(append.clone())).unwrap_err();
        assert!(matches!(refused, AppendError::Broken { .. }), "{refused}");
        assert!(refused.to_string().contains("restart the process"), "{refused}");
    }
    assert_eq!(block_on(journal.read("d", 0, 10_000)).unwrap().len() as u64, kept);
    println!("\nkept {kept}");
}
