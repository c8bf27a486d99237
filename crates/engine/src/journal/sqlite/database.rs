//! The database file: its settings, its tables, and what is checked before anything is believed.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::reading;
use super::reads::TimeLimit;
use crate::journal::OpenError;
use crate::journal::entry::Chain;

/// "Tide": tells our files from other programs' (`PRAGMA application_id`).
pub(super) const APPLICATION_ID: i64 = 0x5469_6465;
/// The newest format this version writes and reads (`PRAGMA user_version`).
pub(super) const FORMAT: i64 = 1;
/// How long another program that looks at the file may hold it before a write gives up.
pub(super) const BUSY: Duration = Duration::from_secs(5);
/// How long the check after an unclean end may take before the journal starts all the same; every read checks what it reads.
const CHECK_MAX: Duration = Duration::from_secs(1);
/// How many hurt deployments a refusal names.
const NAMED_MAX: usize = 16;

const TABLES: &str = "
CREATE TABLE deployments (
    first_position INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    service TEXT NOT NULL,
    environment TEXT NOT NULL,
    state TEXT NOT NULL,
    standing INTEGER NOT NULL CHECK (standing IN (0, 1, 2)),
    release TEXT NOT NULL,
    turn INTEGER NOT NULL,
    updated_unix_ms INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    position INTEGER NOT NULL,
    head BLOB NOT NULL CHECK (length(head) = 32),
    seal BLOB NOT NULL CHECK (length(seal) = 32)
) STRICT;
CREATE UNIQUE INDEX deployments_running ON deployments (service, environment) WHERE standing = 1;
CREATE UNIQUE INDEX deployments_turn ON deployments (service, environment, turn);
CREATE INDEX deployments_active ON deployments (first_position) WHERE standing < 2;
CREATE TABLE events (
    position INTEGER PRIMARY KEY,
    deployment INTEGER NOT NULL REFERENCES deployments (first_position),
    seq INTEGER NOT NULL,
    at_unix_ms INTEGER NOT NULL,
    epoch INTEGER NOT NULL,
    kind TEXT NOT NULL,
    payload TEXT NOT NULL,
    hash BLOB NOT NULL CHECK (length(hash) = 32)
) STRICT;
CREATE UNIQUE INDEX events_seq ON events (deployment, seq);
CREATE TABLE requests (
    key TEXT PRIMARY KEY,
    digest BLOB NOT NULL CHECK (length(digest) = 32),
    deployment INTEGER NOT NULL REFERENCES deployments (first_position)
) STRICT, WITHOUT ROWID;
CREATE TABLE samples (
    deployment INTEGER NOT NULL REFERENCES deployments (first_position),
    number INTEGER NOT NULL,
    seq INTEGER NOT NULL,
    stage INTEGER NOT NULL,
    at_unix_ms INTEGER NOT NULL,
    payload TEXT NOT NULL,
    PRIMARY KEY (deployment, number)
) STRICT, WITHOUT ROWID;
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE ownership (only INTEGER PRIMARY KEY CHECK (only = 1), epoch INTEGER NOT NULL) STRICT;
INSERT INTO ownership VALUES (1, 0);
";

/// KiB of pages that a connection keeps, as SQLite counts them (negative): histories are short and read once, and the system
/// keeps the file anyway.
const CACHE: &str = "-1024";

/// What durability and safety rest on: set, read back, and insisted on.
const SETTINGS: [(&str, &str, &str); 9] = [
    ("trusted_schema", "OFF", "0"),
    ("cell_size_check", "ON", "1"),
    ("mmap_size", "0", "0"),
    ("cache_size", CACHE, CACHE),
    ("journal_mode", "WAL", "wal"),
    ("synchronous", "FULL", "2"),
    ("foreign_keys", "ON", "1"),
    // Checkpoints are ours: the automatic one swallows its errors, a failed fsync among them.
    ("wal_autocheckpoint", "0", "0"),
    ("busy_timeout", "5000", "5000"),
];

/// How the journal was found when it was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// It was closed properly, or is new.
    Clean,
    /// The last owner ended without closing it; the database was checked and is sound.
    Checked,
    /// The last owner ended without closing it; the check found nothing, and was stopped when its time was over.
    CheckCut,
}

/// Opens the database for its one writer.
pub(super) fn open_writer(path: &Path, was_closed: bool) -> Result<(Connection, Start), OpenError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection =
        Connection::open_with_flags(path, flags).map_err(|error| refine("open", path, &error))?;
    let is_new = check_kind(&connection, path)?;
    for (setting, value, wanted) in SETTINGS {
        insist(&connection, path, setting, value, wanted)?;
    }
    if is_new {
        create_tables(&mut connection).map_err(|error| refine("set up", path, &error))?;
    }
    let start = if was_closed { Start::Clean } else { check(&connection, path)? };
    Ok((connection, start))
}

/// Opens the database for reading only; with `frozen`, as a file that nobody changes and where nothing may be written beside it.
pub(super) fn open_reader(path: &Path, frozen: bool) -> Result<Connection, OpenError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let mode = if frozen { "?immutable=1" } else { "" };
    let uri = format!("file:{}{mode}", escaped(path));
    let connection = Connection::open_with_flags(uri, flags).map_err(|error| refine("open", path, &error))?;
    for (setting, value) in [
        ("trusted_schema", "OFF"),
        ("cell_size_check", "ON"),
        ("mmap_size", "0"),
        ("cache_size", CACHE),
        ("query_only", "ON"),
    ] {
        let set = connection.pragma_update_and_check(None, setting, value, |_| Ok(()));
        match set {
            Ok(()) | Err(rusqlite::Error::QueryReturnedNoRows) => {}
            Err(error) => return Err(refine("prepare", path, &error)),
        }
    }
    connection.busy_timeout(BUSY).map_err(|error| refine("prepare", path, &error))?;
    if check_kind(&connection, path)? {
        return Err(OpenError::NotFound { path: path.to_owned() });
    }
    Ok(connection)
}

/// Takes ownership: the next epoch, durable before anything else is written. Also above the newest event's, should the number
/// itself have been damaged. And never below `least`.
pub(super) fn next_epoch(connection: &Connection, least: u64) -> Result<u64, rusqlite::Error> {
    let sql = "UPDATE ownership SET epoch = max(?1, 1 + max(epoch, coalesce( \
               (SELECT epoch FROM events ORDER BY position DESC LIMIT 1), 0))) WHERE only = 1 RETURNING epoch";
    let least = i64::try_from(least).unwrap_or(i64::MAX);
    connection.query_row(sql, [least], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
}

/// Whether the file is new; an error if it is someone else's or from the future.
fn check_kind(connection: &Connection, path: &Path) -> Result<bool, OpenError> {
    let number = |pragma: &str| {
        connection
            .pragma_query_value(None, pragma, |row| row.get::<_, i64>(0))
            .map_err(|error| refine("read", path, &error))
    };
    let (application, found) = (number("application_id")?, number("user_version")?);
    if application == APPLICATION_ID {
        return match found {
            FORMAT => Ok(false),
            _ => Err(OpenError::Newer { path: path.to_owned(), found, known: FORMAT }),
        };
    }
    let tables: i64 = connection
        .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
        .map_err(|error| refine("read", path, &error))?;
    // A start that was killed before it made its tables leaves an empty database behind.
    if (application, found, tables) == (0, 0, 0) {
        Ok(true)
    } else {
        Err(OpenError::Foreign { path: path.to_owned() })
    }
}

fn insist(
    connection: &Connection,
    path: &Path,
    setting: &'static str,
    value: &str,
    wanted: &'static str,
) -> Result<(), OpenError> {
    let error = |error: rusqlite::Error| refine("set up", path, &error);
    connection.execute_batch(&format!("PRAGMA {setting} = {value}")).map_err(error)?;
    let found = connection
        .query_row(&format!("PRAGMA {setting}"), [], |row| {
            let value = row.get_ref(0)?;
            Ok(value
                .as_i64()
                .map_or_else(|_| value.as_str().unwrap_or("?").to_owned(), |number| number.to_string()))
        })
        .map_err(error)?;
    if found == wanted {
        Ok(())
    } else {
        Err(OpenError::Setting { path: path.to_owned(), setting, wanted, found })
    }
}

fn create_tables(connection: &mut Connection) -> Result<(), rusqlite::Error> {
    let all = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    all.execute_batch(TABLES)?;
    all.pragma_update(None, "application_id", APPLICATION_ID)?;
    all.pragma_update(None, "user_version", FORMAT)?;
    all.commit()
}

fn check(connection: &Connection, path: &Path) -> Result<Start, OpenError> {
    let limit = TimeLimit::on(connection);
    limit.begin(CHECK_MAX);
    let found = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
    limit.lift();
    let what = match found {
        Ok(word) if word == "ok" => return Ok(Start::Checked),
        Ok(what) => what,
        Err(error) => match error.sqlite_error_code() {
            Some(ErrorCode::OperationInterrupted) => return Ok(Start::CheckCut),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => error.to_string(),
            _ => return Err(refine("check", path, &error)),
        },
    };
    let deployments = hurt(connection, &limit);
    Err(OpenError::Damaged { path: path.to_owned(), what, deployments })
}

/// The first deployments whose record is hurt, as far as the list of deployments can be read.
fn hurt(connection: &Connection, limit: &TimeLimit) -> Vec<String> {
    limit.begin(CHECK_MAX * 5);
    let places = reading::places(connection, 0).unwrap_or_default();
    let hurt = places.into_iter().filter(|(_, deployment)| {
        !matches!(reading::verify(connection, deployment), Ok(Chain::Intact { .. }))
    });
    let names = hurt.map(|(_, deployment)| deployment).take(NAMED_MAX).collect();
    limit.lift();
    names
}

/// What a database error means to whoever opens it.
pub(super) fn refine(attempt: &'static str, path: &Path, error: &rusqlite::Error) -> OpenError {
    let (path_buf, why) = (path.to_owned(), error.to_string());
    let directory = path.parent().unwrap_or(path).to_owned();
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => OpenError::Foreign { path: path_buf },
        Some(ErrorCode::DatabaseCorrupt) => {
            OpenError::Damaged { path: path_buf, what: why, deployments: Vec::new() }
        }
        Some(ErrorCode::DiskFull) => OpenError::Full { path: directory },
        Some(ErrorCode::ReadOnly) => {
            OpenError::ReadOnly { path: directory, source: std::io::Error::other(why) }
        }
        _ => OpenError::Store { attempt, path: path_buf, why },
    }
}

/// The path inside a `file:` URI (RFC 3986): everything but plain characters escaped.
fn escaped(path: &Path) -> String {
    use std::fmt::Write as _;
    use std::os::unix::ffi::OsStrExt as _;
    let mut uri = String::new();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(&byte) {
            uri.push(char::from(byte));
        } else {
            let _infallible = write!(uri, "%{byte:02X}");
        }
    }
    uri
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_writer_commits_durably_and_trusts_no_schema() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("new.db");
        std::fs::write(&path, "").unwrap();
        let (connection, start) = open_writer(&path, true).unwrap();
        assert_eq!(start, Start::Clean);
        for (setting, wanted) in [
            ("synchronous", 2),
            ("foreign_keys", 1),
            ("trusted_schema", 0),
            ("cell_size_check", 1),
            ("wal_autocheckpoint", 0),
            ("busy_timeout", 5_000),
            ("application_id", APPLICATION_ID),
            ("user_version", FORMAT),
        ] {
            let found = connection.pragma_query_value(None, setting, |row| row.get::<_, i64>(0));
            assert_eq!(found, Ok(wanted), "{setting}");
        }
        let mode = connection.pragma_query_value(None, "journal_mode", |row| row.get::<_, String>(0));
        assert_eq!(mode.as_deref(), Ok("wal"));
        let refused =
            connection.execute("INSERT INTO events VALUES (1, 9, 1, 1, 1, 'k', 'p', zeroblob(32))", []);
        assert!(refused.is_err(), "an event needs its deployment");
        let refused = connection.execute("INSERT INTO meta VALUES ('k', x'00')", []);
        assert!(refused.is_err(), "tables are strict");
    }

    #[test]
    fn a_setting_that_does_not_take_is_an_error() {
        let connection = Connection::open_in_memory().unwrap();
        let refused = insist(&connection, Path::new("x"), "journal_mode", "WAL", "wal").unwrap_err();
        assert!(matches!(refused, OpenError::Setting { setting: "journal_mode", .. }), "{refused}");
    }

    #[test]
    fn odd_paths_survive_the_uri() {
        assert_eq!(escaped(Path::new("/a b/ü?#%.db")), "/a%20b/%C3%BC%3F%23%25.db");
    }
}
