//! One write, inside the transaction of its group.

use std::collections::HashMap;

use rusqlite::{Connection, params};

use super::queue::Work;
use super::reading::{self, LookUp};
use super::rows::{signed, standing_code};
use crate::journal::chain::{self, Walk};
use crate::journal::entry::{Append, Appended, Digest, Epoch, Kept, NewEvent, NewSample};
use crate::journal::error::AppendError;
use crate::journal::rules::{self, Admission, Ledger, SAMPLES_PER_DEPLOYMENT_MAX};

/// Most deployments whose last state is remembered; beyond it, all are looked up again.
const HEADS_MAX: usize = 16_384;

/// What the writer remembers between commits, so that an append needs no look-up. Only the owner of the directory has one.
#[derive(Debug)]
pub(super) struct Book {
    pub(super) epoch: Epoch,
    /// The last position used, once known.
    position: Option<u64>,
    heads: HashMap<String, Kept>,
}

/// Why a write did not happen.
#[derive(Debug)]
pub(super) enum Fault {
    /// The rules say no. The transaction is untouched by it.
    Refused(AppendError),
    /// The database says no. The transaction must be rolled back.
    Sql(rusqlite::Error),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<AppendError> for Fault {
    fn from(error: AppendError) -> Self {
        Self::Refused(error)
    }
}

impl Book {
    pub(super) fn new(epoch: Epoch) -> Self {
        Self { epoch, position: None, heads: HashMap::new() }
    }

    /// Forgets everything that a rolled-back transaction may have made wrong.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.epoch);
    }

    /// Does one write.
    pub(super) fn write(&mut self, connection: &Connection, work: &Work) -> Result<Option<Appended>, Fault> {
        match work {
            Work::Append(append) => self.append(connection, append).map(Some),
            Work::Samples { deployment, samples } => {
                keep_samples(connection, deployment, samples).map(|()| None)
            }
            Work::Meta { key, value } => {
                let sql =
                    "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (key) DO UPDATE SET value = excluded.value";
                connection.prepare_cached(sql)?.execute([key, value])?;
                Ok(None)
            }
        }
    }

    fn append(&mut self, connection: &Connection, append: &Append) -> Result<Appended, Fault> {
        let current = self.epoch;
        match rules::admit(&mut View { connection, book: self }, append, current)?? {
            Admission::Repeat(answer) => Ok(answer),
            Admission::Write(before) => {
                let last = self.last_position(connection)?;
                let (kept, hashes) = follow(append, before.as_ref(), last);
                match &before {
                    None => insert_row(connection, &kept, append)?,
                    Some(before) => update_row(connection, before, &kept)?,
                }
                insert_events(connection, &kept, append, &hashes)?;
                self.position = Some(kept.position);
                let answer = Appended {
                    deployment: kept.deployment.clone(),
                    seq: kept.seq,
                    position: kept.position,
                    head: kept.head,
                    repeated: false,
                };
                self.remember(kept);
                Ok(answer)
            }
        }
    }

    fn last_position(&mut self, connection: &Connection) -> Result<u64, Fault> {
        if let Some(position) = self.position {
            return Ok(position);
        }
        // A damaged row number must not turn into an overflow: the row is then found by its deployment.
        let sql = "SELECT max(coalesce(max(position), 0), 0) FROM events";
        let position = connection.query_row(sql, [], |row| row.get::<_, i64>(0))?.cast_unsigned();
        self.position = Some(position);
        Ok(position)
    }

    fn remember(&mut self, kept: Kept) {
        if !kept.row.standing.is_active() {
            self.heads.remove(&kept.deployment);
            return;
        }
        if let Some(head) = self.heads.get_mut(&kept.deployment) {
            *head = kept;
            return;
        }
        if self.heads.len() >= HEADS_MAX {
            self.heads.clear();
        }
        self.heads.insert(kept.deployment.clone(), kept);
    }
}

/// The deployment after the append, and the hashes of its new events.
fn follow(append: &Append, before: Option<&Kept>, last: u64) -> (Kept, Vec<Digest>) {
    let start = || Walk::start(&append.deployment);
    let mut walk = before.map_or_else(start, |kept| Walk { seq: kept.seq, hash: kept.head });
    let mut hashes = Vec::with_capacity(append.events.len());
    for NewEvent { at_unix_ms, kind, payload } in &append.events {
        let seq = walk.seq + 1;
        let hash =
            chain::hash_parts(&walk.hash, &append.deployment, seq, *at_unix_ms, append.epoch, kind, payload);
        walk = Walk { seq, hash };
        hashes.push(hash);
    }
    let kept = Kept {
        deployment: append.deployment.clone(),
        row: append.row.clone(),
        seq: walk.seq,
        first_position: before.map_or(last + 1, |kept| kept.first_position),
        position: last + append.events.len() as u64,
        head: walk.hash,
    };
    (kept, hashes)
}

fn insert_events(
    connection: &Connection,
    kept: &Kept,
    append: &Append,
    hashes: &[Digest],
) -> Result<(), Fault> {
    const SQL: &str = "INSERT INTO events (position, deployment, seq, at_unix_ms, epoch, kind, payload, hash) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let mut statement = connection.prepare_cached(SQL)?;
    let count = hashes.len() as u64;
    let numbers = (kept.position - count + 1..).zip(kept.seq - count + 1..);
    for ((event, hash), (position, seq)) in append.events.iter().zip(hashes).zip(numbers) {
        statement.execute(params![
            signed(position),
            signed(kept.first_position),
            signed(seq),
            event.at_unix_ms,
            signed(append.epoch.0),
            event.kind,
            event.payload,
            hash.0
        ])?;
    }
    Ok(())
}

fn insert_row(connection: &Connection, kept: &Kept, append: &Append) -> Result<(), Fault> {
    const SQL: &str = "INSERT INTO deployments (first_position, id, service, environment, state, standing, release, \
                       turn, updated_unix_ms, seq, position, head, seal) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)";
    let row = &kept.row;
    connection.prepare_cached(SQL)?.execute(params![
        signed(kept.first_position),
        kept.deployment,
        row.service,
        row.environment,
        row.state,
        standing_code(row.standing),
        row.release,
        signed(row.turn),
        row.updated_unix_ms,
        signed(kept.seq),
        signed(kept.position),
        kept.head.0,
        chain::seal(kept).0
    ])?;
    if let Some(request) = &append.request {
        connection
            .prepare_cached("INSERT INTO requests (key, digest, deployment) VALUES (?1, ?2, ?3)")?
            .execute(params![request.key, request.digest.0, signed(kept.first_position)])?;
    }
    Ok(())
}

fn update_row(connection: &Connection, before: &Kept, kept: &Kept) -> Result<(), Fault> {
    const SQL: &str = "UPDATE deployments SET state = ?2, release = ?3, updated_unix_ms = ?4, seq = ?5, \
                       position = ?6, head = ?7, seal = ?8 WHERE first_position = ?1";
    let row = &kept.row;
    let changed = connection.prepare_cached(SQL)?.execute(params![
        signed(kept.first_position),
        row.state,
        row.release,
        row.updated_unix_ms,
        signed(kept.seq),
        signed(kept.position),
        kept.head.0,
        chain::seal(kept).0
    ])?;
    if changed != 1 {
        return Err(missing(kept));
    }
    // Apart from the rest, because it touches two indexes, and most appends do not change it.
    if before.row.standing != row.standing {
        connection
            .prepare_cached("UPDATE deployments SET standing = ?2 WHERE first_position = ?1")?
            .execute([signed(kept.first_position), standing_code(row.standing)])?;
    }
    Ok(())
}

fn missing(kept: &Kept) -> Fault {
    let (deployment, what) = (kept.deployment.clone(), "its row is missing".to_owned());
    Fault::Refused(AppendError::Damaged { deployment, seq: kept.seq, what })
}

fn keep_samples(connection: &Connection, deployment: &str, samples: &[NewSample]) -> Result<(), Fault> {
    let mut place = connection.prepare_cached("SELECT first_position FROM deployments WHERE id = ?1")?;
    let Some(place) = place.query([deployment])?.next()?.map(|row| row.get::<_, i64>(0)).transpose()? else {
        return Err(AppendError::Unknown { deployment: deployment.to_owned() }.into());
    };
    let sql = "SELECT coalesce(max(number), 0) FROM samples WHERE deployment = ?1";
    let last: i64 = connection.prepare_cached(sql)?.query_row([place], |row| row.get(0))?;
    let sql = "INSERT INTO samples (deployment, number, seq, stage, at_unix_ms, payload) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut statement = connection.prepare_cached(sql)?;
    let mut number = last;
    for sample in samples {
        number = number.saturating_add(1);
        let NewSample { seq, stage, at_unix_ms, payload } = sample;
        statement.execute(params![place, number, signed(*seq), stage, at_unix_ms, payload])?;
    }
    connection
        .prepare_cached("DELETE FROM samples WHERE deployment = ?1 AND number <= ?2")?
        .execute([place, number.saturating_sub(signed(SAMPLES_PER_DEPLOYMENT_MAX))])?;
    Ok(())
}

/// The rules' view of the database, inside the transaction.
struct View<'a> {
    connection: &'a Connection,
    book: &'a Book,
}

impl Ledger for View<'_> {
    type Error = Fault;

    fn kept(&mut self, deployment: &str) -> Result<Option<Kept>, Fault> {
        if let Some(kept) = self.book.heads.get(deployment) {
            return Ok(Some(kept.clone()));
        }
        reading::look_up(self.connection, deployment).map_err(|error| match error {
            LookUp::Sql(error) => Fault::Sql(error),
            LookUp::Broken { seq, what } => {
                Fault::Refused(AppendError::Damaged { deployment: deployment.to_owned(), seq, what })
            }
        })
    }

    fn request(&mut self, key: &str) -> Result<Option<(Digest, String)>, Fault> {
        Ok(reading::request_of(self.connection, key)?)
    }

    fn running(&mut self, service: &str, environment: &str) -> Result<Option<String>, Fault> {
        Ok(reading::running(self.connection, service, environment)?)
    }

    fn turn_taken(&mut self, service: &str, environment: &str, turn: u64) -> Result<bool, Fault> {
        Ok(reading::turn_taken(self.connection, service, environment, turn)?)
    }

    fn active(&mut self) -> Result<u64, Fault> {
        Ok(reading::active_count(self.connection)?)
    }
}
