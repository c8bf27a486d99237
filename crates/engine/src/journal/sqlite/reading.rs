//! Questions to the database, answered on one connection, whether an engine runs or not.

use rusqlite::types::Value;
use rusqlite::{
    Connection, ErrorCode, OptionalExtension as _, Row as SqlRow, Rows, params, params_from_iter,
};

use super::rows::{self, RowError, Stored, event_columns, kept_columns, signed};
use crate::journal::chain::{self, Break, Walk};
use crate::journal::entry::{Chain, Digest, Filter, Kept, Recorded, Sample};
use crate::journal::error::ReadError;
use crate::journal::rules::{ACTIVE_MAX, READ_BYTES_MAX, READ_MAX, SAMPLES_PER_DEPLOYMENT_MAX};

/// How long one read may take. Long readers keep the write-ahead log from being reused.
pub(super) const READ_MS_MAX: u64 = 5_000;

type Read<T> = Result<T, ReadError>;

pub(super) fn read(
    connection: &Connection,
    deployment: &str,
    after: u64,
    limit: usize,
) -> Read<Vec<Recorded>> {
    in_snapshot(connection, |connection| {
        let Some(kept) = kept(connection, deployment)? else { return Ok(Vec::new()) };
        if after >= kept.seq {
            return Ok(Vec::new());
        }
        let mut walk = walk_from(connection, &kept, after)?;
        let mut page = Vec::new();
        let mut bytes = 0;
        let limit = limit.min(READ_MAX);
        walk_on(connection, &kept, &mut walk, limit, |event| {
            bytes += event.payload.len();
            page.push(event);
            bytes < READ_BYTES_MAX
        })?;
        Ok(page)
    })
}

pub(super) fn feed(connection: &Connection, after: u64, limit: usize) -> Read<Vec<Recorded>> {
    const SQL: &str = concat!(
        "SELECT ",
        event_columns!(),
        ", (SELECT id FROM deployments WHERE first_position = deployment) \
         FROM events WHERE position > ?1 ORDER BY position LIMIT ?2"
    );
    let doing = "reading the events of all deployments";
    let mut bytes = 0;
    rows(connection, doing, SQL, params![signed(after), signed(limit.min(READ_MAX) as u64)], |row| {
        if bytes >= READ_BYTES_MAX {
            return Ok(None);
        }
        let deployment = rows::text(row, 7, "deployment")?;
        let event = rows::recorded(row, &deployment)?;
        bytes += event.payload.len();
        Ok(Some(event))
    })
}

pub(super) fn position(connection: &Connection) -> Read<u64> {
    let doing = "reading the last position";
    let found =
        connection.query_row("SELECT coalesce(max(position), 0) FROM events", [], |row| row.get::<_, i64>(0));
    Ok(found.map_err(|error| store(doing, &error))?.cast_unsigned())
}

/// A deployment whose seal holds.
pub(super) fn kept(connection: &Connection, deployment: &str) -> Read<Option<Kept>> {
    look_up(connection, deployment).map_err(|error| match error {
        LookUp::Sql(error) => store("looking a deployment up", &error),
        LookUp::Broken { seq, what } => ReadError::Broken { deployment: deployment.to_owned(), seq, what },
    })
}

/// Why a deployment could not be looked up.
pub(super) enum LookUp {
    Sql(rusqlite::Error),
    Broken { seq: u64, what: String },
}

impl From<rusqlite::Error> for LookUp {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

pub(super) fn look_up(connection: &Connection, deployment: &str) -> Result<Option<Kept>, LookUp> {
    const SQL: &str = concat!("SELECT ", kept_columns!(), " FROM deployments WHERE id = ?1");
    let mut statement = connection.prepare_cached(SQL)?;
    let mut found = statement.query([deployment])?;
    let Some(row) = found.next()? else { return Ok(None) };
    match rows::stored(row) {
        Ok(Stored { kept, seal }) if chain::seal(&kept) == seal && kept.deployment == deployment => {
            Ok(Some(kept))
        }
        Ok(Stored { kept, .. }) => {
            Err(LookUp::Broken { seq: kept.seq, what: "its row does not match its seal".to_owned() })
        }
        Err(RowError::Content(what)) => {
            Err(LookUp::Broken { seq: 0, what: format!("the {what} in its row is not what was written") })
        }
        Err(RowError::Sql(error)) => Err(LookUp::Sql(error)),
    }
}

pub(super) fn deployments(connection: &Connection, filter: &Filter) -> Read<Vec<Kept>> {
    let limit = filter.limit.unwrap_or(READ_MAX).min(READ_MAX);
    let (sql, values) = listing(filter, limit);
    rows(connection, "listing deployments", &sql, params_from_iter(values), |row| {
        Ok(Some(rows::legible(row)?))
    })
}

/// Only the conditions that are asked for: one that may or may not hold for all rows (`?1 IS NULL OR …`) would make the
/// database read every deployment there is to find those of one service.
fn listing(filter: &Filter, limit: usize) -> (String, Vec<Value>) {
    let mut conditions = vec!["first_position < ?".to_owned()];
    let mut values = vec![Value::from(filter.before.map_or(i64::MAX, signed))];
    if !filter.standing.is_empty() {
        let codes: Vec<_> = filter.standing.iter().map(|&one| rows::standing_code(one).to_string()).collect();
        conditions.push(format!("standing IN ({})", codes.join(", ")));
    }
    for (column, wanted) in [("service", &filter.service), ("environment", &filter.environment)] {
        if let Some(wanted) = wanted {
            conditions.push(format!("{column} = ?"));
            values.push(Value::from(wanted.clone()));
        }
    }
    values.push(Value::from(signed(limit as u64)));
    let columns = kept_columns!();
    let conditions = conditions.join(" AND ");
    let sql =
        format!("SELECT {columns} FROM deployments WHERE {conditions} ORDER BY first_position DESC LIMIT ?");
    (sql, values)
}

pub(super) fn active(connection: &Connection) -> Read<Vec<Kept>> {
    const SQL: &str = concat!(
        "SELECT ",
        kept_columns!(),
        " FROM deployments WHERE standing < 2 ORDER BY first_position LIMIT ?1"
    );
    rows(connection, "listing active deployments", SQL, [signed(ACTIVE_MAX)], |row| {
        Ok(Some(rows::legible(row)?))
    })
}

pub(super) fn next_turn(connection: &Connection, service: &str, environment: &str) -> Read<u64> {
    const SQL: &str =
        "SELECT max(coalesce(max(turn), 0), 0) FROM deployments WHERE service = ?1 AND environment = ?2";
    let found = connection.query_row(SQL, [service, environment], |row| row.get::<_, i64>(0));
    Ok(found.map_err(|error| store("looking the last turn up", &error))?.cast_unsigned() + 1)
}

pub(super) fn request(connection: &Connection, key: &str) -> Read<Option<String>> {
    const SQL: &str = "SELECT d.id FROM requests r JOIN deployments d ON d.first_position = r.deployment \
                       WHERE r.key = ?1";
    let found = connection.query_row(SQL, [key], |row| row.get(0)).optional();
    found.map_err(|error| store("looking a request up", &error))
}

pub(super) fn samples(connection: &Connection, deployment: &str) -> Read<Vec<Sample>> {
    const SQL: &str = "SELECT number, seq, stage, at_unix_ms, payload FROM samples \
                       WHERE deployment = (SELECT first_position FROM deployments WHERE id = ?1) \
                       ORDER BY number DESC LIMIT ?2";
    let mut bytes = 0;
    let values = params![deployment, signed(SAMPLES_PER_DEPLOYMENT_MAX)];
    let mut found = rows(connection, "reading samples", SQL, values, |row| {
        if bytes >= READ_BYTES_MAX {
            return Ok(None);
        }
        let sample = rows::sample(row)?;
        bytes += sample.sample.payload.len();
        Ok(Some(sample))
    })?;
    found.reverse();
    Ok(found)
}

pub(super) fn meta(connection: &Connection, key: &str) -> Read<Option<String>> {
    let found =
        connection.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional();
    found.map_err(|error| store("reading a fact", &error))
}

/// Places of the next deployments in order of their first event, for a check of all of them.
pub(super) fn places(connection: &Connection, after: u64) -> Read<Vec<(u64, String)>> {
    const SQL: &str = "SELECT first_position, id FROM deployments WHERE first_position > ?1 ORDER BY first_position LIMIT 512";
    rows(connection, "listing deployments to check", SQL, [signed(after)], |row| {
        let place: i64 = row.get(0)?;
        Ok(Some((place.cast_unsigned(), rows::lossy(row, 1)?)))
    })
}

/// Recomputes one chain. Damage is an answer; only trouble that says nothing about the deployment is an error.
pub(super) fn verify(connection: &Connection, deployment: &str) -> Read<Chain> {
    let walked = in_snapshot(connection, |connection| {
        let Some(kept) = kept(connection, deployment)? else { return Ok(Walk::start(deployment)) };
        let mut walk = Walk::start(deployment);
        walk_on(connection, &kept, &mut walk, usize::MAX, |_| true)?;
        Ok(walk)
    });
    match walked {
        Ok(walk) => Ok(chain::verdict(deployment, Ok(walk))),
        Err(ReadError::Broken { seq, what, .. }) => Ok(chain::verdict(deployment, Err(Break { seq, what }))),
        Err(error) => Err(error),
    }
}

/// Where to start so that the next step is the event after `after`.
fn walk_from(connection: &Connection, kept: &Kept, after: u64) -> Read<Walk> {
    const SQL: &str = "SELECT hash FROM events WHERE deployment = ?1 AND seq = ?2";
    if after == 0 {
        return Ok(Walk::start(&kept.deployment));
    }
    let doing = "looking an event up";
    let broken = |what: &str| {
        Err(ReadError::Broken { deployment: kept.deployment.clone(), seq: after, what: what.to_owned() })
    };
    let mut statement = connection.prepare_cached(SQL).map_err(|error| store(doing, &error))?;
    let values = params![signed(kept.first_position), signed(after)];
    let found = statement.query_row(values, |row| Ok(rows::digest(row, 0, "hash"))).optional();
    match found.map_err(|error| store(doing, &error))? {
        Some(Ok(hash)) => Ok(Walk { seq: after, hash }),
        Some(Err(_)) => broken("its hash is not what was written"),
        None => broken("the event is missing"),
    }
}

/// Walks the events after `walk` and hands them to `take` until it has enough, or `limit` is met. Checks the end if it comes
/// there.
fn walk_on(
    connection: &Connection,
    kept: &Kept,
    walk: &mut Walk,
    limit: usize,
    mut take: impl FnMut(Recorded) -> bool,
) -> Read<()> {
    const SQL: &str =
        concat!("SELECT ", event_columns!(), " FROM events WHERE deployment = ?1 AND seq > ?2 ORDER BY seq");
    let doing = "reading a deployment's events";
    let name = || kept.deployment.clone();
    let at = |seq, error: &rusqlite::Error| {
        let error = store(doing, error);
        if let ReadError::Damaged { why, .. } = error {
            return ReadError::Broken { deployment: name(), seq, what: why };
        }
        error
    };
    let mut statement = connection.prepare_cached(SQL).map_err(|error| store(doing, &error))?;
    let mut rows: Rows<'_> = statement
        .query(params![signed(kept.first_position), signed(walk.seq)])
        .map_err(|error| at(walk.seq + 1, &error))?;
    for _ in 0..limit {
        let due = walk.seq + 1;
        let Some(row) = rows.next().map_err(|error| at(due, &error))? else {
            return walk.end(kept).map_err(|Break { seq, what }| ReadError::Broken {
                deployment: name(),
                seq,
                what,
            });
        };
        let event = rows::recorded(row, &kept.deployment).map_err(|error| match error {
            RowError::Sql(error) => at(due, &error),
            RowError::Content(what) => ReadError::Broken {
                deployment: name(),
                seq: due,
                what: format!("the {what} is not what was written"),
            },
        })?;
        walk.step(&event).map_err(|Break { seq, what }| ReadError::Broken {
            deployment: name(),
            seq,
            what,
        })?;
        if !take(event) {
            return Ok(());
        }
    }
    Ok(())
}

fn in_snapshot<T>(connection: &Connection, work: impl FnOnce(&Connection) -> Read<T>) -> Read<T> {
    let doing = "beginning to read";
    let snapshot = connection.unchecked_transaction().map_err(|error| store(doing, &error))?;
    // Nothing was written, so ending it by rolling back (on drop) loses nothing.
    work(&snapshot)
}

fn rows<T>(
    connection: &Connection,
    doing: &'static str,
    sql: &str,
    values: impl rusqlite::Params,
    mut decode: impl FnMut(&SqlRow<'_>) -> Result<Option<T>, RowError>,
) -> Read<Vec<T>> {
    let mut statement = connection.prepare_cached(sql).map_err(|error| store(doing, &error))?;
    let mut rows = statement.query(values).map_err(|error| store(doing, &error))?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(|error| store(doing, &error))? {
        match decode(row) {
            Ok(Some(entry)) => found.push(entry),
            Ok(None) => break,
            Err(RowError::Sql(error)) => return Err(store(doing, &error)),
            Err(RowError::Content(what)) => {
                return Err(ReadError::Damaged { doing, why: format!("a {what} is not what was written") });
            }
        }
    }
    Ok(found)
}

/// What a database error means to a reader.
pub(super) fn store(doing: &'static str, error: &rusqlite::Error) -> ReadError {
    let why = error.to_string();
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => ReadError::Damaged { doing, why },
        Some(ErrorCode::OperationInterrupted) => ReadError::Slow { limit_ms: READ_MS_MAX },
        Some(ErrorCode::DatabaseBusy) => ReadError::Overloaded,
        _ => ReadError::Store { doing, why },
    }
}

/// For the rules of the writer: what is known about a request key.
pub(super) fn request_of(
    connection: &Connection,
    key: &str,
) -> Result<Option<(Digest, String)>, rusqlite::Error> {
    const SQL: &str = "SELECT r.digest, d.id FROM requests r JOIN deployments d ON d.first_position = r.deployment \
                       WHERE r.key = ?1";
    let mut statement = connection.prepare_cached(SQL)?;
    statement.query_row([key], |row| Ok((Digest(row.get(0)?), row.get(1)?))).optional()
}

/// For the rules of the writer: the running deployment of a service.
pub(super) fn running(
    connection: &Connection,
    service: &str,
    environment: &str,
) -> Result<Option<String>, rusqlite::Error> {
    const SQL: &str = "SELECT id FROM deployments WHERE service = ?1 AND environment = ?2 AND standing = 1";
    connection.prepare_cached(SQL)?.query_row([service, environment], |row| row.get(0)).optional()
}

/// For the rules of the writer: whether a turn is in use.
pub(super) fn turn_taken(
    connection: &Connection,
    service: &str,
    environment: &str,
    turn: u64,
) -> Result<bool, rusqlite::Error> {
    const SQL: &str = "SELECT 1 FROM deployments WHERE service = ?1 AND environment = ?2 AND turn = ?3";
    connection.prepare_cached(SQL)?.exists(params![service, environment, signed(turn)])
}

/// For the rules of the writer: how many deployments are queued or running.
pub(super) fn active_count(connection: &Connection) -> Result<u64, rusqlite::Error> {
    let mut statement = connection.prepare_cached("SELECT count(*) FROM deployments WHERE standing < 2")?;
    statement.query_row([], |row| row.get::<_, i64>(0)).map(i64::cast_unsigned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::journal::entry::Standing;
    use crate::journal::sqlite::database;

    #[test]
    fn the_deployments_of_one_service_are_found_without_reading_those_of_others() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("new.db");
        std::fs::write(&path, "").unwrap();
        let (connection, _) = database::open_writer(&path, true).unwrap();
        let of_service = Filter { service: Some("web".to_owned()), ..Filter::default() };
        let ended = Filter {
            standing: &[Standing::Ended],
            environment: Some("production".to_owned()),
            before: Some(7),
            ..of_service.clone()
        };
        for filter in [of_service, ended] {
            let (sql, values) = listing(&filter, 10);
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let steps = statement.query_map(params_from_iter(values), |row| row.get::<_, String>(3)).unwrap();
            let plan: Vec<String> = steps.collect::<Result<_, _>>().unwrap();
            assert!(
                plan.iter().any(|step| step.contains("USING INDEX") && step.contains("service=?")),
                "{plan:?}"
            );
        }
    }
}
