//! Verdicts computed once more from the batches that were kept: the proof that the journal says what the evidence said.

use tidegate_core::{
    deployment::{Event, Input, Key, Outcome, Recorded, State, What, decide, evolve},
    gate::Judgement,
    judge::Judge,
    model::{Millis, Timestamp},
    plan::Plan,
};

use crate::evidence::Chunk;

/// One verdict, recorded and computed again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replayed {
    /// The verdict's place in the journal.
    pub seq: u64,
    /// When it was given.
    pub at: Timestamp,
    /// The stage, from 0; `None` is the watch.
    pub stage: Option<usize>,
    /// What the gates said then.
    pub judgements: Vec<Judgement>,
    /// Batches that the judge had taken by then.
    pub batches: u64,
    /// How the computation compares.
    pub outcome: Comparison,
}

/// How a recorded verdict compares with the one computed again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Every event that followed from it is the same, bit by bit.
    Identical,
    /// Something else follows from the evidence.
    Differs {
        /// What follows from it now.
        events: Vec<Event>,
    },
    /// Its evidence is not kept any more, or never was.
    NoEvidence {
        /// Why.
        why: &'static str,
    },
}

/// Computes every verdict of a history again. `chunks` come from [`crate::evidence::chunks`].
pub fn replay(history: &[Recorded], chunks: &[(u64, Chunk)]) -> Vec<Replayed> {
    let Some(mut walk) = Walk::begin(history, chunks) else { return Vec::new() };
    let mut verdicts = Vec::new();
    for (place, recorded) in history.iter().enumerate().skip(1) {
        walk.take_chunks(recorded.seq - 1);
        if let Event::Judged { stage, judgements } = &recorded.event {
            verdicts.push(Replayed {
                seq: recorded.seq,
                at: recorded.at,
                stage: *stage,
                judgements: judgements.clone(),
                batches: walk.batches,
                outcome: if judgements.iter().all(|one| one.window == Millis::ZERO) {
                    Comparison::NoEvidence { why: "nothing could be read when it was given" }
                } else {
                    walk.compare(recorded.at, history.get(place..).unwrap_or_default())
                },
            });
        }
        walk.step(recorded);
    }
    verdicts
}

/// The fold of events and batches up to one place.
struct Walk<'a> {
    plan: Plan,
    state: State,
    judge: Judge,
    chunks: &'a [(u64, Chunk)],
    batches: u64,
    /// Whether the first batches, or some between, are missing.
    gap: bool,
    /// The reading that ended the last chunk, and the number of events there were then.
    reading: Option<(u64, &'a Chunk)>,
}

impl<'a> Walk<'a> {
    fn begin(history: &[Recorded], chunks: &'a [(u64, Chunk)]) -> Option<Self> {
        let first = history.first()?;
        let Event::Planned { plan, .. } = &first.event else { return None };
        Some(Self {
            plan: plan.as_ref().clone(),
            state: State::planned(first.at),
            judge: Judge::of(plan),
            chunks,
            batches: 0,
            gap: false,
            reading: None,
        })
    }

    /// Takes the batches that came while there were at most `events` events.
    fn take_chunks(&mut self, events: u64) {
        while let Some(((seq, chunk), rest)) =
            self.chunks.split_first().filter(|((seq, _), _)| *seq <= events)
        {
            for batch in &chunk.batches {
                self.gap |= batch.number > self.batches + 1;
                self.judge.take(batch);
                self.batches = self.batches.max(batch.number);
            }
            self.reading = Some((*seq, chunk));
            self.chunks = rest;
        }
    }

    fn compare(&self, at: Timestamp, recorded: &[Recorded]) -> Comparison {
        if self.gap {
            return Comparison::NoEvidence { why: "some batches before it are not kept" };
        }
        let Some((_, chunk)) = self.reading.filter(|(seq, _)| *seq == self.state.seq) else {
            return Comparison::NoEvidence { why: "the batch it was made of is not kept" };
        };
        let key = Key { intent: 0, what: What::Measure };
        let outcome = Outcome::Read(chunk.reading.clone());
        let input = Input::Outcome { key, attempt: 0, outcome };
        let events = decide(&self.plan, &self.state, &self.judge, &input, at).unwrap_or_default();
        let same = events.len() <= recorded.len()
            && !events.is_empty()
            && events.iter().zip(recorded).all(|(event, recorded)| *event == recorded.event);
        if same { Comparison::Identical } else { Comparison::Differs { events } }
    }

    fn step(&mut self, recorded: &Recorded) {
        self.state = evolve(&self.plan, self.state.clone(), recorded);
        if let Event::Replanned { plan } = &recorded.event {
            self.plan = plan.as_ref().clone();
            self.judge = Judge::of(plan);
        }
    }
}
