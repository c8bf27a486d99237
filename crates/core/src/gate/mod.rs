//! Gates: one question each to the evidence, answered `pass`, `fail` or `no_evidence`.
//!
//! An adapter hands in [`Reading`]s of raw cumulative counters; the difference of two is a [`Window`]; a [`Gate`] judges
//! a window and nothing else. Numbers inside verdicts are integers (parts per million, microseconds, basis points), so
//! that a replay of a journal is bit-identical.

mod bound;
mod evidence;
mod judge;

pub use evidence::{Arm, Instance, NoWindow, Reading, ReleaseReading, Window};
pub use judge::{
    Gate, Judgement, Look, OnFailure, OnNoEvidence, Rule, Unit, Value, Verdict, judge, standard_gates,
};
