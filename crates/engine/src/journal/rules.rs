//! The rules every store follows when it is asked to write: bounds, and who may append what.

use super::entry::{Append, Appended, Digest, Epoch, Kept, NewSample, Standing};
use super::error::AppendError;

/// Longest id, name, state, release, kind or request key, in bytes.
pub const NAME_BYTES_MAX: usize = 512;
/// Most payload bytes in one append, or in one call with samples. A plan for a thousand hosts takes about 200 KiB.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Most events in one append.
pub const EVENTS_PER_APPEND_MAX: usize = 64;
/// Most events of one deployment. The engine freezes a deployment well before (at 10,000); the rest is room for its way back.
pub const EVENTS_PER_DEPLOYMENT_MAX: u64 = 16_384;
/// Most samples kept per deployment; the oldest are dropped.
pub const SAMPLES_PER_DEPLOYMENT_MAX: u64 = 2_000;
/// Most samples in one call.
pub(super) const SAMPLES_PER_CALL_MAX: usize = 256;
/// Most deployments that are queued or running at a time.
pub const ACTIVE_MAX: u64 = 10_000;
/// Most entries one read gives.
pub const READ_MAX: usize = 16_384;
/// Where a read of events or samples stops although its limit is not met, in payload bytes. Ask for the rest.
pub(super) const READ_BYTES_MAX: usize = 64 << 20;
/// Longest key and longest value of an engine-level fact, in bytes.
pub const META_BYTES_MAX: usize = 4_096;

/// What the rules must know about a store.
pub(super) trait Ledger {
    type Error;
    fn kept(&mut self, deployment: &str) -> Result<Option<Kept>, Self::Error>;
    fn request(&mut self, key: &str) -> Result<Option<(Digest, String)>, Self::Error>;
    fn running(&mut self, service: &str, environment: &str) -> Result<Option<String>, Self::Error>;
    fn turn_taken(&mut self, service: &str, environment: &str, turn: u64) -> Result<bool, Self::Error>;
    fn active(&mut self) -> Result<u64, Self::Error>;
}

/// What to do with an append.
pub(super) enum Admission {
    /// Write it after this (`None`: it is the deployment's first).
    Write(Option<Kept>),
    /// Write nothing: the request was answered before.
    Repeat(Appended),
}

/// Decides on an append whose bounds were checked. The outer error is the store's, the inner one the answer to the caller.
pub(super) fn admit<L: Ledger>(
    ledger: &mut L,
    append: &Append,
    current: Epoch,
) -> Result<Result<Admission, AppendError>, L::Error> {
    if append.epoch != current {
        return Ok(Err(AppendError::Fenced { epoch: append.epoch, current }));
    }
    if append.expected_seq == 0
        && let Some(answer) = earlier_answer(ledger, append)?
    {
        return Ok(answer);
    }
    let before = ledger.kept(&append.deployment)?;
    if let Err(refusal) = check_step(append, before.as_ref()) {
        return Ok(Err(refusal));
    }
    if let Err(refusal) = check_place(ledger, append, before.as_ref())? {
        return Ok(Err(refusal));
    }
    Ok(Ok(Admission::Write(before)))
}

type Answer = Result<Admission, AppendError>;

fn earlier_answer<L: Ledger>(ledger: &mut L, append: &Append) -> Result<Option<Answer>, L::Error> {
    let Some(request) = &append.request else { return Ok(None) };
    let Some((digest, deployment)) = ledger.request(&request.key)? else { return Ok(None) };
    if digest != request.digest {
        return Ok(Some(Err(AppendError::RequestReused { key: request.key.clone(), deployment })));
    }
    let Some(kept) = ledger.kept(&deployment)? else {
        return Ok(Some(Err(AppendError::Unknown { deployment })));
    };
    let Kept { deployment, seq, position, head, .. } = kept;
    Ok(Some(Ok(Admission::Repeat(Appended { deployment, seq, position, head, repeated: true }))))
}

fn check_step(append: &Append, before: Option<&Kept>) -> Result<(), AppendError> {
    let deployment = || append.deployment.clone();
    let actual = before.map_or(0, |kept| kept.seq);
    if actual != append.expected_seq {
        return Err(AppendError::Conflict {
            deployment: deployment(),
            expected: append.expected_seq,
            actual,
        });
    }
    let after = actual + append.events.len() as u64;
    within("the number of events of one deployment", after, 1, EVENTS_PER_DEPLOYMENT_MAX)?;
    let Some(before) = before else { return Ok(()) };
    for (what, same) in [
        ("service", before.row.service == append.row.service),
        ("environment", before.row.environment == append.row.environment),
        ("turn", before.row.turn == append.row.turn),
    ] {
        if !same {
            return Err(AppendError::RowChanged { deployment: deployment(), what });
        }
    }
    Ok(())
}

/// Whether the row fits among the other deployments: turn, running deployment of the service, number of active ones.
fn check_place<L: Ledger>(
    ledger: &mut L,
    append: &Append,
    before: Option<&Kept>,
) -> Result<Result<(), AppendError>, L::Error> {
    let row = &append.row;
    let (service, environment, turn) = (row.service.clone(), row.environment.clone(), row.turn);
    if before.is_none() && ledger.turn_taken(&service, &environment, turn)? {
        return Ok(Err(AppendError::TurnTaken { service, environment, turn }));
    }
    let stood = before.map(|kept| kept.row.standing);
    if row.standing == Standing::Running
        && stood != Some(Standing::Running)
        && let Some(by) = ledger.running(&service, &environment)?
    {
        return Ok(Err(AppendError::ServiceBusy { service, environment, by }));
    }
    let was_active = stood.is_some_and(Standing::is_active);
    if row.standing.is_active() && !was_active && ledger.active()? >= ACTIVE_MAX {
        return Ok(Err(AppendError::Overloaded { what: "active deployments" }));
    }
    Ok(Ok(()))
}

/// Checks everything about an append that needs no store.
pub(super) fn check_append(append: &Append) -> Result<(), AppendError> {
    let row = &append.row;
    for (what, name) in [
        ("the bytes of a deployment id", &append.deployment),
        ("the bytes of a service name", &row.service),
        ("the bytes of an environment name", &row.environment),
        ("the bytes of a state name", &row.state),
    ] {
        within(what, name.len() as u64, 1, NAME_BYTES_MAX as u64)?;
    }
    within("the bytes of a release name", row.release.len() as u64, 0, NAME_BYTES_MAX as u64)?;
    within("a turn", row.turn, 1, i64::MAX as u64)?;
    if let Some(request) = &append.request {
        within("the bytes of a request key", request.key.len() as u64, 1, NAME_BYTES_MAX as u64)?;
    }
    within(
        "the number of events in one append",
        append.events.len() as u64,
        1,
        EVENTS_PER_APPEND_MAX as u64,
    )?;
    for event in &append.events {
        within("the bytes of an event's kind", event.kind.len() as u64, 1, NAME_BYTES_MAX as u64)?;
    }
    let payload: usize = append.events.iter().map(|event| event.payload.len()).sum();
    within("the payload bytes of one append", payload as u64, 0, PAYLOAD_BYTES_MAX as u64)
}

/// Checks everything about samples that needs no store.
pub(super) fn check_samples(samples: &[NewSample]) -> Result<(), AppendError> {
    within("the number of samples in one call", samples.len() as u64, 1, SAMPLES_PER_CALL_MAX as u64)?;
    let payload: usize = samples.iter().map(|sample| sample.payload.len()).sum();
    within("the payload bytes of one call", payload as u64, 0, PAYLOAD_BYTES_MAX as u64)
}

/// Checks everything about a fact that needs no store.
pub(super) fn check_meta(key: &str, value: &str) -> Result<(), AppendError> {
    within("the bytes of a fact's key", key.len() as u64, 1, META_BYTES_MAX as u64)?;
    within("the bytes of a fact's value", value.len() as u64, 0, META_BYTES_MAX as u64)
}

fn within(what: &'static str, actual: u64, min: u64, max: u64) -> Result<(), AppendError> {
    if (min..=max).contains(&actual) {
        Ok(())
    } else {
        Err(AppendError::OutOfBounds { what, min, max, actual })
    }
}
