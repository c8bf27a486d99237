//! The chain of hashes that makes a changed history visible.
//!
//! Each deployment has its own chain: `hash(n) = SHA-256(format, hash(n-1), deployment, seq, at, epoch, kind, payload)`, where
//! texts are preceded by their length, so that no two histories encode alike. The row of a deployment is sealed the same way
//! together with the head, so that a changed row, or a cut-off end, is visible too.

use sha2::{Digest as _, Sha256};

use super::entry::{Chain, Digest, Epoch, Kept, Recorded, Standing};

const EVENT_FORMAT: &[u8] = b"tidegate event 1\n";
const GENESIS_FORMAT: &[u8] = b"tidegate chain 1\n";
/// The format of the sealed row; part of what is hashed.
pub const ROW_FORMAT: &[u8] = b"tidegate row 1\n";

/// The hash that stands before a deployment's first event.
pub fn genesis(deployment: &str) -> Digest {
    let mut hash = Sha256::new_with_prefix(GENESIS_FORMAT);
    text(&mut hash, deployment);
    Digest(hash.finalize().into())
}

/// The hash of an event whose predecessor has the hash `previous`. The event's own `hash` and `position` are not part of it.
pub fn event_hash(previous: &Digest, event: &Recorded) -> Digest {
    hash_parts(
        previous,
        &event.deployment,
        event.seq,
        event.at_unix_ms,
        event.epoch,
        &event.kind,
        &event.payload,
    )
}

pub(super) fn hash_parts(
    previous: &Digest,
    deployment: &str,
    seq: u64,
    at_unix_ms: i64,
    epoch: Epoch,
    kind: &str,
    payload: &str,
) -> Digest {
    let mut hash = Sha256::new_with_prefix(EVENT_FORMAT);
    hash.update(previous.0);
    text(&mut hash, deployment);
    hash.update(seq.to_le_bytes());
    hash.update(at_unix_ms.to_le_bytes());
    hash.update(epoch.0.to_le_bytes());
    text(&mut hash, kind);
    text(&mut hash, payload);
    Digest(hash.finalize().into())
}

/// The seal over a deployment's row, head and positions.
pub(super) fn seal(kept: &Kept) -> Digest {
    let Kept { deployment, row, seq, first_position, position, head } = kept;
    let mut hash = Sha256::new_with_prefix(ROW_FORMAT);
    for part in [deployment, &row.service, &row.environment, &row.state, &row.release] {
        text(&mut hash, part);
    }
    let standing: u64 = match row.standing {
        Standing::Queued => 0,
        Standing::Running => 1,
        Standing::Ended => 2,
    };
    for number in [standing, row.turn, *seq, *first_position, *position] {
        hash.update(number.to_le_bytes());
    }
    hash.update(row.updated_unix_ms.to_le_bytes());
    hash.update(head.0);
    Digest(hash.finalize().into())
}

fn text(hash: &mut Sha256, part: &str) {
    hash.update((part.len() as u64).to_le_bytes());
    hash.update(part.as_bytes());
}

/// A walk along one deployment's chain, from a place whose hash is known.
pub(super) struct Walk {
    pub(super) seq: u64,
    pub(super) hash: Digest,
}

/// Where a chain is broken, and how.
#[derive(Debug)]
pub(super) struct Break {
    pub(super) seq: u64,
    pub(super) what: String,
}

impl Walk {
    /// Starts before the first event.
    pub(super) fn start(deployment: &str) -> Self {
        Self { seq: 0, hash: genesis(deployment) }
    }

    /// Takes the next event, if it is the one that must come next.
    pub(super) fn step(&mut self, event: &Recorded) -> Result<(), Break> {
        let due = self.seq + 1;
        if event.seq != due {
            return Err(Break { seq: due, what: format!("event {due} is missing, {} follows", event.seq) });
        }
        if event_hash(&self.hash, event) != event.hash {
            return Err(Break { seq: due, what: "its content does not match its hash".to_owned() });
        }
        *self = Self { seq: due, hash: event.hash };
        Ok(())
    }

    /// Says whether the walk ended where the deployment's row says the chain ends.
    pub(super) fn end(&self, kept: &Kept) -> Result<(), Break> {
        if self.seq != kept.seq {
            let due = self.seq + 1;
            return Err(Break {
                seq: due,
                what: format!("the record ends at event {}, not {}", self.seq, kept.seq),
            });
        }
        if self.hash != kept.head {
            return Err(Break { seq: self.seq, what: "the head differs from the last event".to_owned() });
        }
        Ok(())
    }
}

/// The answer of a verification from how the walk ended.
pub(super) fn verdict(deployment: &str, walked: Result<Walk, Break>) -> Chain {
    let deployment = deployment.to_owned();
    match walked {
        Ok(walk) => Chain::Intact { deployment, events: walk.seq, head: walk.hash },
        Err(Break { seq, what }) => Chain::Broken { deployment, seq, what },
    }
}
