//! Rows of the database, decoded without trusting them.

use rusqlite::Row as SqlRow;
use rusqlite::types::ValueRef;

use crate::journal::entry::{Digest, Epoch, Kept, NewSample, Recorded, Row, Sample, Standing};

/// The columns of a deployment, in the order [`stored`] reads them.
macro_rules! kept_columns {
    () => {
        "first_position, id, service, environment, state, standing, release, turn, updated_unix_ms, \
         seq, position, head, seal"
    };
}
pub(super) use kept_columns;

/// The columns of an event, in the order [`recorded`] reads them.
macro_rules! event_columns {
    () => {
        "position, seq, at_unix_ms, epoch, kind, payload, hash"
    };
}
pub(super) use event_columns;

/// Why a row gave nothing.
#[derive(Debug)]
pub(super) enum RowError {
    /// The database could not give the row.
    Sql(rusqlite::Error),
    /// The column holds something that was never written.
    Content(&'static str),
}

impl From<rusqlite::Error> for RowError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sql(error)
    }
}

/// A deployment's row with its seal.
pub(super) struct Stored {
    pub(super) kept: Kept,
    pub(super) seal: Digest,
}

pub(super) fn stored(row: &SqlRow<'_>) -> Result<Stored, RowError> {
    let kept = Kept {
        first_position: number(row, 0, "first position")?,
        deployment: text(row, 1, "id")?,
        row: Row {
            service: text(row, 2, "service")?,
            environment: text(row, 3, "environment")?,
            state: text(row, 4, "state")?,
            standing: standing(row, 5)?.ok_or(RowError::Content("standing"))?,
            release: text(row, 6, "release")?,
            turn: number(row, 7, "turn")?,
            updated_unix_ms: integer(row, 8, "time of change")?,
        },
        seq: number(row, 9, "last sequence number")?,
        position: number(row, 10, "last position")?,
        head: digest(row, 11, "head")?,
    };
    Ok(Stored { kept, seal: digest(row, 12, "seal")? })
}

/// A deployment's row as far as it can be made out, for lists: a damaged row must not hide the others, and whoever then asks
/// for that deployment is told what is wrong with it.
pub(super) fn legible(row: &SqlRow<'_>) -> Result<Kept, rusqlite::Error> {
    match stored(row) {
        Ok(stored) => return Ok(stored.kept),
        Err(RowError::Sql(error)) => return Err(error),
        Err(RowError::Content(_)) => {}
    }
    let words = |column| lossy(row, column);
    let figure = |column| row.get_ref(column).map(|value| value.as_i64().map_or(0, i64::cast_unsigned));
    Ok(Kept {
        first_position: figure(0)?,
        deployment: words(1)?,
        row: Row {
            service: words(2)?,
            environment: words(3)?,
            state: words(4)?,
            // Not known to be over, so somebody has to look at it.
            standing: standing(row, 5).ok().flatten().unwrap_or(Standing::Running),
            release: words(6)?,
            turn: figure(7)?,
            updated_unix_ms: row.get_ref(8)?.as_i64().unwrap_or(0),
        },
        seq: figure(9)?,
        position: figure(10)?,
        head: digest(row, 11, "head").unwrap_or(Digest([0; 32])),
    })
}

/// An event of the named deployment.
pub(super) fn recorded(row: &SqlRow<'_>, deployment: &str) -> Result<Recorded, RowError> {
    Ok(Recorded {
        position: number(row, 0, "position")?,
        deployment: deployment.to_owned(),
        seq: number(row, 1, "sequence number")?,
        at_unix_ms: integer(row, 2, "time")?,
        epoch: Epoch(number(row, 3, "epoch")?),
        kind: text(row, 4, "kind")?,
        payload: text(row, 5, "payload")?,
        hash: digest(row, 6, "hash")?,
    })
}

pub(super) fn sample(row: &SqlRow<'_>) -> Result<Sample, RowError> {
    Ok(Sample {
        number: number(row, 0, "sample number")?,
        sample: NewSample {
            seq: number(row, 1, "sequence number")?,
            stage: u32::try_from(number(row, 2, "stage")?).map_err(|_| RowError::Content("stage"))?,
            at_unix_ms: integer(row, 3, "time")?,
            payload: text(row, 4, "payload")?,
        },
    })
}

/// A number for the database, whose integers are signed. Ours count things and stay far below the limit.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

pub(super) fn standing_code(standing: Standing) -> i64 {
    match standing {
        Standing::Queued => 0,
        Standing::Running => 1,
        Standing::Ended => 2,
    }
}

fn standing(row: &SqlRow<'_>, column: usize) -> Result<Option<Standing>, RowError> {
    Ok(match integer(row, column, "standing")? {
        0 => Some(Standing::Queued),
        1 => Some(Standing::Running),
        2 => Some(Standing::Ended),
        _ => None,
    })
}

fn integer(row: &SqlRow<'_>, column: usize, name: &'static str) -> Result<i64, RowError> {
    row.get_ref(column)?.as_i64().map_err(|_| RowError::Content(name))
}

fn number(row: &SqlRow<'_>, column: usize, name: &'static str) -> Result<u64, RowError> {
    u64::try_from(integer(row, column, name)?).map_err(|_| RowError::Content(name))
}

pub(super) fn text(row: &SqlRow<'_>, column: usize, name: &'static str) -> Result<String, RowError> {
    row.get_ref(column)?.as_str().map(str::to_owned).map_err(|_| RowError::Content(name))
}

pub(super) fn lossy(row: &SqlRow<'_>, column: usize) -> Result<String, rusqlite::Error> {
    Ok(match row.get_ref(column)? {
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        ValueRef::Null | ValueRef::Integer(_) | ValueRef::Real(_) => String::new(),
    })
}

pub(super) fn digest(row: &SqlRow<'_>, column: usize, name: &'static str) -> Result<Digest, RowError> {
    let bytes = row.get_ref(column)?.as_blob().map_err(|_| RowError::Content(name))?;
    bytes.try_into().map(Digest).map_err(|_| RowError::Content(name))
}
