//! Gates: one question each to the evidence, answered `pass`, `fail` or `no_evidence`.
//!
//! An adapter hands in [`Reading`]s of raw cumulative counters; the difference of two is a [`Window`]; a [`Gate`] judges
//! a window and nothing else. Numbers inside verdicts are integers (parts per million, microseconds, basis points), so
//! that a replay of a journal is bit-identical.

mod analysis;
mod bound;
pub(crate) mod chance;
mod evidence;
mod instances;
mod judge;

pub use analysis::Analysis;
pub(crate) use bound::wilson_upper;
pub use evidence::{
    Arm, Counters, Ended, Instance, MetricAnswer, MetricReading, Mirrored, NoWindow, Number, Reading,
    ReleaseReading, Window,
};
pub(crate) use evidence::{cpu_ppm, memory_ppm};
pub(crate) use instances::has_ended;
pub(crate) use judge::answer;
pub use judge::{
    Conditions, Finding, Gate, Judgement, Look, Mode, OnFailure, OnInconclusive, OnNoEvidence, Rule, Unit,
    Value, Verdict, judge, standard_gates,
};
