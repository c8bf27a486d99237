//! Power that goes away: what was acknowledged is there, what was not is whole or absent.

use std::fs;
use std::path::Path;

use fastrand::Rng;
use tempfile::tempdir;
use tidegate_engine::journal::conformance::{after, event};
use tidegate_engine::journal::{Chain, History as _, Journal as _, SqliteJournal};

use super::{block_on, child, given_directory, quick_directory, running, start};

const LOG_HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const FRAME: usize = FRAME_HEADER + 4096;

/// The files as they were when each append was acknowledged.
struct Film {
    database: Vec<u8>,
    log: Vec<u8>,
    /// The length of the used log when so many appends were acknowledged; the first entry is for none.
    acknowledged: Vec<usize>,
}

/// Films a journal that is never closed while it is looked at.
fn film(appends: u64) -> Film {
    let home = tempdir().unwrap();
    drop(SqliteJournal::open(home.path()).unwrap());
    let (journal, epoch) = SqliteJournal::open(home.path()).unwrap();
    let read = |name| fs::read(home.path().join(name)).unwrap();
    let mut film = Film {
        database: read("journal.db"),
        log: Vec::new(),
        acknowledged: vec![read("journal.db-wal").len()],
    };
    let mut append = running("d", epoch);
    for _ in 0..appends {
        block_on(journal.append(append.clone())).unwrap();
        append = after(&append);
        film.acknowledged.push(read("journal.db-wal").len());
    }
    film.log = read("journal.db-wal");
    assert_eq!(read("journal.db"), film.database, "nothing was moved to the database meanwhile");
    assert!(
        film.acknowledged.is_sorted_by(|one, next| one < next),
        "every acknowledgement has grown the log"
    );
    film
}

impl Film {
    /// How many appends must be there if the log is intact up to `length`. Before the first entry it is only the start's own.
    fn due(&self, length: usize) -> u64 {
        self.acknowledged.iter().filter(|&&end| end <= length).count().saturating_sub(1) as u64
    }
}

/// Opens what a power cut left, and says how many events are there. They are whole, and the journal goes on.
fn reopen(database: &[u8], log: &[u8]) -> u64 {
    let home = quick_directory();
    fs::write(home.path().join("journal.db"), database).unwrap();
    fs::write(home.path().join("journal.db-wal"), log).unwrap();
    fs::write(home.path().join("lock"), "pid 1\nstate open\n").unwrap();
    let (journal, epoch) = SqliteJournal::open(home.path()).unwrap();
    block_on(async {
        let Chain::Intact { events, .. } = journal.verify("d").await.unwrap() else { panic!("damaged") };
        let mut next = running("d", epoch);
        next.expected_seq = events;
        journal.append(next).await.unwrap();
        events
    })
}

#[test]
fn a_log_cut_at_any_place_keeps_what_was_acknowledged_before_it() {
    let film = film(5);
    let frames = (film.log.len() - LOG_HEADER) / FRAME;
    let mut cuts = vec![0, 1, LOG_HEADER - 1, LOG_HEADER];
    for frame in frames.saturating_sub(9)..=frames {
        let begin = LOG_HEADER + frame * FRAME;
        // Every byte of a frame's header, where the checks are, and places all over its page.
        cuts.extend(begin.saturating_sub(2)..=begin + FRAME_HEADER);
        cuts.extend((begin + FRAME_HEADER..begin + FRAME).step_by(509));
    }
    cuts.retain(|&cut| cut <= film.log.len());
    assert!(cuts.len() > 200, "{}", cuts.len());
    for cut in cuts {
        let kept = reopen(&film.database, &film.log[..cut]);
        assert_eq!(kept, film.due(cut), "cut at {cut} of {}", film.log.len());
    }
}

#[test]
fn sectors_lost_from_a_commit_that_was_not_acknowledged_lose_nothing_before_it() {
    let film = film(4);
    let mut rng = Rng::with_seed(11);
    for round in 0..60 {
        let acknowledged = rng.usize(..film.acknowledged.len() - 1);
        let (from, to) = (film.acknowledged[acknowledged], film.acknowledged[acknowledged + 1]);
        let mut log = film.log[..to].to_vec();
        for sector in log[from..].chunks_mut(512) {
            match rng.u8(..4) {
                0 => sector.fill(0),
                1 => rng.fill(sector),
                _ => {}
            }
        }
        let kept = reopen(&film.database, &log);
        let due = acknowledged as u64;
        assert!((due..=due + 1).contains(&kept), "round {round}: {kept} kept, {due} acknowledged");
    }
}

#[test]
#[ignore = "started by another test"]
fn append_and_tell_until_killed() {
    let Some(home) = given_directory() else { return };
    let (journal, epoch) = SqliteJournal::open(&home).unwrap();
    let known = block_on(journal.deployment("d")).unwrap();
    let mut append = running("d", epoch);
    append.expected_seq = known.map_or(0, |kept| kept.seq);
    loop {
        append.events = vec![event("step", &"x".repeat(300))];
        let seq = block_on(journal.append(append.clone())).unwrap().seq;
        println!("\nacknowledged {seq}");
        append.expected_seq = seq;
    }
}

#[test]
fn an_owner_killed_at_work_loses_nothing_it_acknowledged() {
    let home = tempdir().unwrap();
    let mut rng = Rng::with_seed(3);
    let mut told = 0;
    for _ in 0..8 {
        let (mut owner, lines) = start(child(&[], "power::append_and_tell_until_killed", home.path()));
        let enough = told + rng.u64(1..80);
        let mut lines = lines.map_while(Result::ok).filter_map(|line| acknowledged(&line));
        assert!(lines.any(|seq| seq >= enough), "the owner ended by itself");
        owner.kill().unwrap();
        owner.wait().unwrap();
        told = lines.last().unwrap_or(enough).max(enough);
        told = check(home.path(), told);
    }
}

fn acknowledged(line: &str) -> Option<u64> {
    line.strip_prefix("acknowledged ")?.parse().ok()
}

fn check(home: &Path, told: u64) -> u64 {
    let (journal, _) = SqliteJournal::open(home).unwrap();
    let chain = block_on(journal.verify("d")).unwrap();
    let Chain::Intact { events, .. } = chain else { panic!("{chain:?}") };
    assert!((told..=told + 1).contains(&events), "{events} kept, {told} acknowledged");
    events
}

#[test]
fn a_long_log_is_moved_to_the_database_and_its_place_used_again() {
    let home = tempdir().unwrap();
    let (journal, epoch) = SqliteJournal::open(home.path()).unwrap();
    let mut append = running("d", epoch);
    append.events = vec![event("step", &"x".repeat(40_000))];
    for _ in 0..300 {
        block_on(journal.append(append.clone())).unwrap();
        append = after(&append);
    }
    let log = fs::metadata(home.path().join("journal.db-wal")).unwrap().len();
    assert!(log < 6 << 20, "{log} bytes of log for 12 MB of events");
    assert!(journal.figures().wal_bytes <= log);
    assert_eq!(block_on(journal.read("d", 0, 1_000)).unwrap().len(), 300);
}
