//! What the gates of a service share, and the defaults that depend on it.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tidegate_core::{
    gate::Mode,
    judge::Settings,
    model::{Criticality, Millis},
};

use super::{fields, reader};

/// Floor of the error rate while the evidence is asked after every sample: one failure of a service that never fails
/// is no ratio.
const FLOOR_SEQUENTIAL_BP: u64 = 1;

/// How the gates of a service judge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Judgement {
    /// How gates are asked that do not say themselves.
    pub(crate) mode: Mode,
    /// Whether it only says what it would have done.
    pub(crate) observe: bool,
    false_rollback_bp: u16,
    miss_bp: u16,
    bad_milli: u32,
    warmup_ms: u64,
    warmup_requests: u64,
    warmup_failures_bp: u16,
    max_dwell_ms: u64,
    objective_bp: u16,
    risk_bp: u16,
}

impl Judgement {
    /// As the judge takes it; what is learned from the stable release is at its start.
    pub(crate) fn settings(&self) -> Settings {
        let ppm = |points: u16| u32::from(points).saturating_mul(100);
        Settings {
            observe: self.observe,
            false_rollback_ppm: ppm(self.false_rollback_bp),
            miss_ppm: ppm(self.miss_bp),
            bad_bp: self.bad_milli.saturating_mul(10),
            warmup: Millis(self.warmup_ms),
            warmup_requests: self.warmup_requests,
            warmup_failures_ppm: ppm(self.warmup_failures_bp),
            max_dwell: Millis(self.max_dwell_ms),
            objective_ppm: ppm(self.objective_bp),
            risk_ppm: ppm(self.risk_bp),
            ..Settings::default()
        }
    }
}

/// Fills in what a service in its normal form leaves to its criticality and to the mode of its gates.
pub(super) fn fill(service: &mut Value) {
    let criticality = service.get("criticality").cloned().unwrap_or_default();
    let criticality: Criticality = serde_json::from_value(criticality).unwrap_or_default();
    let mode = mode_of(service);
    if let Some(judgement) = service.get_mut("judgement").and_then(Value::as_object_mut) {
        let usual = Settings::for_criticality(criticality);
        judgement.entry("miss_bp").or_insert_with(|| json!(usual.miss_ppm / 100));
        judgement.entry("bad_milli").or_insert_with(|| json!(usual.bad_bp / 10));
    }
    let Some(gates) = service.get_mut("gates").and_then(Value::as_object_mut) else { return };
    if mode == json!("sequential") && !gates.contains_key("latency_shift") {
        let shift = reader::default_value("{}", &fields::LATENCY_SHIFT).unwrap_or_default();
        gates.insert("latency_shift".to_owned(), shift);
    }
    let undecided = if criticality == Criticality::Critical { "hold" } else { "promote" };
    for (name, gate) in gates {
        let Some(gate) = gate.as_object_mut() else { continue };
        if name == "custom" {
            for custom in gate.values_mut().filter_map(Value::as_object_mut) {
                custom.entry("on_inconclusive").or_insert_with(|| json!(undecided));
            }
        } else {
            fill_gate(name, gate, &mode, undecided);
        }
    }
}

/// The mode of gates that do not say themselves, as the file has it.
pub(super) fn mode_of(service: &Value) -> Value {
    service.pointer("/judgement/mode").cloned().unwrap_or_else(|| json!("sequential"))
}

fn fill_gate(name: &str, gate: &mut Map<String, Value>, mode: &Value, undecided: &str) {
    let mode = gate.entry("mode").or_insert_with(|| mode.clone()).clone();
    gate.entry("on_inconclusive").or_insert_with(|| json!(undecided));
    if name == "error_rate" {
        let floor = if mode == json!("sequential") { FLOOR_SEQUENTIAL_BP } else { 0 };
        gate.entry("floor_bp").or_insert_with(|| json!(floor));
    }
}
