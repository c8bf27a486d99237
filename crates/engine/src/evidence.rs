//! The batches of one deployment: folded into its judge, and kept beside its journal.

use serde::{Deserialize, Serialize};
use tidegate_core::{
    gate::{MetricAnswer, Reading},
    judge::{Batch, Judge},
    model::{Millis, Timestamp},
    plan::Plan,
};

use crate::journal::{BoxFuture, History, Journal, NewSample, ReadError, Sample};

/// Version of a stored chunk's format.
pub const CHUNK_VERSION: u32 = 1;

/// Batches that are kept back at most; then they are written without waiting for a verdict.
const CHUNK_MAX: usize = 16;

/// Batches that wait at most while the journal takes none; the oldest go first, and a replay will say so.
const WAITING_MAX: usize = 400;

/// How long a verdict waits for its batches to be written: evidence must never hold up a way back.
pub(crate) const WRITE_MAX: Millis = Millis(250);

/// The stage number of the watch after promotion in the journal's samples.
const WATCH: u32 = u32::MAX;

/// Batches that were taken while the deployment had the same number of events, and the reading that ended the last one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// [`CHUNK_VERSION`].
    pub version: u32,
    /// The batches, in order.
    pub batches: Vec<Batch>,
    /// The counters at the end of the last batch: what the next one is taken from, also after a crash.
    pub reading: Reading,
}

/// Why stored evidence cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// The journal cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A chunk is of a version or a form that this program does not know.
    #[error(
        "evidence {number} of {deployment} cannot be read: {why}; it was written by another version, or it is damaged"
    )]
    Chunk {
        /// The deployment.
        deployment: String,
        /// The chunk's number.
        number: u64,
        /// What is wrong.
        why: String,
    },
}

/// The evidence of one deployment while it runs.
#[derive(Debug, Default)]
pub(crate) struct Evidence {
    /// The fold of all batches.
    pub(crate) judge: Judge,
    last: Option<Reading>,
    waiting: Vec<Batch>,
    taken: u64,
}

/// Every chunk of a deployment that is still kept, oldest first, with the number of events it had then.
pub async fn chunks<H: History>(journal: &H, deployment: &str) -> Result<Vec<(u64, Chunk)>, EvidenceError> {
    let samples = journal.samples(deployment).await?;
    samples.iter().map(|sample| decode(deployment, sample)).collect()
}

fn decode(deployment: &str, kept: &Sample) -> Result<(u64, Chunk), EvidenceError> {
    let fault =
        |why: String| EvidenceError::Chunk { deployment: deployment.to_owned(), number: kept.number, why };
    let chunk: Chunk = serde_json::from_str(&kept.sample.payload).map_err(|why| fault(why.to_string()))?;
    if chunk.version != CHUNK_VERSION {
        return Err(fault(format!("it has version {}, known is {CHUNK_VERSION}", chunk.version)));
    }
    Ok((kept.sample.seq, chunk))
}

impl Evidence {
    /// The evidence as the journal kept it. Chunks that cannot be read are left out: less evidence is still evidence.
    pub(crate) async fn of<H: History>(journal: &H, plan: &Plan) -> Self {
        let mut evidence = Self { judge: Judge::of(plan), ..Self::default() };
        match chunks(journal, &plan.deployment).await {
            Ok(chunks) => {
                for (_, chunk) in chunks {
                    for batch in &chunk.batches {
                        evidence.taken = evidence.taken.max(batch.number);
                        evidence.judge.take(batch);
                    }
                    evidence.last = Some(chunk.reading);
                }
            }
            Err(why) => {
                tracing::warn!(deployment = plan.deployment, %why, "the evidence so far is not counted");
            }
        }
        evidence
    }

    /// Begins again with another plan; nothing was measured yet.
    pub(crate) fn replan(&mut self, plan: &Plan) {
        *self = Self { judge: Judge::of(plan), ..Self::default() };
    }

    /// Whether this reading is no later than one that was counted: after a crash, with a clock that was set back, the past
    /// comes again. It is no news, and says nothing that a replay could find.
    pub(crate) fn has_seen(&self, reading: &Reading) -> bool {
        self.last.as_ref().is_some_and(|last| reading.at <= last.at)
    }

    /// Takes what happened since the last reading, when there was one.
    pub(crate) fn observe(&mut self, reading: &Reading, exposure: tidegate_core::judge::Exposure) {
        if self.has_seen(reading) {
            return;
        }
        if let Some(last) = &self.last {
            self.taken += 1;
            let batch = Batch::between(last, reading, exposure, self.taken);
            self.judge.take(&batch);
            self.waiting.push(batch);
            if self.waiting.len() > WAITING_MAX {
                self.waiting.remove(0);
            }
        }
        let mut next = reading.clone();
        self.remember_counters(&mut next);
        self.last = Some(next);
    }

    /// A source that is silent for a while must not lose what it counts meanwhile: its last counters stay the opening.
    fn remember_counters(&self, next: &mut Reading) {
        let Some(last) = &self.last else { return };
        for one in &mut next.metrics {
            let before = last.metrics.iter().find(|before| before.metric == one.metric);
            if let (MetricAnswer::Fault { .. }, Some(before)) = (&one.answer, before) {
                one.answer = before.answer.clone();
            }
        }
    }

    /// Whether enough has come to be written without a verdict.
    pub(crate) const fn is_full(&self) -> bool {
        self.waiting.len() >= CHUNK_MAX
    }

    /// Writes what waits, as far as the journal takes it.
    pub(crate) fn write<J: Journal>(&self, journal: &J, plan: &Plan, seq: u64) -> Option<BoxFuture<bool>> {
        let (last, reading) = (self.waiting.last()?, self.last.clone()?);
        let chunk = Chunk { version: CHUNK_VERSION, batches: self.waiting.clone(), reading };
        let sample = NewSample {
            seq,
            stage: last.stage.and_then(|stage| u32::try_from(stage).ok()).unwrap_or(WATCH),
            at_unix_ms: last.at.0,
            payload: serde_json::to_string(&chunk).ok()?,
        };
        let written = journal.put_samples(&plan.deployment, vec![sample]);
        let deployment = plan.deployment.clone();
        Some(Box::pin(async move {
            written
                .await
                .inspect_err(|why| tracing::warn!(deployment, %why, "evidence is not kept yet"))
                .is_ok()
        }))
    }

    /// What waited is written.
    pub(crate) fn written(&mut self) {
        self.waiting.clear();
    }
}

/// The moment after which a write is not waited for.
pub(crate) fn bound(now: Timestamp) -> Timestamp {
    now.after(WRITE_MAX)
}
